//! The benchmarks: `benches/sandbox.rs` (criterion, against bare wasmtime), `benches/languages`
//! (the same tool in each language), `benches/http` (the whole binary) and `benches/gateway` (beside other gateways).
