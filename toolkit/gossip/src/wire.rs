//! `isos/gossip/1`: one request and its answer on a stream of their own, between hosts that have
//! proven their keys to each other.
//!
//! Almost all is one kind of request, the exchange of a cycle: it carries the swap of views, what
//! is averaged, who stands for all and who was called in vain, so that one handshake is enough.

use std::sync::Arc;

use isos_base::HostId;
use isos_base::codec::{self, DecodeError};
use isos_base::descriptor::Descriptor;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::average::Sums;
use crate::query::{Ask, QueryId, Row, Tally};
use crate::suspicion::ACCUSED_MAX;
use crate::witness::WITNESSES_TOLD;

/// The protocol, as it is named in a handshake.
pub const ALPN: &[u8] = b"isos/gossip/1";
/// Descriptors that are given in one exchange.
pub const OFFERS_MAX: usize = 8;
/// Questions that are told of in one answer.
pub const QUESTIONS_MAX: usize = 4;
/// Questions that a host says it has heard of.
pub const HEARD_MAX: usize = 32;
/// A message: room for all descriptors with the longest hints, and all sums; or for all rows.
pub const MESSAGE_BYTES_MAX: usize = 15 << 10;

/// What may be asked of a host. New kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// To exchange what both know.
    Exchange(Box<Exchange>),
    /// To answer a question, to ask others, and to keep what they say until it is gathered.
    Query(Box<Ask>),
    /// To tell what was found out.
    Gather(QueryId),
    /// To tell of questions that the caller has not heard of.
    Pending {
        /// Those that it has.
        heard: Vec<QueryId>,
    },
    /// To take the answer of the caller itself.
    Report(Box<Report>),
}

/// What a host answers that has picked a question up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which question.
    pub query: QueryId,
    /// Its answer.
    pub row: Arc<Row>,
}

/// One side of an exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Who asks. Its key must be the one that the connection has proven.
    pub from: Arc<Descriptor>,
    /// Some of its views.
    pub offers: Vec<Arc<Descriptor>>,
    /// Some of those who stand for all.
    pub witnesses: Vec<Arc<Descriptor>>,
    /// Whom it has called in vain.
    pub accused: Vec<HostId>,
    /// What it has summed up; nothing if it waits for the next epoch.
    pub average: Option<Offered>,
}

/// What is to be averaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offered {
    /// The epoch.
    pub epoch: u64,
    /// Counts exchanges of this host. One that comes twice is answered twice and done once.
    pub seq: u64,
    /// What it has.
    pub sums: Sums,
}

/// What a host answers. New kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// The other side of an exchange.
    Exchanged(Box<Exchanged>),
    /// Not now, or not so often.
    Busy,
    /// What was asked cannot be believed.
    Refused,
    /// It is done, or will be.
    Taken,
    /// Somebody else has asked this before.
    Already,
    /// It is not known yet: a little later.
    NotYet,
    /// What was found out.
    Gathered(Box<Tally>),
    /// Questions.
    Questions(Vec<Ask>),
}

/// The other side of an exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchanged {
    /// Who answers.
    pub from: Arc<Descriptor>,
    /// Some of its views.
    pub offers: Vec<Arc<Descriptor>>,
    /// Some of those who stand for all.
    pub witnesses: Vec<Arc<Descriptor>>,
    /// Whom it has called in vain.
    pub accused: Vec<HostId>,
    /// What it had before both took the average, or why they did not.
    pub average: Averaged,
    /// The share of callers that can be called, if it has counted enough.
    pub public: Option<f32>,
}

/// What became of an offer to average. New kinds are added at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Averaged {
    /// Done on that side; this is what it had before.
    Done(Box<Sums>),
    /// Nothing was offered.
    Nothing,
    /// It is in the middle of another.
    Busy,
    /// It waits for the next epoch.
    Waits,
    /// It is in this epoch, which is another.
    Epoch(u64),
    /// It does not believe what was offered.
    Apart,
}

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Not a message of this protocol.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// More of something than the protocol allows.
    #[error("{count} {what} in one message; {max} at the most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        max: usize,
    },
}

impl Request {
    /// The bytes of the request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`WireError`] for anything but one request within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let request: Self = decode_short(bytes)?;
        request.check()?;
        Ok(request)
    }

    /// Whether it has no more of anything than it may.
    ///
    /// # Errors
    /// [`WireError::TooMany`].
    pub fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Exchange(it) => lists(&it.offers, &it.witnesses, &it.accused),
            Self::Query(ask) => ask.check(),
            Self::Gather(_) => Ok(()),
            Self::Pending { heard } => at_most("questions heard of", heard.len(), HEARD_MAX),
            Self::Report(report) => report.row.check(),
        }
    }
}

impl Answer {
    /// The bytes of the answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`WireError`] for anything but one answer within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let answer: Self = decode_short(bytes)?;
        answer.check()?;
        Ok(answer)
    }

    /// Whether it has no more of anything than it may.
    ///
    /// # Errors
    /// [`WireError::TooMany`].
    pub fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Exchanged(it) => lists(&it.offers, &it.witnesses, &it.accused),
            Self::Gathered(tally) => tally.check(),
            Self::Questions(asks) => {
                at_most("questions", asks.len(), QUESTIONS_MAX)?;
                asks.iter().try_for_each(Ask::check)
            }
            Self::Busy | Self::Refused | Self::Taken | Self::Already | Self::NotYet => Ok(()),
        }
    }
}

fn lists(
    offers: &[Arc<Descriptor>],
    witnesses: &[Arc<Descriptor>],
    accused: &[HostId],
) -> Result<(), WireError> {
    at_most("offers", offers.len(), OFFERS_MAX)?;
    at_most("witnesses", witnesses.len(), WITNESSES_TOLD)?;
    at_most("accused", accused.len(), ACCUSED_MAX)
}

fn decode_short<M: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<M, DecodeError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(DecodeError::TooLong { length: bytes.len(), max: MESSAGE_BYTES_MAX });
    }
    codec::decode(bytes)
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), WireError> {
    if count > max { Err(WireError::TooMany { what, count, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
