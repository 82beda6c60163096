//! Where the use of this machine by people shows: which files to look at. Found once a minute.
//!
//! Nothing here can tell what is typed, and none of it needs a right beyond an ordinary user's:
//!
//! * a terminal's access time: somebody typed there (`w` does the same). The kernel sets it to the
//!   second, but at most every eight, so it hides the rhythm of passwords;
//! * the interrupt counters of PS/2 and I2C keyboards, mice and touchpads;
//! * `urbnum` of USB keyboards and mice: packets, which they send only when they are used.
//!
//! Not seen: Bluetooth keyboards and remote desktops. Where there is such a thing, and a desktop
//! runs, the desktop's own word to logind is asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::files;

/// Devices and terminals of one kind each; a machine with more has other owners than we think of.
const SOURCES_MAX: usize = 256;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Consoles on a serial line.
    pub(crate) consoles: Vec<PathBuf>,
    /// When somebody last typed on a virtual console, in front or not.
    pub(crate) consoles_used: Option<SystemTime>,
    /// Files with numbers that grow with each use.
    pub(crate) counters: BTreeSet<PathBuf>,
    /// Whether somebody has a desktop open.
    pub(crate) desktop: bool,
    /// Why part of a desktop's use is out of sight.
    pub(crate) unseen: Option<&'static str>,
}

impl Sources {
    pub(crate) fn find(root: &Path) -> Self {
        let sessions = sessions(root);
        let mut counters: BTreeSet<PathBuf> = usb_counters(root).take(SOURCES_MAX).collect();
        counters.extend(interrupt_counters(root).take(SOURCES_MAX));
        let consoles = files::line(&root.join("sys/class/tty/console/active")).unwrap_or_default();
        let unseen = if sessions.iter().any(|session| session.remote) {
            Some("a remote desktop is open")
        } else if has_bluetooth_input(root) {
            Some("there is a Bluetooth keyboard or mouse")
        } else if counters.is_empty() {
            Some("no keyboard or mouse is visible")
        } else {
            None
        };
        Self {
            consoles: consoles
                .split_ascii_whitespace()
                .filter(|name| is_plain(name) && !is_virtual_console(name) && *name != "tty0")
                .map(|name| root.join("dev").join(name))
                .collect(),
            consoles_used: files::entries(&root.join("dev"))
                .filter(|(name, _)| is_virtual_console(name))
                .filter_map(|(_, path)| used(&path))
                .max(),
            counters,
            desktop: !sessions.is_empty(),
            unseen,
        }
    }
}

/// When somebody last typed on a terminal.
pub(crate) fn used(terminal: &Path) -> Option<SystemTime> {
    terminal.metadata().ok()?.accessed().ok()
}

/// The virtual console in front: the only one on which a person can type.
pub(crate) fn console_in_front(root: &Path) -> Option<PathBuf> {
    let name = files::line(&root.join("sys/class/tty/tty0/active"))?;
    is_virtual_console(&name).then(|| root.join("dev").join(name))
}

/// `tty1` and so on: not `tty0`, which stands for whichever is in front.
fn is_virtual_console(name: &str) -> bool {
    name.strip_prefix("tty").is_some_and(|number| {
        !number.is_empty() && number != "0" && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// A sum of numbers: `12`, or `0,13,7` with one for each processor.
pub(crate) fn parse_counter(text: &str) -> Option<u64> {
    text.trim().split(',').try_fold(0u64, |sum, n| Some(sum.wrapping_add(n.parse().ok()?)))
}

/// A desktop that somebody has open and in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Desktop {
    pub(crate) remote: bool,
}

/// Reads a file of `/run/systemd/sessions`, as libsystemd does.
pub(crate) fn parse_session(text: &str) -> Option<Desktop> {
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    let desktop = ["x11", "wayland", "mir"].contains(&field("TYPE"));
    (desktop && field("CLASS") == "user" && field("ACTIVE") == "1")
        .then(|| Desktop { remote: field("REMOTE") == "1" })
}

fn sessions(root: &Path) -> Vec<Desktop> {
    let folder = root.join("run/systemd/sessions");
    if folder.is_dir() {
        return files::entries(&folder)
            // Beside each session there are pipes, which must not be opened.
            .filter(|(name, path)| !name.contains('.') && path.is_file())
            .filter_map(|(_, path)| parse_session(&files::text(&path).ok()?))
            .collect();
    }
    let x11 = files::entries(&root.join("tmp/.X11-unix")).next();
    x11.map(|_| Desktop { remote: false }).into_iter().collect()
}

fn usb_counters(root: &Path) -> impl Iterator<Item = PathBuf> {
    let devices = root.join("sys/bus/usb/devices");
    files::entries(&devices).filter_map(move |(name, interface)| {
        let (device, _) = name.split_once(':')?;
        let is = |file, wanted: &[&str]| {
            files::line(&interface.join(file)).is_some_and(|text| wanted.contains(&text.as_str()))
        };
        // Human interface devices that speak the boot protocol of keyboards (1) or mice (2): the
        // others are also power supplies and headsets, which talk all the time.
        let wanted = is("bInterfaceClass", &["03"]) && is("bInterfaceProtocol", &["01", "02"]);
        wanted.then(|| devices.join(device).join("urbnum"))
    })
}

fn interrupt_counters(root: &Path) -> impl Iterator<Item = PathBuf> {
    let i2c: BTreeSet<String> = files::entries(&root.join("sys/bus/i2c/drivers"))
        .filter(|(driver, _)| driver.starts_with("i2c_hid"))
        .flat_map(|(_, folder)| files::entries(&folder))
        .filter_map(|(device, _)| device.strip_prefix("i2c-").map(str::to_owned))
        .collect();
    files::entries(&root.join("sys/kernel/irq")).filter_map(move |(_, folder)| {
        let actions = files::line(&folder.join("actions"))?;
        let of_input = |action: &str| {
            ["i8042", "rmi4", "keyboard", "mouse"].iter().any(|name| action.contains(name))
                || i2c.contains(action)
        };
        actions.split(',').any(of_input).then(|| folder.join("per_cpu_count"))
    })
}

fn has_bluetooth_input(root: &Path) -> bool {
    files::entries(&root.join("sys/class/input"))
        .filter(|(name, _)| name.starts_with("input"))
        .any(|(_, path)| files::line(&path.join("id/bustype")).is_some_and(|bus| bus == "0005"))
}
