(component
  {{types}}
  {{libc}}
  {{poll}}
  (core module $main-code
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    {{main}}
    (func (export "call") {{params}}
      (local $count i32)
      (loop $again
        (drop (call $subscribe (i64.const 1)))
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $count) (i32.const 1000000))))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "subscribe" (func $subscribe))))))
  {{export}})
