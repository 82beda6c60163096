//! Golden bytes: whoever changes one of these changes the protocol and must raise its version.

use expect_test::{Expect, expect};
use isos_base::descriptor::{
    Access, Admission, Coordinate, DESCRIPTOR_ADDRESSES_MAX, DESCRIPTOR_RELAY_CHARS_MAX, MARKS,
};
use isos_base::time::Time;

use super::*;
use crate::average::INSTANCES_MAX;
use crate::testing;

fn golden(bytes: &[u8], expected: Expect) {
    expected.assert_eq(&data_encoding::HEXLOWER.encode(bytes));
}

fn sums() -> Sums {
    Sums::begin(7, &[4.0, 1e9, 1e10, 0.5, 1.0, 3_600.0, 0.25])
}

fn someone(n: u32) -> Arc<Descriptor> {
    Arc::new(testing::descriptor(n, Time(10_000_000)))
}

fn exchange() -> Exchange {
    Exchange {
        from: someone(1),
        offers: vec![someone(2)],
        witnesses: Vec::new(),
        accused: vec![testing::host(3)],
        average: Some(Offered { epoch: 5, seq: 300, sums: sums() }),
    }
}

#[test]
fn requests() {
    let request = Request::Exchange(Box::new(exchange()));
    assert_eq!(Request::decode(&request.encode()), Ok(request.clone()));
    golden(
        &request.encode(),
        expect![
            "00e8fed1ceb738c0d29189d052e190fe41a9fdf07f38cfaefc2ef7999019a6e03300010032000101d1220080ade2040000000000000000000000000000010101320001000161732cd875b1c76301c9857a643505fb8080808080808002be457231e54452816c7d4dd83fab8557e6f9e833148975f45173c52ab3c7d96162451f5f5196158fc97762d754d4b20e590ca8baa462f5a047db9169e85a13056b20df394a562a11181f72db203e602dfbc09f14b79824e34e111a9ac328d69ab297d33d7fae3712f6dde9d422c0f1acfd07ff3809fd58843ad44019bdd5220b01a12164b059c65300342aee426f1c67f98696c0147fad7969e2ce66aef9522ea200010032000201d1220080ade20400000000000000000000000000000102013200020001291a1be50413808494bd498680e5ae3d80808080808080027e3f1b75d0bef8a25c48607cd46f9438de8e33d63e669a4f5d0495bc74f536cb7d1151d295b03a16d65e49c6982e633d6466e9cfb3a54251bca619325fd404030b641e6390689147326b6c9d09a019b1e449ab0cdebf945080fbd15c80b7d633da7408474c42f2f053eee24218348997470e2332a27ee742857d4687aff28e050001971eb72564041eebdf0c291e61166b026a0b56752e604e6394c62c3f2c83fd6c0105ac020107000000000000f03f00000000000010400000000000003040000000000000104000000000000010400000000065cdcd4100c84e676dc1ab430000000065cdcd410000000065cdcd41000000205fa00242408cb5781daf1544000000205fa00242000000205fa00242000000000000e03f000000000000d03f000000000000e03f000000000000e03f000000000000f03f000000000000f03f000000000000f03f000000000000f03f000000000020ac400000000020b86841000000000020ac40000000000020ac40000000000000d03f000000000000b03f000000000000d03f000000000000d03f8001010000803f8002010000803f8010010000803f8004010000803f8080808008010000803f8020010000803f20010000803f"
        ],
    );
}

#[test]
fn answers() {
    let Exchange { from, witnesses, accused, .. } = exchange();
    let exchanged = |average| {
        let (from, witnesses) = (from.clone(), witnesses.clone());
        let (offers, accused, public) = (Vec::new(), accused.clone(), Some(0.5));
        Answer::Exchanged(Box::new(Exchanged { from, offers, witnesses, accused, average, public }))
    };
    let done = exchanged(Averaged::Done(Box::new(sums())));
    assert_eq!(Answer::decode(&done.encode()), Ok(done.clone()));
    let others = [Averaged::Nothing, Averaged::Busy, Averaged::Waits, Averaged::Epoch(6)];
    for average in others.into_iter().chain([Averaged::Apart]) {
        let answer = exchanged(average);
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer.clone()));
    }
    golden(
        &exchanged(Averaged::Epoch(6)).encode(),
        expect![
            "00e8fed1ceb738c0d29189d052e190fe41a9fdf07f38cfaefc2ef7999019a6e03300010032000101d1220080ade2040000000000000000000000000000010101320001000161732cd875b1c76301c9857a643505fb8080808080808002be457231e54452816c7d4dd83fab8557e6f9e833148975f45173c52ab3c7d96162451f5f5196158fc97762d754d4b20e590ca8baa462f5a047db9169e85a13056b20df394a562a11181f72db203e602dfbc09f14b79824e34e111a9ac328d69ab297d33d7fae3712f6dde9d422c0f1acfd07ff3809fd58843ad44019bdd5220b000001971eb72564041eebdf0c291e61166b026a0b56752e604e6394c62c3f2c83fd6c0406010000003f"
        ],
    );
    golden(&Answer::Busy.encode(), expect!["01"]);
    golden(&Answer::Refused.encode(), expect!["02"]);
}

/// A descriptor as large as one can be.
fn fat(n: u32) -> Arc<Descriptor> {
    let admission = Admission::from(&isos_base::certificate::Certificate {
        owner: isos_base::AccountId(u64::MAX),
        epoch: u32::MAX,
        expires: Time(u64::MAX),
        blocks: isos_base::certificate::Blocks { v4: Some([255; 3]), v6: Some([255; 6]) },
        ..testing::certificate(n)
    });
    let address = (std::net::Ipv6Addr::from([255_u8; 16]), u16::MAX).into();
    let coordinate = Coordinate { at: [i16::MIN; 4], height: u16::MAX, error: 255 };
    let described = Descriptor {
        addresses: vec![address; DESCRIPTOR_ADDRESSES_MAX],
        relay: Some("r".repeat(DESCRIPTOR_RELAY_CHARS_MAX)),
        coordinate,
        marks: [255; MARKS],
        admission: Some(admission),
        ..Descriptor::unsigned(testing::host(n), Access::Private, Time(u64::MAX))
    };
    Arc::new(described.signed(&mut testing::keys(n)))
}

#[test]
fn the_largest_messages_fit() {
    let mut random = isos_base::random::Random::new(1);
    // Sums with hosts in all buckets, and all counts.
    let mut all = sums();
    for n in 0..200_u64 {
        let told = crate::Attribute::ALL.map(|it| it.most() * random.unit().powi(10));
        all = all.average(&Sums::begin(n << 50, &told));
    }
    assert_eq!(all.instances.len(), INSTANCES_MAX);
    let request = Request::Exchange(Box::new(Exchange {
        from: fat(0),
        offers: (0..OFFERS_MAX as u32).map(fat).collect(),
        witnesses: (0..WITNESSES_TOLD as u32).map(fat).collect(),
        accused: vec![testing::host(1); ACCUSED_MAX],
        average: Some(Offered { epoch: u64::MAX, seq: u64::MAX, sums: all }),
    }));
    // Shares that are nobody's are left out, so it is not the same in each bit.
    let again = Request::decode(&request.encode()).expect("within the limits");
    assert!(again.encode() == request.encode());
}

#[test]
fn more_than_the_limits_is_refused() {
    let many = Exchange { offers: vec![someone(2); OFFERS_MAX + 1], ..exchange() };
    let refused = WireError::TooMany { what: "offers", count: OFFERS_MAX + 1, max: OFFERS_MAX };
    assert_eq!(Request::decode(&Request::Exchange(Box::new(many)).encode()), Err(refused));
    let long = vec![0; MESSAGE_BYTES_MAX + 1];
    assert!(matches!(Answer::decode(&long), Err(WireError::Decode(DecodeError::TooLong { .. }))));
}
