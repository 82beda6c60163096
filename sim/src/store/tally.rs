//! What came of it.

use isos_base::time::Span;
use isos_store::durability::{self, Scheme};

use super::{DAY, Setting};

const YEAR_DAYS: f64 = 365.0;
const MONTH_DAYS: f64 = 30.0;

/// Sums while a world runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) lost: u32,
    pub(super) repairs: u64,
    pub(super) failed: u64,
    pub(super) moved: u64,
    /// From when a segment has really come to its threshold to the end of its repair, of all
    /// repairs.
    pub(super) late: f64,
    pub(super) departed: u64,
    /// Of these, those that were not gone.
    pub(super) wrongly: u64,
    pub(super) reads: u64,
    pub(super) unreadable: u64,
}

/// What came of a setting.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// How it was kept.
    pub scheme: Option<Scheme>,
    /// Segments that were lost.
    pub lost: u32,
    /// How many the model expects, with the delay of repair that was measured.
    pub expected: f64,
    /// The same as nines a year.
    pub nines: f64,
    /// From the threshold to the end of a repair, on average; none where repair came before.
    pub delay: Span,
    /// Bytes moved by repair in 30 days for each byte of data.
    pub moved: f64,
    /// What the model says of that.
    pub moved_model: f64,
    /// Repairs of a segment in a year.
    pub repairs: f64,
    /// The share of repairs that could not be done.
    pub failed: f64,
    /// Of hosts that were believed to be gone, the share that was not.
    pub wrongly: f64,
    /// The share of reads that found too few hosts there.
    pub unreadable: f64,
    /// What the model says of that, at the threshold of repair.
    pub unreadable_model: f64,
}

impl Tally {
    pub(super) fn outcome(&self, setting: &Setting, fragment_bytes: u64) -> Outcome {
        let Setting { scheme, segments, years, .. } = *setting;
        let ratio = |of: f64, all: f64| if all > 0.0 { of / all } else { f64::NAN };
        let all = self.repairs as f64;
        let delay = Span::micros(if all > 0.0 { (self.late / all) as u64 } else { DAY.0 });
        let hosts = setting.hosts_with(delay);
        let nines = durability::nines_a_year(&scheme, &hosts);
        let segment_years = f64::from(segments) * f64::from(years);
        let data = u64::from(segments) * u64::from(scheme.code.m()) * fragment_bytes;
        let months = f64::from(years) * YEAR_DAYS / MONTH_DAYS;
        let worst = durability::read_nines(scheme.code.m(), scheme.repair_at, hosts.up);
        Outcome {
            scheme: Some(scheme),
            lost: self.lost,
            expected: segment_years * 10_f64.powf(-nines),
            nines,
            delay,
            moved: self.moved as f64 / data as f64 / months,
            moved_model: durability::traffic_a_month(&scheme, &hosts),
            repairs: all / segment_years,
            failed: ratio(self.failed as f64, all + self.failed as f64),
            wrongly: ratio(self.wrongly as f64, self.departed as f64),
            unreadable: ratio(self.unreadable as f64, self.reads as f64),
            unreadable_model: 10_f64.powf(-worst),
        }
    }
}
