//! The other sensors, on made-up machines and on this one.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use isos_base::Bytes;
use isos_base::sensors::{Power, Reading};

use super::Machine;
use crate::cpu::LoadMeter;
use crate::zone::Zone;
use crate::{Probe, ProbeConfig};

fn unknown<T>(reading: &Reading<T>, wanted: &str) {
    match reading {
        Reading::Unknown(reason) => assert!(reason.contains(wanted), "{reason}"),
        Reading::Known(_) => panic!("known, but {wanted} was wanted"),
    }
}

#[test]
fn a_machine_without_sensors_says_what_is_missing() {
    let machine = Machine::new();
    let sensors = machine.probe().read(&[1, 2, 3]);
    unknown(&sensors.idle, "visible");
    unknown(&sensors.other_load, "/proc/stat");
    unknown(&sensors.memory_free, "/proc/meminfo");
    unknown(&sensors.power, "/sys/class/power_supply");
    assert!(sensors.disk_free.known().is_some());
    assert_eq!(sensors.clock.utc_offset_secs, 0);
    let config = ProbeConfig { disk_path: "/no/such/folder".into(), sensors_file: None };
    unknown(&Probe::on(machine.root(), config, None).read(&[]).disk_free, "/no/such/folder");
}

#[test]
fn a_laptop_on_battery_is_seen() {
    let machine = Machine::new();
    let supplies = "sys/class/power_supply";
    machine.has(&format!("{supplies}/AC/type"), "Mains\n");
    machine.has(&format!("{supplies}/AC/online"), "0\n");
    machine.has(&format!("{supplies}/BAT0/type"), "Battery\n");
    machine.has(&format!("{supplies}/BAT0/status"), "Discharging\n");
    machine.has(&format!("{supplies}/BAT0/capacity"), "83\n");
    assert_eq!(machine.probe().read(&[]).power, Reading::Known(Power::Battery(83.0)));
}

#[test]
fn a_plug_that_is_pulled_is_seen_at_once_and_the_battery_is_asked_then() {
    let machine = Machine::new();
    let supplies = "sys/class/power_supply";
    machine.has(&format!("{supplies}/AC/type"), "Mains\n");
    machine.has(&format!("{supplies}/AC/online"), "1\n");
    machine.has(&format!("{supplies}/BAT0/type"), "Battery\n");
    machine.has(&format!("{supplies}/BAT0/status"), "Charging\n");
    machine.has(&format!("{supplies}/BAT0/capacity"), "83\n");
    let mut probe = machine.probe();
    let mut watch = probe.watch();
    assert_eq!(probe.read(&[]).power, Reading::Known(Power::Mains));
    assert!(!watch.changed());
    // A battery alone is asked every ten seconds.
    machine.has(&format!("{supplies}/BAT0/status"), "Discharging\n");
    assert!(!watch.changed());
    machine.has(&format!("{supplies}/AC/online"), "0\n");
    assert!(watch.changed());
    assert_eq!(probe.read(&[]).power, Reading::Known(Power::Battery(83.0)));
    machine.has(&format!("{supplies}/AC/online"), "1\n");
    assert!(watch.changed() && !watch.changed());
    assert_eq!(probe.read(&[]).power, Reading::Known(Power::Mains));
}

/// A machine on which somebody answers for NetworkManager.
#[cfg(unix)]
fn answers(machine: &Machine, answer: &str) {
    use std::os::unix::fs::PermissionsExt;
    machine.has("usr/bin/busctl", &format!("#!/bin/sh\necho '{answer}'\n"));
    let program = machine.root().join("usr/bin/busctl");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
#[cfg(unix)]
fn whether_the_network_is_metered_is_asked_again_when_the_way_out_changes() {
    let machine = Machine::new();
    answers(&machine, "u 2");
    machine.has("proc/net/route", "wlan0 00000000 0102A8C0\n");
    let mut probe = machine.probe();
    let mut becomes = |wanted: bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while probe.read(&[]).metered != Reading::Known(wanted) {
            assert!(Instant::now() < end, "{:?}", probe.read(&[]).metered);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    becomes(false);
    answers(&machine, "u 1");
    machine.has("proc/net/route", "usb0 00000000 0103A8C0\n");
    becomes(true);
}

#[test]
fn the_hottest_sensor_of_the_processor_counts_and_no_other() {
    let machine = Machine::new();
    let of = |machine: &Machine| machine.probe().read(&[]).temperature;
    unknown(&of(&machine), "no sensor of the processor");
    machine.has("sys/class/thermal/thermal_zone0/type", "acpitz\n");
    machine.has("sys/class/thermal/thermal_zone0/temp", "27800\n");
    machine.has("sys/class/thermal/thermal_zone1/type", "iwlwifi_1\n");
    machine.has("sys/class/thermal/thermal_zone1/temp", "99000\n");
    assert_eq!(of(&machine), Reading::Known(27.8));
    machine.has("sys/class/thermal/thermal_zone2/type", "x86_pkg_temp\n");
    machine.has("sys/class/thermal/thermal_zone2/temp", "64000\n");
    assert_eq!(of(&machine), Reading::Known(64.0));
    machine.has("sys/class/hwmon/hwmon0/name", "nvme\n");
    machine.has("sys/class/hwmon/hwmon0/temp1_input", "88000\n");
    machine.has("sys/class/hwmon/hwmon1/name", "coretemp\n");
    machine.has("sys/class/hwmon/hwmon1/temp1_input", "71000\n");
    machine.has("sys/class/hwmon/hwmon1/temp2_input", "73500\n");
    machine.has("sys/class/hwmon/hwmon1/temp3_input", "broken\n");
    assert_eq!(of(&machine), Reading::Known(73.5));
}

#[test]
fn a_control_temperature_with_an_offset_is_not_taken_for_the_true_one() {
    let machine = Machine::new();
    machine.has("sys/class/hwmon/hwmon0/name", "k10temp\n");
    machine.has("sys/class/hwmon/hwmon0/temp1_input", "82000\n");
    machine.has("sys/class/hwmon/hwmon0/temp1_label", "Tctl\n");
    let of = |machine: &Machine| machine.probe().read(&[]).temperature;
    assert_eq!(of(&machine), Reading::Known(82.0));
    machine.has("sys/class/hwmon/hwmon0/temp2_input", "62000\n");
    machine.has("sys/class/hwmon/hwmon0/temp2_label", "Tdie\n");
    assert_eq!(of(&machine), Reading::Known(62.0));
}

fn stat(busy: u64, idle: u64) -> String {
    format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1\ncpu1 1\n")
}

#[test]
fn load_is_averaged_over_half_a_second_at_least() {
    let machine = Machine::new();
    machine.has("proc/stat", &stat(100, 100));
    let mut meter = LoadMeter::new(machine.root());
    let start = Instant::now();
    let after = |ms| start + Duration::from_millis(ms);
    machine.has("proc/stat", &stat(200, 200));
    unknown(&meter.read(&[], after(100)), "half a second");
    assert_eq!(meter.read(&[], after(1_000)), Reading::Known(1.0));
    machine.has("proc/stat", &stat(300, 200));
    assert_eq!(meter.read(&[], after(1_100)), Reading::Known(1.0));
    assert_eq!(meter.read(&[], after(2_000)), Reading::Known(2.0));
    machine.has("proc/stat", "garbage");
    unknown(&meter.read(&[], after(3_000)), "not as expected");
}

/// Seconds since 1970 of noon on a day of winter and one of summer, 2026.
const WINTER: u64 = 1_768_478_400;
const SUMMER: u64 = 1_784_116_800;

fn offset(zone: &mut Zone, secs: u64) -> i32 {
    zone.read(UNIX_EPOCH + Duration::from_secs(secs), Instant::now()).utc_offset_secs
}

#[test]
fn the_wall_clock_knows_daylight_saving() {
    let root = Machine::new();
    let mut helsinki = Zone::new(root.root(), Some("EET-2EEST,M3.5.0/3,M10.5.0/4".into()));
    assert_eq!(offset(&mut helsinki, WINTER), 7_200);
    assert_eq!(offset(&mut helsinki, SUMMER), 10_800);
    for nonsense in ["", "Nowhere/Atlantis", "\0", "EET-2EEST,M99"] {
        let mut zone = Zone::new(root.root(), Some(nonsense.into()));
        assert_eq!(offset(&mut zone, SUMMER), 0, "{nonsense:?}");
    }
}

#[test]
fn the_machines_zone_file_is_read() {
    let Ok(bytes) = std::fs::read("/usr/share/zoneinfo/America/New_York") else {
        return; // No zone files on this machine.
    };
    let root = Machine::new();
    root.has("etc/localtime", "");
    std::fs::write(root.root().join("etc/localtime"), bytes).unwrap();
    let mut zone = Zone::new(root.root(), None);
    assert_eq!(offset(&mut zone, WINTER), -5 * 3_600);
    assert_eq!(offset(&mut zone, SUMMER), -4 * 3_600);
    root.has("etc/localtime", "TZif but then garbage");
    assert_eq!(offset(&mut Zone::new(root.root(), None), SUMMER), 0);
}

fn this_machine() -> Probe {
    Probe::new(ProbeConfig { disk_path: std::env::temp_dir(), sensors_file: None })
}

#[test]
#[cfg(target_os = "linux")]
fn this_machine_has_processors_memory_and_a_disk() {
    let mut probe = this_machine();
    let facts = probe.describe();
    let sensors = probe.read(&[]);
    assert!(facts.cpus >= 1 && facts.os == "linux");
    let (free, total) = (sensors.memory_free.known().unwrap(), facts.memory.known().unwrap());
    assert!(Bytes::ZERO < *free && free <= total);
    assert!(sensors.disk_free.known() <= facts.disk.known());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now.as_secs() > WINTER - 31_536_000);
}

/// Uses one second of processor time, then is killed by its own limit.
#[cfg(target_os = "linux")]
fn busy_child() -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -t 1; while :; do :; done"]).stdin(Stdio::null());
    command.spawn().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn children_that_live_and_children_that_ended_are_ours() {
    let meter = LoadMeter::new(Path::new("/"));
    let ours = |pids: &[u32]| meter.own_ticks(pids).values().sum::<u64>();
    let before = ours(&[]);
    let mut child = busy_child();
    while meter.own_ticks(&[child.id()]).get(&child.id()).is_none_or(|&ticks| ticks < 20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let living = ours(&[child.id()]);
    assert!(living >= before + 20, "before {before}, living {living}");
    child.wait().unwrap();
    let ended = ours(&[]);
    assert!(ended >= before + 50, "before {before}, ended {ended}");
}

#[test]
#[cfg(target_os = "linux")]
fn naming_a_busy_child_takes_its_load_away() {
    let (mut naming, mut not_naming) = (this_machine(), this_machine());
    let mut child = busy_child();
    std::thread::sleep(Duration::from_millis(800));
    let ours = *naming.read(&[child.id()]).other_load.known().unwrap();
    let owners = *not_naming.read(&[]).other_load.known().unwrap();
    child.wait().unwrap();
    // How much a busy machine gives to the child is not for us to say.
    assert!(owners >= ours, "named {ours}, not named {owners}");
}
