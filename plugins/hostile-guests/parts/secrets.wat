(import "opg:host/secrets@1.0.0" (instance $secrets
  (alias outer 1 $host-error (type $of-types))
  (export "error" (type $error (eq $of-types)))
  (export "get" (func (param "name" string) (result (result string (error $error)))))))
(core func $secret
  (canon lower (func $secrets "get") (memory $libc "memory") (realloc (func $libc "realloc"))))
