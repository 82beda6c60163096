//! The parts of this crate that read what strangers wrote, for the fuzz targets of `fuzz/`.
//!
//! Only with the feature of the same name, which nothing that ships has.

use std::path::Path;
use std::sync::Arc;

use isos_base::checkpoint::SEGMENT_FUEL_MIN;
use isos_base::codec::{self, FRAME_HEAD_BYTES};
use isos_base::job::JobSpec;
use isos_base::peers::{Answer, Ask};
use isos_base::task::Execution;
use isos_base::units::Fuel;
use isos_base::{Bytes, Guid, JobId, Span};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use crate::checkpoint::Checkpoint;
use crate::protocol::{FromChild, Order, Part, Setup, ToChild, read_frame, write_frame};
use crate::task::{Job, Program};
use crate::vfs::inputs::{InDir, Source};
use crate::vfs::memory::{Memory, Quota};
use crate::vfs::{Node, Open, Vfs};
use crate::{compile, engine, link};

/// Frames of the pipe to a child.
pub fn to_child(bytes: &[u8]) {
    pipe::<ToChild>(bytes);
}

/// Frames of the pipe from a child, which may have been taken over.
pub fn from_child(bytes: &[u8]) {
    pipe::<FromChild>(bytes);
}

/// A frame from a child that says it has these results.
#[must_use]
pub fn finished(executions: Vec<Execution>) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::put_frame(&FromChild::Finished(executions), &mut frame);
    frame
}

/// A frame to a child with these orders.
#[must_use]
pub fn orders(orders: Vec<Order>) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::put_frame(&ToChild::Orders(orders), &mut frame);
    frame
}

/// A frame to a child that answers a task.
#[must_use]
pub fn answer(task: u32, answer: Answer) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::put_frame(&ToChild::Answer { task, answer }, &mut frame);
    frame
}

/// A frame from a child whose task asks this of its peers.
#[must_use]
pub fn asked(task: u32, ask: Ask) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::put_frame(&FromChild::Asked { task, ask }, &mut frame);
    frame
}

/// The fuel of the task whose checkpoints are read below.
const FUEL: Fuel = Fuel(10 * SEGMENT_FUEL_MIN.0);
/// Its files.
const QUOTA: Quota = Quota { out: 10_000, out_nodes: 100, tmp: 10_000 };

/// A checkpoint, which may come from a host that lies. What can be restored can be saved again.
pub fn checkpoint(bytes: &[u8]) {
    let Some(read) = Checkpoint::decode(bytes, Guid::of(b"task"), FUEL) else { return };
    assert_eq!(read.encode(), bytes);
    if let Some(memory) = Memory::restore(QUOTA, read.files, read.next_inode) {
        assert!(memory.saved_bytes().is_some(), "no path is too long");
        let (files, next_inode) = memory.into_saved();
        assert!(Memory::restore(QUOTA, files, next_inode).is_some());
    }
}

/// A checkpoint that is read as one, with a folder and files.
///
/// # Panics
/// Where there is no `/`.
#[must_use]
pub fn a_checkpoint() -> Vec<u8> {
    let source = Source::open(Path::new("/"), None).expect("a root folder");
    let inputs = Arc::new(InDir::default());
    let mut vfs = Vfs::new(inputs, Arc::new(source), Memory::new(QUOTA));
    let how = Open { create: true, write: true, ..Open::default() };
    vfs.create_dir(&Node::Root, "out/b").expect("a new folder");
    for path in ["out/b/f", "tmp/g"] {
        let handle = vfs.open(&Node::Root, path, how).expect("a new file");
        vfs.write(&handle, 0, b"content").expect("room for it");
        vfs.close(handle);
    }
    Checkpoint::sample(vfs.memory).encode()
}

/// Whatever is in a pipe: frames of at most 64 KiB, which mean the same when read again.
fn pipe<M: Serialize + DeserializeOwned>(mut bytes: &[u8]) {
    while let Ok(Some(message)) = read_frame::<M>(&mut bytes, 1 << 16) {
        let mut once = Vec::new();
        write_frame(&mut once, &message).expect("memory takes everything");
        assert!(once.len() >= FRAME_HEAD_BYTES);
        let again = read_frame::<M>(&mut once.as_slice(), usize::MAX).expect("it was written");
        let mut twice = Vec::new();
        write_frame(&mut twice, &again.expect("a frame")).expect("memory takes everything");
        assert_eq!(once, twice);
    }
}

/// Whether bytes are a program, by all that a compiling child checks.
///
/// # Errors
/// The reason, for the program's author.
pub fn check(wasm: &[u8]) -> Result<(), String> {
    compile::check(wasm)
}

/// A program that runs in this very process, without walls: what it does to the host's functions
/// is what is looked at.
pub struct Rig {
    engine: Engine,
    program: Loaded,
    source: Arc<Source>,
}

enum Loaded {
    Module(Module),
    Component(Component),
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rig").finish_non_exhaustive()
    }
}

impl Rig {
    /// Compiles a program; what it sees under `/in` is the file `x` of this folder, three bytes.
    ///
    /// # Errors
    /// In words, when it is no program or the folder is none.
    pub fn new(wasm: &[u8], inputs: &Path) -> Result<Self, String> {
        let failed = |error: wasmtime::Error| format!("{error:#}");
        let engine = engine::on_demand().map_err(failed)?;
        let program = if engine::is_component(wasm) {
            Loaded::Component(Component::from_binary(&engine, wasm).map_err(failed)?)
        } else {
            Loaded::Module(Module::from_binary(&engine, wasm).map_err(failed)?)
        };
        let source = Source::open(inputs, None).map_err(|error| error.to_string())?;
        Ok(Self { engine, program, source: Arc::new(source) })
    }

    /// Runs one task with these arguments.
    ///
    /// # Panics
    /// When the program cannot be linked, though it was compiled.
    #[must_use]
    pub fn run(&self, args: Vec<String>) -> Execution {
        let program = match &self.program {
            Loaded::Module(module) => {
                Program::Module(link::module(&self.engine, module).expect("it links"))
            }
            Loaded::Component(component) => {
                Program::Component(link::component(&self.engine, component).expect("it links"))
            }
        };
        let mut spec = JobSpec::new(Guid::of(b"program"), Bytes(1), 1);
        spec.args = args;
        spec.inputs.push(isos_base::job::Mount {
            path: "x".into(),
            guid: Guid::of(b"abc"),
            size: Bytes(3),
        });
        spec.fuel = Fuel(5_000_000);
        spec.memory = Bytes::mib(4);
        spec.output_max = Bytes::mib(1);
        spec.timeout = Span::secs(60);
        let setup = Setup {
            job: JobId(1),
            spec,
            input_dir: "/".into(),
            own_dir: None,
            threads: 1,
            idle: false,
            save_every: Span::secs(60),
        };
        let order = Order { task: 0, file: None, part: Part::default() };
        Job::shared(program, setup, self.source.clone()).run(&order, &mut |_| true)
    }
}
