//! Peers that say anything at any time.

use isos_base::random::Random;
use proptest::prelude::*;

use super::*;
use crate::wire::{KNOWN_MAX, POINTERS_MAX};

fn pick<T: Clone>(all: &[T], random: &mut Random) -> T {
    all[random.below(all.len() as u64) as usize].clone()
}

/// Some contacts, of which one in eight is forged.
fn contacts(world: &[Arc<Contact>], most: u64, random: &mut Random) -> Vec<Arc<Contact>> {
    let one = |random: &mut Random| {
        let good = pick(world, random);
        if !random.one_in(8) {
            return good;
        }
        let forged = crate::Certificate { epoch: 7, ..good.certificate().clone() };
        Arc::new(Contact::new(forged, None, Vec::new()).expect("no addresses"))
    };
    (0..random.below(most)).map(|_| one(random)).collect()
}

fn answer(world: &[Arc<Contact>], pointers: &[Pointer], random: &mut Random) -> Answer {
    match random.below(5) {
        0 => Answer::Pong,
        1 => Answer::Busy(Span(random.next_u64())),
        2 => {
            let all = [Put::Kept, Put::Full, Put::Quota, Put::Refused];
            Answer::Put((0..random.below(70)).map(|_| pick(&all, random)).collect())
        }
        _ => {
            let some = (0..random.below(POINTERS_MAX as u64)).map(|_| pick(pointers, random));
            let pointers = some.collect();
            Answer::Found { contacts: contacts(world, 21, random), pointers }
        }
    }
}

fn request(world: &[Arc<Contact>], pointers: &[Pointer], random: &mut Random) -> Request {
    match random.below(3) {
        0 => Request::Ping,
        1 => Request::Put((0..random.below(9)).map(|_| pick(pointers, random)).collect()),
        _ => {
            let target = match random.below(3) {
                0 => Position::anywhere(random),
                1 => pick(world, random).position(),
                _ => pick(pointers, random).guid.into(),
            };
            let known = (0..random.below(KNOWN_MAX as u64)).map(|_| random.next_u64() as u32);
            let (known, within) = (known.collect(), random.next_u64());
            Request::Find(Find { target, within, want: 20, known, pointers: random.one_in(2) })
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_peers_say_the_machine_keeps_its_rules(seed: u64, is_router: bool) {
        let mut random = Random::new(seed);
        let world = testing::contacts(1..40);
        let guids: Vec<Guid> = (0..6_u8).map(|n| Guid::of(&[n])).collect();
        let pointers: Vec<Pointer> = guids
            .iter()
            .map(|guid| testing::pointer(*guid, 2, Time(1 << 40)))
            .chain([Pointer { load: 9, ..testing::pointer(guids[0], 3, Time(1 << 40)) }])
            .collect();
        let tuning = Tuning { bucket: 4, republish: Span::secs(60), ..Tuning::default() };
        let own = Arc::new(testing::contact(0));
        let mut machine = Route::new(own, is_router, testing::keys(0), tuning, seed);
        let (mut now, mut waiting) = (Time(1), Vec::new());
        for n in 0..400 {
            // Sometimes backwards, which a machine takes for no time at all.
            now = match random.one_in(16) {
                true => Time(now.0 / 2),
                false => now + Span(random.below(900_000)),
            };
            let input = match random.below(9) {
                0 => Input::Met { contacts: contacts(&world, 9, &mut random) },
                1 => {
                    let peer = pick(&world, &mut random);
                    let from = random.one_in(2).then(|| pick(&world, &mut random));
                    let ask = Ask { from, request: request(&world, &pointers, &mut random) };
                    Input::Asked { call: CallId(n), peer: peer.host(), ask: Box::new(ask) }
                }
                2 => {
                    let guid = pick(&guids, &mut random);
                    Input::Wanted { search: SearchId(n), guid, holders: 2 }
                }
                3 => Input::Holding { guids: vec![pick(&guids, &mut random)] },
                4 if random.one_in(8) => Input::Dropped { guids: vec![pick(&guids, &mut random)] },
                5 => Input::TimerFired,
                _ if waiting.is_empty() => Input::TimerFired,
                6 => Input::Unreachable { request: pick(&waiting, &mut random) },
                _ => {
                    let answer = Box::new(answer(&world, &pointers, &mut random));
                    Input::Answered { request: pick(&waiting, &mut random), answer }
                }
            };
            let effects = step(&mut machine, now, input);
            waiting.extend(asks(&effects).into_iter().map(|(request, ..)| request));
            waiting.drain(..waiting.len().saturating_sub(64));
            for effect in effects {
                // Nothing forged is handed to whoever asked.
                if let Effect::Found { pointers, .. } = effect {
                    prop_assert!(pointers.iter().all(|it| it.load == 0));
                }
            }
        }
    }
}
