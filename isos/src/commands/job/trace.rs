//! `isos job trace`: where a task's time went.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use isos_base::TaskId;
use isos_base::trace::{Place, TaskTrace, TraceStep};
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{End, Refusal};
use crate::report::TraceReport;
use crate::selector::JobTask;

/// Whose life.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A task (42@7, last@7); of a job (42, last), the first that is traced
    #[arg(value_name = "JOB[@TASK]")]
    pub(crate) what: JobTask,
    /// Also write it to a new file, as Chrome's and Perfetto's trace viewers read it
    #[arg(long, value_name = "FILE")]
    pub(crate) chrome: Option<PathBuf>,
}

/// Shows it.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let job = args.what.job.resolve(client).await?;
    let task = match args.what.task {
        Some(task) => task,
        None => {
            let view = client.job(job).await?;
            let first = view.spec.traced().next();
            first.ok_or_else(|| Refusal::usage("the job has no task"))?.start
        }
    };
    let trace = client.trace(TaskId { job, task }).await?;
    if let Some(path) = &args.chrome {
        let write = || -> anyhow::Result<()> {
            let mut file = std::io::BufWriter::new(std::fs::File::create_new(path)?);
            serde_json::to_writer(&mut file, &chrome(&trace))?;
            file.flush()?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    context.out.show(&TraceReport(trace))?;
    Ok(End::Ok)
}

/// The trace as complete events of Chrome's Trace Event Format: a process for the server and for
/// each execution, a thread for each place.
fn chrome(trace: &TaskTrace) -> Value {
    let id = format!("{}@{}", trace.job, trace.task);
    let mut events = named(0, &format!("task {id}"));
    events.extend(trace.steps.iter().filter_map(|step| event(0, step)));
    for (number, tried) in (1u32..).zip(&trace.tries) {
        let name = format!("host {}, lease {}", tried.host.short(), tried.lease);
        events.extend(named(number, &name));
        events.extend(tried.steps.iter().filter_map(|step| event(number, step)));
    }
    json!({ "displayTimeUnit": "ms", "traceEvents": events })
}

/// The names of a process and of its threads.
fn named(process: u32, name: &str) -> Vec<Value> {
    let of = |what: &str, thread: u32, name: &str| {
        let args = json!({ "name": name });
        json!({ "ph": "M", "name": what, "pid": process, "tid": thread, "args": args })
    };
    let places = [Place::Server, Place::Network, Place::Agent, Place::Sandbox];
    let threads = places.map(|place| of("thread_name", place as u32, place.words()));
    std::iter::once(of("process_name", 0, name)).chain(threads).collect()
}

/// A step that has ended.
fn event(process: u32, step: &TraceStep) -> Option<Value> {
    let length = step.length?;
    Some(json!({
        "ph": "X",
        "name": step.step.words(),
        "cat": step.place.words(),
        "pid": process,
        "tid": step.place as u32,
        "ts": step.from.0,
        "dur": length.0,
    }))
}
