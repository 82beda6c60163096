//! Compiled code: made by a limited child, kept in a folder of our own, checked before each use.
//!
//! Loading native code is trusting it, so only files that this agent's own child wrote are ever
//! loaded: the folder is private, the name covers program, engine, settings and processor, and a
//! BLAKE3 hash stands beside each file. What does not match is compiled again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use std::os::unix::process::ExitStatusExt;

use isos_base::{Bytes, Guid, limits};
use thiserror::Error;
use tokio::io::AsyncReadExt;

use crate::SandboxConfig;
use crate::compile::{BAD_PROGRAM, TOO_HARD};
use crate::engine::{self, ENGINE};
use crate::spawn::{self, Spawner};

/// What a compiling child may say.
const REASON_BYTES_MAX: u64 = 4_096;
const CODE: &str = "code";
const CHECK: &str = "check";
const PART: &str = "part";
/// With which a Rust program ends after a panic.
const PANIC: i32 = 101;

/// A program that has been checked and compiled here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    program: Guid,
    wasm: PathBuf,
    code: PathBuf,
    component: bool,
}

impl Prepared {
    /// The program.
    #[must_use]
    pub const fn program(&self) -> Guid {
        self.program
    }

    /// The file it was compiled from.
    #[must_use]
    pub fn wasm(&self) -> &Path {
        &self.wasm
    }

    /// Whether it is a component (WASI 0.2) rather than a core module (preview 1).
    #[must_use]
    pub const fn is_component(&self) -> bool {
        self.component
    }

    pub(crate) fn code(&self) -> &Path {
        &self.code
    }
}

/// Why a program cannot be run here.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// It is no WebAssembly, or asks for what is not offered. The same on every host.
    #[error("{program} is not a program that can run: {reason}")]
    BadProgram {
        /// The program.
        program: Guid,
        /// What is wrong with it, in one line for its author.
        reason: String,
    },
    /// It is larger than any program may be.
    #[error("{program} has {size} and a program may have {}", limits::PROGRAM_BYTES_MAX)]
    TooLarge {
        /// The program.
        program: Guid,
        /// Its length.
        size: Bytes,
    },
    /// Compiling it takes more than this host gives.
    #[error("compiling {program} takes more {what} than this host allows")]
    CompileLimit {
        /// The program.
        program: Guid,
        /// `memory`, `processor time` or `wall time`.
        what: &'static str,
    },
    /// This machine failed.
    #[error("compiled code cannot be made or kept")]
    Io(#[from] io::Error),
}

/// The folder of compiled code.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    /// Of the executable that compiles: a new engine, down to its patch, means new code.
    compiler: String,
    most: AtomicU64,
    parts: AtomicU64,
}

impl Store {
    /// Makes the folder, and clears what an earlier life left half done.
    pub(crate) fn open(folder: &Path, compiler: &Path, most: Bytes) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == PART) {
                fs::remove_file(path)?;
            }
        }
        // Children start elsewhere.
        let folder = folder.canonicalize()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(compiler)?)?;
        let compiler = hasher.finalize().to_hex().to_string();
        Ok(Self { folder, compiler, most: AtomicU64::new(most.0), parts: AtomicU64::new(0) })
    }

    fn path(&self, program: Guid, extension: &str) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        for part in [ENGINE, &self.compiler, &processor()] {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&program.0);
        let name = Guid(*hasher.finalize().as_bytes());
        self.folder.join(format!("{name}.{extension}"))
    }

    fn part(&self) -> PathBuf {
        let n = self.parts.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{}-{n}.{PART}", std::process::id()))
    }

    /// The code of a program if it is here and whole.
    pub(crate) fn find(&self, program: Guid, wasm: &Path) -> io::Result<Option<Prepared>> {
        let (code, check) = (self.path(program, CODE), self.path(program, CHECK));
        let expected = match fs::read_to_string(&check) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // What is in it is no text: as wrong as a wrong hash.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(error) => return Err(error),
        };
        for component in [false, true] {
            let found = match check_line(&code, component) {
                Ok(line) => line,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            if found == expected {
                used_now(&check)?;
                return Ok(Some(Prepared { program, wasm: wasm.into(), code, component }));
            }
        }
        tracing::warn!(%program, "compiled code does not match its hash and is made again");
        Ok(None)
    }

    /// Removes code that turned out not to fit.
    pub(crate) fn forget(&self, prepared: &Prepared) -> io::Result<()> {
        fs::remove_file(self.path(prepared.program, CHECK))
    }

    /// Takes in what a child wrote.
    fn keep(&self, part: &Path, program: Guid, wasm: &Path) -> io::Result<Prepared> {
        let component = engine::is_component(&head(wasm)?);
        let (code, check) = (self.path(program, CODE), self.path(program, CHECK));
        let line = check_line(part, component)?;
        fs::rename(part, &code)?;
        let part = self.part();
        fs::write(&part, line)?;
        fs::rename(&part, &check)?;
        self.evict(&check)?;
        Ok(Prepared { program, wasm: wasm.into(), code, component })
    }

    /// Keeps at most so much from now on.
    pub(crate) fn set_most(&self, most: Bytes) {
        self.most.store(most.0, Ordering::Relaxed);
    }

    /// Removes what is too much now, whatever it is.
    pub(crate) fn shrink(&self) -> io::Result<()> {
        self.evict(Path::new(""))
    }

    /// Bytes of all code that is kept.
    pub(crate) fn used(&self) -> Bytes {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        Bytes(entries.filter_map(|entry| entry.metadata().ok()).map(|it| it.len()).sum())
    }

    /// Makes room: what was used longest ago goes, but never `newest`.
    fn evict(&self, newest: &Path) -> io::Result<()> {
        let mut kept = Vec::new();
        let mut total = 0;
        for entry in fs::read_dir(&self.folder)? {
            let check = entry?.path();
            let code = check.with_extension(CODE);
            if check.extension().is_some_and(|extension| extension == CHECK)
                && let (Ok(used), Ok(size)) = (fs::metadata(&check), fs::metadata(&code))
            {
                total += size.len();
                kept.push((used.modified()?, size.len(), check, code));
            }
        }
        kept.sort();
        for (_, size, check, code) in kept {
            if total <= self.most.load(Ordering::Relaxed) {
                break;
            }
            if check != newest {
                fs::remove_file(check)?;
                fs::remove_file(code)?;
                total -= size;
            }
        }
        Ok(())
    }
}

/// Notes that a file has been used: who was used longest ago goes first.
fn used_now(path: &Path) -> io::Result<()> {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::futimens(&File::open(path)?, &times)?)
}

/// The first bytes of a file.
fn head(path: &Path) -> io::Result<[u8; 8]> {
    let mut head = [0; 8];
    io::Read::read_exact(&mut File::open(path)?, &mut head)?;
    Ok(head)
}

/// The line that stands beside a code file: what it is, and the hash of its bytes.
fn check_line(code: &Path, component: bool) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(code)?)?;
    let kind = if component { "component" } else { "module" };
    Ok(format!("{kind} {}\n", hasher.finalize().to_hex()))
}

/// The features of the processor that the engine makes use of. A miss costs a compilation; the
/// engine itself refuses code for features that are not there.
fn processor() -> String {
    let mut features = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! note {
            ($($name:tt)*) => {
                $(if std::arch::is_x86_feature_detected!($name) { features.push($name); })*
            };
        }
        note!("sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "bmi1" "bmi2"
            "avx512bitalg" "avx512dq" "avx512f" "avx512vl" "avx512vbmi" "lzcnt" "cmpxchg16b");
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! note {
            ($($name:tt)*) => {
                $(if std::arch::is_aarch64_feature_detected!($name) { features.push($name); })*
            };
        }
        note!("lse" "paca" "pacg" "fp16" "dotprod");
    }
    features.sort_unstable();
    features.join(",")
}

/// Removes a half-made file however its making ends.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // After success it has another name.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Compiles in a child and keeps the code.
pub(crate) async fn compile(
    config: &SandboxConfig,
    store: &std::sync::Arc<Store>,
    spawner: &Spawner,
    program: Guid,
    wasm: &Path,
) -> Result<Prepared, PrepareError> {
    let source = File::open(wasm)?;
    let size = Bytes(source.metadata()?.len());
    if size > limits::PROGRAM_BYTES_MAX {
        return Err(PrepareError::TooLarge { program, size });
    }
    let part = Part(store.part());
    let target = File::options().write(true).create_new(true).mode(0o600).open(&part.0)?;
    let mut command = spawn::command(config, spawn::COMPILE);
    command
        .arg(config.compile_memory.0.to_string())
        .arg(config.compile_cpu.0.div_ceil(1_000_000).to_string())
        .arg(std::process::id().to_string())
        .arg(u8::from(config.idle).to_string())
        .stdin(Stdio::from(source))
        .stdout(Stdio::from(target));
    let (mut child, _listed) = spawner.spawn(command).await?;
    let stderr = child.stderr.take();
    let work = async {
        let mut reason = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(REASON_BYTES_MAX).read_to_end(&mut reason).await?;
        }
        Ok::<_, io::Error>((child.wait().await?, reason))
    };
    let Ok(ended) = tokio::time::timeout(config.compile_wall.to_std(), work).await else {
        return Err(PrepareError::CompileLimit { program, what: "wall time" });
    };
    let (status, reason) = ended?;
    verdict(program, status, &reason)?;
    let (store, wasm) = (store.clone(), wasm.to_owned());
    let kept = move || store.keep(&part.0, program, &wasm);
    Ok(tokio::task::spawn_blocking(kept).await.map_err(io::Error::other)??)
}

/// What the end of a compiling child means.
fn verdict(program: Guid, status: ExitStatus, said: &[u8]) -> Result<(), PrepareError> {
    let said = String::from_utf8_lossy(said);
    let line = said.lines().next().unwrap_or_default();
    let bad = |reason: &str| PrepareError::BadProgram { program, reason: reason.into() };
    let limit = |what| PrepareError::CompileLimit { program, what };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) if code == i32::from(BAD_PROGRAM) => Err(bad(line)),
        // A panic of the compiler: the program's doing, and not this machine's.
        (Some(PANIC), _) if said.contains("Cannot allocate memory") => Err(limit("memory")),
        // A thread of it could not begin.
        (Some(PANIC), _) if said.contains("Resource temporarily unavailable") => {
            Err(limit("threads"))
        }
        (Some(PANIC), _) => Err(bad(&format!("the compiler broke down over it: {line}"))),
        (Some(code), _) if code == i32::from(TOO_HARD) => Err(limit("memory")),
        (_, Some(libc::SIGXCPU)) => Err(limit("processor time")),
        // The hard limit on time, or that of all children together on memory.
        (_, Some(libc::SIGKILL)) => Err(limit("processor time or memory")),
        (_, Some(libc::SIGABRT)) if said.contains("memory allocation") => Err(limit("memory")),
        (_, Some(libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGABRT)) => {
            Err(bad(&format!("the compiler broke down over it ({status})")))
        }
        _ => Err(io::Error::other(format!("the compiling child: {status}: {line}")).into()),
    }
}
