;; Tries to open files outside, for reading, from every folder it was given (descriptors 3
;; to 7): by dots, by absolute paths, by doubled slashes, by nothing at all. Counts what
;; opened as its exit code.
;;
;; Expected: exit code 0: nothing opened.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 256) "../../etc/passwd")
  (data (i32.const 272) "/etc/passwd")
  (data (i32.const 283) "../../../../../../proc/self/environ")
  (data (i32.const 318) "in/../../etc/passwd")
  (data (i32.const 337) "./../etc/hostname")
  (data (i32.const 354) "")
  (data (i32.const 354) "//etc//passwd")
  (global $opened (mut i32) (i32.const 0))
  (func $try (param $path i32) (param $length i32)
    (local $folder i32)
    (local.set $folder (i32.const 3))
    (loop $next
      ;; Follow links; no flags; the right to read (bit 1).
      (if (i32.eqz (call $path_open (local.get $folder) (i32.const 1)
            (local.get $path) (local.get $length)
            (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 128)))
        (then (global.set $opened (i32.add (global.get $opened) (i32.const 1)))))
      (local.set $folder (i32.add (local.get $folder) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $folder) (i32.const 8)))))
  (func (export "_start")
    (call $try (i32.const 256) (i32.const 16))
    (call $try (i32.const 272) (i32.const 11))
    (call $try (i32.const 283) (i32.const 35))
    (call $try (i32.const 318) (i32.const 19))
    (call $try (i32.const 337) (i32.const 17))
    (call $try (i32.const 354) (i32.const 0))
    (call $try (i32.const 354) (i32.const 13))
    (call $proc_exit (global.get $opened))))
