//! What heads promise: written to any majority, read from any majority; forged by nobody; read by
//! those who may.

use proptest::prelude::*;

use super::*;
use crate::key::StorageSecret;
use crate::seal::OVERHEAD_BYTES;

fn name(n: u8) -> WriteCapability {
    WriteCapability::new(StorageSecret::new(&Secret::new([n; 32])).name_seed("photos"))
}

fn object(n: u8) -> ReadCapability {
    ReadCapability::of_object(Guid([n; 32]), &SealSecret::from_secret(Secret::new([n; 32])))
}

fn version(number: u64) -> Version {
    Version { number, object: object(number as u8), note: vec![7; 20] }
}

fn head(of: u8, number: u64) -> SignedHead {
    version(number).seal(&name(of), Time(number), Cipher::ChaCha20Poly1305).unwrap()
}

fn key() -> PublicKey {
    name(1).signer().public()
}

fn host(n: u8) -> HostId {
    HostId(PublicKey([n; 32]))
}

fn hosts(all: u8) -> BTreeSet<HostId> {
    (0..all).map(host).collect()
}

fn answers(given: &[Option<SignedHead>]) -> BTreeMap<HostId, Option<SignedHead>> {
    (0..).map(host).zip(given.iter().cloned()).collect()
}

fn hear(given: &[Option<SignedHead>]) -> Newest {
    newest(&key(), &answers(given), &BTreeMap::new())
}

#[test]
fn who_may_read_all_versions_opens_a_head_and_nobody_else() {
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let signed = version(5).seal(&name(1), Time(9), cipher).unwrap();
        assert_eq!(Version::open(&signed, &name(1).read()), Ok(version(5)));
        let other = Version::open(&signed, &name(2).read());
        assert_eq!(other, Err(VersionError::Capability));
        let one = name(1).read().version(5, Guid([5; 32])).unwrap();
        assert_eq!(Version::open(&signed, &one), Err(VersionError::Capability));
        // Neither the object nor its secret stands in it: both are bytes of 5.
        assert!(!signed.to_bytes().windows(8).any(|bytes| bytes == [5; 8]));
    }
}

#[test]
fn a_body_is_bound_to_its_version_and_says_nothing_of_sameness() {
    let (mut fifth, sixth) = (version(5), head(1, 6));
    let signed = fifth.seal(&name(1), Time(9), Cipher::ChaCha20Poly1305).unwrap();
    fifth.number = 6;
    let again = fifth.seal(&name(1), Time(9), Cipher::ChaCha20Poly1305).unwrap();
    assert_ne!(signed.head.body[2..], again.head.body[2..], "of the same object");
    let moved = Head { body: signed.head.body, ..sixth.head }.sign(&name(1).signer());
    let opened = Version::open(&moved, &name(1).read());
    assert_eq!(opened, Err(VersionError::Sealed(OpenError::Sealed)));
}

#[test]
fn what_does_not_fit_or_is_no_object_is_refused() {
    let longest = Version { note: (0..400).map(|n| (n * 7) as u8).collect(), ..version(1) };
    for note in [longest.note.clone(), vec![1; HEAD_NOTE_BYTES_MAX], Vec::new()] {
        let version = Version { note, ..longest.clone() };
        let signed = version.seal(&name(1), Time(1), Cipher::ChaCha20Poly1305).unwrap();
        assert_eq!(Version::open(&signed, &name(1).read()), Ok(version));
    }
    let long = Version { note: vec![1; HEAD_NOTE_BYTES_MAX + 1], ..longest.clone() };
    let refused = long.seal(&name(1), Time(1), Cipher::ChaCha20Poly1305);
    assert_eq!(refused, Err(VersionError::Note(401)));
    let named = Version { object: name(2).read(), ..longest };
    let refused = named.seal(&name(1), Time(1), Cipher::ChaCha20Poly1305);
    assert_eq!(refused, Err(VersionError::Object));
}

#[test]
fn bodies_that_were_not_sealed_are_errors() {
    let key = name(1).signer();
    let head = |body| Head { body, ..head(1, 1).head }.sign(&key);
    for body in [vec![], vec![1], vec![0, 0], vec![255; 300], vec![0; OVERHEAD_BYTES + 2]] {
        let opened = Version::open(&head(body), &name(1).read());
        assert!(matches!(opened, Err(VersionError::Sealed(_))), "{opened:?}");
    }
}

#[test]
fn what_a_head_is_made_of_stays_as_it_is() {
    let secret = name(1).read().head_secret(5).unwrap();
    let hex = data_encoding::HEXLOWER.encode(&secret.id().0[..8]);
    expect_test::expect!["29b9447d0603f3fb"].assert_eq(&hex);
    let hash = Guid::of(&head(1, 5).to_bytes()).to_string();
    expect_test::expect!["p6nnhllttx34vfbsnv3fvyrhova2vsq7oojtoqsq2z6zvy6ixfza"].assert_eq(&hash);
}

#[test]
fn the_newest_counts_and_who_is_behind_is_told() {
    let heard = hear(&[Some(head(1, 5)), None, Some(head(1, 7)), Some(head(1, 7))]);
    assert_eq!(heard.head, Some(head(1, 7)));
    assert_eq!(heard.behind, [host(0), host(1)].into());
    assert_eq!((&heard.heard, heard.is_forked), (&hosts(4), false));
    assert_eq!(heard.next(), Some(8));
    assert!(heard.is_certain(&hosts(7)) && !heard.is_certain(&hosts(8)));
    let others = (2..7).map(host).collect();
    assert!(!heard.is_certain(&others), "two of five, whoever else was asked");
    let nothing = hear(&[None, None]);
    assert_eq!((nothing.head.as_ref(), nothing.next()), (None, Some(1)));
    assert!(nothing.behind.is_empty() && nothing.is_certain(&hosts(3)));
    assert_eq!(hear(&[Some(head(1, u64::MAX))]).next(), None);
}

#[test]
fn forged_heads_are_ignored_and_those_who_gave_them_do_not_count() {
    let mut raised = head(1, 5);
    raised.head.version = 99;
    let heard = hear(&[Some(raised), Some(head(2, 50)), Some(head(1, 5)), None]);
    assert_eq!(heard.head, Some(head(1, 5)));
    assert_eq!(heard.forged, [host(0), host(1)].into());
    assert_eq!(heard.behind, [host(3)].into());
    assert_eq!(heard.heard, [host(2), host(3)].into());
}

#[test]
fn who_acknowledged_more_than_it_gives_has_rolled_back() {
    let acknowledged = BTreeMap::from([(host(0), 5), (host(1), 7), (host(2), 7), (host(3), 1)]);
    let given = [Some(head(1, 5)), Some(head(1, 5)), Some(head(1, 8)), None];
    let heard = newest(&key(), &answers(&given), &acknowledged);
    assert_eq!(heard.behind, [host(0), host(1), host(3)].into());
    assert_eq!(heard.rolled_back, [host(1), host(3)].into());
    // Also when nobody has anything newer.
    let heard = newest(&key(), &answers(&given[..2]), &acknowledged);
    assert!(heard.behind.is_empty());
    assert_eq!(heard.rolled_back, [host(1)].into());
}

#[test]
fn of_two_heads_of_one_version_all_readers_take_the_same() {
    let other = Version { note: vec![8], ..version(5) };
    let other = other.seal(&name(1), Time(5), Cipher::ChaCha20Poly1305).unwrap();
    let heard = hear(&[Some(head(1, 5)), Some(other.clone())]);
    assert!(heard.is_forked && heard.behind.is_empty());
    assert_eq!(heard, hear(&[Some(other.clone()), Some(head(1, 5))]));
    assert!(!hear(&[Some(other.clone()), Some(head(1, 6))]).is_forked);
    assert!(!hear(&[Some(other.clone()), Some(other), None]).is_forked);
}

fn publish(of: u8) -> Publish {
    Publish::new(head(1, 5), hosts(of)).unwrap()
}

#[test]
fn a_version_is_written_when_more_than_half_have_it() {
    let mut writing = publish(4);
    for n in [0, 1, 1, 0] {
        writing.told(host(n), Some(&HeadSet::Kept(5)));
        assert_eq!(writing.state(), Published::Open);
    }
    writing.told(host(99), Some(&HeadSet::Kept(5)));
    assert_eq!(writing.state(), Published::Open, "a stranger is not asked");
    assert_eq!(writing.waiting().count(), 2);
    writing.told(host(2), Some(&HeadSet::Kept(5)));
    assert_eq!(writing.state(), Published::Kept);
    writing.told(host(2), None);
    assert_eq!(writing.state(), Published::Kept, "what is written is written");
    assert_eq!(*writing.kept(), hosts(3));
}

#[test]
fn a_version_that_too_few_can_keep_is_short_until_one_comes_back() {
    let mut writing = publish(3);
    writing.told(host(0), Some(&HeadSet::Kept(5)));
    writing.told(host(1), None);
    assert_eq!(writing.state(), Published::Open);
    writing.told(host(2), Some(&HeadSet::Kept(4)));
    assert_eq!(writing.state(), Published::Short { kept: 1, needed: 2 });
    writing.told(host(2), Some(&HeadSet::Kept(5)));
    assert_eq!(writing.state(), Published::Kept);
    assert_eq!(Publish::new(head(1, 5), hosts(0)).unwrap_err(), HostsError(0));
}

#[test]
fn a_writer_learns_that_it_has_lost_and_is_not_lied_to_about_it() {
    let mut writing = publish(3);
    let mut forged = head(1, 5);
    forged.head.version = 9;
    for lie in [forged, head(2, 9), head(1, 4), head(1, 5)] {
        writing.told(host(0), Some(&HeadSet::Newer(Box::new(lie))));
        assert_eq!(writing.state(), Published::Open);
    }
    writing.told(host(1), Some(&HeadSet::Newer(Box::new(head(1, 8)))));
    writing.told(host(2), Some(&HeadSet::Newer(Box::new(head(1, 6)))));
    assert_eq!(writing.state(), Published::Lost(Box::new(head(1, 8))));

    let mut writing = publish(1);
    let same = Version { note: vec![8], ..version(5) };
    let same = same.seal(&name(1), Time(5), Cipher::ChaCha20Poly1305).unwrap();
    writing.told(host(0), Some(&HeadSet::Newer(Box::new(same.clone()))));
    assert_eq!(writing.state(), Published::Lost(Box::new(same)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each version goes to some of the hosts, in any order; those that are written are seen by
    /// whoever hears more than half, whatever the others say.
    #[test]
    fn any_majority_write_is_seen_by_any_majority_read(
        all in 1_u8..8,
        writes in prop::collection::vec(prop::collection::vec(any::<bool>(), 8), 1..6),
        heard in prop::collection::vec(any::<bool>(), 8),
        forges in 0_u8..8,
    ) {
        let mut kept: Vec<Option<SignedHead>> = vec![None; all.into()];
        let (mut written, mut tried) = (0, 0);
        for (number, reached) in (1..).zip(&writes) {
            tried = number;
            let signed = head(1, number);
            let mut writing = Publish::new(signed.clone(), hosts(all)).unwrap();
            for n in 0..all {
                if reached[usize::from(n)] {
                    kept[usize::from(n)] = Some(signed.clone());
                    writing.told(host(n), Some(&HeadSet::Kept(number)));
                } else {
                    writing.told(host(n), None);
                }
            }
            let reached = reached[..all.into()].iter().filter(|reached| **reached).count();
            let is_written = writing.state() == Published::Kept;
            prop_assert_eq!(is_written, 2 * reached > usize::from(all));
            written = if is_written { number } else { written };
        }
        let mut given: BTreeMap<_, _> = (0..all)
            .filter(|n| heard[usize::from(*n)])
            .map(|n| (host(n), kept[usize::from(n)].clone()))
            .collect();
        // One that was not among them makes something up.
        if forges < all && !heard[usize::from(forges)] {
            let mut forged = head(1, 99);
            forged.head.version = 100;
            given.insert(host(forges), Some(forged));
        }
        let newest = newest(&key(), &given, &BTreeMap::new());
        let version = newest.head.as_ref().map_or(0, |signed| signed.head.version);
        prop_assert!(version <= tried, "nothing is made up");
        if newest.is_certain(&hosts(all)) {
            prop_assert!(version >= written, "{} was written, {} was read", written, version);
        }
    }
}
