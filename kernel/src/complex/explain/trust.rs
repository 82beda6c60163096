//! Why a result waits for a check, and what a host has shown: in words, from what decides.

use std::collections::BTreeSet;

use isos_base::api::ReasonView;
use isos_base::job::Verify;
use isos_base::{HostId, MicroCredits, TaskSet};

use crate::complex::crowd::{Looks, Place};
use crate::complex::job::Job;
use crate::complex::unsure::TIED_FOR_MAX;
use crate::complex::{Complex, Host};
use crate::verify::{Ballot, Rule};

/// Tasks that nobody is left to decide, since hosts differ about them or too few have answered: all
/// of a job, or those to which the same happened as to this one.
pub(in crate::complex) fn tied(job: &Job, like: Option<u32>) -> Vec<ReasonView> {
    let is_split =
        |task| job.ballots.get(&task).is_some_and(|ballot: &Ballot| !ballot.is_of_one_mind());
    let retry = format!("`isos job retry {}` runs again what was given up", job.record.id);
    let reason = |split: bool| {
        let tied = job.unsure.tied.iter().filter(|(task, _)| is_split(**task) == split);
        let (tasks, until) = (tied.clone().count(), tied.map(|(_, &since)| since).min()?);
        let (until, s) = (until + TIED_FOR_MAX, if tasks == 1 { "" } else { "s" });
        let (about, why) = if split {
            let why = format!(
                "hosts gave different results for {tasks} task{s}, and nobody else is there who \
                 could say which is right"
            );
            ("disputes", why)
        } else {
            let agree = job.rule().map_or(0, Rule::agree);
            let why = format!(
                "for {tasks} task{s} fewer have answered than the {agree} hosts that must agree, \
                 and nobody else is there who is independent of them"
            );
            ("quorum", why)
        };
        Some(ReasonView {
            about: about.into(),
            why: format!("{why}; what is still open so is given up from {until} on"),
            remedy: Some(format!(
                "have hosts of other owners and networks join before that; {retry}"
            )),
        })
    };
    let meant = |split: &bool| like.is_none_or(|task| is_split(task) == *split);
    [true, false].into_iter().filter(meant).filter_map(reason).collect()
}

impl Complex {
    /// What checks wait for, if nobody is there who could make them.
    pub(in crate::complex) fn lacking_checks(
        &self,
        job: &mut Job,
        looks: &Looks<'_>,
    ) -> Option<ReasonView> {
        if !job.rule().is_some_and(Rule::asks_one_first) {
            return None;
        }
        let (mut hosts, mut fit) = (0, BTreeSet::new());
        for look in self.fitting(job, looks) {
            hosts += look.hosts;
            fit.extend(look.places());
        }
        let independent = |(account, block): &Place, asked: &[HostId]| {
            asked.iter().filter_map(|id| self.hosts.get(id)).all(|host| {
                host.record.account != *account && (block.is_none() || host.block != *block)
            })
        };
        let lacking =
            job.begun().filter(|(asked, _)| !fit.iter().any(|place| independent(place, asked)));
        // Where hosts differ, nothing is taken as it is.
        let tied =
            |tasks: &TaskSet| job.unsure.tied.keys().filter(|&&it| tasks.contains(it)).count();
        let tasks: u32 = lacking.map(|(_, tasks)| tasks.count() - tied(tasks) as u32).sum();
        let s = if hosts == 1 { "" } else { "s" };
        let waited_for = self.checks_awaited_until(job).map_or_else(String::new, |until| {
            format!("; who was there within a day is waited for, until {until} at the latest")
        });
        (tasks > 0).then(|| ReasonView {
            about: "checks".into(),
            why: format!(
                "{} one more independent host, which is to say whether their results are right; \
                 {hosts} host{s} can run the job now, none of them is \
                 independent of those that answered{waited_for}",
                if tasks == 1 {
                    "1 task waits for".into()
                } else {
                    format!("{tasks} tasks wait for")
                }
            ),
            remedy: Some(
                "wait: the results are taken as they are once nobody is left who could check, and \
                 counted as unchecked; or submit with --verify trusted"
                    .into(),
            ),
        })
    }

    /// What the votes on a task say so far.
    pub(in crate::complex) fn check_text(&self, job: &Job, task: u32) -> Option<String> {
        if let Some((drawn, left)) = job.stretches_left(self.config.check_secret, task)
            && matches!(job.record.spec.verify, Verify::Checkpoint { .. })
        {
            return Some(format!(
                "{left} of {drawn} stretches that were drawn from it wait for an independent host \
                 that runs them again, one after the other"
            ));
        }
        let Verify::Credibility { error_ppm } = job.record.spec.verify else { return None };
        let ballot = job.ballots.get(&task)?;
        let best = ballot.credibilities(self.config.bad_share).into_iter().fold(0.0, f64::max);
        let wanted = f64::from(error_ppm) / 1e6;
        let outstanding = ballot.asked.len() - ballot.votes.len();
        let next = match outstanding {
            0 => "it waits for a check by an independent host",
            _ => "an independent host checks it",
        };
        Some(format!(
            "its best answer is wrong with a chance of {:.1e}, the job accepts {wanted:e} and two \
             equal answers at least: {next}",
            1.0 - best
        ))
    }

    /// What a host has shown, and what follows from it.
    pub(in crate::complex) fn trust_text(&self, host: &Host) -> String {
        let trust = host.record.trust;
        let rate = self.check_rate(host, Verify::ERROR_PPM_DEFAULT);
        format!(
            "{} checks passed, {} results accepted under verification; {:.0} % of its results are \
             checked now for an error rate of {:e}",
            trust.passed,
            trust.results,
            rate * 100.0,
            f64::from(Verify::ERROR_PPM_DEFAULT) / 1e6
        )
    }

    /// What is held for a host, and until when, if anything is.
    pub(in crate::complex) fn held_text(&self, host: &Host) -> Option<String> {
        let (first, _) = host.held.first()?;
        let until = host.held.iter().filter_map(|(_, id)| self.leases[id].record.held);
        let until = until.map(|held| held.until).min()?;
        let checks = first.saturating_sub(host.proofs);
        Some(format!(
            "{} for {} leases are held; the first of it until it has passed {checks} checks more, \
             or until {until}",
            self.held_for(host),
            host.held.len()
        ))
    }

    /// What will be paid for a host's work that nobody checked, if it is not caught until then.
    pub(in crate::complex) fn held_for(&self, host: &Host) -> MicroCredits {
        let pay = |id| {
            let record = &self.leases[id].record;
            let earning = record.price.earning(record.fuel);
            earning.0 - self.fee_rate.fee(earning).0
        };
        MicroCredits(host.held.iter().map(|(_, id)| pay(id)).sum())
    }
}
