//! How a command ends: its exit code, and the word that programs know it by.

use isos_agent::AgentError;
use isos_backup::BackupError;
use isos_base::ids::ParseIdError;
use isos_complex::{Fault, ReplayError, ServerError};
use isos_sdk::store::StoreError;
use isos_sdk::{AddressError, ClientError, SubmissionError};
use thiserror::Error;

/// The exit codes, the same for every command and for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// All went well.
    Ok = 0,
    /// An error that has no code of its own.
    Error = 1,
    /// The request makes no sense as written.
    Usage = 2,
    /// Some of it went well; the result can be used.
    Partial = 3,
    /// There is no such thing.
    NotFound = 4,
    /// Temporary: try again.
    Temporary = 5,
    /// Policy, quota, price or balance forbids it.
    Refused = 6,
    /// The token is missing or does not allow it.
    Unauthorised = 7,
    /// Nobody answers.
    Unreachable = 10,
    /// A hash, signature or quorum does not fit.
    Verification = 12,
    /// Stopped by the user.
    Interrupted = 130,
}

impl Code {
    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Ok,
            2 => Self::Usage,
            3 => Self::Partial,
            4 => Self::NotFound,
            5 => Self::Temporary,
            6 => Self::Refused,
            7 => Self::Unauthorised,
            10 => Self::Unreachable,
            12 => Self::Verification,
            130 => Self::Interrupted,
            _ => Self::Error,
        }
    }
}

/// How a command that was carried out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum End {
    /// All of it.
    #[default]
    Ok,
    /// Some of it.
    Partial,
    /// None of it: the jobs failed.
    Failed,
    /// It was only asked whether it would go, and it would not.
    Refused,
    /// It was only asked whether it makes sense, and it does not.
    Senseless,
    /// It was only asked how things stand, and they are not as they were written down.
    Wrong,
    /// It was only asked how things stand, and what was asked about does not run.
    Away,
}

impl End {
    /// Its exit code.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Ok => Code::Ok,
            Self::Partial => Code::Partial,
            Self::Failed => Code::Error,
            Self::Refused => Code::Refused,
            Self::Senseless => Code::Usage,
            Self::Wrong => Code::Verification,
            Self::Away => Code::Unreachable,
        }
    }

    /// The end of two things together: all, some or none.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Partial }
    }
}

/// A no of the command line itself.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct Refusal {
    /// Its exit code.
    pub(crate) code: Code,
    /// Its word.
    pub(crate) word: &'static str,
    /// A sentence.
    pub(crate) message: String,
    /// What to do, a line each.
    pub(crate) hints: Vec<String>,
}

impl Refusal {
    /// The request makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: Code::Usage, word: "usage", message: message.into(), hints: Vec::new() }
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { code: Code::NotFound, word: "not_found", message: message.into(), hints: Vec::new() }
    }

    /// A hash or signature does not fit.
    pub(crate) fn verification(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code: Code::Verification, word: "verification", message, hints: Vec::new() }
    }

    /// A ticket or token does not allow it.
    pub(crate) fn unauthorised(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code: Code::Unauthorised, word: "unauthorised", message, hints: Vec::new() }
    }

    /// No complex can be asked.
    pub(crate) fn unreachable(message: impl Into<String>, hints: Vec<String>) -> Self {
        Self { code: Code::Unreachable, word: "unreachable", message: message.into(), hints }
    }

    /// The user stopped it; `hints` say what goes on without him.
    pub(crate) fn interrupted(hints: Vec<String>) -> Self {
        let message = "interrupted".into();
        Self { code: Code::Interrupted, word: "interrupted", message, hints }
    }
}

/// Exit code and word of an error, from the first cause that has them.
pub(crate) fn classify(error: &anyhow::Error) -> (Code, &'static str) {
    for cause in error.chain() {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return (refusal.code, refusal.word);
        }
        if let Some(client) = cause.downcast_ref::<ClientError>() {
            return (Code::from_number(client.exit_code()), client.word());
        }
        if let Some(store) = cause.downcast_ref::<StoreError>() {
            return (Code::from_number(store.exit_code()), store.word());
        }
        if let Some(backup) = cause.downcast_ref::<BackupError>() {
            match backup {
                BackupError::NotThere(_) => return (Code::NotFound, "not_found"),
                BackupError::Relative(_)
                | BackupError::Pattern(..)
                | BackupError::Patterns(..)
                | BackupError::TooMuch(_) => return (Code::Usage, "usage"),
                BackupError::Stopped => return (Code::Interrupted, "interrupted"),
                BackupError::Manifest(..)
                | BackupError::Read(_)
                | BackupError::Chunk(_)
                | BackupError::NotASnapshot(_)
                | BackupError::Head(_)
                | BackupError::Tree(_)
                | BackupError::Catalogue(_) => return (Code::Verification, "verification"),
                // The cause below says more.
                _ => {}
            }
        }
        if let Some(submission) = cause.downcast_ref::<SubmissionError>() {
            let code = Code::from_number(submission.exit_code());
            let word = match code {
                Code::Usage => "usage",
                Code::NotFound => "not_found",
                _ => "file",
            };
            return (code, word);
        }
        if let Some(error) = cause.downcast_ref::<AgentError>() {
            match error {
                AgentError::Expired(_) => return (Code::Unauthorised, "unauthorised"),
                AgentError::Policy(_)
                | AgentError::NotText { .. }
                | AgentError::NoTicket
                | AgentError::BadTicket(_)
                | AgentError::LongPath { .. }
                | AgentError::NotATestWorld => return (Code::Usage, "usage"),
                _ => {}
            }
        }
        if let Some(error) = cause.downcast_ref::<ServerError>() {
            match error.fault() {
                Some(Fault::Usage) => return (Code::Usage, "usage"),
                Some(Fault::Unreachable) => return (Code::Unreachable, "unreachable"),
                None => {}
            }
        }
        if let Some(ReplayError::Read { source, .. }) = cause.downcast_ref()
            && source.kind() == std::io::ErrorKind::NotFound
        {
            return (Code::NotFound, "not_found");
        }
        match cause.downcast_ref() {
            Some(isos_agent::QueryError::Senseless(_)) => return (Code::Usage, "usage"),
            Some(isos_agent::QueryError::NotNow(_)) => return (Code::Temporary, "temporary"),
            None => {}
        }
        if cause.is::<isos_agent::control::AskError>() {
            return (Code::Unreachable, "unreachable");
        }
        if cause.is::<AddressError>() || cause.is::<ParseIdError>() {
            return (Code::Usage, "usage");
        }
    }
    (Code::Error, "error")
}
