//! Programs that address their peers wait for them: their tasks begin when the complex has said who
//! the peers are, and take no core before that.
//!
//! Several such jobs begin everywhere in the order in which the complex let them begin: else two of
//! them could each hold the core for which the other waits on another host.

use isos_base::JobId;
use isos_base::peers::{Peers, Reach};
use isos_base::wire::ToComplex;

use super::session::Link;
use super::work::{Chamber, Job, Work};
use super::{ChamberId, Effect, Host, job_of};

/// What is known of a program that addresses its peers.
#[derive(Debug)]
pub(super) struct Speaking {
    reach: Reach,
    /// Once it may begin: the how manyth of all.
    turn: Option<u64>,
}

impl Chamber {
    /// Whether what is in it has to wait for peers.
    pub(super) fn waits_for_peers(&self) -> bool {
        self.speaking.as_ref().is_some_and(|speaking| speaking.turn.is_none())
    }
}

impl Job {
    /// Whether its tasks have to wait for peers.
    pub(super) fn waits_for_peers(&self) -> bool {
        self.chamber.as_ref().is_some_and(Chamber::waits_for_peers)
    }

    /// What the complex is told of it.
    fn reach(&self) -> Option<Reach> {
        let it = self.chamber.as_ref()?.speaking.as_ref()?;
        Some(Reach { begun: it.turn.is_some(), ..it.reach.clone() })
    }

    /// Its turn among all whose programs address their peers, once it may begin.
    pub(super) fn turn(&self) -> Option<u64> {
        self.chamber.as_ref()?.speaking.as_ref()?.turn
    }
}

impl Work {
    /// What is told of programs that address their peers and are still wanted.
    fn reaches(&self) -> Vec<Reach> {
        self.jobs.values().filter(|job| job.held() > 0).filter_map(Job::reach).collect()
    }
}

impl Host {
    /// The program in a chamber addresses its peers, who can call there.
    pub(super) fn speaks(&mut self, id: ChamberId, reach: Reach, effects: &mut Vec<Effect>) {
        let Some(job) = job_of(&self.work, id).filter(|job| *job == reach.job) else { return };
        let Some(chamber) = self.work.jobs.get_mut(&job).and_then(|job| job.chamber.as_mut())
        else {
            return;
        };
        if chamber.speaking.is_some() {
            return;
        }
        chamber.speaking = Some(Speaking { reach: reach.clone(), turn: None });
        if matches!(self.session.link, Link::Online { .. }) {
            self.tell_reach(reach, effects);
        }
    }

    /// A session has begun: nothing of this is acknowledged, so it is told in each.
    pub(super) fn tell_reaches(&mut self, effects: &mut Vec<Effect>) {
        for reach in self.work.reaches() {
            self.tell_reach(reach, effects);
        }
    }

    /// A job was granted whose program may be waiting already.
    pub(super) fn tell_reach_of(&self, id: JobId, effects: &mut Vec<Effect>) {
        if let Some(reach) = self.work.jobs.get(&id).and_then(Job::reach) {
            self.tell_reach(reach, effects);
        }
    }

    fn tell_reach(&self, reach: Reach, effects: &mut Vec<Effect>) {
        let session = self.session.current();
        effects.push(Effect::Send { session, frame: ToComplex::Reach(Box::new(reach)) });
    }

    /// The complex says who the peers of a job are: it may begin. The shell has heard who they are.
    pub(super) fn peers_told(&mut self, peers: &Peers) {
        if let Some(until) = peers.until {
            self.work.lease_until(peers.job, self.session.local(until));
        }
        self.begin(peers.job);
    }

    fn begin(&mut self, id: JobId) {
        let Some(job) = self.work.jobs.get_mut(&id) else { return };
        let speaking = job.chamber.as_mut().and_then(|chamber| chamber.speaking.as_mut());
        if let Some(speaking) = speaking
            && speaking.turn.is_none()
        {
            self.work.turns += 1;
            speaking.turn = Some(self.work.turns);
        }
    }
}
