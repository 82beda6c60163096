//! The years themselves: what happens, told to the machine that ships, and what it says, done.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use isos_base::random::Random;
use isos_base::time::Span;
use isos_base::{Bytes, Guid, HostId, Machine, Time};
use isos_store::repair::{Effect, Input, Kept, Repairer, Settings};
use isos_store::spread::{Candidate, Wish, spread};

use super::pool::{self, Host};
use super::tally::{Outcome, Tally};
use super::truth::{Name, Truth};
use super::{DAY, Disaster, Placing, Policy, Setting};

/// A segment of 4 MiB; only the ratio of what is moved to it matters.
const SEGMENT_BYTES: usize = 4 << 20;
/// A repair takes so long, and a second for each MiB that it moves.
const REPAIR_LEAST: Span = Span::secs(600);
/// Reads that are tried each day.
const READS: u64 = 20;
/// A month, for what strikes once in one.
const MONTH: Span = Span(30 * DAY.0);
/// Leases of what a host kept have ended when it is away for so long.
const LEASES_END: Span = Span(30 * DAY.0);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wakes(u32),
    Sleeps(u32),
    Dies(u32),
    Repaired(u64),
    Struck,
    Day,
}

/// A repair under way.
#[derive(Debug)]
struct Job {
    segment: Guid,
    missing: Vec<u16>,
    /// Whether enough holders were there to read from.
    readable: bool,
}

struct World {
    setting: Setting,
    random: Random,
    now: Time,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    pushed: u64,
    born: u32,
    hosts: BTreeMap<u32, Host>,
    /// Those that can be reached; and where in the list, for the others since when they are away.
    here: Vec<Candidate>,
    at: BTreeMap<u32, Result<usize, Time>>,
    truth: Truth,
    /// How often each segment was stored, and since when it has really been at its threshold.
    segments: Vec<(u32, Option<Time>)>,
    fragment_bytes: u64,
    repairer: Repairer,
    jobs: BTreeMap<u64, Job>,
    tally: Tally,
}

/// Lives through a setting.
#[must_use]
pub fn measure(setting: &Setting) -> Outcome {
    let mut world = World::new(*setting);
    world.begin();
    world.run();
    world.tally.outcome(setting, world.fragment_bytes)
}

/// How patient and fast the machine is under a policy.
fn settings(setting: &Setting, fragment_bytes: u64) -> Settings {
    let ships = Settings::default();
    let scheme = &setting.scheme;
    let moved = isos_store::durability::traffic_a_month(scheme, &setting.hosts_with(DAY));
    let data = f64::from(setting.segments) * f64::from(scheme.code.m()) * fragment_bytes as f64;
    let hours = MONTH.as_secs_f64() / 3_600.0;
    let budget = Bytes((moved * data * setting.budget / hours) as u64 + 1);
    let no_budget = Bytes::gib(1 << 20);
    let at_once = Settings {
        departed_after: ships.unreachable_after,
        departed_most: ships.unreachable_after,
        bytes_an_hour: budget,
        ..ships
    };
    match setting.policy {
        Policy::Shipped => Settings { bytes_an_hour: budget, ..ships },
        Policy::Oracle => at_once,
        // What they would like to move is to be seen.
        Policy::Unlazy => Settings { bytes_an_hour: no_budget, ..ships },
        Policy::Impatient => Settings { bytes_an_hour: no_budget, ..at_once },
        Policy::Eager => Settings { bytes_an_hour: no_budget, surplus: 0, ..at_once },
    }
}

impl World {
    fn new(setting: Setting) -> Self {
        let fragment_bytes = setting.scheme.code.fragment_bytes(SEGMENT_BYTES) as u64;
        Self {
            setting,
            random: Random::new(setting.seed),
            now: Time(DAY.0),
            queue: BinaryHeap::new(),
            pushed: 0,
            born: 0,
            hosts: BTreeMap::new(),
            here: Vec::new(),
            at: BTreeMap::new(),
            truth: Truth::default(),
            segments: vec![(0, None); setting.segments as usize],
            fragment_bytes,
            repairer: Repairer::new(settings(&setting, fragment_bytes)),
            jobs: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    fn begin(&mut self) {
        for place in 0..self.setting.hosts {
            self.birth(place);
        }
        for number in 0..self.setting.segments {
            self.store(number);
        }
        self.push(DAY, Event::Day);
        let first = match self.setting.disaster {
            Disaster::None => return,
            Disaster::Owner | Disaster::Block => MONTH,
            Disaster::System => Span(365 * DAY.0),
        };
        self.push(first, Event::Struck);
    }

    fn run(&mut self) {
        let end = Time(DAY.0 * (1 + 365 * u64::from(self.setting.years)));
        loop {
            let next = self.queue.peek().map_or(end, |Reverse((at, ..))| *at).min(end);
            if let Some(at) = self.repairer.deadline().filter(|at| *at < next) {
                self.now = self.now.max(at);
                self.tell(Input::TimerFired);
                continue;
            }
            if next >= end {
                break;
            }
            let Some(Reverse((at, _, event))) = self.queue.pop() else { break };
            self.now = at;
            self.happen(event);
        }
        self.repairer.check_invariants();
    }

    fn push(&mut self, after: Span, event: Event) {
        self.pushed += 1;
        self.queue.push(Reverse((self.now + after, self.pushed, event)));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wakes(n) => self.wakes(n),
            Event::Sleeps(n) => self.sleeps(n),
            Event::Dies(n) => {
                let dead = self.dies(n);
                self.bury(dead);
            }
            Event::Repaired(job) => self.repaired(job),
            Event::Struck => {
                let disaster = self.setting.disaster;
                let is_struck = pool::struck(disaster, &self.setting, &mut self.random);
                let struck = self.hosts.iter().filter(|(_, host)| is_struck(host));
                let struck: Vec<u32> = struck.map(|(n, _)| *n).collect();
                // All at once: nothing is repaired in between.
                let dead: Vec<Dead> = struck.into_iter().flat_map(|n| self.dies(n)).collect();
                self.bury(dead);
                let again = if disaster == Disaster::System { 730 * DAY.0 } else { MONTH.0 };
                self.push(Span(again), Event::Struck);
            }
            Event::Day => {
                self.read();
                self.push(DAY, Event::Day);
            }
        }
    }

    fn is_here(&self, n: u32) -> bool {
        self.at.get(&n).is_some_and(Result::is_ok)
    }

    /// A new host in a place of the pool.
    fn birth(&mut self, place: u32) {
        let n = self.born;
        self.born += 1;
        let host = Host::new(n, place, &self.setting, &mut self.random);
        let life = pool::lifetime(&self.setting, &mut self.random);
        self.push(life, Event::Dies(n));
        // Who comes is there; who was there before the beginning may be asleep.
        let is_here = self.now > Time(DAY.0) || host.begins_here(&mut self.random);
        self.at.insert(n, Err(self.now));
        let id = host.candidate.host;
        self.hosts.insert(n, host);
        let lifetime = self.setting.lifetime;
        self.tell(Input::HostCame { host: id, lifetime });
        if is_here {
            self.wakes(n);
        } else {
            self.sleeps(n);
        }
    }

    fn wakes(&mut self, n: u32) {
        let Some(host) = self.hosts.get(&n) else { return };
        let (id, stays) = (host.candidate.host, host.stays(&mut self.random));
        let Some(Err(since)) = self.at.get(&n).copied() else { return };
        self.at.insert(n, Ok(self.here.len()));
        self.here.push(host.candidate.clone());
        self.push(stays, Event::Sleeps(n));
        if self.setting.policy == Policy::Oracle {
            return;
        }
        if self.now.since(since) > LEASES_END {
            let segments = self.truth.remove_host(n);
            self.weigh(segments);
        }
        let lifetime = self.setting.lifetime;
        self.tell(Input::HostCame { host: id, lifetime });
    }

    fn sleeps(&mut self, n: u32) {
        let Some(host) = self.hosts.get(&n) else { return };
        let (id, away) = (host.candidate.host, host.is_away(&mut self.random));
        self.leave(n);
        self.push(away, Event::Wakes(n));
        if self.setting.policy != Policy::Oracle {
            self.tell(Input::HostWent { host: id });
        }
    }

    /// It cannot be reached any more.
    fn leave(&mut self, n: u32) {
        let Some(Ok(at)) = self.at.insert(n, Err(self.now)) else { return };
        self.here.swap_remove(at);
        if let Some(moved) = self.here.get(at) {
            self.at.insert(pool::number(&moved.host), Ok(at));
        }
    }

    /// It is gone, with all that it had.
    fn dies(&mut self, n: u32) -> Option<Dead> {
        let host = self.hosts.remove(&n)?;
        self.leave(n);
        self.at.remove(&n);
        let segments = self.truth.remove_host(n);
        Some(Dead { host: host.candidate.host, place: host.place, segments })
    }

    /// What follows from hosts that are gone: losses, new hosts, and what the machine hears.
    fn bury(&mut self, dead: impl IntoIterator<Item = Dead>) {
        let mut segments = BTreeSet::new();
        for Dead { host, place, segments: of_host } in dead {
            segments.extend(of_host);
            // Somebody who was asleep is away already, for the machine.
            self.tell(Input::HostWent { host });
            self.birth(place);
        }
        self.weigh(segments);
    }

    /// Counts what these segments really have.
    fn weigh(&mut self, segments: impl IntoIterator<Item = u32>) {
        let scheme = self.setting.scheme;
        for number in segments {
            let left = self.truth.different(number, |_| true);
            let (stored, since) = &mut self.segments[number as usize];
            if left < scheme.code.m() {
                self.tally.lost += 1;
                let segment = Name { number, stored: *stored }.guid();
                *stored += 1;
                *since = None;
                self.truth.remove_segment(number);
                self.tell(Input::SegmentDropped { segment });
                self.store(number);
            } else if left <= scheme.repair_at {
                since.get_or_insert(self.now);
            } else {
                *since = None;
            }
        }
    }

    /// Stores a segment, for the first time or anew.
    fn store(&mut self, number: u32) {
        let scheme = self.setting.scheme;
        let all: Vec<u16> = (0..scheme.code.n()).collect();
        let holders = self.place(number, &all);
        let name = Name { number, stored: self.segments[number as usize].0 };
        let repair_at = match self.setting.policy {
            Policy::Unlazy | Policy::Eager => scheme.code.n(),
            Policy::Shipped | Policy::Impatient | Policy::Oracle => scheme.repair_at,
        };
        let fragment_bytes = self.fragment_bytes as u32;
        let (segment, code) = (name.guid(), scheme.code);
        let kept = Kept { segment, code, repair_at, fragment_bytes, holders };
        self.tell(Input::SegmentKept(Box::new(kept)));
    }

    /// Puts fragments of a segment on hosts that can be reached and have none of it.
    fn place(&mut self, number: u32, fragments: &[u16]) -> Vec<(u16, HostId)> {
        let holders: Vec<(u16, u32)> = self.truth.holders(number).collect();
        let held: BTreeSet<u32> = holders.iter().map(|(_, host)| *host).collect();
        let free = self.here.iter().filter(|it| !held.contains(&pool::number(&it.host))).count();
        let count = fragments.len().min(free);
        let chosen = match self.setting.placing {
            Placing::Spread => {
                let with: Vec<Candidate> = held
                    .iter()
                    .filter_map(|n| self.hosts.get(n).map(|host| host.candidate.clone()))
                    .collect();
                let wish = Wish {
                    count: count as u16,
                    n: self.setting.scheme.code.n(),
                    bytes: Bytes(self.fragment_bytes),
                    stable: 0,
                    seed: self.random.next_u64(),
                };
                spread(&wish, &with, &self.here).expect("they were counted").hosts
            }
            Placing::Chance => {
                let mut free: Vec<HostId> = self.here.iter().map(|it| it.host).collect();
                free.retain(|host| !held.contains(&pool::number(host)));
                for at in 0..count {
                    let other = at + self.random.below((free.len() - at) as u64) as usize;
                    free.swap(at, other);
                }
                free.truncate(count);
                free
            }
        };
        let placed: Vec<(u16, HostId)> = fragments.iter().copied().zip(chosen).collect();
        for (fragment, host) in &placed {
            self.truth.add(number, *fragment, pool::number(host));
        }
        placed
    }

    /// Tells the machine something, and does what it says.
    fn tell(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.repairer.step(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Repair { segment, sources, missing } => {
                    let sources = sources.iter().filter(|(_, it)| self.is_here(pool::number(it)));
                    let sources: BTreeSet<u16> = sources.map(|(fragment, _)| *fragment).collect();
                    let m = self.setting.scheme.code.m();
                    let readable = sources.len() >= usize::from(m);
                    let bytes = (u64::from(m) + missing.len() as u64) * self.fragment_bytes;
                    let job = Job { segment, missing, readable };
                    self.jobs.insert(self.pushed + 1, job);
                    let takes = REPAIR_LEAST + Span::secs(bytes >> 20);
                    self.push(takes, Event::Repaired(self.pushed + 1));
                }
                Effect::Release { segment, fragment, host } => {
                    self.truth.remove(Name::of(&segment).number, fragment, pool::number(&host));
                }
                Effect::Depart { host, .. } => {
                    self.tally.departed += 1;
                    let lives = self.hosts.contains_key(&pool::number(&host));
                    self.tally.wrongly += u64::from(lives);
                }
                Effect::Avoid { .. } | Effect::Welcome { .. } | Effect::Lost { .. } => {}
                Effect::Refuse { segment } => panic!("{segment} is not watched over"),
            }
        }
    }

    fn repaired(&mut self, job: u64) {
        let Job { segment, missing, readable } = self.jobs.remove(&job).expect("each ends once");
        let name = Name::of(&segment);
        let (stored, since) = self.segments[name.number as usize];
        // It may have been lost, and stored anew under another name.
        if stored != name.stored {
            return;
        }
        if !readable {
            self.tally.failed += 1;
            let moved = Bytes::ZERO;
            self.tell(Input::RepairEnded { segment, stored: Vec::new(), moved });
            return;
        }
        let stored = self.place(name.number, &missing);
        let m = u64::from(self.setting.scheme.code.m());
        let moved = (m + stored.len() as u64) * self.fragment_bytes;
        self.tally.moved += moved;
        self.tally.repairs += 1;
        self.tally.late += since.map_or(0.0, |since| self.now.since(since).0 as f64);
        self.tell(Input::RepairEnded { segment, stored, moved: Bytes(moved) });
        self.weigh([name.number]);
    }

    /// Somebody reads some segments.
    fn read(&mut self) {
        let m = self.setting.scheme.code.m();
        for _ in 0..READS {
            let number = self.random.below(self.setting.segments.into()) as u32;
            let there = self.truth.different(number, |host| self.is_here(host));
            self.tally.reads += 1;
            self.tally.unreadable += u64::from(there < m);
        }
    }
}

/// A host that is gone.
struct Dead {
    host: HostId,
    place: u32,
    segments: BTreeSet<u32>,
}
