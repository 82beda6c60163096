//! `isos dev` leaves nothing behind, however it ends, and takes nothing from another.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::{PATIENCE, isos, wait_until};

/// `isos dev` with one host, once it says that it is ready.
fn dev(home: &Path) -> (Child, Value) {
    let mut child = isos()
        .args(["dev", "--json", "--hosts", "1", "--home"])
        .arg(home)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let _ = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
    let first: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
        panic!("it did not start ({error}): {line}");
    });
    (child, first["data"].clone())
}

/// The processes that were started with this folder, or one in it.
fn processes_of(home: &Path) -> Vec<u32> {
    let home = home.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if line.split('\0').any(|word| word.starts_with(home)) {
            found.push(pid);
        }
    }
    found
}

#[test]
fn what_dev_started_ends_with_it_however_it_ends() {
    for signal in [Signal::KILL, Signal::HUP] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, ready) = dev(folder.path());
        let server = ready["pid"].as_u64().unwrap() as u32;
        let started = processes_of(folder.path());
        assert!(started.len() >= 3 && started.contains(&server), "{started:?}");
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.success(), signal == Signal::HUP, "{status}");
        let gone = wait_until(PATIENCE, || processes_of(folder.path()).is_empty());
        assert!(gone, "{signal:?}: {:?} go on", processes_of(folder.path()));
    }
}

#[test]
fn a_folder_has_one_dev_and_a_machine_one_note() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, ready) = dev(folder.path());
    let log = folder.path().join("complex.log");
    let said = fs::metadata(&log).unwrap().len();
    let second = isos().args(["dev", "--home"]).arg(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{text}");
    assert!(text.contains("another world runs in") && !text.contains('{'), "{text}");
    assert!(fs::metadata(&log).unwrap().len() >= said, "its log was taken away");

    // A server beside it, with the same folders, leaves the note to who was here first.
    let mut server = isos()
        .args(["server", "--json", "--test-world", "--listen", "127.0.0.1:0"])
        .args(["--http", "127.0.0.1:0", "--home"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let _ = BufReader::new(server.stdout.take().unwrap()).read_line(&mut line);
    assert!(line.contains("\"server\""), "{line}");
    let note = || fs::read_to_string(folder.path().join("state/complex.toml")).unwrap_or_default();
    let api = ready["api"].as_str().unwrap();
    assert!(note().contains(api), "{}", note());
    kill_process(Pid::from_raw(server.id() as i32).unwrap(), Signal::TERM).unwrap();
    server.wait().unwrap();
    assert!(note().contains(api), "{}", note());
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    child.wait().unwrap();
    assert_eq!(note(), "");
}
