//! Tasks that save their state: the same result wherever and however often they go on.

use isos_base::checkpoint::{SEGMENT_FUEL_MIN, chain_of, object_bytes_max};
use isos_base::task::{Execution, Exit};
use isos_base::{Bytes, Fuel, Guid, Span};
use isos_sandbox::{Event, Order, Part, Saved};

use crate::programs::{PRELUDE, refusal};
use crate::world::{Job, Test, exit, job, shared, stdout, wait};

pub(crate) const TESTS: &[Test] = &[
    ("a task goes on from each of its checkpoints to the same result", resumed),
    ("a component goes on from its checkpoints as well", component),
    ("a checkpoint that is not of the task is not used", foreign),
    ("a part of a task ends at its segment", part),
    ("a checkpoint that says other than its host has told is not used", forged),
    ("what is too large is not saved, and a save that is not due is none", refused),
    ("fuel runs out at the same place, however the task was cut", out_of_fuel),
    ("a Rust program saves its state", rust),
    ("a program that is stepped goes on with its memory", stepped),
    ("a program that is stepped ends, traps and is refused like others", stepped_oddly),
];

const IMPORTS: &str = r#"
  (import "isos:host/checkpoint" "due" (func $due (result i32)))
  (import "isos:host/checkpoint" "save" (func $save (param i32 i32) (result i32)))
  (import "isos:host/checkpoint" "size" (func $size (result i64)))
  (import "isos:host/checkpoint" "restore" (func $restore (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
"#;

/// A module with all of these, and what it does.
pub(crate) fn program(body: &str) -> String {
    format!("(module {IMPORTS} {PRELUDE} {body})")
}

/// Counts, and saves the count whenever it is due. Each run prints a random number and the time,
/// and appends to a file. `$junk` is what a program has in memory and does not save.
fn counting(steps: u64) -> String {
    program(&format!(
        r#"(data (i32.const 100) "out/log")
        (global $junk (mut i32) (i32.const 0))
        (func (export "_start")
          (if (i64.eq (call $size) (i64.const 8))
            (then (if (call $restore (i32.const 200) (i32.const 8)) (then unreachable))))
          (drop (call $random (i32.const 208) (i32.const 8)))
          (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 216)))
          (call $print (i32.const 200) (i32.const 24))
          (if (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 7)
                (i32.const 1) (i64.const -1) (i64.const -1) (i32.const 1) (i32.const 300))
            (then unreachable))
          (i32.store (i32.const 0) (i32.const 208))
          (i32.store (i32.const 4) (i32.const 8))
          (drop (call $fd_write (i32.load (i32.const 300)) (i32.const 0) (i32.const 1) (i32.const 8)))
          (loop $on
            (i64.store (i32.const 200) (i64.add (i64.load (i32.const 200)) (i64.const 1)))
            (global.set $junk (i32.add (global.get $junk) (i32.const 1)))
            (if (i64.eqz (i64.and (i64.load (i32.const 200)) (i64.const 0xffff)))
              (then (if (call $due)
                (then (if (call $save (i32.const 200) (i32.const 8)) (then unreachable))))))
            (br_if $on (i64.lt_u (i64.load (i32.const 200)) (i64.const {steps}))))
          (i32.store (i32.const 208) (global.get $junk))
          (call $print (i32.const 200) (i32.const 12)))"#
    ))
}

/// Runs orders, and collects what they save.
pub(crate) fn run(job: &Job<'_>, order: Order) -> (Execution, Vec<Saved>) {
    wait(async {
        let (chamber, mut events) = job.open().await;
        chamber.send(vec![order]).await.expect("a living chamber");
        let mut saved = Vec::new();
        loop {
            match events.next().await {
                Some(Event::Saved(one)) => saved.push(one),
                Some(Event::Finished(mut done)) => return (done.remove(0), saved),
                other => panic!("{other:?}"),
            }
        }
    })
}

pub(crate) fn whole() -> Order {
    Order { task: 0, file: None, part: Part::default() }
}

/// Puts a checkpoint where a chamber finds it.
pub(crate) fn from(job: &Job<'_>, object: &[u8]) -> Part {
    let mount = job.own(0, "x", object).file.expect("a file");
    Part { from: Some((mount.guid, mount.size)), ..Part::default() }
}

pub(crate) fn objects(saved: &[Saved]) -> Vec<&[u8]> {
    saved.iter().filter_map(|saved| saved.checkpoint.as_deref()).collect()
}

/// What must not depend on where a task ran.
fn same(one: &Execution, other: &Execution) {
    assert_eq!(one.end, other.end);
    assert_eq!(one.fuel, other.fuel);
    assert_eq!(one.output, other.output);
}

fn resumed() {
    let counting = counting(40_000_000);
    let quiet = job(&counting);
    let (reference, told) = run(&quiet, whole());
    assert_eq!(exit(&reference), Exit::Code(0));
    let [Saved { checkpoint: None, roots, fuel, .. }] = &told[..] else {
        panic!("roots are told before the end, and no checkpoint so soon: {told:?}");
    };
    assert!(roots.len() >= 4, "{} segments", roots.len());
    assert!(*fuel < reference.fuel);
    let output = &reference.output;
    assert_eq!(output.stdout.len(), 24 * (roots.len() + 1) + 12, "streams go on");
    assert_eq!(output.files[0].content.len(), 8 * (roots.len() + 1), "files go on");
    let parts: Vec<_> = output.stdout.chunks(24).take(2).map(|part| &part[8..16]).collect();
    assert_ne!(parts[0], parts[1], "random bytes go on");

    let mut eager = job(&counting);
    eager.save_every = Span::ZERO;
    let (again, told) = run(&eager, whole());
    same(&again, &reference);
    let objects = objects(&told);
    assert!(!objects.is_empty() && objects.len() <= roots.len());
    for object in objects {
        assert!(roots.contains(&Guid::of(object)), "a root names its checkpoint");
        let part = from(&quiet, object);
        let (resumed, told) = run(&quiet, Order { part, ..whole() });
        same(&resumed, &reference);
        assert_eq!(told.last().map(|saved| &saved.roots), Some(roots), "one chain");
    }
}

fn component() {
    let text = r#"(component
      (import "isos:host/checkpoint@0.1.0" (instance $host
        (type $refused' (enum "too-large"))
        (export "refused" (type $refused (eq $refused')))
        (export "due" (func (result bool)))
        (export "restore" (func (result (option (list u8)))))
        (export "save" (func (param "state" (list u8)) (result (result (error $refused)))))))
      (core module $libc
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
      (core instance $libc (instantiate $libc))
      (alias export $host "due" (func $due))
      (alias export $host "restore" (func $restore))
      (alias export $host "save" (func $save))
      (core func $due' (canon lower (func $due)))
      (core func $restore'
        (canon lower (func $restore) (memory $libc "memory") (realloc (func $libc "realloc"))))
      (core func $save' (canon lower (func $save) (memory $libc "memory")))
      (core module $main
        (import "libc" "memory" (memory 1))
        (import "host" "due" (func $due (result i32)))
        (import "host" "restore" (func $restore (param i32)))
        (import "host" "save" (func $save (param i32 i32 i32)))
        (func (export "run") (result i32)
          (call $restore (i32.const 16))
          (if (i32.load8_u (i32.const 16))
            (then (i64.store (i32.const 200) (i64.load (i32.load (i32.const 20))))))
          (loop $on
            (i64.store (i32.const 200) (i64.add (i64.load (i32.const 200)) (i64.const 1)))
            (if (i64.eqz (i64.and (i64.load (i32.const 200)) (i64.const 0xffff)))
              (then (if (call $due) (then
                (call $save (i32.const 200) (i32.const 8) (i32.const 32))
                (return (i32.const 1))))))
            (br_if $on (i64.lt_u (i64.load (i32.const 200)) (i64.const 40000000))))
          (i32.const 0)))
      (core instance $main (instantiate $main
        (with "libc" (instance $libc))
        (with "host" (instance
          (export "due" (func $due'))
          (export "restore" (func $restore'))
          (export "save" (func $save'))))))
      (func $run (result (result)) (canon lift (core func $main "run")))
      (instance $command (export "run" (func $run)))
      (export "wasi:cli/run@0.2.12" (instance $command)))"#;
    let mut job = job(text);
    job.save_every = Span::ZERO;
    let (reference, told) = run(&job, whole());
    assert_eq!(exit(&reference), Exit::Code(0));
    let objects = objects(&told);
    assert!(objects.len() >= 2, "{} checkpoints", objects.len());
    for object in objects {
        let part = from(&job, object);
        let (resumed, again) = run(&job, Order { part, ..whole() });
        same(&resumed, &reference);
        assert_eq!(again.last().map(|it| &it.roots), told.last().map(|it| &it.roots));
    }
}

fn foreign() {
    let mut other = job(&counting(20_000_000)).with(|spec| spec.args = vec!["other".into()]);
    other.save_every = Span::ZERO;
    let (_, told) = run(&other, whole());
    let object = objects(&told)[0].to_vec();
    let job = job(&counting(20_000_000));
    let (reference, _) = run(&job, whole());
    let mut bent = object.clone();
    bent[40] ^= 1;
    for bytes in [&object[..], &bent, b"", b"no checkpoint at all", &object[..object.len() - 1]] {
        let part = from(&job, bytes);
        same(&run(&job, Order { part, ..whole() }).0, &reference);
    }
    let missing = Part { from: Some((Guid::of(b"missing"), Bytes(7))), ..Part::default() };
    same(&run(&job, Order { part: missing, ..whole() }).0, &reference);
    let mut wrong = from(&job, &object);
    wrong.from = wrong.from.map(|(_, size)| (Guid::of(b"another content"), size));
    same(&run(&job, Order { part: wrong, ..whole() }).0, &reference);
    let size = Bytes(object_bytes_max().0 + 1);
    let huge = Part { from: Some((Guid::of(&object), size)), ..Part::default() };
    same(&run(&job, Order { part: huge, ..whole() }).0, &reference);
}

fn part() {
    let mut job = job(&counting(40_000_000));
    job.save_every = Span::ZERO;
    let (_, told) = run(&job, whole());
    let all = &told.last().expect("roots").roots;
    let first = objects(&told)[0].to_vec();
    let known = all.iter().position(|root| *root == Guid::of(&first)).expect("its root") + 1;
    let until = known as u32 + 2;
    let part = Part { until: Some(until), ..from(&job, &first) };
    let (ended, told) = run(&job, Order { part, ..whole() });
    assert_eq!(exit(&ended), Exit::Code(0));
    assert!(ended.output.stdout.is_empty() && ended.output.files.is_empty());
    let last = told.last().expect("roots are told before the end");
    assert_eq!(last.roots, all[..until as usize]);
    assert_eq!(last.fuel, ended.fuel);
}

/// Whoever handed it over told other roots, or more of them: who runs a part finds the right ones,
/// from the start on, and is not the one who is wrong.
fn forged() {
    let mut job = job(&counting(40_000_000));
    job.save_every = Span::ZERO;
    let (whole_run, told) = run(&job, whole());
    let all = told.last().expect("roots").roots.clone();
    let first = objects(&told)[0].to_vec();
    let known = all.iter().position(|root| *root == Guid::of(&first)).expect("its root") + 1;
    let good = Part { chain: Some(chain_of(&all[..known])), ..from(&job, &first) };
    let until = Some(known as u32);
    let told_other = Some(chain_of(&[&[Guid::of(b"other")], &all[1..known]].concat()));
    let told_more = Some(chain_of(&all[..=known]));
    let parts = [
        Part { until: Some(known as u32 + 1), ..good },
        Part { until, chain: told_other, ..good },
        Part { until, chain: told_more, ..good },
        // It says that there is nothing left to be run.
        Part { until, ..good },
        Part { until, chain: None, ..good },
    ];
    for part in parts {
        let (ended, told) = run(&job, Order { part, ..whole() });
        let last = told.last().expect("roots are told before the end");
        assert_eq!(last.roots, all[..part.until.expect("a part") as usize]);
        assert_eq!((last.fuel, exit(&ended)), (ended.fuel, Exit::Code(0)));
    }
    // Who goes on from the last checkpoint has saved what is in it.
    let last = objects(&told).last().expect("one at least").to_vec();
    let (ended, told) = run(&job, Order { part: from(&job, &last), ..whole() });
    same(&ended, &whole_run);
    let told = told.last().expect("roots are told");
    assert!(told.fuel.0 >= told.roots.len() as u64 * SEGMENT_FUEL_MIN.0, "{}", told.fuel);
}

fn refused() {
    let text = |length: u32| {
        program(&format!(
            r#"(func $codes (export "_start")
              (if (memory.grow (i32.const 300)) (then))
              (if (call $save (i32.const 0) (i32.const 8)) (then (call $exit (i32.const 9))))
              (if (call $due) (then (call $exit (i32.const 8))))
              (loop $on (br_if $on (i32.eqz (call $due))))
              (call $exit (call $save (i32.const 0) (i32.const {length}))))"#
        ))
    };
    assert_eq!(exit(&job(&text((16 << 20) + 1)).run()), Exit::Code(1), "too large");
    assert_eq!(exit(&job(&text(u32::MAX)).run()), Exit::Code(2), "behind the end of memory");
}

/// Counts in memory, a little at each step, and prints at the end: the count, how often it was
/// initialized, and a global, which begins anew with each segment.
fn stepping(steps: u64) -> String {
    crate::programs::program(&format!(
        r#"(global $junk (mut i32) (i32.const 0))
        (func (export "_initialize")
          (i64.store (i32.const 208) (i64.add (i64.load (i32.const 208)) (i64.const 1))))
        (func (export "isos_step") (result i32)
          (global.set $junk (i32.add (global.get $junk) (i32.const 1)))
          (loop $on
            (i64.store (i32.const 200) (i64.add (i64.load (i32.const 200)) (i64.const 1)))
            (br_if $on (i64.ne (i64.and (i64.load (i32.const 200)) (i64.const 0xffff))
              (i64.const 0))))
          (if (i64.lt_u (i64.load (i32.const 200)) (i64.const {steps}))
            (then (return (i32.const 1))))
          (i32.store (i32.const 216) (global.get $junk))
          (call $print (i32.const 200) (i32.const 20))
          (i32.const 0))"#
    ))
}

fn stepped() {
    const STEPS: u64 = 40_000_000;
    let quiet = job(&stepping(STEPS));
    let (reference, told) = run(&quiet, whole());
    assert_eq!(exit(&reference), Exit::Code(0));
    let roots = &told.last().expect("roots are told before the end").roots;
    assert!(roots.len() >= 4, "{} segments", roots.len());
    let printed = &reference.output.stdout;
    let number = |at: usize| u64::from_le_bytes(printed[at..at + 8].try_into().unwrap());
    let steps = STEPS.next_multiple_of(1 << 16);
    assert_eq!((number(0), number(8)), (steps, 1), "memory goes on, and it is initialized once");
    let junk = u32::from_le_bytes(printed[16..20].try_into().unwrap());
    assert!(u64::from(junk) < (steps >> 16) / roots.len() as u64 * 2, "globals begin anew: {junk}");

    let mut eager = job(&stepping(STEPS));
    eager.save_every = Span::ZERO;
    let (again, told) = run(&eager, whole());
    same(&again, &reference);
    for object in objects(&told) {
        let part = from(&quiet, object);
        let (resumed, told) = run(&quiet, Order { part, ..whole() });
        same(&resumed, &reference);
        assert_eq!(told.last().map(|saved| &saved.roots), Some(roots), "one chain");
    }
}

fn stepped_oddly() {
    // More in memory than a checkpoint may have: it is not saved, and goes on.
    let large = r#"(module (memory (export "memory") 300)
        (func (export "isos_step") (result i32)
          (if (i32.eqz (i32.load (i32.const 0)))
            (then (memory.fill (i32.const 0) (i32.const 1) (i32.const 19660800))))
          (loop $on
            (i64.store (i32.const 200) (i64.add (i64.load (i32.const 200)) (i64.const 1)))
            (br_if $on (i64.ne (i64.and (i64.load (i32.const 200)) (i64.const 0xfffff))
              (i64.const 0))))
          (i32.store (i32.const 8) (i32.sub (i32.load (i32.const 8)) (i32.const 1)))
          (i32.ne (i32.load (i32.const 8)) (i32.const 0x010100f0))))"#;
    let (ended, told) = run(&job(large), whole());
    assert_eq!(exit(&ended), Exit::Code(0));
    assert!(told.is_empty(), "nothing was saved");

    let forever = r#"(module (memory (export "memory") 1)
        (func (export "isos_step") (result i32) (i32.const 7)))"#;
    let short = job(forever).with(|spec| spec.fuel = Fuel(1_000_000));
    assert_eq!(exit(&short.run()), Exit::OutOfFuel);
    let trap = r#"(module (memory (export "memory") 1)
        (func (export "isos_step") (result i32) unreachable))"#;
    assert!(matches!(exit(&job(trap).run()), Exit::Trap(_)));

    // At each start it takes a page more than it had: wrong, and so on every host.
    let growing = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $start (drop (call $random (i32.const 0) (i32.const 1)))
          (drop (memory.grow (i32.and (i32.load8_u (i32.const 0)) (i32.const 63)))))
        (start $start)
        (func (export "isos_step") (result i32)
          (loop $on
            (i64.store (i32.const 200) (i64.add (i64.load (i32.const 200)) (i64.const 1)))
            (br_if $on (i64.ne (i64.and (i64.load (i32.const 200)) (i64.const 0xfffff))
              (i64.const 0))))
          (i64.lt_u (i64.load (i32.const 200)) (i64.const 100000000))))"#;
    let (one, _) = run(&job(growing), whole());
    let (other, _) = run(&job(growing), whole());
    same(&one, &other);

    let refused = |text: &str| refusal(&wat::parse_str(text).expect("good text"));
    let step = |gives: &str| {
        format!(
            r#"(module (memory (export "memory") 1)
            (func (export "isos_step") {gives} unreachable))"#
        )
    };
    assert!(refused(&step("")).contains("() -> i32"));
    assert!(refused(&step("(param i32) (result i32)")).contains("() -> i32"));
    let hidden = r#"(module (memory 1) (func (export "isos_step") (result i32) unreachable))"#;
    assert!(refused(hidden).contains("export its memory"));
    let both = program(r#"(func (export "isos_step") (result i32) (i32.const 0))"#);
    assert!(refused(&both).contains("imports no isos:host/checkpoint"));
}

fn out_of_fuel() {
    let fuel = Fuel(3 * SEGMENT_FUEL_MIN.0 + 1_234_567);
    let mut job = job(&counting(1 << 40)).with(|spec| spec.fuel = fuel);
    job.save_every = Span::ZERO;
    let (reference, told) = run(&job, whole());
    assert_eq!((exit(&reference), reference.fuel), (Exit::OutOfFuel, fuel));
    let part = from(&job, objects(&told)[0]);
    same(&run(&job, Order { part, ..whole() }).0, &reference);
}

fn rust() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guest/modules/");
    let mersenne = std::fs::read(format!("{folder}mersenne.wasm")).expect("a module");
    let mut job = shared().job(&mersenne).with(|spec| spec.args = vec!["4423".into()]);
    job.save_every = Span::ZERO;
    let (reference, told) = run(&job, whole());
    assert_eq!(stdout(&reference.output), "M4423 is prime\n");
    let object = objects(&told)[0];
    assert!(object.len() < 2_048, "some hundred bytes: {}", object.len());
    let part = from(&job, object);
    same(&run(&job, Order { part, ..whole() }).0, &reference);
}
