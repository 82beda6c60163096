//! A policy in sentences: what an owner is told before anything starts.

use isos_base::Span;

use super::check::of_cores;
use super::value::{HeatMax, Millicores, Percent};
use super::{Idle, MachineCaps, NetworkLimits, Policy, Selection};

impl Policy {
    /// What this policy means on this machine, a sentence a line.
    #[must_use]
    pub fn describe(&self, machine: &MachineCaps) -> Vec<String> {
        let mut lines = Vec::new();
        let (in_use, idle) = self.shares(None);
        let given = |share: Percent, in_use: bool| match self.cpu_of(share, machine) {
            Millicores::NONE => "nothing runs".into(),
            cpu => {
                let memory = self.memory_limit(in_use, machine.memory);
                format!("{} and up to {memory} of memory", of_cores(cpu, machine.cpus))
            }
        };
        if self.idle_after == Span::ZERO {
            lines.push(format!("At any time: {}.", given(idle, false)));
        } else {
            lines.push(format!("While you use this machine: {}.", given(in_use, true)));
            let after = self.idle_after;
            lines.push(format!("Once you have been away for {after}: {}.", given(idle, false)));
            if self.idle_unknown == Idle::Assumed {
                lines.push("Where nobody can tell, you are taken to be away.".into());
            }
        }
        lines.push(format!(
            "At most {} of disk; {} of disk and {} of memory always stay free.",
            self.disk_max.of(machine.disk),
            self.disk_floor(machine.disk),
            self.memory_floor.of(machine.memory),
        ));
        if self.keeps() {
            let (room, price) = (self.storage_room.of(machine.disk), self.storage_price.0);
            let price = match price {
                0 => "at the complex's price".into(),
                price => format!("for {price} micro-credits a GiB and month or more"),
            };
            lines.push(format!("Others may keep up to {room} on the disk besides, {price}."));
        }
        let max = self.other_max.of(machine.cpus);
        // What the machine cannot do needs no sentence.
        if max < machine.cpus.into() {
            lines.push(format!("Work stops while other programs use more than {max:.1} cores."));
        }
        lines.push(match (self.on_battery, self.battery_min) {
            (false, _) => "Nothing runs on battery.".into(),
            (true, Percent::NONE) => "Work also runs on battery.".into(),
            (true, min) => format!("Work also runs on battery, down to {min}."),
        });
        if !self.metered {
            lines.push("Nothing runs while the network is metered.".into());
        }
        if let HeatMax::At(max) = self.heat_max {
            lines.push(format!("Work stops while the processor is above {max} degrees."));
        }
        lines.extend(network(&self.network));
        lines.extend(selection("programs", &self.programs));
        lines.extend(selection("publishers", &self.publishers));
        for window in &self.windows {
            let (in_use, idle) = self.shares(Some(window));
            let name = &window.name;
            lines.push(if window.allow {
                let price = window.price_min.0;
                let shares = format!("{in_use} of the CPU in use, {idle} idle");
                format!("Window {name:?}: {shares}, at {price} or more.")
            } else {
                format!("Window {name:?}: nothing runs.")
            });
        }
        if self.price_min.0 > 0 {
            let price = self.price_min.0;
            lines.push(format!("Work must pay {price} micro-credits per gigafuel or more."));
        }
        lines
    }
}

fn network(limits: &NetworkLimits) -> Vec<String> {
    let mut lines = Vec::new();
    match (limits.rate_down, limits.rate_up) {
        (None, None) => {}
        (down, up) => {
            let rate = |rate: Option<super::Rate>| match rate {
                Some(rate) => format!("at most {rate}"),
                None => "as fast as it goes".into(),
            };
            lines.push(format!("Work fetches {}, and sends {}.", rate(down), rate(up)));
        }
    }
    match (limits.day_max, limits.month_max) {
        (None, None) => {}
        (Some(day), None) => lines.push(format!("Work moves at most {day} a day.")),
        (None, Some(month)) => lines.push(format!("Work moves at most {month} a month.")),
        (Some(day), Some(month)) => {
            lines.push(format!("Work moves at most {day} a day and {month} a month."));
        }
    }
    lines
}

fn selection<T>(what: &str, selection: &Selection<T>) -> Option<String> {
    match selection {
        Selection::Any => None,
        Selection::Only(these) => Some(format!("Only the {} {what} that you named.", these.len())),
        Selection::Except(these) => Some(format!("All {what} but {} that you named.", these.len())),
    }
}
