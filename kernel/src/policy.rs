//! What an owner allows, and when: a TOML file, read once and evaluated on every change of the
//! machine's sensors.
//!
//! The evaluator is a function: policy, sensors, time and the owner's word in, what is allowed out,
//! with every reason and the time of the next change. It starts and stops nothing (the host machine
//! does) and measures nothing (`drivers/probe` does). BOINC's most wanted preference ("only use X %
//! while I use the computer") and its most missed answer ("why is it suspended") are the examples.

mod calendar;
mod check;
mod describe;
mod error;
mod evaluate;
mod file;
mod network;
mod reason;
mod value;
mod week;

use isos_base::host::Accept;
use isos_base::price::{Price, StoragePrice};
use isos_base::{AccountId, Bytes, Guid, Span, Time};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use calendar::Moment;
pub use error::{Contradiction, POLICY_BYTES_MAX, PolicyError, WINDOWS_MAX};
pub use evaluate::{Allowance, Decision, Keeping, MEMORY_LEAST, Run, Standing};
pub use network::{Meter, Moved, NetworkLimits, Pace, Period, Rate};
pub use reason::Reason;
pub use value::{Amount, Cores, Millicores, Percent};
pub use week::{Week, WeekHour};

use calendar::Calendar;
use value::HeatMax;

/// So much of the disk stays free at least, whatever a policy says: an owner's machine that has no
/// room at all is of no use to the owner.
pub const DISK_FREE_LEAST: Bytes = Bytes::mib(256);

/// An owner's policy, free of contradictions. Made by [`Policy::parse`].
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    price_min: Price,
    share_in_use: Percent,
    share_idle: Percent,
    cores_max: Option<u16>,
    idle_after: Span,
    idle_unknown: Idle,
    other_max: Cores,
    memory_in_use: Amount,
    memory_idle: Amount,
    memory_max: Amount,
    memory_floor: Amount,
    disk_max: Amount,
    disk_floor: Amount,
    storage_room: Amount,
    storage_price: StoragePrice,
    on_battery: bool,
    battery_min: Percent,
    power_unknown_is_battery: bool,
    metered: bool,
    network_unknown_is_metered: bool,
    heat_max: HeatMax,
    heat_unknown_is_hot: bool,
    network: NetworkLimits,
    programs: Selection<Guid>,
    publishers: Selection<AccountId>,
    windows: Vec<Window>,
    calendar: Calendar,
}

/// What a machine without a sensor for its user counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Idle {
    Assumed,
    NotAssumed,
}

/// Which of many.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selection<T> {
    Any,
    Only(Vec<T>),
    Except(Vec<T>),
}

impl<T: PartialEq> Selection<T> {
    fn allows(&self, one: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Only(these) => these.contains(one),
            Self::Except(these) => !these.contains(one),
        }
    }
}

/// Hours of the week with their own rules; when, the calendar knows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    name: String,
    allow: bool,
    share_in_use: Option<Percent>,
    share_idle: Option<Percent>,
    price_min: Price,
}

/// What the machine has, used or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineCaps {
    /// Cores.
    pub cpus: u16,
    /// Memory.
    pub memory: Bytes,
    /// The file system that our home is on.
    pub disk: Bytes,
    /// Whether the system can hold work to a part of a core; else a share counts in whole ones.
    pub parts: bool,
}

/// What the owner said last, besides the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// Nothing, or to resume: the policy decides.
    #[default]
    None,
    /// To pause.
    Paused {
        /// Until then, or until the owner resumes.
        until: Option<Time>,
    },
}

/// Why a policy does not let a job run, ever.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAdmitted {
    /// The program is not one of the allowed.
    #[error("the owner does not allow program {0}: see work.programs in the policy")]
    Program(Guid),
    /// The account that pays is not one of the allowed.
    #[error("the owner does not allow work of account {0}: see work.publishers in the policy")]
    Publisher(AccountId),
}

/// The templates: name and text.
const TEMPLATES: [(&str, &str); 4] = [
    ("laptop", include_str!("policy/templates/laptop.toml")),
    ("desktop", include_str!("policy/templates/desktop.toml")),
    ("server", include_str!("policy/templates/server.toml")),
    ("nas", include_str!("policy/templates/nas.toml")),
];

/// The commented text of a template, ready for an owner to read and change.
#[must_use]
pub fn template(name: &str) -> Option<&'static str> {
    TEMPLATES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Names of the templates, the gentlest first.
pub fn template_names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name)
}

/// The gentle one: a laptop's, as the `laptop` template says it.
impl Default for Policy {
    fn default() -> Self {
        file::File::default().into_policy().expect("the defaults do not contradict each other")
    }
}

impl Policy {
    /// Reads a policy. What is left out is as in [`Policy::default`].
    ///
    /// # Errors
    /// [`PolicyError`] for what is not TOML, unknown fields and values, and contradictions: all of
    /// them at once, each with both its fields and the remedy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::TooLong(text.len()));
        }
        let file: file::File =
            toml::from_str(text).map_err(|error| PolicyError::Syntax(Box::new(error)))?;
        file.into_policy()
    }

    /// Whether work of this program, paid by this account, may ever run here.
    ///
    /// # Errors
    /// [`NotAdmitted`] names what the owner does not allow.
    pub fn admit(&self, program: &Guid, publisher: AccountId) -> Result<(), NotAdmitted> {
        if !self.programs.allows(program) {
            return Err(NotAdmitted::Program(*program));
        }
        if !self.publishers.allows(&publisher) {
            return Err(NotAdmitted::Publisher(publisher));
        }
        Ok(())
    }

    /// The least price outside of all windows.
    #[must_use]
    pub const fn price_min(&self) -> Price {
        self.price_min
    }

    /// What work may move over the network.
    #[must_use]
    pub const fn network(&self) -> NetworkLimits {
        self.network
    }

    /// Whether the owner offers any room for what others store.
    #[must_use]
    pub const fn keeps(&self) -> bool {
        !self.storage_room.is_zero()
    }

    /// What always stays free of a disk of this size: as the policy says, and no less than
    /// [`DISK_FREE_LEAST`].
    #[must_use]
    pub fn disk_floor(&self, disk: Bytes) -> Bytes {
        self.disk_floor.of(disk).max(DISK_FREE_LEAST).min(disk)
    }

    /// The most that this policy ever lends of a machine: in the best hour of its week, while
    /// nobody uses it and nothing else runs there.
    #[must_use]
    pub fn at_best(&self, machine: &MachineCaps) -> MachineCaps {
        let open = self.windows.iter().filter(|window| window.allow).map(Some);
        let shares = open.chain([None]).map(|window| self.shares(window).1);
        let share = shares.max().unwrap_or(Percent::NONE);
        let MachineCaps { memory, disk, .. } = *machine;
        MachineCaps {
            cpus: self.cpu_of(share, machine).cores(),
            memory: self.memory_limit(false, memory).min(memory - self.memory_floor.of(memory)),
            disk: self.disk_max.of(disk).min(disk - self.disk_floor(disk)),
            ..*machine
        }
    }

    /// Which programs may run, as an offer says it.
    #[must_use]
    pub fn accept(&self) -> Accept {
        match &self.programs {
            Selection::Any => Accept::Any,
            Selection::Only(programs) => Accept::Only(programs.clone()),
            Selection::Except(programs) => Accept::Except(programs.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
