(component
  {{types}}
  {{libc}}
  (core module $large (memory 65536))
  (core instance (instantiate $large))
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
