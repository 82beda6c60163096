//! A question to all hosts, and what comes back: which of them fit an expression, the best few of
//! them by one number, and sums over all that fit.
//!
//! A question is signed by its asker, so nobody asks in another's name, and each host counts how
//! often an asker asks. It spreads as an epidemic does (Demers and others 1987); whoever hands it
//! to a host that has not heard of it gathers that host's answers later, so that who asked whom is
//! a tree, and each host is counted once. On the way back tallies become one: numbers are added,
//! and the best few rows stay (as TAG does it: Madden and others 2002). A row is signed by the host
//! that it is of. Counts and sums are nobody's word: whoever stands on the way can change them.
//!
//! What the expression means, the shell knows; here it is text.

use std::cmp::Ordering;
use std::sync::Arc;

use isos_base::certificate::Seal;
use isos_base::codec;
use isos_base::descriptor::Admission;
use isos_base::key::Signature;
use isos_base::notary::{Notary, Verdict};
use isos_base::time::{Span, Time};
use isos_base::{Guid, HostId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::attribute::Attribute;
use crate::wire::WireError;

/// What is signed of a question is tagged with this.
const QUESTION_TAG: &[u8] = b"isos-gossip-question-1";
/// What is signed of a row.
const ROW_TAG: &[u8] = b"isos-gossip-row-1";
/// Bytes of an expression.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// Rows of a tally: with the longest names they fit into a message.
pub const ROWS_MAX: usize = 50;
/// Bytes of a host's name in a row.
pub const NAME_BYTES_MAX: usize = 32;
/// Bytes of a country.
pub const COUNTRY_BYTES_MAX: usize = 2;
/// A question is answered after this at the latest.
pub const WAIT_MAX: Span = Span::secs(120);
/// Hosts that may be asked. Shares are even where trees are not, so this is more than there are.
pub const BUDGET_MAX: u32 = 1 << 30;
/// How often a question is handed on, one host after the other.
pub const HOPS_MAX: u8 = 24;
/// Numbers of a row.
pub const FACTS: usize = 8;

/// A number of a row. New ones are added at the end, with a new version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fact {
    /// See [`Attribute::Cores`].
    Cores,
    /// See [`Attribute::MemoryFree`].
    MemoryFree,
    /// See [`Attribute::DiskFree`].
    DiskFree,
    /// See [`Attribute::Load`].
    Load,
    /// See [`Attribute::Busy`].
    Busy,
    /// See [`Attribute::Uptime`].
    Uptime,
    /// See [`Attribute::CoreHours`].
    CoreHours,
    /// The share of the last weeks in which the agent has run, from 0 to 1.
    Reliability,
}

/// All that a host tells of itself in a row.
pub type Facts = [f32; FACTS];

impl Fact {
    /// All of them, in the order in which they travel.
    pub const ALL: [Self; FACTS] = [
        Self::Cores,
        Self::MemoryFree,
        Self::DiskFree,
        Self::Load,
        Self::Busy,
        Self::Uptime,
        Self::CoreHours,
        Self::Reliability,
    ];

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.attribute() {
            Some(attribute) => attribute.name(),
            None => "reliability",
        }
    }

    /// Its place among all.
    #[must_use]
    pub const fn at(self) -> usize {
        self as usize
    }

    /// The number that is averaged as well, if it is one.
    #[must_use]
    pub const fn attribute(self) -> Option<Attribute> {
        match self {
            Self::Cores => Some(Attribute::Cores),
            Self::MemoryFree => Some(Attribute::MemoryFree),
            Self::DiskFree => Some(Attribute::DiskFree),
            Self::Load => Some(Attribute::Load),
            Self::Busy => Some(Attribute::Busy),
            Self::Uptime => Some(Attribute::Uptime),
            Self::CoreHours => Some(Attribute::CoreHours),
            Self::Reliability => None,
        }
    }

    /// Nothing is more.
    #[must_use]
    pub const fn most(self) -> f64 {
        match self.attribute() {
            Some(attribute) => attribute.most(),
            None => 1.0,
        }
    }

    /// The number as it travels, or the nearest that there can be.
    #[must_use]
    pub fn clamp(self, value: f64) -> f32 {
        if value.is_nan() { 0.0 } else { value.clamp(0.0, self.most()) as f32 }
    }
}

/// Which rows come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// By this number.
    pub fact: Fact,
    /// Those with the least of it, instead of the most.
    pub least: bool,
}

impl Order {
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        let (a_has, b_has) = (a.facts[self.fact.at()], b.facts[self.fact.at()]);
        let by_fact = a_has.total_cmp(&b_has);
        let by_fact = if self.least { by_fact } else { by_fact.reverse() };
        by_fact.then(a.host.cmp(&b.host))
    }
}

/// Which question: a hash of it, so that nobody can put another in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueryId(pub [u8; 16]);

/// What is asked, under the asker's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Who wants to know.
    pub asker: HostId,
    /// The complex's word for it.
    pub admission: Admission,
    /// When it began.
    pub issued: Time,
    /// Tells two questions of one moment apart.
    pub number: u64,
    /// The expression.
    pub text: String,
    /// Which rows come first.
    pub order: Order,
    /// Rows that are wanted.
    pub limit: u16,
    /// The asker's signature.
    pub seal: Seal,
}

impl Question {
    /// Which question this is.
    #[must_use]
    pub fn id(&self) -> QueryId {
        let Guid(hash) = Guid::of(&codec::encode(self));
        QueryId(hash.first_chunk().copied().unwrap_or_default())
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { asker, admission, issued, number, text, order, limit, seal: _ } = self;
        let mut bytes = QUESTION_TAG.to_vec();
        bytes.extend(codec::encode(&(asker, admission, issued, number, text, order, limit)));
        bytes
    }

    /// Signs it.
    #[must_use]
    pub fn signed(mut self, notary: &mut impl Notary) -> Self {
        self.seal = notary.sign(&self.signed_bytes());
        self
    }

    /// Whether an admitted host asks this.
    pub fn is_by_its_asker(&self, notary: &mut impl Notary, now: Time) -> bool {
        notary.judge(&self.admission.of(self.asker), now) == Verdict::Good
            && notary.has_signed(&self.asker.0, &self.signed_bytes(), &self.seal)
    }

    /// Whether it is within the limits.
    ///
    /// # Errors
    /// [`WireError::TooMany`].
    pub(crate) fn check(&self) -> Result<(), WireError> {
        at_most("bytes of an expression", self.text.len(), TEXT_BYTES_MAX)?;
        at_most("rows wanted", self.limit.into(), ROWS_MAX)
    }
}

/// A question on its way, with what holds for the one who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// What.
    pub question: Arc<Question>,
    /// What it gathers is fetched after this.
    pub wait: Span,
    /// How often it may be handed on.
    pub hops: u8,
    /// How many hosts may be asked, the one who gets it included.
    pub budget: u32,
}

impl Ask {
    /// Whether it is within the limits.
    ///
    /// # Errors
    /// [`WireError::TooMany`].
    pub(crate) fn check(&self) -> Result<(), WireError> {
        self.question.check()?;
        at_most("hops", self.hops.into(), HOPS_MAX.into())?;
        at_most("hosts to ask", self.budget as usize, BUDGET_MAX as usize)?;
        let secs = |span: Span| span.0.div_ceil(1_000_000) as usize;
        at_most("seconds to wait", secs(self.wait), secs(WAIT_MAX))
    }
}

/// What a host says of itself in answer to one question, under its signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Who.
    pub host: HostId,
    /// The complex's word for it.
    pub admission: Admission,
    /// Whether it fits.
    pub fits: bool,
    /// As its owner calls it, cut to what fits.
    pub name: String,
    /// Where it is; empty if its owner has not told.
    pub country: String,
    /// Its numbers.
    pub facts: Facts,
    /// Its signature.
    pub seal: Seal,
}

/// What a host finds when it asks itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Weighed {
    /// Whether it fits.
    pub fits: bool,
    /// Its name.
    pub name: String,
    /// Its country; empty if it is not known.
    pub country: String,
    /// Its numbers.
    pub facts: Facts,
}

impl Row {
    /// This host's row, in answer to this question.
    pub fn of(
        host: HostId,
        admission: Admission,
        weighed: Weighed,
        query: QueryId,
        notary: &mut impl Notary,
    ) -> Self {
        let Weighed { fits, name, country, facts } = weighed;
        let (name, country) = (cut(name, NAME_BYTES_MAX), cut(country, COUNTRY_BYTES_MAX));
        let facts = Fact::ALL.map(|fact| fact.clamp(facts[fact.at()].into()));
        let seal = Seal::from(Signature([0; 64]));
        let mut row = Self { host, admission, fits, name, country, facts, seal };
        row.seal = notary.sign(&row.signed_bytes(query));
        row
    }

    fn signed_bytes(&self, query: QueryId) -> Vec<u8> {
        let Self { host, admission: _, fits, name, country, facts, seal: _ } = self;
        let mut bytes = ROW_TAG.to_vec();
        bytes.extend(codec::encode(&(query, host, fits, name, country, facts)));
        bytes
    }

    /// Whether an admitted host answers so.
    pub fn is_by_its_host(&self, query: QueryId, notary: &mut impl Notary, now: Time) -> bool {
        notary.judge(&self.admission.of(self.host), now) == Verdict::Good
            && notary.has_signed(&self.host.0, &self.signed_bytes(query), &self.seal)
    }

    /// Whether it is within the limits.
    ///
    /// # Errors
    /// [`WireError::TooMany`].
    pub(crate) fn check(&self) -> Result<(), WireError> {
        at_most("bytes of a name", self.name.len(), NAME_BYTES_MAX)?;
        at_most("bytes of a country", self.country.len(), COUNTRY_BYTES_MAX)
    }

    /// Whether a host can have these numbers.
    fn is_possible(&self) -> bool {
        Fact::ALL.into_iter().all(|fact| {
            let value = self.facts[fact.at()];
            value.to_bits() == fact.clamp(value.into()).to_bits()
        })
    }
}

/// What was found out by some hosts together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Hosts that have looked at themselves.
    pub asked: u32,
    /// Those of them that fit.
    pub matched: u32,
    /// Hosts that had taken the question on, and were not heard of again with all that they asked.
    pub lost: u32,
    /// Of those that fit, each number added up.
    pub sums: [f64; FACTS],
    /// The first of those that fit.
    pub rows: Vec<Arc<Row>>,
}

impl Tally {
    /// One host more.
    pub fn add(&mut self, row: &Arc<Row>, order: Order, limit: u16) {
        self.asked = self.asked.saturating_add(1);
        if row.fits {
            self.matched = self.matched.saturating_add(1);
            for (sum, value) in self.sums.iter_mut().zip(row.facts) {
                *sum += f64::from(value);
            }
            self.put(row, order, limit);
        }
    }

    /// What other hosts have found out together.
    pub fn merge(&mut self, other: &Self, order: Order, limit: u16) {
        self.asked = self.asked.saturating_add(other.asked);
        self.matched = self.matched.saturating_add(other.matched);
        self.lost = self.lost.saturating_add(other.lost);
        for (sum, value) in self.sums.iter_mut().zip(other.sums) {
            *sum += value;
        }
        for row in &other.rows {
            self.put(row, order, limit);
        }
    }

    /// Puts a row where it belongs, if it is among the first and its host is not there yet.
    fn put(&mut self, row: &Arc<Row>, order: Order, limit: u16) {
        if self.rows.iter().any(|known| known.host == row.host) {
            return;
        }
        let at = self.rows.partition_point(|known| order.compare(known, row).is_lt());
        self.rows.insert(at, row.clone());
        self.rows.truncate(limit.into());
    }

    /// Whether it is within the limits.
    ///
    /// # Errors
    /// [`WireError::TooMany`].
    pub(crate) fn check(&self) -> Result<(), WireError> {
        at_most("rows", self.rows.len(), ROWS_MAX)?;
        self.rows.iter().try_for_each(|row| row.check())
    }

    /// Whether so many hosts, asked this, can have found it out: rows that are wrong are nobody's
    /// opinion and make all of it unbelievable. Slow: a signature for each row.
    pub fn is_possible(
        &self,
        question: &Question,
        budget: u32,
        notary: &mut impl Notary,
        now: Time,
    ) -> bool {
        let query = question.id();
        let most = f64::from(self.matched);
        let sums_fit = Fact::ALL.into_iter().all(|fact| {
            let sum = self.sums[fact.at()];
            sum >= 0.0 && sum <= most * fact.most() * (1.0 + 1e-6)
        });
        self.asked <= budget
            && self.matched <= self.asked
            && self.rows.len() <= usize::from(question.limit).min(self.matched as usize)
            && sums_fit
            && self
                .rows
                .iter()
                .all(|row| row.fits && row.is_possible() && row.is_by_its_host(query, notary, now))
    }
}

/// A question of this host's own, numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wonder(pub u64);

/// What somebody at this host wants to know of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wondered {
    /// Names it in what is found.
    pub wonder: Wonder,
    /// The expression; at most [`TEXT_BYTES_MAX`].
    pub text: String,
    /// Which rows come first.
    pub order: Order,
    /// Rows that are wanted; no more than [`ROWS_MAX`] are given.
    pub limit: u16,
    /// How many hosts may be asked; else all that there seem to be.
    pub budget: Option<u32>,
    /// How long it may take; else as long as it takes to hear of hosts that cannot be called.
    pub wait: Option<Span>,
}

/// Why a question was not asked. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unasked {
    /// Others would not answer.
    #[error("the complex has not admitted this host yet, so that others do not answer it")]
    NotAdmitted,
    /// Longer than may travel.
    #[error("the expression has {bytes} bytes; {TEXT_BYTES_MAX} at the most")]
    TooLong {
        /// How long.
        bytes: usize,
    },
    /// Others would not answer so often.
    #[error("hosts answer one asker once in five seconds: ask again in {wait}")]
    TooMany {
        /// When it may be asked.
        wait: Span,
    },
}

/// What a question of this host's own has led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Which.
    pub wonder: Wonder,
    /// What hosts said.
    pub tally: Tally,
    /// How many hosts there are, as far as this one knows.
    pub hosts: Option<f64>,
    /// How long it took.
    pub waited: Span,
}

/// Cuts a text at the end of a character.
fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), WireError> {
    if count > max { Err(WireError::TooMany { what, count, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
