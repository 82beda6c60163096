//! What others ask. Everybody who is connected may; how often, is counted.

use std::sync::Arc;

use isos_base::HostId;
use isos_base::time::Span;

use super::{CallId, Effect, Route};
use crate::contact::Contact;
use crate::notary::{Notary, Verdict};
use crate::pointer::{Pointer, Put};
use crate::wire::{Answer, Ask, CONTACTS_MAX, Find, POINTERS_MAX, Request};

/// Contacts beside pointers: enough to go on with, if the holders are gone.
const BESIDE_POINTERS: usize = 4;
/// A put is this much work in requests, for each so many pointers.
const PUT_PER_ASK: u64 = 8;
/// A place farther off than so many times the hosts that a walk ends with is not ours.
const FAR_TIMES: f64 = 8.0;
/// Nobody asks a client; whoever does shall not soon again.
const CLIENT_WAIT: Span = Span::secs(3_600);

impl<N: Notary> Route<N> {
    pub(super) fn serve(
        &mut self,
        call: CallId,
        peer: HostId,
        ask: Ask,
        effects: &mut Vec<Effect>,
    ) {
        let answer = self.answer(peer, ask);
        effects.push(Effect::Answer { call, answer: Box::new(answer) });
    }

    fn answer(&mut self, peer: HostId, ask: Ask) -> Answer {
        let Ask { from, request } = ask;
        let weight = match &request {
            Request::Put(pointers) => 1 + pointers.len() as u64 / PUT_PER_ASK,
            Request::Ping | Request::Find(_) => 1,
        };
        if let Err(wait) = self.askers.take(self.now, peer, weight) {
            return Answer::Busy(wait);
        }
        if let Some(contact) = from {
            self.greet(peer, &contact);
        }
        match request {
            Request::Ping => Answer::Pong,
            _ if !self.is_router => Answer::Busy(CLIENT_WAIT),
            Request::Find(find) => self.tell(&find),
            Request::Put(pointers) => {
                Answer::Put(pointers.into_iter().map(|pointer| self.keep(pointer)).collect())
            }
        }
    }

    /// A router says how to reach it. Only of itself, and it proves itself by answering.
    fn greet(&mut self, peer: HostId, contact: &Arc<Contact>) {
        if contact.host() != peer {
            return;
        }
        if self.notary.judge(contact.certificate(), self.now) == Verdict::Good {
            self.table.asked(self.now, contact);
        }
    }

    fn tell(&mut self, find: &Find) -> Answer {
        let pointers = if find.pointers {
            let (now, guid) = (self.now, find.target.into());
            self.store.get(now, guid, POINTERS_MAX, &mut self.random)
        } else {
            Vec::new()
        };
        let most = if pointers.is_empty() { CONTACTS_MAX } else { BESIDE_POINTERS };
        let want = usize::from(find.want).min(most);
        let near = self.table.closest(find.target, want + find.known.len(), true);
        let near = near.into_iter().map(|entry| &entry.contact);
        let near = near.take_while(|it| it.position().distance(find.target).top() <= find.within);
        let new = near.filter(|it| !find.known.contains(&it.position().mark()));
        Answer::Found { contacts: new.take(want).cloned().collect(), pointers }
    }

    fn keep(&mut self, pointer: Pointer) -> Put {
        let off = self.own.position().distance(pointer.guid.into()).top() as f64;
        let far = FAR_TIMES * self.tuning.bucket as f64 * self.spacing;
        let is_far = self.spacing > 0.0 && off > far;
        if is_far || !pointer.is_good(&mut self.notary, self.now) {
            return Put::Refused;
        }
        self.store.put(self.now, pointer)
    }
}
