//! Is 2^p - 1 prime? A Lucas-Lehmer test: one long chain of squarings, each of which needs the one
//! before, with a state of p bits. So it cannot be cut into tasks, and saves its state instead.
//!
//! `mersenne --exponent 9689`, or `mersenne 9689 9697 9719`: task k tests the k-th of these.
//!
//! It prints the last residue's low 64 bits as well, by which the public tables of composite ones
//! can be compared.

mod residue;

use isos_guest::{Failure, Task, checkpoint, finish};
use residue::Residue;

/// The largest exponent: the state stays below 16 KiB.
const EXPONENT_MAX: u32 = 100_000;

fn main() -> std::process::ExitCode {
    finish(run())
}

fn run() -> Result<(), Failure> {
    let mut args = pico_args::Arguments::from_env();
    let bad = |error: pico_args::Error| Failure::new(error.to_string());
    let exponent: Option<u32> = args.opt_value_from_str("--exponent").map_err(bad)?;
    let exponent = match exponent {
        Some(exponent) => exponent,
        None => {
            let task = Task::from_env()?.index();
            let list = args.finish();
            let at = usize::try_from(task).ok().and_then(|task| list.get(task));
            let text = at.and_then(|text| text.to_str()).ok_or_else(|| {
                Failure::new(format!("no exponent for task {task}: give one for each task"))
            })?;
            text.parse().map_err(|_| Failure::new(format!("{text} is not an exponent")))?
        }
    };
    if !(3..=EXPONENT_MAX).contains(&exponent) || !is_prime(exponent) {
        return Err(Failure::new(format!("the exponent must be a prime from 3 to {EXPONENT_MAX}")));
    }
    let (residue, _) = test(exponent)?;
    if residue.is_zero() {
        println!("M{exponent} is prime");
    } else {
        println!("M{exponent} is composite, residue {:016X}", residue.low_64());
    }
    Ok(())
}

/// The residue after all steps, and the step at which this run began.
fn test(exponent: u32) -> Result<(Residue, u32), Failure> {
    let steps = exponent - 2;
    let (first, mut residue) = match checkpoint::restore() {
        Some(state) => resume(&state, exponent)?,
        None => (0, Residue::new(exponent, 4)),
    };
    for step in first..steps {
        if checkpoint::is_due() {
            checkpoint::save(&state(step, &residue))?;
        }
        residue.square_less_two();
    }
    Ok((residue, first))
}

fn state(step: u32, residue: &Residue) -> Vec<u8> {
    let mut state = step.to_le_bytes().to_vec();
    residue.write(&mut state);
    state
}

fn resume(state: &[u8], exponent: u32) -> Result<(u32, Residue), Failure> {
    let bad = || Failure::new("what was saved is no state of this test".to_owned());
    let (step, rest) = state.split_first_chunk().ok_or_else(bad)?;
    let residue = Residue::read(exponent, rest).ok_or_else(bad)?;
    Ok((u32::from_le_bytes(*step), residue))
}

fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mersenne_primes_are_the_known_ones() {
        let found: Vec<u32> = (3..1_300)
            .filter(|&p| is_prime(p) && test(p).is_ok_and(|(residue, _)| residue.is_zero()))
            .collect();
        assert_eq!(found, [3, 5, 7, 13, 17, 19, 31, 61, 89, 107, 127, 521, 607, 1279]);
    }

    #[test]
    fn a_test_goes_on_from_its_state() {
        let mut residue = Residue::new(521, 4);
        for _ in 0..100 {
            residue.square_less_two();
        }
        let (step, mut resumed) = resume(&state(100, &residue), 521).unwrap();
        assert_eq!(step, 100);
        for _ in step..519 {
            resumed.square_less_two();
        }
        assert!(resumed.is_zero());
        assert!(resume(b"xy", 521).is_err() && resume(&[0; 7], 521).is_err());
    }
}
