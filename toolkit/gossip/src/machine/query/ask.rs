//! This host's own questions, and to whom a question is handed on.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use isos_base::HostId;
use isos_base::certificate::Seal;
use isos_base::descriptor::{Access, Admission, Descriptor};
use isos_base::key::Signature;
use isos_base::notary::Notary;
use isos_base::time::Span;

use super::{Above, Below, OF_ALL_EACH, OF_ASKER_EACH, OPEN_MAX, Open, SEEN_MAX, Stage};
use super::{QueryId, believed_until};
use crate::machine::{Effect, Gossip};
use crate::query::{
    Ask, BUDGET_MAX, Found, HOPS_MAX, Question, ROWS_MAX, TEXT_BYTES_MAX, Tally, Unasked, WAIT_MAX,
    Wonder, Wondered,
};
use crate::view::Slots;
use crate::wire::Request;

/// Who fails or has it already is made up for by so many others.
const TRIES_MORE: usize = 2;
/// Each hop reaches so many times more hosts, at the least.
const GROWTH: f64 = 2.5;
/// Hops more than that, for those who are reached late.
const HOPS_MORE: f64 = 2.0;

impl<N: Notary> Gossip<N> {
    /// Whether this host can ask, and if so, what.
    fn question(&mut self, it: &Wondered) -> Result<Question, Unasked> {
        let is_late = |it: &isos_base::certificate::Certificate| it.is_over(self.now);
        let certificate = self.own.certificate.as_ref().filter(|it| !is_late(it));
        let admission = Admission::from(certificate.ok_or(Unasked::NotAdmitted)?);
        if it.text.len() > TEXT_BYTES_MAX {
            return Err(Unasked::TooLong { bytes: it.text.len() });
        }
        let queries = &mut self.queries;
        if queries.open.len() >= OPEN_MAX || queries.seen.len() >= SEEN_MAX {
            return Err(Unasked::TooMany { wait: Span::secs(5) });
        }
        let taken = queries.of_asker.take(self.now, self.own.host, OF_ASKER_EACH);
        taken.map_err(|wait| Unasked::TooMany { wait })?;
        let question = Question {
            asker: self.own.host,
            admission,
            issued: self.now,
            number: self.random.next_u64(),
            text: it.text.clone(),
            order: it.order,
            limit: it.limit.min(ROWS_MAX as u16),
            seal: Seal::from(Signature([0; 64])),
        };
        Ok(question.signed(&mut self.notary))
    }

    /// As many as there seem to be.
    fn hosts_about(&self) -> f64 {
        let known = self.public.entries().len() + self.private.entries().len() + 1;
        let counted = self.estimate.as_ref().map_or(0.0, |it| it.hosts);
        let (witnessed, _) = self.witnesses.estimate();
        counted.max(witnessed).max(known as f64)
    }

    /// The shell wants to know something.
    pub(in crate::machine) fn wonder(&mut self, it: &Wondered, effects: &mut Vec<Effect>) {
        let question = match self.question(it) {
            Ok(question) => Arc::new(question),
            Err(why) => {
                return effects.push(Effect::Unfound { wonder: it.wonder, why });
            }
        };
        let hosts = self.hosts_about();
        let hops = (hosts.ln() / GROWTH.ln()).ceil() + HOPS_MORE;
        let hops = hops.clamp(1.0, HOPS_MAX.into()) as u8;
        let budget = it.budget.unwrap_or(BUDGET_MAX).clamp(1, BUDGET_MAX);
        let cycle = self.tuning.cycle.0;
        // The host that is reached last waits for a cycle and a half for those who pick it up.
        let usual = Span(cycle + cycle / 2 + self.tuning.step().0 * u64::from(hops));
        let wait = it.wait.unwrap_or(usual).min(WAIT_MAX);
        let ask = Ask { question, wait, hops, budget };
        self.take_on(ask, Above::Own(it.wonder), effects);
    }

    /// Works on a question from now on.
    pub(super) fn take_on(&mut self, ask: Ask, above: Above, effects: &mut Vec<Effect>) {
        let Ask { question, wait, hops, budget } = ask;
        let (query, step) = (question.id(), self.tuning.step());
        let text = question.text.clone();
        let rest = budget.saturating_sub(1);
        // One share stays for those who pick it up.
        let share = rest / (self.tuning.fanout as u32 + 1);
        let is_alone = matches!(above, Above::Picked(_)) || hops == 0;
        let left = if is_alone { rest } else { rest - share * self.tuning.fanout as u32 };
        let open = Open {
            above,
            due: self.now + wait,
            hops,
            share: if is_alone { 0 } else { share },
            left,
            own: None,
            tally: Tally::default(),
            below: Vec::new(),
            reported: BTreeSet::new(),
            unsaid: VecDeque::new(),
            report: None,
            question,
        };
        let until = believed_until(&open.question).max(open.due + step + step);
        self.queries.seen.insert(query, until);
        self.queries.open.insert(query, open);
        effects.push(Effect::Weigh { query, text });
        self.hand_on(query, effects);
    }

    /// Whether a question of an asker may be taken on; it is counted then.
    pub(super) fn may_take(&mut self, asker: HostId) -> bool {
        let queries = &mut self.queries;
        queries.open.len() < OPEN_MAX
            && queries.seen.len() < SEEN_MAX
            // In this order: who asks too often takes nothing from the others.
            && queries.of_asker.take(self.now, asker, OF_ASKER_EACH).is_ok()
            && queries.of_all.take(self.now, (), OF_ALL_EACH).is_ok()
    }

    /// Hands it on to as many as shall have it, as long as there is time.
    pub(super) fn hand_on(&mut self, query: QueryId, effects: &mut Vec<Effect>) {
        let step = self.tuning.step();
        loop {
            let Some(open) = self.queries.open.get(&query) else { return };
            let wait = open.due.since(self.now);
            // A question that is in a hurry has shorter steps.
            let step = step.min(Span(wait.0 / (u64::from(open.hops) + 1)));
            let taken = open.below.iter().filter(|it| it.stage != Stage::Passed).count();
            let is_enough = taken >= self.tuning.fanout
                || open.below.len() >= self.tuning.fanout + TRIES_MORE
                || open.share == 0
                || open.hops == 0
                || wait < self.tuning.round_trip() + step;
            if is_enough {
                return;
            }
            let Some(to) = self.somebody_for(query) else { return };
            let Some(open) = self.queries.open.get_mut(&query) else { return };
            let (question, hops) = (open.question.clone(), open.hops - 1);
            let (budget, wait) = (open.share, Span(wait.0 - step.0));
            let until = self.now + self.tuning.patience();
            self.last_request += 1;
            let request = crate::machine::RequestId(self.last_request);
            let stage = Stage::Asking { request, until, again: false };
            open.below.push(Below { to: to.clone(), budget, wait, stage });
            self.queries.requests.insert(request, query);
            let ask = Request::Query(Box::new(Ask { question, wait, hops, budget }));
            effects.push(Effect::Ask { request, to, ask: Box::new(ask) });
        }
    }

    /// Somebody that can be called and was not asked by this host.
    fn somebody_for(&mut self, query: QueryId) -> Option<Arc<Descriptor>> {
        let open = self.queries.open.get(&query)?;
        let above = match &open.above {
            Above::Host(host) => *host,
            Above::Own(_) | Above::Picked(_) => self.own.host,
        };
        let known = self.public.entries().iter().map(|known| &known.0);
        let all: BTreeSet<HostId> = known
            .chain(self.samplers.drawn())
            .chain(&self.met)
            .filter(|it| it.access == Access::Public)
            .map(|it| it.host)
            .filter(|host| *host != self.own.host && *host != above)
            .filter(|host| *host != open.question.asker)
            .filter(|host| open.below.iter().all(|below| below.to.host != *host))
            .collect();
        let at = self.random.below(all.len() as u64) as usize;
        let host = all.into_iter().nth(at)?;
        let known = self.public.entries().iter().map(|known| &known.0);
        known.chain(self.samplers.drawn()).chain(&self.met).find(|it| it.host == host).cloned()
    }

    /// The time of a question of this host's own is over.
    pub(super) fn found(&self, wonder: Wonder, open: &Open, effects: &mut Vec<Effect>) {
        let found = Found {
            wonder,
            tally: open.result(),
            hosts: self.estimate.as_ref().map(|it| it.hosts),
            waited: self.now.since(open.question.issued),
        };
        effects.push(Effect::Found(Box::new(found)));
    }
}
