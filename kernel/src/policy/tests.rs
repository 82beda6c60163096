//! The policy's story in small cases; the random ones are in `properties`.

mod properties;
mod refusals;

use expect_test::{Expect, expect};
use isos_base::sensors::{LocalClock, Power, Reading, Sensors};

use super::*;

/// Tuesday, 2026-11-17, 00:00 UTC.
const TUESDAY: Time = Time(1_794_873_600_000_000);

const MACHINE: MachineCaps =
    MachineCaps { cpus: 4, memory: Bytes::gib(16), disk: Bytes::gib(500), parts: false };

fn at(hour: u64, minute: u64) -> Time {
    TUESDAY + Span::secs(hour * 3_600 + minute * 60)
}

fn unknown<T>() -> Reading<T> {
    Reading::Unknown("no such sensor".into())
}

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn decide(policy: &Policy, sensors: &Sensors, now: Time) -> Decision {
    policy.evaluate(sensors, now, &Override::None, &MACHINE, &Standing::default())
}

/// A decision in lines.
fn said(decision: &Decision) -> String {
    let Allowance { cores, memory, disk, price_min, run, .. } = decision.allowance;
    let mut text =
        format!("{run:?}: {cores} cores, {memory}, {disk} disk, price {}\n", price_min.0);
    for reason in &decision.reasons {
        let mark = if reason.blocks() { "!" } else { " " };
        text += &format!("{mark} {}\n", reason.to_string().replace("; ", ";\n    "));
    }
    if let Some(next) = decision.next_change {
        text += &format!("next {next}\n");
    }
    text
}

fn check(decision: &Decision, expected: &Expect) {
    expected.assert_eq(&said(decision));
}

#[test]
fn an_idle_machine_gives_all_and_says_why() {
    let decision = decide(&Policy::default(), &Sensors::idle_machine(), at(12, 0));
    check(
        &decision,
        &expect![[r#"
            Full: 4 cores, 8 GiB, 10 GiB disk, price 0
              idle for 60m
              100% of the CPU: 4 of 4 cores
        "#]],
    );
}

#[test]
fn the_owner_comes_back() {
    let sensors = Sensors { idle: Reading::Known(Span::secs(12)), ..Sensors::idle_machine() };
    let decision = decide(&Policy::default(), &sensors, at(12, 0));
    check(
        &decision,
        &expect![[r#"
            Suspended: 0 cores, 1.6 GiB, 10 GiB disk, price 0
            ! in use: idle for 12s, must be 5m;
                until then 0% of the CPU;
                leave the machine alone, or raise cpu.share_in_use
            next 2026-11-17T12:04:48Z
        "#]],
    );
    assert_eq!(decision.next_change, Some(at(12, 0) + Span::secs(288)));
}

#[test]
fn all_blockers_are_listed_each_with_number_and_remedy() {
    let text = r#"
        [power]
        on_battery = true
        battery_min = "60%"
        [[window]]
        name = "office"
        hours = "09:00-17:00"
        allow = false
    "#;
    let sensors = Sensors {
        idle: Reading::Known(Span::secs(1)),
        other_load: Reading::Known(2.25),
        memory_free: Reading::Known(Bytes::mib(1_030)),
        disk_free: Reading::Known(Bytes::gib(3)),
        power: Reading::Known(Power::Battery(41.5)),
        metered: Reading::Known(true),
        temperature: Reading::Known(93.4),
        clock: LocalClock { utc_offset_secs: 3_600 },
    };
    let paused = Override::Paused { until: Some(at(11, 30)) };
    let decision =
        policy(text).evaluate(&sensors, at(11, 0), &paused, &MACHINE, &Standing::default());
    check(
        &decision,
        &expect![[r#"
            Suspended: 0 cores, 6 MiB, 0 B disk, price 0
            ! you paused it until Tue 12:30;
                `isos resume` ends the pause
            ! window "office" forbids work until Tue 17:00;
                change window "office" of the policy
            ! in use: idle for 1s, must be 5m;
                until then 0% of the CPU;
                leave the machine alone, or raise cpu.share_in_use
            ! other programs use 2.2 cores, above 1.0;
                raise load.other_max, or close what is busy
            ! the battery is at 42%, below 60%;
                plug in, or lower power.battery_min
            ! the processor is at 93 degrees, above 85;
                let it cool down, or raise temperature.max
            ! the network is metered;
                set network.metered = true
            ! too little memory: 1.0 GiB are free, 1 GiB must stay free, the limit is 1.6 GiB;
                free some memory, lower memory.free_floor, or raise the limits in [memory]
            ! too little disk: 3 GiB are free, 5 GiB must stay free, the limit is 10 GiB;
                free some disk, lower disk.free_floor, or raise disk.max
            next 2026-11-17T11:04:59Z
        "#]],
    );
}

#[test]
fn a_machine_without_sensors_is_treated_with_care() {
    let sensors = Sensors {
        idle: unknown(),
        other_load: unknown(),
        memory_free: unknown(),
        disk_free: unknown(),
        power: unknown(),
        metered: unknown(),
        temperature: unknown(),
        clock: LocalClock { utc_offset_secs: 0 },
    };
    check(
        &decide(&Policy::default(), &sensors, at(12, 0)),
        &expect![[r#"
            Suspended: 0 cores, 0 B, 0 B disk, price 0
            ! treated as in use (no such sensor): 0% of the CPU;
                set idle.unknown = "idle" if nobody sits at this machine
            ! free memory is unknown (no such sensor), so no more than 0 B are given;
                set memory.free_floor = "0%" to do without
            ! free disk is unknown (no such sensor), so no more than 0 B are given;
                set disk.free_floor = "0%" to do without
              the load of others is unknown (no such sensor)
              power: mains assumed (no such sensor)
              temperature: cool assumed (no such sensor)
              network: unmetered assumed (no such sensor)
        "#]],
    );
    let trusting = r#"
        idle.unknown = "idle"
        memory.free_floor = "0%"
        disk.free_floor = "0%"
    "#;
    check(
        &decide(&policy(trusting), &sensors, at(12, 0)),
        &expect![[r#"
            Full: 4 cores, 8 GiB, 10 GiB disk, price 0
              treated as idle at all times
              the load of others is unknown (no such sensor)
              power: mains assumed (no such sensor)
              temperature: cool assumed (no such sensor)
              network: unmetered assumed (no such sensor)
              100% of the CPU: 4 of 4 cores
        "#]],
    );
    let wary = policy("power.unknown = \"battery\"\nnetwork.unknown = \"metered\"");
    let sensors = Sensors { power: unknown(), metered: unknown(), ..Sensors::idle_machine() };
    check(
        &decide(&wary, &sensors, at(12, 0)),
        &expect![[r#"
            Suspended: 0 cores, 8 GiB, 10 GiB disk, price 0
            ! treated as on battery (no such sensor);
                set power.unknown = "mains"
            ! the network is treated as metered (no such sensor);
                set network.unknown = "unmetered"
              idle for 60m
        "#]],
    );
}

#[test]
fn odd_readings_do_no_harm() {
    let sensors = Sensors {
        other_load: Reading::Known(f32::NAN),
        power: Reading::Known(Power::Battery(f32::NAN)),
        clock: LocalClock { utc_offset_secs: i32::MIN },
        ..Sensors::idle_machine()
    };
    let decision = decide(
        &policy("power.on_battery = true\npower.battery_min = \"1%\""),
        &sensors,
        Time(u64::MAX),
    );
    assert!(
        decision
            .reasons
            .contains(&Reason::BatteryLow { charge: 0.0, min: Percent::new(1).unwrap() })
    );
    assert_eq!(decision.allowance.run, Run::Suspended);
    let nothing = MachineCaps { cpus: 0, memory: Bytes::ZERO, disk: Bytes::ZERO, parts: true };
    let decision = Policy::default().evaluate(
        &sensors,
        Time(0),
        &Override::None,
        &nothing,
        &Standing::default(),
    );
    assert_eq!(decision.allowance.cores, 0);
}

#[test]
fn below_a_core_a_share_is_a_part_of_one_where_that_can_be_held() {
    let sensors = Sensors { idle: Reading::Known(Span::ZERO), ..Sensors::idle_machine() };
    let given = |share: u8, cpus, parts| {
        let policy = policy(&format!("cpu.share_in_use = \"{share}%\""));
        let machine = MachineCaps { cpus, parts, ..MACHINE };
        let word = Override::None;
        let decision = policy.evaluate(&sensors, TUESDAY, &word, &machine, &Standing::default());
        (decision.allowance.cores, decision.allowance.cpu.0)
    };
    assert_eq!(given(25, 2, false), (0, 0), "nothing holds half a core");
    assert_eq!(given(25, 2, true), (1, 500));
    assert_eq!(given(75, 1, true), (1, 750));
    assert_eq!(given(75, 2, true), (1, 1_000), "from one core on only whole ones count");
    assert_eq!(given(9, 1, true), (0, 0), "less than a tenth is not worth while");
    let machine = MachineCaps { cpus: 2, parts: true, ..MACHINE };
    let desktop = policy(template("desktop").unwrap());
    assert!(desktop.describe(&machine)[0].contains("0.50 of a core"));
    let tiny = MachineCaps { cpus: 1, parts: true, ..MACHINE };
    assert_eq!(policy(template("server").unwrap()).check_machine(&tiny), []);
}

#[test]
fn a_share_in_use_is_given_in_whole_cores() {
    let sensors = Sensors { idle: Reading::Known(Span::ZERO), ..Sensors::idle_machine() };
    let cores = |share: &str| {
        decide(&policy(&format!("cpu.share_in_use = {share:?}")), &sensors, TUESDAY).allowance.cores
    };
    assert_eq!((cores("25%"), cores("74%"), cores("100%")), (1, 2, 4));
    let decision = decide(&policy("cpu.share_in_use = \"20%\""), &sensors, TUESDAY);
    check(
        &decision,
        &expect![[r#"
            Suspended: 0 cores, 1.6 GiB, 10 GiB disk, price 0
            ! 20% of 4 cores is less than one core;
                set the share to at least 25%
              in use: idle for 0s, must be 5m;
                until then 20% of the CPU
            next 2026-11-17T00:05:00Z
        "#]],
    );
    let capped = decide(&policy("cpu.cores_max = 3"), &Sensors::idle_machine(), TUESDAY);
    assert_eq!(capped.allowance.cores, 3);
}

#[test]
fn our_own_use_is_not_held_against_us() {
    let sensors = Sensors { memory_free: Reading::Known(Bytes::gib(2)), ..Sensors::idle_machine() };
    let memory = |ours| {
        let standing = Standing { memory: ours, ..Standing::default() };
        let word = Override::None;
        Policy::default().evaluate(&sensors, TUESDAY, &word, &MACHINE, &standing).allowance.memory
    };
    assert_eq!(memory(Bytes::ZERO), Bytes::gib(1));
    assert_eq!(memory(Bytes::gib(3)), Bytes::gib(4));
    assert_eq!(memory(Bytes::gib(30)), Bytes::gib(8));
}

#[test]
fn a_load_around_the_limit_does_not_make_work_stop_and_go() {
    let mut standing = Standing::default();
    let mut blocked = |load| {
        let sensors = Sensors { other_load: Reading::Known(load), ..Sensors::idle_machine() };
        let word = Override::None;
        let decision = Policy::default().evaluate(&sensors, TUESDAY, &word, &MACHINE, &standing);
        standing.load_blocked = decision.load_blocked;
        decision.load_blocked
    };
    let loads = [0.9, 1.0, 1.1, 0.9, 0.81, 0.8, 0.9, 1.0];
    assert_eq!(loads.map(&mut blocked), [false, false, true, true, true, false, false, false]);
}

#[test]
fn windows_are_local_and_may_pass_midnight_and_sunday() {
    let text = r#"
        price_min = 10
        [[window]]
        name = "weekend"
        days = "sun"
        hours = "22:00-06:00"
        price_min = "2.5x"
        [[window]]
        name = "nights"
        hours = "22:00-06:00"
        share_idle = "50%"
    "#;
    let policy = policy(text);
    let decide = |now: Time, offset_secs| {
        let clock = LocalClock { utc_offset_secs: offset_secs };
        decide(&policy, &Sensors { clock, ..Sensors::idle_machine() }, now)
    };
    let day = |decision: Decision| (decision.allowance.cores, decision.allowance.price_min.0);
    let (hour, a_day) = (3_600, Span::secs(86_400));
    assert_eq!(day(decide(at(21, 59), 0)), (4, 10));
    assert_eq!(day(decide(at(22, 0), 0)), (2, 10));
    assert_eq!(day(decide(at(5, 59), 0)), (2, 10));
    assert_eq!(day(decide(at(6, 0), 0)), (4, 10));
    assert_eq!(day(decide(at(21, 0), hour)), (2, 10));
    assert_eq!(day(decide(at(23, 0), -2 * hour)), (4, 10));
    // Sunday's night ends on Monday, six days after Tuesday.
    let monday = at(0, 0) + Span(6 * a_day.0);
    assert_eq!(day(decide(monday + Span::secs(5 * 3_600), 0)), (4, 25));
    assert_eq!(day(decide(monday + Span::secs(6 * 3_600), 0)), (4, 10));
    assert_eq!(decide(monday, 0).next_change, Some(monday + Span::secs(6 * 3_600)));
    assert_eq!(decide(at(22, 30), 0).next_change, Some(at(30, 0)));
    assert_eq!(decide(at(22, 30), hour).next_change, Some(at(29, 0)));
}

#[test]
fn the_first_window_that_fits_applies() {
    let text = r#"
        [[window]]
        name = "lunch"
        hours = "12:00-13:00"
        [[window]]
        name = "office"
        hours = "09:00-17:00"
        allow = false
    "#;
    let policy = policy(text);
    let sensors = Sensors::idle_machine();
    let run = |now| decide(&policy, &sensors, now).allowance.run;
    assert_eq!(
        [at(11, 59), at(12, 30), at(13, 0)].map(run),
        [Run::Suspended, Run::Full, Run::Suspended]
    );
}

#[test]
fn a_pause_ends_by_time_or_by_word() {
    let policy = Policy::default();
    let sensors = Sensors::idle_machine();
    let decide = |now, until| {
        let word = Override::Paused { until };
        policy.evaluate(&sensors, now, &word, &MACHINE, &Standing::default())
    };
    let until = at(13, 0);
    let paused = decide(at(12, 0), Some(until));
    assert_eq!((paused.allowance.run, paused.next_change), (Run::Suspended, Some(until)));
    assert_eq!(decide(until, Some(until)).allowance.run, Run::Full);
    let forever = decide(at(12, 0), None);
    assert_eq!((forever.allowance.run, forever.next_change), (Run::Suspended, None));
    expect!["you paused it until 2026-11-27T00:00:00Z; `isos resume` ends the pause"]
        .assert_eq(&decide(TUESDAY, Some(at(240, 0))).reasons[0].to_string());
}

#[test]
fn a_change_of_sensors_alone_has_no_time() {
    assert_eq!(decide(&Policy::default(), &Sensors::idle_machine(), TUESDAY).next_change, None);
}

#[test]
fn programs_and_publishers_are_admitted_by_list() {
    let (good, other) = (Guid::of(b"good"), Guid::of(b"other"));
    let text = format!(
        "work.programs = {{ only = [\"{good}\"] }}\nwork.publishers = {{ except = [101] }}"
    );
    let policy = policy(&text);
    assert_eq!(policy.admit(&good, AccountId(100)), Ok(()));
    assert_eq!(policy.admit(&other, AccountId(100)), Err(NotAdmitted::Program(other)));
    let refused = policy.admit(&good, AccountId(101));
    assert_eq!(refused, Err(NotAdmitted::Publisher(AccountId(101))));
    assert_eq!(policy.accept(), Accept::Only(vec![good]));
    assert_eq!(Policy::default().accept(), Accept::Any);
}

#[test]
fn an_offer_carries_the_decision_and_its_words() {
    let policy = Policy::default();
    let sensors = Sensors { idle: Reading::Known(Span::ZERO), ..Sensors::idle_machine() };
    let offer = policy.offer(&decide(&policy, &sensors, TUESDAY));
    assert_eq!(offer.cores, 0);
    assert!(offer.reasons[0].starts_with("in use: idle for 0s"), "{:?}", offer.reasons);
}

#[test]
fn templates_are_whole_and_their_examples_hold() {
    assert_eq!(policy(template("laptop").unwrap()), Policy::default());
    assert_eq!(template_names().collect::<Vec<_>>(), ["laptop", "desktop", "server", "nas"]);
    assert_eq!(template("mainframe"), None);
    for name in template_names() {
        let text = template(name).unwrap();
        assert_eq!(policy(text).check_machine(&MACHINE), [], "{name}");
        let examples: Vec<&str> = text
            .lines()
            .filter(|line| !line.contains("<GUID>") && !line.contains("battery_min"))
            .map(|line| match line.strip_prefix('#') {
                Some(example) if !example.starts_with(' ') => example,
                _ => line,
            })
            .collect();
        let with_examples = policy(&examples.join("\n"));
        assert!(with_examples.windows.len() >= 2, "{name}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{name}");
    }
}

#[test]
fn a_policy_is_told_in_sentences() {
    expect![[r#"
        While you use this machine: 1 of 4 cores and up to 2.4 GiB of memory.
        Once you have been away for 3m: 4 of 4 cores and up to 9.6 GiB of memory.
        At most 50 GiB of disk; 20 GiB of disk and 2 GiB of memory always stay free.
        Others may keep up to 10 GiB on the disk besides, at the complex's price.
        Work stops while other programs use more than 2.0 cores.
        Nothing runs on battery.
        Nothing runs while the network is metered.
        Work stops while the processor is above 90 degrees.
    "#]]
    .assert_eq(&(policy(template("desktop").unwrap()).describe(&MACHINE).join("\n") + "\n"));
    expect![[r#"
        At any time: 2 of 4 cores and up to 4 GiB of memory.
        At most 125 GiB of disk; 75 GiB of disk and 512 MiB of memory always stay free.
        Others may keep up to 150 GiB on the disk besides, at the complex's price.
        Work stops while other programs use more than 1.0 cores.
        Nothing runs on battery.
        Work stops while the processor is above 75 degrees.
        Window "film evening": nothing runs.
    "#]]
    .assert_eq(&(policy(template("nas").unwrap()).describe(&MACHINE).join("\n") + "\n"));
}

/// Half of this machine's disk may be kept for others.
const KEEPS: &str = "disk.max = \"100GiB\"\ndisk.free_floor = \"50GiB\"\n\
                     storage.room = \"50%\"\nstorage.price_min = 70000\n";

/// What is kept and promised on a disk of which so much is free.
fn keeping(free: u64, kept: u64, leased: u64) -> Decision {
    let disk_free = Reading::Known(Bytes::gib(free));
    let sensors = Sensors { disk_free, ..Sensors::idle_machine() };
    let (kept, leased) = (Bytes::gib(kept), Bytes::gib(leased));
    let standing = Standing { kept, leased, ..Standing::default() };
    policy(KEEPS).evaluate(&sensors, at(12, 0), &Override::None, &MACHINE, &standing)
}

#[test]
fn what_others_may_keep_is_beside_what_work_may_take() {
    let all = keeping(450, 0, 0);
    assert_eq!(
        (all.allowance.disk, all.allowance.keeping.room),
        (Bytes::gib(100), Bytes::gib(250))
    );
    assert_eq!(all.allowance.keeping.price_min, StoragePrice(70_000));
    check(
        &keeping(300, 0, 0),
        &expect![[r#"
            Full: 4 cores, 8 GiB, 100 GiB disk, price 0
              idle for 60m
              100% of the CPU: 4 of 4 cores
              others may keep 148.4 GiB of 250 GiB, so that 50 GiB stay free
        "#]],
    );
}

#[test]
fn where_there_is_not_enough_for_both_work_has_half_of_it() {
    let short = keeping(80, 0, 0);
    let Allowance { disk, keeping: others, .. } = short.allowance;
    assert_eq!(disk, Bytes::gib(15));
    // In steps of a 32nd of what the owner lets others keep.
    assert_eq!(others.room, Bytes(Bytes::gib(250).0 / 32));
    let half_kept = keeping(80, 240, 240);
    assert_eq!(half_kept.allowance.disk, Bytes::gib(20), "others want ten more, and no more");
}

#[test]
fn what_is_promised_comes_before_work_and_the_floor_before_both() {
    // All is promised, a tenth of it filled: work gets what is left.
    check(
        &keeping(305, 25, 250),
        &expect![[r#"
            Full: 4 cores, 8 GiB, 30 GiB disk, price 0
              idle for 60m
              30 GiB of 100 GiB disk, so that 50 GiB stay free, and 225 GiB are leased to others
              100% of the CPU: 4 of 4 cores
              others may keep 250 GiB
        "#]],
    );
    // The owner fills the disk: work goes first, then what can be promised gets less.
    let text = said(&keeping(200, 25, 250)).replace(", and ", ",\n    and ");
    expect![[r#"
        Suspended: 0 cores, 8 GiB, 0 B disk, price 0
        ! too little disk: 200 GiB are free, 50 GiB must stay free, the limit is 100 GiB,
            and 225 GiB are leased to others;
            free some disk, lower disk.free_floor, or raise disk.max
          idle for 60m
          others may keep 171.9 GiB of 250 GiB, so that 50 GiB stay free
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_pause_takes_nothing_more_and_a_metered_network_lets_nobody_in() {
    let asked = |word: Override, sensors: Sensors| {
        let policy = policy(&format!("{KEEPS}cpu.share_in_use = \"0%\"\n"));
        let decision = policy.evaluate(&sensors, at(12, 0), &word, &MACHINE, &Standing::default());
        let Keeping { takes, serves, .. } = decision.allowance.keeping;
        (takes, serves, decision.reasons.last().unwrap().to_string())
    };
    let disk_free = Reading::Known(Bytes::gib(450));
    let idle = || Sensors { disk_free: disk_free.clone(), ..Sensors::idle_machine() };
    let said = "others may keep 250 GiB";
    let none = Override::None;
    let in_use = Sensors { idle: Reading::Known(Span::ZERO), ..idle() };
    assert_eq!(asked(none, in_use), (true, true, said.into()), "it does not disturb");
    let paused = asked(Override::Paused { until: None }, idle());
    assert_eq!(paused, (false, true, format!("{said}, and read only now")));
    let battery = Sensors { power: Reading::Known(Power::Battery(80.0)), ..idle() };
    assert!(!asked(none, battery).0);
    let metered = Sensors { metered: Reading::Known(true), ..idle() };
    assert_eq!(
        asked(none, metered),
        (false, false, format!("{said}, and reach nothing of it now"))
    );
}

#[test]
fn without_a_word_of_the_owner_nothing_is_kept_for_others() {
    let decision = decide(&Policy::default(), &Sensors::idle_machine(), at(12, 0));
    assert_eq!(decision.allowance.keeping.limit, Bytes::ZERO);
    assert!(!Policy::default().keeps() && policy(template("nas").unwrap()).keeps());
}

#[test]
fn a_week_is_drawn_from_the_windows() {
    let text = r#"
        price_min = 100
        [cpu]
        share_in_use = "25%"
        [[window]]
        name = "office"
        days = "mon-fri"
        hours = "09:00-17:30"
        price_min = "20x"
        [[window]]
        name = "rest"
        days = "sun"
        allow = false
    "#;
    let week = policy(text).week(&MACHINE);
    let day = |day: usize| {
        let hours = week.0[day].iter().map(|hour| {
            let mark = if hour.changes { "*" } else { "" };
            let (in_use, idle) = (hour.cpu_in_use.cores(), hour.cpu_idle.cores());
            format!("{in_use}/{idle}@{}{mark}", hour.price_min.0)
        });
        let hours: Vec<String> = hours.collect();
        hours.chunks(8).map(|some| some.join(" ") + "\n").collect::<String>()
    };
    expect![[r#"
        1/4@100 1/4@100 1/4@100 1/4@100 1/4@100 1/4@100 1/4@100 1/4@100
        1/4@100 1/4@2000 1/4@2000 1/4@2000 1/4@2000 1/4@2000 1/4@2000 1/4@2000
        1/4@2000 1/4@2000* 1/4@100 1/4@100 1/4@100 1/4@100 1/4@100 1/4@100
        0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100
        0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100
        0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100 0/0@100
    "#]]
    .assert_eq(&(day(0) + &day(6)));
    assert_eq!(week.0.iter().map(Vec::len).collect::<Vec<_>>(), [24; 7]);
    assert_eq!(week.0[6][3].window.as_deref(), Some("rest"));
}

#[test]
fn what_only_looks_like_a_contradiction_is_a_policy() {
    // A floor above the limit: on a large disk both hold.
    policy("disk.max = \"10GiB\"\ndisk.free_floor = \"50GiB\"");
    // Nothing but at night.
    let nights = policy(
        "cpu.share_idle = \"0%\"\n[[window]]\nhours = \"22:00-06:00\"\nshare_idle = \"100%\"",
    );
    let sensors = Sensors::idle_machine();
    assert_eq!(decide(&nights, &sensors, at(23, 0)).allowance.cores, 4);
    check(
        &decide(&nights, &sensors, at(12, 0)),
        &expect![[r#"
            Suspended: 0 cores, 8 GiB, 10 GiB disk, price 0
            ! cpu.share_idle gives 0% of the CPU until Tue 22:00;
                raise cpu.share_idle
            next 2026-11-17T22:00:00Z
        "#]],
    );
    // A default gives way to what the owner wrote.
    let little = policy("memory.idle = \"5%\"");
    let sensors = Sensors { idle: Reading::Known(Span::ZERO), ..sensors };
    let decision = decide(&little, &sensors, TUESDAY);
    assert_eq!(decision.allowance.memory, Bytes(MACHINE.memory.0 / 20));
}
