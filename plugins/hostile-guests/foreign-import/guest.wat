(component
  {{types}}
  {{libc}}
  (import "acme:vault/secrets@1.0.0" (instance (export "steal" (func))))
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
