//! Which descriptors are believed, and where they go.

use std::sync::Arc;

use isos_base::HostId;
use isos_base::certificate::CLOCK_SLACK;
use isos_base::descriptor::{Access, Descriptor};
use isos_base::notary::Notary;
use isos_base::time::Span;

use super::{BANNED_MAX, Effect, Gossip, Known, LOST_MAX, MET_MAX};
use crate::view::{self, Slots, View};

impl<N: Notary> Gossip<N> {
    /// Hosts from a file or the complex: to begin with, and to fall back on.
    pub(super) fn meet_all(&mut self, peers: Vec<Arc<Descriptor>>, effects: &mut Vec<Effect>) {
        for peer in peers {
            // A file may be old, so that those in it are not told of; but they can be called.
            let is_signed = peer.host != self.own.host
                && peer.check(&mut self.notary, self.now).is_ok()
                && !self.banned.contains_key(&peer.host);
            if !is_signed {
                self.counts.disbelieved += 1;
                continue;
            }
            self.met.retain(|met| met.host != peer.host);
            if self.met.len() >= MET_MAX {
                self.met.remove(0);
            }
            self.met.push(peer.clone());
            if self.believe(&peer, effects) {
                let view = if peer.access == Access::Public {
                    &mut self.public
                } else {
                    &mut self.private
                };
                view::swap_in(view, self.own.host, &[], [Known(peer)]);
            }
        }
    }

    /// Whether a descriptor is an admitted host's word of late. If so, everybody who draws or
    /// counts hosts is told of it; only views are left to the caller.
    pub(super) fn believe(&mut self, who: &Arc<Descriptor>, effects: &mut Vec<Effect>) -> bool {
        if who.host == self.own.host || self.banned.contains_key(&who.host) {
            return false;
        }
        let age = Span(self.tuning.cycle.0.saturating_mul(self.tuning.forgotten_after));
        let is_late = who.issued + age < self.now;
        let is_early = who.issued > self.now + CLOCK_SLACK;
        // One a cycle is all that may be made, so all are of the beginning of one.
        let is_between = !who.issued.0.is_multiple_of(self.tuning.cycle.0.max(1));
        if is_late || is_early || is_between {
            self.counts.disbelieved += u64::from(!is_late);
            return false;
        }
        let known = self.known(who.host).filter(|known| known.issued == who.issued).cloned();
        if known.as_ref() != Some(who) {
            if who.check(&mut self.notary, self.now).is_err() {
                self.counts.disbelieved += 1;
                return false;
            }
            if let Some(first) = known {
                self.ban(first, who.clone(), effects);
                return false;
            }
        }
        if !self.suspicion.lives(who.host, who.issued) {
            return false;
        }
        let Some(certificate) = who.certificate() else { return false };
        self.lost.retain(|it| it.host != who.host || it.issued >= who.issued);
        let place = certificate.place();
        let name = place.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.samplers.offer(name, who, |known| known.issued < who.issued);
        self.window.offer(name, who.marks);
        self.witnesses.offer(place, who);
        true
    }

    /// The latest descriptor of a host that is at hand.
    fn known(&self, host: HostId) -> Option<&Arc<Descriptor>> {
        let of = |view: &View<Known>| view::find(view, host);
        let public = of(&self.public).map(|at| &self.public.entries()[at].0);
        let private = of(&self.private).map(|at| &self.private.entries()[at].0);
        let witness = self.witnesses.all().find(|it| it.host == host);
        public.into_iter().chain(private).chain(witness).max_by_key(|it| it.issued)
    }

    /// Takes in what was got for what was given, of what is believed.
    pub(super) fn take_in(
        &mut self,
        given: &[HostId],
        got: Vec<Arc<Descriptor>>,
        effects: &mut Vec<Effect>,
    ) {
        let believed: Vec<_> = got.into_iter().filter(|it| self.believe(it, effects)).collect();
        let (public, private): (Vec<_>, Vec<_>) =
            believed.into_iter().map(Known).partition(|known| known.0.access == Access::Public);
        // Who has changed sides is in one view only.
        public.iter().for_each(|it| drop(self.private.remove(it.0.host)));
        private.iter().for_each(|it| drop(self.public.remove(it.0.host)));
        let own = self.own.host;
        view::swap_in(&mut self.public, own, given, public);
        view::swap_in(&mut self.private, own, given, private);
    }

    /// Somebody has said two things at once.
    fn ban(&mut self, first: Arc<Descriptor>, second: Arc<Descriptor>, effects: &mut Vec<Effect>) {
        let host = first.host;
        self.drop_host(host);
        if self.banned.len() >= BANNED_MAX {
            self.banned.pop_first();
        }
        self.lost.retain(|it| it.host != host);
        self.banned.insert(host, self.now);
        effects.push(Effect::Caught { first, second });
    }

    /// A host was called in vain. Which of all such are remembered is left to chance: each host
    /// remembers others.
    pub(super) fn lose(&mut self, who: Arc<Descriptor>) {
        self.lost.retain(|it| it.host != who.host);
        if self.lost.len() < LOST_MAX {
            self.lost.push(who);
        } else {
            let at = self.random.below(LOST_MAX as u64) as usize;
            self.lost[at] = who;
        }
    }

    /// A host is not known any more.
    pub(super) fn drop_host(&mut self, host: HostId) {
        self.public.remove(host);
        self.private.remove(host);
        self.met.retain(|it| it.host != host);
        self.witnesses.retain(|it| it.host != host);
        self.samplers.renew(&mut self.random, |it| it.host != host);
    }
}
