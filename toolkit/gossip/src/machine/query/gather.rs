//! What hosts to which a question was handed on say to it.

use std::sync::Arc;

use isos_base::descriptor::Descriptor;
use isos_base::notary::Notary;
use isos_base::time::Span;

use super::{Above, QueryId, RequestId, Stage};
use crate::machine::{Effect, Gossip};
use crate::query::{Ask, Tally};
use crate::wire::{Answer, HEARD_MAX, Report, Request};

impl<N: Notary> Gossip<N> {
    /// Asks for what a host below has found out.
    pub(super) fn gather(&mut self, query: QueryId, at: usize, effects: &mut Vec<Effect>) {
        let until = self.now + self.tuning.gathered_in();
        let Some(open) = self.queries.open.get_mut(&query) else { return };
        let Some(below) = open.below.get_mut(at) else { return };
        self.last_request += 1;
        let request = RequestId(self.last_request);
        below.stage = Stage::Gathering { request, until };
        self.queries.requests.insert(request, query);
        let ask = Box::new(Request::Gather(query));
        effects.push(Effect::Ask { request, to: below.to.clone(), ask });
    }

    pub(super) fn query_answered(
        &mut self,
        query: QueryId,
        request: RequestId,
        answer: Answer,
        effects: &mut Vec<Effect>,
    ) {
        let now = self.now;
        let Some(open) = self.queries.open.get_mut(&query) else { return };
        if open.report.take_if(|(asked, ..)| *asked == request).is_some() {
            // It is counted, or was too late.
            open.unsaid.pop_front();
            self.report(query, false, effects);
            return;
        }
        let Some(at) = open.below_at(request) else { return };
        let below = &mut open.below[at];
        match (below.stage, answer) {
            (Stage::Asking { .. }, Answer::Taken) => {
                below.stage = Stage::Takes { ready: now + below.wait };
            }
            (Stage::Asking { .. }, _) => {
                below.stage = Stage::Passed;
                self.hand_on(query, effects);
            }
            (Stage::Gathering { .. }, Answer::Gathered(tally)) => {
                below.stage = Stage::Told;
                let budget = below.budget;
                self.tell(query, *tally, budget);
            }
            (Stage::Gathering { .. }, Answer::NotYet | Answer::Busy) => {
                below.stage = Stage::Takes { ready: now + self.tuning.round_trip() };
            }
            // It has forgotten it.
            (Stage::Gathering { .. }, _) => {
                below.stage = Stage::Told;
                open.tally.lost = open.tally.lost.saturating_add(1);
            }
            (Stage::Takes { .. } | Stage::Told | Stage::Passed, _) => {}
        }
    }

    /// Takes what a host below has found out, or counts it as lost if that cannot be.
    fn tell(&mut self, query: QueryId, tally: Tally, budget: u32) {
        let Some(open) = self.queries.open.get_mut(&query) else { return };
        let question = open.question.clone();
        if tally.is_possible(&question, budget, &mut self.notary, self.now) {
            open.tally.merge(&tally, question.order, question.limit);
        } else {
            self.counts.disbelieved += 1;
            open.tally.lost = open.tally.lost.saturating_add(1);
        }
    }

    /// A request was not answered.
    pub(super) fn query_failed(
        &mut self,
        query: QueryId,
        request: RequestId,
        effects: &mut Vec<Effect>,
    ) {
        let (now, until) = (self.now, self.now + self.tuning.patience());
        let round_trip = self.tuning.round_trip();
        let Some(open) = self.queries.open.get_mut(&query) else { return };
        if let Some((_, _, again)) = open.report.take_if(|(asked, ..)| *asked == request) {
            if again {
                open.unsaid.pop_front();
            }
            self.report(query, !again, effects);
            return;
        }
        let Some(at) = open.below_at(request) else { return };
        let below = &mut open.below[at];
        match below.stage {
            // It may have taken it, and says so again.
            Stage::Asking { again: false, .. } => {
                let (question, hops) = (open.question.clone(), open.hops.saturating_sub(1));
                let budget = below.budget;
                below.wait = Span(below.wait.0.min(open.due.since(now).0));
                let ask = Ask { question, wait: below.wait, hops, budget };
                self.last_request += 1;
                let request = RequestId(self.last_request);
                below.stage = Stage::Asking { request, until, again: true };
                let to = below.to.clone();
                self.queries.requests.insert(request, query);
                let ask = Box::new(Request::Query(Box::new(ask)));
                effects.push(Effect::Ask { request, to, ask });
            }
            Stage::Asking { .. } => {
                below.stage = Stage::Passed;
                self.hand_on(query, effects);
            }
            Stage::Gathering { .. } => below.stage = Stage::Takes { ready: now + round_trip },
            Stage::Takes { .. } | Stage::Told | Stage::Passed => {}
        }
    }

    /// Asks the host that was just met for questions that have passed by here.
    pub(in crate::machine) fn look_for_questions(
        &mut self,
        to: &Arc<Descriptor>,
        effects: &mut Vec<Effect>,
    ) {
        // The latest: others are hardly told of any more.
        let mut seen: Vec<_> = self.queries.seen.iter().map(|(id, until)| (*until, *id)).collect();
        seen.sort_unstable_by(|a, b| b.cmp(a));
        let heard = seen.into_iter().take(HEARD_MAX).map(|(_, query)| query).collect();
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.queries.pending = Some((request, to.clone()));
        let ask = Box::new(Request::Pending { heard });
        effects.push(Effect::Ask { request, to: to.clone(), ask });
    }

    /// Takes on questions that were found elsewhere.
    pub(super) fn pick_up(
        &mut self,
        from: &Arc<Descriptor>,
        asks: Vec<Ask>,
        effects: &mut Vec<Effect>,
    ) {
        for ask in asks {
            if self.query_is_good(&ask) {
                let ask = Ask { hops: 0, ..ask };
                self.take_on(ask, Above::Picked(from.clone()), effects);
            }
        }
    }

    /// Tells the host from which a question was picked up the next row.
    pub(super) fn report(&mut self, query: QueryId, again: bool, effects: &mut Vec<Effect>) {
        let until = self.now + self.tuning.patience();
        let Some(open) = self.queries.open.get_mut(&query) else { return };
        let (Above::Picked(to), Some(row)) = (&open.above, open.unsaid.front()) else { return };
        if open.report.is_some() {
            return;
        }
        let (to, row) = (to.clone(), row.clone());
        self.last_request += 1;
        let request = RequestId(self.last_request);
        open.report = Some((request, until, again));
        self.queries.requests.insert(request, query);
        let ask = Box::new(Request::Report(Box::new(Report { query, row })));
        effects.push(Effect::Ask { request, to, ask });
    }
}
