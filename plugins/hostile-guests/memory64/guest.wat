(component
  {{types}}
  {{libc}}
  (core module $feature (memory i64 1))
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
