;; Creates empty files in /out for ever: f0000000, f0000001 and so on (eight hexadecimal
;; digits after the f), until one is refused; then leaves with code 0.
;;
;; Expected: the task is ended by the limit on files. The host keeps its disk.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "out/f")
  (data (i32.const 16) "0123456789abcdef")
  ;; Writes the digits of a number behind the f.
  (func $name (param $n i32)
    (local $at i32)
    (local.set $at (i32.const 76))
    (loop $digit
      (i32.store8 (local.get $at)
        (i32.load8_u (i32.add (i32.const 16) (i32.and (local.get $n) (i32.const 15)))))
      (local.set $n (i32.shr_u (local.get $n) (i32.const 4)))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (br_if $digit (i32.gt_u (local.get $at) (i32.const 68)))))
  (func (export "_start")
    (local $n i32)
    (loop $more
      (call $name (local.get $n))
      (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 13)
            (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 128))
        (then (call $proc_exit (i32.const 0))))
      (drop (call $fd_close (i32.load (i32.const 128))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br $more))))
