//! Objects on other people's disks: put, got, hosts killed, disks damaged, names found again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::world::{ALWAYS, HostPlan, World, isos};

/// Hosts of a world: any two of six fragments are enough on so many.
const HOSTS: usize = 6;
/// Of them this many may be gone.
const SPARE: usize = 4;

/// A world whose hosts keep fragments.
pub(crate) fn world() -> World {
    world_with(&[])
}

/// With these arguments of its server.
fn world_with(server: &[&str]) -> World {
    let mut world = World::start(server);
    (0..HOSTS).for_each(|_| keeper(&mut world));
    world.wait_for_hosts(HOSTS);
    world.wait("room on all hosts", || {
        let planned = world.run(&["--json", "put", "--plan", "/etc/hostname"]);
        let text = String::from_utf8_lossy(&planned.stdout);
        let planned: Value = serde_json::from_str(&text).unwrap_or_default();
        planned["data"]["plan"]["code"]["n"] == HOSTS
    });
    world
}

/// Adds a host that keeps fragments.
fn keeper(world: &mut World) {
    let policy = Some(format!("{ALWAYS}[storage]\nroom = \"1GB\"\n"));
    world.add_host(HostPlan { policy, ..HostPlan::default() });
}

/// Fragments that the worst segment of an object has.
fn found(world: &World, name: &str) -> u64 {
    let stat = world.json(&["stat", name]);
    let segments = stat["segments"].as_array().unwrap().clone();
    segments.iter().map(|it| it["found"].as_u64().unwrap()).min().unwrap()
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A folder with a file of several segments, small ones, and an empty one.
fn folder(world: &World) -> PathBuf {
    let folder = world.folder().join("thesis");
    fs::create_dir_all(folder.join("figures")).unwrap();
    fs::write(folder.join("data.bin"), noise(1, 9_500_000)).unwrap();
    fs::write(folder.join("figures/one.svg"), "<svg/>").unwrap();
    fs::write(folder.join("text.tex"), "words ".repeat(9_000)).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    folder
}

fn assert_same(one: &Path, other: &Path) {
    for name in ["data.bin", "figures/one.svg", "text.tex", "empty"] {
        let (one, other) = (fs::read(one.join(name)), fs::read(other.join(name)));
        assert!(one.unwrap() == other.unwrap(), "{name} came back otherwise");
    }
}

pub(crate) fn good(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

pub(crate) fn kill(world: &mut World, host: usize) {
    let _ = world.hosts[host].child.kill();
    world.hosts[host].child.wait().unwrap();
}

#[test]
fn a_folder_comes_back_while_any_two_of_its_six_hosts_are_there() {
    let mut world = world();
    let folder = folder(&world);
    let put = world.json(&["put", folder.to_str().unwrap()]);
    assert_eq!((&put["files"], &put["hosts"], &put["missing"]), (&4.into(), &6.into(), &0.into()));
    let listed = world.json(&["ls"]);
    assert_eq!(listed[0]["name"], "thesis", "{listed}");
    assert!(!listed.to_string().contains("isosr1"), "a list opens nothing");
    assert_eq!(world.json(&["ls", "thesis"])["files"].as_array().unwrap().len(), 4);
    let whole = world.json(&["stat", "thesis"]);
    assert_eq!(whole["readable"], true, "{whole}");

    for host in 0..SPARE {
        kill(&mut world, host);
    }
    let to = world.folder().join("copy");
    good(&world.run(&["get", "thesis", "--to", to.to_str().unwrap()]));
    assert_same(&folder, &to);
    let (code, said) = world.refused(&["get", "thesis", "--to", to.to_str().unwrap()]);
    assert!(code != 0 && said.contains("--force"), "{said}");
    let one = world.folder().join("one");
    good(&world.run(&["get", "thesis", "figures", "--to", one.to_str().unwrap()]));
    assert!(one.join("figures/one.svg").exists() && !one.join("text.tex").exists());

    kill(&mut world, SPARE);
    let gone = world.folder().join("gone");
    let (code, said) = world.refused(&["get", "thesis", "--to", gone.to_str().unwrap()]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("1 of 2 fragments"), "{said}");
    assert!(!gone.join("data.bin").exists(), "no half of a file stays");
}

#[test]
fn damaged_disks_serve_nothing_wrong_and_what_is_lost_is_made_anew() {
    let mut world = world();
    let folder = folder(&world);
    good(&world.run(&["put", folder.to_str().unwrap()]));
    // One host's disk is damaged while it is off, one is emptied.
    world.between_runs(0, |home| {
        let mut damaged = 0;
        for pack in packs(home) {
            let mut bytes = fs::read(&pack).unwrap();
            let length = bytes.len();
            bytes[length / 3..].iter_mut().step_by(97).for_each(|byte| *byte ^= 0x40);
            fs::write(&pack, bytes).unwrap();
            damaged += 1;
        }
        assert!(damaged > 0, "there is something to damage in {}", home.display());
    });
    world.between_runs(1, |home| {
        packs(home).iter().for_each(|pack| fs::remove_file(pack).unwrap());
    });
    world.wait_for_hosts(HOSTS);
    let to = world.folder().join("copy");
    good(&world.run(&["get", "thesis", "--to", to.to_str().unwrap()]));
    assert_same(&folder, &to);

    let mended = world.json(&["verify", "thesis", "--repair", "--read"]);
    assert!(mended[0]["mended"]["fragments"].as_u64().unwrap() > 0, "{mended}");
    assert_eq!(mended[0]["error"], Value::Null, "{mended}");
    world.wait("what was lost is there again", || {
        let verified = world.run(&["--json", "verify", "thesis", "--repair", "--read"]);
        verified.status.success()
    });
}

/// The files in which a host keeps fragments.
fn packs(home: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "pack") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn names_are_found_by_the_secret_alone_and_a_capability_opens_one_object() {
    let world = world();
    let folder = folder(&world);
    good(&world.run(&["put", folder.to_str().unwrap()]));
    let other = world.folder().join("other.txt");
    fs::write(&other, "another").unwrap();
    good(&world.run(&["put", other.to_str().unwrap(), "--class", "hot"]));

    // Another machine of the same user: the secret, and nothing else.
    let home = world.folder().join("new-machine");
    fs::create_dir_all(home.join("state")).unwrap();
    let secret = world.folder().join("client/state/storage.key");
    fs::copy(secret, home.join("state/storage.key")).unwrap();
    let there = |home: &Path, args: &[&str]| {
        let mut command = isos();
        command.arg("--home").arg(home).args(args);
        command.env("ISOS_SERVER", world.ready["api"].as_str().unwrap());
        command.env("ISOS_TOKEN", world.ready["token"].as_str().unwrap());
        command.output().unwrap()
    };
    let listed = good(&there(&home, &["--quiet", "ls"]));
    assert_eq!(listed, "other.txt\nthesis\n");
    let to = world.folder().join("copy");
    good(&there(&home, &["get", "thesis", "--to", to.to_str().unwrap()]));
    assert_same(&folder, &to);

    // Somebody else, who was told of one object.
    let stranger = world.folder().join("stranger");
    let shared = good(&world.run(&["share", "other.txt"]));
    let to = world.folder().join("told.txt");
    good(&there(&stranger, &["get", shared.trim(), "--to", to.to_str().unwrap()]));
    assert_eq!(fs::read_to_string(&to).unwrap(), "another");
    let verify = good(&world.run(&["share", "other.txt", "--verify"]));
    good(&there(&stranger, &["stat", verify.trim()]));
    let refused = there(&stranger, &["get", verify.trim(), "--to", "x"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("a capability to verify, one to read is needed"), "{said}");
}

#[test]
fn what_is_removed_is_gone_but_for_what_others_share() {
    let world = world();
    let file = world.folder().join("film.bin");
    fs::write(&file, noise(7, 1_200_000)).unwrap();
    let path = file.to_str().unwrap();
    world.json(&["put", path]);
    let capability = good(&world.run(&["share", "film.bin"]));
    let two = world.json(&["put", path, "--name", "the same"]);
    assert_eq!(two["missing"], 0);
    let (code, said) = world.refused(&["put", path]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--replace"), "{said}");
    good(&world.run(&["rm", "film.bin"]));
    let to = world.folder().join("copy.bin");
    good(&world.run(&["get", "the same", "--to", to.to_str().unwrap()]));
    assert!(fs::read(&to).unwrap() == fs::read(&file).unwrap());

    good(&world.run(&["rm", "the same"]));
    assert_eq!(world.json(&["ls"]), Value::Array(Vec::new()));
    let (code, said) = world.refused(&["get", capability.trim(), "--to", "nowhere"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("was not found"), "{said}");
    let (code, said) = world.refused(&["get", "film.bin"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("isos ls"), "{said}");
    // What was freed is used again: the leases do not grow.
    let before = world.json(&["quota"]);
    good(&world.run(&["put", path]));
    assert_eq!(world.json(&["quota"])["bytes"], before["bytes"]);
}

/// Nobody who knows a secret is there while it happens.
#[test]
fn hosts_make_anew_what_others_took_with_them_and_the_first_ones_can_go() {
    let mut world = world_with(&["--mend-after", "5s"]);
    let folder = folder(&world);
    let put = world.json(&["put", folder.to_str().unwrap()]);
    assert_eq!(put["missing"], 0, "{put}");
    (0..2).for_each(|_| keeper(&mut world));
    world.wait_for_hosts(HOSTS + 2);
    (0..2).for_each(|host| kill(&mut world, host));
    world.wait("what two hosts took with them is there again", || found(&world, "thesis") == 6);
    // Also what is on its way to the name.
    world.wait("all of it is seen to", || world.log("server").matches("has mended").count() >= 4);
    (2..HOSTS).for_each(|host| kill(&mut world, host));
    let to = world.folder().join("copy");
    good(&world.run(&["get", "thesis", "--to", to.to_str().unwrap()]));
    assert_same(&folder, &to);
    let told = world.json(&["audit"]).to_string();
    assert_eq!(told.matches("storage_replaced").count(), 2, "{told}");
}

#[test]
fn a_host_that_lost_what_it_is_paid_for_loses_the_lease_when_the_complex_asks_it() {
    let mut world = world();
    let folder = folder(&world);
    good(&world.run(&["put", folder.to_str().unwrap()]));
    let verified = world.json(&["verify", "thesis"]);
    assert_eq!(verified[0]["proved"]["failed"], Value::Array(Vec::new()), "{verified}");
    assert!(verified[0]["proved"]["passed"].as_u64().unwrap() >= 6, "{verified}");
    // What the index says is there, and the disk has not.
    world.between_runs(0, |home| {
        for pack in packs(home) {
            let mut bytes = fs::read(&pack).unwrap();
            let length = bytes.len();
            bytes[length / 5..].iter_mut().for_each(|byte| *byte ^= 0x40);
            fs::write(&pack, bytes).unwrap();
        }
    });
    world.wait_for_hosts(HOSTS);
    let before = world.json(&["quota"])["leases"].as_u64().unwrap();
    let verified = world.run(&["--json", "verify", "thesis"]);
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(verified["data"][0]["good"], false, "{verified}");
    let failed = verified["data"][0]["proved"]["failed"].as_array().unwrap().clone();
    if failed.is_empty() {
        // Its own check was quicker: then it does not say that it has them, and they are missed.
        assert_eq!(verified["data"][0]["whole"], 0, "{verified}");
        return;
    }
    assert!(failed[0]["lease"].is_u64(), "{verified}");
    world.wait("the lease is over", || world.json(&["quota"])["leases"].as_u64() < Some(before));
}
