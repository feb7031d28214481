;; Opens its first directory 300 times, more often than it may hold handles; crashes where that is refused.
(module
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 8) ".")
    (func (export "_start") (local $left i32)
        (local.set $left (i32.const 300))
        (loop $more
            (if (call $open
                    (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 2)
                    (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 16))
                (then unreachable))
            (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
