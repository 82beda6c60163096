//! Golden bytes: whoever changes one of these changes the protocol and must raise its version.

use expect_test::{Expect, expect};
use isos_base::Guid;
use isos_base::time::Time;

use super::*;
use crate::certificate::{Blocks, Seal};
use crate::contact::{ADDRESSES_MAX, RELAY_CHARS_MAX};
use crate::testing;

fn golden_ask(ask: &Ask, bytes: Expect) {
    bytes.assert_eq(&data_encoding::HEXLOWER.encode(&ask.encode()));
    assert_eq!(Ask::decode(&ask.encode()).as_ref(), Ok(ask));
}

fn golden_answer(answer: &Answer, bytes: Expect) {
    bytes.assert_eq(&data_encoding::HEXLOWER.encode(&answer.encode()));
    assert_eq!(Answer::decode(&answer.encode()).as_ref(), Ok(answer));
}

fn pointer() -> Pointer {
    testing::pointer(Guid([9; 32]), 2, Time(300))
}

#[test]
fn requests() {
    golden_ask(&Ask { from: None, request: Request::Ping }, expect!["0000"]);
    let from = Some(Arc::new(testing::contact(1)));
    golden_ask(
        &Ask { from, request: Request::Ping },
        expect![
            "01e8fed1ceb738c0d29189d052e190fe41a9fdf07f38cfaefc2ef7999019a6e0330101320001000161732cd875b1c76301c9857a643505fb8080808080808002be457231e54452816c7d4dd83fab8557e6f9e833148975f45173c52ab3c7d96162451f5f5196158fc97762d754d4b20e590ca8baa462f5a047db9169e85a130500010032000101d12200"
        ],
    );
    let target = Position::from([5; 32]);
    let find = Find { target, within: 300, want: 20, known: vec![1, 70_000], pointers: true };
    golden_ask(
        &Ask { from: None, request: Request::Find(find) },
        expect![
            "00010505050505050505050505050505050505050505050505050505050505050505ac02140201f0a20401"
        ],
    );
    golden_ask(
        &Ask { from: None, request: Request::Put(vec![pointer()]) },
        expect![
            "0002010909090909090909090909090909090909090909090909090909090909090909a12164b059c65300342aee426f1c67f98696c0147fad7969e2ce66aef9522ea202013200020001291a1be50413808494bd498680e5ae3d80808080808080027e3f1b75d0bef8a25c48607cd46f9438de8e33d63e669a4f5d0495bc74f536cb7d1151d295b03a16d65e49c6982e633d6466e9cfb3a54251bca619325fd4040300010032000201d122ac0200891560b1c1936ebab2452ba64a669dd065dbb183e8ef65f8a04c0e76a68671e1043e2790c580240672358bf1adc7210532db074530453d4bee3c2d2db7aa170e"
        ],
    );
}

#[test]
fn answers() {
    golden_answer(&Answer::Pong, expect!["00"]);
    let contacts = testing::contacts(1..2);
    golden_answer(
        &Answer::Found { contacts, pointers: vec![pointer()] },
        expect![
            "0101e8fed1ceb738c0d29189d052e190fe41a9fdf07f38cfaefc2ef7999019a6e0330101320001000161732cd875b1c76301c9857a643505fb8080808080808002be457231e54452816c7d4dd83fab8557e6f9e833148975f45173c52ab3c7d96162451f5f5196158fc97762d754d4b20e590ca8baa462f5a047db9169e85a130500010032000101d122010909090909090909090909090909090909090909090909090909090909090909a12164b059c65300342aee426f1c67f98696c0147fad7969e2ce66aef9522ea202013200020001291a1be50413808494bd498680e5ae3d80808080808080027e3f1b75d0bef8a25c48607cd46f9438de8e33d63e669a4f5d0495bc74f536cb7d1151d295b03a16d65e49c6982e633d6466e9cfb3a54251bca619325fd4040300010032000201d122ac0200891560b1c1936ebab2452ba64a669dd065dbb183e8ef65f8a04c0e76a68671e1043e2790c580240672358bf1adc7210532db074530453d4bee3c2d2db7aa170e"
        ],
    );
    let puts = vec![Put::Kept, Put::Full, Put::Quota, Put::Refused];
    golden_answer(&Answer::Put(puts), expect!["020400010203"]);
    golden_answer(&Answer::Busy(Span::millis(250)), expect!["0390a10f"]);
}

/// A contact as large as one can be.
fn fat(n: u32) -> Arc<Contact> {
    let blocks = Blocks { v4: Some([255; 3]), v6: Some([255; 6]) };
    let owner = isos_base::AccountId(u64::MAX);
    let certificate = crate::Certificate {
        epoch: u32::MAX,
        expires: Time(u64::MAX),
        seal: Seal::from(isos_base::key::Signature([255; 64])),
        ..testing::certificate_of(n, owner, blocks)
    };
    let ip = std::net::Ipv6Addr::from([255_u8; 16]);
    let addresses = vec![std::net::SocketAddr::from((ip, u16::MAX)); ADDRESSES_MAX];
    let relay = Some("r".repeat(RELAY_CHARS_MAX));
    Arc::new(Contact::new(certificate, relay, addresses).expect("within the limits"))
}

#[test]
fn the_largest_messages_fit() {
    let holder = fat(1);
    let pointer = || {
        let (guid, expires) = (Guid([255; 32]), Time(u64::MAX));
        Pointer::sign(guid, holder.clone(), expires, u8::MAX, &mut testing::keys(1))
    };
    let pointers: Vec<Pointer> = (0..PUT_MAX).map(|_| pointer()).collect();
    let put = Ask { from: Some(fat(2)), request: Request::Put(pointers) };
    assert_eq!(Ask::decode(&put.encode()).as_ref(), Ok(&put));
    let contacts = (0..CONTACTS_MAX as u32).map(fat).collect();
    let pointers = (0..POINTERS_MAX).map(|_| pointer()).collect();
    let found = Answer::Found { contacts, pointers };
    assert_eq!(Answer::decode(&found.encode()).as_ref(), Ok(&found));
}

#[test]
fn more_than_the_limits_is_refused() {
    let many = Answer::Put(vec![Put::Kept; PUT_MAX + 1]);
    let refused = WireError::TooMany { what: "pointers", count: PUT_MAX + 1, max: PUT_MAX };
    assert_eq!(Answer::decode(&many.encode()), Err(refused));
    let target = Position::from([5; 32]);
    let find = Find { target, within: 0, want: 21, known: Vec::new(), pointers: false };
    let ask = Ask { from: None, request: Request::Find(find) };
    assert!(matches!(Ask::decode(&ask.encode()), Err(WireError::TooMany { count: 21, .. })));
    let long = vec![0; ANSWER_BYTES_MAX + 1];
    assert!(matches!(Answer::decode(&long), Err(WireError::Decode(DecodeError::TooLong { .. }))));
}

#[test]
fn a_list_that_claims_to_be_endless_allocates_nothing() {
    // `Put`, and a length of 2^32 with nothing behind it.
    let bytes = [0, 2, 0x80, 0x80, 0x80, 0x80, 0x10];
    assert!(matches!(Ask::decode(&bytes), Err(WireError::Decode(DecodeError::Malformed(_)))));
}
