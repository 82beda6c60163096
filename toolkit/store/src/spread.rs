//! Spreading: which hosts get the fragments of a segment, so that one event takes few of them.
//!
//! At most one fragment a host, always. One an owner and one an address block; a fifth of them in
//! one autonomous system, a third in one country, a half with one operating system or one version
//! of the agent (a bad update and a worm do not stop at owners). In a pool that cannot keep these
//! rules they are relaxed step by step, from the least harm on, and what was relaxed is said. Hosts
//! that stay long get data first. The same seed and candidates give the same hosts, in whatever
//! order the candidates come.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use isos_base::random::Random;
use isos_base::time::Span;
use isos_base::{AccountId, Bytes, HostId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::CANDIDATES_MAX;

/// Hosts that are expected to stay so long are stable: the first m fragments of an archive go
/// there.
pub const STABLE: Span = Span::secs(300 * 86_400);

/// A host that could keep a fragment.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Who.
    pub host: HostId,
    /// Whose.
    pub owner: AccountId,
    /// The block of its address, if that is known.
    pub block: Option<Block>,
    /// The autonomous system of its address, if that is known.
    pub system: Option<u32>,
    /// Two letters, if it was told.
    pub country: Option<String>,
    /// Its operating system.
    pub os: String,
    /// The version of its agent.
    pub agent: String,
    /// How long it is expected to stay.
    pub lifetime: Span,
    /// Part of the time at which it can be reached.
    pub up: f64,
    /// What it offers to keep besides what it keeps.
    pub free: Bytes,
}

/// Addresses that belong together: a /24 of IPv4, a /48 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Block {
    /// The first 24 bits.
    V4([u8; 3]),
    /// The first 48 bits.
    V6([u8; 6]),
}

/// What fails together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Domain {
    /// Version of the agent.
    Agent,
    /// Operating system.
    Os,
    /// Country.
    Country,
    /// Autonomous system.
    System,
    /// Address block.
    Block,
    /// Owner.
    Owner,
}

/// What is to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// So many hosts are wanted.
    pub count: u16,
    /// So many fragments a segment has: shares are of these.
    pub n: u16,
    /// So much each of them must have room for.
    pub bytes: Bytes,
    /// So many of them should be [`STABLE`].
    pub stable: u16,
    /// Decides among equals.
    pub seed: u64,
}

/// Where the fragments go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// The hosts, the most stable ones first where that was wished.
    pub hosts: Vec<HostId>,
    /// Which rules could not be kept.
    pub relaxed: Vec<Relaxed>,
}

/// A rule that was relaxed, for `explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Relaxed {
    /// More fragments in one domain than the rule has.
    Shared {
        /// Of which kind.
        domain: Domain,
        /// The rule.
        limit: u16,
        /// What it came to, in the fullest.
        most: u16,
    },
    /// Fewer stable hosts than wished.
    Unstable {
        /// There are.
        have: u16,
        /// Wished.
        wanted: u16,
    },
}

/// Not enough hosts, however much is relaxed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "{wanted} hosts are needed, one for each fragment; of {known} known, {full} have too little \
     space and {taken} hold a fragment already, {fit} are left"
)]
pub struct TooFew {
    /// Needed.
    pub wanted: u16,
    /// Candidates.
    pub known: usize,
    /// Candidates without room.
    pub full: usize,
    /// Candidates that hold one already.
    pub taken: usize,
    /// What is left.
    pub fit: usize,
}

impl Block {
    /// The block of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, ..] = address.octets();
                Self::V6([a, b, c, d, e, f])
            }
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agent => "version of the agent",
            Self::Os => "operating system",
            Self::Country => "country",
            Self::System => "autonomous system",
            Self::Block => "address block",
            Self::Owner => "owner",
        })
    }
}

impl fmt::Display for Relaxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared { domain, limit, most } => write!(
                f,
                "{most} fragments with one {domain}, the rule is {limit}: \
                 there are too few hosts that differ"
            ),
            Self::Unstable { have, wanted } => write!(
                f,
                "{have} hosts that are expected to stay for {} days, wished are {wanted}",
                STABLE.0 / Span::secs(86_400).0
            ),
        }
    }
}

const DOMAINS: [Domain; 6] =
    [Domain::Agent, Domain::Os, Domain::Country, Domain::System, Domain::Block, Domain::Owner];

/// How rules are relaxed, in order: of which domain, and to how many n-ths (or, for one, how many).
const STEPS: [(Domain, Share); 15] = [
    (Domain::Agent, Share::Part(3, 4)),
    (Domain::Os, Share::Part(3, 4)),
    (Domain::Agent, Share::Part(1, 1)),
    (Domain::Os, Share::Part(1, 1)),
    (Domain::Country, Share::Part(1, 2)),
    (Domain::System, Share::Part(1, 3)),
    (Domain::Country, Share::Part(1, 1)),
    (Domain::System, Share::Part(1, 2)),
    (Domain::System, Share::Part(1, 1)),
    (Domain::Block, Share::Count(2)),
    (Domain::Owner, Share::Count(2)),
    (Domain::Block, Share::Count(4)),
    (Domain::Owner, Share::Count(4)),
    (Domain::Block, Share::Part(1, 1)),
    (Domain::Owner, Share::Part(1, 1)),
];

#[derive(Clone, Copy)]
enum Share {
    Part(u16, u16),
    Count(u16),
}

impl Share {
    fn of(self, n: u16) -> u16 {
        match self {
            Self::Part(part, whole) => (n / whole * part + n % whole * part / whole).max(1),
            Self::Count(count) => count.min(n),
        }
    }
}

/// The rule of a domain.
#[must_use]
pub fn limit(domain: Domain, n: u16) -> u16 {
    match domain {
        Domain::Owner | Domain::Block => Share::Count(1),
        Domain::System => Share::Part(1, 5),
        Domain::Country => Share::Part(1, 3),
        Domain::Os | Domain::Agent => Share::Part(1, 2),
    }
    .of(n)
}

/// How many fragments are where.
#[derive(Default)]
struct Counts<'a>(BTreeMap<(Domain, Value<'a>), u16>);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Value<'a> {
    Owner(AccountId),
    Block(Block),
    System(u32),
    Text(&'a str),
}

/// In which domain a candidate is. What is not known is no domain: it limits nothing.
fn value(candidate: &Candidate, domain: Domain) -> Option<Value<'_>> {
    match domain {
        Domain::Owner => Some(Value::Owner(candidate.owner)),
        Domain::Block => candidate.block.map(Value::Block),
        Domain::System => candidate.system.map(Value::System),
        Domain::Country => candidate.country.as_deref().map(Value::Text),
        Domain::Os => Some(Value::Text(&candidate.os)),
        Domain::Agent => Some(Value::Text(&candidate.agent)),
    }
}

impl<'a> Counts<'a> {
    fn add(&mut self, candidate: &'a Candidate) {
        for domain in DOMAINS {
            if let Some(value) = value(candidate, domain) {
                *self.0.entry((domain, value)).or_default() += 1;
            }
        }
    }

    fn is_full(&self, candidate: &Candidate, domain: Domain, limit: u16) -> bool {
        let Some(value) = value(candidate, domain) else { return false };
        self.0.get(&(domain, value)).is_some_and(|count| *count >= limit)
    }

    fn most(&self, domain: Domain) -> u16 {
        let of_domain = self.0.iter().filter(|((it, _), _)| *it == domain);
        of_domain.map(|(_, count)| *count).max().unwrap_or(0)
    }
}

/// Chooses hosts for the fragments that are missing, beside the hosts that hold some already.
///
/// # Errors
/// [`TooFew`].
pub fn spread(
    wish: &Wish,
    holders: &[Candidate],
    candidates: &[Candidate],
) -> Result<Spread, TooFew> {
    let held: BTreeSet<HostId> = holders.iter().map(|holder| holder.host).collect();
    let taken = candidates.iter().filter(|it| held.contains(&it.host)).count();
    let full = candidates.iter().filter(|it| !held.contains(&it.host) && it.free < wish.bytes);
    let full = full.count();
    let mut left = in_order(wish, &held, candidates);
    if left.len() < usize::from(wish.count) {
        let (wanted, known, fit) = (wish.count, candidates.len(), left.len());
        return Err(TooFew { wanted, known, full, taken, fit });
    }
    let mut counts = Counts::default();
    holders.iter().for_each(|holder| counts.add(holder));
    let mut limits = DOMAINS.map(|domain| limit(domain, wish.n));
    let mut picked: Vec<&Candidate> = Vec::new();

    let is_stable = |it: &&Candidate| it.lifetime >= STABLE;
    let stable = usize::from(wish.stable.min(wish.count));
    let mut firm: Vec<&Candidate> = left.iter().copied().filter(is_stable).collect();
    pick(&mut firm, &mut picked, &mut counts, &limits, stable);
    // In the order of chance again, the stable ones that are left among the others.
    let chosen: BTreeSet<HostId> = picked.iter().map(|it| it.host).collect();
    left.retain(|it| !chosen.contains(&it.host));

    loop {
        pick(&mut left, &mut picked, &mut counts, &limits, usize::from(wish.count));
        if picked.len() == usize::from(wish.count) {
            break;
        }
        relax(&mut limits, wish.n, &counts, &left);
    }
    let mut relaxed: Vec<Relaxed> = Vec::new();
    for domain in DOMAINS {
        let (limit, most) = (limit(domain, wish.n), counts.most(domain));
        if most > limit {
            relaxed.push(Relaxed::Shared { domain, limit, most });
        }
    }
    let have = picked.iter().copied().filter(|it| is_stable(it)).count() as u16;
    if have < wish.stable.min(wish.count) {
        relaxed.push(Relaxed::Unstable { have, wanted: wish.stable });
    }
    Ok(Spread { hosts: picked.iter().map(|it| it.host).collect(), relaxed })
}

/// Relaxes the next rule that keeps somebody out; one that keeps nobody out is left as it is.
fn relax(limits: &mut [u16; 6], n: u16, counts: &Counts<'_>, left: &[&Candidate]) {
    let place = |domain: Domain| DOMAINS.iter().position(|it| *it == domain);
    let next = STEPS.iter().find_map(|(domain, share)| {
        let at = place(*domain).expect("all are listed");
        let keeps_out = left.iter().any(|it| counts.is_full(it, *domain, limits[at]));
        (keeps_out && share.of(n) > limits[at]).then(|| (at, share.of(n)))
    });
    match next {
        Some((at, limit)) => limits[at] = limit,
        // Holders of before share more than all that are wanted now.
        None => *limits = [u16::MAX; 6],
    }
}

/// Takes candidates, in order, until there are `wanted`; those that a rule keeps out stay.
fn pick<'a>(
    from: &mut Vec<&'a Candidate>,
    picked: &mut Vec<&'a Candidate>,
    counts: &mut Counts<'a>,
    limits: &[u16; 6],
    wanted: usize,
) {
    from.retain(|candidate| {
        let mut rules = DOMAINS.iter().zip(limits);
        let is_out = picked.len() == wanted
            || rules.any(|(domain, limit)| counts.is_full(candidate, *domain, *limit));
        if !is_out {
            counts.add(candidate);
            picked.push(*candidate);
        }
        is_out
    });
}

/// Who has room, in an order of chance in which hosts that stay and are there come first more often
/// (weighted sampling of Efraimidis and Spirakis), so that not the same few get everything.
fn in_order<'a>(
    wish: &Wish,
    held: &BTreeSet<HostId>,
    candidates: &'a [Candidate],
) -> Vec<&'a Candidate> {
    let mut seen = BTreeSet::new();
    let fits = candidates
        .iter()
        .filter(|it| it.free >= wish.bytes && !held.contains(&it.host) && seen.insert(it.host));
    let mut drawn: Vec<(f64, &Candidate)> = fits.map(|it| (draw(wish.seed, it), it)).collect();
    drawn.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.host.cmp(&b.1.host)));
    drawn.truncate(CANDIDATES_MAX);
    drawn.into_iter().map(|(_, it)| it).collect()
}

fn draw(seed: u64, candidate: &Candidate) -> f64 {
    let (first, _) = candidate.host.0.0.split_first_chunk().expect("a key has 32 bytes");
    let mut random = Random::new(seed ^ u64::from_le_bytes(*first));
    // Once to part seeds and keys, once to draw.
    random.next_u64();
    let chance = random.unit().max(f64::MIN_POSITIVE);
    let days = candidate.lifetime.as_secs_f64() / 86_400.0;
    let up = if candidate.up.is_nan() { 0.0 } else { candidate.up.clamp(0.0, 1.0) };
    -chance.ln() / ((1.0 + days) * up.max(0.01))
}

#[cfg(test)]
mod tests;
