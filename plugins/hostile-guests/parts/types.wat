(import "opg:tool/types@1.0.0" (instance $types
  (type $cap (record (field "kind" string) (field "target" string) (field "reason" string)))
  (export "capability" (type $capability (eq $cap)))
  (type $ctx (record
    (field "invocation-id" string) (field "app" string) (field "session-id" (option string))
    (field "time-limit-ms" u32)))
  (export "context" (type $context (eq $ctx)))))
(alias export $types "capability" (type $capability))
(alias export $types "context" (type $context))
