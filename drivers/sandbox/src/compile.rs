//! The child that compiles: bytes in on standard input, native code out on standard output.
//!
//! A module can make a compiler take minutes and gigabytes, so it runs alone, under limits, and
//! with nothing to reach. What is wrong with a program is said in one line on standard error.

use std::io::{Read, Write};
use std::process::ExitCode;

use rustix::process::Resource;
use wasmtime::Module;
use wasmtime::component::Component;

use crate::engine;
use crate::link::{self, one_line};
use crate::walls::{Duty, Walls};

/// The program is at fault; its line says how.
pub(crate) const BAD_PROGRAM: u8 = 65;
/// The compiler wanted more memory than it may have.
pub(crate) const TOO_HARD: u8 = 75;
/// Something of the machine failed.
pub(crate) const TROUBLE: u8 = 71;

/// Standard error is a pipe to the agent here, and this line is the protocol on it.
#[expect(clippy::print_stderr, reason = "the line on standard error is the child's answer")]
fn answer(code: u8, line: &str) -> ExitCode {
    eprintln!("{line}");
    ExitCode::from(code)
}

/// The child's main. `limits` are the bytes of memory, the seconds of processor time and the
/// agent's process number, in decimal.
pub(crate) fn main(limits: &[String]) -> ExitCode {
    let numbers: Vec<u64> = limits.iter().filter_map(|text| text.parse().ok()).collect();
    let &[memory, cpu_secs, agent] = numbers.as_slice() else {
        return answer(TROUBLE, "wrong arguments");
    };
    let mut walls = Walls::default();
    walls.close_inherited();
    walls.die_with(u32::try_from(agent).unwrap_or(0));
    walls.be_idle();
    walls.limit(&[
        (Resource::Core, 0),
        (Resource::Cpu, cpu_secs),
        (Resource::Data, memory),
        (Resource::Memlock, 0),
        (Resource::Nofile, 16),
    ]);
    walls.no_new_privileges();
    walls.landlock(std::iter::empty::<std::os::fd::OwnedFd>());
    walls.seccomp(Duty::Compile);
    let mut wasm = Vec::new();
    if let Err(error) = std::io::stdin().lock().read_to_end(&mut wasm) {
        return answer(TROUBLE, &format!("reading the program: {error}"));
    }
    match compile(&wasm) {
        Ok(code) => match std::io::stdout().lock().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => answer(TROUBLE, &format!("writing the code: {error}")),
        },
        Err(No::Bad(reason)) => answer(BAD_PROGRAM, &reason),
        Err(No::Memory) => answer(TOO_HARD, "memory"),
    }
}

enum No {
    Bad(String),
    Memory,
}

impl From<wasmtime::Error> for No {
    fn from(error: wasmtime::Error) -> Self {
        let no_memory = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::OutOfMemory;
        if error.chain().any(|cause| cause.downcast_ref().is_some_and(no_memory)) {
            Self::Memory
        } else {
            Self::Bad(one_line(&error))
        }
    }
}

impl From<String> for No {
    fn from(reason: String) -> Self {
        Self::Bad(reason)
    }
}

fn compile(wasm: &[u8]) -> Result<Vec<u8>, No> {
    if !wasm.starts_with(b"\0asm") {
        return Err("it is not WebAssembly: it does not begin with \\0asm".to_owned().into());
    }
    let engine = engine::on_demand()?;
    if engine::is_component(wasm) {
        let component = Component::from_binary(&engine, wasm)?;
        link::check_component(&engine, &component)?;
        Ok(component.serialize()?)
    } else {
        let module = Module::from_binary(&engine, wasm)?;
        link::check_module(&engine, &module)?;
        Ok(module.serialize()?)
    }
}
