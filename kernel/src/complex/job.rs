//! A job as the complex holds it: two bits a task, ranges that wait, ballots of what is in flight.

mod check;
mod pinned;

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::TaskCounts;
use isos_base::price::Price;
use isos_base::record::{
    Accepted, CHUNK_TASKS, Change, JobRecord, Pinned, ResultBatch, StateChunk, TaskState, states,
};
use isos_base::task::TaskResult;
use isos_base::{
    AccountId, BillId, HostId, LeaseId, MicroCredits, Span, TaskRange, TaskSet, Time, limits,
};

use super::ask::{Avoided, Survey};
use super::lone::Lone;
use super::segment::Chains;
use super::unsure::Unsure;
use super::{Config, Effect};
use crate::constraint::{ClassId, Constraint};
use crate::verify::{Ballot, Rule, Verdict};

/// Tasks of one quorum job that were begun and are not decided.
pub(super) const BALLOTS_MAX: usize = 32_768;

/// Failed attempts that are remembered of one task.
const FAULTS_KEPT_MAX: usize = 256;

/// Hosts that already hold or have answered some tasks: the key of a pool of waiting tasks.
pub(super) type Asked = Vec<HostId>;

/// A job that is not over.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) record: JobRecord,
    /// Two bits a task.
    states: Vec<u8>,
    open: u32,
    /// How many tasks there are.
    total: u32,
    /// How many of them are in each state.
    counts: [u32; 4],
    /// Tasks that wait for a host, by who was asked already (nobody, without a quorum).
    pools: BTreeMap<Asked, TaskSet>,
    waiting: u32,
    /// Executions that the begun ones of these tasks need at the least.
    owed: u64,
    /// Tasks that one host holds and that may have to be checked by another.
    lone: Lone,
    /// Fewer were begun than a host had room for: there are too many already.
    cut: bool,
    /// Who could be asked about its tasks.
    pub(super) survey: Option<Survey>,
    /// Tasks that need several hosts: somebody was asked for, and they are not decided.
    pub(super) ballots: BTreeMap<u32, Ballot>,
    /// The hosts of failed attempts, of tasks that have any. Not kept across restarts: a task then
    /// has all its attempts again.
    pub(super) faults: BTreeMap<u32, Vec<HostId>>,
    /// Hosts on which this job fails more often than not.
    pub(super) avoid: BTreeMap<HostId, Avoided>,
    /// Tasks that wait for a check which may not come. Not kept across restarts.
    pub(super) unsure: Unsure,
    /// Owners whose hosts say that the program itself cannot run.
    pub(super) unrunnable: BTreeSet<AccountId>,
    /// A host got nothing because the rest of the hold is set aside for other tasks.
    pub(super) short_of_money: bool,
    /// Tasks have begun to wait since the hungry were told.
    pub(super) fresh: bool,
    pub(super) leases: BTreeSet<LeaseId>,
    /// The open bill of each account that earned, at each price.
    pub(super) bills: BTreeMap<(AccountId, Price), BillId>,
    /// Set aside from the hold for what is out, undecided, or on open bills.
    pub(super) reserved: MicroCredits,
    pub(super) constraint: Option<Constraint>,
    /// See [`Config::bad_share`].
    bad_share: f64,
    /// Answers of the constraint by class.
    pub(super) fits: BTreeMap<ClassId, bool>,
    /// Moving mean of a task's time.
    pub(super) task_time: Option<Span>,
    dirty_chunks: BTreeSet<u32>,
    accepted: Vec<Accepted>,
    next_batch: u64,
    /// What its tasks have saved.
    pub(super) chains: Chains,
    /// Which task each host runs, if each is pinned to one.
    ranks: Option<BTreeMap<HostId, u32>>,
    /// Since when pinned ones have waited, as far as that was noticed. Not kept across restarts.
    pub(super) pinned_since: BTreeMap<u32, Time>,
}

/// Which task each host runs.
fn ranks_of(pinned: &Pinned) -> BTreeMap<HostId, u32> {
    pinned.hosts.iter().copied().zip(0..).collect()
}

impl Job {
    /// A fresh job: all its tasks wait. If these are not all that its `count` numbers, the others
    /// count as decided from the start: no task of another job is ever looked at.
    pub(super) fn new(record: JobRecord, constraint: Option<Constraint>, config: &Config) -> Self {
        let count = record.spec.count;
        let mut states = vec![0; (count as usize).div_ceil(4)];
        let mut free = 0;
        for range in &record.spec.tasks {
            states::fill(&mut states, TaskRange::new(free, range.start), TaskState::Done);
            free = range.end;
        }
        if !record.spec.tasks.is_empty() {
            states::fill(&mut states, TaskRange::new(free, count), TaskState::Done);
        }
        let ranges: Vec<TaskRange> = record.spec.ranges().collect();
        let open = record.spec.task_count();
        let mut job = Self {
            states,
            open,
            total: open,
            counts: [open, 0, 0, 0],
            pools: BTreeMap::new(),
            waiting: 0,
            owed: 0,
            lone: Lone::default(),
            cut: false,
            survey: None,
            ballots: BTreeMap::new(),
            faults: BTreeMap::new(),
            unsure: Unsure::default(),
            avoid: BTreeMap::new(),
            unrunnable: BTreeSet::new(),
            short_of_money: false,
            fresh: false,
            leases: BTreeSet::new(),
            bills: BTreeMap::new(),
            reserved: MicroCredits::ZERO,
            constraint,
            bad_share: config.bad_share,
            fits: BTreeMap::new(),
            task_time: None,
            dirty_chunks: BTreeSet::new(),
            accepted: Vec::new(),
            next_batch: 0,
            chains: Chains::default(),
            ranks: record.pinned.as_ref().map(ranks_of),
            pinned_since: BTreeMap::new(),
            record,
        };
        for range in ranges {
            job.put(Vec::new(), range);
        }
        job
    }

    /// Takes over states and the next batch number from the database; then `waiting` holds every
    /// open task, and the caller takes out what is with hosts.
    pub(super) fn restore_states(&mut self, chunks: &[StateChunk], next_batch: u64) {
        self.next_batch = next_batch;
        for chunk in chunks {
            let start = chunk.chunk as usize * (CHUNK_TASKS as usize / 4);
            let end = (start + chunk.bits.len()).min(self.states.len());
            if start < end {
                self.states[start..end].copy_from_slice(&chunk.bits[..end - start]);
            }
        }
        self.counts = [0; 4];
        let mut open = TaskSet::new();
        for (state, range) in states::runs(&self.states, self.record.spec.count) {
            self.counts[state as usize] += range.len();
            if state == TaskState::Open {
                open.insert(range);
            }
        }
        // What is not this job's counts as done in the bits alone.
        self.counts[TaskState::Done as usize] -= self.record.spec.count - self.total;
        self.open = self.counts[0];
        self.waiting = open.count();
        (self.owed, self.lone) = (0, Lone::default());
        self.pools = BTreeMap::new();
        if !open.is_empty() {
            self.pools.insert(Vec::new(), open);
        }
    }

    /// What decides its tasks; nothing if one host's word does.
    pub(super) fn rule(&self) -> Option<Rule> {
        Rule::of(self.record.spec.verify, self.bad_share)
    }

    pub(super) fn state(&self, task: u32) -> TaskState {
        states::state_of(&self.states, task)
    }

    pub(super) fn is_open(&self, task: u32) -> bool {
        task < self.record.spec.count && self.state(task) == TaskState::Open
    }

    /// Tasks not decided.
    pub(super) const fn open(&self) -> u32 {
        self.open
    }

    /// Whether every task is done.
    pub(super) const fn is_done(&self) -> bool {
        self.counts[TaskState::Done as usize] == self.total
    }

    /// Executions that wait for a host. Under a quorum a task may wait for several hosts at once,
    /// but it is in one pool.
    pub(super) const fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Whether a task for which nobody was asked waits for a host.
    pub(super) fn is_waiting(&self, task: u32) -> bool {
        self.pools.get(&Vec::new()).is_some_and(|pool| pool.contains(task))
    }

    /// Where the tasks stand.
    pub(super) fn counts(&self) -> TaskCounts {
        let answered = self.ballots.values().filter(|ballot| !ballot.votes.is_empty()).count();
        let checking = answered as u32;
        let waiting = self.pools.get(&Vec::new()).map_or(0, TaskSet::count);
        TaskCounts {
            total: self.total,
            waiting,
            running: self.open - waiting - checking,
            checking,
            done: self.counts[1],
            failed: self.counts[2],
            given_up: self.counts[3],
        }
    }

    fn put(&mut self, asked: Asked, range: TaskRange) {
        if !range.is_empty() {
            let need = self.need(&asked);
            let new = self.pools.entry(asked).or_default().insert(range);
            self.waiting += new;
            self.owed += u64::from(new) * need;
            self.fresh = true;
        }
    }

    /// Executions that a waiting task needs at the least, once these hosts were asked; 0 for one
    /// that was not begun.
    fn need(&self, asked: &[HostId]) -> u64 {
        match self.rule() {
            Some(rule) if !asked.is_empty() => {
                u64::from(rule.agree()).saturating_sub(asked.len() as u64).max(1)
            }
            _ => 0,
        }
    }

    /// How many tasks may be begun, if the hold pays for so many executions more: only what can
    /// also be finished, or answers would stand for ever without a second opinion.
    fn startable(&self, executions: u32) -> u32 {
        let agree = self.rule().map_or(1, Rule::agree);
        let free = u64::from(executions).saturating_sub(self.owed + u64::from(self.lone.all()));
        u32::try_from(free / u64::from(agree.max(1))).unwrap_or(u32::MAX)
    }

    /// Whether nothing more can be granted because the hold does not pay for it.
    pub(super) fn is_spent(&self, executions: u32) -> bool {
        executions == 0 || (self.owed == 0 && self.startable(executions) == 0)
    }

    fn take_out(&mut self, asked: &Asked, range: TaskRange) -> u32 {
        let Some(pool) = self.pools.get_mut(asked) else {
            return 0;
        };
        let gone = pool.remove(range);
        if pool.is_empty() {
            self.pools.remove(asked);
        }
        self.waiting -= gone;
        self.owed -= u64::from(gone) * self.need(asked);
        gone
    }

    /// Takes up to `tasks` waiting tasks for `host`; the hold pays for `paid_for` executions more.
    /// `may_answer` says whether it may answer after hosts that were asked already. Tasks that
    /// others began are finished first.
    pub(super) fn take(
        &mut self,
        host: HostId,
        tasks: u32,
        paid_for: u32,
        always: bool,
        may_answer: impl Fn(&[HostId]) -> bool,
    ) -> Vec<TaskRange> {
        const POOLS_LOOKED_AT_MAX: usize = 256;
        if self.ranks.is_some() {
            return self.take_pinned(host);
        }
        let Some(rule) = self.rule() else {
            return self.take_from(&Vec::new(), tasks, limits::LEASE_RANGES_MAX);
        };
        // Begun tasks hold their answers in memory: with too few independent hosts they would pile
        // up, so that no more are begun until some are decided. What a known host answers alone is
        // hardly ever held.
        let ballots_left = match BALLOTS_MAX.saturating_sub(self.begun_ballots()) {
            1.. if !always => u32::MAX,
            left => left as u32,
        };
        let paid_for = self.startable(paid_for);
        let begun_max = ballots_left.min(paid_for);
        let mut to_ask = Vec::new();
        let mut taken = Vec::new();
        let mut left = tasks;
        let pools: Vec<Asked> = self
            .pools
            .keys()
            .rev()
            .filter(|asked| may_answer(asked))
            .take(POOLS_LOOKED_AT_MAX)
            .cloned()
            .collect();
        for asked in pools {
            let room = limits::LEASE_RANGES_MAX - taken.len();
            let most = if asked.is_empty() { left.min(begun_max) } else { left };
            self.cut |= asked.is_empty() && ballots_left < left.min(paid_for);
            let ranges = self.take_from(&asked, most, room);
            let count = ranges.iter().map(TaskRange::len).sum::<u32>();
            left -= count;
            if asked.is_empty() && rule.asks_one_first() {
                self.lone.hold(host, count, always);
            } else {
                to_ask.extend(ranges.iter().copied());
            }
            taken.extend(ranges);
            if left == 0 || taken.len() == limits::LEASE_RANGES_MAX {
                break;
            }
        }
        for task in to_ask.into_iter().flat_map(TaskRange::tasks) {
            // Somebody has come after all.
            self.unsure.tied.remove(&task);
            let ballot = self.ballots.entry(task).or_default();
            ballot.ask(host);
            if let Verdict::Ask(1..) = ballot.verdict(rule) {
                let asked = ballot.asked.clone();
                self.put(asked, TaskRange::new(task, task + 1));
            }
        }
        taken.sort_unstable();
        taken
    }

    fn take_from(&mut self, asked: &Asked, tasks: u32, ranges_max: usize) -> Vec<TaskRange> {
        let Some(pool) = self.pools.get_mut(asked) else {
            return Vec::new();
        };
        let taken = pool.take_front(tasks, ranges_max);
        if pool.is_empty() {
            self.pools.remove(asked);
        }
        let gone = taken.iter().map(TaskRange::len).sum::<u32>();
        self.waiting -= gone;
        self.owed -= u64::from(gone) * self.need(asked);
        taken
    }

    /// Takes exactly these tasks out of the waiting ones, for a lease that outlived a restart.
    pub(super) fn retake(&mut self, lease: LeaseId, host: HostId, range: TaskRange, always: bool) {
        let Some(rule) = self.rule() else {
            self.take_out(&Vec::new(), range);
            return;
        };
        for task in range.tasks() {
            // Who runs a part of what another ran was asked beside it, even if that one's vote is
            // gone by now: what it answers decides nothing.
            let part = self.chains.part(lease, task).is_some();
            if rule.asks_one_first() && !part && !self.ballots.contains_key(&task) {
                let count = self.take_out(&Vec::new(), TaskRange::new(task, task + 1));
                self.lone.hold(host, count, always);
            } else {
                self.change_ballot(task, rule, |ballot| ballot.ask(host));
            }
        }
    }

    /// Tasks whose answers are held until others have answered as well, or will be.
    fn begun_ballots(&self) -> usize {
        self.ballots.len() + self.lone.always() as usize
    }

    /// Whether a host had room for more tasks than could be begun, and there is room again.
    pub(super) fn was_cut_and_has_room(&mut self) -> bool {
        let again = self.cut && self.begun_ballots() < BALLOTS_MAX / 4 * 3;
        self.cut &= !again;
        again
    }

    /// Whether this host holds this task and no other was asked for it; then it has answered.
    pub(super) fn was_lone(&mut self, task: u32, host: HostId) -> bool {
        let lone = self.rule().is_some_and(Rule::asks_one_first)
            && self.is_open(task)
            && !self.ballots.contains_key(&task);
        if lone {
            self.lone.drop_one(host);
        }
        lone
    }

    /// A host will not answer for these tasks: they wait again, but for those returned, which
    /// are to be judged.
    pub(super) fn give_back(&mut self, host: HostId, range: TaskRange) -> Vec<u32> {
        let mut to_judge = Vec::new();
        for task in range.tasks().filter(|&task| self.is_open(task)).collect::<Vec<_>>() {
            let lone = self.was_lone(task, host);
            match self.rule() {
                Some(rule) if !lone => {
                    let verdict = self.change_ballot(task, rule, |ballot| ballot.forget(host));
                    // Of those who have answered somebody may be the last who could.
                    let answered = self.ballots.get(&task).is_some_and(|it| it.outstanding() == 0);
                    let asks = matches!(verdict, Verdict::Ask(_));
                    if rule.asks_one_first() || answered || !asks {
                        to_judge.push(task);
                    }
                }
                // Nobody else holds it.
                _ => self.put(Vec::new(), TaskRange::new(task, task + 1)),
            }
        }
        to_judge
    }

    /// Changes who was asked or has answered, and keeps the task in the pool it then belongs to.
    pub(super) fn change_ballot(
        &mut self,
        task: u32,
        rule: Rule,
        change: impl FnOnce(&mut Ballot),
    ) -> Verdict {
        let mut ballot = self.ballots.remove(&task).unwrap_or_default();
        let one = TaskRange::new(task, task + 1);
        self.take_out(&ballot.asked, one);
        change(&mut ballot);
        let verdict = ballot.verdict(rule);
        if let Verdict::Ask(1..) = verdict {
            self.put(ballot.asked.clone(), one);
        }
        if !ballot.asked.is_empty() {
            self.ballots.insert(task, ballot);
        }
        verdict
    }

    /// Decides a task. Returns its ballot, whose votes are still to be judged.
    pub(super) fn decide(
        &mut self,
        task: u32,
        result: Result<TaskResult, String>,
        host: Option<HostId>,
    ) -> Ballot {
        assert!(self.is_open(task), "a task is decided once");
        let state = match &result {
            Ok(result) if result.exit.is_success() => TaskState::Done,
            Ok(_) => TaskState::Failed,
            Err(_) => TaskState::GivenUp,
        };
        let ballot = self.ballots.remove(&task).unwrap_or_default();
        self.take_out(&ballot.asked, TaskRange::new(task, task + 1));
        self.states[task as usize / 4] |= (state as u8) << (task % 4 * 2);
        self.open -= 1;
        self.counts[0] -= 1;
        self.counts[state as usize] += 1;
        self.dirty_chunks.insert(task / CHUNK_TASKS);
        self.faults.remove(&task);
        self.unsure.tied.remove(&task);
        self.chains.decide(task);
        self.accepted.push(Accepted { task, result, host });
        ballot
    }

    /// Notes that an attempt at a task failed on `host`. Gives the number of attempts once there
    /// were enough: on as many hosts as the job allows, or on all that are connected, fewer if
    /// nobody among these is to be asked again soon. One host alone cannot use up what the others
    /// have a right to.
    pub(super) fn failed_on(
        &mut self,
        task: u32,
        host: HostId,
        connected: &BTreeMap<super::SessionId, HostId>,
        now: Time,
    ) -> Option<usize> {
        let faults = self.faults.entry(task).or_default();
        faults.push(host);
        let hosts: BTreeSet<HostId> = faults.iter().copied().collect();
        // The host is avoided before its own attempts can become many more than this.
        faults.truncate(FAULTS_KEPT_MAX);
        // Nobody else may try what is pinned to a host.
        let others = if self.ranks.is_some() { 1 } else { connected.len() };
        let all = hosts.len() >= others;
        let is_avoided = |host| self.avoid.get(host).is_some_and(|it| it.until > now);
        let enough = usize::from(self.record.spec.attempts_max);
        // Looked at only where there are hardly more hosts than have tried.
        let nobody_soon = || {
            others > 1 && connected.values().all(|host| hosts.contains(host) && is_avoided(host))
        };
        let tried = hosts.len() >= enough || all && (faults.len() >= enough || nobody_soon());
        tried.then_some(faults.len())
    }

    /// Notes that an attempt on `host` succeeded.
    pub(super) fn succeeded_on(&mut self, host: HostId) {
        if let Some(avoided) = self.avoid.get_mut(&host).filter(|avoided| !avoided.wrong) {
            avoided.count -= 1;
            if avoided.count == 0 {
                self.avoid.remove(&host);
            }
        }
    }

    /// What the votes on a task say now; nothing if nobody was asked or it is decided.
    pub(super) fn verdict(&self, task: u32) -> Option<Verdict> {
        Some(self.ballots.get(&task)?.verdict(self.rule()?))
    }

    /// Open tasks that can be decided as they stand.
    pub(super) fn decidable(&self) -> Vec<u32> {
        let ask = |task| matches!(self.verdict(task), None | Some(Verdict::Ask(_)));
        self.ballots.keys().copied().filter(|&task| !ask(task)).collect()
    }

    /// Takes back what was accepted of these tasks, all of which are decided: they wait again.
    pub(super) fn reopen(&mut self, tasks: &TaskSet) {
        for range in tasks.iter() {
            for task in range.tasks() {
                let state = self.state(task);
                assert!(state != TaskState::Open, "only what was decided can be taken back");
                self.counts[state as usize] -= 1;
                self.dirty_chunks.insert(task / CHUNK_TASKS);
            }
            states::reopen(&mut self.states, range);
            self.counts[TaskState::Open as usize] += range.len();
            self.open += range.len();
            self.put(Vec::new(), range);
        }
        self.accepted.retain(|accepted| !tasks.contains(accepted.task));
        let redone = self.record.redone.iter().copied().chain(tasks.iter());
        let redone: TaskSet = redone.collect();
        self.record.redone = redone.iter().collect();
        if let (Some(first), Some(last)) = (redone.iter().next(), redone.iter().last())
            && redone.fragments() > limits::JOB_RANGES_MAX
        {
            // Of a task with one result the last one counts as well.
            self.record.redone = vec![TaskRange::new(first.start, last.end)];
        }
    }

    /// Who was asked for tasks that wait for one host more.
    pub(super) fn begun(&self) -> impl Iterator<Item = (&Asked, &TaskSet)> {
        self.pools.iter().filter(|(asked, _)| !asked.is_empty())
    }

    /// Notes how long tasks took; the mean follows within some tens of tasks.
    pub(super) fn note_time(&mut self, tasks: u32, busy: Span) {
        if tasks == 0 {
            return;
        }
        let mean = busy.0 / u64::from(tasks);
        let old = self.task_time.map_or(mean, |span| span.0);
        let weight = u128::from(tasks.min(16));
        let sum = u128::from(old) * (32 - weight) + u128::from(mean) * weight;
        // A mean of two numbers is no larger than the larger.
        self.task_time = Some(Span((sum / 32) as u64));
    }

    /// The record with its counts brought up to date.
    pub(super) fn full_record(&self) -> JobRecord {
        let [open, done, failed, mut given_up] = self.counts;
        if self.record.state.is_over() {
            given_up += open;
        }
        JobRecord { done, failed, given_up, ..self.record.clone() }
    }

    /// Emits the chunks and results that the step changed.
    pub(super) fn write_dirty(&mut self, effects: &mut Vec<Effect>) {
        const CHUNK_BYTES: usize = CHUNK_TASKS as usize / 4;
        for chunk in std::mem::take(&mut self.dirty_chunks) {
            let start = chunk as usize * CHUNK_BYTES;
            let end = (start + CHUNK_BYTES).min(self.states.len());
            let bits = self.states[start..end].to_vec();
            let change = StateChunk { job: self.record.id, chunk, bits };
            effects.push(Effect::Keep(Change::States(change)));
        }
        if !self.accepted.is_empty() {
            let results = std::mem::take(&mut self.accepted);
            let batch = ResultBatch { job: self.record.id, batch: self.next_batch, results };
            self.next_batch += 1;
            effects.push(Effect::Keep(Change::Results(batch)));
        }
    }
}
