//! How long the client waits and how much it takes, each with its reason.

use std::time::Duration;

/// A loopback address that does not answer a connection within this time has nobody behind it.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request without an answer for this long has failed: a plan over many hosts takes well under a
/// second, a commit on a slow disk a few.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// An upload gets more time than [`ANSWER_TIMEOUT`], by this slowest useful rate.
pub const UPLOAD_BYTES_PER_SEC_MIN: u64 = 64 << 10;
/// A download on which nothing arrives for this long has failed.
pub const BODY_SILENCE_MAX: Duration = Duration::from_secs(30);
/// Rows of a list that are asked for at once: as many as the complex gives.
pub const PAGE_ROWS: usize = 1_000;
/// An event stream without even a comment for this long is dead, whatever the system says: servers
/// send one every ten seconds.
pub const EVENT_SILENCE_MAX: Duration = Duration::from_secs(35);
/// Waits before a request is sent again. Together some seconds: a server that restarts is back.
pub const RETRY_WAITS: [Duration; 5] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_millis(1_000),
    Duration::from_millis(2_000),
    Duration::from_millis(4_000),
];
/// The longest wait that a busy server may ask for before a request is sent again.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);
/// How long an event stream tries to come back: a server that restarts over a large database is
/// there again. A person who waits for longer wants to know, and can watch again later.
pub const OUTAGE_MAX: Duration = Duration::from_secs(60);
/// The longest wait between two tries of it.
pub const OUTAGE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Connections that are kept for the next request.
pub const IDLE_CONNECTIONS_MAX: usize = 8;
/// Uploads at once: hides the round trip, and is below what one caller may have open.
pub const UPLOADS_AT_ONCE: usize = 8;
/// Buffer of an upload.
pub const UPLOAD_CHUNK_BYTES: usize = 128 << 10;
/// A JSON answer: a list of a thousand jobs with long arguments.
pub const JSON_BYTES_MAX: usize = 64 << 20;
/// One event: a job with the longest arguments.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// Folders inside each other under an input folder: more is a loop of links.
pub const INPUT_DEPTH_MAX: usize = 32;
/// Characters of a foreign answer that are quoted in an error.
pub const QUOTE_CHARS_MAX: usize = 200;

/// A host that has not said within this time what it has does not count.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(15);
/// Hosts that are asked at once what they have.
pub const ASKED_AT_ONCE: usize = 64;
/// Hosts that are asked at once for a manifest: the first that has it is enough.
pub const MANIFESTS_ASKED_AT_ONCE: usize = 6;
/// Parts that a host is asked to show of one object: who has lost a half of it is found out by 15
/// of 16 looks.
pub const PROOFS_OF_HOST: u32 = 4;
/// Segments that are fetched while those before are written: 32 MiB.
pub const SEGMENTS_AT_ONCE: usize = 8;
