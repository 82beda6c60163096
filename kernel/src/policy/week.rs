//! The owner's week as data, for `isos policy explain` to draw.

use isos_base::price::Price;

use super::calendar::WEEK_MINUTES;
use super::{MachineCaps, Millicores, Policy};

const HOURS: u16 = 24;

/// What holds at the start of one hour, other things being well: power, load, memory, disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekHour {
    /// The window that applies, if one does.
    pub window: Option<String>,
    /// What is given of the processor while the machine is in use.
    pub cpu_in_use: Millicores,
    /// And while it is idle.
    pub cpu_idle: Millicores,
    /// The least price.
    pub price_min: Price,
    /// Whether another window begins before the hour ends.
    pub changes: bool,
}

/// Seven days from Monday, 24 hours each, in local time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Week(pub Vec<Vec<WeekHour>>);

impl Policy {
    /// What is allowed in each hour of a week on this machine.
    #[must_use]
    pub fn week(&self, machine: &MachineCaps) -> Week {
        let hour = |index: u16| {
            let start = index * 60;
            let slot = self.calendar.window_at(start);
            let window = slot.map(|index| &self.windows[index]);
            let (in_use, idle) = self.shares(window);
            let forbidden = window.is_some_and(|window| !window.allow);
            let cpu = |share| match forbidden {
                true => Millicores::NONE,
                false => self.cpu_of(share, machine),
            };
            let end = (start + 60).min(WEEK_MINUTES);
            WeekHour {
                window: window.map(|window| window.name.clone()),
                cpu_in_use: cpu(in_use),
                cpu_idle: cpu(idle),
                price_min: window.map_or(self.price_min, |window| window.price_min),
                changes: (start..end).any(|minute| self.calendar.window_at(minute) != slot),
            }
        };
        let day = |day: u16| (day * HOURS..(day + 1) * HOURS).map(hour).collect();
        Week((0..7).map(day).collect())
    }
}
