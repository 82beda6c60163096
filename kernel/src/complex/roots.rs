//! How many roots of one job's tasks are held, and of whom.

use std::collections::BTreeMap;

use isos_base::HostId;
use isos_base::record::SavedRecord;

/// Roots of one job's tasks that are held: 32 MiB. What is beyond is not taken down.
const JOB_ROOTS_MAX: usize = 1 << 20;
/// Of them, those of parts, which are few: there is room for what they find when whole runs have
/// filled theirs.
const PART_ROOTS_MAX: usize = JOB_ROOTS_MAX / 4;

/// Of one kind of runs.
#[derive(Debug, Default)]
struct Count {
    all: usize,
    hosts: BTreeMap<HostId, usize>,
}

impl Count {
    /// Whether a host may have more of at most so many: nobody has more than is left for others, so
    /// that there is always some left, however many one tells.
    fn has_room(&self, host: HostId, more: usize, most: usize) -> bool {
        let all = self.all.saturating_add(more);
        let own = self.hosts.get(&host).copied().unwrap_or(0).saturating_add(more);
        more == 0 || all.saturating_add(own) <= most
    }

    fn add(&mut self, host: HostId, roots: usize) {
        if roots > 0 {
            self.all += roots;
            *self.hosts.entry(host).or_default() += roots;
        }
    }

    fn drop(&mut self, host: HostId, roots: usize) {
        self.all -= roots;
        if let Some(own) = self.hosts.get_mut(&host) {
            *own -= roots;
            if *own == 0 {
                self.hosts.remove(&host);
            }
        }
    }
}

/// Of one job.
#[derive(Debug, Default)]
pub(super) struct Roots {
    wholes: Count,
    parts: Count,
}

impl Roots {
    /// Whether a host may have so many more, of parts that it runs for others or of whole runs.
    pub(super) fn have_room(&self, host: HostId, more: usize, part: bool) -> bool {
        match part {
            true => self.parts.has_room(host, more, PART_ROOTS_MAX),
            false => self.wholes.has_room(host, more, JOB_ROOTS_MAX - PART_ROOTS_MAX),
        }
    }

    fn of(&mut self, run: &SavedRecord) -> &mut Count {
        match run.referee {
            Some(_) => &mut self.parts,
            None => &mut self.wholes,
        }
    }

    pub(super) fn add(&mut self, run: &SavedRecord) {
        self.of(run).add(run.host, run.roots.len());
    }

    pub(super) fn drop(&mut self, run: &SavedRecord) {
        self.of(run).drop(run.host, run.roots.len());
    }

    /// Asserts that these are all.
    pub(super) fn check<'a>(&self, runs: impl Iterator<Item = &'a SavedRecord>) {
        let mut counted = Self::default();
        runs.for_each(|run| counted.add(run));
        for (held, counted) in [(&self.wholes, counted.wholes), (&self.parts, counted.parts)] {
            assert_eq!((held.all, &held.hosts), (counted.all, &counted.hosts), "roots held");
        }
    }
}

#[cfg(test)]
mod tests {
    use isos_base::key::PublicKey;

    use super::*;

    #[test]
    fn no_host_and_no_few_of_them_leave_nothing_for_the_next() {
        let host = |n: u8| HostId(PublicKey([n; 32]));
        let mut roots = Roots::default();
        let (mut last, most) = (JOB_ROOTS_MAX, JOB_ROOTS_MAX - PART_ROOTS_MAX);
        for n in 1..=8 {
            let mut own = 0;
            while roots.have_room(host(n), 1_000, false) {
                roots.wholes.add(host(n), 1_000);
                own += 1_000;
            }
            assert!(own > 1_000 && own < last, "{n}: {own}, less than {last}");
            last = own;
        }
        assert!(roots.wholes.all < most);
        assert!(roots.have_room(host(1), 0, false), "what is told again takes no room");
        assert!(roots.have_room(host(1), 1_000, true), "parts have their own");
        (1..=8).for_each(|n| roots.wholes.drop(host(n), roots.wholes.hosts[&host(n)]));
        assert!(roots.wholes.all == 0 && roots.wholes.hosts.is_empty());
    }
}
