//! The machine that stores an object: fragments out to their hosts through a bounded window,
//! receipts back.
//!
//! A put is committed when enough fragments of each segment are stored to be safe, not when the
//! slowest host has answered (Storj: m <= o <= n); the others follow while the caller goes on. A
//! host that refuses, is late or signs nonsense is replaced by a spare. Fragment f of segment s
//! goes to place f + s, so that every host gets as many of those that reads prefer. The bytes stay
//! with the shell: the machine says which may be freed, and when to code the next segment.

use std::collections::{BTreeMap, VecDeque};

use isos_base::fragment::SignedReceipt;
use isos_base::time::Span;
use isos_base::{Guid, HostId, Machine, Time};
use thiserror::Error;

use crate::class::Plan;
use crate::limits::{FLIGHT_SEGMENTS_MAX, SEGMENTS_MAX};
use crate::pace::Pace;

/// A host may say so often that it is busy before it is replaced.
const BUSY_MAX: u8 = 3;
/// A transfer may take so many times what a late one takes, before its host is replaced.
const PATIENCE_TIMES: u64 = 4;
/// And at least so long: a host that wakes its disk is no failure.
const PATIENCE_LEAST: Span = Span::secs(5);
/// What a fragment is thought to take before any was measured.
const PACE_GUESS: Span = Span::secs(2);

/// One transfer of a fragment. Never used twice by one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// How much at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Fragments of each segment.
    pub n: u16,
    /// A segment is committed with so many; between m and n.
    pub commit_at: u16,
    /// Segments that are not committed yet; each takes memory for all its fragments.
    pub flight: usize,
    /// Segments that are committed and have fragments under way still.
    pub background: usize,
    /// Transfers at a time.
    pub window: usize,
    /// Transfers at a time to one host.
    pub per_host: u16,
}

impl Settings {
    /// For objects that are kept as planned.
    #[must_use]
    pub const fn new(plan: &Plan) -> Self {
        let (n, commit_at) = (plan.scheme.code.n(), plan.commit_at);
        Self { n, commit_at, flight: 3, background: 2, window: 256, per_host: 2 }
    }
}

/// The hosts or numbers do not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StartError {
    /// Not a host for each fragment.
    #[error("{hosts} hosts for {n} fragments: one for each is needed")]
    Hosts {
        /// Given.
        hosts: usize,
        /// Needed.
        n: u16,
    },
    /// A host twice.
    #[error("host {} was given twice", .0.short())]
    Twice(HostId),
    /// Numbers outside of what can be.
    #[error("1 <= commit_at <= n, and a window, are needed: {0:?}")]
    Settings(Settings),
}

/// Why a host does not get fragments any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// It could not be reached, or the connection broke.
    Unreachable,
    /// It has no room, or its owner's policy keeps no data now.
    Full,
    /// It asks to come back after a time.
    Busy(Span),
    /// It refused for another reason.
    Refused,
    /// It did not answer in time.
    Late,
    /// It signed something else than was asked.
    BadReceipt,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The hosts are known and ready.
    Started,
    /// The next segment was coded, as [`Effect::CodeNext`] asked.
    SegmentCoded {
        /// The names of its fragments: n of them.
        names: Vec<Guid>,
        /// The length of each.
        bytes: u32,
    },
    /// There are no more segments.
    AllCoded,
    /// A host has stored a fragment.
    Stored {
        /// From [`Effect::Send`].
        transfer: TransferId,
        /// Its word.
        receipt: Box<SignedReceipt>,
    },
    /// A host has not.
    Refused {
        /// From [`Effect::Send`].
        transfer: TransferId,
        /// Why.
        why: Refusal,
    },
    /// [`Machine::deadline`] has come.
    TimerFired,
    /// The caller wants it no more.
    Cancelled,
}

/// What shall be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Code the next segment and say [`Input::SegmentCoded`], or [`Input::AllCoded`].
    CodeNext,
    /// Send a fragment and say [`Input::Stored`] or [`Input::Refused`].
    Send {
        /// The name of this transfer.
        transfer: TransferId,
        /// To whom.
        host: HostId,
        /// Which segment, in the order of coding, from 0.
        segment: u32,
        /// Which fragment of it.
        fragment: u16,
    },
    /// Break a transfer off.
    Stop {
        /// From [`Effect::Send`].
        transfer: TransferId,
    },
    /// A host has a fragment: write down where.
    Keep {
        /// Of which segment.
        segment: u32,
        /// Which one.
        fragment: u16,
        /// Its word.
        receipt: Box<SignedReceipt>,
    },
    /// No fragment of this segment will be sent any more.
    Free {
        /// Which.
        segment: u32,
    },
    /// A host gets no more fragments.
    Replaced {
        /// Which.
        host: HostId,
        /// Why.
        why: Refusal,
        /// Who takes its place, if somebody was left.
        by: Option<HostId>,
    },
    /// All segments are safe: the caller may go on.
    Committed,
    /// Nothing is under way any more.
    Finished {
        /// Fragments that nobody took; repair will make them.
        missing: u32,
    },
    /// A segment cannot be made safe, and nothing more will be sent.
    Failed {
        /// Which.
        segment: u32,
        /// Fragments of it that are stored.
        stored: u16,
        /// Hosts that failed, each with its reason.
        hosts: Vec<(HostId, Refusal)>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fragment {
    Waiting,
    Sent,
    Stored,
    /// Nobody is left to take it.
    Missing,
}

#[derive(Debug, Clone)]
struct Flight {
    names: Vec<Guid>,
    bytes: u32,
    fragments: Vec<Fragment>,
    is_committed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    host: HostId,
    segment: u32,
    fragment: u16,
    at: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Storing,
    /// Committed; the rest is under way.
    Trailing,
    Ended,
}

/// Stores one object. See the module.
#[derive(Debug, Clone)]
pub struct Put {
    settings: Settings,
    now: Time,
    phase: Phase,
    /// Who takes the fragments of each place.
    places: Vec<Option<HostId>>,
    spares: VecDeque<HostId>,
    failed: BTreeMap<HostId, Refusal>,
    /// Until when hosts asked to be left alone, and how often.
    paused: BTreeMap<HostId, (Time, u8)>,
    flights: BTreeMap<u32, Flight>,
    coded: u32,
    is_all_coded: bool,
    is_coding: bool,
    missing: u32,
    transfers: BTreeMap<TransferId, Sent>,
    next_transfer: u64,
    pace: Pace,
}

impl Flight {
    fn count(&self, what: Fragment) -> u16 {
        self.fragments.iter().filter(|it| **it == what).count() as u16
    }

    fn is_open(&self) -> bool {
        self.fragments.iter().any(|it| matches!(it, Fragment::Waiting | Fragment::Sent))
    }
}

impl Put {
    /// Stores with these hosts: the first n get fragments, the others step in.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(settings: Settings, hosts: &[HostId]) -> Result<Self, StartError> {
        let Settings { n, commit_at, flight, window, per_host, .. } = settings;
        let counts = [commit_at, n, per_host];
        if counts.contains(&0) || commit_at > n || flight == 0 || window == 0 {
            return Err(StartError::Settings(settings));
        }
        if hosts.len() < usize::from(n) {
            return Err(StartError::Hosts { hosts: hosts.len(), n });
        }
        let mut sorted = hosts.to_vec();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(StartError::Twice(pair[0]));
        }
        let (places, spares) = hosts.split_at(usize::from(n));
        Ok(Self {
            settings,
            now: Time::default(),
            phase: Phase::Waiting,
            places: places.iter().copied().map(Some).collect(),
            spares: spares.iter().copied().collect(),
            failed: BTreeMap::new(),
            paused: BTreeMap::new(),
            flights: BTreeMap::new(),
            coded: 0,
            is_all_coded: false,
            is_coding: false,
            missing: 0,
            transfers: BTreeMap::new(),
            next_transfer: 0,
            pace: Pace::new(PACE_GUESS),
        })
    }

    /// Segments that the shell holds the bytes of.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.flights.len()
    }

    fn take_segment(&mut self, names: Vec<Guid>, bytes: u32) {
        if !self.is_coding || self.is_all_coded {
            return;
        }
        assert_eq!(names.len(), usize::from(self.settings.n), "a name for each fragment");
        assert!((self.coded as usize) < SEGMENTS_MAX, "the packer fills no more");
        self.is_coding = false;
        let fragments = vec![Fragment::Waiting; names.len()];
        let flight = Flight { names, bytes, fragments, is_committed: false };
        self.flights.insert(self.coded, flight);
        self.coded += 1;
    }

    fn take_receipt(
        &mut self,
        transfer: TransferId,
        receipt: Box<SignedReceipt>,
        effects: &mut Vec<Effect>,
    ) {
        // A transfer that was broken off may have been stored all the same: its lease will end.
        let Some(sent) = self.transfers.remove(&transfer) else { return };
        let Sent { host, segment, fragment, at } = sent;
        let flight = self.flights.get_mut(&segment).expect("transfers are of segments in flight");
        let place = usize::from(fragment);
        if !keeps(&receipt, host, flight.names[place], flight.bytes, self.now) {
            flight.fragments[place] = Fragment::Waiting;
            self.replace(host, Refusal::BadReceipt, effects);
            return;
        }
        flight.fragments[place] = Fragment::Stored;
        self.pace.took(self.now.since(at));
        self.paused.remove(&host);
        effects.push(Effect::Keep { segment, fragment, receipt });
    }

    fn take_refusal(&mut self, transfer: TransferId, why: Refusal, effects: &mut Vec<Effect>) {
        let Some(sent) = self.transfers.remove(&transfer) else { return };
        let flight = self.flights.get_mut(&sent.segment);
        let flight = flight.expect("transfers are of segments in flight");
        flight.fragments[usize::from(sent.fragment)] = Fragment::Waiting;
        if let Refusal::Busy(after) = why {
            let (until, times) = self.paused.entry(sent.host).or_insert((self.now, 0));
            // Refusals of transfers that were under way together count once.
            if *until <= self.now {
                *times += 1;
                *until = self.now + after.clamp(Span::millis(100), Span::secs(60));
            }
            if *times <= BUSY_MAX {
                return;
            }
        }
        self.replace(sent.host, why, effects);
    }

    /// A spare steps in for a host; what was under way to it waits again.
    fn replace(&mut self, host: HostId, why: Refusal, effects: &mut Vec<Effect>) {
        let Some(place) = self.places.iter_mut().find(|place| **place == Some(host)) else {
            return;
        };
        let by = self.spares.pop_front();
        *place = by;
        self.failed.insert(host, why);
        self.paused.remove(&host);
        effects.push(Effect::Replaced { host, why, by });
        let under_way: Vec<TransferId> =
            self.transfers.iter().filter(|(_, it)| it.host == host).map(|(id, _)| *id).collect();
        for transfer in under_way {
            let sent = self.transfers.remove(&transfer).expect("it was found there");
            let flight = self.flights.get_mut(&sent.segment);
            let flight = flight.expect("transfers are of segments in flight");
            flight.fragments[usize::from(sent.fragment)] = Fragment::Waiting;
            effects.push(Effect::Stop { transfer });
        }
    }

    fn patience(&self) -> Span {
        self.pace.patience(PATIENCE_TIMES, PATIENCE_LEAST)
    }

    fn replace_late(&mut self, effects: &mut Vec<Effect>) {
        let patience = self.patience();
        let late = |sent: &&Sent| sent.at + patience <= self.now;
        let late: Vec<HostId> = self.transfers.values().filter(late).map(|it| it.host).collect();
        late.into_iter().for_each(|host| self.replace(host, Refusal::Late, effects));
    }

    fn send(&mut self, effects: &mut Vec<Effect>) {
        let mut busy: BTreeMap<HostId, u16> = BTreeMap::new();
        self.transfers.values().for_each(|it| *busy.entry(it.host).or_default() += 1);
        let n = usize::from(self.settings.n);
        for (segment, flight) in &mut self.flights {
            for fragment in 0..n {
                if flight.fragments[fragment] != Fragment::Waiting {
                    continue;
                }
                let Some(host) = self.places[(fragment + *segment as usize) % n] else {
                    flight.fragments[fragment] = Fragment::Missing;
                    self.missing += 1;
                    continue;
                };
                let under_way = busy.entry(host).or_default();
                let is_paused = self.paused.get(&host).is_some_and(|(until, _)| *until > self.now);
                let has_room = self.transfers.len() < self.settings.window;
                if is_paused || !has_room || *under_way >= self.settings.per_host {
                    continue;
                }
                *under_way += 1;
                let transfer = TransferId(self.next_transfer);
                self.next_transfer += 1;
                let (segment, at) = (*segment, self.now);
                flight.fragments[fragment] = Fragment::Sent;
                let fragment = fragment as u16;
                self.transfers.insert(transfer, Sent { host, segment, fragment, at });
                effects.push(Effect::Send { transfer, host, segment, fragment });
            }
        }
    }

    /// Commits segments, frees those that are through, and ends when there is nothing left to do.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let Settings { n, commit_at, .. } = self.settings;
        let mut hopeless = None;
        for (segment, flight) in &mut self.flights {
            flight.is_committed |= flight.count(Fragment::Stored) >= commit_at;
            if !flight.is_committed && n - flight.count(Fragment::Missing) < commit_at {
                hopeless = hopeless.or(Some((*segment, flight.count(Fragment::Stored))));
            }
        }
        if let Some((segment, stored)) = hopeless {
            self.stop(effects);
            let hosts = self.failed.iter().map(|(host, why)| (*host, *why)).collect();
            effects.push(Effect::Failed { segment, stored, hosts });
            return;
        }
        self.flights.retain(|segment, flight| {
            let is_through = !flight.is_open();
            if is_through {
                effects.push(Effect::Free { segment: *segment });
            }
            !is_through
        });
        let is_safe = self.flights.values().all(|flight| flight.is_committed);
        if self.phase == Phase::Storing && self.is_all_coded && is_safe {
            self.phase = Phase::Trailing;
            effects.push(Effect::Committed);
        }
        if self.phase == Phase::Trailing && self.flights.is_empty() {
            self.phase = Phase::Ended;
            effects.push(Effect::Finished { missing: self.missing });
        }
    }

    fn ask_for_more(&mut self, effects: &mut Vec<Effect>) {
        let Settings { flight, background, .. } = self.settings;
        let unsafe_ones = self.flights.values().filter(|flight| !flight.is_committed).count();
        let has_room = unsafe_ones < flight
            && self.flights.len() < (flight + background).min(FLIGHT_SEGMENTS_MAX);
        let is_open = self.phase == Phase::Storing && !self.is_coding && !self.is_all_coded;
        if is_open && has_room {
            self.is_coding = true;
            effects.push(Effect::CodeNext);
        }
    }

    fn stop(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ended;
        let transfers = std::mem::take(&mut self.transfers);
        effects.extend(transfers.into_keys().map(|transfer| Effect::Stop { transfer }));
        let flights = std::mem::take(&mut self.flights);
        effects.extend(flights.into_keys().map(|segment| Effect::Free { segment }));
    }
}

/// Whether a host has signed that it keeps this beyond `now`.
fn keeps(signed: &SignedReceipt, host: HostId, fragment: Guid, bytes: u32, now: Time) -> bool {
    signed.check().is_ok_and(|it| {
        it.host == host && it.fragment == fragment && it.length == bytes && it.until > now
    })
}

impl Machine for Put {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.now = self.now.max(now);
        match (self.phase, input) {
            (Phase::Ended, _) => return,
            (_, Input::Cancelled) => return self.stop(effects),
            (Phase::Waiting, Input::Started) => self.phase = Phase::Storing,
            (_, Input::SegmentCoded { names, bytes }) => self.take_segment(names, bytes),
            (_, Input::AllCoded) => self.is_all_coded = true,
            (_, Input::Stored { transfer, receipt }) => {
                self.take_receipt(transfer, receipt, effects);
            }
            (_, Input::Refused { transfer, why }) => self.take_refusal(transfer, why, effects),
            (_, Input::TimerFired | Input::Started) => {}
        }
        self.replace_late(effects);
        self.send(effects);
        self.settle(effects);
        self.ask_for_more(effects);
    }

    fn deadline(&self) -> Option<Time> {
        if self.phase == Phase::Ended {
            return None;
        }
        let patience = self.patience();
        let late = self.transfers.values().map(|sent| sent.at + patience);
        let paused = self.paused.values().map(|(until, _)| *until);
        late.chain(paused.filter(|until| *until > self.now)).min()
    }

    fn check_invariants(&self) {
        for (transfer, sent) in &self.transfers {
            assert!(transfer.0 < self.next_transfer);
            assert!(self.places.contains(&Some(sent.host)), "only hosts in place are sent to");
            let flight = &self.flights[&sent.segment];
            assert_eq!(flight.fragments[usize::from(sent.fragment)], Fragment::Sent);
        }
        let sent: u16 = self.flights.values().map(|it| it.count(Fragment::Sent)).sum();
        assert_eq!(usize::from(sent), self.transfers.len(), "each is sent once");
        assert!(self.transfers.len() <= self.settings.window);
        assert!(self.flights.len() <= FLIGHT_SEGMENTS_MAX);
        let mut places: Vec<HostId> = self.places.iter().flatten().copied().collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "a place each");
        assert!(places.iter().all(|host| !self.failed.contains_key(host)));
        assert!(self.phase != Phase::Ended || self.transfers.is_empty());
    }
}

#[cfg(test)]
mod tests;
