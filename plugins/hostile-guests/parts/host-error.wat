(import "opg:host/types@1.0.0" (instance $host-types
  (type $errors (variant
    (case "denied" string) (case "invalid" string) (case "limit" string) (case "failed" string)
    (case "unavailable" string)))
  (export "error" (type (eq $errors)))))
(alias export $host-types "error" (type $host-error))
