;; Tries to create the file "mine" in every folder (descriptors 3 to 7), and to write "x" to
;; it. Its exit code has bit N set when folder number N (0 for descriptor 3) took it.
;;
;; Expected: no bit for /in, which is read-only; bits for /out and /tmp. With /in, /out,
;; /tmp as descriptors 3, 4, 5: exit code 6.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\01\00\00\00")
  (data (i32.const 32) "x")
  (data (i32.const 64) "mine")
  (func (export "_start")
    (local $folder i32) (local $took i32)
    (loop $next
      ;; Create (flag 1) with the right to write (bit 6).
      (if (i32.eqz (call $path_open (i32.add (local.get $folder) (i32.const 3)) (i32.const 0)
            (i32.const 64) (i32.const 4)
            (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 128)))
        (then
          (if (i32.eqz (call $fd_write (i32.load (i32.const 128)) (i32.const 0) (i32.const 1)
                (i32.const 136)))
            (then
              (local.set $took
                (i32.or (local.get $took) (i32.shl (i32.const 1) (local.get $folder))))))))
      (local.set $folder (i32.add (local.get $folder) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $folder) (i32.const 5))))
    (call $proc_exit (local.get $took))))
