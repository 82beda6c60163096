;; Writes one byte at offset 2^62 of /out/far, a sparse file. Leaves with the error number
;; of the write, or with 100 when the file cannot be made.
;;
;; Expected: the write is refused (exit code not 0 and not 100) and the host keeps its
;; memory and its disk.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "far")
  (data (i32.const 8) "\00\00\00\00\01\00\00\00")
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
    ;; Create, with the rights to seek (bit 2) and to write (bit 6).
    (if (call $path_open (call $out) (i32.const 0) (i32.const 0) (i32.const 3)
          (i32.const 1) (i64.const 68) (i64.const 68) (i32.const 0) (i32.const 128))
      (then (call $proc_exit (i32.const 100))))
    (call $proc_exit
      (call $fd_pwrite (i32.load (i32.const 128)) (i32.const 8) (i32.const 1)
        (i64.const 0x4000000000000000) (i32.const 136)))))
