//! Ranks over a network that is played: connections are made, break, and are made again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use isos_base::key::PublicKey;
use isos_base::peers::{
    Answer, Ask, Greeting, Hearing, MESSAGE_BYTES_MAX, Peer, Peers, Place, Problem,
};
use isos_base::peers::{PAIR_BYTES_MAX, window};
use isos_base::random::Random;
use isos_base::{HostId, JobId, Machine, Span, Time};

use crate::{CallId, Effect, Input, LineId, SILENCE_MAX, Talk};

const JOB: JobId = JobId(7);

fn host(rank: u32) -> HostId {
    HostId(PublicKey([rank as u8; 32]))
}

fn run_of(rank: u32) -> u64 {
    100 + u64::from(rank)
}

fn place(rank: u32) -> Place {
    Place { addresses: Vec::new(), relay: None, run: run_of(rank) }
}

fn peers(size: u32) -> Peers {
    let peers = (0..size).map(|rank| Peer { rank, host: host(rank), place: Some(place(rank)) });
    Peers { job: JOB, until: None, peers: peers.collect() }
}

fn greeting(from: u32, to: u32) -> Greeting {
    Greeting { job: JOB, from, from_run: run_of(from), to, to_run: run_of(to) }
}

/// A call that was answered: who calls whom, and as which line the other knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wire {
    from: u32,
    to: u32,
    call: CallId,
    line: LineId,
}

/// All ranks of a job, and what is between them.
struct Net {
    now: Time,
    talks: Vec<Talk>,
    wires: Vec<Wire>,
    todo: VecDeque<(u32, Input)>,
    answers: BTreeMap<u32, Vec<Answer>>,
    flushed: Vec<u32>,
    parted: Vec<(u32, u32)>,
    /// Ranks that do not answer.
    dead: Vec<u32>,
    last_line: u64,
}

impl Net {
    fn new(size: u32) -> Self {
        let talks = (0..size).map(|rank| Talk::new(JOB, rank, size, run_of(rank))).collect();
        let mut net = Self {
            now: Time(1_000_000),
            talks,
            wires: Vec::new(),
            todo: VecDeque::new(),
            answers: BTreeMap::new(),
            flushed: Vec::new(),
            parted: Vec::new(),
            dead: Vec::new(),
            last_line: 0,
        };
        for rank in 0..size {
            net.give(rank, Input::Told(peers(size)));
        }
        net
    }

    fn give(&mut self, rank: u32, input: Input) {
        self.todo.push_back((rank, input));
        while let Some((rank, input)) = self.todo.pop_front() {
            if self.dead.contains(&rank) {
                continue;
            }
            let mut effects = Vec::new();
            let talk = &mut self.talks[rank as usize];
            talk.step(self.now, input, &mut effects);
            talk.check_invariants();
            for effect in effects {
                self.carry_out(rank, effect);
            }
        }
    }

    fn carry_out(&mut self, own: u32, effect: Effect) {
        match effect {
            Effect::Call { rank, call, greeting, .. } => {
                if self.dead.contains(&rank) {
                    return self.todo.push_back((own, Input::CallEnded { rank, call }));
                }
                self.last_line += 1;
                let line = LineId(self.last_line);
                self.wires.push(Wire { from: own, to: rank, call, line });
                self.todo.push_back((rank, Input::Called { host: host(own), greeting, line }));
            }
            Effect::Welcome { line, hearing, .. } => {
                if let Some(wire) = self.wire(|wire| wire.line == line) {
                    let reached = Input::Reached { rank: wire.to, call: wire.call, hearing };
                    self.todo.push_back((wire.from, reached));
                }
            }
            Effect::Refuse { line } => self.cut(|wire| wire.line == line),
            Effect::Say { rank, call, number, message } => {
                if let Some(wire) = self.wire(|wire| (wire.from, wire.call) == (own, call)) {
                    let message = message.to_vec();
                    let arrived = Input::Arrived { rank: own, line: wire.line, number, message };
                    self.todo.push_back((rank, arrived));
                }
            }
            Effect::Tell { line, hearing, .. } => {
                if let Some(wire) = self.wire(|wire| wire.line == line) {
                    let heard = Input::Heard { rank: wire.to, call: wire.call, hearing };
                    self.todo.push_back((wire.from, heard));
                }
            }
            Effect::Part { rank, .. } => {
                self.parted.push((own, rank));
                self.cut(|wire| {
                    [(wire.from, wire.to), (wire.to, wire.from)].contains(&(own, rank))
                });
            }
            Effect::Answer(answer) => self.answers.entry(own).or_default().push(answer),
            Effect::Flushed => self.flushed.push(own),
        }
    }

    fn wire(&self, is: impl Fn(&Wire) -> bool) -> Option<Wire> {
        self.wires.iter().copied().find(is)
    }

    /// Breaks connections; what was on its way over them is lost.
    fn cut(&mut self, is: impl Fn(&Wire) -> bool) {
        let (cut, kept): (Vec<Wire>, Vec<Wire>) = self.wires.iter().partition(|wire| is(wire));
        self.wires = kept;
        for Wire { from, to, call, line } in cut {
            self.todo.retain(|(_, input)| match input {
                Input::Arrived { line: it, .. } => *it != line,
                Input::Heard { rank, call: it, .. } | Input::Reached { rank, call: it, .. } => {
                    (*rank, *it) != (to, call)
                }
                _ => true,
            });
            self.todo.push_back((from, Input::CallEnded { rank: to, call }));
            self.todo.push_back((to, Input::LineEnded { rank: from, line }));
        }
    }

    fn pass(&mut self, span: Span) {
        self.now += span;
        for rank in 0..self.talks.len() as u32 {
            self.give(rank, Input::TimerFired);
        }
    }

    fn ask(&mut self, rank: u32, ask: Ask) -> Option<Answer> {
        self.give(rank, Input::Asked(ask));
        self.answer(rank)
    }

    fn answer(&mut self, rank: u32) -> Option<Answer> {
        let answers = self.answers.entry(rank).or_default();
        assert!(answers.len() <= 1, "one question has one answer");
        answers.pop()
    }

    fn send(&mut self, from: u32, to: u32, message: &[u8]) -> Option<Answer> {
        self.ask(from, Ask::Send { to, message: message.to_vec() })
    }

    fn receive(&mut self, rank: u32, from: Option<u32>) -> Option<Answer> {
        self.ask(rank, Ask::Receive { from, wait_ms: 0 })
    }
}

fn came(from: u32, message: &[u8]) -> Option<Answer> {
    Some(Answer::Received(Some((from, message.to_vec()))))
}

const SENT: Option<Answer> = Some(Answer::Sent(1));
const NOTHING: Option<Answer> = Some(Answer::Received(None));
const GONE: Option<Answer> = Some(Answer::Problem(Problem::Gone));

#[test]
fn what_one_says_another_receives_in_order_and_by_rank() {
    let mut net = Net::new(3);
    assert_eq!(net.receive(1, None), NOTHING);
    for message in [&b"one"[..], b"", b"three"] {
        assert_eq!(net.send(0, 1, message), SENT);
    }
    assert_eq!(net.send(2, 1, b"two's"), SENT);
    assert_eq!(net.receive(1, Some(2)), came(2, b"two's"));
    assert_eq!(net.receive(1, Some(0)), came(0, b"one"));
    assert_eq!(net.receive(1, None), came(0, b""));
    assert_eq!(net.receive(1, None), came(0, b"three"));
    assert_eq!(net.receive(1, None), NOTHING);
    assert_eq!(net.wires.len(), 2, "one connection a pair and direction, made when it is used");
}

#[test]
fn who_waits_is_answered_when_something_comes_or_time_is_over() {
    let mut net = Net::new(2);
    let ask = Ask::Receive { from: Some(0), wait_ms: 5_000 };
    assert_eq!(net.ask(1, ask.clone()), None);
    assert_eq!(net.talks[1].deadline(), Some(net.now + Span::secs(5)));
    assert_eq!(net.send(0, 1, b"now"), SENT);
    assert_eq!(net.answer(1), came(0, b"now"));
    assert_eq!(net.ask(1, ask), None);
    net.pass(Span::secs(5));
    assert_eq!(net.answer(1), NOTHING);
}

#[test]
fn each_rank_has_its_turn_where_any_is_received() {
    let mut net = Net::new(3);
    for _ in 0..2 {
        assert_eq!(net.send(1, 0, b"1"), SENT);
    }
    assert_eq!(net.send(2, 0, b"2"), SENT);
    let order = [came(1, b"1"), came(2, b"2"), came(1, b"1")];
    assert_eq!([(); 3].map(|()| net.receive(0, None)), order);
}

#[test]
fn who_sends_without_being_received_waits_and_keeps_nobody_else_waiting() {
    let mut net = Net::new(3);
    let large = vec![7; MESSAGE_BYTES_MAX];
    let mut sent = 0;
    while net.send(0, 1, &large) == SENT {
        sent += 1;
        assert!(sent < 100, "its room is bounded");
    }
    assert!(sent as u64 * MESSAGE_BYTES_MAX as u64 <= PAIR_BYTES_MAX.0);
    assert_eq!(net.send(2, 1, b"hello"), SENT);
    assert_eq!(net.receive(1, Some(2)), came(2, b"hello"));
    assert_eq!(net.answer(0), None);
    assert_eq!(net.receive(1, None), came(0, &large));
    assert_eq!(net.answer(0), SENT, "there is room again");
}

#[test]
fn empty_messages_are_bounded_too() {
    let mut net = Net::new(2);
    let mut sent = 0u64;
    while net.send(0, 1, b"") == SENT {
        sent += 1;
    }
    assert_eq!(sent, window(2) / 64);
}

#[test]
fn a_message_of_the_largest_size_can_be_sent_among_the_most_ranks_and_no_larger_one() {
    let mut net = Net::new(256);
    let largest = vec![7; MESSAGE_BYTES_MAX];
    assert_eq!(net.ask(3, Ask::Multicast(largest.clone())), Some(Answer::Sent(255)));
    assert_eq!(net.receive(255, None), came(3, &largest));
    let larger = vec![7; MESSAGE_BYTES_MAX + 1];
    let too_large = Some(Answer::Problem(Problem::TooLarge));
    assert_eq!(net.send(0, 1, &larger), too_large);
    assert_eq!(net.ask(0, Ask::Multicast(larger)), too_large);
    let no_rank = Some(Answer::Problem(Problem::NoRank));
    assert_eq!(net.send(0, 0, b"me"), no_rank);
    assert_eq!(net.send(0, 256, b"nobody"), no_rank);
    assert_eq!(net.receive(0, Some(0)), no_rank);
}

#[test]
fn a_rank_that_is_gone_is_gone_for_good_and_what_it_said_is_received_first() {
    let mut net = Net::new(3);
    assert_eq!(net.send(0, 1, b"last words"), SENT);
    let gone = Peer { rank: 0, host: host(0), place: None };
    net.give(1, Input::Told(Peers { job: JOB, until: None, peers: vec![gone] }));
    assert_eq!(net.send(1, 0, b"there?"), GONE);
    assert_eq!(net.receive(1, Some(0)), came(0, b"last words"));
    assert_eq!(net.receive(1, Some(0)), GONE);
    assert_eq!(net.receive(1, None), NOTHING, "another one is there");
    assert_eq!(net.ask(1, Ask::Multicast(b"all".to_vec())), Some(Answer::Sent(1)));
    net.give(1, Input::Told(peers(3)));
    assert_eq!(net.send(1, 0, b"back?"), GONE);
}

#[test]
fn another_run_of_a_rank_is_another_one() {
    let mut net = Net::new(2);
    let mut again = peers(2);
    again.peers[0].place.as_mut().unwrap().run += 1;
    net.give(1, Input::Told(again));
    assert_eq!(net.receive(1, None), GONE);
}

#[test]
fn who_cannot_be_reached_for_a_minute_is_gone() {
    let mut net = Net::new(2);
    assert_eq!(net.send(0, 1, b"one"), SENT);
    net.dead.push(1);
    net.cut(|_| true);
    assert_eq!(net.send(0, 1, b"two"), SENT);
    net.pass(Span(SILENCE_MAX.0 - 1));
    assert!(net.parted.is_empty());
    net.pass(Span(1));
    assert_eq!(net.parted, [(0, 1)]);
    assert_eq!(net.send(0, 1, b"three"), GONE);
}

#[test]
fn who_called_and_does_not_come_back_is_gone_after_a_minute() {
    let mut net = Net::new(2);
    assert_eq!(net.send(0, 1, b"one"), SENT);
    assert_eq!(net.receive(1, None), came(0, b"one"));
    net.dead.push(0);
    net.cut(|_| true);
    let ask = Ask::Receive { from: Some(0), wait_ms: 3_600_000 };
    assert_eq!(net.ask(1, ask), None);
    net.pass(SILENCE_MAX);
    assert_eq!(net.answer(1), GONE);
}

#[test]
fn a_task_ends_when_its_last_words_are_heard() {
    let mut net = Net::new(2);
    net.dead.push(1);
    assert_eq!(net.send(0, 1, b"last"), SENT);
    net.give(0, Input::Over);
    assert!(net.flushed.is_empty());
    net.dead.clear();
    net.pass(Span::secs(5));
    assert_eq!(net.flushed, [0]);
    assert_eq!(net.receive(1, None), came(0, b"last"));

    let mut net = Net::new(2);
    net.dead.push(1);
    assert_eq!(net.send(0, 1, b"last"), SENT);
    net.give(0, Input::Over);
    net.pass(SILENCE_MAX);
    assert_eq!(net.flushed, [0], "nobody waits for who is gone");
}

#[test]
fn only_the_key_and_the_run_of_a_peer_are_let_in() {
    let mut net = Net::new(3);
    let mut refused = |host: HostId, greeting: Greeting| {
        let mut effects = Vec::new();
        let called = Input::Called { host, greeting, line: LineId(99) };
        net.talks[0].step(net.now, called, &mut effects);
        effects == [Effect::Refuse { line: LineId(99) }]
    };
    let good = greeting(1, 0);
    assert!(refused(host(2), good), "another key");
    assert!(refused(host(9), good), "no peer at all");
    assert!(refused(host(1), Greeting { from: 2, ..good }), "another rank");
    assert!(refused(host(1), Greeting { from: 0, ..good }), "this rank itself");
    assert!(refused(host(1), Greeting { job: JobId(8), ..good }), "another job");
    assert!(refused(host(1), Greeting { to: 2, ..good }), "for another rank");
    assert!(refused(host(1), Greeting { to_run: 1, ..good }), "for another run");
    assert!(refused(host(1), Greeting { from_run: 1, ..good }), "of another run");
    assert!(!refused(host(1), good));
}

#[test]
fn who_does_not_keep_to_the_protocol_is_gone() {
    let line = LineId(99);
    let said =
        |number, bytes: usize| Input::Arrived { rank: 1, line, number, message: vec![7; bytes] };
    let full = MESSAGE_BYTES_MAX;
    let more: Vec<Input> = (1..=17).map(|number| said(number, full)).collect();
    for bad in [vec![said(2, 1)], vec![said(1, 1), said(1, 1)], vec![said(1, full + 1)], more] {
        let mut net = Net::new(2);
        net.give(0, Input::Called { host: host(1), greeting: greeting(1, 0), line });
        bad.into_iter().for_each(|input| net.give(0, input));
        assert_eq!(net.parted, [(0, 1)]);
    }
    // It has heard what nobody said, or forgets what it has heard.
    for hearing in
        [Hearing { heard: 9, taken: 0 }, Hearing { heard: 1, taken: 2 }, Hearing::default()]
    {
        let mut net = Net::new(2);
        assert_eq!(net.send(0, 1, b"one"), SENT);
        net.give(0, Input::Heard { rank: 1, call: CallId(1), hearing });
        assert_eq!(net.parted, [(0, 1)], "{hearing:?}");
    }
}

/// Ranks that say numbers to each other over lines that break all the time: nothing is lost,
/// nothing comes twice, all comes in order.
#[test]
fn nothing_is_lost_or_repeated_over_lines_that_break() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let size = 2 + random.below(4) as u32;
        let mut net = Net::new(size);
        let (mut sent, mut taken) = (BTreeMap::new(), BTreeMap::new());
        let mut waiting = BTreeSet::new();
        for _ in 0..4_000 {
            let rank = random.below(size.into()) as u32;
            if waiting.contains(&rank) {
                if let Some(answer) = net.answer(rank) {
                    assert_eq!(Some(answer), SENT);
                    waiting.remove(&rank);
                }
            } else if random.one_in(2) {
                let to = (rank + 1 + random.below(u64::from(size) - 1) as u32) % size;
                let number: &mut u64 = sent.entry((rank, to)).or_default();
                *number += 1;
                let mut message = number.to_le_bytes().to_vec();
                message.resize(8 + random.below(12_000) as usize, 7);
                match net.send(rank, to, &message) {
                    None => _ = waiting.insert(rank),
                    answer => assert_eq!(answer, SENT),
                }
            } else if let Some(Answer::Received(Some((from, message)))) = net.receive(rank, None) {
                let number: &mut u64 = taken.entry((from, rank)).or_default();
                *number += 1;
                assert_eq!(message[..8], number.to_le_bytes(), "seed {seed}: in order, once");
            }
            if random.one_in(20) && !net.wires.is_empty() {
                let wire = net.wires[random.below(net.wires.len() as u64) as usize];
                net.cut(|it| *it == wire);
            }
            if random.one_in(10) {
                net.pass(Span::millis(random.below(2_000)));
            }
        }
        // Everything is taken in the end.
        for _ in 0..20 {
            net.pass(Span::secs(5));
            for rank in 0..size {
                net.answer(rank).inspect(|answer| assert_eq!(Some(answer), SENT.as_ref()));
            }
            for rank in 0..size {
                while net.talks[rank as usize].is_told()
                    && let Some(Answer::Received(Some((from, message)))) = net.receive(rank, None)
                {
                    let number: &mut u64 = taken.entry((from, rank)).or_default();
                    *number += 1;
                    assert_eq!(message[..8], number.to_le_bytes(), "seed {seed}: in order, once");
                }
            }
        }
        assert_eq!(sent, taken, "seed {seed}");
        assert!(net.parted.is_empty());
    }
}
