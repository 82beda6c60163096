//! Many machines and the messages between them, one after the other in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::testing::Quick;

/// A world of public hosts that know a few of each other, unless they are made private.
pub(super) struct Net {
    pub(super) now: Time,
    hosts: BTreeMap<HostId, Gossip<Quick>>,
    ids: Vec<HostId>,
    pub(super) dead: BTreeSet<HostId>,
    pub(super) private: BTreeSet<HostId>,
    /// Hosts from this one on and those before it do not hear each other.
    pub(super) cut: Option<u32>,
    /// One message in so many is lost; 0 for none.
    pub(super) loss: u64,
    random: Random,
    pub(super) bytes: u64,
    pub(super) messages: u64,
    pub(super) gone: Vec<(HostId, HostId)>,
    /// What hosts have found out by questions.
    pub(super) found: Vec<Found>,
    /// Those that say of what they gathered that it was nothing.
    pub(super) droppers: BTreeSet<HostId>,
}

impl Net {
    pub(super) fn new(hosts: u32, seed: u64) -> Self {
        Self::with(hosts, hosts, seed)
    }

    /// The first so many can be called.
    pub(super) fn with(hosts: u32, public: u32, seed: u64) -> Self {
        let mut net = Self {
            now: BEGIN,
            hosts: BTreeMap::new(),
            ids: (0..hosts).map(testing::host).collect(),
            dead: BTreeSet::new(),
            private: BTreeSet::new(),
            cut: None,
            loss: 0,
            random: Random::new(seed),
            bytes: 0,
            messages: 0,
            gone: Vec::new(),
            found: Vec::new(),
            droppers: BTreeSet::new(),
        };
        for n in 0..hosts {
            let (host, seed) = (testing::host(n), u64::from(n) + 1);
            let mut machine = Gossip::new(BEGIN, host, testing::quick(n), Tuning::default(), seed);
            let told = [f64::from(n % 8 + 1), 1e9, 1e10, 0.0, f64::from(n % 2), 60.0, 0.0];
            // Everybody knows the first, and somebody else.
            let peers = [0, (n + 1) % public].map(|peer| {
                let notary = &mut testing::quick(peer);
                Arc::new(testing::descriptor_by(peer, BEGIN, notary))
            });
            let placed = Input::Placed { addresses: vec![testing::address(n)], relay: None };
            let met = Input::Met { peers: peers.to_vec() };
            for input in [admitted(n), placed, Input::Looked { told }, met] {
                step(&mut machine, BEGIN, input);
            }
            net.hosts.insert(testing::host(n), machine);
            if n >= public {
                net.make_private(n);
            }
        }
        net
    }

    pub(super) fn host(&mut self, n: u32) -> &mut Gossip<Quick> {
        self.hosts.get_mut(&testing::host(n)).expect("it is there")
    }

    fn make_private(&mut self, n: u32) {
        self.private.insert(testing::host(n));
        let access = Access::Private;
        let certificate = Box::new(testing::certificate(n));
        let now = self.now;
        step(self.host(n), now, Input::Admitted { certificate, access });
    }

    pub(super) fn living(&self) -> impl Iterator<Item = &Gossip<Quick>> {
        let living = self.ids.iter().filter(|id| !self.dead.contains(id));
        living.map(|id| &self.hosts[id])
    }

    fn is_cut(&self, from: HostId, to: HostId) -> bool {
        let is_beyond = |id, cut: u32| !self.ids[..cut as usize].contains(&id);
        self.cut.is_some_and(|cut| is_beyond(from, cut) != is_beyond(to, cut))
    }

    fn is_lost(&mut self) -> bool {
        self.loss > 0 && self.random.one_in(self.loss)
    }

    pub(super) fn run(&mut self, cycles: u64) {
        let until = self.now + Span(CYCLE.0 * cycles);
        loop {
            let living = self.hosts.iter().filter(|(id, _)| !self.dead.contains(id));
            let due = living.filter_map(|(id, it)| it.deadline().map(|at| (at, *id))).min();
            let Some((at, id)) = due.filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            let effects = self.step(id, Input::TimerFired);
            self.carry_out(id, effects);
        }
        self.now = until;
    }

    /// A host asks all: whoever has more than four cores fits.
    pub(super) fn wonder(&mut self, n: u32, wondered: Wondered) {
        let id = testing::host(n);
        let effects = self.step(id, Input::Wondered(Box::new(wondered)));
        self.carry_out(id, effects);
    }

    fn weigh(&self, id: HostId) -> Weighed {
        let told = self.hosts[&id].own.told;
        let facts = crate::query::Fact::ALL
            .map(|fact| fact.attribute().map_or(0.5, |it| told[it.at()] as f32));
        Weighed { fits: facts[0] > 4.0, name: id.short(), country: "FI".into(), facts }
    }

    fn step(&mut self, id: HostId, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let machine = self.hosts.get_mut(&id).expect("it is there");
        machine.step(self.now, input, &mut effects);
        // Each time would take too long.
        if self.random.one_in(20) {
            machine.check_invariants();
        }
        effects
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.messages += 1;
    }

    fn carry_out(&mut self, from: HostId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask { request, to, ask } => {
                    self.count(ask.encode().len());
                    let input = self.deliver(from, to.host, request, &ask);
                    let effects = self.step(from, input);
                    self.carry_out(from, effects);
                }
                Effect::Gone { host } => self.gone.push((from, host)),
                Effect::Weigh { query, .. } => {
                    let weighed = Box::new(self.weigh(from));
                    let effects = self.step(from, Input::Weighed { query, weighed });
                    self.carry_out(from, effects);
                }
                Effect::Found(found) => self.found.push(*found),
                _ => {}
            }
        }
    }

    fn deliver(&mut self, from: HostId, to: HostId, request: RequestId, ask: &Request) -> Input {
        if self.is_cut(from, to)
            || self.dead.contains(&to)
            || self.private.contains(&to)
            || self.is_lost()
        {
            return Input::Failed { request, sent: false };
        }
        let request_again = Request::decode(&ask.encode()).expect("within the limits");
        let asked = Input::Asked { call: CallId(0), peer: from, request: Box::new(request_again) };
        let effects = self.step(to, asked);
        let mut answer = answer_of(&effects);
        if self.droppers.contains(&to) && matches!(answer, Answer::Gathered(_)) {
            answer = Answer::Gathered(Box::default());
        }
        let rest = effects.into_iter().filter(|it| !matches!(it, Effect::Answer { .. })).collect();
        self.carry_out(to, rest);
        self.count(answer.encode().len());
        if self.is_lost() {
            return Input::Failed { request, sent: true };
        }
        let answer = Box::new(Answer::decode(&answer.encode()).expect("within the limits"));
        Input::Answered { request, answer, round_trip: Some(Span::millis(20)) }
    }
}
