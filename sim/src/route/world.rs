//! A world of routers: the shipped machine on each, messages between them, deaths and births.
//!
//! Whoever dies is replaced at once by somebody new with another key, place and table, who knows
//! three living routers to begin with. The holders of what is searched for are clients that do not
//! die, so what is measured is routing and its pointers, not the lives of holders. Searches come
//! from honest routers that have lived for half a minute.

mod life;
mod searches;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use isos_base::random::Random;
use isos_base::time::{Span, Time};
use isos_base::{Guid, HostId, Machine};
use isos_route::machine::{CallId, RequestId};
use isos_route::wire::{Answer, Ask};
use isos_route::{Contact, Effect, Input, Route, Tuning};

use super::Setting;
use super::liar::{Places, Reply, reply};
use super::office::{Desk, Office, admit};
use super::tally::{Outcome, Tally, Traffic};
use crate::network::{HANDSHAKE_BYTES, KEPT, OVERHEAD_BYTES, Spot};
use searches::Searches;

/// Clients that hold what is searched for.
const HOLDERS: u32 = 16;
/// Routers that somebody new knows.
const INTRODUCED: u64 = 3;
/// Routers join over so long where nobody is there before.
const JOIN_SPAN: Span = Span::secs(60);
/// Worlds above this begin with tables that were saved, since to join costs more than all the rest.
const JOINING_MAX: u32 = 20_000;
/// Machines check themselves once in so many steps.
const CHECK_EVERY: u64 = 50_000;
/// The world begins then, since the epoch stands for "never" in the machines.
const BEGIN: Time = Time(1_000_000_000);

/// What is to happen.
#[derive(Debug)]
enum Event {
    Asked { from: u32, to: HostId, request: RequestId, ask: Box<Ask> },
    Answered { to: u32, request: RequestId, answer: Box<Answer> },
    Timer(u32),
    Born,
    Dies(u32),
    Search,
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
struct Host {
    machine: Route<Desk>,
    spot: Spot,
    born: Time,
    is_bad: bool,
    is_router: bool,
    /// The timer that is under way.
    timer: Option<Time>,
    /// Whom it has a connection to, since when unused.
    connected: BTreeMap<u32, Time>,
}

struct World {
    setting: Setting,
    now: Time,
    random: Random,
    office: Rc<RefCell<Office>>,
    /// By number; nothing for those who have died.
    hosts: Vec<Option<Box<Host>>>,
    by_key: BTreeMap<HostId, u32>,
    /// Living routers, in no order.
    living: Vec<u32>,
    places: BTreeMap<isos_route::Position, u32>,
    bad: Places,
    honest: Vec<Arc<Contact>>,
    queue: BinaryHeap<Reverse<Due>>,
    calls: BTreeMap<u64, (u32, RequestId)>,
    last: u64,
    searches: Searches,
    tally: Tally,
    traffic: Traffic,
    effects: Vec<Effect>,
}

/// Runs one setting to its end.
#[must_use]
pub fn measure(setting: &Setting) -> Outcome {
    let mut world = World::new(*setting);
    world.populate();
    world.run(setting.settle);
    world.announce();
    world.run(Span::secs(60));
    // What is sent while nobody searches.
    let before = world.traffic;
    let quiet = Span(setting.settle.0 / 2);
    world.run(quiet);
    world.tally.upkeep = Traffic {
        bytes: world.traffic.bytes - before.bytes,
        handshake_bytes: world.traffic.handshake_bytes - before.handshake_bytes,
        messages: world.traffic.messages - before.messages,
        host_seconds: quiet.as_secs_f64() * f64::from(setting.hosts),
    };
    world.search_over(setting.span);
    world.run(setting.span + Span::secs(60));
    world.end()
}

impl World {
    fn new(setting: Setting) -> Self {
        Self {
            setting,
            now: BEGIN,
            random: Random::new(setting.seed),
            office: Office::new(setting.seed),
            hosts: Vec::new(),
            by_key: BTreeMap::new(),
            living: Vec::new(),
            places: BTreeMap::new(),
            bad: Places::new(),
            honest: Vec::new(),
            queue: BinaryHeap::new(),
            calls: BTreeMap::new(),
            last: 0,
            searches: Searches::default(),
            tally: Tally::default(),
            traffic: Traffic::default(),
            effects: Vec::new(),
        }
    }

    fn push(&mut self, at: Time, event: Event) {
        self.last += 1;
        self.queue.push(Reverse(Due(at, self.last, event)));
    }

    fn host(&self, n: u32) -> Option<&Host> {
        self.hosts.get(n as usize)?.as_deref()
    }

    fn host_mut(&mut self, n: u32) -> Option<&mut Host> {
        self.hosts.get_mut(n as usize)?.as_deref_mut()
    }

    fn run(&mut self, span: Span) {
        let until = self.now + span;
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
            Event::Answered { to, request, answer } => {
                self.input(to, Input::Answered { request, answer });
            }
            Event::Timer(n) => {
                let now = self.now;
                let Some(host) = self.host_mut(n) else { return };
                if host.timer != Some(now) {
                    return;
                }
                host.timer = None;
                // The deadline may have moved away since.
                if host.machine.deadline().is_some_and(|due| due <= now) {
                    self.input(n, Input::TimerFired);
                } else {
                    self.wind(n);
                }
            }
            Event::Born => self.born(),
            Event::Dies(n) => self.dies(n),
            Event::Search => self.search(),
        }
    }

    fn asked(&mut self, from: u32, to: HostId, request: RequestId, ask: Box<Ask>) {
        let Some(&n) = self.by_key.get(&to) else { return };
        let Some(peer) = self.host(from).map(|host| host.machine.own().host()) else { return };
        if self.host(n).is_some_and(|host| host.is_bad) {
            let lie = self.setting.lie;
            match reply(lie, &ask.request, &self.bad, &self.honest, &mut self.random) {
                Reply::Honest => {}
                Reply::Nothing => return,
                Reply::Lie(answer) => {
                    self.send_answer(n, from, request, Box::new(answer));
                    return;
                }
            }
        }
        self.last += 1;
        let call = self.last;
        self.calls.insert(call, (from, request));
        self.input(n, Input::Asked { call: CallId(call), peer, ask });
        self.calls.remove(&call);
    }

    fn input(&mut self, n: u32, input: Input) {
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
        for effect in effects.drain(..) {
            match effect {
                Effect::Ask { request, to, ask } => self.send_ask(n, request, &to, ask),
                Effect::Answer { call, answer } => {
                    if let Some((to, request)) = self.calls.remove(&call.0) {
                        self.send_answer(n, to, request, answer);
                    }
                }
                Effect::Found { search, pointers } => self.found(search, &pointers),
                Effect::Ended { search, outcome } => self.ended(search, &outcome),
                Effect::Announced { copies } => self.announced(&copies),
                Effect::Forget { .. } => {}
            }
        }
        self.effects = effects;
        self.wind(n);
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

    fn count(&mut self, n: u32, bytes: usize) {
        if self.host(n).is_some_and(|host| host.is_router) {
            self.traffic.bytes += bytes as u64 + OVERHEAD_BYTES;
            self.traffic.messages += 1;
        }
    }

    fn is_lost(&mut self) -> bool {
        self.random.unit() < self.setting.loss
    }

    fn send_ask(&mut self, from: u32, request: RequestId, to: &Contact, ask: Box<Ask>) {
        self.count(from, ask.encode().len());
        // Nobody is there any more, or never was: silence.
        let Some(&n) = self.by_key.get(&to.host()) else { return };
        if self.is_lost() {
            return;
        }
        let (now, mut random) = (self.now, Random::new(self.random.next_u64()));
        let Some(spot) = self.host(n).map(|host| host.spot) else { return };
        let Some(host) = self.host_mut(from) else { return };
        let mut after = host.spot.way(&spot, &mut random);
        let last = host.connected.insert(n, now);
        if host.connected.len() > 256 {
            host.connected.retain(|_, last| now.since(*last) < KEPT);
        }
        if last.is_none_or(|last| now.since(last) > KEPT) {
            after = after + host.spot.round_trip(&spot);
            if host.is_router {
                self.traffic.handshake_bytes += HANDSHAKE_BYTES;
            }
            if let Some(host) = self.host_mut(n) {
                host.connected.insert(from, now);
            }
        }
        self.push(now + after, Event::Asked { from, to: to.host(), request, ask });
    }

    fn send_answer(&mut self, from: u32, to: u32, request: RequestId, answer: Box<Answer>) {
        self.count(from, answer.encode().len());
        if self.is_lost() {
            return;
        }
        let mut random = Random::new(self.random.next_u64());
        let (Some(a), Some(b)) = (self.host(from), self.host(to)) else { return };
        let after = a.spot.way(&b.spot, &mut random);
        self.push(self.now + after, Event::Answered { to, request, answer });
    }

    fn end(self) -> Outcome {
        let routers = || self.living.iter().filter_map(|&n| self.host(n)).filter(|it| !it.is_bad);
        let count = routers().count().max(1) as f64;
        let contacts: usize = routers().map(|it| it.machine.table().proven()).sum();
        let is_dead = |host: HostId| !self.by_key.contains_key(&host);
        let dead = routers()
            .flat_map(|it| it.machine.table().entries())
            .filter(|it| it.proven && is_dead(it.host()))
            .count();
        let mut paces: Vec<Span> = routers().map(|it| it.machine.pace()).collect();
        paces.sort_unstable();
        Outcome {
            contacts: contacts as f64 / count,
            dead: dead as f64 / contacts.max(1) as f64,
            pace: paces.get(paces.len() / 2).copied().unwrap_or_default(),
            ..self.tally.outcome()
        }
    }

    /// What is announced, by number.
    fn guid(n: u32) -> Guid {
        Guid::of(&n.to_le_bytes())
    }
}
