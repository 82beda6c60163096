//! Questions to all hosts, as the owner asks them and as this host answers them.

use isos_base::host::HostSpec;
use isos_base::{HostId, Span};
use isos_gossip::query::{Fact, Facts, Found, Order, Row, Unasked, Weighed, Wonder, Wondered};
use isos_kernel::constraint::{Live, LiveConstraint};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::oneshot;

use super::Cloud;
use super::run::Message;

/// What an owner wants to know of all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryOrder {
    /// A CEL expression over `host`.
    pub text: String,
    /// Rows come in the order of this number.
    pub by: Fact,
    /// Those with the least of it first.
    pub least: bool,
    /// Rows that are wanted.
    pub limit: u16,
    /// How many hosts may be asked; else all.
    pub hosts: Option<u32>,
    /// How long it may take; else as long as it takes to reach all.
    pub wait: Option<Span>,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryFound {
    /// Hosts that have looked at themselves.
    pub asked: u32,
    /// Those of them that fit.
    pub matched: u32,
    /// Hosts that took the question on and were not heard of again, with all that they asked.
    pub lost: u32,
    /// How many hosts there are, as far as this one knows.
    pub hosts: Option<f64>,
    /// How long it took.
    pub waited: Span,
    /// Of those that fit, each number added up, in the order of [`Fact::ALL`].
    pub sums: Vec<f64>,
    /// The first of those that fit.
    pub rows: Vec<QueryRow>,
}

/// A host, as it answers for itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryRow {
    /// Which.
    pub host: HostId,
    /// As its owner calls it.
    pub name: String,
    /// Where it is; empty if its owner has not told.
    pub country: String,
    /// Its numbers, in the order of [`Fact::ALL`].
    pub facts: Facts,
}

/// Why a question was not asked. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum QueryError {
    /// It makes no sense.
    #[error("{0}")]
    Senseless(String),
    /// Not now.
    #[error("{0}")]
    NotNow(String),
}

impl From<Found> for QueryFound {
    fn from(found: Found) -> Self {
        let Found { wonder: _, tally, hosts, waited } = found;
        let row = |row: &std::sync::Arc<Row>| QueryRow {
            host: row.host,
            name: row.name.clone(),
            country: row.country.clone(),
            facts: row.facts,
        };
        Self {
            asked: tally.asked,
            matched: tally.matched,
            lost: tally.lost,
            hosts,
            waited,
            sums: tally.sums.to_vec(),
            rows: tally.rows.iter().map(row).collect(),
        }
    }
}

impl From<Unasked> for QueryError {
    fn from(why: Unasked) -> Self {
        match why {
            Unasked::TooLong { .. } => Self::Senseless(why.to_string()),
            Unasked::NotAdmitted | Unasked::TooMany { .. } => Self::NotNow(why.to_string()),
        }
    }
}

impl Cloud {
    /// Asks all hosts.
    pub(crate) async fn query(&self, order: QueryOrder) -> Result<QueryFound, QueryError> {
        let no_network = || {
            let why = "the policy does not let the network be used now (`isos policy explain`)";
            QueryError::NotNow(why.into())
        };
        // Hosts would only say that they do not fit.
        LiveConstraint::compile(&order.text)
            .map_err(|error| QueryError::Senseless(error.to_string()))?;
        if !*self.allowed.borrow() {
            return Err(no_network());
        }
        let QueryOrder { text, by, least, limit, hosts, wait } = order;
        let order = Order { fact: by, least };
        let wonder = Wonder(0);
        let wondered = Wondered { wonder, text, order, limit, budget: hosts, wait };
        let (answer, answered) = oneshot::channel();
        let message = Message::Wondered { wondered: Box::new(wondered), answer };
        self.messages.send(message).await.map_err(|_| no_network())?;
        let found = answered.await.map_err(|_| no_network())?;
        Ok(QueryFound::from(found?))
    }
}

/// Whether a host fits an expression, and what it says of itself then. What is no expression fits
/// nobody.
pub(super) fn weigh(text: &str, spec: &HostSpec, live: &Live) -> Weighed {
    let fits = LiveConstraint::compile(text).is_ok_and(|it| it.fits(spec, live));
    let facts = Fact::ALL.map(|fact| {
        fact.clamp(match fact {
            Fact::Cores => spec.cpus.into(),
            Fact::MemoryFree => live.memory_free.0 as f64,
            Fact::DiskFree => live.disk_free.0 as f64,
            Fact::Load => live.load,
            Fact::Busy => f64::from(u8::from(live.busy)),
            Fact::Uptime => live.uptime.as_secs_f64(),
            Fact::CoreHours => live.core_hours,
            Fact::Reliability => live.reliability,
        })
    });
    let country = spec.country.clone().unwrap_or_default();
    Weighed { fits, name: spec.name.clone(), country, facts }
}
