(component
  {{types}}
  {{libc}}
  {{log}}
  {{poll}}
  (core func $log-utf16 (canon lower (func $log "write") (memory $libc "memory") string-encoding=utf16))
  (core module $main-code
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "host" "log-utf16" (func $log-utf16 (param i32 i32 i32)))
    (import "host" "drop" (func $drop (param i32)))
    {{main}}
    (func (export "call") {{params}}
      (local $mode i32)
      (local.set $mode (call $mode (local.get $input)))
      ;; 0: not UTF-8
      (i32.store (i32.const 512) (i32.const 0xfffefdfc))
      (if (i32.eqz (local.get $mode)) (then (return (call $ok (i32.const 512) (i32.const 4)))))
      ;; 1: a surrogate, encoded
      (i32.store (i32.const 512) (i32.const 0x0080a0ed))
      (if (i32.eq (local.get $mode) (i32.const 1))
        (then (return (call $ok (i32.const 512) (i32.const 3)))))
      ;; 2: neither an answer nor an error
      (drop (call $null))
      (i32.store8 (i32.const 16) (i32.const 77))
      (if (i32.eq (local.get $mode) (i32.const 2)) (then (return (i32.const 16))))
      ;; 3: an answer at an odd address
      (if (i32.eq (local.get $mode) (i32.const 3)) (then (return (i32.const 17))))
      ;; 4: a level of log that does not exist
      (if (i32.eq (local.get $mode) (i32.const 4))
        (then (call $log (i32.const 9) (i32.const 0) (i32.const 4))))
      ;; 5: UTF-16 at an odd address
      (if (i32.eq (local.get $mode) (i32.const 5))
        (then (call $log-utf16 (i32.const 1) (i32.const 513) (i32.const 2))))
      ;; 6: half a surrogate pair
      (i32.store (i32.const 512) (i32.const 0x0041d800))
      (if (i32.eq (local.get $mode) (i32.const 6))
        (then (call $log-utf16 (i32.const 1) (i32.const 512) (i32.const 2))))
      ;; 7: a handle it never had
      (if (i32.eq (local.get $mode) (i32.const 7)) (then (call $drop (i32.const 4711))))
      (call $null)))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "log" (func $log-write)) (export "log-utf16" (func $log-utf16)) (export "drop" (func $drop))))))
  {{export}})
