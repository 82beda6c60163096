//! Garbage, lies and exhaustion: each a clear error with its exit code, nothing lost, nobody dead.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use crate::world::{HostPlan, World, hostile, isos, module, write};

/// What became of task 0 of a job of one program.
fn fate(world: &World, args: &[&str]) -> String {
    let job = world.submit(args);
    let end = world.wait_job(job);
    assert_eq!(end["state"], "failed", "{end}");
    let why = world.json(&["explain", &format!("{job}@0")]);
    why["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn programs_that_are_none_are_refused_with_the_reason() {
    let world = World::with_hosts(1);
    let good = fs::read(module("spin")).unwrap();
    let truncated = write(world.folder(), "truncated.wasm", &good[..good.len() / 2]);
    let mut bytes = good.clone();
    for byte in &mut bytes[1_000..1_400] {
        *byte ^= 0x5a;
    }
    let corrupt = write(world.folder(), "corrupt.wasm", &bytes);
    for program in [&truncated, &corrupt] {
        let why = fate(&world, &[program, "--count", "50"]);
        assert!(why.contains("cannot run"), "{why}");
    }
    for (name, word) in [("unknown_import", "import"), ("no_start", "_start")] {
        let program = hostile(world.folder(), name);
        let why = fate(&world, &[&program]);
        assert!(why.contains(word), "{name}: {why}");
    }
    let text = write(world.folder(), "text.wasm", b"this is no program");
    let (code, why) = world.refused(&["submit", &text]);
    assert!(code == 2 && why.contains("WebAssembly"), "{code}: {why}");
    let zeros = world.folder().join("zeros.wasm");
    fs::File::create(&zeros).unwrap().set_len(1 << 30).unwrap();
    let (code, why) = world.refused(&["submit", zeros.to_str().unwrap()]);
    assert_eq!(code, 2, "{why}");
    world.assert_money_adds_up();
}

#[test]
fn programs_that_misbehave_end_with_a_verdict_and_the_host_lives() {
    let world = World::with_hosts(1);
    let cases = [
        ("infinite_loop", "out of fuel"),
        ("memory_bomb", ""),
        ("output_flood", "output larger"),
        ("deep_recursion", "stack overflow"),
        ("trap", "trap"),
    ];
    for (name, word) in cases {
        let folder = world.folder();
        let program = hostile(folder, name);
        let job = world.submit(&[&program, "--fuel", "2G", "--memory", "64MiB"]);
        let end = world.wait_job(job);
        let why = world.json(&["explain", &format!("{job}@0")]);
        let verdict = why["verdict"].as_str().unwrap();
        assert!(verdict.contains(word), "{name}: {verdict} {end}");
    }
    let job = world.submit(&[&module("spin"), "--count", "10"]);
    assert_eq!(world.wait_job(job)["state"], "done", "the host still works");
    world.assert_money_adds_up();
}

#[test]
fn the_command_line_says_what_is_wrong_and_exits_with_its_code() {
    let world = World::start(&[]);
    let spin = module("spin");
    let held = write(world.folder(), "held", b"mine");
    let folder = world.folder().to_str().unwrap();
    let cases: [(&[&str], i32, &str); 17] = [
        (&["submit", &spin, "--results", folder], 2, "not empty"),
        (&["submit", &spin, "--results", &held, "--format", "tar"], 2, "is there already"),
        (&["submit", "--file", "/nope"], 4, "/nope"),
        (&["replay", "/nope"], 4, "/nope"),
        (&["submit", &spin, "--input", &format!("{held}:/etc/passwd")], 2, "under /in"),
        (&["submit", &spin, "--count", "-1"], 2, "--count"),
        (&["account", "show", ""], 2, "ACCOUNT"),
        (&["server", "--database", "mysql://x"], 2, "mysql"),
        (&["submit", "/nowhere/x.wasm"], 4, "/nowhere/x.wasm"),
        (&["submit", &spin, "--count", "0"], 2, "count"),
        (&["submit", &spin, "--where", "host.cpu > 1"], 2, "cpus"),
        (&["submit", &spin, "--where", "(((((((((1)))))))))"], 2, "simpler"),
        (&["submit", &spin, "--verify", "majority"], 2, "quorum=M/N"),
        (&["submit", &spin, "--max-price", "0.000001"], 6, "--max-price"),
        (&["submit", &spin, "--count", "1000000", "--fuel", "1000G"], 6, "credits"),
        (&["job", "show", "999"], 4, "999"),
        (&["submit", &spin, "--input", "/nowhere/data"], 4, "/nowhere/data"),
    ];
    for (args, code, word) in cases {
        let (got, text) = world.refused(args);
        assert!(got == code && text.contains(word), "{args:?}: {got}, wanted {code}: {text}");
    }
    world.assert_money_adds_up();
}

#[test]
fn tokens_and_tickets_that_are_not_good_are_turned_away() {
    let world = World::start(&[]);
    let home = world.folder().join("stranger");
    let api = world.ready["api"].as_str().unwrap();
    let ask = |token: &str| {
        let output = isos()
            .args(["status", "--server", api, "--token", token, "--home"])
            .arg(&home)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for token in ["nonsense", "AAAA", ""] {
        let (code, text) = ask(token);
        assert!(code == Some(7) || code == Some(2), "{code:?} {text}");
    }
    // A ticket that only joins cannot read or spend.
    let ticket = world.ticket("somebody", "join");
    let output =
        isos().args(["job", "list", "--server", &ticket, "--home"]).arg(&home).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    // One with the right can, from anywhere that reaches the key.
    let ticket = world.ticket("somebody", "join,submit,read");
    let output =
        isos().args(["job", "list", "--server", &ticket, "--home"]).arg(&home).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    let mut damaged = ticket.clone();
    damaged.replace_range(30..31, if &ticket[30..31] == "a" { "b" } else { "a" });
    let join = |ticket: &str| {
        let output = isos().args(["join", ticket, "--home"]).arg(&home).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = join(&damaged);
    assert!(code == Some(2) && text.contains("damaged"), "{code:?} {text}");
    let given = world.ticket("guest", "read");
    let list = || {
        let home = world.folder().join("guest");
        let output = isos().args(["--server", &given, "job", "list", "--home"]).arg(home).output();
        output.unwrap().status.code()
    };
    assert_eq!(list(), Some(0));
    assert_eq!(world.json(&["ticket", "revoke", &given])["revoked"], true);
    assert_eq!(list(), Some(7), "it was taken back");
    let short = world.json(&["ticket", "--account", "late", "--valid", "1s"]);
    crate::world::pause(Duration::from_millis(1_100));
    let (code, text) = join(short["ticket"].as_str().unwrap());
    assert!(code == Some(7) && text.contains("expired"), "{code:?} {text}");
    // Whom the complex does not have is told so, and does not wait for ever.
    let taken = world.ticket("taken", "join");
    assert_eq!(world.json(&["ticket", "revoke", &taken])["revoked"], true);
    let reader = world.ticket("reader", "read");
    for (ticket, why) in [(&reader, "it allows read"), (&taken, "the ticket is not good")] {
        let (code, text) = join(ticket);
        assert!(code == Some(7) && text.contains(why), "{code:?} {text}");
    }
}

#[test]
fn a_policy_that_contradicts_itself_is_refused_before_anything_starts() {
    let mut world = World::start(&[]);
    let ticket = world.ticket("owner", "join");
    let home = world.folder().join("host");
    let join = |policy: &[&str]| {
        let mut command = isos();
        command.args(["join", &ticket]).args(policy).arg("--home").arg(&home);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (policy, word) in [
        (&b"[cpu]\nshare_in_use = \"90%\"\nshare_idle = \"10%\"\n"[..], "share_in_use"),
        (b"[disk]\nmaximum = \"1GiB\"\n", "maximum"),
        (b"[[window]]\nhours = \"25:00-26:00\"\n", "25:00"),
        (b"price_min = 0 # \xff\xfe", "UTF-8"),
    ] {
        let file = write(world.folder(), "policy.toml", policy);
        let (code, text) = join(&["--policy", &file]);
        assert!(code == Some(2) && text.contains(word), "{code:?} {text}");
    }
    let (code, text) = join(&["--policy", "/nope"]);
    assert!(code == Some(4) && text.contains("templates: laptop"), "{code:?} {text}");
    let (code, text) = join(&["--policy", "/dev/zero"]);
    assert!(code == Some(2) && text.contains("limit"), "{code:?} {text}");
    // An owner's own file that cannot be read is not replaced by a policy that allows more.
    fs::create_dir_all(&home).unwrap();
    write(&home, "policy.toml", b"\x80\x81 random");
    let (code, text) = join(&[]);
    assert!(code == Some(2) && text.contains("policy.toml"), "{code:?} {text}");
    assert!(!text.contains("will work for others"), "{text}");
    fs::remove_file(home.join("policy.toml")).unwrap();
    world.add_host(HostPlan::default());
    world.wait_for_hosts(1);
}

#[test]
fn garbage_on_every_port_disturbs_nobody() {
    let world = World::with_hosts(1);
    let ticket = world.ready["ticket"].as_str().unwrap();
    assert!(ticket.starts_with("isos1"));
    let http = world.ready["api"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let relay = world.ready["relay"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let relay = relay.trim_end_matches('/').to_owned();
    let mut noise = Vec::new();
    let mut seed = 7u64;
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push((seed >> 33) as u8);
    }
    for address in [&http, &relay] {
        for piece in [&noise[..], b"GET / HTTP/9.9\r\n\r\n", b"POST /v1/jobs HTTP/1.1\r\n"] {
            let mut stream = TcpStream::connect(address.as_str()).unwrap();
            let _ = stream.write_all(piece);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
            let _ = stream.read(&mut [0; 512]);
        }
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = world.udp_port();
    for chunk in noise.chunks(1_200) {
        udp.send_to(chunk, ("127.0.0.1", port)).unwrap();
    }
    let job = world.submit(&[&module("spin"), "--count", "10"]);
    assert_eq!(world.wait_job(job)["state"], "done");
    world.assert_money_adds_up();
}

#[test]
fn a_full_disk_is_said_and_nothing_acknowledged_is_lost() {
    let mut world = World::start(&["--objects-max", "300KiB"]);
    world.add_host(HostPlan::default());
    world.wait_for_hosts(1);
    let job = world.submit(&[&module("spin"), "--count", "5"]);
    assert_eq!(world.wait_job(job)["state"], "done");
    let big = write(world.folder(), "big.bin", &vec![1; 400 << 10]);
    let (code, text) = world.refused(&["submit", &module("spin"), "--input", &big]);
    assert!(code == 6 && text.contains("KiB"), "{code}: {text}");
    let again = world.submit(&[&module("spin"), "--count", "5"]);
    assert_eq!(world.wait_job(again)["state"], "done");
    world.assert_money_adds_up();
}
