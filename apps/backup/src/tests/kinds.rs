//! Files of all kinds go in and come out as they were.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::*;
use crate::progress::Done;

/// A folder with everything.
fn everything(folder: &Path) {
    let file = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    file("empty", b"");
    file("small", b"remember the milk");
    file("large", &noise(1, 300_000));
    file("text", "all work and no play ".repeat(9_000).as_bytes());
    file("secret", b"mine alone");
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"not \xff text\n")), b"odd").unwrap();
    fs::create_dir_all(folder.join("a/deep/folder")).unwrap();
    fs::create_dir(folder.join("a-b")).unwrap();
    fs::create_dir(folder.join("closed")).unwrap();
    file("a/deep/folder/leaf", b"leaf");
    file("a-b/x", b"x");
    file("closed/inside", b"in a folder that nobody may write");
    std::os::unix::fs::symlink("../nowhere", folder.join("dangling")).unwrap();
    std::os::unix::fs::symlink("a/deep", folder.join("to-folder")).unwrap();
    fs::hard_link(folder.join("large"), folder.join("a/same")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("pipe"), mode).unwrap();
    let sparse = fs::File::create(folder.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(&noise(2, 5_000), 8 << 20).unwrap();
    sparse.write_all_at(b"near the end", (64 << 20) - 100_000).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    // Not every file system has them.
    let _ = rustix::fs::setxattr(folder.join("small"), "user.colour", b"blue\0\xff", flags);
    let _ = rustix::fs::setxattr(folder.join("a"), "user.folder", b"", flags);
    set_mode(&folder.join("secret"), 0o400);
    set_mode(&folder.join("small"), 0o777);
    set_mode(&folder.join("a-b"), 0o1751);
    set_mtime(&folder.join("small"), -1_000, 7);
    set_mtime(&folder.join("dangling"), 1_000_000_000, 123_456_789);
    set_mtime(&folder.join("a"), 1_234_567_890, 987_654_321);
    set_mode(&folder.join("closed"), 0o555);
}

#[test]
fn everything_comes_back_with_all_that_it_had() {
    let folder = tempfile::tempdir().unwrap();
    everything(folder.path());
    let mut memory = Memory::default();
    let created = keep(&plan(folder.path()), None, &mut memory);
    assert_eq!(created.problems, Problems::default());
    assert!(!created.head.partial);
    let (target, restored) = back(&created, folder.path(), &mut memory);
    assert_eq!(restored.problems, Problems::default());
    assert_eq!(described(&target), described(folder.path()));
    let sparse = |base: &Path| base.join("sparse").metadata().unwrap().blocks() * 512;
    assert!(sparse(&target) <= sparse(folder.path()).max(1 << 20), "holes stay holes");
    assert!(created.head.stats.read < 1 << 20, "holes are not read: {:?}", created.head.stats);
    // Upon it, everything is still there, read or not.
    let again = keep(&plan(folder.path()), Some(&created), &mut memory);
    let (target, _) = back(&again, folder.path(), &mut memory);
    assert_eq!(described(&target), described(folder.path()));
    let verified =
        verify(&mut opened(&again, &mut memory), Some(&owner()), &mut memory, &mut Silent);
    assert_eq!(verified.unwrap().problems, Problems::default());
}

#[test]
fn a_socket_is_said_and_a_missing_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let created = keep(&plan(folder.path()), None, &mut Memory::default());
    assert_eq!(created.problems.first[0].trouble, Trouble::Socket);
    assert!(!created.head.partial, "nothing is missing");
    let text = created.problems.first[0].to_string();
    assert!(text.ends_with("/socket is a socket, which is not kept"), "{text}");
    for (path, wanted) in [("/no/such/folder", "cannot read"), ("relative", "absolute")] {
        let plan = Plan { paths: vec![path.into()], ..plan(folder.path()) };
        let failed = create(&owner(), &plan, None, &mut Memory::default(), &mut Silent);
        assert!(failed.unwrap_err().to_string().contains(wanted));
    }
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("closed"), b"closed").unwrap();
    fs::write(folder.path().join("open"), b"open").unwrap();
    set_mode(&folder.path().join("closed"), 0);
    if fs::read(folder.path().join("closed")).is_ok() {
        return; // Nothing is closed to root.
    }
    let mut memory = Memory::default();
    let created = keep(&plan(folder.path()), None, &mut memory);
    assert!(created.head.partial);
    assert_eq!(created.problems.first[0].trouble, Trouble::Unreadable);
    let (target, _) = back(&created, folder.path(), &mut memory);
    assert_eq!(fs::read(target.join("open")).unwrap(), b"open");
}

/// Writes to a file as soon as its first chunk was read; stops when told so.
struct Meddler {
    path: PathBuf,
    done: bool,
}

impl Observer for Meddler {
    fn progress(&mut self, done: &Done<'_>) -> ControlFlow<()> {
        if done.stats.read > 0 && !self.done {
            self.done = true;
            let mut file = fs::OpenOptions::new().append(true).open(&self.path).unwrap();
            std::io::Write::write_all(&mut file, b"more").unwrap();
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_said_and_read_again_next_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, noise(3, 3 << 20)).unwrap();
    let mut memory = Memory::default();
    let mut meddler = Meddler { path: path.clone(), done: false };
    let first = plan(folder.path());
    let created = create(&owner(), &first, None, &mut memory, &mut meddler).unwrap();
    assert_eq!(created.problems.first[0].trouble, Trouble::Changed);
    let again = keep(&plan(folder.path()), Some(&created), &mut memory);
    assert_eq!((again.head.stats.unchanged, again.problems.count), (0, 0));
    let (target, _) = back(&again, folder.path(), &mut memory);
    assert_eq!(described(&target), described(folder.path()));
}

struct Stopper;

impl Observer for Stopper {
    fn progress(&mut self, done: &Done<'_>) -> ControlFlow<()> {
        if done.path.ends_with(b"b") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn who_watches_can_stop_it() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let mut memory = Memory::default();
    let created = keep(&plan(folder.path()), None, &mut memory);
    let stopped = create(&owner(), &plan(folder.path()), None, &mut memory, &mut Stopper);
    assert!(matches!(stopped, Err(BackupError::Stopped)));
    let target = tempfile::tempdir().unwrap();
    let plan = RestorePlan { target: target.path().to_owned(), ..RestorePlan::default() };
    let stopped =
        restore(&mut opened(&created, &mut memory), &plan, &mut memory.clone(), &mut Stopper);
    assert!(matches!(stopped, Err(BackupError::Stopped)));
}

#[test]
fn several_folders_are_kept_under_their_whole_paths() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    for name in ["x/in", "y/in", "z"] {
        fs::create_dir_all(base.join(name)).unwrap();
        fs::write(base.join(name).join("f"), name).unwrap();
    }
    let paths = vec![base.join("y"), base.join("x"), base.join("x/in"), base.join("y/in/f")];
    let mut memory = Memory::default();
    let created = keep(&Plan { paths, ..plan(&base) }, None, &mut memory);
    let kept = [base.join("x"), base.join("y")].map(|it| it.as_os_str().as_bytes().to_vec());
    assert_eq!(created.head.paths, kept);
    let (target, restored) = back(&created, Path::new("/"), &mut memory);
    assert_eq!((restored.stats.files, restored.problems.count), (2, 0));
    let inside = target.join(base.strip_prefix("/").unwrap());
    assert_eq!(fs::read(inside.join("y/in/f")).unwrap(), b"y/in");
    assert!(!inside.join("z").exists());
}
