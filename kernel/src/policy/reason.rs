//! Why a policy allows what it allows: facts with their numbers, and what the owner can do.

use std::fmt;

use isos_base::{Bytes, Span};

use super::DISK_FREE_LEAST;
use super::calendar::Moment;
use super::check::{cores, least_share, of_cores};
use super::evaluate::{DISK_LEAST, Keeping, MEMORY_LEAST};
use super::network::Period;
use super::value::{Millicores, Percent};

/// One reason. [`Reason::blocks`] tells those that stop all work from those that explain.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The owner said so.
    Paused {
        /// Until when, if a time was given.
        until: Option<Moment>,
    },
    /// A window with `allow = false`.
    Forbidden {
        /// Its name.
        window: String,
        /// When it ends, if it does.
        until: Option<Moment>,
    },
    /// No share of the CPU at this time, in use or not.
    NoShare {
        /// The window that says so; the `[cpu]` section if none.
        window: Option<String>,
        /// When that changes, if it does.
        until: Option<Moment>,
    },
    /// A person uses the machine.
    InUse {
        /// How long it has been idle.
        idle: Span,
        /// How long it must be.
        after: Span,
        /// What is given all the same.
        share: Percent,
    },
    /// Nobody can tell whether a person uses the machine, so one is assumed to.
    IdleUnknown {
        /// Why not.
        why: String,
        /// What is given all the same.
        share: Percent,
    },
    /// Other programs need the machine.
    Load {
        /// Cores they use.
        other: f32,
        /// The number that they must be at or below; lower while stopped than while running.
        max: f32,
    },
    /// On battery.
    OnBattery {
        /// Its charge in percent.
        charge: f32,
    },
    /// The battery is low.
    BatteryLow {
        /// Its charge in percent.
        charge: f32,
        /// The least.
        min: Percent,
    },
    /// Nobody can tell where the power comes from, and the policy says to assume the battery.
    PowerUnknown {
        /// Why not.
        why: String,
    },
    /// The network costs money.
    Metered,
    /// Nobody can tell whether the network costs money, and the policy says to assume so.
    NetworkUnknown {
        /// Why not.
        why: String,
    },
    /// The machine is hot.
    Hot {
        /// Degrees Celsius now.
        now: f32,
        /// What they must be at or below; lower while stopped than while running.
        max: f32,
    },
    /// Nobody can tell how hot the machine is, and the policy says to assume that it is.
    HeatUnknown {
        /// Why not.
        why: String,
    },
    /// What may be moved over the network was moved.
    CapUsed {
        /// Over which time.
        period: Period,
        /// What was moved in it.
        moved: Bytes,
        /// What may be.
        cap: Bytes,
        /// When the next period begins.
        until: Moment,
    },
    /// Some of what may be moved over the network is left.
    CapLeft {
        /// Over which time.
        period: Period,
        /// What was moved in it.
        moved: Bytes,
        /// What may be.
        cap: Bytes,
    },
    /// The share of the CPU is not a whole core, or not a tenth of one where parts can be held.
    ShareTooSmall {
        /// The share.
        share: Percent,
        /// The machine's cores.
        cpus: u16,
        /// Whether work can be held to a part of a core here.
        parts: bool,
    },
    /// Too little memory to run anything.
    MemoryShort {
        /// Free now, if known.
        free: Option<Bytes>,
        /// To be left free.
        floor: Bytes,
        /// The policy's limit at this time.
        limit: Bytes,
    },
    /// Nobody can tell how much memory is free, so nothing beyond what is already used is given.
    MemoryUnknown {
        /// Why not.
        why: String,
        /// What is already used.
        given: Bytes,
    },
    /// No disk to work with.
    DiskShort {
        /// Free now, if known.
        free: Option<Bytes>,
        /// To be left free.
        floor: Bytes,
        /// The policy's limit.
        limit: Bytes,
        /// Leased to others, who have not filled it yet.
        promised: Bytes,
    },
    /// Nobody can tell how much disk is free, so nothing beyond what is already used is given.
    DiskUnknown {
        /// Why not.
        why: String,
        /// What is already used.
        given: Bytes,
    },
    /// Nobody uses the machine.
    Idle {
        /// For how long; `None` where there is nobody to tell, and the policy says to assume it.
        since: Option<Span>,
    },
    /// A window applies that allows work.
    Allowed {
        /// Its name.
        window: String,
        /// When it ends, if it does.
        until: Option<Moment>,
    },
    /// What is given of the CPU.
    Given {
        /// So much.
        cpu: Millicores,
        /// Of so many cores.
        cpus: u16,
        /// The policy's share.
        share: Percent,
    },
    /// Free memory, not the policy's limit, decides.
    MemoryCut {
        /// What is given.
        given: Bytes,
        /// The policy's limit.
        limit: Bytes,
        /// To be left free.
        floor: Bytes,
    },
    /// Free disk, not the policy's limit, decides.
    DiskCut {
        /// What is given.
        given: Bytes,
        /// The policy's limit.
        limit: Bytes,
        /// To be left free.
        floor: Bytes,
        /// Leased to others, who have not filled it yet.
        promised: Bytes,
    },
    /// What others may keep here.
    Keeping {
        /// So much, and whether it is open.
        keeping: Keeping,
        /// To be left free.
        floor: Bytes,
    },
    /// Nobody can tell what other programs use, so `load.other_max` cannot be kept.
    LoadUnknown {
        /// Why not.
        why: String,
    },
    /// Nobody can tell about power, network or heat, and the policy says to go on.
    Assumed {
        /// `power`, `network` or `temperature`.
        sensor: &'static str,
        /// `mains`, `unmetered` or `cool`.
        assumed: &'static str,
        /// Why not.
        why: String,
    },
}

impl Reason {
    /// Whether this alone stops all work.
    #[must_use]
    pub fn blocks(&self) -> bool {
        match self {
            Self::InUse { share, .. } | Self::IdleUnknown { share, .. } => *share == Percent::NONE,
            Self::MemoryUnknown { given, .. } => *given < MEMORY_LEAST,
            Self::DiskUnknown { given, .. } => *given < DISK_LEAST,
            Self::Paused { .. }
            | Self::Forbidden { .. }
            | Self::NoShare { .. }
            | Self::Load { .. }
            | Self::OnBattery { .. }
            | Self::BatteryLow { .. }
            | Self::PowerUnknown { .. }
            | Self::Hot { .. }
            | Self::HeatUnknown { .. }
            | Self::CapUsed { .. }
            | Self::Metered
            | Self::NetworkUnknown { .. }
            | Self::ShareTooSmall { .. }
            | Self::MemoryShort { .. }
            | Self::DiskShort { .. } => true,
            Self::Idle { .. }
            | Self::Allowed { .. }
            | Self::Given { .. }
            | Self::MemoryCut { .. }
            | Self::DiskCut { .. }
            | Self::Keeping { .. }
            | Self::CapLeft { .. }
            | Self::LoadUnknown { .. }
            | Self::Assumed { .. } => false,
        }
    }

    /// Whether nothing may be moved over the network while it holds.
    pub(super) const fn stops_network(&self) -> bool {
        matches!(self, Self::Metered | Self::NetworkUnknown { .. } | Self::CapUsed { .. })
    }

    /// Whether nothing more is taken in for others while it holds. What is kept can still be read:
    /// that was promised, and is little.
    pub(super) const fn stops_taking(&self) -> bool {
        matches!(
            self,
            Self::Paused { .. }
                | Self::Forbidden { .. }
                | Self::OnBattery { .. }
                | Self::BatteryLow { .. }
                | Self::PowerUnknown { .. }
        )
    }

    /// What the owner can do about it, where there is something to do.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Paused { .. } => "`isos resume` ends the pause".into(),
            Self::Forbidden { window, .. } => format!("change window {window:?} of the policy"),
            Self::NoShare { window: Some(window), .. } => {
                format!("raise share_idle of window {window:?}")
            }
            Self::NoShare { window: None, .. } => "raise cpu.share_idle".into(),
            Self::InUse { share, .. } if *share == Percent::NONE => {
                "leave the machine alone, or raise cpu.share_in_use".into()
            }
            Self::IdleUnknown { .. } => {
                "set idle.unknown = \"idle\" if nobody sits at this machine".into()
            }
            Self::Load { .. } => "raise load.other_max, or close what is busy".into(),
            Self::OnBattery { .. } => "plug in, or set power.on_battery = true".into(),
            Self::BatteryLow { .. } => "plug in, or lower power.battery_min".into(),
            Self::PowerUnknown { .. } => "set power.unknown = \"mains\"".into(),
            Self::Hot { .. } => "let it cool down, or raise temperature.max".into(),
            Self::HeatUnknown { .. } => "set temperature.unknown = \"cool\"".into(),
            Self::CapUsed { period: Period::Day, .. } => "raise network.day_max".into(),
            Self::CapUsed { period: Period::Month, .. } => "raise network.month_max".into(),
            Self::Metered => "set network.metered = true".into(),
            Self::NetworkUnknown { .. } => "set network.unknown = \"unmetered\"".into(),
            Self::ShareTooSmall { cpus, parts, .. } => {
                let least = least_share(*cpus, if *parts { 10 } else { 100 });
                format!("set the share to at least {least}%")
            }
            Self::MemoryShort { .. } => {
                "free some memory, lower memory.free_floor, or raise the limits in [memory]".into()
            }
            Self::MemoryUnknown { .. } => "set memory.free_floor = \"0%\" to do without".into(),
            Self::DiskShort { floor, .. } if *floor <= DISK_FREE_LEAST => format!(
                "free some disk, or raise disk.max; {DISK_FREE_LEAST} stay free, whatever \
                 disk.free_floor says"
            ),
            Self::DiskShort { .. } => {
                "free some disk, lower disk.free_floor, or raise disk.max".into()
            }
            Self::DiskUnknown { .. } => "set disk.free_floor = \"0%\" to do without".into(),
            _ => return None,
        };
        Some(text)
    }

    fn fact(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused { until: None } => f.write_str("you paused it"),
            Self::Paused { until: Some(until) } => write!(f, "you paused it until {until}"),
            Self::Forbidden { window, until } => {
                write!(f, "window {window:?} forbids work")?;
                write_until(f, until.as_ref())
            }
            Self::NoShare { window: Some(window), until } => {
                write!(f, "window {window:?} gives 0% of the CPU")?;
                write_until(f, until.as_ref())
            }
            Self::NoShare { window: None, until } => {
                write!(f, "cpu.share_idle gives 0% of the CPU")?;
                write_until(f, until.as_ref())
            }
            Self::InUse { idle, after, share } => {
                let idle = about(*idle);
                write!(f, "in use: idle for {idle}, must be {after}; until then {share} of the CPU")
            }
            Self::IdleUnknown { why, share } => {
                write!(f, "treated as in use ({why}): {share} of the CPU")
            }
            Self::Load { other, max } => {
                write!(f, "other programs use {other:.1} cores, above {max:.1}")
            }
            Self::OnBattery { charge } => write!(f, "on battery ({charge:.0}%)"),
            Self::BatteryLow { charge, min } => {
                write!(f, "the battery is at {charge:.0}%, below {min}")
            }
            Self::PowerUnknown { why } => write!(f, "treated as on battery ({why})"),
            Self::Hot { now, max } => {
                write!(f, "the processor is at {now:.0} degrees, above {max:.0}")
            }
            Self::HeatUnknown { why } => write!(f, "treated as too hot ({why})"),
            Self::CapUsed { period, moved, cap, until } => write!(
                f,
                "the network cap for {period} is used up: {moved} of {cap}, more at {until}"
            ),
            Self::CapLeft { period, moved, cap } => {
                write!(f, "moved over the network {period}: {moved} of {cap}")
            }
            Self::Metered => f.write_str("the network is metered"),
            Self::NetworkUnknown { why } => {
                write!(f, "the network is treated as metered ({why})")
            }
            Self::ShareTooSmall { share, cpus, parts } => {
                let least = if *parts { "a tenth of a core" } else { "one core" };
                write!(f, "{share} of {} is less than {least}", cores(*cpus))
            }
            Self::MemoryShort { free, floor, limit } => short(f, "memory", *free, *floor, *limit),
            Self::DiskShort { free, floor, limit, promised } => {
                short(f, "disk", *free, *floor, *limit)?;
                leased(f, *promised)
            }
            Self::MemoryUnknown { why, given } => {
                write!(f, "free memory is unknown ({why}), so no more than {given} are given")
            }
            Self::DiskUnknown { why, given } => {
                write!(f, "free disk is unknown ({why}), so no more than {given} are given")
            }
            Self::Idle { since: Some(since) } => write!(f, "idle for {}", about(*since)),
            Self::Idle { since: None } => f.write_str("treated as idle at all times"),
            Self::Allowed { window, until } => {
                write!(f, "window {window:?} applies")?;
                write_until(f, until.as_ref())
            }
            Self::Given { cpu, cpus, share } => {
                write!(f, "{share} of the CPU: {}", of_cores(*cpu, *cpus))
            }
            Self::MemoryCut { given, limit, floor } => {
                write!(f, "{given} of {limit} memory, so that {floor} stay free")
            }
            Self::DiskCut { given, limit, floor, promised } => {
                write!(f, "{given} of {limit} disk, so that {floor} stay free")?;
                leased(f, *promised)
            }
            Self::Keeping { keeping, floor } => {
                let Keeping { limit, room, takes, serves, .. } = keeping;
                if room < limit {
                    write!(f, "others may keep {room} of {limit}, so that {floor} stay free")?;
                } else {
                    write!(f, "others may keep {limit}")?;
                }
                match (takes, serves) {
                    (_, false) => f.write_str(", and reach nothing of it now"),
                    (false, true) => f.write_str(", and read only now"),
                    (true, true) => Ok(()),
                }
            }
            Self::LoadUnknown { why } => write!(f, "the load of others is unknown ({why})"),
            Self::Assumed { sensor, assumed, why } => {
                write!(f, "{sensor}: {assumed} assumed ({why})")
            }
        }
    }
}

/// The fact, then the remedy where there is one.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fact(f)?;
        self.remedy().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

fn short(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    free: Option<Bytes>,
    floor: Bytes,
    limit: Bytes,
) -> fmt::Result {
    match free {
        Some(free) => {
            write!(
                f,
                "too little {what}: {free} are free, {floor} must stay free, the limit is {limit}"
            )
        }
        None => write!(f, "too little {what}: the limit is {limit}"),
    }
}

fn leased(f: &mut fmt::Formatter<'_>, promised: Bytes) -> fmt::Result {
    if promised == Bytes::ZERO {
        return Ok(());
    }
    write!(f, ", and {promised} are leased to others")
}

fn write_until(f: &mut fmt::Formatter<'_>, until: Option<&Moment>) -> fmt::Result {
    until.map_or(Ok(()), |until| write!(f, " until {until}"))
}

/// In one unit, rounded down: nobody wants to read `3605s`.
fn about(span: Span) -> String {
    match span.0 / 1_000_000 {
        secs @ 0..120 => format!("{secs}s"),
        secs @ 120..7_200 => format!("{}m", secs / 60),
        secs @ 7_200..172_800 => format!("{}h", secs / 3_600),
        secs => format!("{}d", secs / 86_400),
    }
}
