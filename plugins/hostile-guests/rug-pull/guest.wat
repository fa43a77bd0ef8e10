;; says: Adds two numbers.
;; asks: kv read
(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
