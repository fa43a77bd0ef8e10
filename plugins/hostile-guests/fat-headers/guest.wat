;; asks: http *
(component
  {{types}}
  {{libc}}
  {{host-error}}
  {{http}}
  (core module $main-code
    (import "host" "send" (func $send
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (data (i32.const 512) "GET")
    (data (i32.const 516) "http://localhost/")
    {{main}}
    (func (export "call") {{params}}
      ;; 0: forty thousand empty headers; 1: one of two megabytes; 2: one of ten.
      (local $headers i32)
      (local $count i32)
      (drop (memory.grow (i32.const 200)))
      (local.set $count (i32.const 1))
      (local.set $headers (i32.const 70000))
      (i32.store (i32.const 70000) (i32.const 512))
      (i32.store (i32.const 70004) (i32.const 3))
      (i32.store (i32.const 70008) (i32.const 131072))
      (memory.fill (i32.const 131072) (i32.const 97) (i32.const 10000000))
      (i32.store (i32.const 70012) (i32.const 2000000))
      (if (i32.eq (call $mode (local.get $input)) (i32.const 2))
        (then (i32.store (i32.const 70012) (i32.const 10000000))))
      (if (i32.eqz (call $mode (local.get $input)))
        (then
          (local.set $count (i32.const 40000))
          (memory.fill (i32.const 131072) (i32.const 0) (i32.const 640000))
          (local.set $headers (i32.const 131072))))
      (call $send
        (i32.const 512) (i32.const 3) (i32.const 516) (i32.const 17)
        (local.get $headers) (local.get $count)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 600))
      ;; What the host said, or nothing.
      (if (i32.load8_u (i32.const 600))
        (then (return (call $failed (i32.load offset=8 (i32.const 600)) (i32.load offset=12 (i32.const 600))))))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "send" (func $send))))))
  {{export}})
