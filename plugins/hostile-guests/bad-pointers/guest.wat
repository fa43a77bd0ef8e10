(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      ;; 0: too long; 1: outside; 2: no answer there; 3: as much as there is.
      (local $mode i32)
      (local.set $mode (call $mode (local.get $input)))
      (if (i32.eqz (local.get $mode)) (then (return (call $ok (i32.const 0) (i32.const -1)))))
      (if (i32.eq (local.get $mode) (i32.const 1))
        (then (return (call $ok (i32.const 0x7fffff00) (i32.const 100)))))
      (if (i32.eq (local.get $mode) (i32.const 2)) (then (return (i32.const 0x7ffffff0))))
      (drop (memory.grow (i32.const 900)))
      (call $ok (i32.const 131072) (i32.const 58000000))))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
