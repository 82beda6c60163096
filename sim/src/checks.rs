//! The promises, checked against what the database holds: here after a run, in `kept` at each
//! commit, in `told` with each message.

mod kept;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use isos_base::job::Verify;
use isos_base::record::{JobRecord, JobState, LeaseState, Reason, Tables, TaskState};
use isos_base::{BillId, JobId, Machine, Time, TransferId};
use isos_kernel::complex::{Complex, Config, Effect};
use isos_kernel::ledger::{GENESIS, verify_chain};
use isos_kernel::verify::wrong_accept_probability;

pub(crate) use self::kept::{Kept, each_row_once};
pub(crate) use self::told::{Reported, answered};
use crate::host::{SimHost, right_result};
use crate::plan::{Flaw, Plan};
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
    flaw: Flaw,
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
    // Two liars can outvote an honest host; fewer cannot.
    let can_outvote = hosts.iter().filter(|host| host.lies()).count() >= 2;
    for host in tables.hosts.values().filter(|host| host.barred.is_some()) {
        let number = crate::host::number(&host.id.0);
        if !can_outvote && !hosts[number as usize].lies() {
            return Err(format!("honest host {number} is barred: {:?}", host.barred));
        }
    }
    let wrong: u64 = tables.jobs.keys().map(|&job| wrong_results(tables, job, flaw)).sum();
    let bound = wrong_bound(plan, tables, hosts);
    if wrong > bound {
        return Err(format!("{wrong} wrong results were accepted, the bound is {bound}"));
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

/// Whether a task may have several results, the last of which counts.
fn was_taken_back(job: &JobRecord, task: u32) -> bool {
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

/// Wrong results that jobs accepted which asked to be sure.
pub(crate) fn wrong_results(tables: &Tables, id: JobId, flaw: Flaw) -> u64 {
    if agrees(tables, id).is_none() && flaw != Flaw::Verify {
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

/// How many hosts must agree on a result of this job.
fn agrees(tables: &Tables, id: JobId) -> Option<u8> {
    match tables.jobs[&id].spec.verify {
        Verify::Quorum { agree, .. } => Some(agree),
        _ => None,
    }
}

/// The most wrong results that may be accepted: by the formula for colluding hosts that do the
/// share of the work that their speed allows, and with the luck of one run in a million. That
/// liars are barred lowers it; nothing raises it. A lie needs two hosts to be believed.
pub(crate) fn wrong_bound(plan: &Plan, tables: &Tables, hosts: &[SimHost]) -> u64 {
    let liars = hosts.iter().filter(|host| host.lies());
    if liars.clone().count() < 2 {
        return 0;
    }
    let speed: f64 = hosts.iter().map(SimHost::speed).sum();
    let lies = liars.map(SimHost::speed).sum::<f64>() / speed * plan.lie_rate;
    let mean = |&id: &JobId| {
        let agree = agrees(tables, id)?;
        let tasks = f64::from(tables.jobs[&id].spec.count);
        Some(tasks * wrong_accept_probability(agree, lies))
    };
    at_most(tables.jobs.keys().filter_map(mean).sum())
}

/// What a count with this mean exceeds once in a million times, by the tail of Poisson.
fn at_most(mean: f64) -> u64 {
    let (mut count, mut term) = (0u64, (-mean).exp());
    // Beyond some hundreds the first term has no digits left, and the normal tail is as good.
    if mean > 400.0 {
        return (mean + 5.0 * mean.sqrt()) as u64;
    }
    let mut below = term;
    while 1.0 - below > 1e-6 {
        count += 1;
        term *= mean / count as f64;
        below += term;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_tail_of_one_in_a_million() {
        // Of tables of the Poisson distribution.
        assert_eq!(at_most(0.0), 0);
        assert_eq!(at_most(1.0), 9);
        assert_eq!(at_most(10.0), 28);
        assert_eq!(at_most(10_000.0), 10_500);
    }
}
