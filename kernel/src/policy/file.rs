//! The shape of a policy file, and how it becomes a [`Policy`].
//!
//! Every field may be left out; what is left out is as in the `laptop` template. There is no field
//! here that nothing enforces.

use isos_base::limits::{NAME_CHARS_MAX, POLICY_PROGRAMS_MAX};
use isos_base::price::{Price, StoragePrice};
use isos_base::{AccountId, Bytes, Guid, Span};
use serde::Deserialize;

use super::calendar::{Calendar, Days, Hours};
use super::check;
use super::error::{PolicyError, WINDOWS_MAX};
use super::network::{NetworkLimits, Rate};
use super::value::{Amount, Cores, HeatMax, Percent, Size, WindowPrice, text};
use super::{Idle, Policy, Selection, Window};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) price_min: Option<u32>,
    pub(super) cpu: CpuSection,
    pub(super) idle: IdleSection,
    pub(super) load: LoadSection,
    pub(super) memory: MemorySection,
    pub(super) disk: DiskSection,
    pub(super) storage: StorageSection,
    pub(super) power: PowerSection,
    pub(super) temperature: TemperatureSection,
    pub(super) network: NetworkSection,
    pub(super) work: WorkSection,
    #[serde(rename = "window")]
    pub(super) windows: Vec<WindowSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CpuSection {
    pub(super) share_in_use: Option<Percent>,
    pub(super) share_idle: Option<Percent>,
    pub(super) cores_max: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdleSection {
    pub(super) after: Option<Span>,
    pub(super) unknown: Option<IdleUnknown>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IdleUnknown {
    InUse,
    Idle,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LoadSection {
    pub(super) other_max: Option<Cores>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MemorySection {
    pub(super) in_use: Option<Amount>,
    pub(super) idle: Option<Amount>,
    pub(super) max: Option<Amount>,
    pub(super) free_floor: Option<Amount>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DiskSection {
    pub(super) max: Option<Amount>,
    pub(super) free_floor: Option<Amount>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StorageSection {
    pub(super) room: Option<Amount>,
    pub(super) price_min: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PowerSection {
    pub(super) on_battery: Option<bool>,
    pub(super) battery_min: Option<Percent>,
    pub(super) unknown: Option<PowerUnknown>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PowerUnknown {
    Mains,
    Battery,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TemperatureSection {
    pub(super) max: Option<HeatMax>,
    pub(super) unknown: Option<HeatUnknown>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HeatUnknown {
    Cool,
    Hot,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NetworkSection {
    pub(super) metered: Option<bool>,
    pub(super) unknown: Option<NetworkUnknown>,
    pub(super) rate_down: Option<Rate>,
    pub(super) rate_up: Option<Rate>,
    pub(super) day_max: Option<Size>,
    pub(super) month_max: Option<Size>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NetworkUnknown {
    Unmetered,
    Metered,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WorkSection {
    pub(super) kinds: Option<Vec<Kind>>,
    pub(super) programs: SelectionSection<Guid>,
    pub(super) publishers: SelectionSection<AccountId>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Jobs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SelectionSection<T> {
    pub(super) only: Option<Vec<T>>,
    pub(super) except: Option<Vec<T>>,
}

impl<T> Default for SelectionSection<T> {
    fn default() -> Self {
        Self { only: None, except: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowSection {
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "some_text")]
    pub(super) days: Option<Days>,
    #[serde(default, deserialize_with = "some_text")]
    pub(super) hours: Option<Hours>,
    pub(super) allow: Option<bool>,
    pub(super) share_in_use: Option<Percent>,
    pub(super) share_idle: Option<Percent>,
    pub(super) price_min: Option<WindowPrice>,
}

fn some_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err = isos_base::ids::ParseIdError>,
{
    text(deserializer).map(Some)
}

impl File {
    /// The policy, if nothing in it contradicts anything else.
    pub(super) fn into_policy(mut self) -> Result<Policy, PolicyError> {
        limit("windows", self.windows.len(), WINDOWS_MAX)?;
        for list in [&self.work.programs.only, &self.work.programs.except].into_iter().flatten() {
            limit("programs", list.len(), POLICY_PROGRAMS_MAX)?;
        }
        for list in [&self.work.publishers.only, &self.work.publishers.except].into_iter().flatten()
        {
            limit("publishers", list.len(), POLICY_PROGRAMS_MAX)?;
        }
        let mut spans = Vec::with_capacity(self.windows.len());
        for window in &mut self.windows {
            let days = window.days.clone().unwrap_or_else(Days::every);
            let hours = window.hours.clone().unwrap_or_else(Hours::whole_day);
            if let Some(name) = &window.name {
                limit("characters in the name of a window", name.chars().count(), NAME_CHARS_MAX)?;
            }
            // Without a name, a window is called by its days and hours.
            window.name.get_or_insert_with(|| {
                let text = format!("{} {}", days.text, hours.text);
                let text = if text == " " { "always" } else { text.trim() };
                text.chars().take(NAME_CHARS_MAX).collect()
            });
            spans.push((days, hours));
        }
        let calendar = Calendar::new(&spans);
        let contradictions = check::file(&self, &calendar);
        if !contradictions.is_empty() {
            return Err(PolicyError::Contradictory(contradictions));
        }
        Ok(self.build(calendar))
    }

    fn build(self, calendar: Calendar) -> Policy {
        let price_min = self.price();
        let share_idle = self.share_idle();
        let idle = match (self.idle_after(), self.idle.unknown) {
            (Span::ZERO, _) | (_, Some(IdleUnknown::Idle)) => Idle::Assumed,
            _ => Idle::NotAssumed,
        };
        let windows = self.windows.iter().map(|window| Window {
            name: window.name.clone().unwrap_or_default(),
            allow: window.allow.unwrap_or(true),
            share_in_use: window.share_in_use,
            share_idle: window.share_idle,
            price_min: window.price_min.map_or(price_min, |price| {
                price.over(price_min).expect("prices that are too large were refused")
            }),
        });
        Policy {
            price_min,
            share_in_use: self.cpu.share_in_use.unwrap_or(Percent::NONE),
            share_idle,
            cores_max: self.cpu.cores_max,
            idle_after: self.idle_after(),
            idle_unknown: idle,
            other_max: self.load.other_max.unwrap_or(Cores::Number(1.0)),
            memory_in_use: self.memory.in_use.unwrap_or(share(10)),
            memory_idle: self.memory.idle.unwrap_or(share(50)),
            memory_max: self.memory.max.unwrap_or(Amount::Share(Percent::ALL)),
            memory_floor: self.memory.free_floor.unwrap_or(Amount::Size(Bytes::gib(1))),
            disk_max: self.disk.max.unwrap_or(Amount::Size(Bytes::gib(10))),
            disk_floor: self.disk.free_floor.unwrap_or(Amount::Size(Bytes::gib(5))),
            storage_room: self.storage.room.unwrap_or(Amount::Size(Bytes::ZERO)),
            storage_price: StoragePrice(self.storage.price_min.unwrap_or(0)),
            on_battery: self.power.on_battery.unwrap_or(false),
            battery_min: self.power.battery_min.unwrap_or(Percent::NONE),
            power_unknown_is_battery: matches!(self.power.unknown, Some(PowerUnknown::Battery)),
            metered: self.network.metered.unwrap_or(false),
            network_unknown_is_metered: matches!(
                self.network.unknown,
                Some(NetworkUnknown::Metered)
            ),
            heat_max: self.temperature.max.unwrap_or(HeatMax::At(85)),
            heat_unknown_is_hot: matches!(self.temperature.unknown, Some(HeatUnknown::Hot)),
            network: NetworkLimits {
                rate_down: self.network.rate_down,
                rate_up: self.network.rate_up,
                day_max: self.network.day_max.map(|Size(max)| max),
                month_max: self.network.month_max.map(|Size(max)| max),
            },
            programs: self.work.programs.into_selection(),
            publishers: self.work.publishers.into_selection(),
            windows: windows.collect(),
            calendar,
        }
    }

    pub(super) fn price(&self) -> Price {
        Price(self.price_min.unwrap_or(0))
    }

    pub(super) fn share_idle(&self) -> Percent {
        self.cpu.share_idle.unwrap_or(Percent::ALL)
    }

    pub(super) fn idle_after(&self) -> Span {
        self.idle.after.unwrap_or(Span::secs(300))
    }
}

impl<T> SelectionSection<T> {
    fn into_selection(self) -> Selection<T> {
        match (self.only, self.except) {
            (Some(only), _) => Selection::Only(only),
            (None, Some(except)) => Selection::Except(except),
            (None, None) => Selection::Any,
        }
    }
}

const fn share(percent: u8) -> Amount {
    match Percent::new(percent) {
        Some(share) => Amount::Share(share),
        None => panic!("not a percentage"),
    }
}

fn limit(what: &'static str, count: usize, max: usize) -> Result<(), PolicyError> {
    if count > max { Err(PolicyError::TooMany { what, count, max }) } else { Ok(()) }
}
