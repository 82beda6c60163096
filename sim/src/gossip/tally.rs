//! What is looked at when a world has come to its end, beside what is true.

use isos_base::time::Time;
use isos_gossip::Attribute;
use isos_gossip::estimate::Doubt;

use super::world::{Host, World};

/// What was seen on the way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// What is sent is counted from then on.
    pub(super) counted_from: Time,
    pub(super) gone: u64,
    pub(super) gone_wrongly: u64,
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Look {
    /// Hosts as the honest estimate them, as a part of how many there are: the median host, and the
    /// tenth parts that are lowest and highest.
    pub count: (f64, f64, f64),
    /// By those who stand for all, the median host.
    pub witnessed: f64,
    /// The share of the honest that are within a twentieth.
    pub right: f64,
    /// The share of the honest that doubt what they estimate.
    pub doubting: f64,
    /// The mean of cores as the median host estimates it, as a part of what it is.
    pub cores: f64,
    /// The median of cores by descriptors that came by, as the median host has it, the same.
    pub sampled: f64,
    /// Of links to hosts that can be called, how many lead to the dead.
    pub dead: f64,
    /// Of links, how many lead to liars.
    pub liars_known: f64,
    /// Of draws, how many are of liars.
    pub liars_drawn: f64,
    /// Sent and received in a second by a host, on average.
    pub bytes: f64,
    /// By the host with the most.
    pub bytes_most: f64,
    /// Hosts said to be gone that were, for each that was not.
    pub gone_wrongly: f64,
    /// The share of hosts that can be called, as the median host has it, as a part of what it is.
    pub public: f64,
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn ratio(of: f64, all: f64) -> f64 {
    if all > 0.0 { of / all } else { f64::NAN }
}

impl World {
    pub(super) fn look(&self) -> Look {
        let all = self.living().count() as f64;
        let honest: Vec<&Host> = self.living().filter(|host| !host.is_liar).collect();
        let estimates = || honest.iter().filter_map(|host| host.machine.estimate());
        let counts = sorted(estimates().map(|it| it.hosts / all));
        let witnessed = sorted(estimates().map(|it| it.hosts_witnessed.0 / all));
        let known = counts.len() as f64;
        let right = counts.iter().filter(|it| (**it - 1.0).abs() <= 0.05).count() as f64;
        // Of all that was spoilt: not how many there are that were there when it began.
        let is_doubt = |doubt: &Doubt| !matches!(doubt, Doubt::Alone { .. });
        let doubting = estimates().filter(|it| it.doubts.iter().any(is_doubt)).count() as f64;
        let true_cores = sorted(honest.iter().map(|host| host.told[Attribute::Cores.at()]));
        let mean = true_cores.iter().sum::<f64>() / true_cores.len() as f64;
        let of_cores = || estimates().filter_map(|it| it.of_attribute(Attribute::Cores));
        let cores = sorted(of_cores().map(|it| it.mean / mean));
        let sampled =
            sorted(of_cores().filter_map(|it| it.sampled).map(|it| it / at(&true_cores, 0.5)));
        let (mut links, mut dead, mut lying) = (0_u64, 0_u64, 0_u64);
        let (mut drawn, mut liars) = (0_u64, 0_u64);
        for host in &honest {
            for peer in host.machine.public() {
                let it = self.number(peer.host).and_then(|n| self.host(n));
                links += 1;
                dead += u64::from(it.is_none());
                lying += u64::from(it.is_some_and(|host| host.is_liar));
            }
            for peer in host.machine.sampled() {
                let it = self.number(peer.host).and_then(|n| self.host(n));
                drawn += 1;
                liars += u64::from(it.is_some_and(|host| host.is_liar));
            }
        }
        let seconds = self.now.since(self.seen.counted_from).as_secs_f64();
        let bytes = sorted(self.living().map(|host| host.bytes as f64 / seconds));
        let public = self.living().filter(|host| host.is_public).count() as f64 / all;
        let shares = sorted(estimates().filter_map(|it| it.public).map(|it| it / public));
        Look {
            count: (at(&counts, 0.5), at(&counts, 0.1), at(&counts, 0.9)),
            witnessed: at(&witnessed, 0.5),
            right: ratio(right, known),
            doubting: ratio(doubting, known),
            cores: at(&cores, 0.5),
            sampled: at(&sampled, 0.5),
            dead: ratio(dead as f64, links as f64),
            liars_known: ratio(lying as f64, links as f64),
            liars_drawn: ratio(liars as f64, drawn as f64),
            bytes: bytes.iter().sum::<f64>() / all,
            bytes_most: bytes.last().copied().unwrap_or(f64::NAN),
            gone_wrongly: ratio(self.seen.gone_wrongly as f64, self.seen.gone as f64),
            public: at(&shares, 0.5),
        }
    }
}
