//! What looking costs: printed, not judged.
//! `cargo test -p isos-probe --release -- --nocapture cost`

use std::time::Instant;

use crate::cpu::LoadMeter;
use crate::input::{InputMeter, Now};
use crate::machine::disk;
use crate::memory;
use crate::power::PowerMeter;
use crate::sources::Sources;
use crate::{Probe, ProbeConfig};

#[expect(clippy::print_stdout, reason = "the figures are for whoever runs this")]
fn cost(what: &str, times: u32, mut look: impl FnMut(u32)) {
    let start = Instant::now();
    (0..times).for_each(&mut look);
    println!("{:>9.1} us  {what}", start.elapsed().as_secs_f64() * 1e6 / f64::from(times));
}

#[test]
fn cost_of_looking() {
    let root = std::path::Path::new("/");
    let config = ProbeConfig {
        disk_path: std::env::temp_dir(),
        sensors_file: Some(std::env::temp_dir().join("no-such-sensors-file")),
    };
    let mut probe = Probe::new(config);
    let mut watch = probe.watch();
    let own = [std::process::id(); 4];
    cost("Probe::read, load within its half second", 300, |_| drop(probe.read(&own)));
    cost("Watch::changed", 300, |_| {
        watch.changed();
    });
    let start = Instant::now();
    let second = |n: u32| start + std::time::Duration::from_secs(u64::from(n));
    let mut load = LoadMeter::new(root);
    cost("load, four processes of ours", 300, |n| drop(load.read(&own, second(n))));
    let mut power = PowerMeter::new(root);
    cost("power, once in 10 s", 300, |n| drop(power.read(second(n * 20))));
    cost("memory", 300, |_| drop(memory::read(root, "MemAvailable")));
    cost("disk", 300, |_| drop(disk(root)));
    let mut input = InputMeter::new(root);
    let now = Now::read();
    cost("idle", 300, |_| drop(input.read(now)));
    cost("finding keyboards and mice, once a minute", 20, |_| drop(Sources::find(root)));
}
