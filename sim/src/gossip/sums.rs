//! How fast averaging brings a million numbers together, and how well it counts.

use isos_base::random::Random;
use isos_gossip::average::average;

use super::flat::Flat;
use super::table::{Drawn, Row, Table, column};

/// Sequential random pairing: 1/(2 sqrt e), Jelasity, Montresor, Babaoglu 2005.
const PUBLISHED: f64 = 0.3033;
/// Uniform sampling with hosts visited in a fixed order, as measured for the design.
const DESIGNED: f64 = 0.294;
/// An epoch.
const CYCLES: u32 = 30;
/// The factor is measured over these, while rounding does not matter.
const MEASURED: std::ops::Range<u32> = 2..18;

/// What happens to an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Trial {
    hosts: u32,
    /// Whom hosts meet: anybody, or by their views.
    uniform: bool,
    /// The share of hosts that can be called.
    public: f64,
    /// Of messages, how many are lost.
    loss: f64,
    /// Whether a lost answer is asked for once more.
    again: bool,
    /// How many die, in the middle of the epoch.
    crash: f64,
}

impl Trial {
    fn quiet(hosts: u32, uniform: bool) -> Self {
        Self { hosts, uniform, public: 1.0, loss: 0.0, again: true, crash: 0.0 }
    }
}

pub(super) fn table() -> Table {
    Table {
        title: "Averaging: how fast numbers come together, and what one count of all is after 30 cycles",
        of: "hosts, and what happens",
        columns: vec![
            column("factor", 4),
            column("published", 4),
            column("design", 3),
            column("least", 4),
            column("mean", 4),
            column("most", 4),
        ],
        drawn: Drawn::Columns(0..3),
        legend: "factor: by which the variance falls each cycle. least, mean, most: what hosts count, \
                 as a part of how many\nthere are (published at 10^5: 0.9997 to 1.0002, at 10^6: \
                 0.9992 to 1.0006). Of the loss, half are answers:\nthose change what all have \
                 together, unless they are asked for once more.\n",
    }
}

pub(super) fn study(seed: u64, hosts: &[u32], mut tell: impl FnMut(Row)) {
    for &hosts in hosts {
        tell(trial(seed, &format!("{hosts}, anybody"), &Trial::quiet(hosts, true)));
        tell(trial(seed, &format!("{hosts}, by views"), &Trial::quiet(hosts, false)));
    }
    let hosts = hosts.first().copied().unwrap_or(10_000).min(100_000);
    let by_views = Trial::quiet(hosts, false);
    for public in [0.5, 0.2] {
        let name = format!("{hosts}, {:.0} % can be called", public * 100.0);
        tell(trial(seed, &name, &Trial { public, ..by_views }));
    }
    for loss in [0.01, 0.05, 0.2] {
        for again in [false, true] {
            let what = if again { "asked again" } else { "not asked again" };
            let name = format!("{hosts}, {:.0} % lost, {what}", loss * 100.0);
            tell(trial(seed, &name, &Trial { loss, again, ..by_views }));
        }
    }
    for crash in [0.1, 0.5] {
        let name = format!("{hosts}, {:.0} % die in cycle 10", crash * 100.0);
        tell(trial(seed, &name, &Trial { crash, ..by_views }));
    }
}

/// One host has 1 and all others 0; what they count is one in what they have.
fn trial(seed: u64, name: &str, trial: &Trial) -> Row {
    let mut random = Random::new(seed ^ 0x0c0_0017);
    let mut values = vec![0.0_f64; trial.hosts as usize];
    let mut spread: Vec<f64> = (0..trial.hosts).map(|_| random.unit()).collect();
    let begun = random.below(u64::from(trial.hosts)) as usize;
    values[begun] = 1.0;
    let mut flat = (!trial.uniform).then(|| Flat::new(seed, trial.hosts, trial.public));
    if let Some(flat) = &mut flat {
        // Views that were never swapped are as random as they were made.
        for _ in 0..10 {
            flat.cycle(|_, _, _| {});
        }
    }
    let mut factors = Vec::new();
    let mut before = variance(&spread);
    for cycle in 0..CYCLES {
        let mut meet = |a: u32, b: u32, random: &mut Random| {
            let (a, b) = (a as usize, b as usize);
            let lost = |random: &mut Random| trial.loss > 0.0 && random.unit() < trial.loss;
            if a == b || lost(random) {
                return;
            }
            // The answer, and its repetition: a request and an answer that both must come.
            let heard = !lost(random) || (trial.again && !lost(random) && !lost(random));
            for values in [&mut values, &mut spread] {
                let both = average(values[a], values[b]);
                values[b] = both;
                if heard {
                    values[a] = both;
                }
            }
        };
        match &mut flat {
            Some(flat) => {
                if cycle == 10 && trial.crash > 0.0 {
                    flat.crash(trial.crash);
                }
                flat.cycle(|_, a, b| meet(a, b, &mut random));
            }
            None => {
                for a in 0..trial.hosts {
                    let b = random.below(u64::from(trial.hosts)) as u32;
                    meet(a, b, &mut random);
                }
            }
        }
        let after = variance(&spread);
        if MEASURED.contains(&cycle) && trial.crash == 0.0 && after > 0.0 {
            factors.push((after / before).ln());
        }
        before = after;
    }
    let factor = (factors.iter().sum::<f64>() / factors.len().max(1) as f64).exp();
    let living = |n: usize| flat.as_ref().is_none_or(|flat| flat.is_alive(n as u32));
    let counts: Vec<f64> = (0..values.len())
        .filter(|n| living(*n) && values[*n] > 0.0)
        .map(|n| 1.0 / values[n] / f64::from(trial.hosts))
        .collect();
    let published = trial.public == 1.0 && trial.loss == 0.0 && trial.crash == 0.0;
    let known = |value: f64, is: bool| if is { value } else { f64::NAN };
    Row {
        name: name.into(),
        values: vec![
            known(factor, !factors.is_empty()),
            known(PUBLISHED, published),
            known(DESIGNED, published && trial.uniform),
            counts.iter().copied().fold(f64::INFINITY, f64::min),
            counts.iter().sum::<f64>() / counts.len().max(1) as f64,
            counts.iter().copied().fold(0.0, f64::max),
        ],
    }
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|it| (it - mean) * (it - mean)).sum::<f64>() / values.len() as f64
}
