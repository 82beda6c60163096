//! Which hosts could keep an object, and leases on their disks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::BASE64URL_NOPAD;
use futures_util::stream::{self, StreamExt};
use isos_base::api::{
    KeeperView, KeepersView, LeaseChange, RenewRequest, Standing, StorageLeaseView, StorageRequest,
};
use isos_base::fragment::SignedGrant;
use isos_base::price::StoragePrice;
use isos_base::storage::{STORAGE_BYTES_MIN, STORAGE_CHANGES_MAX, STORAGE_TERM_MAX, StorageState};
use isos_base::{Bytes, HostId, LeaseId, Span, Time};
use isos_net::used_of_lease;
use isos_store::class::{Class, Plan, choose};
use isos_store::durability::Hosts;
use isos_store::spread::{Block, Candidate, Relaxed, Wish, spread};

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::asked::Asked;
use super::{PutOptions, Store, StoreError};
use crate::client::Client;
use crate::limits::{ASK_TIMEOUT, ASKED_AT_ONCE};
use crate::local::fresh_key;

/// Keepers that are asked for: as many as the complex shows.
const KEEPERS_MAX: u32 = 256;
/// How long it takes until what is lost is made anew. Nobody does so by himself yet: owners that
/// look after their objects once a week do.
const REPAIR_DELAY: Span = Span::secs(7 * 86_400);
/// Leases grow by whole steps, so that not every small object is a request.
const STEP: u64 = STORAGE_BYTES_MIN.0;
/// A lease that was found full grows by a half, and by so much at least.
const GROWTH_MIN: Bytes = Bytes::mib(16);
/// Leases with less than this part of the wanted term left are renewed when something is put.
const RENEW_BELOW: u64 = 2;

/// How an object will be kept, and by whom.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The code, the threshold, what it is worth and what it lacks.
    pub plan: Plan,
    /// Rules of spreading that this pool cannot keep.
    pub relaxed: Vec<Relaxed>,
    /// Who gets fragments, and then who steps in.
    pub(super) hosts: Vec<KeeperView>,
}

/// A lease that is used.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) lease: LeaseId,
    pub(super) bytes: Bytes,
    pub(super) until: Time,
    pub(super) grant: SignedGrant,
    pub(super) keeper: KeeperView,
}

/// Where fragments may go: a host, with a lease or the request for one.
#[derive(Debug)]
pub(super) struct Place {
    held: Mutex<Option<Held>>,
    request: StorageRequest,
    asked: Arc<Asked>,
    /// What was kept there since the lease last grew, and by how much it did.
    kept: AtomicU64,
    grown: AtomicU64,
}

impl Place {
    /// The lease, if there is one.
    pub(super) async fn there(&self) -> Option<Held> {
        self.held.lock().await.clone()
    }

    /// The lease, made now if there is none. However often it is asked for, one is made.
    pub(super) async fn lease(&self, client: &Client) -> Result<Held, StoreError> {
        let mut held = self.held.lock().await;
        if let Some(held) = &*held {
            return Ok(held.clone());
        }
        // Before: whether the answer comes or not, they may have changed.
        self.asked.leases_changed();
        let made = one(client.lease_storage(&self.request).await?)?;
        Ok(held.insert(made).clone())
    }

    /// Something was kept there, under this lease.
    pub(super) fn kept(&self, lease: LeaseId, bytes: u64) {
        self.asked.kept(lease, bytes);
        self.kept.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The lease, larger than it was when it was found full, if nobody has made it so meanwhile.
    pub(super) async fn grow(&self, client: &Client, full: &Held) -> Result<Held, StoreError> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| held.bytes > full.bytes) {
            return Ok(held.clone());
        }
        // A host that says that it is full and has kept next to nothing is not paid for more.
        if self.kept.load(Ordering::Relaxed) < self.grown.load(Ordering::Relaxed) / 2 {
            return Err(StoreError::Lease("it is full again before it was half filled".into()));
        }
        let growth = (full.bytes.0 / 2).max(GROWTH_MIN.0);
        let bytes = step(Bytes(full.bytes.0 + growth));
        self.kept.store(0, Ordering::Relaxed);
        self.grown.store(growth, Ordering::Relaxed);
        let changes = vec![LeaseChange { lease: full.lease, bytes: Some(bytes), until: None }];
        let request = RenewRequest { changes, price_max: self.request.price_max };
        self.asked.leases_changed();
        let grown = one(client.renew_storage(&request).await?)?;
        Ok(held.insert(grown).clone())
    }
}

fn one(leases: Vec<StorageLeaseView>) -> Result<Held, StoreError> {
    let mut made = BTreeMap::new();
    take(leases, &mut made)?;
    made.into_values().next().ok_or_else(|| StoreError::Lease("there is none".into()))
}

impl Store {
    /// The account's open leases of this user. An account without the right has none.
    pub(super) async fn all_held(&self) -> Result<Vec<Held>, StoreError> {
        if let Some(held) = self.asked.leases() {
            return Ok(held);
        }
        let leases = match self.client.storage_leases().await {
            Err(error) if Self::may_not_lease(&error) => return Ok(Vec::new()),
            leases => leases?,
        };
        let is_ours = |lease: &StorageLeaseView| {
            lease.holder == self.key.public()
                && lease.state == StorageState::Open
                && lease.grant.is_some()
        };
        let ours = leases.into_iter().filter(is_ours).map(|lease| one(vec![lease]));
        let held: Vec<Held> = ours.collect::<Result<_, _>>()?;
        self.asked.set_leases(held.clone());
        Ok(held)
    }

    /// One of them for each host: of a class, if that is said, the oldest one.
    pub(super) async fn held(
        &self,
        class: Option<Class>,
    ) -> Result<BTreeMap<HostId, Held>, StoreError> {
        let mut by_host: BTreeMap<HostId, Held> = BTreeMap::new();
        for held in self.all_held().await? {
            let is_wanted = class.is_none_or(|class| held.grant.grant.class == class.purpose());
            let older = by_host.get(&held.keeper.host).map(|other| other.lease);
            if is_wanted && older.is_none_or(|older| held.lease < older) {
                by_host.insert(held.keeper.host, held);
            }
        }
        Ok(by_host)
    }

    /// How so many bytes would be kept.
    ///
    /// # Errors
    /// [`StoreError::NoHosts`], [`StoreError::TooFew`], [`StoreError::Client`].
    pub async fn plan(&self, bytes: Bytes, options: &PutOptions) -> Result<Planned, StoreError> {
        let held = self.held(Some(options.class)).await?;
        self.plan_with(bytes, options, &held).await
    }

    pub(super) async fn plan_with(
        &self,
        bytes: Bytes,
        options: &PutOptions,
        held: &BTreeMap<HostId, Held>,
    ) -> Result<Planned, StoreError> {
        let found = self.keepers(options.price_max).await?;
        let mut known: BTreeMap<HostId, KeeperView> =
            found.hosts.into_iter().map(|keeper| (keeper.host, keeper)).collect();
        for held in held.values().filter(|held| held.keeper.standing == Standing::Here) {
            known.entry(held.keeper.host).or_insert_with(|| held.keeper.clone());
        }
        let count = known.len().min(usize::from(u16::MAX)) as u16;
        let plan = choose(options.class, count, &hosts_of(known.values()))?;
        let each = need(bytes, &plan);
        let candidates: Vec<Candidate> = known.values().map(candidate).collect();
        let n = plan.scheme.code.n();
        let wish = Wish { count: n, n, bytes: each, stable: 0, seed: self.now().0 };
        let chosen = spread(&wish, &[], &candidates)?;
        // Who steps in has no rule to keep: it is that or nobody.
        let spare = candidates.iter().filter(|it| it.free >= each).map(|it| it.host);
        let spare: Vec<HostId> = spare.filter(|host| !chosen.hosts.contains(host)).collect();
        let hosts = chosen.hosts.into_iter().chain(spare);
        let hosts = hosts.filter_map(|host| known.remove(&host)).collect();
        Ok(Planned { plan, relaxed: chosen.relaxed, hosts })
    }

    /// Hosts that keep at this price.
    async fn keepers(&self, price_max: Option<StoragePrice>) -> Result<KeepersView, StoreError> {
        if let Some(keepers) = self.asked.keepers(price_max) {
            return Ok(keepers);
        }
        let found = self.client.keepers(STORAGE_BYTES_MIN, price_max, KEEPERS_MAX).await?;
        self.asked.set_keepers(price_max, found.clone());
        Ok(found)
    }

    /// Makes the leases of the first n hosts large and long enough for `each` more bytes.
    pub(super) async fn lease_all(
        &self,
        hosts: &[KeeperView],
        each: Bytes,
        used: &BTreeMap<LeaseId, Bytes>,
        options: &PutOptions,
        held: &BTreeMap<HostId, Held>,
    ) -> Result<BTreeMap<HostId, Held>, StoreError> {
        let until = self.until(options);
        let (mut ready, mut changes, mut fresh) = (BTreeMap::new(), Vec::new(), Vec::new());
        let told = self.told_used(hosts.iter().filter_map(|keeper| held.get(&keeper.host))).await;
        for keeper in hosts {
            let Some(held) = held.get(&keeper.host) else {
                fresh.push(keeper.host);
                continue;
            };
            // A put that failed was not counted here; what nobody has counted is taken to be full.
            let counted = told.get(&held.lease).or_else(|| used.get(&held.lease));
            let taken = counted.copied().unwrap_or(held.bytes);
            let wanted = step(Bytes(taken.0 + each.0));
            let grow = (wanted > held.bytes).then_some(wanted);
            let longer = self.ends_soon(held, options).then_some(until);
            if grow.is_some() || longer.is_some() {
                changes.push(LeaseChange { lease: held.lease, bytes: grow, until: longer });
            }
            ready.insert(keeper.host, held.clone());
        }
        for changes in changes.chunks(STORAGE_CHANGES_MAX) {
            let (changes, price_max) = (changes.to_vec(), options.price_max);
            let request = RenewRequest { changes, price_max };
            self.asked.leases_changed();
            let renewed = self.client.renew_storage(&request).await?;
            take(renewed, &mut ready)?;
        }
        if !fresh.is_empty() {
            let made = self.lease_on(fresh, each, options).await?;
            ready.extend(made);
        }
        Ok(ready)
    }

    /// What hosts say lies under these leases; those that do not answer are left out.
    async fn told_used(&self, leases: impl Iterator<Item = &Held>) -> BTreeMap<LeaseId, Bytes> {
        let questions = stream::iter(leases).map(|held| async {
            if let Some(used) = self.asked.used(held.lease) {
                return Some((held.lease, used));
            }
            let line = self.lines.to(&held.keeper);
            let question = async {
                let connection = self.lines.open_with(&line, &held.grant).await.ok()?;
                used_of_lease(&connection, held.lease).await.ok()?.ok()
            };
            let used = timeout(ASK_TIMEOUT, question).await.ok().flatten()?;
            // Whoever says more than can be sells nothing by it.
            let used = used.min(held.bytes);
            self.asked.set_used(held.lease, used);
            Some((held.lease, used))
        });
        let answers = questions.buffer_unordered(ASKED_AT_ONCE);
        answers.filter_map(std::future::ready).collect().await
    }

    /// Renews the leases of this user that have less than half of the term left, but for empty
    /// ones: also those on hosts that get nothing new, since objects of before lie there. Says how
    /// many were renewed, and of which hosts they could not be.
    ///
    /// # Errors
    /// [`StoreError`], when leases cannot be listed.
    pub async fn renew_leases(
        &self,
        options: &PutOptions,
        used: &BTreeMap<LeaseId, Bytes>,
    ) -> Result<(usize, Vec<HostId>), StoreError> {
        let until = self.until(options);
        let held = self.all_held().await?;
        let short = |held: &&Held| {
            self.ends_soon(held, options) && used.get(&held.lease) != Some(&Bytes::ZERO)
        };
        let short: Vec<&Held> = held.iter().filter(short).collect();
        let change =
            |held: &&Held| LeaseChange { lease: held.lease, bytes: None, until: Some(until) };
        let price_max = options.price_max;
        let (mut renewed, mut failed) = (0, Vec::new());
        for some in short.chunks(STORAGE_CHANGES_MAX) {
            let changes = some.iter().map(change).collect();
            let together = RenewRequest { changes, price_max };
            self.asked.leases_changed();
            if self.client.renew_storage(&together).await.is_ok() {
                renewed += some.len();
                continue;
            }
            // All or none: so one by one, and who cannot be renewed is named.
            for held in some {
                let one = RenewRequest { changes: vec![change(held)], price_max };
                match self.client.renew_storage(&one).await {
                    Ok(_) => renewed += 1,
                    Err(error) => {
                        tracing::debug!(host = %held.keeper.host, %error, "a lease is not renewed");
                        failed.push(held.keeper.host);
                    }
                }
            }
        }
        Ok((renewed, failed))
    }

    /// Leases on these hosts, where nothing is leased yet.
    async fn lease_on(
        &self,
        on: Vec<HostId>,
        each: Bytes,
        options: &PutOptions,
    ) -> Result<BTreeMap<HostId, Held>, StoreError> {
        let request = self.request(on, each, options)?;
        let mut made = BTreeMap::new();
        self.asked.leases_changed();
        take(self.client.lease_storage(&request).await?, &mut made)?;
        Ok(made)
    }

    /// A place for each host: leased already, or when it is needed.
    pub(super) fn places(
        &self,
        hosts: &[KeeperView],
        mut held: BTreeMap<HostId, Held>,
        each: Bytes,
        options: &PutOptions,
    ) -> Result<BTreeMap<HostId, Arc<Place>>, StoreError> {
        let place = |keeper: &KeeperView| {
            let request = self.request(vec![keeper.host], each, options)?;
            let held = Mutex::new(held.remove(&keeper.host));
            let (kept, grown) = (AtomicU64::new(0), AtomicU64::new(0));
            let asked = Arc::clone(&self.asked);
            Ok((keeper.host, Arc::new(Place { held, request, asked, kept, grown })))
        };
        hosts.iter().map(place).collect()
    }

    fn request(
        &self,
        on: Vec<HostId>,
        each: Bytes,
        options: &PutOptions,
    ) -> Result<StorageRequest, StoreError> {
        Ok(StorageRequest {
            class: options.class.purpose(),
            bytes: step(each),
            hosts: 0,
            on,
            beside: Vec::new(),
            avoid: Vec::new(),
            until: self.until(options),
            holder: self.key.public(),
            price_max: options.price_max,
            key: Some(fresh_key().map_err(StoreError::Random)?),
        })
    }

    /// Whether a lease is to be renewed: less than half of the term is left.
    fn ends_soon(&self, held: &Held, options: &PutOptions) -> bool {
        held.until.since(self.now()).0 < options.term.0 / RENEW_BELOW
    }

    fn until(&self, options: &PutOptions) -> Time {
        self.now() + Span(options.term.0.min(STORAGE_TERM_MAX.0))
    }

    /// All hosts that may have something: those of the account's leases first, then others.
    pub(super) async fn known(&self) -> Result<Vec<KeeperView>, StoreError> {
        let held = self.held(None).await?;
        let mut known: Vec<KeeperView> = held.into_values().map(|held| held.keeper).collect();
        match self.client.keepers(Bytes(0), None, KEEPERS_MAX).await {
            Ok(found) => {
                for keeper in found.hosts {
                    if known.iter().all(|it| it.host != keeper.host) {
                        known.push(keeper);
                    }
                }
            }
            // Its own hosts are known without it.
            Err(error) if !known.is_empty() => {
                tracing::debug!(%error, "no more keepers than those of the leases");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(known)
    }
}

/// What one host of the plan must have room for: a fragment of each segment, and the manifest.
pub(super) fn need(bytes: Bytes, plan: &Plan) -> Bytes {
    let code = plan.scheme.code;
    let m = u64::from(code.m());
    // Records, indexes and segments that do not fill take a part in sixteen at most.
    let data = (bytes.0 + bytes.0 / 16).div_ceil(m);
    let segments = bytes.0.div_ceil(3 << 20) + 1;
    let manifest = segments * (u64::from(code.n()) * 32 + 256) + (64 << 10);
    Bytes(data + segments * 64 + manifest)
}

/// Bytes up to the next whole step.
fn step(bytes: Bytes) -> Bytes {
    Bytes(bytes.0.div_ceil(STEP).max(1) * STEP)
}

fn take(
    leases: Vec<StorageLeaseView>,
    held: &mut BTreeMap<HostId, Held>,
) -> Result<(), StoreError> {
    for view in leases {
        let nothing = || StoreError::Lease("it has no grant".into());
        let grant = grant(&view.grant.ok_or_else(nothing)?)?;
        let (lease, bytes, until, keeper) = (view.id, view.bytes, view.until, view.host);
        held.insert(keeper.host, Held { lease, bytes, until, grant, keeper });
    }
    Ok(())
}

fn grant(text: &str) -> Result<SignedGrant, StoreError> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
    let bytes = bytes.map_err(|error| StoreError::Lease(error.into()))?;
    SignedGrant::from_bytes(&bytes).map_err(|error| StoreError::Lease(error.into()))
}

/// What the pool is like: the mean of what is known of each.
pub(super) fn hosts_of<'a>(keepers: impl Iterator<Item = &'a KeeperView> + Clone) -> Hosts {
    let count = keepers.clone().count().max(1) as u64;
    let lifetime: u128 = keepers.clone().map(|it| u128::from(it.lifetime.0)).sum();
    let up: f64 = keepers.map(|it| f64::from(it.up_ppm) / 1e6).sum();
    let lifetime = Span((lifetime / u128::from(count)) as u64);
    Hosts { lifetime, up: up / count as f64, repair_delay: REPAIR_DELAY }
}

pub(super) fn candidate(keeper: &KeeperView) -> Candidate {
    let block = keeper.block.as_deref().and_then(|block| {
        let (address, _) = block.split_once('/')?;
        address.parse::<IpAddr>().ok().map(Block::of)
    });
    Candidate {
        host: keeper.host,
        owner: keeper.owner,
        block,
        system: None,
        country: keeper.country.clone(),
        os: keeper.os.clone(),
        agent: keeper.agent.clone(),
        lifetime: keeper.lifetime,
        up: f64::from(keeper.up_ppm) / 1e6,
        free: keeper.free,
    }
}
