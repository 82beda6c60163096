//! How a job's results are made sure of by the hosts that are there, and how often each task is run
//! for that: what a buyer is told when it submits, and when it only asks.
//!
//! A forecast from what hosts have shown: nothing is decided by it.

use isos_base::api::Assured;
use isos_base::job::Verify;
use isos_base::limits;

use super::ask::is_able;
use super::job::Job;
use super::{Complex, Host};

/// Hosts that are looked at, in the order of their keys, which is by chance.
const LOOKED_AT_MAX: usize = 4_096;
/// Of them, those that are reckoned with.
const SAMPLE_MAX: usize = 256;
/// Results after which a host counts as one that has earned trust.
const LATER_RESULTS: u64 = 1_000;

impl Complex {
    /// How a job's results would be made sure of now.
    pub(super) fn assured(&self, job: &mut Job) -> Assured {
        let each = |hosts: u8| u32::from(hosts) * 100;
        match job.record.spec.verify {
            Verify::Trusted => {
                Assured { now: 100, later: 100, why: "one host's word is taken".into() }
            }
            Verify::Quorum { agree, of } => Assured {
                now: each(agree),
                later: each(agree),
                why: format!("{agree} independent hosts must agree, at most {of} are asked"),
            },
            Verify::Checkpoint { stretches } => Assured {
                now: each(2),
                later: 100 + each(stretches) / u32::from(limits::STRETCHES_CHECKED_MAX),
                why: format!(
                    "each task is run once, and at most {stretches} of the stretches between its \
                     checkpoints again by others; one that hands no checkpoints over is run twice"
                ),
            },
            Verify::Credibility { error_ppm } => self.assured_by_credit(job, error_ppm),
        }
    }

    fn assured_by_credit(&self, job: &mut Job, error_ppm: u32) -> Assured {
        let (assumed, error) = (self.assumed(), f64::from(error_ppm) / 1e6);
        let around = self.hosts.values().filter(|host| host.is_around(self.now, self.back_by));
        let able = around.take(LOOKED_AT_MAX).filter(|host| is_able(job, host, self.now));
        let able: Vec<&Host> = able.take(SAMPLE_MAX).collect();
        let (mut work, mut executions, mut checkable, mut own) = (0.0, 0.0, false, 0);
        for host in &able {
            let offered = host.session.as_ref().map_or(0, |session| session.offer.cores);
            let weight = f64::from(offered.max(1));
            work += weight;
            executions += weight;
            if host.record.account == job.record.account {
                own += 1;
            } else if able.iter().any(|other| host.is_independent(other)) {
                checkable = true;
                let votes = assumed.votes_needed(assumed.doubt(host.record.trust.passed), error);
                let rate = self.check_rate(host, error_ppm);
                executions += weight * rate * f64::from(votes - 1);
            }
        }
        let later = assumed.cost(LATER_RESULTS, error);
        let now = match able.len() {
            0 => f64::from(assumed.votes_needed(assumed.doubt(0), error)),
            _ => executions / work,
        };
        let falls = || match now > later + 0.05 {
            true => {
                format!("about {now:.1} hosts now; that falls to {later:.2} as hosts earn trust")
            }
            false => format!("about {now:.2} hosts"),
        };
        let why = match able.len() {
            0 => format!(
                "each result is made sure of by about {now:.1} hosts at first; that falls to \
                 {later:.2} as hosts earn trust"
            ),
            all if own == all => "your own hosts are believed: each task is run once".into(),
            _ if checkable => format!("each result is made sure of by {}", falls()),
            _ => "nobody independent is there who could check: each result is one owner's word \
                  until hosts of another owner and network join"
                .into(),
        };
        let percent = |executions: f64| (executions * 100.0).round() as u32;
        Assured { now: percent(now), later: percent(later), why }
    }
}
