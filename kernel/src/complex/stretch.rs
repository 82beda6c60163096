//! Jobs whose tasks are run once and checked by stretches (`--verify checkpoint=K`).
//!
//! A *stretch* lies between two checkpoints that a task's host has handed over, or between one and
//! the task's start or end. Which of them are run again follows from a keyed hash once the result
//! is there: all roots were told before. Independent hosts run one each, from the checkpoint at its
//! beginning, and tell the root at its end, or the result. Whoever finds the same is paid for its
//! part, and asked no more than any other. Whoever finds another root has voted against the whole
//! run; then a referee settles the first segment in which the two differ, as between any two votes.
//!
//! A part proves a whole run wrong. It never makes a result: that task is run anew.

use isos_base::checkpoint::Checkpoint;
use isos_base::job::Verify;
use isos_base::record::{Referee, SavedRecord};
use isos_base::task::{Digest, Exit, Output, OutputAt, TaskResult};
use isos_base::{Fuel, Guid, HostId, JobId, LeaseId, Span, TaskRange, TaskSet};

use super::job::Job;
use super::place::HOST_FAULTS_MAX;
use super::same::{are_same, covers};
use super::segment::{Chains, found_right};
use super::{Complex, Effect};
use crate::verify::segments::choose;
use crate::verify::{Ballot, Rule, Verdict, Vote};

/// A host that was outvoted by others who are not credible enough to bar it gets no more of the job
/// for this long.
const AVOIDED_FOR: Span = Span::secs(3_600);

/// A part of a task between two checkpoints that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Where it begins; nothing for the task's start.
    pub(super) from: Option<Checkpoint>,
    /// So many segments have roots where it ends; nothing for the task's end.
    pub(super) until: Option<u32>,
    /// Fuel between.
    work: Fuel,
}

impl Stretch {
    /// Whether a part is this stretch.
    fn is_part(&self, part: Option<Referee>) -> bool {
        part.is_some_and(|part| part.is_same_part(&self.referee(None)))
    }

    /// What is noted of who runs it, to check the run under this lease.
    pub(super) fn referee(&self, of: Option<LeaseId>) -> Referee {
        let segment = self.until.map_or(Referee::TO_END, |until| until.saturating_sub(1));
        Referee { segment, fuel: self.from.map_or(Fuel(0), |from| from.fuel), of }
    }

    /// Fuel that was used where it ends, as the host of the whole run has told.
    fn end(&self) -> Fuel {
        Fuel(self.from.map_or(0, |from| from.fuel.0).saturating_add(self.work.0))
    }

    /// All of a task that handed nothing over: who runs it again gives a result of its own.
    const fn is_whole(&self) -> bool {
        self.from.is_none() && self.until.is_none()
    }
}

/// All stretches of a run that used so much fuel.
fn stretches(run: Option<&SavedRecord>, fuel: Fuel) -> Vec<Stretch> {
    let mut all = Vec::new();
    let mut from: Option<Checkpoint> = None;
    let work = |from: Option<Checkpoint>, to: Fuel| {
        Fuel(to.0.saturating_sub(from.map_or(0, |from| from.fuel.0)))
    };
    for kept in run.into_iter().flat_map(|run| &run.kept) {
        let last = kept.segments.checked_sub(1).map(|last| last as usize);
        let root = last.and_then(|last| run?.roots.get(last));
        let Some(&guid) = root else { continue };
        all.push(Stretch { from, until: Some(kept.segments), work: work(from, kept.fuel) });
        from = Some(Checkpoint { guid, size: kept.size, fuel: kept.fuel });
    }
    all.push(Stretch { from, until: None, work: work(from, fuel) });
    all
}

/// The stretches of a whole run that are to be run again: always the same ones.
fn drawn(secret: Guid, verify: Verify, chains: &Chains, task: u32, whole: &Vote) -> Vec<Stretch> {
    let Verify::Checkpoint { stretches: count } = verify else { return Vec::new() };
    let all = stretches(chains.run(whole.lease, task), whole.result.fuel);
    let mut about = [0; 20];
    about[..8].copy_from_slice(b"stretch\0");
    about[8..16].copy_from_slice(&whole.lease.0.to_le_bytes());
    about[16..].copy_from_slice(&task.to_le_bytes());
    let seed = Guid(*blake3::keyed_hash(&secret.0, &about).as_bytes());
    let work: Vec<u64> = all.iter().map(|stretch| stretch.work.0).collect();
    choose(seed, &work, count.into()).into_iter().map(|nth| all[nth as usize]).collect()
}

/// Whether somebody has run a stretch and found at its end what the whole run has: the root, and
/// the fuel, by which it was drawn.
fn is_found_right(chains: &Chains, task: u32, whole: &Vote, stretch: &Stretch) -> bool {
    let wanted = match stretch.until {
        Some(until) => {
            let told = chains.run(whole.lease, task).map(|run| &run.roots[..]);
            told.and_then(|roots| roots.get(until.checked_sub(1)? as usize).copied())
        }
        None => Some(whole.digest.0),
    };
    let same_part = |run: &&SavedRecord| stretch.is_part(run.referee);
    let mut parts = chains.runs(task).iter().filter(same_part);
    let same_fuel = |run: &SavedRecord| stretch.until.is_none() || run.fuel == stretch.end();
    wanted.is_some() && parts.any(|run| run.roots.last().copied() == wanted && same_fuel(run))
}

/// The drawn stretches of a whole run that nobody has found right so far.
fn unchecked(
    secret: Guid,
    verify: Verify,
    chains: &Chains,
    task: u32,
    whole: &Vote,
) -> Vec<Stretch> {
    let mut drawn = drawn(secret, verify, chains, task, whole);
    drawn.retain(|stretch| !is_found_right(chains, task, whole, stretch));
    drawn
}

/// What the next host is to run, if a task waits for that, and only a part of it.
pub(super) fn next_stretch(
    secret: Guid,
    verify: Verify,
    chains: &Chains,
    task: u32,
    ballot: &Ballot,
) -> Option<Stretch> {
    let whole = ballot.whole().filter(|_| ballot.is_of_one_mind())?;
    let next = unchecked(secret, verify, chains, task, whole).into_iter().next()?;
    (!next.is_whole()).then_some(next)
}

/// What a host has found that ran a part of a task: the vote that has the same, or its own root,
/// also where only the fuel at its end differs.
fn found(chains: &Chains, ballot: Option<&Ballot>, run: &SavedRecord, own: Digest) -> Digest {
    let Some(referee) = run.referee else { return own };
    let Some(root) = run.roots.get(referee.segment as usize) else { return own };
    let same = ballot.and_then(|ballot| found_right(chains, ballot, run, referee.segment));
    let mut found = root.0.to_vec();
    found.extend(run.fuel.0.to_le_bytes());
    same.map_or_else(|| Digest(Guid::of(&found)), |vote| vote.digest)
}

/// What a sandbox gives that has stopped before the end.
fn is_empty(result: &TaskResult) -> bool {
    let nothing = |bytes: &Vec<u8>| Output::decode(bytes).is_ok_and(|it| it == Output::default());
    result.exit == Exit::Code(0)
        && matches!(&result.output, OutputAt::Inline(bytes) if nothing(bytes))
}

impl Job {
    /// Makes a vote of a result.
    pub(super) fn vote_of(
        &self,
        host: HostId,
        lease: LeaseId,
        result: TaskResult,
        doubt: f64,
    ) -> Vote {
        let mut digest = result.digest();
        let run = self.chains.run(lease, result.task).filter(|run| run.referee.is_some());
        if let (Some(run), Some(Rule::Checkpoint { .. })) = (run, self.rule()) {
            digest = found(&self.chains, self.ballots.get(&result.task), run, digest);
        }
        let work = self.work_of(lease, &result);
        Vote { host, lease, digest, result, work, doubt, part: run.is_some() }
    }

    /// Puts a vote into its ballot.
    pub(super) fn cast(&mut self, secret: Guid, rule: Rule, vote: Vote) -> Verdict {
        let (task, verify) = (vote.result.task, self.record.spec.verify);
        let left = match rule {
            Rule::Checkpoint { .. } if !vote.part => {
                unchecked(secret, verify, &self.chains, task, &vote).len() as u32
            }
            _ => 0,
        };
        self.change_ballot(task, rule, |ballot| {
            ballot.ask(vote.host);
            if ballot.whole().is_none() && !vote.part {
                ballot.unchecked = left;
            }
            ballot.votes.push(vote);
        })
    }

    /// Stretches of a task that are drawn, and of them those that nobody has found right, once it
    /// was run as a whole.
    pub(super) fn stretches_left(&self, secret: Guid, task: u32) -> Option<(usize, usize)> {
        let whole = self.ballots.get(&task)?.whole()?;
        let verify = self.record.spec.verify;
        let drawn = drawn(secret, verify, &self.chains, task, whole).len();
        Some((drawn, unchecked(secret, verify, &self.chains, task, whole).len()))
    }

    /// What a host does that runs a part of a task, in words.
    pub(super) fn part_text(&self, task: u32, referee: Referee) -> String {
        let checks = matches!(self.rule(), Some(Rule::Checkpoint { .. }))
            && self.ballots.get(&task).is_none_or(Ballot::is_of_one_mind);
        match (checks, referee.segment) {
            (true, Referee::TO_END) => "checks the last stretch of another's run".into(),
            (true, segment) => format!("checks another's run up to segment {}", segment + 1),
            (false, Referee::TO_END) => "settles a dispute about the end".into(),
            (false, segment) => format!("settles a dispute about segment {}", segment + 1),
        }
    }
}

impl Complex {
    /// A result of who was to run a part of a task that is checked by stretches.
    ///
    /// # Errors
    /// Why it is no answer, in words.
    pub(super) fn stretch_answer(
        job: &Job,
        run: &SavedRecord,
        referee: Referee,
        result: TaskResult,
    ) -> Result<TaskResult, String> {
        // Decided meanwhile: it is late, whatever it says.
        let Some(ballot) = job.ballots.get(&result.task) else { return Ok(result) };
        if run.roots.len() > referee.segment as usize {
            let same = found_right(&job.chains, ballot, run, referee.segment);
            return Ok(same.map_or(result, |vote| vote.result.clone()));
        }
        // It came to the end, of the task itself or of what others say it is.
        match run.roots.is_empty() && is_empty(&result) {
            true => Err("who ran a part of a task has told no roots".into()),
            false => Ok(result),
        }
    }

    /// Notes what the host of a part has found, if that is no vote: the same as the whole run has,
    /// or nobody's whole run is in question any more. Gives the vote back if it is one.
    pub(super) fn note_part(
        &mut self,
        job_id: JobId,
        vote: Vote,
        effects: &mut Vec<Effect>,
    ) -> Option<Vote> {
        let job = self.jobs.get(&job_id).expect("checked by the caller");
        let task = vote.result.task;
        let Some(rule @ Rule::Checkpoint { .. }) = job.rule().filter(|_| vote.part) else {
            return Some(vote);
        };
        let ballot = job.ballots.get(&task);
        let whole = ballot.and_then(Ballot::whole);
        if let (Some(whole), Some(ballot)) = (whole, ballot)
            && !job.chains.is_of_another(vote.lease, task, whole.lease)
            && (whole.digest != vote.digest || !ballot.is_of_one_mind())
        {
            return Some(vote);
        }
        let mut fuel = self.fuel_of(job_id, task, &vote);
        let run = job.chains.run(vote.lease, task).cloned();
        if let (Some(mut run), Some(whole)) = (run, whole) {
            let (secret, verify) = (self.config.check_secret, job.record.spec.verify);
            let mut drawn = drawn(secret, verify, &job.chains, task, whole).into_iter();
            if let Some(stretch) = drawn.find(|it| it.is_part(run.referee)) {
                fuel = fuel.min(stretch.work);
                // All that is to be known of it from now on.
                let end = run.roots.pop().filter(|_| stretch.until.is_some());
                run.roots = vec![end.unwrap_or(vote.digest.0)];
                self.take_down(run, effects);
            }
        }
        self.count(vote.lease, Some(fuel));
        self.leave_lease(vote.lease, task);
        if !self.jobs[&job_id].ballots.contains_key(&task) {
            return None;
        }
        let left = self.jobs[&job_id].stretches_left(self.config.check_secret, task);
        let job = self.jobs.get_mut(&job_id).expect("looked up above");
        let verdict = job.change_ballot(task, rule, |ballot| {
            ballot.forget(vote.host);
            ballot.unchecked = left.map_or(0, |(_, left)| left as u32);
        });
        self.judge(job_id, task, verdict, effects);
        None
    }

    /// Acts on the votes about a task that is checked by stretches, as far as they are about parts.
    /// Says whether there is nothing left to be done about them now.
    pub(super) fn judge_parts(
        &mut self,
        job_id: JobId,
        task: u32,
        verdict: Verdict,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(job) = self.jobs.get(&job_id) else { return false };
        let Some(Rule::Checkpoint { .. }) = job.rule() else { return false };
        let Some(ballot) = job.ballots.get(&task) else { return false };
        let waits = ballot.asked.len() > ballot.votes.len();
        if !ballot.votes.is_empty() && ballot.whole().is_none() && !waits {
            // Whom they were about was barred over another task, and they have done their part.
            let all = ballot.votes.iter().map(|vote| (vote.clone(), Some(true))).collect();
            self.dismiss(job_id, task, all, false, effects);
            return true;
        }
        let Verdict::Agreed(digest) = verdict else { return false };
        let agree = |vote: &&Vote| vote.digest == digest && !vote.part;
        let wholes = ballot.votes.iter().filter(agree).count();
        let sure = ballot.is_sure(digest, self.config.bad_share);
        let (winner, votes) = (ballot.votes.iter().find(agree).cloned(), ballot.votes.clone());
        // All parts are of the first whole run.
        let clears = ballot.whole().is_some_and(|whole| whole.digest == digest);
        let decides = wholes >= 2 || (wholes == 1 && ballot.is_of_one_mind());
        let first = ballot.whole().map(|whole| whole.lease);
        let found = ballot.votes.iter().find(|vote| vote.digest == digest).cloned();
        let (mut dismissed, mut sure) = (Vec::new(), sure);
        for vote in votes {
            // Of several whole runs a ballot says what is right, as of any others.
            if !vote.part && (decides || vote.digest == digest) {
                continue;
            }
            // Parts say nothing about another whole run than the first.
            let is_first = first.is_some_and(|lease| lease == vote.lease);
            if winner.is_none() && !vote.part && !is_first {
                continue;
            }
            if let Some(winner) = &winner
                && vote.digest != digest
                && (clears || !vote.part)
            {
                // What was found right of a run says nothing about who differs from it elsewhere:
                // that vote stays, and the next referee looks there.
                if let Some(is_sure) = self.is_refuted(job_id, winner, &vote) {
                    sure &= is_sure;
                    dismissed.push((vote, Some(false)));
                }
                continue;
            }
            let right = match &winner {
                None if vote.part && vote.digest != digest => {
                    found.as_ref().and_then(|found| self.has_found(job_id, found, &vote))
                }
                // Who went on with what another had made up may be right about that.
                Some(winner) if vote.part && vote.digest != digest && !clears => {
                    self.has_same_root(job_id, winner, &vote).filter(|right| *right)
                }
                _ => Some(vote.digest == digest),
            };
            dismissed.push((vote, right));
        }
        if dismissed.is_empty() {
            if let (Some(winner), true) = (winner, wholes == 1)
                && let Some(lease) = self.leases.get_mut(&winner.lease)
            {
                // If its host is caught over another task, it is run again.
                lease.word.insert(TaskRange::new(task, task + 1));
            }
            return false;
        }
        self.dismiss(job_id, task, dismissed, sure, effects);
        true
    }

    /// The host of a whole run was barred over another task: who ran parts of it has done so, and
    /// what they found says nothing about any other run. Nor will what those find who are at it:
    /// what is noted of them names the run.
    pub(super) fn part_from(&mut self, job_id: JobId, task: u32, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&job_id) else { return };
        let (Some(Rule::Checkpoint { .. }), Some(ballot)) = (job.rule(), job.ballots.get(&task))
        else {
            return;
        };
        let parts = ballot.votes.iter().filter(|vote| vote.part);
        let parts: Vec<_> = parts.map(|vote| (vote.clone(), Some(true))).collect();
        if !parts.is_empty() {
            self.dismiss(job_id, task, parts, false, effects);
        }
    }

    /// Whether who ran a part found in it what a whole run has there, if that can be told.
    fn has_same_root(&self, job: JobId, whole: &Vote, part: &Vote) -> Option<bool> {
        let (chains, task) = (&self.jobs.get(&job)?.chains, part.result.task);
        let (run, whole) = (chains.run(part.lease, task)?, chains.run(whole.lease, task)?);
        are_same(run, whole, run.referee?.segment)
    }

    /// The same of two parts. Of one who began behind where they part nothing can be told: both may
    /// have gone on with what a third has made up.
    fn has_found(&self, job_id: JobId, found: &Vote, part: &Vote) -> Option<bool> {
        let (job, task) = (self.jobs.get(&job_id)?, part.result.task);
        let run = |vote: &Vote| job.chains.run(vote.lease, task);
        let whole = run(job.ballots.get(&task)?.whole()?)?;
        let (other, found_run) = (run(part)?, run(found)?);
        let same = self.has_same_root(job_id, found, part)?;
        (same || covers(found_run, [found_run, other], whole)).then_some(same)
    }

    /// Whether somebody who finds a whole run right has run the very place at which another vote
    /// differs from it; and if so, whether that is sure enough to bar who cast that.
    fn is_refuted(&self, job_id: JobId, winner: &Vote, vote: &Vote) -> Option<bool> {
        let (job, task) = (self.jobs.get(&job_id)?, vote.result.task);
        let run = |vote: &Vote| job.chains.run(vote.lease, task);
        let (whole, other) = (run(winner)?, run(vote)?);
        let refutes = |it: &&Vote| {
            let part = run(it).filter(|_| it.part && it.digest == winner.digest);
            part.is_some_and(|part| covers(part, [whole, other], whole))
        };
        let mut about = Ballot::default();
        about.votes.extend(job.ballots.get(&task)?.votes.iter().filter(refutes).cloned());
        if about.votes.is_empty() {
            return None;
        }
        about.votes.extend([winner.clone(), vote.clone()]);
        Some(about.is_sure(winner.digest, self.config.bad_share))
    }

    /// Takes votes out of a ballot: those that were right are paid for their part, the others'
    /// hosts barred if that is sure. What is left of the ballot goes on.
    fn dismiss(
        &mut self,
        job_id: JobId,
        task: u32,
        votes: Vec<(Vote, Option<bool>)>,
        sure: bool,
        effects: &mut Vec<Effect>,
    ) {
        let mut wrong = Vec::new();
        for (vote, right) in &votes {
            let fuel = self.fuel_of(job_id, task, vote);
            self.count(vote.lease, (*right == Some(true)).then_some(fuel));
            self.leave_lease(vote.lease, task);
            if *right == Some(false) {
                if let Some(lease) = self.leases.get_mut(&vote.lease) {
                    lease.record.rejected += 1;
                }
                wrong.push(vote.host);
            }
        }
        let secret = self.config.check_secret;
        let job = self.jobs.get_mut(&job_id).expect("checked by the caller");
        let rule = job.rule().expect("checked by the caller");
        job.change_ballot(task, rule, |ballot| {
            votes.iter().for_each(|(vote, _)| ballot.forget(vote.host));
        });
        let dismissed: Vec<_> =
            votes.iter().map(|(vote, right)| (vote.lease, *right == Some(true))).collect();
        job.forget_dismissed(task, &dismissed, effects);
        if let Some((_, left)) = job.stretches_left(secret, task) {
            job.change_ballot(task, rule, |ballot| ballot.unchecked = left as u32);
        } else {
            // What may be made up is not gone on with either.
            job.forget_idle_runs(task, effects);
        }
        // Before anybody is barred: it is looked then whether the hold pays for what is open again.
        for (vote, _) in votes.iter().filter(|(vote, _)| !wrong.contains(&vote.host)) {
            self.settle_if_over(vote.lease, effects);
        }
        for host in wrong {
            let why = format!("a part of task {job_id}@{task} is not what it says, others found");
            match self.jobs.get_mut(&job_id) {
                Some(job) if !sure => {
                    // Else it would say so again.
                    let avoided = job.avoid.entry(host).or_default();
                    (avoided.count, avoided.why) = (HOST_FAULTS_MAX, why);
                    (avoided.until, avoided.wrong) = (self.now + AVOIDED_FOR, true);
                }
                _ => self.bar(host, why, effects),
            }
        }
        self.queue_or_leave(job_id);
        for (vote, _) in &votes {
            self.settle_if_over(vote.lease, effects);
        }
        // What is left may be decided by now.
        self.judge_again(job_id, task, effects);
    }

    /// A task is not a lease's any more, which has nothing open of it.
    fn leave_lease(&mut self, lease: LeaseId, task: u32) {
        let Some(lease) = self.leases.get_mut(&lease) else { return };
        let mut left: TaskSet = lease.record.ranges.iter().copied().collect();
        left.remove(TaskRange::new(task, task + 1));
        lease.record.ranges = left.iter().collect();
        self.dirty_leases.insert(lease.record.id);
    }
}
