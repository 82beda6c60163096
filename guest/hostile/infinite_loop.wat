;; Counts for ever and never calls the host.
;;
;; Expected: stopped when its fuel is used up, reported as out of fuel; nothing else of the
;; host waits.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (local $n i64)
    (loop $again
      (local.set $n (i64.add (local.get $n) (i64.const 1)))
      (br $again))))
