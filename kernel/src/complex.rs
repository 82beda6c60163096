//! The server complex's machine: hosts, jobs, leases, verification and pay, in one place.
//!
//! It holds what is hot (jobs that are not over, leases that are not settled, hosts, accounts) and
//! can be rebuilt from the durable [`Snapshot`](isos_base::record::Snapshot) at any time. It knows
//! no socket and no database: a shell gives it facts, makes its [`Effect::Keep`]s durable, and only
//! then lets the messages and replies go that follow them. It is not the place for crypto: whether
//! a token is good is decided by whoever made the [`Input`].

mod ask;
mod assured;
mod audit;
mod bank;
mod call;
mod config;
mod crowd;
mod demurrage;
mod explain;
mod fit;
mod handed;
mod job;
mod keys;
mod lone;
mod market;
mod names;
mod place;
mod report;
mod restore;
mod revoke;
mod roots;
mod rotate;
mod same;
mod segment;
mod session;
mod settle;
mod slice;
mod storage;
mod stretch;
mod submit;
#[cfg(test)]
mod tests;
mod told;
mod trust;
mod unsure;
mod view;

pub use bank::{APPROVALS_MAX, BankCall, BankConfig, BankReply, RailTerms};
pub use call::{Call, Reply};
pub use config::Config;
pub use keys::{KeyCall, NewKey, Once, TOKEN_REVOKED};
pub use market::{Pricing, Wish};
pub use restore::RestoreError;
pub use slice::SliceCall;
pub use storage::{Leased, StorageCall, StorageReply};
pub use told::view_for_others;
pub use view::TasksOut;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use isos_base::api::{JobView, Problem};
use isos_base::host::Accept;
use isos_base::key::PublicKey;
use isos_base::price::Price;
use isos_base::record::{BillRecord, Change, HostRecord, IdempotencyRecord, TaskState};
use isos_base::wire::{Hello, ToComplex, ToHost};
use isos_base::{
    AccountId, BillId, Guid, HostId, JobId, LeaseId, Machine, MicroCredits, Span, Time,
};

use serde::{Deserialize, Serialize};

use self::audit::Book;
use self::crowd::{Counted, Crowd};
use self::demurrage::Demurrage;
use self::job::Job;
use self::keys::Keys;
use self::market::{GoodId, Market};
use self::names::Names;
use self::place::Sweep;
use self::revoke::{CameBy, Revoked};
use self::session::{Block, Owners, Pass, Session};
use self::slice::Slices;
use self::storage::Storage;
use self::trust::Over;
use crate::constraint::{ClassId, Classes};
use crate::lease::{Due, Lease};
use crate::ledger::{FeeRate, Ledger};
use crate::market::Reliability;
use crate::schedule::FairShare;

/// One connection of a host, numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// A request that waits for its reply, numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Input {
    /// A host introduced itself on a new connection.
    HostCame {
        /// Its key, proven by the connection.
        host: HostId,
        /// The connection.
        session: SessionId,
        /// Where it comes from; nothing when it is relayed.
        address: Option<IpAddr>,
        /// Its first frame.
        hello: Box<Hello>,
        /// The account that its token names, if it showed one; checked by the shell.
        admission: Option<Result<AccountId, String>>,
        /// The ids of that token.
        #[serde(default)]
        ticket: Vec<Vec<u8>>,
        /// When that token was made, and maybe with which key: it is void without that.
        #[serde(default)]
        made: Option<(Time, Option<PublicKey>)>,
    },
    /// A host said something.
    HostSaid {
        /// The connection.
        session: SessionId,
        /// What.
        frame: ToComplex,
    },
    /// A connection ended.
    HostWent {
        /// Which.
        session: SessionId,
    },
    /// A person or program wants something.
    Requested {
        /// For the reply.
        request: RequestId,
        /// What.
        call: Call,
    },
    /// The deadline came.
    TimerFired,
}

/// What shall be done, in this order. Whatever stands behind a `Keep` waits until it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Make this durable.
    Keep(Change),
    /// Send a frame.
    Send(SessionId, ToHost),
    /// End a connection, after the frames before it.
    Close(SessionId),
    /// Answer a request.
    Answer(RequestId, Result<Reply, Problem>),
    /// Something about this job can be seen to have changed.
    JobMoved(JobId),
    /// A line for the operator's log.
    Say(String),
}

/// A host as the complex knows it.
#[derive(Debug)]
struct Host {
    record: HostRecord,
    class: ClassId,
    good: GoodId,
    /// How likely it finishes what it begins.
    reliability: Reliability,
    /// Fuel that one of its cores does in a second, by its reports.
    core_rate: Option<u64>,
    block: Option<Block>,
    session: Option<Session>,
    leases: BTreeSet<LeaseId>,
    /// Leases whose pay is held, by how many proofs let it go.
    held: BTreeSet<(u64, LeaseId)>,
    /// Checks that it passed since the server began, those by one other host of one lease once:
    /// accomplices can pass each other whole leases.
    proofs: u64,
    /// Which programs its owner allowed last.
    accept: Accept,
    /// It was told to sleep until then.
    wakes: Time,
    /// The lowest price at which it lent something within a day, and when it did so last.
    lent: (Price, Time),
    /// As what it stands in the crowd.
    counted: Option<Counted>,
}

/// The machine.
#[derive(Debug)]
pub struct Complex {
    config: Config,
    now: Time,
    ledger: Ledger,
    bank: bank::Bank,
    fee_rate: FeeRate,
    jobs: BTreeMap<JobId, Job>,
    /// Views of jobs that ended lately, newest last.
    ended: VecDeque<JobView>,
    leases: BTreeMap<LeaseId, Lease>,
    /// Jobs that are over while pay of their hosts is held.
    over: BTreeMap<JobId, Over>,
    /// When held pay matures at the latest.
    held_due: BTreeSet<(Time, LeaseId)>,
    /// Connected hosts by how many checks they passed.
    ranks: BTreeSet<(u64, HostId)>,
    /// What half of them passed at the least, and when that was found.
    median: (Time, u64),
    /// Jobs of which tasks were decided in this step, maybe the last ones: a host that is caught
    /// over one job decides tasks of others.
    judged: BTreeSet<JobId>,
    /// Hosts that passed checks in this step.
    passed: BTreeSet<HostId>,
    /// When it is looked whether somebody can be asked for the checks that wait.
    recheck: Option<Time>,
    /// Until then all hosts count as being around: nobody could be seen before the server began.
    back_by: Time,
    /// Counts hosts that came as nobody had known them.
    arrivals: u64,
    /// Bills that are not posted.
    bills: BTreeMap<BillId, BillRecord>,
    due: Due,
    hosts: BTreeMap<HostId, Host>,
    /// The same by what decides whether they can run a job.
    crowd: Crowd,
    names: Names,
    /// Which key a host had before the one that it has.
    predecessors: BTreeMap<HostId, HostId>,
    sessions: BTreeMap<SessionId, HostId>,
    /// Hosts that vanished with tasks, by when these are given to others.
    lost: BTreeSet<(Time, HostId)>,
    /// Connected hosts with cores to spare that got nothing when they last asked.
    hungry: BTreeSet<HostId>,
    /// Jobs of which more tasks wait than the hungry have seen.
    news: BTreeSet<JobId>,
    sweep: Sweep,
    /// Looks that were cut short, by when they go on.
    looks: BTreeSet<(Time, HostId)>,
    owners: Owners,
    classes: Classes,
    market: Market,
    demurrage: Demurrage,
    share: FairShare,
    cores_offered: u32,
    idempotency: BTreeMap<(AccountId, String), IdempotencyRecord>,
    revoked: Revoked,
    came_by: CameBy,
    /// When what has expired of these two is looked for again: timers fire far more often.
    forgets: Time,
    keys: Keys,
    storage: Storage,
    slices: Slices,
    book: Book,
    last_job: JobId,
    last_lease: LeaseId,
    last_bill: BillId,
    /// Written at the end of the step.
    dirty_jobs: BTreeSet<JobId>,
    dirty_leases: BTreeSet<LeaseId>,
    dirty_bills: BTreeSet<BillId>,
    dirty_hosts: BTreeSet<HostId>,
    /// What follows from the inputs since the last [`Complex::finish`].
    scratch: Vec<Effect>,
}

/// Keys and revocations are remembered so much longer than they must be, at the most.
const FORGET_EACH: Span = Span::secs(60);
/// Ended jobs that stay in memory for those who just watched them.
const ENDED_KEPT_MAX: usize = 256;

impl Machine for Complex {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.apply(now, input);
        self.finish(effects);
    }

    fn deadline(&self) -> Option<Time> {
        let lost = self.lost.first().map(|&(at, _)| at);
        let look = self.looks.first().map(|&(at, _)| at);
        let bill = self.next_bill();
        let sweep = self.sweep.goes_on();
        let held = self.held_due.first().map(|&(at, _)| at);
        let expiry = self.ledger.next_expiry();
        let proposal = self.bank.next_expiry();
        let market = self.market.deadline();
        let recovery = self.keys.next();
        let storage = self.storage.next();
        let slices = self.slices.next();
        let all = [sweep, held, self.recheck, expiry, proposal, market, recovery, storage, slices];
        [self.due.next(), lost, look, bill].into_iter().chain(all).flatten().min()
    }

    fn check_invariants(&self) {
        self.ledger.check_invariants();
        self.check_bank();
        self.check_storage();
        self.check_slices();
        for (id, job) in &self.jobs {
            job.check_invariants();
            let out: i64 = self.leases_of(job).map(|lease| lease.reserved.0).sum();
            let owed = self.owed(job).0;
            assert_eq!(out + owed, job.reserved.0, "job {id}: what its leases and bills may take");
            let waits = job.waiting() > 0;
            let queued = self.share.contains(*id);
            assert_eq!(waits, queued, "job {id}: in the fair queue if and only if tasks wait");
        }
        for (id, bill) in &self.bills {
            let job = self.jobs.get(&bill.job).expect("an open bill has a job that is not over");
            let known = job.bills.get(&(bill.account, bill.price));
            assert_eq!(known, Some(id), "bill {id}: its job knows it");
        }
        for (id, lease) in &self.leases {
            assert_eq!(*id, lease.record.id);
            assert!(lease.reserved.0 >= 0);
            if lease.record.held.is_some() {
                self.check_held(lease);
                continue;
            }
            assert!(
                !lease.out.is_empty() || lease.undecided > 0 || !lease.moved.is_empty(),
                "lease {id}: a lease with nothing open must have been settled"
            );
            let job = self.jobs.get(&lease.record.job);
            let job = job.expect("a lease with something open has a job that is not over");
            assert!(job.leases.contains(id), "lease {id}: its job knows it");
            let saves = |&task: &u32| job.is_open(task) && job.chains.run(*id, task).is_some();
            assert!(lease.moved.iter().all(saves), "lease {id}: what it handed on is open");
            for task in lease.out.iter().flat_map(isos_base::TaskRange::tasks) {
                // One host's faults can have ended a task that others were asked about as well.
                let given_up = job.rule().is_some() && job.state(task) == TaskState::GivenUp;
                let is_right = job.is_open(task) || given_up;
                assert!(is_right, "lease {id}: task {task} is out but decided");
            }
            let host = &self.hosts[&lease.record.host];
            assert!(host.leases.contains(id), "lease {id}: its host knows it");
        }
        self.check_over();
        self.check_bonds();
        self.check_crowd();
        self.came_by.check(&self.hosts);
        let cores: u32 =
            self.hosts.values().filter_map(|h| h.session.as_ref()).map(Session::cores).sum();
        assert_eq!(cores, self.cores_offered, "offered cores are the sessions'");
        for (id, host) in &self.hosts {
            let look = host.session.as_ref().and_then(|session| session.look);
            assert!(look.is_none_or(|at| self.looks.contains(&(at, *id))), "a look is scheduled");
        }
        assert_eq!(self.ranks.len(), self.sessions.len(), "each connected host has its rank");
        for (session, host) in &self.sessions {
            let current = self.hosts[host].session.as_ref().map(|session| session.id);
            assert_eq!(current, Some(*session), "a session is its host's current one");
            let passed = self.hosts[host].record.trust.passed;
            assert!(self.ranks.contains(&(passed, *host)), "its rank is what it passed");
        }
    }
}

impl Complex {
    /// An empty complex.
    ///
    /// # Panics
    /// If a rail's currency is none; [`Complex::restore`] says so instead.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let mut ledger = Ledger::new();
        let bank = bank::Bank::begin(&mut ledger, &config.bank).expect("currencies of rails");
        Self {
            now: Time(0),
            ledger,
            bank,
            fee_rate: FeeRate::new(config.fee_bps.min(10_000)).expect("at most 10,000"),
            jobs: BTreeMap::new(),
            ended: VecDeque::new(),
            leases: BTreeMap::new(),
            over: BTreeMap::new(),
            held_due: BTreeSet::new(),
            ranks: BTreeSet::new(),
            median: (Time(0), 0),
            judged: BTreeSet::new(),
            passed: BTreeSet::new(),
            recheck: None,
            back_by: Time(0),
            arrivals: 0,
            bills: BTreeMap::new(),
            due: Due::default(),
            hosts: BTreeMap::new(),
            crowd: Crowd::default(),
            names: Names::default(),
            predecessors: BTreeMap::new(),
            sessions: BTreeMap::new(),
            lost: BTreeSet::new(),
            hungry: BTreeSet::new(),
            news: BTreeSet::new(),
            sweep: Sweep::default(),
            looks: BTreeSet::new(),
            owners: Owners::default(),
            classes: Classes::default(),
            market: Market::new(config.pricing, config.price),
            demurrage: Demurrage::default(),
            share: FairShare::default(),
            cores_offered: 0,
            idempotency: BTreeMap::new(),
            forgets: Time(0),
            revoked: Revoked::default(),
            came_by: CameBy::default(),
            keys: Keys::default(),
            storage: Storage::default(),
            slices: Slices::default(),
            book: Book::new(None, Vec::new()),
            last_job: JobId(0),
            last_lease: LeaseId(0),
            last_bill: BillId(0),
            dirty_jobs: BTreeSet::new(),
            dirty_leases: BTreeSet::new(),
            dirty_bills: BTreeSet::new(),
            dirty_hosts: BTreeSet::new(),
            scratch: Vec::new(),
            config,
        }
    }

    /// Takes an input in. What follows from it comes with [`Complex::finish`], once for all inputs
    /// of a batch: a row that many of them change is written once.
    pub fn apply(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        self.crowd.tell_time(self.now);
        let mut own = std::mem::take(&mut self.scratch);
        match input {
            Input::HostCame { host, session, address, hello, admission, ticket, made } => {
                let pass = Pass { admission, ticket, made };
                self.host_came(host, session, address, *hello, pass, &mut own);
            }
            Input::HostSaid { session, frame } => self.host_said(session, frame, &mut own),
            Input::HostWent { session } => self.host_went(session),
            Input::Requested { request, call } => {
                let answer = self.carry_out(call, &mut own);
                own.push(Effect::Answer(request, answer));
            }
            Input::TimerFired => self.expire(&mut own),
        }
        self.end_judged(&mut own);
        self.scratch = own;
    }

    /// Ends the jobs whose last tasks were decided.
    fn end_judged(&mut self, effects: &mut Vec<Effect>) {
        while let Some(job) = self.judged.pop_first() {
            self.end_if_over(job, effects);
        }
    }

    /// Appends what follows from the inputs since the last time.
    pub fn finish(&mut self, effects: &mut Vec<Effect>) {
        let mut own = std::mem::take(&mut self.scratch);
        self.note_freed_money();
        self.feed_hungry(&mut own);
        self.write_dirty(&mut own);
        self.note_earned(&mut own);
        // Records first: messages and replies wait for them.
        let is_keep = |effect: &Effect| matches!(effect, Effect::Keep(_));
        effects.extend(own.extract_if(.., |effect| is_keep(effect)));
        effects.append(&mut own);
        self.scratch = own;
    }

    fn leases_of(&self, job: &Job) -> impl Iterator<Item = &Lease> {
        job.leases.iter().map(|id| &self.leases[id])
    }

    /// What a job owes on bills that are not posted.
    fn owed(&self, job: &Job) -> MicroCredits {
        let bills = job.bills.values().map(|id| &self.bills[id]);
        MicroCredits(bills.map(|bill| bill.price.charge(bill.fuel).0).sum())
    }

    /// Jobs that money or memory alone kept from the hungry, and that got some back in this step.
    fn note_freed_money(&mut self) {
        for id in &self.dirty_jobs {
            if self
                .jobs
                .get_mut(id)
                .is_some_and(|job| job.short_of_money || job.was_cut_and_has_room())
            {
                self.news.insert(*id);
            }
        }
    }

    /// Everything that fell due: leases, lost hosts, holds, remembered replies.
    fn expire(&mut self, effects: &mut Vec<Effect>) {
        while let Some(lease) = self.due.pop(self.now) {
            let session = self.leases.get(&lease).and_then(|l| {
                self.hosts[&l.record.host].session.as_ref().map(|session| session.id)
            });
            if let Some(session) = session {
                effects.push(Effect::Send(session, ToHost::Revoke(vec![lease])));
            }
            self.return_all(lease, effects);
        }
        while let Some(&(at, host)) = self.lost.first() {
            if at > self.now {
                break;
            }
            self.lost.pop_first();
            self.drop_leases(host, effects);
        }
        self.look_again(effects);
        self.mature_due(effects);
        self.recheck(effects);
        self.post_due_bills(effects);
        self.take_demurrage(effects);
        self.clear_market(effects);
        self.recover_due(effects);
        self.storage_due(effects);
        self.slices_due(effects);
        let mut changes = Vec::new();
        self.ledger.expire(self.now, &mut changes);
        self.expire_proposals(effects);
        effects.extend(changes.into_iter().map(Effect::Keep));
        if self.now >= self.forgets {
            self.forgets = self.now + FORGET_EACH;
            self.idempotency.retain(|_, record| record.expires > self.now);
            self.revoked.forget(self.now);
        }
    }

    /// Writes what the step changed, each record once.
    fn write_dirty(&mut self, effects: &mut Vec<Effect>) {
        self.note_peers();
        for id in std::mem::take(&mut self.dirty_jobs) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.write_dirty(effects);
                job.forget_saved(effects);
            }
            effects.push(Effect::JobMoved(id));
        }
        for id in std::mem::take(&mut self.dirty_leases) {
            if let Some(lease) = self.leases.get(&id) {
                effects.push(Effect::Keep(Change::Lease(Box::new(lease.record.clone()))));
            }
        }
        for id in std::mem::take(&mut self.dirty_bills) {
            if let Some(bill) = self.bills.get(&id) {
                effects.push(Effect::Keep(Change::Bill(Box::new(bill.clone()))));
            }
        }
        for id in std::mem::take(&mut self.dirty_hosts) {
            if let Some(host) = self.hosts.get(&id) {
                effects.push(Effect::Keep(Change::Host(Box::new(host.record.clone()))));
            }
        }
        self.write_keepers(effects);
    }
}

/// BLAKE3 over the request, so that a key cannot be used for another one.
fn request_hash<T: Serialize>(request: &T) -> Guid {
    Guid::of(&isos_base::codec::encode(request))
}
