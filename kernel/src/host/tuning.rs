//! The host machine's numbers, each with its reason. Limits of the protocol are in
//! `isos_base::limits`.

use isos_base::time::Span;
use isos_base::units::Bytes;

/// The first wait after a lost session; doubles with each further loss.
pub(super) const BACKOFF_FIRST: Span = Span::secs(1);
/// The longest wait between attempts: a complex that was away for long is found within minutes.
pub(super) const BACKOFF_MAX: Span = Span::secs(300);
/// The wait before the server is called that another one has named.
pub(super) const ELSEWHERE_WAIT: Span = Span::millis(50);
/// Servers in a row whose word is taken so soon.
pub(super) const ELSEWHERE_MAX: u32 = 4;
/// Then they wait for a new leader, and so does the host: between one and two of these.
pub(super) const ELSEWHERE_SLOW: Span = Span::secs(1);
/// So often: a lease of ten seconds, a few times over.
pub(super) const ELSEWHERE_SLOW_MAX: u32 = 30;
/// A session that lasted so long was a good one: the next loss starts at [`BACKOFF_FIRST`] again.
pub(super) const SESSION_STEADY: Span = Span::secs(10);
/// Between the end of a session that the complex ended politely and a new one that news asks for.
pub(super) const RECONNECT_MIN: Span = Span::millis(250);
/// A connection attempt without an answer is given up after this.
pub(super) const CONNECT_WAIT_MAX: Span = Span::secs(60);
/// A complex that does not answer a greeting is given up after this.
pub(super) const WELCOME_WAIT_MAX: Span = Span::secs(30);
/// A complex that does not acknowledge a report is given up after this.
pub(super) const ACK_WAIT_MAX: Span = Span::secs(60);
/// The longest time that the complex can send us away for.
pub(super) const SLEEP_MAX: Span = Span::secs(3_600);
/// Between two offers that differ in what the complex can grant.
pub(super) const OFFER_EVERY: Span = Span::millis(250);
/// Between two offers that differ in reasons, or a little in bytes: free memory never stands still.
pub(super) const OFFER_MINOR_EVERY: Span = Span::secs(30);

/// Batches of words about leases that are being taken in; each is at most `STORAGE_NEWS_MAX`.
pub(super) const NEWS_AT_ONCE_MAX: usize = 16;
/// Proofs that are made at a time: as many as a complex asks of one host.
pub(super) const PROOFS_AT_ONCE_MAX: usize = 64;

/// Reports under way. Two: one is written down by the complex while the next fills.
pub(super) const REPORTS_UNACKED_MAX: usize = 2;
/// Tasks and ranges in one report: half a frame of results without output.
pub(super) const REPORT_NEWS_MAX: usize = 2_048;
/// Bytes in one report, about: half a frame (`limits::FRAME_BYTES_MAX`).
pub(super) const REPORT_BYTES_MAX: usize = 2 << 20;
/// Bytes of unreported news at which chambers are fed no more: the complex is away for long.
pub(super) const OUTBOX_BYTES_MAX: usize = 16 << 20;
/// Characters of a fault's text.
pub(super) const FAULT_CHARS_MAX: usize = 512;
/// Between two reports that hold nothing but how much room there is.
pub(super) const ROOM_EVERY: Span = Span::millis(200);
/// How long a task of an unknown job is expected to take.
pub(super) const WALL_GUESS: Span = Span::secs(1);

/// Jobs known at a time; a `JobSpec` has mostly below 1 KiB and within its limits about 1 MiB. When
/// the complex speaks of one that had to be forgotten, a new session makes it tell again.
pub(super) const JOBS_MAX: usize = 128;
/// Leases worked on at a time; as many again may be on their way back.
pub(super) const LEASES_MAX: usize = isos_base::limits::HOST_LEASES_MAX;
/// Tasks of all leases: what a core does in a minute with tasks of a millisecond.
pub(super) const TASKS_MAX: u32 = isos_base::limits::HOST_TASKS_MAX;
/// Grants of one frame that are looked at.
pub(super) const GRANTS_MAX: usize = 1_024;

/// Chambers open at a time: one works, one is prepared, two for backfill.
pub(super) const CHAMBERS_MAX: usize = 4;
/// Memory offered for each chamber after the first: engine, compiled code, child process.
pub(super) const CHAMBER_MEMORY: Bytes = Bytes::mib(64);
/// Threads of a chamber.
pub(super) const THREADS_MAX: u16 = 1_024;
/// A chamber without work is kept so long: the next grant is often of the same job.
pub(super) const CHAMBER_GRACE: Span = Span::secs(30);
/// A chamber with work is not closed for a more urgent job, or to change its width, before this.
pub(super) const CHAMBER_STAY: Span = Span::secs(10);
/// Work handed to a chamber ahead, so that it never waits for us.
pub(super) const AHEAD: Span = Span::millis(50);
/// Tasks inside a chamber.
pub(super) const FED_MAX: u32 = 4_096;
/// A job that fits nowhere although its turn has come stops backfilling by others after this.
pub(super) const STARVED_AFTER: Span = Span::secs(30);
/// Chambers of one job that may die in a row, without one good result, before the job is given up.
pub(super) const DEATHS_MAX: u32 = 5;
/// A chamber is killed for the sake of tasks that nobody wants any more only when they take longer.
pub(super) const FORSAKEN_MIN: Span = Span::secs(1);
/// Deaths of a job's chambers with several tasks in them, after which its tasks run one by one.
pub(super) const DEATHS_WIDE_MAX: u32 = 3;
/// Between two answers that turn grants down: a complex that grants the same again and again,
/// because it does not see why, does so once in this time.
pub(super) const TURN_DOWN_EVERY: Span = Span::secs(1);
/// Grants of a job that could not be prepared are turned down for this time.
pub(super) const BARRED: Span = Span::secs(300);

/// Tasks that wait are given back when the owner has wanted quiet for this time.
pub(super) const QUIET_RETURN_QUEUED: Span = Span::secs(120);
/// Frozen tasks are given up when the owner has wanted quiet for this time.
pub(super) const QUIET_STOP_RUNNING: Span = Span::secs(900);
