//! Texts of kernels and services, whole, cut anywhere, and mangled.

use std::time::Duration;

use isos_base::Bytes;
use isos_base::random::Random;
use isos_base::sensors::{Power, Reading};

use crate::asked::{parse_desktop_idle, parse_metered};
use crate::cpu::{CpuTimes, other_load_of, parse_pid_stat, parse_stat};
use crate::memory::parse_meminfo;
use crate::power::{Supply, judge};
use crate::sources::{Desktop, parse_counter, parse_session};

const STAT: &str = "cpu  79426 10 9732 160867 451 1 79 24 500 0\n\
    cpu0 17847 0 2725 104548 68 0 14 8 0 0\n\
    cpu1 61579 0 7006 56318 382 0 64 15 0 0\n\
    intr 471929 0 0\nctxt 1\n";
const PID_STAT: &str = "42 (a ) (b c) S 1 42 42 0 -1 4194560 100 200 0 0 7 5 30 1 20 0 1 0 99 1 2";
const MEMINFO: &str = "MemTotal:       24683876 kB\nMemFree:        20000000 kB\n\
    MemAvailable:   23261000 kB\n";
const SESSION: &str =
    "# This is private data.\nUID=1000\nACTIVE=1\nSTATE=active\nREMOTE=0\nTYPE=x11\nCLASS=user\n";
const DESKTOP_IDLE: &str = "b true\nt 1700000000000000\n";

#[test]
fn processor_times_leave_out_idle_waiting_and_stolen_ticks() {
    let busy = 79426 + 10 + 9732 + 1 + 79;
    let total = busy + 160_867 + 451 + 24;
    assert_eq!(parse_stat(STAT), Some(CpuTimes { busy, total, cpus: 2 }));
    for bad in ["", "cpu", "cpu \n", "cpu  1 2 3\ncpu0 1", "cpu  1 2 3 4\n", "intr 1", "cpu  x"] {
        assert_eq!(parse_stat(bad), None, "{bad:?}");
    }
}

#[test]
fn a_process_may_have_any_name() {
    assert_eq!(parse_pid_stat(PID_STAT), Some(7 + 5 + 30 + 1));
    for bad in ["", "1 (x", "1 (x) S", "1 (x) S 1 2 3 4 5 6 7 8 9 0 a b c d e", ")"] {
        assert_eq!(parse_pid_stat(bad), None, "{bad:?}");
    }
}

fn times(busy: u64, total: u64) -> CpuTimes {
    CpuTimes { busy, total, cpus: 2 }
}

#[test]
fn load_of_others_is_what_we_did_not_do() {
    // A second of two processors: 150 ticks busy, 50 of them ours, two of our processes ended.
    let last = (times(1000, 5000), [(1, 100), (2, 10), (3, 5)].as_slice());
    let now = (times(1150, 5200), [(1, 165)].as_slice());
    assert_eq!(other_load_of(last, now), Some(1.0));
    // A process that had run long before we named it is not counted for this second.
    let now = (times(1150, 5200), [(1, 115), (9, 70_000)].as_slice());
    assert_eq!(other_load_of(last, now), Some(1.5));
    // More of ours than there was, time that stands still or goes back.
    let now = (times(1150, 5200), [(1, 900)].as_slice());
    assert_eq!(other_load_of(last, now), Some(0.0));
    assert_eq!(other_load_of(last, (times(1000, 5000), &[])), None);
    assert_eq!(other_load_of(last, (times(0, 0), &[])), None);
}

#[test]
fn memory_is_in_kib() {
    let read = |text, name| parse_meminfo(text, name);
    assert_eq!(read(MEMINFO, "MemAvailable"), Some(Bytes(23_261_000 << 10)));
    assert_eq!(read(MEMINFO, "Mem"), None);
    assert_eq!(read("MemTotal: 99999999999999999999 kB", "MemTotal"), None);
    assert_eq!(read("MemTotal: 18446744073709551615 kB", "MemTotal"), None);
    assert_eq!(read("MemTotal: 5 MB", "MemTotal"), None);
}

fn supply(kind: &str, change: impl FnOnce(&mut Supply)) -> Supply {
    let mut supply = Supply { kind: kind.into(), present: true, ..Supply::default() };
    change(&mut supply);
    supply
}

fn battery(status: &str, charge: f32) -> Supply {
    supply("Battery", |b| (b.status, b.capacity) = (status.into(), Some(charge)))
}

#[test]
fn a_machine_is_on_battery_when_it_is() {
    let socket = |online| supply("Mains", |s| s.online = online);
    let mouse = supply("Battery", |b| {
        (b.status, b.scope, b.capacity) = ("Discharging".into(), "Device".into(), Some(5.0));
    });
    let cases: &[(&[Supply], Power)] = &[
        (&[], Power::Mains),
        (&[socket(true)], Power::Mains),
        (&[socket(false), mouse.clone()], Power::Mains),
        (&[socket(true), battery("Charging", 40.0)], Power::Mains),
        // A weak charger: plugged in, and yet discharging.
        (&[socket(true), battery("Discharging", 40.0)], Power::Mains),
        (&[socket(false), battery("Discharging", 40.0)], Power::Battery(40.0)),
        (&[socket(false), battery("Unknown", 40.0), mouse], Power::Battery(40.0)),
        (&[battery("Discharging", 80.0), battery("Unknown", 20.0)], Power::Battery(50.0)),
        (&[battery("Full", 100.0)], Power::Mains),
        (&[supply("USB", |s| s.online = true), battery("Not charging", 60.0)], Power::Mains),
        (&[socket(false), supply("Battery", |b| b.present = false)], Power::Mains),
    ];
    for (supplies, power) in cases {
        assert_eq!(judge(supplies), Reading::Known(*power), "{supplies:?}");
    }
    let mute = supply("Battery", |b| b.status = "Discharging".into());
    assert!(judge(&[mute]).known().is_none());
    assert!(judge(&[battery("Discharging", f32::NAN)]).known().is_none());
}

#[test]
fn counters_are_sums() {
    assert_eq!(parse_counter("0,13\n"), Some(13));
    assert_eq!(parse_counter("7"), Some(7));
    assert_eq!(parse_counter("18446744073709551615,2"), Some(1));
    for bad in ["", ",", "x", "1,", "-1", "1 2"] {
        assert_eq!(parse_counter(bad), None, "{bad:?}");
    }
}

#[test]
fn only_an_active_desktop_of_a_person_counts() {
    assert_eq!(parse_session(SESSION), Some(Desktop { remote: false }));
    let remote = SESSION.replace("REMOTE=0", "REMOTE=1");
    assert_eq!(parse_session(&remote), Some(Desktop { remote: true }));
    for (from, to) in
        [("x11", "tty"), ("ACTIVE=1", "ACTIVE=0"), ("CLASS=user", "CLASS=greeter"), ("=", "")]
    {
        assert_eq!(parse_session(&SESSION.replace(from, to)), None, "{to}");
    }
}

#[test]
fn answers_of_services_are_understood_or_unknown() {
    assert_eq!(parse_metered("u 1\n"), Reading::Known(true));
    assert_eq!(parse_metered("u 4\n"), Reading::Known(false));
    for bad in ["", "u 0", "u 9", "b true"] {
        assert!(parse_metered(bad).known().is_none(), "{bad:?}");
    }
    let since = Duration::from_secs(1_700_000_000);
    assert_eq!(parse_desktop_idle(DESKTOP_IDLE), Reading::Known(Some(since)));
    assert_eq!(parse_desktop_idle("b false\nt 0\n"), Reading::Known(None));
    for bad in ["", "b true", "b true\nt x", "t 1\nb true", "b true\nt 99999999999999999999"] {
        assert!(parse_desktop_idle(bad).known().is_none(), "{bad:?}");
    }
}

#[test]
fn no_text_makes_a_parser_panic() {
    let mut random = Random::new(1);
    for sample in [STAT, PID_STAT, MEMINFO, SESSION, DESKTOP_IDLE, "0,13", "u 4"] {
        for round in 0..2_000 {
            let mut bytes = sample.as_bytes().to_vec();
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            for _ in 0..round % 4 {
                if !bytes.is_empty() {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] = random.next_u64() as u8;
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            let _ = parse_stat(&text);
            let _ = parse_pid_stat(&text);
            let _ = parse_meminfo(&text, "MemAvailable");
            let _ = parse_session(&text);
            let _ = parse_desktop_idle(&text);
            let _ = parse_counter(&text);
            let _ = parse_metered(&text);
        }
    }
}
