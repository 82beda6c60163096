//! Lookups: whom they ask, in which order, what they believe, and when they end.

use isos_base::random::Random;
use proptest::prelude::*;

use super::*;
use crate::testing;

fn aim(paths: usize) -> Aim {
    Aim { target: target(), pointers: false, nearest: 8, paths, alpha: 3 }
}

fn target() -> Position {
    Position::from([0x5a; 32])
}

fn seeds(range: std::ops::Range<u32>) -> Vec<(Arc<Contact>, Rtt)> {
    testing::contacts(range).into_iter().map(|it| (it, Rtt::default())).collect()
}

fn good(_: &Contact) -> Verdict {
    Verdict::Good
}

fn unmeasured(_: Position) -> Rtt {
    Rtt::default()
}

/// A world in which everybody knows everybody.
fn tell(world: &[Arc<Contact>], find: &Find) -> Vec<Arc<Contact>> {
    let mut all: Vec<_> = world
        .iter()
        .filter(|it| it.position().distance(find.target).top() <= find.within)
        .filter(|it| !find.known.contains(&it.position().mark()))
        .cloned()
        .collect();
    all.sort_by_key(|it| it.position().distance(find.target));
    all.truncate(usize::from(find.want));
    all
}

fn nearest(world: &[Arc<Contact>], most: usize) -> Vec<Arc<Contact>> {
    let mut all = world.to_vec();
    all.sort_by_key(|it| it.position().distance(target()));
    all.truncate(most);
    all
}

fn run(walk: &mut Lookup, mut answer: impl FnMut(&Query) -> Option<Vec<Arc<Contact>>>) {
    loop {
        let mut queries = Vec::new();
        while let Some(query) = walk.next_query() {
            queries.push(query);
            walk.check_invariants();
        }
        if queries.is_empty() {
            assert!(walk.is_idle());
            return;
        }
        for query in queries {
            let place = query.to.position();
            match answer(&query) {
                Some(contacts) => _ = walk.answered(place, &contacts, good, unmeasured),
                None => walk.failed(place),
            }
            walk.check_invariants();
        }
    }
}

#[test]
fn a_walk_finds_the_nearest_and_asks_nobody_twice() {
    let world = testing::contacts(1..120);
    for paths in [1, 3, 8] {
        let mut walk = Lookup::new(testing::contact(0).position(), aim(paths), &seeds(1..9));
        let mut asked = BTreeSet::new();
        run(&mut walk, |query| {
            assert!(asked.insert(query.to.position()), "asked twice");
            Some(tell(&world, &query.find))
        });
        let found: Vec<_> = walk.found().into_iter().map(|it| it.contact).collect();
        assert_eq!(found, nearest(&world, 8), "{paths} paths");
        assert!(walk.asked() <= 40, "{} asked over {paths} paths", walk.asked());
    }
}

#[test]
fn the_dead_are_passed_by() {
    let world = testing::contacts(1..120);
    let some = world.iter().enumerate().filter(|(n, _)| n % 3 != 0);
    let alive: Vec<Arc<Contact>> = some.map(|(_, contact)| contact.clone()).collect();
    let mut walk = Lookup::new(testing::contact(0).position(), aim(1), &seeds(1..9));
    run(&mut walk, |query| alive.contains(&query.to).then(|| tell(&world, &query.find)));
    let found: Vec<_> = walk.found().into_iter().map(|it| it.contact).collect();
    assert_eq!(found, nearest(&alive, 8));
}

#[test]
fn a_slow_host_does_not_hold_up_the_walk_but_is_heard() {
    let mut walk = Lookup::new(testing::contact(0).position(), aim(1), &seeds(1..4));
    let first = walk.next_query().unwrap();
    while let Some(query) = walk.next_query() {
        walk.answered(query.to.position(), &[], good, unmeasured);
    }
    assert!(!walk.is_idle());
    walk.late(first.to.position());
    assert!(walk.is_idle() && walk.next_query().is_none());
    let news = [Arc::new(testing::contact(9))];
    assert_eq!(walk.answered(first.to.position(), &news, good, unmeasured), Heard::Taken);
    assert_eq!(walk.next_query().map(|query| query.to), Some(news[0].clone()));
}

#[test]
fn who_tells_of_somebody_forged_or_far_or_of_too_many_has_lied() {
    let world = testing::contacts(1..120);
    let lie = |contacts: &[Arc<Contact>], verdict| {
        let near: Vec<_> = nearest(&world, 14).into_iter().map(|it| (it, Rtt::default())).collect();
        let mut walk = Lookup::new(testing::contact(0).position(), aim(1), &near);
        let query = walk.next_query().unwrap();
        let heard = walk.answered(query.to.position(), contacts, |_| verdict, unmeasured);
        assert_eq!(walk.lies(), u32::from(heard == Heard::Lie));
        assert!(walk.found().is_empty() || heard == Heard::Taken);
        heard
    };
    let mut sorted = nearest(&world, 119);
    let far = [sorted.pop().unwrap()];
    assert_eq!(lie(&far, Verdict::Good), Heard::Lie, "farther than was asked for");
    let known = &nearest(&world, 3)[2..];
    assert_eq!(lie(known, Verdict::Forged), Heard::Taken, "known before, so not looked at");
    assert_eq!(lie(&sorted[..9], Verdict::Good), Heard::Lie, "nine where eight were wanted");
    let mut walk = Lookup::new(testing::contact(0).position(), aim(1), &seeds(1..2));
    let query = walk.next_query().unwrap();
    let news = [Arc::new(testing::contact(9))];
    assert_eq!(
        walk.answered(query.to.position(), &news, |_| Verdict::Forged, unmeasured),
        Heard::Lie
    );
    assert!(walk.next_query().is_none(), "and what it said is forgotten");
}

#[test]
fn who_was_not_asked_is_not_heard() {
    let mut walk = Lookup::new(testing::contact(0).position(), aim(1), &seeds(1..3));
    let other = testing::contact(2).position();
    assert_eq!(walk.answered(other, &[], good, unmeasured), Heard::Unasked);
    let query = walk.next_query().unwrap();
    let place = query.to.position();
    assert_eq!(walk.answered(place, &[], good, unmeasured), Heard::Taken);
    assert_eq!(walk.answered(place, &[], good, unmeasured), Heard::Unasked, "once");
}

#[test]
fn hops_count_requests_in_a_row() {
    let contacts = testing::contacts(1..4);
    let mut walk = Lookup::new(testing::contact(0).position(), aim(1), &seeds(1..2));
    run(&mut walk, |query| {
        let at = contacts.iter().position(|it| *it == query.to).unwrap();
        Some(contacts.get(at + 1).cloned().into_iter().collect())
    });
    let hops: Vec<u8> = contacts.iter().map(|it| walk.hops(it.position())).collect();
    assert_eq!(hops, [1, 2, 3]);
}

#[test]
fn of_the_equally_near_the_quickest_is_asked_first() {
    let mut measured = seeds(1..40);
    measured.sort_by_key(|(it, _)| it.position().distance(target()));
    let same = |it: &Arc<Contact>| it.position().shared_prefix(target()) == 0;
    measured.retain(|(it, _)| same(it));
    measured.truncate(6);
    measured[4].1.add(isos_base::Span::millis(5));
    let mut walk = Lookup::new(testing::contact(0).position(), aim(1), &measured);
    assert_eq!(walk.next_query().unwrap().to, measured[4].0);
}

#[test]
fn liars_of_one_path_spoil_no_other() {
    // Colluders answer with each other only; honest hosts know everybody.
    let world = testing::contacts(1..200);
    let honest = |it: &Arc<Contact>| !it.certificate().owner.0.is_multiple_of(4);
    let bad: Vec<_> = world.iter().filter(|it| !honest(it)).cloned().collect();
    let good_nearest =
        nearest(&world.iter().filter(|it| honest(it)).cloned().collect::<Vec<_>>(), 1);
    let found = |paths| {
        // The nearest that the walk begins with is a liar.
        let mut seeds = seeds(1..40);
        seeds.sort_by_key(|(it, _)| it.position().distance(target()));
        let first = seeds.iter().position(|(it, _)| !honest(it)).unwrap();
        seeds.drain(..first);
        let mut walk = Lookup::new(testing::contact(0).position(), aim(paths), &seeds);
        run(&mut walk, |query| {
            let world = if honest(&query.to) { &world } else { &bad };
            Some(tell(world, &query.find))
        });
        walk.found().iter().any(|it| it.contact == good_nearest[0])
    };
    assert!(found(3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_is_answered_a_walk_ends(seed: u64, paths in 1..9_usize) {
        let world = testing::contacts(1..80);
        let mut random = Random::new(seed);
        let mut walk = Lookup::new(testing::contact(0).position(), aim(paths), &seeds(1..20));
        let mut waiting: Vec<Position> = Vec::new();
        let mut steps = 0;
        loop {
            while let Some(query) = walk.next_query() {
                waiting.push(query.to.position());
                walk.check_invariants();
            }
            if waiting.is_empty() {
                break;
            }
            steps += 1;
            prop_assert!(steps <= 4 * ASKED_MAX);
            let at = random.below(waiting.len() as u64) as usize;
            match random.below(8) {
                0 => walk.late(waiting.swap_remove(at)),
                1 => walk.failed(waiting.swap_remove(at)),
                _ => {
                    let some: Vec<_> = (0..random.below(25))
                        .map(|_| world[random.below(79) as usize].clone())
                        .collect();
                    let place = waiting.swap_remove(at);
                    let mut coin = Random::new(random.next_u64());
                    let judge = |_: &Contact| match coin.below(9) {
                        0 => Verdict::Over,
                        1 => Verdict::Forged,
                        _ => Verdict::Good,
                    };
                    walk.answered(place, &some, judge, unmeasured);
                }
            }
            walk.check_invariants();
        }
        prop_assert!(walk.is_idle());
    }
}
