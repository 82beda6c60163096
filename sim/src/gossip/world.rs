//! The shipped machine on each of a thousand to ten thousand hosts, every message through it: with
//! loss, churn, a crash of most of them, and liars.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use isos_base::descriptor::{Access, Descriptor};
use isos_base::random::Random;
use isos_base::time::{Span, Time};
use isos_base::{HostId, Machine};
use isos_gossip::machine::{CallId, RequestId};
use isos_gossip::query::{Fact, Found, Weighed};
use isos_gossip::wire::{Answer, Request};
use isos_gossip::{Attribute, Effect, Gossip, Input, Told, Tuning};

use super::liar;
use super::office::{Desk, address, admit};
use super::tally::{Look, Seen};
use crate::network::{HANDSHAKE_BYTES, KEPT, OVERHEAD_BYTES, Spot};

/// Hosts that somebody new knows.
const INTRODUCED: u64 = 4;
/// Machines check themselves once in so many steps.
const CHECK_EVERY: u64 = 20_000;
/// An answer that does not come is missed by the transport after this.
const SILENCE: Span = Span::secs(3);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Everything random follows from it.
    pub seed: u64,
    /// Hosts.
    pub hosts: u32,
    /// The share of them that can be called.
    pub public: f64,
    /// The share of messages that is lost.
    pub loss: f64,
    /// The share of hosts that is replaced by new ones in each cycle.
    pub churn: f64,
    /// The share of hosts that dies at once, before the last epochs.
    pub crash: f64,
    /// The share of hosts that lies.
    pub liars: f64,
    /// The share of hosts that tell nothing of what they have gathered for a question.
    pub droppers: f64,
    /// Epochs until it is looked; the crash is two before.
    pub epochs: u32,
}

impl Setting {
    /// A quiet world of so many.
    #[must_use]
    pub fn quiet(seed: u64, hosts: u32) -> Self {
        let (loss, churn, crash, liars, droppers) = (0.0, 0.0, 0.0, 0.0, 0.0);
        Self { seed, hosts, public: 1.0, loss, churn, crash, liars, droppers, epochs: 4 }
    }
}

/// What is to happen.
#[derive(Debug)]
enum Event {
    Asked { from: u32, to: HostId, request: RequestId, ask: Box<Request> },
    Answered { to: u32, from: u32, request: RequestId, answer: Box<Answer>, round_trip: Span },
    Failed { to: u32, request: RequestId, sent: bool },
    Timer(u32),
}

/// When, and in which order; the earliest first in a heap of [`Reverse`].
#[derive(Debug)]
struct Due(Time, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// A living host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) machine: Gossip<Desk>,
    spot: Spot,
    pub(super) told: Told,
    pub(super) is_liar: bool,
    pub(super) is_public: bool,
    is_dropper: bool,
    timer: Option<Time>,
    /// Whom it has a connection to, since when unused.
    connected: BTreeMap<u32, Time>,
    /// Sent and received.
    pub(super) bytes: u64,
}

pub(super) struct World {
    setting: Setting,
    pub(super) tuning: Tuning,
    pub(super) now: Time,
    pub(super) random: Random,
    /// By number; nothing for those who have died.
    pub(super) hosts: Vec<Option<Box<Host>>>,
    by_key: BTreeMap<HostId, u32>,
    pub(super) living: Vec<u32>,
    /// What liars say of themselves now.
    lying: Vec<Arc<Descriptor>>,
    queue: BinaryHeap<Reverse<Due>>,
    last: u64,
    pub(super) seen: Seen,
    /// What questions have led to.
    pub(super) found: Vec<Found>,
    effects: Vec<Effect>,
}

/// Runs one setting to its end.
#[must_use]
pub fn measure(setting: &Setting) -> Look {
    let mut world = World::new(*setting);
    let epoch = world.tuning.epoch();
    let cycles = u64::from(setting.epochs) * u64::from(world.tuning.gamma);
    let crash_at = cycles - 2 * u64::from(world.tuning.gamma);
    // Up to the end of the first epoch that was begun by all; then what is sent is counted.
    let begin = world.now;
    for cycle in 0..cycles {
        if cycle == crash_at && setting.crash > 0.0 {
            world.crash(setting.crash);
        }
        if cycle == u64::from(world.tuning.gamma) {
            world.count_from_now();
        }
        world.churn();
        world.run(begin + Span(world.tuning.cycle.0 * (cycle + 1)));
    }
    // The epoch that ends then has been begun by all.
    world.run(Time((world.now.0 / epoch.0 + 1) * epoch.0) + world.tuning.cycle + SILENCE);
    world.look()
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let tuning = Tuning::default();
        // A bit behind the beginning of an epoch: everybody waits for the next.
        let begin = Time(tuning.epoch().0 * 1_000_000 + 1_000_000);
        let mut world = Self {
            setting,
            tuning,
            now: begin,
            random: Random::new(setting.seed),
            hosts: Vec::new(),
            by_key: BTreeMap::new(),
            living: Vec::new(),
            lying: Vec::new(),
            queue: BinaryHeap::new(),
            last: 0,
            seen: Seen::default(),
            found: Vec::new(),
            effects: Vec::new(),
        };
        for _ in 0..setting.hosts {
            world.born();
        }
        // In the cycle of its start nobody describes itself; then all are introduced.
        world.run(begin + Span(2 * tuning.cycle.0));
        for n in world.living.clone() {
            world.introduce(n);
        }
        world
    }

    pub(super) fn host(&self, n: u32) -> Option<&Host> {
        self.hosts.get(n as usize)?.as_deref()
    }

    fn host_mut(&mut self, n: u32) -> Option<&mut Host> {
        self.hosts.get_mut(n as usize)?.as_deref_mut()
    }

    pub(super) fn living(&self) -> impl Iterator<Item = &Host> {
        self.living.iter().filter_map(|n| self.host(*n))
    }

    pub(super) fn number(&self, host: HostId) -> Option<u32> {
        self.by_key.get(&host).copied()
    }

    fn born(&mut self) -> u32 {
        let n = self.hosts.len() as u32;
        let (certificate, desk) = admit(self.setting.seed, n);
        let host = certificate.host;
        let random = &mut self.random;
        // The first is always public, or there is nobody to call.
        let is_public = n == 0 || random.unit() < self.setting.public;
        let is_liar = random.unit() < self.setting.liars;
        let is_dropper = self.setting.droppers > 0.0 && random.unit() < self.setting.droppers;
        let told = honest(random);
        let mut machine = Gossip::new(self.now, host, desk, self.tuning, random.next_u64());
        let access = if is_public { Access::Public } else { Access::Private };
        let said = if is_liar { liar::told() } else { told };
        let inputs = [
            Input::Admitted { certificate: Box::new(certificate), access },
            Input::Placed { addresses: vec![address(n)], relay: None },
            Input::Looked { told: said },
        ];
        for input in inputs {
            machine.step(self.now, input, &mut self.effects);
        }
        self.effects.clear();
        let (spot, connected) = (Spot::anywhere(&mut self.random), BTreeMap::new());
        let (timer, bytes) = (None, 0);
        let host_now =
            Host { machine, spot, told, is_liar, is_public, is_dropper, timer, connected, bytes };
        self.hosts.push(Some(Box::new(host_now)));
        self.by_key.insert(host, n);
        self.living.push(n);
        self.wind(n);
        n
    }

    /// As the complex does it.
    fn introduce(&mut self, n: u32) {
        let now = self.now;
        let mut peers = Vec::new();
        for _ in 0..100 {
            let at = self.random.below(self.living.len() as u64) as usize;
            let other = self.living[at];
            if other != n
                && let Some(host) = self.host_mut(other)
                && host.is_public
            {
                peers.push(Arc::new(host.machine.introduce(now)));
            }
            if peers.len() as u64 >= INTRODUCED {
                break;
            }
        }
        self.input(n, Input::Met { peers });
    }

    fn dies(&mut self, n: u32) {
        if let Some(host) = self.hosts[n as usize].take() {
            self.by_key.remove(&host.machine.id());
        }
    }

    fn crash(&mut self, share: f64) {
        for n in std::mem::take(&mut self.living) {
            if self.random.unit() < share {
                self.dies(n);
            } else {
                self.living.push(n);
            }
        }
    }

    fn churn(&mut self) {
        let each = self.setting.churn * f64::from(self.setting.hosts);
        let count = each as u32 + u32::from(self.random.unit() < each.fract());
        for _ in 0..count {
            let at = self.random.below(self.living.len() as u64) as usize;
            let n = self.living.swap_remove(at);
            self.dies(n);
            let new = self.born();
            self.introduce(new);
        }
    }

    fn count_from_now(&mut self) {
        self.seen.counted_from = self.now;
        self.hosts.iter_mut().flatten().for_each(|host| host.bytes = 0);
    }

    fn push(&mut self, at: Time, event: Event) {
        self.last += 1;
        self.queue.push(Reverse(Due(at, self.last, event)));
    }

    pub(super) fn run(&mut self, until: Time) {
        while let Some(Reverse(Due(at, ..))) = self.queue.peek()
            && *at <= until
        {
            let Some(Reverse(Due(at, _, event))) = self.queue.pop() else { break };
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Asked { from, to, request, ask } => self.asked(from, to, request, ask),
            Event::Answered { to, from, request, answer, round_trip } => {
                let bytes = answer.encode().len();
                self.count(from, to, bytes);
                let round_trip = Some(round_trip);
                self.input(to, Input::Answered { request, answer, round_trip });
            }
            Event::Failed { to, request, sent } => {
                self.input(to, Input::Failed { request, sent });
            }
            Event::Timer(n) => {
                let now = self.now;
                let Some(host) = self.host_mut(n) else { return };
                if host.timer != Some(now) {
                    return;
                }
                host.timer = None;
                if host.machine.deadline().is_some_and(|due| due <= now) {
                    self.input(n, Input::TimerFired);
                } else {
                    self.wind(n);
                }
            }
        }
    }

    fn is_lost(&mut self) -> bool {
        self.setting.loss > 0.0 && self.random.unit() < self.setting.loss
    }

    fn asked(&mut self, from: u32, to: HostId, request: RequestId, ask: Box<Request>) {
        let Some(peer) = self.host(from).map(|host| host.machine.id()) else { return };
        let n = self.number(to).filter(|n| self.host(*n).is_some_and(|host| host.is_public));
        let Some(n) = n else {
            self.push(self.now + SILENCE, Event::Failed { to: from, request, sent: false });
            return;
        };
        self.count(from, n, ask.encode().len());
        let input = Input::Asked { call: CallId(0), peer, request: ask };
        let Some(answer) = self.input(n, input) else { return };
        let answer = self.lie(n, answer);
        if self.is_lost() {
            self.push(self.now + SILENCE, Event::Failed { to: from, request, sent: true });
            return;
        }
        let (Some(host), Some(asker)) = (self.host(n), self.host(from)) else { return };
        let (there, here) = (host.spot, asker.spot);
        let way = there.way(&here, &mut self.random);
        let round_trip = way + here.way(&there, &mut self.random);
        let answered = Event::Answered { to: from, from: n, request, answer, round_trip };
        self.push(self.now + way, answered);
    }

    fn lie(&mut self, n: u32, mut answer: Box<Answer>) -> Box<Answer> {
        if self.host(n).is_some_and(|host| host.is_liar)
            && let Answer::Exchanged(it) = &mut *answer
        {
            liar::answer(it, &self.lying, &mut self.random);
        }
        if self.host(n).is_some_and(|host| host.is_dropper)
            && matches!(*answer, Answer::Gathered(_))
        {
            *answer = Answer::Gathered(Box::default());
        }
        answer
    }

    /// Gives a host an input, and does what it wants; an answer is the caller's.
    pub(super) fn input(&mut self, n: u32, input: Input) -> Option<Box<Answer>> {
        let now = self.now;
        self.last += 1;
        let checks = self.last.is_multiple_of(CHECK_EVERY);
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(host) = self.host_mut(n) {
            host.machine.step(now, input, &mut effects);
            if checks {
                host.machine.check_invariants();
            }
        }
        let (mut said, mut weighs) = (None, Vec::new());
        for effect in effects.drain(..) {
            match effect {
                Effect::Ask { request, to, ask } => self.ask(n, request, to.host, ask),
                Effect::Answer { answer, .. } => said = Some(answer),
                Effect::Gone { host } => {
                    self.seen.gone += 1;
                    self.seen.gone_wrongly += u64::from(self.number(host).is_some());
                }
                Effect::Weigh { query, .. } => weighs.push(query),
                Effect::Found(found) => self.found.push(*found),
                Effect::Unfound { .. }
                | Effect::Caught { .. }
                | Effect::Estimated(_)
                | Effect::Remember { .. }
                | Effect::Forget { .. } => {}
            }
        }
        self.effects = effects;
        for query in weighs {
            if let Some(host) = self.host(n) {
                let weighed = Box::new(fits(&host.told));
                self.input(n, Input::Weighed { query, weighed });
            }
        }
        self.wind(n);
        said
    }

    fn ask(&mut self, n: u32, request: RequestId, to: HostId, mut ask: Box<Request>) {
        if self.host(n).is_some_and(|host| host.is_liar) {
            self.learn_liar(n);
            if let Request::Exchange(it) = &mut *ask {
                liar::ask(it, &self.lying, &mut self.random);
            }
        }
        if self.is_lost() {
            self.push(self.now + SILENCE, Event::Failed { to: n, request, sent: true });
            return;
        }
        let Some(here) = self.host(n).map(|host| host.spot) else { return };
        let there = self.number(to).and_then(|n| self.host(n)).map(|host| host.spot);
        let way = match there {
            Some(there) => here.way(&there, &mut self.random),
            None => Span::ZERO,
        };
        self.push(self.now + way, Event::Asked { from: n, to, request, ask });
    }

    fn learn_liar(&mut self, n: u32) {
        let Some(own) = self.host(n).and_then(|host| host.machine.descriptor().cloned()) else {
            return;
        };
        match self.lying.iter_mut().find(|it| it.host == own.host) {
            Some(known) => *known = own,
            None => self.lying.push(own),
        }
    }

    /// Sets the timer of a host, unless one is under way that comes before.
    fn wind(&mut self, n: u32) {
        let now = self.now;
        let Some(host) = self.host_mut(n) else { return };
        let Some(due) = host.machine.deadline() else { return };
        let due = due.max(now + Span(1));
        if host.timer.is_none_or(|at| at > due) {
            host.timer = Some(due);
            self.push(due, Event::Timer(n));
        }
    }

    /// A message between two, and the handshake before it if they have not spoken for long.
    fn count(&mut self, from: u32, to: u32, bytes: usize) {
        let now = self.now;
        let mut cost = bytes as u64 + OVERHEAD_BYTES;
        let Some(host) = self.host_mut(from) else { return };
        let spoke = host.connected.insert(to, now);
        if host.connected.len() > 64 {
            host.connected.retain(|_, at| *at + KEPT > now);
        }
        if spoke.is_none_or(|at| at + KEPT <= now) {
            cost += HANDSHAKE_BYTES;
        }
        host.bytes += cost;
        if let Some(host) = self.host_mut(to) {
            host.connected.insert(from, now);
            host.bytes += cost;
        }
    }
}

/// Whether a host has at least four cores, as questions here want it.
fn fits(told: &Told) -> Weighed {
    let facts = Fact::ALL
        .map(|fact| fact.clamp(fact.attribute().map_or(0.5, |attribute| told[attribute.at()])));
    let fits = told[Attribute::Cores.at()] >= 4.0;
    Weighed { fits, name: "a host of a world".into(), country: String::new(), facts }
}

/// What a host has that does not lie.
fn honest(random: &mut Random) -> Told {
    let gib = (1_u64 << 30) as f64;
    let mut told = [0.0; isos_gossip::attribute::ATTRIBUTES];
    told[Attribute::Cores.at()] = f64::from(1_u32 << random.below(5));
    told[Attribute::MemoryFree.at()] = gib * 2_f64.powf(6.0 * random.unit());
    told[Attribute::DiskFree.at()] = gib * 2_f64.powf(4.0 + 7.0 * random.unit());
    told[Attribute::Load.at()] = random.unit();
    told[Attribute::Busy.at()] = f64::from(u8::from(random.unit() < 0.3));
    told[Attribute::Uptime.at()] = 600.0 / (1.0 - random.unit());
    told[Attribute::CoreHours.at()] = 10.0 * random.unit();
    told
}
