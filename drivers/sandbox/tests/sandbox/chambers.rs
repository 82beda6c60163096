//! Chambers and compiled code as the agent sees them.

use std::collections::BTreeSet;
use std::time::Duration;

use isos_base::task::Exit;
use isos_base::time::Span;
use isos_base::units::Fuel;
use isos_sandbox::{Event, PrepareError, Sandbox};

use crate::programs::{hello_world, program};
use crate::world::{Test, World, config, exit, finished, job, order, wait};

pub(crate) const TESTS: &[Test] = &[
    ("all walls stand on this machine, or say why not", walls),
    ("from behind the walls nothing can be done", probe),
    ("a child that was taken over is not believed", taken_over),
    ("orders and executions travel in batches and none is lost", batches),
    ("a suspended chamber uses no processor and goes on where it was", suspension),
    ("a killed child is reported with its unfinished tasks", killed),
    ("a dropped chamber leaves no process", dropped),
    ("compiled code that was changed or cut is made again", corruption),
    ("every child is listed while it lives, the compiler too", listed),
    ("concurrent preparation compiles once", once),
    ("kept code is limited", eviction),
    ("a compiler that takes too much is stopped", compile_limits),
];

const FOREVER: &str = r#"(func (export "_start") (loop $again (br $again)))"#;

fn walls() {
    let hello = job(&hello_world());
    wait(async {
        let (chamber, _events) = hello.open().await;
        let names: Vec<&str> = chamber.walls().iter().map(|wall| wall.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "closed descriptors",
                "die with the agent",
                "resource limits",
                "no new privileges",
                "landlock",
                "seccomp"
            ]
        );
        for wall in chamber.walls() {
            // Which kernel runs the tests is not known; seccomp and limits are everywhere.
            let optional = wall.name == "landlock";
            assert!(optional || wall.missing.is_none(), "{wall:?}");
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", chamber.process_id()));
        let status = status.expect("a living child");
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{line} in\n{status}");
        }
        let files = std::fs::read_dir(format!("/proc/{}/fd", chamber.process_id()));
        // Three streams, the two folders of inputs, the compiled code.
        assert_eq!(files.expect("a living child").count(), 6);
    });
}

fn probe() {
    let possible = wait(crate::world::shared().sandbox.probe()).expect("a probe");
    // Landlock alone guards reading, and not every kernel has it.
    let rest: Vec<_> = possible.iter().filter(|what| !what.starts_with("read ")).collect();
    assert!(rest.is_empty(), "{rest:?}");
}

fn taken_over() {
    let lies = [
        // Frames from here on are the child's, in the place of a first word.
        (r"\377\377\377\377", ":", "no chamber"),
        (r"\002\000\000\000\011\000", ":", "no chamber"),
        ("", "exit 3", "no chamber"),
        // And these come behind the first word of an honest child.
        (READY, r"printf '\377\377\377\177'", "it sent what is no result"),
        (READY, r"printf '\003\000\000\000\000\000\000'", "it spoke out of turn"),
        // A task asks its peers that nobody has ordered.
        (READY, r"printf '\004\000\000\000\006\000\001\000'", "it asked out of turn"),
        (READY, r"printf '\003\000\000\000\003\001\000'", "it sent what is no result"),
        (READY, UNASKED, "it sent a result that nobody asked for"),
        (READY, IMPOSSIBLE, "it sent an impossible result"),
        (READY, "head -c 4 >/dev/null; echo last words >&2; exit 9", "exit status: 9; last words"),
    ];
    for (first, then, verdict) in lies {
        let folder = tempfile::TempDir::new().expect("a folder");
        let mut config = config(&folder);
        let real = config.exe.display();
        let script = format!(
            "[ $1 = compile ] && exec {real} {} \"$@\"; printf '{first}'; {then}; exec cat >/dev/null",
            crate::CHILD
        );
        config.child_args = ["-c", &script, "sh"].map(Into::into).into();
        config.exe = "/bin/sh".into();
        let sandbox = Sandbox::new(config).expect("a sandbox");
        let world = World { sandbox, folder };
        let hello = world.job(hello_world().as_bytes());
        wait(async {
            let opened = hello.try_open().await;
            let Ok((chamber, mut events)) = opened else {
                assert!(matches!(opened, Err(isos_sandbox::OpenError::Child { .. })), "{opened:?}");
                assert_eq!(verdict, "no chamber");
                return;
            };
            let Some(Event::Died { reason, .. }) = events.next().await else { panic!("no death") };
            assert!(reason.starts_with(verdict), "{reason}");
            drop(chamber);
        });
    }
}

/// `Ready` without walls.
const READY: &str = r"\003\000\000\000\000\000\000";
/// Task 0 left with code 0.
const UNASKED: &str = r"printf '\014\000\000\000\003\001\000\000\000\000\000\000\000\000\000\000'";
/// Task 9 of one.
const IMPOSSIBLE: &str =
    r"printf '\014\000\000\000\003\001\011\000\000\000\000\000\000\000\000\000'";

fn batches() {
    let mut hello = job(&hello_world()).with(|spec| spec.count = 5_000);
    hello.threads = 3;
    let done = hello.orders((0..5_000).map(order).collect());
    assert!(done.iter().zip(0..).all(|(execution, task)| execution.task == task));
    assert!(done.iter().all(|execution| execution.end == Ok(Exit::Code(0))));
    assert!(done.iter().all(|execution| execution.fuel == done[0].fuel));
}

/// Processor time that a process has used, in clock ticks.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a living child");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

fn suspension() {
    // Some seconds of work, and a wall limit that the suspension alone would exceed.
    let forever = job(&program(FOREVER)).with(|spec| {
        spec.fuel = Fuel(4_000_000_000);
        spec.timeout = Span::secs(60);
    });
    let short = job(&program(FOREVER)).with(|spec| {
        spec.fuel = Fuel(100_000_000);
        spec.timeout = Span::millis(1_500);
    });
    wait(async {
        let (chamber, mut events) = forever.open().await;
        chamber.send(vec![order(0)]).await.expect("a living chamber");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(ticks(chamber.process_id()) > 0);
        chamber.suspend().expect("a living chamber");
        let before = ticks(chamber.process_id());
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(ticks(chamber.process_id()) <= before + 1);
        chamber.resume().expect("a living chamber");
        let done = finished(&mut events, 1).await.remove(0);
        assert_eq!((exit(&done), done.fuel), (Exit::OutOfFuel, Fuel(4_000_000_000)));
        assert!(done.wall > Span::millis(500));

        let (chamber, mut events) = short.open().await;
        chamber.send(vec![order(0)]).await.expect("a living chamber");
        chamber.suspend().expect("a living chamber");
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        chamber.resume().expect("a living chamber");
        let done = finished(&mut events, 1).await.remove(0);
        assert_eq!(exit(&done), Exit::OutOfFuel);
    });
}

fn killed() {
    let forever = job(&program(FOREVER)).with(|spec| spec.count = 3);
    wait(async {
        for suspended in [false, true] {
            let (chamber, mut events) = forever.open().await;
            chamber.send(vec![order(2), order(0)]).await.expect("a living chamber");
            tokio::time::sleep(Duration::from_millis(50)).await;
            if suspended {
                chamber.suspend().expect("a living chamber");
            }
            let process = rustix::process::Pid::from_raw(chamber.process_id() as i32);
            let process = process.expect("a process number");
            rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("killed");
            let Some(Event::Died { reason, unfinished }) = events.next().await else {
                panic!("no death")
            };
            assert!(reason.contains("SIGKILL"), "{reason}");
            assert_eq!(unfinished, [0, 2]);
            assert_eq!(events.next().await, None);
            assert!(chamber.suspend().is_err());
        }
    });
}

fn dropped() {
    let forever = job(&program(FOREVER));
    wait(async {
        let (chamber, mut events) = forever.open().await;
        let process = chamber.process_id();
        chamber.send(vec![order(0)]).await.expect("a living chamber");
        drop(chamber);
        assert!(matches!(events.next().await, Some(Event::Died { .. })));
        assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
    });
}

fn listed() {
    let world = World::new();
    let (guid, path) = world.keep(hello_world().as_bytes());
    wait(async {
        let mut processes = world.sandbox.processes();
        let compiled = async {
            let seen = processes.wait_for(|living| !living.is_empty()).await.expect("a sandbox");
            seen.first().copied()
        };
        let (prepared, compiler) = tokio::join!(world.sandbox.prepare(guid, &path), compiled);
        prepared.expect("prepared");
        assert!(compiler.is_some());
        assert!(processes.borrow().is_empty(), "the compiler has ended");
        let forever = world.job(program(FOREVER).as_bytes());
        let (chamber, mut events) = forever.open().await;
        assert!(processes.borrow().iter().eq([&chamber.process_id()]));
        drop(chamber);
        while events.next().await.is_some() {}
        processes.wait_for(BTreeSet::is_empty).await.expect("a sandbox");
    });
}

fn corruption() {
    let world = World::new();
    let hello = world.job(hello_world().as_bytes());
    assert_eq!(exit(&hello.run()), Exit::Code(0));
    let code = |extension: &str| {
        let files = std::fs::read_dir(world.folder.path().join("code")).expect("a folder");
        let mut paths = files.map(|entry| entry.expect("an entry").path());
        paths.find(|path| path.extension().is_some_and(|e| e == extension)).expect("a file")
    };
    let damage: [&dyn Fn(); 5] = [
        &|| std::fs::write(code("code"), b"\x7fELF").expect("written"),
        &|| {
            let mut bytes = std::fs::read(code("code")).expect("bytes");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(code("code"), bytes).expect("written");
        },
        &|| std::fs::write(code("check"), b"\xff\xfe").expect("written"),
        &|| std::fs::remove_file(code("code")).expect("removed"),
        &|| std::fs::remove_file(code("check")).expect("removed"),
    ];
    for hurt in damage {
        hurt();
        assert_eq!(exit(&hello.run()), Exit::Code(0));
    }
}

fn once() {
    let world = World::new();
    let (guid, path) = world.keep(hello_world().as_bytes());
    wait(async {
        let many = (0..8).map(|_| world.sandbox.prepare(guid, &path));
        for prepared in futures_join(many).await {
            assert_eq!(prepared.expect("prepared").program(), guid);
        }
    });
    let files = std::fs::read_dir(world.folder.path().join("code")).expect("a folder");
    assert_eq!(files.count(), 2);
}

/// Polls all together.
async fn futures_join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in &mut futures {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if futures.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}

fn eviction() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut small = config(&folder);
    small.cache_max = isos_base::Bytes(1);
    let sandbox = Sandbox::new(small).expect("a sandbox");
    let world = World { sandbox, folder };
    for text in ["(module (func (export \"_start\")))", &hello_world()] {
        assert_eq!(exit(&world.job(text.as_bytes()).run()), Exit::Code(0));
        let files = std::fs::read_dir(world.folder.path().join("code")).expect("a folder");
        assert_eq!(files.count(), 2);
    }
}

fn compile_limits() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let mut hasty = config(&folder);
    hasty.compile_wall = Span::millis(1);
    let sandbox = Sandbox::new(hasty).expect("a sandbox");
    let world = World { sandbox, folder };
    let refused = world.prepare(hello_world().as_bytes());
    assert!(
        matches!(refused, Err(PrepareError::CompileLimit { what: "wall time", .. })),
        "{refused:?}"
    );

    let folder = tempfile::TempDir::new().expect("a folder");
    let mut poor = config(&folder);
    poor.compile_memory = isos_base::Bytes::mib(24);
    let sandbox = Sandbox::new(poor).expect("a sandbox");
    let world = World { sandbox, folder };
    let body: String =
        (0..60_000).map(|n| format!("(i32.store (i32.const 0) (i32.const {n}))")).collect();
    let large = program(&format!(r#"(func (export "_start") {body})"#));
    let refused = world.prepare(large.as_bytes());
    assert!(
        matches!(refused, Err(PrepareError::CompileLimit { what: "memory", .. })),
        "{refused:?}"
    );
}
