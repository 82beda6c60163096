//! The promises, checked against what the database holds: here after a run, in `kept` at each
//! commit, in `told` with each message; `paid` looks at the money, `wrong` at the results.

mod kept;
mod paid;
mod told;
mod wrong;

use std::collections::BTreeSet;
use std::fmt;

use isos_base::record::{JobRecord, JobState, LeaseRecord, Tables, TaskState};
use isos_base::{JobId, Machine, Time};
use isos_kernel::complex::{Complex, Config, Effect};
use isos_kernel::ledger::{GENESIS, verify_chain};

pub(crate) use self::kept::{Kept, each_row_once};
pub(crate) use self::told::{Reported, answered};
pub(crate) use self::wrong::{Asked, Wrong, bad_share};
use crate::host::SimHost;
use crate::plan::Plan;
use crate::world::setup::odd_program;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The seed that breaks it.
    pub seed: u64,
    /// What was promised and what is so.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

impl std::error::Error for Failure {}

pub(crate) fn check(
    plan: &Plan,
    config: &Config,
    tables: &Tables,
    machine: &Complex,
    asked: &Asked,
    hosts: &[SimHost],
) -> Result<(), String> {
    for (&id, job) in &tables.jobs {
        let odd = job.spec.program == odd_program();
        let ended = match job.state {
            JobState::Done => every_task_once(tables, id),
            JobState::Failed | JobState::Cancelled if odd => ended_as_one(tables, id),
            state => Err(format!("is {state:?}, not done{}: {job:?}", given_up(tables, id))),
        };
        ended.and_then(|()| spent_as_billed(tables, id)).map_err(|it| format!("job {id}: {it}"))?;
    }
    paid::paid_once(tables)?;
    paid::accounts(tables)?;
    paid::enough_was_done(tables, asked)?;
    chain(tables)?;
    as_restored(tables, machine, config)?;
    let (mut sum, mut held) = (0i128, 0i128);
    for account in tables.accounts.values() {
        sum += i128::from(account.credits_posted.0) - i128::from(account.debits_posted.0);
        held += i128::from(account.debits_pending.0) + i128::from(account.credits_pending.0);
    }
    if (sum, held) != (0, 0) {
        return Err(format!("balances sum to {sum}, {held} is still held"));
    }
    // Two liars can outvote an honest host; fewer cannot.
    let can_outvote = hosts.iter().filter(|host| host.lies()).count() >= 2;
    for host in tables.hosts.values().filter(|host| host.barred.is_some()) {
        let number = crate::host::number(&host.id.0);
        if !can_outvote && !hosts[number as usize].lies() {
            return Err(format!("honest host {number} is barred: {:?}", host.barred));
        }
    }
    let below = |lease: &&LeaseRecord| {
        lease.price < hosts[crate::host::number(&lease.host.0) as usize].asks()
    };
    if let Some(lease) = tables.leases.values().find(below) {
        return Err(format!("its host asks for more: {lease:?}"));
    }
    Wrong::of(plan, tables, asked, hosts).check()
}

/// The machine that leads knows what one would know that began now, and nothing is left to do.
fn as_restored(tables: &Tables, machine: &Complex, config: &Config) -> Result<(), String> {
    let mut effects = Vec::new();
    let restored = Complex::restore(config.clone(), Time(0), tables.snapshot(), &mut effects);
    let restored = restored.map_err(|error| error.to_string())?;
    restored.check_invariants();
    if let Some(effect) = effects.iter().find(|it| matches!(it, Effect::Keep(_))) {
        return Err(format!("a new leader finds something to do: {effect:?}"));
    }
    same(machine.account_views(), restored.account_views())?;
    let known = |machine: &Complex| {
        let hosts: Vec<_> = machine.host_views(None).collect();
        hosts.into_iter().map(|host| (host.id, host.account, host.spec, host.barred))
    };
    same(known(machine), known(&restored))?;
    let active = machine.job_views(None).next();
    active.map_or(Ok(()), |job| Err(format!("the leader has a job that is over: {job:?}")))
}

/// Both name the same, one by one.
fn same<T: PartialEq + fmt::Debug>(
    is: impl Iterator<Item = T>,
    kept: impl Iterator<Item = T>,
) -> Result<(), String> {
    let (mut is, mut kept) = (is.fuse(), kept.fuse());
    loop {
        match (is.next(), kept.next()) {
            (None, None) => return Ok(()),
            (is, kept) if is != kept => {
                return Err(format!("the leader says {is:?}, the database {kept:?}"));
            }
            _ => {}
        }
    }
}

/// A job that ended before its time: every task is decided once or given up with all others.
fn ended_as_one(tables: &Tables, id: JobId) -> Result<(), String> {
    let job = &tables.jobs[&id];
    let mut seen = BTreeSet::new();
    let again = |task| was_taken_back(job, task);
    if !tables.results_of(id).all(|it| seen.insert(it.task) || again(it.task)) {
        return Err("a task was accepted twice".into());
    }
    let said = job.done + job.failed + job.given_up;
    if said != job.spec.count || (seen.len() as u32) < job.done + job.failed {
        return Err(format!("{said} tasks ended and {} have results, of {job:?}", seen.len()));
    }
    if (seen.len() as u32) < job.spec.count && job.why.is_none() {
        return Err("tasks were given up without a reason".into());
    }
    Ok(())
}

/// The tasks of a job that were given up, the first few, and why.
fn given_up(tables: &Tables, id: JobId) -> String {
    let whys = tables.results_of(id).filter_map(|it| Some((it.task, it.result.as_ref().err()?)));
    whys.take(3).map(|(task, why)| format!(", task {task}: {why}")).collect()
}

/// Whether a task may have several results, the last of which counts.
pub(crate) fn was_taken_back(job: &JobRecord, task: u32) -> bool {
    job.redone.iter().any(|range| (range.start..range.end).contains(&task))
}

/// What a job says it spent is what its bills charged.
fn spent_as_billed(tables: &Tables, id: JobId) -> Result<(), String> {
    let bills = tables.bills.values().filter(|bill| bill.job == id);
    let charged: i64 = bills.map(|bill| bill.charged.0).sum();
    let spent = tables.jobs[&id].spent.0;
    (charged == spent).then_some(()).ok_or(format!("spent {spent}, its bills charged {charged}"))
}

fn every_task_once(tables: &Tables, id: JobId) -> Result<(), String> {
    let job = &tables.jobs[&id];
    let mut seen = BTreeSet::new();
    for accepted in tables.results_of(id) {
        if !seen.insert(accepted.task) && !was_taken_back(job, accepted.task) {
            return Err(format!("task {} was accepted twice", accepted.task));
        }
        if let Err(why) = &accepted.result {
            return Err(format!("task {} was given up: {why}", accepted.task));
        }
    }
    if seen.len() != job.spec.count as usize {
        return Err(format!("{} results for {} tasks", seen.len(), job.spec.count));
    }
    let done: usize = tables
        .states
        .iter()
        .filter(|((job, _), _)| *job == id)
        .flat_map(|(_, chunk)| &chunk.bits)
        .map(|byte| {
            (0..4).filter(|n| TaskState::from_bits(byte >> (2 * n)) == TaskState::Done).count()
        })
        .sum();
    if done != seen.len() {
        return Err(format!("{done} tasks are marked done, {} have results", seen.len()));
    }
    Ok(())
}

fn chain(tables: &Tables) -> Result<(), String> {
    let mut head = GENESIS;
    for (n, (seq, transfer)) in tables.transfers.iter().enumerate() {
        if *seq != n as u64 + 1 {
            return Err(format!("transfer {} is missing", n + 1));
        }
        head = verify_chain(head, transfer).map_err(|error| error.to_string())?;
    }
    Ok(())
}
