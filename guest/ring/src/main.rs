//! Adds up a vector over all ranks of a slice, around a ring: each rank brings its own, and in the
//! end each has the sum of all.
//!
//! The program of docs/slices.md that addresses its peers, by the all-reduce that trains neural
//! networks: the vector is cut into as many parts as there are ranks; in each step a rank sends one
//! part to the next rank and takes one of the rank before. After size - 1 steps each rank has one
//! part's whole sum, after as many again each has all of them. So every rank sends twice the
//! vector, however many there are.
//!
//! `ring [LENGTH [ROUNDS [PAUSE]]]`: numbers in the vector, how often it is done, and for how many
//! milliseconds each round waits (for tests that want to be in the middle of it).

use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use isos_guest::{Failure, finish, peers};

/// Numbers of the vector, unless an argument says otherwise.
const LENGTH: usize = 100_000;
/// Whoever says nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// Bytes of a number.
const WORD: usize = 8;

fn main() -> ExitCode {
    finish(run())
}

fn run() -> Result<(), Failure> {
    let length = argument(1, LENGTH as u64)?;
    let rounds = argument(2, 1)?;
    let pause = Duration::from_millis(argument(3, 0)?);
    let length = usize::try_from(length).map_err(|_| Failure::new("the vector is too long"))?;
    let (rank, size) = (peers::rank(), peers::size());
    let mut sum = Vec::new();
    for round in 0..rounds {
        sum = own(rank, round, length);
        all_reduce(rank, size, &mut sum)?;
        if sum != expected(size, round, length) {
            return Err(Failure::new(format!("round {round}: the sum is wrong")));
        }
        wait(rank, size, pause)?;
    }
    let total = sum.iter().fold(0, |total: u64, it| total.wrapping_add(*it));
    println!("rank {rank} of {size}: {rounds} x {length} numbers added up to {total}");
    Ok(())
}

fn argument(at: usize, absent: u64) -> Result<u64, Failure> {
    let Some(text) = std::env::args().nth(at) else { return Ok(absent) };
    text.parse().map_err(|_| Failure::new(format!("{text:?} is no number")))
}

/// What a rank brings.
fn own(rank: u32, round: u64, length: usize) -> Vec<u64> {
    let number = |at: usize| (at as u64 + 1) * (u64::from(rank) + 1) + round;
    (0..length).map(number).collect()
}

/// What all bring together: the ranks add up to a triangular number.
fn expected(size: u32, round: u64, length: usize) -> Vec<u64> {
    let size = u64::from(size);
    let number = |at: usize| (at as u64 + 1) * (size * (size + 1) / 2) + size * round;
    (0..length).map(number).collect()
}

/// Has every rank have the sum of all.
fn all_reduce(rank: u32, size: u32, vector: &mut [u64]) -> Result<(), Failure> {
    if size == 1 {
        return Ok(());
    }
    let (next, before) = ((rank + 1) % size, (rank + size - 1) % size);
    // Sums of parts go around first, then the whole sums.
    for step in 0..2 * (size - 1) {
        let sent = part(vector.len(), size, (rank + size - step % size) % size);
        let taken = part(vector.len(), size, (before + size - step % size) % size);
        // What is sent at once must fit the way to the next rank, which sends before it receives.
        let (mut out, mut into) = (chunks(sent), chunks(taken));
        loop {
            let (send, take) = (out.next(), into.next());
            if let Some(range) = &send {
                let bytes: Vec<u8> =
                    vector[range.clone()].iter().flat_map(|n| n.to_le_bytes()).collect();
                peers::send(next, &bytes).map_err(|why| lost(next, why))?;
            }
            if let Some(range) = &take {
                receive(before, &mut vector[range.clone()], step < size - 1)?;
            }
            if send.is_none() && take.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Part `index` of the vector.
fn part(length: usize, size: u32, index: u32) -> Range<usize> {
    let cut = |index: u32| length * index as usize / size as usize;
    cut(index)..cut(index + 1)
}

/// A part in pieces of the size of a message.
fn chunks(part: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let most = peers::MESSAGE_BYTES_MAX / WORD;
    part.clone().step_by(most).map(move |from| from..part.end.min(from + most))
}

fn receive(before: u32, into: &mut [u64], adds: bool) -> Result<(), Failure> {
    let message = peers::receive_from(before, PATIENCE).map_err(|why| lost(before, why))?;
    let message = message.ok_or_else(|| Failure::new(format!("rank {before} says nothing")))?;
    if message.len() != into.len() * WORD {
        return Err(Failure::new(format!("rank {before} sent {} bytes", message.len())));
    }
    for (number, bytes) in into.iter_mut().zip(message.chunks_exact(WORD)) {
        let came = u64::from_le_bytes(bytes.try_into().expect("chunks of a word"));
        *number = if adds { number.wrapping_add(came) } else { came };
    }
    Ok(())
}

/// Lets time pass. The clock of a program stands still while it waits, so a message is waited for
/// that never comes: of three ranks and more, the next one sends nothing to this one.
fn wait(rank: u32, size: u32, pause: Duration) -> Result<(), Failure> {
    if pause.is_zero() || size < 3 {
        return Ok(());
    }
    let next = (rank + 1) % size;
    match peers::receive_from(next, pause) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(Failure::new(format!("rank {next} speaks out of turn"))),
        Err(why) => Err(lost(next, why)),
    }
}

fn lost(rank: u32, why: peers::Problem) -> Failure {
    Failure::new(format!("rank {rank}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_alone_has_the_sum_of_its_own() {
        let mut vector = own(0, 3, 10);
        assert!(all_reduce(0, 1, &mut vector).is_ok());
        assert_eq!(vector, expected(1, 3, 10));
    }

    #[test]
    fn the_sum_of_what_ranks_bring_is_the_expected_one() {
        for size in [2, 3, 7] {
            let mut sum = vec![0; 10];
            for rank in 0..size {
                sum.iter_mut().zip(own(rank, 5, 10)).for_each(|(sum, own)| *sum += own);
            }
            assert_eq!(sum, expected(size, 5, 10));
        }
    }

    #[test]
    fn parts_cover_the_vector_in_pieces_that_are_messages() {
        for (length, size) in [(100_000, 4), (7, 3), (2, 5), (0, 2)] {
            let all: Vec<usize> =
                (0..size).flat_map(|index| chunks(part(length, size, index))).flatten().collect();
            assert!(all.iter().copied().eq(0..length));
        }
    }
}
