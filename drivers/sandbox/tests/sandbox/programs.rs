//! What programs see, how they end, what stops them.

use isos_base::Bytes;
use isos_base::task::{Exit, Fault, Trap};
use isos_base::time::Span;
use isos_base::units::Fuel;
use isos_sandbox::PrepareError;

use crate::world::{Test, exit, job, order, shared, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("a program says hello and its exit code is a result", hello),
    ("arguments and environment are those of the task", arguments),
    ("an infinite loop ends with its fuel, to the unit", out_of_fuel),
    ("traps have their names", traps),
    ("exceptions are thrown and caught, in all threads at once", exceptions),
    ("memory beyond the job is refused and the program goes on", memory),
    ("more memory at the start than the job allows is a bad program", memory_at_start),
    ("output beyond the limit ends the program at the same byte everywhere", flood),
    ("host calls are paid for, so a loop of them ends", paid_calls),
    ("clocks and random bytes are the same in each run and other in each task", determinism),
    ("sleeping takes no time", sleeper),
    ("wall time ends a task as a fault of the host", wall_time),
    ("hostile programs come to their expected ends", hostile),
    ("files that are no programs are refused with the reason", bad_programs),
];

/// Imports, one page of memory, and functions to print and leave.
pub(crate) const PRELUDE: &str = r#"
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func $print (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
"#;

pub(crate) fn program(body: &str) -> String {
    format!("(module {PRELUDE} {body})")
}

pub(crate) fn hello_world() -> String {
    program(
        r#"(data (i32.const 100) "hello\n")
        (func (export "_start") (call $print (i32.const 100) (i32.const 6)))"#,
    )
}

fn hello() {
    let done = job(&hello_world()).run();
    assert_eq!(exit(&done), Exit::Code(0));
    assert_eq!(stdout(&done.output), "hello\n");
    assert!(done.fuel.0 > 200 && done.fuel.0 < 1_000, "{:?}", done.fuel);

    let leave = program(r#"(func (export "_start") (call $exit (i32.const 7)) unreachable)"#);
    assert_eq!(exit(&job(&leave).run()), Exit::Code(7));
}

fn arguments() {
    let show = program(
        r#"(func (export "_start")
          (drop (call $args_sizes (i32.const 16) (i32.const 20)))
          (drop (call $args_get (i32.const 1000) (i32.const 2000)))
          (call $print (i32.const 2000) (i32.load (i32.const 20)))
          (drop (call $env_sizes (i32.const 16) (i32.const 20)))
          (drop (call $env_get (i32.const 1000) (i32.const 2000)))
          (call $print (i32.const 2000) (i32.load (i32.const 20))))"#,
    );
    let show = job(&show).with(|spec| {
        spec.count = 9;
        spec.args = vec!["--at={task}/{tasks}".into(), "{file}".into()];
        spec.env = vec![("LANG".into(), "fi".into())];
    });
    let done = show.orders(vec![order(3)]).remove(0);
    assert_eq!(stdout(&done.output), "program\0--at=3/9\0\0ISOS_TASK=3\0ISOS_TASKS=9\0LANG=fi\0");
    let on_slice = show.with(|spec| spec.slice = Some("lab".into()));
    let done = on_slice.orders(vec![order(3)]).remove(0);
    let env = "ISOS_TASK=3\0ISOS_TASKS=9\0ISOS_RANK=3\0ISOS_SIZE=9\0LANG=fi\0";
    assert_eq!(stdout(&done.output), format!("program\0--at=3/9\0\0{env}"));
}

fn out_of_fuel() {
    let forever = program(r#"(func (export "_start") (loop $again (br $again)))"#);
    let done = job(&forever).with(|spec| spec.fuel = Fuel(5_000_000)).run();
    assert_eq!(exit(&done), Exit::OutOfFuel);
    assert_eq!(done.fuel, Fuel(5_000_000));
    // More than one interval of the watch.
    let done = job(&forever).with(|spec| spec.fuel = Fuel(50_000_001)).run();
    assert_eq!((exit(&done), done.fuel), (Exit::OutOfFuel, Fuel(50_000_001)));
}

fn traps() {
    let trap_of = |body: &str| exit(&job(&program(body)).run());
    let start = |body: &str| trap_of(&format!(r#"(func (export "_start") {body})"#));
    assert_eq!(start("unreachable"), Exit::Trap(Trap::Unreachable));
    assert_eq!(start("(drop (i32.load (i32.const -8)))"), Exit::Trap(Trap::OutOfBounds));
    assert_eq!(
        start("(drop (i32.div_u (i32.const 1) (i32.load (i32.const 500))))"),
        Exit::Trap(Trap::Arithmetic)
    );
    assert_eq!(
        trap_of(r#"(table 1 funcref) (func (export "_start") (call_indirect (i32.const 0)))"#),
        Exit::Trap(Trap::BadCall)
    );
    assert_eq!(
        trap_of(r#"(func $deep (export "_start") (call $deep) (call $deep))"#),
        Exit::Trap(Trap::StackOverflow)
    );
}

fn memory() {
    // Grows page by page; its exit code is the number of pages it got.
    let grow = program(
        r#"(func (export "_start")
          (loop $more
            (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
          (call $exit (memory.size)))"#,
    );
    for mib in [1, 5, 300] {
        let done = job(&grow).with(|spec| spec.memory = Bytes::mib(mib)).run();
        assert_eq!(exit(&done), Exit::Code(16 * mib as i32));
    }
}

fn memory_at_start() {
    let large = r#"(module (memory (export "memory") 1000) (func (export "_start")))"#;
    let done = job(large).with(|spec| spec.memory = Bytes::mib(8)).run();
    let Err(Fault::BadProgram(why)) = done.end else { panic!("{done:?}") };
    assert_eq!(why, "it wants 63 MiB of memory at its start and the job allows 8 MiB");
}

fn flood() {
    let flood = program(
        r#"(func (export "_start")
          (loop $again (call $print (i32.const 0) (i32.const 1000)) (br $again)))"#,
    );
    let flood = job(&flood).with(|spec| spec.output_max = Bytes(100_500));
    let (one, two) = (flood.run(), flood.run());
    assert_eq!(exit(&one), Exit::OutputTooLarge);
    assert_eq!(one.output.stdout.len(), 100_000);
    assert_eq!((one.fuel, one.output), (two.fuel, two.output));
}

fn paid_calls() {
    let chatter = program(
        r#"(func (export "_start")
          (loop $again (drop (call $args_sizes (i32.const 16) (i32.const 20))) (br $again)))"#,
    );
    let done = job(&chatter).with(|spec| spec.fuel = Fuel(10_000_000)).run();
    assert_eq!((exit(&done), done.fuel), (Exit::OutOfFuel, Fuel(10_000_000)));
    // Nor does calling the host all the time hide a task from the clock.
    let done = job(&chatter).with(|spec| spec.timeout = Span::millis(200)).run();
    assert_eq!(done.end, Err(Fault::TimedOut));
}

fn hostile_text(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest/hostile/");
    std::fs::read_to_string(format!("{folder}{name}.wat")).expect("a program of guest/hostile")
}

fn determinism() {
    let program = hostile_text("clock_random");
    let both = || {
        let mut job = job(&program).with(|spec| spec.count = 2);
        job.threads = 2;
        job.orders(vec![order(0), order(1)])
    };
    let (one, two) = (both(), both());
    assert_eq!(one[0].output.stdout.len(), 104);
    for task in 0..2 {
        assert_eq!(one[task].output, two[task].output);
        assert_eq!(one[task].fuel, two[task].fuel);
    }
    assert_eq!(one[0].output.stdout[..40], one[1].output.stdout[..40]);
    assert_ne!(one[0].output.stdout[40..], one[1].output.stdout[40..]);
}

fn sleeper() {
    let done = job(&hostile_text("sleeper")).run();
    assert_eq!(exit(&done), Exit::Code(0));
    assert!(done.wall < Span::secs(60), "an hour was slept in {:?}", done.wall);
}

fn wall_time() {
    let forever = program(r#"(func (export "_start") (loop $again (br $again)))"#);
    let slow = job(&forever).with(|spec| {
        spec.fuel = Fuel(1 << 50);
        spec.timeout = Span::millis(300);
    });
    let done = slow.run();
    assert_eq!(done.end, Err(Fault::TimedOut));
    assert!(done.wall >= Span::millis(300), "{:?}", done.wall);
    assert_eq!(done.output, isos_base::task::Output::default());
}

fn hostile() {
    let ends = [
        ("deep_recursion", Exit::Trap(Trap::StackOverflow)),
        ("error_flood", Exit::OutputTooLarge),
        ("exit_three", Exit::Code(3)),
        ("far_write", Exit::OutputTooLarge),
        ("huge_file", Exit::OutputTooLarge),
        ("in_write", Exit::Code(6)),
        ("infinite_loop", Exit::OutOfFuel),
        ("link_escape", Exit::Code(0)),
        ("many_files", Exit::OutputTooLarge),
        ("memory_bomb", Exit::Code(0)),
        ("nan_bits", Exit::Code(0)),
        ("output_flood", Exit::OutputTooLarge),
        ("path_escape", Exit::Code(0)),
        ("trap", Exit::Trap(Trap::Unreachable)),
        ("trap_memory", Exit::Trap(Trap::OutOfBounds)),
    ];
    for (name, end) in ends {
        let done = job(&hostile_text(name)).with(|spec| spec.fuel = Fuel(300_000_000)).run();
        assert_eq!(done.end, Ok(end), "{name}");
    }
}

pub(crate) fn refusal(wasm: &[u8]) -> String {
    let (guid, path) = shared().keep_raw(wasm);
    match crate::world::wait(shared().sandbox.prepare(guid, &path)) {
        Err(PrepareError::BadProgram { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn bad_programs() {
    let wasm = |text: &str| wat::parse_str(text).expect("well-formed");
    let hello = wasm(&hello_world());
    assert_eq!(refusal(b""), "it is not WebAssembly: it does not begin with \\0asm");
    assert_eq!(refusal(b"#!/bin/sh"), refusal(b""));
    assert_eq!(refusal(&vec![0; 100 << 20]), refusal(b""));
    let cut = refusal(&hello[..hello.len() - 3]);
    assert!(cut.contains("unexpected end"), "{cut}");
    let mut bent = hello;
    let middle = bent.len() / 2;
    bent[middle] ^= 0xff;
    assert!(!refusal(&bent).is_empty());
    assert_eq!(
        refusal(&wasm(&hostile_text("unknown_import"))),
        "it imports host::launch_missiles, which this host does not offer"
    );
    assert_eq!(
        refusal(&wasm(&hostile_text("no_start"))),
        "it has no function \"_start\": build it as a command, or export \"isos_step\""
    );
    assert_eq!(
        refusal(&wasm(r#"(module (func (export "_start") (param i32)))"#)),
        "its export \"_start\" is not a function without arguments"
    );
    let component = refusal(&wasm("(component)"));
    assert!(component.contains("does not export wasi:cli/run"), "{component}");
    let wanting = refusal(&wasm(r#"(component (import "a:b/c" (func)))"#));
    assert!(wanting.contains("a:b/c"), "{wanting}");
    let huge = shared().folder.path().join("huge");
    let file = std::fs::File::create(&huge).expect("a file");
    file.set_len(1 << 30).expect("a sparse file");
    let refused = crate::world::wait(shared().sandbox.prepare(isos_base::Guid::of(b"huge"), &huge));
    assert!(matches!(refused, Err(PrepareError::TooLarge { .. })), "{refused:?}");
    let done = job(&hostile_text("memory_huge")).run();
    assert!(matches!(done.end, Err(Fault::BadProgram(_))), "{done:?}");
}

fn exceptions() {
    // Each task throws and catches; the heap for that must be ready for every thread.
    let throw = program(
        r#"(tag $oops (param i32))
        (func (export "_start")
          (call $exit (block $caught (result i32)
            (try_table (catch $oops $caught) (throw $oops (i32.const 5)))
            (i32.const 1))))"#,
    );
    let mut throw = job(&throw).with(|spec| spec.count = 500);
    throw.threads = 3;
    for done in throw.orders((0..500).map(order).collect()) {
        assert_eq!(done.end, Ok(Exit::Code(5)));
    }
}
