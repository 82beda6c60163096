//! The machine that fetches segments: asks for slightly more fragments than are needed, and is not
//! kept waiting by anybody.
//!
//! Of each segment it asks for the first m fragments, which need no decoding; for some more as
//! long as nobody knows how long answers take, and of codes with many; when an answer is late by
//! what was measured, for another one. At the first m it breaks the rest off. Whoever carries a
//! fragment compares it with its name; who served garbage is named and asked no more. Decoding
//! itself is the shell's, on whatever thread it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use isos_base::time::Span;
use isos_base::{Guid, HostId, Machine, Time};

use crate::code::Gather;
use crate::limits::{FLIGHT_SEGMENTS_MAX, SEGMENTS_MAX};
use crate::manifest::Segment;
use crate::pace::Pace;
use crate::put::TransferId;

/// An answer may take so many times what a late one takes before it is broken off.
const PATIENCE_TIMES: u64 = 10;
/// And at least so long.
const PATIENCE_LEAST: Span = Span::secs(10);
/// Holders of one fragment that are kept in mind.
const HOLDERS_MAX: usize = 4;
/// What an answer is thought to take before any was measured.
const PACE_GUESS: Span = Span::millis(500);

/// Strikes of a host that failed: after so many it is asked when nobody else is left.
const FAILED: u32 = 8;
/// Strikes of one that was late, as one answer in twenty is. Each that is in time takes one away.
const LATE: u32 = 4;
/// Of so many fragments one more is asked for at once: who needs many waits for the slowest.
const HEDGED: u16 = 8;

/// How much at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Fragments asked for beyond m at once, as long as nobody knows what is late: each of them is
    /// fetched for nothing, and makes a read decode that would not have to.
    pub hedge: u16,
    /// Segments at a time.
    pub flight: usize,
    /// Questions at a time to one host.
    pub per_host: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Self { hedge: 2, flight: 4, per_host: 4 }
    }
}

/// A segment that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it is, from a manifest that was checked.
    pub segment: Segment,
    /// Who is said to have which fragment.
    pub holders: Vec<(u16, HostId)>,
}

/// Why an answer did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The host could not be reached, or the connection broke.
    Unreachable,
    /// The host says that it does not have it.
    Absent,
    /// The host refused.
    Refused,
    /// It took too long.
    Late,
    /// It was something else.
    Garbage,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Begin.
    Started,
    /// The fragment: whoever carried it has compared its bytes with its name. What fits no name is
    /// [`Fault::Garbage`].
    Arrived {
        /// From [`Effect::Ask`].
        transfer: TransferId,
        /// What it was.
        bytes: Bytes,
    },
    /// None.
    Failed {
        /// From [`Effect::Ask`].
        transfer: TransferId,
        /// Why.
        why: Fault,
    },
    /// Somebody else has a fragment, too.
    Located {
        /// Of which segment, by its place in the list.
        segment: u32,
        /// Which fragment.
        fragment: u16,
        /// Who.
        host: HostId,
    },
    /// [`Machine::deadline`] has come.
    TimerFired,
    /// The caller wants it no more.
    Cancelled,
}

/// What shall be done.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Ask for a fragment and say [`Input::Arrived`] or [`Input::Failed`].
    Ask {
        /// The name of this question.
        transfer: TransferId,
        /// Whom.
        host: HostId,
        /// The fragment.
        name: Guid,
    },
    /// Break a question off.
    Stop {
        /// From [`Effect::Ask`].
        transfer: TransferId,
    },
    /// A host served something that its name does not fit.
    Blame {
        /// Who.
        host: HostId,
        /// Of which segment.
        segment: u32,
        /// Which fragment it should have been.
        fragment: u16,
    },
    /// There is enough of a segment: decode it.
    Decode {
        /// Which, by its place in the list.
        segment: u32,
        /// All that it takes.
        gather: Box<Gather>,
    },
    /// A segment cannot be had now. Others go on.
    Missing {
        /// Which.
        segment: u32,
        /// Fragments that came.
        have: u16,
        /// Fragments that are enough.
        need: u16,
        /// Who failed, and how.
        faults: Vec<(HostId, Fault)>,
    },
    /// All segments were decoded or are missing.
    Finished,
}

#[derive(Debug, Clone)]
struct Flight {
    gather: Gather,
    /// Not asked yet: who has which.
    left: BTreeSet<(u16, HostId)>,
    asked: u16,
    faults: Vec<(HostId, Fault)>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    host: HostId,
    segment: u32,
    fragment: u16,
    at: Time,
    is_late: bool,
}

/// Fetches segments. See the module.
#[derive(Debug, Clone)]
pub struct Get {
    settings: Settings,
    now: Time,
    has_started: bool,
    has_ended: bool,
    waiting: VecDeque<(u32, Wanted)>,
    flights: BTreeMap<u32, Flight>,
    questions: BTreeMap<TransferId, Asked>,
    next_question: u64,
    /// Hosts that served garbage.
    liars: BTreeSet<HostId>,
    past: Past,
}

/// What one get learns for the next: how long answers take, and who is slow.
#[derive(Debug, Clone)]
pub struct Past {
    pace: Pace,
    /// How often hosts were late or failed: such are asked last.
    strikes: BTreeMap<HostId, u32>,
}

impl Default for Past {
    fn default() -> Self {
        Self { pace: Pace::new(PACE_GUESS), strikes: BTreeMap::new() }
    }
}

impl Get {
    /// Fetches these segments, in this order; at most [`SEGMENTS_MAX`] of them.
    #[must_use]
    pub fn new(settings: Settings, past: Past, wanted: Vec<Wanted>) -> Self {
        let waiting = (0..).zip(wanted.into_iter().take(SEGMENTS_MAX)).collect();
        Self {
            settings,
            now: Time::default(),
            has_started: false,
            has_ended: false,
            waiting,
            flights: BTreeMap::new(),
            questions: BTreeMap::new(),
            next_question: 0,
            liars: BTreeSet::new(),
            past,
        }
    }

    /// When an answer counts as late now.
    #[must_use]
    pub const fn late(&self) -> Span {
        self.past.pace.late()
    }

    /// What was learnt, for the next get.
    #[must_use]
    pub fn into_past(self) -> Past {
        self.past
    }

    fn begin(&mut self) {
        let flight_max = self.settings.flight.clamp(1, FLIGHT_SEGMENTS_MAX);
        while self.flights.len() < flight_max {
            let Some((number, wanted)) = self.waiting.pop_front() else { break };
            let Segment { length, code, fragments } = wanted.segment;
            let n = code.n();
            let left = wanted.holders.into_iter().filter(|(fragment, _)| *fragment < n).collect();
            let gather = Gather::new(code, length as usize, fragments);
            let flight = Flight { gather, left, asked: 0, faults: Vec::new() };
            self.flights.insert(number, flight);
        }
    }

    fn take(&mut self, transfer: TransferId, bytes: Bytes) {
        let Some(asked) = self.questions.remove(&transfer) else { return };
        let Asked { host, segment, fragment, at, .. } = asked;
        let flight = self.flights.get_mut(&segment).expect("questions are about open segments");
        flight.asked -= 1;
        if flight.gather.put(fragment, bytes).is_ok() {
            self.past.pace.took(self.now.since(at));
            if let Some(strikes) = self.past.strikes.get_mut(&host) {
                *strikes = strikes.saturating_sub(1);
            }
        } else {
            // What is named so is none of this segment's fragments: whoever made it is to blame.
            flight.faults.push((host, Fault::Garbage));
        }
    }

    fn failed(&mut self, transfer: TransferId, why: Fault, effects: &mut Vec<Effect>) {
        let Some(Asked { host, segment, fragment, .. }) = self.questions.get(&transfer).copied()
        else {
            return;
        };
        self.fail(transfer, why);
        if why == Fault::Garbage {
            effects.push(Effect::Blame { host, segment, fragment });
            if self.liars.insert(host) {
                self.abandon(host, effects);
            }
        }
    }

    /// What else a liar was asked is asked of others.
    fn abandon(&mut self, host: HostId, effects: &mut Vec<Effect>) {
        let of_host = self.questions.iter().filter(|(_, it)| it.host == host);
        let transfers: Vec<TransferId> = of_host.map(|(transfer, _)| *transfer).collect();
        for transfer in transfers {
            effects.push(Effect::Stop { transfer });
            self.fail(transfer, Fault::Garbage);
        }
    }

    fn fail(&mut self, transfer: TransferId, why: Fault) {
        let Some(asked) = self.questions.remove(&transfer) else { return };
        let flight = self.flights.get_mut(&asked.segment);
        let flight = flight.expect("questions are about open segments");
        flight.asked -= 1;
        flight.faults.push((asked.host, why));
        *self.past.strikes.entry(asked.host).or_default() += FAILED;
    }

    fn find_late(&mut self, effects: &mut Vec<Effect>) {
        let late = self.past.pace.late();
        let patience = self.past.pace.patience(PATIENCE_TIMES, PATIENCE_LEAST);
        let mut given_up = Vec::new();
        for (transfer, asked) in &mut self.questions {
            if asked.at + patience <= self.now {
                given_up.push(*transfer);
            } else if !asked.is_late && asked.at + late <= self.now {
                asked.is_late = true;
                *self.past.strikes.entry(asked.host).or_default() += LATE;
            }
        }
        for transfer in given_up {
            effects.push(Effect::Stop { transfer });
            self.fail(transfer, Fault::Late);
        }
    }

    fn locate(&mut self, segment: u32, fragment: u16, host: HostId) {
        if let Some(flight) = self.flights.get_mut(&segment) {
            let n = flight.gather.code().n();
            if fragment < n && flight.left.len() < HOLDERS_MAX * usize::from(n) {
                flight.left.insert((fragment, host));
            }
        } else if let Some((_, wanted)) = self.waiting.iter_mut().find(|it| it.0 == segment)
            && wanted.holders.len() < HOLDERS_MAX * usize::from(wanted.segment.code.n())
        {
            wanted.holders.push((fragment, host));
        }
    }

    /// Asks until as many are there or under way, and not late, as are needed with the hedge.
    fn ask(&mut self, effects: &mut Vec<Effect>) {
        let mut busy: BTreeMap<HostId, u16> = BTreeMap::new();
        self.questions.values().for_each(|it| *busy.entry(it.host).or_default() += 1);
        let is_known = self.past.pace.is_known();
        let Self { settings, flights, past, liars, questions, .. } = self;
        for (&segment, flight) in flights {
            // What is late counts as if it were not: another one is asked in its place.
            let in_time = questions.values().filter(|it| it.segment == segment && !it.is_late);
            let mut under_way: BTreeSet<u16> = in_time.map(|it| it.fragment).collect();
            let Flight { gather, left, .. } = &mut *flight;
            left.retain(|(fragment, host)| !liars.contains(host) && !gather.has(*fragment));
            while under_way.len() < missing(flight, if is_known { 0 } else { settings.hedge }) {
                let strikes_of = |host: &HostId| past.strikes.get(host).map_or(0, |it| it / FAILED);
                let free = flight.left.iter().filter(|(fragment, host)| {
                    !under_way.contains(fragment)
                        && busy.get(host).copied().unwrap_or(0) < settings.per_host
                });
                let best = free.min_by_key(|(fragment, host)| (strikes_of(host), *fragment, *host));
                let Some(&(fragment, host)) = best else { break };
                flight.left.remove(&(fragment, host));
                under_way.insert(fragment);
                *busy.entry(host).or_default() += 1;
                let transfer = TransferId(self.next_question);
                self.next_question += 1;
                let asked = Asked { host, segment, fragment, at: self.now, is_late: false };
                questions.insert(transfer, asked);
                flight.asked += 1;
                let name = flight.gather.name(fragment);
                effects.push(Effect::Ask { transfer, host, name });
            }
        }
    }

    /// Hands over what is complete, gives up what cannot become so.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let numbers: Vec<u32> = self.flights.keys().copied().collect();
        for segment in numbers {
            let flight = &self.flights[&segment];
            let is_enough = flight.gather.is_enough();
            let is_stuck = flight.asked == 0 && flight.left.is_empty();
            if !is_enough && !is_stuck {
                continue;
            }
            let flight = self.flights.remove(&segment).expect("it was found there");
            let of_segment = self.questions.iter().filter(|(_, it)| it.segment == segment);
            let open: Vec<TransferId> = of_segment.map(|(transfer, _)| *transfer).collect();
            for transfer in open {
                self.questions.remove(&transfer);
                effects.push(Effect::Stop { transfer });
            }
            if is_enough {
                effects.push(Effect::Decode { segment, gather: Box::new(flight.gather) });
            } else {
                let (have, need) = (flight.gather.have(), flight.gather.code().m());
                effects.push(Effect::Missing { segment, have, need, faults: flight.faults });
            }
        }
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.has_ended = true;
        self.waiting.clear();
        self.flights.clear();
        let questions = std::mem::take(&mut self.questions);
        effects.extend(questions.into_keys().map(|transfer| Effect::Stop { transfer }));
    }
}

/// How many answers shall be under way.
fn missing(flight: &Flight, hedge: u16) -> usize {
    let (code, have) = (flight.gather.code(), flight.gather.have());
    let hedge = hedge.max(code.m() / HEDGED);
    usize::from(code.m().saturating_add(hedge).min(code.n()).saturating_sub(have))
}

impl Machine for Get {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        if self.has_ended {
            return;
        }
        match input {
            Input::Started => self.has_started = true,
            Input::Arrived { transfer, bytes } => self.take(transfer, bytes),
            Input::Failed { transfer, why } => self.failed(transfer, why, effects),
            Input::Located { segment, fragment, host } => self.locate(segment, fragment, host),
            Input::TimerFired => {}
            Input::Cancelled => return self.stop(effects),
        }
        if !self.has_started {
            return;
        }
        self.find_late(effects);
        // What ends makes room for what waits, until nothing changes.
        loop {
            self.begin();
            self.ask(effects);
            let before = self.flights.len();
            self.settle(effects);
            if self.flights.len() == before || self.waiting.is_empty() {
                break;
            }
        }
        if self.flights.is_empty() && self.waiting.is_empty() {
            self.has_ended = true;
            effects.push(Effect::Finished);
        }
    }

    fn deadline(&self) -> Option<Time> {
        let late = self.past.pace.late();
        let patience = self.past.pace.patience(PATIENCE_TIMES, PATIENCE_LEAST);
        let due = |asked: &Asked| asked.at + if asked.is_late { patience } else { late };
        self.questions.values().map(due).min()
    }

    fn check_invariants(&self) {
        for (number, flight) in &self.flights {
            let asked = self.questions.values().filter(|it| it.segment == *number).count();
            assert_eq!(asked, usize::from(flight.asked));
            assert!(!flight.gather.is_enough(), "what is enough is handed over");
        }
        assert!(self.questions.values().all(|it| self.flights.contains_key(&it.segment)));
        assert!(self.questions.values().all(|it| !self.liars.contains(&it.host)));
        assert!(self.flights.len() <= FLIGHT_SEGMENTS_MAX);
        assert!(!self.has_ended || self.questions.is_empty());
    }
}

#[cfg(test)]
mod tests;
