;; Asks to sleep for an hour (poll_oneoff on the clock that only goes on), then leaves with
;; code 0.
;;
;; Expected: the host does not sleep for it: the call returns at once or fails (its answer
;; is ignored), or the wall limit ends the task. It holds no core meanwhile.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    ;; One subscription of 48 bytes at 0: tag 0 (clock) at 8, clock 1 at 16, nanoseconds at 24.
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))
