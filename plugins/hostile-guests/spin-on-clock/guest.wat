(component
  {{types}}
  {{libc}}
  {{clock}}
  (core module $main-code
    (import "host" "now" (func $now (result i64)))
    {{main}}
    (func (export "call") {{params}}
      (loop $again
        (drop (call $now))
        (br $again))
      unreachable))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "now" (func $now))))))
  {{export}})
