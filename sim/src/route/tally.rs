//! What came of it.

use isos_base::time::Span;

/// Sums while a world runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) hops: Vec<u8>,
    pub(super) took: Vec<Span>,
    pub(super) asked: u64,
    pub(super) lies: u64,
    pub(super) wanted: u32,
    pub(super) found: u32,
    pub(super) sought: u32,
    pub(super) right: u32,
    pub(super) copies: u64,
    pub(super) announced: u32,
    pub(super) upkeep: Traffic,
}

/// What hosts have sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    pub(super) bytes: u64,
    pub(super) handshake_bytes: u64,
    pub(super) messages: u64,
    /// Seconds times hosts.
    pub(super) host_seconds: f64,
}

/// What came of a setting.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Requests in a row that led to the nearest router or the first holder.
    pub hops: f64,
    /// The most of these.
    pub hops_max: u8,
    /// How long a search took: half were quicker.
    pub p50: Span,
    /// Nine of ten were quicker.
    pub p90: Span,
    /// All but one in a hundred.
    pub p99: Span,
    /// The share of searches for what is held that found it.
    pub found: f64,
    /// The share of searches for a place that found the router nearest to it.
    pub right: f64,
    /// Routers asked by each search.
    pub asked: f64,
    /// Liars that showed themselves to each search.
    pub lies: f64,
    /// Routers that each pointer was put to.
    pub copies: f64,
    /// What a router sends in a second while nobody searches, without handshakes.
    pub upkeep_bytes: f64,
    /// What handshakes add to that.
    pub handshake_bytes: f64,
    /// Messages a second that this is.
    pub upkeep_messages: f64,
    /// Contacts of a router that have shown that they live.
    pub contacts: f64,
    /// Of these, dead ones.
    pub dead: f64,
    /// The time between two probes, in the middle.
    pub pace: Span,
}

fn ratio(of: f64, all: f64) -> f64 {
    if all > 0.0 { of / all } else { f64::NAN }
}

impl Tally {
    pub(super) fn outcome(mut self) -> Outcome {
        self.took.sort_unstable();
        let part = |part: usize| {
            let at = (self.took.len() * part / 100).min(self.took.len().saturating_sub(1));
            self.took.get(at).copied().unwrap_or_default()
        };
        let searches = f64::from(self.wanted + self.sought);
        let hops: u64 = self.hops.iter().map(|hops| u64::from(*hops)).sum();
        let Traffic { bytes, handshake_bytes, messages, host_seconds } = self.upkeep;
        Outcome {
            hops: ratio(hops as f64, self.hops.len() as f64),
            hops_max: self.hops.iter().copied().max().unwrap_or(0),
            p50: part(50),
            p90: part(90),
            p99: part(99),
            found: ratio(f64::from(self.found), f64::from(self.wanted)),
            right: ratio(f64::from(self.right), f64::from(self.sought)),
            asked: ratio(self.asked as f64, searches),
            lies: ratio(self.lies as f64, searches),
            copies: ratio(self.copies as f64, f64::from(self.announced)),
            upkeep_bytes: ratio(bytes as f64, host_seconds),
            handshake_bytes: ratio(handshake_bytes as f64, host_seconds),
            upkeep_messages: ratio(messages as f64, host_seconds),
            ..Outcome::default()
        }
    }
}
