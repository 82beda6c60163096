//! The machine that keeps objects whole: it hears which hosts come and go, and says which segments
//! to repair, when.
//!
//! *Two clocks a host.* After minutes away it is unreachable: not read from, not placed on. After a
//! day, or twice as long as it has ever stayed away, it has departed, and only then do its
//! fragments count as lost: most hosts come back, and repair that waits moves up to thirty times
//! fewer bytes (Blake and Rodrigues). *Lazy.* A segment waits until its threshold, then all missing
//! fragments are made at once (Total Recall). *Re-integration.* A host that returns is counted
//! again with all that it kept (Carbonite); copies beyond a cap are given back. *Order.* The least
//! margin over m, divided by the rate at which its holders are expected to go. *Budget.* Bytes an
//! hour, as a bucket.
//!
//! Repair itself (read m, rebuild, place, send) is done on ciphertext, by whoever runs this
//! machine: [`crate::code::Gather::rebuild`], [`crate::spread`], [`crate::put`].

mod host;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use isos_base::time::Span;
use isos_base::{Bytes, Guid, HostId, Machine, Time};

use crate::code::Code;
use crate::limits::{REPAIRS_MAX, WATCHED_MAX};
use host::{Host, Presence};

pub use told::{Effect, Input, Kept, Settings};

/// A repair that cannot be done now is tried again after so long, or when a holder comes.
const PARKED: Span = Span::secs(600);
/// A departed host is forgotten after so long: the leases of what it kept have ended.
const FORGOTTEN: Span = Span::secs(30 * 86_400);

/// Where a segment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Enough fragments, or too few for anything.
    Idle,
    /// In the queue, at this place.
    Queued(Urgency),
    /// Not possible before this time.
    Parked(Time),
    /// Under way, reckoned with so many bytes.
    Repairing(u64),
}

/// Microseconds until it would be lost if nobody did anything, roughly; then bytes.
type Urgency = (u64, u64);

#[derive(Debug, Clone)]
struct Watched {
    code: Code,
    repair_at: u16,
    fragment_bytes: u32,
    /// Sorted; hosts that have departed and are not forgotten among them.
    holders: BTreeSet<(u16, HostId)>,
    /// Different fragments on hosts that have not departed.
    registered: u16,
    turn: Turn,
}

/// Keeps segments whole. See the module.
#[derive(Debug, Clone)]
pub struct Repairer {
    settings: Settings,
    now: Time,
    segments: BTreeMap<Guid, Watched>,
    hosts: BTreeMap<HostId, Host>,
    /// Segments with a fragment on a host.
    on_host: BTreeSet<(HostId, Guid)>,
    queue: BTreeSet<(Urgency, Guid)>,
    parked: BTreeSet<(Time, Guid)>,
    repairing: usize,
    /// When the presence of a host changes by time alone.
    clocks: BTreeSet<(Time, HostId)>,
    /// Bytes that may be moved now; below zero after more were moved than reckoned.
    bucket: i128,
    filled: Time,
}

impl Repairer {
    /// Watches over nothing yet; the bucket is full.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Time::default(),
            segments: BTreeMap::new(),
            hosts: BTreeMap::new(),
            on_host: BTreeSet::new(),
            queue: BTreeSet::new(),
            parked: BTreeSet::new(),
            repairing: 0,
            clocks: BTreeSet::new(),
            bucket: i128::from(settings.bytes_an_hour.0),
            filled: Time::default(),
        }
    }

    /// Different fragments of a segment that are registered: on hosts that have not departed.
    #[must_use]
    pub fn registered(&self, segment: &Guid) -> Option<u16> {
        self.segments.get(segment).map(|watched| watched.registered)
    }

    /// Segments that wait for their repair.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.parked.len()
    }

    fn keep(&mut self, kept: Kept, effects: &mut Vec<Effect>) {
        let Kept { segment, code, repair_at, fragment_bytes, holders } = kept;
        if self.segments.len() >= WATCHED_MAX && !self.segments.contains_key(&segment) {
            effects.push(Effect::Refuse { segment });
            return;
        }
        self.drop_segment(&segment);
        let repair_at = repair_at.clamp(code.m(), code.n());
        let holders: BTreeSet<(u16, HostId)> =
            holders.into_iter().filter(|(fragment, _)| *fragment < code.n()).collect();
        for (_, host) in &holders {
            self.meet(*host);
            self.on_host.insert((*host, segment));
        }
        let (registered, turn) = (0, Turn::Idle);
        let watched = Watched { code, repair_at, fragment_bytes, holders, registered, turn };
        self.segments.insert(segment, watched);
        self.weigh(segment, effects);
    }

    fn drop_segment(&mut self, segment: &Guid) {
        self.unqueue(segment);
        if let Some(watched) = self.segments.remove(segment) {
            self.repairing -= usize::from(matches!(watched.turn, Turn::Repairing(_)));
            for (_, host) in watched.holders {
                self.on_host.remove(&(host, *segment));
            }
        }
    }

    /// A host that is only known as a holder counts as one that has just gone.
    fn meet(&mut self, host: HostId) {
        if !self.hosts.contains_key(&host) {
            self.hosts.insert(host, Host::unknown(self.now));
            self.wind(host);
        }
    }

    /// Sets the clock of a host for the next change of its presence.
    fn wind(&mut self, host: HostId) {
        let it = &self.hosts[&host];
        if let Some(at) = it.next_change(&self.settings, FORGOTTEN) {
            self.clocks.insert((at, host));
        }
    }

    fn stop_clock(&mut self, host: HostId) {
        let at = self.hosts.get(&host).and_then(|it| it.next_change(&self.settings, FORGOTTEN));
        if let Some(at) = at {
            self.clocks.remove(&(at, host));
        }
    }

    fn come(&mut self, host: HostId, lifetime: Span, effects: &mut Vec<Effect>) {
        self.stop_clock(host);
        let now = self.now;
        let it = self.hosts.entry(host).or_insert_with(|| Host::unknown(now));
        it.lifetime = lifetime;
        let was = it.come(now);
        if matches!(was, Presence::Departed(_)) {
            let segments = self.segments_on(host);
            effects.push(Effect::Welcome { host, fragments: segments.len() });
            for segment in segments {
                self.weigh(segment, effects);
                self.release(segment, host, effects);
            }
        } else if !self.parked.is_empty() {
            // Somebody to read from: what could not be repaired may be possible now.
            for segment in self.segments_on(host) {
                if matches!(self.segments[&segment].turn, Turn::Parked(_)) {
                    self.weigh(segment, effects);
                }
            }
        }
    }

    fn go(&mut self, host: HostId) {
        self.stop_clock(host);
        let now = self.now;
        if let Some(it) = self.hosts.get_mut(&host) {
            it.go(now);
            self.wind(host);
        }
    }

    fn turn_clocks(&mut self, effects: &mut Vec<Effect>) {
        while let Some(&(at, host)) = self.clocks.first()
            && at <= self.now
        {
            self.clocks.pop_first();
            let it = self.hosts.get_mut(&host).expect("clocks are of hosts that are known");
            match it.advance() {
                Presence::Unreachable(_) => effects.push(Effect::Avoid { host }),
                Presence::Departed(_) => {
                    let segments = self.segments_on(host);
                    effects.push(Effect::Depart { host, fragments: segments.len() });
                    segments.into_iter().for_each(|segment| self.weigh(segment, effects));
                }
                Presence::Forgotten => {
                    for segment in self.segments_on(host) {
                        let watched = self.segments.get_mut(&segment).expect("it is listed");
                        watched.holders.retain(|(_, holder)| *holder != host);
                        self.on_host.remove(&(host, segment));
                    }
                    self.hosts.remove(&host);
                    continue;
                }
                Presence::Here | Presence::Away(_) => {}
            }
            self.wind(host);
        }
    }

    fn segments_on(&self, host: HostId) -> Vec<Guid> {
        let all = (host, Guid([0; 32]))..=(host, Guid([0xff; 32]));
        self.on_host.range(all).map(|(_, segment)| *segment).collect()
    }

    fn has_departed(&self, host: &HostId) -> bool {
        self.hosts.get(host).is_none_or(|it| matches!(it.presence, Presence::Departed(_)))
    }

    /// Counts the fragments of a segment anew and puts it where it belongs.
    fn weigh(&mut self, segment: Guid, effects: &mut Vec<Effect>) {
        let Some(watched) = self.segments.get(&segment) else { return };
        let here = watched.holders.iter().filter(|(_, host)| !self.has_departed(host));
        let here: Vec<(u16, HostId)> = here.copied().collect();
        let fragments: BTreeSet<u16> = here.iter().map(|(fragment, _)| *fragment).collect();
        let registered = fragments.len() as u16;
        let rate: f64 = here.iter().map(|(_, host)| self.hosts[host].rate()).sum();
        let (m, before) = (watched.code.m(), watched.registered);
        let margin = f64::from(registered.saturating_sub(m));
        // A cast of a float saturates, which is what is wanted.
        let span = (margin / rate.max(f64::MIN_POSITIVE)) as u64;
        let is_wanted = registered <= watched.repair_at && registered < watched.code.n();
        let is_repairing = matches!(watched.turn, Turn::Repairing(_));
        self.unqueue(&segment);
        let watched = self.segments.get_mut(&segment).expect("it was found above");
        watched.registered = registered;
        if registered < m && before >= m {
            effects.push(Effect::Lost { segment, registered });
        }
        if is_wanted && registered >= m && !is_repairing {
            let urgency = (span, watched.cost());
            watched.turn = Turn::Queued(urgency);
            self.queue.insert((urgency, segment));
        }
    }

    fn unqueue(&mut self, segment: &Guid) {
        let Some(watched) = self.segments.get_mut(segment) else { return };
        match watched.turn {
            Turn::Queued(urgency) => drop(self.queue.remove(&(urgency, *segment))),
            Turn::Parked(until) => drop(self.parked.remove(&(until, *segment))),
            Turn::Idle | Turn::Repairing(_) => return,
        }
        watched.turn = Turn::Idle;
    }

    /// Copies beyond what is kept go from the host that came back last.
    fn release(&mut self, segment: Guid, host: HostId, effects: &mut Vec<Effect>) {
        let watched = &self.segments[&segment];
        let here = watched.holders.iter().filter(|(_, it)| !self.has_departed(it));
        let here: Vec<(u16, HostId)> = here.copied().collect();
        let most = usize::from(watched.code.n()) + usize::from(self.settings.surplus);
        let doubled = here.iter().find(|(fragment, it)| {
            let others = here.iter().filter(|other| other.0 == *fragment && other.1 != host);
            *it == host && others.count() > 0
        });
        if let Some(&(fragment, _)) = doubled.filter(|_| here.len() > most) {
            effects.push(Effect::Release { segment, fragment, host });
            self.forget(segment, fragment, host);
        }
    }

    fn forget(&mut self, segment: Guid, fragment: u16, host: HostId) {
        let Some(watched) = self.segments.get_mut(&segment) else { return };
        watched.holders.remove(&(fragment, host));
        if watched.holders.iter().all(|(_, holder)| *holder != host) {
            self.on_host.remove(&(host, segment));
        }
    }

    fn end(
        &mut self,
        segment: Guid,
        stored: Vec<(u16, HostId)>,
        moved: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        let Some(watched) = self.segments.get_mut(&segment) else { return };
        let Turn::Repairing(reckoned) = watched.turn else { return };
        let left = self.bucket + i128::from(reckoned) - i128::from(moved.0);
        self.bucket = left.min(i128::from(self.settings.bytes_an_hour.0));
        self.repairing -= 1;
        watched.turn = Turn::Idle;
        let n = watched.code.n();
        for (fragment, host) in stored.into_iter().filter(|(fragment, _)| *fragment < n) {
            self.meet(host);
            self.on_host.insert((host, segment));
            let watched = self.segments.get_mut(&segment).expect("it was found above");
            watched.holders.insert((fragment, host));
        }
        self.weigh(segment, effects);
        // One that is still wanted has failed: others first.
        if let Turn::Queued(_) = self.segments[&segment].turn {
            self.park(segment);
        }
    }

    fn park(&mut self, segment: Guid) {
        self.unqueue(&segment);
        let until = self.now + PARKED;
        self.segments.get_mut(&segment).expect("only what is watched is parked").turn =
            Turn::Parked(until);
        self.parked.insert((until, segment));
    }

    fn fill(&mut self) {
        let most = i128::from(self.settings.bytes_an_hour.0);
        let passed = i128::from(self.now.since(self.filled).0);
        let more = most * passed / i128::from(Span::secs(3_600).0);
        // What is less than a byte is not lost: the time is kept until it is one.
        if more > 0 {
            self.bucket = (self.bucket + more).min(most);
            self.filled = self.now;
        }
    }

    fn begin(&mut self, effects: &mut Vec<Effect>) {
        while let Some(&(until, segment)) = self.parked.first()
            && until <= self.now
        {
            self.weigh(segment, effects);
        }
        let repairs_max = self.settings.repairs.min(REPAIRS_MAX);
        while self.repairing < repairs_max
            && let Some(&(_, segment)) = self.queue.first()
        {
            let cost = self.segments[&segment].cost();
            if !self.can_pay(cost) {
                break;
            }
            let (sources, missing) = self.plan(&self.segments[&segment]);
            let different: BTreeSet<u16> = sources.iter().map(|(fragment, _)| *fragment).collect();
            if different.len() < usize::from(self.segments[&segment].code.m()) {
                self.park(segment);
                continue;
            }
            self.unqueue(&segment);
            self.segments.get_mut(&segment).expect("it was queued").turn = Turn::Repairing(cost);
            self.repairing += 1;
            self.bucket -= i128::from(cost);
            effects.push(Effect::Repair { segment, sources, missing });
        }
    }

    /// A repair that costs more than an hour's bytes waits for a full bucket.
    fn can_pay(&self, cost: u64) -> bool {
        let most = self.settings.bytes_an_hour.0;
        most > 0 && self.bucket >= i128::from(cost.min(most))
    }

    /// From whom to read, and what is missing.
    fn plan(&self, watched: &Watched) -> (Vec<(u16, HostId)>, Vec<u16>) {
        let is_here = |host: &HostId| {
            self.hosts.get(host).is_some_and(|it| matches!(it.presence, Presence::Here))
        };
        let sources = watched.holders.iter().filter(|(_, host)| is_here(host)).copied().collect();
        let counted = watched.holders.iter().filter(|(_, host)| !self.has_departed(host));
        let there: BTreeSet<u16> = counted.map(|(fragment, _)| *fragment).collect();
        let missing = (0..watched.code.n()).filter(|index| !there.contains(index)).collect();
        (sources, missing)
    }
}

impl Watched {
    /// Bytes that a repair moves: m are read, what is missing is written.
    fn cost(&self) -> u64 {
        let missing = self.code.n() - self.registered.min(self.code.n());
        u64::from(self.fragment_bytes) * (u64::from(self.code.m()) + u64::from(missing))
    }
}

impl Machine for Repairer {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        if self.now == Time::default() {
            self.filled = now;
        }
        self.now = self.now.max(now);
        self.fill();
        self.turn_clocks(effects);
        match input {
            Input::SegmentKept(kept) => self.keep(*kept, effects),
            Input::SegmentDropped { segment } => self.drop_segment(&segment),
            Input::HostCame { host, lifetime } => self.come(host, lifetime, effects),
            Input::HostWent { host } => self.go(host),
            Input::FragmentLost { segment, fragment, host } => {
                self.forget(segment, fragment, host);
                self.weigh(segment, effects);
            }
            Input::RepairEnded { segment, stored, moved } => {
                self.end(segment, stored, moved, effects);
            }
            Input::TimerFired => {}
        }
        self.begin(effects);
    }

    fn deadline(&self) -> Option<Time> {
        let clock = self.clocks.first().map(|(at, _)| *at);
        let parked = self.parked.first().map(|(at, _)| *at);
        let has_room = self.repairing < self.settings.repairs.min(REPAIRS_MAX);
        let first = self.queue.first().filter(|_| has_room);
        let paid = first.and_then(|(_, segment)| {
            let cost = self.segments[segment].cost().min(self.settings.bytes_an_hour.0);
            let lacking = u128::try_from(i128::from(cost) - self.bucket).unwrap_or(0);
            let hour = u128::from(Span::secs(3_600).0);
            let wait = lacking
                .saturating_mul(hour)
                .checked_div(u128::from(self.settings.bytes_an_hour.0))?;
            Some(self.filled + Span(u64::try_from(wait + 1).unwrap_or(u64::MAX)))
        });
        [clock, parked, paid].into_iter().flatten().min()
    }

    fn check_invariants(&self) {
        let mut repairing = 0;
        for (segment, watched) in &self.segments {
            let here = watched.holders.iter().filter(|(_, host)| !self.has_departed(host));
            let fragments: BTreeSet<u16> = here.map(|(fragment, _)| *fragment).collect();
            assert_eq!(fragments.len(), usize::from(watched.registered));
            for (_, host) in &watched.holders {
                assert!(self.on_host.contains(&(*host, *segment)));
                assert!(self.hosts.contains_key(host));
            }
            match watched.turn {
                Turn::Queued(urgency) => assert!(self.queue.contains(&(urgency, *segment))),
                Turn::Parked(until) => assert!(self.parked.contains(&(until, *segment))),
                Turn::Repairing(_) => repairing += 1,
                Turn::Idle => assert!(
                    watched.registered < watched.code.m()
                        || watched.registered > watched.repair_at
                        || watched.registered == watched.code.n(),
                    "what needs repair waits for it"
                ),
            }
        }
        assert_eq!(repairing, self.repairing);
        assert!(self.repairing <= self.settings.repairs.min(REPAIRS_MAX));
        let all = self.segments.len();
        assert!(self.queue.len() + self.parked.len() <= all && all <= WATCHED_MAX);
        assert!(self.clocks.len() <= self.hosts.len());
        assert!(self.bucket <= i128::from(self.settings.bytes_an_hour.0));
    }
}

#[cfg(test)]
mod tests;
