(component
  {{types}}
  (core module $libc-code
    (memory (export "memory") 700)
    (global $top (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $libc (instantiate $libc-code))
  (core module $main-code
    {{helpers}}
    ;; A million definitions of zeros.
    (func (export "describe") (result i32)
      (i32.store (i32.const 512) (i32.const 131072))
      (i32.store (i32.const 516) (i32.const 1000000))
      (i32.const 512))
    (func (export "call") {{params}} (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
