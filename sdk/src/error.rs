//! Why a call failed.

use std::io;
use std::path::{Path, PathBuf};

use isos_base::api::{Problem, ProblemCode};
use isos_base::{JobId, Span};
use thiserror::Error;

/// The cause of an error, as a lower layer reports it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The exit code for a complex that cannot be reached.
pub const EXIT_UNREACHABLE: u8 = 10;

/// Why a call failed. Nothing has changed in the complex unless a variant says so.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody answers there.
    #[error("the complex at {address} cannot be reached")]
    Unreachable {
        /// What was tried.
        address: String,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The connection broke before the answer was whole. A request that changes something may have
    /// been carried out; the client repeats those that may be repeated by itself.
    #[error("{request}: the connection to {address} broke before the answer was whole")]
    Interrupted {
        /// The request.
        request: String,
        /// Whom it was sent to.
        address: String,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// No answer in time. The request may have been carried out.
    #[error("{request}: no answer from {address} within {after}")]
    TimedOut {
        /// The request.
        request: String,
        /// Whom it was sent to.
        address: String,
        /// How long was waited.
        after: Span,
    },
    /// The complex said no, and why.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// What answered does not speak this API.
    #[error("{request}: not an answer of this API: {why}")]
    Protocol {
        /// The request.
        request: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// Bytes that do not fit their name: somebody changed them on the way.
    #[error("{what} is not what its hash says: somebody changed it on the way")]
    Verification {
        /// What was checked.
        what: String,
    },
    /// The complex has results without their outputs.
    #[error("the output of {} is lost: the complex has no such bytes", named(*job, tasks))]
    Lost {
        /// The job.
        job: JobId,
        /// Its tasks.
        tasks: Vec<u32>,
    },
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
    /// A local file was changed while it was uploaded.
    #[error("{} was changed while it was uploaded; nothing was submitted", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// The folder for results is in use for something else.
    #[error("{}: {why}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is in the way, and what to do.
        why: String,
    },
}

/// `task 5@7`, or `tasks 5@7, 5@9 and 3 more`.
fn named(job: JobId, tasks: &[u32]) -> String {
    const NAMED_MAX: usize = 8;
    let names: Vec<String> =
        tasks.iter().take(NAMED_MAX).map(|task| format!("{job}@{task}")).collect();
    let more = match tasks.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let word = if tasks.len() == 1 { "task" } else { "tasks" };
    format!("{word} {}{more}", names.join(", "))
}

impl ClientError {
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { action, path: path.into(), source }
    }

    /// The kind of problem, if the complex itself said no.
    #[must_use]
    pub fn problem(&self) -> Option<ProblemCode> {
        match self {
            Self::Problem(problem) => Some(problem.code),
            _ => None,
        }
    }

    /// A word for programs, as in [`ProblemCode`].
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Interrupted { .. } => "interrupted",
            Self::TimedOut { .. } => "timed_out",
            Self::Problem(problem) => match problem.code {
                ProblemCode::Usage => "usage",
                ProblemCode::NotFound => "not_found",
                ProblemCode::Refused => "refused",
                ProblemCode::Unauthorised => "unauthorised",
                ProblemCode::Busy => "busy",
                ProblemCode::Limited => "limited",
                ProblemCode::Unsure => "unsure",
                ProblemCode::Verification => "verification",
                ProblemCode::Internal => "internal",
            },
            Self::Protocol { .. } => "protocol",
            Self::Verification { .. } => "verification",
            Self::Lost { .. } => "lost",
            Self::File { .. } => "file",
            Self::Changed { .. } => "changed",
            Self::Folder { .. } => "folder",
        }
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            // Somebody else's port: no complex is there.
            Self::Unreachable { .. } | Self::Protocol { .. } => EXIT_UNREACHABLE,
            Self::Interrupted { .. } | Self::TimedOut { .. } | Self::Changed { .. } => 5,
            Self::Problem(problem) => problem.code.exit_code(),
            Self::Verification { .. } => 12,
            Self::Lost { .. } => 3,
            Self::Folder { .. } => 2,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => 4,
            Self::File { .. } => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_outputs_are_named_and_not_all_of_many() {
        let say = |tasks: Vec<u32>| ClientError::Lost { job: JobId(5), tasks }.to_string();
        let one = "the output of task 5@7 is lost: the complex has no such bytes";
        assert_eq!(say(vec![7]), one);
        assert!(say((0..20).collect()).contains("tasks 5@0, 5@1,"));
        assert!(say((0..20).collect()).contains("5@7 and 12 more"));
    }
}
