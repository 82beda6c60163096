//! What a policy says against itself, and against the machine that it is for.
//!
//! Only what the owner wrote is held against what the owner wrote: a default that does not fit
//! gives way silently.

use isos_base::storage::STORAGE_BYTES_MIN;
use isos_base::{Bytes, Span};

use super::calendar::Calendar;
use super::error::Contradiction;
use super::evaluate::{DISK_LEAST, MEMORY_LEAST};
use super::file::{File, SelectionSection, WindowSection};
use super::network::Rate;
use super::value::{Amount, Millicores, Percent, Size};
use super::{MachineCaps, Policy};

/// A week without a touch is no idle time that a policy waits for.
const IDLE_AFTER_MAX: Span = Span::secs(7 * 86_400);

/// A cap below this lets nothing of use be fetched.
const CAP_MIN: Bytes = Bytes::mib(1);
/// And so slow nothing ends.
const RATE_LEAST: Rate = Rate(Bytes(1_024));

/// Contradictions in the order of the file.
#[derive(Default)]
struct Found(Vec<Contradiction>);

impl Found {
    fn add(
        &mut self,
        first: impl Into<String>,
        second: impl Into<String>,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.0.push(Contradiction {
            first: first.into(),
            second: second.into(),
            problem: problem.into(),
            fix: fix.into(),
        });
    }
}

/// All contradictions inside a file whose windows have names and lie in `calendar`.
pub(super) fn file(file: &File, calendar: &Calendar) -> Vec<Contradiction> {
    let mut found = Found::default();
    cpu(file, &mut found);
    memory(file, &mut found);
    disk_and_power(file, &mut found);
    storage(file, &mut found);
    network(file, &mut found);
    work(file, &mut found);
    windows(file, calendar, &mut found);
    never(file, calendar, &mut found);
    found.0
}

fn cpu(file: &File, found: &mut Found) {
    let (in_use, idle) = (file.cpu.share_in_use, file.cpu.share_idle);
    if let (Some(in_use), Some(idle)) = (in_use, idle)
        && in_use > idle
    {
        found.add(
            format!("cpu.share_in_use = {in_use}"),
            format!("cpu.share_idle = {idle}"),
            "more would be given while you use the machine than while you do not",
            "swap the two",
        );
    }
    if file.cpu.cores_max == Some(0) {
        found.add(
            "cpu.cores_max = 0",
            "work.kinds = [\"jobs\"]",
            "no job runs without a core",
            "set cores_max to 1 or more, or leave it out",
        );
    }
    let after = file.idle_after();
    if after == Span::ZERO
        && let Some(in_use) = in_use
        && in_use != file.share_idle()
    {
        found.add(
            "idle.after = 0s",
            format!("cpu.share_in_use = {in_use}"),
            "a machine that is idle at once is never in use",
            "remove share_in_use, or set after to 1s or more",
        );
    }
    if after > IDLE_AFTER_MAX {
        found.add(
            format!("idle.after = {after}"),
            format!("cpu.share_idle = {}", file.share_idle()),
            format!("no machine counts as idle before {after}, so the share is never given"),
            format!("set after to {IDLE_AFTER_MAX} or less"),
        );
    }
}

fn memory(file: &File, found: &mut Found) {
    let memory = &file.memory;
    let set = |name: &str, amount: Amount| format!("memory.{name} = {amount}");
    let pairs = [
        (("in_use", memory.in_use), ("idle", memory.idle), "raise idle or lower in_use"),
        (("in_use", memory.in_use), ("max", memory.max), "raise max or lower in_use"),
        (("idle", memory.idle), ("max", memory.max), "raise max or lower idle"),
    ];
    for ((low, lower), (high, upper), fix) in pairs {
        if let (Some(lower), Some(upper)) = (lower, upper)
            && lower.surely_exceeds(upper)
        {
            let problem = format!("{low} can never be given above {high}");
            found.add(set(low, lower), set(high, upper), problem, fix);
        }
    }
    for (name, amount) in [("idle", memory.idle), ("max", memory.max)] {
        if let Some(amount) = amount
            && is_too_little(amount)
        {
            found.add(
                set(name, amount),
                "work.kinds = [\"jobs\"]",
                format!("no job runs in less than {MEMORY_LEAST}"),
                "give more memory, or run `isos pause` to give nothing for now",
            );
        }
    }
    if let (Some(in_use), Some(share)) = (memory.in_use, file.cpu.share_in_use)
        && is_too_little(in_use)
        && share > Percent::NONE
    {
        found.add(
            set("in_use", in_use),
            format!("cpu.share_in_use = {share}"),
            format!("no job runs in less than {MEMORY_LEAST}, so the share is never given"),
            "give both, or set share_in_use = \"0%\"",
        );
    }
    for (name, amount) in [("idle", memory.idle), ("max", memory.max)] {
        if let (Some(amount), Some(floor)) = (amount, memory.free_floor) {
            whole("memory", (name, amount), floor, found);
        }
    }
}

/// A limit and a floor that are more than the whole together.
fn whole(section: &str, (name, limit): (&str, Amount), floor: Amount, found: &mut Found) {
    if let (Amount::Share(this), Amount::Share(that)) = (limit, floor)
        && this.get() + that.get() > 100
    {
        found.add(
            format!("{section}.{name} = {this}"),
            format!("{section}.free_floor = {that}"),
            format!("they are more than the machine has, so {name} is never given in full"),
            "lower one of them until they sum to 100% or less",
        );
    }
}

fn disk_and_power(file: &File, found: &mut Found) {
    if let Some(max) = file.disk.max {
        if max.is_zero() {
            found.add(
                format!("disk.max = {max}"),
                "work.kinds = [\"jobs\"]",
                "a job's program and results need room",
                "give at least 1GiB",
            );
        }
        if let Some(floor) = file.disk.free_floor {
            whole("disk", ("max", max), floor, found);
        }
    }
    if let Some(least) = file.power.battery_min
        && !file.power.on_battery.unwrap_or(false)
    {
        found.add(
            format!("power.battery_min = {least}"),
            "power.on_battery = false",
            "nothing runs on battery, however full it is",
            "set on_battery = true, or remove battery_min",
        );
    }
}

fn storage(file: &File, found: &mut Found) {
    let room = file.storage.room.filter(|room| !room.is_zero());
    if let Some(price) = file.storage.price_min
        && room.is_none()
    {
        found.add(
            format!("storage.price_min = {price}"),
            "storage.room = 0 B",
            "there is a price, and nothing that could be leased",
            "set room to what others may keep here, or remove price_min",
        );
    }
    let Some(room) = room else { return };
    if let Amount::Size(size) = room
        && size < STORAGE_BYTES_MIN
    {
        found.add(
            format!("storage.room = {size}"),
            format!("leases of {STORAGE_BYTES_MIN} and more"),
            "there is no room for a single one",
            "give more room, or leave it out to keep nothing for others",
        );
    }
    // Room is beside what work may take of the disk, and the floor holds for both.
    let (max, floor) = (file.disk.max, file.disk.free_floor);
    let share = |amount: Option<Amount>| match amount {
        Some(Amount::Share(share)) => u16::from(share.get()),
        _ => 0,
    };
    if let Amount::Share(of_room) = room
        && u16::from(of_room.get()) + share(max) + share(floor) > 100
    {
        let set = |name: &str, amount: Option<Amount>| {
            amount.map(|amount| format!("disk.{name} = {amount}"))
        };
        let others: Vec<_> =
            [set("max", max), set("free_floor", floor)].into_iter().flatten().collect();
        found.add(
            format!("storage.room = {of_room}"),
            others.join(" and "),
            "they are more than the machine has, so room is never given in full",
            "lower one of them until they sum to 100% or less",
        );
    }
}

fn network(file: &File, found: &mut Found) {
    let network = &file.network;
    let jobs = "work.kinds = [\"jobs\"]";
    for (name, rate) in [("rate_down", network.rate_down), ("rate_up", network.rate_up)] {
        if let Some(rate) = rate
            && rate < RATE_LEAST
        {
            found.add(
                format!("network.{name} = {rate}"),
                jobs,
                "at such a rate no program is fetched and no result delivered in time",
                format!("set {name} to {RATE_LEAST} or more, or leave it out"),
            );
        }
    }
    for (name, max) in [("day_max", network.day_max), ("month_max", network.month_max)] {
        if let Some(Size(max)) = max
            && max < CAP_MIN
        {
            found.add(
                format!("network.{name} = {max}"),
                jobs,
                "no program is fetched with so little",
                format!("set {name} to {CAP_MIN} or more, or leave it out"),
            );
        }
    }
    if let (Some(Size(day)), Some(Size(month))) = (network.day_max, network.month_max)
        && day > month
    {
        found.add(
            format!("network.day_max = {day}"),
            format!("network.month_max = {month}"),
            "more is allowed in a day than in its month",
            "raise month_max, or lower day_max",
        );
    }
}

fn work(file: &File, found: &mut Found) {
    if file.work.kinds.as_ref().is_some_and(Vec::is_empty) {
        found.add(
            "work.kinds = []",
            format!("cpu.share_idle = {}", file.share_idle()),
            "this policy never allows anything",
            "set kinds = [\"jobs\"]",
        );
    }
    selection("programs", &file.work.programs, found);
    selection("publishers", &file.work.publishers, found);
}

fn selection<T>(name: &str, section: &SelectionSection<T>, found: &mut Found) {
    if section.only.is_some() && section.except.is_some() {
        found.add(
            format!("work.{name}.only"),
            format!("work.{name}.except"),
            "a list of the allowed leaves nothing to except",
            "keep one of the two",
        );
    }
    if section.only.as_ref().is_some_and(Vec::is_empty) {
        found.add(
            format!("work.{name}.only = []"),
            "work.kinds = [\"jobs\"]",
            "this policy never allows anything",
            format!("name some {name}, or remove only"),
        );
    }
}

fn windows(file: &File, calendar: &Calendar, found: &mut Found) {
    for (index, window) in file.windows.iter().enumerate() {
        let name = window.name.as_deref().unwrap_or_default();
        let of = |field: &str| format!("window {name:?} {field}");
        if !calendar.has(Some(index)) {
            found.add(
                of("days and hours"),
                "the windows before it",
                "they cover all of it, and the first window that fits applies",
                "move it up, or remove it",
            );
        }
        if window.allow == Some(false) {
            let given = [
                ("share_in_use", window.share_in_use.is_some()),
                ("share_idle", window.share_idle.is_some()),
                ("price_min", window.price_min.is_some()),
            ];
            for (field, _) in given.iter().filter(|(_, given)| *given) {
                found.add(
                    of("allow = false"),
                    of(field),
                    "nothing runs in it, so nothing is given or asked for",
                    format!("remove {field}, or set allow = true"),
                );
            }
        }
        window_shares(file, window, &of, found);
        if let Some(price) = window.price_min {
            let base = file.price();
            let multiple = matches!(price, super::value::WindowPrice::Times(_));
            if multiple && base.0 == 0 {
                found.add(
                    of(&format!("price_min = {price}")),
                    "price_min = 0",
                    "a multiple of nothing is nothing",
                    "set price_min at the top of the file, in micro-credits per gigafuel",
                );
            } else if price.over(base).is_none() {
                found.add(
                    of(&format!("price_min = {price}")),
                    format!("price_min = {}", base.0),
                    format!("the product is more than a price can be, {}", u32::MAX),
                    "lower one of them",
                );
            }
        }
    }
}

fn window_shares(
    file: &File,
    window: &WindowSection,
    of: &dyn Fn(&str) -> String,
    found: &mut Found,
) {
    let Some(in_use) = window.share_in_use else {
        return;
    };
    let idle = window.share_idle.unwrap_or(file.share_idle());
    if in_use > idle {
        let second = if window.share_idle.is_some() {
            of(&format!("share_idle = {idle}"))
        } else {
            format!("cpu.share_idle = {idle}")
        };
        found.add(
            of(&format!("share_in_use = {in_use}")),
            second,
            "more would be given while you use the machine than while you do not",
            "raise share_idle of the window, or lower its share_in_use",
        );
    }
}

/// A policy under which no minute of the week gives a share of a core.
fn never(file: &File, calendar: &Calendar, found: &mut Found) {
    let base = file.share_idle() > Percent::NONE;
    let gives = |window: &WindowSection| {
        let share = window.share_idle.map_or(base, |share| share > Percent::NONE);
        window.allow.unwrap_or(true) && share
    };
    let in_force = file.windows.iter().enumerate().filter(|(index, _)| calendar.has(Some(*index)));
    let any_window = in_force.map(|(_, window)| window).any(gives);
    if any_window || (base && calendar.has(None)) {
        return;
    }
    let windows = match file.windows.len() {
        0 => "no window".into(),
        1 => "its one window".into(),
        count => format!("its {count} windows"),
    };
    found.add(
        format!("cpu.share_idle = {}", file.share_idle()),
        windows,
        "this policy never allows anything",
        "raise share_idle, or leave some hours of the week to work",
    );
}

const fn is_too_little(amount: Amount) -> bool {
    match amount {
        Amount::Share(share) => share.get() == 0,
        Amount::Size(size) => size.0 < MEMORY_LEAST.0,
    }
}

impl Policy {
    /// What this policy can never give on this machine: shown when a host joins. Empty when all is
    /// well.
    #[must_use]
    pub fn check_machine(&self, machine: &MachineCaps) -> Vec<Contradiction> {
        let mut found = Found::default();
        let windows = self.windows.iter().filter(|window| window.allow);
        let shares = windows.filter_map(|window| window.share_idle).chain([self.share_idle]);
        let share = shares.max().unwrap_or(Percent::NONE);
        if self.cpu_of(share, machine) == Millicores::NONE {
            let (least, percent) = match machine.parts {
                true => ("a tenth of a core", least_share(machine.cpus, 10)),
                false => {
                    let why = "one whole core (no control group holds parts of one here)";
                    (why, least_share(machine.cpus, 100))
                }
            };
            found.add(
                format!("cpu.share_idle = {share}"),
                cores(machine.cpus),
                format!("the share is less than {least}, so nothing ever runs"),
                format!("set share_idle to at least {percent}%"),
            );
        }
        let floors = [
            ("memory.free_floor", self.memory_floor, machine.memory, MEMORY_LEAST, "memory"),
            ("disk.free_floor", self.disk_floor, machine.disk, DISK_LEAST, "disk"),
        ];
        for (field, floor, has, least, what) in floors {
            if has - floor.of(has) < least {
                found.add(
                    format!("{field} = {floor}"),
                    format!("{has} of {what}"),
                    "keeping that much free leaves nothing to work with",
                    "lower free_floor",
                );
            }
        }
        found.0
    }
}

/// The least percentage of so many cores that is so many hundredths of one.
pub(super) fn least_share(cpus: u16, hundredths: u16) -> u16 {
    hundredths.div_ceil(cpus.max(1))
}

/// `2 of 4 cores`, `0.50 of a core`.
pub(super) fn of_cores(cpu: Millicores, cpus: u16) -> String {
    match cpu.0 % 1_000 {
        0 => format!("{} of {}", cpu.cores(), cores(cpus)),
        _ => cpu.to_string(),
    }
}

/// `1 core`, `4 cores`.
pub(super) fn cores(count: u16) -> String {
    if count == 1 { "1 core".into() } else { format!("{count} cores") }
}
