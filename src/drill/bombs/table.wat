;; Grows a table until that is refused, and crashes.
(module
    (table 1 funcref)
    (memory (export "memory") 1)
    (func (export "_start")
        (loop $more
            (br_if $more (i32.ne (table.grow 0 (ref.null func) (i32.const 1000)) (i32.const -1))))
        unreachable))
