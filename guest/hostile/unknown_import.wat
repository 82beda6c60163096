;; Imports a function that no host has.
;;
;; Expected: refused before it runs, with a message that names `host.launch_missiles`.
(module
  (import "host" "launch_missiles" (func $launch))
  (memory (export "memory") 1)
  (func (export "_start") (call $launch)))
