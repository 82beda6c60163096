;; Tries to make the symbolic link "way" -> "/etc" in every folder (descriptors 3 to 7) and
;; to open "way/passwd" through it. Counts what opened as its exit code.
;;
;; Expected: exit code 0: nothing opened, whether or not links can be made.
(module
  (import "wasi_snapshot_preview1" "path_symlink"
    (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/etc")
  (data (i32.const 16) "way/passwd")
  (func (export "_start")
    (local $folder i32) (local $opened i32)
    (local.set $folder (i32.const 3))
    (loop $next
      (drop (call $path_symlink (i32.const 0) (i32.const 4) (local.get $folder)
        (i32.const 16) (i32.const 3)))
      (if (i32.eqz (call $path_open (local.get $folder) (i32.const 1)
            (i32.const 16) (i32.const 10)
            (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 128)))
        (then (local.set $opened (i32.add (local.get $opened) (i32.const 1)))))
      (local.set $folder (i32.add (local.get $folder) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $folder) (i32.const 8))))
    (call $proc_exit (local.get $opened))))
