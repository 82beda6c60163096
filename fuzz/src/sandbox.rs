//! What programs and taken-over children say to the sandbox.
//!
//! Calls of host functions are real: a program interprets the input as calls with arguments, in
//! this process, without walls. Nothing may panic, memory stays within the task's limits, and a
//! second run must end as the first, to the last byte and unit of fuel.

use std::sync::OnceLock;

use isos_base::task::Exit;
use isos_sandbox::fuzz::{self, Rig};

#[path = "../../drivers/sandbox/tests/sandbox/escape/caller.rs"]
#[expect(dead_code, reason = "the sandbox's own tests use more of it")]
mod caller;

/// The interfaces of WASI 0.2 that components may import.
const WIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../drivers/sandbox/wit");

/// Bytes of a script that programs take.
const SCRIPT_BYTES_MAX: usize = 2_000;

/// Frames to a child.
pub fn pipe_to_child(bytes: &[u8]) {
    fuzz::to_child(bytes);
}

/// Frames from a child.
pub fn pipe_from_child(bytes: &[u8]) {
    fuzz::from_child(bytes);
}

/// What a task goes on from.
pub fn checkpoint(bytes: &[u8]) {
    fuzz::checkpoint(bytes);
}

/// Calls of preview 1.
pub fn preview_1(bytes: &[u8]) {
    static RIG: OnceLock<Rig> = OnceLock::new();
    calls(RIG.get_or_init(|| rig(&caller::preview_1())), bytes);
}

/// Calls of WASI 0.2.
pub fn component(bytes: &[u8]) {
    static RIG: OnceLock<Rig> = OnceLock::new();
    calls(RIG.get_or_init(|| rig(&caller::component())), bytes);
}

/// A program as it is submitted: checked, compiled, or refused in words.
pub fn program(bytes: &[u8]) {
    if let Err(why) = fuzz::check(bytes) {
        assert!(!why.is_empty() && !why.contains('\n'), "{why:?}");
    }
}

fn rig(wasm: &[u8]) -> Rig {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("x"), b"abc").expect("a file");
    // It stays open and needs no name; its file is found while this process lives.
    Rig::new(wasm, &folder.keep()).expect("our own program")
}

fn calls(rig: &Rig, script: &[u8]) {
    let script = &script[..script.len().min(SCRIPT_BYTES_MAX)];
    let text = caller::text_of(script);
    let run = || rig.run(vec![text.clone()]);
    let (one, two) = (run(), run());
    assert_eq!((&one.end, one.fuel, &one.output), (&two.end, two.fuel, &two.output));
    assert!(one.end.is_ok(), "a program can do nothing that is a fault of the host: {one:?}");
    assert_ne!(one.end, Ok(Exit::Code(99)), "an answer that is no error number");
}
