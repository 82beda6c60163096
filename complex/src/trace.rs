//! The lives of traced tasks, put together from what passes through the core and from what hosts
//! tell. In memory, for the newest; nothing is decided by it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isos_base::record::{Change, JobRecord, LeaseRecord, LeaseState};
use isos_base::trace::{
    HOST_STEPS_MAX, HostStep, HostTrace, Place, Step, TaskTrace, TraceStep, TraceTry, TryEnd,
};
use isos_base::wire::{LeaseReport, Report, ToHost};
use isos_base::{HostId, JobId, LeaseId, Span, TaskId, TaskRange, Time};
use isos_kernel::complex::Effect;

/// Tasks whose lives are kept; the one that was first granted longest ago is forgotten first.
const LIVES_MAX: usize = 4_096;
/// Active jobs that are known; the oldest is forgotten first.
const JOBS_MAX: usize = 65_536;
/// Characters of a fault's text that are kept.
const FAULT_CHARS_MAX: usize = 300;
/// Executions of one task that are kept.
const TRIES_MAX: usize = 32;

/// The lives of traced tasks. Clones are the same book.
#[derive(Clone, Default)]
pub(crate) struct Traces(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    jobs: BTreeMap<JobId, Job>,
    lives: BTreeMap<TaskId, Life>,
    /// In the order of their first grants.
    order: VecDeque<TaskId>,
    /// Open leases with traced tasks.
    leases: HashMap<LeaseId, Vec<TaskId>>,
    /// Leases up to this one were granted before this server led: nothing is known of them.
    last_before: LeaseId,
}

/// An active job.
struct Job {
    submitted: Time,
    traced: Vec<TaskRange>,
    /// Whether lives of its tasks may have been lost: that one is not known says nothing then.
    partial: bool,
}

struct Life {
    submitted: Time,
    tries: Vec<Try>,
    /// When it was decided which result counts, or that none will.
    decided: Option<Time>,
    /// When that was on the disk.
    kept: Option<Time>,
}

struct Try {
    lease: LeaseId,
    host: HostId,
    granted: Time,
    sent: Option<Time>,
    /// What the host told, and when that came.
    told: Option<(HostTrace, Time)>,
    ended: Option<(Time, TryEnd)>,
}

/// What of a batch is to be stamped when it is on the disk.
#[derive(Default)]
pub(crate) struct Stamps {
    sent: Vec<(LeaseId, Vec<TaskId>)>,
    kept: Vec<TaskId>,
}

impl Stamps {
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.kept.is_empty()
    }
}

impl Traces {
    /// A book that begins with these jobs, of which it does not know what leases up to `last` did.
    pub(crate) fn after(last: LeaseId, jobs: &[JobRecord]) -> Self {
        let traces = Self::default();
        let mut book = traces.book();
        book.last_before = last;
        jobs.iter().for_each(|job| book.job(job, true));
        drop(book);
        traces
    }

    /// A host's report is being decided on.
    pub(crate) fn reported(&self, now: Time, host: HostId, report: &Report) {
        let mut book = self.book();
        for lease in &report.leases {
            book.reported(now, host, lease);
        }
    }

    /// These effects were decided.
    pub(crate) fn decided(&self, now: Time, effects: &[Effect]) -> Stamps {
        let mut stamps = Stamps::default();
        let mut book = self.book();
        for effect in effects {
            match effect {
                Effect::Keep(Change::Job(record)) if record.state.is_over() => {
                    stamps.kept.extend(book.over(now, record.id));
                }
                Effect::Keep(Change::Job(record)) => book.job(record, false),
                Effect::Keep(Change::Lease(record)) => book.lease(now, record),
                Effect::Keep(Change::Results(batch)) => {
                    let Some(job) = book.jobs.get(&batch.job) else { continue };
                    let traced = |task: &u32| is_in(&job.traced, *task);
                    let ended = batch.results.iter().map(|result| result.task).filter(traced);
                    let ended: Vec<TaskId> =
                        ended.map(|task| TaskId { job: batch.job, task }).collect();
                    for task in ended {
                        if let Some(life) = book.lives.get_mut(&task) {
                            life.decided.get_or_insert(now);
                            stamps.kept.push(task);
                        }
                    }
                }
                Effect::Send(_, ToHost::Grant(grants)) => {
                    let traced = grants.iter().filter_map(|grant| {
                        Some((grant.lease, book.leases.get(&grant.lease)?.clone()))
                    });
                    stamps.sent.extend(traced);
                }
                _ => {}
            }
        }
        stamps
    }

    /// What was to be stamped is on the disk, and on its way.
    pub(crate) fn stamp(&self, now: Time, stamps: &Stamps) {
        let mut book = self.book();
        for (lease, tasks) in &stamps.sent {
            for task in tasks {
                if let Some(tried) = book.lives.get_mut(task).and_then(|life| life.of(*lease)) {
                    tried.sent.get_or_insert(now);
                }
            }
        }
        for task in &stamps.kept {
            if let Some(life) = book.lives.get_mut(task) {
                life.kept.get_or_insert(now);
            }
        }
    }

    /// A host told how an execution went. What nobody asked for is not taken.
    pub(crate) fn told(&self, now: Time, host: HostId, mut trace: HostTrace) {
        let mut book = self.book();
        let Book { lives, leases, .. } = &mut *book;
        let Some(tasks) = leases.get(&trace.lease) else { return };
        let Some(task) = tasks.iter().find(|task| task.task == trace.task) else { return };
        if let Some(tried) = lives.get_mut(task).and_then(|life| life.of(trace.lease))
            && tried.host == host
            && tried.told.is_none()
        {
            // What is the server's or the network's to say is not a host's; and no room is kept for
            // what is not taken.
            let own = |step: &HostStep| matches!(step.step.place(), Place::Agent | Place::Sandbox);
            trace.steps = trace.steps.into_iter().filter(own).take(HOST_STEPS_MAX).collect();
            trace.steps.shrink_to_fit();
            tried.told = Some((trace, now));
        }
    }

    /// The life of a task, if it is still known.
    pub(crate) fn show(&self, task: TaskId) -> Option<TaskTrace> {
        let book = self.book();
        if let Some(life) = book.lives.get(&task) {
            return Some(life.show(task));
        }
        // Not granted yet.
        let is_known = |job: &&Job| !job.partial && is_in(&job.traced, task.task);
        let job = book.jobs.get(&task.job).filter(is_known)?;
        let submitted = job.submitted;
        let life = Life { submitted, tries: Vec::new(), decided: None, kept: None };
        Some(life.show(task))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Every holder leaves the maps whole between statements, so a poisoned lock is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_in(ranges: &[TaskRange], task: u32) -> bool {
    ranges.iter().any(|range| range.start <= task && task < range.end)
}

impl Book {
    fn job(&mut self, record: &JobRecord, partial: bool) {
        self.jobs.entry(record.id).or_insert_with(|| Job {
            submitted: record.submitted,
            traced: record.spec.traced().collect(),
            partial,
        });
        if self.jobs.len() > JOBS_MAX {
            self.jobs.pop_first();
        }
    }

    /// A job is over: its tasks that are undecided are given up, all at once.
    fn over(&mut self, now: Time, id: JobId) -> Vec<TaskId> {
        let Some(job) = self.jobs.remove(&id) else { return Vec::new() };
        let tasks = job.traced.into_iter().flat_map(TaskRange::tasks);
        let mut given_up = Vec::new();
        for task in tasks.map(|task| TaskId { job: id, task }) {
            if let Some(life) = self.lives.get_mut(&task)
                && life.decided.is_none()
            {
                life.decided = Some(now);
                given_up.push(task);
            }
        }
        given_up
    }

    fn lease(&mut self, now: Time, record: &LeaseRecord) {
        if record.state != LeaseState::Open {
            for task in self.leases.remove(&record.id).into_iter().flatten() {
                if let Some(tried) = self.lives.get_mut(&task).and_then(|it| it.of(record.id)) {
                    tried.ended.get_or_insert((now, TryEnd::Lost));
                }
            }
            return;
        }
        if self.leases.contains_key(&record.id) || record.id <= self.last_before {
            return;
        }
        let Some(job) = self.jobs.get(&record.job) else { return };
        let both = job
            .traced
            .iter()
            .flat_map(|traced| record.ranges.iter().map(move |granted| granted.intersect(traced)));
        let tasks: Vec<TaskId> =
            both.flat_map(TaskRange::tasks).map(|task| TaskId { job: record.job, task }).collect();
        if tasks.is_empty() {
            return;
        }
        let submitted = job.submitted;
        for task in &tasks {
            let life = self.lives.entry(*task).or_insert_with(|| {
                self.order.push_back(*task);
                Life { submitted, tries: Vec::new(), decided: None, kept: None }
            });
            if life.tries.len() == TRIES_MAX {
                let ended = life.tries.iter().position(|tried| tried.ended.is_some());
                life.tries.remove(ended.unwrap_or(0));
            }
            life.tries.push(Try {
                lease: record.id,
                host: record.host,
                granted: now,
                sent: None,
                told: None,
                ended: None,
            });
        }
        self.leases.insert(record.id, tasks);
        while self.order.len() > LIVES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.lives.remove(&oldest);
            if let Some(job) = self.jobs.get_mut(&oldest.job) {
                job.partial = true;
            }
        }
    }

    fn reported(&mut self, now: Time, host: HostId, report: &LeaseReport) {
        let Self { lives, leases, .. } = self;
        for id in leases.get(&report.lease).into_iter().flatten() {
            let task = id.task;
            let end = if report.results.iter().any(|result| result.task == task) {
                TryEnd::Result
            } else if let Some((_, fault)) = report.faults.iter().find(|(of, _)| *of == task) {
                TryEnd::Fault(fault.to_string().chars().take(FAULT_CHARS_MAX).collect())
            } else if is_in(&report.returned, task) {
                TryEnd::Returned
            } else {
                continue;
            };
            if let Some(tried) = lives.get_mut(id).and_then(|life| life.of(report.lease))
                && tried.host == host
            {
                tried.ended.get_or_insert((now, end));
            }
        }
    }
}

impl Life {
    fn of(&mut self, lease: LeaseId) -> Option<&mut Try> {
        self.tries.iter_mut().find(|tried| tried.lease == lease)
    }

    /// The times in which it was on no host and was wanted on one.
    fn waits(&self, line: Line) -> Vec<TraceStep> {
        let mut steps = Vec::new();
        // Since when it is on no host; nothing while it is on one, or one gave a result.
        let mut free = Some(self.submitted);
        for tried in &self.tries {
            if let Some(from) = free {
                steps.push(line.step(Step::Waits, from, Some(tried.granted)));
            }
            free = match (&tried.ended, free) {
                (Some((at, end)), Some(from)) if *end != TryEnd::Result => Some(from.max(*at)),
                _ => None,
            };
        }
        if let Some(from) = free
            && self.decided.is_none()
        {
            steps.push(line.step(Step::Waits, from, None));
        }
        steps
    }

    fn show(&self, id: TaskId) -> TaskTrace {
        let line = Line(self.submitted);
        let mut steps = self.waits(line);
        let results = self.tries.iter().filter_map(|tried| match &tried.ended {
            Some((at, TryEnd::Result)) => Some(*at),
            _ => None,
        });
        if let Some(first) = results.min()
            && self.decided.is_none_or(|decided| decided > first)
        {
            steps.push(line.step(Step::Agree, first, self.decided));
        }
        if let Some(decided) = self.decided {
            steps.push(line.step(Step::KeepResult, decided, self.kept));
        }
        TaskTrace {
            job: id.job,
            task: id.task,
            submitted: self.submitted,
            total: self.kept.map(|kept| kept.since(self.submitted)),
            tries: self.tries.iter().map(|tried| tried.show(line)).collect(),
            steps,
        }
    }
}

impl Try {
    fn show(&self, line: Line) -> TraceTry {
        let end = self.ended.as_ref().map(|(at, _)| *at);
        let mut steps = vec![line.step(Step::KeepGrant, self.granted, self.sent.or(end))];
        match (&self.told, self.sent) {
            (Some((told, came)), Some(sent)) => {
                // The host cannot have held it for longer than it was away.
                let away = came.since(sent);
                let there = Span((away.0.saturating_sub(told.held.0)) / 2);
                let arrived = sent + there;
                let left = (arrived + told.held).min(*came);
                steps.push(line.step(Step::WayThere, sent, Some(arrived)));
                for step in &told.steps {
                    let from = (arrived + step.from).min(left);
                    let until = (from + step.length).min(left);
                    steps.push(line.step(step.step, from, Some(until)));
                }
                steps.push(line.step(Step::WayBack, left, Some(*came)));
                steps.push(line.step(Step::Decide, *came, end));
            }
            (None, Some(sent)) => steps.push(line.step(Step::Host, sent, end)),
            // Its words came before it was sent anything: nothing to put them beside.
            (_, None) => {}
        }
        TraceTry {
            host: self.host,
            lease: self.lease,
            end: self.ended.as_ref().map_or(TryEnd::Open, |(_, end)| end.clone()),
            steps,
        }
    }
}

/// The line of time that begins with the submission.
#[derive(Clone, Copy)]
struct Line(Time);

impl Line {
    fn step(self, step: Step, from: Time, until: Option<Time>) -> TraceStep {
        TraceStep {
            step,
            place: step.place(),
            from: from.since(self.0),
            length: until.map(|until| until.since(from)),
        }
    }
}

#[cfg(test)]
mod tests;
