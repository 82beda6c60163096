//! What is told is kept: whatever leaves the leader is compared with the rows.

use std::collections::BTreeMap;

use isos_base::api::{Problem, ProblemCode};
use isos_base::record::{LeaseState, ProposalState, Tables, TaskState};
use isos_base::slice::SliceState;
use isos_base::wire::{Report, ToHost};
use isos_base::{HostId, JobId, LeaseId};
use isos_kernel::complex::{BankReply, Reply};

use crate::world::Made;

/// Results that a host reported in a session and that were not acknowledged yet.
#[derive(Debug, Default)]
pub(crate) struct Reported(BTreeMap<u64, Vec<(LeaseId, u32)>>);

impl Reported {
    /// The leader hears a report.
    pub(crate) fn heard(&mut self, report: &Report) {
        let results = report
            .leases
            .iter()
            .flat_map(|news| news.results.iter().map(|result| (news.lease, result.task)));
        self.0.insert(report.seq, results.collect());
    }

    /// A frame leaves for the host.
    ///
    /// Says how many results it acknowledges.
    ///
    /// # Errors
    /// It tells of something that is not kept.
    pub(crate) fn told(
        &mut self,
        tables: &Tables,
        host: HostId,
        frame: &ToHost,
    ) -> Result<u64, String> {
        let mut acked = 0;
        match frame {
            ToHost::Grant(grants) => {
                for grant in grants {
                    let kept = tables.leases.get(&grant.lease);
                    if kept.is_none_or(|kept| (kept.job, kept.host) != (grant.job, host)) {
                        return Err(format!("a grant says {grant:?}, the database {kept:?}"));
                    }
                }
            }
            ToHost::Ack { seq, .. } => {
                let later = self.0.split_off(&(seq + 1));
                for (lease, task) in std::mem::replace(&mut self.0, later).into_values().flatten() {
                    is_kept(tables, lease, task)?;
                    acked += 1;
                }
            }
            _ => {}
        }
        Ok(acked)
    }
}

/// A result that was acknowledged is decided or a vote, unless it came too late.
fn is_kept(tables: &Tables, id: LeaseId, task: u32) -> Result<(), String> {
    let Some(lease) = tables.leases.get(&id) else {
        return Err(format!("a result of lease {id} is acknowledged, which is not kept"));
    };
    let job = lease.job;
    let late = lease.state == LeaseState::Settled
        || tables.jobs.get(&job).is_none_or(|job| job.state.is_over())
        || !lease.ranges.iter().any(|range| range.tasks().contains(&task));
    let voted = || {
        let votes = tables.votes.range((job, id, 0)..=(job, id, u32::MAX));
        votes.flat_map(|(_, batch)| &batch.results).any(|vote| vote.task == task)
    };
    if late || is_decided(tables, job, task) || voted() {
        return Ok(());
    }
    Err(format!("job {job}: the result of task {task} is acknowledged and not kept"))
}

fn is_decided(tables: &Tables, job: JobId, task: u32) -> bool {
    let tasks = isos_base::record::CHUNK_TASKS;
    let Some(chunk) = tables.states.get(&(job, task / tasks)) else { return false };
    let at = task % tasks;
    let bits = chunk.bits.get(at as usize / 4).copied().unwrap_or(0);
    TaskState::from_bits(bits >> (2 * (at % 4))) != TaskState::Open
}

/// An answer leaves for a client, who asked about this.
///
/// # Errors
/// It tells of something that is not kept.
pub(crate) fn answered(
    tables: &Tables,
    about: Option<Made>,
    answer: &Result<Reply, Problem>,
) -> Result<(), String> {
    let over = |job: &JobId| tables.jobs.get(job).is_some_and(|job| job.state.is_over());
    let holds = match answer {
        Ok(Reply::Job(view)) => {
            let kept = tables.jobs.get(&view.id);
            kept.is_some_and(|kept| !view.state.is_over() || kept.state == view.state)
        }
        Ok(Reply::Ended(job)) => over(job),
        Ok(Reply::Bank(BankReply::Payout(payout))) => tables.payouts.contains_key(payout),
        Ok(Reply::Bank(BankReply::Proposal(said))) => {
            let kept = tables.proposals.get(&said.id);
            kept.is_some_and(|kept| kept.agreed.starts_with(&said.agreed))
        }
        // Those that are over are not in the machine; the shell asks the database for them.
        Err(problem) if problem.code == ProblemCode::NotFound => match about {
            Some(Made::Job(job)) => over(&job),
            Some(Made::Proposal(it)) => {
                tables.proposals.get(&it).is_some_and(|it| it.state == ProposalState::Done)
            }
            // That was refused.
            Some(Made::Nothing) => true,
            // A slice that is over is not made once more.
            None => tables.slices.values().any(|it| it.state != SliceState::Open),
            Some(Made::Slice(it)) => {
                tables.slices.get(&it).is_none_or(|it| it.state != SliceState::Open)
            }
            _ => false,
        },
        _ => true,
    };
    holds.then_some(()).ok_or_else(|| format!("an answer about {about:?} says {answer:?}"))
}
