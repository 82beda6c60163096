//! The door: counts what addresses, accounts and hosts take, and turns away who takes too much.
//!
//! It knows numbers only, and what it remembers is bounded: debts stand in tables of so many
//! places (see [`isos_base::rate`]), and what is held at once is as much as the server holds.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isos_base::api::{Problem, ProblemCode};
use isos_base::rate::{Origin, Rate, Rates, Site};
use isos_base::{AccountId, Bytes, HostId, Span, Time};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::hosts::{API_CONNECTIONS_MAX, HOST_CONNECTIONS_MAX};
use crate::limits::{BURST_SECS, Limits, MINUTE, rate, rate_a_minute};

/// Debtors of one table: some 6 MiB when all places are taken.
const CALLERS_MAX: usize = 65_536;
/// Who waits for its own readers looks again after this time.
const READ_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);
/// Uploads of one account at once, of any size.
const ACCOUNT_UPLOADS_MAX: u64 = 32;
/// A request that reads much of the database waits so long for its account's others.
const SCAN_WAIT_MAX: std::time::Duration = std::time::Duration::from_millis(500);
/// Who holds as much as it may comes back after this time: nobody knows when something gets free.
const HELD_AGAIN: Span = Span::secs(2);

/// A limit that can be met; each is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    AddressRequests,
    AddressTokens,
    AddressConnections,
    AddressHosts,
    AccountRequests,
    AccountOpen,
    AccountUploads,
    AccountReads,
    AccountScans,
    AccountChanges,
    AccountSessions,
    AccountFrames,
    HostSessions,
    HostFrames,
}

impl Limit {
    const ALL: [Self; 14] = [
        Self::AddressRequests,
        Self::AddressTokens,
        Self::AddressConnections,
        Self::AddressHosts,
        Self::AccountRequests,
        Self::AccountOpen,
        Self::AccountUploads,
        Self::AccountReads,
        Self::AccountScans,
        Self::AccountChanges,
        Self::AccountSessions,
        Self::AccountFrames,
        Self::HostSessions,
        Self::HostFrames,
    ];

    /// The operator's word for it: an option of the server, and a label of its metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::AddressRequests => "address-requests",
            Self::AddressTokens => "address-tokens",
            Self::AddressConnections => "address-connections",
            Self::AddressHosts => "address-hosts",
            Self::AccountRequests => "account-requests",
            Self::AccountOpen => "account-open",
            Self::AccountUploads => "account-uploads",
            Self::AccountReads => "account-reads",
            Self::AccountScans => "account-scans",
            Self::AccountChanges => "account-changes",
            Self::AccountSessions => "account-sessions",
            Self::AccountFrames => "account-frames",
            Self::HostSessions => "host-sessions",
            Self::HostFrames => "host-frames",
        }
    }

    /// What was too much, with the number.
    fn what(self, limits: &Limits) -> String {
        match self {
            Self::AddressRequests => {
                format!("more than {} requests a second from one address", limits.address_requests)
            }
            Self::AddressTokens => {
                let many = limits.address_tokens;
                format!("more than {many} unknown or wrong tokens a second from one address")
            }
            Self::AddressConnections => {
                let many = limits.address_connections;
                format!("more than {many} connections to the API at once from one address")
            }
            Self::AddressHosts => {
                let many = limits.address_hosts;
                format!("more than {many} connections of hosts at once from one address")
            }
            Self::AccountRequests => {
                format!("more than {} requests a second of one account", limits.account_requests)
            }
            Self::AccountOpen => {
                format!("more than {} requests of one account at once", limits.account_open)
            }
            Self::AccountUploads => {
                format!(
                    "uploads of more than {} of one account at once, or more than \
                     {ACCOUNT_UPLOADS_MAX} of them",
                    limits.account_uploads
                )
            }
            Self::AccountReads => {
                format!("more than {} of one account's objects in memory", limits.account_reads)
            }
            Self::AccountScans => {
                let many = limits.account_scans;
                format!("more than {many} requests of one account at once that read much")
            }
            Self::AccountChanges => {
                let many = limits.account_changes;
                format!("more than {many} logins and changes of rights a minute of one account")
            }
            Self::AccountSessions => {
                let many = limits.account_sessions;
                format!("more than {many} sessions a second of one account's hosts")
            }
            Self::AccountFrames => {
                format!(
                    "more than {} frames a second of one account's hosts",
                    limits.account_frames
                )
            }
            Self::HostSessions => {
                format!("more than {} sessions a second of one host", limits.host_sessions)
            }
            Self::HostFrames => {
                format!("more than {} frames a second of one host", limits.host_frames)
            }
        }
    }
}

/// Somebody takes too much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What is too much and what helps, for people.
    pub(crate) why: String,
    /// When to come back.
    pub(crate) after: Span,
}

impl Refused {
    /// Said of a whole site rather than of one address.
    fn of_site(self) -> Self {
        Self { why: format!("all addresses of this /48 together: {}", self.why), ..self }
    }
}

impl From<Refused> for Problem {
    fn from(Refused { why, after }: Refused) -> Self {
        Self::new(ProblemCode::Limited, why).after(after)
    }
}

/// How much of something each caller holds; who holds nothing is not here.
type Holdings<K> = Arc<Mutex<BTreeMap<K, u64>>>;

/// A part of what a caller may hold at once, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Ord> {
    holdings: Holdings<K>,
    caller: K,
    amount: u64,
}

impl<K: Ord> Drop for Share<K> {
    fn drop(&mut self) {
        let mut holdings = lock(&self.holdings);
        if let Some(held) = holdings.get_mut(&self.caller) {
            *held = held.saturating_sub(self.amount);
            if *held == 0 {
                holdings.remove(&self.caller);
            }
        }
    }
}

/// Where what one account does waits for its turn; accounts that do nothing are not here.
#[derive(Debug)]
struct Turns {
    /// So many of an account have their turn at once.
    at_once: usize,
    all: Lines,
}

/// How many are in each account's line, and where they wait.
type Lines = Arc<Mutex<BTreeMap<AccountId, (usize, Arc<Semaphore>)>>>;

/// One's place in the line of an account.
#[derive(Debug)]
struct Turn {
    lines: Lines,
    account: AccountId,
    line: Arc<Semaphore>,
}

impl Turns {
    /// 0 is without limit.
    fn new(at_once: u32) -> Self {
        let at_once = if at_once == 0 { Semaphore::MAX_PERMITS } else { at_once as usize };
        Self { at_once, all: Lines::default() }
    }

    fn join(&self, account: AccountId) -> Turn {
        let mut all = lock(&self.all);
        let new = || (0, Arc::new(Semaphore::new(self.at_once)));
        let (many, line) = all.entry(account).or_insert_with(new);
        *many += 1;
        Turn { lines: self.all.clone(), account, line: line.clone() }
    }
}

impl Turn {
    async fn comes(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.line.clone().acquire_owned().await.ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = lock(&self.lines);
        if let Some((many, _)) = all.get_mut(&self.account) {
            *many -= 1;
            if *many == 0 {
                all.remove(&self.account);
            }
        }
    }
}

/// A request that reads much of the database, one of its account's few at once until it is dropped.
#[derive(Debug)]
pub(crate) struct Scan {
    _permit: Option<OwnedSemaphorePermit>,
    _turn: Turn,
}

/// What the frames of one session are counted with.
#[derive(Debug)]
pub(crate) struct Frames {
    own: Mutex<Rates<()>>,
    account: Option<Turn>,
}

/// How often origins do something, and sites.
struct OriginRates {
    origins: Mutex<Rates<Origin>>,
    sites: Mutex<Rates<Site>>,
}

impl OriginRates {
    fn new(per_second: u32) -> Self {
        let Rate { per_second, burst } = rate(per_second);
        let times = |times| Rate { per_second: per_second * times, burst: burst * times };
        Self {
            origins: Mutex::new(Rates::new(times(Origin::RELAYED_TIMES), CALLERS_MAX)),
            sites: Mutex::new(Rates::new(times(Site::TIMES), CALLERS_MAX)),
        }
    }
}

/// Places that are held, by where their holders are.
struct Stays {
    origins: Holdings<Origin>,
    sites: Holdings<Site>,
    all: Holdings<()>,
    /// Of all places, so many are a half.
    half: u64,
}

impl Stays {
    fn new(places: usize) -> Self {
        let (origins, sites, all) = Default::default();
        Self { origins, sites, all, half: places as u64 / 2 }
    }
}

/// A place that somebody holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Stay {
    _of_origin: Share<Origin>,
    _of_site: Option<Share<Site>>,
    _of_all: Share<()>,
}

/// What everybody has taken lately and holds now.
pub(crate) struct Door {
    limits: Limits,
    begun: Instant,
    requests: OriginRates,
    tokens: OriginRates,
    accounts: Mutex<Rates<AccountId>>,
    changes: Mutex<Rates<AccountId>>,
    sessions: Mutex<Rates<HostId>>,
    account_sessions: Mutex<Rates<AccountId>>,
    account_frames: Mutex<Rates<AccountId>>,
    turns: Turns,
    scans: Turns,
    connections: Stays,
    hosts: Stays,
    open: Holdings<AccountId>,
    uploads: Holdings<AccountId>,
    reads: Holdings<AccountId>,
    refused: [AtomicU64; Limit::ALL.len()],
}

impl Door {
    pub(crate) fn new(limits: Limits) -> Self {
        let of_accounts = |per_second: u32| Mutex::new(Rates::new(rate(per_second), CALLERS_MAX));
        Self {
            begun: Instant::now(),
            requests: OriginRates::new(limits.address_requests),
            tokens: OriginRates::new(limits.address_tokens),
            accounts: of_accounts(limits.account_requests),
            changes: Mutex::new(Rates::new(rate_a_minute(limits.account_changes), CALLERS_MAX)),
            sessions: Mutex::new(Rates::new(rate(limits.host_sessions), CALLERS_MAX)),
            account_sessions: of_accounts(limits.account_sessions),
            account_frames: of_accounts(limits.account_frames),
            turns: Turns::new(1),
            scans: Turns::new(limits.account_scans),
            // By TCP and by QUIC.
            connections: Stays::new(2 * API_CONNECTIONS_MAX),
            hosts: Stays::new(HOST_CONNECTIONS_MAX),
            open: Holdings::default(),
            uploads: Holdings::default(),
            reads: Holdings::default(),
            refused: Default::default(),
            limits,
        }
    }

    /// Whence those come who call on the HTTP socket from this address.
    pub(crate) fn http_origin(&self, address: IpAddr) -> Origin {
        if self.limits.http_behind_proxy { Origin::Proxy } else { Origin::of(Some(address)) }
    }

    /// A request from there, whoever sent it.
    pub(crate) fn request(&self, origin: Origin) -> Result<(), Refused> {
        if origin == Origin::Proxy {
            return Ok(());
        }
        self.take_from(&self.requests, Limit::AddressRequests, origin)
    }

    /// A token from there that must be checked.
    pub(crate) fn token(&self, origin: Origin) -> Result<(), Refused> {
        if origin == Origin::Proxy {
            return Ok(());
        }
        self.take_from(&self.tokens, Limit::AddressTokens, origin)
    }

    /// Whether a request of this account is under way.
    #[cfg(test)]
    pub(crate) fn is_in(&self, account: AccountId) -> bool {
        lock(&self.open).contains_key(&account)
    }

    /// A request of an account; it is under way until the share is dropped.
    pub(crate) fn account(&self, account: AccountId) -> Result<Share<AccountId>, Refused> {
        let max = self.limits.account_open.into();
        let share = self.hold(&self.open, Limit::AccountOpen, account, 1, max)?;
        self.take(&self.accounts, Limit::AccountRequests, account, 1)?;
        Ok(share)
    }

    /// A change of an account's rights or promises, of which a row is kept for ever.
    pub(crate) fn change(&self, account: AccountId) -> Result<(), Refused> {
        self.take(&self.changes, Limit::AccountChanges, account, MINUTE)
    }

    /// An upload of an account; it is under way until the share is dropped. The only one may be
    /// of any size.
    pub(crate) fn upload(
        &self,
        account: AccountId,
        size: Bytes,
    ) -> Result<Share<AccountId>, Refused> {
        let max = self.limits.account_uploads.0;
        // Each counts for a part of them, so that small ones do not take all places.
        let least = if max == 0 { 1 } else { max.div_ceil(ACCOUNT_UPLOADS_MAX) };
        self.hold(&self.uploads, Limit::AccountUploads, account, size.0.max(least), max)
    }

    /// Waits until an account may have an object of this size in memory. The only one may be of any
    /// size.
    pub(crate) async fn reading(&self, account: AccountId, size: Bytes) -> Share<AccountId> {
        let max = self.limits.account_reads.0;
        loop {
            match self.hold(&self.reads, Limit::AccountReads, account, size.0, max) {
                Ok(share) => return share,
                Err(_) => tokio::time::sleep(READ_AGAIN).await,
            }
        }
    }

    /// Lets an account read much of the database, when it is its turn within a moment.
    pub(crate) async fn scan(&self, account: AccountId) -> Result<Scan, Refused> {
        match tokio::time::timeout(SCAN_WAIT_MAX, self.scan_on(account)).await {
            Ok(scan) => Ok(scan),
            Err(_) => Err(self.refuse(Limit::AccountScans, HELD_AGAIN)),
        }
    }

    /// As [`Door::scan`], for one that has begun and goes on: it waits as long as it takes.
    pub(crate) async fn scan_on(&self, account: AccountId) -> Scan {
        let turn = self.scans.join(account);
        Scan { _permit: turn.comes().await, _turn: turn }
    }

    /// A connection to the API.
    pub(crate) fn connection(&self, origin: Origin) -> Result<Stay, Refused> {
        let max = most(origin, self.limits.address_connections, API_CONNECTIONS_MAX);
        self.stay(&self.connections, Limit::AddressConnections, origin, max)
    }

    /// A connection of a host.
    pub(crate) fn host(&self, origin: Origin) -> Result<Stay, Refused> {
        let max = most(origin, self.limits.address_hosts, HOST_CONNECTIONS_MAX);
        self.stay(&self.hosts, Limit::AddressHosts, origin, max)
    }

    /// A host that begins a session.
    pub(crate) fn session(&self, host: HostId) -> Result<(), Refused> {
        self.take(&self.sessions, Limit::HostSessions, host, 1)
    }

    /// A host of an account that begins a session. Who is refused has the whole burst again when it
    /// comes back: the account's other hosts are refused beside it.
    pub(crate) fn account_session(&self, account: AccountId) -> Result<(), Refused> {
        let taken = self.take(&self.account_sessions, Limit::AccountSessions, account, 1);
        let later = |refused: Refused| refused.after.max(Span::secs(BURST_SECS));
        taken.map_err(|refused| Refused { after: later(refused.clone()), ..refused })
    }

    /// What the frames of one session are counted with, for the account that it earns for.
    pub(crate) fn frames(&self, account: Option<AccountId>) -> Frames {
        let own = Mutex::new(Rates::new(rate(self.limits.host_frames), 1));
        Frames { own, account: account.map(|account| self.turns.join(account)) }
    }

    /// Waits until a session may send one more frame.
    pub(crate) async fn frame(&self, frames: &Frames) {
        while let Err(refused) = self.take(&frames.own, Limit::HostFrames, (), 1) {
            tokio::time::sleep(refused.after.to_std()).await;
        }
        let Some(turn) = &frames.account else { return };
        let rates = &self.account_frames;
        if self.take(rates, Limit::AccountFrames, turn.account, 1).is_ok() {
            return;
        }
        // One of them at a time looks at the clock, in the order in which they came.
        let _first = turn.comes().await;
        while let Err(refused) = self.take(rates, Limit::AccountFrames, turn.account, 1) {
            tokio::time::sleep(refused.after.to_std()).await;
        }
    }

    /// How often each limit was met, as Prometheus reads it.
    pub(crate) fn render(&self, out: &mut String) {
        let name = "isos_limited_total";
        let what = "What was refused because one address, account or host took too much.";
        let _ = write!(out, "# HELP {name} {what}\n# TYPE {name} counter\n");
        for (limit, count) in Limit::ALL.iter().zip(&self.refused) {
            let _ = writeln!(out, "{name}{{limit=\"{}\"}} {}", limit.name(), count.load(Relaxed));
        }
    }

    /// Takes from what an origin may do, and from what its site may.
    fn take_from(&self, rates: &OriginRates, limit: Limit, origin: Origin) -> Result<(), Refused> {
        self.take(&rates.origins, limit, origin, origin.weight())?;
        let Some(site) = origin.site() else { return Ok(()) };
        self.take(&rates.sites, limit, site, 1).map_err(Refused::of_site)
    }

    /// A place among those of an origin, `max` of them. All origins of a site together may have as
    /// many as a single one, once half of all places are taken.
    fn stay(&self, stays: &Stays, limit: Limit, origin: Origin, max: u64) -> Result<Stay, Refused> {
        let of_origin = self.hold(&stays.origins, limit, origin, 1, max)?;
        let all = lock(&stays.all).get(&()).copied().unwrap_or(0);
        let site_max = if all >= stays.half { max } else { 0 };
        let hold = |site| self.hold(&stays.sites, limit, site, 1, site_max);
        let of_site = origin.site().map(hold).transpose().map_err(Refused::of_site)?;
        let of_all = self.hold(&stays.all, limit, (), 1, 0)?;
        Ok(Stay { _of_origin: of_origin, _of_site: of_site, _of_all: of_all })
    }

    fn take<K: Ord + Copy>(
        &self,
        rates: &Mutex<Rates<K>>,
        limit: Limit,
        caller: K,
        amount: u64,
    ) -> Result<(), Refused> {
        let now = Time::default() + Span::from_std(self.begun.elapsed());
        let taken = lock(rates).take(now, caller, amount);
        taken.map_err(|after| self.refuse(limit, after))
    }

    fn hold<K: Ord + Copy>(
        &self,
        holdings: &Holdings<K>,
        limit: Limit,
        caller: K,
        amount: u64,
        max: u64,
    ) -> Result<Share<K>, Refused> {
        let mut all = lock(holdings);
        let held = all.get(&caller).copied().unwrap_or(0);
        let sum = held.saturating_add(amount);
        if held > 0 && sum > max && max > 0 {
            return Err(self.refuse(limit, HELD_AGAIN));
        }
        // Nothing is nothing: it would never be taken off again.
        if amount > 0 {
            all.insert(caller, sum);
        }
        Ok(Share { holdings: holdings.clone(), caller, amount })
    }

    fn refuse(&self, limit: Limit, after: Span) -> Refused {
        self.refused[limit as usize].fetch_add(1, Relaxed);
        let (what, name) = (limit.what(&self.limits), limit.name());
        let wait = seconds(after);
        let why = format!(
            "{what}: come back in {wait} s, and less often; the operator of the complex can raise \
             --{name}"
        );
        Refused { why, after }
    }
}

/// How many of the places an origin may have, if an address may have `own`: all relayed callers
/// together never more than a half, so that the others find some.
fn most(origin: Origin, own: u32, places: usize) -> u64 {
    let own = u64::from(own);
    match origin {
        Origin::Relayed => (own * Origin::RELAYED_TIMES).min(places as u64 / 2),
        Origin::V4(_) | Origin::V6(_) => own,
        // Without limit.
        Origin::Proxy => 0,
    }
}

/// As `Retry-After` has it: whole seconds, one at the least.
pub(crate) fn seconds(span: Span) -> u64 {
    span.0.div_ceil(1_000_000).max(1)
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    // Numbers alone: whatever a panic left is as good as any.
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
