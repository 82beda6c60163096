;; Prints what may differ from run to run, as raw bytes: both clocks twice (32 bytes), the
;; resolution of the first (8), and 64 random bytes.
;;
;; Expected: 104 bytes, the same in every run of the same task on every host, and other
;; random bytes in another task.
(module
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_res_get"
    (func $clock_res_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get"
    (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\68\00\00\00")
  (func (export "_start")
    ;; Clock 0 tells the date, clock 1 only goes on.
    (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 32)))
    (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 40)))
    (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 48)))
    (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 56)))
    (drop (call $clock_res_get (i32.const 0) (i32.const 64)))
    (drop (call $random_get (i32.const 72) (i32.const 64)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))
