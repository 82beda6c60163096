//! Every target with good, mutated and random inputs: minutes of a fuzzer's work are not in here,
//! but a decoder that falls over at the first odd byte is found on any machine, on stable Rust.
//!
//! The inputs follow from a seed, which is printed: `ISOS_FUZZ_SEED` repeats a run;
//! `ISOS_FUZZ_ROUNDS` makes it longer, and takes the time that it takes.

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant, SystemTime};

use isos_base::random::Random;
use isos_fuzz::{TARGETS, Target, golden};

/// Inputs of one target, if time allows.
const ROUNDS: u64 = 20_000;
/// Time for these, whatever the machine.
const TIME_MAX: Duration = Duration::from_secs(4);
/// Bytes of a random input.
const RANDOM_BYTES_MAX: u64 = 300;
/// What tends to break decoders: ends of ranges, and lengths that promise too much.
const TELLING: [&[u8]; 6] =
    [&[0], &[0xff], &[0x80], &[0x7f], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0x0f]];

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("the variable is a number"))
}

#[test]
fn every_target_has_good_inputs_and_survives_them() {
    for target in &TARGETS {
        let inputs = golden::inputs(target.name);
        assert!(!inputs.is_empty(), "{} has no good input", target.name);
        inputs.iter().for_each(|input| (target.run)(input));
    }
}

/// Seeds that must stay quiet for ever, then one of today.
#[test]
fn every_target_survives_mutated_and_random_inputs() {
    let clock = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let today = number("ISOS_FUZZ_SEED").unwrap_or(clock);
    let asked = number("ISOS_FUZZ_ROUNDS").map(|rounds| (rounds, Duration::MAX));
    let (rounds, time_max) = asked.unwrap_or((ROUNDS, TIME_MAX));
    for seed in [1, today] {
        for target in &TARGETS {
            let done = run(target, seed, rounds, time_max);
            println!("{:>16}  seed {seed}  {done} inputs", target.name);
        }
    }
}

/// Gives a target this many inputs, or as many as time allows; says how many.
fn run(target: &Target, seed: u64, rounds: u64, time_max: Duration) -> u64 {
    let goods = golden::inputs(target.name);
    let start = Instant::now();
    for round in 0..rounds {
        if round % 64 == 0 && start.elapsed() > time_max {
            return round;
        }
        // Each input follows from its own seed, so that one alone can be looked at.
        let mut random = Random::new(seed ^ (round << 20));
        let input = make(&goods, &mut random);
        let run = AssertUnwindSafe(|| (target.run)(&input));
        if panic::catch_unwind(run).is_err() {
            panic!(
                "target {} falls over (seed {seed}, round {round}): {:?}\n  as text {:?}",
                target.name,
                input,
                String::from_utf8_lossy(&input)
            );
        }
    }
    rounds
}

/// One in eight is noise; the others are a good input with a few changes.
fn make(goods: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    if random.one_in(8) {
        let length = random.below(RANDOM_BYTES_MAX);
        return (0..length).map(|_| random.next_u64() as u8).collect();
    }
    let mut input = pick(goods, random).clone();
    for _ in 0..=random.below(4) {
        change(&mut input, goods, random);
    }
    input
}

fn change(input: &mut Vec<u8>, goods: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() as u64 + 1) as usize;
    let end = (at + random.below(8) as usize).min(input.len());
    match random.below(7) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next_u64() as u8,
        2 => input.truncate(at),
        3 => drop(input.drain(at..end)),
        4 => {
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        5 => {
            let telling = TELLING[random.below(TELLING.len() as u64) as usize];
            input.splice(at..end, telling.iter().copied());
        }
        _ => {
            // The head of one and the tail of another.
            let other = pick(goods, random);
            input.truncate(at);
            input.extend_from_slice(&other[at.min(other.len())..]);
        }
    }
}

fn pick<'a>(goods: &'a [Vec<u8>], random: &mut Random) -> &'a Vec<u8> {
    &goods[random.below(goods.len() as u64) as usize]
}
