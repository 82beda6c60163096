//! A limit on everything, in one place, each with its reason.

use crate::time::Span;
use crate::units::{Bytes, Fuel};

/// A frame on `isos/host/1`: room for a batch of 4,096 small results; a session holds one.
pub const FRAME_BYTES_MAX: usize = 4 << 20;
/// Servers of a complex that hosts and clients keep in mind.
pub const SERVERS_MAX: usize = 16;
/// Tasks of one job. A bit pair each: 25 MB of state at the most.
pub const JOB_TASKS_MAX: u32 = 100_000_000;
/// Ranges of a job that has only some of its tasks: a request stays below 200 KiB.
pub const JOB_RANGES_MAX: usize = 4_096;
/// Tasks of one job that are traced.
pub const JOB_TRACED_MAX: u32 = 64;
/// Arguments and environment of one job, together.
pub const JOB_TEXT_BYTES_MAX: usize = 64 << 10;
/// Shared inputs of one job.
pub const JOB_INPUTS_MAX: usize = 1_024;
/// Characters of a CEL constraint: CEL has no loops over unbounded data, but parsing recurses.
pub const CONSTRAINT_CHARS_MAX: usize = 2_048;
/// A program: yosys, the largest known, has 69 MB.
pub const PROGRAM_BYTES_MAX: Bytes = Bytes::mib(128);
/// An input object.
pub const OBJECT_BYTES_MAX: Bytes = Bytes::gib(1);
/// The list of files of an `each` job: about a million entries of a hundred bytes. Read through
/// memory by the complex and by hosts.
pub const FILE_LIST_BYTES_MAX: Bytes = Bytes::mib(128);
/// Output of one task (stdout, stderr and files together): the default and the most.
pub const OUTPUT_BYTES_DEFAULT: Bytes = Bytes::mib(16);
/// See [`OUTPUT_BYTES_DEFAULT`].
pub const OUTPUT_BYTES_MAX: Bytes = Bytes::mib(256);
/// Files of one task's output.
pub const OUTPUT_FILES_MAX: usize = 4_096;
/// An output no larger than this travels inside the report and lives in the database.
pub const OUTPUT_INLINE_MAX: usize = 2_048;
/// Memory of one task: the default.
pub const TASK_MEMORY_DEFAULT: Bytes = Bytes::mib(256);
/// Memory of one task: the most that may be asked for; above 4 GiB only 64-bit memories use it.
pub const TASK_MEMORY_MAX: Bytes = Bytes::gib(1024);
/// Fuel of one task: the default, about ten seconds of one core.
pub const TASK_FUEL_DEFAULT: Fuel = Fuel(100_000_000_000);
/// Wall time of one task: the default.
pub const TASK_TIMEOUT_DEFAULT: Span = Span::secs(600);
/// Wall time of one task: the most.
pub const TASK_TIMEOUT_MAX: Span = Span::secs(7 * 86_400);
/// Tasks in one lease: a batch of results must fit a frame.
pub const LEASE_TASKS_MAX: u32 = 1_024;
/// Ranges in one lease, one grant message stays small.
pub const LEASE_RANGES_MAX: usize = 64;
/// Tasks that a host holds at a time: it turns more down, and the complex grants no more.
pub const HOST_TASKS_MAX: u32 = 65_536;
/// Leases with tasks that a host holds at a time; see [`HOST_TASKS_MAX`].
pub const HOST_LEASES_MAX: usize = 256;
/// Voters of a quorum.
pub const QUORUM_VOTERS_MAX: u8 = 9;
/// Voters on one task about which hosts differ, under credibility: where cheats do 20 % of the work
/// and nobody has shown anything, 12 decide in the mean.
pub const DISPUTE_VOTERS_MAX: u8 = 25;
/// Stretches of one task that are run again under `--verify checkpoint=K`; of the same task no more
/// checkpoints are kept.
pub const STRETCHES_CHECKED_MAX: u8 = 32;
/// Programs that a host's policy may name.
pub const POLICY_PROGRAMS_MAX: usize = 256;
/// Characters of a name (host, account, job).
pub const NAME_CHARS_MAX: usize = 64;
