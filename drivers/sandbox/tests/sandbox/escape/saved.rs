//! Checkpoints as a way out: states that are too large, saves without end, states of a host that
//! lies, files that can be left and not be restored.

use isos_base::checkpoint::{CHECKPOINT_BYTES_MAX, SEGMENT_FUEL_MIN};
use isos_base::task::Exit;
use isos_base::{Bytes, Fuel, Span};
use isos_sandbox::Order;

use super::survives;
use crate::checkpoints::{from, objects, program, run, whole};
use crate::world::{Test, exit, job};

pub(crate) const TESTS: &[Test] = &[
    ("saving without end ends with the fuel, one segment after the other", endless),
    ("the largest state is saved and paid for, and one byte more is not saved", largest),
    ("a save that is refused costs what it took to see that", refusals),
    ("folders that lie too deep to be restored are not saved, and the task goes on", deep),
    ("a state of a host that lies is garbage to its task and harmless to the host", garbage),
    ("states are restored to memory only, and whole", restored),
    ("a program may save in its start function", start_function),
    ("a component pays for a state that is not due", undue),
];

/// Waits until a save is due.
const DUE: &str = "(loop $wait (br_if $wait (i32.eqz (call $due))))";

fn endless() {
    let fuel = Fuel(3 * SEGMENT_FUEL_MIN.0 + 5_000_000);
    let text = program(
        r#"(func (export "_start")
          (loop $on (drop (call $save (i32.const 0) (i32.const 65536))) (br $on)))"#,
    );
    let mut job = job(&text).with(|spec| spec.fuel = fuel);
    job.save_every = Span::ZERO;
    let (done, told) = run(&job, whole());
    assert_eq!((exit(&done), done.fuel), (Exit::OutOfFuel, fuel));
    assert_eq!(told.last().map(|saved| saved.roots.len()), Some(3));
}

/// Saves a state of so many bytes once. Its exit code is the size of what it then finds, in KiB,
/// or the answer to the save.
fn large(bytes: u64) -> String {
    program(&format!(
        r#"(func (export "_start")
          (drop (memory.grow (i32.const 300)))
          (if (i64.ne (call $size) (i64.const -1)) (then
            (if (call $restore (i32.const 0) (i32.wrap_i64 (call $size))) (then unreachable))
            (call $exit (i32.wrap_i64 (i64.shr_u (call $size) (i64.const 10))))))
          {DUE}
          (call $exit (call $save (i32.const 0) (i32.const {bytes}))))"#
    ))
}

fn largest() {
    let bytes = CHECKPOINT_BYTES_MAX.0;
    let text = large(bytes);
    let done = survives(job(&text));
    assert_eq!(exit(&done), Exit::Code((bytes >> 10) as i32));
    // Saved, and restored.
    assert!(done.fuel.0 > SEGMENT_FUEL_MIN.0 + 2 * bytes / 8);
    let mut given_out = job(&text);
    given_out.save_every = Span::ZERO;
    let (_, told) = run(&given_out, whole());
    let part = from(&given_out, objects(&told)[0]);
    let (resumed, _) = run(&given_out, Order { part, ..whole() });
    assert_eq!((&resumed.end, resumed.fuel), (&done.end, done.fuel));

    let more = survives(job(&large(bytes + 1)));
    assert_eq!(exit(&more), Exit::Code(1));
}

/// Fuel of one more call when a save is due.
fn price(before: &str, call: &str) -> u64 {
    let fuel = |calls: u32| {
        let text = program(&format!(
            r#"(data (i32.const 100) "tmp/aaa") (data (i32.const 110) "tmp/f")
            (func (export "_start") (local $n i32)
              (drop (memory.grow (i32.const 300)))
              {before}
              {DUE}
              (local.set $n (i32.const 0))
              (loop $more
                (if (i32.ne (i32.const 1) {call}) (then unreachable))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $n) (i32.const {calls})))))"#
        ));
        let done = survives(job(&text));
        assert_eq!(exit(&done), Exit::Code(0), "{call}");
        done.fuel.0
    };
    (fuel(11) - fuel(1)) / 10
}

fn refusals() {
    let folders = r#"(loop $fill
        (i32.store8 (i32.const 104)
          (i32.add (i32.const 65) (i32.and (local.get $n) (i32.const 15))))
        (i32.store8 (i32.const 105) (i32.add (i32.const 65)
          (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 15))))
        (i32.store8 (i32.const 106)
          (i32.add (i32.const 65) (i32.shr_u (local.get $n) (i32.const 8))))
        (if (call $mkdir (i32.const 3) (i32.const 100) (i32.const 7)) (then unreachable))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $fill (i32.lt_u (local.get $n) (i32.const 1000))))"#;
    let save = "(call $save (i32.const 0) (i32.const 0x1000001))";
    assert!(price(folders, save) >= 1_000 * 32);
}

/// Puts a folder into a new one and calls that the folder, so many times.
fn tower(times: u32) -> String {
    format!(
        r#"(data (i32.const 100) "tmp/a") (data (i32.const 110) "tmp/b")
        (data (i32.const 120) "tmp/b/a")
        (func $tower (local $n i32)
          (if (call $mkdir (i32.const 3) (i32.const 100) (i32.const 5)) (then unreachable))
          (loop $more
            (if (call $mkdir (i32.const 3) (i32.const 110) (i32.const 5)) (then unreachable))
            (if (call $rename (i32.const 3) (i32.const 100) (i32.const 5)
              (i32.const 3) (i32.const 120) (i32.const 7)) (then unreachable))
            (if (call $rename (i32.const 3) (i32.const 110) (i32.const 5)
              (i32.const 3) (i32.const 100) (i32.const 5)) (then unreachable))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const {times})))))"#
    )
}

fn deep() {
    for (times, end) in [(400, 99), (600, 1), (20_000, 1)] {
        let text = program(&format!(
            r#"{} (func (export "_start")
              (if (i64.ne (call $size) (i64.const -1)) (then (call $exit (i32.const 99))))
              (call $tower)
              {DUE}
              (call $exit (call $save (i32.const 0) (i32.const 8))))"#,
            tower(times)
        ));
        assert_eq!(exit(&survives(job(&text))), Exit::Code(end), "{times} folders");
    }
}

fn garbage() {
    // Whatever it finds it copies to memory and leaves with its size and first byte.
    let text = program(&format!(
        r#"(data (i32.const 200) "state") (data (i32.const 100) "tmp/d")
        (func (export "_start")
          (if (i64.ne (call $size) (i64.const -1)) (then
            (call $exit (i32.add (i32.const 1000) (i32.add
              (call $restore (i32.const 0) (i32.wrap_i64 (call $size)))
              (i32.add (i32.load8_u (i32.const 0)) (i32.wrap_i64 (call $size))))))))
          (drop (call $mkdir (i32.const 3) (i32.const 100) (i32.const 5)))
          (call $print (i32.const 200) (i32.const 5))
          {DUE}
          (drop (call $save (i32.const 200) (i32.const 5))))"#
    ));
    let mut job = job(&text);
    job.save_every = Span::ZERO;
    let (honest, told) = run(&job, whole());
    assert_eq!(exit(&honest), Exit::Code(1_000 + i32::from(b's') + 5));
    let good = objects(&told)[0].to_vec();
    let (mut taken, mut others) = (0, 0);
    for at in 32..good.len() {
        for value in [0x00, 0xff, good[at] ^ 1] {
            let mut bent = good.clone();
            bent[at] = value;
            // Most are not checkpoints, which costs a segment to find out; one in a few is enough.
            if bent == good || (at + usize::from(value)) % 9 != 0 {
                continue;
            }
            let part = from(&job, &bent);
            let (done, _) = run(&job, Order { part, ..whole() });
            assert!(matches!(exit(&done), Exit::Code(1_000..)), "byte {at} as {value}: {done:?}");
            if done.end == honest.end && done.output == honest.output {
                others += 1;
            } else {
                taken += 1;
            }
        }
    }
    assert!(taken > 0 && others > 0, "{taken} of {others} were another state");
}

fn restored() {
    let text = program(&format!(
        r#"(func $is (param $line i32) (param $wanted i32) (param $got i32)
          (if (i32.ne (local.get $wanted) (local.get $got)) (then (call $exit
            (i32.add (i32.mul (local.get $line) (i32.const 100)) (local.get $got))))))
        (func (export "_start")
          (if (i64.eq (call $size) (i64.const -1)) (then
            (call $is (i32.const 1) (i32.const 1) (call $restore (i32.const 0) (i32.const 0)))
            (call $is (i32.const 2) (i32.const 2) (call $restore (i32.const -1) (i32.const 9)))
            (call $is (i32.const 3) (i32.const 0) (call $save (i32.const 0) (i32.const 8)))
            (call $is (i32.const 4) (i32.const 2) (call $save (i32.const -8) (i32.const 8)))
            (call $is (i32.const 5) (i32.const 2) (call $save (i32.const 8) (i32.const -8)))
            {DUE}
            (drop (call $save (i32.const 0) (i32.const 8)))))
          (call $is (i32.const 6) (i32.const 1) (call $restore (i32.const 0) (i32.const 7)))
          (call $is (i32.const 7) (i32.const 1) (call $restore (i32.const 0) (i32.const 9)))
          (call $is (i32.const 8) (i32.const 2) (call $restore (i32.const 0x1fff9) (i32.const 8)))
          (call $is (i32.const 9) (i32.const 2) (call $restore (i32.const -8) (i32.const 8)))
          (call $is (i32.const 10) (i32.const 0) (call $restore (i32.const 0x1fff8) (i32.const 8))))"#
    ));
    assert_eq!(exit(&survives(job(&text))), Exit::Code(0));
}

fn start_function() {
    let text = program(&format!(
        r#"(func $start
          (if (i64.eq (call $size) (i64.const -1)) (then
            {DUE}
            (drop (call $save (i32.const 0) (i32.const 8)))
            unreachable)))
        (start $start)
        (func (export "_start") (call $exit (i32.wrap_i64 (call $size))))"#
    ));
    assert_eq!(exit(&survives(job(&text))), Exit::Code(8));
}

fn undue() {
    // Hands over four MiB, so many times, long before a save is due.
    let fuel = |calls: u32| {
        let text = format!(
            r#"(component
          (import "isos:host/checkpoint@0.1.0" (instance $host
            (type $refused' (enum "too-large"))
            (export "refused" (type $refused (eq $refused')))
            (export "save"
              (func (param "state" (list u8)) (result (result (error $refused)))))))
          (core module $libc (memory (export "memory") 65))
          (core instance $libc (instantiate $libc))
          (alias export $host "save" (func $save))
          (core func $save' (canon lower (func $save) (memory $libc "memory")))
          (core module $main
            (import "host" "save" (func $save (param i32 i32 i32)))
            (func (export "run") (result i32) (local $n i32)
              (loop $more
                (call $save (i32.const 16) (i32.const 0x400000) (i32.const 0))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $n) (i32.const {calls}))))
              (i32.const 0)))
          (core instance $main (instantiate $main
            (with "host" (instance (export "save" (func $save'))))))
          (func $run (result (result)) (canon lift (core func $main "run")))
          (instance $command (export "run" (func $run)))
          (export "wasi:cli/run@0.2.12" (instance $command)))"#
        );
        let done = survives(job(&text).with(|spec| spec.memory = Bytes::mib(8)));
        assert_eq!(exit(&done), Exit::Code(0));
        done.fuel.0
    };
    assert!((fuel(11) - fuel(1)) / 10 >= (4 << 20) / 8);
}
