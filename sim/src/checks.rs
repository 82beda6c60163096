//! The promises, checked against what the database holds: here after a run, in `kept` at each
//! commit, in `told` with each message.

mod kept;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use isos_base::job::Verify;
use isos_base::record::{JobState, LeaseState, Reason, Tables, TaskState};
use isos_base::{BillId, JobId, Machine, Time, TransferId};
use isos_kernel::complex::{Complex, Config, Effect};
use isos_kernel::ledger::{GENESIS, verify_chain};
use isos_kernel::verify::wrong_accept_probability;

pub(crate) use self::kept::{Kept, each_row_once};
pub(crate) use self::told::{Reported, answered};
use crate::host::{SimHost, right_result};
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
    tables: &Tables,
    machine: &Complex,
    hosts: &[SimHost],
) -> Result<(), String> {
    for (&id, job) in &tables.jobs {
        let odd = job.spec.program == odd_program();
        let ended = match job.state {
            JobState::Done => every_task_once(tables, id),
            JobState::Failed | JobState::Cancelled if odd => ended_as_one(tables, id),
            state => Err(format!("is {state:?}, not done")),
        };
        ended.and_then(|()| spent_as_billed(tables, id)).map_err(|it| format!("job {id}: {it}"))?;
    }
    paid_once(tables)?;
    chain(tables)?;
    as_restored(tables, machine)?;
    let (mut sum, mut held) = (0i128, 0i128);
    for account in tables.accounts.values() {
        sum += i128::from(account.credits_posted.0) - i128::from(account.debits_posted.0);
        held += i128::from(account.debits_pending.0) + i128::from(account.credits_pending.0);
    }
    if (sum, held) != (0, 0) {
        return Err(format!("balances sum to {sum}, {held} is still held"));
    }
    for host in tables.hosts.values().filter(|host| host.barred.is_some()) {
        let number = crate::host::number(&host.id.0);
        // With colluding liars an honest host can be outvoted; without any, none may be barred.
        if plan.liars == 0.0 && !hosts[number as usize].lies() {
            return Err(format!("honest host {number} is barred: {:?}", host.barred));
        }
    }
    let wrong: u64 = tables.jobs.keys().map(|&job| wrong_results(tables, job)).sum();
    let bound = wrong_bound(plan);
    if wrong as f64 > bound {
        return Err(format!("{wrong} wrong results were accepted, the bound is {bound:.1}"));
    }
    Ok(())
}

/// The machine that leads knows what one would know that began now, and nothing is left to do.
fn as_restored(tables: &Tables, machine: &Complex) -> Result<(), String> {
    let mut effects = Vec::new();
    let restored = Complex::restore(Config::default(), Time(0), tables.snapshot(), &mut effects);
    let restored = restored.map_err(|error| error.to_string())?;
    restored.check_invariants();
    if let Some(effect) = effects.iter().find(|it| matches!(it, Effect::Keep(_))) {
        return Err(format!("a new leader finds something to do: {effect:?}"));
    }
    for (is, kept) in machine.account_views().zip(restored.account_views()) {
        if is != kept {
            return Err(format!("the leader says {is:?}, the database {kept:?}"));
        }
    }
    let active = machine.job_views(None).next();
    active.map_or(Ok(()), |job| Err(format!("the leader has a job that is over: {job:?}")))
}

/// A job that ended before its time: every task is decided once or given up with all others.
fn ended_as_one(tables: &Tables, id: JobId) -> Result<(), String> {
    let job = &tables.jobs[&id];
    let mut seen = BTreeSet::new();
    if !tables.results_of(id).all(|accepted| seen.insert(accepted.task)) {
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
        if !seen.insert(accepted.task) {
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

/// Each bill is charged and paid once, as its record says, and its fuel is that of its leases.
fn paid_once(tables: &Tables) -> Result<(), String> {
    let mut charged: BTreeMap<BillId, i64> = BTreeMap::new();
    let mut paid: BTreeMap<BillId, i64> = BTreeMap::new();
    let mut ids: BTreeSet<TransferId> = BTreeSet::new();
    for transfer in tables.transfers.values() {
        if !ids.insert(transfer.id) {
            return Err(format!("transfer {} exists twice", transfer.id));
        }
        let (map, bill) = match transfer.reason {
            Reason::Charge(bill) => (&mut charged, bill),
            Reason::Pay(bill) => (&mut paid, bill),
            _ => continue,
        };
        if map.insert(bill, transfer.amount.0).is_some() {
            return Err(format!("bill {bill} was charged or paid twice"));
        }
    }
    let mut fuel: BTreeMap<BillId, u64> = BTreeMap::new();
    for lease in tables.leases.values() {
        if lease.state != LeaseState::Settled {
            return Err(format!("lease {} was never settled", lease.id));
        }
        if let Some(bill) = lease.bill {
            *fuel.entry(bill).or_default() += lease.fuel.0;
        }
    }
    for bill in tables.bills.values() {
        let id = bill.id;
        if bill.posted.is_none() {
            return Err(format!("bill {id} was never posted"));
        }
        if fuel.get(&id) != Some(&bill.fuel.0) {
            return Err(format!(
                "bill {id} says {} fuel, its leases {:?}",
                bill.fuel,
                fuel.get(&id)
            ));
        }
        let got = (charged.get(&id).copied(), paid.get(&id).copied());
        let said = (bill.charged.0, bill.paid.0);
        if (got.0.unwrap_or(0), got.1.unwrap_or(0)) != said {
            return Err(format!("bill {id} says {said:?}, the ledger {got:?}"));
        }
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

/// Wrong results that quorum jobs accepted.
pub(crate) fn wrong_results(tables: &Tables, id: JobId) -> u64 {
    if tables.jobs[&id].spec.verify == Verify::Trusted {
        return 0;
    }
    let wrong = tables.results_of(id).filter(|accepted| {
        accepted
            .result
            .as_ref()
            .is_ok_and(|result| result.digest() != right_result(id, accepted.task).digest())
    });
    wrong.count() as u64
}

/// The most wrong results that may be accepted: the mean by the formula for colluding hosts, with
/// the luck of one run in a million. Liars that are barred lower it; nothing raises it.
pub(crate) fn wrong_bound(plan: &Plan) -> f64 {
    let quorum_tasks = f64::from(plan.jobs.div_ceil(2)) * f64::from(plan.tasks);
    // Hosts work at their own speed, so a liar may hold more than its share: take four times.
    let share = (plan.liars * 4.0).min(1.0) * plan.lie_rate;
    let mean = quorum_tasks * wrong_accept_probability(2, share);
    mean + 5.0 * mean.sqrt() + if plan.liars > 0.0 { 5.0 } else { 0.0 }
}
