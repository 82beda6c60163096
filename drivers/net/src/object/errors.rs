//! What can go wrong with an object, one enum for each of the three parts that one can play.

use std::io;

use isos_base::Guid;
use thiserror::Error;

use crate::connection::OpenError;
use crate::stream::{RecvError, SendError};

/// Why an object was not fetched. The sink may have got bytes, which must be thrown away.
#[derive(Debug, Error)]
pub enum GetError {
    /// The connection has ended.
    #[error("cannot ask for object {guid}")]
    Open {
        /// The object.
        guid: Guid,
        /// How it ended.
        #[source]
        source: OpenError,
    },
    /// The request could not be sent.
    #[error("cannot ask for object {guid}")]
    Ask {
        /// The object.
        guid: Guid,
        /// Why.
        #[source]
        source: SendError,
    },
    /// No answer, or one that is none.
    #[error("no answer about object {guid}")]
    Answer {
        /// The object.
        guid: Guid,
        /// Why; `None` when the peer just ended the stream or answered something else.
        #[source]
        source: Option<RecvError>,
    },
    /// The peer does not have it.
    #[error("object {guid} is not there")]
    Missing {
        /// The object.
        guid: Guid,
    },
    /// The peer does not give it.
    #[error("object {guid} is refused: {why}")]
    Refused {
        /// The object.
        guid: Guid,
        /// The peer's words.
        why: String,
    },
    /// It is longer than the caller takes.
    #[error("object {guid} has {size} bytes, the limit is {max}")]
    TooLarge {
        /// The object.
        guid: Guid,
        /// Its length in bytes, as the peer says.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// The peer sent fewer or more bytes than it said.
    #[error("object {guid} should have {size} bytes, {received} came")]
    Length {
        /// The object.
        guid: Guid,
        /// Its length in bytes, as the peer said.
        size: u64,
        /// What came; for too many, those that were counted.
        received: u64,
    },
    /// The peer sent other bytes than those of this name.
    #[error("the bytes that came for object {guid} are {got}")]
    WrongContent {
        /// The object.
        guid: Guid,
        /// What came.
        got: Guid,
    },
    /// The peer was too slow.
    #[error("object {guid} stalled after {received} bytes")]
    Stalled {
        /// The object.
        guid: Guid,
        /// What came.
        received: u64,
    },
    /// The stream broke.
    #[error("object {guid} broke off after {received} bytes")]
    Lost {
        /// The object.
        guid: Guid,
        /// What came.
        received: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bytes could not be kept here.
    #[error("object {guid} cannot be written")]
    Sink {
        /// The object.
        guid: Guid,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why an object was not stored at the peer.
#[derive(Debug, Error)]
pub enum PutError {
    /// The connection has ended.
    #[error("cannot send object {guid}")]
    Open {
        /// The object.
        guid: Guid,
        /// How it ended.
        #[source]
        source: OpenError,
    },
    /// The request could not be sent.
    #[error("cannot send object {guid}")]
    Ask {
        /// The object.
        guid: Guid,
        /// Why.
        #[source]
        source: SendError,
    },
    /// It could not be read here.
    #[error("object {guid} cannot be read")]
    Source {
        /// The object.
        guid: Guid,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The peer does not keep it.
    #[error("object {guid} is refused: {why}")]
    Refused {
        /// The object.
        guid: Guid,
        /// The peer's words.
        why: String,
    },
    /// The peer was too slow.
    #[error("object {guid} stalled after {sent} bytes")]
    Stalled {
        /// The object.
        guid: Guid,
        /// What went.
        sent: u64,
    },
    /// The stream broke and the peer did not say why.
    #[error("object {guid} broke off after {sent} bytes")]
    Lost {
        /// The object.
        guid: Guid,
        /// What went.
        sent: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// All is sent, but no answer came, or one that is none. It may or may not be kept.
    #[error("no answer about object {guid}")]
    Answer {
        /// The object.
        guid: Guid,
        /// Why; `None` when the peer just ended the stream or answered something else.
        #[source]
        source: Option<RecvError>,
    },
}

/// Why a request was not served to its end; for logs, the peer has been told.
#[derive(Debug, Error)]
pub enum ServeError {
    /// No request, or one that is none.
    #[error("no request came")]
    Request(#[source] Option<RecvError>),
    /// The answer could not be sent.
    #[error("cannot answer about object {guid}")]
    Reply {
        /// The object.
        guid: Guid,
        /// Why.
        #[source]
        source: SendError,
    },
    /// The store failed.
    #[error("the store failed over object {guid}")]
    Store {
        /// The object.
        guid: Guid,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The peer was too slow.
    #[error("the peer stalled over object {guid} after {moved} bytes")]
    Stalled {
        /// The object.
        guid: Guid,
        /// What went or came.
        moved: u64,
    },
    /// The stream broke.
    #[error("object {guid} broke off after {moved} bytes")]
    Lost {
        /// The object.
        guid: Guid,
        /// What went or came.
        moved: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The peer sent something else than it said.
    #[error("what came for object {guid} is not it: {why}")]
    WrongContent {
        /// The object.
        guid: Guid,
        /// In which way.
        why: String,
    },
}
