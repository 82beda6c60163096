//! Stories of hosts that ask all others something.

use super::net::Net;
use super::*;
use crate::query::{Ask, Fact, Order, Question, Row, Tally};
use crate::wire::{Answer, Report};

fn wondered(limit: u16) -> Wondered {
    let order = Order { fact: Fact::Cores, least: false };
    let (budget, wait) = (None, None);
    Wondered { wonder: Wonder(1), text: "host.cpus > 4".into(), order, limit, budget, wait }
}

/// What a question leads to in a world that has run for a while.
fn found(net: &mut Net, asker: u32, wondered: Wondered) -> Found {
    net.wonder(asker, wondered);
    net.run(8);
    assert_eq!(net.found.len(), 1, "it is answered, once");
    let found = net.found.remove(0);
    // Nothing is left of it.
    assert!(net.living().all(|it| it.queries.open.is_empty() && it.queries.requests.is_empty()));
    found
}

fn cores(found: &Found) -> Vec<f32> {
    found.tally.rows.iter().map(|row| row.facts[0]).collect()
}

#[test]
fn every_host_is_asked_and_the_first_are_told() {
    let mut net = Net::new(60, 11);
    net.run(70);
    let it = found(&mut net, 7, wondered(20));
    assert_eq!((it.tally.asked, it.tally.lost), (60, 0));
    // Of 60 hosts with one to eight cores in turn.
    let fit: Vec<u32> = (0..60).map(|n| n % 8 + 1).filter(|cores| *cores > 4).collect();
    assert_eq!(it.tally.matched as usize, fit.len());
    assert_eq!(it.tally.sums[0], f64::from(fit.iter().sum::<u32>()));
    let mut best = fit;
    best.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(cores(&it), best[..20].iter().map(|it| *it as f32).collect::<Vec<_>>());
    assert!(it.hosts.is_some_and(|hosts| (hosts - 60.0).abs() < 0.5));
    assert!(it.waited < Span::secs(30), "{:?}", it.waited);
}

#[test]
fn who_cannot_be_called_is_asked_too_and_can_ask() {
    let mut net = Net::with(60, 12, 12);
    net.run(40);
    for asker in [3, 40] {
        let it = found(&mut net, asker, wondered(50));
        assert!(it.tally.asked >= 58, "{} of 60 were asked", it.tally.asked);
        let private = it.tally.rows.iter().filter(|row| net.private.contains(&row.host)).count();
        assert!(private > 15, "{private}");
    }
}

#[test]
fn lost_messages_and_the_dead_cost_some_and_are_told_of() {
    let mut net = Net::new(60, 13);
    net.run(40);
    net.loss = 20;
    for n in 50..60 {
        net.dead.insert(testing::host(n));
    }
    let it = found(&mut net, 0, wondered(50));
    let told = it.tally.asked + it.tally.lost;
    assert!(
        it.tally.asked <= 50 && it.tally.asked > 35 && told > 40,
        "{} {}",
        it.tally.asked,
        it.tally.lost
    );
}

#[test]
fn no_more_are_asked_than_may_be() {
    let mut net = Net::new(60, 14);
    net.run(40);
    for budget in [1, 3, 20] {
        let it = found(&mut net, 1, Wondered { budget: Some(budget), ..wondered(50) });
        assert!(
            it.tally.asked <= budget && it.tally.asked * 3 >= budget,
            "{budget}: {}",
            it.tally.asked
        );
    }
}

#[test]
fn a_question_in_a_hurry_is_answered_in_time() {
    let mut net = Net::new(60, 15);
    net.run(40);
    let it = found(&mut net, 1, Wondered { wait: Some(Span::secs(2)), ..wondered(5) });
    assert!(it.waited <= Span::millis(2_100), "{:?}", it.waited);
    assert!(it.tally.asked > 40, "{}", it.tally.asked);
}

#[test]
fn who_drops_answers_hides_others_and_invents_none() {
    let mut net = Net::new(60, 16);
    net.run(40);
    net.droppers.extend((10..16).map(testing::host));
    let it = found(&mut net, 1, wondered(50));
    assert!(it.tally.asked < 60 && it.tally.asked > 20, "{}", it.tally.asked);
    assert_eq!(it.tally.rows.len(), it.tally.matched as usize);
}

#[test]
fn questions_cost_nothing_while_nobody_asks() {
    let mut net = Net::new(40, 17);
    net.run(40);
    let (before, at) = (net.bytes + 80 * net.messages, net.now);
    net.run(20);
    let quiet = (net.bytes + 80 * net.messages - before) as f64;
    // Each byte is sent by one and received by another.
    let each = 2.0 * quiet / 40.0 / net.now.since(at).as_secs_f64();
    assert!(each < 1_150.0, "{each} B/s");
    let before = net.bytes + 80 * net.messages;
    found(&mut net, 1, wondered(50));
    let one = (net.bytes + 80 * net.messages - before) as f64 - quiet * 8.0 / 20.0;
    assert!(one / 40.0 < 20_000.0, "{} bytes a host", one / 40.0);
}

fn question(n: u32, number: u64, issued: Time) -> Arc<Question> {
    let order = Order { fact: Fact::Cores, least: true };
    let seal = isos_base::certificate::Seal::from(isos_base::key::Signature([0; 64]));
    let admission = isos_base::descriptor::Admission::from(&testing::certificate(n));
    let (asker, text) = (testing::host(n), "true".into());
    let it = Question { asker, admission, issued, number, text, order, limit: 5, seal };
    Arc::new(it.signed(&mut testing::keys(n)))
}

fn say(machine: &mut Gossip<Keys>, peer: u32, request: Request) -> (Answer, Vec<Effect>) {
    let (peer, now) = (testing::host(peer), machine.now);
    let asked = Input::Asked { call: CallId(1), peer, request: Box::new(request) };
    let effects = step(machine, now, asked);
    (answer_of(&effects), effects)
}

fn ready() -> Gossip<Keys> {
    let mut machine = settled(1, 2..12);
    let due = machine.next_cycle;
    step(&mut machine, due, Input::TimerFired);
    machine
}

fn ask(question: Arc<Question>) -> Request {
    Request::Query(Box::new(Ask { question, wait: Span::secs(20), hops: 3, budget: 100 }))
}

#[test]
fn a_question_is_taken_once_and_told_to_whoever_handed_it_on() {
    let mut machine = ready();
    let now = machine.now;
    let question = question(20, 1, now);
    let query = question.id();
    let (answer, effects) = say(&mut machine, 5, ask(question.clone()));
    assert_eq!(answer, Answer::Taken);
    let handed = |effects: &[Effect]| {
        let is_query = |it: &&Effect| {
            matches!(it, Effect::Ask { ask, to, .. }
                if matches!(**ask, Request::Query(_)) && to.host != testing::host(5))
        };
        effects.iter().filter(is_query).count()
    };
    assert_eq!(handed(&effects), 3);
    let (again, effects) = say(&mut machine, 5, ask(question.clone()));
    assert_eq!((again, handed(&effects)), (Answer::Taken, 0), "its answer was lost");
    assert_eq!(say(&mut machine, 6, ask(question.clone())).0, Answer::Already);
    assert_eq!(say(&mut machine, 6, Request::Gather(query)).0, Answer::Refused);
    assert_eq!(say(&mut machine, 5, Request::Gather(query)).0, Answer::NotYet);
    let weighed = Box::new(Weighed {
        fits: true,
        name: "one".into(),
        country: String::new(),
        facts: [1.0; crate::query::FACTS],
    });
    step(&mut machine, now, Input::Weighed { query, weighed });
    let later = now + Span::secs(20);
    step(&mut machine, later, Input::TimerFired);
    let (answer, _) = say(&mut machine, 5, Request::Gather(query));
    let Answer::Gathered(tally) = answer else { panic!("{answer:?}") };
    assert_eq!((tally.asked, tally.matched, tally.rows.len()), (1, 1, 1));
    assert!(tally.is_possible(&question, 100, &mut testing::keys(9), later));
    step(&mut machine, later + Span::secs(10), Input::TimerFired);
    assert_eq!(say(&mut machine, 5, Request::Gather(query)).0, Answer::Refused);
    assert_eq!(say(&mut machine, 6, ask(question)).0, Answer::Already, "it is remembered");
}

#[test]
fn questions_that_are_forged_old_or_of_the_future_are_not_taken() {
    let mut machine = ready();
    let now = machine.now;
    let forged = Question { text: "other".into(), ..(*question(20, 1, now)).clone() };
    let hour = Span::secs(3_600);
    for it in [Arc::new(forged), question(20, 2, now - hour), question(20, 3, now + hour)] {
        assert_eq!(say(&mut machine, 5, ask(it)).0, Answer::Busy);
    }
    assert!(machine.queries.open.is_empty());
}

#[test]
fn who_asks_all_too_often_is_not_answered() {
    let mut machine = ready();
    let now = machine.now;
    let taken = (0..20).filter(|number| {
        let it = question(20, *number, now);
        // By different peers, as it would come.
        say(&mut machine, 30 + *number as u32, ask(it)).0 == Answer::Taken
    });
    assert_eq!(taken.count(), 12);
    let other = question(21, 1, now);
    assert_eq!(say(&mut machine, 5, ask(other)).0, Answer::Taken, "others may still ask");
}

#[test]
fn a_host_reports_for_itself_and_once() {
    let mut machine = ready();
    let now = machine.now;
    let question = question(20, 1, now);
    let query = question.id();
    say(&mut machine, 5, ask(question.clone()));
    let (answer, _) = say(&mut machine, 8, Request::Pending { heard: Vec::new() });
    let Answer::Questions(asks) = answer else { panic!("{answer:?}") };
    assert_eq!(asks.iter().map(|it| it.question.id()).collect::<Vec<_>>(), [query]);
    let (answer, _) = say(&mut machine, 8, Request::Pending { heard: vec![query] });
    assert_eq!(answer, Answer::Questions(Vec::new()));
    let weighed = Weighed {
        fits: false,
        name: String::new(),
        country: String::new(),
        facts: [1.0; crate::query::FACTS],
    };
    let row = |n: u32| {
        let admission = isos_base::descriptor::Admission::from(&testing::certificate(n));
        let keys = &mut testing::keys(n);
        Arc::new(Row::of(testing::host(n), admission, weighed.clone(), query, keys))
    };
    let report = |row: Arc<Row>| Request::Report(Box::new(Report { query, row }));
    let forged = Row { host: testing::host(9), ..(*row(8)).clone() };
    assert_eq!(say(&mut machine, 8, report(Arc::new(forged))).0, Answer::Refused);
    assert_eq!(say(&mut machine, 8, report(row(8))).0, Answer::Taken);
    assert_eq!(say(&mut machine, 8, report(row(8))).0, Answer::Taken);
    let tally = &machine.queries.open[&query].tally;
    assert_eq!(*tally, Tally { asked: 1, ..Tally::default() });
}

#[test]
fn who_was_not_admitted_cannot_ask() {
    let mut machine = fresh(1);
    let effects = step(&mut machine, BEGIN, Input::Wondered(Box::new(wondered(5))));
    let unfound = Effect::Unfound { wonder: Wonder(1), why: Unasked::NotAdmitted };
    assert_eq!(effects, [unfound]);
}
