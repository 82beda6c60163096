;; Writes 64 KiB to standard output again and again, whatever the answer.
;;
;; Expected: what is kept is cut at the output limit; the task ends by that limit or by its
;; fuel, and the host does not run out of memory or disk.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  ;; One vector at 0: 65536 bytes from 1024 on.
  (data (i32.const 0) "\00\04\00\00\00\00\01\00")
  (func (export "_start")
    (memory.fill (i32.const 1024) (i32.const 120) (i32.const 65536))
    (loop $again
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (br $again))))
