//! What is said to one rank: kept until it is heard, counted until it is taken.

use std::collections::VecDeque;
use std::sync::Arc;

use isos_base::peers::{Hearing, weight};
use isos_base::{Span, Time};

use crate::SILENCE_MAX;
use crate::talk::CallId;

/// Before the second call; twice as long before each further one.
const RETRY_FIRST: Span = Span::millis(250);
/// But no longer than this.
const RETRY_MAX: Span = Span::secs(5);

/// How a rank is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Not at all, from this time on.
    None(Time),
    Calling(CallId),
    Up(CallId),
}

/// One direction of a pair, at its beginning.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Number of the last message.
    last: u64,
    heard: u64,
    /// What was not heard, up to `last`.
    unheard: VecDeque<Arc<[u8]>>,
    /// Weights of what was not taken, up to `last`.
    weights: VecDeque<u64>,
    weight: u64,
    link: Link,
    /// Since when calls fail.
    failing: Option<Time>,
    failures: u32,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self {
            last: 0,
            heard: 0,
            unheard: VecDeque::new(),
            weights: VecDeque::new(),
            weight: 0,
            link: Link::None(Time(0)),
            failing: None,
            failures: 0,
        }
    }

    /// Whether there is room for a message of so many bytes: for one of any size if nothing waits.
    pub(crate) fn has_room(&self, window: u64, bytes: usize) -> bool {
        self.weight == 0 || self.weight + weight(bytes) <= window
    }

    /// Takes a message in; over which call it goes at once, and as which.
    pub(crate) fn push(&mut self, message: Arc<[u8]>) -> Option<(CallId, u64)> {
        self.last += 1;
        self.weight += weight(message.len());
        self.weights.push_back(weight(message.len()));
        self.unheard.push_back(message);
        match self.link {
            Link::Up(call) => Some((call, self.last)),
            Link::None(_) | Link::Calling(_) => None,
        }
    }

    /// Whether all was heard.
    pub(crate) fn is_heard(&self) -> bool {
        self.unheard.is_empty()
    }

    /// Whether a call is to be made now. Who has been spoken to is called again even when there is
    /// nothing to say: room comes back by that call, and silence would mean that this one is gone.
    pub(crate) fn wants_call(&self, now: Time, over: bool) -> bool {
        self.wants_link(over) && matches!(self.link, Link::None(from) if from <= now)
    }

    fn wants_link(&self, over: bool) -> bool {
        if over { !self.unheard.is_empty() } else { self.last > 0 }
    }

    pub(crate) fn calls(&mut self, call: CallId) {
        self.link = Link::Calling(call);
    }

    /// A call was answered. Whether it is the current one and the answer can be.
    pub(crate) fn reached(&mut self, call: CallId, hearing: Hearing) -> Option<bool> {
        if self.link != Link::Calling(call) {
            return None;
        }
        (self.link, self.failing, self.failures) = (Link::Up(call), None, 0);
        Some(self.hears(hearing))
    }

    /// What is to be said over a call that was answered.
    pub(crate) fn unheard(&self) -> impl Iterator<Item = (u64, Arc<[u8]>)> + '_ {
        (self.heard + 1..).zip(self.unheard.iter().cloned())
    }

    /// The other says how far it has come. Nothing if that is about another call, else whether it
    /// can be.
    pub(crate) fn told(&mut self, call: CallId, hearing: Hearing) -> Option<bool> {
        (self.link == Link::Up(call)).then(|| self.hears(hearing))
    }

    fn hears(&mut self, Hearing { heard, taken }: Hearing) -> bool {
        let taken_before = self.last - self.weights.len() as u64;
        if heard > self.last || taken > heard || heard < self.heard || taken < taken_before {
            return false;
        }
        for _ in self.heard..heard {
            self.unheard.pop_front();
        }
        self.heard = heard;
        for _ in taken_before..taken {
            self.weight -= self.weights.pop_front().unwrap_or_default();
        }
        true
    }

    /// A call could not be made, or has ended.
    pub(crate) fn call_ended(&mut self, call: CallId, now: Time) {
        if !matches!(self.link, Link::Calling(it) | Link::Up(it) if it == call) {
            return;
        }
        self.failing.get_or_insert(now);
        let wait = Span((RETRY_FIRST.0 << self.failures.min(8)).min(RETRY_MAX.0));
        self.failures += 1;
        self.link = Link::None(now + wait);
    }

    /// When it is called again, or taken for gone.
    pub(crate) fn deadline(&self, over: bool) -> Option<Time> {
        let again = match self.link {
            Link::None(from) if self.wants_link(over) => Some(from),
            _ => None,
        };
        [again, self.silent_at()].into_iter().flatten().min()
    }

    /// When it is gone, if it is not reached before.
    pub(crate) fn silent_at(&self) -> Option<Time> {
        self.failing.map(|since| since + SILENCE_MAX)
    }

    pub(crate) fn check(&self, window: u64) {
        assert_eq!(self.last - self.heard, self.unheard.len() as u64, "all that was not heard");
        assert_eq!(self.weights.iter().sum::<u64>(), self.weight, "what is on its way");
        assert!(self.unheard.len() <= self.weights.len(), "what is taken was heard");
        assert!(self.weight <= window || self.weights.len() == 1, "no more than it may");
    }
}
