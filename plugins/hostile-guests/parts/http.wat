(import "opg:host/http@1.0.0" (instance $http
  (alias outer 1 $host-error (type $of-types))
  (export "error" (type $error (eq $of-types)))
  (type $asked (record
    (field "method" string) (field "url" string) (field "headers" (list (tuple string string)))
    (field "body" (option (list u8))) (field "timeout-ms" (option u32))))
  (export "request" (type $request (eq $asked)))
  (type $answered (record
    (field "status" u16) (field "headers" (list (tuple string string))) (field "body" (list u8))))
  (export "response" (type $response (eq $answered)))
  (export "send" (func (param "request" $request) (result (result $response (error $error)))))))
(core func $send (canon lower (func $http "send") (memory $libc "memory") (realloc (func $libc "realloc"))))
