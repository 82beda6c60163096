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

use isos_base::checkpoint::{Checkpoint, Resume, Saved, chain_of};
use isos_base::job::Verify;
use isos_base::record::{Change, KeptCheckpoint, Referee, Resumed, SavedRecord};
use isos_base::task::TaskResult;
use isos_base::{Bytes, Fuel, Guid, HostId, JobId, LeaseId, TaskRange, limits};

use super::job::Job;
use super::roots::{Roots, room_of, room_of_part};
use super::same::{are_same, fuel_by, parting, rises};
use super::stretch::next_stretch;
use super::{Complex, Effect};
use crate::verify::{Ballot, Rule, Vote};

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
    roots: Roots,
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

    /// The same if it is one of a part, and of which.
    pub(super) fn part(&self, lease: LeaseId, task: u32) -> Option<(&SavedRecord, Referee)> {
        let run = self.run(lease, task)?;
        Some((run, run.referee?))
    }

    /// All runs of a task.
    pub(super) fn runs(&self, task: u32) -> &[SavedRecord] {
        self.runs.get(&task).map_or(&[], Vec::as_slice)
    }

    /// Takes a run down instead of what was known of it; gives what had to go for it.
    fn put(&mut self, run: SavedRecord) -> Option<SavedRecord> {
        self.used = true;
        let runs = self.runs.entry(run.task).or_default();
        self.roots.add(&run);
        if let Some(known) = runs.iter_mut().find(|known| known.lease == run.lease) {
            self.roots.drop(known);
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
        self.roots.drop(&gone);
        Some(gone)
    }

    /// Takes the run of a task under a lease out.
    fn take(&mut self, lease: LeaseId, task: u32) -> Option<SavedRecord> {
        let runs = self.runs.get_mut(&task)?;
        let gone = runs.remove(runs.iter().position(|run| run.lease == lease)?);
        if runs.is_empty() {
            self.runs.remove(&task);
        }
        self.roots.drop(&gone);
        Some(gone)
    }

    /// Whether a part is of another run than the one that is in question now.
    pub(super) fn is_of_another(&self, lease: LeaseId, task: u32, whole: LeaseId) -> bool {
        let of = self.part(lease, task).and_then(|(_, referee)| referee.of);
        of.is_some_and(|of| of != whole)
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
        Self::newest_of(runs, segments_max).map(|(_, from)| from)
    }

    /// The same, and of which run it is.
    fn newest_of<'a>(
        runs: impl IntoIterator<Item = &'a SavedRecord>,
        segments_max: u32,
    ) -> Option<(Resumed, Checkpoint)> {
        let kept = runs.into_iter().flat_map(|run| run.kept.iter().map(move |kept| (run, kept)));
        let (run, kept) = kept
            .filter(|(_, kept)| kept.segments <= segments_max)
            .max_by_key(|(_, kept)| kept.segments)?;
        let guid = *run.roots.get(kept.segments.checked_sub(1)? as usize)?;
        let resumed = Resumed { lease: run.lease, segments: kept.segments, fuel: kept.fuel };
        Some((resumed, Checkpoint { guid, size: kept.size, fuel: kept.fuel }))
    }

    /// The roots up to a checkpoint, as whoever saved it has told them.
    fn chain(&self, task: u32, guid: Guid) -> Option<Guid> {
        self.runs(task).iter().find_map(|run| {
            let kept = run.kept.iter().filter_map(|kept| run.roots.get(..kept.segments as usize));
            let mut upto = kept.filter(|roots| roots.last() == Some(&guid));
            upto.next().map(chain_of)
        })
    }

    /// Whether one of these hosts was to run this very part.
    fn had_part(&self, task: u32, hosts: &[HostId], part: Referee) -> bool {
        let runs = self.runs(task).iter();
        let same = |run: &&SavedRecord| run.referee.is_some_and(|it| it.is_same_part(&part));
        runs.filter(same).any(|run| hosts.contains(&run.host))
    }

    /// Of these tasks, those of which there are runs.
    pub(super) fn tasks_in(&self, range: TaskRange) -> impl Iterator<Item = u32> {
        self.runs.range(range.start..range.end).map(|(&task, _)| task)
    }

    /// Tasks that have saved something.
    pub(super) fn tasks(&self) -> impl Iterator<Item = u32> {
        self.runs.keys().copied()
    }

    pub(super) fn check_invariants(&self) {
        self.roots.check(self.runs.values().flatten());
        assert!(self.runs.values().all(|runs| !runs.is_empty() && runs.len() <= RUNS_MAX));
        assert!(self.runs.values().flatten().all(|run| run.kept.len() <= KEPT_FOR_CHECKS_MAX));
    }
}

/// A part of a task that shows which of two votes is wrong.
#[derive(Debug, PartialEq, Eq)]
struct Dispute {
    /// The first segment in which they differ; [`Referee::TO_END`] if they differ only in what is
    /// left, or that is all that can be known.
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
    // A referee has found a third state: then only whole runs tell anything. What was found of a
    // run that is in question no more is another matter.
    let of = ballot.whole().map(|whole| whole.lease);
    let is_of_this =
        |run: &&SavedRecord| of.is_none_or(|whole| !chains.is_of_another(run.lease, task, whole));
    if chains.runs(task).iter().filter(is_of_this).any(|run| finds_neither(chains, ballot, run)) {
        return None;
    }
    // Where one list is the beginning of the other, its run may have ended there, or there was no
    // room for more of it: then what both have said settles nothing, and the end is looked at.
    let Some(segment) = parting(one, other) else {
        let common = one.roots.len().min(other.roots.len());
        let from = Chains::newest([one, other], u32::try_from(common).ok()?);
        return Some(Dispute { segment: Referee::TO_END, from, until: None });
    };
    let from = Chains::newest([one, other], segment);
    Some(Dispute { segment, from, until: Some(segment + 1) })
}

/// The vote that a referee's root stands for, with the fuel at its end. The two that are in dispute
/// come first: a third may have told the roots of the one and voted for what the other says, so
/// that whoever proves the one right would be taken to be for the other.
pub(super) fn found_right<'a>(
    chains: &Chains,
    ballot: &'a Ballot,
    run: &SavedRecord,
    segment: u32,
) -> Option<&'a Vote> {
    let first = ballot.votes.first()?;
    let other = ballot.votes.iter().find(|vote| vote.digest != first.digest);
    std::iter::once(first).chain(other).chain(&ballot.votes).find(|vote| {
        let voted = chains.run(vote.lease, run.task);
        voted.is_some_and(|voted| are_same(run, voted, segment) == Some(true))
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
        let more = roots.len().saturating_sub(known.map_or(0, room_of));
        let part = known.is_some_and(|run| run.referee.is_some());
        if !roots.starts_with(before) || !job.chains.roots.have_room(host, more, part) {
            return;
        }
        let limit = job.record.spec.fuel;
        if known.is_some_and(|known| !rises(known, roots.len(), fuel, limit)) {
            let why = format!("host {} tells fuel that does not rise", host.short());
            effects.push(Effect::Say(why));
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
        let (referee, resumed) = known.map_or((None, None), |run| (run.referee, run.resumed));
        let (lease, job, kept) = (id, job_id, all);
        let run = SavedRecord { lease, task, job, host, fuel, roots, kept, referee, resumed };
        self.take_down(run, effects);
    }

    pub(super) fn take_down(&mut self, run: SavedRecord, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&run.job) else { return };
        effects.push(Effect::Keep(Change::Saved(Box::new(run.clone()))));
        let gone = job.chains.put(run);
        self.dirty_jobs.insert(job.record.id);
        if let Some(gone) = gone {
            let (lease, task) = (gone.lease, gone.task);
            effects.push(Effect::Keep(Change::Saved(Box::new(emptied(gone)))));
            self.stop_waiting(lease, task, effects);
        }
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
        let (mut begun, mut set_aside) = (Vec::new(), 0);
        let secret = self.config.check_secret;
        let Some(job) = self.jobs.get_mut(&job_id) else { return resumes };
        let Job { chains, ballots, record, faults, .. } = job;
        let verify = record.spec.verify;
        let trusts = matches!(verify, Verify::Trusted);
        let checks = matches!(verify, Verify::Checkpoint { .. });
        for range in ranges {
            let saved = chains.runs.range(range.start..range.end);
            for task in saved.map(|(&task, _)| task).collect::<Vec<_>>() {
                let ballot = ballots.get(&task);
                let of = ballot.and_then(Ballot::whole).map(|whole| whole.lease);
                let failed = faults.get(&task).map_or(&[][..], Vec::as_slice);
                // What another has saved may be why a host failed.
                let is_good = |part| !chains.had_part(task, failed, part);
                let run = |fuel, referee, resumed| SavedRecord {
                    lease,
                    task,
                    job: job_id,
                    host,
                    fuel,
                    roots: Vec::new(),
                    kept: Vec::new(),
                    referee,
                    resumed,
                };
                let mut part =
                    |referee: Referee| begun.push(run(referee.fuel, Some(referee), None));
                let stretch = |ballot| next_stretch(secret, verify, chains, task, ballot);
                // Without room for what it would tell, it runs all of the task.
                let fits =
                    |segment| chains.roots.have_room(host, set_aside + room_of_part(segment), true);
                let (from, until) = if let Some(Dispute { segment, from, until }) =
                    ballot.and_then(|it| dispute(chains, it, task)).filter(|it| fits(it.segment))
                {
                    set_aside += room_of_part(segment);
                    let fuel = from.map_or(Fuel(0), |from| from.fuel);
                    let referee = Referee { segment, fuel, of };
                    let no_end = from.map(|_| u32::MAX).filter(|_| checks);
                    // Who is to run all of it gives a result of its own.
                    if from.is_some() || until.is_some() {
                        part(referee);
                    }
                    (from.filter(|_| is_good(referee)), until.or(no_end))
                } else if let Some(stretch) =
                    ballot.and_then(stretch).filter(|it| fits(it.referee(of).segment))
                {
                    set_aside += room_of_part(stretch.referee(of).segment);
                    part(stretch.referee(of));
                    // Who is told no end may begin with a checkpoint of its own.
                    let from = stretch.from.filter(|_| is_good(stretch.referee(of)));
                    (from, Some(stretch.until.unwrap_or(u32::MAX)))
                } else {
                    let mine = |run: &&SavedRecord| trusts || run.host == host;
                    let own = chains.runs(task).iter().filter(mine);
                    // Who has run a part for others has not run what came before it.
                    let own = own.filter(|run| run.referee.is_none());
                    let newest = Chains::newest_of(own, u32::MAX);
                    let resumed = newest.map(|(resumed, _)| resumed);
                    begun.extend(resumed.map(|resumed| run(Fuel(0), None, Some(resumed))));
                    (newest.map(|(_, from)| from), None)
                };
                if let Some(from) = from {
                    chains.resumed.insert((task, lease), from.fuel);
                }
                if from.is_some() || until.is_some() {
                    let chain = from.and_then(|from| chains.chain(task, from.guid));
                    resumes.push(Resume { lease, task, from, until, chain });
                }
            }
        }
        for run in begun {
            self.take_down(run, effects);
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
        let Some(run) = job.chains.run(lease, task) else { return Ok(result) };
        let Some(referee) = run.referee else {
            if !run.roots.is_empty() && result.fuel < run.fuel {
                return Err(format!("it claims {} fuel and has saved {}", result.fuel, run.fuel));
            }
            return Ok(result);
        };
        if let Some(Rule::Checkpoint { .. }) = job.rule() {
            return Self::stretch_answer(job, run, referee, result);
        }
        match run.roots.len().cmp(&(referee.segment as usize)) {
            _ if referee.segment == Referee::TO_END => Ok(result),
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

    /// The work behind a right vote: of a part what was done of it, no more than any that ran it as
    /// well has told; if none did, than who is in question told before.
    pub(super) fn fuel_of(&self, job: JobId, task: u32, vote: &Vote) -> Fuel {
        let Some(job) = self.jobs.get(&job) else { return vote.work };
        let Some((run, referee)) = job.chains.part(vote.lease, task) else { return vote.work };
        let (segment, limit) = (referee.segment, job.record.spec.fuel);
        let others = || job.chains.runs(task).iter().filter(|other| other.lease != run.lease);
        let end = if run.roots.len() > segment as usize {
            let same = others().filter(|other| are_same(run, other, segment) == Some(true));
            let wholes = others().filter(|other| other.referee.is_none());
            let of_same = same.filter_map(|other| fuel_by(other, segment, limit)).min();
            of_same.or_else(|| wholes.filter_map(|it| fuel_by(it, segment, limit)).max())
        } else {
            job.ballots.get(&task).and_then(Ballot::whole).map(|whole| whole.result.fuel)
        };
        let most = end.map_or(vote.work, |end| Fuel(end.0.saturating_sub(referee.fuel.0)));
        vote.work.min(most)
    }
}

impl Job {
    /// The most that a result is paid for: of a part what its host says that it did.
    pub(super) fn work_of(&self, lease: LeaseId, result: &TaskResult) -> Fuel {
        let Some((run, referee)) = self.chains.part(lease, result.task) else { return result.fuel };
        let told = run.roots.len() > referee.segment as usize;
        let end = if told { run.fuel } else { result.fuel };
        Fuel(end.0.saturating_sub(referee.fuel.0)).min(result.fuel)
    }

    /// Takes over what the database knows of a run.
    pub(super) fn restore_saved(&mut self, run: SavedRecord) {
        self.chains.used = true;
        let of_use = !run.roots.is_empty() || run.referee.is_some() || run.resumed.is_some();
        if of_use && self.is_open(run.task) {
            self.chains.put(run);
        }
    }

    /// Forgets all runs of a task, one of which was made up.
    pub(super) fn forget_runs(&mut self, task: u32, effects: &mut Vec<Effect>) {
        for run in self.chains.runs.remove(&task).unwrap_or_default() {
            self.chains.roots.drop(&run);
            effects.push(Effect::Keep(Change::Saved(Box::new(emptied(run)))));
        }
        let of_task = (task, LeaseId(0))..=(task, LeaseId(u64::MAX));
        let gone: Vec<_> = self.chains.resumed.range(of_task).map(|(key, _)| *key).collect();
        for key in gone {
            self.chains.resumed.remove(&key);
        }
    }

    /// Forgets all runs of a task but those of parts that somebody is at: else what they answer
    /// would read as a whole result.
    pub(super) fn forget_idle_runs(&mut self, task: u32, effects: &mut Vec<Effect>) {
        let asked = self.ballots.get(&task).map_or(&[][..], |ballot| &ballot.asked);
        let idle = |run: &&SavedRecord| run.referee.is_none() || !asked.contains(&run.host);
        let idle = self.chains.runs(task).iter().filter(idle).map(|run| run.lease);
        self.forget_runs_under(task, idle.collect(), effects);
    }

    /// Forgets what a host that was caught has told of a task.
    pub(super) fn forget_runs_of(&mut self, task: u32, host: HostId, effects: &mut Vec<Effect>) {
        let own = self.chains.runs(task).iter().filter(|run| run.host == host);
        self.forget_runs_under(task, own.map(|run| run.lease).collect(), effects);
    }

    fn forget_runs_under(&mut self, task: u32, leases: Vec<LeaseId>, effects: &mut Vec<Effect>) {
        for lease in leases {
            if let Some(gone) = self.chains.take(lease, task) {
                effects.push(Effect::Keep(Change::Saved(Box::new(emptied(gone)))));
            }
        }
    }

    /// Forgets the runs of a task under these leases, whose votes are out of the ballot; but not
    /// those that were right and that a vote which is left has the same as. Any other would read as
    /// if there were a third answer, and nobody would look for the segment that settles the next
    /// dispute.
    pub(super) fn forget_dismissed(
        &mut self,
        task: u32,
        dismissed: &[(LeaseId, bool)],
        effects: &mut Vec<Effect>,
    ) {
        let empty = Ballot::default();
        let ballot = self.ballots.get(&task).unwrap_or(&empty);
        let keeps = |&&(lease, right): &&(LeaseId, bool)| {
            let run = self.chains.run(lease, task);
            run.is_some_and(|run| right && !finds_neither(&self.chains, ballot, run))
        };
        let gone = dismissed.iter().filter(|it| !keeps(it)).map(|&(lease, _)| lease);
        self.forget_runs_under(task, gone.collect(), effects);
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
        let run = self.chains.run(lease, task);
        let resumed = run.and_then(|run| run.resumed).map(|resumed| resumed.fuel);
        let resumed = resumed.or_else(|| self.chains.resumed.get(&(task, lease)).copied());
        let mut parts = Vec::new();
        if let Some(fuel) = resumed {
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
    SavedRecord { roots: Vec::new(), kept: Vec::new(), referee: None, resumed: None, ..run }
}
