//! An order among some hosts of all: each knows who comes next on either side of it on a ring
//! (T-Man: Jelasity, Montresor, Babaoglu 2009).
//!
//! Whoever belongs to a part of all hosts (a slice, those that run a program) meets the nearest
//! that it knows and gives it those that are nearest to *that one*. After some log n such meetings
//! all have their real neighbours, wherever they began; and when neighbours die, those behind them
//! are known already. Views bring those that nobody in the part knows of yet, and join parts that
//! have grown apart.

/// A member's place on the ring, and what is needed to meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<T> {
    /// A hash, or the rank of an attribute: whatever shall be in order.
    pub place: u64,
    /// Who.
    pub who: T,
    /// When it was last heard of by anybody; more is later.
    pub heard: u64,
}

/// How far it is from one place up to another, around the ring.
#[must_use]
pub const fn ahead(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from)
}

/// The members that one knows: those that are nearest on either side.
#[derive(Debug, Clone)]
pub struct Ring<T> {
    own: u64,
    /// On each side.
    reach: usize,
    /// In order of how far ahead they are.
    known: Vec<Member<T>>,
}

impl<T: Copy + PartialEq> Ring<T> {
    /// Knows nobody yet, and so many on each side at the most.
    #[must_use]
    pub fn new(own: u64, reach: usize) -> Self {
        Self { own, reach, known: Vec::new() }
    }

    /// Somebody belongs to the ring. Who stands at the same place as this host is not told apart
    /// from it.
    pub fn learn(&mut self, member: Member<T>) {
        let far = ahead(self.own, member.place);
        if far == 0 {
            return;
        }
        let at = self.known.partition_point(|known| ahead(self.own, known.place) < far);
        match self.known.get_mut(at) {
            Some(known) if known.place == member.place => {
                if known.heard < member.heard {
                    *known = member;
                }
            }
            _ => self.known.insert(at, member),
        }
        if self.known.len() > 2 * self.reach {
            // In the middle are those that are far on either side.
            self.known.remove(self.reach);
        }
    }

    /// Somebody is gone.
    pub fn forget(&mut self, who: T) {
        self.known.retain(|known| known.who != who);
    }

    /// Who was not heard of since then is not told of any more: else the dead go round for ever.
    pub fn forget_before(&mut self, since: u64) {
        self.known.retain(|known| known.heard >= since);
    }

    /// Who comes next.
    #[must_use]
    pub fn next(&self) -> Option<&Member<T>> {
        self.known.first()
    }

    /// Who came before.
    #[must_use]
    pub fn previous(&self) -> Option<&Member<T>> {
        self.known.last()
    }

    /// All that are known, from the next one around the ring to the one before.
    #[must_use]
    pub fn known(&self) -> &[Member<T>] {
        &self.known
    }

    /// What to give to a member: those that are nearest to it on either side, `own` with them.
    #[must_use]
    pub fn give(&self, to: u64, (own, now): (T, u64), count: usize) -> Vec<Member<T>> {
        let mut all: Vec<Member<T>> =
            self.known.iter().copied().filter(|known| known.place != to).collect();
        all.push(Member { place: self.own, who: own, heard: now });
        all.sort_by_key(|known| ahead(to, known.place));
        let far = count.saturating_sub(count / 2).min(all.len());
        let mut given = all[..far].to_vec();
        let rest = &all[far..];
        given.extend(&rest[rest.len() - (count / 2).min(rest.len())..]);
        given
    }
}

#[cfg(test)]
mod tests {
    use isos_base::random::Random;

    use super::*;

    fn member(place: u64) -> Member<u64> {
        Member { place, who: place, heard: 1 }
    }

    #[test]
    fn those_that_are_near_on_either_side_are_kept() {
        let mut ring = Ring::new(50, 2);
        for place in [10, 90, 60, 40, 70, 30, u64::MAX, 50, 60] {
            ring.learn(member(place));
        }
        let places: Vec<u64> = ring.known().iter().map(|it| it.place).collect();
        assert_eq!(places, [60, 70, 30, 40]);
        assert_eq!((ring.next(), ring.previous()), (Some(&member(60)), Some(&member(40))));
        ring.forget(60);
        assert_eq!(ring.next(), Some(&member(70)));
        let given: Vec<u64> = ring.give(65, (50, 1), 3).iter().map(|it| it.place).collect();
        assert_eq!(given, [70, 30, 50]);
    }

    #[test]
    fn strangers_are_in_order_after_a_few_meetings() {
        let mut random = Random::new(1);
        let mut places: Vec<u64> = (0..500).map(|_| random.next_u64()).collect();
        let mut rings: Vec<Ring<usize>> = places.iter().map(|place| Ring::new(*place, 8)).collect();
        for ring in &mut rings {
            for _ in 0..4 {
                let who = random.below(500) as usize;
                ring.learn(Member { place: places[who], who, heard: 0 });
            }
        }
        for _ in 0..15 {
            for n in 0..500 {
                let near = rings[n].known().len().min(6) as u64;
                let at = random.below(near) as usize;
                // Of both ends in turn.
                let known = rings[n].known();
                let to = if at.is_multiple_of(2) {
                    known[at / 2]
                } else {
                    known[known.len() - 1 - at / 2]
                };
                let ours = rings[n].give(to.place, (n, 1), 10);
                let theirs = rings[to.who].give(places[n], (to.who, 1), 10);
                ours.into_iter().for_each(|it| rings[to.who].learn(it));
                theirs.into_iter().for_each(|it| rings[n].learn(it));
            }
        }
        let own = places.clone();
        places.sort_unstable();
        for n in 0..500 {
            let at = places.binary_search(&own[n]).unwrap();
            assert_eq!(rings[n].next().unwrap().place, places[(at + 1) % 500]);
            assert_eq!(rings[n].previous().unwrap().place, places[(at + 499) % 500]);
        }
    }
}
