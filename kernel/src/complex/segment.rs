//! Tasks that save their state: how far each run of one has come, where it goes on, and which
//! segment settles a dispute.
//!
//! Whose checkpoint may be gone on with follows from what a result is worth. A job that takes one
//! host's word takes up any. Where hosts vote, each has a chain of its own, and goes on with no
//! other host's: whoever took over a false state would vote for it, and be barred for what another
//! did.
//!
//! When two votes differ and both hosts have told roots before, the next voter is a *referee*: it
//! runs from the last checkpoint that both agree on to the end of the first segment in which they
//! differ, and its root stands for the vote of whoever gave the same. Everything else is as with
//! any vote.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use isos_base::checkpoint::{Checkpoint, Resume, Saved};
use isos_base::job::Verify;
use isos_base::record::{Change, KeptCheckpoint, Referee, SavedRecord};
use isos_base::task::TaskResult;
use isos_base::{Bytes, Fuel, HostId, JobId, LeaseId, TaskRange, limits};

use super::job::Job;
use super::stretch::next_stretch;
use super::{Complex, Effect};
use crate::verify::segments::first_difference;
use crate::verify::{Ballot, Rule, Vote};

/// Roots of one job's tasks that are held: 32 MiB. What is beyond is not taken down.
const JOB_ROOTS_MAX: usize = 1 << 20;
/// Runs of one task that are held: one that told nothing goes first, then the one that came least
/// far. More than there can be stretches to check, whose rows are small.
const RUNS_MAX: usize = 2 * limits::STRETCHES_CHECKED_MAX as usize;
/// Checkpoints of one run that are held: every other one goes when there are more.
const KEPT_MAX: usize = 8;
/// The same where stretches between them are run again: the more, the shorter these are.
const KEPT_FOR_CHECKS_MAX: usize = limits::STRETCHES_CHECKED_MAX as usize;
/// Of all of one run, but for its newest, where so many are held.
const KEPT_FOR_CHECKS_BYTES_MAX: Bytes = Bytes::mib(64);

/// Checkpoints of one run that are held, and their bytes.
const fn kept_max(verify: Verify) -> (usize, Bytes) {
    match verify {
        Verify::Checkpoint { .. } => (KEPT_FOR_CHECKS_MAX, KEPT_FOR_CHECKS_BYTES_MAX),
        _ => (KEPT_MAX, Bytes(u64::MAX)),
    }
}

/// What a job's tasks have saved, those that are not decided.
#[derive(Debug, Default)]
pub(super) struct Chains {
    runs: BTreeMap<u32, Vec<SavedRecord>>,
    /// Roots in all of them.
    roots: usize,
    /// Where tasks were granted to go on, and with how much fuel used.
    resumed: BTreeMap<(u32, LeaseId), Fuel>,
    /// Tasks with runs that were decided in this step.
    decided: Vec<u32>,
    /// Whether there ever was one: then rows are to be dropped when the job ends.
    pub(super) used: bool,
}

impl Chains {
    /// The run of a task under a lease.
    pub(super) fn run(&self, lease: LeaseId, task: u32) -> Option<&SavedRecord> {
        self.runs.get(&task)?.iter().find(|run| run.lease == lease)
    }

    /// All runs of a task.
    pub(super) fn runs(&self, task: u32) -> &[SavedRecord] {
        self.runs.get(&task).map_or(&[], Vec::as_slice)
    }

    /// Takes a run down instead of what was known of it; gives what had to go for it.
    fn put(&mut self, run: SavedRecord) -> Option<SavedRecord> {
        self.used = true;
        let runs = self.runs.entry(run.task).or_default();
        self.roots += run.roots.len();
        if let Some(known) = runs.iter_mut().find(|known| known.lease == run.lease) {
            self.roots -= known.roots.len();
            *known = run;
            return None;
        }
        runs.push(run);
        if runs.len() <= RUNS_MAX {
            return None;
        }
        let use_of = |run: &SavedRecord| match run.roots.is_empty() {
            true => (false, run.lease.0),
            false => (true, run.fuel.0),
        };
        let least = (0..runs.len() - 1).min_by_key(|&place| use_of(&runs[place]))?;
        let gone = runs.remove(least);
        self.roots -= gone.roots.len();
        Some(gone)
    }

    /// A task was decided: what it has saved is forgotten at the end of the step.
    pub(super) fn decide(&mut self, task: u32) {
        if self.runs.contains_key(&task) {
            self.decided.push(task);
        }
    }

    /// The newest checkpoint of these runs, of so many segments at the most.
    fn newest<'a>(
        runs: impl IntoIterator<Item = &'a SavedRecord>,
        segments_max: u32,
    ) -> Option<Checkpoint> {
        let kept = runs.into_iter().flat_map(|run| run.kept.iter().map(move |kept| (run, kept)));
        let (run, kept) = kept
            .filter(|(_, kept)| kept.segments <= segments_max)
            .max_by_key(|(_, kept)| kept.segments)?;
        let guid = *run.roots.get(kept.segments.checked_sub(1)? as usize)?;
        Some(Checkpoint { guid, size: kept.size, fuel: kept.fuel })
    }

    /// Tasks that have saved something.
    pub(super) fn tasks(&self) -> impl Iterator<Item = u32> {
        self.runs.keys().copied()
    }

    pub(super) fn check_invariants(&self) {
        let roots: usize = self.runs.values().flatten().map(|run| run.roots.len()).sum();
        assert_eq!(roots, self.roots, "roots held");
        assert!(self.runs.values().all(|runs| !runs.is_empty() && runs.len() <= RUNS_MAX));
        assert!(self.runs.values().flatten().all(|run| run.kept.len() <= KEPT_FOR_CHECKS_MAX));
    }
}

/// A part of a task that shows which of two votes is wrong.
#[derive(Debug, PartialEq, Eq)]
struct Dispute {
    /// The first segment in which they differ; behind the last if they differ only in what is left.
    segment: u32,
    from: Option<Checkpoint>,
    /// Nothing when the end itself is in dispute.
    until: Option<u32>,
}

/// What would settle which of the votes is right, if roots can tell.
fn dispute(chains: &Chains, ballot: &Ballot, task: u32) -> Option<Dispute> {
    let run = |vote: &Vote| chains.run(vote.lease, task).filter(|run| !run.roots.is_empty());
    let first = ballot.votes.first()?;
    let other = ballot.votes.iter().find(|vote| vote.digest != first.digest)?;
    let (one, other) = (run(first)?, run(other)?);
    // A referee has found a third state: then only whole runs tell anything.
    if chains.runs(task).iter().any(|run| finds_neither(chains, ballot, run)) {
        return None;
    }
    let differs = first_difference(&one.roots, &other.roots);
    let segment = u32::try_from(differs.unwrap_or(one.roots.len())).ok()?;
    let from = Chains::newest([one, other], segment);
    Some(Dispute { segment, from, until: differs.map(|_| segment + 1) })
}

/// The vote that a referee's root stands for.
pub(super) fn found_right<'a>(
    chains: &Chains,
    ballot: &'a Ballot,
    run: &SavedRecord,
    segment: u32,
) -> Option<&'a Vote> {
    let root = run.roots.get(segment as usize)?;
    ballot.votes.iter().find(|vote| {
        let voted = chains.run(vote.lease, run.task);
        voted.is_some_and(|voted| voted.roots.get(segment as usize) == Some(root))
    })
}

fn finds_neither(chains: &Chains, ballot: &Ballot, run: &SavedRecord) -> bool {
    run.referee.is_some_and(|referee| {
        run.roots.len() > referee.segment as usize
            && found_right(chains, ballot, run, referee.segment).is_none()
    })
}

impl Complex {
    /// A host says how far a task has come. What contradicts what it said before is not taken down:
    /// roots are given once.
    pub(super) fn task_saved(&mut self, host: HostId, saved: Saved, effects: &mut Vec<Effect>) {
        let (id, task) = (saved.lease, saved.task);
        let Some(lease) = self.leases.get(&id) else { return };
        let job_id = lease.record.job;
        if lease.record.host != host || !lease.out.contains(task) {
            return;
        }
        let Some(job) = self.jobs.get_mut(&job_id).filter(|job| job.is_open(task)) else { return };
        if !saved.is_plausible(job.record.spec.fuel) {
            let why = format!("host {} tells impossible checkpoints", host.short());
            effects.push(Effect::Say(why));
            return;
        }
        let Saved { fuel, roots, kept, .. } = saved;
        let known = job.chains.run(id, task);
        let before = known.map_or(&[][..], |run| &run.roots[..]);
        let more = roots.len() - before.len().min(roots.len());
        // There is always room for what parts find.
        let most = match known.is_some_and(|run| run.referee.is_some()) {
            true => JOB_ROOTS_MAX,
            false => JOB_ROOTS_MAX / 4 * 3,
        };
        if !roots.starts_with(before) || job.chains.roots + more > most {
            return;
        }
        let segments = roots.len() as u32;
        let mut all = known.map_or_else(Vec::new, |run| run.kept.clone());
        if let Some(size) = kept
            && all.last().is_none_or(|last| last.segments < segments)
        {
            all.push(KeptCheckpoint { segments, size, fuel });
            let bytes = all.iter().fold(Bytes::ZERO, |sum, kept| sum + kept.size);
            let (most, bytes_max) = kept_max(job.record.spec.verify);
            if all.len() > most || bytes > bytes_max {
                let mut nth = all.len();
                // The newest stays, and of the others every other one.
                all.retain(|_| {
                    nth -= 1;
                    nth % 2 == 0
                });
            }
        }
        let referee = known.and_then(|run| run.referee);
        let run =
            SavedRecord { lease: id, task, job: job_id, host, fuel, roots, kept: all, referee };
        self.take_down(run, effects);
    }

    pub(super) fn take_down(&mut self, run: SavedRecord, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&run.job) else { return };
        effects.push(Effect::Keep(Change::Saved(Box::new(run.clone()))));
        if let Some(gone) = job.chains.put(run) {
            effects.push(Effect::Keep(Change::Saved(Box::new(emptied(gone)))));
        }
        self.dirty_jobs.insert(job.record.id);
    }

    /// Which of the tasks of a new lease are not to be run as a whole.
    pub(super) fn resumes(
        &mut self,
        lease: LeaseId,
        job_id: JobId,
        host: HostId,
        ranges: &[TaskRange],
        effects: &mut Vec<Effect>,
    ) -> Vec<Resume> {
        let mut resumes = Vec::new();
        let mut referees = Vec::new();
        let secret = self.config.check_secret;
        let Some(job) = self.jobs.get_mut(&job_id) else { return resumes };
        let Job { chains, ballots, record, .. } = job;
        let verify = record.spec.verify;
        let trusts = matches!(verify, Verify::Trusted);
        for range in ranges {
            let saved = chains.runs.range(range.start..range.end);
            for task in saved.map(|(&task, _)| task).collect::<Vec<_>>() {
                let ballot = ballots.get(&task);
                let mut part = |referee: Referee| {
                    let (fuel, roots, kept) = (referee.fuel, Vec::new(), Vec::new());
                    let (job, referee) = (job_id, Some(referee));
                    referees.push(SavedRecord {
                        lease,
                        task,
                        job,
                        host,
                        fuel,
                        roots,
                        kept,
                        referee,
                    });
                };
                let stretch = |ballot| next_stretch(secret, verify, chains, task, ballot);
                let (from, until) = if let Some(Dispute { segment, from, until }) =
                    ballot.and_then(|it| dispute(chains, it, task))
                {
                    let fuel = from.map_or(Fuel(0), |from| from.fuel);
                    part(Referee { segment, fuel });
                    (from, until)
                } else if let Some(stretch) = ballot.and_then(stretch) {
                    part(stretch.referee());
                    // Who is told no end may begin with a checkpoint of its own.
                    (stretch.from, Some(stretch.until.unwrap_or(u32::MAX)))
                } else {
                    let mine = |run: &&SavedRecord| trusts || run.host == host;
                    let own = chains.runs(task).iter().filter(mine);
                    // Who has run a part for others has not run what came before it.
                    let own = own.filter(|run| run.referee.is_none());
                    (Chains::newest(own, u32::MAX), None)
                };
                if let Some(from) = from {
                    chains.resumed.insert((task, lease), from.fuel);
                }
                if from.is_some() || until.is_some() {
                    resumes.push(Resume { lease, task, from, until });
                }
            }
        }
        for referee in referees {
            self.take_down(referee, effects);
        }
        resumes
    }

    /// A result as it counts: that of a referee is the vote of whom it finds right.
    ///
    /// # Errors
    /// Why it is no answer, in words.
    pub(super) fn refereed(
        &self,
        lease: LeaseId,
        job: JobId,
        result: TaskResult,
    ) -> Result<TaskResult, String> {
        let task = result.task;
        let Some(job) = self.jobs.get(&job) else { return Ok(result) };
        let run = job.chains.run(lease, task);
        let Some((run, referee)) = run.and_then(|run| Some((run, run.referee?))) else {
            return Ok(result);
        };
        if let Some(Rule::Checkpoint { .. }) = job.rule() {
            return Self::stretch_answer(job, run, referee, result);
        }
        match run.roots.len().cmp(&(referee.segment as usize)) {
            Ordering::Less => Err("a referee has told no roots".into()),
            // It came to the end: an answer of its own.
            Ordering::Equal => Ok(result),
            Ordering::Greater => {
                // Decided meanwhile: it is late, whatever it says.
                let Some(ballot) = job.ballots.get(&task) else { return Ok(result) };
                let right = found_right(&job.chains, ballot, run, referee.segment);
                // What it answers is no result, so it must not become one by two that say the same.
                let right = right.ok_or("a referee found neither of two votes right")?;
                Ok(right.result.clone())
            }
        }
    }

    /// The work behind a right vote: of a referee its part.
    pub(super) fn fuel_of(&self, job: JobId, task: u32, vote: &Vote) -> Fuel {
        let run = self.jobs.get(&job).and_then(|job| job.chains.run(vote.lease, task));
        let Some((run, referee)) = run.and_then(|run| Some((run, run.referee?))) else {
            return vote.result.fuel;
        };
        let part = run.roots.len() > referee.segment as usize;
        let end = if part { run.fuel } else { vote.result.fuel };
        Fuel(end.0.saturating_sub(referee.fuel.0).min(vote.result.fuel.0))
    }
}

impl Job {
    /// Takes over what the database knows of a run.
    pub(super) fn restore_saved(&mut self, run: SavedRecord) {
        self.chains.used = true;
        let of_use = !run.roots.is_empty() || run.referee.is_some();
        if of_use && self.is_open(run.task) {
            self.chains.put(run);
        }
    }

    /// Forgets all runs of a task, one of which was made up.
    pub(super) fn forget_runs(&mut self, task: u32, effects: &mut Vec<Effect>) {
        for run in self.chains.runs.remove(&task).unwrap_or_default() {
            self.chains.roots -= run.roots.len();
            effects.push(Effect::Keep(Change::Saved(Box::new(emptied(run)))));
        }
        let of_task = (task, LeaseId(0))..=(task, LeaseId(u64::MAX));
        let gone: Vec<_> = self.chains.resumed.range(of_task).map(|(key, _)| *key).collect();
        for key in gone {
            self.chains.resumed.remove(&key);
        }
    }

    /// Forgets what decided tasks have saved.
    pub(super) fn forget_saved(&mut self, effects: &mut Vec<Effect>) {
        for task in std::mem::take(&mut self.chains.decided) {
            // Taken back in the same step: it is open again.
            if !self.is_open(task) {
                self.forget_runs(task, effects);
            }
        }
    }

    /// How far a task has come under a lease, in words.
    pub(super) fn saved_text(&self, lease: LeaseId, task: u32) -> Option<String> {
        let share = |fuel: Fuel| {
            let all = self.record.spec.fuel;
            let percent = u128::from(fuel.0) * 100 / u128::from(all.0.max(1));
            format!("{percent} % ({fuel} of at most {all} fuel)")
        };
        let resumed = self.chains.resumed.get(&(task, lease));
        let run = self.chains.run(lease, task);
        let mut parts = Vec::new();
        if let Some(&fuel) = resumed {
            parts.push(format!("resumed from {}", share(fuel)));
        }
        if let Some(run) = run.filter(|run| !run.roots.is_empty()) {
            let segments = run.roots.len();
            parts.push(format!("has saved {segments} segments, the last at {}", share(run.fuel)));
        }
        if let Some(referee) = run.and_then(|run| run.referee) {
            parts.push(self.part_text(task, referee));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// The newest checkpoint of a task that is there, in words.
    pub(super) fn checkpoint_text(&self, task: u32) -> Option<String> {
        let kept = Chains::newest(self.chains.runs(task), u32::MAX)?;
        let all = self.record.spec.fuel;
        let percent = u128::from(kept.fuel.0) * 100 / u128::from(all.0.max(1));
        Some(format!("at {percent} % ({} of at most {all} fuel, {})", kept.fuel, kept.size))
    }
}

/// A row that is of no use any more.
fn emptied(run: SavedRecord) -> SavedRecord {
    SavedRecord { roots: Vec::new(), kept: Vec::new(), referee: None, ..run }
}
