//! Heads in packs: the newest counts, whatever order things come in and whatever happens between.

use std::fs;

use isos_base::fragment::wire::FragmentRefusal;
use isos_base::fragment::{GRACE, HEADS_OF_LEASE_MAX, Head, HeadSet, SignedHead};
use isos_base::key::{PublicKey, SecretKey};
use isos_base::{Bytes, Guid, LeaseId, Span, Time};

use super::packs::{END_OF_3, WEEK, content, dir, flip_at, keep, lease, open, seconds, small};
use crate::ShelfLimits;
use crate::packs::{Lease, PackError, Packs};

pub(super) fn owner(n: u8) -> PublicKey {
    SecretKey::from_bytes(&[n; 32]).public()
}

/// A version of what the owner of this number has.
pub(super) fn head(of: u8, version: u64) -> SignedHead {
    signed(of, version, vec![of; 40])
}

fn signed(of: u8, version: u64, body: Vec<u8>) -> SignedHead {
    Head { key: owner(of), version, written: Time(version), body }
        .sign(&SecretKey::from_bytes(&[of; 32]))
}

fn set(packs: &Packs, lease: u64, head: &SignedHead) -> Result<HeadSet, PackError> {
    packs.set_head(Time(1), LeaseId(lease), head)
}

fn is_kept(packs: &Packs, lease: u64, head: &SignedHead) -> bool {
    matches!(set(packs, lease, head), Ok(HeadSet::Kept(version)) if version == head.head.version)
}

fn version(packs: &Packs, of: u8) -> Option<u64> {
    packs.head(&owner(of)).unwrap().map(|head| head.head.version)
}

#[test]
fn the_newest_head_is_kept_and_who_brings_an_older_one_is_told() {
    let (root, packs) = open();
    assert_eq!(version(&packs, 1), None);
    assert!(is_kept(&packs, 1, &head(1, 5)));
    assert!(is_kept(&packs, 1, &head(1, 7)));
    assert!(is_kept(&packs, 1, &head(2, 1)));
    let newer = HeadSet::Newer(Box::new(head(1, 7)));
    assert_eq!(set(&packs, 1, &head(1, 6)).unwrap(), newer);
    assert!(is_kept(&packs, 1, &head(1, 7)), "said twice is said once");
    assert_eq!(packs.head(&owner(1)).unwrap(), Some(head(1, 7)));
    let length = head(1, 7).to_bytes().len() as u64;
    let used = packs.lease(LeaseId(1)).unwrap();
    assert_eq!((used.used, used.count), (Bytes(2 * length), 2));
    packs.check_invariants();
    drop(packs);
    let (packs, opened) = Packs::open(&dir(&root), small()).unwrap();
    assert_eq!(opened.replayed, 3, "{opened:?}");
    assert_eq!((version(&packs, 1), version(&packs, 2)), (Some(7), Some(1)));
    packs.check_invariants();
    packs.save().unwrap();
    drop(packs);
    let (packs, opened) = Packs::open(&dir(&root), small()).unwrap();
    assert_eq!(opened.replayed, 0);
    assert_eq!((version(&packs, 1), version(&packs, 2)), (Some(7), Some(1)));
}

#[test]
fn of_one_version_the_first_counts() {
    let (_root, packs) = open();
    let (first, second) = (signed(1, 5, vec![1]), signed(1, 5, vec![2]));
    assert!(is_kept(&packs, 1, &first));
    let told = HeadSet::Newer(Box::new(first.clone()));
    assert_eq!(set(&packs, 1, &second).unwrap(), told);
    assert_eq!(set(&packs, 2, &second).unwrap(), told, "under another lease too");
    assert_eq!(packs.head(&owner(1)).unwrap(), Some(first));
}

#[test]
fn what_its_key_has_not_signed_or_no_lease_pays_for_is_refused() {
    let (_root, packs) = open();
    let mut forged = head(1, 5);
    forged.head.version = 6;
    let refused = set(&packs, 1, &forged).unwrap_err();
    assert!(matches!(refused.refusal(), FragmentRefusal::Head(_)), "{refused}");
    let unknown = set(&packs, 9, &head(1, 5)).unwrap_err();
    assert!(matches!(unknown, PackError::Lease { lease: LeaseId(9) }), "{unknown}");
    let ended = packs.set_head(END_OF_3, LeaseId(3), &head(1, 5)).unwrap_err();
    assert!(matches!(ended, PackError::Ended { .. }), "{ended}");
    assert_eq!(version(&packs, 1), None);
    assert_eq!(packs.used().count, 0);
}

#[test]
fn a_lease_has_so_many_heads_and_so_many_bytes() {
    let (_root, packs) = open();
    for of in 1..=HEADS_OF_LEASE_MAX as u8 {
        assert!(is_kept(&packs, 1, &head(of, 1)));
    }
    let full = set(&packs, 1, &head(100, 1)).unwrap_err();
    assert_eq!(full.refusal(), FragmentRefusal::HeadsFull, "{full}");
    assert!(is_kept(&packs, 1, &head(3, 2)), "another version is not another head");
    assert!(is_kept(&packs, 2, &head(100, 1)));
    packs.check_invariants();

    let (_root, packs) = open();
    let bytes = Bytes(head(1, 1).to_bytes().len() as u64 + 1_000);
    packs.grant(&[Lease { bytes, issued: Time(9), ..lease(1) }]).unwrap();
    keep(&packs, 1, &[1; 1_000]).unwrap();
    assert!(is_kept(&packs, 1, &head(1, 1)));
    assert!(is_kept(&packs, 1, &head(1, 2)), "the older version makes room");
    let full = set(&packs, 1, &head(2, 1)).unwrap_err();
    assert!(matches!(full, PackError::LeaseFull { .. }), "{full}");
    assert_eq!(packs.lease(LeaseId(1)).unwrap().used, bytes);
    packs.check_invariants();
}

#[test]
fn heads_end_with_their_lease_and_its_grace_and_not_with_the_cache() {
    let (_root, packs) = open();
    keep(&packs, 3, &content(1)).unwrap();
    assert!(is_kept(&packs, 3, &head(1, 5)));
    assert!(is_kept(&packs, 3, &head(2, 5)));
    assert!(is_kept(&packs, 1, &head(2, 5)), "somebody else pays for the same");
    // The owner wants the room: cached copies go, a head is no copy.
    packs.set_limits(ShelfLimits { quota: Bytes(1), free_floor: Bytes::ZERO });
    packs.upkeep(seconds(1)).unwrap();
    assert!(!packs.has(&Guid::of(&content(1))).unwrap());
    assert_eq!(version(&packs, 1), Some(5));
    packs.set_limits(super::roomy());
    packs.upkeep(END_OF_3 + Span::secs(1)).unwrap();
    assert_eq!(version(&packs, 1), Some(5), "within the grace");
    packs.upkeep(END_OF_3 + GRACE).unwrap();
    packs.check_invariants();
    assert_eq!((version(&packs, 1), version(&packs, 2)), (None, Some(5)));
    packs.upkeep(END_OF_3 + GRACE + Span::secs(11)).unwrap();
    assert_eq!(packs.lease(LeaseId(3)), None);
    packs.check_invariants();
}

#[test]
fn the_newest_of_several_packs_counts_whatever_their_order_and_without_the_index() {
    for lose_index in [false, true] {
        let (root, packs) = open();
        // The second version is in the pack of a later week, the third in that of the first.
        let again = |issued, weeks| {
            let until = Time(weeks * WEEK);
            packs.grant(&[Lease { until, issued: Time(issued), ..lease(1) }]).unwrap();
        };
        assert!(is_kept(&packs, 1, &head(1, 1)));
        again(10, 150);
        assert!(is_kept(&packs, 1, &head(1, 2)));
        again(11, 101);
        assert!(is_kept(&packs, 1, &head(1, 3)));
        assert_eq!(packs.used().packs, 2);
        let index = dir(&root).join("index.redb");
        if lose_index {
            packs.save().unwrap();
        }
        drop(packs);
        if lose_index {
            let length = index.metadata().unwrap().len();
            fs::write(&index, vec![7; length as usize]).unwrap();
        }
        let (packs, opened) = Packs::open(&dir(&root), small()).unwrap();
        assert_eq!(opened.rebuilt, lose_index);
        assert_eq!(packs.head(&owner(1)).unwrap(), Some(head(1, 3)));
        packs.check_invariants();
    }
}

#[test]
fn heads_move_when_their_pack_is_emptied() {
    let (root, packs) = open();
    for seed in 0..30 {
        keep(&packs, 1, &content(seed)).unwrap();
        assert!(is_kept(&packs, 1, &head(1 + seed as u8 % 3, 1 + seed)));
    }
    let before = packs.list_heads();
    let all: Vec<_> = (0..30).map(|seed| Guid::of(&content(seed))).collect();
    packs.remove(LeaseId(1), &all).unwrap();
    keep(&packs, 1, &vec![1; 48 << 10]).unwrap();
    keep(&packs, 1, &vec![2; 48 << 10]).unwrap();
    for call in 1..30 {
        packs.upkeep(seconds(call)).unwrap();
        packs.check_invariants();
    }
    let after = packs.list_heads();
    assert!(after.len() == 3 && after.iter().all(|place| !before.contains(place)), "{after:?}");
    for reopened in [false, true] {
        let again = reopened.then(|| Packs::open(&dir(&root), small()).unwrap().0);
        let packs = again.as_ref().unwrap_or(&packs);
        let versions: Vec<_> = (1..4).map(|of| version(packs, of)).collect();
        assert_eq!(versions, [Some(28), Some(29), Some(30)]);
    }
}

#[test]
fn a_damaged_head_is_not_served_nor_an_older_one_in_its_place() {
    // In the header, in the key, in the body, in the signature.
    for at in [5, 45, 130, 200] {
        let (root, packs) = open();
        assert!(is_kept(&packs, 2, &head(1, 4)));
        assert!(is_kept(&packs, 1, &head(1, 5)));
        let heads = packs.list_heads();
        let (_, _, pack, offset) = *heads.iter().find(|head| head.1 == LeaseId(1)).unwrap();
        flip_at(&root, pack, offset + at);
        let damaged = packs.head(&owner(1)).unwrap_err();
        assert!(matches!(damaged, PackError::HeadDamaged { .. }), "{at}: {damaged}");
        assert_eq!(damaged.refusal(), FragmentRefusal::Failed);
        // The next version is as good as ever.
        assert!(is_kept(&packs, 1, &head(1, 6)));
        assert_eq!(version(&packs, 1), Some(6));
        packs.check_invariants();
    }
}

#[test]
fn the_check_finds_a_damaged_head_that_nobody_reads() {
    let (root, packs) = open();
    assert!(is_kept(&packs, 1, &head(1, 5)));
    assert!(is_kept(&packs, 1, &head(2, 5)));
    let (_, _, pack, offset) = packs.list_heads()[0];
    flip_at(&root, pack, offset + 150);
    packs.upkeep(seconds(1)).unwrap();
    let done = packs.upkeep(seconds(2)).unwrap();
    assert_eq!(done.damaged, 1, "{done:?}");
    assert_eq!(packs.list_heads().len(), 1);
    assert_eq!(packs.take_gone().0, [], "fragments are missed, heads are written again");
    packs.check_invariants();
}
