//! The exchange of a cycle, from both sides.

use std::sync::Arc;

use isos_base::HostId;
use isos_base::descriptor::{Access, Descriptor};
use isos_base::notary::Notary;
use isos_base::time::Span;

use super::{Effect, Gossip, Known, Pending, RequestId};
use crate::view::{self, Slots};
use crate::wire::{Answer, Averaged, Exchange, Exchanged, Request};

impl<N: Notary> Gossip<N> {
    /// Answers somebody.
    pub(super) fn serve(
        &mut self,
        peer: HostId,
        request: Request,
        effects: &mut Vec<Effect>,
    ) -> Answer {
        let may = match &request {
            Request::Exchange(_) => self.askers.take(self.now, peer, 1).is_ok(),
            _ => self.queries.may_call(self.now, peer),
        };
        if !may {
            return Answer::Busy;
        }
        match request {
            Request::Exchange(exchange) => self.exchange(peer, *exchange, effects),
            Request::Query(ask) => self.queried(peer, *ask, effects),
            Request::Gather(query) => self.gathered(peer, query),
            Request::Pending { heard } => self.pending(peer, &heard),
            Request::Report(report) => self.reported(&report, effects),
        }
    }

    fn exchange(&mut self, peer: HostId, it: Exchange, effects: &mut Vec<Effect>) -> Answer {
        let Some(own) = self.own.descriptor.clone() else { return Answer::Busy };
        let Exchange { from, offers, witnesses, accused, average } = it;
        if from.host != peer || !self.believe(&from, effects) {
            return Answer::Refused;
        }
        self.counts.served += 1;
        self.quiet = 0;
        self.ratio.came(from.access);
        let given = self.give(peer, false);
        let hosts: Vec<HostId> = given.iter().map(|it| it.host).collect();
        let told = self.witnesses.draw(&mut self.random);
        self.suspicion.answered(peer);
        self.heed(peer, &accused, effects);
        let mut got = offers;
        got.push(from);
        self.take_in(&hosts, got, effects);
        self.hear_of(&witnesses, effects);
        let average = match average {
            None => Averaged::Nothing,
            Some(offered) => {
                let (host, told) = (self.own.host, self.own.told);
                let over = self.epochs.hear(self.now, offered.epoch, host, &told);
                self.estimated(over, effects);
                let before = self.hosts_at_most();
                self.epochs.take(peer, &offered, before)
            }
        };
        Answer::Exchanged(Box::new(Exchanged {
            from: own,
            offers: given,
            witnesses: told,
            accused: self.suspicion.accuses(self.now),
            average,
            public: self.ratio.counted(),
        }))
    }

    /// Those who stand for all are counted, and are in no view.
    fn hear_of(&mut self, witnesses: &[Arc<Descriptor>], effects: &mut Vec<Effect>) {
        for witness in witnesses {
            self.believe(witness, effects);
        }
    }

    fn heed(&mut self, observer: HostId, accused: &[HostId], effects: &mut Vec<Effect>) {
        for &host in accused {
            // Who is accused of being gone and reads it is not.
            if host != self.own.host
                && host != observer
                && self.suspicion.accused(self.now, observer, host)
            {
                self.drop_host(host);
                effects.push(Effect::Gone { host });
            }
        }
    }

    /// Takes an answer.
    pub(super) fn hear(
        &mut self,
        request: RequestId,
        answer: Answer,
        round_trip: Option<Span>,
        effects: &mut Vec<Effect>,
    ) {
        if self.pending.as_ref().is_none_or(|pending| pending.request != request) {
            self.query_heard(request, Some(answer), effects);
            return;
        }
        let Some(Pending { to, given, seq, .. }) = self.pending.take() else { return };
        let before = self.hosts_at_most();
        let it = match answer {
            Answer::Exchanged(it) if it.from.host == to.host => *it,
            // It is there, but takes part in nothing now.
            _ => {
                self.suspicion.answered(to.host);
                self.close(seq, None, before);
                return;
            }
        };
        self.suspicion.answered(to.host);
        self.counts.answered += 1;
        let Exchanged { from, offers, witnesses, accused, average, public } = it;
        self.measure(&from, round_trip);
        self.heed(to.host, &accused, effects);
        self.take_in(&given, offers, effects);
        self.hear_of(&witnesses, effects);
        if let Some(share) = public {
            self.ratio.told(share);
        }
        // In a small world views are never full, and whoever answers stays known.
        if self.believe(&from, effects)
            && from.access == Access::Public
            && self.public.entries().len() < self.public.capacity()
        {
            view::swap_in(&mut self.public, self.own.host, &[], [Known(from)]);
        }
        self.close(seq, Some(&average), before);
        if let Averaged::Epoch(epoch) = average {
            let (host, told) = (self.own.host, self.own.told);
            let over = self.epochs.hear(self.now, epoch, host, &told);
            self.estimated(over, effects);
        }
        self.look_for_questions(&to, effects);
    }

    /// How many hosts there may be, to tell names that are made up. By those who stand for all,
    /// since they outlive an epoch that was spoilt; nothing as long as these are few.
    fn hosts_at_most(&self) -> Option<f64> {
        let (witnessed, error) = self.witnesses.estimate();
        let before = self.estimate.as_ref().map_or(0.0, |it| it.hosts);
        (error > 0.0).then(|| witnessed.max(before))
    }

    fn close(&mut self, seq: Option<u64>, answer: Option<&Averaged>, hosts: Option<f64>) {
        if let Some(seq) = seq {
            self.epochs.close(seq, answer, hosts);
        }
    }

    fn measure(&mut self, from: &Descriptor, round_trip: Option<Span>) {
        let Some(round_trip) = round_trip else { return };
        let millis = self.filter.sample(from.host, round_trip.as_secs_f64() * 1e3);
        self.own.point.update(&from.coordinate.into(), millis, &mut self.random);
    }

    /// A request was not answered. If it may have been heard, it is sent once more as it is: the
    /// other may have taken the average, and answers the same again.
    pub(super) fn fail(&mut self, request: RequestId, sent: bool, effects: &mut Vec<Effect>) {
        if self.query_heard(request, None, effects) {
            return;
        }
        let again = self.patience();
        let Some(pending) = &mut self.pending else { return };
        if pending.request != request {
            return;
        }
        if sent && pending.seq.is_some() && !pending.again {
            pending.again = true;
            pending.due = self.now + again;
            self.last_request += 1;
            pending.request = RequestId(self.last_request);
            effects.push(Effect::Ask {
                request: pending.request,
                to: pending.to.clone(),
                ask: Box::new(pending.ask.clone()),
            });
            return;
        }
        let Some(Pending { to, seq, sought, .. }) = self.pending.take() else { return };
        self.close(seq, None, None);
        if sought {
            // That it is gone is no news.
            return;
        }
        self.lose(to.clone());
        if self.suspicion.failed(self.now, self.own.host, to.host) {
            self.drop_host(to.host);
            effects.push(Effect::Gone { host: to.host });
        } else if !self.suspicion.is_alone() && self.met.len() > 1 {
            self.met.retain(|met| met.host != to.host);
        }
    }

    pub(super) fn time_out(&mut self, effects: &mut Vec<Effect>) {
        if let Some(pending) = &self.pending
            && pending.due <= self.now
        {
            let request = pending.request;
            effects.push(Effect::Forget { request });
            self.fail(request, true, effects);
        }
    }

    /// A new cycle begins, and the last exchange is still not over.
    pub(super) fn give_up(&mut self, effects: &mut Vec<Effect>) {
        if let Some(pending) = &self.pending {
            let request = pending.request;
            effects.push(Effect::Forget { request });
            self.fail(request, false, effects);
        }
    }
}
