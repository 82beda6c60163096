//! The few hosts of all that one knows, renewed each cycle: the swap of Cyclon (Voulgaris, Gavidia,
//! van Steen 2005), which keeps it about as likely for each host to be known.
//!
//! Whoever's turn it is takes the one that it has known for longest, gives it some entries and gets
//! as many. What was given makes room for what is got, so links are moved and not copied; nobody
//! becomes a hub, and a host that is gone is asked within as many cycles as a view has places, and
//! then known by one less. There are two views (`machine`): hosts that can be called, which alone
//! are asked, and hosts behind NATs, which are only told of (Croupier: Dowling, Payberah 2012).
//!
//! Written over [`Slots`], since the machine keeps descriptors in a list and the simulator numbers
//! in one array for a million hosts.

use isos_base::random::Random;

/// What a view holds.
pub trait Entry: Clone {
    /// What hosts are told apart by.
    type Id: Copy + PartialEq;

    /// Which host.
    fn id(&self) -> Self::Id;

    /// When it was last heard of by anybody; more is later.
    fn heard(&self) -> u64;
}

/// Where entries are kept: a list with a limit.
pub trait Slots {
    /// What is kept.
    type Entry: Entry;

    /// How many fit.
    fn capacity(&self) -> usize;
    /// All of them, in no order.
    fn entries(&self) -> &[Self::Entry];
    /// Puts one in place of another.
    fn replace(&mut self, at: usize, entry: Self::Entry);
    /// Adds one; there is room.
    fn push(&mut self, entry: Self::Entry);
    /// Takes one out.
    fn take(&mut self, at: usize) -> Self::Entry;
}

type IdOf<S> = <<S as Slots>::Entry as Entry>::Id;

/// Where a host is.
pub fn find<S: Slots>(slots: &S, id: IdOf<S>) -> Option<usize> {
    slots.entries().iter().position(|entry| entry.id() == id)
}

/// The one that was heard of least lately.
pub fn oldest<S: Slots>(slots: &S) -> Option<usize> {
    let entries = slots.entries().iter().enumerate();
    entries.min_by_key(|(_, entry)| entry.heard()).map(|(at, _)| at)
}

/// Some of them, each at most once, at random.
pub fn draw<S: Slots>(slots: &S, count: usize, random: &mut Random) -> Vec<S::Entry> {
    let entries = slots.entries();
    let mut left = entries.len();
    let mut wanted = count.min(left);
    let mut drawn = Vec::with_capacity(wanted);
    for entry in entries {
        if wanted == 0 {
            break;
        }
        // Knuth's selection sampling: no list of places is needed.
        if random.below(left as u64) < wanted as u64 {
            drawn.push(entry.clone());
            wanted -= 1;
        }
        left -= 1;
    }
    drawn
}

/// Takes in what was got for what was given.
pub fn swap_in<S: Slots>(
    slots: &mut S,
    own: IdOf<S>,
    given: &[IdOf<S>],
    got: impl IntoIterator<Item = S::Entry>,
) {
    let mut given = given.iter();
    for entry in got {
        let id = entry.id();
        if id == own {
            continue;
        }
        if let Some(at) = find(slots, id) {
            if slots.entries()[at].heard() < entry.heard() {
                slots.replace(at, entry);
            }
        } else if slots.entries().len() < slots.capacity() {
            slots.push(entry);
        } else if let Some(at) = given.by_ref().find_map(|id| find(slots, *id)) {
            slots.replace(at, entry);
        }
    }
}

/// A list of at most so many.
#[derive(Debug, Clone)]
pub struct View<E> {
    entries: Vec<E>,
    capacity: usize,
}

impl<E: Entry> View<E> {
    /// An empty one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity }
    }

    /// Leaves out those that are not wanted any more.
    pub fn retain(&mut self, wanted: impl FnMut(&E) -> bool) {
        self.entries.retain(wanted);
    }

    /// Takes out a host, if it is there.
    pub fn remove(&mut self, id: E::Id) -> Option<E> {
        find(self, id).map(|at| self.take(at))
    }
}

impl<E: Entry> Slots for View<E> {
    type Entry = E;

    fn capacity(&self) -> usize {
        self.capacity
    }

    fn entries(&self) -> &[E] {
        &self.entries
    }

    fn replace(&mut self, at: usize, entry: E) {
        self.entries[at] = entry;
    }

    fn push(&mut self, entry: E) {
        self.entries.push(entry);
    }

    fn take(&mut self, at: usize) -> E {
        self.entries.swap_remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Known(u32, u64);

    impl Entry for Known {
        type Id = u32;
        fn id(&self) -> u32 {
            self.0
        }
        fn heard(&self) -> u64 {
            self.1
        }
    }

    fn view(capacity: usize, ids: impl IntoIterator<Item = u32>) -> View<Known> {
        let mut view = View::new(capacity);
        swap_in(&mut view, u32::MAX, &[], ids.into_iter().map(|id| Known(id, u64::from(id))));
        view
    }

    #[test]
    fn what_was_given_makes_room_and_nothing_else_does() {
        let mut full = view(4, 1..5);
        swap_in(&mut full, 0, &[2, 3], [Known(7, 9), Known(8, 9), Known(9, 9)]);
        let mut ids: Vec<u32> = full.entries().iter().map(Entry::id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [1, 4, 7, 8]);
    }

    #[test]
    fn nobody_is_there_twice_or_in_its_own_view() {
        let mut some = view(4, 1..4);
        swap_in(&mut some, 9, &[1], [Known(3, 50), Known(3, 40), Known(9, 60)]);
        assert_eq!(some.entries(), [Known(1, 1), Known(2, 2), Known(3, 50)]);
        assert_eq!(oldest(&some), Some(0));
    }

    #[test]
    fn each_is_drawn_as_often_as_any_other() {
        let (all, mut random) = (view(10, 0..10), Random::new(1));
        let mut times = [0_u32; 10];
        for _ in 0..10_000 {
            let drawn = draw(&all, 3, &mut random);
            assert_eq!(drawn.len(), 3);
            drawn.iter().for_each(|it| times[it.0 as usize] += 1);
        }
        assert!(times.iter().all(|it| (2_800..3_200).contains(it)), "{times:?}");
        assert_eq!(draw(&all, 99, &mut random).len(), 10);
    }

    /// A hundred hosts that swap for a while: each is known by about as many as it knows.
    #[test]
    fn nobody_becomes_a_hub() {
        let mut random = Random::new(2);
        let mut views: Vec<View<Known>> =
            (0..100).map(|n| view(8, (1..9).map(|off| (n + off) % 100))).collect();
        for now in 1_000..1_050 {
            for n in 0..100_u32 {
                let at = oldest(&views[n as usize]).unwrap();
                let to = views[n as usize].take(at).0;
                let mut offer = draw(&views[n as usize], 3, &mut random);
                let given: Vec<u32> = offer.iter().map(Entry::id).collect();
                offer.push(Known(n, now));
                let back = draw(&views[to as usize], 4, &mut random);
                let theirs: Vec<u32> = back.iter().map(Entry::id).collect();
                swap_in(&mut views[to as usize], to, &theirs, offer);
                swap_in(&mut views[n as usize], n, &given, back);
            }
        }
        let mut known = [0_u32; 100];
        for view in &views {
            assert!((7..=8).contains(&view.entries().len()));
            view.entries().iter().for_each(|it| known[it.0 as usize] += 1);
        }
        assert!(known.iter().all(|it| (2..=14).contains(it)), "{known:?}");
    }
}
