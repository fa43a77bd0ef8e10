(component
  {{types}}
  {{libc}}
  {{poll}}
  (core module $main-code
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    {{main}}
    (func (export "call") {{params}}
      (call $block (call $subscribe (i64.const 60000000000)))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "subscribe" (func $subscribe)) (export "block" (func $block))))))
  {{export}})
