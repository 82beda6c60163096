//! Tests that play the owner, and their mistakes.

use isos_base::Bytes;
use isos_base::random::Random;
use isos_base::sensors::{Power, Reading, Sensors};
use isos_base::time::Span;

use super::Machine;
use crate::overrides::replace;

#[test]
fn every_reading_can_be_replaced() {
    let mut sensors = Sensors::idle_machine();
    let text = r#"
        idle = "0s"
        other_load = 1.5
        memory_free = "2GiB"
        disk_free = 4096
        power = "battery 45.5%"
        metered = true
        temperature = 71.5
        utc_offset = "-02:30"
    "#;
    replace(text, &mut sensors).unwrap();
    assert_eq!(sensors.idle, Reading::Known(Span::ZERO));
    assert_eq!(sensors.other_load, Reading::Known(1.5));
    assert_eq!(sensors.memory_free, Reading::Known(Bytes::gib(2)));
    assert_eq!(sensors.disk_free, Reading::Known(Bytes(4096)));
    assert_eq!(sensors.power, Reading::Known(Power::Battery(45.5)));
    assert_eq!(sensors.metered, Reading::Known(true));
    assert_eq!(sensors.temperature, Reading::Known(71.5));
    assert_eq!(sensors.clock.utc_offset_secs, -9_000);
}

#[test]
fn what_is_left_out_stays_and_sensors_can_be_taken_away() {
    let mut sensors = Sensors::idle_machine();
    replace("power = \"mains\"\nother_load = 2\nidle = \"unknown: no eyes\"", &mut sensors)
        .unwrap();
    let mut wanted = Sensors::idle_machine();
    wanted.idle = Reading::Unknown("no eyes".into());
    wanted.other_load = Reading::Known(2.0);
    assert_eq!(sensors, wanted);
    replace("metered = \"unknown\"", &mut sensors).unwrap();
    assert_eq!(sensors.metered, Reading::Unknown("the sensors file says so".into()));
}

#[test]
fn mistakes_are_named() {
    for (text, wanted) in [
        ("idel = 1", "idel"),
        ("idle = 5", "idle: 5 must be in quotes"),
        ("idle = \"soon\"", "idle: "),
        ("other_load = -1", "other_load: -1 is no number of cores"),
        ("other_load = nan", "other_load"),
        ("memory_free = \"much\"", "memory_free: "),
        ("disk_free = -5", "disk_free: "),
        ("power = \"battery 101%\"", "power: "),
        ("power = true", "power: "),
        ("temperature = \"hot\"", "no temperature"),
        ("metered = 1", "metered: use true or false"),
        ("utc_offset = \"2\"", "utc_offset: "),
        ("utc_offset = \"+99:00\"", "utc_offset: "),
        ("utc_offset = \"é\"", "utc_offset: "),
        ("idle", ""),
    ] {
        let reason = replace(text, &mut Sensors::idle_machine()).unwrap_err();
        assert!(reason.contains(wanted), "{text}: {reason}");
    }
}

#[test]
fn a_wrong_file_makes_everything_unknown_and_a_missing_one_nothing() {
    let machine = Machine::new();
    machine.has("proc/meminfo", "MemAvailable: 1024 kB\n");
    let mut probe = machine.probe();
    assert_eq!(probe.read(&[]).memory_free, Reading::Known(Bytes::mib(1)));
    machine.has("sensors.toml", "memory_free = \"2MiB\"");
    assert_eq!(probe.read(&[]).memory_free, Reading::Known(Bytes::mib(2)));
    machine.has("sensors.toml", "memory_free = \"2MiB\nidle = 5");
    let sensors = probe.read(&[]);
    let Reading::Unknown(reason) = &sensors.memory_free else { panic!("{sensors:?}") };
    assert!(reason.contains("sensors.toml"), "{reason}");
    assert_eq!(sensors.idle, Reading::Unknown(reason.clone()));
    std::fs::remove_file(machine.root().join("sensors.toml")).unwrap();
    std::fs::create_dir(machine.root().join("sensors.toml")).unwrap();
    assert!(probe.read(&[]).memory_free.known().is_none());
}

#[test]
fn no_file_makes_it_panic() {
    let mut random = Random::new(2);
    let sample = "idle = \"5m\"\nother_load = 1.5\npower = \"battery 4%\"\nutc_offset = \"+02:00\"";
    for _ in 0..5_000 {
        let mut bytes = sample.as_bytes().to_vec();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.next_u64() as u8;
        }
        let _ = replace(&String::from_utf8_lossy(&bytes), &mut Sensors::idle_machine());
    }
}
