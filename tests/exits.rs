//! The exit codes of docs/compute.md, each on its way to the user.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use crate::world::{World, hostile, isos, module};

#[test]
fn every_exit_code_means_what_the_documentation_says() {
    let world = World::with_hosts(1);
    let spin = module("spin");
    let trap = hostile(world.folder(), "trap");
    let code = |args: &[&str]| {
        let output = world.run(args);
        (output.status.code().expect("it exits"), format!("{args:?}: {output:?}"))
    };
    let expect = |wanted: i32, args: &[&str]| {
        let (found, said) = code(args);
        assert_eq!(found, wanted, "{said}");
    };
    expect(0, &["submit", &spin, "--wait"]);
    expect(1, &["submit", &trap, "--count", "3", "--wait"]);
    expect(2, &["submit", &spin, "--memory", "lots"]);
    // A screen where there is no terminal.
    expect(2, &["top"]);
    expect(4, &["job", "show", "999"]);
    expect(4, &["explain", "999"]);
    expect(6, &["submit", &spin, "--count", "1000000", "--fuel", "1000G"]);
    expect(0, &["submit", &spin, "--plan"]);
    expect(6, &["submit", &spin, "--plan", "--memory", "64GiB"]);
    expect(7, &["--token", "bm9uZQ", "status"]);
    // A port that was free a moment ago: nobody answers there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    expect(10, &["--server", &nobody, "job", "list"]);
    // And one where somebody else is.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("http://{}", listener.local_addr().unwrap());
    let greeting = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n");
        let _ = stream.read(&mut [0; 4_096]);
    });
    expect(10, &["--server", &other, "job", "list"]);
    greeting.join().unwrap();
    let nowhere = "postgres://nobody@127.0.0.1:1/nothing";
    let home = world.folder().join("server").to_str().unwrap().to_owned();
    let server = ["--home", &home, "server", "--http", "127.0.0.1:0", "--database", nowhere];
    let output = isos().args(server).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let done = world.submit(&[&spin]);
    assert_eq!(world.wait_job(done)["state"], "done");
    expect(4, &["job", "logs", &format!("{done}@999")]);
    let mine = crate::world::write(world.folder(), "mine", b"mine");
    expect(2, &["job", "results", &done.to_string(), "--format", "tar", "--output", &mine]);
    assert_eq!(std::fs::read(&mine).unwrap(), b"mine");
    for (command, why) in [("status", "no complex is known"), ("resume", "no agent runs")] {
        let output = isos().arg("--home").arg(world.folder().join("empty")).arg(command).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(10) && said.contains(why), "{command}: {said}");
    }
    // A note that is there and says nothing is told of: it may be all that is wrong.
    std::fs::create_dir_all(world.folder().join("odd/state/complex.toml")).unwrap();
    let output = isos().arg("--home").arg(world.folder().join("odd")).arg("status").output();
    let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert!(said.contains("complex.toml is there, but cannot be read"), "{said}");
}

#[test]
fn who_waits_for_a_job_is_told_that_the_complex_is_away_and_when_it_stays_away() {
    let mut world = World::with_hosts(0);
    let job = world.submit(&[&module("spin")]).to_string();
    let mut command = world.command(&["job", "wait", &job]);
    let mut waits = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(waits.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut hear = |words: &str| {
        let heard = lines.by_ref().find(|line| line.contains(words));
        heard.unwrap_or_else(|| panic!("it never says {words:?}"));
    };
    hear("waiting");
    world.server.kill().unwrap();
    hear("the complex is away, trying again");
    world.restart_server();
    hear("the complex is back");
    world.server.kill().unwrap();
    hear("the complex is away, trying again");
    hear("the complex stays away");
    assert_eq!(waits.wait().unwrap().code(), Some(10));
}

#[test]
fn what_does_not_fit_its_hash_has_a_code_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4_096];
        let _ = stream.read(&mut request).unwrap();
        let body = r#"{"code":"verification","message":"the bytes do not fit their name"}"#;
        let head = format!("HTTP/1.1 422 No\r\ncontent-length: {}\r\n", body.len());
        let kind = "content-type: application/json\r\nconnection: close\r\n\r\n";
        stream.write_all(format!("{head}{kind}{body}").as_bytes()).unwrap();
    });
    let home = tempfile::tempdir().unwrap();
    let mut command = isos();
    command.args(["--server", &server, "--token", "bm9uZQ", "job", "show", "1", "--home"]);
    let output = command.arg(home.path()).output().unwrap();
    answer.join().unwrap();
    assert_eq!(output.status.code(), Some(12), "{output:?}");
}
