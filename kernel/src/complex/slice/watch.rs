//! What becomes of slices by themselves: they end, hosts of theirs are replaced, and what is pinned
//! to a host that does not come is given up.
//!
//! All of them are looked at together, at the time at which something can be due for one: their
//! number is bounded, and such times are rare.

use isos_base::audit::Deed;
use isos_base::record::{Change, JobState, SliceRecord};
use isos_base::slice::{Replaced, SLICE_REPLACED_MAX, SliceState, Sliver};
use isos_base::{HostId, JobId, SliceId, Span, TaskRange, Time};

use super::super::{Complex, Effect};
use super::SLICES_SEEN_AFTER;

/// A host for which no other was found is looked at again after this time.
const MEND_AGAIN_AFTER: Span = Span::secs(60);
/// Searches for another host in one look: each may see all hosts.
const MENDS_PER_LOOK_MAX: usize = 8;

/// Why a host is of no use where it should work.
pub(super) struct Loss {
    /// In words.
    pub(super) why: String,
    /// From when on it is replaced, and what waits for it given up.
    pub(super) at: Time,
}

impl Complex {
    /// What is amiss with a host, if it is not there or gets no work.
    pub(super) fn loss_of(&self, id: HostId) -> Option<Loss> {
        let Some(host) = self.hosts.get(&id) else {
            return Some(Loss { why: "nobody knows it".into(), at: Time(0) });
        };
        if let Some(why) = host.kept_out() {
            return Some(Loss { why, at: Time(0) });
        }
        if host.session.is_some() {
            return None;
        }
        // Who sleeps was told to.
        let from = host.record.seen.max(host.wakes).max(self.slices.begun);
        let why = match host.wakes > self.now {
            true => format!("asleep until {}", host.wakes),
            false => format!("away since {}", host.record.seen),
        };
        Some(Loss { why, at: from + self.config.slice_away })
    }

    /// Since when a host is not there, if it is not.
    pub(super) fn away_since(&self, id: HostId) -> Option<Time> {
        let host = self.hosts.get(&id)?;
        let is_away = host.session.is_none() && host.wakes <= self.now;
        is_away.then_some(host.record.seen)
    }

    /// What has become due of slices and of the jobs on them.
    pub(in crate::complex) fn slices_due(&mut self, effects: &mut Vec<Effect>) {
        if self.slices.look.is_none_or(|at| at > self.now) {
            return;
        }
        self.slices.look = None;
        let mut mends = 0;
        for id in self.slices.open.keys().copied().collect::<Vec<_>>() {
            let until = self.slices.open[&id].until;
            if until <= self.now {
                self.end_slice(id, SliceState::Over, effects);
                continue;
            }
            self.slices.look_at(until);
            self.mend_slice(id, &mut mends, effects);
        }
        self.peers_due(effects);
        let jobs = &self.jobs;
        self.slices.jobs.retain(|id| jobs.contains_key(id));
        for job in self.slices.jobs.iter().copied().collect::<Vec<_>>() {
            self.give_up_pinned(job, effects);
        }
    }

    /// Puts others in the places of hosts that are lost to a slice.
    fn mend_slice(&mut self, id: SliceId, mends: &mut usize, effects: &mut Vec<Effect>) {
        let mut record = self.slices.open[&id].clone();
        let mut moved = Vec::new();
        for rank in 0..record.slivers.len() {
            let from = record.slivers[rank].host;
            let Some(loss) = self.loss_of(from) else { continue };
            if loss.at > self.now {
                self.slices.look_at(loss.at);
                continue;
            }
            if *mends >= MENDS_PER_LOOK_MAX {
                self.slices.look_at(self.now + SLICES_SEEN_AFTER);
                break;
            }
            *mends += 1;
            let beside: Vec<HostId> = record.slivers.iter().map(|it| it.host).collect();
            let (account, constraint) = (record.account, record.constraint.clone());
            let found = self.choose_slivers(account, constraint.as_deref(), &beside, 1);
            let Some(to) = found.ok().and_then(|found| found.first().copied()) else {
                self.slices.look_at(self.now + MEND_AGAIN_AFTER);
                // Another one of it would find nobody either.
                break;
            };
            record.slivers[rank] = Sliver { host: to, since: self.now };
            let rank = u32::try_from(rank).unwrap_or(u32::MAX);
            let gone = Replaced { rank, host: from, at: self.now, why: loss.why.clone() };
            record.replaced.push(gone);
            let kept = record.replaced.len().saturating_sub(SLICE_REPLACED_MAX);
            record.replaced.drain(..kept);
            moved.push(Deed::SliverMoved { slice: id, rank, from, to, why: loss.why });
        }
        if moved.is_empty() {
            return;
        }
        let account = record.account;
        self.keep_slice(record, effects);
        for deed in moved {
            self.audit(Some(account), deed, effects);
        }
    }

    /// Until when a task waits for the host to which it is pinned, and why no longer. Its host is
    /// of the slice no more, or is lost, or has taken nothing for as long as anybody waits.
    pub(super) fn pinned_until(&self, id: JobId, task: u32) -> Option<(Time, String)> {
        let job = self.jobs.get(&id)?;
        let pinned = job.record.pinned.as_ref()?;
        let host = *pinned.hosts.get(task as usize)?;
        let short = host.short();
        if self.is_lost_to_peers(id, task) {
            let why =
                format!("host {short} was lost after the ranks had begun to address each other");
            return Some((Time(0), why));
        }
        let Some(slice) = self.slices.open.get(&pinned.slice) else {
            return Some((Time(0), "its slice is over".into()));
        };
        let name = &slice.name;
        match slice.slivers.get(task as usize) {
            None => {
                let why = format!("host {short} left slice {name}, which was made smaller");
                return Some((Time(0), why));
            }
            Some(sliver) if sliver.host != host => {
                let gone = slice.replaced.iter().rev().find(|it| it.host == host);
                let why = gone.map_or_else(String::new, |gone| format!(": {}", gone.why));
                let why = format!("host {short} was replaced in slice {name}{why}");
                return Some((Time(0), why));
            }
            Some(_) => {}
        }
        if let Some(loss) = self.loss_of(host) {
            let why = format!("host {short} of slice {name} does not come: {}", loss.why);
            return Some((loss.at, why));
        }
        let since = job.pinned_since.get(&task).copied().unwrap_or(self.now);
        let most = self.config.slice_wait;
        let why = format!("host {short} of slice {name} is there, and took it not within {most}");
        Some((since + most, why))
    }

    /// Gives up what waits for a host that will not take it.
    fn give_up_pinned(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let now = self.now;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let waiting = job.waiting_tasks();
        job.pinned_since.retain(|task, _| waiting.contains(*task));
        let tasks: Vec<u32> = waiting.iter().flat_map(TaskRange::tasks).collect();
        for &task in &tasks {
            job.pinned_since.entry(task).or_insert(now);
        }
        for task in tasks {
            let Some((at, why)) = self.pinned_until(id, task) else { continue };
            if at > now {
                self.slices.look_at(at);
                continue;
            }
            self.give_up(id, task, why, effects);
            self.dirty_jobs.insert(id);
            self.queue_or_leave(id);
            self.judged.insert(id);
        }
        self.end_judged(effects);
    }

    /// A slice is over: so is what runs on it.
    pub(super) fn end_jobs_on(&mut self, slice: &SliceRecord, effects: &mut Vec<Effect>) {
        let on = |id: &&JobId| {
            let pinned = self.jobs.get(*id).and_then(|job| job.record.pinned.as_ref());
            pinned.is_some_and(|pinned| pinned.slice == slice.id)
        };
        let jobs: Vec<JobId> = self.slices.jobs.iter().filter(on).copied().collect();
        let (state, how) = match slice.state {
            SliceState::Dropped => (JobState::Cancelled, "was dropped"),
            SliceState::Over | SliceState::Open => (JobState::Failed, "has ended"),
        };
        for job in jobs {
            let why = format!("slice {} {how}", slice.name);
            self.end_job(job, state, Some(why), effects);
            self.slices.jobs.remove(&job);
        }
    }

    /// A host has another key: slices know it by that, and so do the jobs on them.
    pub(in crate::complex) fn move_slivers(
        &mut self,
        old: HostId,
        new: HostId,
        effects: &mut Vec<Effect>,
    ) {
        for id in self.slices.of_host.get(&old).cloned().unwrap_or_default() {
            let mut record = self.slices.open[&id].clone();
            for sliver in record.slivers.iter_mut().filter(|sliver| sliver.host == old) {
                sliver.host = new;
            }
            self.keep_slice(record, effects);
        }
        for id in self.slices.jobs.clone() {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if job.move_pinned(old, new) {
                effects.push(Effect::Keep(Change::Job(Box::new(job.full_record()))));
            }
        }
    }

    /// A host of a slice went, or gets no work any more.
    pub(in crate::complex) fn sliver_left(&mut self, id: HostId) {
        // Jobs can be pinned to a host that was of a slice when they began.
        if self.slices.has(id) || !self.slices.jobs.is_empty() {
            self.slices.look_at(self.now + SLICES_SEEN_AFTER);
        }
    }
}
