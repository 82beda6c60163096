//! Why an object could not be put, got or looked after.

use std::io;
use std::path::{Path, PathBuf};

use isos_base::{Guid, HostId};
use isos_net::BindError;
use isos_store::class::NoHosts;
use isos_store::code::DecodeError;
use isos_store::get::Fault;
use isos_store::head::VersionError;
use isos_store::manifest::ManifestError;
use isos_store::object::{ReadError, WriteError};
use isos_store::put::Refusal;
use isos_store::spread::TooFew;
use thiserror::Error;

use super::put::Broken;
use crate::error::{Cause, ClientError};

/// Hosts that an error names.
const NAMED_MAX: usize = 6;

/// Why an object could not be put, got or looked after.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The complex said no, or did not answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No socket to reach hosts by.
    #[error("no socket to reach hosts by")]
    Socket(#[source] BindError),
    /// Nobody keeps anything.
    #[error(transparent)]
    NoHosts(#[from] NoHosts),
    /// Too few hosts have room.
    #[error(transparent)]
    TooFew(#[from] TooFew),
    /// Too few hosts took fragments. What some have stored is given up with its leases.
    #[error(
        "{} could not be made safe: {stored} hosts have a fragment of it, {wanted} are needed; try again, or --class small; {}",
        segment.map_or_else(|| "the manifest".into(), |number| format!("segment {number}")),
        told(hosts)
    )]
    Unsafe {
        /// Which; nothing for the manifest.
        segment: Option<u32>,
        /// Fragments of it that are stored.
        stored: u16,
        /// That would have been enough.
        wanted: u16,
        /// Hosts that failed, and how.
        hosts: Vec<(HostId, Refusal)>,
    },
    /// Nobody has the object.
    #[error(
        "object {guid} was not found: none of {asked} hosts that answered has it, {silent} did not \
         answer; {hint}"
    )]
    NotFound {
        /// Which.
        guid: Guid,
        /// Hosts that answered.
        asked: usize,
        /// Hosts that did not.
        silent: usize,
        /// What to do.
        hint: &'static str,
    },
    /// A part of the object cannot be had now.
    #[error(
        "segment {segment} cannot be read now: {have} of {need} fragments came; try again \
         when more hosts are there; {}",
        faults(hosts)
    )]
    Missing {
        /// Which.
        segment: u32,
        /// Fragments that came.
        have: u16,
        /// Fragments that are enough.
        need: u16,
        /// Hosts that failed, and how.
        hosts: Vec<(HostId, Fault)>,
    },
    /// The newest version of a name cannot be read or made.
    #[error(transparent)]
    Version(VersionError),
    /// Somebody with the same secret has published a newer version at the same time.
    #[error("{name} was changed elsewhere at the same time: read what is newest and try again")]
    Overtaken {
        /// What.
        name: String,
    },
    /// Too few hosts were heard to know which version is the newest.
    #[error(
        "{name}: {heard} of {hosts} hosts that keep it answered, more than half are needed to know \
         that nothing newer is there; try again when more are there"
    )]
    Uncertain {
        /// What.
        name: String,
        /// Hosts that answered.
        heard: usize,
        /// Of how many.
        hosts: usize,
    },
    /// Too few hosts have heard of the newest version.
    #[error(
        "{name}: {kept} of {hosts} hosts have heard of the newest version, more than half are \
         needed for another machine to find it; try again when more are there"
    )]
    Unpublished {
        /// What.
        name: String,
        /// Hosts that have.
        kept: usize,
        /// Of how many.
        hosts: usize,
    },
    /// Fragments that are right one by one do not make a segment.
    #[error("segment {segment} cannot be decoded")]
    Decode {
        /// Which.
        segment: u32,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// It is too much for one object.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What was found is not what the capability opens.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was found is no manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A local file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// `read`, `create`, ...
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The put has failed; its own error says why.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// Something in the way that the user must decide.
    #[error("{0}")]
    InTheWay(String),
    /// The complex said something that cannot be used.
    #[error("the complex gave a lease that cannot be used")]
    Lease(#[source] Cause),
    /// Nobody can be asked for something that nobody foresees.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

impl StoreError {
    pub(super) fn no_randomness(error: getrandom::Error) -> Self {
        Self::Random(error.to_string())
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.into(), source }
    }

    /// A word for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Client(error) => error.word(),
            Self::Socket(_) => "socket",
            Self::NoHosts(_) | Self::TooFew(_) => "too_few_hosts",
            Self::Unsafe { .. } => "unsafe",
            Self::NotFound { .. } => "not_found",
            Self::Missing { .. } => "missing",
            Self::Overtaken { .. } => "overtaken",
            Self::Unpublished { .. } => "unpublished",
            Self::Uncertain { .. } => "uncertain",
            Self::Decode { .. } => "verification",
            Self::Write(_) => "too_large",
            Self::Read(_) | Self::Manifest(_) | Self::Version(_) => "verification",
            Self::File { .. } => "file",
            Self::InTheWay(_) => "refused",
            Self::Lease(_) => "protocol",
            Self::Random(_) => "random",
            Self::Broken(_) => "interrupted",
        }
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Client(error) => error.exit_code(),
            Self::Socket(_) | Self::Lease(_) | Self::Broken(_) | Self::Random(_) => 1,
            Self::NoHosts(_)
            | Self::TooFew(_)
            | Self::Unsafe { .. }
            | Self::Overtaken { .. }
            | Self::Unpublished { .. }
            | Self::Uncertain { .. } => 5,
            Self::Decode { .. } => 12,
            Self::InTheWay(_) => 1,
            Self::NotFound { .. } => 4,
            Self::Missing { .. } => 3,
            Self::Write(_) => 2,
            Self::Read(_) | Self::Manifest(_) | Self::Version(_) => 12,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => 4,
            Self::File { .. } => 1,
        }
    }
}

fn told(hosts: &[(HostId, Refusal)]) -> String {
    let say = |why: &Refusal| match why {
        Refusal::Unreachable => "cannot be reached".to_owned(),
        Refusal::Full => "has no room".into(),
        Refusal::Busy(_) => "is busy".into(),
        Refusal::Refused => "refused".into(),
        Refusal::Late => "was too slow".into(),
        Refusal::BadReceipt => "signed something else".into(),
    };
    list(hosts.iter().map(|(host, why)| format!("{} {}", host.short(), say(why))), hosts.len())
}

fn faults(hosts: &[(HostId, Fault)]) -> String {
    let say = |why: &Fault| match why {
        Fault::Unreachable => "cannot be reached",
        Fault::Absent => "has lost it",
        Fault::Refused => "refused",
        Fault::Late => "was too slow",
        Fault::Garbage => "served something else",
    };
    list(hosts.iter().map(|(host, why)| format!("{} {}", host.short(), say(why))), hosts.len())
}

fn list(each: impl Iterator<Item = String>, count: usize) -> String {
    if count == 0 {
        return "no other host is known".into();
    }
    let named: Vec<String> = each.take(NAMED_MAX).collect();
    let more = match count.saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}
