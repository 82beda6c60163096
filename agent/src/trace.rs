//! What this host tells of traced tasks: when each step began, by one clock for the agent and its
//! children, counted from the arrival of the grant.
//!
//! Only looked at, never acted on: without a session to tell it to, it is forgotten.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use isos_base::trace::{HOST_STEPS_MAX, HostStep, HostTrace, Marks, Step};
use isos_base::wire::ToHost;
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
    jobs: BTreeMap<JobId, Vec<TaskRange>>,
    arrived: BTreeMap<(JobId, u32), Arrived>,
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
            ToHost::Job(offer) => {
                let mut book = self.book();
                book.jobs.insert(offer.job, offer.spec.traced().collect());
                if book.jobs.len() > JOBS_MAX {
                    book.jobs.pop_first();
                }
            }
            ToHost::Grant(grants) => {
                let mut book = self.book();
                let Book { jobs, arrived } = &mut *book;
                for grant in grants {
                    let Some(traced) = jobs.get(&grant.job) else { continue };
                    for both in traced.iter().flat_map(|traced| {
                        grant.ranges.iter().map(move |granted| granted.intersect(traced))
                    }) {
                        for task in both.tasks() {
                            let came = Arrived { lease: grant.lease, at: monotonic() };
                            arrived.insert((grant.job, task), came);
                        }
                    }
                    while arrived.len() > TASKS_MAX {
                        arrived.pop_first();
                    }
                }
            }
            _ => {}
        }
    }

    /// A traced task has ended: when it came. Told once.
    pub(crate) fn take(&self, job: JobId, task: u32) -> Option<Arrived> {
        self.book().arrived.remove(&(job, task))
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        // Every holder leaves the maps whole, so a poisoned lock is still good.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was seen of one execution besides the opening of its chamber.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
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
    /// The trace of one execution, sent now.
    pub(crate) fn trace(self, task: u32, opening: &[Timed], seen: Seen) -> HostTrace {
        let Seen { handed, marks, received, ready } = seen;
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
        line.until(Step::Queue, handed);
        line.until(Step::Pipe, taken);
        line.until(Step::Instantiate, begun);
        line.until(Step::Run, ran);
        line.until(Step::Collect, collected);
        line.until(Step::PipeBack, received);
        line.until(Step::HandOver, ready);
        HostTrace { lease: self.lease, task, steps: line.steps, held: self.held() }
    }

    /// For how long the grant has been here.
    pub(crate) fn held(self) -> Span {
        Span(monotonic().0.saturating_sub(self.at.0))
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
        assert_eq!((book.jobs.len(), book.arrived.len()), (JOBS_MAX, TASKS_MAX));
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
        let seen =
            |marks| Seen { handed: Span(1_800), marks, received: Span(2_500), ready: Span(2_600) };
        let told = arrived.trace(7, &opening, seen(marks(1_900, 1_950, 2_400, 2_410)));
        let steps: Vec<_> = told.steps.iter().map(|s| (s.step, s.from.0, s.length.0)).collect();
        let expected = [
            (Step::Compile, 0, 500),
            (Step::Queue, 500, 100),
            (Step::Open, 600, 100),
            (Step::Queue, 700, 100),
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
