;; From the functions `describe` and `call` of `$main` to the interface `opg:tool/tool`.
(type $definition (record
  (field "name" string) (field "description" string) (field "input-schema" string)
  (field "capabilities" (list $capability))))
(type $error (variant (case "invalid-input" string) (case "failed" string)))
(func $describe (result (list $definition))
  (canon lift (core func $main "describe") (memory $libc "memory") (realloc (func $libc "realloc"))))
(func $call
  (param "name" string) (param "input" string) (param "context" $context)
  (result (result string (error $error)))
  (canon lift (core func $main "call") (memory $libc "memory") (realloc (func $libc "realloc")) {{post-return}}))
(component $shape
  (type $cap (record (field "kind" string) (field "target" string) (field "reason" string)))
  (import "capability" (type $capability (eq $cap)))
  (type $ctx (record
    (field "invocation-id" string) (field "app" string) (field "session-id" (option string))
    (field "time-limit-ms" u32)))
  (import "context" (type $context (eq $ctx)))
  (type $def (record
    (field "name" string) (field "description" string) (field "input-schema" string)
    (field "capabilities" (list $capability))))
  (import "definition" (type $definition (eq $def)))
  (type $err (variant (case "invalid-input" string) (case "failed" string)))
  (import "error" (type $error (eq $err)))
  (import "describe" (func $describe (result (list $definition))))
  (import "call" (func $call
    (param "name" string) (param "input" string) (param "context" $context)
    (result (result string (error $error)))))
  (export $capability-out "capability" (type $capability))
  (export $context-out "context" (type $context))
  (type $def-out (record
    (field "name" string) (field "description" string) (field "input-schema" string)
    (field "capabilities" (list $capability-out))))
  (export $definition-out "definition" (type $definition) (type (eq $def-out)))
  (export $error-out "error" (type $error))
  (export "describe" (func $describe) (func (result (list $definition-out))))
  (export "call" (func $call) (func
    (param "name" string) (param "input" string) (param "context" $context-out)
    (result (result string (error $error-out))))))
(instance $tool (instantiate $shape
  (with "capability" (type $capability)) (with "context" (type $context))
  (with "definition" (type $definition)) (with "error" (type $error))
  (with "describe" (func $describe)) (with "call" (func $call))))
(export "opg:tool/tool@1.0.0" (instance $tool))
