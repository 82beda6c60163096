//! Which keepers get leases: by chance, those that stay and are there more often, no two of one
//! owner or network as long as there are others.
//!
//! A look is bounded: it begins at a place among the keys that nobody can foresee, and keys are by
//! chance. The finer rules of spreading (countries, systems, versions) are of whoever stores: it is
//! shown candidates by the same rules, and may name the hosts that it wants.

use std::collections::{BTreeMap, BTreeSet};

use isos_base::api::{KeepersView, Problem, Standing, StorageRequest};
use isos_base::price::StoragePrice;
use isos_base::random::Random;
use isos_base::record::KeeperRecord;
use isos_base::{AccountId, Bytes, Guid, HostId, Time};

use super::super::session::Block;
use super::super::{Complex, request_hash};
use super::lease::refused;
use super::{HOST_LEASES_MAX, Keeper};

/// Keepers that are looked at for one request: about a millisecond.
const LOOKS_MAX: usize = 4_096;
/// Of which so many are considered that would do.
const FITTING_MAX: usize = 1_024;
/// Fragments with one owner, and in one network, in the order in which that is relaxed.
const ALIKE: [usize; 4] = [1, 2, 4, usize::MAX];
/// Candidates that are shown.
const SHOWN_MAX: usize = 512;

/// Why a keeper gets no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unfit {
    Away,
    Full,
    Dear,
}

/// What a keeper must be like.
struct Terms {
    bytes: Bytes,
    most: StoragePrice,
}

/// Those who would do, the best first, and why others would not.
struct Field {
    fit: Vec<HostId>,
    unfit: BTreeMap<Unfit, usize>,
}

impl Complex {
    /// What a GiB costs a month at a keeper: the operator's price, or what its owner asks if that
    /// is more.
    pub(super) fn price_at(&self, keeper: &KeeperRecord) -> StoragePrice {
        self.config.storage_price.max(keeper.offer.price_min)
    }

    /// The hosts on which a request leases.
    pub(super) fn choose_keepers(
        &self,
        account: AccountId,
        request: &StorageRequest,
    ) -> Result<Vec<HostId>, Problem> {
        let (price, bytes) = (self.config.storage_price, request.bytes);
        let most = request.price_max.unwrap_or(price);
        if most < price {
            return Err(refused(format!(
                "a GiB costs {} micro-credits a month here, at most {} were offered",
                price.0, most.0
            )));
        }
        let terms = Terms { bytes, most };
        if !request.on.is_empty() {
            return self.named_keepers(request, &terms);
        }
        let never: BTreeSet<HostId> =
            request.beside.iter().chain(&request.avoid).copied().collect();
        let field = self.field(self.now, account, &terms, &never);
        let picked = self.spread(&field.fit, &request.beside, request.hosts.into());
        if picked.len() < request.hosts.into() {
            return Err(self.too_few(request, &terms, &field));
        }
        Ok(picked)
    }

    fn named_keepers(
        &self,
        request: &StorageRequest,
        terms: &Terms,
    ) -> Result<Vec<HostId>, Problem> {
        let mut seen = BTreeSet::new();
        for host in &request.on {
            let short = host.short();
            if !seen.insert(*host) {
                return Err(refused(format!("host {short} is named twice")));
            }
            let Some(keeper) = self.storage.keepers.get(host) else {
                return Err(refused(format!("host {short} keeps no fragments: name another")));
            };
            let why = match self.unfit(self.now, *host, keeper, terms) {
                None => continue,
                Some(Unfit::Away) => "is not there now".to_owned(),
                Some(Unfit::Full) => format!("has no room for {}", terms.bytes),
                Some(Unfit::Dear) => {
                    let price = self.price_at(&keeper.record).0;
                    format!("asks {price} micro-credits for a GiB and month")
                }
            };
            return Err(refused(format!("host {short} {why}: name another")));
        }
        Ok(request.on.clone())
    }

    fn unfit(&self, now: Time, host: HostId, keeper: &Keeper, terms: &Terms) -> Option<Unfit> {
        if self.keeper_standing(now, host) != Standing::Here {
            return Some(Unfit::Away);
        }
        if keeper.free() < terms.bytes || keeper.open >= HOST_LEASES_MAX {
            return Some(Unfit::Full);
        }
        (self.price_at(&keeper.record) > terms.most).then_some(Unfit::Dear)
    }

    /// Keepers that would do, in an order of chance in which those that stay come first more often.
    fn field(
        &self,
        now: Time,
        account: AccountId,
        terms: &Terms,
        never: &BTreeSet<HostId>,
    ) -> Field {
        let Guid(seed) = request_hash(&(self.config.check_secret, account, self.last_lease));
        let (first, _) = seed.split_first_chunk().expect("a hash has 32 bytes");
        let seed_number = u64::from_le_bytes(*first);
        let from = HostId(isos_base::key::PublicKey(seed));
        let keepers = &self.storage.keepers;
        let all = keepers.range(from..).chain(keepers.range(..from)).take(LOOKS_MAX);
        let (mut drawn, mut unfit) = (Vec::new(), BTreeMap::new());
        for (host, keeper) in all.filter(|(host, _)| !never.contains(host)) {
            match self.unfit(now, *host, keeper, terms) {
                Some(why) => *unfit.entry(why).or_default() += 1,
                None => drawn.push((self.draw(now, seed_number, *host), *host)),
            }
            if drawn.len() >= FITTING_MAX {
                break;
            }
        }
        drawn.sort_unstable();
        Field { fit: drawn.into_iter().map(|(_, host)| host).collect(), unfit }
    }

    /// The lower, the sooner.
    fn draw(&self, now: Time, seed: u64, host: HostId) -> u64 {
        let (first, _) = host.0.0.split_first_chunk().expect("a key has 32 bytes");
        let mut random = Random::new(seed ^ u64::from_le_bytes(*first));
        // Once to part seeds and keys, once to draw.
        random.next_u64();
        let (lifetime, up_ppm) = self.steadiness(now, host);
        let days = lifetime.0 / 86_400_000_000;
        random.next_u64() / ((1 + days) * u64::from(up_ppm / 10_000).max(1))
    }

    /// So many of them, as different from each other, and from those beside which they are, as can
    /// be.
    pub(in crate::complex) fn spread(
        &self,
        fit: &[HostId],
        beside: &[HostId],
        count: usize,
    ) -> Vec<HostId> {
        let mut owners: BTreeMap<AccountId, usize> = BTreeMap::new();
        let mut blocks: BTreeMap<Block, usize> = BTreeMap::new();
        let place = |host: &HostId| {
            let host = self.hosts.get(host)?;
            Some((host.record.account, host.block))
        };
        for (owner, block) in beside.iter().filter_map(place) {
            *owners.entry(owner).or_default() += 1;
            block.into_iter().for_each(|block| *blocks.entry(block).or_default() += 1);
        }
        let mut picked = Vec::new();
        let mut left: Vec<HostId> = fit.to_vec();
        for most in ALIKE {
            left.retain(|id| {
                let Some((owner, block)) = place(id) else { return false };
                let here = |block| blocks.get(&block).copied().unwrap_or(0);
                let is_out = picked.len() == count
                    || owners.get(&owner).copied().unwrap_or(0) >= most
                    || block.is_some_and(|block| here(block) >= most);
                if !is_out {
                    *owners.entry(owner).or_default() += 1;
                    block.into_iter().for_each(|block| *blocks.entry(block).or_default() += 1);
                    picked.push(*id);
                }
                is_out
            });
        }
        picked
    }

    fn too_few(&self, request: &StorageRequest, terms: &Terms, field: &Field) -> Problem {
        let of = |why| field.unfit.get(&why).copied().unwrap_or(0);
        refused(format!(
            "{} hosts with {} each are wanted, {} are there: of {} that keep fragments {} are \
             away, {} have no such room, {} ask more than {} micro-credits for a GiB and month; ask \
             for fewer or less, or pay more",
            request.hosts,
            terms.bytes,
            field.fit.len(),
            self.storage.keepers.len(),
            of(Unfit::Away),
            of(Unfit::Full),
            of(Unfit::Dear),
            terms.most.0
        ))
    }

    /// Keepers that one could lease of at `now`: a sample by chance.
    #[must_use]
    pub fn keepers(
        &self,
        now: Time,
        account: AccountId,
        bytes: Bytes,
        price_max: Option<StoragePrice>,
        limit: usize,
    ) -> KeepersView {
        let price = self.config.storage_price;
        let terms = Terms { bytes, most: price_max.unwrap_or(price) };
        let field = self.field(now, account, &terms, &BTreeSet::new());
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let known = self.storage.keepers.len();
        let away = field.unfit.get(&Unfit::Away).copied().unwrap_or(0);
        let looked = field.fit.len() + field.unfit.values().sum::<usize>();
        let shown = field.fit.iter().take(limit.min(SHOWN_MAX));
        KeepersView {
            price,
            known: count(known),
            here: count(known - known * away / looked.max(1)),
            hosts: shown.filter_map(|host| self.keeper_view(now, *host)).collect(),
        }
    }
}
