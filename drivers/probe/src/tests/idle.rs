//! Traces of people.

use std::time::Duration;

use isos_base::sensors::Reading;
use isos_base::time::Span;

use super::{Machine, minutes};
use crate::Probe;

/// Idle minutes; the reason if unknown.
fn idle(probe: &mut Probe) -> Result<u64, String> {
    match probe.read(&[]).idle {
        Reading::Known(idle) => Ok(idle.0 / Span::secs(60).0),
        Reading::Unknown(reason) => Err(reason),
    }
}

#[test]
fn without_any_source_idle_time_is_unknown() {
    let reason = idle(&mut Machine::new().probe()).unwrap_err();
    assert_eq!(reason, "no terminal, keyboard or mouse is visible here");
}

#[test]
fn the_terminal_used_last_decides() {
    let machine = Machine::new();
    machine.typed("dev/tty1", minutes(50)).typed("dev/tty2", minutes(30));
    assert_eq!(idle(&mut machine.probe()), Ok(30));
    machine.typed("dev/pts/0", minutes(20)).typed("dev/pts/7", minutes(10));
    machine.typed("dev/pts/ptmx", minutes(0)).typed("dev/tty0", minutes(0));
    machine.typed("dev/ttyS0", minutes(0)).typed("dev/ttyprintk", minutes(0));
    assert_eq!(idle(&mut machine.probe()), Ok(10));
}

#[test]
fn whoever_closed_the_terminal_was_here() {
    let machine = Machine::new();
    machine.typed("dev/tty1", minutes(50)).typed("dev/pts/0", minutes(10));
    let mut probe = machine.probe();
    let mut watch = probe.watch();
    std::fs::remove_file(machine.root().join("dev/pts/0")).unwrap();
    assert_eq!(idle(&mut probe), Ok(10));
    assert!(!watch.changed());
}

#[test]
fn the_console_in_front_and_a_serial_console_are_seen_at_once() {
    let machine = Machine::new();
    machine.typed("dev/tty3", minutes(30)).typed("dev/ttyS0", minutes(40));
    machine.has("sys/class/tty/tty0/active", "tty3\n");
    machine.has("sys/class/tty/console/active", "tty0 ttyS0 ../../etc\n");
    let mut probe = machine.probe();
    assert_eq!(idle(&mut probe), Ok(30));
    machine.typed("dev/tty3", minutes(5));
    assert_eq!(idle(&mut probe), Ok(5));
    machine.typed("dev/ttyS0", minutes(0));
    assert_eq!(idle(&mut probe), Ok(0));
}

#[test]
fn a_clock_that_was_set_back_means_in_use_not_a_panic() {
    let machine = Machine::new();
    machine.typed("dev/pts/0", minutes(0));
    let file = std::fs::File::options().write(true).open(machine.root().join("dev/pts/0")).unwrap();
    let later = std::time::SystemTime::now() + minutes(90);
    file.set_times(std::fs::FileTimes::new().set_accessed(later)).unwrap();
    assert_eq!(idle(&mut machine.probe()), Ok(0));
}

/// A laptop: PS/2 keyboard, I2C touchpad, USB mouse, and a USB power supply that always talks.
fn laptop() -> Machine {
    let machine = Machine::new();
    machine.typed("dev/tty1", minutes(60)).desktop(false);
    machine.has("sys/kernel/irq/1/actions", "i8042\n").has("sys/kernel/irq/1/per_cpu_count", "5,0");
    machine.has("sys/kernel/irq/9/actions", "acpi\n").has("sys/kernel/irq/9/per_cpu_count", "1,1");
    machine.has("sys/bus/i2c/drivers/i2c_hid_acpi/i2c-ELAN0501:00", "");
    machine.has("sys/kernel/irq/40/actions", "ELAN0501:00\n");
    machine.has("sys/kernel/irq/40/per_cpu_count", "0,9");
    for (device, protocol) in [("1-2", "02"), ("1-3", "00")] {
        let devices = "sys/bus/usb/devices";
        machine.has(&format!("{devices}/{device}/urbnum"), "100\n");
        machine.has(&format!("{devices}/{device}:1.0/bInterfaceClass"), "03\n");
        machine.has(&format!("{devices}/{device}:1.0/bInterfaceProtocol"), protocol);
    }
    machine
}

#[test]
fn a_desktop_counts_as_in_use_when_we_start() {
    assert_eq!(idle(&mut laptop().probe()), Ok(0));
}

#[test]
fn keyboards_mice_and_touchpads_stir_the_watch_and_other_devices_do_not() {
    let machine = laptop();
    let mut watch = machine.probe().watch();
    assert!(!watch.changed());
    for (path, value) in [
        ("sys/kernel/irq/1/per_cpu_count", "6,0"),
        ("sys/kernel/irq/40/per_cpu_count", "0,10"),
        ("sys/bus/usb/devices/1-2/urbnum", "101"),
    ] {
        machine.has(path, value);
        assert!(watch.changed(), "{path}");
        assert!(!watch.changed(), "{path}");
    }
    for path in ["sys/kernel/irq/9/per_cpu_count", "sys/bus/usb/devices/1-3/urbnum"] {
        machine.has(path, "7");
        assert!(!watch.changed(), "{path}");
    }
}

#[test]
fn a_key_makes_a_desktop_used_and_a_machine_without_desktop_too() {
    for desktop in [true, false] {
        let machine = laptop();
        if !desktop {
            std::fs::remove_file(machine.root().join("run/systemd/sessions/2")).unwrap();
        }
        let mut probe = machine.probe();
        assert_eq!(idle(&mut probe), Ok(if desktop { 0 } else { 60 }));
        machine.has("sys/kernel/irq/1/per_cpu_count", "6,0");
        assert_eq!(idle(&mut probe), Ok(0));
    }
}

#[test]
fn a_desktop_whose_use_is_out_of_sight_is_not_taken_for_idle() {
    let bare = Machine::new();
    bare.typed("dev/tty1", minutes(60)).desktop(false);
    let bluetooth = laptop();
    bluetooth.has("sys/class/input/input7/id/bustype", "0005\n");
    let remote = laptop();
    remote.desktop(true);
    for (machine, why) in [(bare, "visible"), (bluetooth, "Bluetooth"), (remote, "remote")] {
        // This machine's logind may answer, or not be there; it never makes the desktop idle for
        // an hour, as its terminal is.
        match idle(&mut machine.probe()) {
            Err(reason) => assert!(reason.contains(why), "{reason}"),
            Ok(minutes) => assert_eq!(minutes, 0),
        }
    }
}

#[test]
fn a_watch_sees_typing_and_the_sensors_file() {
    let machine = Machine::new();
    machine.typed("dev/pts/0", minutes(9));
    let mut watch = machine.probe().watch();
    assert!(!watch.changed());
    machine.typed("dev/pts/0", minutes(0));
    assert!(watch.changed() && !watch.changed());
    machine.has("sensors.toml", "idle = \"0s\"");
    assert!(watch.changed() && !watch.changed());
    machine.has("sensors.toml", "idle = \"9s\"");
    assert!(watch.changed() && !watch.changed());
    std::fs::remove_file(machine.root().join("sensors.toml")).unwrap();
    assert!(watch.changed() && !watch.changed());
}

#[test]
fn waiting_ends_with_the_change_or_the_time() {
    let machine = Machine::new();
    let mut watch = machine.probe().watch();
    assert!(!watch.wait(Duration::ZERO));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| watch.wait(Duration::from_secs(30)));
        machine.has("sensors.toml", "idle = \"0s\"");
        assert!(waiting.join().unwrap());
    });
}
