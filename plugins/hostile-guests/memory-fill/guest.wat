(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      (drop (memory.grow (i32.const 900)))
      (loop $again
        (memory.fill (i32.const 65536) (i32.const 7) (i32.const 59000000))
        (memory.copy (i32.const 65536) (i32.const 65537) (i32.const 59000000))
        (br $again))
      unreachable))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
