//! What a code is worth: nines a year, availability of reads, traffic of repair; computed, and
//! shown with what was assumed.
//!
//! A Markov chain over the number of fragments that exist. Each is lost at the rate 1/lifetime; at
//! the threshold r a repair begins, which ends after an exponential time and makes all n again; the
//! segment is lost when m-1 are left. The mean time to that follows by renewal: the time of a cycle
//! over the chance that its repair comes too late. In logarithms, because that chance is below
//! 1e-25 for wide codes. Storj's whitepaper has the limit of the same model for large numbers.
//!
//! Not modelled, and said so: hosts that fail together. Above nine nines other causes dominate.

use std::fmt;

use isos_base::time::Span;
use serde::{Deserialize, Serialize};

use crate::code::Code;

/// A year, for "nines per year".
const YEAR_DAYS: f64 = 365.0;
/// A month, for traffic.
const MONTH_DAYS: f64 = 30.0;
/// No host is believed to live shorter: a mean from few sessions is noise.
const LIFETIME_MIN: Span = Span::secs(3_600);
/// No repair is believed to be faster.
const REPAIR_MIN: Span = Span::secs(60);
/// Above it causes that no model of hosts has decide.
pub const NINES_BELIEVED: f64 = 9.0;

/// What is known of the hosts that hold an object, and of repair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hosts {
    /// Mean time until a host is gone for good.
    pub lifetime: Span,
    /// Part of the time at which a host can be reached, 0 to 1.
    pub up: f64,
    /// Mean time from the threshold to the last new fragment, the time to believe that hosts are
    /// gone included.
    pub repair_delay: Span,
}

/// How an object is kept: all numbers of fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scheme {
    /// The code.
    pub code: Code,
    /// At so many registered fragments a repair begins; between m and n.
    pub repair_at: u16,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Minus the logarithm to base ten of the chance to lose a segment within a year.
    pub nines: f64,
    /// The same of the chance that a read fails while all fragments are registered.
    pub read_nines: f64,
    /// The same while only as many are registered as at the threshold of repair.
    pub read_nines_worst: f64,
    /// Bytes moved by repair in 30 days, for each byte of data.
    pub traffic_a_month: f64,
    /// Bytes stored for each byte of data.
    pub expansion: f64,
    /// On what all this rests.
    pub assumptions: Vec<Assumption>,
}

/// What an estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Assumption {
    /// How long hosts stay, exponentially distributed.
    Lifetime(Span),
    /// How long a repair takes, exponentially distributed.
    RepairDelay(Span),
    /// How often hosts can be reached.
    Up(f64),
    /// Hosts fail one by one.
    Independent,
    /// The number is too good: something else will happen first.
    OtherCauses,
}

impl fmt::Display for Assumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = |span: &Span| span.as_secs_f64() / 86_400.0;
        match self {
            Self::Lifetime(span) => write!(f, "hosts stay {:.0} days on average", days(span)),
            Self::RepairDelay(span) => write!(f, "a repair takes {:.1} days", days(span)),
            Self::Up(up) => write!(f, "hosts can be reached {:.0} % of the time", up * 100.0),
            Self::Independent => f.write_str("hosts fail independently of each other"),
            Self::OtherCauses => {
                write!(f, "above {NINES_BELIEVED} nines other causes dominate")
            }
        }
    }
}

/// What `scheme` is worth on such hosts.
#[must_use]
pub fn estimate(scheme: &Scheme, hosts: &Hosts) -> Estimate {
    let Scheme { code, .. } = *scheme;
    let (lifetime, delay, up) = (hosts.lifetime.max(LIFETIME_MIN), hosts.repair_delay, hosts.up);
    let up = if up.is_nan() { 0.0 } else { up.clamp(0.0, 1.0) };
    let nines = nines_a_year(scheme, hosts);
    let mut assumptions = vec![
        Assumption::Lifetime(lifetime),
        Assumption::RepairDelay(delay.max(REPAIR_MIN)),
        Assumption::Up(up),
        Assumption::Independent,
    ];
    if nines > NINES_BELIEVED {
        assumptions.push(Assumption::OtherCauses);
    }
    Estimate {
        nines,
        read_nines: read_nines(code.m(), code.n(), up),
        read_nines_worst: read_nines(code.m(), threshold(scheme), up),
        traffic_a_month: traffic_a_month(scheme, hosts),
        expansion: code.expansion(),
        assumptions,
    }
}

/// Minus the logarithm to base ten of the chance to lose a segment within a year.
#[must_use]
pub fn nines_a_year(scheme: &Scheme, hosts: &Hosts) -> f64 {
    let (lifetime, delay) = days(hosts);
    let m = scheme.code.m();
    let ratio = lifetime / delay;
    // While a repair runs, i fragments lose one before it ends with probability i / (i + ratio).
    let (mut ln_reach, mut repairing) = (0.0_f64, 0.0);
    for left in (m..=threshold(scheme)).rev().map(f64::from) {
        repairing += ln_reach.exp() / (left / lifetime + 1.0 / delay);
        ln_reach += left.ln() - (left + ratio).ln();
    }
    let cycle = quiet(scheme, lifetime) + repairing;
    let ln_rate = YEAR_DAYS.ln() + ln_reach - cycle.ln();
    // The chance of at least one loss at this rate; where that is small it is the rate itself.
    let ln_loss = if ln_rate < -30.0 { ln_rate } else { (-(-ln_rate.exp()).exp_m1()).ln() };
    -ln_loss / std::f64::consts::LN_10
}

/// Bytes moved by repair in 30 days for each byte of data: m fragments are read and those that are
/// missing written, each time that the threshold is reached.
#[must_use]
pub fn traffic_a_month(scheme: &Scheme, hosts: &Hosts) -> f64 {
    let (lifetime, _) = days(hosts);
    let (m, n) = (f64::from(scheme.code.m()), f64::from(scheme.code.n()));
    let missing = n - f64::from(threshold(scheme));
    let cycle = quiet(scheme, lifetime);
    if cycle > 0.0 { (m + missing) / m * MONTH_DAYS / cycle } else { 0.0 }
}

/// Minus the logarithm to base ten of the chance that fewer than `m` of `registered` hosts can be
/// reached, if each can be at a part `up` of the time; infinite where that cannot happen.
#[must_use]
pub fn read_nines(m: u16, registered: u16, up: f64) -> f64 {
    if registered < m || up <= 0.0 {
        return 0.0;
    }
    if up >= 1.0 {
        return f64::INFINITY;
    }
    // The sum of the lower tail, term by term in logarithms; all are positive, nothing cancels.
    let (count, odds) = (f64::from(registered), up.ln() - (-up).ln_1p());
    let mut ln_term = count * (-up).ln_1p();
    let mut ln_sum = f64::NEG_INFINITY;
    for reached in 0..m {
        let (large, small) = if ln_sum > ln_term { (ln_sum, ln_term) } else { (ln_term, ln_sum) };
        ln_sum = large + (small - large).exp().ln_1p();
        let reached = f64::from(reached);
        ln_term += ((count - reached) / (reached + 1.0)).ln() + odds;
    }
    (-ln_sum / std::f64::consts::LN_10).max(0.0)
}

/// Days from all fragments to the threshold.
fn quiet(scheme: &Scheme, lifetime_days: f64) -> f64 {
    let steps = threshold(scheme) + 1..=scheme.code.n();
    steps.map(|left| lifetime_days / f64::from(left)).sum()
}

/// A threshold below m would be too late, and one above n is n.
fn threshold(scheme: &Scheme) -> u16 {
    scheme.repair_at.clamp(scheme.code.m(), scheme.code.n())
}

fn days(hosts: &Hosts) -> (f64, f64) {
    let days = |span: Span| span.as_secs_f64() / 86_400.0;
    (days(hosts.lifetime.max(LIFETIME_MIN)), days(hosts.repair_delay.max(REPAIR_MIN)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scheme(m: u16, n: u16, repair_at: u16) -> Scheme {
        Scheme { code: Code::new(m, n).unwrap(), repair_at }
    }

    fn hosts(lifetime_days: u64, delay_days: u64) -> Hosts {
        let day = 86_400;
        Hosts {
            lifetime: Span::secs(lifetime_days * day),
            up: 0.8,
            repair_delay: Span::secs(delay_days * day),
        }
    }

    /// m, n, r; then for lifetimes of 90 and 300 days: traffic, nines at one day, nines at three.
    type Row = (u16, u16, u16, [f64; 3], [f64; 3]);
    const ROWS: [Row; 10] = [
        (3, 10, 7, [1.98, 5.4, 3.3], [0.60, 8.5, 6.2]),
        (4, 8, 6, [1.87, 2.7, 1.4], [0.56, 4.7, 3.3]),
        (10, 16, 14, [3.10, 3.2, 1.3], [0.93, 6.1, 3.9]),
        (10, 30, 18, [1.47, 7.0, 3.7], [0.44, 11.8, 7.9]),
        (16, 32, 24, [1.77, 5.6, 2.5], [0.53, 10.2, 6.4]),
        (16, 48, 32, [1.67, 10.7, 5.1], [0.50, 18.9, 11.8]),
        (16, 64, 24, [1.21, 6.1, 3.0], [0.36, 10.8, 6.9]),
        (16, 64, 32, [1.46, 10.9, 5.4], [0.44, 19.1, 12.0]),
        (29, 80, 45, [1.29, 8.3, 3.6], [0.39, 16.0, 9.4]),
        (29, 80, 53, [1.58, 11.8, 5.1], [0.47, 22.7, 13.1]),
    ];

    #[test]
    fn published_rows_come_out_to_a_tenth_of_a_nine() {
        for (m, n, r, at_90, at_300) in ROWS {
            for (lifetime, [traffic, one_day, three_days]) in [(90, at_90), (300, at_300)] {
                let scheme = scheme(m, n, r);
                let moved = traffic_a_month(&scheme, &hosts(lifetime, 1));
                assert!((moved - traffic).abs() < 0.006, "{m}-of-{n}: {moved} {traffic}");
                for (delay, nines) in [(1, one_day), (3, three_days)] {
                    let computed = nines_a_year(&scheme, &hosts(lifetime, delay));
                    assert!((computed - nines).abs() < 0.06, "{m}-of-{n}: {computed} {nines}");
                }
            }
        }
    }

    /// How many fragments must be registered for five nines of read availability.
    #[test]
    fn five_nines_of_reads_need_as_many_fragments_as_published() {
        let ups = [0.5, 0.7, 0.8, 0.9, 0.95];
        for (m, needed) in [
            (4, [29, 18, 14, 10, 9]),
            (10, [48, 30, 24, 19, 16]),
            (16, [65, 41, 34, 27, 23]),
            (29, [99, 65, 53, 43, 39]),
        ] {
            for (up, needed) in ups.into_iter().zip(needed) {
                let enough = (m..=256).find(|n| read_nines(m, *n, up) >= 5.0);
                assert_eq!(enough, Some(needed), "{m} at {up}");
            }
        }
    }

    #[test]
    fn numbers_far_below_what_a_float_can_subtract_stay_sound() {
        // All 16 of 16 reached hosts at 0.9: failure is 1 - 0.9^16. All 40 missing: 1e-40.
        let all = -(1.0 - 0.9_f64.powi(16)).log10();
        assert!((read_nines(16, 16, 0.9) - all).abs() < 1e-12);
        assert!((read_nines(1, 40, 0.9) - 40.0).abs() < 1e-9);
        let wide = nines_a_year(&scheme(29, 200, 150), &hosts(3_000, 1));
        assert!(wide.is_finite() && wide > 100.0, "{wide}");
    }

    #[test]
    fn hopeless_hosts_give_no_nines_and_no_nonsense() {
        let none = Hosts { lifetime: Span::ZERO, up: f64::NAN, repair_delay: Span(u64::MAX) };
        let estimate = estimate(&scheme(16, 64, 0), &none);
        assert!((0.0..0.01).contains(&estimate.nines), "{estimate:?}");
        assert!((estimate.read_nines, estimate.read_nines_worst) == (0.0, 0.0));
        assert!(read_nines(3, 2, 0.9) == 0.0 && read_nines(3, 4, 1.0) == f64::INFINITY);
    }

    #[test]
    fn an_estimate_says_what_it_rests_on() {
        let text = |hosts: &Hosts| {
            let estimate = estimate(&scheme(16, 48, 32), hosts);
            let lines: Vec<String> = estimate.assumptions.iter().map(ToString::to_string).collect();
            format!("{:.1} nines: {}", estimate.nines, lines.join("; "))
        };
        expect_test::expect![
            "5.1 nines: hosts stay 90 days on average; a repair takes 3.0 days; hosts can be reached 80 % of the time; hosts fail independently of each other"
        ]
        .assert_eq(&text(&hosts(90, 3)));
        assert!(text(&hosts(300, 1)).ends_with("above 9 nines other causes dominate"));
    }

    proptest! {
        #[test]
        fn better_hosts_are_never_worse(
            m in 1_u16..30,
            extra in 1_u16..60,
            part in 0.0_f64..1.0,
            lifetime in 1_u64..2_000,
            delay in 1_u64..20,
        ) {
            let repair_at = m + (f64::from(extra) * part) as u16;
            let scheme = scheme(m, m + extra, repair_at);
            let base = nines_a_year(&scheme, &hosts(lifetime, delay));
            prop_assert!(base.is_finite() && base >= 0.0);
            prop_assert!(nines_a_year(&scheme, &hosts(lifetime + 50, delay)) >= base);
            prop_assert!(nines_a_year(&scheme, &hosts(lifetime, delay + 1)) <= base);
            let (less, more) = (read_nines(m, m + extra, 0.6), read_nines(m, m + extra, 0.7));
            prop_assert!(less <= more);
        }
    }
}
