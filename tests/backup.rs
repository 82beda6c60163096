//! Backups on other people's disks: made, changed, looked at, restored elsewhere, given up.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::objects::{good, kill, noise, world};
use crate::world::isos;

/// A folder with what folders have.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("notes/old")).unwrap();
    fs::write(root.join("notes/today.md"), "dear diary\n").unwrap();
    fs::write(root.join("notes/old/2019.md"), "x".repeat(300_000)).unwrap();
    fs::write(root.join("film.bin"), noise(3, 6_000_000)).unwrap();
    fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("notes/today.md", root.join("latest")).unwrap();
    fs::hard_link(root.join("film.bin"), root.join("same film")).unwrap();
}

fn assert_same(one: &Path, other: &Path) {
    let compared = std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([one, other])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compared.stdout);
    assert!(compared.status.success(), "{said}");
    assert_eq!(fs::read_link(other.join("latest")).unwrap(), Path::new("notes/today.md"));
    let mode = fs::metadata(other.join("run.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn a_backup_is_restored_on_a_new_machine_from_its_phrase_while_hosts_are_dead() {
    let mut world = world();
    let folder = world.folder().join("home");
    tree(&folder);
    let path = folder.canonicalize().unwrap();
    let path = path.to_str().unwrap();
    let first = world.json(&["backup", "create", path, "--tag", "first"]);
    assert_eq!((&first["partial"], &first["missing"]), (&false.into(), &0.into()), "{first}");
    assert!(first["stats"]["new"].as_u64().unwrap() > 6_000_000, "{first}");
    let before = world.folder().join("before");
    good(&world.run(&["backup", "restore", "--to", before.to_str().unwrap(), "--from", path]));
    assert_same(&folder, &before);

    // The next one stores what is new, and no more.
    fs::write(folder.join("notes/today.md"), "dear diary, again\n").unwrap();
    fs::write(folder.join("new.txt"), "new").unwrap();
    let second = world.json(&["backup", "create", path]);
    assert!(second["stats"]["new"].as_u64().unwrap() < 100_000, "{second}");
    let listed = world.json(&["backup", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let id = |snapshot: &Value| snapshot["id"].as_str().unwrap()[..12].to_owned();
    let changes = world.json(&["backup", "diff", &id(&first), &id(&second)]);
    let named: Vec<(&str, &str)> = changes
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["change"].as_str().unwrap(), it["path"].as_str().unwrap()))
        .filter(|(change, _)| *change != "metadata")
        .map(|(change, path)| (change, path.rsplit('/').next().unwrap()))
        .collect();
    assert_eq!(named, [("added", "new.txt"), ("changed", "today.md")], "{changes}");
    let looked = good(&world.run(&["--quiet", "backup", "browse", "last", path]));
    assert!(looked.contains("film.bin") && !looked.contains("2019.md"), "{looked}");
    let missing = world.refused(&["backup", "browse", "last", "/not/there"]);
    assert_eq!(missing.0, 4, "{}", missing.1);

    // Another machine, the words, and two hosts of six.
    let words = good(&world.run(&["--quiet", "backup", "phrase"]));
    assert_eq!(words.split_whitespace().count(), 24, "{words}");
    for host in 0..4 {
        kill(&mut world, host);
    }
    let home = world.folder().join("new-machine");
    let there = |args: &[&str], input: &str| {
        let mut command = isos();
        command.arg("--home").arg(&home).args(args).stdin(Stdio::piped());
        command.env("ISOS_SERVER", world.ready["api"].as_str().unwrap());
        command.env("ISOS_TOKEN", world.ready["token"].as_str().unwrap());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let wrong = there(&["backup", "phrase", "--enter"], "not the words");
    assert_eq!(wrong.status.code(), Some(2));
    good(&there(&["backup", "phrase", "--enter"], &words.to_uppercase()));
    let after = world.folder().join("after");
    let to = after.to_str().unwrap();
    good(&there(&["backup", "restore", "--to", to, "--from", path], ""));
    assert_same(&folder, &after);
    good(&there(&["backup", "verify"], ""));
    let old = world.folder().join("old");
    let to = old.to_str().unwrap();
    good(&there(&["backup", "restore", &id(&first), "--to", to, "--from", path], ""));
    assert_same(&before, &old);
}

#[test]
fn what_is_forgotten_makes_room_and_what_is_kept_stays_whole() {
    let world = world();
    let folder = world.folder().join("home");
    tree(&folder);
    let path = folder.canonicalize().unwrap();
    let path = path.to_str().unwrap();
    good(&world.run(&["backup", "create", path]));
    fs::write(folder.join("film.bin"), noise(4, 5_000_000)).unwrap();
    good(&world.run(&["backup", "create", path]));
    let (code, said) = world.refused(&["backup", "forget"]);
    assert_eq!(code, 2, "{said}");
    let plan = world.json(&["backup", "forget", "--keep-last", "1", "--dry-run"]);
    assert_eq!(plan["going"].as_array().unwrap().len(), 1, "{plan}");
    assert!(plan["freed"].as_u64().unwrap() > 6_000_000, "{plan}");
    let done = world.json(&["backup", "forget", "--keep-last", "1"]);
    assert_eq!((&done["freed"], &done["silent_hosts"]), (&plan["freed"], &0.into()), "{done}");
    assert_eq!(world.json(&["backup", "list"]).as_array().unwrap().len(), 1);
    good(&world.run(&["backup", "verify"]));
    let to = world.folder().join("back");
    good(&world.run(&["backup", "restore", "--to", to.to_str().unwrap(), "--from", path]));
    assert_same(&folder, &to);
}
