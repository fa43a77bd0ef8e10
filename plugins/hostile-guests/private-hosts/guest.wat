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
    {{main}}
    (func (export "call") {{params}}
      ;; The input is `{"url":"..."}`; its URL is what stands between.
      (call $send
        (i32.const 512) (i32.const 3)
        (i32.add (local.get $input) (i32.const 8)) (i32.sub (local.get $input-bytes) (i32.const 10))
        (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 600))
      (if (i32.load8_u (i32.const 600))
        (then (return (call $failed (i32.load offset=8 (i32.const 600)) (i32.load offset=12 (i32.const 600))))))
      (call $number (i32.load16_u offset=4 (i32.const 600)))))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "send" (func $send))))))
  {{export}})
