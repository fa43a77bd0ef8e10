//! A tool's output: JSON text from a guest, looked at before anybody parses it.

use crate::limits::OUTPUT_DEPTH_MAX;
use serde::de::IgnoredAny;

/// Whether a tool may answer with this.
///
/// # Errors
/// What is wrong, for the author.
pub fn check(text: &str) -> Result<(), String> {
    if depth(text) > OUTPUT_DEPTH_MAX {
        return Err(format!("it is nested more than {OUTPUT_DEPTH_MAX} deep"));
    }
    // Keeps nothing, and needs no stack for what is nested.
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| format!("it is not JSON: {error}"))
}

/// How deep lists and objects stand in each other, also where the text is no JSON.
pub(crate) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn any_json_of_reasonable_depth_is_an_output() {
        let strings = json!({ "a": ["[[[[", "\\\"]]]{{{", r#"\"#] });
        for output in [json!(null), json!(1.5), json!("text"), json!([[[1]]]), strings] {
            assert_eq!(check(&output.to_string()), Ok(()), "{output}");
        }
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(check(&nested(OUTPUT_DEPTH_MAX)), Ok(()));
        assert!(check(&nested(OUTPUT_DEPTH_MAX + 1)).unwrap_err().contains("deep"));
        assert!(check(&nested(500_000)).is_err());
        for text in ["", "plain text", "{", "[1,]", "1 2", "{\"a\":1", &"[".repeat(500_000)] {
            assert!(check(text).is_err(), "{text:.20}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_passes_is_parsed_by_everybody(text in r#"[\[\]{}",:\\0-9a]{0,40}"#) {
            if check(&text).is_ok() {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = check(&text);
        }
    }
}
