;; Prints the eight bytes of 0/0, of the square root of -1 and of infinity minus infinity,
;; whose sign and payload differ between processors.
;;
;; Expected: 24 bytes. Under profile D2 each NaN is canonical: 00 00 00 00 00 00 f8 7f.
;; Under D1 they may have the sign set (x86-64), equally on all hosts of one kind.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\18\00\00\00")
  ;; Read at run time, so that no compiler computes the answers itself: 0, -1, infinity.
  (data (i32.const 64) "\00\00\00\00\00\00\00\00")
  (data (i32.const 72) "\00\00\00\00\00\00\f0\bf")
  (data (i32.const 80) "\00\00\00\00\00\00\f0\7f")
  (func (export "_start")
    (f64.store (i32.const 32)
      (f64.div (f64.load (i32.const 64)) (f64.load (i32.const 64))))
    (f64.store (i32.const 40) (f64.sqrt (f64.load (i32.const 72))))
    (f64.store (i32.const 48)
      (f64.sub (f64.load (i32.const 80)) (f64.load (i32.const 80))))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))
