//! `isos slice run`: one program on every host of a slice, what each prints as it ends, and how all
//! of them did.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use isos_base::api::{JobView, SliceView};
use isos_base::job::Verify;
use isos_base::task::Output;
use isos_base::{Bytes, Fuel, MicroCredits, Span};
use isos_sdk::{Client, Outcome, Tasks, Wanted};

use crate::commands::fresh_key;
use crate::commands::job::wait::end_of;
use crate::context::Context;
use crate::exit::End;
use crate::job_options::{JobOptions, variable};
use crate::output::{Mode, clean};
use crate::progress::UploadMeter;
use crate::report::{RankReport, SliceRunReport};

/// What to run, on which slice, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The slice
    #[arg(value_name = "NAME")]
    slice: String,
    /// The program: a WebAssembly file (WASI); it finds its host's rank in ISOS_RANK and how many
    /// hosts there are in ISOS_SIZE
    #[arg(value_name = "PROGRAM.wasm")]
    program: PathBuf,
    /// A name for people [default: the program's]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A file or folder that every host sees under /in, or where :PATH says
    #[arg(long, value_name = "PATH[:PATH]")]
    input: Vec<String>,
    /// A variable of the program's environment
    #[arg(long, value_name = "K=V", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Memory on each host, such as 512MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Work that the program may do on each host, such as 20G [default: 100G]
    #[arg(long, value_name = "N")]
    fuel: Option<Fuel>,
    /// Time that it may take on each host, such as 90s or 1h [default: 10m]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// Output on each host: stdout, stderr and /out together [default: 16MiB]
    #[arg(long, value_name = "SIZE")]
    output: Option<Bytes>,
    /// How often a host tries when it fails itself [default: 5]
    #[arg(long, value_name = "N")]
    attempts: Option<u8>,
    /// The most that all of it may cost
    #[arg(long, value_name = "CREDITS")]
    max_price: Option<MicroCredits>,
    /// The most that it pays for a gigafuel, in micro-credits, where a market makes the price
    /// [default: twice the price of now]
    #[arg(long, value_name = "N")]
    bid: Option<u32>,
    /// Arguments of the program; {task} is the host's rank, {tasks} how many hosts there are
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

/// Submits, follows and tells.
pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<End> {
    let client = context.client()?;
    let slice = client.slice(&args.slice).await?;
    let job = submit(args, &slice, context).await?;
    let id = job.id;
    context.out.note(&format!("job {id} runs on {}", SliceRunReport::on(&slice)));
    context.goes_on(vec![
        format!("job {id} goes on; watch it: isos job wait {id}"),
        format!("stop it: isos job cancel {id}"),
    ]);
    let mut told = Told { names: Names::of(&slice), ranks: BTreeMap::new() };
    let mut events = client.events(id);
    let mut last = job;
    while let Some(view) = events.next().await? {
        told.news(client, &view, context).await?;
        last = view;
    }
    told.news(client, &last, context).await?;
    context.goes_on(Vec::new());
    let ranks = told.all(&last, &slice);
    let report = SliceRunReport { slice: slice.name.clone(), job: id, ranks };
    let end = end_of(&last);
    if context.out.mode() != Mode::Quiet {
        context.out.show(&report)?;
    }
    if end != End::Ok {
        context.out.note(&format!("why: isos explain {id}, isos slice show {}", slice.name));
    }
    Ok(end)
}

async fn submit(args: Args, slice: &SliceView, context: &Context) -> anyhow::Result<JobView> {
    let options = JobOptions {
        program: Some(args.program),
        name: args.name,
        input: args.input,
        env: args.env,
        memory: args.memory,
        fuel: args.fuel,
        timeout: args.timeout,
        output: args.output,
        attempts: args.attempts,
        max_price: args.max_price,
        bid: args.bid,
        args: args.args,
        // Each host's own answer is wanted.
        verify: Some(Verify::Trusted),
        ..JobOptions::default()
    };
    let mut submission = options.submission()?;
    submission.tasks = Tasks::Count(u32::try_from(slice.slivers.len()).unwrap_or(u32::MAX));
    submission.slice = Some(slice.name.clone());
    let prepared = tokio::task::spawn_blocking(move || submission.prepare())
        .await
        .context("reading the inputs failed")??;
    let meter = UploadMeter::new(&context.out);
    let job = prepared.submit(context.client()?, Some(fresh_key()?), |now| meter.at(now)).await?;
    meter.finish();
    Ok(job)
}

/// What the hosts of a slice are called, by rank.
struct Names(Vec<String>);

impl Names {
    /// Their names; where two have one, with their ranks.
    fn of(slice: &SliceView) -> Self {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        for sliver in &slice.slivers {
            *count.entry(&sliver.name).or_default() += 1;
        }
        let name = |sliver: &isos_base::api::SliverView| match count[sliver.name.as_str()] {
            1 => clean(&sliver.name).into_owned(),
            _ => format!("{}#{}", clean(&sliver.name), sliver.rank),
        };
        Self(slice.slivers.iter().map(name).collect())
    }

    fn get(&self, rank: u32) -> String {
        self.0.get(rank as usize).cloned().unwrap_or_else(|| format!("rank {rank}"))
    }
}

/// What was told, by rank.
struct Told {
    names: Names,
    ranks: BTreeMap<u32, RankReport>,
}

impl Told {
    /// Tells of those that have ended since the last time.
    async fn news(
        &mut self,
        client: &Client,
        job: &JobView,
        context: &Context,
    ) -> anyhow::Result<()> {
        let ended = job.tasks.done + job.tasks.failed + job.tasks.given_up;
        if ended as usize <= self.ranks.len() {
            return Ok(());
        }
        // Who has ended is cheap to ask; what each printed is fetched once.
        let mut results = client.results(job.id, false, Wanted::All).await?;
        let mut fresh = Vec::new();
        while let Some(outcome) = results.next().await? {
            if !self.ranks.contains_key(&outcome.accepted.task) {
                fresh.push(outcome.accepted.task);
            }
        }
        for rank in fresh {
            let mut results = client.results(job.id, true, Wanted::Task(rank)).await?;
            while let Some(outcome) = results.next().await? {
                self.tell(&outcome, context)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, outcome: &Outcome, context: &Context) -> anyhow::Result<()> {
        let rank = outcome.accepted.task;
        let name = self.names.get(rank);
        let empty = Output::default();
        let output = outcome.output.as_ref().unwrap_or(&empty);
        if context.out.mode() != Mode::Json {
            context.out.bytes(&prefixed(&name, &output.stdout))?;
            let errors = prefixed(&name, &output.stderr);
            let errors = String::from_utf8_lossy(&errors).into_owned();
            errors.lines().for_each(|line| context.out.note(&clean(line)));
        }
        self.ranks.insert(rank, RankReport::of(name, outcome));
        Ok(())
    }

    /// All ranks: tasks that were given up together have no results.
    fn all(mut self, job: &JobView, slice: &SliceView) -> Vec<RankReport> {
        let why = job.why.clone().unwrap_or_else(|| "given up".into());
        for sliver in &slice.slivers {
            let name = self.names.get(sliver.rank);
            let none = || RankReport::none(sliver.rank, sliver.host, name, why.clone());
            self.ranks.entry(sliver.rank).or_insert_with(none);
        }
        self.ranks.into_values().collect()
    }
}

/// Each line with the host's name in front.
fn prefixed(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + name.len() + 2);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            text.push(b'\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_with_the_name_of_the_host() {
        assert_eq!(prefixed("host-1", b"one\ntwo"), b"host-1: one\nhost-1: two\n");
        assert_eq!(prefixed("host-1", b""), b"");
    }
}
