//! The benchmarks: `benches/sandbox.rs` (criterion, against bare wasmtime) and `benches/http` (the whole binary).
