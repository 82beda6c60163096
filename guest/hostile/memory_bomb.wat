;; Grows its memory by 16 MiB at a time and touches every new page, until it is refused;
;; then leaves with code 0 when refused.
;;
;; Expected: growth is refused (-1) at the memory limit of the task, exit code 0, and the
;; host never uses more than that limit. A host that ends the task at the limit is right
;; too.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $first i32) (local $page i32)
    (loop $more
      (local.set $first (memory.grow (i32.const 256)))
      (if (i32.eq (local.get $first) (i32.const -1))
        (then (call $proc_exit (i32.const 0))))
      (local.set $page (i32.const 0))
      (loop $touch
        (i32.store8
          (i32.mul (i32.add (local.get $first) (local.get $page)) (i32.const 65536))
          (i32.const 1))
        (local.set $page (i32.add (local.get $page) (i32.const 1)))
        (br_if $touch (i32.lt_u (local.get $page) (i32.const 256))))
      (br $more))))
