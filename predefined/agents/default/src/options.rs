//! The one option of a chat request that cannot be the same in every step.

use opg_guest::{Value, json};

/// Takes back a `tool_choice` that forces a call. It is meant for the answer
/// to the user's message; kept, the model could never stop calling.
/// `none`, `auto` and the choice of tools that may be called stay.
pub(crate) fn stop_forcing(request: &mut Value) {
    let Some(request) = request.as_object_mut() else { return };
    let choice = request.get_mut("tool_choice");
    let forces = match choice {
        Some(Value::String(word)) => word == "required",
        Some(Value::Object(object)) if object.get("type") == Some(&json!("allowed_tools")) => {
            if let Some(mode) = object.get_mut("allowed_tools").and_then(|tools| tools.get_mut("mode")) {
                *mode = json!("auto");
            }
            false
        }
        Some(Value::Object(_)) => true,
        _ => false,
    };
    if forces {
        request.remove("tool_choice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_choice_that_forces_is_taken_back() {
        let allowed =
            |mode: &str| json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [1]}});
        let cases = [
            (json!("required"), None),
            (json!({"type": "function", "function": {"name": "f"}}), None),
            (json!("auto"), Some(json!("auto"))),
            (json!("none"), Some(json!("none"))),
            (allowed("required"), Some(allowed("auto"))),
        ];
        for (choice, kept) in cases {
            let mut request = json!({"tool_choice": choice, "temperature": 1});
            stop_forcing(&mut request);
            assert_eq!(request.get("tool_choice"), kept.as_ref(), "{choice}");
            assert_eq!(request["temperature"], 1);
        }
    }
}
