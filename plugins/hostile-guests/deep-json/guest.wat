(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (func (export "call") {{params}}
      ;; 0: deep and whole; 1: deep and open; 2: no JSON; 3: too much.
      (local $mode i32)
      (local.set $mode (call $mode (local.get $input)))
      (drop (memory.grow (i32.const 900)))
      (memory.fill (i32.const 131072) (i32.const 0x5b) (i32.const 100000))
      (memory.fill (i32.const 231072) (i32.const 0x5d) (i32.const 100000))
      (if (i32.eqz (local.get $mode)) (then (return (call $ok (i32.const 131072) (i32.const 200000)))))
      (if (i32.eq (local.get $mode) (i32.const 1))
        (then (return (call $ok (i32.const 131072) (i32.const 100000)))))
      (if (i32.eq (local.get $mode) (i32.const 2)) (then (return (call $ok (i32.const 1) (i32.const 3)))))
      (call $ok (i32.const 131072) (i32.const 48000000))))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
