;; Writes one byte at offset 2^62 of /out/far (out/far under descriptor 3, the root), a sparse
;; file. Leaves with the error number of the write, or with 100 when the file cannot be made.
;;
;; Expected: the task is ended by the limit on output; the host keeps its memory and its disk.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "out/far")
  (data (i32.const 8) "\00\00\00\00\01\00\00\00")
  (func (export "_start")
    ;; Create, with the rights to seek (bit 2) and to write (bit 6).
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 7)
          (i32.const 1) (i64.const 68) (i64.const 68) (i32.const 0) (i32.const 128))
      (then (call $proc_exit (i32.const 100))))
    (call $proc_exit
      (call $fd_pwrite (i32.load (i32.const 128)) (i32.const 8) (i32.const 1)
        (i64.const 0x4000000000000000) (i32.const 136)))))
