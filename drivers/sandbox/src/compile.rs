//! The child that compiles: bytes in on standard input, native code out on standard output.
//!
//! A module can make a compiler take minutes and gigabytes, so it runs alone, under limits, and
//! with nothing to reach. What is wrong with a program is said in one line on standard error.

use std::io::{Read, Write};
use std::process::ExitCode;

use rustix::process::Resource;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::{Engine, Module, ResourcesRequired};

use crate::engine;
use crate::host::{INSTANCES_MAX, MEMORIES_MAX};
use crate::link::{self, one_line};
use crate::p2;
use crate::shape;
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

/// The child's main. `limits` are the bytes of memory, the seconds of processor time, the agent's
/// process number, and 1 for a child that has only time that nobody else wants, in decimal.
pub(crate) fn main(limits: &[String]) -> ExitCode {
    let numbers: Vec<u64> = limits.iter().filter_map(|text| text.parse().ok()).collect();
    let &[memory, cpu_secs, agent, idle] = numbers.as_slice() else {
        return answer(TROUBLE, "wrong arguments");
    };
    let mut walls = Walls::default();
    walls.close_inherited();
    walls.die_with(u32::try_from(agent).unwrap_or(0));
    if idle != 0 {
        walls.be_idle();
    }
    walls.limit(&limits_of(memory, cpu_secs));
    walls.no_new_privileges();
    walls.landlock(std::iter::empty::<std::os::fd::OwnedFd>());
    walls.seccomp(Duty::Compile);
    // A bug of the compiler, or memory that it did not get and did not ask for: on one line.
    std::panic::set_hook(Box::new(|panic| {
        let words: Vec<_> = panic.to_string().split_whitespace().map(str::to_owned).collect();
        let _gone = writeln!(std::io::stderr(), "{}", words.join(" "));
    }));
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

/// What the kernel gives a compiling child at the most.
pub(crate) const fn limits_of(memory: u64, cpu_secs: u64) -> [(Resource, u64); 5] {
    [
        (Resource::Core, 0),
        (Resource::Cpu, cpu_secs),
        (Resource::Data, memory),
        (Resource::Memlock, 0),
        (Resource::Nofile, 16),
    ]
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

/// What is wrong with a program, if anything.
#[cfg(feature = "fuzz")]
pub(crate) fn check(wasm: &[u8]) -> Result<(), String> {
    match compile(wasm) {
        Ok(_) => Ok(()),
        Err(No::Bad(why)) => Err(why),
        Err(No::Memory) => Err("it takes too much memory to compile".into()),
    }
}

fn compile(wasm: &[u8]) -> Result<Vec<u8>, No> {
    if !wasm.starts_with(b"\0asm") {
        return Err("it is not WebAssembly: it does not begin with \\0asm".to_owned().into());
    }
    shape::check(wasm)?;
    let engine = engine::on_demand()?;
    if engine::is_component(wasm) {
        let component = Component::from_binary(&engine, wasm)?;
        check_size(component.resources_required())?;
        link::check_component(&engine, &component)?;
        check_run(&engine, &component)?;
        Ok(component.serialize()?)
    } else {
        let module = Module::from_binary(&engine, wasm)?;
        check_size(Some(module.resources_required()))?;
        link::check_module(&engine, &module)?;
        Ok(module.serialize()?)
    }
}

/// Refuses what could never start, before anybody tries. A component that makes modules of what it
/// imports does not say what it needs; it meets the same limits when it starts.
fn check_size(needs: Option<ResourcesRequired>) -> Result<(), String> {
    let Some(needs) = needs else { return Ok(()) };
    if needs.num_memories as usize > MEMORIES_MAX {
        return Err(format!(
            "it has {} memories and {MEMORIES_MAX} are allowed",
            needs.num_memories
        ));
    }
    if needs.num_tables as usize > INSTANCES_MAX {
        return Err(format!("it has {} tables and {INSTANCES_MAX} are allowed", needs.num_tables));
    }
    Ok(())
}

/// Refuses a component whose `run` could not be called.
fn check_run(engine: &Engine, component: &Component) -> Result<(), String> {
    let ty = component.component_type();
    let runs = ty.exports(engine).filter(|(name, _)| name.starts_with(p2::RUN)).any(|(_, item)| {
        let ComponentItem::ComponentInstance(face) = item.ty else { return false };
        let run = face.get_export(engine, "run");
        let Some(ComponentItem::ComponentFunc(run)) = run.map(|item| item.ty) else { return false };
        let plain = |ty: Type| match ty {
            Type::Result(result) => result.ok().is_none() && result.err().is_none(),
            _ => false,
        };
        run.params().len() == 0 && run.results().len() == 1 && run.results().all(plain)
    });
    if runs {
        Ok(())
    } else {
        Err("its export wasi:cli/run has no function \"run\" of the type \"func() -> result\""
            .into())
    }
}
