//! A disk that is really full: refusals that say so, nothing lost, and work goes on when there is
//! room again.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::world::{HostPlan, PATIENCE, World, module, wait_until, write};

/// A small disk in memory, for as long as this value lives.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// More than the room that shelves leave free (256 MiB), and not much more.
    const SIZE: &str = "size=320m";

    /// None, loudly, where this user may not mount one; never in CI.
    #[expect(clippy::print_stderr, reason = "a test that did not test says so")]
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", Self::SIZE, "tmpfs"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self { folder }),
            refused => {
                let ci = std::env::var("CI").is_ok_and(|text| text == "true");
                assert!(!ci, "no small disk can be mounted here: {refused:?}");
                eprintln!("NOT TESTED: no small disk can be mounted here (root may): {refused:?}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        let mut piece = vec![0; 1 << 20];
        while !piece.is_empty() {
            if file.write_all(&piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is just ending may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_server_with_a_full_disk_says_so_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut world = World::start_on(disk.path());
    world.add_host(HostPlan::default());
    world.wait_for_hosts(1);
    let job = world.submit(&[&module("montecarlo"), "--count", "3"]);
    assert_eq!(world.wait_job(job)["state"], "done");

    let filler = disk.fill();
    let input = write(world.folder(), "input", &[7; 100_000]);
    let (code, text) =
        world.refused(&["job", "submit", &module("montecarlo"), "--count", "3", "--input", &input]);
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("the server's disk is full"), "it says what is missing: {text}");

    // Without an upload it is the database that finds no room, at the latest after some jobs. What
    // it cannot keep is not acknowledged; it waits for room, and nobody dies.
    let mut acknowledged = vec![job];
    let submit = ["--json", "job", "submit", &module("montecarlo"), "--count", "3"];
    let mut waits = loop {
        let mut asked = world.command(&submit);
        let mut asked = asked.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let answered = || {
            asked.try_wait().unwrap().is_some() || world.log("server").contains("no room to write")
        };
        assert!(wait_until(PATIENCE, answered), "neither an answer nor a word");
        if asked.try_wait().unwrap().is_none() {
            break asked;
        }
        acknowledged.push(job_of(asked));
        assert!(acknowledged.len() < 10_000, "the disk is not full");
    };
    let api = world.ready["api"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let status = status_of(&api, world.ready["token"].as_str().unwrap());
    assert!(status.starts_with("HTTP/1.1 503") && status.contains("no room to write"), "{status}");
    assert!(waits.try_wait().unwrap().is_none(), "whoever asked before waits");

    fs::remove_file(filler).unwrap();
    acknowledged.push(job_of(waits));
    assert!(world.server.try_wait().unwrap().is_none(), "the server has lived on");
    world.restart_server();
    for job in acknowledged {
        let end = world.wait_job(job);
        assert_eq!((&end["state"], &end["tasks"]["done"]), (&"done".into(), &3.into()), "{end}");
    }
    let job = world.submit(&[&module("montecarlo"), "--count", "3", "--input", &input]);
    assert_eq!(world.wait_job(job)["state"], "done");
    world.assert_money_adds_up();
}

/// The number of the job that was submitted.
fn job_of(asked: Child) -> u64 {
    let output = asked.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = answer["data"]["job"]["id"].as_u64().or_else(|| answer["data"]["id"].as_u64());
    id.expect("a job number")
}

/// What the API answers to the simplest question, as it comes: `isos` would wait and ask again.
fn status_of(api: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(api).unwrap();
    let head = "GET /v1/whoami HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    stream.write_all(format!("{head}authorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn an_agent_with_a_full_disk_gives_its_tasks_back_and_works_again_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut world = World::start(&[]);
    let home = Some(disk.path().join("host"));
    world.add_host(HostPlan { home, ..HostPlan::default() });
    world.wait_for_hosts(1);
    let filler = disk.fill();
    let job = world.submit(&[&module("montecarlo"), "--count", "3", "--attempts", "50"]);
    let why = || {
        // Whichever it notices first: that the policy's floor is reached, or that a write fails.
        let said = |what: &str| String::from_utf8(world.run(&["explain", what]).stdout).unwrap();
        said(&format!("{job}@0")) + &said("host-1") + &world.log("host-1")
    };
    world.wait("the agent's word about its disk", || why().contains("free"));
    assert_eq!(world.job(job)["tasks"]["done"], 0);
    fs::remove_file(filler).unwrap();
    // The first job is tried here again in some minutes; any other runs at once.
    let next = world.submit(&[&module("montecarlo"), "--count", "3"]);
    assert_eq!(world.wait_job(next)["state"], "done");
    world.run(&["job", "cancel", &job.to_string()]);
    world.wait_job(job);
    world.assert_money_adds_up();
}
