//! Wrong results: how many each way to verify let through, and how many it may.
//!
//! What a job asked for counts, not what a server made of it. Of a task that was done again the
//! last result counts. Nothing is promised of `trusted`, and nothing is reckoned of `checkpoint`:
//! what that lets through depends on how far a lie reaches back.

use std::collections::BTreeMap;

use isos_base::job::Verify;
use isos_base::record::Tables;
use isos_base::{Guid, JobId};
use isos_kernel::verify::wrong_accept_probability;

use crate::host::{SimHost, right_result};
use crate::luck;
use crate::plan::Plan;

/// What clients asked for.
pub(crate) type Asked = BTreeMap<JobId, Verify>;

/// Accepted results that are wrong, and the most that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) quorum: u64,
    pub(crate) quorum_max: u64,
    pub(crate) credible: u64,
    pub(crate) credible_max: u64,
}

impl Wrong {
    pub(crate) fn of(plan: &Plan, tables: &Tables, asked: &Asked, hosts: &[SimHost]) -> Self {
        let sum = |of: fn(Verify) -> bool| -> u64 {
            let jobs = asked.iter().filter(|(_, verify)| of(**verify));
            jobs.map(|(&job, _)| wrong_results(tables, job)).sum()
        };
        Self {
            quorum: sum(|verify| matches!(verify, Verify::Quorum { .. })),
            quorum_max: quorum_max(plan, tables, asked, hosts),
            credible: sum(|verify| matches!(verify, Verify::Credibility { .. })),
            credible_max: credible_max(tables, asked, hosts),
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let rules = [
            ("quorums", self.quorum, self.quorum_max),
            ("credibility", self.credible, self.credible_max),
        ];
        rules.into_iter().try_for_each(|(rule, wrong, most)| {
            let what = || format!("{rule}: {wrong} wrong results were accepted, {most} may be");
            (wrong <= most).then_some(()).ok_or_else(what)
        })
    }
}

/// Wrong results of a job that count in the end.
fn wrong_results(tables: &Tables, id: JobId) -> u64 {
    let mut last: BTreeMap<u32, Guid> = BTreeMap::new();
    for accepted in tables.results_of(id) {
        match &accepted.result {
            Ok(result) => _ = last.insert(accepted.task, result.digest().0),
            Err(_) => _ = last.remove(&accepted.task),
        }
    }
    let wrong =
        last.iter().filter(|(task, digest)| **digest != right_result(id, **task).digest().0);
    wrong.count() as u64
}

fn liars(hosts: &[SimHost]) -> impl Iterator<Item = &SimHost> {
    hosts.iter().filter(|host| host.lies())
}

/// The share of all work that liars can do, by their speed.
pub(crate) fn bad_share(hosts: &[SimHost]) -> f64 {
    let speed: f64 = hosts.iter().map(SimHost::speed).sum();
    liars(hosts).map(SimHost::speed).sum::<f64>() / speed
}

/// By the formula for colluding hosts that do the share of the work that their speed allows, and
/// with the luck of one run in a million. That liars are barred, or honest at first, lowers it;
/// nothing raises it. A lie needs two hosts to be believed.
fn quorum_max(plan: &Plan, tables: &Tables, asked: &Asked, hosts: &[SimHost]) -> u64 {
    if liars(hosts).count() < 2 {
        return 0;
    }
    let lies = bad_share(hosts) * plan.lie_rate;
    let mean = |(id, verify): (&JobId, &Verify)| match *verify {
        Verify::Quorum { agree, .. } => {
            let tasks = f64::from(tables.jobs.get(id)?.spec.count);
            Some(tasks * wrong_accept_probability(agree, lies))
        }
        _ => None,
    };
    luck::singly(asked.iter().filter_map(mean).sum())
}

/// The share that each job accepts, of all of its tasks, as a mean. What gets through comes in
/// runs, one a cheat: it lies until one of its lies is drawn, and once caught it is out. So what is
/// allowed for luck, of one run in a million, is the tail of a sum of exponentials. A run is as
/// long as the cheat is fast, so there are as many as would be equally long for the same variance
/// (Welch and Satterthwaite): one that does nearly all of the cheats' work is alone. And of those
/// half: a check that falls to an accomplice lets the lie pass, so that the runs of two hang
/// together. Results that nobody was there to check are promised nothing, and said to be so.
fn credible_max(tables: &Tables, asked: &Asked, hosts: &[SimHost]) -> u64 {
    // More than half of the work by cheats: nobody promises anything.
    if bad_share(hosts) > 0.5 {
        return u64::MAX;
    }
    let sum = |of: fn(f64) -> f64| liars(hosts).map(|host| of(host.speed())).sum::<f64>();
    let squares = sum(|speed| speed * speed);
    let alike = if squares > 0.0 { sum(|speed| speed).powi(2) / squares } else { 0.0 };
    let cheats = if alike > 0.0 { ((alike / 2.0) as u64).max(1) } else { 0 };
    let (mut mean, mut unchecked) = (0.0, 0);
    for (id, verify) in asked {
        if let (Some(error_ppm), Some(job)) = (verify.error_ppm(), tables.jobs.get(id)) {
            mean += f64::from(error_ppm) / 1e6 * f64::from(job.spec.count);
            unchecked += u64::from(job.unchecked);
        }
    }
    luck::in_runs(mean, cheats) + if cheats > 0 { unchecked } else { 0 }
}
