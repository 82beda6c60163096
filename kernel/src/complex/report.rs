//! Reports: results, faults and returned tasks, from hosts that may lie about all of them.

use std::collections::BTreeSet;

use isos_base::audit::Deed;
use isos_base::task::{Digest, Fault, Output, OutputAt, TaskResult};
use isos_base::wire::{LeaseReport, Report, ToHost};
use isos_base::{HostId, JobId, LeaseId, Span, TaskRange, limits};

use super::job::Job;
use super::place::{HOST_FAULTS_MAX, charge_max_at};
use super::trust::Standing;
use super::{Complex, Effect, SessionId};
use crate::verify::{Ballot, Rule, Verdict};
use isos_base::record::{Change, JobState, VoteBatch};

/// A host on which a job failed [`HOST_FAULTS_MAX`] times in a row gets none of it for this long,
/// and twice as long for each further failure.
const AVOIDED_FOR: Span = Span::secs(60);
/// See [`AVOIDED_FOR`]: about an hour at the most.
const AVOIDED_DOUBLINGS_MAX: u32 = 6;
/// With so many failures in a row a host gets as little of a job as there is.
pub(super) const FAILS_FOR_GOOD: u32 = HOST_FAULTS_MAX + AVOIDED_DOUBLINGS_MAX;
/// Owners whose hosts must say that a program cannot run before the whole job is given up; fewer
/// only if fewer are connected.
const UNRUNNABLE_OWNERS: usize = 2;

impl Complex {
    pub(super) fn report(
        &mut self,
        host: HostId,
        session: SessionId,
        report: Report,
        effects: &mut Vec<Effect>,
    ) {
        let mut returned_untried = BTreeSet::new();
        for news in report.leases {
            self.lease_report(host, news, &mut returned_untried, effects);
        }
        if self.hosts.get(&host).is_none_or(|host| host.session.is_none()) {
            return; // The report got the host barred.
        }
        self.note_seen(host);
        let Some(entry) = self.hosts.get_mut(&host).and_then(|host| host.session.as_mut()) else {
            return;
        };
        let was_busy = entry.room.cores_idle == 0;
        entry.heard_of_room(report.room);
        if was_busy && entry.room.cores_idle > 0 {
            entry.left_to_look = self.share.len();
        }
        // Who has work gives back what is too much for it; who has none does not want it.
        if entry.room.tasks == 0 && entry.room.cores_idle > 0 {
            for job in returned_untried {
                self.was_declined(host, job);
            }
        }
        let Some(entry) = self.hosts.get_mut(&host).and_then(|host| host.session.as_mut()) else {
            return;
        };
        let ack = ToHost::Ack { seq: report.seq, earned: entry.earned };
        effects.push(Effect::Send(session, ack));
        self.feed(host, effects);
    }

    /// Notes in `returned_untried` if the host gave all of the lease back and tried none of it.
    fn lease_report(
        &mut self,
        host: HostId,
        news: LeaseReport,
        returned_untried: &mut BTreeSet<JobId>,
        effects: &mut Vec<Effect>,
    ) {
        let id = news.lease;
        let Some(lease) = self.leases.get_mut(&id) else { return };
        if lease.record.host != host {
            effects.push(Effect::Say(format!("host {} reports a lease not its own", host.short())));
            return;
        }
        let (job_id, batch) = (lease.record.job, lease.record.next_votes);
        let untried = news.results.is_empty()
            && news.faults.is_empty()
            && lease.out.count() == lease.record.ranges.iter().map(TaskRange::len).sum::<u32>();
        if !news.results.is_empty()
            && let Some(session) = self.hosts.get_mut(&host).and_then(|host| host.session.as_mut())
        {
            session.declined.remove(&job_id);
        }
        self.dirty_leases.insert(id);
        self.dirty_jobs.insert(job_id);
        let fuel: u64 = news.results.iter().fold(0, |sum, it| it.fuel.0.saturating_add(sum));
        self.note_core(host, isos_base::Fuel(fuel), news.busy);
        let mut votes = Vec::new();
        let mut reported = 0;
        let standing = self.standing(job_id, host);
        // What a job shows of hosts that it picked counts for nothing.
        let shows = matches!(standing, Standing::Known { .. }) && !self.picks_hosts(job_id);
        for result in news.results {
            // A vote can settle this very lease, or bar its host: then nothing of it is out.
            let Some(lease) = self.leases.get_mut(&id) else { break };
            let task = result.task;
            if lease.out.remove(TaskRange::new(task, task.saturating_add(1))) == 0 {
                continue; // Reported before, or never granted: nothing new either way.
            }
            reported += 1;
            let job = self.jobs.get(&job_id).expect("an unsettled lease has a job");
            let judged = plausible(job, &result).and_then(|()| self.refereed(id, job_id, result));
            let result = match judged {
                Ok(result) => result,
                Err(why) => {
                    self.release_one(id, job_id, task);
                    self.fault(job_id, host, task, Fault::SandboxDied(why), effects);
                    continue;
                }
            };
            let job = self.jobs.get_mut(&job_id).expect("an unsettled lease has a job");
            job.succeeded_on(host);
            let lease = self.leases.get_mut(&id).expect("looked up above");
            let price = lease.record.price;
            // Who has run a part is paid for no more than that, whatever the task takes.
            let freed = charge_max_at(job, price).0 - price.charge(job.work_of(id, &result)).0;
            job.reserved.0 -= freed;
            lease.reserved.0 -= freed;
            lease.undecided += 1;
            let lone = job.was_lone(task, host);
            if job.rule().is_none() || (lone && !self.must_check(standing, id, task)) {
                self.accept(job_id, result, id, standing, shows, effects);
            } else {
                votes.push(result.clone());
                self.vote(id, job_id, host, result, effects);
            }
        }
        // A lease that these very votes settled has none that is undecided. But others may stand by
        // what it agreed with.
        let job = self.jobs.get(&job_id);
        let stand_by = job.and_then(Job::rule).is_some_and(Rule::asks_one_first);
        let lease = self.leases.get_mut(&id);
        if !votes.is_empty() && (lease.is_some() || stand_by) {
            if let Some(lease) = lease {
                lease.record.next_votes += 1;
            }
            let batch = VoteBatch { job: job_id, lease: id, batch, results: votes };
            effects.push(Effect::Keep(Change::Votes(batch)));
        }
        if let Some(job) = self.jobs.get_mut(&job_id) {
            // A host's word, within what its tasks can have taken.
            let busy_max = job.record.spec.timeout.0.saturating_mul(u64::from(reported));
            job.note_time(reported, Span(news.busy.0.min(busy_max)));
        }
        for (task, fault) in news.faults {
            let Some(lease) = self.leases.get_mut(&id) else {
                break;
            };
            if lease.out.remove(TaskRange::new(task, task.saturating_add(1))) == 0 {
                continue;
            }
            self.release_one(id, job_id, task);
            self.fault(job_id, host, task, fault, effects);
        }
        if reported > 0
            && self.leases.get(&id).is_some_and(|lease| lease.out.is_empty())
            && let Some(host) = self.hosts.get_mut(&host)
        {
            host.reliability.note(true);
        }
        self.take_back(id, &news.returned, effects);
        if untried && self.leases.get(&id).is_none_or(|lease| lease.out.is_empty()) {
            returned_untried.insert(job_id);
        }
        self.settle_if_over(id, effects);
        self.end_if_over(job_id, effects);
    }

    /// One task of a lease costs nothing after all, and is not the lease's any more.
    fn release_one(&mut self, lease: LeaseId, job: JobId, task: u32) {
        let (Some(lease), Some(job)) = (self.leases.get_mut(&lease), self.jobs.get_mut(&job))
        else {
            return;
        };
        let mut kept: isos_base::TaskSet = lease.record.ranges.iter().copied().collect();
        kept.remove(TaskRange::new(task, task + 1));
        lease.record.ranges = kept.iter().collect();
        let each = charge_max_at(job, lease.record.price).0;
        lease.reserved.0 -= each;
        job.reserved.0 -= each;
    }

    /// Tasks of a lease that were not executed wait again.
    pub(super) fn take_back(
        &mut self,
        id: LeaseId,
        ranges: &[TaskRange],
        effects: &mut Vec<Effect>,
    ) {
        let Some(lease) = self.leases.get_mut(&id) else {
            return;
        };
        let (host, job_id) = (lease.record.host, lease.record.job);
        let mut back = Vec::new();
        for range in ranges {
            // Only what is out: pieces of the range may have been reported already.
            let pieces: Vec<TaskRange> = lease
                .out
                .iter()
                .filter_map(|out| {
                    let piece = TaskRange::new(out.start.max(range.start), out.end.min(range.end));
                    (!piece.is_empty()).then_some(piece)
                })
                .collect();
            for piece in pieces {
                lease.out.remove(piece);
                back.push(piece);
            }
        }
        if back.is_empty() {
            return;
        }
        let mut kept: isos_base::TaskSet = lease.record.ranges.iter().copied().collect();
        let mut tasks = 0;
        for &piece in &back {
            kept.remove(piece);
            tasks += piece.len();
        }
        lease.record.ranges = kept.iter().collect();
        let job = self.jobs.get_mut(&job_id).expect("an unsettled lease has a job");
        let each = charge_max_at(job, lease.record.price).0;
        let freed = each.saturating_mul(i64::from(tasks));
        lease.reserved.0 -= freed;
        job.reserved.0 -= freed;
        lease.moved.extend(job.handed_on(id, &back));
        let mut to_judge = Vec::new();
        for piece in back {
            to_judge.extend(job.give_back(host, piece));
        }
        self.dirty_leases.insert(id);
        self.dirty_jobs.insert(job_id);
        for task in to_judge {
            self.judge_again(job_id, task, effects);
        }
        self.queue_or_leave(job_id);
    }

    /// Takes one host's word.
    fn accept(
        &mut self,
        job: JobId,
        result: TaskResult,
        id: LeaseId,
        standing: Standing,
        shows: bool,
        effects: &mut Vec<Effect>,
    ) {
        let task = result.task;
        let fuel = self.share_out(job, id, task, result.fuel);
        let job_id = job;
        let job = self.jobs.get_mut(&job).expect("checked by the caller");
        let lease = self.leases.get_mut(&id).expect("checked by the caller");
        job.decide(task, Ok(result), Some(lease.record.host));
        if standing == Standing::Believed
            && job.rule().is_some()
            && lease.record.account != job.record.account
        {
            job.record.unchecked = job.record.unchecked.saturating_add(1);
        }
        if let Standing::Known { .. } = standing {
            lease.word.insert(TaskRange::new(task, task + 1));
            lease.on_credit += 1;
            let host = self.hosts.get_mut(&lease.record.host).expect("hosts are never forgotten");
            host.record.trust.results += u64::from(shows);
        }
        self.count(id, Some(fuel));
        self.stop_waiting_for(job_id, task, effects);
    }

    /// Notes a vote and decides the task if it can be.
    fn vote(
        &mut self,
        lease: LeaseId,
        job_id: JobId,
        host: HostId,
        result: TaskResult,
        effects: &mut Vec<Effect>,
    ) {
        let job = self.jobs.get_mut(&job_id).expect("checked by the caller");
        let task = result.task;
        if !job.is_open(task) {
            self.count(lease, None); // Decided without it: late, neither right nor wrong.
            return;
        }
        let rule = job.rule().expect("checked by the caller");
        let voted = |ballot: &Ballot| ballot.votes.iter().any(|vote| vote.host == host);
        if job.ballots.get(&task).is_some_and(voted) {
            self.count(lease, None); // One host, one vote.
            return;
        }
        let doubt = self.doubt(host);
        let job = self.jobs.get_mut(&job_id).expect("looked up above");
        let vote = job.vote_of(host, lease, result, doubt);
        let Some(vote) = self.note_part(job_id, vote, effects) else { return };
        let secret = self.config.check_secret;
        let job = self.jobs.get_mut(&job_id).expect("looked up above");
        let verdict = job.cast(secret, rule, vote);
        self.judge(job_id, task, verdict, effects);
    }

    /// Acts on what the votes on a task say by now, if it is not decided already.
    pub(super) fn judge_again(&mut self, job: JobId, task: u32, effects: &mut Vec<Effect>) {
        if let Some(verdict) = self.jobs.get(&job).and_then(|job| job.verdict(task)) {
            self.judge(job, task, verdict, effects);
        }
    }

    /// Acts on a ballot's verdict.
    pub(super) fn judge(
        &mut self,
        job_id: JobId,
        task: u32,
        verdict: Verdict,
        effects: &mut Vec<Effect>,
    ) {
        self.dirty_jobs.insert(job_id);
        self.judged.insert(job_id);
        if self.judge_parts(job_id, task, verdict, effects) {
            self.queue_or_leave(job_id);
            return;
        }
        match verdict {
            Verdict::Ask(more) => {
                self.queue_or_leave(job_id);
                if more > 0 {
                    self.settle_for_less(job_id, task, effects);
                }
            }
            Verdict::Hopeless => {
                let ballot = self.jobs.get(&job_id).and_then(|job| job.ballots.get(&task));
                let asked = ballot.map_or(0, |ballot| ballot.asked.len());
                let why = format!("no agreement among {asked} independent hosts");
                self.give_up(job_id, task, why, effects);
            }
            Verdict::Agreed(digest) => {
                let ballot = self.decide_by_votes(job_id, task, digest);
                self.count_votes(ballot, Some(digest), job_id, task, effects);
            }
        }
        // It waits for other hosts now, or for none any more.
        self.queue_or_leave(job_id);
    }

    /// Decides a task without a result: nobody is barred for it, and nobody is paid.
    pub(super) fn give_up(
        &mut self,
        job_id: JobId,
        task: u32,
        why: String,
        effects: &mut Vec<Effect>,
    ) {
        let job = self.jobs.get_mut(&job_id).expect("checked by the caller");
        let ballot = job.decide(task, Err(why), None);
        self.count_votes(ballot, None, job_id, task, effects);
        self.stop_waiting_for(job_id, task, effects);
    }

    /// Accepts what those say who voted for this digest.
    pub(super) fn decide_by_votes(&mut self, job: JobId, task: u32, digest: Digest) -> Ballot {
        let job = self.jobs.get_mut(&job).expect("checked by the caller");
        let votes = &job.ballots[&task].votes;
        let winner = votes.iter().filter(|vote| vote.digest == digest).min_by_key(|it| it.part);
        let winner = winner.expect("the digest is of one of the votes");
        let (result, host) = (winner.result.clone(), winner.host);
        job.decide(task, Ok(result), Some(host))
    }

    /// Credits the votes that agree with the accepted digest and bars the hosts of the others, if
    /// those who agree are credible enough for that.
    fn count_votes(
        &mut self,
        ballot: Ballot,
        accepted: Option<Digest>,
        job: JobId,
        task: u32,
        effects: &mut Vec<Effect>,
    ) {
        let agreeing = ballot.votes.iter().filter(|vote| Some(vote.digest) == accepted).count();
        let sure = accepted.is_some_and(|digest| ballot.is_sure(digest, self.config.bad_share));
        if let Some(accepted) = accepted {
            self.credit(&ballot, accepted, job);
            self.stand_by(&ballot, accepted, job, task);
        }
        let mut wrong = Vec::new();
        for vote in ballot.votes {
            let right = Some(vote.digest) == accepted;
            let fuel = self.fuel_of(job, task, &vote);
            self.count(vote.lease, right.then_some(fuel));
            if right || accepted.is_none() {
                self.settle_if_over(vote.lease, effects);
                continue;
            }
            let lease = self.leases.get_mut(&vote.lease);
            if let Some(lease) = lease {
                lease.record.rejected += 1;
            }
            if sure {
                wrong.push(vote.host);
            } else {
                self.settle_if_over(vote.lease, effects);
            }
        }
        for host in wrong {
            let why = format!(
                "its result for task {job}@{task} differs from what {agreeing} independent hosts \
                 agree on"
            );
            self.bar(host, why, effects);
        }
        self.mature_passed(effects);
    }

    /// One of a lease's undecided results is decided: it counts with its fuel, or not at all.
    pub(super) fn count(&mut self, id: LeaseId, good: Option<isos_base::Fuel>) {
        let Some(lease) = self.leases.get_mut(&id) else {
            return;
        };
        lease.undecided -= 1;
        self.dirty_leases.insert(id);
        if let Some(fuel) = good {
            lease.record.accepted += 1;
            lease.record.fuel += fuel;
            // The host's counters are written when the lease is settled, not at every report.
            let host = self.hosts.get_mut(&lease.record.host);
            host.expect("hosts are never forgotten").record.good += 1;
        }
    }

    /// A task failed on a host through no fault of the program, as the host says.
    fn fault(
        &mut self,
        job_id: JobId,
        host: HostId,
        task: u32,
        fault: Fault,
        effects: &mut Vec<Effect>,
    ) {
        // A program that runs nowhere is its buyer's fault.
        let of_host = !matches!(fault, Fault::BadProgram(_));
        if let Some(entry) = self.hosts.get_mut(&host).filter(|_| of_host) {
            entry.record.lost += 1;
            self.dirty_hosts.insert(host);
        }
        let job = self.jobs.get_mut(&job_id).expect("checked by the caller");
        if !job.is_open(task) {
            return;
        }
        if let Fault::BadProgram(why) = &fault {
            job.unrunnable.insert(self.hosts[&host].record.account);
            let owners: BTreeSet<_> =
                self.sessions.values().map(|id| self.hosts[id].record.account).collect();
            if job.unrunnable.len() >= UNRUNNABLE_OWNERS.min(owners.len().max(1)) {
                let why = format!("the program cannot run: {}", short(why));
                self.end_job(job_id, JobState::Failed, Some(why), effects);
                return;
            }
        }
        let last = short(&fault.to_string());
        let avoid = job.avoid.entry(host).or_default();
        avoid.count += 1;
        if !avoid.wrong {
            avoid.why.clone_from(&last);
        }
        if let Some(beyond) = avoid.count.checked_sub(HOST_FAULTS_MAX) {
            let until = self.now + Span(AVOIDED_FOR.0 << beyond.min(AVOIDED_DOUBLINGS_MAX));
            let until = until.max(avoid.until);
            avoid.until = until;
            self.look_at(host, until);
        }
        let job = self.jobs.get_mut(&job_id).expect("checked by the caller");
        if let Some(attempts) = job.failed_on(task, host, &self.sessions, self.now) {
            job.was_lone(task, host);
            let why = format!("gave up after {attempts} attempts; the last: {last}");
            self.give_up(job_id, task, why, effects);
            // It may have waited for one host more.
            self.queue_or_leave(job_id);
        } else {
            for task in job.give_back(host, TaskRange::new(task, task + 1)) {
                self.judge_again(job_id, task, effects);
            }
            self.queue_or_leave(job_id);
        }
    }

    /// A host was caught: it is thrown out, its undecided votes are void, its held pay is forfeit.
    pub(super) fn bar(&mut self, id: HostId, why: String, effects: &mut Vec<Effect>) {
        // Another key of the same host is no way out.
        let others = self.other_keys_of(id);
        self.bar_key(id, why.clone(), effects);
        for other in others {
            if self.hosts.get(&other).is_some_and(|host| host.record.barred.is_none()) {
                self.bar_key(other, why.clone(), effects);
            }
        }
    }

    fn bar_key(&mut self, id: HostId, why: String, effects: &mut Vec<Effect>) {
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        host.record.bad += 1;
        self.dirty_hosts.insert(id);
        if host.record.barred.is_some() {
            return;
        }
        effects.push(Effect::Say(format!("host {} is barred: {why}", id.short())));
        host.record.barred = Some(why.clone());
        let account = host.record.account;
        self.owners.bar(account);
        let deed = Deed::HostBarred { host: id, why: why.clone() };
        self.audit(Some(account), deed, effects);
        self.forfeit(id, effects);
        let host = self.hosts.get_mut(&id).expect("looked up above");
        if let Some(session) = &host.session {
            let refusal = isos_base::wire::Refusal::Barred(why);
            effects.push(Effect::Send(session.id, ToHost::Refused(refusal)));
        }
        self.end_session(id, effects);
        self.lost.retain(|&(_, host)| host != id);
        self.drop_leases(id, effects);
        self.sliver_left(id);
        // What is left of its leases are undecided votes: take them back one by one.
        let leases = self.hosts[&id].leases.clone();
        let mut jobs: Vec<JobId> =
            leases.iter().filter_map(|id| self.leases.get(id)).map(|l| l.record.job).collect();
        jobs.sort_unstable();
        jobs.dedup();
        for job_id in jobs {
            let Some(job) = self.jobs.get_mut(&job_id) else { continue };
            let Some(rule) = job.rule() else {
                continue;
            };
            let voted: Vec<u32> = job
                .ballots
                .iter()
                .filter(|(_, ballot)| ballot.votes.iter().any(|vote| vote.host == id))
                .map(|(&task, _)| task)
                .collect();
            for task in voted {
                // What is decided for one of them can bar others, and so decide the next.
                let Some(job) = self.jobs.get_mut(&job_id) else { break };
                if !job.is_open(task) {
                    continue;
                }
                let first = job.ballots.get(&task).and_then(Ballot::whole);
                let was_first = first.is_some_and(|whole| whole.host == id);
                job.change_ballot(task, rule, |ballot| ballot.forget(id));
                self.queue_or_leave(job_id);
                if was_first {
                    self.part_from(job_id, task, effects);
                }
                if let Some(job) = self.jobs.get_mut(&job_id) {
                    job.forget_runs_of(task, id, effects);
                }
                self.judge_again(job_id, task, effects);
            }
            self.dirty_jobs.insert(job_id);
        }
        for lease in leases {
            if let Some(entry) = self.leases.get_mut(&lease) {
                entry.undecided = 0;
                entry.moved.clear();
            }
            self.settle_if_over(lease, effects);
        }
    }
}

/// What any honest host's result looks like; anything else is treated as a failed attempt.
fn plausible(job: &Job, result: &TaskResult) -> Result<(), String> {
    let spec = &job.record.spec;
    if result.fuel > spec.fuel {
        return Err(format!("it claims {} fuel of at most {}", result.fuel, spec.fuel));
    }
    match &result.output {
        OutputAt::Inline(bytes) if bytes.len() > limits::OUTPUT_INLINE_MAX => {
            Err("its inline output is too long".into())
        }
        OutputAt::Inline(bytes) => match Output::decode(bytes) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
        // Paths and lengths of the files come on top of their content.
        OutputAt::Object(_, size) if *size > spec.output_max.0.saturating_mul(2) + 4_096 => {
            Err(format!("its output has {size} bytes of at most {}", spec.output_max.0))
        }
        OutputAt::Object(..) => Ok(()),
    }
}

/// Text of a host, cut to what fits a screen line.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}
