//! Loops in loops over many locals: what the compiler needs grows with their product.

use std::fmt::Write as _;

/// 155 KiB: ten functions of three hundred loops over six hundred locals each, and padding.
pub(super) fn wasm() -> Vec<u8> {
    bomb(10, 300, 600, 155 << 10)
}

fn bomb(functions: usize, loops: usize, locals: usize, bytes: usize) -> Vec<u8> {
    let mut body = format!("(func (local {})", "i32 ".repeat(locals));
    body.push_str(&"(loop ".repeat(loops));
    for local in 0..locals {
        let _ = write!(body, "(local.set {local} (i32.add (local.get {local}) (i32.const 1)))");
    }
    for level in 0..loops {
        let _ = write!(body, "(br_if 0 (local.get {level})))");
    }
    body.push(')');
    let code = body.repeat(functions);
    let made = |padding: usize| {
        let data = "x".repeat(padding);
        let text = format!("(component (core module (memory 1) {code} (data (i32.const 0) \"{data}\")))");
        wat::parse_str(text).expect("the text is right")
    };
    let bare = made(0).len();
    made(bytes.saturating_sub(bare))
}
