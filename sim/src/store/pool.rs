//! Hosts: how they live, and with whom they go.
//!
//! Lives are exponential, as published means have it. A sleeper is off every night; the others
//! seldom and for hours; and now and then one of either is away for days, which nobody can tell
//! from a departure before it ends. What fails together is fixed by the place in the pool, so that
//! it stays the same however many hosts come and go: of three places one is of an owner with many,
//! and neighbours share an address block.

use isos_base::key::PublicKey;
use isos_base::random::Random;
use isos_base::time::Span;
use isos_base::{AccountId, Bytes, HostId};
use isos_store::spread::{Block, Candidate};

use super::{Disaster, Setting};

const HOUR: f64 = 3_600.0;
/// Places of one owner who has several, and how many of all places are of such.
const FARM: u32 = 10;
const FARMS_ONE_IN: u32 = 3;
/// Places of one address block.
const BLOCK: u32 = 4;
/// Absences that last for days: how long on average.
const LONG: f64 = 120.0 * HOUR;

/// When hosts are there, in seconds.
struct Habit {
    /// On average; a sleeper's vary by a seventh, the others' are exponential.
    up: f64,
    down: f64,
    /// One absence in so many is a long one.
    long_one_in: u64,
}

const SLEEPER: Habit = Habit { up: 14.0 * HOUR, down: 10.0 * HOUR, long_one_in: 60 };
const STEADY: Habit = Habit { up: 240.0 * HOUR, down: 2.0 * HOUR, long_one_in: 20 };

impl Habit {
    const fn of(sleeper: bool) -> &'static Self {
        if sleeper { &SLEEPER } else { &STEADY }
    }

    fn share(&self) -> f64 {
        let long = 1.0 / self.long_one_in as f64;
        let down = self.down * (1.0 - long) + LONG * long;
        self.up / (self.up + down)
    }
}

/// The part of the time at which hosts can be reached, if so many sleep.
#[must_use]
pub fn up(sleepers: f64) -> f64 {
    sleepers * SLEEPER.share() + (1.0 - sleepers) * STEADY.share()
}

/// A host that is not gone for good.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) candidate: Candidate,
    pub(super) place: u32,
    sleeper: bool,
}

/// The key of the n-th host of a run.
pub(super) fn key(seed: u64, n: u32) -> HostId {
    let mut random = Random::new(seed ^ u64::from(n).wrapping_mul(0x9e37_79b9));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&random.next_u64().to_le_bytes());
    bytes[28..].copy_from_slice(&n.to_le_bytes());
    HostId(PublicKey(bytes))
}

/// The inverse.
pub(super) fn number(host: &HostId) -> u32 {
    let (_, last) = host.0.0.split_last_chunk().expect("a key has 32 bytes");
    u32::from_le_bytes(*last)
}

impl Host {
    /// A new host in a place of the pool.
    pub(super) fn new(n: u32, place: u32, setting: &Setting, random: &mut Random) -> Self {
        let sleeper = random.unit() < setting.sleepers;
        let block = (place / BLOCK).to_be_bytes();
        let os = match random.below(100) {
            0..50 => "windows",
            50..85 => "linux",
            _ => "macos",
        };
        // Of two draws the less: some systems and countries have many more hosts than others.
        let mut skewed = |count: u64| random.below(count).min(random.below(count)) as u32;
        let candidate = Candidate {
            host: key(setting.seed, n),
            owner: AccountId(u64::from(owner(place)) + 1),
            block: Some(Block::V4([block[1], block[2], block[3]])),
            system: Some(64_512 + skewed(40)),
            country: Some(format!("c{}", skewed(20))),
            os: os.into(),
            agent: format!("1.{}", skewed(4)),
            lifetime: setting.lifetime,
            up: Habit::of(sleeper).share(),
            free: Bytes::gib(1),
        };
        Self { candidate, place, sleeper }
    }

    /// Whether it is there at first.
    pub(super) fn begins_here(&self, random: &mut Random) -> bool {
        random.unit() < self.candidate.up
    }

    /// How long it stays this time.
    pub(super) fn stays(&self, random: &mut Random) -> Span {
        let habit = Habit::of(self.sleeper);
        seconds(if self.sleeper { near(habit.up, random) } else { exponential(habit.up, random) })
    }

    /// And how long it is away then.
    pub(super) fn is_away(&self, random: &mut Random) -> Span {
        let habit = Habit::of(self.sleeper);
        if random.one_in(habit.long_one_in) {
            return seconds(exponential(LONG, random));
        }
        let down = habit.down;
        seconds(if self.sleeper { near(down, random) } else { exponential(down, random) })
    }
}

/// How long a host lives.
pub(super) fn lifetime(setting: &Setting, random: &mut Random) -> Span {
    seconds(exponential(setting.lifetime.as_secs_f64(), random))
}

/// Whose a place is: of one with many, or of nobody else.
fn owner(place: u32) -> u32 {
    let farm = place / FARM;
    if farm.is_multiple_of(FARMS_ONE_IN) { farm } else { u32::MAX - place }
}

/// Who is struck: hosts that have this in common.
pub(super) fn struck(
    disaster: Disaster,
    setting: &Setting,
    random: &mut Random,
) -> impl Fn(&Host) -> bool + use<> {
    let farms = (setting.hosts / FARM).div_ceil(FARMS_ONE_IN).max(1);
    let farm = random.below(farms.into()) as u32 * FARMS_ONE_IN;
    let block = random.below((setting.hosts / BLOCK).max(1).into()) as u32;
    let os = ["windows", "linux", "macos"][random.below(3) as usize];
    move |host| match disaster {
        Disaster::None => false,
        Disaster::Owner => owner(host.place) == farm,
        Disaster::Block => host.place / BLOCK == block,
        Disaster::System => host.candidate.os == os,
    }
}

fn exponential(mean: f64, random: &mut Random) -> f64 {
    -mean * (1.0 - random.unit()).ln()
}

fn near(mean: f64, random: &mut Random) -> f64 {
    mean * (6.0 + 2.0 * random.unit()) / 7.0
}

fn seconds(seconds: f64) -> Span {
    Span::micros((seconds * 1e6) as u64)
}
