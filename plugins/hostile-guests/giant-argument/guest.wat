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
      ;; 0: three million headers; 1: a body.
      (drop (memory.grow (i32.const 900)))
      (if (i32.eqz (call $mode (local.get $input)))
        (then
          (call $send
            (i32.const 512) (i32.const 3) (i32.const 516) (i32.const 17)
            (i32.const 131072) (i32.const 3000000)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 600)))
        (else
          (call $send
            (i32.const 512) (i32.const 3) (i32.const 516) (i32.const 17)
            (i32.const 0) (i32.const 0)
            (i32.const 1) (i32.const 131072) (i32.const 48000000) (i32.const 0) (i32.const 0)
            (i32.const 600))))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "send" (func $send))))))
  {{export}})
