//! A network in memory: hosts of the shipped machine, one latency, some loss.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::random::Random;

use super::*;

#[derive(Debug)]
enum Event {
    Ask { from: usize, request: RequestId, to: HostId, ask: Box<Ask> },
    Answer { to: usize, request: RequestId, answer: Box<Answer> },
    Timer(usize),
}

pub(super) struct Net {
    pub(super) now: Time,
    pub(super) hosts: Vec<Route<Keys>>,
    pub(super) down: BTreeSet<usize>,
    pub(super) asks: u64,
    pub(super) finds: u64,
    by_host: BTreeMap<HostId, usize>,
    calls: BTreeMap<u64, (usize, RequestId)>,
    queue: BTreeMap<(Time, u64), Event>,
    timers: Vec<Option<Time>>,
    random: Random,
    loss_percent: u64,
    last: u64,
    pub(super) said: Vec<(usize, Effect)>,
}

const LATENCY: Span = Span::millis(30);

impl Net {
    /// So many hosts that know the first one; the last `clients` of them are clients.
    pub(super) fn new(hosts: u32, clients: u32, loss_percent: u64, tuning: Tuning) -> Self {
        let mut net = Self {
            now: Time(1_000_000),
            hosts: Vec::new(),
            down: BTreeSet::new(),
            asks: 0,
            finds: 0,
            by_host: BTreeMap::new(),
            calls: BTreeMap::new(),
            queue: BTreeMap::new(),
            timers: Vec::new(),
            random: Random::new(7),
            loss_percent,
            last: 0,
            said: Vec::new(),
        };
        (0..hosts).for_each(|n| net.add(n, n < hosts - clients, tuning));
        net
    }

    pub(super) fn add(&mut self, n: u32, is_router: bool, tuning: Tuning) {
        let own = Arc::new(testing::contact(n));
        let at = self.hosts.len();
        self.by_host.insert(own.host(), at);
        let machine = Route::new(own, is_router, testing::keys(n), tuning, u64::from(n));
        self.hosts.push(machine);
        self.timers.push(None);
        let contacts = if at == 0 { Vec::new() } else { vec![Arc::new(testing::contact(0))] };
        self.input(at, Input::Met { contacts });
    }

    pub(super) fn input(&mut self, at: usize, input: Input) {
        let mut effects = Vec::new();
        self.hosts[at].step(self.now, input, &mut effects);
        if self.random.one_in(16) {
            self.hosts[at].check_invariants();
        }
        for effect in effects {
            match effect {
                Effect::Ask { request, to, ask } => {
                    self.asks += 1;
                    self.finds += u64::from(matches!(ask.request, Request::Find(_)));
                    // Over the wire and back, as bytes.
                    let ask = Box::new(Ask::decode(&ask.encode()).expect("ours"));
                    self.send(Event::Ask { from: at, request, to: to.host(), ask });
                }
                Effect::Answer { call, answer } => {
                    let (to, request) = self.calls.remove(&call.0).expect("asked");
                    let answer = Box::new(Answer::decode(&answer.encode()).expect("ours"));
                    self.send(Event::Answer { to, request, answer });
                }
                other => self.said.push((at, other)),
            }
        }
        let due = self.hosts[at].deadline().map(|due| due.max(self.now));
        if due != self.timers[at] {
            self.timers[at] = due;
            if let Some(due) = due {
                self.push(due, Event::Timer(at));
            }
        }
    }

    fn send(&mut self, event: Event) {
        if self.random.below(100) >= self.loss_percent {
            self.push(self.now + LATENCY, event);
        }
    }

    fn push(&mut self, at: Time, event: Event) {
        self.last += 1;
        self.queue.insert((at, self.last), event);
    }

    pub(super) fn run(&mut self, span: Span) {
        let until = self.now + span;
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= until
        {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            match event {
                Event::Ask { from, request, to, ask } => {
                    let Some(&at) = self.by_host.get(&to) else { continue };
                    if self.down.contains(&at) || self.down.contains(&from) {
                        continue;
                    }
                    self.last += 1;
                    let call = self.last;
                    self.calls.insert(call, (from, request));
                    let peer = self.hosts[from].own().host();
                    self.input(at, Input::Asked { call: CallId(call), peer, ask });
                }
                Event::Answer { to, request, answer } => {
                    if !self.down.contains(&to) {
                        self.input(to, Input::Answered { request, answer });
                    }
                }
                Event::Timer(at) => {
                    if self.timers[at] == Some(self.now) && !self.down.contains(&at) {
                        self.timers[at] = None;
                        self.input(at, Input::TimerFired);
                    }
                }
            }
        }
        self.now = until;
    }

    /// Wakes a host that was down.
    pub(super) fn up(&mut self, at: usize) {
        self.down.remove(&at);
        self.timers[at] = None;
        self.input(at, Input::TimerFired);
    }

    /// Asks a host who holds this, and waits; who was found, and how it ended.
    pub(super) fn search(&mut self, at: usize, guid: Guid) -> (Vec<HostId>, Outcome) {
        self.last += 1;
        let search = SearchId(self.last);
        let from = self.said.len();
        self.input(at, Input::Wanted { search, guid, holders: 1 });
        self.run(Span::secs(20));
        let mut holders = Vec::new();
        let mut end = None;
        for (_, effect) in &self.said[from..] {
            match effect {
                Effect::Found { search: of, pointers } if *of == search => {
                    holders.extend(pointers.iter().map(|it| it.holder.host()));
                }
                Effect::Ended { search: of, outcome } if *of == search => {
                    end = Some(outcome.clone());
                }
                _ => {}
            }
        }
        (holders, end.expect("a search ends"))
    }

    /// Copies of what a host announced, the last word on each.
    pub(super) fn copies(&self, at: usize) -> BTreeMap<Guid, u8> {
        let said = self.said.iter().filter(|(who, _)| *who == at);
        let copies = said.filter_map(|(_, effect)| match effect {
            Effect::Announced { copies } => Some(copies),
            _ => None,
        });
        copies.flatten().copied().collect()
    }
}
