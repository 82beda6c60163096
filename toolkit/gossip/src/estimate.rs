//! What a host knows of all hosts once an epoch is over, and how far that can be trusted.

use std::fmt;

use isos_base::descriptor::MARKS;
use isos_base::time::Time;
use serde::{Deserialize, Serialize};

use crate::attribute::{Attribute, Told};
use crate::epoch::Over;
use crate::slicing::Window;

/// Shares of hosts at which a number is told.
pub const QUANTILES: [f64; 5] = [0.1, 0.25, 0.5, 0.75, 0.9];
/// A doubt needs so many standard deviations: one in ten thousand arises by chance.
const DEVIATIONS: f64 = 4.0;
/// What hosts tell changes within an epoch, and others are told of late: ranks may be off by so
/// much.
const RANK_SLACK: f64 = 0.1;
/// The same for how many there are.
const COUNT_SLACK: f64 = 0.25;
/// Fewer averages than this say nothing of others.
const EXCHANGES_MIN: u32 = 5;
/// Fewer hosts in the window say nothing of all.
const WINDOW_MIN: usize = 24;

/// What is known of all hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The epoch that is over.
    pub epoch: u64,
    /// When it began here: what hosts told then was summed up.
    pub began: Time,
    /// When it was over.
    pub ended: Time,
    /// Averages that this host took.
    pub exchanges: u32,
    /// Hosts: the median of all counts.
    pub hosts: f64,
    /// The least of them, and the most.
    pub hosts_between: (f64, f64),
    /// Counts that ran.
    pub counts: u32,
    /// Hosts by those who stand for all, and how far that may be off, as a part of it.
    pub hosts_witnessed: (f64, f64),
    /// The share of hosts that can be called.
    pub public: Option<f64>,
    /// Of each attribute.
    pub attributes: Vec<Spread>,
    /// Why it should not be believed; nothing if nothing speaks against it.
    pub doubts: Vec<Doubt>,
}

/// How one attribute is spread over hosts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Its name.
    pub name: String,
    /// Of all hosts together.
    pub sum: f64,
    /// Of a host, on average.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// What the [`QUANTILES`] of hosts are below.
    pub quantiles: [f64; QUANTILES.len()],
    /// The share of hosts that have less than this one.
    pub rank: f64,
    /// The median of the hosts whose descriptors came by, if there were enough.
    pub sampled: Option<f64>,
}

/// Why an estimate should not be believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Hardly anybody has met this host.
    Alone {
        /// Averages taken.
        exchanges: u32,
    },
    /// The hosts that stand for all say another number.
    Count {
        /// What they say.
        witnessed: u64,
    },
    /// The hosts whose descriptors came by are different from what was summed up.
    Spread {
        /// In what.
        attribute: String,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alone { exchanges } => {
                write!(f, "this host met others only {exchanges} times: it may be cut off")
            }
            Self::Count { witnessed } => write!(
                f,
                "hosts that stand for all say that there are about {witnessed}: somebody counts wrongly"
            ),
            Self::Spread { attribute } => write!(
                f,
                "hosts that were told of have another {attribute}: somebody adds up wrongly"
            ),
        }
    }
}

/// What is known beside the sums.
pub(crate) struct Beside<'a> {
    pub(crate) told: &'a Told,
    pub(crate) window: &'a Window<[u8; MARKS]>,
    pub(crate) witnessed: (f64, f64),
    pub(crate) public: Option<f64>,
}

impl Estimate {
    pub(crate) fn of(over: &Over, now: Time, beside: &Beside<'_>) -> Self {
        let Over { epoch, began, exchanges, sums } = over;
        let counts = sums.instances.counts();
        // Whoever has met nobody has counted itself.
        let hosts = sums.instances.count().unwrap_or(1.0);
        let mut doubts = Vec::new();
        if *exchanges < EXCHANGES_MIN {
            doubts.push(Doubt::Alone { exchanges: *exchanges });
        }
        let (witnessed, error) = beside.witnessed;
        let apart = DEVIATIONS * error + COUNT_SLACK;
        // Among few the witnesses are exact, but one more or less is no lie.
        if (hosts - witnessed).abs() > witnessed * apart + 3.0 && doubts.is_empty() {
            doubts.push(Doubt::Count { witnessed: witnessed.round() as u64 });
        }
        let mut attributes = Vec::with_capacity(Attribute::ALL.len());
        for attribute in Attribute::ALL {
            let at = attribute.at();
            let (moments, sketch) = (&sums.moments[at], &sums.sketches[at]);
            let quantile = |share| {
                sketch
                    .quantile(attribute, share)
                    .clamp(moments.least, moments.most.max(moments.least))
            };
            let sampled = median(beside.window, attribute);
            if let Some(sampled) = sampled
                && is_elsewhere(sketch, attribute, sampled, beside.window.len())
                && doubts.is_empty()
            {
                doubts.push(Doubt::Spread { attribute: attribute.name().into() });
            }
            attributes.push(Spread {
                name: attribute.name().into(),
                sum: moments.mean * hosts,
                mean: moments.mean,
                deviation: moments.deviation(),
                least: moments.least,
                most: moments.most,
                quantiles: QUANTILES.map(quantile),
                rank: sketch.rank(attribute, beside.told[at]),
                sampled,
            });
        }
        Self {
            epoch: *epoch,
            began: *began,
            ended: now,
            exchanges: *exchanges,
            hosts,
            hosts_between: (
                counts.first().copied().unwrap_or(hosts),
                counts.last().copied().unwrap_or(hosts),
            ),
            counts: counts.len() as u32,
            hosts_witnessed: beside.witnessed,
            public: beside.public,
            attributes,
            doubts,
        }
    }

    /// How an attribute is spread.
    #[must_use]
    pub fn of_attribute(&self, attribute: Attribute) -> Option<&Spread> {
        self.attributes.get(attribute.at())
    }
}

fn median(window: &Window<[u8; MARKS]>, attribute: Attribute) -> Option<f64> {
    let mut marks: Vec<u8> = window.values().map(|marks| marks[attribute.at()]).collect();
    marks.sort_unstable();
    (marks.len() >= WINDOW_MIN).then(|| attribute.of_mark(marks[marks.len() / 2]))
}

/// Whether the sketch has the sampled median so far from its middle that samples cannot be why.
/// A bucket in which there are many has all their ranks.
fn is_elsewhere(
    sketch: &crate::sketch::Sketch,
    attribute: Attribute,
    sampled: f64,
    samples: usize,
) -> bool {
    let (low, high) = attribute.bounds(attribute.bucket(sampled));
    let slack = RANK_SLACK + DEVIATIONS * 0.5 / (samples as f64).sqrt();
    let below = sketch.rank(attribute, low);
    // At the bound itself begins the next bucket.
    let up_to = sketch.rank(attribute, low + (high - low) * 0.999_999);
    below > 0.5 + slack || up_to < 0.5 - slack
}
