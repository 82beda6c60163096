;; Writes the file /out/huge, 1 MiB at a time, until a write is refused or cut short; then
;; leaves with code 0.
;;
;; Expected: the task is ended by the limit on output. The host keeps its disk.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 32)
  (data (i32.const 16) "out/huge")
  ;; One vector at 8: 1048576 bytes from 65536 on.
  (data (i32.const 8) "\00\00\01\00\00\00\10\00")
  (func (export "_start")
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 8)
          (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 128))
      (then (call $proc_exit (i32.const 1))))
    (loop $more
      (if (call $fd_write (i32.load (i32.const 128)) (i32.const 8) (i32.const 1)
            (i32.const 136))
        (then (call $proc_exit (i32.const 0))))
      (if (i32.ne (i32.load (i32.const 136)) (i32.const 1048576))
        (then (call $proc_exit (i32.const 0))))
      (br $more))))
