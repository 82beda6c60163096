//! BOINC's adaptive replication as a model: `set_trust` of its `sched_send.cpp`, and what its
//! validator does to `consecutive_valid`. Nobody is barred, and nothing is looked at again.

use isos_base::random::Random;

use super::{Outcome, Setting};

/// Valid results in a row from which on a host may go unchecked.
const TRUSTED_FROM: u64 = 10;
/// Hosts that are asked for one task at the most.
const ASKED_MAX: usize = 10;

struct Host {
    bad: bool,
    /// `consecutive_valid`.
    valid: u64,
    /// Answers since it was caught last, which is what its strategy counts.
    given: u64,
}

pub(super) fn run(setting: &Setting) -> Outcome {
    let mut random = Random::new(setting.seed);
    let bad = (f64::from(setting.hosts) * setting.bad).round() as u32;
    let mut hosts: Vec<Host> =
        (0..setting.hosts).map(|n| Host { bad: n < bad, valid: 0, given: 0 }).collect();
    let mut outcome = Outcome::default();
    for _ in 0..setting.tasks {
        task(setting, &mut hosts, &mut random, &mut outcome);
    }
    outcome
}

/// What hosts say: 0 is right, anything else is not.
fn task(setting: &Setting, hosts: &mut [Host], random: &mut Random, outcome: &mut Outcome) {
    let mut votes: Vec<(usize, u64)> = Vec::new();
    while votes.len() < ASKED_MAX {
        let n = random.below(hosts.len() as u64) as usize;
        if votes.iter().any(|(host, _)| *host == n) {
            continue;
        }
        let host = &mut hosts[n];
        let lies = host.bad && setting.strategy.lies(host.given, random);
        let answer = match lies {
            false => 0,
            true if setting.strategy.colludes() => 1,
            true => 2 + n as u64,
        };
        host.given += 1;
        outcome.executions += 1;
        outcome.worked_of_bad += u64::from(host.bad && !lies);
        let alone = votes.is_empty()
            && host.valid >= TRUSTED_FROM
            && random.unit() >= 1.0 / host.valid as f64;
        votes.push((n, answer));
        let agreed = votes.iter().filter(|(_, other)| *other == answer).count() >= 2;
        if alone || agreed {
            accept(&votes, answer, !alone, hosts, outcome);
            return;
        }
    }
}

fn accept(
    votes: &[(usize, u64)],
    accepted: u64,
    checked: bool,
    hosts: &mut [Host],
    outcome: &mut Outcome,
) {
    outcome.accepted += 1;
    outcome.wrong += u64::from(accepted != 0);
    let first = votes.iter().find(|(_, answer)| *answer == accepted);
    outcome.of_bad += u64::from(first.is_some_and(|(host, _)| hosts[*host].bad));
    for (host, answer) in votes {
        let host = &mut hosts[*host];
        let right = *answer == accepted;
        outcome.paid_of_bad += f64::from(u8::from(host.bad && right));
        match (checked, right) {
            (true, true) => host.valid += 1,
            (true, false) => {
                outcome.caught += u64::from(host.bad);
                (host.valid, host.given) = (0, 0);
            }
            (false, _) => {}
        }
    }
}
