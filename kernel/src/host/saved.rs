//! How far tasks have come that save their state, until the complex has acknowledged their results;
//! and where the tasks of grants go on that are about to come.
//!
//! What was told is told again in each session: nothing of it is acknowledged by itself. Losing
//! some costs work, or a dispute that is then settled by a whole run instead of a segment; never
//! money.

use std::collections::BTreeMap;

use isos_base::checkpoint::{Resume, Saved};
use isos_base::wire::ToComplex;
use isos_base::{Bytes, Fuel, Guid, LeaseId};

use super::session::Link;
use super::work::Work;
use super::{ChamberId, Effect, Host, job_of};

/// Tasks of which it is remembered how far they have come: 64 MiB of roots at the most.
const SAVED_MAX: usize = 1_024;
/// Tasks of grants to come that go on somewhere.
const RESUMES_MAX: usize = 4_096;

/// What is known of one task.
#[derive(Debug)]
pub(super) struct Known {
    /// The newest with a checkpoint that was handed over.
    kept: Option<Saved>,
    /// The newest, if it has none.
    newest: Option<Saved>,
}

/// By lease and task.
#[derive(Debug, Default)]
pub(super) struct Chains {
    known: BTreeMap<(LeaseId, u32), Known>,
    resumes: BTreeMap<(LeaseId, u32), Resume>,
}

impl Chains {
    /// A lease is over.
    pub(super) fn forget(&mut self, lease: LeaseId) {
        let of_lease = (lease, 0)..=(lease, u32::MAX);
        let gone: Vec<_> = self.known.range(of_lease.clone()).map(|(&key, _)| key).collect();
        gone.iter().for_each(|key| _ = self.known.remove(key));
        let gone: Vec<_> = self.resumes.range(of_lease).map(|(&key, _)| key).collect();
        gone.iter().for_each(|key| _ = self.resumes.remove(key));
    }

    /// Asserts what must hold within.
    pub(super) fn check(&self, is_held: impl Fn(LeaseId) -> bool) {
        assert!(self.known.len() <= SAVED_MAX && self.resumes.len() <= RESUMES_MAX, "too many");
        assert!(self.known.keys().all(|&(lease, _)| is_held(lease)), "saved under no lease");
    }
}

impl Work {
    /// Where tasks of the next grants go on.
    pub(super) fn told_to_resume(&mut self, resumes: Vec<Resume>) {
        for resume in resumes {
            if self.chains.resumes.len() >= RESUMES_MAX {
                return;
            }
            self.chains.resumes.insert((resume.lease, resume.task), resume);
        }
    }

    /// The grants have come: what belongs to none of them is of no use.
    pub(super) fn forget_resumes(&mut self) {
        let leases = &self.leases;
        self.chains.resumes.retain(|(lease, _), _| leases.contains_key(lease));
    }

    /// Where those of these tasks go on, which are in a chamber now, that do not begin at their
    /// start.
    pub(super) fn resumes_of(&self, chamber: ChamberId, tasks: &[u32]) -> Vec<Resume> {
        if self.chains.resumes.is_empty() {
            return Vec::new();
        }
        let job = job_of(self, chamber).and_then(|job| self.jobs.get(&job));
        let Some(chamber) = job.and_then(|job| job.chamber.as_ref()) else { return Vec::new() };
        let resume = |task: &u32| {
            let lease = chamber.fed.get(task)?.lease?;
            self.chains.resumes.get(&(lease, *task)).cloned()
        };
        tasks.iter().filter_map(resume).collect()
    }
}

impl Host {
    /// A task in a chamber has come so far.
    pub(super) fn task_saved(
        &mut self,
        chamber: ChamberId,
        task: u32,
        (fuel, roots, kept): (Fuel, Vec<Guid>, Option<Bytes>),
        effects: &mut Vec<Effect>,
    ) {
        let Some(job) = job_of(&self.work, chamber).and_then(|job| self.work.jobs.get(&job)) else {
            return;
        };
        let fed = job.chamber.as_ref().and_then(|chamber| chamber.fed.get(&task));
        let Some(lease) = fed.and_then(|fed| fed.lease) else { return };
        let saved = Saved { lease, task, fuel, roots, kept };
        let known = &mut self.work.chains.known;
        let full = known.len() >= SAVED_MAX && !known.contains_key(&(lease, task));
        if full || !saved.is_plausible(job.offer.spec.fuel) {
            return;
        }
        let entry = known.entry((lease, task)).or_insert(Known { kept: None, newest: None });
        if saved.kept.is_some() {
            entry.kept = Some(saved.clone());
            entry.newest = None;
        } else {
            entry.newest = Some(saved.clone());
        }
        if matches!(self.session.link, Link::Online { .. }) {
            let frame = ToComplex::Saved(Box::new(saved));
            effects.push(Effect::Send { session: self.session.current(), frame });
        }
    }

    /// A session has begun: the complex may not have heard all.
    pub(super) fn tell_saved(&self, effects: &mut Vec<Effect>) {
        let session = self.session.current();
        for known in self.work.chains.known.values() {
            for saved in [&known.kept, &known.newest].into_iter().flatten() {
                let frame = ToComplex::Saved(Box::new(saved.clone()));
                effects.push(Effect::Send { session, frame });
            }
        }
    }
}
