(import "opg:host/tools@1.0.0" (instance $tools
  (alias outer 1 $host-error (type $of-types))
  (export "error" (type $error (eq $of-types)))
  (type $asked (record (field "name" string) (field "input" string)))
  (export "invocation" (type $invocation (eq $asked)))
  (export "call" (func (param "calls" (list $invocation)) (result (list (result string (error $error))))))))
(core func $call-tools
  (canon lower (func $tools "call") (memory $libc "memory") (realloc (func $libc "realloc"))))
