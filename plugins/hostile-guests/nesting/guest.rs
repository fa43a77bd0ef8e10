//! Few bytes, and as many instances as there are atoms in a stone.

use std::fmt::Write as _;

/// Six levels of components, each with fifty instances of the one inside it.
pub(super) fn wasm() -> Vec<u8> {
    let mut text = String::from("(component $c0 (core module $m) (core instance (instantiate $m)))");
    for level in 1..=4 {
        let instances = format!("(instance (instantiate $c{}))", level - 1).repeat(50);
        text = format!("(component $c{level} {text} {instances})");
    }
    let instances = "(instance (instantiate $c4))".repeat(50);
    wat::parse_str(format!("(component {text} {instances})")).expect("the text is right")
}

/// Two thousand instances of one module.
pub fn side_by_side() -> Vec<u8> {
    let mut text = String::from("(component (core module $m)");
    for _ in 0..2000 {
        let _ = write!(text, "(core instance (instantiate $m))");
    }
    text.push(')');
    wat::parse_str(text).expect("the text is right")
}
