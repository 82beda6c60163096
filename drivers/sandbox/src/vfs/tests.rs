//! The rules that programs seldom meet, tried without a program.

use std::sync::Arc;

use isos_base::job::Mount;
use isos_base::{Bytes, Guid};

use super::inputs::{InDir, Source};
use super::memory::{Memory, Quota};
use super::{Kind, Node, Open, Vfs};
use crate::stop::{Errno, No, Stop};

const QUOTA: Quota = Quota { out: 100, out_nodes: 4, tmp: 50 };
const CREATE: Open =
    Open { create: true, exclusive: false, truncate: false, directory: false, write: true };

fn vfs() -> Vfs {
    let mount = |path: &str| Mount { path: path.into(), guid: Guid::of(b""), size: Bytes(3) };
    let inputs = InDir::of(&[mount("a/b/c"), mount("a/d"), mount("e")]);
    let source = Source::open(std::path::Path::new("/"), None).expect("a root folder");
    Vfs::new(Arc::new(inputs), Arc::new(source), Memory::new(QUOTA))
}

fn write(vfs: &mut Vfs, path: &str, bytes: &[u8]) -> Result<(), No> {
    let handle = vfs.open(&Node::Root, path, CREATE)?;
    let done = vfs.write(&handle, 0, bytes);
    vfs.close(handle);
    done
}

fn paths(vfs: &mut Vfs) -> Vec<String> {
    let files = vfs.memory.take_output().expect("plain paths");
    files.into_iter().map(|file| file.path).collect()
}

#[test]
fn inputs_make_a_tree_whose_inodes_are_the_same_everywhere() {
    let vfs = vfs();
    let stat = |path: &str| vfs.stat_at(&Node::Root, path).expect("an input");
    assert_eq!(stat("in/a").kind, Kind::Dir);
    assert_eq!((stat("in/a/b/c").kind, stat("in/a/b/c").size), (Kind::File, 3));
    assert_eq!(stat("in/a/b/../d").inode, stat("in/a/d").inode);
    assert_ne!(stat("in/a/d").inode, stat("in/e").inode);
    assert_eq!(stat("a/d").inode, stat("in/a/d").inode);
    assert_eq!(stat("in/e").inode, 16_858_533_681_743_641_383);
}

#[test]
fn the_quota_of_out_ends_the_program_and_that_of_tmp_says_no_space() {
    let mut vfs = vfs();
    assert_eq!(write(&mut vfs, "out/a", &[1; 60]), Ok(()));
    assert_eq!(write(&mut vfs, "out/b", &[1; 41]), Err(No::Stop(Stop::OutputTooLarge)));
    assert_eq!(vfs.memory.charge_out(41), Err(Stop::OutputTooLarge));
    assert_eq!(vfs.memory.charge_out(40), Ok(()));
    assert_eq!(write(&mut vfs, "tmp/a", &[1; 51]), Err(No::Errno(Errno::NoSpace)));
    assert_eq!(write(&mut vfs, "tmp/a", &[1; 50]), Ok(()));
    vfs.remove(&Node::Root, "tmp/a", Kind::File).expect("removed");
    assert_eq!(write(&mut vfs, "tmp/b", &[1; 50]), Ok(()));
}

#[test]
fn more_files_than_an_output_may_have_end_the_program() {
    let mut vfs = vfs();
    for path in ["out/1", "out/2", "out/3", "out/4"] {
        assert_eq!(write(&mut vfs, path, b""), Ok(()));
    }
    assert_eq!(write(&mut vfs, "out/5", b""), Err(No::Stop(Stop::OutputTooLarge)));
}

#[test]
fn a_removed_file_lives_until_its_last_handle_is_closed() {
    let mut vfs = vfs();
    let handle = vfs.open(&Node::Root, "tmp/x", CREATE).expect("opened");
    vfs.write(&handle, 0, &[7; 50]).expect("written");
    vfs.remove(&Node::Root, "tmp/x", Kind::File).expect("removed");
    let mut buffer = [0; 8];
    assert_eq!(vfs.read(&handle, 48, &mut buffer), Ok(2));
    assert_eq!(write(&mut vfs, "tmp/y", &[1]), Err(No::Errno(Errno::NoSpace)));
    vfs.close(handle);
    assert_eq!(write(&mut vfs, "tmp/y", &[1]), Ok(()));
}

#[test]
fn folders_move_with_what_is_in_them_but_not_into_themselves() {
    let mut vfs = vfs();
    let root = Node::Root;
    vfs.create_dir(&root, "out/a").expect("made");
    vfs.create_dir(&root, "out/a/b").expect("made");
    write(&mut vfs, "out/a/b/f", b"1").expect("written");
    let inside = vfs.rename((&root, "out/a"), (&root, "out/a/b/c"));
    assert_eq!(inside, Err(No::Errno(Errno::Invalid)));
    vfs.rename((&root, "out/a"), (&root, "out/z")).expect("moved");
    assert_eq!(vfs.remove(&root, "out/z/b", Kind::Dir), Err(Errno::NotEmpty));
    assert_eq!(paths(&mut vfs), ["z/b/f"]);
}

#[test]
fn a_folder_that_was_removed_while_open_takes_nothing() {
    let mut vfs = vfs();
    vfs.create_dir(&Node::Root, "out/a").expect("made");
    let handle = vfs.open(&Node::Root, "out/a", Open::default()).expect("opened");
    vfs.remove(&Node::Root, "out/a", Kind::Dir).expect("removed");
    let node = handle.node.clone();
    assert_eq!(vfs.create_dir(&node, "b"), Err(No::Errno(Errno::NoEntry)));
    vfs.close(handle);
    assert!(paths(&mut vfs).is_empty());
}

#[test]
fn names_that_an_output_cannot_have_are_refused() {
    let mut vfs = vfs();
    let long = "x".repeat(256);
    for (path, errno) in [
        ("out/a\\b", Errno::Invalid),
        ("out/a\0b", Errno::Invalid),
        ("", Errno::NoEntry),
        ("/out/a", Errno::NotCapable),
        ("../a", Errno::NotCapable),
        (&format!("out/{long}"), Errno::NameTooLong),
        ("out/", Errno::IsDirectory),
        ("in/e/f", Errno::NotDirectory),
    ] {
        let open = Open { truncate: true, ..CREATE };
        let answer = vfs.open(&Node::Root, path, open).map(drop);
        assert_eq!(answer, Err(No::Errno(errno)), "{path:?}");
    }
}

#[test]
fn a_tower_of_renamed_folders_is_deep_and_no_work() {
    let mut vfs = Vfs { memory: Memory::new(Quota { out_nodes: 4_000, ..QUOTA }), ..vfs() };
    let root = Node::Root;
    vfs.create_dir(&root, "out/a").expect("made");
    let bottom = vfs.open(&root, "out/a", Open::default()).expect("opened");
    for _ in 0..3_000 {
        vfs.create_dir(&root, "out/b").expect("made");
        vfs.rename((&root, "out/a"), (&root, "out/b/a")).expect("moved");
        vfs.rename((&root, "out/b"), (&root, "out/a")).expect("moved");
    }
    let node = bottom.node.clone();
    assert_eq!(vfs.create_dir(&node, "x"), Err(No::Errno(Errno::NameTooLong)));
    let into_itself = vfs.rename((&root, "out/a"), (&node, "x"));
    assert_eq!(into_itself, Err(No::Errno(Errno::NameTooLong)));
    vfs.close(bottom);
    assert_eq!(vfs.memory.take_output(), Err(Stop::OutputTooLarge));
}

#[test]
fn one_task_has_no_more_inputs_open_than_the_child_has_room_for() {
    let folder = tempfile::TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("e"), b"abc").expect("a file");
    let source = Source::open(folder.path(), None).expect("a folder");
    let mut vfs = Vfs { source: Arc::new(source), ..vfs() };
    let open = |vfs: &mut Vfs| vfs.open(&Node::Root, "in/e", Open::default());
    let mut handles: Vec<_> =
        (0..super::OPEN_INPUTS_MAX).map(|_| open(&mut vfs).expect("room")).collect();
    assert_eq!(open(&mut vfs).map(drop), Err(No::Errno(Errno::TooManyDescriptors)));
    let one = handles.pop().expect("many");
    assert_eq!(vfs.reopen(&one).map(drop), Err(No::Errno(Errno::TooManyDescriptors)));
    vfs.close(one);
    handles.push(open(&mut vfs).expect("room again"));
}
