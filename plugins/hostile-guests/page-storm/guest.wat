(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      (local $at i32)
      (drop (memory.grow (i32.const 800)))
      (local.set $at (i32.const 131072))
      ;; Read, a page is the kernel's own one of zeros; written, it is another one, which all cores are told of.
      (loop $again
        (drop (i32.load8_u (local.get $at)))
        (i32.store8 (local.get $at) (i32.const 7))
        (local.set $at (i32.add (local.get $at) (i32.const 4096)))
        (br_if $again (i32.lt_u (local.get $at) (i32.const 50000000))))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
