//! Why a host function does not give the program what it asked for.
//!
//! An [`Errno`] goes back to the program, which may go on; a [`Stop`] ends it.

use std::fmt;

/// Error numbers of WASI preview 1, the few that this host gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Errno {
    BadDescriptor = 8,
    Busy = 10,
    Exists = 20,
    Fault = 21,
    TooLarge = 22,
    BadBytes = 25,
    Invalid = 28,
    IsDirectory = 31,
    TooManyDescriptors = 33,
    NameTooLong = 37,
    NoEntry = 44,
    NoSpace = 51,
    NotDirectory = 54,
    NotEmpty = 55,
    NotSocket = 57,
    NotSupported = 58,
    Overflow = 61,
    ReadOnly = 69,
    NotSeekable = 70,
    CrossDevice = 75,
    NotCapable = 76,
}

/// The end of a program from within a host function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It asked to exit.
    Exit(i32),
    /// Host calls cost fuel too.
    OutOfFuel,
    /// What it wrote outgrew the job's limit.
    OutputTooLarge,
    /// It has saved its state: the segment is over, the task is not.
    Saved,
    /// It was aborted by its own request.
    Aborted,
    /// It asked for more, at the start, than the job allows: what and how much.
    Refused(String),
    /// The host has no memory for what the job was promised.
    NoMemory,
    /// The host cannot read an input that it should have.
    NoInput(String),
    /// The job's wall time is over.
    TimedOut,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host stopped the program: {self:?}")
    }
}

impl std::error::Error for Stop {}

/// Either of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum No {
    /// Told to the program.
    Errno(Errno),
    /// Ends the program.
    Stop(Stop),
}

impl From<Errno> for No {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Stop> for No {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// What a host function gives.
pub(crate) type Answer<T> = Result<T, No>;
