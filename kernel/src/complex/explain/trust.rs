//! Why a result waits for a check, and what a host has shown: in words, from what decides.

use isos_base::MicroCredits;
use isos_base::api::ReasonView;
use isos_base::job::Verify;

use crate::complex::job::Job;
use crate::complex::place::unfits;
use crate::complex::{Complex, Host};
use crate::verify::Rule;

impl Complex {
    /// What checks wait for, if nobody is there who could make them.
    pub(in crate::complex) fn lacking_checks(&self, job: &mut Job) -> Option<ReasonView> {
        if !job.rule().is_some_and(Rule::asks_one_first) {
            return None;
        }
        let (now, market) = (self.now, &self.market);
        let fit: Vec<&Host> = self
            .hosts
            .values()
            .filter(|host| !host.is_out())
            .filter(|host| unfits(job, host, market, now, true).is_empty())
            .collect();
        let independent = |host: &Host, asked: &[isos_base::HostId]| {
            asked.iter().all(|id| {
                *id != host.record.id && self.hosts.get(id).is_none_or(|it| host.is_independent(it))
            })
        };
        let lacking =
            job.begun().filter(|(asked, _)| !fit.iter().any(|host| independent(host, asked)));
        let tasks: u32 = lacking.map(|(_, tasks)| tasks.count()).sum();
        let (hosts, s) = (fit.len(), if fit.len() == 1 { "" } else { "s" });
        (tasks > 0).then(|| ReasonView {
            about: "checks".into(),
            why: format!(
                "{tasks} tasks wait for one more independent host, which is to say whether their \
                 results are right; {hosts} host{s} can run the job now, none of them is \
                 independent of those that answered"
            ),
            remedy: Some("wait for hosts of other owners, or submit with --verify trusted".into()),
        })
    }

    /// What the votes on a task say so far.
    pub(in crate::complex) fn check_text(&self, job: &Job, task: u32) -> Option<String> {
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
