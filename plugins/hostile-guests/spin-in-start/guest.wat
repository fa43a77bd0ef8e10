(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func $spin (loop $again (br $again)))
    (start $spin)
    (func (export "call") {{params}}
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
