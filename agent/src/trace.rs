//! What this host tells of traced tasks: when each step began, by one clock for the agent and its
//! children, counted from the arrival of the grant.
//!
//! Only looked at, never acted on: without a session to tell it to, it is forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use isos_base::trace::{HOST_STEPS_MAX, HostStep, HostTrace, Marks, Step};
use isos_base::wire::{Report, ToHost};
use isos_base::{JobId, LeaseId, Span, TaskRange};
use isos_sandbox::monotonic;

/// Jobs whose traced tasks are known; the oldest is forgotten first.
const JOBS_MAX: usize = 256;
/// Traced tasks that are on this host.
const TASKS_MAX: usize = 1_024;

/// Which tasks are traced, and when they came.
#[derive(Default)]
pub(crate) struct Tracer(Mutex<Book>);

#[derive(Default)]
struct Book {
    jobs: Newest<JobId, Vec<TaskRange>>,
    arrived: Newest<(JobId, u32), Arrived>,
    /// Of tasks that have ended, until the report that names them leaves.
    told: Newest<(LeaseId, u32), (HostTrace, Arrived)>,
}

/// The entries that came last, so many at the most.
struct Newest<K, V> {
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Newest<K, V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), order: VecDeque::new() }
    }
}

impl<K: Ord + Copy, V> Newest<K, V> {
    fn insert(&mut self, key: K, value: V, max: usize) {
        if self.entries.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.entries.len() > max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.entries.remove(&oldest);
        }
        // What was taken out leaves its place in the order behind.
        if self.order.len() > 2 * max {
            self.order.retain(|key| self.entries.contains_key(key));
        }
    }
}

/// When a traced task came, and by which lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived {
    lease: LeaseId,
    at: Span,
}

/// A part of the time, by the machine's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) step: Step,
    pub(crate) from: Span,
    pub(crate) to: Span,
}

/// Times a step.
pub(crate) async fn timed<F: Future>(step: Step, steps: &mut Vec<Timed>, work: F) -> F::Output {
    let from = monotonic();
    let done = work.await;
    steps.push(Timed { step, from, to: monotonic() });
    done
}

impl Tracer {
    /// Sees what the complex sends.
    pub(crate) fn frame(&self, frame: &ToHost) {
        match frame {
            // What makes no sense is turned down elsewhere, and not counted on here.
            ToHost::Job(offer) if offer.spec.check().is_ok() => {
                let traced = offer.spec.traced().collect();
                self.book().jobs.insert(offer.job, traced, JOBS_MAX);
            }
            ToHost::Grant(grants) => {
                let now = monotonic();
                let mut book = self.book();
                let Book { jobs, arrived, .. } = &mut *book;
                for grant in grants {
                    let Some(traced) = jobs.entries.get(&grant.job) else { continue };
                    let granted =
                        |task: &u32| grant.ranges.iter().any(|range| range.tasks().contains(task));
                    // At most as many as a job may have traced.
                    let tasks = traced.iter().copied().flat_map(TaskRange::tasks);
                    for task in tasks.filter(granted) {
                        let came = Arrived { lease: grant.lease, at: now };
                        arrived.insert((grant.job, task), came, TASKS_MAX);
                    }
                }
            }
            ToHost::Revoke(leases) => {
                let mut book = self.book();
                book.arrived.entries.retain(|_, came| !leases.contains(&came.lease));
                book.told.entries.retain(|(lease, _), _| !leases.contains(lease));
            }
            _ => {}
        }
    }

    /// A traced task has ended: when it came. Told once.
    pub(crate) fn take(&self, job: JobId, task: u32) -> Option<Arrived> {
        self.book().arrived.entries.remove(&(job, task))
    }

    /// How a traced task went, until it is reported.
    pub(crate) fn keep(&self, trace: HostTrace, arrived: Arrived) {
        let key = (trace.lease, trace.task);
        self.book().told.insert(key, (trace, arrived), TASKS_MAX);
    }

    /// What is to be told before this report.
    pub(crate) fn before(&self, report: &Report) -> Vec<HostTrace> {
        let mut book = self.book();
        let told = &mut book.told.entries;
        let mut traces = Vec::new();
        for news in &report.leases {
            let of_lease = told.range((news.lease, 0)..=(news.lease, u32::MAX));
            let is_named = |task: u32| {
                news.results.iter().any(|result| result.task == task)
                    || news.faults.iter().any(|(other, _)| *other == task)
            };
            let named: Vec<_> =
                of_lease.map(|(key, _)| *key).filter(|(_, task)| is_named(*task)).collect();
            let taken = named.iter().filter_map(|key| told.remove(key));
            traces.extend(taken.map(|(trace, arrived)| arrived.told_now(trace)));
        }
        traces
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        // Every holder leaves the maps whole, so a poisoned lock is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was seen of one execution besides the opening of its chamber.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// When its own file was begun to be fetched, if it has one.
    pub(crate) staged: Option<Span>,
    /// When the task was given to the child.
    pub(crate) handed: Span,
    /// What the child tells.
    pub(crate) marks: Marks,
    /// When its result came out of the pipe.
    pub(crate) received: Span,
    /// When the result was ready to be reported.
    pub(crate) ready: Span,
}

impl Arrived {
    /// The trace of one execution.
    pub(crate) fn trace(self, task: u32, opening: &[Timed], seen: Seen) -> HostTrace {
        let Seen { staged, handed, marks, received, ready } = seen;
        // Whatever a child says, it had the task between these two.
        let within = |at: Span| at.clamp(handed, received.max(handed));
        let taken = within(marks.taken);
        let (begun, ran) = (within(marks.ready).max(taken), within(marks.ran));
        let (ran, collected) = (ran.max(begun), within(marks.collected));
        let collected = collected.max(ran);
        let mut line = Line { free: self.at, from: self.at, steps: Vec::new() };
        // What was done before the grant came is not part of it.
        for part in opening.iter().filter(|part| part.to > self.at && part.from <= handed) {
            line.until(Step::Queue, part.from);
            line.until(part.step, part.to);
        }
        if let Some(staged) = staged {
            line.until(Step::Queue, staged.min(handed));
            line.until(Step::Fetch, handed);
        }
        line.until(Step::Queue, handed);
        line.until(Step::Pipe, taken);
        line.until(Step::Instantiate, begun);
        line.until(Step::Run, ran);
        line.until(Step::Collect, collected);
        line.until(Step::PipeBack, received);
        line.until(Step::HandOver, ready);
        HostTrace { lease: self.lease, task, steps: line.steps, held: Span::ZERO }
    }

    /// For how long the grant has been here.
    fn held(self) -> Span {
        Span(monotonic().0.saturating_sub(self.at.0))
    }

    /// The trace as it is when the report that names its task leaves.
    fn told_now(self, mut trace: HostTrace) -> HostTrace {
        trace.held = self.held();
        let from = trace.steps.last().map_or(Span::ZERO, |last| last.from + last.length);
        if trace.held > from && trace.steps.len() < HOST_STEPS_MAX {
            let length = Span(trace.held.0 - from.0);
            trace.steps.push(HostStep { step: Step::Report, from, length });
        }
        trace
    }
}

/// Steps one after another, without gaps.
struct Line {
    /// The end of the last one.
    free: Span,
    /// The arrival of the grant.
    from: Span,
    steps: Vec<HostStep>,
}

impl Line {
    /// From the end of the last step until then; left out if that is no time at all.
    fn until(&mut self, step: Step, end: Span) {
        if end <= self.free || self.steps.len() == HOST_STEPS_MAX {
            return;
        }
        let length = Span(end.0 - self.free.0);
        self.steps.push(HostStep { step, from: Span(self.free.0 - self.from.0), length });
        self.free = end;
    }
}

#[cfg(test)]
mod tests {
    use isos_base::price::Price;
    use isos_base::wire::{Grant, JobOffer};
    use isos_base::{AccountId, Bytes, Guid, Time, job::JobSpec};

    use super::*;

    fn granted(job: u64, ranges: &[TaskRange]) -> ToHost {
        let ranges = ranges.to_vec();
        let (lease, job) = (LeaseId(9), JobId(job));
        ToHost::Grant(vec![Grant { lease, job, ranges, deadline: Time(1) }])
    }

    fn offered(job: u64, trace: &[TaskRange]) -> ToHost {
        let spec =
            JobSpec { trace: trace.to_vec(), ..JobSpec::new(Guid::of(b"program"), Bytes(1), 100) };
        let (job, buyer) = (JobId(job), AccountId(100));
        ToHost::Job(Box::new(JobOffer { job, spec, price: Price(1), buyer }))
    }

    #[test]
    fn traced_tasks_are_known_once_when_they_come() {
        let tracer = Tracer::default();
        tracer.frame(&offered(1, &[TaskRange::new(5, 7), TaskRange::new(20, 21)]));
        tracer.frame(&granted(1, &[TaskRange::new(0, 6), TaskRange::new(20, 30)]));
        tracer.frame(&granted(2, &[TaskRange::new(0, 6)]));
        let job = JobId(1);
        let known: Vec<u32> = (0..30).filter(|task| tracer.take(job, *task).is_some()).collect();
        assert_eq!(known, [5, 20]);
        assert_eq!(tracer.take(job, 5), None);
        assert_eq!(tracer.take(JobId(2), 0), None, "nothing is known of that job");
    }

    #[test]
    fn what_is_known_has_a_bound() {
        let tracer = Tracer::default();
        for job in 0..2_000 {
            tracer.frame(&offered(job, &[TaskRange::new(0, 64)]));
            tracer.frame(&granted(job, &[TaskRange::new(0, 64)]));
        }
        let book = tracer.book();
        let sizes = (book.jobs.entries.len(), book.arrived.entries.len());
        assert_eq!(sizes, (JOBS_MAX, TASKS_MAX));
        assert!(book.arrived.entries.contains_key(&(JobId(1_999), 63)), "the newest stay");
        assert!(book.arrived.order.len() <= 2 * TASKS_MAX);
    }

    #[test]
    fn a_trace_leaves_with_the_report_that_names_its_task() {
        let tracer = Tracer::default();
        tracer.frame(&offered(1, &[TaskRange::new(5, 7)]));
        tracer.frame(&granted(1, &[TaskRange::new(0, 16)]));
        for task in [5, 6] {
            let came = tracer.take(JobId(1), task).expect("it came");
            let steps = vec![HostStep { step: Step::Run, from: Span(0), length: Span(0) }];
            let trace = HostTrace { lease: LeaseId(9), task, steps, held: Span::ZERO };
            tracer.keep(trace, came);
        }
        let report = |lease: u64, task: u32| {
            let news = isos_base::wire::LeaseReport {
                lease: LeaseId(lease),
                results: Vec::new(),
                faults: vec![(task, isos_base::task::Fault::TimedOut)],
                returned: Vec::new(),
                busy: Span::ZERO,
            };
            Report { seq: 1, leases: vec![news], room: isos_base::wire::Room::default() }
        };
        assert!(tracer.before(&report(8, 5)).is_empty());
        let told = tracer.before(&report(9, 5));
        assert_eq!(told.iter().map(|trace| trace.task).collect::<Vec<_>>(), [5]);
        let end = told[0].steps.last().map(|last| last.from + last.length);
        assert!(end.is_none_or(|end| end == told[0].held), "nothing is left out: {told:?}");
        assert!(tracer.before(&report(9, 5)).is_empty(), "told once");
        tracer.frame(&ToHost::Revoke(vec![LeaseId(9)]));
        assert!(tracer.before(&report(9, 6)).is_empty(), "nobody wants it any more");
    }

    #[test]
    fn steps_follow_each_other_from_the_grant_to_the_report_whatever_the_child_says() {
        let arrived = Arrived { lease: LeaseId(9), at: Span(1_000) };
        let timed = |step, from, to| Timed { step, from: Span(from), to: Span(to) };
        let opening = [
            timed(Step::Fetch, 100, 900),
            timed(Step::Compile, 900, 1_500),
            timed(Step::Open, 1_600, 1_700),
        ];
        let marks = |taken, ready, ran, collected| Marks {
            taken: Span(taken),
            ready: Span(ready),
            ran: Span(ran),
            collected: Span(collected),
        };
        let seen = |marks| Seen {
            staged: Some(Span(1_750)),
            handed: Span(1_800),
            marks,
            received: Span(2_500),
            ready: Span(2_600),
        };
        let told = arrived.trace(7, &opening, seen(marks(1_900, 1_950, 2_400, 2_410)));
        let steps: Vec<_> = told.steps.iter().map(|s| (s.step, s.from.0, s.length.0)).collect();
        let expected = [
            (Step::Compile, 0, 500),
            (Step::Queue, 500, 100),
            (Step::Open, 600, 100),
            (Step::Queue, 700, 50),
            (Step::Fetch, 750, 50),
            (Step::Pipe, 800, 100),
            (Step::Instantiate, 900, 50),
            (Step::Run, 950, 450),
            (Step::Collect, 1_400, 10),
            (Step::PipeBack, 1_410, 90),
            (Step::HandOver, 1_500, 100),
        ];
        assert_eq!(steps, expected);
        for odd in [marks(0, 0, 0, 0), marks(u64::MAX, 5, u64::MAX, 0), marks(9_999, 1, 1, 1)] {
            let steps = arrived.trace(7, &opening, seen(odd)).steps;
            let ends = steps.iter().map(|step| step.from.0 + step.length.0);
            assert!(steps[1..].iter().map(|step| step.from.0).eq(ends.take(steps.len() - 1)));
            assert_eq!(steps.last().map(|step| step.from.0 + step.length.0), Some(1_600));
        }
    }
}
