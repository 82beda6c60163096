//! From policy, sensors and time to what is allowed now.

use isos_base::host::Offer;
use isos_base::price::{Price, StoragePrice};
use isos_base::sensors::{Power, Reading, Sensors};
use isos_base::{Bytes, Time};
use serde::{Deserialize, Serialize};

use super::calendar::{Moment, Slot};
use super::network::{CAP_LEAST, Moved, Period};
use super::reason::Reason;
use super::value::{HeatMax, Millicores, Percent};
use super::{Idle, MachineCaps, Override, Policy, Window};

/// With less memory than this nothing is started: the sandbox itself needs most of it.
pub const MEMORY_LEAST: Bytes = Bytes::mib(64);
/// With less disk than this nothing is started.
pub(super) const DISK_LEAST: Bytes = Bytes::mib(16);
/// Once stopped for the load of others, work starts again below this part of the limit, so that a
/// load around the limit does not make it stop and go.
const LOAD_RESUME_PART: f32 = 0.8;
/// Once stopped for its heat, the machine must be so many degrees below the limit.
const HEAT_RESUME_BELOW: f32 = 8.0;
/// Reasons in an offer: "a few lines".
const OFFER_REASONS_MAX: usize = 8;

/// What can be promised of the disk is a multiple of the limit's this part.
const KEEPING_STEPS: u64 = 32;

/// The smallest part of a core on which work is worth while, in thousandths.
pub(super) const PART_MIN: u32 = 100;

/// Whether work may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Within the allowance.
    Full,
    /// Not at all: everything is frozen.
    Suspended,
}

/// What is allowed now, for all work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Tasks that may run at a time, each on a core of its own; 0 exactly when suspended.
    pub cores: u16,
    /// What all work together may use of the processor: that many cores, or a part of one.
    pub cpu: Millicores,
    /// Memory, also for work that is frozen: what is above must go.
    pub memory: Bytes,
    /// Disk, also while suspended.
    pub disk: Bytes,
    /// The least price of new work.
    pub price_min: Price,
    /// Whether anything runs.
    pub run: Run,
    /// What others may keep here, whether anything runs or not.
    pub keeping: Keeping,
}

/// What the owner lets others keep on the disk. It goes on while the owner uses the machine: it
/// takes little else of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keeping {
    /// The policy's limit for all of it on disk.
    pub limit: Bytes,
    /// What of it can be promised: less where the disk has not enough that is free.
    pub room: Bytes,
    /// The least price.
    pub price_min: StoragePrice,
    /// Whether more is taken in now.
    pub takes: bool,
    /// Whether anybody is answered at all: reads as well need the network.
    pub serves: bool,
}

/// What stands when a policy is evaluated: what our own work already uses, and what was decided
/// last. The default is an agent that has just begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Memory that our work uses now. It is not free, but it is ours.
    pub memory: Bytes,
    /// Disk that our work uses now.
    pub disk: Bytes,
    /// Disk that fragments of others take now; not part of the above.
    pub kept: Bytes,
    /// What leases on the disk have promised in all.
    pub leased: Bytes,
    /// [`Decision::load_blocked`] of the last decision.
    pub load_blocked: bool,
    /// [`Decision::hot`] of the last decision.
    pub hot: bool,
    /// What our work has moved over the network, today and this month.
    pub moved: Moved,
}

/// What a policy decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is allowed.
    pub allowance: Allowance,
    /// Why: all that block first, then what explains.
    pub reasons: Vec<Reason>,
    /// When time alone changes the decision or its reasons: a window or a pause ends, or the
    /// machine will have been idle for long enough. Other sensors report by themselves.
    pub next_change: Option<Time>,
    /// Whether the load of others blocks; to be given back in [`Standing`].
    pub load_blocked: bool,
    /// Whether heat blocks; to be given back in [`Standing`].
    pub hot: bool,
}

impl Decision {
    /// All reasons that stop work.
    pub fn blockers(&self) -> impl Iterator<Item = &Reason> {
        self.reasons.iter().filter(|reason| reason.blocks())
    }
}

impl Policy {
    /// What is allowed now.
    ///
    /// `machine` is what the machine has, `standing` what our work already uses of it and what was
    /// decided last. No sensor reading, however odd, makes this panic or exceed the policy.
    #[must_use]
    pub fn evaluate(
        &self,
        sensors: &Sensors,
        now: Time,
        word: &Override,
        machine: &MachineCaps,
        standing: &Standing,
    ) -> Decision {
        let slot = self.calendar.at(now, sensors.clock);
        let window = slot.window.map(|index| &self.windows[index]);
        let mut look =
            Look { policy: self, sensors, now, reasons: Vec::new(), changes: Vec::new() };
        look.word(word);
        look.window(window, &slot);
        let (in_use, share) = look.cpu(window, &slot);
        let cpu = look.cpu_given(share, machine);
        let load_blocked = look.load(machine.cpus, standing.load_blocked);
        look.power();
        let hot = look.heat(standing.hot);
        look.network();
        look.caps(&standing.moved);
        let frozen = share == Percent::NONE;
        let memory = look.memory(in_use, frozen, machine.memory, standing.memory);
        let disk = look.disk(machine.disk, standing);
        let keeping = look.keeping(machine.disk, disk, standing);

        let Look { mut reasons, changes, .. } = look;
        // Stable: blockers keep their order.
        reasons.sort_by_key(|reason| !reason.blocks());
        let blocked = reasons.first().is_some_and(Reason::blocks);
        let allowance = Allowance {
            cores: if blocked { 0 } else { cpu.cores() },
            cpu: if blocked { Millicores::NONE } else { cpu },
            memory,
            disk,
            price_min: window.map_or(self.price_min, |window| window.price_min),
            run: if blocked { Run::Suspended } else { Run::Full },
            keeping,
        };
        if !blocked {
            reasons.push(Reason::Given { cpu, cpus: machine.cpus, share });
        }
        if keeping.limit > Bytes::ZERO {
            reasons.push(Reason::Keeping { keeping, floor: self.disk_floor(machine.disk) });
        }
        Decision { allowance, reasons, next_change: changes.into_iter().min(), load_blocked, hot }
    }

    /// The decision as it is told to the complex.
    #[must_use]
    pub fn offer(&self, decision: &Decision) -> Offer {
        let Allowance { cores, memory, disk, price_min, .. } = decision.allowance;
        let reasons = decision.reasons.iter().take(OFFER_REASONS_MAX);
        Offer {
            cores,
            memory,
            disk,
            price_min,
            accept: self.accept(),
            reasons: reasons.map(ToString::to_string).collect(),
        }
    }

    /// The share in use and the share when idle, in a window or outside of all.
    pub(super) fn shares(&self, window: Option<&Window>) -> (Percent, Percent) {
        let of =
            |given: fn(&Window) -> Option<Percent>, base| window.and_then(given).unwrap_or(base);
        let idle = of(|window| window.share_idle, self.share_idle);
        let in_use = of(|window| window.share_in_use, self.share_in_use);
        (in_use.min(idle), idle)
    }

    /// What a share comes to: whole cores, rounded down; below one, a part of one where the machine
    /// can hold work to that.
    pub(super) fn cpu_of(&self, share: Percent, machine: &MachineCaps) -> Millicores {
        let exact = share.of(u64::from(machine.cpus) * 1_000) as u32;
        match exact {
            PART_MIN..1_000 if machine.parts && self.cores_max != Some(0) => Millicores(exact),
            _ => {
                let whole = (exact / 1_000) as u16;
                Millicores::whole(whole.min(self.cores_max.unwrap_or(u16::MAX)))
            }
        }
    }

    /// The limit on memory, before what is free is looked at.
    pub(super) fn memory_limit(&self, in_use: bool, memory: Bytes) -> Bytes {
        let idle = self.memory_idle.of(memory);
        let now = if in_use { self.memory_in_use.of(memory).min(idle) } else { idle };
        now.min(self.memory_max.of(memory))
    }
}

/// One evaluation on its way.
struct Look<'a> {
    policy: &'a Policy,
    sensors: &'a Sensors,
    now: Time,
    reasons: Vec<Reason>,
    changes: Vec<Time>,
}

impl Look<'_> {
    fn moment(&self, at: Time) -> Moment {
        Moment { at, now: self.now, clock: self.sensors.clock }
    }

    fn word(&mut self, word: &Override) {
        match *word {
            Override::Paused { until: Some(until) } if until > self.now => {
                self.changes.push(until);
                self.reasons.push(Reason::Paused { until: Some(self.moment(until)) });
            }
            Override::Paused { until: None } => self.reasons.push(Reason::Paused { until: None }),
            Override::Paused { until: Some(_) } | Override::None => {}
        }
    }

    fn window(&mut self, window: Option<&Window>, slot: &Slot) {
        self.changes.extend(slot.ends);
        if let Some(window) = window {
            let until = slot.ends.map(|ends| self.moment(ends));
            let window_name = window.name.clone();
            self.reasons.push(if window.allow {
                Reason::Allowed { window: window_name, until }
            } else {
                Reason::Forbidden { window: window_name, until }
            });
        }
    }

    /// Whether the machine counts as in use, and the share that follows.
    fn cpu(&mut self, window: Option<&Window>, slot: &Slot) -> (bool, Percent) {
        let (share_in_use, share_idle) = self.policy.shares(window);
        let after = self.policy.idle_after;
        let (in_use, reason) = match &self.sensors.idle {
            Reading::Known(idle) if *idle >= after => (false, Reason::Idle { since: Some(*idle) }),
            Reading::Known(idle) => {
                let rest = isos_base::Span(after.0 - idle.0);
                self.changes.push(self.now + rest);
                (true, Reason::InUse { idle: *idle, after, share: share_in_use })
            }
            Reading::Unknown(_) if self.policy.idle_unknown == Idle::Assumed => {
                (false, Reason::Idle { since: None })
            }
            Reading::Unknown(why) => {
                (true, Reason::IdleUnknown { why: why.clone(), share: share_in_use })
            }
        };
        if share_idle == Percent::NONE {
            // Being idle would not help, so being in use is not the reason.
            let said_here = window.filter(|window| window.share_idle.is_some());
            let until = slot.ends.map(|ends| self.moment(ends));
            let window = said_here.map(|window| window.name.clone());
            self.reasons.push(Reason::NoShare { window, until });
        } else {
            self.reasons.push(reason);
        }
        (in_use, if in_use { share_in_use } else { share_idle })
    }

    fn cpu_given(&mut self, share: Percent, machine: &MachineCaps) -> Millicores {
        let cpu = self.policy.cpu_of(share, machine);
        if cpu == Millicores::NONE && share > Percent::NONE {
            let MachineCaps { cpus, parts, .. } = *machine;
            self.reasons.push(Reason::ShareTooSmall { share, cpus, parts });
        }
        cpu
    }

    fn load(&mut self, cpus: u16, was_blocked: bool) -> bool {
        if self.policy.other_max == super::Cores::Share(Percent::ALL) {
            return false;
        }
        let max = self.policy.other_max.of(cpus) * if was_blocked { LOAD_RESUME_PART } else { 1.0 };
        match &self.sensors.other_load {
            Reading::Known(other) if other.is_nan() => {
                self.reasons.push(Reason::LoadUnknown { why: "the sensor reads no number".into() });
                false
            }
            Reading::Known(other) if *other > max => {
                self.reasons.push(Reason::Load { other: *other, max });
                true
            }
            Reading::Known(_) => false,
            Reading::Unknown(why) => {
                self.reasons.push(Reason::LoadUnknown { why: why.clone() });
                false
            }
        }
    }

    fn power(&mut self) {
        let policy = self.policy;
        let min = policy.battery_min;
        match &self.sensors.power {
            Reading::Known(Power::Mains) => {}
            Reading::Known(Power::Battery(charge)) => {
                // A charge that is no number counts as none.
                let charge = if charge.is_nan() { 0.0 } else { *charge };
                if !policy.on_battery {
                    self.reasons.push(Reason::OnBattery { charge });
                } else if charge < f32::from(min.get()) {
                    self.reasons.push(Reason::BatteryLow { charge, min });
                }
            }
            Reading::Unknown(why) => {
                let any_battery_will_do = policy.on_battery && min == Percent::NONE;
                let why = why.clone();
                if policy.power_unknown_is_battery && !any_battery_will_do {
                    self.reasons.push(Reason::PowerUnknown { why });
                } else if !any_battery_will_do {
                    self.reasons.push(Reason::Assumed { sensor: "power", assumed: "mains", why });
                }
            }
        }
    }

    fn heat(&mut self, was_hot: bool) -> bool {
        let HeatMax::At(max) = self.policy.heat_max else { return false };
        let max = f32::from(max);
        let reading = match &self.sensors.temperature {
            Reading::Known(degrees) if degrees.is_nan() => Err("the sensor reads no number".into()),
            Reading::Known(degrees) => Ok(*degrees),
            Reading::Unknown(why) => Err(why.clone()),
        };
        match reading {
            Ok(now) => {
                let max = if was_hot { max - HEAT_RESUME_BELOW } else { max };
                if now > max {
                    self.reasons.push(Reason::Hot { now, max });
                }
                now > max
            }
            Err(why) if self.policy.heat_unknown_is_hot => {
                self.reasons.push(Reason::HeatUnknown { why });
                was_hot
            }
            Err(why) => {
                self.reasons.push(Reason::Assumed { sensor: "temperature", assumed: "cool", why });
                false
            }
        }
    }

    /// The caps on what is moved. One that is used up stops all: what runs could not be delivered,
    /// and nothing new be fetched.
    fn caps(&mut self, moved: &Moved) {
        let limits = self.policy.network;
        let caps = [
            (Period::Day, limits.day_max, moved.day),
            (Period::Month, limits.month_max, moved.month),
        ];
        for (period, cap, moved) in caps {
            let Some(cap) = cap else { continue };
            let ends = period.ends(self.now, self.sensors.clock);
            self.changes.extend((ends > self.now).then_some(ends));
            self.reasons.push(if cap - moved < CAP_LEAST {
                Reason::CapUsed { period, moved, cap, until: self.moment(ends) }
            } else {
                Reason::CapLeft { period, moved, cap }
            });
        }
    }

    fn network(&mut self) {
        if self.policy.metered {
            return;
        }
        match &self.sensors.metered {
            Reading::Known(false) => {}
            Reading::Known(true) => self.reasons.push(Reason::Metered),
            Reading::Unknown(why) => {
                let why = why.clone();
                self.reasons.push(if self.policy.network_unknown_is_metered {
                    Reason::NetworkUnknown { why }
                } else {
                    Reason::Assumed { sensor: "network", assumed: "unmetered", why }
                });
            }
        }
    }

    fn memory(&mut self, in_use: bool, frozen: bool, memory: Bytes, ours: Bytes) -> Bytes {
        let limit = self.policy.memory_limit(in_use, memory);
        let floor = self.policy.memory_floor.of(memory);
        let reading = &self.sensors.memory_free;
        let room = room(reading, floor, ours);
        let given = limit.min(room);
        if frozen && limit < MEMORY_LEAST {
            // Work that is frozen for the owner needs none; its share is the reason that matters.
            return given;
        }
        match reading {
            Reading::Unknown(why) if room < limit => {
                self.reasons.push(Reason::MemoryUnknown { why: why.clone(), given });
            }
            _ if given < MEMORY_LEAST => {
                let free = reading.known().copied();
                self.reasons.push(Reason::MemoryShort { free, floor, limit });
            }
            _ if room < limit => self.reasons.push(Reason::MemoryCut { given, limit, floor }),
            _ => {}
        }
        given
    }

    /// What is to stay free, as far as that can be seen: who said to do without a floor does so
    /// where nobody can tell what is free.
    fn disk_floor(&self, disk: Bytes) -> Bytes {
        match self.sensors.disk_free {
            Reading::Known(_) => self.policy.disk_floor(disk),
            Reading::Unknown(_) => self.policy.disk_floor.of(disk),
        }
    }

    /// What is left when the floor, what was promised to others, and their part of the rest are set
    /// aside.
    fn disk(&mut self, disk: Bytes, standing: &Standing) -> Bytes {
        let limit = self.policy.disk_max.of(disk);
        let floor = self.disk_floor(disk);
        let promised = standing.leased - standing.kept;
        let reading = &self.sensors.disk_free;
        let room = match reading {
            Reading::Known(free) if promised > Bytes::ZERO => {
                (*free + standing.disk) - floor - promised
            }
            _ => room(reading, floor, standing.disk),
        };
        // Where there is not enough for both, what nobody was promised yet is parted: half for
        // work, or what the owner lets others keep, if that is less.
        let wish = self.policy.storage_room.of(disk) - standing.leased.max(standing.kept);
        let room = match reading {
            Reading::Known(_) => {
                let parted = Bytes(room.0 / 2).max(room - wish);
                parted.max(standing.disk).min(room)
            }
            Reading::Unknown(_) => room,
        };
        let given = limit.min(room);
        match reading {
            Reading::Unknown(why) if room < limit => {
                self.reasons.push(Reason::DiskUnknown { why: why.clone(), given });
            }
            _ if given < DISK_LEAST => {
                let free = reading.known().copied();
                self.reasons.push(Reason::DiskShort { free, floor, limit, promised });
            }
            _ if room < limit => {
                self.reasons.push(Reason::DiskCut { given, limit, floor, promised });
            }
            _ => {}
        }
        given
    }

    /// What others may keep: what is left when the floor and what work may take are set aside. What
    /// is promised already comes before work, and half of what is left may be theirs: see
    /// [`Self::disk`].
    fn keeping(&self, disk: Bytes, work: Bytes, standing: &Standing) -> Keeping {
        let limit = self.policy.storage_room.of(disk);
        let floor = self.disk_floor(disk);
        let more = work - standing.disk;
        let room = match &self.sensors.disk_free {
            Reading::Known(free) => (*free + standing.kept) - floor - more,
            Reading::Unknown(_) if floor == Bytes::ZERO => limit,
            Reading::Unknown(_) => standing.kept,
        };
        // In steps: what is offered is not to move with every file of the owner's.
        let step = (limit.0 / KEEPING_STEPS).max(1);
        let room = if room < limit { Bytes(room.0 / step * step) } else { limit };
        let is = |which: fn(&Reason) -> bool| self.reasons.iter().any(which);
        let serves = !is(Reason::stops_network);
        let takes = serves && !is(Reason::stops_taking);
        Keeping { limit, room, price_min: self.policy.storage_price, takes, serves }
    }
}

/// What our work may use so that the floor stays free: what is free and what it already uses, less
/// the floor. Without a sensor it may keep what it has and take no more; without a floor, anything.
fn room(free: &Reading<Bytes>, floor: Bytes, ours: Bytes) -> Bytes {
    match free {
        _ if floor == Bytes::ZERO => Bytes(u64::MAX),
        Reading::Known(free) => (*free + ours) - floor,
        Reading::Unknown(_) => ours,
    }
}
