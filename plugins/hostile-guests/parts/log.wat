(import "opg:host/log@1.0.0" (instance $log
  (type $levels (enum "debug" "info" "warn" "error"))
  (export "level" (type $level (eq $levels)))
  (export "write" (func (param "level" $level) (param "message" string)))))
(core func $log-write (canon lower (func $log "write") (memory $libc "memory")))
