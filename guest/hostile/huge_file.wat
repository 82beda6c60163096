;; Writes the file /out/huge, 1 MiB at a time, until a write is refused or cut short; then
;; leaves with code 0.
;;
;; Expected: refused at the limit on output, exit code 0; or the task is ended by that
;; limit. The host keeps its disk.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 32)
  (data (i32.const 0) "huge")
  ;; One vector at 8: 1048576 bytes from 65536 on.
  (data (i32.const 8) "\00\00\01\00\00\00\10\00")
  (data (i32.const 260) "/out")
  ;; The descriptor of the folder "/out", or 0 when there is none among 3 to 7.
  (func $out (result i32)
    (local $folder i32)
    (local.set $folder (i32.const 3))
    (loop $next
      (i32.store (i32.const 256) (i32.const 0))
      (if (i32.and
            (i32.eqz (call $fd_prestat_dir_name (local.get $folder) (i32.const 256)
              (i32.const 4)))
            (i32.eq (i32.load (i32.const 256)) (i32.load (i32.const 260))))
        (then (return (local.get $folder))))
      (local.set $folder (i32.add (local.get $folder) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $folder) (i32.const 8))))
    (i32.const 0))
  (func (export "_start")
    (if (call $path_open (call $out) (i32.const 0) (i32.const 0) (i32.const 4)
          (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 128))
      (then (call $proc_exit (i32.const 1))))
    (loop $more
      (if (call $fd_write (i32.load (i32.const 128)) (i32.const 8) (i32.const 1)
            (i32.const 136))
        (then (call $proc_exit (i32.const 0))))
      (if (i32.ne (i32.load (i32.const 136)) (i32.const 1048576))
        (then (call $proc_exit (i32.const 0))))
      (br $more))))
