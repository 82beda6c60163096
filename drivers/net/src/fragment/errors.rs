//! What can go wrong on a stream of fragments, for each side.

use isos_base::Guid;
use isos_base::fragment::{GrantError, HeadError};
use isos_base::key::PublicKey;
use thiserror::Error;

use crate::connection::OpenError;
use crate::stream::{RecvError, SendError};

/// Why a host was asked in vain. Unless it says otherwise, the stream is of no use afterwards, and
/// what was asked and not answered may or may not have been done.
#[derive(Debug, Error)]
pub enum FragmentError {
    /// The connection has ended.
    #[error("cannot ask for fragments")]
    Open(#[from] OpenError),
    /// A request could not be sent.
    #[error("cannot send a request for fragments")]
    Ask(#[source] SendError),
    /// No answer came, or one that is none.
    #[error("no answer about fragments")]
    Answer(#[source] RecvError),
    /// The host has ended the stream.
    #[error("the host answers no more: {answered} of {asked} requests were answered")]
    Ended {
        /// Answers that came.
        answered: usize,
        /// Requests that were sent.
        asked: usize,
    },
    /// The host is too slow.
    #[error("the host has stalled after {answered} answers")]
    Stalled {
        /// Answers that came.
        answered: usize,
    },
    /// The answer is to another question.
    #[error("the host has answered something else than was asked: {0}")]
    Other(&'static str),
    /// The receipt is none.
    #[error("the receipt for fragment {fragment} is not good")]
    Receipt {
        /// Which.
        fragment: Guid,
        /// Why; nothing when it is for something else.
        #[source]
        source: Option<GrantError>,
    },
    /// The head is none: the host lies, or its disk does.
    #[error("what the host gives as the head of {key} is not good")]
    Head {
        /// Whose.
        key: PublicKey,
        /// Why; nothing when it is another's, or older than what it should replace.
        #[source]
        source: Option<HeadError>,
    },
}

/// Why a stream was not served to its end; for logs, the peer has been told.
#[derive(Debug, Error)]
pub enum FragmentServeError {
    /// No request, or one that is none.
    #[error("what came is no request")]
    Request(#[source] RecvError),
    /// It ended in the middle of a fragment.
    #[error("fragment {fragment} broke off after {came} bytes")]
    Short {
        /// Which.
        fragment: Guid,
        /// What came.
        came: usize,
    },
    /// No fragment has that length, so that nobody knows where the next request begins.
    #[error("fragment {fragment} should have {length} bytes, which none has")]
    Length {
        /// Which.
        fragment: Guid,
        /// What was announced.
        length: u32,
    },
    /// The peer was too slow.
    #[error("the peer stalled")]
    Stalled,
    /// An answer could not be sent.
    #[error("cannot answer about fragments")]
    Reply(#[source] SendError),
}
