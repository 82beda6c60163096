//! Fragments in packs: right, within limits, counted, and gone when they should be.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use isos_base::fragment::wire::FragmentRefusal;
use isos_base::fragment::{FRAGMENT_BYTES_MAX, GRACE, GROUP_BYTES, StorageClass};
use isos_base::{AccountId, Bytes, Guid, LeaseId, Span, Time};
use tempfile::{TempDir, tempdir};

use super::crash::Faulty;
use super::roomy;
use crate::ShelfLimits;
use crate::packs::{Gone, Kept, Lease, PackError, PackSettings, Packs, Put, Why};

pub(super) const WEEK: u64 = 7 * 86_400_000_000;
pub(super) const END_OF_3: Time = Time(2 * WEEK);

/// Packs and batches so small that everything happens soon.
pub(super) fn small() -> PackSettings {
    PackSettings {
        pack_bytes: Bytes::kib(48),
        unsaved_max: 4,
        unsaved_bytes_max: Bytes::kib(64),
        scrub_rate: Bytes::mib(1),
        compact_rate: Bytes::kib(20),
        ..PackSettings::new(roomy())
    }
}

/// The first two last for years, the third caches for two weeks.
pub(super) fn lease(id: u64) -> Lease {
    let (class, until) = match id {
        3 => (StorageClass::Cache, END_OF_3),
        _ => (StorageClass::Standard, Time((100 + id) * WEEK)),
    };
    let (account, bytes) = (AccountId(100), Bytes::mib(1));
    Lease { id: LeaseId(id), account, class, bytes, issued: Time(id), until }
}

/// Of another length for each seed: some have several groups.
pub(super) fn content(seed: u64) -> Vec<u8> {
    let length = if seed.is_multiple_of(3) { 17_000 + seed } else { 700 + 31 * seed };
    let mut random = isos_base::random::Random::new(seed);
    (0..length).map(|_| random.next_u64() as u8).collect()
}

pub(super) fn put(lease: u64, bytes: Vec<u8>) -> Put {
    Put { lease: LeaseId(lease), id: Guid::of(&bytes), bytes }
}

pub(super) fn open_with(settings: PackSettings) -> (TempDir, Packs) {
    let root = tempdir().unwrap();
    let (packs, _) = Packs::open(&root.path().join("fragments"), settings).unwrap();
    packs.grant(&[lease(1), lease(2), lease(3)]).unwrap();
    (root, packs)
}

pub(super) fn open() -> (TempDir, Packs) {
    open_with(small())
}

pub(super) fn dir(root: &TempDir) -> PathBuf {
    root.path().join("fragments")
}

pub(super) fn keep(packs: &Packs, lease: u64, bytes: &[u8]) -> Result<Kept, PackError> {
    packs.put(Time(1), vec![put(lease, bytes.to_vec())]).remove(0)
}

pub(super) fn seconds(n: u64) -> Time {
    Time(n * 1_000_000)
}

fn pack_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut packs: Vec<_> =
        entries.filter(|p| p.extension().is_some_and(|e| e == "pack")).collect();
    packs.sort();
    packs
}

/// Changes a byte of a fragment on the disk, behind the shelf's back.
fn flip(packs: &Packs, root: &TempDir, id: &Guid, at: u32) {
    let found = packs.list().into_iter().find(|(found, ..)| found == id);
    let (_, _, pack, offset) = found.unwrap();
    flip_at(root, pack, offset + at);
}

/// Changes a byte of a pack.
pub(super) fn flip_at(root: &TempDir, pack: u32, at: u32) {
    let path = dir(root).join(format!("{pack:010}.pack"));
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    let at = u64::from(at);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn what_was_put_comes_back_whole_and_in_parts_also_after_reopening() {
    let (root, packs) = open();
    let until = lease(1).until;
    for seed in 0..42 {
        assert_eq!(keep(&packs, 1, &content(seed)).unwrap(), Kept { until, had: false });
    }
    assert_eq!(keep(&packs, 1, &content(3)).unwrap(), Kept { until, had: true });
    packs.check_invariants();
    let used = packs.used();
    assert_eq!(used.count, 42);
    assert_eq!(used.live, Bytes((0..42).map(|seed| content(seed).len() as u64).sum()));
    assert!(used.packs > 3 && used.disk > used.live, "{used:?}");
    drop(packs);
    let (packs, opened) = Packs::open(&dir(&root), small()).unwrap();
    assert_eq!(opened.replayed, 2, "{opened:?}");
    packs.check_invariants();
    for seed in 0..42 {
        let bytes = content(seed);
        let id = Guid::of(&bytes);
        assert!(packs.has(&id).unwrap());
        assert_eq!(packs.get(&id).unwrap(), bytes);
    }
    let bytes = content(6);
    let piece = packs.read(&Guid::of(&bytes), 1, 1).unwrap();
    assert_eq!(piece.bytes, bytes[GROUP_BYTES as usize..]);
    assert_eq!(piece.check(&Guid::of(&bytes)), Ok(()));
    assert_eq!(packs.read(&Guid::of(&bytes), 7, 1).unwrap().bytes, b"");
    let missing = packs.get(&Guid::of(b"no"));
    assert!(matches!(missing, Err(PackError::Missing { .. })), "{missing:?}");
}

#[test]
fn a_saved_shelf_has_nothing_to_read_again() {
    let (root, packs) = open();
    for seed in 0..5 {
        keep(&packs, 1, &content(seed)).unwrap();
    }
    packs.save().unwrap();
    drop(packs);
    let (packs, opened) = Packs::open(&dir(&root), small()).unwrap();
    assert_eq!(opened, Default::default());
    assert_eq!(packs.used().count, 5);
}

#[test]
fn what_is_no_fragment_or_has_no_lease_is_refused_with_the_reason() {
    let (_root, packs) = open();
    let wrong = Put { id: Guid::of(b"other"), ..put(1, content(1)) };
    let long = put(1, vec![0; FRAGMENT_BYTES_MAX as usize + 1]);
    let answers = packs.put(
        Time(1),
        vec![put(1, content(1)), wrong, put(1, Vec::new()), long, put(9, content(1))],
    );
    assert!(answers[0].is_ok());
    assert!(matches!(answers[1], Err(PackError::WrongBytes { .. })));
    assert!(matches!(answers[2], Err(PackError::Length { length: 0 })));
    assert!(matches!(answers[3], Err(PackError::Length { .. })));
    assert!(matches!(answers[4], Err(PackError::Lease { lease: LeaseId(9) })));
    let told: Vec<_> =
        answers.iter().filter_map(|a| a.as_ref().err()).map(PackError::refusal).collect();
    let wrong = FragmentRefusal::WrongBytes(Guid::of(&content(1)));
    let length = FragmentRefusal::Length;
    assert_eq!(told, [wrong, length.clone(), length, FragmentRefusal::Lease]);
    let late = packs.put(END_OF_3, vec![put(3, content(1))]);
    assert!(matches!(late[0], Err(PackError::Ended { .. })));
    packs.check_invariants();
}

#[test]
fn a_lease_takes_as_many_bytes_as_were_granted_also_within_a_batch() {
    let (_root, packs) = open();
    packs.grant(&[Lease { bytes: Bytes(3_000), issued: Time(9), ..lease(1) }]).unwrap();
    let thousand = |seed: u8| put(1, vec![seed; 1_000]);
    let answers = packs.put(Time(1), (0..4).map(thousand).collect());
    assert!(answers[..3].iter().all(Result::is_ok));
    let full = answers[3].as_ref().unwrap_err();
    assert!(matches!(full, PackError::LeaseFull { used: Bytes(3_000), .. }), "{full}");
    assert_eq!(packs.lease(LeaseId(1)).unwrap().used, Bytes(3_000));
    // An older word does not count, a newer one does.
    packs.grant(&[Lease { issued: Time(8), ..lease(1) }]).unwrap();
    assert!(packs.put(Time(1), vec![thousand(9)])[0].is_err());
    packs.grant(&[Lease { issued: Time(10), ..lease(1) }]).unwrap();
    assert!(packs.put(Time(1), vec![thousand(9)])[0].is_ok());
}

#[test]
fn the_same_fragment_twice_in_a_batch_is_kept_once() {
    let (_root, packs) = open();
    let answers = packs.put(Time(1), vec![put(1, content(1)), put(1, content(1))]);
    assert!(!answers[0].as_ref().unwrap().had && answers[1].as_ref().unwrap().had);
    assert_eq!(packs.used().count, 1);
    // Of another lease it is another: nobody's removal is another's loss.
    keep(&packs, 2, &content(1)).unwrap();
    let id = Guid::of(&content(1));
    assert_eq!(packs.remove(LeaseId(1), &[id, Guid::of(b"no")]).unwrap(), 1);
    assert_eq!(packs.get(&id).unwrap(), content(1));
    assert_eq!(packs.remove(LeaseId(2), &[id]).unwrap(), 1);
    assert!(packs.get(&id).is_err());
    packs.check_invariants();
}

#[test]
fn many_threads_put_and_get_at_once() {
    let (_root, packs) = open();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let packs = &packs;
            scope.spawn(move || {
                for seed in 0..20 {
                    let bytes = content(20 * thread + seed);
                    keep(packs, 1 + thread % 2, &bytes).unwrap();
                    assert_eq!(packs.get(&Guid::of(&bytes)).unwrap(), bytes);
                    if seed % 5 == 0 {
                        packs.upkeep(seconds(seed)).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(packs.used().count, 160);
    packs.check_invariants();
}

#[test]
fn a_changed_bit_is_found_reported_and_never_served() {
    let bytes = content(3);
    let id = Guid::of(&bytes);
    // In the header, in the hashes, in the first group, in the last.
    for at in [5, 45, 75, 81, 150, 80 + 64 + 3, 80 + 64 + 17_000] {
        let (root, packs) = open();
        keep(&packs, 1, &bytes).unwrap();
        keep(&packs, 1, &content(4)).unwrap();
        flip(&packs, &root, &id, at);
        let read = packs.get(&id);
        assert!(matches!(read, Err(PackError::Damaged { .. })), "{at}: {read:?}");
        assert!(!packs.has(&id).unwrap());
        assert_eq!(packs.upkeep(seconds(1)).unwrap().damaged, 1);
        let length = bytes.len() as u32;
        let gone = Gone { id, lease: LeaseId(1), length, why: Why::Damaged };
        assert_eq!(packs.take_gone(), (vec![gone], 0));
        assert_eq!(packs.take_gone(), (vec![], 0));
        assert_eq!(packs.get(&Guid::of(&content(4))).unwrap(), content(4));
        packs.check_invariants();
        // It can come again.
        assert!(!keep(&packs, 1, &bytes).unwrap().had);
        assert_eq!(packs.get(&id).unwrap(), bytes);
    }
}

#[test]
fn a_damaged_copy_of_one_lease_is_served_from_the_other() {
    let (root, packs) = open();
    keep(&packs, 1, &content(3)).unwrap();
    keep(&packs, 2, &content(3)).unwrap();
    let id = Guid::of(&content(3));
    flip(&packs, &root, &id, 200);
    assert_eq!(packs.get(&id).unwrap(), content(3));
    assert_eq!(packs.upkeep(seconds(1)).unwrap().damaged, 1);
    assert_eq!(packs.used().count, 1);
}

#[test]
fn the_scrub_finds_what_nobody_reads_and_goes_on_where_it_was() {
    let (root, packs) = open();
    for seed in 0..40 {
        keep(&packs, 1, &content(seed)).unwrap();
    }
    let bad = [Guid::of(&content(2)), Guid::of(&content(20)), Guid::of(&content(39))];
    for id in &bad {
        flip(&packs, &root, id, 300);
    }
    let slow = PackSettings { scrub_rate: Bytes::kib(30), ..small() };
    let mut packs = packs;
    let mut calls = 0;
    while packs.used().count > 37 {
        calls += 1;
        assert!(calls < 60, "it does not get around");
        packs.upkeep(seconds(calls)).unwrap();
        if calls % 3 == 0 {
            packs.save().unwrap();
            drop(packs);
            packs = Packs::open(&dir(&root), slow).unwrap().0;
            packs.upkeep(seconds(calls)).unwrap();
        }
    }
    assert!(calls > 3, "that was all at once");
    for id in bad {
        assert!(!packs.has(&id).unwrap());
    }
    packs.check_invariants();
}

#[test]
fn ended_leases_take_their_packs_along_after_the_grace() {
    let (root, packs) = open();
    for seed in 0..12 {
        keep(&packs, 3, &content(seed)).unwrap();
    }
    let files = pack_files(&dir(&root)).len();
    assert!(files >= 2);
    let at = |after: Span| END_OF_3 + after;
    packs.upkeep(at(Span::secs(1))).unwrap();
    assert_eq!(packs.get(&Guid::of(&content(3))).unwrap(), content(3), "within the grace");
    packs.upkeep(at(GRACE)).unwrap();
    assert_eq!(packs.used().count, 0);
    assert_eq!(pack_files(&dir(&root)).len(), 0);
    assert!(packs.get(&Guid::of(&content(3))).is_err());
    assert_eq!(packs.take_gone().0, [], "nobody misses them");
    packs.upkeep(at(GRACE + Span::secs(11))).unwrap();
    packs.check_invariants();
    assert_eq!(packs.lease(LeaseId(3)), None);
}

#[test]
fn a_renewed_lease_keeps_its_fragments_and_survives_a_restart() {
    let (root, packs) = open();
    for seed in 0..6 {
        keep(&packs, 3, &content(seed)).unwrap();
    }
    let until = Time(END_OF_3.0 + 10 * WEEK);
    packs.grant(&[Lease { until, issued: Time(50), ..lease(3) }]).unwrap();
    drop(packs);
    let (packs, _) = Packs::open(&dir(&root), small()).unwrap();
    for second in 0..5 {
        packs.upkeep(END_OF_3 + GRACE + Span::secs(second)).unwrap();
    }
    assert_eq!(packs.used().count, 6);
    assert_eq!(packs.lease(LeaseId(3)).unwrap().lease.until, until);
}

#[test]
fn packs_of_which_little_is_left_are_emptied_bit_by_bit_and_over_restarts() {
    let (root, packs) = open();
    let mut packs = packs;
    for seed in 0..60 {
        keep(&packs, 1, &content(seed)).unwrap();
    }
    let before = packs.used();
    let ids: Vec<_> = (0..60).filter(|s| s % 5 != 0).map(|s| Guid::of(&content(s))).collect();
    assert_eq!(packs.remove(LeaseId(1), &ids).unwrap(), 48);
    for call in 1..40 {
        let done = packs.upkeep(seconds(call)).unwrap();
        assert!(done.moved <= Bytes::kib(2 * 20 + 18), "throttled");
        packs.check_invariants();
        if call % 4 == 0 {
            drop(packs);
            packs = Packs::open(&dir(&root), small()).unwrap().0;
            packs.upkeep(seconds(call)).unwrap();
        }
    }
    let after = packs.used();
    assert_eq!(after.count, 12);
    assert!(after.packs < before.packs / 2, "{before:?} {after:?}");
    for seed in (0..60).filter(|seed| seed % 5 == 0) {
        assert_eq!(packs.get(&Guid::of(&content(seed))).unwrap(), content(seed));
    }
    let on_disk: u64 =
        pack_files(&dir(&root)).iter().map(|path| path.metadata().unwrap().len()).sum();
    assert!(Bytes(on_disk) < after.disk);
}

#[test]
fn emptying_a_pack_finds_what_is_behind_a_damaged_header_and_reports_what_it_does_not() {
    let (root, packs) = open();
    for seed in 0..10 {
        keep(&packs, 1, &content(seed)).unwrap();
    }
    let all: Vec<_> = (0..10).map(|seed| Guid::of(&content(seed))).collect();
    // The seventh remains with a good header, the fifth with a bad one.
    flip(&packs, &root, &all[5], 9);
    let gone: Vec<_> = (0..10).filter(|n| ![5, 7].contains(n)).map(|n| all[n]).collect();
    packs.remove(LeaseId(1), &gone).unwrap();
    let settings = PackSettings { scrub_rate: Bytes::ZERO, ..small() };
    drop(packs);
    let (packs, _) = Packs::open(&dir(&root), settings).unwrap();
    for call in 1..20 {
        packs.upkeep(seconds(call)).unwrap();
    }
    assert_eq!(packs.get(&all[7]).unwrap(), content(7));
    assert!(!packs.has(&all[5]).unwrap());
    let (gone, _) = packs.take_gone();
    assert_eq!(gone.iter().map(|gone| gone.id).collect::<Vec<_>>(), [all[5]]);
    packs.check_invariants();
}

#[test]
fn the_quota_is_held_and_what_can_be_spared_goes_in_order() {
    let (_root, packs) = open();
    for seed in 0..9 {
        keep(&packs, 1, &content(seed)).unwrap();
        keep(&packs, 3, &content(100 + seed)).unwrap();
    }
    packs.save().unwrap();
    let used = packs.used().disk;
    packs.set_limits(ShelfLimits { quota: used + Bytes(500), free_floor: Bytes::ZERO });
    assert_eq!(packs.room().unwrap().left(), Bytes(500));
    // Cached copies make room for what is kept, and not for other cached copies.
    let full = keep(&packs, 3, &content(500)).unwrap_err();
    assert!(matches!(full, PackError::Quota { .. }), "{full}");
    keep(&packs, 1, &content(501)).unwrap();
    packs.check_invariants();
    assert!(packs.used().count < 19);
    // The owner wants all of it back: what was promised stays, and is told.
    packs.set_limits(ShelfLimits { quota: Bytes(1), free_floor: Bytes::ZERO });
    let done = packs.upkeep(seconds(1)).unwrap();
    assert!(done.room.over > Bytes::ZERO);
    assert_eq!(packs.lease(LeaseId(3)).unwrap().count, 0, "no cached copy is left");
    assert_eq!(packs.lease(LeaseId(1)).unwrap().count, 10);
    // Then what is surplus.
    let spare: Vec<_> = (0..8).map(|seed| Guid::of(&content(seed))).collect();
    assert_eq!(packs.spare(LeaseId(1), &spare, true).unwrap(), 8);
    let surplus: u64 = (0..8).map(|seed| content(seed).len() as u64).sum();
    assert_eq!(packs.room().unwrap().surplus, Bytes(surplus));
    for call in 2..40 {
        packs.upkeep(seconds(call)).unwrap();
        packs.check_invariants();
    }
    assert_eq!(packs.lease(LeaseId(1)).unwrap().count, 2);
    assert_eq!(packs.room().unwrap().surplus, Bytes::ZERO);
    let (gone, more) = packs.take_gone();
    assert_eq!(more, 0);
    assert_eq!(gone.iter().filter(|gone| gone.why == Why::Room).count(), 8);
    assert_eq!(gone.iter().filter(|gone| gone.why == Why::Pack).count(), 9, "cached copies");
    assert!(keep(&packs, 1, &content(502)).is_err());
}

#[test]
fn the_free_floor_is_held() {
    let root = tempdir().unwrap();
    let storage = Arc::new(Faulty::default());
    let (packs, _) = Packs::open_on(storage.clone(), root.path(), small()).unwrap();
    packs.grant(&[lease(1)]).unwrap();
    packs.set_limits(ShelfLimits { quota: Bytes::gib(1), free_floor: Bytes::mib(1) });
    storage.set_free(Bytes::mib(1) + Bytes(1_000));
    keep(&packs, 1, &[1; 900]).unwrap();
    let refused = keep(&packs, 1, &[2; 1_000]).unwrap_err();
    assert!(matches!(refused, PackError::Floor { .. }), "{refused}");
    storage.set_free(Bytes::kib(512));
    assert_eq!(packs.upkeep(seconds(1)).unwrap().room.over, Bytes::kib(512));
}

#[test]
fn a_lost_index_is_made_again_from_the_packs() {
    let (root, packs) = open();
    for seed in 0..20 {
        keep(&packs, 1 + seed % 2, &content(seed)).unwrap();
    }
    packs.save().unwrap();
    drop(packs);
    let index = dir(&root).join("index.redb");
    let length = index.metadata().unwrap().len();
    fs::write(&index, vec![7; length as usize]).unwrap();
    let (packs, opened) = Packs::open(&dir(&root), small()).unwrap();
    assert!(opened.rebuilt && opened.replayed == 20, "{opened:?}");
    packs.check_invariants();
    for seed in 0..20 {
        assert_eq!(packs.get(&Guid::of(&content(seed))).unwrap(), content(seed));
    }
    // Grants have to be shown again before more is put.
    assert!(matches!(keep(&packs, 1, &content(50)), Err(PackError::LeaseFull { .. })));
    packs.grant(&[lease(1)]).unwrap();
    keep(&packs, 1, &content(50)).unwrap();
}

#[test]
fn a_lost_pack_is_reported() {
    let (root, packs) = open();
    for seed in 0..20 {
        keep(&packs, 1, &content(seed)).unwrap();
    }
    packs.save().unwrap();
    drop(packs);
    let files = pack_files(&dir(&root));
    assert!(files.len() > 2);
    fs::remove_file(&files[1]).unwrap();
    let (packs, opened) = Packs::open(&dir(&root), small()).unwrap();
    assert_eq!(opened.packs_lost, 1);
    packs.check_invariants();
    packs.upkeep(seconds(1)).unwrap();
    let left = (0..20).filter(|seed| packs.get(&Guid::of(&content(*seed))).is_ok()).count();
    let (gone, _) = packs.take_gone();
    assert!(!gone.is_empty() && gone.iter().all(|gone| gone.why == Why::Pack));
    assert_eq!(left + gone.len(), 20);
    packs.check_invariants();
}

#[test]
fn the_home_has_packs_of_its_own() {
    let root = tempdir().unwrap();
    let home = crate::Home::open(root.path()).unwrap();
    let (packs, _) = home.packs(small()).unwrap();
    packs.grant(&[lease(1)]).unwrap();
    keep(&packs, 1, &content(1)).unwrap();
    assert!(root.path().join("fragments").is_dir());
    assert!(home.write("fragments", b"no").is_err());
}
