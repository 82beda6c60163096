//! What honest hosts answer, and how long it takes them.

use isos_base::random::Random;
use isos_base::task::{Exit, Output, OutputAt, TaskResult};
use isos_base::{Fuel, JobId, Span};

/// What an honest host answers.
pub(crate) fn right_result(job: JobId, task: u32) -> TaskResult {
    let mut random = Random::new(job.0 << 32 | u64::from(task));
    let stdout = random.next_u64().to_le_bytes().to_vec();
    let output = Output { stdout, ..Output::default() };
    TaskResult {
        task,
        exit: Exit::Code(0),
        // Less than any job allows.
        fuel: Fuel((task_time(job, task).0 * 9_000).min(9_000_000_000)),
        output: OutputAt::Inline(output.encode()),
    }
}

/// The mean time of tasks of all jobs on the fastest host.
pub(crate) const TASK_MEAN: Span = Span::millis(600);

/// Time of a task on the fastest host: 20 ms to 2 s, by job and task.
pub(super) fn task_time(job: JobId, task: u32) -> Span {
    let mut random = Random::new(job.0.wrapping_mul(0x9e37) ^ u64::from(task) << 20);
    let base = 20 + 180 * (job.0 % 4);
    Span::millis(base + random.below(base * 2))
}
