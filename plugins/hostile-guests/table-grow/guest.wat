(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (table $table 1 funcref)
    (func (export "call") {{params}}
      (if (i32.lt_s (table.grow $table (ref.null func) (i32.const 0x7fffffff)) (i32.const 0))
        (then unreachable))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
