;; tool: ping
;; tool: pong
;; asks: tool *
(component
  {{types}}
  {{libc}}
  {{host-error}}
  {{tools}}
  (core module $main-code
    (import "host" "call" (func $tools (param i32 i32 i32)))
    (data (i32.const 560) "{}")
    (data (i32.const 576) "ping-pong_pong")
    (data (i32.const 592) "ping-pong_ping")
    {{main}}
    (func (export "call") {{params}}
      (i32.store (i32.const 524) (i32.const 14))
      (i32.store (i32.const 528) (i32.const 560))
      (i32.store (i32.const 532) (i32.const 2))
      ;; `ping` calls `pong`, and the other way round.
      (i32.store (i32.const 520)
        (select (i32.const 576) (i32.const 592)
          (i32.eq (i32.load8_u offset=1 (local.get $name)) (i32.const 105))))
      (loop $again
        (call $tools (i32.const 520) (i32.const 1) (i32.const 600))
        (br $again))
      unreachable))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "call" (func $call-tools))))))
  {{export}})
