(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func $deeper (param $depth i32) (result i32)
      (i32.add (call $deeper (i32.add (local.get $depth) (i32.const 1))) (local.get $depth)))
    (func (export "call") {{params}}
      (drop (call $deeper (i32.const 0)))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
