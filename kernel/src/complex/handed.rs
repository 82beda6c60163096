//! Tasks that moved: one host saved, gave the task back, and another went on from there to the end.
//!
//! Only where one host's word is taken does a task go on with what another host has saved. Each is
//! paid for its part once the whole is accepted; until then the lease of whoever began is not
//! settled. How much fuel was used where one went on is told by several: by who saved it, and by
//! each who went on, with what it told later. The least of it counts, so that nobody gains by
//! telling more. All of it together costs no more than if one host had run the whole.

use isos_base::api::ResumedView;
use isos_base::{Fuel, JobId, LeaseId, MicroCredits, TaskRange};

use super::job::Job;
use super::same::fuel_by;
use super::{Complex, Effect};

/// Hosts of one task that are paid for a part: more do not go on from each other.
const PARTS_MAX: usize = 64;
/// Tasks that a job's view names one by one.
const SHOWN_MAX: usize = 20;
const GIGA: u128 = 1_000_000_000;

impl Job {
    /// Of tasks that a lease gives back, those that others may go on with.
    pub(super) fn handed_on(&self, lease: LeaseId, back: &[TaskRange]) -> Vec<u32> {
        if self.rule().is_some() {
            return Vec::new();
        }
        let saved = |&task: &u32| {
            let run = self.chains.run(lease, task);
            run.is_some_and(|run| !run.kept.is_empty() && run.referee.is_none())
        };
        let tasks = back.iter().flat_map(|range| self.chains.tasks_in(*range));
        tasks.filter(saved).collect()
    }

    /// The parts of a task that ended under a lease after so much fuel: under which leases, and how
    /// much of it, the last one first.
    fn parts(&self, lease: LeaseId, task: u32, fuel: Fuel) -> Vec<(LeaseId, Fuel)> {
        let limit = self.record.spec.fuel;
        let (mut leases, mut ends) = (vec![lease], vec![fuel]);
        let (mut at, mut end) = (lease, fuel);
        while leases.len() < PARTS_MAX
            && let Some(resumed) = self.chains.run(at, task).and_then(|run| run.resumed)
            && resumed.lease < at
        {
            let segment = resumed.segments.saturating_sub(1);
            let runs = leases.iter().filter_map(|&lease| self.chains.run(lease, task));
            let told = runs.filter_map(|run| fuel_by(run, segment, limit)).min();
            end = resumed.fuel.min(end).min(told.unwrap_or(resumed.fuel));
            at = resumed.lease;
            leases.push(at);
            ends.push(end);
        }
        let begins = ends.iter().skip(1).copied().chain([Fuel(0)]);
        let work = ends.iter().zip(begins).map(|(end, begin)| Fuel(end.0.saturating_sub(begin.0)));
        leases.into_iter().zip(work).collect()
    }
}

impl Complex {
    /// A task ended under a lease, after so much fuel, and is accepted: whoever had it before is
    /// paid for its part. Gives what is left for who ended it.
    ///
    /// What is set aside for the whole pays for all parts, so that a part costs its lease's price,
    /// or less where that lease had a higher one.
    pub(super) fn share_out(&mut self, job: JobId, id: LeaseId, task: u32, fuel: Fuel) -> Fuel {
        let parts = match self.jobs.get(&job) {
            Some(job) if job.rule().is_none() => job.parts(id, task, fuel),
            _ => return fuel,
        };
        let [(_, own), before @ ..] = parts.as_slice() else { return fuel };
        if before.is_empty() {
            return fuel;
        }
        let Some(lease) = self.leases.get_mut(&id) else { return fuel };
        let price = lease.record.price;
        let mut spare = price.charge(fuel).0 - price.charge(*own).0;
        lease.reserved.0 -= spare;
        for &(id, work) in before {
            let Some(lease) = self.leases.get_mut(&id).filter(|it| it.moved.contains(&task)) else {
                continue;
            };
            let price = lease.record.price;
            let most = (u128::from(spare.unsigned_abs()) * GIGA).checked_div(price.0.into());
            let most = most.map_or(u64::MAX, |most| u64::try_from(most).unwrap_or(u64::MAX));
            let work = work.min(Fuel(most));
            let MicroCredits(charge) = price.charge(work);
            lease.record.fuel += work;
            lease.reserved.0 += charge;
            spare -= charge;
            self.dirty_leases.insert(id);
        }
        let job = self.jobs.get_mut(&job).expect("looked up above");
        job.reserved.0 -= spare;
        *own
    }

    /// A task is decided: nobody waits any more for what it has saved of it.
    pub(super) fn stop_waiting_for(&mut self, job: JobId, task: u32, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&job) else { return };
        let leases: Vec<LeaseId> = job.chains.runs(task).iter().map(|run| run.lease).collect();
        for lease in leases {
            self.stop_waiting(lease, task, effects);
        }
    }

    /// What a lease has saved of a task is of no use any more, or was paid for.
    pub(super) fn stop_waiting(&mut self, id: LeaseId, task: u32, effects: &mut Vec<Effect>) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if lease.moved.remove(&task) {
            self.settle_if_over(id, effects);
        }
    }

    /// Tasks that run now and went on from a checkpoint.
    pub(super) fn resumed_views(&self, job: &Job) -> Vec<ResumedView> {
        let runs = job.chains.tasks().flat_map(|task| job.chains.runs(task));
        let resumed = runs.filter_map(|run| Some((run, run.resumed?)));
        let is_out = |lease: &LeaseId, task| {
            self.leases.get(lease).is_some_and(|lease| lease.out.contains(task))
        };
        let out = resumed.filter(|(run, _)| is_out(&run.lease, run.task));
        let view =
            |(run, resumed): (&isos_base::record::SavedRecord, isos_base::record::Resumed)| {
                ResumedView { task: run.task, host: run.host, fuel: resumed.fuel }
            };
        out.map(view).take(SHOWN_MAX).collect()
    }
}
