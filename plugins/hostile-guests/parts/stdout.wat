(import "wasi:io/error@0.2.0" (instance $io-error (export "error" (type (sub resource)))))
(alias export $io-error "error" (type $io-error-type))
(import "wasi:io/streams@0.2.0" (instance $streams
  (export "output-stream" (type $output (sub resource)))
  (alias outer 1 $io-error-type (type $of-error))
  (export "error" (type $error (eq $of-error)))
  (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
  (export "stream-error" (type $stream-error (eq $failure)))
  (export "[method]output-stream.blocking-write-and-flush" (func
    (param "self" (borrow $output)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
(alias export $streams "output-stream" (type $output-stream))
(import "wasi:cli/stdout@0.2.0" (instance $stdout
  (alias outer 1 $output-stream (type $of-streams))
  (export "output-stream" (type $output (eq $of-streams)))
  (export "get-stdout" (func (result (own $output))))))
(core func $get-stdout (canon lower (func $stdout "get-stdout")))
(core func $print (canon lower
  (func $streams "[method]output-stream.blocking-write-and-flush")
  (memory $libc "memory") (realloc (func $libc "realloc"))))
