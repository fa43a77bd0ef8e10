(component
  {{types}}
  {{libc}}
  (core module $destructor-code (func (export "spin") (param i32) (loop $again (br $again))))
  (core instance $destructor (instantiate $destructor-code))
  (type $trap (resource (rep i32) (dtor (func $destructor "spin"))))
  (core func $make (canon resource.new $trap))
  (core func $destroy (canon resource.drop $trap))
  (core module $main-code
    (import "host" "make" (func $make (param i32) (result i32)))
    (import "host" "destroy" (func $destroy (param i32)))
    {{main}}
    (func (export "call") {{params}}
      (call $destroy (call $make (i32.const 7)))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "make" (func $make)) (export "destroy" (func $destroy))))))
  {{export}})
