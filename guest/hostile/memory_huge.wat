;; Declares 4 GiB of memory at the start.
;;
;; Expected: refused before anything runs, with a message that names the memory limit.
(module
  (memory (export "memory") 65536)
  (func (export "_start")))
