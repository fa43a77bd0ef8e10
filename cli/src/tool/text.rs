//! Text from guests and servers, made fit for a terminal.

use opg_host::grants::CapabilityKind;
use serde_json::Value;

/// One line: control characters, and those that change the order of what is shown, are written out.
pub(super) fn line(text: &str) -> String {
    escaped(text, false)
}

/// Several lines, each made fit as one is.
pub(super) fn lines(text: &str) -> String {
    escaped(text, true)
}

fn escaped(text: &str, keeps_lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let kept = character == '\t' || (character == '\n' && keeps_lines);
        if !kept && (character.is_control() || is_reordering(character)) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// As the sandbox has it for log lines.
fn is_reordering(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON for a terminal.
pub(super) fn json(value: &Value) -> String {
    lines(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// `12.3 KiB`
#[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// What a capability lets a tool do, in words.
pub(super) fn in_words(kind: &str, target: &str) -> String {
    let target = line(target);
    match CapabilityKind::parse(kind) {
        Some(CapabilityKind::Http) if target == "*" => "send requests to any public host".into(),
        Some(CapabilityKind::Http) => format!("send requests to {target}"),
        Some(CapabilityKind::Secret) => match target.split_once('@') {
            Some((name, host)) => format!("have the secret {name} sent to {host}, without seeing it"),
            None => format!("use the secret {target}"),
        },
        Some(CapabilityKind::Kv) if target == "read" => "read its own key-value store".into(),
        Some(CapabilityKind::Kv) => "read and write its own key-value store".into(),
        Some(CapabilityKind::Model) if target == "*" => "ask any model of the app, which costs money".into(),
        Some(CapabilityKind::Model) => format!("ask the model {target}, which costs money"),
        Some(CapabilityKind::Tool) if target == "*" => "call every other tool of the app".into(),
        Some(CapabilityKind::Tool) => format!("call the tool {target}"),
        Some(CapabilityKind::Database) => match target.split_once(':') {
            Some(("read", table)) => format!("read {}", table_in_words(table)),
            Some(("write", table)) => format!("read and change the rows of {}", table_in_words(table)),
            Some((_, table)) => format!("read, change, redefine and drop {}", table_in_words(table)),
            None => format!("use the database: {target}"),
        },
        Some(CapabilityKind::Workspace) if target == "read" => {
            "read the files of the session it is called in".into()
        }
        Some(CapabilityKind::Workspace) => "read and change the files of the session it is called in".into(),
        _ => format!("{}: {target}", line(kind)),
    }
}

fn table_in_words(table: &str) -> String {
    if table == "*" { "every table of the app".into() } else { format!("the table {table}") }
}

/// An input that fits a schema's required fields, for the reader to change.
pub(super) fn example_input(schema: &Value) -> String {
    let empty = vec![];
    let required = schema["required"].as_array().unwrap_or(&empty);
    let example = |field: &Value| {
        let name = field.as_str()?;
        let property = &schema["properties"][name];
        let kind = property["type"].as_str().or_else(|| property["type"][0].as_str());
        let value = match kind {
            _ if property["enum"][0] != Value::Null => property["enum"][0].clone(),
            Some("integer" | "number") => Value::from(1),
            Some("boolean") => Value::Bool(true),
            Some("array") => Value::Array(vec![]),
            Some("object") => Value::Object(serde_json::Map::new()),
            _ => Value::from("…"),
        };
        Some((name.to_owned(), value))
    };
    line(&Value::Object(required.iter().filter_map(example).collect()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_text_of_a_guest_moves_the_cursor_or_poses_as_another_line() {
        assert_eq!(line("a\nb\u{1b}[2J\r\u{9b}\u{202e}\tc"), "a\\nb\\u{1b}[2J\\r\\u{9b}\\u{202e}\tc");
        assert_eq!(lines("a\nb\u{7}"), "a\nb\\u{7}");
        assert!(!json(&json!("\u{1b}[2J\u{9b}\u{7f}")).contains(['\u{1b}', '\u{9b}', '\u{7f}']));
    }

    #[test]
    fn every_kind_of_capability_has_words_of_its_own() {
        for (kind, target, expected) in [
            ("http", "api.example.com", "send requests to api.example.com"),
            ("secret", "KEY@a.example", "have the secret KEY sent to a.example, without seeing it"),
            ("kv", "write", "read and write its own key-value store"),
            ("model", "*", "ask any model of the app, which costs money"),
            ("tool", "word-count", "call the tool word-count"),
            ("db", "read:orders", "read the table orders"),
            ("db", "alter:*", "read, change, redefine and drop every table of the app"),
            ("workspace", "read", "read the files of the session it is called in"),
            ("workspace", "read-write", "read and change the files of the session it is called in"),
            ("limit", "wall_ms=1", "limit: wall_ms=1"),
        ] {
            assert_eq!(in_words(kind, target), expected);
        }
    }

    #[test]
    fn an_example_input_has_the_required_fields() {
        let schema = json!({
            "properties": { "text": { "type": "string" }, "n": { "type": ["integer", "null"] }, "more": {} },
            "required": ["text", "n"],
        });
        assert_eq!(example_input(&schema), r#"{"n":1,"text":"…"}"#);
    }

    #[test]
    fn sizes_have_one_digit() {
        assert_eq!([size(12), size(1536), size(18_400_000)], ["12 B", "1.5 KiB", "17.5 MiB"]);
    }
}
