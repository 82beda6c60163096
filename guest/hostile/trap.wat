;; Runs into `unreachable`.
;;
;; Expected: trap: unreachable was executed.
(module
  (memory (export "memory") 1)
  (func (export "_start") (unreachable)))
