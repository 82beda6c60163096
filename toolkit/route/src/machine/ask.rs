//! Requests on their way: to whom, for what, until when.
//!
//! Nobody is waited for longer than what was measured of them says. A late answer still proves that
//! its host lives, and still helps its walk; then the request is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isos_base::Guid;
use isos_base::time::{Span, Time};

use super::walk::WalkId;
use super::{Effect, RequestId, Route};
use crate::contact::Contact;
use crate::lookup::Heard;
use crate::notary::{Notary, Verdict};
use crate::position::Position;
use crate::wire::{Answer, Ask, Find, Request};

/// Requests that are on their way at a time; a machine that has so many asks nothing more.
pub(super) const REQUESTS_MAX: usize = 1_024;
/// A walk is begun only if so many more fit, so that it need not stop halfway.
const WALK_ROOM: usize = 128;
/// A late answer is still heard until then.
const LATE_MAX: Span = Span::secs(8);
/// How often a host is told how to reach this one.
const TELL_EVERY: Span = Span::secs(600);

/// What a request is for.
#[derive(Debug, Clone)]
pub(super) enum Errand {
    /// Whether somebody lives who had a place in the table.
    Probe,
    /// Contacts for the table.
    Exchange { target: Position, within: u64, want: u8 },
    /// A step of a walk.
    Walk(WalkId),
    /// Pointers of this host.
    Announce { group: u64, guids: Vec<Guid> },
    /// Pointers of others.
    HandOver,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) to: Arc<Contact>,
    sent: Time,
    /// Too late after this, then forgotten after this.
    due: Time,
    is_late: bool,
    errand: Errand,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pending: BTreeMap<RequestId, Pending>,
    due: BTreeSet<(Time, RequestId)>,
    last: u64,
}

impl Requests {
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= REQUESTS_MAX
    }

    pub(super) fn has_room_for_a_walk(&self) -> bool {
        self.pending.len() + WALK_ROOM <= REQUESTS_MAX
    }

    /// Whether a probe to this place is under way.
    pub(super) fn is_probing(&self, place: Position) -> bool {
        let mut all = self.pending.values().filter(|it| !it.is_late);
        all.any(|it| matches!(it.errand, Errand::Probe) && it.to.position() == place)
    }

    fn add(&mut self, pending: Pending) -> RequestId {
        self.last += 1;
        let request = RequestId(self.last);
        self.due.insert((pending.due, request));
        self.pending.insert(request, pending);
        request
    }

    fn take(&mut self, request: RequestId) -> Option<Pending> {
        let pending = self.pending.remove(&request)?;
        self.due.remove(&(pending.due, request));
        Some(pending)
    }

    pub(super) fn check(&self) {
        let due: BTreeSet<_> = self.pending.iter().map(|(id, it)| (it.due, *id)).collect();
        assert_eq!(due, self.due, "what is due when");
        assert!(self.pending.len() <= REQUESTS_MAX, "too many requests");
    }
}

impl<N: Notary> Route<N> {
    /// Sends a request, unless too many are under way.
    pub(super) fn ask(
        &mut self,
        to: Arc<Contact>,
        request: Request,
        errand: Errand,
        effects: &mut Vec<Effect>,
    ) -> bool {
        if self.requests.is_full() {
            return false;
        }
        let (now, place) = (self.now, to.position());
        let entry = self.table.get(place);
        let knows = entry.is_some_and(|it| it.told != Time(0) && now.since(it.told) < TELL_EVERY);
        let from = (self.is_router && !knows).then(|| self.own.clone());
        let wait = entry.map(|it| it.rtt).unwrap_or_default().timeout();
        if from.is_some() {
            self.table.told(now, place);
        }
        let pending =
            Pending { to: to.clone(), sent: now, due: now + wait, is_late: false, errand };
        let id = self.requests.add(pending);
        effects.push(Effect::Ask { request: id, to, ask: Box::new(Ask { from, request }) });
        true
    }

    /// Takes an answer.
    pub(super) fn hear(&mut self, request: RequestId, answer: Answer, effects: &mut Vec<Effect>) {
        let Some(pending) = self.requests.take(request) else { return };
        let Pending { to, sent, is_late, errand, .. } = pending;
        let after = self.now.since(sent);
        let is_new = self.table.answered(self.now, &to, after);
        if is_new {
            self.newcomer(&to);
        }
        match (errand, answer) {
            (Errand::Probe, _) => {
                if !is_late && !is_new {
                    self.pace.learn(true);
                }
            }
            (Errand::Exchange { target, within, want }, Answer::Found { contacts, .. }) => {
                self.exchanged(&to, target, within, want, &contacts);
            }
            (Errand::Walk(walk), Answer::Found { contacts, pointers }) => {
                self.walk_on(walk, &to, &contacts, pointers, effects);
            }
            (Errand::Announce { group, guids }, Answer::Put(puts)) => {
                self.announced(group, &guids, &puts, effects);
            }
            // Busy, or an answer to something else.
            (Errand::Walk(walk), _) => self.walk_failed(walk, to.position(), effects),
            (Errand::Announce { group, guids }, _) => {
                self.announced(group, &guids, &[], effects);
            }
            (Errand::Exchange { .. } | Errand::HandOver, _) => {}
        }
    }

    /// A request got no answer and will get none.
    pub(super) fn give_up(&mut self, request: RequestId, effects: &mut Vec<Effect>) {
        let Some(Pending { to, is_late, errand, .. }) = self.requests.take(request) else { return };
        if !is_late {
            self.silent(&to, &errand);
        }
        match errand {
            Errand::Walk(walk) => self.walk_failed(walk, to.position(), effects),
            Errand::Announce { group, guids } if !is_late => {
                self.announced(group, &guids, &[], effects);
            }
            _ => {}
        }
    }

    /// Somebody has not answered in time: what that means for the table.
    fn silent(&mut self, to: &Contact, errand: &Errand) {
        let place = to.position();
        let had_lived = self.table.get(place).is_some_and(|entry| entry.proven);
        self.table.failed(place);
        if had_lived && matches!(errand, Errand::Probe) {
            self.pace.learn(false);
        }
        if self.table.is_empty() {
            self.pace.start_over();
        }
    }

    /// Goes on without those who are late, and forgets those who are very late.
    pub(super) fn time_out(&mut self, effects: &mut Vec<Effect>) {
        while let Some(&(at, request)) = self.requests.due.first()
            && at <= self.now
        {
            let Some(mut pending) = self.requests.take(request) else { break };
            if pending.is_late {
                if let Errand::Walk(walk) = pending.errand {
                    self.walk_failed(walk, pending.to.position(), effects);
                }
                effects.push(Effect::Forget { request });
                continue;
            }
            let to = pending.to.clone();
            self.silent(&to, &pending.errand);
            // An answer to a put may still come; its copies are then not counted twice.
            let errand = match &pending.errand {
                Errand::Announce { .. } => std::mem::replace(&mut pending.errand, Errand::HandOver),
                other => other.clone(),
            };
            pending.is_late = true;
            pending.due = self.now.max(pending.sent + LATE_MAX) + Span(1);
            self.requests.due.insert((pending.due, request));
            self.requests.pending.insert(request, pending);
            match errand {
                Errand::Walk(walk) => self.walk_late(walk, to.position(), effects),
                Errand::Announce { group, guids } => self.announced(group, &guids, &[], effects),
                Errand::Probe | Errand::Exchange { .. } | Errand::HandOver => {}
            }
        }
    }

    /// Asks somebody for contacts of the table.
    pub(super) fn exchange(&mut self, to: Arc<Contact>, find: Find, effects: &mut Vec<Effect>) {
        let (target, within, want) = (find.target, find.within, find.want);
        let errand = Errand::Exchange { target, within, want };
        self.ask(to, Request::Find(find), errand, effects);
    }

    fn exchanged(
        &mut self,
        from: &Contact,
        target: Position,
        within: u64,
        want: u8,
        contacts: &[Arc<Contact>],
    ) {
        let mut is_lie = contacts.len() > usize::from(want);
        for contact in contacts {
            if is_lie {
                break;
            }
            if contact.position().distance(target).top() > within {
                is_lie = true;
            } else if self.table.get(contact.position()).is_none() {
                match self.notary.judge(contact.certificate(), self.now) {
                    Verdict::Good => self.table.heard(contact),
                    Verdict::Over => {}
                    Verdict::Forged => is_lie = true,
                }
            }
        }
        if is_lie {
            self.table.banish(from.position());
        }
    }

    /// A liar that showed itself in a walk.
    pub(super) fn punish(&mut self, heard: Heard, place: Position) {
        if heard == Heard::Lie {
            self.table.banish(place);
        }
    }
}
