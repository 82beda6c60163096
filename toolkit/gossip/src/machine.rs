//! The machine of one host's gossip: once a cycle it meets somebody, and it answers whoever meets
//! it.
//!
//! * `cycle`: the beginning of a cycle: whom to meet, and with what
//! * `meet`: the exchange itself, from both sides
//! * `know`: which descriptors are believed, and where they go
//! * `query`: questions to all hosts
//!
//! A *public* host can be called by anybody, and only such are called; the complex says at each
//! introduction whether a host calls from where it says it is. Until a host has the complex's
//! certificate it has no descriptor, and takes part in nothing.
//!
//! There is one exchange of this host under way at a time. An input for one that is over is dropped
//! here: shells need no filter.

mod cycle;
mod invariants;
mod know;
mod meet;
mod query;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use isos_base::certificate::Certificate;
use isos_base::descriptor::{Access, Descriptor, MARKS};
use isos_base::notary::Notary;
use isos_base::random::Random;
use isos_base::rate::{Rate, Rates};
use isos_base::time::{Span, Time};
use isos_base::{HostId, Machine};

use crate::attribute::{ATTRIBUTES, Attribute, Told};
use crate::epoch::Epochs;
use crate::estimate::Estimate;
use crate::query::{Found, QueryId, Unasked, Weighed, Wonder, Wondered};
use crate::ratio::Ratio;
use crate::sampler::Samplers;
use crate::slicing::Window;
use crate::suspicion::Suspicion;
use crate::tuning::Tuning;
use crate::view::{Entry, Slots, View};
use crate::vivaldi::{Filter, Point};
use crate::wire::{Answer, Request};
use crate::witness::Witnesses;

/// What one host may ask of another.
const ASKS: Rate = Rate { per_second: 4, burst: 32 };
/// Hosts whose asking is counted at a time.
const ASKERS_MAX: usize = 1_024;
/// Hosts from a file or the complex that are asked when nobody else is known.
pub const MET_MAX: usize = 16;
/// Public hosts that were called in vain and not heard of since.
const LOST_MAX: usize = 16;
/// Hosts that have contradicted themselves and are not heard any more.
const BANNED_MAX: usize = 64;
/// Cycles for which an observation of another host counts.
const MEMORY_CYCLES: u64 = 8;

/// A request of ours. Never used twice by one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A request of somebody else, numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Hosts are known from elsewhere: a file, the complex.
    Met {
        /// As they described themselves.
        peers: Vec<Arc<Descriptor>>,
    },
    /// The complex has admitted this host, or has done so again.
    Admitted {
        /// Its word.
        certificate: Box<Certificate>,
        /// Whether anybody may call.
        access: Access,
    },
    /// Where this host can be called.
    Placed {
        /// Its sockets, best first.
        addresses: Vec<SocketAddr>,
        /// The relay that it listens at.
        relay: Option<String>,
    },
    /// What this host has to tell now.
    Looked {
        /// By attribute.
        told: Told,
    },
    /// Somebody asks; the connection has proven its key.
    Asked {
        /// Names the request in the answer.
        call: CallId,
        /// Who.
        peer: HostId,
        /// What.
        request: Box<Request>,
    },
    /// A request was answered.
    Answered {
        /// From [`Effect::Ask`].
        request: RequestId,
        /// What was said.
        answer: Box<Answer>,
        /// The way there and back, if the connection knows it.
        round_trip: Option<Span>,
    },
    /// A request was not answered, or what came back is not of this protocol.
    Failed {
        /// From [`Effect::Ask`].
        request: RequestId,
        /// Whether it may have been heard all the same.
        sent: bool,
    },
    /// Somebody here wants to know something of all hosts.
    Wondered(Box<Wondered>),
    /// This host has asked itself, as [`Effect::Weigh`] wants it.
    Weighed {
        /// Which question.
        query: QueryId,
        /// What it found.
        weighed: Box<Weighed>,
    },
    /// [`Machine::deadline`] has come.
    TimerFired,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask a host; answered by `Answered` or `Failed`, or not at all.
    Ask {
        /// Its number.
        request: RequestId,
        /// Whom.
        to: Arc<Descriptor>,
        /// What.
        ask: Box<Request>,
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
    /// An epoch is over: this is known now.
    Estimated(Box<Estimate>),
    /// Remember these for the next start.
    Remember {
        /// At most [`MET_MAX`].
        peers: Vec<Arc<Descriptor>>,
    },
    /// Several observers have called this host in vain.
    Gone {
        /// Which.
        host: HostId,
    },
    /// Look whether this host fits an expression, and say so by `Weighed`.
    Weigh {
        /// Which question.
        query: QueryId,
        /// The expression. It may be anything.
        text: String,
    },
    /// A question of this host's own is answered.
    Found(Box<Found>),
    /// A question of this host's own was not asked.
    Unfound {
        /// Which.
        wonder: Wonder,
        /// Why.
        why: Unasked,
    },
    /// A host has signed two descriptors for one cycle: these prove it.
    Caught {
        /// One.
        first: Arc<Descriptor>,
        /// The other.
        second: Arc<Descriptor>,
    },
}

/// A host that is known.
#[derive(Debug, Clone)]
struct Known(Arc<Descriptor>);

impl Entry for Known {
    type Id = HostId;

    fn id(&self) -> HostId {
        self.0.host
    }

    fn heard(&self) -> u64 {
        self.0.issued.0
    }
}

/// What this host says of itself.
#[derive(Debug)]
struct Own {
    host: HostId,
    access: Access,
    certificate: Option<Certificate>,
    addresses: Vec<SocketAddr>,
    relay: Option<String>,
    told: Told,
    point: Point,
    /// Of this cycle.
    descriptor: Option<Arc<Descriptor>>,
}

/// The exchange that is under way.
#[derive(Debug)]
struct Pending {
    request: RequestId,
    to: Arc<Descriptor>,
    ask: Request,
    given: Vec<HostId>,
    /// Of the offer to average, if there was one.
    seq: Option<u64>,
    due: Time,
    /// It was lost, and is looked for.
    sought: bool,
    /// It was asked twice.
    again: bool,
}

/// What was done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Exchanges that this host began.
    pub begun: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Exchanges that others began here.
    pub served: u64,
    /// Descriptors that were not believed.
    pub disbelieved: u64,
    /// Sums that were not believed.
    pub apart: u64,
}

/// The gossip of one host.
#[derive(Debug)]
pub struct Gossip<N> {
    now: Time,
    tuning: Tuning,
    notary: N,
    random: Random,
    own: Own,
    /// Who can be called.
    public: View<Known>,
    /// Who cannot.
    private: View<Known>,
    met: Vec<Arc<Descriptor>>,
    /// Any of those who were called in vain: what cut them off may end, and then nobody else knows
    /// of them here.
    lost: Vec<Arc<Descriptor>>,
    samplers: Samplers<Arc<Descriptor>>,
    window: Window<[u8; MARKS]>,
    witnesses: Witnesses,
    ratio: Ratio,
    filter: Filter,
    suspicion: Suspicion,
    banned: BTreeMap<HostId, Time>,
    epochs: Epochs,
    estimate: Option<Box<Estimate>>,
    askers: Rates<HostId>,
    pending: Option<Pending>,
    queries: query::Queries,
    last_request: u64,
    next_cycle: Time,
    /// The slot of the start: what this host may have signed in that one before it was started
    /// again, nobody knows.
    started: Time,
    cycles: u64,
    /// Cycles since somebody has called this host.
    quiet: u64,
    counts: Counts,
}

impl<N: Notary> Gossip<N> {
    /// The gossip of a host that knows nobody yet. `seed` must differ between hosts, and be known
    /// to nobody else.
    #[must_use]
    pub fn new(now: Time, host: HostId, notary: N, tuning: Tuning, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let samplers = Samplers::new(tuning.samplers, &mut random);
        let started = tuning.slot(now);
        let next_cycle = started + tuning.cycle + Span(random.below(tuning.cycle.0));
        let memory = Span(tuning.cycle.0.saturating_mul(MEMORY_CYCLES));
        Self {
            now,
            notary,
            own: Own {
                host,
                access: Access::Private,
                certificate: None,
                addresses: Vec::new(),
                relay: None,
                told: [0.0; ATTRIBUTES],
                point: Point::default(),
                descriptor: None,
            },
            public: View::new(tuning.view),
            private: View::new(tuning.view),
            met: Vec::new(),
            lost: Vec::new(),
            samplers,
            window: Window::new(tuning.window),
            witnesses: Witnesses::default(),
            ratio: Ratio::default(),
            filter: Filter::default(),
            suspicion: Suspicion::new(memory, tuning.observers),
            banned: BTreeMap::new(),
            epochs: Epochs::new(now, tuning.epoch()),
            estimate: None,
            askers: Rates::new(ASKS, ASKERS_MAX),
            pending: None,
            queries: query::Queries::default(),
            last_request: 0,
            next_cycle,
            started,
            cycles: 0,
            quiet: 0,
            counts: Counts::default(),
            random,
            tuning,
        }
    }

    /// Which host this is.
    #[must_use]
    pub fn id(&self) -> HostId {
        self.own.host
    }

    /// What is known since the last epoch was over.
    #[must_use]
    pub fn estimate(&self) -> Option<&Estimate> {
        self.estimate.as_deref()
    }

    /// This host, as it describes itself now. Nothing until the complex has admitted it.
    #[must_use]
    pub fn descriptor(&self) -> Option<&Arc<Descriptor>> {
        self.own.descriptor.as_ref()
    }

    /// Hosts that can be called and are known.
    pub fn public(&self) -> impl Iterator<Item = &Arc<Descriptor>> {
        self.public.entries().iter().map(|known| &known.0)
    }

    /// Hosts that cannot be called and are known.
    pub fn private(&self) -> impl Iterator<Item = &Arc<Descriptor>> {
        self.private.entries().iter().map(|known| &known.0)
    }

    /// Hosts drawn from all that were told of.
    pub fn sampled(&self) -> impl Iterator<Item = &Arc<Descriptor>> {
        self.samplers.drawn()
    }

    /// Who may call this host.
    #[must_use]
    pub fn access(&self) -> Access {
        self.own.access
    }

    /// When the complex's word for this host ends.
    #[must_use]
    pub fn admitted_until(&self) -> Option<Time> {
        self.own.certificate.as_ref().map(|certificate| certificate.expires)
    }

    /// The complex's word for this host.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.own.certificate.as_ref()
    }

    /// Where this host is among others.
    #[must_use]
    pub fn point(&self) -> Point {
        self.own.point
    }

    /// The averaging, as far as it has come.
    #[must_use]
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The share of hosts that can be called.
    #[must_use]
    pub fn share_public(&self) -> Option<f64> {
        self.ratio.share()
    }

    /// What was done since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { apart: self.epochs.apart, ..self.counts }
    }

    fn admit(&mut self, certificate: Certificate, access: Access) {
        if certificate.host == self.own.host {
            (self.own.certificate, self.own.access) = (Some(certificate), access);
            self.quiet = 0;
        }
    }
}

impl<N: Notary> Machine for Gossip<N> {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        match input {
            Input::Met { peers } => self.meet_all(peers, effects),
            Input::Admitted { certificate, access } => self.admit(*certificate, access),
            Input::Placed { addresses, relay } => {
                (self.own.addresses, self.own.relay) = (addresses, relay);
            }
            Input::Looked { told } => {
                let clamped = Attribute::ALL.map(|attribute| attribute.clamp(told[attribute.at()]));
                self.own.told = clamped;
            }
            Input::Asked { call, peer, request } => {
                let answer = self.serve(peer, *request, effects);
                effects.push(Effect::Answer { call, answer: Box::new(answer) });
            }
            Input::Answered { request, answer, round_trip } => {
                self.hear(request, *answer, round_trip, effects);
            }
            Input::Failed { request, sent } => self.fail(request, sent, effects),
            Input::Wondered(wondered) => self.wonder(&wondered, effects),
            Input::Weighed { query, weighed } => self.weighed(query, *weighed, effects),
            Input::TimerFired => {}
        }
        self.time_out(effects);
        self.query_on(effects);
        if self.next_cycle <= self.now {
            self.cycle(effects);
        }
    }

    fn deadline(&self) -> Option<Time> {
        let due = self.pending.as_ref().map(|pending| pending.due);
        let query = self.queries.deadline(self.tuning.step());
        [due, query, Some(self.next_cycle)].into_iter().flatten().min()
    }

    fn check_invariants(&self) {
        self.check();
    }
}
