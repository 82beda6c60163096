;; A module without `_start`.
;;
;; Expected: refused before it runs: it is not a command.
(module
  (memory (export "memory") 1)
  (func (export "run")))
