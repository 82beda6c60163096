//! What always holds of a job.

use isos_base::TaskSet;
use isos_base::record::{TaskState, states};

use super::Job;

impl Job {
    pub(in crate::complex) fn check_invariants(&self) {
        self.chains.check_invariants();
        assert!(self.chains.tasks().all(|task| self.is_open(task)), "decided, and still held");
        let waiting: u32 = self.pools.values().map(TaskSet::count).sum();
        assert_eq!(waiting, self.waiting);
        let owed =
            self.pools.iter().map(|(asked, pool)| self.need(asked) * u64::from(pool.count()));
        assert_eq!(owed.sum::<u64>(), self.owed);
        assert_eq!(self.counts.iter().sum::<u32>(), self.total);
        assert_eq!(self.open, self.counts[0]);
        self.lone.check_invariants();
        assert!(
            self.ranks.is_none() || self.rule().is_none(),
            "pinned is what one host's word decides"
        );
        assert!(self.pools.values().all(|pool| !pool.is_empty()));
        for (asked, pool) in &self.pools {
            for range in pool.iter() {
                let open = states::are_all(&self.states, range, TaskState::Open);
                assert!(open && range.end <= self.record.spec.count, "{range} waits, is it open?");
                let ballots = self.ballots.range(range.start..range.end);
                assert!(ballots.clone().all(|(_, ballot)| &ballot.asked == asked));
                // Without a ballot, nobody was asked.
                let count = ballots.count();
                assert!(count == if asked.is_empty() { 0 } else { range.len() as usize });
            }
        }
        for (task, ballot) in &self.ballots {
            assert!(self.is_open(*task));
            assert!(ballot.votes.iter().all(|vote| ballot.asked.contains(&vote.host)));
        }
    }
}
