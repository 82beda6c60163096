//! What is no policy, and what contradicts itself or its machine.

use expect_test::{Expect, expect};

use super::{MACHINE, policy};
use crate::policy::{
    Bytes, Contradiction, MachineCaps, POLICY_BYTES_MAX, Policy, PolicyError, WINDOWS_MAX,
};

/// Contradictions, one part a line.
fn told(contradictions: &[Contradiction]) -> String {
    let told = contradictions.iter().map(|it| {
        let Contradiction { first, second, problem, fix } = it;
        format!("{first}\n{second}\n  {problem}\n  {fix}\n")
    });
    told.collect()
}

fn refused(text: &str, expected: &Expect) {
    match Policy::parse(text) {
        Err(PolicyError::Contradictory(contradictions)) => {
            expected.assert_eq(&told(&contradictions));
        }
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_refusal_reads_as_text() {
    let text =
        |text: &str| Policy::parse(text).unwrap_err().to_string().replace(": ", ":\n") + "\n";
    expect![[r#"
        the policy contradicts itself:
        disk.max = 0 B with work.kinds = ["jobs"]:
        a job's program and results need room; give at least 1GiB
    "#]]
    .assert_eq(&text("disk.max = \"0\""));
    expect![[r#"
        the policy contradicts itself:
          1. cpu.cores_max = 0 with work.kinds = ["jobs"]:
        no job runs without a core; set cores_max to 1 or more, or leave it out
          2. power.battery_min = 5% with power.on_battery = false:
        nothing runs on battery, however full it is; set on_battery = true, or remove battery_min
    "#]]
    .assert_eq(&text("cpu.cores_max = 0\npower.battery_min = \"5%\""));
}

#[test]
fn what_is_no_policy_is_refused_with_its_place() {
    let syntax = |text: &str| match Policy::parse(text) {
        Err(PolicyError::Syntax(source)) => source.to_string(),
        other => panic!("{other:?}"),
    };
    expect![[r#"
        TOML parse error at line 2, column 14
          |
        2 | share_idle = "50"
          |              ^^^^
        "50" is not a share, from 0% to 100%
    "#]]
    .assert_eq(&syntax("[cpu]\nshare_idle = \"50\"\n"));
    expect![[r#"
        TOML parse error at line 2, column 1
          |
        2 | cores = 5
          | ^^^^^
        unknown field `cores`, expected one of `share_in_use`, `share_idle`, `cores_max`
    "#]]
    .assert_eq(&syntax("[cpu]\ncores = 5\n"));
    for bad in [
        "cpu.share_idle = \"101%\"",
        "cpu.share_idle = \"-1%\"",
        "cpu.share_idle = \"+5%\"",
        "cpu.share_idle = 0.5",
        "idle.after = \"soon\"",
        "load.other_max = -1",
        "load.other_max = nan",
        "load.other_max = \"lots\"",
        "memory.idle = \"many\"",
        "memory.idle = 5",
        "storage.room = 5",
        "storage.price_min = \"1x\"",
        "storage.price = 5",
        "price_min = -1",
        "price_min = 4294967296",
        "work.kinds = [\"mining\"]",
        "work.programs = { only = [\"abc\"] }",
        "[[window]]\ndays = \"mon-\"",
        "[[window]]\ndays = \"\"",
        "[[window]]\ndays = \"someday\"",
        "[[window]]\nhours = \"9:00-17:00\"",
        "[[window]]\nhours = \"09:00-09:00\"",
        "[[window]]\nhours = \"09:00-24:01\"",
        "[[window]]\nhours = \"24:00-01:00\"",
        "[[window]]\nhours = \"09:60-10:00\"",
        "[[window]]\nprice_min = \"x\"",
        "[[window]]\nprice_min = \"1.2345x\"",
        "[[window]]\nprice_min = \"5000000x\"",
        "[[window]]\nprice_min = -5",
        "[[window]]\nfoo = 1",
        "\u{0}",
    ] {
        syntax(bad);
    }
    let long = " ".repeat(POLICY_BYTES_MAX + 1);
    assert_eq!(Policy::parse(&long), Err(PolicyError::TooLong(POLICY_BYTES_MAX + 1)));
    let many = "[[window]]\n".repeat(65);
    let error = PolicyError::TooMany { what: "windows", count: 65, max: WINDOWS_MAX };
    assert_eq!(Policy::parse(&many), Err(error));
    let long = format!("[[window]]\nname = \"{}\"", "é".repeat(65));
    let what = "characters in the name of a window";
    assert_eq!(Policy::parse(&long), Err(PolicyError::TooMany { what, count: 65, max: 64 }));
}

#[test]
fn contradictions_name_both_sides_and_the_remedy() {
    refused(
        "[cpu]\nshare_in_use = \"50%\"\nshare_idle = \"20%\"",
        &expect![[r#"
            cpu.share_in_use = 50%
            cpu.share_idle = 20%
              more would be given while you use the machine than while you do not
              swap the two
        "#]],
    );
    refused(
        "[cpu]\nshare_idle = \"0%\"",
        &expect![[r#"
            cpu.share_idle = 0%
            no window
              this policy never allows anything
              raise share_idle, or leave some hours of the week to work
        "#]],
    );
    refused(
        "[cpu]\ncores_max = 0",
        &expect![[r#"
            cpu.cores_max = 0
            work.kinds = ["jobs"]
              no job runs without a core
              set cores_max to 1 or more, or leave it out
        "#]],
    );
    refused(
        "[cpu]\nshare_in_use = \"5%\"\n[idle]\nafter = \"0s\"",
        &expect![[r#"
            idle.after = 0s
            cpu.share_in_use = 5%
              a machine that is idle at once is never in use
              remove share_in_use, or set after to 1s or more
        "#]],
    );
    refused(
        "idle.after = \"30d\"",
        &expect![[r#"
            idle.after = 30d
            cpu.share_idle = 100%
              no machine counts as idle before 30d, so the share is never given
              set after to 7d or less
        "#]],
    );
    refused(
        "[memory]\nidle = \"8GiB\"\nmax = \"4GiB\"",
        &expect![[r#"
            memory.idle = 8 GiB
            memory.max = 4 GiB
              idle can never be given above max
              raise max or lower idle
        "#]],
    );
    refused(
        "[memory]\nidle = \"60%\"\nfree_floor = \"50%\"",
        &expect![[r#"
            memory.idle = 60%
            memory.free_floor = 50%
              they are more than the machine has, so idle is never given in full
              lower one of them until they sum to 100% or less
        "#]],
    );
    refused(
        "[memory]\nmax = \"10MiB\"",
        &expect![[r#"
            memory.max = 10 MiB
            work.kinds = ["jobs"]
              no job runs in less than 64 MiB
              give more memory, or run `isos pause` to give nothing for now
        "#]],
    );
    refused(
        "memory.in_use = \"0%\"\ncpu.share_in_use = \"50%\"",
        &expect![[r#"
            memory.in_use = 0%
            cpu.share_in_use = 50%
              no job runs in less than 64 MiB, so the share is never given
              give both, or set share_in_use = "0%"
        "#]],
    );
    refused(
        "disk.max = \"0\"",
        &expect![[r#"
            disk.max = 0 B
            work.kinds = ["jobs"]
              a job's program and results need room
              give at least 1GiB
        "#]],
    );
    refused(
        "disk.max = \"80%\"\ndisk.free_floor = \"30%\"",
        &expect![[r#"
            disk.max = 80%
            disk.free_floor = 30%
              they are more than the machine has, so max is never given in full
              lower one of them until they sum to 100% or less
        "#]],
    );
    refused(
        "power.battery_min = \"50%\"",
        &expect![[r#"
            power.battery_min = 50%
            power.on_battery = false
              nothing runs on battery, however full it is
              set on_battery = true, or remove battery_min
        "#]],
    );
    refused(
        "work.kinds = []",
        &expect![[r#"
            work.kinds = []
            cpu.share_idle = 100%
              this policy never allows anything
              set kinds = ["jobs"]
        "#]],
    );
    refused(
        "work.publishers = { only = [100], except = [101] }",
        &expect![[r#"
            work.publishers.only
            work.publishers.except
              a list of the allowed leaves nothing to except
              keep one of the two
        "#]],
    );
    refused(
        "work.publishers = { only = [] }",
        &expect![[r#"
            work.publishers.only = []
            work.kinds = ["jobs"]
              this policy never allows anything
              name some publishers, or remove only
        "#]],
    );
}

#[test]
fn windows_that_contradict_are_refused() {
    refused(
        "[[window]]\nallow = false\nshare_idle = \"5%\"",
        &expect![[r#"
            window "always" allow = false
            window "always" share_idle
              nothing runs in it, so nothing is given or asked for
              remove share_idle, or set allow = true
            cpu.share_idle = 100%
            its one window
              this policy never allows anything
              raise share_idle, or leave some hours of the week to work
        "#]],
    );
    refused(
        "[[window]]\nallow = false",
        &expect![[r#"
            cpu.share_idle = 100%
            its one window
              this policy never allows anything
              raise share_idle, or leave some hours of the week to work
        "#]],
    );
    refused(
        "[[window]]\nname = \"nights\"\nhours = \"22:00-06:00\"\nprice_min = \"20x\"",
        &expect![[r#"
            window "nights" price_min = 20x
            price_min = 0
              a multiple of nothing is nothing
              set price_min at the top of the file, in micro-credits per gigafuel
        "#]],
    );
    refused(
        "price_min = 3000000000\n[[window]]\nhours = \"22:00-06:00\"\nprice_min = \"2x\"",
        &expect![[r#"
            window "22:00-06:00" price_min = 2x
            price_min = 3000000000
              the product is more than a price can be, 4294967295
              lower one of them
        "#]],
    );
    refused(
        "[[window]]\ndays = \"mon-fri\"\n[[window]]\ndays = \"tue\"\nallow = false",
        &expect![[r#"
            window "tue" days and hours
            the windows before it
              they cover all of it, and the first window that fits applies
              move it up, or remove it
        "#]],
    );
    refused(
        "cpu.share_idle = \"20%\"\n[[window]]\ndays = \"sat\"\nshare_in_use = \"50%\"",
        &expect![[r#"
            window "sat" share_in_use = 50%
            cpu.share_idle = 20%
              more would be given while you use the machine than while you do not
              raise share_idle of the window, or lower its share_in_use
        "#]],
    );
    refused(
        "cpu.share_idle = \"0%\"\n[[window]]\ndays = \"sat\"\nallow = false",
        &expect![[r#"
            cpu.share_idle = 0%
            its one window
              this policy never allows anything
              raise share_idle, or leave some hours of the week to work
        "#]],
    );
    // Several at once are all told.
    refused(
        "cpu.cores_max = 0\npower.battery_min = \"5%\"",
        &expect![[r#"
        cpu.cores_max = 0
        work.kinds = ["jobs"]
          no job runs without a core
          set cores_max to 1 or more, or leave it out
        power.battery_min = 5%
        power.on_battery = false
          nothing runs on battery, however full it is
          set on_battery = true, or remove battery_min
    "#]],
    );
}

#[test]
fn what_a_machine_cannot_give_is_told() {
    let small = MachineCaps { cpus: 1, memory: Bytes::mib(900), disk: Bytes::gib(4), parts: false };
    let lines = policy("cpu.share_idle = \"50%\"").check_machine(&small);
    expect![[r#"
        cpu.share_idle = 50%
        1 core
          the share is less than one whole core (no control group holds parts of one here), so nothing ever runs
          set share_idle to at least 100%
        memory.free_floor = 1 GiB
        900 MiB of memory
          keeping that much free leaves nothing to work with
          lower free_floor
        disk.free_floor = 5 GiB
        4 GiB of disk
          keeping that much free leaves nothing to work with
          lower free_floor
    "#]]
    .assert_eq(&told(&lines));
    assert_eq!(Policy::default().check_machine(&MACHINE), []);
}

#[test]
fn room_for_others_that_cannot_be_given_is_refused() {
    refused(
        "storage.price_min = 5\n[disk]\nmax = \"50%\"",
        &expect![[r#"
            storage.price_min = 5
            storage.room = 0 B
              there is a price, and nothing that could be leased
              set room to what others may keep here, or remove price_min
        "#]],
    );
    refused(
        "storage.room = \"100KiB\"",
        &expect![[r#"
            storage.room = 100 KiB
            leases of 1 MiB and more
              there is no room for a single one
              give more room, or leave it out to keep nothing for others
        "#]],
    );
    refused(
        "storage.room = \"50%\"\ndisk.max = \"40%\"\ndisk.free_floor = \"20%\"",
        &expect![[r#"
            storage.room = 50%
            disk.max = 40% and disk.free_floor = 20%
              they are more than the machine has, so room is never given in full
              lower one of them until they sum to 100% or less
        "#]],
    );
    assert!(Policy::parse("storage.room = \"0%\"").is_ok());
}
