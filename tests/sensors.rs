//! The owner's rules against a machine that is played file by file: the real agent reads the files
//! of the system where it always does, under another root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use isos_base::Time;
use isos_base::random::Random;
use serde_json::Value;

use crate::owner::{frozen, works};
use crate::world::{ALWAYS, HostPlan, World, hostile, isos, module, wait_until, write};

/// What the system of some machine says of itself.
struct Machine(PathBuf);

impl Machine {
    /// A laptop that is plugged in, cool, and on a network that costs nothing.
    fn laptop(root: &Path) -> Self {
        let machine = Self(root.to_owned());
        fs::create_dir_all(root.join("proc")).unwrap();
        for file in ["stat", "meminfo", "self"] {
            symlink(Path::new("/proc").join(file), root.join("proc").join(file)).unwrap();
        }
        machine.says("sys/class/power_supply/AC/type", "Mains");
        machine.says("sys/class/power_supply/AC/online", "1");
        machine.says("sys/class/power_supply/BAT0/type", "Battery");
        machine.says("sys/class/power_supply/BAT0/status", "Charging");
        machine.says("sys/class/power_supply/BAT0/capacity", "83");
        machine.says("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp");
        machine.says("sys/class/thermal/thermal_zone0/temp", "48000");
        machine.network("wlan0", false);
        machine
    }

    /// Replaces a file as a whole.
    fn says(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, format!("{text}\n")).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Pulls the plug, or puts it in.
    fn plugged(&self, plugged: bool) {
        let status = if plugged { "Charging" } else { "Discharging" };
        self.says("sys/class/power_supply/BAT0/status", status);
        self.says("sys/class/power_supply/AC/online", if plugged { "1" } else { "0" });
    }

    /// It is in another network, of which NetworkManager says whether it is metered.
    fn network(&self, interface: &str, metered: bool) {
        let answer = if metered { "u 1" } else { "u 2" };
        self.says("usr/bin/busctl", &format!("#!/bin/sh\necho '{answer}'"));
        let program = self.0.join("usr/bin/busctl");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        self.says("proc/net/route", &format!("{interface}\t00000000\t0102A8C0\t0003"));
    }
}

/// How the agent with this home stands: what `isos status` says.
fn status(home: &Path) -> Value {
    let output = isos().args(["status", "--json", "--home"]).arg(home).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    status["data"].clone()
}

fn verdict(home: &Path) -> String {
    status(home)["verdict"].as_str().expect("a verdict").to_owned()
}

/// A world whose one host has this policy and lives on a laptop of ours.
fn world_on_a_laptop(policy: &str, sensors: Option<String>) -> (World, Machine) {
    let mut world = World::start(&[]);
    let machine = Machine::laptop(&world.folder().join("machine"));
    let sensors_root = Some(machine.0.clone());
    let policy = Some(policy.to_owned());
    world.add_host(HostPlan { policy, sensors, sensors_root, ..HostPlan::default() });
    world.wait_for_hosts(1);
    (world, machine)
}

#[test]
fn battery_heat_and_a_metered_network_suspend_work_with_the_reason_and_it_goes_on_where_it_was() {
    let policy = ALWAYS
        .replace("on_battery = true", "on_battery = false")
        .replace("metered = true", "metered = false")
        + "[temperature]\nmax = 80\n";
    let (world, machine) = world_on_a_laptop(&policy, None);
    let program = hostile(world.folder(), "infinite_loop");
    world.submit(&[&program, "--fuel", "1000G", "--timeout", "1h"]);
    let (agent, home) = (world.hosts[0].child.id(), world.hosts[0].home.clone());
    world.wait("a running task", || works(agent));
    let suspended = |since: Instant, within: u64, why: &str| {
        assert!(wait_until(Duration::from_secs(20), || frozen(agent)), "it runs on: {why}");
        let took = since.elapsed();
        assert!(took < Duration::from_millis(within), "{why}: after {took:?}");
        let said = verdict(&home);
        assert!(said.contains("standing still") && said.contains(why), "{said}");
    };

    // A plug is seen at once.
    let pulled = Instant::now();
    machine.plugged(false);
    suspended(pulled, 1_000, "on battery (83%)");
    let quiet = world.json(&["explain", "host-1"]).to_string();
    assert!(quiet.contains("on battery (83%)"), "{quiet}");
    machine.plugged(true);
    world.wait("the work to go on", || works(agent));

    // Heat is looked at every two seconds, and must be well below the limit again.
    let hot = Instant::now();
    machine.says("sys/class/thermal/thermal_zone0/temp", "91000");
    suspended(hot, 5_000, "the processor is at 91 degrees");
    machine.says("sys/class/thermal/thermal_zone0/temp", "75000");
    assert!(!wait_until(Duration::from_secs(6), || works(agent)), "75 is not 8 below 80");
    machine.says("sys/class/thermal/thermal_zone0/temp", "71000");
    world.wait("the work to go on", || works(agent));

    // Another network is asked about when the way out of the machine is another one.
    let moved = Instant::now();
    machine.network("usb0", true);
    suspended(moved, 5_000, "the network is metered");
    machine.network("wlan0", false);
    world.wait("the work to go on", || works(agent));
}

/// Two offsets from UTC at which it is another day of the same month now, the earlier first.
#[expect(clippy::disallowed_methods, reason = "what day it is decides where a day ends soon")]
fn two_days_of_a_month() -> Option<[String; 2]> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let day = |hours: i64| Time((now + hours * 3_600) as u64 * 1_000_000).to_rfc3339();
    let pairs = [(-15, 15), (-15, 9), (-9, 15), (-15, 0), (0, 15)];
    let is_so = |&(first, second): &(i64, i64)| {
        let (first, second) = (day(first), day(second));
        first[..10] != second[..10] && first[..7] == second[..7]
    };
    let (first, second) = pairs.into_iter().find(is_so)?;
    let offset = |hours: i64| {
        let sign = if hours < 0 { '-' } else { '+' };
        format!("utc_offset = \"{sign}{:02}:00\"\n", hours.abs())
    };
    Some([offset(first), offset(second)])
}

#[test]
fn what_a_day_and_a_month_may_move_is_kept_and_a_policy_changed_by_hand_holds_at_once() {
    // In the last hours of a month there is no other day of it for the clock to go to.
    let days = two_days_of_a_month();
    let first = days.as_ref().map(|[first, _]| first.clone());
    let caps = "day_max = \"3MiB\"\nmonth_max = \"5MiB\"\n";
    let (world, _machine) = world_on_a_laptop(&(ALWAYS.to_owned() + caps), first);
    let home = world.hosts[0].home.clone();
    let spin = module("spin");
    // An input with which all of a cap is moved, but for less than can be fetched at all.
    let mut random = Random::new(7);
    let mut submit = |cap: u64, moved: u64, program: u64| {
        let left = cap - moved - (40 << 10);
        let size = left * 16 / 17 - program;
        let bytes: Vec<u8> = (0..size).map(|_| random.next_u64() as u8).collect();
        let input = write(world.folder(), "input", &bytes);
        world.submit(&[&spin, "--input", &input])
    };
    let moved = |period: &str| status(&home)["agent"]["moved"][period].as_u64().expect("bytes");
    // What it is for stands still as well: its result could not leave.
    let mut job = submit(3 << 20, moved("day"), fs::metadata(&spin).unwrap().len());
    let used_up = "the network cap for today is used up";
    world.wait("the day's cap", || verdict(&home).contains(used_up));
    assert!(moved("day") <= 3 << 20, "{}", moved("day"));
    let why = || world.json(&["explain", "host-1"]).to_string();
    world.wait("the complex to know it", || why().contains(used_up));

    if let Some([_, second]) = &days {
        fs::write(home.join("sensors.toml"), second).unwrap();
        world.wait("the next day", || moved("day") < 1 << 20 && !verdict(&home).contains("still"));
        assert_eq!(world.wait_job(job)["state"], "done");
        job = submit(5 << 20, moved("month"), 0);
        let used_up = "the network cap for this month is used up";
        world.wait("the month's cap", || verdict(&home).contains(used_up));
        assert!(moved("month") <= 5 << 20, "{}", moved("month"));
    }

    // What is no policy changes nothing, and is told.
    let file = home.join("policy.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("day_max", "day_mox")).unwrap();
    let trouble = || status(&home)["agent"]["policy"]["trouble"].to_string();
    world.wait("a word about the policy", || trouble().contains("day_mox"));
    assert!(verdict(&home).contains("used up"), "the limits of before hold");
    assert!(world.log("host-1").contains("what it said before holds"));
    let raised = text.replace("\"3MiB\"", "\"50MiB\"").replace("\"5MiB\"", "\"90MiB\"");
    fs::write(&file, raised.replace("price_min = 0", "price_min = 1")).unwrap();
    world.wait("more to move", || !verdict(&home).contains("still"));
    assert_eq!(status(&home)["agent"]["policy"]["trouble"], Value::Null);
    assert_eq!(status(&home)["agent"]["offer"]["price_min"], 1);
    assert_eq!(world.wait_job(job)["state"], "done", "what stood still goes on");
    // And what is never lent is known as that.
    let big = world.submit(&[&spin, "--memory", "64GiB"]).to_string();
    let why = || world.json(&["explain", &big]).to_string();
    world.wait("why it cannot run", || why().contains("lends") && why().contains("at most"));
    let host = world.json(&["host", "show", "host-1"]);
    let (lends, offers) = (&host["spec"]["memory"], &host["offer"]["memory"]);
    assert!(lends.as_u64() >= offers.as_u64() && lends.is_u64(), "{host}");
    assert_eq!(host["spec"]["cpus"], 1, "of one core by its policy: {host}");
}

#[test]
fn a_status_of_an_agent_that_does_not_run_says_that_and_not_how_it_was() {
    let mut world = World::with_hosts(1);
    let home = world.hosts[0].home.clone();
    assert!(verdict(&home).contains("idle"));
    world.hosts[0].child.kill().unwrap();
    world.hosts[0].child.wait().unwrap();
    let output = isos().args(["status", "--json", "--home"]).arg(&home).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let said = status(&home);
    assert_eq!((&said["ok"], &said["agent"]), (&Value::Bool(false), &Value::Null), "{said}");
    assert!(said["verdict"].as_str().unwrap().contains("no agent runs"), "{said}");
    assert_eq!(said["seen"]["id"], said["resting"]["host"], "the complex was asked: {said}");
}
