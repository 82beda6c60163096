//! Stories of many machines over a network that loses, delays and cuts.

mod hostile;
mod net;
mod stories;

use super::*;
use crate::notary::Keys;
use crate::pointer::Put;
use crate::testing;
use crate::wire::{CONTACTS_MAX, Find, Request};

fn router(n: u32) -> Route<Keys> {
    let own = Arc::new(testing::contact(n));
    Route::new(own, true, testing::keys(n), Tuning::default(), u64::from(n))
}

fn step(machine: &mut Route<Keys>, now: Time, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    machine.step(now, input, &mut effects);
    machine.check_invariants();
    effects
}

fn asks(effects: &[Effect]) -> Vec<(RequestId, Arc<Contact>, Ask)> {
    let asks = effects.iter().filter_map(|effect| match effect {
        Effect::Ask { request, to, ask } => Some((*request, to.clone(), (**ask).clone())),
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

fn asked(peer: u32, from: Option<u32>, request: Request) -> Input {
    let peer = testing::contact(peer).host();
    let from = from.map(|n| Arc::new(testing::contact(n)));
    Input::Asked { call: CallId(1), peer, ask: Box::new(Ask { from, request }) }
}

fn find(target: Position) -> Find {
    Find { target, within: u64::MAX, want: 20, known: Vec::new(), pointers: true }
}

/// A router whose table has these, all proven.
fn settled(n: u32, others: std::ops::Range<u32>) -> Route<Keys> {
    let mut machine = router(n);
    let contacts = testing::contacts(others).into_iter();
    machine.acquaint(Time(1), contacts.map(|it| (it, Span::millis(40))).collect());
    machine
}

#[test]
fn who_says_how_to_reach_another_is_not_believed() {
    let mut machine = router(0);
    step(&mut machine, Time(1), asked(5, Some(6), Request::Ping));
    assert!(machine.table.is_empty());
    step(&mut machine, Time(1), asked(5, Some(5), Request::Ping));
    assert_eq!(machine.table.len(), 1);
    assert_eq!(machine.table.proven(), 0, "until it answers");
}

#[test]
fn only_what_is_asked_for_is_told() {
    let mut machine = settled(0, 1..60);
    let target = testing::contact(3).position();
    let all = match answer_of(&step(
        &mut machine,
        Time(2),
        asked(9, None, Request::Find(find(target))),
    )) {
        Answer::Found { contacts, .. } => contacts,
        other => panic!("{other:?}"),
    };
    assert_eq!(all.len(), CONTACTS_MAX);
    let within = all[9].position().distance(target).top();
    let known = vec![all[0].position().mark(), all[4].position().mark()];
    let less = Find { within, known, want: 5, ..find(target) };
    let got = match answer_of(&step(&mut machine, Time(2), asked(9, None, Request::Find(less)))) {
        Answer::Found { contacts, .. } => contacts,
        other => panic!("{other:?}"),
    };
    assert_eq!(got, [1, 2, 3, 5, 6].map(|at| all[at].clone()));
}

#[test]
fn pointers_are_kept_if_they_are_good_and_near() {
    let mut machine = router(0);
    let near = Guid::from(machine.own.position());
    let end = Time(3_600_000_000);
    let good = testing::pointer(near, 1, end);
    let forged = Pointer { load: 9, ..good.clone() };
    let far = testing::pointer(Guid(near.0.map(|byte| !byte)), 1, end);
    let put = asked(9, None, Request::Put(vec![good.clone(), forged, far]));
    let puts = answer_of(&step(&mut machine, Time(2), put.clone()));
    assert_eq!(puts, Answer::Put(vec![Put::Kept, Put::Refused, Put::Kept]), "alone, all is near");
    machine.spacing = 2_f64.powi(40);
    let puts = answer_of(&step(&mut machine, Time(3), put));
    assert_eq!(puts, Answer::Put(vec![Put::Kept, Put::Refused, Put::Refused]));
    let target = near.into();
    let told = answer_of(&step(&mut machine, Time(4), asked(9, None, Request::Find(find(target)))));
    assert_eq!(told, Answer::Found { contacts: Vec::new(), pointers: vec![good] });
}

#[test]
fn who_asks_too_much_is_told_to_wait() {
    let mut machine = router(0);
    let busy = (0..2_000).filter(|_| {
        let effects = step(&mut machine, Time(1), asked(9, None, Request::Ping));
        matches!(answer_of(&effects), Answer::Busy(_))
    });
    assert_eq!(busy.count(), 1_500);
    let other = answer_of(&step(&mut machine, Time(1), asked(8, None, Request::Ping)));
    assert_eq!(other, Answer::Pong, "others do not pay for it");
}

#[test]
fn a_client_keeps_nothing_and_tells_nobody_of_itself() {
    let own = Arc::new(testing::contact(0));
    let mut machine = Route::new(own, false, testing::keys(0), Tuning::default(), 1);
    let contacts = testing::contacts(1..4);
    let effects = step(&mut machine, Time(1), Input::Met { contacts });
    let asks = asks(&effects);
    assert!(!asks.is_empty() && asks.iter().all(|(_, _, ask)| ask.from.is_none()));
    let pointer = testing::pointer(Guid([1; 32]), 1, Time(9_000_000));
    let put = step(&mut machine, Time(2), asked(9, None, Request::Put(vec![pointer])));
    assert!(matches!(answer_of(&put), Answer::Busy(_)));
}

#[test]
fn a_new_certificate_means_a_new_place_and_the_same_acquaintances() {
    let mut machine = settled(0, 1..30);
    let known = machine.table.len();
    let own = Arc::new(testing::contact(700));
    step(&mut machine, Time(5), Input::Certified { own: own.clone(), is_router: true });
    assert_eq!(machine.own().position(), own.position());
    assert_eq!(machine.table.len(), known);
    assert_eq!(machine.table.proven(), 0, "they do not know the new place yet");
}

#[test]
fn a_renewed_certificate_takes_the_place_of_the_old_one() {
    let mut machine = settled(0, 1..9);
    let old = testing::certificate(5);
    let admitted = crate::certificate::Admitted {
        host: old.host,
        owner: old.owner,
        blocks: old.blocks,
        epoch: old.epoch,
        expires: testing::END + Span::secs(86_400),
    };
    let complex = isos_base::key::SecretKey::from_bytes(&testing::COMPLEX);
    let renewed = crate::Certificate::issue(&complex, admitted);
    let contact = Arc::new(Contact::new(renewed, None, Vec::new()).unwrap());
    let ask = Box::new(Ask { from: Some(contact.clone()), request: Request::Ping });
    let peer = contact.host();
    step(&mut machine, Time(5), Input::Asked { call: CallId(1), peer, ask });
    let entry = machine.table.get(contact.position()).unwrap();
    assert_eq!((&entry.contact, entry.proven), (&contact, true));
}

#[test]
fn who_is_not_admitted_any_more_leaves_the_table() {
    let mut machine = settled(0, 1..9);
    machine.step(testing::END, Input::TimerFired, &mut Vec::new());
    for n in 0..60_u64 {
        let now = testing::END + Span::secs(400 + 40 * n);
        machine.step(now, Input::TimerFired, &mut Vec::new());
    }
    assert_eq!(machine.table.proven(), 0);
}

#[test]
fn a_contact_in_a_file_must_be_admitted_as_others() {
    let mut machine = router(0);
    let forged = crate::Certificate { epoch: 7, ..testing::certificate(9) };
    let forged = Arc::new(Contact::new(forged, None, Vec::new()).unwrap());
    step(&mut machine, Time(1), Input::Met { contacts: vec![forged] });
    assert!(machine.table.is_empty());
}

#[test]
fn who_lies_in_an_exchange_is_not_asked_again() {
    let mut machine = settled(0, 1..9);
    machine.pace.joined(Time(1), 1);
    let effects = step(&mut machine, Time(2), Input::TimerFired);
    let (request, liar, _) = asks(&effects).remove(0);
    let forged = crate::Certificate { epoch: 7, ..testing::certificate(99) };
    let forged = Arc::new(Contact::new(forged, None, Vec::new()).unwrap());
    let answer = Box::new(Answer::Found { contacts: vec![forged; 1], pointers: Vec::new() });
    step(&mut machine, Time(3), Input::Answered { request, answer });
    assert!(machine.table.get(liar.position()).is_none());
}

#[test]
fn an_answer_that_comes_twice_or_too_late_is_dropped() {
    let mut machine = settled(0, 1..9);
    let target = Position::from([1; 32]);
    let effects = step(&mut machine, Time(2), Input::Sought { search: SearchId(1), target });
    let (request, ..) = asks(&effects).remove(0);
    let answer = || Box::new(Answer::Found { contacts: Vec::new(), pointers: Vec::new() });
    step(&mut machine, Time(3), Input::Answered { request, answer: answer() });
    let again = step(&mut machine, Time(4), Input::Answered { request, answer: answer() });
    assert!(asks(&again).is_empty());
    step(&mut machine, Time(5), Input::Unreachable { request });
    step(&mut machine, Time(5), Input::Unreachable { request: RequestId(9_999) });
}

#[test]
fn searches_beyond_the_limit_are_refused_and_say_so() {
    let mut machine = settled(0, 1..30);
    let mut refused = 0;
    for n in 0..100_u64 {
        let target = Position::from([n as u8; 32]);
        let effects = step(&mut machine, Time(2), Input::Sought { search: SearchId(n), target });
        refused += effects
            .iter()
            .filter(|it| matches!(it, Effect::Ended { outcome, .. } if outcome.refused))
            .count();
    }
    assert_eq!(refused, 100 - walk::WALKS_MAX);
}

#[test]
fn nobody_at_all_is_an_empty_outcome_at_once() {
    let mut machine = router(0);
    let wanted = Input::Wanted { search: SearchId(1), guid: Guid([1; 32]), holders: 1 };
    let effects = step(&mut machine, Time(2), wanted);
    let outcome = Outcome::default();
    assert_eq!(effects, [Effect::Ended { search: SearchId(1), outcome }]);
}

#[test]
fn who_is_too_slow_is_forgotten_in_the_end() {
    let mut machine = settled(0, 1..3);
    let target = Position::from([1; 32]);
    let effects = step(&mut machine, Time(2), Input::Sought { search: SearchId(1), target });
    let finds = asks(&effects).into_iter().filter(|it| matches!(it.2.request, Request::Find(_)));
    assert_eq!(finds.count(), 2);
    let mut ended = false;
    let mut forgotten = 0;
    for _ in 0..200 {
        let now = machine.deadline().unwrap();
        for effect in step(&mut machine, now, Input::TimerFired) {
            match effect {
                Effect::Ended { search: SearchId(1), outcome } => {
                    assert!(outcome.nearest.is_empty());
                    ended = true;
                }
                Effect::Forget { .. } => forgotten += 1,
                _ => {}
            }
        }
    }
    assert!(ended && forgotten >= 2, "{ended} {forgotten}");
}
