//! What is stored of a second snapshot.

use std::fs;

use isos_store::chunk::Profile;

use super::*;

#[test]
fn an_unchanged_folder_stores_no_contents_again_and_names_the_same_objects() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..300_u64 {
        let sub = folder.path().join(format!("{}", number % 7));
        fs::create_dir_all(&sub).unwrap();
        fs::write(sub.join(number.to_string()), noise(number, 100 * number as usize)).unwrap();
    }
    let mut memory = Memory::default();
    let first = keep(&plan(folder.path()), None, &mut memory);
    assert!(first.head.objects.len() > 5, "{:?}", first.head.objects.len());
    let before = memory.segments.len();
    for force in [false, true] {
        let again = Plan { force, ..plan(folder.path()) };
        let second = keep(&again, Some(&first), &mut memory);
        assert_eq!(second.head.objects, first.head.objects);
        let stats = second.head.stats;
        assert_eq!((stats.new, stats.bytes), (0, first.head.stats.bytes));
        assert_eq!(stats.unchanged, if force { 0 } else { 300 });
        assert_eq!(stats.read, if force { first.head.stats.bytes } else { 0 });
    }
    // A head each, and nothing else.
    assert_eq!(memory.segments.len(), before + 2);
    // A moved folder is the same bytes elsewhere.
    fs::rename(folder.path().join("3"), folder.path().join("9")).unwrap();
    let third = keep(&plan(folder.path()), Some(&first), &mut memory);
    assert_eq!(third.head.stats.new, 0);
}

#[test]
fn a_changed_byte_in_a_large_file_stores_a_few_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let mut bytes = noise(1, 100_000_000);
    fs::write(&path, &bytes).unwrap();
    let settings = Settings { profile: Profile::BACKUP, ..small() };
    let plan = |folder: &Path| Plan { settings, object_bytes: Some(16 << 20), ..plan(folder) };
    let mut memory = Memory::default();
    let first = keep(&plan(folder.path()), None, &mut memory);
    assert_eq!(first.head.stats.new, 100_000_000);
    bytes[40_000_000] ^= 1;
    bytes.insert(70_000_000, 7);
    fs::write(&path, &bytes).unwrap();
    let second = keep(&plan(folder.path()), Some(&first), &mut memory);
    let new = second.head.stats.new;
    assert!((1..4 * (4 << 20)).contains(&new), "{new}");
    let shared = first.head.objects.iter().filter(|it| second.head.objects.contains(it)).count();
    assert!(shared >= 2, "{shared} objects of {} stay", first.head.objects.len());
    let (target, _) = back(&second, folder.path(), &mut memory);
    assert!(fs::read(target.join("disk")).unwrap() == bytes);
    let verified =
        verify(&mut opened(&second, &mut memory), Some(&owner()), &mut memory, &mut Silent);
    let verified = verified.unwrap();
    assert_eq!((verified.damaged, verified.stats.read), (0, bytes.len() as u64));
}

#[test]
fn what_was_written_in_the_same_tick_as_a_snapshot_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    fs::write(&path, b"one").unwrap();
    let now = Time(later(folder.path()).0 - 10_000_000);
    let mut memory = Memory::default();
    let first = keep(&Plan { time: now, ..plan(folder.path()) }, None, &mut memory);
    let second = keep(&plan(folder.path()), Some(&first), &mut memory);
    assert_eq!((second.head.stats.unchanged, second.head.stats.read), (0, 3));
    let third = keep(&plan(folder.path()), Some(&second), &mut memory);
    assert_eq!((third.head.stats.unchanged, third.head.stats.read), (1, 0));
}

#[test]
fn equal_files_are_stored_once_also_in_different_objects() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..40 {
        let seed = number % 4;
        fs::write(folder.path().join(format!("{number:02}")), noise(seed, 60_000)).unwrap();
    }
    let mut memory = Memory::default();
    let created = keep(&plan(folder.path()), None, &mut memory);
    assert_eq!(created.head.stats.new, 240_000);
    let (target, _) = back(&created, folder.path(), &mut memory);
    assert_eq!(described(&target), described(folder.path()));
}

#[test]
fn segments_of_which_little_is_used_are_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..100_u64 {
        fs::write(folder.path().join(format!("{number:03}")), noise(number, 9_000)).unwrap();
    }
    let plan = |folder: &Path| Plan { object_bytes: None, ..plan(folder) };
    let mut memory = Memory::default();
    let first = keep(&plan(folder.path()), None, &mut memory);
    for number in 10..100 {
        fs::remove_file(folder.path().join(format!("{number:03}"))).unwrap();
    }
    // It names the old segment, of which a tenth is in use; the next one does so no more.
    let second = keep(&plan(folder.path()), Some(&first), &mut memory);
    assert_eq!(second.head.stats.new, 0);
    let third = keep(&plan(folder.path()), Some(&second), &mut memory);
    assert_eq!(third.head.stats.new, 90_000);
    let fourth = keep(&plan(folder.path()), Some(&third), &mut memory);
    assert_eq!((fourth.head.stats.new, fourth.head.stats.unchanged), (0, 10));
    let (target, _) = back(&fourth, folder.path(), &mut memory);
    assert_eq!(described(&target), described(folder.path()));
}
