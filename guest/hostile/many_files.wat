;; Creates empty files in /out for ever: f0000000, f0000001 and so on (eight hexadecimal
;; digits after the f), until one is refused; then leaves with code 0.
;;
;; Expected: refused at the limit on files, exit code 0; or the task is ended by that limit
;; or by its fuel. The host keeps its disk.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "f")
  (data (i32.const 16) "0123456789abcdef")
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
  ;; Writes the digits of a number behind the f.
  (func $name (param $n i32)
    (local $at i32)
    (local.set $at (i32.const 8))
    (loop $digit
      (i32.store8 (local.get $at)
        (i32.load8_u (i32.add (i32.const 16) (i32.and (local.get $n) (i32.const 15)))))
      (local.set $n (i32.shr_u (local.get $n) (i32.const 4)))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (br_if $digit (local.get $at))))
  (func (export "_start")
    (local $out i32) (local $n i32)
    (local.set $out (call $out))
    (loop $more
      (call $name (local.get $n))
      (if (call $path_open (local.get $out) (i32.const 0) (i32.const 0) (i32.const 9)
            (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 128))
        (then (call $proc_exit (i32.const 0))))
      (drop (call $fd_close (i32.load (i32.const 128))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br $more))))
