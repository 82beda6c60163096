//! The hosts counted by what decides whether they can run a job: what is true of one host of such a
//! kind is true of all. So whoever asks where a job could run looks at kinds and not at hosts, and
//! sleepers by the thousand cost as much as one.
//!
//! Decisions do not rest on it: a host that has room is looked at itself (see `place`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isos_base::api::ReasonView;
use isos_base::host::Offer;
use isos_base::{AccountId, Bytes, HostId, Time};

use super::job::Job;
use super::market::GoodId;
use super::place::Seen;
use super::session::Block;
use super::told::to_others;
use super::{Complex, Host};
use crate::constraint::{ClassId, Constraint};

/// Kinds that one question looks at, those that are there first.
pub(super) const KINDS_LOOKED_AT_MAX: usize = 1_024;
/// Hosts that one question looks at one by one: where names count, and those that a job avoids.
const HOSTS_LOOKED_AT_MAX: usize = 1_024;
/// Places (an owner, a network) that one question looks at.
const PLACES_LOOKED_AT_MAX: usize = 4_096;

/// Why a host gets no work under a key that was replaced.
pub(super) const REPLACED: &str = "its key was replaced";

/// An owner and the network of one of its hosts: who is a stranger to whom follows from it.
pub(super) type Place = (AccountId, Option<Block>);

/// What hosts of one kind have in common. In this order they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    kept_out: Option<String>,
    presence: Presence,
    class: ClassId,
    good: GoodId,
}

/// Whether they are there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Presence {
    /// With this offer, but for what is counted apart.
    Here(Box<Offer>),
    /// Until they wake, each at its own time.
    Asleep,
    Away,
}

impl Host {
    /// Why it gets no work, wherever it is and whatever it offers.
    pub(super) fn kept_out(&self) -> Option<String> {
        if self.record.successor.is_some() {
            return Some(REPLACED.to_owned());
        }
        if self.record.suspended {
            return Some("the ticket by which it came was revoked".to_owned());
        }
        self.record.barred.as_ref().map(|why| format!("barred: {why}"))
    }
}

impl Kind {
    fn of(host: &Host, now: Time) -> Self {
        let presence = match &host.session {
            Some(session) => Presence::Here(Box::new(terms(&session.offer))),
            None if host.wakes > now => Presence::Asleep,
            None => Presence::Away,
        };
        Self { kept_out: host.kept_out(), presence, class: host.class, good: host.good }
    }

    /// The same when they have woken and did not come.
    fn overslept(&self) -> Self {
        Self { presence: Presence::Away, ..self.clone() }
    }

    fn is_asleep(&self) -> bool {
        matches!(self.presence, Presence::Asleep)
    }

    pub(super) fn offer(&self) -> Option<&Offer> {
        match &self.presence {
            Presence::Here(offer) => Some(offer),
            Presence::Asleep | Presence::Away => None,
        }
    }
}

/// An offer as far as it matters for whether a job can run.
fn terms(offer: &Offer) -> Offer {
    let (cores, reasons) = (u16::from(offer.cores > 0), to_others(offer));
    Offer { cores, disk: Bytes::ZERO, reasons, ..offer.clone() }
}

/// The hosts of one kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) hosts: u32,
    /// Cores that they lend.
    pub(super) cores: u32,
    /// Of sleepers, when how many of them wake.
    wakes: BTreeMap<Time, u32>,
    /// Of those who are there, how many are where.
    places: BTreeMap<Place, u32>,
}

/// As what a host was counted.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    kind: Arc<Kind>,
    cores: u32,
    wakes: Time,
    place: Place,
}

impl Counted {
    /// Whether this is what the host is now.
    fn is_as(&self, host: &Host, now: Time) -> bool {
        let presence = match (&self.kind.presence, &host.session) {
            (Presence::Here(terms), Some(session)) => is_on(terms, &session.offer),
            // Time makes one who sleeps one who is away.
            (Presence::Asleep, None) => self.wakes == host.wakes,
            (Presence::Away, None) => host.wakes <= now,
            _ => false,
        };
        let cores = host.session.as_ref().map_or(0, super::session::Session::cores);
        let is_out = self.kind.kept_out.is_some() == host.kept_out().is_some();
        presence
            && is_out
            && (self.kind.class, self.kind.good) == (host.class, host.good)
            && (self.cores, self.place) == (cores, (host.record.account, host.block))
    }
}

/// Whether an offer is on these terms.
fn is_on(terms: &Offer, offer: &Offer) -> bool {
    terms.reasons == to_others(offer)
        && (terms.cores > 0) == (offer.cores > 0)
        && (terms.memory, terms.price_min) == (offer.memory, offer.price_min)
        && terms.accept == offer.accept
}

/// All hosts, by kind.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    groups: BTreeMap<Arc<Kind>, Group>,
    /// Kinds of sleepers, by when the first of them wakes.
    wakes: BTreeSet<(Time, Arc<Kind>)>,
    now: Time,
}

impl Crowd {
    /// Counts a host.
    fn enter(&mut self, host: &Host) -> Counted {
        let kind = Kind::of(host, self.now);
        let kind = match self.groups.get_key_value(&kind) {
            Some((known, _)) => known.clone(),
            None => Arc::new(kind),
        };
        let cores = host.session.as_ref().map_or(0, super::session::Session::cores);
        let place = (host.record.account, host.block);
        let counted = Counted { kind, cores, wakes: host.wakes, place };
        let group = self.groups.entry(counted.kind.clone()).or_default();
        group.hosts += 1;
        group.cores += cores;
        if counted.kind.offer().is_some() {
            *group.places.entry(place).or_default() += 1;
        }
        if counted.kind.is_asleep() {
            let first = group.wakes.first_key_value().map(|(&at, _)| at);
            *group.wakes.entry(host.wakes).or_default() += 1;
            self.alarm(&counted.kind, first);
        }
        counted
    }

    /// As what it counts by now: time alone makes one who sleeps one who is away.
    fn kind_of(&self, counted: &Counted) -> Arc<Kind> {
        match counted.kind.is_asleep() && counted.wakes <= self.now {
            true => Arc::new(counted.kind.overslept()),
            false => counted.kind.clone(),
        }
    }

    fn leave(&mut self, counted: &Counted) {
        let kind = self.kind_of(counted);
        let Some(group) = self.groups.get_mut(&kind) else { return };
        group.hosts -= 1;
        group.cores -= counted.cores;
        take_one(&mut group.places, &counted.place);
        let first = group.wakes.first_key_value().map(|(&at, _)| at);
        take_one(&mut group.wakes, &counted.wakes);
        if group.hosts == 0 {
            self.groups.remove(&kind);
        }
        if kind.is_asleep() {
            self.alarm(&kind, first);
        }
    }

    /// Keeps the time at which the first of a kind wakes; `before` is what it was.
    fn alarm(&mut self, kind: &Arc<Kind>, before: Option<Time>) {
        let group = self.groups.get(kind);
        let first = group.and_then(|group| group.wakes.first_key_value().map(|(&at, _)| at));
        if first != before {
            before.map(|at| self.wakes.remove(&(at, kind.clone())));
            first.map(|at| self.wakes.insert((at, kind.clone())));
        }
    }

    /// It is this late: who should have woken by now is away.
    pub(super) fn tell_time(&mut self, now: Time) {
        self.now = now;
        while self.wakes.first().is_some_and(|&(at, _)| at <= now) {
            let Some((_, kind)) = self.wakes.pop_first() else { return };
            let Some(group) = self.groups.get_mut(&kind) else { continue };
            let later = group.wakes.split_off(&Time(now.0.saturating_add(1)));
            let woken: u32 = std::mem::replace(&mut group.wakes, later).values().sum();
            group.hosts -= woken;
            if group.hosts == 0 {
                self.groups.remove(&kind);
            }
            self.groups.entry(Arc::new(kind.overslept())).or_default().hosts += woken;
            self.alarm(&kind, None);
        }
    }

    /// Those who are there and not kept out, by their class and what they offer; a bounded number
    /// of kinds.
    pub(super) fn here(&self) -> impl Iterator<Item = (GoodId, &Offer, &Group)> {
        let groups = self.groups.iter().take(KINDS_LOOKED_AT_MAX);
        groups.map_while(|(kind, group)| {
            let offer = kind.offer().filter(|_| kind.kept_out.is_none())?;
            Some((kind.good, offer, group))
        })
    }
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Hosts that are alike for a job.
pub(super) struct Look<'a> {
    pub(super) seen: Seen<'a>,
    /// Why they get no work, whatever it is.
    pub(super) kept_out: Option<String>,
    pub(super) class: ClassId,
    pub(super) hosts: u32,
    pub(super) cores: u32,
    /// When the first of them wakes, if they sleep.
    pub(super) wakes: Time,
    of: Of<'a>,
}

/// Whom a look is at.
enum Of<'a> {
    One(Place),
    /// All of a group but so many here and there, who are looked at themselves.
    Group(&'a Group, BTreeMap<Place, u32>),
}

impl Look<'_> {
    /// Where they are, each place once.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let (one, group) = match &self.of {
            Of::One(place) => (Some(*place), None),
            Of::Group(group, apart) => (None, Some((group, apart))),
        };
        let left = |(place, count, apart): (Place, u32, &BTreeMap<Place, u32>)| {
            (count > apart.get(&place).copied().unwrap_or(0)).then_some(place)
        };
        let places = group.into_iter().flat_map(|(group, apart)| {
            group.places.iter().map(move |(place, count)| (*place, *count, apart))
        });
        one.into_iter().chain(places.take(PLACES_LOOKED_AT_MAX).filter_map(left))
    }
}

/// What a question about a job looks at.
pub(super) struct Looks<'a> {
    pub(super) looks: Vec<Look<'a>>,
    /// Hosts that it did not look at.
    pub(super) unseen: u32,
    by_name: bool,
}

impl Looks<'_> {
    /// What the answer does not tell.
    pub(super) fn unseen_reason(&self) -> Option<ReasonView> {
        let (why, remedy) = match self.by_name {
            true => (
                "the constraint speaks of names, so that each host would have to be looked at",
                Some("say what the host must have, rather than its name".into()),
            ),
            false => ("they differ in too many ways to look at all of them", None),
        };
        (self.unseen > 0).then(|| ReasonView {
            about: format!("{} more hosts were not looked at", self.unseen),
            why: why.into(),
            remedy,
        })
    }
}

impl Complex {
    /// Counts a host anew, after what decides of it has changed.
    pub(super) fn recount(&mut self, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if let Some(counted) = host.counted.take() {
            self.crowd.leave(&counted);
        }
        host.counted = Some(self.crowd.enter(host));
    }

    /// The hosts as a job meets them, alike ones together; which of them it is on is not asked.
    pub(super) fn looks(&self, job: &Job) -> Looks<'_> {
        let by_name = job.constraint.as_ref().is_some_and(Constraint::names_hosts);
        let avoided = job.avoid.iter().filter(|(_, avoided)| avoided.until > self.now);
        let avoided = avoided.filter_map(|(id, _)| self.hosts.get(id));
        let pinned = job.record.pinned.as_ref();
        let alone: Vec<&Host> = match (pinned, by_name) {
            // The others do not matter.
            (Some(pinned), _) => pinned.hosts.iter().filter_map(|id| self.hosts.get(id)).collect(),
            (None, true) => self.hosts.values().take(HOSTS_LOOKED_AT_MAX).collect(),
            (None, false) => avoided.take(HOSTS_LOOKED_AT_MAX).collect(),
        };
        let mut apart: BTreeMap<Arc<Kind>, (Group, BTreeMap<Place, u32>)> = BTreeMap::new();
        let mut looks = Vec::new();
        for host in alone {
            let Some(counted) = &host.counted else { continue };
            let (group, places) = apart.entry(self.crowd.kind_of(counted)).or_default();
            (group.hosts, group.cores) = (group.hosts + 1, group.cores + counted.cores);
            *places.entry(counted.place).or_default() += 1;
            looks.push(Look {
                seen: host.seen(self.now),
                kept_out: host.kept_out(),
                class: host.class,
                hosts: 1,
                cores: counted.cores,
                wakes: host.wakes,
                of: Of::One(counted.place),
            });
        }
        let groups = self.crowd.groups.iter().filter(|_| !by_name && pinned.is_none());
        for (kind, group) in groups.take(KINDS_LOOKED_AT_MAX) {
            let (fewer, places) = apart.remove(kind).unwrap_or_default();
            if fewer.hosts == group.hosts {
                continue;
            }
            looks.push(Look {
                seen: Seen {
                    id: None,
                    spec: self.classes.spec(kind.class),
                    class: kind.class,
                    good: kind.good,
                    offer: kind.offer(),
                    asleep: kind.is_asleep(),
                },
                kept_out: kind.kept_out.clone(),
                class: kind.class,
                hosts: group.hosts - fewer.hosts,
                cores: group.cores - fewer.cores,
                wakes: group.wakes.first_key_value().map_or(Time(0), |(&at, _)| at),
                of: Of::Group(group, places),
            });
        }
        let seen: u32 = looks.iter().map(|look| look.hosts).sum();
        let all = if pinned.is_some() { 0 } else { self.hosts.len() };
        let unseen = u32::try_from(all).unwrap_or(u32::MAX).saturating_sub(seen);
        Looks { looks, unseen, by_name }
    }

    /// That everybody is counted once, and as what it is.
    pub(super) fn check_crowd(&self) {
        for (id, host) in &self.hosts {
            let counted = host.counted.as_ref().expect("every host is counted");
            assert!(counted.is_as(host, self.now), "host {id}: counted as what it is");
        }
        let groups = self.crowd.groups.values();
        let (hosts, cores) = groups.fold((0, 0), |(hosts, cores), group| {
            (hosts + group.hosts as usize, cores + group.cores)
        });
        assert_eq!((hosts, cores), (self.hosts.len(), self.cores_offered), "in one group each");
    }

    /// The same by counting all anew, which is long.
    #[cfg(test)]
    pub(super) fn check_crowd_anew(&self) {
        self.check_crowd();
        let mut anew = Crowd { now: self.now, ..Crowd::default() };
        for host in self.hosts.values() {
            anew.enter(host);
        }
        assert_eq!(anew.groups, self.crowd.groups, "hosts are counted as what they are");
        assert_eq!(anew.wakes, self.crowd.wakes, "and sleepers by when they wake");
    }
}
