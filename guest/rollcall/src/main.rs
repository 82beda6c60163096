//! Says which host of a slice it is on, and counts the primes of its share of the numbers below a
//! bound, so that all ranks together have counted each once.
//!
//! The program of docs/slices.md: the same on every host, told apart by its rank alone. Away from a
//! slice it is rank 0 of 1.

use std::process::ExitCode;

use isos_guest::{Failure, finish, rank};

/// Numbers below which primes are counted, unless an argument says otherwise.
const BELOW: u64 = 100_000;

fn main() -> ExitCode {
    finish(run())
}

fn run() -> Result<(), Failure> {
    let rank = rank()?;
    let below = match std::env::args().nth(1) {
        None => BELOW,
        Some(text) => text.parse().map_err(|_| Failure::new(format!("{text:?} is no number")))?,
    };
    let primes = share(rank.index(), rank.count(), below).filter(|n| is_prime(*n)).count();
    println!("rank {} of {}: {primes} primes below {below}", rank.index(), rank.count());
    Ok(())
}

/// Every so-and-so-many-th number below the bound: no two ranks have the same.
fn share(rank: u64, size: u64, below: u64) -> impl Iterator<Item = u64> {
    (rank..below).step_by(usize::try_from(size).unwrap_or(usize::MAX))
}

fn is_prime(number: u64) -> bool {
    let divides = |divisor: &u64| number.is_multiple_of(*divisor);
    number >= 2 && !(2..).take_while(|n| n * n <= number).any(|n| divides(&n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ranks_together_count_each_prime_once() {
        for size in [1, 2, 3, 7] {
            let counted = (0..size).flat_map(|rank| share(rank, size, 1_000));
            assert_eq!(counted.filter(|n| is_prime(*n)).count(), 168);
        }
    }
}
