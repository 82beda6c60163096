//! Programs whose shape is the attack: that make a compiler work for hours, that grow, that are
//! nested without end, that want what is not offered.

use isos_base::task::{Exit, Fault, Trap};
use isos_base::units::Fuel;
use isos_base::{Bytes, Span};
use isos_sandbox::{PrepareError, Sandbox};
use tempfile::TempDir;

use super::calls::program;
use super::{caller, survives};
use crate::world::{Test, World, config, exit, job, shared};

pub(crate) const TESTS: &[Test] = &[
    ("compile bombs end at the compiler's limits and the next program compiles", compile_bombs),
    ("deeply nested programs are refused in words", nesting),
    ("components that multiply are refused", laughs),
    ("components of the wrong shape are refused when they are prepared", wrong_components),
    ("forged handles end a component", forged),
    ("a component that imports sockets runs, and can make none", sockets),
    ("what would not be the same on every host is refused", undetermined),
    ("relaxed instructions have one result on every host", relaxed),
    ("tables grow to their limit and no further", tables),
    ("memories count together", memories),
    ("too much of anything at the start is a bad program", starts),
    ("a program may do in its start function what it may do later", start_functions),
    ("an atomic wait does not wait", atomic_wait),
    ("time cannot be told from how long anything takes", timing),
    ("a tower of renamed folders does not come out", tower),
];

/// A module of one function with this body, which is its `_start`.
fn raw(locals: &[u8], code: &[u8]) -> Vec<u8> {
    fn leb(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            bytes.push(if value == 0 { low } else { low | 0x80 });
            if value == 0 {
                return bytes;
            }
        }
    }
    let section = |id: u8, content: &[u8]| [&[id][..], &leb(content.len()), content].concat();
    let body = [locals, code, &[0x0b]].concat();
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, b"\x01\x06_start\x00\x00"),
        section(10, &[&[1][..], &leb(body.len()), &body].concat()),
    ]
    .concat()
}

/// A sandbox whose compiler gets two seconds and 200 MiB.
fn hasty() -> World {
    let folder = TempDir::new().expect("a folder");
    let mut config = config(&folder);
    config.compile_cpu = Span::secs(2);
    config.compile_memory = Bytes::mib(200);
    let sandbox = Sandbox::new(config).expect("a sandbox");
    World { sandbox, folder }
}

fn compile_bombs() {
    let world = hasty();
    // A jump to 60,000 places, a hundred times; a maze of loops; locals that all live at once.
    let table = |n: u32| {
        let mut code = vec![0x02, 0x40, 0x41, 0, 0x0e];
        code.extend([0xe0, 0xd4, 0x03]);
        code.extend(vec![0; n as usize + 1]);
        code.push(0x0b);
        code
    };
    let tables = raw(&[0], &table(60_000).repeat(100));
    let maze = raw(&[1, 50, 0x7f], &{
        let mut code = [0x03, 0x40, 0x20, 0, 0x41, 1, 0x6a, 0x22, 1, 0x0d, 0].repeat(60_000);
        code.extend(vec![0x0b; 60_000]);
        code
    });
    let lives = raw(&[1, 0x90, 0x4e, 0x7e], &{
        let mut code = Vec::new();
        for local in 0..10_000_u32 {
            let number = [(local & 0x7f) as u8 | 0x80, (local >> 7) as u8];
            code.extend([&[0x20][..], &number, &[0x42, 3, 0x7c, 0x21], &number].concat());
        }
        [&[0x03, 0x40][..], &code.repeat(10), &[0x0c, 0, 0x0b]].concat()
    });
    let mut limited = 0;
    for bomb in [tables, maze, lives] {
        match world.prepare(&bomb) {
            Ok(_) => {}
            Err(PrepareError::CompileLimit { .. } | PrepareError::BadProgram { .. }) => {
                limited += 1;
            }
            other => panic!("{other:?}"),
        }
        assert!(world.sandbox.processes().borrow().is_empty(), "the compiler has ended");
    }
    assert!(limited > 0, "none was a bomb");
    assert_eq!(exit(&world.job(crate::programs::hello_world().as_bytes()).run()), Exit::Code(0));
}

fn refusal(world: &World, wasm: &[u8]) -> String {
    match world.prepare(wasm) {
        Err(PrepareError::BadProgram { reason, .. }) => {
            assert!(!reason.contains("broke down"), "{reason}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

fn nesting() {
    let world = hasty();
    let blocks = 200_000;
    let deep = raw(&[0], &[[0x02, 0x40].repeat(blocks), vec![0x0b; blocks]].concat());
    // Whether it is refused or compiled, nothing breaks down.
    match world.prepare(&deep) {
        Ok(_) | Err(PrepareError::CompileLimit { .. }) => {}
        Err(PrepareError::BadProgram { reason, .. }) if !reason.contains("broke down") => {}
        other => panic!("{other:?}"),
    }
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..20_000 {
        let length = component.len() as u32;
        let leb = [0, 7, 14, 21, 28].map(|by| (length >> by) as u8 & 0x7f | 0x80);
        let section = [&[4][..], &leb[..4], &[leb[4] & 0x7f], &component].concat();
        component = [b"\0asm\x0d\0\x01\0", section.as_slice()].concat();
        if component.len() > 60_000 {
            break;
        }
    }
    match world.prepare(&component) {
        Err(PrepareError::CompileLimit { .. } | PrepareError::BadProgram { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// A component with a run function, and more.
fn command(more: &str) -> String {
    format!(
        r#"(component {more}
          (core module $main (func (export "run") (result i32) (i32.const 0)))
          (core instance $main (instantiate $main))
          (func $run (result (result)) (canon lift (core func $main "run")))
          (instance $face (export "run" (func $run)))
          (export "wasi:cli/run@0.2.0" (instance $face)))"#
    )
}

/// Components that each contain the one before so many times.
fn multiplied(times: usize, levels: usize) -> String {
    let mut text =
        String::from("(component $c0 (core module $m) (core instance (instantiate $m)))");
    for level in 1..=levels {
        let inner = format!("(instance (instantiate $c{})) ", level - 1).repeat(times);
        text.push_str(&format!("(component $c{level} {inner})"));
    }
    text.push_str(&format!("(instance (instantiate $c{levels}))"));
    text
}

fn laughs() {
    let world = hasty();
    assert_eq!(exit(&world.job(command(&multiplied(10, 2)).as_bytes()).run()), Exit::Code(0));
    // 1,600 instances are compiled and do not start; 2^40 are not even compiled.
    match world.prepare(command(&multiplied(40, 2)).as_bytes()) {
        Ok(_) => {
            let done = world.job(command(&multiplied(40, 2)).as_bytes()).run();
            assert!(matches!(done.end, Err(Fault::BadProgram(_))), "{done:?}");
        }
        Err(PrepareError::BadProgram { .. }) => {}
        other => panic!("{other:?}"),
    }
    let many = world.prepare(command(&multiplied(2, 40)).as_bytes());
    let refused =
        matches!(many, Err(PrepareError::CompileLimit { .. } | PrepareError::BadProgram { .. }));
    assert!(refused, "{many:?}");
}

fn wrong_components() {
    let lift = |result: &str, core: &str| {
        format!(
            r#"(component
              (core module $main (func (export "run") {core}))
              (core instance $main (instantiate $main))
              (func $run {result} (canon lift (core func $main "run")))
              (instance $face (export "run" (func $run)))
              (export "wasi:cli/run@0.2.0" (instance $face)))"#
        )
    };
    let number = lift("(result u32)", "(result i32) (i32.const 0)");
    let asking =
        lift(r#"(param "n" u32) (result (result))"#, "(param i32) (result i32) (i32.const 0)");
    let empty = r#"(component (instance $face) (export "wasi:cli/run@0.2.0" (instance $face)))"#;
    let function = r#"(component
        (core module $main (func (export "run") (result i32) (i32.const 0)))
        (core instance $main (instantiate $main))
        (func $run (result (result)) (canon lift (core func $main "run")))
        (export "wasi:cli/run@0.2.0" (func $run)))"#;
    for wrong in [number.as_str(), &asking, empty, function] {
        let why = refusal(shared(), wrong.as_bytes());
        assert!(why.contains("wasi:cli/run"), "{why}");
    }
    for import in [
        r#"(import "wasi:cli/exit@0.2.0" (instance (export "exit" (func (param "status" u32)))))"#,
        r#"(import "wasi:cli/exit@0.2.0" (instance (export "leave" (func))))"#,
        r#"(import "wasi:cli/exit@0.2.0" (func))"#,
        r#"(import "wasi:random/random@0.2.0" (instance (export "random" (type (sub resource)))))"#,
        r#"(import "wasi:http/types@0.2.0" (instance (export "fields" (type (sub resource)))))"#,
        r#"(import "isos:host/shell@0.1.0" (instance (export "run" (func (param "line" string)))))"#,
    ] {
        match shared().prepare(command(import).as_bytes()) {
            Err(PrepareError::BadProgram { .. }) => {}
            other => panic!("{import}: {other:?}"),
        }
    }
}

fn forged() {
    let component = caller::component();
    let number = caller::component_number;
    let (stat, drop) = (number("[method]descriptor.sync"), number("[resource-drop]descriptor"));
    // 0 is the fitting handle; 0xff asks for the next byte, whose low half is it: 0x61 for 1.
    let nothing = Exit::Code(0);
    let trap = Exit::Trap(Trap::Other);
    for (what, script, end) in [
        ("a good one", vec![stat, 0, 0], nothing),
        ("one that is closed", vec![drop, 0x61, stat, 0, 0], trap),
        ("one that is closed twice", vec![drop, 0x61, drop, 0x61], trap),
        ("one of another kind", vec![stat, 0xff, 0x62, 0], trap),
        ("one that never was", vec![stat, 0xff, 0x6f, 0], trap),
        ("a large one", vec![stat, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0], trap),
    ] {
        let args = vec![caller::text_of(&script)];
        let done = survives(shared().job(&component).with(|spec| spec.args = args));
        assert_eq!(done.end, Ok(end), "{what}");
    }
}

fn sockets() {
    let component = caller::component();
    let number = caller::component_number;
    let write = number("[method]output-stream.blocking-write-and-flush");
    for (what, end) in [
        ("create-tcp-socket", Exit::Code(0)),
        ("create-udp-socket", Exit::Code(0)),
        ("instance-network", Exit::Trap(Trap::Unreachable)),
    ] {
        // The answer is left at the address 0, and 16 bytes from there are printed.
        let made = if what.starts_with("create") { vec![0x60, 0] } else { vec![] };
        let script = [&[number(what)][..], &made, &[write, 0, 0, 9, 10]].concat();
        let args = vec![caller::text_of(&script)];
        let done = survives(shared().job(&component).with(|spec| spec.args = args));
        assert_eq!(done.end, Ok(end), "{what}");
        if end == Exit::Code(0) {
            // An error, and which: access denied.
            assert_eq!((done.output.stdout[0], done.output.stdout[4]), (1, 1), "{what}");
        }
    }
}

fn undetermined() {
    for (what, text) in [
        ("shared memory", r#"(module (memory 1 1 shared) (func (export "_start")))"#),
        ("a heap of objects", r#"(module (type (struct (field i32))) (func (export "_start")))"#),
        (
            "a stack of its own",
            r#"(module (type $f (func)) (type (cont $f)) (func (export "_start")))"#,
        ),
        ("shared memory in a component", "(component (core module (memory 1 1 shared)))"),
    ] {
        let why = refusal(shared(), text.as_bytes());
        assert!(!why.is_empty(), "{what}");
        assert!(!what.starts_with("shared") || why.contains("shared memory"), "{what}: {why}");
    }
}

fn relaxed() {
    // What processors do differently is done as the specification's deterministic profile says: a
    // product and a sum are one step (two would give 0 here, one gives 2^-46), what is no number is
    // 0, what is out of range is 0, and what is too large is the largest.
    let text = program(
        r#"(func (export "_start")
          (local $a v128)
          (local.set $a (f32x4.splat (f32.const 0x1.000002p0)))
          (v128.store (i32.const 256) (f32x4.relaxed_madd (local.get $a) (local.get $a)
            (f32x4.splat (f32.const -0x1.000004p0))))
          (v128.store (i32.const 272) (i32x4.relaxed_trunc_f32x4_s
            (f32x4.splat (f32.const nan))))
          (v128.store (i32.const 288) (i8x16.relaxed_swizzle
            (i8x16.splat (i32.const 7)) (i8x16.splat (i32.const 0x13))))
          (v128.store (i32.const 304) (i16x8.relaxed_q15mulr_s
            (i16x8.splat (i32.const 0x8000)) (i16x8.splat (i32.const 0x8000))))
          (i32.store (i32.const 200) (i32.const 256))
          (i32.store (i32.const 204) (i32.const 64))
          (drop (call $write (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 64))))"#,
    );
    let done = survives(job(&text));
    assert_eq!(exit(&done), Exit::Code(0));
    let first = |lanes: &[u8]| u32::from_le_bytes(*lanes.first_chunk().expect("a lane"));
    let lanes: Vec<u32> = done.output.stdout.chunks(16).map(first).collect();
    assert_eq!(lanes, [0x2880_0000, 0, 0, 0x7fff_7fff]);
}

fn tables() {
    // Grows by 1,000 until it is refused; its exit code is how large it got.
    let grow = program(
        r#"(table $t 0 funcref)
        (func (export "_start")
          (loop $more (br_if $more (i32.ne (i32.const -1)
            (table.grow $t (ref.null func) (i32.const 1000)))))
          (call $exit (table.size $t)))"#,
    );
    let done = survives(job(&grow).with(|spec| spec.fuel = Fuel(100_000_000)));
    assert_eq!(exit(&done), Exit::Code(1_048_000));
}

fn memories() {
    // Two memories grow in turns until both are refused.
    let two = program(
        r#"(memory $other 0)
        (func (export "_start") (local $pages i32)
          (loop $more
            (br_if $more (i32.ne (i32.const -1) (memory.grow $other (i32.const 1))))
            (br_if $more (i32.ne (i32.const -1) (memory.grow 0 (i32.const 1)))))
          (call $exit (i32.add (memory.size 0) (memory.size $other))))"#,
    );
    let done = survives(job(&two).with(|spec| spec.memory = Bytes::mib(4)));
    assert_eq!(exit(&done), Exit::Code(64));
}

fn starts() {
    let many = |what: &str| what.repeat(101);
    for (what, parts) in [
        ("memories", many("(memory 0)")),
        ("tables", many("(table 0 funcref)").repeat(10)),
        ("a table", "(table 2000000 funcref)".into()),
        ("a memory of 64 bits", "(memory i64 0x100000000)".into()),
        ("memories together", "(memory 1000)(memory 1000)".into()),
    ] {
        let text = format!(r#"(module {parts} (func (export "_start")))"#);
        let (guid, path) = shared().keep(text.as_bytes());
        let prepared = crate::world::wait(shared().sandbox.prepare(guid, &path));
        let refused = match prepared {
            Err(PrepareError::BadProgram { .. }) => true,
            Ok(_) => {
                let done = job(&text).with(|spec| spec.memory = Bytes::mib(100)).run();
                matches!(done.end, Err(Fault::BadProgram(_)))
            }
            Err(_) => false,
        };
        assert!(refused, "{what}");
    }
}

fn start_functions() {
    for (code, end) in [
        ("unreachable", Exit::Trap(Trap::Unreachable)),
        ("(loop $again (br $again))", Exit::OutOfFuel),
        ("(call $start)", Exit::Trap(Trap::StackOverflow)),
        ("(call $exit (i32.const 5))", Exit::Code(5)),
        ("(drop (memory.grow (i32.const 65535)))", Exit::Code(0)),
    ] {
        let text =
            program(&format!(r#"(func $start {code}) (start $start) (func (export "_start"))"#));
        let done = survives(job(&text).with(|spec| spec.fuel = Fuel(10_000_000)));
        assert_eq!(done.end, Ok(end), "{code}");
    }
}

fn atomic_wait() {
    let wait = program(
        r#"(func (export "_start")
          (drop (memory.atomic.notify (i32.const 0) (i32.const -1)))
          (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))"#,
    );
    assert!(matches!(exit(&survives(job(&wait))), Exit::Trap(_)));
}

fn timing() {
    // Prints how long by each clock a thousand reads of memory and a call of the host take; two
    // runs print the same, whatever else the machine does.
    let measure = program(
        r#"(data (i32.const 200) "\00\01\00\00\80\00\00\00")
        (func $measure (param $clock i32) (param $at i32) (local $n i32)
          (drop (call $clock (local.get $clock) (i64.const 0) (local.get $at)))
          (loop $more
            (drop (i32.load (i32.mul (local.get $n) (i32.const 64))))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 1000))))
          (drop (call $random (i32.const 0x10000) (i32.const 0x8000)))
          (drop (call $clock (local.get $clock) (i64.const 0)
            (i32.add (i32.const 8) (local.get $at)))))
        (func (export "_start")
          (call $measure (i32.const 0) (i32.const 256))
          (call $measure (i32.const 1) (i32.const 272))
          (call $measure (i32.const 2) (i32.const 288))
          (call $measure (i32.const 3) (i32.const 304))
          (drop (call $write (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 64))))"#,
    );
    let done = survives(job(&measure));
    assert_eq!(exit(&done), Exit::Code(0));
    assert_eq!(done.output.stdout.len(), 128);
}

fn tower() {
    // Puts a folder into a new one and calls that the folder, again and again.
    let tower = |then: &str| {
        program(&format!(
            r#"(data (i32.const 100) "out/a") (data (i32.const 110) "out/b")
            (data (i32.const 120) "out/b/a") (data (i32.const 130) "out/a/f")
            (func (export "_start") (local $n i32)
              (call $is (i32.const 1) (i32.const 0)
                (call $mkdir (i32.const 3) (i32.const 100) (i32.const 5)))
              {then}
              (loop $more
                (call $is (i32.const 2) (i32.const 0)
                  (call $mkdir (i32.const 3) (i32.const 110) (i32.const 5)))
                (call $is (i32.const 3) (i32.const 0) (call $rename
                  (i32.const 3) (i32.const 100) (i32.const 5)
                  (i32.const 3) (i32.const 120) (i32.const 7)))
                (call $is (i32.const 4) (i32.const 0) (call $rename
                  (i32.const 3) (i32.const 110) (i32.const 5)
                  (i32.const 3) (i32.const 100) (i32.const 5)))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $n) (i32.const 3000)))))"#
        ))
    };
    let with_file = r#"(call $is (i32.const 9) (i32.const 0)
        (call $open (i32.const 130) (i32.const 7) (i32.const 1)))"#;
    for text in [tower(""), tower(with_file)] {
        let done = survives(job(&text));
        assert_eq!(exit(&done), Exit::OutputTooLarge);
        assert!(done.output.files.is_empty());
    }
}
