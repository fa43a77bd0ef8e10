(component
  {{types}}
  {{libc}}
  {{random}}
  (core module $main-code
    (import "host" "random" (func $random (param i64 i32)))
    {{main}}
    (func (export "call") {{params}}
      (call $random (i64.const 0x10000000000) (i32.const 512))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "random" (func $random-bytes))))))
  {{export}})
