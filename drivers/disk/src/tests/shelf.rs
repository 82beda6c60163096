//! What is on the shelf is right, within its limits, and refusals say why.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use isos_base::{Bytes, Guid};
use tempfile::{TempDir, tempdir};

use super::crash::{Fault, Faulty};
use super::roomy;
use crate::{Durability, Shelf, ShelfError, ShelfLimits};

fn shelf_with(limits: ShelfLimits) -> (TempDir, Shelf) {
    let root = tempdir().unwrap();
    let shelf = Shelf::open(&root.path().join("objects"), limits, Durability::Cache).unwrap();
    (root, shelf)
}

fn shelf() -> (TempDir, Shelf) {
    shelf_with(roomy())
}

fn quota(bytes: u64) -> ShelfLimits {
    ShelfLimits { quota: Bytes(bytes), free_floor: Bytes::ZERO }
}

fn reopen(root: &TempDir) -> Shelf {
    Shelf::open(&root.path().join("objects"), roomy(), Durability::Cache).unwrap()
}

/// Changes the object's file behind the shelf's back.
fn tamper(shelf: &Shelf, guid: &Guid, bytes: &[u8]) -> PathBuf {
    let path = shelf.path(guid).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn temp_files(root: &TempDir) -> usize {
    fs::read_dir(root.path().join("objects/tmp")).unwrap().count()
}

#[test]
fn what_was_put_comes_back_also_after_reopening() {
    let (root, shelf) = shelf();
    let guid = shelf.put(b"hello").unwrap();
    assert_eq!(guid, Guid::of(b"hello"));
    assert_eq!(shelf.put(b"hello").unwrap(), guid);
    assert_eq!(shelf.used(), Bytes(5));
    let empty = shelf.put(b"").unwrap();
    let shelf = reopen(&root);
    assert!(shelf.contains(&guid) && shelf.contains(&empty));
    assert_eq!(shelf.size(&guid), Some(Bytes(5)));
    assert_eq!(shelf.read(&guid, Bytes(5)).unwrap(), b"hello");
    assert_eq!(shelf.read(&empty, Bytes(0)).unwrap(), b"");
    assert_eq!(shelf.list().len(), 2);
    let (mut file, size) = shelf.open_object(&guid).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), size), ("hello", Bytes(5)));
}

#[test]
fn what_is_not_here_is_missing() {
    let (_root, shelf) = shelf();
    let guid = Guid::of(b"elsewhere");
    assert!(matches!(shelf.read(&guid, Bytes(9)), Err(ShelfError::Missing { .. })));
    assert!(matches!(shelf.path(&guid), Err(ShelfError::Missing { .. })));
    assert!(!shelf.remove(&guid).unwrap());
}

#[test]
fn reading_more_than_the_caller_allows_is_refused() {
    let (_root, shelf) = shelf();
    let guid = shelf.put(b"hello").unwrap();
    let text = shelf.read(&guid, Bytes(4)).unwrap_err().to_string();
    assert_eq!(text, "an object of 5 B is too large: the limit here is 4 B");
}

#[test]
fn pieces_make_an_object() {
    let (root, shelf) = shelf();
    let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let mut writer = shelf.writer(Guid::of(&bytes), Bytes(bytes.len() as u64)).unwrap();
    assert_eq!(shelf.reserved(), Bytes(400_000));
    for piece in bytes.chunks(7_777) {
        writer.write(piece).unwrap();
    }
    assert!(!shelf.contains(&Guid::of(&bytes)));
    let guid = writer.finish().unwrap();
    assert_eq!(shelf.read(&guid, Bytes::mib(1)).unwrap(), bytes);
    assert_eq!((shelf.reserved(), temp_files(&root)), (Bytes::ZERO, 0));
}

#[test]
fn an_unnamed_object_gets_the_name_of_its_bytes() {
    let (_root, shelf) = shelf();
    let mut writer = shelf.writer_unnamed(Bytes(100)).unwrap();
    writer.write(b"out").unwrap();
    writer.write(b"put").unwrap();
    assert_eq!(writer.finish().unwrap(), Guid::of(b"output"));
    assert_eq!((shelf.used(), shelf.reserved()), (Bytes(6), Bytes::ZERO));
}

#[test]
fn wrong_short_long_and_abandoned_bytes_leave_nothing() {
    let (root, shelf) = shelf();
    let guid = Guid::of(b"right");
    let mut wrong = shelf.writer(guid, Bytes(5)).unwrap();
    wrong.write(b"wrong").unwrap();
    let refused = wrong.finish().unwrap_err();
    assert!(matches!(refused, ShelfError::WrongBytes { got, .. } if got == Guid::of(b"wrong")));
    let mut short = shelf.writer(guid, Bytes(5)).unwrap();
    short.write(b"righ").unwrap();
    let refused = short.finish().unwrap_err();
    assert!(matches!(refused, ShelfError::WrongSize { wanted: 5, got: 4 }));
    let mut long = shelf.writer(guid, Bytes(5)).unwrap();
    long.write(b"right").unwrap();
    assert!(matches!(long.write(b"!"), Err(ShelfError::WrongSize { wanted: 5, got: 6 })));
    drop(long);
    shelf.writer(guid, Bytes(5)).unwrap().write(b"rig").unwrap();
    assert!(shelf.list().is_empty());
    assert_eq!((shelf.used(), shelf.reserved(), temp_files(&root)), (Bytes(0), Bytes(0), 0));
}

#[test]
fn two_writers_of_one_object_make_one() {
    let (_root, shelf) = shelf();
    let mut writers = [0; 2].map(|_| shelf.writer(Guid::of(b"same"), Bytes(4)).unwrap());
    for writer in &mut writers {
        writer.write(b"same").unwrap();
    }
    for writer in writers {
        writer.finish().unwrap();
    }
    assert_eq!((shelf.used(), shelf.list().len()), (Bytes(4), 1));
}

#[test]
fn the_quota_counts_promises_and_names_the_numbers() {
    let (_root, shelf) = shelf_with(quota(10));
    let guid = shelf.put(b"123456").unwrap();
    let promise = shelf.writer_unnamed(Bytes(3)).unwrap();
    let text = shelf.put(b"xx").unwrap_err().to_string();
    assert_eq!(
        text,
        "an object of 2 B does not fit: the shelf holds 9 B of 10 B allowed; raise the disk limit \
         or remove objects"
    );
    drop(promise);
    shelf.put(b"xx").unwrap();
    assert!(shelf.contains(&guid));
    shelf.set_limits(quota(4));
    assert!(matches!(shelf.put(b"y"), Err(ShelfError::Quota { .. })));
    assert_eq!(shelf.read(&guid, Bytes(9)).unwrap(), b"123456");
}

#[test]
fn the_floor_and_a_full_disk_are_told_apart() {
    let root = tempdir().unwrap();
    let storage = Arc::new(Faulty::default());
    let limits = ShelfLimits { quota: Bytes::gib(1), free_floor: Bytes::kib(6) };
    let shelf = Shelf::open_on(storage.clone(), root.path(), limits, Durability::Cache).unwrap();
    storage.set_free(Bytes::kib(10));
    let kept = shelf.put(&[1; 4096]).unwrap();
    let text = shelf.put(&[2; 5120]).unwrap_err().to_string();
    assert!(text.contains("10 KiB are free at") && text.contains("6 KiB must stay"), "{text}");
    let text = shelf.put(&[2; 11 << 10]).unwrap_err().to_string();
    assert!(text.starts_with("the disk is full: an object of 11 KiB"), "{text}");
    // Somebody else took the room between our look and our write.
    storage.fail_next_write(Fault::Full);
    assert!(matches!(shelf.put(&[2; 1024]), Err(ShelfError::DiskFull { .. })));
    storage.fail_next_write(Fault::Broken);
    assert!(matches!(shelf.put(&[2; 1024]), Err(ShelfError::Disk { what: "write", .. })));
    assert_eq!((shelf.list().len(), shelf.used()), (1, Bytes(4096)));
    assert_eq!(shelf.reserved(), Bytes::ZERO);
    assert_eq!(shelf.read(&kept, Bytes::mib(1)).unwrap(), [1; 4096]);
}

#[test]
fn nothing_beyond_the_limit_of_isos() {
    let (_root, shelf) = shelf_with(quota(u64::MAX));
    let huge = isos_base::limits::OBJECT_BYTES_MAX + Bytes(1);
    assert!(matches!(shelf.writer_unnamed(huge), Err(ShelfError::TooLarge { .. })));
    assert!(matches!(shelf.writer_unnamed(Bytes(u64::MAX)), Err(ShelfError::TooLarge { .. })));
}

#[test]
fn damage_is_noticed_named_and_removed() {
    let (_root, shelf) = shelf();
    for way in 0..4 {
        let guid = shelf.put(b"precious").unwrap();
        let path = tamper(&shelf, &guid, b"pRecious");
        let refused = match way {
            0 => shelf.read(&guid, Bytes(8)).map(drop),
            1 => shelf.verify(&guid).map(drop),
            2 => {
                fs::write(&path, b"precious and more").unwrap();
                shelf.read(&guid, Bytes(8)).map(drop)
            }
            _ => {
                fs::write(&path, b"prec").unwrap();
                shelf.verify(&guid).map(drop)
            }
        };
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains(&guid.to_string()), "{refused}");
        assert!(matches!(refused, ShelfError::Damaged { .. }));
        assert!(!path.exists() && !shelf.contains(&guid));
        assert_eq!(shelf.used(), Bytes::ZERO);
    }
}

#[test]
fn objects_of_an_earlier_process_are_checked_when_first_used() {
    let (root, shelf) = shelf();
    let guid = shelf.put(b"precious").unwrap();
    tamper(&shelf, &guid, b"pRecious");
    let shelf = reopen(&root);
    let folder = tempdir().unwrap();
    let refused = shelf.link_into(&guid, folder.path(), "in").unwrap_err();
    assert!(matches!(refused, ShelfError::Damaged { .. }));
    assert!(!folder.path().join("in").exists());
    assert!(matches!(shelf.path(&guid), Err(ShelfError::Missing { .. })));
}

#[test]
fn a_file_removed_behind_our_back_is_missing_once_and_for_all() {
    let (_root, shelf) = shelf();
    let guid = shelf.put(b"x").unwrap();
    fs::remove_file(shelf.path(&guid).unwrap()).unwrap();
    assert!(matches!(shelf.read(&guid, Bytes(1)), Err(ShelfError::Missing { .. })));
    assert_eq!((shelf.contains(&guid), shelf.used()), (false, Bytes::ZERO));
}

#[test]
fn opening_drops_leftovers_and_torn_files_and_leaves_strangers() {
    let (root, shelf) = shelf();
    let (good, torn) = (shelf.put(b"good").unwrap(), shelf.put(b"torn").unwrap());
    let torn_path = tamper(&shelf, &torn, b"to");
    let stranger = torn_path.with_file_name("README");
    fs::write(&stranger, b"mine").unwrap();
    fs::write(root.path().join("objects/tmp/17"), b"half").unwrap();
    let shelf = reopen(&root);
    assert_eq!(shelf.list(), [(good, Bytes(4))]);
    assert_eq!(temp_files(&root), 0);
    assert!(!torn_path.exists() && stranger.exists());
}

#[test]
fn an_input_is_linked_read_only_where_it_belongs() {
    let (_root, shelf) = shelf();
    let guid = shelf.put(b"ACGT").unwrap();
    let folder = tempdir().unwrap();
    shelf.link_into(&guid, folder.path(), "a/b/genes.fa").unwrap();
    let file = folder.path().join("a/b/genes.fa");
    assert_eq!(fs::read(&file).unwrap(), b"ACGT");
    let found = file.metadata().unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o444);
    assert_eq!(found.ino(), shelf.path(&guid).unwrap().metadata().unwrap().ino());
    // Taken, and paths that would leave the folder.
    assert!(shelf.link_into(&guid, folder.path(), "a/b/genes.fa").is_err());
    for bad in ["../x", "/x", "a//b", ""] {
        let refused = shelf.link_into(&guid, folder.path(), bad).unwrap_err();
        assert!(matches!(refused, ShelfError::Path { .. }), "{bad:?}");
    }
    shelf.remove(&guid).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"ACGT");
}

#[test]
fn an_input_is_copied_where_links_do_not_reach() {
    let other = PathBuf::from("/dev/shm");
    let (root, shelf) = shelf();
    let device = |path: &std::path::Path| path.metadata().map(|found| found.dev()).ok();
    if device(&other).is_none_or(|dev| Some(dev) == device(root.path())) {
        return;
    }
    let guid = shelf.put(b"ACGT").unwrap();
    let Ok(folder) = tempfile::tempdir_in(other) else {
        return;
    };
    shelf.link_into(&guid, folder.path(), "genes.fa").unwrap();
    let file = folder.path().join("genes.fa");
    assert_eq!(fs::read(&file).unwrap(), b"ACGT");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o444);
}

#[test]
fn eviction_takes_the_least_recently_used_and_spares_pins() {
    let (_root, shelf) = shelf();
    let [a, b, c, d] = [b"aaaa", b"bbbb", b"cccc", b"dddd"].map(|x| shelf.put(x).unwrap());
    shelf.read(&a, Bytes(4)).unwrap();
    let (pin, again) = (shelf.pin(&b), shelf.pin(&b));
    drop(again);
    assert_eq!(shelf.evict_to(Bytes(11)).unwrap(), Bytes(8));
    assert!(shelf.contains(&a) && shelf.contains(&b));
    assert!(!shelf.contains(&c) && !shelf.contains(&d));
    assert!(matches!(shelf.remove(&b), Err(ShelfError::Pinned { .. })));
    assert_eq!(shelf.evict_to(Bytes::ZERO).unwrap(), Bytes(4));
    assert_eq!(pin.guid(), &b);
    drop(pin);
    assert_eq!(shelf.evict_to(Bytes::ZERO).unwrap(), Bytes::ZERO);
    assert!(shelf.list().is_empty());
}

#[test]
fn room_is_made_only_when_it_suffices() {
    let (_root, shelf) = shelf_with(quota(12));
    let [a, b, c] = [b"aaaa", b"bbbb", b"cccc"].map(|x| shelf.put(x).unwrap());
    shelf.make_room(Bytes::ZERO).unwrap();
    assert_eq!(shelf.used(), Bytes(12));
    let _pin = shelf.pin(&a);
    assert!(matches!(shelf.make_room(Bytes(9)), Err(ShelfError::Quota { .. })));
    assert!(matches!(shelf.make_room(Bytes(13)), Err(ShelfError::Quota { .. })));
    assert_eq!(shelf.used(), Bytes(12));
    shelf.make_room(Bytes(3)).unwrap();
    assert!(shelf.contains(&a) && !shelf.contains(&b) && shelf.contains(&c));
    shelf.put(b"new").unwrap();
}

#[test]
fn many_threads_keep_the_count() {
    let (root, shelf) = shelf();
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let shelf = &shelf;
            scope.spawn(move || {
                for n in 0..50u32 {
                    // Half of them are the same for all threads.
                    let tag = if n % 2 == 0 { 0 } else { thread };
                    let guid = shelf.put(&[tag, n].map(u32::to_le_bytes).concat()).unwrap();
                    if n % 5 == 0 {
                        shelf.remove(&guid).unwrap();
                    }
                }
            });
        }
    });
    let sum: u64 = shelf.list().iter().map(|(_, size)| size.0).sum();
    assert_eq!(shelf.used(), Bytes(sum));
    assert_eq!(reopen(&root).list(), shelf.list());
    assert_eq!(shelf.reserved(), Bytes::ZERO);
}
