//! Programs of one slice that address each other: when they begin, who is where, and who is gone.
//!
//! Each host says when the program of a rank is ready there. When all ranks are that are not over
//! already, all are told of each other, and begin. From then on a rank that ends or is lost is gone
//! for good, since nobody could know what another run of it has heard; what waits for a host again
//! is given up. Nothing of this is kept: hosts tell it again in each session.

use std::collections::BTreeMap;

use isos_base::peers::{Peer, Peers, Place, REACH_ADDRESSES_MAX, REACH_RELAY_CHARS_MAX, Reach};
use isos_base::wire::ToHost;
use isos_base::{HostId, JobId, LeaseId, Time};

use super::super::job::Job;
use super::super::place::LEASE_SLACK;
use super::super::{Complex, Effect, SessionId};
use super::SLICES_SEEN_AFTER;

/// A job whose program addresses its peers.
#[derive(Debug, Default)]
pub(super) struct Speaking {
    /// The ranks were told of each other.
    begun: bool,
    /// Those of which something is known.
    ranks: BTreeMap<u32, Standing>,
    /// Tasks of it have changed since it was looked at.
    changed: bool,
    /// In which session each rank was answered, once they had begun: once is enough.
    answered: BTreeMap<u32, SessionId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It is ready there, or runs.
    Here(Place),
    Gone,
}

impl Job {
    /// Whether a rank is at work, or about to be: on the host to which it is pinned.
    fn is_at_work(&self, rank: u32) -> bool {
        self.is_open(rank) && !self.is_waiting(rank)
    }

    fn peer(&self, rank: u32, place: Option<Place>) -> Option<Peer> {
        let host = *self.record.pinned.as_ref()?.hosts.get(rank as usize)?;
        Some(Peer { rank, host, place })
    }
}

impl Speaking {
    /// What is known of each rank.
    fn peers(&self, job: &Job) -> Vec<Peer> {
        let place = |standing: &Standing| match standing {
            Standing::Here(place) => Some(place.clone()),
            Standing::Gone => None,
        };
        self.ranks.iter().filter_map(|(&rank, it)| job.peer(rank, place(it))).collect()
    }

    fn here(&self) -> impl Iterator<Item = u32> + '_ {
        let here = self.ranks.iter().filter(|(_, it)| matches!(it, Standing::Here(_)));
        here.map(|(&rank, _)| rank)
    }

    /// Notes who is gone since the last look.
    fn note_gone(&mut self, job: &Job) -> Vec<Peer> {
        let mut news = Vec::new();
        for rank in (0..job.record.spec.count).filter(|rank| !job.is_at_work(*rank)) {
            if self.ranks.insert(rank, Standing::Gone) != Some(Standing::Gone) {
                news.extend(job.peer(rank, None));
            }
        }
        news
    }

    /// Whether all ranks are ready that are not over.
    fn is_complete(&self, job: &Job) -> bool {
        let is_ready = |rank| !job.is_open(rank) || self.ranks.contains_key(&rank);
        (0..job.record.spec.count).all(is_ready)
    }
}

#[cfg(test)]
impl super::Slices {
    /// Jobs whose programs address their peers.
    pub(in crate::complex) fn speaking_len(&self) -> usize {
        self.speaking.len()
    }
}

impl Complex {
    /// The program of a job is ready on a host, or runs there.
    pub(in crate::complex) fn reach_told(
        &mut self,
        host: HostId,
        reach: Reach,
        effects: &mut Vec<Effect>,
    ) {
        let Reach { job: id, mut place, begun } = reach;
        place.addresses.truncate(REACH_ADDRESSES_MAX);
        place.relay = place.relay.filter(|relay| relay.len() <= REACH_RELAY_CHARS_MAX);
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(rank) = job.rank_of(host).filter(|rank| job.is_at_work(*rank)) else { return };
        let session = self.hosts.get(&host).and_then(|it| it.session.as_ref()).map(|it| it.id);
        // What a server before this one has told is known by those who were told, and by nobody
        // else; of younger jobs this one knows better than any host.
        let is_older = job.record.submitted < self.slices.begun;
        let begun = begun && is_older;
        let speaking = self.slices.speaking.entry(id).or_default();
        let known = match speaking.ranks.get(&rank) {
            Some(Standing::Here(known)) => Some(known.run),
            _ => None,
        };
        let was_gone = speaking.ranks.get(&rank) == Some(&Standing::Gone);
        let is_other_run = known.is_some_and(|run| run != place.run);
        let is_late = speaking.begun && !begun && known.is_none() && !is_older;
        if speaking.begun && (was_gone || is_other_run || is_late) {
            // The others do not speak with it, so there is nobody for it either.
            speaking.ranks.insert(rank, Standing::Gone);
            let all = 0..job.record.spec.count;
            let alone = all.filter_map(|other| job.peer(other, None)).collect();
            let news = job.peer(rank, None).into_iter().collect();
            let here: Vec<u32> = speaking.here().collect();
            self.tell_peers(id, &[rank], None, alone, effects);
            if !was_gone {
                self.tell_peers(id, &here, None, news, effects);
            }
            return;
        }
        speaking.ranks.insert(rank, Standing::Here(place));
        let had_begun = speaking.begun;
        speaking.begun |= begun;
        if speaking.begun {
            // It may have missed what the others were told while it had no session; and they, what
            // a server told that is no more.
            let peers = speaking.peers(job);
            let is_first = session.is_some_and(|it| speaking.answered.insert(rank, it) != Some(it));
            let here: Vec<u32> = match had_begun {
                true => Some(rank).filter(|_| is_first).into_iter().collect(),
                false => speaking.here().collect(),
            };
            let leases = job.leases.iter().filter_map(|lease| self.leases.get(lease));
            let of_host = leases.filter(|lease| lease.record.host == host);
            let until = of_host.map(|lease| lease.record.deadline).max();
            self.tell_peers(id, &here, until, peers, effects);
        }
        self.look_at_peers(id, effects);
    }

    /// Lets the ranks of a job begin when all are there; tells them who is gone.
    fn look_at_peers(&mut self, id: JobId, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(speaking) = self.slices.speaking.get_mut(&id) else { return };
        speaking.changed = false;
        if speaking.begun {
            let news = speaking.note_gone(job);
            let here: Vec<u32> = speaking.here().collect();
            if !news.is_empty() {
                self.tell_peers(id, &here, None, news, effects);
            }
            return;
        }
        speaking.ranks.retain(|rank, _| job.is_at_work(*rank));
        if !speaking.is_complete(job) {
            return;
        }
        speaking.begun = true;
        speaking.note_gone(job);
        let (peers, here) = (speaking.peers(job), speaking.here().collect::<Vec<_>>());
        // Whoever has ended is waited for until the others have heard its last words.
        let until = self.now + job.record.spec.timeout + LEASE_SLACK + LEASE_SLACK;
        self.lease_until(id, until);
        self.tell_peers(id, &here, Some(until), peers, effects);
    }

    /// What was granted has waited for others, maybe for long: its time begins now.
    fn lease_until(&mut self, id: JobId, until: Time) {
        let Some(job) = self.jobs.get(&id) else { return };
        let leases: Vec<LeaseId> = job.leases.iter().copied().collect();
        for id in leases {
            if let Some(lease) = self.leases.get_mut(&id).filter(|lease| !lease.out.is_empty()) {
                lease.record.deadline = until;
                self.due.set(id, until);
                self.dirty_leases.insert(id);
            }
        }
    }

    fn tell_peers(
        &self,
        id: JobId,
        ranks: &[u32],
        until: Option<Time>,
        peers: Vec<Peer>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(pinned) = self.jobs.get(&id).and_then(|job| job.record.pinned.as_ref()) else {
            return;
        };
        for rank in ranks {
            let host = pinned.hosts.get(*rank as usize).and_then(|host| self.hosts.get(host));
            // Who has no session says in its next where it is, and is told then.
            if let Some(session) = host.and_then(|host| host.session.as_ref()) {
                let peers = Box::new(Peers { job: id, until, peers: peers.clone() });
                effects.push(Effect::Send(session.id, ToHost::Peers(peers)));
            }
        }
    }

    /// Notes jobs that may have lost ranks in this step.
    pub(in crate::complex) fn note_peers(&mut self) {
        if self.slices.speaking.is_empty() {
            return;
        }
        let mut any = false;
        for id in &self.dirty_jobs {
            if let Some(speaking) = self.slices.speaking.get_mut(id) {
                (speaking.changed, any) = (true, true);
            }
        }
        if any {
            self.slices.look_at(self.now + SLICES_SEEN_AFTER);
        }
    }

    /// Looks at jobs of which ranks may be gone.
    pub(super) fn peers_due(&mut self, effects: &mut Vec<Effect>) {
        let jobs = &self.jobs;
        self.slices.speaking.retain(|id, _| jobs.contains_key(id));
        let changed = self.slices.speaking.iter().filter(|(_, it)| it.changed);
        for id in changed.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.look_at_peers(id, effects);
        }
    }

    /// Whether a rank waits in vain: the others have gone on without it.
    pub(super) fn is_lost_to_peers(&self, id: JobId, rank: u32) -> bool {
        let speaking = self.slices.speaking.get(&id).filter(|it| it.begun);
        speaking.is_some_and(|it| it.ranks.get(&rank) == Some(&Standing::Gone))
    }
}
