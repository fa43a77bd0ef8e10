(component
  {{types}}
  {{libc}}
  {{log}}
  {{stdout}}
  (core module $main-code
    (import "host" "log" (func $log (param i32 i32 i32)))
    (import "host" "print" (func $print (param i32 i32 i32 i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (data (i32.const 512) "harmless\r\n\1b[2J\1b[31mERROR the host is down\0d\0a{\"action\":\"secrets.write\",\"result\":\"ok\"}\e2\80\ae\00\07                                  ")
    {{main}}
    (func (export "call") {{params}}
      (local $stdout i32)
      (local.set $stdout (call $get-stdout))
      (call $log (i32.const 1) (i32.const 512) (i32.const 120))
      (call $print (local.get $stdout) (i32.const 512) (i32.const 120) (i32.const 700))
      (memory.fill (i32.const 131072) (i32.const 0x61) (i32.const 400))
      (i32.store8 (i32.const 131472) (i32.const 10))
      (loop $again
        (call $print (local.get $stdout) (i32.const 131072) (i32.const 401) (i32.const 700))
        (call $log (i32.const 3) (i32.const 131072) (i32.const 401))
        (br $again))
      unreachable))
  (core instance $main (instantiate $main-code (with "libc" (instance $libc))
    (with "host" (instance (export "log" (func $log-write)) (export "print" (func $print)) (export "get-stdout" (func $get-stdout))))))
  {{export}})
