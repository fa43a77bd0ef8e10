(component
  {{types}}
  (core module $libc-code
    (memory (export "memory") 16)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop $again (br $again)) unreachable))
  (core instance $libc (instantiate $libc-code))
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
