//! Hosts come, say what they offer, vanish and come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use isos_base::host::{Accept, Offer};
use isos_base::key::PublicKey;
use isos_base::limits::{self, HOST_LEASES_MAX};
use isos_base::price::Price;
use isos_base::record::{HostRecord, Trust};
use isos_base::wire::{Hello, Refusal, Room, ToComplex, ToHost};
use isos_base::{AccountId, HostId, JobId, LeaseId, MicroCredits, Span, Time};

use super::keys::REVOKED;
use super::market::GoodId;
use super::{Complex, Config, Effect, Host, SessionId};
use crate::constraint::ClassId;
use crate::market::Reliability;

/// Leases that a host may say it holds.
const HELD_MAX: usize = 4_096;
/// How old the written time may be at which a host was seen last.
const SEEN_EVERY: Span = Span::secs(600);

/// By which right a host comes.
pub(super) struct Pass {
    /// The account that its token names, if it showed one.
    pub(super) admission: Option<Result<AccountId, String>>,
    /// The ids of that token.
    pub(super) ticket: Vec<Vec<u8>>,
    /// When that token was made, and maybe with which key.
    pub(super) made: Option<(Time, Option<PublicKey>)>,
}

/// A connection of a host.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) offer: Offer,
    pub(super) room: Room,
    /// What was granted that the host may not have heard of when it told of its room.
    pub(super) under_way: VecDeque<UnderWay>,
    /// Jobs whose offer was sent, with the price that it told.
    pub(super) jobs_sent: BTreeMap<JobId, Price>,
    /// Earned since the session began, as told to the host.
    pub(super) earned: MicroCredits,
    /// Jobs whose tasks it gave back without a try, and until when it gets no others of them.
    pub(super) declined: BTreeMap<JobId, (Time, u32)>,
    /// The job that it got tasks of last.
    pub(super) worked_on: Option<JobId>,
    /// The job at which the last look beyond the fair order ended.
    pub(super) looked_at: JobId,
    /// Jobs until that look has seen them all.
    pub(super) left_to_look: usize,
    /// When it goes on.
    pub(super) look: Option<Time>,
}

/// A grant on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnderWay {
    pub(super) lease: LeaseId,
    pub(super) tasks: u32,
    pub(super) backlog: Span,
}

impl Session {
    /// Takes up a host's word about its room.
    pub(super) fn heard_of_room(&mut self, room: Room) {
        self.room = believable(room, &self.offer);
        self.under_way.retain(|it| it.lease > room.seen);
        for grant in std::mem::take(&mut self.under_way) {
            self.grants(grant);
        }
    }

    /// A grant leaves for the host.
    pub(super) fn grants(&mut self, grant: UnderWay) {
        let used = u16::try_from(grant.tasks).unwrap_or(u16::MAX);
        self.room.tasks = self.room.tasks.saturating_add(grant.tasks);
        self.room.backlog = self.room.backlog + grant.backlog;
        self.room.cores_idle = self.room.cores_idle.saturating_sub(used);
        // A host that never says what it has heard of is known by the others.
        if self.under_way.len() == HOST_LEASES_MAX {
            self.under_way.pop_front();
        }
        self.under_way.push_back(grant);
    }

    pub(super) fn cores(&self) -> u32 {
        u32::from(self.offer.cores)
    }
}

/// The part of an address that one owner or site is likely to have: /24 of IPv4, /48 of IPv6.
pub(super) type Block = [u8; 6];

/// The block of an address. Loopback has none: everything on one machine shares it anyway.
fn block_of(address: IpAddr) -> Option<Block> {
    match address {
        address if address.is_loopback() => None,
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Some([4, a, b, c, 0, 0])
        }
        IpAddr::V6(v6) => v6.octets()[..6].try_into().ok(),
    }
}

/// A host's word about its work, within what any host can have: deadlines are reckoned from it.
fn believable(room: Room, offer: &Offer) -> Room {
    const BACKLOG_MAX: Span = Span::secs(86_400);
    const TASKS_MAX: u32 = 1 << 20;
    Room {
        cores_idle: room.cores_idle.min(offer.cores),
        tasks: room.tasks.min(TASKS_MAX),
        backlog: room.backlog.min(BACKLOG_MAX),
        seen: room.seen,
    }
}

/// A host's offer with what is shown of it cut to what fits a screen.
fn bounded(mut offer: Offer) -> Offer {
    const REASONS_MAX: usize = 16;
    let programs = match &offer.accept {
        Accept::Any => 0,
        Accept::Only(programs) | Accept::Except(programs) => programs.len(),
    };
    if programs > limits::POLICY_PROGRAMS_MAX {
        let max = limits::POLICY_PROGRAMS_MAX;
        return Offer::nothing(&format!("its policy names {programs} programs of at most {max}"));
    }
    offer.reasons.truncate(REASONS_MAX);
    for reason in &mut offer.reasons {
        *reason = super::report::short(reason);
    }
    offer
}

/// What is known of the owners of hosts.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<AccountId, Owner>);

#[derive(Debug, Default)]
struct Owner {
    hosts: BTreeSet<HostId>,
    /// Keys that hosts had before.
    former: BTreeSet<HostId>,
    barred: usize,
}

impl Owners {
    pub(super) fn enter(&mut self, account: AccountId, host: HostId, barred: &Option<String>) {
        let owner = self.0.entry(account).or_default();
        owner.hosts.insert(host);
        owner.barred += usize::from(barred.is_some());
    }

    pub(super) fn leave(&mut self, account: AccountId, host: HostId, barred: &Option<String>) {
        if let Some(owner) = self.0.get_mut(&account) {
            owner.hosts.remove(&host);
            owner.barred -= usize::from(barred.is_some());
        }
    }

    /// A host of this account had this key before.
    pub(super) fn keep_former(&mut self, account: AccountId, host: HostId) {
        self.0.entry(account).or_default().former.insert(host);
    }

    /// All keys that hosts of an account have and had.
    pub(super) fn keys_of(&self, account: AccountId) -> impl Iterator<Item = HostId> + use<'_> {
        let owner = self.0.get(&account).into_iter();
        owner.flat_map(|owner| owner.hosts.iter().chain(&owner.former).copied())
    }

    /// The hosts of an account, by key.
    pub(super) fn hosts_of(
        &self,
        account: AccountId,
    ) -> impl ExactSizeIterator<Item = HostId> + use<'_> {
        const NONE: &BTreeSet<HostId> = &BTreeSet::new();
        self.0.get(&account).map_or(NONE, |owner| &owner.hosts).iter().copied()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// One of the account's hosts was barred.
    pub(super) fn bar(&mut self, account: AccountId) {
        self.0.entry(account).or_default().barred += 1;
    }

    /// Whether one more host may join for this account: not behind one that was caught, or a new
    /// key would be all that a liar needs, and not beyond the limit.
    fn admit(&self, account: AccountId, config: &Config) -> Result<(), Refusal> {
        let Some(owner) = self.0.get(&account) else { return Ok(()) };
        if owner.barred > 0 {
            let why = format!("a host of account {account} was caught: it can add no others");
            return Err(Refusal::Barred(why));
        }
        let max = config.account_hosts_max;
        if owner.hosts.len() >= max {
            let why = format!(
                "account {account} has {max} hosts, which is the limit: use a ticket of another, \
                 or ask the operator to raise --account-hosts"
            );
            return Err(Refusal::BadTicket(why));
        }
        Ok(())
    }
}

impl Host {
    /// A host with which nobody has a session: one that has just come, or was there before the
    /// server began, or has another key.
    pub(super) fn absent(record: HostRecord, class: ClassId, good: GoodId, now: Time) -> Self {
        Self {
            reliability: Reliability::of(record.good, record.lost),
            record,
            class,
            good,
            core_rate: None,
            block: None,
            session: None,
            leases: BTreeSet::new(),
            held: BTreeSet::new(),
            proofs: 0,
            accept: Accept::Any,
            wakes: Time(0),
            lent: (Price(0), now),
            counted: None,
        }
    }
}

impl Complex {
    pub(super) fn host_came(
        &mut self,
        id: HostId,
        session: SessionId,
        address: Option<IpAddr>,
        hello: Hello,
        pass: Pass,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.hosts.get(&id).map(|host| host.record.account);
        let account = match self.admit(id, &hello, &pass) {
            Ok(account) => account,
            Err(refusal) => {
                effects.push(Effect::Send(session, ToHost::Refused(refusal)));
                effects.push(Effect::Close(session));
                return;
            }
        };
        let offer = bounded(hello.offer);
        let class = self.classes.enter(&hello.spec);
        let block = address.and_then(block_of);
        let is_as_known = self.hosts.get(&id).is_some_and(|known| {
            known.class == class && known.block == block && known.record.account == account
        });
        self.arrivals += u64::from(!is_as_known);
        let good = self.market.enter(&hello.spec);
        if let Some(known) = self.hosts.get(&id) {
            self.classes.leave(known.class);
            self.owners.leave(known.record.account, id, &known.record.barred);
            self.names.leave(&known.record.spec.name, id);
        }
        self.owners.enter(account, id, &None);
        self.names.enter(&hello.spec.name, id);
        let now = self.now;
        let host = self.hosts.entry(id).or_insert_with(|| {
            let record = HostRecord {
                id,
                account,
                spec: hello.spec.clone(),
                good: 0,
                bad: 0,
                lost: 0,
                barred: None,
                joined: now,
                seen: now,
                trust: Trust::default(),
                ticket: Vec::new(),
                suspended: false,
                successor: None,
            };
            Host::absent(record, class, good, now)
        });
        host.record.spec = hello.spec;
        host.record.account = account;
        host.record.seen = now;
        host.class = class;
        host.good = good;
        host.block = block;
        self.dirty_hosts.insert(id);
        let Pass { admission, ticket, .. } = pass;
        self.note_admission(id, before, admission.and_then(Result::ok).map(|_| ticket), effects);
        self.end_session(id, effects);
        self.lost.retain(|&(_, host)| host != id);

        let host = self.hosts.get_mut(&id).expect("inserted above");
        let gone: Vec<LeaseId> =
            host.leases.iter().filter(|lease| !hello.holding.contains(lease)).copied().collect();
        let stray: Vec<LeaseId> =
            hello.holding.iter().filter(|lease| !host.leases.contains(lease)).copied().collect();
        let entry = Session {
            id: session,
            room: believable(hello.room, &offer),
            under_way: VecDeque::new(),
            offer,
            jobs_sent: BTreeMap::new(),
            earned: MicroCredits::ZERO,
            declined: BTreeMap::new(),
            worked_on: None,
            looked_at: JobId(0),
            left_to_look: self.share.len(),
            look: None,
        };
        self.cores_offered += entry.cores();
        host.session = Some(entry);
        host.note_offer(now);
        self.ranks.insert((host.record.trust.passed, id));
        self.sessions.insert(session, id);
        self.recount(id);
        self.keeper_came(id);
        effects.push(Effect::Send(session, ToHost::Welcome { now, account }));
        if !stray.is_empty() {
            effects.push(Effect::Send(session, ToHost::Revoke(stray)));
        }
        for lease in gone {
            self.return_all(lease, effects);
        }
        self.feed(id, effects);
    }

    fn admit(&self, id: HostId, hello: &Hello, pass: &Pass) -> Result<AccountId, Refusal> {
        let known = self.hosts.get(&id);
        if let Some(why) = known.and_then(|host| host.record.barred.clone()) {
            return Err(Refusal::Barred(why));
        }
        if let Some(next) = known.and_then(|host| host.record.successor) {
            let why = format!("its key was replaced by {next}");
            return Err(Refusal::Unfit(why));
        }
        let spec = &hello.spec;
        let country = spec.country.as_deref().unwrap_or_default();
        let texts = [&spec.name, &spec.agent, &spec.os, &spec.arch, &spec.engine, country];
        let long = |text: &&str| text.chars().count() > limits::NAME_CHARS_MAX;
        if texts.iter().any(long) || spec.cpus == 0 || hello.holding.len() > HELD_MAX {
            return Err(Refusal::Unfit("its description is out of bounds".into()));
        }
        if let Some(engine) = &self.config.engine
            && *engine != hello.spec.engine
        {
            let theirs = &hello.spec.engine;
            return Err(Refusal::Unfit(format!(
                "its engine is {theirs}, this complex compares results of {engine}: update isos"
            )));
        }
        let good = pass.admission.as_ref().map(|admission| match admission {
            // It was taken back, maybe on the way here.
            Ok(account) if self.is_pass_void(*account, pass) => Err(REVOKED.to_owned()),
            other => other.clone(),
        });
        match (known, good) {
            (Some(host), Some(Ok(account))) if host.record.account == account => Ok(account),
            (_, Some(Ok(account))) => self.owners.admit(account, &self.config).map(|()| account),
            (Some(host), _) if host.record.suspended => Err(Refusal::BadTicket(REVOKED.into())),
            (Some(host), _) => Ok(host.record.account),
            (None, Some(Err(why))) => Err(Refusal::BadTicket(why)),
            (None, None) => Err(Refusal::NoTicket),
        }
    }

    /// Whether a host's token was revoked, or what it was made from, or the key is gone with which
    /// it was made.
    fn is_pass_void(&self, account: AccountId, pass: &Pass) -> bool {
        let void = |(issued, key): &(Time, Option<PublicKey>)| {
            self.is_void(account, *issued, key.as_ref())
        };
        pass.ticket.iter().any(|id| self.is_revoked(id)) || pass.made.as_ref().is_some_and(void)
    }

    pub(super) fn host_said(
        &mut self,
        session: SessionId,
        frame: ToComplex,
        effects: &mut Vec<Effect>,
    ) {
        let Some(&id) = self.sessions.get(&session) else {
            return;
        };
        match frame {
            ToComplex::Hello(_) => {
                effects.push(Effect::Say(format!("host {} said hello twice", id.short())));
                effects.push(Effect::Close(session));
            }
            ToComplex::Offer(offer) => {
                let offer = bounded(offer);
                let host = self.hosts.get_mut(&id).expect("a session has a host");
                host.note_offer(self.now);
                if let Some(current) = host.session.as_mut() {
                    self.cores_offered -= current.cores();
                    let more = offer.cores.saturating_sub(current.offer.cores);
                    let idle = current.room.cores_idle.saturating_add(more);
                    current.room.cores_idle = idle.min(offer.cores);
                    current.offer = offer;
                    current.declined.clear();
                    current.left_to_look = self.share.len();
                    self.cores_offered += current.cores();
                }
                host.note_offer(self.now);
                self.recount(id);
                self.feed(id, effects);
            }
            ToComplex::Report(report) => self.report(id, session, report, effects),
            ToComplex::Saved(saved) => self.task_saved(id, *saved, effects),
            // For those who watch, and for other hosts; nothing follows from it.
            ToComplex::Traced(_) | ToComplex::Described(_) => {}
            ToComplex::Reach(reach) => self.reach_told(id, *reach, effects),
            ToComplex::Shelf(report) => self.shelf_told(id, *report, effects),
            ToComplex::Mended(report) => self.host_mended(id, &report, effects),
            ToComplex::Proved(proof) => self.host_proved(id, &proof, effects),
            ToComplex::Goodbye => {
                effects.push(Effect::Close(session));
                self.end_session(id, effects);
                self.drop_leases(id, effects);
            }
        }
    }

    pub(super) fn host_went(&mut self, session: SessionId) {
        let Some(&id) = self.sessions.get(&session) else {
            return;
        };
        self.end_session(id, &mut Vec::new());
        let host = self.hosts.get_mut(&id).expect("a session has a host");
        if !host.leases.is_empty() {
            self.lost.insert((self.now + self.config.lost_after, id));
        }
    }

    /// A host was heard of. That is written down now and then: not at every report of it.
    pub(super) fn note_seen(&mut self, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.record.seen + SEEN_EVERY <= self.now {
            host.record.seen = self.now;
            self.dirty_hosts.insert(id);
        }
    }

    /// Forgets the current session, if there is one, and closes it.
    pub(super) fn end_session(&mut self, id: HostId, effects: &mut Vec<Effect>) {
        if self.hosts.get(&id).is_some_and(|host| host.session.is_some()) {
            self.note_seen(id);
            self.keeper_leaves(id);
            self.sliver_left(id);
        }
        let Some(host) = self.hosts.get_mut(&id) else {
            return;
        };
        host.note_offer(self.now);
        if host.session.is_some() {
            host.record.seen = self.now;
        }
        if let Some(old) = host.session.take() {
            self.cores_offered -= old.cores();
            self.sessions.remove(&old.id);
            self.ranks.remove(&(host.record.trust.passed, id));
            self.hungry.remove(&id);
            effects.push(Effect::Close(old.id));
        }
        self.recount(id);
    }

    /// Everything that a host holds goes to others.
    pub(super) fn drop_leases(&mut self, id: HostId, effects: &mut Vec<Effect>) {
        let leases = self.hosts.get(&id).map(|host| host.leases.clone()).unwrap_or_default();
        for lease in leases {
            self.return_all(lease, effects);
        }
    }

    /// All tasks of a lease that are still out wait again; the lease is settled when the rest is
    /// decided.
    pub(super) fn return_all(&mut self, lease: LeaseId, effects: &mut Vec<Effect>) {
        let Some(entry) = self.leases.get_mut(&lease) else {
            return;
        };
        let ranges: Vec<_> = entry.out.iter().collect();
        let lost: u32 = entry.out.count();
        let host = entry.record.host;
        if lost > 0
            && let Some(host) = self.hosts.get_mut(&host)
        {
            host.record.lost += u64::from(lost);
            host.reliability.note(false);
            self.dirty_hosts.insert(host.record.id);
        }
        let job = entry.record.job;
        self.take_back(lease, &ranges, effects);
        self.settle_if_over(lease, effects);
        self.end_if_over(job, effects);
    }

    /// How long an idle host should sleep: all sleepers together poll at the configured rate.
    pub(super) fn sleep_span(&self) -> Span {
        let sleepers = self.hosts.len().saturating_sub(self.config.held_hosts_max) as u64;
        let polls = u64::from(self.config.polls_per_second_max.max(1));
        let span = Span(sleepers * 1_000_000 / polls);
        span.clamp(self.config.sleep_min, self.config.sleep_max)
    }
}
