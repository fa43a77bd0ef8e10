(component
  {{types}}
  {{libc}}
  (core module $store (memory (export "memory") 1)
    (func (export "grow") (result i32) (memory.grow (i32.const 400))))
  (core instance $one (instantiate $store))
  (core instance $two (instantiate $store))
  (core instance $three (instantiate $store))
  (core module $main-code
    (import "one" "grow" (func $one (result i32)))
    (import "two" "grow" (func $two (result i32)))
    (import "three" "grow" (func $three (result i32)))
    {{main}}
    (func (export "call") {{params}}
      (if (i32.lt_s (call $one) (i32.const 0)) (then unreachable))
      (if (i32.lt_s (call $two) (i32.const 0)) (then unreachable))
      (if (i32.lt_s (call $three) (i32.const 0)) (then unreachable))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "one" (instance $one)) (with "two" (instance $two)) (with "three" (instance $three))))
  {{export}})
