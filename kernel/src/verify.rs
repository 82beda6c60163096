//! Quorum verification: independent hosts must give bitwise the same result.
//!
//! m-first voting over digests (BOINC's `min_quorum` and `max_total_results`). A [`Ballot`] knows
//! one task: who was asked, who has answered, whether that decides it. It does not know leases,
//! money or time.

use isos_base::HostId;
use isos_base::task::{Digest, TaskResult};

/// One host's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Who.
    pub host: HostId,
    /// Under which lease.
    pub lease: isos_base::LeaseId,
    /// What is compared.
    pub digest: Digest,
    /// The result itself.
    pub result: TaskResult,
}

/// The state of one task under a quorum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ballot {
    /// Hosts that hold or have answered this task, sorted.
    pub asked: Vec<HostId>,
    /// Their answers so far.
    pub votes: Vec<Vote>,
}

/// What the votes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Enough agree on this digest.
    Agreed(Digest),
    /// So many more hosts must be asked; 0 means to wait for those that were.
    Ask(u8),
    /// No agreement is possible any more within the limit.
    Hopeless,
}

impl Ballot {
    /// Notes that `host` was given the task.
    pub fn ask(&mut self, host: HostId) {
        if let Err(place) = self.asked.binary_search(&host) {
            self.asked.insert(place, host);
        }
    }

    /// Notes that `host` will not answer.
    pub fn forget(&mut self, host: HostId) {
        if let Ok(place) = self.asked.binary_search(&host) {
            self.asked.remove(place);
        }
        self.votes.retain(|vote| vote.host != host);
    }

    /// Counts the votes: `agree` equal ones decide, at most `of` hosts are asked.
    #[must_use]
    pub fn verdict(&self, agree: u8, of: u8) -> Verdict {
        let (agree, of) = (usize::from(agree), usize::from(of));
        let mut best = 0;
        for vote in &self.votes {
            let same = self.votes.iter().filter(|other| other.digest == vote.digest).count();
            if same >= agree {
                return Verdict::Agreed(vote.digest);
            }
            best = best.max(same);
        }
        let outstanding = self.asked.len() - self.votes.len();
        let lacking = (agree - best).saturating_sub(outstanding);
        if self.asked.len() + lacking > of {
            // More may be asked than `of` only if nobody is left who could still decide it.
            return if outstanding > 0 { Verdict::Ask(0) } else { Verdict::Hopeless };
        }
        Verdict::Ask(lacking as u8)
    }
}

/// The chance that colluding hosts, a share `bad` of all, get a wrong result through `agree` equal
/// votes: `sum_{j=m}^{2m-1} C(2m-1, j) p^j (1-p)^(2m-1-j)`, voting on among `2m-1` at the most.
#[must_use]
pub fn wrong_accept_probability(agree: u8, bad: f64) -> f64 {
    let voters = 2 * u32::from(agree) - 1;
    (u32::from(agree)..=voters)
        .map(|j| binomial(voters, j) * bad.powi(j as i32) * (1.0 - bad).powi((voters - j) as i32))
        .sum()
}

fn binomial(n: u32, k: u32) -> f64 {
    (0..k).fold(1.0, |value, i| value * f64::from(n - i) / f64::from(i + 1))
}

#[cfg(test)]
mod tests {
    use isos_base::key::PublicKey;
    use isos_base::task::{Exit, OutputAt};
    use isos_base::{Fuel, LeaseId};

    use super::*;

    fn host(n: u8) -> HostId {
        HostId(PublicKey([n; 32]))
    }

    fn ballot(votes: &[(u8, u64)], silent: &[u8]) -> Ballot {
        let mut ballot = Ballot::default();
        for &(n, fuel) in votes {
            let output = OutputAt::Inline(Vec::new());
            let result = TaskResult { task: 0, exit: Exit::Code(0), fuel: Fuel(fuel), output };
            let (host, digest) = (host(n), result.digest());
            ballot.ask(host);
            ballot.votes.push(Vote { host, lease: LeaseId(1), digest, result });
        }
        silent.iter().for_each(|&n| ballot.ask(host(n)));
        ballot
    }

    #[test]
    fn two_equal_votes_decide_and_a_third_breaks_a_tie() {
        assert_eq!(ballot(&[], &[]).verdict(2, 3), Verdict::Ask(2));
        assert_eq!(ballot(&[], &[1]).verdict(2, 3), Verdict::Ask(1));
        assert_eq!(ballot(&[(1, 5)], &[2]).verdict(2, 3), Verdict::Ask(0));
        assert!(matches!(ballot(&[(1, 5), (2, 5)], &[]).verdict(2, 3), Verdict::Agreed(_)));
        assert_eq!(ballot(&[(1, 5), (2, 6)], &[]).verdict(2, 3), Verdict::Ask(1));
        assert_eq!(ballot(&[(1, 5), (2, 6)], &[3]).verdict(2, 3), Verdict::Ask(0));
        assert!(matches!(ballot(&[(1, 5), (2, 6), (3, 6)], &[]).verdict(2, 3), Verdict::Agreed(_)));
        assert_eq!(ballot(&[(1, 5), (2, 6), (3, 7)], &[]).verdict(2, 3), Verdict::Hopeless);
    }

    #[test]
    fn a_host_that_left_is_replaced() {
        let mut ballot = ballot(&[(1, 5)], &[2]);
        ballot.forget(host(2));
        assert_eq!(ballot.verdict(2, 3), Verdict::Ask(1));
        ballot.forget(host(1));
        assert_eq!(ballot.verdict(2, 3), Verdict::Ask(2));
    }

    #[test]
    fn the_chance_of_a_wrong_result_is_the_published_one() {
        assert!((wrong_accept_probability(2, 0.05) - 7.25e-3).abs() < 1e-5);
        assert!((wrong_accept_probability(3, 0.20) - 0.0579).abs() < 1e-4);
    }
}
