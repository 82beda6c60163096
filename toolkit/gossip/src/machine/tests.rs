//! Stories of one machine, and of many over a network that loses and cuts.

mod net;
mod queries;
mod stories;

use isos_base::codec;
use isos_base::notary::Keys;

use super::*;
use crate::testing;
use crate::wire::{Averaged, Exchange};

const CYCLE: Span = Span::secs(10);
const BEGIN: Time = Time(1_000_000_000_000);

fn fresh(n: u32) -> Gossip<Keys> {
    Gossip::new(BEGIN, testing::host(n), testing::keys(n), Tuning::default(), u64::from(n) + 1)
}

fn step<N: Notary>(machine: &mut Gossip<N>, now: Time, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    machine.step(now, input, &mut effects);
    machine.check_invariants();
    effects
}

fn admitted(n: u32) -> Input {
    Input::Admitted { certificate: Box::new(testing::certificate(n)), access: Access::Public }
}

/// A public host that is admitted and knows these.
fn settled(n: u32, peers: std::ops::Range<u32>) -> Gossip<Keys> {
    let mut machine = fresh(n);
    step(&mut machine, BEGIN, admitted(n));
    let placed = Input::Placed { addresses: vec![testing::address(n)], relay: None };
    step(&mut machine, BEGIN, placed);
    let peers = peers.map(|it| Arc::new(testing::descriptor(it, BEGIN))).collect();
    step(&mut machine, BEGIN, Input::Met { peers });
    machine
}

fn asks(effects: &[Effect]) -> Vec<(RequestId, HostId, Exchange)> {
    let asks = effects.iter().filter_map(|effect| match effect {
        Effect::Ask { request, to, ask } => match (**ask).clone() {
            Request::Exchange(exchange) => Some((*request, to.host, *exchange)),
            _ => None,
        },
        _ => None,
    });
    asks.collect()
}

fn answer_of(effects: &[Effect]) -> Answer {
    let mut answers = effects.iter().filter_map(|effect| match effect {
        Effect::Answer { answer, .. } => Some((**answer).clone()),
        _ => None,
    });
    answers.next().expect("every request is answered")
}

fn asked(peer: u32, exchange: Exchange) -> Input {
    let request = Box::new(Request::Exchange(Box::new(exchange)));
    Input::Asked { call: CallId(1), peer: testing::host(peer), request }
}

fn exchange(from: Descriptor) -> Exchange {
    let (offers, witnesses, accused) = Default::default();
    Exchange { from: Arc::new(from), offers, witnesses, accused, average: None }
}

fn known(machine: &Gossip<Keys>) -> Vec<HostId> {
    machine.public().chain(machine.private()).map(|it| it.host).collect()
}

#[test]
fn who_was_not_admitted_says_nothing() {
    let mut machine = fresh(1);
    let due = machine.deadline().unwrap();
    assert!(asks(&step(&mut machine, due, Input::TimerFired)).is_empty());
    assert!(machine.descriptor().is_none());
    let greeting = exchange(testing::descriptor(2, BEGIN));
    assert_eq!(answer_of(&step(&mut machine, due, asked(2, greeting))), Answer::Busy);
    // The complex must know how to reach it all the same.
    let own = machine.introduce(due);
    assert_eq!(own.check_own(&mut testing::keys(9)), Ok(()));
    step(&mut machine, due, admitted(1));
    let next = machine.deadline().unwrap();
    step(&mut machine, next, Input::TimerFired);
    assert_eq!(machine.descriptor().unwrap().check(&mut testing::keys(9), next), Ok(()));
}

#[test]
fn somebody_elses_certificate_admits_nobody() {
    let mut machine = fresh(1);
    step(&mut machine, BEGIN, admitted(2));
    assert_eq!(machine.admitted_until(), None);
}

#[test]
fn each_cycle_one_descriptor_is_made_and_one_host_met() {
    let mut machine = settled(1, 2..12);
    let mut issued = Vec::new();
    let mut met = Vec::new();
    for _ in 0..5 {
        let due = machine.next_cycle;
        let effects = step(&mut machine, due, Input::TimerFired);
        let asks = asks(&effects);
        let [(_, to, exchange)] = &asks[..] else { panic!("{effects:?}") };
        met.push(*to);
        issued.push(exchange.from.issued.0 / CYCLE.0);
        assert!(exchange.offers.iter().all(|it| it.host != *to), "nobody is told of itself");
    }
    assert!(issued.windows(2).all(|pair| pair[1] == pair[0] + 1), "{issued:?}");
    met.sort();
    met.dedup();
    // Now and then somebody is met from elsewhere, who may be one of them.
    assert!(met.len() >= 4, "somebody else: {met:?}");
}

#[test]
fn a_machine_that_slept_makes_up_for_nothing() {
    let mut machine = settled(1, 2..12);
    let late = machine.next_cycle + Span(CYCLE.0 * 50);
    let effects = step(&mut machine, late, Input::TimerFired);
    assert!(asks(&effects).len() <= 1);
    assert!(machine.next_cycle > late && machine.next_cycle <= late + CYCLE);
}

#[test]
fn who_says_how_to_reach_another_is_not_believed() {
    let mut machine = settled(1, 2..3);
    let due = machine.next_cycle;
    step(&mut machine, due, Input::TimerFired);
    let (own, other) = (testing::descriptor(5, BEGIN), testing::descriptor(6, BEGIN));
    let answer = answer_of(&step(&mut machine, due, asked(5, exchange(other))));
    assert_eq!(answer, Answer::Refused);
    let answer = answer_of(&step(&mut machine, due, asked(5, exchange(own))));
    assert!(matches!(answer, Answer::Exchanged(_)), "{answer:?}");
    assert!(known(&machine).contains(&testing::host(5)));
}

#[test]
fn what_is_forged_old_or_of_the_future_is_not_taken_in() {
    let mut machine = settled(1, 2..3);
    let due = machine.next_cycle;
    step(&mut machine, due, Input::TimerFired);
    let later = Time(BEGIN.0 + CYCLE.0 * 10_000);
    let forged = Descriptor { marks: [9; MARKS], ..testing::descriptor(10, BEGIN) };
    let offers = [
        forged,
        testing::descriptor(11, BEGIN - Span(CYCLE.0 * 200)),
        testing::descriptor(12, later),
        testing::descriptor(13, BEGIN + Span(1)),
        Descriptor { admission: None, ..testing::descriptor(14, BEGIN) }
            .signed(&mut testing::keys(14)),
        testing::descriptor(15, BEGIN),
    ];
    let offers = offers.into_iter().map(Arc::new).collect();
    let it = Exchange { offers, ..exchange(testing::descriptor(5, BEGIN)) };
    step(&mut machine, due, asked(5, it));
    let known = known(&machine);
    for n in 10..15 {
        assert!(!known.contains(&testing::host(n)), "{n}");
    }
    assert!(known.contains(&testing::host(15)));
    assert_eq!(machine.counts().disbelieved, 4);
}

#[test]
fn two_words_for_one_cycle_are_proof() {
    let mut machine = settled(1, 2..8);
    let due = machine.next_cycle;
    step(&mut machine, due, Input::TimerFired);
    let twice = Descriptor { marks: [9; MARKS], ..testing::descriptor(7, BEGIN) };
    let twice = Arc::new(twice.signed(&mut testing::keys(7)));
    let it = Exchange { offers: vec![twice], ..exchange(testing::descriptor(5, BEGIN)) };
    let effects = step(&mut machine, due, asked(5, it));
    let caught = effects.iter().find_map(|effect| match effect {
        Effect::Caught { first, second } => Some((first.clone(), second.clone())),
        _ => None,
    });
    let (first, second) = caught.expect("it contradicts itself");
    assert_eq!((first.host, first.issued), (second.host, second.issued));
    assert!(!known(&machine).contains(&testing::host(7)));
    let later = exchange(testing::descriptor(7, BEGIN + CYCLE));
    assert_eq!(answer_of(&step(&mut machine, due, asked(7, later))), Answer::Refused);
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again_as_it_was() {
    let mut machine = settled(1, 2..8);
    // So that it takes part in an epoch.
    let (host, told) = (machine.own.host, machine.own.told);
    let next = machine.tuning.epoch().0;
    machine.epochs.turn(Time((BEGIN.0 / next + 1) * next), host, &told);
    let due = machine.next_cycle;
    let first = asks(&step(&mut machine, due, Input::TimerFired));
    let (request, to, asked_first) = first.into_iter().next().unwrap();
    let failed = Input::Failed { request, sent: true };
    let second = asks(&step(&mut machine, due, failed));
    let (again, to_again, asked_again) = second.into_iter().next().unwrap();
    assert_ne!(request, again);
    assert_eq!((to, asked_first), (to_again, asked_again));
    // Meanwhile nobody else's average is taken.
    let mut it = exchange(testing::descriptor(5, BEGIN));
    let mut other = Epochs::new(Time(0), machine.tuning.epoch());
    other.turn(machine.now, testing::host(5), &told);
    other.hear(machine.now, machine.epochs.number(), testing::host(5), &told);
    it.average = other.offer();
    let answer = answer_of(&step(&mut machine, due, asked(5, it)));
    let Answer::Exchanged(answer) = answer else { panic!("{answer:?}") };
    assert_eq!(answer.average, Averaged::Busy);
    let failed = Input::Failed { request: again, sent: true };
    assert!(asks(&step(&mut machine, due, failed)).is_empty());
    assert!(machine.pending.is_none());
}

#[test]
fn who_asks_too_often_waits() {
    let mut machine = settled(1, 2..3);
    let due = machine.next_cycle;
    step(&mut machine, due, Input::TimerFired);
    let mut busy = 0;
    for _ in 0..100 {
        let it = exchange(testing::descriptor(5, BEGIN));
        let answer = answer_of(&step(&mut machine, due, asked(5, it)));
        busy += u32::from(answer == Answer::Busy);
    }
    assert_eq!(busy, 68);
}

#[test]
fn a_public_host_that_nobody_calls_is_none() {
    let mut machine = settled(1, 2..20);
    for _ in 0..70 {
        let due = machine.next_cycle;
        for (request, _, _) in asks(&step(&mut machine, due, Input::TimerFired)) {
            let answer = Box::new(Answer::Busy);
            let round_trip = None;
            step(&mut machine, due, Input::Answered { request, answer, round_trip });
        }
    }
    assert_eq!(machine.access(), Access::Private);
    let due = machine.next_cycle;
    step(&mut machine, due, admitted(1));
    assert_eq!(machine.access(), Access::Public, "the complex says so once more");
}

#[test]
fn an_exchange_is_small() {
    let mut world = net::Net::new(40, 1);
    world.run(90);
    let (bytes, messages) = (world.bytes, world.messages);
    let each = bytes / messages;
    // Half of all messages are requests. Each host sends one of each kind a cycle, and gets as
    // many.
    let per_second = (4.0 * each as f64 + 4.0 * 80.0) / CYCLE.as_secs_f64();
    let now = world.now;
    assert!(each < 2_300, "{each} bytes a message");
    assert!(per_second < 1_100.0, "{per_second} B/s");
    assert!(codec::encode(&world.host(1).introduce(now)).len() < 260);
}
