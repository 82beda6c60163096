//! How many roots of one job's tasks are held, and of whom.

use std::collections::BTreeMap;

use isos_base::HostId;
use isos_base::record::{Referee, SavedRecord};

/// Roots of one job's tasks that are held: 32 MiB. What is beyond is not taken down.
const JOB_ROOTS_MAX: usize = 1 << 20;
/// Of them, those of parts, which are few: there is room for what they find when whole runs have
/// filled theirs.
const PART_ROOTS_MAX: usize = JOB_ROOTS_MAX / 4;

/// Room that a part takes up to the end of this segment, which is set aside when it is begun: else
/// what its host finds could not be taken down, and would look as if it had told nothing.
pub(super) const fn room_of_part(segment: u32) -> usize {
    if segment == Referee::TO_END { 0 } else { segment as usize + 1 }
}

/// Room that a run takes, or may come to take.
pub(super) fn room_of(run: &SavedRecord) -> usize {
    run.roots.len().max(run.referee.map_or(0, |referee| room_of_part(referee.segment)))
}

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
        self.of(run).add(run.host, room_of(run));
    }

    pub(super) fn drop(&mut self, run: &SavedRecord) {
        self.of(run).drop(run.host, room_of(run));
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
    use isos_base::{Fuel, Guid, JobId, LeaseId};

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

    #[test]
    fn a_part_that_was_begun_has_the_room_that_it_will_take() {
        let host = |n: u8| HostId(PublicKey([n; 32]));
        let mut part = SavedRecord {
            lease: LeaseId(1),
            task: 0,
            job: JobId(1),
            host: host(1),
            fuel: Fuel(0),
            roots: Vec::new(),
            kept: Vec::new(),
            referee: Some(Referee {
                segment: PART_ROOTS_MAX as u32 / 2 - 1,
                fuel: Fuel(0),
                of: None,
            }),
            resumed: None,
        };
        let mut roots = Roots::default();
        assert!(roots.have_room(host(1), 1, true));
        roots.add(&part);
        assert!(!roots.have_room(host(1), 1, true) && roots.have_room(host(2), 1, true));
        assert!(roots.have_room(host(1), 0, true), "what it tells then takes no more");
        part.roots = vec![Guid([0; 32]); PART_ROOTS_MAX / 2];
        roots.drop(&part);
        assert!(roots.have_room(host(1), PART_ROOTS_MAX / 2, true));
        part.referee = Some(Referee { segment: Referee::TO_END, fuel: Fuel(0), of: None });
        part.roots.clear();
        assert_eq!(room_of(&part), 0, "nobody knows how far it is to the end");
    }
}
