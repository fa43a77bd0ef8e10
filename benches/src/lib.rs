//! The benchmarks: `benches/sandbox.rs` (criterion, against bare wasmtime), `benches/languages`
//! (the same tool in each language) and `benches/http` (the whole binary).
