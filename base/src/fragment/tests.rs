//! Grants and receipts hold for what they say only; pieces prove themselves; bytes stay as they
//! are.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::wire::{Found, FragmentAnswer, FragmentRefusal, FragmentRequest};
use super::*;

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32])
}

fn grant() -> StorageGrant {
    StorageGrant {
        complex: key(1).public(),
        lease: LeaseId(300),
        host: HostId(key(2).public()),
        account: AccountId(100),
        holder: key(3).public(),
        bytes: Bytes::mib(1),
        issued: Time(1_000),
        until: Time(2_000_000),
        class: StorageClass::Archive,
    }
}

fn receipt() -> Receipt {
    Receipt {
        complex: key(1).public(),
        lease: LeaseId(300),
        host: HostId(key(2).public()),
        fragment: Guid::of(b"fragment"),
        length: 262_144,
        at: Time(5_000),
        until: Time(2_000_000),
    }
}

#[test]
fn a_grant_holds_for_one_host_of_one_complex_for_its_time() {
    let (complex, host) = (key(1).public(), HostId(key(2).public()));
    let signed = grant().sign(&key(1));
    assert_eq!(signed.check(&complex, &host, Time(5)), Ok(&grant()));
    let ended = GrantError::Ended { until: Time(2_000_000), now: Time(2_000_000) };
    assert_eq!(signed.check(&complex, &host, Time(2_000_000)), Err(ended));
    let other = key(9).public();
    let found = GrantError::OtherComplex { expected: other, found: complex };
    assert_eq!(signed.check(&other, &host, Time(5)), Err(found));
    let other = HostId(other);
    assert_eq!(signed.check(&complex, &other, Time(5)), Err(GrantError::OtherHost(host)));
    let until = Time(0) + STORAGE_LEASE_MAX + Span::secs(1);
    let long = StorageGrant { until, ..grant() }.sign(&key(1));
    assert_eq!(long.check(&complex, &host, Time(5)), Err(GrantError::TooLong { until }));
}

#[test]
fn nothing_of_a_grant_or_receipt_can_be_changed() {
    let (complex, host) = (key(1).public(), HostId(key(2).public()));
    let signed = grant().sign(&key(1));
    let changes: [fn(&mut StorageGrant); 7] = [
        |grant| grant.lease.0 += 1,
        |grant| grant.account.0 += 1,
        |grant| grant.holder = key(8).public(),
        |grant| grant.bytes.0 += 1,
        |grant| grant.issued.0 += 1,
        |grant| grant.until.0 += 1,
        |grant| grant.class = StorageClass::Cache,
    ];
    for change in changes {
        let mut other = signed.clone();
        change(&mut other.grant);
        assert_eq!(other.check(&complex, &host, Time(5)), Err(GrantError::Signature));
    }
    // Signed by somebody who says to be the complex.
    let mut forged = grant().sign(&key(7));
    forged.grant.complex = complex;
    assert_eq!(forged.check(&complex, &host, Time(5)), Err(GrantError::Signature));

    let signed = receipt().sign(&key(2));
    assert_eq!(signed.check(), Ok(&receipt()));
    let changes: [fn(&mut Receipt); 7] = [
        |receipt| receipt.complex = key(8).public(),
        |receipt| receipt.lease.0 += 1,
        |receipt| receipt.host = HostId(key(8).public()),
        |receipt| receipt.fragment = Guid::of(b"other"),
        |receipt| receipt.length += 1,
        |receipt| receipt.at.0 += 1,
        |receipt| receipt.until.0 += 1,
    ];
    for change in changes {
        let mut other = signed.clone();
        change(&mut other.receipt);
        assert_eq!(other.check(), Err(GrantError::Signature));
    }
}

fn head() -> Head {
    Head { key: key(4).public(), version: 300, written: Time(5_000), body: vec![1, 2, 3] }
}

#[test]
fn nothing_of_a_head_can_be_changed_by_others_than_its_owner() {
    let signed = head().sign(&key(4));
    assert_eq!(signed.check(), Ok(&head()));
    let changes: [fn(&mut Head); 5] = [
        |head| head.key = key(8).public(),
        |head| head.version += 1,
        |head| head.written.0 += 1,
        |head| head.body[0] ^= 1,
        |head| head.body.push(0),
    ];
    for change in changes {
        let mut other = signed.clone();
        change(&mut other.head);
        assert_eq!(other.check(), Err(HeadError::Signature));
    }
    let long = Head { body: vec![0; HEAD_BODY_BYTES_MAX + 1], ..head() }.sign(&key(4));
    assert_eq!(long.check(), Err(HeadError::TooLong(513)));
}

#[test]
fn the_longest_head_is_as_long_as_is_said_and_no_longer() {
    let longest = Head {
        version: u64::MAX,
        written: Time(u64::MAX),
        body: vec![255; HEAD_BODY_BYTES_MAX],
        ..head()
    };
    let signed = longest.sign(&key(4));
    let bytes = signed.to_bytes();
    assert!(bytes.len() <= SIGNED_HEAD_BYTES_MAX, "{}", bytes.len());
    assert_eq!(SignedHead::from_bytes(&bytes), Ok(signed));
    let length = SIGNED_HEAD_BYTES_MAX + 1;
    let long = SignedHead::from_bytes(&vec![1; length]);
    assert_eq!(long, Err(SignedError::TooLong { length, max: SIGNED_HEAD_BYTES_MAX }));
}

#[test]
fn the_signature_of_one_kind_is_none_of_another() {
    // The same words under the other tag.
    let words = codec::encode(&receipt());
    let signature = key(2).sign(&[GRANT_TAG, &words].concat());
    assert!(SignedReceipt { receipt: receipt(), signature }.check().is_err());
    let signature = key(4).sign_as(RECEIPT_TAG, &head());
    assert!(SignedHead { head: head(), signature }.check().is_err());
}

#[test]
fn other_versions_and_garbage_are_told_apart() {
    let bytes = grant().sign(&key(1)).to_bytes();
    assert!(bytes.len() < SIGNED_BYTES_MAX, "{}", bytes.len());
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(SignedGrant::from_bytes(&newer), Err(SignedError::Version(2)));
    assert_eq!(SignedGrant::from_bytes(&[]), Err(SignedError::Empty));
    assert_eq!(
        SignedGrant::from_bytes(&[1; 600]),
        Err(SignedError::TooLong { length: 600, max: 512 })
    );
    assert!(matches!(SignedGrant::from_bytes(&bytes[..90]), Err(SignedError::Malformed(_))));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(SignedGrant::from_bytes(&longer), Err(SignedError::Malformed(_))));
}

fn golden(bytes: &[u8], expected: Expect) {
    expected.assert_eq(&data_encoding::HEXLOWER.encode(bytes));
}

#[test]
fn signed_bytes_stay_as_they_are() {
    let signed = grant().sign(&key(1));
    golden(
        &signed.to_bytes(),
        expect![
            "018a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5cac028139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b39464ed4928c628d1c2c6eae90338905995612959273a5c63f93636c14614ac8737d1808040e80780897a00592570772fcf879c63e74901b4641395f6bcc61bf3575aa726362d11b85ed932aa3b8019005c26e5a658d3f56af59b7fb348dc6843827dd582bba1d64b3f1402"
        ],
    );
    assert_eq!(SignedGrant::from_bytes(&signed.to_bytes()), Ok(signed));
    let signed = receipt().sign(&key(2));
    golden(
        &signed.to_bytes(),
        expect![
            "018a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5cac028139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b3946b5a99b87b391463497ea2d35ef86da865cc063dedfee3c77b384a62f8aaee59808010882780897a8084c11ca1c38bbfdeaf87e8195ed726961495a154ec207660445677733e30cc41874d119b9bea924d8232622d8199441a343d256adfb85e63a8c48887631d03"
        ],
    );
    assert_eq!(SignedReceipt::from_bytes(&signed.to_bytes()), Ok(signed));
    let signed = head().sign(&key(4));
    golden(
        &signed.to_bytes(),
        expect![
            "01ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7cac02882703010203604525814c4d33e8846af65efc312fc347d94aaca998c749f0e2ffe449b00326cab4806f95cf03bd854142cb26c4a1048430c87315841393c5a88bf6bc861c0e"
        ],
    );
    assert_eq!(SignedHead::from_bytes(&signed.to_bytes()), Ok(signed));
}

#[test]
fn requests_and_answers_stay_as_they_are() {
    let fragment = Guid([7; 32]);
    let lease = LeaseId(300);
    let requests = [
        FragmentRequest::Put { lease, fragment, length: 262_144 },
        FragmentRequest::Get { fragment, first: 1, count: 300 },
        FragmentRequest::Has(vec![fragment]),
        FragmentRequest::Audit { fragment, group: 3, nonce: 9 },
        FragmentRequest::Remove { lease, fragments: vec![fragment] },
    ];
    golden(
        &codec::encode(&requests),
        expect![
            "01ac02070707070707070707070707070707070707070707070707070707070707070780801002070707070707070707070707070707070707070707070707070707070707070701ac0203010707070707070707070707070707070707070707070707070707070707070707040707070707070707070707070707070707070707070707070707070707070707030905ac02010707070707070707070707070707070707070707070707070707070707070707"
        ],
    );
    let groups = Groups::from_bytes(&[8; 64]).unwrap();
    let found = Found { length: 20_000, first: 1, bytes: 3_616, groups };
    let answers = [
        FragmentAnswer::Granted(Time(300)),
        FragmentAnswer::Found(found.clone()),
        FragmentAnswer::Missing,
        FragmentAnswer::Has(vec![true, false]),
        FragmentAnswer::Proof { nonce: 9, found },
        FragmentAnswer::Removed(2),
        FragmentAnswer::Refused(FragmentRefusal::Grant("no".into())),
        FragmentAnswer::Refused(FragmentRefusal::WrongBytes(fragment)),
        FragmentAnswer::Refused(FragmentRefusal::Busy(Span::secs(1))),
        FragmentAnswer::Refused(FragmentRefusal::Malformed("so".into())),
    ];
    golden(
        &codec::encode(&answers),
        expect![
            "00ac0202a09c0101a01c020808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080803040201000509a09c0101a01c020808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080808080806020700026e6f070407070707070707070707070707070707070707070707070707070707070707070706c0843d070802736f"
        ],
    );
}

#[test]
fn requests_and_answers_about_heads_stay_as_they_are() {
    let head = Box::new(head().sign(&key(4)));
    let set = FragmentRequest::SetHead { lease: LeaseId(300), head: head.clone() };
    golden(
        &codec::encode(&[
            set,
            FragmentRequest::GetHead(key(4).public()),
            FragmentRequest::GetUsed(LeaseId(300)),
        ]),
        expect![
            "06ac02ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7cac02882703010203604525814c4d33e8846af65efc312fc347d94aaca998c749f0e2ffe449b00326cab4806f95cf03bd854142cb26c4a1048430c87315841393c5a88bf6bc861c0e07ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7c08ac02"
        ],
    );
    let answers = [
        FragmentAnswer::HeadKept(300),
        FragmentAnswer::Head(None),
        FragmentAnswer::Head(Some(head)),
        FragmentAnswer::Refused(FragmentRefusal::Head("no".into())),
        FragmentAnswer::Refused(FragmentRefusal::HeadsFull),
        FragmentAnswer::Used(Bytes(300)),
    ];
    golden(
        &codec::encode(&answers),
        expect![
            "08ac0209000901ca93ac1705187071d67b83c7ff0efe8108e8ec4530575d7726879333dbdabe7cac02882703010203604525814c4d33e8846af65efc312fc347d94aaca998c749f0e2ffe449b00326cab4806f95cf03bd854142cb26c4a1048430c87315841393c5a88bf6bc861c0e0709026e6f070a0aac02"
        ],
    );
}

#[test]
fn every_message_fits_its_frame() {
    let all = vec![Guid([255; 32]); wire::FRAGMENTS_NAMED_MAX];
    let remove = FragmentRequest::Remove { lease: LeaseId(u64::MAX), fragments: all };
    assert!(codec::encode(&remove).len() < wire::FRAGMENT_FRAME_BYTES_MAX);
    let groups = Groups::from_bytes(&vec![255; 32 * groups_of(FRAGMENT_BYTES_MAX) as usize]);
    let (length, bytes) = (FRAGMENT_BYTES_MAX, FRAGMENT_BYTES_MAX);
    let found = Found { length, first: 0, bytes, groups: groups.unwrap() };
    let proof = FragmentAnswer::Proof { nonce: u64::MAX, found };
    assert!(codec::encode(&proof).len() < wire::FRAGMENT_FRAME_BYTES_MAX);
}

fn content(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn the_tree_of_groups_has_the_guid_as_its_root() {
    let group = GROUP_BYTES as usize;
    for groups in 0..=20 {
        for length in [groups * group, groups * group + 1, (groups + 1) * group - 1] {
            let bytes = content(length);
            let (guid, hashes) = Groups::of(&bytes);
            assert_eq!(guid, Guid::of(&bytes), "{length}");
            let root = hashes.root(length as u32);
            assert_eq!(root, (length > group).then_some(guid), "{length}");
            assert_eq!(hashes.as_bytes().len(), 32 * Groups::count(length as u32) as usize);
            assert_eq!(Groups::from_bytes(hashes.as_bytes()), Some(hashes));
        }
    }
}

fn piece(bytes: &[u8], first: u32, count: u32) -> Piece {
    let (_, groups) = Groups::of(bytes);
    let (from, group) = ((first * GROUP_BYTES) as usize, GROUP_BYTES as usize);
    let to = bytes.len().min(from + count as usize * group);
    Piece { length: bytes.len() as u32, groups, first, bytes: bytes[from..to].to_vec() }
}

#[test]
fn any_groups_of_a_fragment_prove_themselves() {
    for length in [0, 1, 16_384, 16_385, 100_000, 262_144] {
        let bytes = content(length);
        let guid = Guid::of(&bytes);
        let all = groups_of(length as u32);
        for first in 0..all {
            for count in 1..=all - first {
                assert_eq!(piece(&bytes, first, count).check(&guid), Ok(()));
            }
        }
        assert_eq!(piece(&bytes, 0, all).check(&guid), Ok(()));
        assert!(piece(&bytes, 0, all).is_whole());
    }
}

proptest! {
    #[test]
    fn a_piece_with_any_bit_changed_is_none(
        length in 1_u32..100_000,
        at: prop::sample::Index,
        bit in 0_u8..8,
        which in 0_u8..4,
    ) {
        let bytes = content(length as usize);
        let guid = Guid::of(&bytes);
        let all = groups_of(length);
        let first = at.index(all as usize) as u32;
        let mut changed = piece(&bytes, first, 1);
        // Only the last group says where within it the fragment ends.
        let unseen = groups_of(length ^ (1 << bit)) == all && first + 1 < all;
        match which {
            1 if unseen => changed.groups.0.truncate(1),
            0 => changed.first ^= 1 << bit,
            1 => changed.length ^= 1 << bit,
            2 if !changed.groups.0.is_empty() => {
                let group = at.index(changed.groups.0.len());
                changed.groups.0[group][at.index(32)] ^= 1 << bit;
            }
            _ => {
                let place = at.index(changed.bytes.len());
                changed.bytes[place] ^= 1 << bit;
            }
        }
        prop_assert!(changed.check(&guid).is_err());
    }

    #[test]
    fn a_piece_of_any_numbers_is_checked_without_panic(
        length: u32,
        first: u32,
        groups in prop::collection::vec(any::<[u8; 32]>(), 0..4),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let piece = Piece { length, first, groups: Groups(groups), bytes };
        let whole = piece.first == 0 && piece.groups.0.is_empty() && piece.is_whole();
        let guid = Guid::of(&piece.bytes);
        prop_assert_eq!(piece.check(&guid).is_ok(), whole);
    }
}

#[test]
fn a_proof_is_the_part_that_was_drawn_of_the_fragment_that_was_named() {
    let fragment: Vec<u8> = (0..3 * GROUP_BYTES + 9).map(|at| (at / 3) as u8).collect();
    let (name, groups) = Groups::of(&fragment);
    let length = fragment.len() as u32;
    let asked = ProofAsked { lease: LeaseId(1), fragment: name, length, drawn: 4_000_001 };
    assert_eq!(asked.group(), 1);
    let shown = |first: u32, count: u32| {
        let (from, to) = ((first * GROUP_BYTES) as usize, ((first + count) * GROUP_BYTES) as usize);
        let bytes = fragment[from..to.min(fragment.len())].to_vec();
        let piece = Piece { length, groups: groups.clone(), first, bytes };
        Proof { lease: LeaseId(1), fragment: name, piece: Some(piece) }
    };
    assert_eq!(asked.check(&shown(1, 1)), Ok(()));
    assert_eq!(asked.check(&shown(2, 1)), Err(Unproven::Other));
    assert_eq!(asked.check(&shown(1, 2)), Err(Unproven::Other), "more is no answer either");
    assert_eq!(asked.check(&Proof { piece: None, ..shown(1, 1) }), Err(Unproven::Missing));
    let mut wrong = shown(1, 1);
    wrong.piece.as_mut().unwrap().bytes[5] ^= 1;
    assert_eq!(asked.check(&wrong), Err(Unproven::Wrong(PieceError::Group(1))));
    let last = ProofAsked { drawn: 3, ..asked };
    assert_eq!(last.check(&shown(3, 1)), Ok(()), "the last group is shorter");
    let nothing = ProofAsked { length: 0, ..asked };
    assert_eq!(nothing.group(), 0);
}

/// Twelve groups of sixteen, and the inner nodes of the last four as if they were two groups: the
/// root is the same. Asked for the length that is known, that is of no use.
#[test]
fn who_calls_another_length_its_own_proves_nothing() {
    let fragment: Vec<u8> = (0..16 * GROUP_BYTES).map(|at| (at / 5) as u8).collect();
    let (name, groups) = Groups::of(&fragment);
    let all = groups.as_bytes().as_chunks::<32>().0.to_vec();
    let merged = |from: usize| {
        blake3::hazmat::merge_subtrees_non_root(
            &blake3::hazmat::merge_subtrees_non_root(
                &all[from],
                &all[from + 1],
                blake3::hazmat::Mode::Hash,
            ),
            &blake3::hazmat::merge_subtrees_non_root(
                &all[from + 2],
                &all[from + 3],
                blake3::hazmat::Mode::Hash,
            ),
            blake3::hazmat::Mode::Hash,
        )
    };
    let mut fewer = all[..8].to_vec();
    fewer.extend([merged(8), merged(12)]);
    let false_groups = Groups::from_bytes(fewer.as_flattened()).unwrap();
    let length = 10 * GROUP_BYTES;
    assert_eq!(false_groups.root(length), Some(name), "so the tree alone does not tell");
    let bytes = fragment[..GROUP_BYTES as usize].to_vec();
    let piece = Piece { length, groups: false_groups, first: 0, bytes };
    assert_eq!(piece.check(&name), Ok(()));
    let proof = Proof { lease: LeaseId(1), fragment: name, piece: Some(piece) };
    let asked =
        ProofAsked { lease: LeaseId(1), fragment: name, length: 16 * GROUP_BYTES, drawn: 0 };
    assert_eq!(asked.check(&proof), Err(Unproven::Other));
}
