//! What is announced and searched for, and whether what was found is true.

use isos_route::machine::{Outcome as Ended, SearchId};
use isos_route::{Pointer, Position};

use super::*;

/// A router that is younger has no part in searches, as asker or as the right answer.
const GROWN: Span = Span::secs(30);

#[derive(Debug)]
struct Search {
    begun: Time,
    target: Position,
    /// Whether a holder is wanted, and when one was found.
    wants: bool,
    first: Option<Time>,
}

/// Searches under way.
#[derive(Debug, Default)]
pub(super) struct Searches {
    under_way: BTreeMap<SearchId, Search>,
}

impl World {
    /// The holders announce what they hold.
    pub(super) fn announce(&mut self) {
        let all = self.hosts.iter().flatten();
        let clients: Vec<u32> = all
            .filter(|host| !host.is_router)
            .filter_map(|host| self.by_key.get(&host.machine.own().host()).copied())
            .collect();
        for (at, &n) in clients.iter().enumerate() {
            let mine = (0..self.setting.guids).filter(|guid| *guid as usize % clients.len() == at);
            let guids = mine.map(Self::guid).collect();
            self.input(n, Input::Holding { guids });
        }
    }

    pub(super) fn announced(&mut self, copies: &[(Guid, u8)]) {
        self.tally.announced += copies.len() as u32;
        self.tally.copies += copies.iter().map(|(_, copies)| u64::from(*copies)).sum::<u64>();
    }

    pub(super) fn search_over(&mut self, span: Span) {
        for _ in 0..self.setting.searches {
            let at = self.now + Span(self.random.below(span.0));
            self.push(at, Event::Search);
        }
    }

    fn is_grown(&self, n: u32, then: Time) -> bool {
        self.host(n).is_some_and(|host| then.since(host.born) >= GROWN)
    }

    /// A router searches for something.
    pub(super) fn search(&mut self) {
        let (now, count) = (self.now, self.living.len() as u64);
        let asker = (0..100).find_map(|_| {
            let n = self.living.get(self.random.below(count) as usize).copied()?;
            let host = self.host(n)?;
            (!host.is_bad && self.is_grown(n, now)).then_some(n)
        });
        let Some(asker) = asker else { return };
        self.last += 1;
        let search = SearchId(self.last);
        let wants = self.setting.guids > 0 && self.random.one_in(2);
        let (target, input) = if wants {
            let guid = Self::guid(self.random.below(u64::from(self.setting.guids)) as u32);
            (Position::from(guid), Input::Wanted { search, guid, holders: 1 })
        } else {
            let target = Position::anywhere(&mut self.random);
            (target, Input::Sought { search, target })
        };
        let begun = Search { begun: now, target, wants, first: None };
        self.searches.under_way.insert(search, begun);
        if wants {
            self.tally.wanted += 1;
        } else {
            self.tally.sought += 1;
        }
        self.input(asker, input);
    }

    pub(super) fn found(&mut self, search: SearchId, pointers: &[Pointer]) {
        let (now, hosts) = (self.now, &self.by_key);
        if let Some(search) = self.searches.under_way.get_mut(&search)
            && pointers.iter().any(|it| hosts.contains_key(&it.holder.host()))
        {
            search.first.get_or_insert(now);
        }
    }

    /// A search is over. Those whose asker dies never are; they count as not found.
    pub(super) fn ended(&mut self, search: SearchId, ended: &Ended) {
        let Some(search) = self.searches.under_way.remove(&search) else { return };
        self.tally.asked += u64::from(ended.asked);
        self.tally.lies += u64::from(ended.lies);
        let is_right = if search.wants {
            self.tally.found += u32::from(search.first.is_some());
            search.first.is_some()
        } else {
            let is_right = self.is_nearest(&search, ended);
            self.tally.right += u32::from(is_right);
            is_right
        };
        if is_right {
            let until = search.first.unwrap_or(self.now);
            self.tally.took.push(until.since(search.begun));
            self.tally.hops.push(ended.hops);
        }
    }

    /// Whether the nearest of the honest that have lived all the time is among the first found,
    /// with nobody before it but bad ones and those who are new.
    fn is_nearest(&self, search: &Search, ended: &Ended) -> bool {
        let counts = |n: u32| {
            self.is_grown(n, search.begun) && self.host(n).is_some_and(|host| !host.is_bad)
        };
        let right = (0..=64).rev().find_map(|shared| {
            let cell = self.places.range(search.target.cell(shared));
            let grown = cell.filter(|(_, n)| counts(**n));
            grown.min_by_key(|(place, _)| place.distance(search.target)).map(|(place, _)| *place)
        });
        right.is_none_or(|right| ended.nearest.iter().any(|it| it.position() == right))
    }
}
