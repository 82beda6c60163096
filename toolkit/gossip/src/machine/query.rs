//! Questions to all hosts, from both sides.
//!
//! * `ask`: this host's own questions, and what is handed on to whom
//! * `gather`: what comes back
//! * `answer`: what this host answers others
//!
//! Whoever is handed a question by a host first keeps what it gathers for that one, which fetches
//! it a step before its own answer is due; so nobody calls a host that cannot be called, and nobody
//! waits on an open line. Who cannot be called, and who was passed over, picks questions up from
//! the host that it meets in its next cycle, and answers for itself; rows of hosts that have picked
//! it up from *that* one it passes on.

mod answer;
mod ask;
mod gather;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use isos_base::HostId;
use isos_base::certificate::CLOCK_SLACK;
use isos_base::descriptor::Descriptor;
use isos_base::notary::Notary;
use isos_base::rate::{Rate, Rates};
use isos_base::time::{Span, Time};

use super::{Effect, Gossip, RequestId};
use crate::query::{QueryId, Question, Row, Tally, WAIT_MAX, Wonder};
use crate::wire::Answer;

/// Questions that a host works on at a time.
const OPEN_MAX: usize = 32;
/// Questions that are remembered, so that none is answered twice.
const SEEN_MAX: usize = 1_024;
/// Hosts that a host counts in one question by their own reports.
const REPORTS_MAX: usize = 1_024;
/// What one asker may ask: so many at once, and one in five seconds.
const OF_ASKER: Rate = Rate { per_second: 1, burst: 60 };
/// What a question takes of [`OF_ASKER`].
const OF_ASKER_EACH: u64 = 5;
/// What one host may say to another about questions.
const CALLS: Rate = Rate { per_second: 8, burst: 64 };
/// Askers, and callers, who are counted at a time.
const ASKERS_MAX: usize = 1_024;
/// What all askers together may ask: each question costs each host some kilobytes.
const OF_ALL: Rate = Rate { per_second: 1, burst: 60 };
/// See [`OF_ALL`].
const OF_ALL_EACH: u64 = 2;

/// For whom a question is answered.
#[derive(Debug, Clone)]
enum Above {
    /// For this host's own shell.
    Own(Wonder),
    /// For the host that handed it on, which fetches the answer.
    Host(HostId),
    /// For the host from which it was picked up, which is told.
    Picked(Arc<Descriptor>),
}

/// How far it is with a host to which a question was handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It was called.
    Asking { request: RequestId, until: Time, again: bool },
    /// It has taken it; what it gathers will be there then.
    Takes { ready: Time },
    /// It was called again.
    Gathering { request: RequestId, until: Time },
    /// It has told.
    Told,
    /// It has it from somebody else, or was not reached.
    Passed,
}

/// A host to which a question was handed on.
#[derive(Debug, Clone)]
struct Below {
    to: Arc<Descriptor>,
    /// How many hosts it may ask, itself included.
    budget: u32,
    wait: Span,
    stage: Stage,
}

/// A question that this host works on.
#[derive(Debug)]
pub(super) struct Open {
    question: Arc<Question>,
    above: Above,
    /// When it is to be answered.
    due: Time,
    hops: u8,
    /// What one host below may ask, and what is left for those who pick it up.
    share: u32,
    left: u32,
    /// This host's own answer, once it has looked.
    own: Option<Arc<Row>>,
    pub(super) tally: Tally,
    below: Vec<Below>,
    reported: BTreeSet<HostId>,
    /// Rows for the host from which it was picked up, the one that is being told first.
    unsaid: VecDeque<Arc<Row>>,
    /// The request that tells it, and whether it is the second.
    report: Option<(RequestId, Time, bool)>,
}

/// The questions of a host.
#[derive(Debug)]
pub(super) struct Queries {
    pub(super) open: BTreeMap<QueryId, Open>,
    /// Until when each is remembered: as long as anybody may still believe it.
    seen: BTreeMap<QueryId, Time>,
    pub(super) requests: BTreeMap<RequestId, QueryId>,
    /// The request for questions that are pending elsewhere.
    pending: Option<(RequestId, Arc<Descriptor>)>,
    callers: Rates<HostId>,
    of_asker: Rates<HostId>,
    of_all: Rates<()>,
}

impl Default for Queries {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            seen: BTreeMap::new(),
            requests: BTreeMap::new(),
            pending: None,
            callers: Rates::new(CALLS, ASKERS_MAX),
            of_asker: Rates::new(OF_ASKER, ASKERS_MAX),
            of_all: Rates::new(OF_ALL, 1),
        }
    }
}

impl Queries {
    /// Whether this host may say something about questions now.
    pub(super) fn may_call(&mut self, now: Time, peer: HostId) -> bool {
        self.callers.take(now, peer, 1).is_ok()
    }

    /// When something is due.
    pub(super) fn deadline(&self, step: Span) -> Option<Time> {
        self.open.values().map(|open| open.deadline(step)).min()
    }

    pub(super) fn check(&self) {
        assert!(self.open.len() <= OPEN_MAX, "too many questions are open");
        assert!(self.seen.len() <= SEEN_MAX, "too many questions are remembered");
        for (query, open) in &self.open {
            assert!(self.seen.contains_key(query), "an open question was forgotten");
            assert!(open.reported.len() <= REPORTS_MAX, "too many have reported");
            assert!(open.unsaid.len() <= open.reported.len() + 1, "too many rows wait");
            assert!(open.tally.rows.len() <= usize::from(open.question.limit), "too many rows");
            assert!(open.tally.matched <= open.tally.asked, "more fit than were asked");
        }
        for (request, query) in &self.requests {
            let open = self.open.get(query).expect("a request is of an open question");
            assert!(open.waits_for(*request), "a request that nobody waits for");
        }
    }
}

impl Open {
    fn deadline(&self, step: Span) -> Time {
        let own = match &self.above {
            Above::Own(_) => self.due,
            Above::Host(_) | Above::Picked(_) => self.ends(step),
        };
        let below = self.below.iter().filter_map(|below| match below.stage {
            Stage::Asking { until, .. } | Stage::Gathering { until, .. } => Some(until),
            Stage::Takes { ready } => Some(ready),
            Stage::Told | Stage::Passed => None,
        });
        let report = self.report.map(|(_, until, _)| until);
        below.filter(|at| *at < self.due).chain(report).fold(own, Time::min)
    }

    /// When it is fetched at the latest.
    fn ends(&self, step: Span) -> Time {
        match &self.above {
            Above::Own(_) | Above::Picked(_) => self.due,
            Above::Host(_) => self.due + step + step,
        }
    }

    fn waits_for(&self, wanted: RequestId) -> bool {
        let is_report = self.report.is_some_and(|(request, ..)| request == wanted);
        is_report || self.below_at(wanted).is_some()
    }

    /// Which host below was called by this request.
    fn below_at(&self, wanted: RequestId) -> Option<usize> {
        self.below.iter().position(|below| match below.stage {
            Stage::Asking { request, .. } | Stage::Gathering { request, .. } => request == wanted,
            Stage::Takes { .. } | Stage::Told | Stage::Passed => false,
        })
    }

    /// What is told upwards.
    fn result(&self) -> Tally {
        let mut tally = self.tally.clone();
        let lost = self
            .below
            .iter()
            .filter(|below| matches!(below.stage, Stage::Takes { .. } | Stage::Gathering { .. }));
        tally.lost = tally.lost.saturating_add(lost.count() as u32);
        tally
    }
}

/// Until when a question may come by.
fn believed_until(question: &Question) -> Time {
    question.issued + WAIT_MAX + CLOCK_SLACK
}

impl<N: Notary> Gossip<N> {
    /// Does what is due.
    pub(super) fn query_on(&mut self, effects: &mut Vec<Effect>) {
        let now = self.now;
        let step = self.tuning.step();
        let due: Vec<QueryId> = self
            .queries
            .open
            .iter()
            .filter(|(_, open)| open.deadline(step) <= now)
            .map(|(query, _)| *query)
            .collect();
        for query in due {
            self.query_due(query, effects);
        }
        self.queries.seen.retain(|_, until| *until > now);
    }

    fn query_due(&mut self, query: QueryId, effects: &mut Vec<Effect>) {
        let (now, step) = (self.now, self.tuning.step());
        let Some(open) = self.queries.open.get_mut(&query) else { return };
        if open.due <= now {
            // Whoever is still asked has not told in time.
            let late: Vec<RequestId> = self
                .queries
                .requests
                .iter()
                .filter(|(_, of)| **of == query)
                .map(|(request, _)| *request)
                .collect();
            for request in late {
                self.queries.requests.remove(&request);
                effects.push(Effect::Forget { request });
            }
            open.report = None;
            for below in &mut open.below {
                below.stage = match below.stage {
                    Stage::Asking { .. } => Stage::Passed,
                    Stage::Gathering { .. } | Stage::Takes { .. } => {
                        Stage::Takes { ready: open.due }
                    }
                    stage @ (Stage::Told | Stage::Passed) => stage,
                };
            }
            if open.ends(step) <= now
                && let Some(open) = self.queries.open.remove(&query)
                && let Above::Own(wonder) = open.above
            {
                self.found(wonder, &open, effects);
            }
            return;
        }
        if let Some((request, until, _)) = open.report
            && until <= now
        {
            self.forget(request, effects);
            self.query_failed(query, request, effects);
        }
        let Some(open) = self.queries.open.get(&query) else { return };
        let mut late = Vec::new();
        let mut ready = Vec::new();
        for (at, below) in open.below.iter().enumerate() {
            match below.stage {
                Stage::Asking { request, until, .. } | Stage::Gathering { request, until }
                    if until <= now =>
                {
                    late.push(request);
                }
                Stage::Takes { ready: then } if then <= now => ready.push(at),
                _ => {}
            }
        }
        for request in late {
            self.forget(request, effects);
            self.query_failed(query, request, effects);
        }
        for at in ready {
            self.gather(query, at, effects);
        }
    }

    fn forget(&mut self, request: RequestId, effects: &mut Vec<Effect>) {
        self.queries.requests.remove(&request);
        effects.push(Effect::Forget { request });
    }

    /// Whether this request was of a question; then it is dealt with.
    pub(super) fn query_heard(
        &mut self,
        request: RequestId,
        answer: Option<Answer>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if let Some((_, from)) = self.queries.pending.take_if(|(asked, _)| *asked == request) {
            if let Some(Answer::Questions(asks)) = answer {
                self.pick_up(&from, asks, effects);
            }
            return true;
        }
        let Some(query) = self.queries.requests.remove(&request) else { return false };
        match answer {
            Some(answer) => self.query_answered(query, request, answer, effects),
            None => self.query_failed(query, request, effects),
        }
        true
    }
}
