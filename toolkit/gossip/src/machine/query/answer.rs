//! What this host answers others about questions, and itself.

use std::sync::Arc;

use isos_base::HostId;
use isos_base::certificate::CLOCK_SLACK;
use isos_base::descriptor::Admission;
use isos_base::notary::Notary;
use isos_base::time::Span;

use super::{Above, QueryId, REPORTS_MAX, believed_until};
use crate::machine::{Effect, Gossip};
use crate::query::{Ask, Row, Tally, Weighed};
use crate::wire::{Answer, QUESTIONS_MAX, Report};

impl<N: Notary> Gossip<N> {
    /// Whether it is asked of late, by an admitted host that does not ask too often, and not known.
    pub(super) fn query_is_good(&mut self, ask: &Ask) -> bool {
        let question = &ask.question;
        let is_of_now = question.issued <= self.now + CLOCK_SLACK
            && self.now < believed_until(question)
            && ask.wait > Span::ZERO
            && ask.budget > 0;
        is_of_now
            && self.own.descriptor.is_some()
            && !self.queries.seen.contains_key(&question.id())
            && !self.banned.contains_key(&question.asker)
            && question.is_by_its_asker(&mut self.notary, self.now)
            && self.may_take(question.asker)
    }

    /// Somebody hands a question on.
    pub(in crate::machine) fn queried(
        &mut self,
        peer: HostId,
        ask: Ask,
        effects: &mut Vec<Effect>,
    ) -> Answer {
        let query = ask.question.id();
        let is_theirs = |above: &Above| matches!(above, Above::Host(host) if *host == peer);
        if self.queries.open.get(&query).is_some_and(|open| is_theirs(&open.above)) {
            // The answer was lost.
            return Answer::Taken;
        }
        if self.queries.seen.contains_key(&query) {
            return Answer::Already;
        }
        if !self.query_is_good(&ask) {
            return Answer::Busy;
        }
        self.take_on(ask, Above::Host(peer), effects);
        Answer::Taken
    }

    /// Whoever handed a question on wants to know what was found out.
    pub(in crate::machine) fn gathered(&self, peer: HostId, query: QueryId) -> Answer {
        match self.queries.open.get(&query) {
            Some(open) if matches!(open.above, Above::Host(host) if host == peer) => {
                let is_due = open.due <= self.now;
                if is_due { Answer::Gathered(Box::new(open.result())) } else { Answer::NotYet }
            }
            _ => Answer::Refused,
        }
    }

    /// Somebody looks for questions that have passed it by.
    pub(in crate::machine) fn pending(&self, peer: HostId, heard: &[QueryId]) -> Answer {
        // It must come back with its answer before this host's own is due.
        let step = self.tuning.round_trip();
        let open = self.queries.open.iter().filter(|(query, open)| {
            open.question.asker != peer
                && open.left > 0
                && self.now + step < open.due
                && !open.reported.contains(&peer)
                && !heard.contains(query)
        });
        let asks = open.take(QUESTIONS_MAX).map(|(_, open)| {
            let (question, wait) = (open.question.clone(), open.due.since(self.now));
            Ask { question, wait, hops: 0, budget: open.left }
        });
        Answer::Questions(asks.collect())
    }

    /// Somebody has picked a question up here, and answers for itself or passes a row on.
    pub(in crate::machine) fn reported(
        &mut self,
        report: &Report,
        effects: &mut Vec<Effect>,
    ) -> Answer {
        let Report { query, row } = report;
        let Some(open) = self.queries.open.get_mut(query) else { return Answer::Refused };
        if open.reported.contains(&row.host) {
            return Answer::Taken;
        }
        let is_open = self.now < open.due
            && open.left > 0
            && open.reported.len() < REPORTS_MAX
            && row.host != self.own.host;
        if !is_open {
            return Answer::Refused;
        }
        let question = open.question.clone();
        // As a tally of one host, so that there is one place where rows are believed or not.
        let mut tally = Tally::default();
        tally.add(row, question.order, question.limit);
        let is_its_own = row.is_by_its_host(*query, &mut self.notary, self.now)
            && tally.is_possible(&question, 1, &mut self.notary, self.now);
        if !is_its_own {
            self.counts.disbelieved += 1;
            return Answer::Refused;
        }
        open.left -= 1;
        open.reported.insert(row.host);
        if matches!(open.above, Above::Picked(_)) {
            open.unsaid.push_back(row.clone());
            self.report(*query, false, effects);
        } else {
            open.tally.merge(&tally, question.order, question.limit);
        }
        Answer::Taken
    }

    /// This host has asked itself.
    pub(in crate::machine) fn weighed(
        &mut self,
        query: QueryId,
        weighed: Weighed,
        effects: &mut Vec<Effect>,
    ) {
        let Some(certificate) = &self.own.certificate else { return };
        let admission = Admission::from(certificate);
        let Some(open) = self.queries.open.get_mut(&query) else { return };
        if open.own.is_some() || open.due <= self.now {
            return;
        }
        let row = Arc::new(Row::of(self.own.host, admission, weighed, query, &mut self.notary));
        let question = open.question.clone();
        open.own = Some(row.clone());
        if matches!(open.above, Above::Picked(_)) {
            open.unsaid.push_back(row);
        } else {
            open.tally.add(&row, question.order, question.limit);
        }
        self.report(query, false, effects);
    }
}
