//! One walk towards a place: ask those nearest to it for those nearer still, until the nearest have
//! all answered.
//!
//! Iterative, since whoever walks must see each step to check it. Along disjoint paths
//! (S/Kademlia): no host is asked twice, by whichever path, so a liar spoils the path that it is
//! on and no other. What is told is believed only as far as it can be checked: contacts have
//! certificates, are no farther than was asked for, and no more. Whoever breaks that has lied, and
//! counts as silent.
//!
//! No clock in here: the machine says when somebody is too slow. A slow one does not hold up its
//! path, but is still heard when it answers after all.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::contact::Contact;
use crate::notary::Verdict;
use crate::position::{Distance, Position};
use crate::rtt::Rtt;
use crate::wire::{CONTACTS_MAX, Find, KNOWN_MAX};

/// Hosts that one walk asks; then it ends with what it has.
pub const ASKED_MAX: usize = 200;
/// Candidates that one path keeps in mind.
const CANDIDATES_MAX: usize = 64;
/// Paths of one walk.
pub const PATHS_MAX: usize = 8;

/// What to walk for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aim {
    /// Where to.
    pub target: Position,
    /// Whether pointers are wanted, and the walk may end when they are found.
    pub pointers: bool,
    /// Hosts that are to be found nearest to the target.
    pub nearest: usize,
    /// Disjoint paths.
    pub paths: usize,
    /// Requests of each that are on their way at a time.
    pub alpha: usize,
}

/// A request that the walk wants sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// To whom.
    pub to: Arc<Contact>,
    /// What.
    pub find: Find,
}

/// What an answer was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is taken.
    Taken,
    /// It is of nobody that was asked, or not any more.
    Unasked,
    /// It says what nobody honest says.
    Lie,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    New,
    /// Asked, and waited for.
    Asked,
    /// Asked, and not waited for any more; heard if it answers.
    Late,
    Answered,
    /// Silent, a liar, or on another path.
    Out,
}

#[derive(Debug)]
struct Candidate {
    distance: Distance,
    contact: Arc<Contact>,
    rtt: Rtt,
    state: State,
    /// Requests in a row that led here, with the one to this candidate.
    hops: u8,
    /// What it was asked for.
    within: u64,
    want: u8,
}

/// The nearest first.
#[derive(Debug, Default)]
struct Path(Vec<Candidate>);

/// A walk.
#[derive(Debug)]
pub struct Lookup {
    aim: Aim,
    own: Position,
    paths: Vec<Path>,
    /// Places of all who were asked, by any path.
    asked: BTreeSet<Position>,
    lies: u32,
}

/// Somebody that the walk has found alive.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Who.
    pub contact: Arc<Contact>,
    /// Requests in a row that led there.
    pub hops: u8,
}

impl Lookup {
    /// A walk from this place, by these contacts to begin with.
    #[must_use]
    pub fn new(own: Position, aim: Aim, seeds: &[(Arc<Contact>, Rtt)]) -> Self {
        let count = aim.paths.clamp(1, PATHS_MAX);
        let mut paths: Vec<Path> = Vec::new();
        paths.resize_with(count, Path::default);
        let mut walk = Self { aim, own, paths, asked: BTreeSet::new(), lies: 0 };
        let mut seeds: Vec<_> = seeds.to_vec();
        seeds.sort_by_key(|(contact, _)| contact.position().distance(aim.target));
        seeds.dedup_by_key(|(contact, _)| contact.position());
        // The nearest is dealt to the first path, the next to the second, and so on around.
        for (n, (contact, rtt)) in seeds.into_iter().enumerate() {
            walk.propose(n % count, contact, rtt, 1);
        }
        walk
    }

    /// What it walks for.
    #[must_use]
    pub fn aim(&self) -> &Aim {
        &self.aim
    }

    /// Hosts that were asked so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Hosts that lied so far, as far as that shows.
    #[must_use]
    pub fn lies(&self) -> u32 {
        self.lies
    }

    /// Hosts near the target whose answers each path waits for. Paths share the last stretch: what
    /// one has asked there no other asks.
    fn width(&self) -> usize {
        self.aim.nearest.div_ceil(self.paths.len()).max(self.aim.alpha).max(1)
    }

    fn propose(&mut self, path: usize, contact: Arc<Contact>, rtt: Rtt, hops: u8) {
        let distance = contact.position().distance(self.aim.target);
        if contact.position() == self.own {
            return;
        }
        let Some(Path(all)) = self.paths.get_mut(path) else { return };
        let Err(at) = all.binary_search_by_key(&distance, |it| it.distance) else { return };
        let (state, within, want) = (State::New, 0, 0);
        all.insert(at, Candidate { distance, contact, rtt, state, hops, within, want });
        if all.len() > CANDIDATES_MAX {
            // The farthest that nobody waits for.
            let idle = all.iter().rposition(|it| it.state != State::Asked);
            idle.map(|at| all.remove(at));
        }
    }

    /// The next request to send, if one is due; to be called until there is none.
    pub fn next_query(&mut self) -> Option<Query> {
        if self.asked.len() >= ASKED_MAX {
            return None;
        }
        // The path that waits for the fewest goes first.
        let mut order: Vec<(usize, usize)> =
            self.paths.iter().enumerate().map(|(at, path)| (path.waiting(), at)).collect();
        order.sort_unstable();
        order.into_iter().find_map(
            |(waiting, path)| {
                if waiting < self.aim.alpha { self.next_of(path) } else { None }
            },
        )
    }

    fn next_of(&mut self, path: usize) -> Option<Query> {
        let (width, target) = (self.width(), self.aim.target);
        let Path(all) = self.paths.get_mut(path)?;
        for candidate in all.iter_mut().filter(|it| it.state == State::New) {
            if self.asked.contains(&candidate.contact.position()) {
                candidate.state = State::Out;
            }
        }
        let live = all.iter().enumerate().filter(|(_, it)| it.counts()).take(width);
        let new = live.filter(|(_, it)| it.state == State::New);
        // Of those that are equally near, as far as bits go, the quickest.
        let best = new.min_by_key(|(_, it)| {
            let rtt = it.rtt.span().map_or(TYPICAL_RTT_MICROS, |span| span.0);
            (usize::MAX - it.distance.zeros(), rtt)
        });
        let (at, _) = best?;
        let near = all.iter().filter(|it| it.counts());
        // Half as many again as are wanted, since some of them will turn out to be dead.
        let within = near.clone().nth(self.aim.nearest + self.aim.nearest / 2);
        let within = within.map_or(u64::MAX, |it| it.distance.top());
        let known = near.take(KNOWN_MAX).map(|it| it.contact.position().mark()).collect();
        let want = self.aim.nearest.min(CONTACTS_MAX) as u8;
        let chosen = all.get_mut(at)?;
        chosen.state = State::Asked;
        (chosen.within, chosen.want) = (within, want);
        self.asked.insert(chosen.contact.position());
        let find = Find { target, within, want, known, pointers: self.aim.pointers };
        Some(Query { to: chosen.contact.clone(), find })
    }

    fn find(&self, place: Position) -> Option<(usize, usize)> {
        let distance = place.distance(self.aim.target);
        self.paths.iter().enumerate().find_map(|(path, Path(all))| {
            let at = all.binary_search_by_key(&distance, |it| it.distance).ok()?;
            matches!(all[at].state, State::Asked | State::Late).then_some((path, at))
        })
    }

    /// Somebody who was asked has answered. `judge` says what a certificate is worth; `rtt`, what
    /// is known of a contact.
    pub fn answered(
        &mut self,
        from: Position,
        contacts: &[Arc<Contact>],
        mut judge: impl FnMut(&Contact) -> Verdict,
        rtt: impl Fn(Position) -> Rtt,
    ) -> Heard {
        let Some((path, at)) = self.find(from) else { return Heard::Unasked };
        let Some(Path(all)) = self.paths.get(path) else { return Heard::Unasked };
        let (within, want, hops) = (all[at].within, all[at].want, all[at].hops);
        let target = self.aim.target;
        let mut good = Vec::with_capacity(contacts.len());
        let mut is_lie = contacts.len() > usize::from(want);
        for contact in contacts {
            if is_lie {
                break;
            }
            let distance = contact.position().distance(target);
            if distance.top() > within {
                is_lie = true;
            } else if all.binary_search_by_key(&distance, |it| it.distance).is_err() {
                match judge(contact) {
                    Verdict::Good => good.push(contact.clone()),
                    Verdict::Over => {}
                    Verdict::Forged => is_lie = true,
                }
            }
        }
        if is_lie {
            self.lies += 1;
            self.set(path, at, State::Out);
            return Heard::Lie;
        }
        self.set(path, at, State::Answered);
        for contact in good {
            let rtt = rtt(contact.position());
            self.propose(path, contact, rtt, hops.saturating_add(1));
        }
        Heard::Taken
    }

    /// Somebody who was asked cannot be reached.
    pub fn failed(&mut self, place: Position) {
        if let Some((path, at)) = self.find(place) {
            self.set(path, at, State::Out);
        }
    }

    /// Somebody who was asked is too slow to wait for.
    pub fn late(&mut self, place: Position) {
        if let Some((path, at)) = self.find(place) {
            self.set(path, at, State::Late);
        }
    }

    fn set(&mut self, path: usize, at: usize, state: State) {
        if let Some(candidate) = self.paths.get_mut(path).and_then(|Path(all)| all.get_mut(at)) {
            candidate.state = state;
        }
    }

    /// Whether nobody is waited for; with no further [`Lookup::next_query`], the walk has ended.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.paths.iter().all(|path| path.waiting() == 0)
    }

    /// Those nearest to the target that have answered, the nearest first.
    #[must_use]
    pub fn found(&self) -> Vec<Found> {
        let all = self.paths.iter().flat_map(|Path(all)| all);
        let mut found: Vec<&Candidate> = all.filter(|it| it.state == State::Answered).collect();
        found.sort_unstable_by_key(|it| it.distance);
        found.dedup_by_key(|it| it.distance);
        let nearest = found.into_iter().take(self.aim.nearest);
        nearest.map(|it| Found { contact: it.contact.clone(), hops: it.hops }).collect()
    }

    /// Requests in a row that led to this host.
    #[must_use]
    pub fn hops(&self, place: Position) -> u8 {
        let distance = place.distance(self.aim.target);
        let mut all = self.paths.iter().flat_map(|Path(all)| all);
        all.find(|it| it.distance == distance && it.state == State::Answered)
            .map_or(0, |it| it.hops)
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.asked.len() <= ASKED_MAX, "asks on and on");
        let mut placed = BTreeSet::new();
        for Path(all) in &self.paths {
            assert!(all.is_sorted_by(|a, b| a.distance < b.distance), "out of order or twice");
            for it in all.iter().filter(|it| !matches!(it.state, State::New | State::Out)) {
                assert!(placed.insert(it.contact.position()), "one host on two paths");
                assert!(self.asked.contains(&it.contact.position()), "answers, and was not asked");
            }
            assert!(all.iter().filter(|it| it.state == State::Asked).count() <= self.aim.alpha);
        }
    }
}

/// What is taken for the round trip of somebody who was never measured.
const TYPICAL_RTT_MICROS: u64 = 120_000;

impl Path {
    fn waiting(&self) -> usize {
        self.0.iter().filter(|it| it.state == State::Asked).count()
    }
}

impl Candidate {
    /// Whether it stands for a host near the target that is alive, as far as is known.
    fn counts(&self) -> bool {
        matches!(self.state, State::New | State::Asked | State::Answered)
    }
}

#[cfg(test)]
mod tests;
