//! The beginning of a cycle: what this host says of itself, whom it meets, what it gives.

use std::sync::Arc;

use isos_base::HostId;
use isos_base::descriptor::{
    Access, Admission, DESCRIPTOR_ADDRESSES_MAX, DESCRIPTOR_RELAY_CHARS_MAX, Descriptor,
};
use isos_base::notary::Notary;
use isos_base::time::{Span, Time};

use super::{Effect, Gossip, Known, MET_MAX, Pending, RequestId};
use crate::attribute;
use crate::epoch::Over;
use crate::estimate::{Beside, Estimate};
use crate::view::{self, Slots};
use crate::wire::{Exchange, Request};

/// An exchange has so many parts of a cycle, and a second try as many.
const PATIENCE_PARTS: u64 = 3;
/// A public host that nobody calls for so many cycles is none.
const QUIET_CYCLES: u64 = 60;
/// Addresses that others get: each is carried by everybody.
const ADDRESSES_TOLD: usize = 3;
/// Somebody who is not in the view is met once in so many cycles.
const ELSEWHERE_ONE_IN: u64 = 12;
/// Of the cycles in which nothing is summed up, one in so many is for somebody who is lost.
const LOST_ONE_IN: u64 = 5;
/// Peers are remembered once in so many cycles.
const REMEMBER_EVERY: u64 = 30;

impl<N: Notary> Gossip<N> {
    /// The beginning of the cycle of the clock.
    fn slot(&self) -> Time {
        self.tuning.slot(self.now)
    }

    /// This host as it is now, for the slot that is now: once in a slot, if it is admitted.
    fn describe(&mut self) -> Descriptor {
        let own = &self.own;
        let is_ours = |address: &std::net::SocketAddr| {
            own.certificate.as_ref().is_none_or(|it| it.blocks.has(address))
        };
        // The complex must find among all of them the one that this host calls from.
        let most =
            if own.certificate.is_some() { ADDRESSES_TOLD } else { DESCRIPTOR_ADDRESSES_MAX };
        let addresses = own.addresses.iter().copied().filter(is_ours);
        let described = Descriptor {
            addresses: addresses.take(most).collect(),
            relay: own.relay.clone().filter(|it| it.len() <= DESCRIPTOR_RELAY_CHARS_MAX),
            coordinate: own.point.into(),
            marks: attribute::marks(&own.told),
            admission: own.certificate.as_ref().map(Admission::from),
            ..Descriptor::unsigned(own.host, own.access, self.slot())
        };
        described.signed(&mut self.notary)
    }

    /// Makes this slot's descriptor, if there is none yet and may be one.
    fn describe_again(&mut self) {
        let issued = self.own.descriptor.as_ref().map_or(self.started, |it| it.issued);
        if self.own.certificate.is_some() && issued < self.slot() {
            self.own.descriptor = Some(Arc::new(self.describe()));
        }
    }

    /// This host for the complex, which may not have admitted it yet.
    pub fn introduce(&mut self, now: Time) -> Descriptor {
        self.now = self.now.max(now);
        self.describe_again();
        match &self.own.descriptor {
            Some(descriptor) => (**descriptor).clone(),
            None => {
                // Others do not believe it, so it is nobody's second word.
                let certificate = self.own.certificate.take();
                let described = self.describe();
                self.own.certificate = certificate;
                described
            }
        }
    }

    pub(super) fn cycle(&mut self, effects: &mut Vec<Effect>) {
        let late = self.now.since(self.next_cycle).0 / self.tuning.cycle.0.max(1);
        self.next_cycle += Span(self.tuning.cycle.0.max(1).saturating_mul(late + 1));
        self.cycles += 1;
        self.quiet += 1;
        let over = self.epochs.turn(self.now, self.own.host, &self.own.told);
        self.estimated(over, effects);
        self.forget_the_stale();
        self.give_up(effects);
        let is_over = |it: &isos_base::certificate::Certificate| it.is_over(self.now);
        if self.own.certificate.as_ref().is_none_or(is_over) {
            self.own.descriptor = None;
            return;
        }
        if self.quiet > QUIET_CYCLES && !self.suspicion.is_alone() {
            // Or it would be called in vain by everybody.
            self.own.access = Access::Private;
        }
        self.describe_again();
        self.begin(effects);
        if self.cycles.is_multiple_of(REMEMBER_EVERY) || self.cycles == 3 {
            self.remember(effects);
        }
    }

    /// Who was not heard of for long is not told of any more.
    fn forget_the_stale(&mut self) {
        let age = Span(self.tuning.cycle.0.saturating_mul(self.tuning.forgotten_after));
        let since = self.now - age;
        self.public.retain(|known| known.0.issued >= since);
        self.private.retain(|known| known.0.issued >= since);
        self.witnesses.retain(|who| who.issued >= since);
        self.samplers.renew(&mut self.random, |who| who.issued >= since);
    }

    /// Meets the public host that was not heard of for longest, as a rule.
    fn begin(&mut self, effects: &mut Vec<Effect>) {
        let Some(from) = self.own.descriptor.clone() else { return };
        let lost = self.look_for_lost();
        let sought = lost.is_some();
        let Some(to) = lost.or_else(|| self.partner()) else { return };
        let offers = self.give(to.host, true);
        let given = offers.iter().map(|it| it.host).collect();
        let average = self.epochs.offer();
        let seq = average.as_ref().map(|it| it.seq);
        let ask = Request::Exchange(Box::new(Exchange {
            from,
            offers,
            witnesses: self.witnesses.draw(&mut self.random),
            accused: self.suspicion.accuses(self.now),
            average,
        }));
        self.counts.begun += 1;
        let request = self.number();
        let due = self.now + self.patience();
        self.pending = Some(Pending {
            request,
            to: to.clone(),
            ask: ask.clone(),
            given,
            seq,
            due,
            sought,
            again: false,
        });
        effects.push(Effect::Ask { request, to, ask: Box::new(ask) });
    }

    pub(super) fn number(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    pub(super) fn patience(&self) -> Span {
        Span(self.tuning.cycle.0 / PATIENCE_PARTS)
    }

    /// Somebody who was called in vain, now and then: a part of all that was cut off for so long
    /// that everybody here has forgotten it is found again by this, or not at all. Only when
    /// nothing is summed up, since most of them are gone for good.
    fn look_for_lost(&mut self) -> Option<Arc<Descriptor>> {
        if self.lost.is_empty() || self.epochs.offers() || !self.random.one_in(LOST_ONE_IN) {
            return None;
        }
        let at = self.random.below(self.lost.len() as u64) as usize;
        self.lost.get(at).cloned()
    }

    fn partner(&mut self) -> Option<Arc<Descriptor>> {
        // Two groups that do not know of each other stay so, if nobody remembers. So now and then
        // somebody is met who was drawn or met before; each second time while hardly anybody is
        // known.
        let is_small = self.public.entries().len() * 2 < self.public.capacity();
        let elsewhere = self.random.one_in(if is_small { 2 } else { ELSEWHERE_ONE_IN });
        let oldest = view::oldest(&self.public);
        if let Some(at) = oldest.filter(|_| !elsewhere) {
            return Some(self.public.take(at).0);
        }
        let own = self.own.host;
        let may = |it: &&Arc<Descriptor>| it.access == Access::Public && it.host != own;
        let all: Vec<_> = self.samplers.drawn().chain(&self.met).filter(may).collect();
        let at = self.random.below(all.len() as u64) as usize;
        match all.get(at).copied().cloned() {
            Some(other) => {
                self.public.remove(other.host);
                Some(other)
            }
            None => oldest.map(|at| self.public.take(at).0),
        }
    }

    /// What is given to somebody: of both views, and this host itself where it must be known at
    /// all.
    pub(super) fn give(&mut self, to: HostId, with_own: bool) -> Vec<Arc<Descriptor>> {
        // This host itself goes along as `from`.
        let count = self.tuning.swap.saturating_sub(usize::from(with_own));
        let (public, private) = (self.public.entries().len(), self.private.entries().len());
        // As many of each; what one lacks the other gives.
        let of_private = private.min((count / 2).max(count.saturating_sub(public)));
        let of_public = count - of_private;
        let mut drawn = view::draw(&self.public, of_public, &mut self.random);
        drawn.extend(view::draw(&self.private, of_private, &mut self.random));
        drawn.into_iter().map(|Known(it)| it).filter(|it| it.host != to).collect()
    }

    pub(super) fn estimated(&mut self, over: Option<Over>, effects: &mut Vec<Effect>) {
        let Some(over) = over else { return };
        let beside = Beside {
            told: &self.own.told,
            window: &self.window,
            witnessed: self.witnesses.estimate(),
            public: self.ratio.share(),
        };
        let estimate = Box::new(Estimate::of(&over, self.now, &beside));
        self.estimate = Some(estimate.clone());
        effects.push(Effect::Estimated(estimate));
    }

    fn remember(&mut self, effects: &mut Vec<Effect>) {
        let is_public = |it: &&Arc<Descriptor>| it.access == Access::Public;
        let drawn = self.samplers.drawn().filter(is_public);
        let mut peers: Vec<Arc<Descriptor>> = Vec::with_capacity(MET_MAX);
        for it in self.public.entries().iter().map(|known| &known.0).chain(drawn) {
            if peers.len() < MET_MAX && peers.iter().all(|peer| peer.host != it.host) {
                peers.push(it.clone());
            }
        }
        if !peers.is_empty() {
            // Also for a time in which this host is cut off, and views run empty.
            self.met.clone_from(&peers);
            effects.push(Effect::Remember { peers });
        }
    }
}
