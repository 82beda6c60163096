//! The machine of one host's routing: it answers others, walks for its owner, keeps its table true
//! and its pointers alive.
//!
//! * `ask`: requests on their way, timeouts, answers
//! * `serve`: what others ask
//! * `walk`: walks, what they are for, and how they end
//! * `announce`: the pointers of this host, put to regions, renewed in time
//! * `upkeep`: the periodic part: probes, exchanges, handing over
//! * `pace`: how often, as the churn asks for it
//!
//! A *router* is entered in others' tables and keeps pointers; a *client* asks only. Which of both
//! a host is, its shell says: a router can be called from anywhere, and was up for an hour.
//!
//! Requests, walks and searches are numbered, each number is used once, and an input for one that
//! is over is dropped here: shells need no filter.

mod announce;
mod ask;
mod invariants;
mod pace;
mod serve;
mod upkeep;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use isos_base::random::Random;
use isos_base::rate::{Rate, Rates};
use isos_base::time::{Span, Time};
use isos_base::{Guid, HostId, Machine};

use crate::contact::Contact;
use crate::notary::{Notary, Verdict};
use crate::pointer::{Pointer, Store};
use crate::position::Position;
use crate::table::Table;
use crate::tuning::Tuning;
use crate::wire::{Answer, Ask};

use announce::Announcer;
use ask::Requests;
use pace::Pace;
use upkeep::Newcomers;
use walk::Walks;

/// What one host may ask of a router: walks take some ten requests each.
const ASKS: Rate = Rate { per_second: 50, burst: 500 };
/// Hosts whose asking is counted at a time.
const ASKERS_MAX: usize = 4_096;
/// Contacts that were given by the shell and are called when nobody else is left.
const MET_MAX: usize = 16;

/// A request of ours. Never used twice by one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request of somebody else, numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A search, numbered by whoever wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SearchId(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Contacts are known from elsewhere: a file, the complex, a ticket.
    Met {
        /// Routers.
        contacts: Vec<Arc<Contact>>,
    },
    /// The host has a new certificate or new addresses, or has become a router or a client.
    Certified {
        /// How to reach it.
        own: Arc<Contact>,
        /// Whether others should.
        is_router: bool,
    },
    /// Somebody asks; the connection has proven its key.
    Asked {
        /// Names the request in the answer.
        call: CallId,
        /// Who.
        peer: HostId,
        /// What.
        ask: Box<Ask>,
    },
    /// A request was answered.
    Answered {
        /// From [`Effect::Ask`].
        request: RequestId,
        /// What was said.
        answer: Box<Answer>,
    },
    /// A request could not be delivered, or what came back is not of this protocol.
    Unreachable {
        /// From [`Effect::Ask`].
        request: RequestId,
    },
    /// Somebody wants to know who holds this.
    Wanted {
        /// Names the search in what is found.
        search: SearchId,
        /// What.
        guid: Guid,
        /// Holders after which the search may end; 0 counts as 1.
        holders: u8,
    },
    /// Somebody wants to know which routers are nearest to a place.
    Sought {
        /// Names the search in what is found.
        search: SearchId,
        /// The place.
        target: Position,
    },
    /// This host holds these now.
    Holding {
        /// What; up to [`HELD_MAX`] in all.
        guids: Vec<Guid>,
    },
    /// This host holds these no more. Their pointers end by themselves.
    Dropped {
        /// What.
        guids: Vec<Guid>,
    },
    /// [`Machine::deadline`] has come.
    TimerFired,
}

/// GUIDs that one host announces: those above are left out, and told of none.
pub const HELD_MAX: usize = 1_000_000;

/// What shall be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask a host; answered by `Answered` or `Unreachable`, or not at all.
    Ask {
        /// Its number.
        request: RequestId,
        /// Whom.
        to: Arc<Contact>,
        /// What.
        ask: Box<Ask>,
    },
    /// Nobody waits for this request any more.
    Forget {
        /// Its number.
        request: RequestId,
    },
    /// Answer somebody.
    Answer {
        /// From [`Input::Asked`].
        call: CallId,
        /// What.
        answer: Box<Answer>,
    },
    /// Holders that a search has found, each once, as they come.
    Found {
        /// The search.
        search: SearchId,
        /// Who holds it.
        pointers: Vec<Pointer>,
    },
    /// A search is over.
    Ended {
        /// The search.
        search: SearchId,
        /// How it went.
        outcome: Outcome,
    },
    /// Pointers of this host were put, to so many routers each. Those with none are tried again.
    Announced {
        /// What, and how many routers have it.
        copies: Vec<(Guid, u8)>,
    },
}

/// How a search went.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Routers nearest to the place, of those that answered, the nearest first.
    pub nearest: Vec<Arc<Contact>>,
    /// Holders found.
    pub holders: u32,
    /// Requests in a row that led to the first holder, or to the nearest router.
    pub hops: u8,
    /// Routers asked.
    pub asked: u32,
    /// Of these, liars that showed.
    pub lies: u32,
    /// How long it took.
    pub took: Span,
    /// It was not begun: too many are under way.
    pub refused: bool,
}

/// The routing of one host.
#[derive(Debug)]
pub struct Route<N> {
    now: Time,
    own: Arc<Contact>,
    is_router: bool,
    tuning: Tuning,
    notary: N,
    random: Random,
    table: Table,
    store: Store,
    requests: Requests,
    walks: Walks,
    announcer: Announcer,
    pace: Pace,
    askers: Rates<HostId>,
    met: Vec<Arc<Contact>>,
    newcomers: Newcomers,
    /// The part of the keyspace that one router has, of 2^64, on average; 0 while unknown.
    spacing: f64,
}

impl<N: Notary> Route<N> {
    /// The routing of a host that knows nobody yet. `seed` spreads what hosts do and should differ
    /// between them.
    #[must_use]
    pub fn new(own: Arc<Contact>, is_router: bool, notary: N, tuning: Tuning, seed: u64) -> Self {
        let table = Table::new(own.position(), tuning.bucket, tuning.alike_max);
        Self {
            now: Time(0),
            own,
            is_router,
            tuning,
            notary,
            random: Random::new(seed),
            table,
            store: Store::default(),
            requests: Requests::default(),
            walks: Walks::default(),
            announcer: Announcer::default(),
            pace: Pace::new(&tuning),
            askers: Rates::new(ASKS, ASKERS_MAX),
            met: Vec::new(),
            newcomers: Newcomers::default(),
            spacing: 0.0,
        }
    }

    /// The routers that are known.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The pointers that are kept for others.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How others reach this host.
    #[must_use]
    pub fn own(&self) -> &Arc<Contact> {
        &self.own
    }

    /// The time between two probes: short where hosts come and go.
    #[must_use]
    pub fn pace(&self) -> Span {
        self.pace.interval()
    }

    /// Routers that there seem to be in all; 0 while that is unknown.
    #[must_use]
    pub fn routers_estimated(&self) -> u64 {
        if self.spacing > 0.0 { (2_f64.powi(64) / self.spacing) as u64 } else { 0 }
    }

    /// Contacts that have answered a moment ago, after so long: a table that was saved, by a host
    /// that starts again at once. It need not find its neighbours then.
    pub fn acquaint(&mut self, now: Time, contacts: Vec<(Arc<Contact>, Span)>) {
        self.now = self.now.max(now);
        for (contact, rtt) in contacts {
            self.table.answered(self.now, &contact, rtt);
        }
        if !self.table.is_empty() {
            self.pace.joining();
        }
    }

    fn meet(&mut self, contacts: Vec<Arc<Contact>>) {
        for contact in contacts {
            // Files and tickets can be anybody's.
            if self.notary.judge(contact.certificate(), self.now) != Verdict::Good {
                continue;
            }
            self.met.retain(|met| met.host() != contact.host());
            if self.met.len() >= MET_MAX {
                self.met.remove(0);
            }
            self.table.heard(&contact);
            self.met.push(contact);
        }
        self.pace.hurry(self.now);
    }

    /// A new place needs a new table; everybody in the old one is still there.
    fn certify(&mut self, own: Arc<Contact>, is_router: bool) {
        let moved = own.position() != self.own.position();
        (self.own, self.is_router) = (own, is_router);
        if moved {
            let fresh = Table::new(self.own.position(), self.tuning.bucket, self.tuning.alike_max);
            let old = std::mem::replace(&mut self.table, fresh);
            old.entries().for_each(|entry| self.table.heard(&entry.contact));
            self.pace.start_over();
        }
        if !is_router {
            // Nobody asks a client for what it keeps.
            self.store = Store::default();
        }
        // What pointers say of how to reach this host is old.
        self.announcer.all_again(self.now);
        self.pace.hurry(self.now);
    }
}

impl<N: Notary> Machine for Route<N> {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        match input {
            Input::Met { contacts } => self.meet(contacts),
            Input::Certified { own, is_router } => self.certify(own, is_router),
            Input::Asked { call, peer, ask } => self.serve(call, peer, *ask, effects),
            Input::Answered { request, answer } => self.hear(request, *answer, effects),
            Input::Unreachable { request } => self.give_up(request, effects),
            Input::Wanted { search, guid, holders } => {
                self.search(search, guid, holders.max(1), effects);
            }
            Input::Sought { search, target } => self.seek(search, target, effects),
            Input::Holding { guids } => self.announcer.hold(self.now, guids),
            Input::Dropped { guids } => self.announcer.drop_all(&guids),
            Input::TimerFired => {}
        }
        self.time_out(effects);
        self.upkeep(effects);
        self.announce(effects);
    }

    fn deadline(&self) -> Option<Time> {
        let all = [self.requests.deadline(), self.announcer.deadline(), Some(self.pace.next())];
        all.into_iter().flatten().min()
    }

    fn check_invariants(&self) {
        self.check();
    }
}
