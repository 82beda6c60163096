//! For any policy, any sensors and any time: no limit of the policy is ever exceeded. The windows
//! are read a second time here, by code that shares nothing with the calendar.

use isos_base::sensors::{LocalClock, Power, Reading, Sensors};
use proptest::prelude::*;

use crate::policy::{
    Allowance, Bytes, Decision, Keeping, MachineCaps, Moved, Override, Policy, Reason, Run, Span,
    Standing, Time,
};

/// A policy as numbers, beside its text.
#[derive(Debug, Clone)]
struct Plain {
    share_in_use: u8,
    share_idle: u8,
    cores_max: Option<u16>,
    after_secs: u64,
    load_max: Option<u8>,
    memory_idle: u8,
    memory_floor_mib: u64,
    disk_max_gib: u64,
    disk_floor_gib: u64,
    storage_gib: u64,
    on_battery: bool,
    metered: bool,
    heat_max: u8,
    day_mib: u64,
    windows: Vec<PlainWindow>,
}

#[derive(Debug, Clone)]
struct PlainWindow {
    first_day: usize,
    days: usize,
    start: u64,
    end: u64,
    allow: bool,
    share_idle: Option<u8>,
    times: u32,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Plain {
    fn text(&self) -> String {
        let mut text = format!(
            "price_min = 7\n\
             cpu.share_in_use = \"{}%\"\ncpu.share_idle = \"{}%\"\nidle.after = \"{}s\"\n\
             memory.idle = \"{}%\"\nmemory.free_floor = \"{}MiB\"\n\
             disk.max = \"{}GiB\"\ndisk.free_floor = \"{}GiB\"\n\
             storage.room = \"{}GiB\"\npower.on_battery = {}\nnetwork.metered = {}\n\
             temperature.max = {}\nnetwork.day_max = \"{}MiB\"\n",
            self.share_in_use,
            self.share_idle,
            self.after_secs,
            self.memory_idle,
            self.memory_floor_mib,
            self.disk_max_gib,
            self.disk_floor_gib,
            self.storage_gib,
            self.on_battery,
            self.metered,
            self.heat_max,
            self.day_mib,
        );
        if let Some(cores) = self.cores_max {
            text += &format!("cpu.cores_max = {cores}\n");
        }
        match self.load_max {
            Some(max) => text += &format!("load.other_max = {max}\n"),
            None => text += "load.other_max = \"100%\"\n",
        }
        for window in &self.windows {
            let last = (window.first_day + window.days) % 7;
            let clock = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
            text += &format!(
                "[[window]]\ndays = \"{}-{}\"\nhours = \"{}-{}\"\n",
                DAYS[window.first_day],
                DAYS[last],
                clock(window.start),
                clock(window.end),
            );
            if window.allow {
                text += &format!("price_min = \"{}x\"\n", window.times);
                if let Some(share) = window.share_idle {
                    text += &format!("share_idle = \"{share}%\"\n");
                }
            } else {
                text += "allow = false\n";
            }
        }
        text
    }

    /// The window at a moment: asks each for today and, past midnight, for yesterday.
    fn window(&self, now: Time, clock: LocalClock) -> Option<&PlainWindow> {
        let secs = now.unix_secs() as i64 + i64::from(clock.utc_offset_secs);
        let (day, minute) = (secs.div_euclid(86_400), secs.rem_euclid(86_400) as u64 / 60);
        // Day 4 was a Monday.
        let weekday = (day - 4).rem_euclid(7) as usize;
        self.windows.iter().find(|window| {
            let begins_on = |day: usize| (day + 7 - window.first_day) % 7 <= window.days;
            if window.start < window.end {
                begins_on(weekday) && (window.start..window.end).contains(&minute)
            } else {
                (begins_on(weekday) && minute >= window.start)
                    || (begins_on((weekday + 6) % 7) && minute < window.end)
            }
        })
    }
}

fn window() -> impl Strategy<Value = PlainWindow> {
    let minutes = (0u64..1_440, 0u64..=1_440).prop_filter("empty", |(start, end)| start != end);
    let share = proptest::option::of(0u8..=100);
    (0usize..7, 0usize..7, minutes, any::<bool>(), share, 1u32..30).prop_map(
        |(first_day, days, (start, end), allow, share_idle, times)| PlainWindow {
            first_day,
            days,
            start,
            end,
            allow,
            share_idle,
            times,
        },
    )
}

fn plain() -> impl Strategy<Value = Plain> {
    let cpu = (0u8..=100, 0u8..=100, proptest::option::of(1u16..8));
    let limits = (1u8..=100, 0u64..4_096, 1u64..100, 0u64..100, 0u64..100);
    let heat_and_day = (40u8..100, 1u64..500);
    let load = proptest::option::of(0u8..8);
    let flags = (any::<bool>(), any::<bool>(), load, 1u64..900, heat_and_day);
    (cpu, limits, flags, proptest::collection::vec(window(), 0..4)).prop_map(
        |(
            (a, b, cores_max),
            (memory_idle, memory_floor_mib, disk_max_gib, disk_floor_gib, storage_gib),
            flags,
            windows,
        )| {
            let (on_battery, metered, load_max, after_secs, (heat_max, day_mib)) = flags;
            Plain {
                share_in_use: a.min(b),
                share_idle: a.max(b),
                cores_max,
                after_secs,
                load_max,
                memory_idle,
                memory_floor_mib,
                disk_max_gib,
                disk_floor_gib,
                storage_gib,
                on_battery,
                metered,
                heat_max,
                day_mib,
                windows,
            }
        },
    )
}

fn reading<T: std::fmt::Debug + Clone>(
    known: impl Strategy<Value = T>,
) -> impl Strategy<Value = Reading<T>> {
    proptest::option::weighted(0.8, known)
        .prop_map(|it| it.map_or_else(|| Reading::Unknown("none".into()), Reading::Known))
}

fn sensors() -> impl Strategy<Value = Sensors> {
    let odd = proptest::sample::select(vec![f32::NAN, f32::INFINITY, -1.0, 0.0, 0.5, 2.0, 6.5]);
    let power = prop_oneof![
        3 => Just(Power::Mains),
        1 => (0.0f32..100.0).prop_map(Power::Battery),
        1 => Just(Power::Battery(f32::NAN)),
    ];
    let offset = prop_oneof![4 => -50_400i32..=50_400, 1 => any::<i32>()];
    (
        reading((0u64..1_200).prop_map(Span::secs)),
        reading(odd),
        reading((0u64..20_000).prop_map(Bytes::mib)),
        reading((0u64..200).prop_map(Bytes::gib)),
        reading(power),
        reading(any::<bool>()),
        reading(prop_oneof![9 => -20.0f32..120.0, 1 => Just(f32::NAN)]),
        offset,
    )
        .prop_map(
            |(idle, other_load, memory_free, disk_free, power, metered, temperature, offset)| {
                Sensors {
                    idle,
                    other_load,
                    memory_free,
                    disk_free,
                    power,
                    metered,
                    temperature,
                    clock: LocalClock { utc_offset_secs: offset },
                }
            },
        )
}

fn machine() -> impl Strategy<Value = MachineCaps> {
    (0u16..70, 0u64..40_000, 0u64..300, any::<bool>()).prop_map(|(cpus, memory, disk, parts)| {
        MachineCaps { cpus, memory: Bytes::mib(memory), disk: Bytes::gib(disk), parts }
    })
}

fn moment() -> impl Strategy<Value = Time> {
    // Two weeks at any microsecond, from 1970 (where local time may be before it) and from 2026.
    let two_weeks = 14 * 86_400 * 1_000_000u64;
    prop_oneof![1 => 0..two_weeks, 4 => (0..two_weeks).prop_map(|it| it + 1_794_873_600_000_000)]
        .prop_map(Time)
}

fn word(now: Time) -> impl Strategy<Value = Override> {
    prop_oneof![
        6 => Just(Override::None),
        1 => Just(Override::Paused { until: None }),
        1 => (0u64..100).prop_map(move |secs| {
            Override::Paused { until: Some(now + Span::secs(secs) - Span::secs(50)) }
        }),
    ]
}

fn standing() -> impl Strategy<Value = Standing> {
    let kept = (0u64..20, 0u64..40);
    (0u64..8_000, 0u64..20, kept, any::<bool>(), any::<bool>(), 0u64..600).prop_map(
        |(memory, disk, (kept, leased), load_blocked, hot, moved)| Standing {
            memory: Bytes::mib(memory),
            disk: Bytes::gib(disk),
            kept: Bytes::gib(kept),
            leased: Bytes::gib(leased),
            load_blocked,
            hot,
            moved: Moved { day: Bytes::mib(moved), month: Bytes::mib(moved) },
        },
    )
}

type Case = (Plain, Sensors, Time, Override, MachineCaps, Standing);

fn case() -> impl Strategy<Value = Case> {
    let rest = moment().prop_flat_map(|now| (Just(now), word(now)));
    (plain(), sensors(), rest, machine(), standing()).prop_map(
        |(plain, sensors, (now, word), machine, standing)| {
            (plain, sensors, now, word, machine, standing)
        },
    )
}

/// What must not run, read off the numbers.
fn must_not_run(
    plain: &Plain,
    sensors: &Sensors,
    now: Time,
    word: &Override,
    machine: &MachineCaps,
) -> bool {
    let window = plain.window(now, sensors.clock);
    let paused = matches!(word, Override::Paused { until } if until.is_none_or(|it| it > now));
    let forbidden = window.is_some_and(|window| !window.allow);
    let loaded = matches!((&sensors.other_load, plain.load_max), (Reading::Known(load), Some(max))
        if *load > f32::from(max));
    let battery = !plain.on_battery && matches!(sensors.power, Reading::Known(Power::Battery(_)));
    let metered = !plain.metered && matches!(sensors.metered, Reading::Known(true));
    let given = share(plain, sensors, now) * u64::from(machine.cpus);
    let no_core = given < if machine.parts { 10 } else { 100 };
    let hot = matches!(sensors.temperature, Reading::Known(now) if now > f32::from(plain.heat_max));
    paused || forbidden || loaded || battery || metered || hot || no_core
}

fn share(plain: &Plain, sensors: &Sensors, now: Time) -> u64 {
    let window = plain.window(now, sensors.clock);
    let idle = window.and_then(|window| window.share_idle.filter(|_| window.allow));
    let idle = u64::from(idle.unwrap_or(plain.share_idle));
    match &sensors.idle {
        Reading::Known(span) if *span >= Span::secs(plain.after_secs) => idle,
        _ => idle.min(u64::from(plain.share_in_use)),
    }
}

/// The reasons without what moves with the clock.
fn essence(decision: &Decision) -> Vec<String> {
    let of = |reason: &Reason| match reason {
        Reason::Paused { until } => format!("paused {:?}", until.map(|until| until.at)),
        Reason::Allowed { window, until } | Reason::Forbidden { window, until } => {
            format!("{window} {:?}", until.map(|until| until.at))
        }
        other => format!("{:?}", std::mem::discriminant(other)),
    };
    decision.reasons.iter().map(of).collect()
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 3_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_limit_is_ever_exceeded((plain, sensors, now, word, machine, standing) in case()) {
        // Some random policies contradict themselves, which is another test's matter.
        let Ok(policy) = Policy::parse(&plain.text()) else { return Ok(()) };
        let decision = policy.evaluate(&sensors, now, &word, &machine, &standing);
        let Allowance { cores, cpu, memory, disk, price_min, run, keeping } = decision.allowance;

        prop_assert_eq!(run == Run::Suspended, cores == 0);
        prop_assert_eq!(run == Run::Suspended, decision.blockers().next().is_some());
        prop_assert!(!decision.reasons.is_empty());
        if must_not_run(&plain, &sensors, now, &word, &machine) {
            prop_assert_eq!(run, Run::Suspended);
        }
        if standing.moved.day >= Bytes::mib(plain.day_mib) {
            prop_assert_eq!(run, Run::Suspended);
        }
        let share = share(&plain, &sensors, now);
        prop_assert!(u64::from(cpu.0) <= share * u64::from(machine.cpus) * 10);
        prop_assert_eq!(cores, cpu.cores());
        prop_assert!(machine.parts || cpu.0 % 1_000 == 0);
        prop_assert!(cores <= plain.cores_max.unwrap_or(u16::MAX));

        prop_assert!(memory.0 * 100 <= machine.memory.0 * u64::from(plain.memory_idle));
        let floor = Bytes::mib(plain.memory_floor_mib).0.min(machine.memory.0);
        if let Reading::Known(free) = sensors.memory_free && floor > 0 {
            prop_assert!(memory.0 == 0 || memory.0 + floor <= free.0 + standing.memory.0);
        }
        prop_assert!(disk.0 <= Bytes::gib(plain.disk_max_gib).0 && disk.0 <= machine.disk.0);
        // A quarter of a gibibyte stays free, whatever a policy says.
        let floor = Bytes::gib(plain.disk_floor_gib).0.max(256 << 20).min(machine.disk.0);
        if let Reading::Known(free) = sensors.disk_free && floor > 0 {
            prop_assert!(disk.0 == 0 || disk.0 + floor <= free.0 + standing.disk.0);
        }
        let Keeping { limit, room, takes, serves, .. } = keeping;
        prop_assert!(room <= limit && limit <= machine.disk.min(Bytes::gib(plain.storage_gib)));
        if let Reading::Known(free) = sensors.disk_free {
            // All that may be taken together leaves the floor, and work what was promised.
            let kept = room.0.max(standing.kept.0);
            let more = disk.0.saturating_sub(standing.disk.0) + kept - standing.kept.0;
            prop_assert!(more == 0 || floor == 0 || more + floor <= free.0);
            let promised = standing.leased.0.saturating_sub(standing.kept.0);
            let room = free.0 + standing.disk.0;
            prop_assert!(disk.0 == 0 || promised == 0 || disk.0 + floor + promised <= room);
        }
        let paused = matches!(word, Override::Paused { until } if until.is_none_or(|it| it > now));
        prop_assert!(!paused || !takes);
        let metered = !plain.metered && matches!(sensors.metered, Reading::Known(true));
        let used_up = standing.moved.day >= Bytes::mib(plain.day_mib);
        prop_assert!(!(metered || used_up) || !(serves || takes));
        let window = plain.window(now, sensors.clock);
        let times = window.filter(|window| window.allow).map_or(1, |window| window.times);
        prop_assert_eq!(price_min.0, 7 * times);
        // What is said of the machine at its best is never too little, if it has what it is said
        // to.
        let best = policy.at_best(&machine);
        prop_assert!(cores <= best.cpus);
        let fits = |free: &Reading<Bytes>, ours: Bytes, all: Bytes| {
            free.known().is_some_and(|free| *free + ours <= all)
        };
        if fits(&sensors.memory_free, standing.memory, machine.memory) {
            prop_assert!(memory <= best.memory);
        }
        if fits(&sensors.disk_free, standing.disk, machine.disk) {
            prop_assert!(disk <= best.disk);
        }
    }

    /// A shell that sleeps until `next_change` misses nothing.
    #[test]
    fn nothing_changes_by_time_alone_before_the_next_change(
        (plain, sensors, now, word, machine, standing) in case(),
        part in 0.0f64..1.0,
    ) {
        let Ok(policy) = Policy::parse(&plain.text()) else { return Ok(()) };
        // The owner stays away: idle time goes on with the clock.
        let decide = |at: Time| {
            let mut sensors = sensors.clone();
            if let Reading::Known(idle) = &mut sensors.idle {
                *idle = *idle + at.since(now);
            }
            policy.evaluate(&sensors, at, &word, &machine, &standing)
        };
        let start = decide(now);
        let next = start.next_change;
        prop_assert!(next.is_none_or(|next| next > now));
        let until = next.map_or(Span::secs(30 * 86_400), |next| next.since(now));
        let elapsed = (until.0 as f64 * part) as u64;
        let between = decide(now + Span(elapsed.min(until.0.saturating_sub(1))));
        prop_assert_eq!(between.allowance, start.allowance);
        prop_assert_eq!(between.next_change, next);
        prop_assert_eq!(essence(&between), essence(&start));
        if let Some(next) = next {
            let then = decide(next);
            prop_assert!(then.next_change != Some(next));
            // A window that begins may move a share and nothing that is made of it.
            // Nor does a day that begins, where none of its cap was used.
            let midnight = next.unix_secs() as i64 + i64::from(sensors.clock.utc_offset_secs);
            if plain.windows.is_empty() && midnight % 86_400 != 0 {
                prop_assert_ne!(essence(&then), essence(&start));
            }
        }
    }
}
