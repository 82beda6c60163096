//! Work that the host does for a program costs the program fuel, whatever comes of the call: a
//! call that is dear to the host and cheap to its caller would get around every limit of a job.

use std::time::{Duration, Instant};

use isos_base::task::{Exit, Fault};
use isos_base::units::Fuel;
use isos_base::{Bytes, Span};

use super::calls::program;
use super::{caller, survives};
use crate::world::{Test, exit, job, shared};

pub(crate) const TESTS: &[Test] = &[
    ("reading and writing cost fuel even when they fail", transfers),
    ("walking and listing folders costs fuel even when it fails", folders),
    ("waiting for many things costs fuel", waits),
    ("random bytes cost fuel", random),
    ("what cannot be paid is not done", unpaid),
    ("open lists of folders are limited", lists),
    ("a file that is cut gives its memory back", cut),
    ("instructions that work in bulk cost fuel by what they move", bulk),
    ("a stream of a component that leaves a hole pays for it", hole),
    ("calls that are cheap and calls that are long both end with the wall time", wall_time),
    ("output that repeats one buffer ends at the limit", flood),
];

/// Fuel of one more call, beyond what a loop takes.
fn price(data: &str, before: &str, call: &str) -> u64 {
    let fuel = |calls: u32| {
        let text = program(&format!(
            r#"{data} (func (export "_start") (local $n i32)
              {before}
              (loop $more
                (drop {call})
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $n) (i32.const {calls})))))"#
        ))
        .replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 32)"#);
        let done = survives(job(&text).with(|spec| spec.memory = Bytes::mib(8)));
        assert_eq!(exit(&done), Exit::Code(0), "{call}");
        done.fuel.0
    };
    (fuel(11) - fuel(1)) / 10
}

/// A file of a MiB under `/tmp`, and lists whose second buffer lies behind memory.
const FILE: &str = r#"(data (i32.const 100) "tmp/f")
  (data (i32.const 200) "\00\00\10\00\00\00\10\00\00\00\00\80\01\00\00\00")"#;
const OPEN_FILE: &str = r#"
  (call $is (i32.const 1) (i32.const 0) (call $open (i32.const 100) (i32.const 5) (i32.const 1)))
  (call $is (i32.const 2) (i32.const 0) (call $set_size (call $fd) (i64.const 1048576)))"#;

fn transfers() {
    for call in [
        "(call $pread (call $fd) (i32.const 200) (i32.const 2) (i64.const 0) (i32.const 64))",
        "(call $pwrite (call $fd) (i32.const 200) (i32.const 2) (i64.const 0) (i32.const 64))",
        "(call $pread (call $fd) (i32.const 200) (i32.const 1) (i64.const 0) (i32.const -1))",
    ] {
        let fuel = price(FILE, OPEN_FILE, call);
        assert!(fuel >= (1 << 20) / 8, "{call}: {fuel}");
    }
    // A thousand buffers of nothing.
    let empty = "(call $write (i32.const 1) (i32.const 0x10000) (i32.const 1024) (i32.const 64))";
    assert!(price("", "", empty) >= 1_024 * 32);
}

fn folders() {
    let walk = "in/../".repeat(600);
    let data = format!(r#"(data (i32.const 1000) "{walk}x") (data (i32.const 100) "tmp")"#);
    let call =
        format!("(call $open (i32.const 1000) (i32.const {}) (i32.const 0))", walk.len() + 1);
    assert!(price(&data, "", &call) >= 1_200 * 32);

    // Thousand folders in one, whose list is asked for from its end, or into nowhere.
    let fill = r#"(loop $fill
        (i32.store8 (i32.const 304) (i32.add (i32.const 65) (i32.and (local.get $n) (i32.const 15))))
        (i32.store8 (i32.const 305) (i32.add (i32.const 65)
          (i32.and (i32.shr_u (local.get $n) (i32.const 4)) (i32.const 15))))
        (i32.store8 (i32.const 306) (i32.add (i32.const 65) (i32.shr_u (local.get $n) (i32.const 8))))
        (call $is (i32.const 1) (i32.const 0) (call $mkdir (i32.const 3) (i32.const 300) (i32.const 7)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $fill (i32.lt_u (local.get $n) (i32.const 1000))))
      (local.set $n (i32.const 0))
      (call $is (i32.const 2) (i32.const 0) (call $open (i32.const 100) (i32.const 3) (i32.const 0)))"#;
    let data = r#"(data (i32.const 100) "tmp") (data (i32.const 300) "tmp/aaa")"#;
    for call in [
        "(call $readdir (call $fd) (i32.const 400) (i32.const 0) (i64.const 0) (i32.const 64))",
        "(call $readdir (call $fd) (i32.const -1) (i32.const 9) (i64.const 0) (i32.const 64))",
    ] {
        let fuel = price(data, fill, call);
        assert!(fuel >= 1_000 * 32, "{call}: {fuel}");
    }
}

fn waits() {
    let call =
        "(call $poll (i32.const 0x10000) (i32.const 0x20000) (i32.const 1024) (i32.const 64))";
    assert!(price("", "", call) >= 1_024 * 32);
}

fn random() {
    assert!(price("", "", "(call $random (i32.const 0x10000) (i32.const 0x10000))") >= 0x10000);
}

fn unpaid() {
    // 32 MiB for some thousand fuel: none of it is drawn, and nothing is printed.
    let text = program(
        r#"(func (export "_start") (drop (call $random (i32.const 0) (i32.const 0x2000000))))"#,
    )
    .replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 512)"#);
    let done = survives(job(&text).with(|spec| spec.fuel = Fuel(5_000)));
    assert_eq!((exit(&done), done.fuel), (Exit::OutOfFuel, Fuel(5_000)));
}

fn lists() {
    // 5,000 folders in one, which is opened again and again and its list begun each time; the
    // exit code says how often that went well. 2^18 entries fit.
    let text = program(
        r#"(data (i32.const 100) "tmp") (data (i32.const 300) "tmp/aaaa")
        (func (export "_start") (local $n i32)
          (loop $fill
            (i32.store (i32.const 304) (i32.add (i32.const 0x41414141)
              (i32.or (i32.and (local.get $n) (i32.const 15))
              (i32.or (i32.shl (i32.and (local.get $n) (i32.const 0xf0)) (i32.const 4))
              (i32.or (i32.shl (i32.and (local.get $n) (i32.const 0xf00)) (i32.const 8))
                (i32.shl (i32.and (local.get $n) (i32.const 0xf000)) (i32.const 12)))))))
            (call $is (i32.const 1) (i32.const 0)
              (call $mkdir (i32.const 3) (i32.const 300) (i32.const 8)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $fill (i32.lt_u (local.get $n) (i32.const 5000))))
          (local.set $n (i32.const 0))
          (loop $more
            (call $is (i32.const 2) (i32.const 0)
              (call $open (i32.const 100) (i32.const 3) (i32.const 0)))
            (if (i32.eqz (call $readdir (call $fd) (i32.const 400) (i32.const 9) (i64.const 0)
              (i32.const 64))) (then
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br $more))))
          (call $exit (local.get $n)))"#,
    );
    let done = survives(job(&text).with(|spec| spec.fuel = Fuel(1_000_000_000)));
    assert_eq!(exit(&done), Exit::Code((1 << 18) / 5_002));
}

fn cut() {
    // Sixty files of 16 MiB, each cut before the next: more memory than the child may have,
    // were it kept.
    let text = program(
        r#"(data (i32.const 100) "tmp/aa")
        (func (export "_start") (local $n i32)
          (loop $more
            (i32.store8 (i32.const 104)
              (i32.add (i32.const 65) (i32.and (local.get $n) (i32.const 15))))
            (i32.store8 (i32.const 105)
              (i32.add (i32.const 65) (i32.shr_u (local.get $n) (i32.const 4))))
            (call $is (i32.const 1) (i32.const 0)
              (call $open (i32.const 100) (i32.const 6) (i32.const 1)))
            (call $is (i32.const 2) (i32.const 0)
              (call $set_size (call $fd) (i64.const 0x1000000)))
            (call $is (i32.const 3) (i32.const 0) (call $set_size (call $fd) (i64.const 1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 60)))))"#,
    );
    let done = survives(job(&text).with(|spec| {
        spec.memory = Bytes::mib(20);
        spec.output_max = Bytes(1_000);
    }));
    assert_eq!(exit(&done), Exit::Code(0));
}

fn bulk() {
    let data = r#"(table $t 4096 funcref) (data $d "0123456789abcdef") (elem declare func $start)
      (func $start)"#;
    for (what, least) in [
        ("(memory.fill (i32.const 0x10000) (i32.const 1) (i32.const 0x10000))", 0x10000),
        ("(memory.copy (i32.const 0x10000) (i32.const 0) (i32.const 0x10000))", 0x10000),
        ("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 16))", 16),
        ("(table.fill $t (i32.const 0) (ref.func $start) (i32.const 4096))", 4_096),
        ("(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 4095))", 4_095),
    ] {
        // `price` drops what the call gives.
        let fuel = price(data, "", &format!("(block (result i32) {what} (i32.const 0))"));
        assert!(fuel >= least, "{what}: {fuel}");
    }
}

fn hole() {
    let component = caller::component();
    let number = caller::component_number;
    let fuel = |offset: u64| {
        // A stream over the open file from this offset on, which becomes resource 6; then one byte
        // of any memory into it. What is returned goes to the address 0.
        let mut script = vec![number("[method]descriptor.write-via-stream"), 120, 0xff];
        script.extend(offset.to_le_bytes());
        script.push(0);
        script.push(number("[method]output-stream.blocking-write-and-flush"));
        script.extend([120, 0, 1, 0]);
        let args = vec![caller::text_of(&script)];
        let done = survives(shared().job(&component).with(|spec| spec.args = args));
        assert_eq!(exit(&done), Exit::Code(0), "{offset}");
        let length = done.output.files.first().map_or(0, |file| file.content.len() as u64);
        assert_eq!(length, offset + 1);
        done.fuel.0
    };
    assert!(fuel(8 << 20) - fuel(0) >= (8 << 20) / 8);
}

fn wall_time() {
    let random = "(call $random (i32.const 0x10000) (i32.const 0x1000000))";
    for (what, call) in [
        ("cheap", "(call $close (i32.const 99))".to_owned()),
        ("long", random.to_owned()),
        ("faulty", "(call $random (i32.const -1) (i32.const 0x1000000))".to_owned()),
    ] {
        let text =
            program(&format!(r#"(func (export "_start") (loop $on (drop {call}) (br $on)))"#))
                .replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 300)"#);
        let started = Instant::now();
        let done = job(&text)
            .with(|spec| {
                spec.fuel = Fuel(1 << 50);
                spec.timeout = Span::secs(1);
            })
            .run();
        assert_eq!(done.end, Err(Fault::TimedOut), "{what}");
        // The compiler, and a machine that does other things, too.
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: {:?}", started.elapsed());
        assert!(done.wall < Span::secs(10), "{what}: {:?}", done.wall);
    }
}

fn flood() {
    // A thousand times the same 64 KiB in each call.
    let text = program(
        r#"(func (export "_start") (local $n i32)
          (loop $fill
            (i32.store (i32.add (i32.const 0x1000) (i32.mul (local.get $n) (i32.const 8)))
              (i32.const 0))
            (i32.store (i32.add (i32.const 0x1004) (i32.mul (local.get $n) (i32.const 8)))
              (i32.const 0x10000))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $fill (i32.lt_u (local.get $n) (i32.const 1024))))
          (loop $on
            (drop (call $write (i32.const 1) (i32.const 0x1000) (i32.const 1024) (i32.const 64)))
            (br $on)))"#,
    );
    let done = survives(job(&text).with(|spec| spec.output_max = Bytes::mib(3)));
    assert_eq!(exit(&done), Exit::OutputTooLarge);
    assert!(done.output.stdout.len() <= 3 << 20);
    assert!(done.fuel.0 >= (3 << 20) / 8);
}
