//! A home belongs to one process and keeps its secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::tempdir;

use crate::{Home, HomeError};

fn chmod(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_home_is_private() {
    let root = tempdir().unwrap();
    let dir = root.path().join("a/b");
    let home = Home::open(&dir).unwrap();
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    home.write("policy.toml", b"x").unwrap();
    let mode = dir.join("policy.toml").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_second_opener_learns_who_has_it() {
    let root = tempdir().unwrap();
    let first = Home::open(root.path()).unwrap();
    let refused = Home::open(root.path()).unwrap_err();
    let text = refused.to_string();
    assert!(
        matches!(&refused, HomeError::Busy { pid: Some(pid), .. } if *pid == std::process::id())
    );
    assert!(text.contains(root.path().to_str().unwrap()), "{text}");
    assert!(text.contains("another isos runs in"), "{text}");
    drop(first);
    Home::open(root.path()).unwrap();
}

#[test]
fn a_home_that_everybody_may_write_is_refused() {
    let root = tempdir().unwrap();
    chmod(root.path(), 0o777);
    assert!(matches!(Home::open(root.path()), Err(HomeError::Open { .. })));
}

#[test]
fn a_key_is_made_once_and_stays() {
    let root = tempdir().unwrap();
    let home = Home::open(root.path()).unwrap();
    let key = home.key("host.key").unwrap();
    assert_ne!(key, [0; 32]);
    assert_ne!(home.key("other.key").unwrap(), key);
    drop(home);
    assert_eq!(Home::open(root.path()).unwrap().key("host.key").unwrap(), key);
}

#[test]
fn a_key_that_others_can_read_is_refused_and_kept() {
    let root = tempdir().unwrap();
    let home = Home::open(root.path()).unwrap();
    let key = home.key("host.key").unwrap();
    let path = home.dir().join("host.key");
    chmod(&path, 0o640);
    let text = home.key("host.key").unwrap_err().to_string();
    assert!(text.contains("mode 640") && text.contains("chmod 600"), "{text}");
    chmod(&path, 0o600);
    assert_eq!(home.key("host.key").unwrap(), key);
}

#[test]
fn a_key_of_the_wrong_length_is_refused_and_kept() {
    let root = tempdir().unwrap();
    let home = Home::open(root.path()).unwrap();
    home.write("host.key", b"short").unwrap();
    assert!(matches!(home.key("host.key"), Err(HomeError::NotASecret { size: 5, .. })));
    assert_eq!(home.read("host.key").unwrap().unwrap(), b"short");
}

#[test]
fn files_are_replaced_read_and_removed() {
    let root = tempdir().unwrap();
    let home = Home::open(root.path()).unwrap();
    assert_eq!(home.read("state").unwrap(), None);
    home.write("state", b"one").unwrap();
    home.write("state", b"two").unwrap();
    assert_eq!(home.read("state").unwrap().unwrap(), b"two");
    home.remove("state").unwrap();
    home.remove("state").unwrap();
    assert_eq!(home.read("state").unwrap(), None);
}

#[test]
fn names_cannot_leave_the_home_or_touch_its_own_files() {
    let root = tempdir().unwrap();
    let home = Home::open(root.path()).unwrap();
    let long = "x".repeat(65);
    for bad in ["", ".", "..", ".x", "a/b", "/etc/passwd", "lock", "objects", "x.tmp", "a b", &long]
    {
        assert!(matches!(home.write(bad, b""), Err(HomeError::Name { .. })), "{bad:?}");
        assert!(matches!(home.read(bad), Err(HomeError::Name { .. })), "{bad:?}");
    }
}

#[test]
fn leftovers_of_a_crash_are_removed() {
    let root = tempdir().unwrap();
    fs::write(root.path().join("host.key.tmp"), b"half").unwrap();
    let home = Home::open(root.path()).unwrap();
    assert!(!home.dir().join("host.key.tmp").exists());
    home.key("host.key").unwrap();
}
