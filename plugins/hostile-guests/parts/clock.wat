(import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
(core func $now (canon lower (func $clock "now")))
