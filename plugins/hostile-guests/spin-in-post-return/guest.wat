(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func (export "post-return") (param i32) (loop $again (br $again)))
    (func (export "call") {{params}}
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
