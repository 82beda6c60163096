//! Verification by votes: independent hosts must give bitwise the same result.
//!
//! A [`Ballot`] knows one task: who was asked, who has answered, whether that decides it. By which
//! [`Rule`] is the buyer's choice: so many equal votes (BOINC's `min_quorum` and
//! `max_total_results`), or a credibility that follows from what the voters have shown
//! ([`Assumed`]). It does not know leases, money or time.

mod credibility;
pub mod segments;

use isos_base::job::Verify;
use isos_base::task::{Digest, TaskResult};
use isos_base::{Fuel, HostId, limits};

pub use credibility::{Assumed, group_credibilities};

/// One host's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// Who.
    pub host: HostId,
    /// Under which lease.
    pub lease: isos_base::LeaseId,
    /// What is compared.
    pub digest: Digest,
    /// The result itself.
    pub result: TaskResult,
    /// What its host is paid for at the most, if it is right.
    pub work: Fuel,
    /// The chance that this host's results are wrong, as far as it was known when it answered.
    pub doubt: f64,
    /// It has run a part of the task only, from a checkpoint of another: what it found may be that
    /// the other is wrong, but is no result.
    pub part: bool,
}

/// What decides a task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// `agree` equal votes, of at most `of` hosts.
    Quorum {
        /// Equal votes needed.
        agree: u8,
        /// Hosts asked at the most.
        of: u8,
    },
    /// Two equal votes at least that are right but for this error rate, of at most `of` hosts.
    Credibility {
        /// Wrong ones among a million.
        error_ppm: u32,
        /// Hosts asked at the most while no two agree.
        of: u8,
        /// Hosts asked at the most once two do.
        of_disputed: u8,
        /// The chance that a cheat's check is made by one that it knows.
        accomplice: f64,
    },
    /// One whole run, all drawn stretches of which were found right by others; of at most `of`
    /// hosts.
    Checkpoint {
        /// Hosts asked at the most.
        of: u8,
        /// As under credibility.
        accomplice: f64,
    },
}

/// Whoever votes against others is barred if these turn out to be right, so that they have to be
/// surer of it than any buyer may ask for: wrong ones among a million.
const DISSENT_ERROR_PPM: u32 = 100;

/// Nobody is barred by others that are less credible than this. Two strangers are, against a third;
/// against a host of long standing they are not.
const SURE_ENOUGH: f64 = 0.9;

impl Rule {
    /// What a buyer's choice comes to, where cheats are taken to do this share of the work.
    #[must_use]
    pub const fn of(verify: Verify, bad_share: f64) -> Option<Self> {
        let of = limits::QUORUM_VOTERS_MAX;
        match verify {
            Verify::Trusted => None,
            Verify::Quorum { agree, of } => Some(Self::Quorum { agree, of }),
            Verify::Credibility { error_ppm } => {
                let of_disputed = limits::DISPUTE_VOTERS_MAX;
                Some(Self::Credibility { error_ppm, of, of_disputed, accomplice: bad_share })
            }
            Verify::Checkpoint { .. } => Some(Self::Checkpoint { of, accomplice: bad_share }),
        }
    }

    /// Equal votes that decide at the least.
    #[must_use]
    pub const fn agree(self) -> u8 {
        match self {
            Self::Quorum { agree, .. } => agree,
            Self::Credibility { .. } | Self::Checkpoint { .. } => 2,
        }
    }

    /// Whether a task is given to one host first, and to others only once that one has answered.
    #[must_use]
    pub const fn asks_one_first(self) -> bool {
        matches!(self, Self::Credibility { .. } | Self::Checkpoint { .. })
    }

    /// Whether results of some hosts are taken unchecked, which can be taken back later.
    #[must_use]
    pub const fn gives_credit(self) -> bool {
        matches!(self, Self::Credibility { .. })
    }

    /// How wrong those may be who check: wrong ones among a million.
    #[must_use]
    pub const fn checkers_error_ppm(self) -> Option<u32> {
        match self {
            Self::Quorum { .. } => None,
            Self::Credibility { error_ppm, .. } => Some(error_ppm),
            Self::Checkpoint { .. } => Some(Verify::ERROR_PPM_DEFAULT),
        }
    }
}

/// The state of one task that is decided by votes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ballot {
    /// Hosts that hold or have answered this task, sorted.
    pub asked: Vec<HostId>,
    /// Their answers so far, in the order in which they came.
    pub votes: Vec<Vote>,
    /// Stretches of the first whole run that were drawn and not found right so far.
    pub unchecked: u32,
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

    /// What the votes decide by this rule.
    #[must_use]
    pub fn verdict(&self, rule: Rule) -> Verdict {
        match rule {
            Rule::Quorum { agree, of } => self.count(agree, of),
            Rule::Credibility { error_ppm, of, of_disputed, accomplice } => {
                self.weigh(error_ppm, of, of_disputed, accomplice)
            }
            Rule::Checkpoint { of, accomplice } => self.look(of, accomplice),
        }
    }

    /// What is to be said if nobody else can be asked: the answer that more hosts gave than any
    /// other.
    #[must_use]
    pub fn best(&self) -> Option<Digest> {
        let groups = self.groups();
        let (digest, most) = groups.iter().max_by_key(|(_, votes)| votes.len())?;
        let others = groups.iter().filter(|(other, _)| other != digest);
        let second = others.map(|(_, votes)| votes.len()).max().unwrap_or(0);
        (most.len() > second).then_some(*digest)
    }

    /// Whether those who gave this answer are credible enough to bar those who gave another.
    #[must_use]
    pub fn is_sure(&self, digest: Digest, accomplice: f64) -> bool {
        let credibilities = self.credibilities(accomplice);
        let mut all = self.groups().into_iter().zip(credibilities);
        all.any(|((other, votes), chance)| {
            other == digest && votes.len() >= 2 && chance >= SURE_ENOUGH
        })
    }

    /// Hosts that were asked and have not answered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.asked.len() - self.votes.len()
    }

    /// `agree` equal votes decide, at most `of` hosts are asked.
    fn count(&self, agree: u8, of: u8) -> Verdict {
        let (agree, of) = (usize::from(agree), usize::from(of));
        let mut best = 0;
        for vote in &self.votes {
            let same = self.votes.iter().filter(|other| other.digest == vote.digest).count();
            if same >= agree {
                return Verdict::Agreed(vote.digest);
            }
            best = best.max(same);
        }
        let outstanding = self.outstanding();
        let lacking = (agree - best).saturating_sub(outstanding);
        if self.asked.len() + lacking > of {
            // More may be asked than `of` only if nobody is left who could still decide it.
            return if outstanding > 0 { Verdict::Ask(0) } else { Verdict::Hopeless };
        }
        Verdict::Ask(lacking as u8)
    }

    /// Equal votes are a group, and one group is believed once it is credible enough. Hosts are
    /// asked one after the other: nearly always the next one decides.
    ///
    /// Liars who agree with each other must not keep a task from being decided, so that as many are
    /// asked as it takes to outvote them, up to `of_disputed`. Then the likeliest answer stands.
    /// Where no two agree, as of a program that gives everybody something else, `of` is enough.
    fn weigh(&self, error_ppm: u32, of: u8, of_disputed: u8, accomplice: f64) -> Verdict {
        if self.outstanding() > 0 {
            return Verdict::Ask(0);
        }
        let likeliest = self.likeliest(accomplice);
        let strict = error_ppm.min(DISSENT_ERROR_PPM);
        let wanted = right_but_for(if self.is_of_one_mind() { error_ppm } else { strict });
        let asked_max = if likeliest.is_some() { of.max(of_disputed) } else { of };
        match likeliest {
            Some((digest, credibility)) if credibility >= wanted => Verdict::Agreed(digest),
            _ if self.asked.len() < usize::from(asked_max) => Verdict::Ask(1),
            Some((digest, credibility)) if credibility > 0.5 => Verdict::Agreed(digest),
            _ => Verdict::Hopeless,
        }
    }

    /// The most credible answer that several gave, and how credible it is.
    fn likeliest(&self, accomplice: f64) -> Option<(Digest, f64)> {
        let groups = self.groups().into_iter().zip(self.credibilities(accomplice));
        let several = groups.filter(|((_, doubts), _)| doubts.len() >= 2);
        let likeliest = several.max_by(|(_, one), (_, other)| one.total_cmp(other));
        likeliest.map(|((digest, _), credibility)| (digest, credibility))
    }

    /// The answer that is credible enough for the buyer, where others are asked only to be sure
    /// enough to bar whoever differs.
    #[must_use]
    pub fn enough(&self, rule: Rule) -> Option<Digest> {
        let Rule::Credibility { error_ppm, accomplice, .. } = rule else { return None };
        let likeliest = self.likeliest(accomplice).filter(|_| self.outstanding() == 0);
        likeliest.filter(|(_, it)| *it >= right_but_for(error_ppm)).map(|(digest, _)| digest)
    }

    /// Two equal votes decide, or one whole run whose drawn stretches others have found right.
    /// Hosts are asked one after the other: each runs one stretch, and is then asked no more than
    /// any other. Where somebody says otherwise, others are asked until that is sure enough to bar
    /// whoever is wrong: else it would go on with the next task.
    fn look(&self, of: u8, accomplice: f64) -> Verdict {
        if self.outstanding() > 0 {
            return Verdict::Ask(0);
        }
        let groups = self.groups();
        if let [(digest, doubts)] = groups.as_slice()
            && (doubts.len() >= 2 || self.unchecked == 0)
        {
            return Verdict::Agreed(*digest);
        }
        let sure = groups.iter().find(|(digest, _)| self.is_sure(*digest, accomplice));
        match sure {
            Some((digest, _)) => Verdict::Agreed(*digest),
            None if self.asked.len() < usize::from(of) => Verdict::Ask(1),
            None => self.several().map_or(Verdict::Hopeless, Verdict::Agreed),
        }
    }

    /// The answer that more hosts gave than any other, and at least two.
    #[must_use]
    pub fn several(&self) -> Option<Digest> {
        let same = |digest| self.votes.iter().filter(|vote| vote.digest == digest).count();
        self.best().filter(|&best| same(best) >= 2)
    }

    /// The first vote of a host that has run all of the task.
    #[must_use]
    pub fn whole(&self) -> Option<&Vote> {
        self.votes.iter().find(|vote| !vote.part)
    }

    /// Whether all votes are the same.
    #[must_use]
    pub fn is_of_one_mind(&self) -> bool {
        self.votes.windows(2).all(|pair| pair[0].digest == pair[1].digest)
    }

    /// The chance of each of the different answers that it is right.
    #[must_use]
    pub fn credibilities(&self, accomplice: f64) -> Vec<f64> {
        let doubts: Vec<_> = self.groups().into_iter().map(|(_, doubts)| doubts).collect();
        group_credibilities(&doubts, accomplice)
    }

    /// The different answers, each with the doubts in those who gave it.
    fn groups(&self) -> Vec<(Digest, Vec<f64>)> {
        let mut groups: Vec<(Digest, Vec<f64>)> = Vec::new();
        for vote in &self.votes {
            match groups.iter_mut().find(|(digest, _)| *digest == vote.digest) {
                Some((_, doubts)) => doubts.push(vote.doubt),
                None => groups.push((vote.digest, vec![vote.doubt])),
            }
        }
        groups
    }
}

/// As a chance, of wrong ones among a million.
fn right_but_for(error_ppm: u32) -> f64 {
    1.0 - f64::from(error_ppm) / 1e6
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
    use isos_base::LeaseId;
    use isos_base::key::PublicKey;
    use isos_base::task::{Exit, OutputAt};

    use super::*;

    const TWO_OF_THREE: Rule = Rule::Quorum { agree: 2, of: 3 };

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
            let (doubt, part, work) = (0.05, false, result.fuel);
            ballot.votes.push(Vote { host, lease: LeaseId(1), digest, result, work, doubt, part });
        }
        silent.iter().for_each(|&n| ballot.ask(host(n)));
        ballot
    }

    #[test]
    fn two_equal_votes_decide_and_a_third_breaks_a_tie() {
        assert_eq!(ballot(&[], &[]).verdict(TWO_OF_THREE), Verdict::Ask(2));
        assert_eq!(ballot(&[], &[1]).verdict(TWO_OF_THREE), Verdict::Ask(1));
        assert_eq!(ballot(&[(1, 5)], &[2]).verdict(TWO_OF_THREE), Verdict::Ask(0));
        assert!(matches!(ballot(&[(1, 5), (2, 5)], &[]).verdict(TWO_OF_THREE), Verdict::Agreed(_)));
        assert_eq!(ballot(&[(1, 5), (2, 6)], &[]).verdict(TWO_OF_THREE), Verdict::Ask(1));
        assert_eq!(ballot(&[(1, 5), (2, 6)], &[3]).verdict(TWO_OF_THREE), Verdict::Ask(0));
        assert!(matches!(
            ballot(&[(1, 5), (2, 6), (3, 6)], &[]).verdict(TWO_OF_THREE),
            Verdict::Agreed(_)
        ));
        assert_eq!(ballot(&[(1, 5), (2, 6), (3, 7)], &[]).verdict(TWO_OF_THREE), Verdict::Hopeless);
    }

    #[test]
    fn a_host_that_left_is_replaced() {
        let mut ballot = ballot(&[(1, 5)], &[2]);
        ballot.forget(host(2));
        assert_eq!(ballot.verdict(TWO_OF_THREE), Verdict::Ask(1));
        ballot.forget(host(1));
        assert_eq!(ballot.verdict(TWO_OF_THREE), Verdict::Ask(2));
    }

    /// The verdict on votes of hosts with these doubts.
    fn weighed(votes: &[(u8, u64)], doubts: &[f64], error_ppm: u32, of: u8) -> Verdict {
        let mut ballot = ballot(votes, &[]);
        ballot.votes.iter_mut().zip(doubts).for_each(|(vote, doubt)| vote.doubt = *doubt);
        let (of_disputed, accomplice) = (of, 0.05);
        ballot.verdict(Rule::Credibility { error_ppm, of, of_disputed, accomplice })
    }

    #[test]
    fn credible_hosts_decide_by_two_and_strangers_by_three() {
        let agreed = |verdict| matches!(verdict, Verdict::Agreed(_));
        assert_eq!(weighed(&[(1, 5)], &[1e-6], 1_000, 9), Verdict::Ask(1), "a check is a check");
        assert!(agreed(weighed(&[(1, 5), (2, 5)], &[0.0019, 0.0019], 100, 9)));
        assert_eq!(weighed(&[(1, 5), (2, 5)], &[0.05, 0.05], 1_000, 9), Verdict::Ask(1));
        assert!(agreed(weighed(&[(1, 5), (2, 5), (3, 5)], &[0.05; 3], 1_000, 9)));
        assert!(agreed(weighed(&[(1, 5), (2, 5)], &[0.05, 0.05], 10_000, 9)));
    }

    #[test]
    fn whoever_is_to_be_barred_is_outvoted_with_more_than_the_buyers_certainty() {
        let votes = [(1, 5), (2, 6), (3, 5), (4, 5)];
        assert_eq!(weighed(&votes[..3], &[0.002, 0.05, 2e-4], 1_000, 9), Verdict::Ask(1));
        assert!(matches!(
            weighed(&votes, &[0.002, 0.05, 2e-5, 1e-3], 1_000, 9),
            Verdict::Agreed(_)
        ));
        let votes = &votes[..3];
        assert_eq!(weighed(votes, &[0.05, 2e-5, 0.05], 100_000, 9), Verdict::Ask(1));
        assert_eq!(weighed(votes, &[0.05, 2e-5, 0.05], 100_000, 3), Verdict::Hopeless);
    }

    /// The verdict on so many strangers who are right and so many who tell the same lie, in a world
    /// of which this share is bad.
    fn disputed(right: u8, wrong: u8, bad: f64) -> Verdict {
        let says = |n| if n < right { 5 } else { 6 };
        let votes: Vec<_> = (0..right + wrong).map(|n| (n, says(n))).collect();
        let mut ballot = ballot(&votes, &[]);
        ballot.votes.iter_mut().for_each(|vote| vote.doubt = bad);
        let verify = Verify::Credibility { error_ppm: 10_000 };
        ballot.verdict(Rule::of(verify, bad).unwrap())
    }

    #[test]
    fn liars_who_agree_are_outvoted_by_as_many_more_as_it_takes() {
        let right = Verdict::Agreed(ballot(&[(0, 5)], &[]).votes[0].digest);
        // The margin that makes one sure depends on how many are bad, and not on how many lied.
        for (bad, margin) in [(0.05, 4), (0.1, 5), (0.2, 7)] {
            for liars in 2..=(limits::DISPUTE_VOTERS_MAX - margin) / 2 {
                for more in 0..margin {
                    let verdict = disputed(liars + more, liars, bad);
                    assert_eq!(verdict, Verdict::Ask(1), "{liars} liars, {more} more, {bad}");
                }
                assert_eq!(disputed(liars + margin, liars, bad), right, "{liars} liars, {bad}");
            }
        }
    }

    #[test]
    fn once_nobody_more_may_be_asked_the_likeliest_answer_stands() {
        let right = Verdict::Agreed(ballot(&[(0, 5)], &[]).votes[0].digest);
        assert_eq!(disputed(13, 11, 0.4), Verdict::Ask(1));
        assert_eq!(disputed(13, 12, 0.4), right);
        assert_eq!(disputed(12, 12, 0.5), Verdict::Ask(1));
        assert_eq!(disputed(13, 12, 0.5), Verdict::Hopeless, "at even odds nothing is likelier");
    }

    #[test]
    fn what_is_enough_for_the_buyer_can_be_too_little_to_bar_who_differs() {
        let mut votes = ballot(&[(1, 5), (2, 6), (3, 5), (4, 5)], &[]);
        let rule = Rule::of(Verify::default(), 0.05).unwrap();
        assert_eq!(votes.verdict(rule), Verdict::Ask(1));
        assert_eq!(votes.enough(rule), Some(votes.votes[0].digest));
        votes.ask(host(5));
        assert_eq!(votes.enough(rule), None, "somebody is about to answer");
        assert_eq!(ballot(&[(1, 5), (2, 6), (3, 5)], &[]).enough(rule), None);
        assert_eq!(votes.enough(TWO_OF_THREE), None);
    }

    #[test]
    fn where_no_two_of_nine_agree_no_tenth_is_asked() {
        let each_another = |count: u8| {
            let votes: Vec<_> = (0..count).map(|n| (n, u64::from(n))).collect();
            let rule = Rule::of(Verify::default(), 0.05).unwrap();
            ballot(&votes, &[]).verdict(rule)
        };
        assert_eq!(each_another(8), Verdict::Ask(1));
        assert_eq!(each_another(9), Verdict::Hopeless);
    }

    #[test]
    fn one_whole_run_counts_once_all_its_stretches_were_found_right() {
        let rule = Rule::Checkpoint { of: 9, accomplice: 0.05 };
        let mut one = ballot(&[(1, 5)], &[]);
        one.unchecked = 2;
        assert_eq!(one.verdict(rule), Verdict::Ask(1));
        one.ask(host(2));
        assert_eq!(one.verdict(rule), Verdict::Ask(0), "one after the other");
        one.forget(host(2));
        one.unchecked = 0;
        assert!(matches!(one.verdict(rule), Verdict::Agreed(_)));
        let dissent = ballot(&[(1, 5), (2, 6)], &[]);
        assert_eq!(dissent.verdict(rule), Verdict::Ask(1), "a third settles it");
    }

    #[test]
    fn who_finds_a_stretch_wrong_is_followed_by_others_until_that_is_sure() {
        let rule = |of| Rule::Checkpoint { of, accomplice: 0.05 };
        let agreed = |verdict| matches!(verdict, Verdict::Agreed(_));
        let mut all = ballot(&[(1, 5), (2, 6), (3, 6)], &[]);
        assert!(agreed(all.verdict(rule(9))), "two strangers against a third");
        all.votes[0].doubt = 1e-4;
        assert_eq!(all.verdict(rule(9)), Verdict::Ask(1), "one of long standing is no liar yet");
        assert!(agreed(all.verdict(rule(3))), "nobody else may be asked");
        let more = [(1, 5), (2, 6), (3, 6), (4, 6), (5, 6)];
        let mut sure = ballot(&more, &[]);
        sure.votes[0].doubt = 1e-4;
        assert!(agreed(sure.verdict(rule(9))) && sure.is_sure(sure.votes[1].digest, 0.05));
        let mut tie = ballot(&[(1, 5), (2, 6), (3, 6), (4, 5)], &[]);
        assert_eq!(tie.verdict(rule(9)), Verdict::Ask(1));
        assert_eq!(tie.verdict(rule(4)), Verdict::Hopeless);
        tie.forget(host(4));
        assert!(agreed(tie.verdict(rule(4))));
    }

    #[test]
    fn with_nobody_left_to_ask_the_larger_group_stands() {
        let best = |votes: &[(u8, u64)]| ballot(votes, &[]).best();
        assert!(best(&[(1, 5)]).is_some());
        assert_eq!(best(&[(1, 5), (2, 6), (3, 6)]), best(&[(9, 6)]));
        assert_eq!(best(&[(1, 5), (2, 6)]), None);
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn strangers_bar_a_stranger_and_no_host_of_long_standing() {
        let mut ballot = ballot(&[(1, 5), (2, 6), (3, 6)], &[]);
        let (one, two) = (ballot.votes[0].digest, ballot.votes[1].digest);
        assert!(ballot.is_sure(two, 0.05) && !ballot.is_sure(one, 0.05));
        ballot.votes[0].doubt = 1e-4;
        assert!(!ballot.is_sure(two, 0.05));
    }

    #[test]
    fn the_chance_of_a_wrong_result_is_the_published_one() {
        assert!((wrong_accept_probability(2, 0.05) - 7.25e-3).abs() < 1e-5);
        assert!((wrong_accept_probability(3, 0.20) - 0.0579).abs() < 1e-4);
    }
}
