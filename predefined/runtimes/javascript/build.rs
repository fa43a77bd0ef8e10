//! The stack of the module: QuickJS recurses, and what overflows must still be an error in JavaScript.

/// Above what QuickJS allows itself (`STACK_BYTES_MAX` in `src/engine.rs`), so that it notices first.
const SHADOW_STACK_BYTES: usize = 1 << 20;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={SHADOW_STACK_BYTES}");
    }
}
