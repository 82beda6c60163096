;; Tries to create the file "mine" in /in, /out and /tmp (all under descriptor 3, the root), and
;; to write "x" to it. Its exit code has bit 0 set when /in took it, bit 1 for /out, bit 2 for
;; /tmp.
;;
;; Expected: exit code 6: /in is read-only.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\01\00\00\00")
  (data (i32.const 32) "x")
  (data (i32.const 64) "in/mine")
  (data (i32.const 80) "out/mine")
  (data (i32.const 96) "tmp/mine")
  (global $took (mut i32) (i32.const 0))
  (func $try (param $path i32) (param $length i32) (param $bit i32)
    ;; Create (flag 1) with the right to write (bit 6).
    (if (i32.eqz (call $path_open (i32.const 3) (i32.const 0)
          (local.get $path) (local.get $length)
          (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 128)))
      (then
        (if (i32.eqz (call $fd_write (i32.load (i32.const 128)) (i32.const 0) (i32.const 1)
              (i32.const 136)))
          (then (global.set $took (i32.or (global.get $took) (local.get $bit))))))))
  (func (export "_start")
    (call $try (i32.const 64) (i32.const 7) (i32.const 1))
    (call $try (i32.const 80) (i32.const 8) (i32.const 2))
    (call $try (i32.const 96) (i32.const 8) (i32.const 4))
    (call $proc_exit (global.get $took))))
