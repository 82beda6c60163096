//! Every function that a program may import, with arguments that no compiler would make.

use isos_base::task::{Execution, Exit};
use isos_base::units::Fuel;
use isos_base::{Bytes, Span};

use super::{caller, survives};
use crate::world::{Test, exit, job, order, shared};

pub(crate) const TESTS: &[Test] = &[
    ("every function of preview 1 bears any arguments, the same in each run", preview_1),
    ("every function of WASI 0.2 bears any arguments, the same in each run", component),
    ("a script of calls is read from the first argument", script),
    ("no function takes a pointer that leaves memory", pointers),
    ("descriptors end at their limit and come back when they are closed", exhaustion),
    ("rights that were given up do not come back", rights),
    ("a file lives on without its name and no longer than its handle", unlinked),
    ("lists and waits of absurd length are refused at once", absurd),
    ("odd paths lead nowhere", paths),
    ("no link can be made, and nothing is one", links),
];

/// Runs tasks that draw their calls at random, in one child with two threads and once more.
fn at_random(program: &[u8], tasks: u32) -> Vec<Execution> {
    let run = || {
        let mut job = shared().job(program).input("x", b"content").with(|spec| {
            spec.count = tasks;
            spec.fuel = Fuel(20_000_000);
            spec.memory = Bytes::mib(8);
            spec.output_max = Bytes::mib(1);
            spec.timeout = Span::secs(120);
        });
        job.threads = 2;
        job.orders((0..tasks).map(order).collect())
    };
    let (one, two) = (run(), run());
    for (one, two) in one.iter().zip(&two) {
        assert_eq!((&one.end, one.fuel, &one.output), (&two.end, two.fuel, &two.output));
        assert!(one.end.is_ok(), "a program can do nothing that is a fault of the host: {one:?}");
        assert_ne!(one.end, Ok(Exit::Code(99)), "an answer that is no error number");
    }
    one
}

fn preview_1() {
    let done = at_random(&caller::preview_1(), 60);
    let whole = done.iter().filter(|done| done.end == Ok(Exit::Code(0))).count();
    assert!(whole > 20, "only {whole} scripts came to their end");
}

fn component() {
    // Most scripts end with the first handle that is none.
    let done = at_random(&caller::component(), 150);
    let fuel: u64 = done.iter().map(|done| done.fuel.0).max().unwrap_or(0);
    assert!(fuel > 100_000, "none got far: {fuel}");
}

fn script() {
    // Each byte is two letters; functions are chosen by their place in the table.
    let number = |wanted: &str| {
        let at = caller::PREVIEW_1.iter().position(|(name, _)| *name == wanted);
        at.expect("it is in the table") as u8
    };
    // fd_write(1, 8192 by its bytes, 1, 0): the list there is empty, so nothing is written.
    let script = [number("fd_write"), 0x61, 0xff, 0, 32, 0, 0, 0x61, 0x60];
    let args = vec![caller::text_of(&script)];
    let done = shared().job(&caller::preview_1()).with(|spec| spec.args = args).run();
    assert_eq!(exit(&done), Exit::Code(0));
    let longer = shared().job(&caller::preview_1()).run();
    assert!(done.fuel < longer.fuel);
}

const IMPORTS: &str = r#"
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_rights"
    (func $set_rights (param i32 i64 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size"
    (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread"
    (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir"
    (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link"
    (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_readlink"
    (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink"
    (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  ;; Leaves with the line and the answer when it is not the wanted one.
  (func $is (param $line i32) (param $wanted i32) (param $got i32)
    (if (i32.ne (local.get $wanted) (local.get $got)) (then (call $exit
      (i32.add (i32.mul (local.get $line) (i32.const 1000)) (local.get $got))))))
  ;; Opens a path of "/" with all rights; the descriptor is left at 0.
  (func $open (param $path i32) (param $length i32) (param $how i32) (result i32)
    (call $path_open (i32.const 3) (i32.const 0) (local.get $path) (local.get $length)
      (local.get $how) (i64.const 66) (i64.const 66) (i32.const 0) (i32.const 0)))
  (func $fd (result i32) (i32.load (i32.const 0)))
"#;

pub(super) fn program(body: &str) -> String {
    format!("(module {IMPORTS} {body})")
}

/// Lines of `(errno) call`, each of which must answer so.
fn answers(data: &str, lines: &[(i32, &str)]) {
    let body: String = (1..)
        .zip(lines)
        .map(|(line, (errno, call))| {
            format!("(call $is (i32.const {line}) (i32.const {errno}) {call})")
        })
        .collect();
    let program = program(&format!(r#"{data} (func (export "_start") {body})"#));
    let done = survives(job(&program).input("x", b"content"));
    if let Exit::Code(code @ 1_000..) = exit(&done) {
        let (line, errno) = (code as usize / 1_000, code % 1_000);
        panic!("line {line} answered {errno}: {:?}", lines[line - 1]);
    }
    assert_eq!(exit(&done), Exit::Code(0));
}

fn pointers() {
    answers(
        r#"(data (i32.const 100) "out/f")
        ;; At 200: a buffer at the end of memory that is a byte too long; at 208: one that wraps.
        (data (i32.const 200) "\ff\ff\01\00\02\00\00\00\f0\ff\ff\ff\20\00\00\00")
        ;; At 300: one buffer twice, and over this list itself.
        (data (i32.const 300) "\00\04\00\00\10\00\00\00\00\04\00\00\10\00\00\00\2c\01\00\00\20\00\00\00")"#,
        &[
            (0, "(call $open (i32.const 100) (i32.const 5) (i32.const 1))"),
            (21, "(call $write (i32.const 1) (i32.const 200) (i32.const 1) (i32.const 0x40))"),
            (21, "(call $write (i32.const 1) (i32.const 208) (i32.const 1) (i32.const 0x40))"),
            (21, "(call $write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 0x40))"),
            (21, "(call $write (i32.const 1) (i32.const 300) (i32.const 1) (i32.const -2))"),
            (21, "(call $read (call $fd) (i32.const 208) (i32.const 1) (i32.const 0x40))"),
            (0, "(call $write (call $fd) (i32.const 300) (i32.const 3) (i32.const 0x40))"),
            (0, "(call $seek (call $fd) (i64.const 0) (i32.const 0) (i32.const 0x40))"),
            (0, "(call $read (call $fd) (i32.const 300) (i32.const 3) (i32.const 0x40))"),
            (28, "(call $write (i32.const 1) (i32.const 0) (i32.const 1025) (i32.const 0x40))"),
            (28, "(call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0x40))"),
            (28, "(call $seek (call $fd) (i64.const -1) (i32.const 0) (i32.const 0x40))"),
            (28, "(call $seek (call $fd) (i64.const 0) (i32.const 3) (i32.const 0x40))"),
            (
                0,
                "(call $seek (call $fd) (i64.const 0x7fffffffffffffff) (i32.const 0) (i32.const 0x40))",
            ),
            (
                0,
                "(call $seek (call $fd) (i64.const 0x7fffffffffffffff) (i32.const 1) (i32.const 0x40))",
            ),
            (
                28,
                "(call $seek (call $fd) (i64.const 0x7fffffffffffffff) (i32.const 1) (i32.const 0x40))",
            ),
            (
                22,
                "(call $pwrite (call $fd) (i32.const 308) (i32.const 1) (i64.const -1) (i32.const 0x40))",
            ),
            (
                0,
                "(call $pread (call $fd) (i32.const 308) (i32.const 1) (i64.const -1) (i32.const 0x40))",
            ),
            (21, "(call $random (i32.const 0x1ffff) (i32.const 2))"),
            (21, "(call $random (i32.const 0) (i32.const -1))"),
            (70, "(call $seek (i32.const 1) (i64.const 0) (i32.const 1) (i32.const 0x40))"),
            (8, "(call $seek (i32.const -1) (i64.const 0) (i32.const 1) (i32.const 0x40))"),
        ],
    );
}

fn exhaustion() {
    // Its exit code is how many of one kind it could open; then it closes all and tries again.
    let greedy = |path: &str| {
        let length = path.len();
        program(&format!(
            r#"(data (i32.const 100) "{path}")
            (func $all (result i32) (local $n i32)
              (loop $more
                (if (i32.eqz (call $open (i32.const 100) (i32.const {length}) (i32.const 0)))
                  (then (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $more))))
              (local.get $n))
            (func (export "_start") (local $n i32) (local $fd i32)
              (local.set $n (call $all))
              (call $is (i32.const 1) (i32.const 33)
                (call $open (i32.const 100) (i32.const {length}) (i32.const 0)))
              (local.set $fd (i32.const 4))
              (loop $more
                (call $is (i32.const 2) (i32.const 0) (call $close (local.get $fd)))
                (call $is (i32.const 3) (i32.const 8) (call $close (local.get $fd)))
                (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $fd) (i32.const 512))))
              (call $is (i32.const 4) (local.get $n) (call $all))
              (call $exit (local.get $n)))"#
        ))
        .replace("(i64.const 66) (i64.const 66)", "(i64.const 2) (i64.const 0)")
    };
    for path in ["in/x", "out", "in"] {
        let done = survives(job(&greedy(path)).input("x", b"content"));
        assert_eq!(exit(&done), Exit::Code(508), "{path}");
    }
}

fn rights() {
    answers(
        r#"(data (i32.const 100) "out/f") (data (i32.const 200) "\00\04\00\00\10\00\00\00")"#,
        &[
            (0, "(call $open (i32.const 100) (i32.const 5) (i32.const 1))"),
            (0, "(call $set_rights (call $fd) (i64.const 0) (i64.const 0))"),
            (0, "(call $set_rights (call $fd) (i64.const -1) (i64.const -1))"),
            (8, "(call $write (call $fd) (i32.const 200) (i32.const 1) (i32.const 0x40))"),
            (8, "(call $read (call $fd) (i32.const 200) (i32.const 1) (i32.const 0x40))"),
            (8, "(call $set_size (call $fd) (i64.const 4))"),
            (8, "(call $renumber (call $fd) (i32.const 99))"),
            (8, "(call $renumber (i32.const -1) (i32.const 1))"),
            (0, "(call $renumber (call $fd) (i32.const 3))"),
            // The only folder is gone, and with it every path.
            (54, "(call $open (i32.const 100) (i32.const 5) (i32.const 0))"),
            (0, "(call $close (i32.const 3))"),
            (8, "(call $open (i32.const 100) (i32.const 5) (i32.const 0))"),
        ],
    );
}

fn unlinked() {
    answers(
        r#"(data (i32.const 100) "out/f") (data (i32.const 110) "out/g") (data (i32.const 120) "out/d")
        (data (i32.const 130) "out/d/e") (data (i32.const 140) "out/d/e/h")
        (data (i32.const 200) "\00\04\00\00\10\00\00\00")"#,
        &[
            (0, "(call $open (i32.const 100) (i32.const 5) (i32.const 1))"),
            (0, "(call $unlink (i32.const 3) (i32.const 100) (i32.const 5))"),
            (0, "(call $write (call $fd) (i32.const 200) (i32.const 1) (i32.const 0x40))"),
            (
                44,
                "(call $rename (i32.const 3) (i32.const 100) (i32.const 5) (i32.const 3) (i32.const 110) (i32.const 5))",
            ),
            (0, "(call $close (call $fd))"),
            (0, "(call $mkdir (i32.const 3) (i32.const 120) (i32.const 5))"),
            (0, "(call $mkdir (i32.const 3) (i32.const 130) (i32.const 7))"),
            (
                28,
                "(call $rename (i32.const 3) (i32.const 120) (i32.const 5) (i32.const 3) (i32.const 140) (i32.const 9))",
            ),
            (
                55,
                "(call $rename (i32.const 3) (i32.const 130) (i32.const 7) (i32.const 3) (i32.const 120) (i32.const 5))",
            ),
        ],
    );
}

fn absurd() {
    answers(
        r#"(data (i32.const 100) "out")"#,
        &[
            (
                28,
                "(call $poll (i32.const 0) (i32.const 0) (i32.const 1000000000) (i32.const 0x40))",
            ),
            (28, "(call $poll (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0x40))"),
            (
                21,
                "(call $poll (i32.const 0x1fff0) (i32.const 0) (i32.const 1024) (i32.const 0x40))",
            ),
            (0, "(call $open (i32.const 100) (i32.const 3) (i32.const 0))"),
            (
                0,
                "(call $readdir (call $fd) (i32.const 1024) (i32.const 100) (i64.const -1) (i32.const 0x40))",
            ),
            (
                0,
                "(call $readdir (call $fd) (i32.const 1024) (i32.const 0) (i64.const 0) (i32.const 0x40))",
            ),
            (
                21,
                "(call $readdir (call $fd) (i32.const 1024) (i32.const -1) (i64.const 0) (i32.const 0x40))",
            ),
            (
                54,
                "(call $readdir (i32.const 1) (i32.const 1024) (i32.const 100) (i64.const 0) (i32.const 0x40))",
            ),
            (37, "(call $open (i32.const 0) (i32.const 0x20000) (i32.const 0))"),
            (37, "(call $open (i32.const 0) (i32.const -1) (i32.const 0))"),
            (31, "(call $set_size (call $fd) (i64.const 1))"),
        ],
    );
}

fn paths() {
    let long = "n".repeat(256);
    let data = format!(
        r#"(data (i32.const 100) "out/\00x") (data (i32.const 110) "out\\x") (data (i32.const 120) "\ff\fe")
        (data (i32.const 130) "/out/x") (data (i32.const 140) "out/../../x") (data (i32.const 160) "..")
        (data (i32.const 170) "in/../out/.") (data (i32.const 190) "//") (data (i32.const 200) "out/{long}")
        (data (i32.const 500) "out/x/..") (data (i32.const 520) "etc/passwd") (data (i32.const 540) "proc/self")"#
    );
    answers(
        &data,
        &[
            (28, "(call $open (i32.const 100) (i32.const 6) (i32.const 1))"),
            (28, "(call $open (i32.const 110) (i32.const 5) (i32.const 1))"),
            (25, "(call $open (i32.const 120) (i32.const 2) (i32.const 1))"),
            (76, "(call $open (i32.const 130) (i32.const 6) (i32.const 1))"),
            (76, "(call $open (i32.const 140) (i32.const 11) (i32.const 1))"),
            (76, "(call $open (i32.const 160) (i32.const 2) (i32.const 0))"),
            (0, "(call $open (i32.const 170) (i32.const 11) (i32.const 0))"),
            (76, "(call $open (i32.const 190) (i32.const 2) (i32.const 0))"),
            (44, "(call $open (i32.const 190) (i32.const 0) (i32.const 0))"),
            (37, "(call $open (i32.const 200) (i32.const 260) (i32.const 1))"),
            (44, "(call $open (i32.const 500) (i32.const 8) (i32.const 0))"),
            (44, "(call $open (i32.const 520) (i32.const 10) (i32.const 0))"),
            (44, "(call $open (i32.const 540) (i32.const 9) (i32.const 0))"),
        ],
    );
}

fn links() {
    answers(
        r#"(data (i32.const 100) "out/f") (data (i32.const 110) "out/l") (data (i32.const 120) "/etc/passwd")"#,
        &[
            (0, "(call $open (i32.const 100) (i32.const 5) (i32.const 1))"),
            (
                58,
                "(call $symlink (i32.const 120) (i32.const 11) (i32.const 3) (i32.const 110) (i32.const 5))",
            ),
            (
                58,
                "(call $link (i32.const 3) (i32.const 1) (i32.const 100) (i32.const 5) (i32.const 3) (i32.const 110) (i32.const 5))",
            ),
            (
                28,
                "(call $readlink (i32.const 3) (i32.const 100) (i32.const 5) (i32.const 400) (i32.const 9) (i32.const 0x40))",
            ),
            (
                44,
                "(call $readlink (i32.const 3) (i32.const 110) (i32.const 5) (i32.const 400) (i32.const 9) (i32.const 0x40))",
            ),
            (44, "(call $open (i32.const 110) (i32.const 5) (i32.const 0))"),
        ],
    );
}
