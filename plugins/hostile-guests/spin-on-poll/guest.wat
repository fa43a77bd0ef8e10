(component
  {{types}}
  {{libc}}
  {{poll}}
  (core module $main-code
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "wait" (func $wait (param i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32)))
    {{main}}
    (func (export "call") {{params}}
      (local $pollable i32)
      (loop $again
        (local.set $pollable (call $subscribe (i64.const 0)))
        (i32.store (i32.const 512) (local.get $pollable))
        (call $wait (i32.const 512) (i32.const 1) (i32.const 520))
        (call $drop (local.get $pollable))
        (br $again))
      unreachable))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "subscribe" (func $subscribe)) (export "wait" (func $wait)) (export "drop" (func $drop))))))
  {{export}})
