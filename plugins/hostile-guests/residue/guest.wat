(component
  {{types}}
  {{libc}}
  (core module $main-code
    {{main}}
    (global $trace (mut i32) (i32.const 0))
    (table $places 1000 funcref)
    (elem declare func $spare)
    ;; Leaves a trace on the stack.
    (func $spare (param $deep i32) (result i32)
      (if (result i32) (local.get $deep)
        (then (i32.xor (call $spare (i32.sub (local.get $deep) (i32.const 1))) (i32.const 0x5a5a5a5a)))
        (else (i32.const 0x5a5a5a5a))))
    (func (export "call") {{params}}
      ;; 0: leave a pattern everywhere; 1: count what differs from zero.
      (local $at i32)
      (local $found i32)
      (drop (memory.grow (i32.const 300)))
      (local.set $at (i32.const 131072))
      (if (i32.eqz (call $mode (local.get $input)))
        (then
          (memory.fill (i32.const 131072) (i32.const 0x5a) (i32.const 16000000))
          (global.set $trace (i32.const 0x5a5a5a5a))
          (table.fill $places (i32.const 0) (ref.func $spare) (i32.const 1000))
          (drop (call $spare (i32.const 200)))
          (return (call $null))))
      (local.set $found (i32.add (i32.ne (global.get $trace) (i32.const 0))
        (i32.eqz (ref.is_null (table.get $places (i32.const 999))))))
      (loop $again
        (local.set $found (i32.add (local.get $found) (i64.ne (i64.load (local.get $at)) (i64.const 0))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $again (i32.lt_u (local.get $at) (i32.const 16000000))))
      (call $number (local.get $found))))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))))
  {{export}})
