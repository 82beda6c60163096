//! The file system that programs see, through the functions that they call.

use isos_base::Bytes;
use isos_base::task::{Exit, Fault};

use crate::world::{Test, exit, job, stdout};

pub(crate) const TESTS: &[Test] = &[
    ("an input is read and copied to an output", copies),
    ("each task sees its own file and no other's", own_file),
    ("folders are listed sorted and without what lies beside the inputs", listing),
    ("a missing or cut input is a fault of the host", missing),
    ("a symbolic link in the folder of inputs is not followed", links),
    ("the rules of the file system", rules),
    ("a write far behind the end is refused before memory is taken", far),
    ("files without end are stopped at the limit", many),
    ("files under /tmp are forgotten and have their own quota", temporary),
];

const PRELUDE: &str = r#"
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir"
    (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory"
    (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 20)
  (func $expect (param $wanted i32) (param $got i32) (param $line i32)
    (if (i32.ne (local.get $wanted) (local.get $got))
      (then (call $exit
        (i32.add (i32.mul (local.get $line) (i32.const 1000)) (local.get $got))))))
  ;; Opens a path of "/"; the descriptor is left at address 0.
  (func $open (param $path i32) (param $length i32) (param $how i32) (param $write i32)
    (result i32)
    (call $path_open (i32.const 3) (i32.const 0) (local.get $path) (local.get $length)
      (local.get $how)
      (select (i64.const 66) (i64.const 2) (local.get $write)) (i64.const 0)
      (i32.const 0) (i32.const 0)))
  ;; One buffer at 1024: reads up to, or writes, that many bytes; the count is left at 12.
  (func $list (param $length i32)
    (i32.store (i32.const 4) (i32.const 1024))
    (i32.store (i32.const 8) (local.get $length)))
  (func $read (param $fd i32) (param $length i32) (result i32)
    (call $list (local.get $length))
    (call $fd_read (local.get $fd) (i32.const 4) (i32.const 1) (i32.const 12)))
  (func $write (param $fd i32) (param $length i32) (result i32)
    (call $list (local.get $length))
    (call $fd_write (local.get $fd) (i32.const 4) (i32.const 1) (i32.const 12)))
"#;

fn program(body: &str) -> String {
    format!("(module {PRELUDE} {body})")
}

/// Copies `/in/<name>` to `/out/copy/of/it` and to standard output.
fn copy(name: &str) -> String {
    let path = format!("in/{name}");
    program(&format!(
        r#"(data (i32.const 100) "{path}") (data (i32.const 200) "out/copyout/copy/ofout/copy/of/it")
        (func (export "_start")
          (call $expect (i32.const 0)
            (call $open (i32.const 100) (i32.const {length}) (i32.const 0) (i32.const 0)) (i32.const 1))
          (call $expect (i32.const 0) (call $read (i32.load (i32.const 0)) (i32.const 60000)) (i32.const 2))
          (call $expect (i32.const 0) (call $mkdir (i32.const 3) (i32.const 200) (i32.const 8)) (i32.const 3))
          (call $expect (i32.const 0) (call $mkdir (i32.const 3) (i32.const 208) (i32.const 11)) (i32.const 4))
          (call $expect (i32.const 0)
            (call $open (i32.const 219) (i32.const 14) (i32.const 9) (i32.const 1)) (i32.const 5))
          (call $expect (i32.const 0)
            (call $write (i32.load (i32.const 0)) (i32.load (i32.const 12))) (i32.const 6))
          (call $expect (i32.const 0)
            (call $write (i32.const 1) (i32.load (i32.const 12))) (i32.const 7)))"#,
        length = path.len(),
    ))
}

fn copies() {
    let content: Vec<u8> = (0..50_000u32).map(|n| n as u8).collect();
    let done = job(&copy("genes/x.fa")).input("genes/x.fa", &content).run();
    assert_eq!(exit(&done), Exit::Code(0));
    assert_eq!(done.output.stdout, content);
    assert_eq!(done.output.files.len(), 1);
    assert_eq!(done.output.files[0].path, "copy/of/it");
    assert_eq!(done.output.files[0].content, content);
}

fn own_file() {
    let each = job(&copy("d/mine")).input("d/x", b"shared").with(|spec| spec.count = 3);
    let orders = vec![
        each.own(0, "d/mine", b"first"),
        each.own(1, "d/mine", b"second"),
        each.own(2, "other", b"third"),
    ];
    let done = each.orders(orders);
    assert_eq!(stdout(&done[0].output), "first");
    assert_eq!(stdout(&done[1].output), "second", "not the file of another task at its path");
    // Task 2 has another file, so this one does not exist for it: ENOENT at line 1.
    assert_eq!(exit(&done[2]), Exit::Code(1_044));
    let shared = job(&copy("d/x")).input("d/x", b"shared");
    let done = shared.orders(vec![shared.own(0, "d/mine", b"first")]).remove(0);
    assert_eq!(stdout(&done.output), "shared", "what lies beside it is still there");
    for path in ["../x", "/x", ""] {
        let refused = each.orders(vec![each.own(0, path, b"first")]).remove(0);
        assert!(matches!(refused.end, Err(Fault::NoInput(_))), "{refused:?}");
    }
}

fn listing() {
    let list = program(
        r#"(data (i32.const 100) "in")
        (func (export "_start")
          (call $expect (i32.const 0)
            (call $open (i32.const 100) (i32.const 2) (i32.const 2) (i32.const 0)) (i32.const 1))
          (call $expect (i32.const 0)
            (call $fd_readdir (i32.load (i32.const 0)) (i32.const 1024) (i32.const 4096)
              (i64.const 0) (i32.const 12)) (i32.const 2))
          (drop (call $write (i32.const 1) (i32.load (i32.const 12)))))"#,
    );
    let list = job(&list).file("secret", b"").input("b", b"2").input("c/d", b"").input("a", b"");
    let bytes = list.run().output.stdout;
    let mut names = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((head, more)) = rest.split_at_checked(24) {
        let (name, more) = more.split_at(head[16].into());
        names.push((String::from_utf8_lossy(name).into_owned(), head[20]));
        rest = more;
    }
    let name = |name: &str, kind| (name.to_owned(), kind);
    assert_eq!(names, [name(".", 3), name("..", 3), name("a", 4), name("b", 4), name("c", 3)]);
}

fn missing() {
    let whole = job(&copy("x")).input("x", b"content");
    std::fs::write(whole.inputs.path().join("x"), b"cont").expect("a shorter file");
    let Err(Fault::NoInput(why)) = whole.run().end else { panic!("no fault") };
    assert_eq!(why, "/in/x: 4 bytes where 7 belong");
    std::fs::remove_file(whole.inputs.path().join("x")).expect("no file");
    assert!(matches!(whole.run().end, Err(Fault::NoInput(_))));
}

fn links() {
    let link = job(&copy("x")).input("x", b"content").input("d/x", b"content");
    let path = link.inputs.path().join("x");
    std::fs::remove_file(&path).expect("no file");
    std::os::unix::fs::symlink(link.inputs.path().join("d/x"), &path).expect("a link");
    assert!(matches!(link.run().end, Err(Fault::NoInput(_))));
}

fn rules() {
    let lines = [
        (
            "reading what is not there",
            44,
            r#"(call $open (i32.const 100) (i32.const 8) (i32.const 0) (i32.const 0))"#,
        ),
        (
            "creating under /in",
            69,
            r#"(call $open (i32.const 120) (i32.const 6) (i32.const 1) (i32.const 1))"#,
        ),
        (
            "creating beside the three",
            69,
            r#"(call $open (i32.const 130) (i32.const 4) (i32.const 1) (i32.const 1))"#,
        ),
        (
            "opening an input to write",
            69,
            r#"(call $open (i32.const 140) (i32.const 4) (i32.const 0) (i32.const 1))"#,
        ),
        (
            "creating under /out",
            0,
            r#"(call $open (i32.const 100) (i32.const 8) (i32.const 5) (i32.const 1))"#,
        ),
        (
            "creating it again",
            20,
            r#"(call $open (i32.const 100) (i32.const 8) (i32.const 5) (i32.const 1))"#,
        ),
        (
            "a file as a folder",
            54,
            r#"(call $open (i32.const 100) (i32.const 10) (i32.const 0) (i32.const 0))"#,
        ),
        (
            "leaving by dots",
            76,
            r#"(call $open (i32.const 150) (i32.const 17) (i32.const 0) (i32.const 0))"#,
        ),
        (
            "an absolute path",
            76,
            r#"(call $open (i32.const 170) (i32.const 11) (i32.const 0) (i32.const 0))"#,
        ),
        (
            "dots that stay inside",
            0,
            r#"(call $open (i32.const 190) (i32.const 14) (i32.const 0) (i32.const 0))"#,
        ),
        (
            "moving across",
            75,
            r#"(call $rename (i32.const 3) (i32.const 100) (i32.const 8) (i32.const 3) (i32.const 210) (i32.const 5))"#,
        ),
        ("removing an input", 69, r#"(call $unlink (i32.const 3) (i32.const 140) (i32.const 4))"#),
        ("removing /out", 69, r#"(call $rmdir (i32.const 3) (i32.const 100) (i32.const 3))"#),
        ("removing a file", 0, r#"(call $unlink (i32.const 3) (i32.const 100) (i32.const 8))"#),
        (
            "a pointer behind memory",
            21,
            r#"(call $open (i32.const -4) (i32.const 8) (i32.const 0) (i32.const 0))"#,
        ),
        ("a closed descriptor", 8, r#"(call $fd_close (i32.const 77))"#),
    ];
    let body: String = (1..)
        .zip(lines)
        .map(|(line, (_, errno, call))| {
            format!("(call $expect (i32.const {errno}) {call} (i32.const {line}))")
        })
        .collect();
    let rules = program(&format!(
        r#"(data (i32.const 100) "out/fileXY") (data (i32.const 108) "/x")
        (data (i32.const 120) "in/new") (data (i32.const 130) "file") (data (i32.const 140) "in/x")
        (data (i32.const 150) "../../etc/passwd\00") (data (i32.const 170) "/etc/passwd")
        (data (i32.const 190) "out/../in/./x/") (data (i32.const 210) "tmp/x")
        (func (export "_start") {body})"#
    ))
    .replace("../../etc/passwd\\00", "in/../../../passw")
    .replace("out/../in/./x/", "out/..//in/./x");
    let done = job(&rules).input("x", b"content").run();
    if let Exit::Code(code @ 1..) = exit(&done) {
        let (line, errno) = (code / 1_000, code % 1_000);
        panic!("{}: answered {errno}", lines[line as usize - 1].0);
    }
    assert_eq!(exit(&done), Exit::Code(0));
    assert!(done.output.files.is_empty());
}

/// Opens a file and writes a byte at 2^62; its exit code is the answer.
fn far_write(path: &str) -> Exit {
    let far = program(&format!(
        r#"(data (i32.const 100) "{path}")
        (func (export "_start")
          (call $expect (i32.const 0)
            (call $open (i32.const 100) (i32.const 7) (i32.const 1) (i32.const 1)) (i32.const 1))
          (call $list (i32.const 1))
          (call $exit (call $pwrite (i32.load (i32.const 0)) (i32.const 4) (i32.const 1)
            (i64.const 0x4000000000000000) (i32.const 12))))"#
    ));
    exit(&job(&far).run())
}

fn far() {
    assert_eq!(far_write("out/far"), Exit::OutputTooLarge);
    assert_eq!(far_write("tmp/far"), Exit::Code(51));
}

fn many() {
    // Counts up in the name, which is opened and closed, until it is refused.
    let many = |folder: &str| {
        let many = program(&format!(
            r#"(data (i32.const 100) "{folder}/aaaa")
            (func (export "_start") (local $n i32) (local $answer i32)
              (loop $more
                (i32.store (i32.const 104) (i32.add (i32.const 0x61616161)
                  (i32.or (i32.and (local.get $n) (i32.const 15))
                    (i32.or (i32.shl (i32.and (local.get $n) (i32.const 0xf0)) (i32.const 4))
                    (i32.or (i32.shl (i32.and (local.get $n) (i32.const 0xf00)) (i32.const 8))
                      (i32.shl (i32.and (local.get $n) (i32.const 0x7000)) (i32.const 12)))))))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (local.set $answer
                  (call $open (i32.const 100) (i32.const 8) (i32.const 5) (i32.const 1)))
                (call $expect (i32.const 0) (local.get $answer) (i32.const 1))
                (call $expect (i32.const 0) (call $fd_close (i32.load (i32.const 0))) (i32.const 2))
                (br_if $more (i32.lt_u (local.get $n) (i32.const 20000)))))"#
        ));
        job(&many).run()
    };
    let done = many("out");
    assert_eq!(exit(&done), Exit::OutputTooLarge);
    assert_eq!(done.output.files.len(), isos_base::limits::OUTPUT_FILES_MAX);
    assert_eq!(exit(&many("tmp")), Exit::Code(0));
}

fn temporary() {
    // Writes 64 KiB at a time until it is refused; its exit code is the answer then.
    let fill = program(
        r#"(data (i32.const 100) "tmp/big")
        (func (export "_start") (local $answer i32)
          (call $expect (i32.const 0)
            (call $open (i32.const 100) (i32.const 7) (i32.const 1) (i32.const 1)) (i32.const 1))
          (loop $more
            (local.set $answer (call $write (i32.load (i32.const 0)) (i32.const 65536)))
            (br_if $more (i32.eqz (local.get $answer))))
          (call $exit (local.get $answer)))"#,
    );
    let done = job(&fill).with(|spec| spec.memory = Bytes::mib(4)).run();
    assert_eq!(exit(&done), Exit::Code(51));
    assert!(done.output.files.is_empty());
}
