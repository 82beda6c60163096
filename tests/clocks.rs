//! A server whose clock is set ahead and back while people work.
//!
//! It believes libfaketime, and that a file. Only the wall clock is changed, as by somebody who
//! sets it, and only the server's: the hosts have the right time, or what it must take for a wrong
//! one. (Chambers under libfaketime do not run.)

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::world::{HostPlan, World, module, pause};

/// Where Debian's package has it.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// The clock of a world.
struct WallClock {
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl WallClock {
    #[expect(clippy::print_stderr, reason = "a test that was left out should be seen")]
    /// A world with a clock of its own; none where libfaketime is not installed.
    fn world() -> Option<(Self, World)> {
        let library = LIBRARIES.iter().find(|path| Path::new(path).exists());
        let Some(library) = library else {
            assert!(std::env::var_os("CI").is_none(), "CI needs the package libfaketime");
            eprintln!("LEFT OUT: libfaketime is not installed (apt-get install libfaketime)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder for the clock");
        let file = folder.path().join("clock");
        let clock = Self { file, _folder: folder };
        clock.set("+0");
        let path = clock.file.to_str().unwrap().to_owned();
        let world = World::start_within(vec![
            ("LD_PRELOAD", (*library).to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", path),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]);
        Some((clock, world))
    }

    /// So far from the real one: `+2h`, `-30m`.
    fn set(&self, offset: &str) {
        // In one step: whoever reads half of it would be elsewhere.
        let new = self.file.with_extension("new");
        fs::write(&new, offset).expect("the clock can be set");
        fs::rename(&new, &self.file).expect("the clock can be set");
    }
}

#[test]
fn work_and_money_survive_clocks_that_are_set_ahead_and_back() {
    let Some((clock, mut world)) = WallClock::world() else { return };
    for _ in 0..2 {
        world.add_host(HostPlan::default());
    }
    world.wait_for_hosts(2);
    let jobs: Vec<u64> = ["quorum=2/2", "trusted"]
        .iter()
        .map(|verify| world.submit(&[&module("spin"), "--count", "400", "--verify", verify]))
        .collect();
    for offset in ["+1h", "-1h", "+26h", "-3h", "+0"] {
        clock.set(offset);
        pause(Duration::from_secs(2));
    }
    for job in jobs {
        let end = world.wait_job(job);
        assert_eq!((&end["state"], &end["tasks"]["done"]), (&"done".into(), &400.into()), "{end}");
    }
    world.assert_money_adds_up();
}

/// The deadline of a lost host is one of the machine's: it must come although the clock is behind.
#[test]
fn a_host_that_dies_is_missed_soon_after_the_clock_was_set_back() {
    let Some((clock, mut world)) = WallClock::world() else { return };
    for _ in 0..2 {
        world.add_host(HostPlan::default());
    }
    world.wait_for_hosts(2);
    clock.set("-5h");
    let job = world.submit(&[&module("spin"), "--count", "2000"]);
    world.wait("some of it", || world.job(job)["tasks"]["done"].as_u64() > Some(0));
    let _ = world.hosts[0].child.kill();
    let end = world.wait_job(job);
    assert_eq!(end["state"], "done", "{end}");
    assert!(world.log("server").contains("was set back"), "{}", world.log("server"));
    world.assert_money_adds_up();
}
