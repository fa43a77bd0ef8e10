//! Masks what looks like a secret or a person in text that is about to leave the process.
//!
//! JSON lines are masked string by string, not as text: an escape before a secret (`\n` and then a name) must
//! neither hide it nor be torn apart. Too much masking is a nuisance, too little a leak; these rules lean one way.

use std::borrow::Cow;
use std::io;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;

const MASK: &str = "[redacted]";

/// The text without what looks like a secret or an e-mail address. Borrowed when there was nothing to hide.
pub fn redact(text: &str) -> Cow<'_, str> {
    if !HINT.is_match(text) {
        return Cow::Borrowed(text);
    }
    let mut result = Cow::Borrowed(text);
    for (pattern, replacement) in RULES.iter() {
        if let Cow::Owned(masked) = pattern.replace_all(&result, *replacement) {
            result = Cow::Owned(masked);
        }
    }
    result
}

/// The same for one JSON object on a line of its own; it is still one afterwards.
pub fn redact_json_line(line: &str) -> Cow<'_, str> {
    if !HINT.is_match(line) {
        return Cow::Borrowed(line);
    }
    let Ok(mut value) = serde_json::from_str::<Value>(line) else {
        return Cow::Owned(Value::from(redact(line).into_owned()).to_string());
    };
    if redact_value(&mut value) { Cow::Owned(value.to_string()) } else { Cow::Borrowed(line) }
}

/// Whether anything was masked.
fn redact_value(value: &mut Value) -> bool {
    match value {
        Value::String(text) => match redact(text) {
            Cow::Owned(masked) if masked != *text => {
                *text = masked;
                true
            }
            _ => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |any, item| redact_value(item) | any),
        Value::Object(fields) => fields.iter_mut().fold(false, |any, (name, field)| {
            if SECRET_NAME.is_match(name) && !field.is_null() {
                *field = Value::from(MASK);
                return true;
            }
            redact_value(field) | any
        }),
        _ => false,
    }
}

/// Names whose value is a secret whatever it looks like.
const SECRET_NAMES: &str = "(?:proxy-)?authorization|(?:set-)?cookie|passw(?:or)?d|passphrase|(?:client_)?secret|\
     (?:x-)?(?:goog-)?api[_-]?key|(?:access_|refresh_|id_)?token|master_key";

static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| compile(&format!("(?i)^(?:{SECRET_NAMES})$")));

/// Cheap and wide: a line that does not match it holds nothing to mask. `opg_` alone is in every module's name.
static HINT: LazyLock<Regex> = LazyLock::new(|| {
    compile(&format!("(?i)@|%40|ocs_|opg_[a-z0-9-]+_|sk-|bearer|eyJ|AIza|ghp_|AKIA|{SECRET_NAMES}"))
});

static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        // URLs with a password; in a Postgres URL people forget to encode the slash.
        (r#"(?i)(postgres(?:ql)?://[^\s:/@"\\]*):[^\s"\\]*@"#.to_owned(), "$1:[redacted]@"),
        (r#"(?i)([a-z][a-z0-9+.-]*://[^\s:/@"\\]*):[^\s"\\/?#]*@"#.to_owned(), "$1:[redacted]@"),
        // name: "value", also inside quoted JSON
        (format!(r#"(?i)((?:{SECRET_NAMES})\\*["']?\s*[:=]\s*\\*")(?:[^"\\]|\\[^"])+"#), "${1}[redacted]"),
        // name=value, Name: scheme value
        (
            format!(r#"(?i)((?:{SECRET_NAMES})\s*[:=]\s*'?)(?:(?:basic|bearer|digest|token)\s+)?[^\s"'\\&;,(){{}}\[\]]+"#),
            "${1}[redacted]",
        ),
        // A word after "bearer" is a token when it has a digit or a sign, or is longer than words are.
        (
            r"(?i)(bearer(?:\s|%20|\+)+)(?:[a-z.]*[0-9_~+/=-][a-z0-9._~+/=-]*|[a-z.]{20,})".to_owned(),
            "${1}[redacted]",
        ),
        (r"ocs_[a-z0-9-]+_[A-Za-z0-9_-]{6,}".to_owned(), "ocs_[redacted]"),
        (r"(opg_[a-z0-9-]+)_[A-Za-z0-9_-]{12,}".to_owned(), "${1}_[redacted]"),
        // Not in "risk-assessment".
        (r"(^|[^A-Za-z0-9]|\\[nrt])sk-[A-Za-z0-9_-]{12,}".to_owned(), "${1}sk-[redacted]"),
        (r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*".to_owned(), MASK),
        (r"(AIza|ghp_|AKIA)[A-Za-z0-9_-]{12,}".to_owned(), "${1}[redacted]"),
        // The last label has letters only: `opg:tool@1.0.0` is nobody's address.
        (r"[\w.%+-]+(?:@|%40)(?:[\w-]+\.)+[^\W\d_]{2,}".to_owned(), "[email]"),
    ]
    .map(|(pattern, replacement)| (compile(&pattern), replacement))
    .into()
});

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns are constants, and a test uses each of them")
}

/// Masks every line before it reaches the writer inside. The log's formatter writes one event at a time, whole.
#[derive(Debug, Clone)]
pub struct RedactingWriter<W> {
    inner: W,
    format: LogFormat,
}

impl<W> RedactingWriter<W> {
    pub fn new(inner: W, format: LogFormat) -> Self {
        Self { inner, format }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for RedactingWriter<W> {
    type Writer = RedactingWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter { inner: self.inner.make_writer(), format: self.format }
    }
}

impl<W: io::Write> io::Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (&*text, ""),
        };
        let masked = match self.format {
            LogFormat::Json => redact_json_line(line),
            LogFormat::Text => redact(line),
        };
        // One write, so that lines of two threads do not mix.
        self.inner.write_all(format!("{masked}{end}").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_of_secret_is_masked_and_its_surroundings_stay() {
        for (text, expected) in [
            ("token was ocs_acme_Zm9vYmFyYmF6cXV4 ok", "token was ocs_[redacted] ok"),
            ("ocs_my-app-2_abc_DEF-123456", "ocs_[redacted]"),
            ("(opg_pat_Zm9vYmFyYmF6cXV4)", "(opg_pat_[redacted])"),
            ("opg_dev_a-b_c-d_e-f_g-h_i", "opg_dev_[redacted]"),
            ("got Bearer abc.def-123 here", "got Bearer [redacted] here"),
            ("BEARER  abcdefghijklmnopqrstuvwxyz", "BEARER  [redacted]"),
            ("key sk-proj-abcDEF123456, gone", "key sk-[redacted], gone"),
            ("sk-ant-api03-abcdefghijkl", "sk-[redacted]"),
            ("Authorization: Basic dXNlcjpwYXNz", "Authorization: [redacted]"),
            ("authorization=Bearer abc123 next", "authorization=[redacted] next"),
            (r#"{"authorization": "Digest a b c"}"#, r#"{"authorization": "[redacted]"}"#),
            (r#"{\"Proxy-Authorization\":\"Basic x\"}"#, r#"{\"Proxy-Authorization\":\"[redacted]\"}"#),
            ("x-api-key: abc&x=1", "x-api-key: [redacted]&x=1"),
            ("GET /a?token=abc&b=c", "GET /a?token=[redacted]&b=c"),
            ("password='hunter2'", "password='[redacted]'"),
            (
                "postgres://opg:hunter2@db.example.com:5432/opg",
                "postgres://opg:[redacted]@db.example.com:5432/opg",
            ),
            ("postgresql://opg:hun/t@r2@db/opg", "postgresql://opg:[redacted]@db/opg"),
            ("redis://:hunter2@cache:6379", "redis://:[redacted]@cache:6379"),
            ("from ann.o'neil+x@mail.example.co.uk.", "from ann.o'[email]."),
            ("mailto:j%C3%BCrgen@example.com", "mailto:[email]"),
            ("?email=ann%40example.com&x", "?email=[email]&x"),
            ("jürgen@bücher.example", "[email]"),
            ("jwt eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt [redacted] end"),
            ("AIzaSyA-1234567890abcdef and AKIAABCDEFGHIJKLMNOP", "AIza[redacted] and AKIA[redacted]"),
            ("one\nocs_acme_aaaaaaaa\ntwo\nsk-aaaaaaaaaaaaaaaa", "one\nocs_[redacted]\ntwo\nsk-[redacted]"),
        ] {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in [
            "",
            "request finished in 12 ms",
            "opg_host::postgres::embedded started opg_app opg_service opg_apps",
            "opg:tool@1.0.0 and wasi:io@0.2.3-rc",
            "risk-assessment-for-everyone, task-management-board",
            "the bearer of bad news",
            "no bearer token",
            "https://example.com:8080/path?q=1#a",
            "postgres://localhost/opg",
            "postgres://opg@/opg?host=/run/x",
            "root@localhost ran it",
            "@mention and a@b",
            "usage: input_tokens 12, tokens=40",
            "authorization failed",
            "password authentication failed for user opg",
            "0190f8a2-7b3c-7def-8123-456789abcdef",
        ] {
            assert_eq!(redact(text), text);
            assert_eq!(redact_json_line(&Value::from(text).to_string()), Value::from(text).to_string());
        }
    }

    #[test]
    fn escapes_neither_hide_a_secret_nor_are_torn_apart() {
        for inner in [
            "\nann@example.com",
            "\\nann@example.com",
            "\\\nann@example.com",
            "\\\\\\nann@example.com\\",
            "\u{1}\u{7f}ann@example.com\"",
            "\tocs_acme_aaaaaaaa\\",
            "\nsk-aaaaaaaaaaaaaaaa\"",
            "password=\"a\\\"b\"",
            "{\"authorization\":\"Basic \\\"x\\\"\",\"nested\":\"{\\\"password\\\":\\\"hunter2\\\"}\"}",
        ] {
            let line = serde_json::json!({ "message": inner, "n": 1 }).to_string();
            let masked = redact_json_line(&line);
            let value: Value = serde_json::from_str(&masked).unwrap_or_else(|e| panic!("{e}: {masked}"));
            assert_ne!(value["message"], inner, "{masked}");
            for secret in ["ann", "aaaa", "hunter2", "Basic"] {
                assert!(!masked.contains(secret), "{masked}");
            }
            assert_eq!(value["n"], 1);
        }
    }

    #[test]
    fn a_field_with_a_secret_name_is_masked_whatever_its_type() {
        let line = r#"{"password":17,"a":{"Authorization":["x"],"token":null,"tokens":5}}"#;
        let value: Value = serde_json::from_str(&redact_json_line(line)).unwrap();
        let expected = serde_json::json!({
            "password": MASK, "a": { "Authorization": MASK, "token": null, "tokens": 5 }
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_line_that_is_no_json_becomes_a_json_string() {
        let masked = redact_json_line("oops \"ann@example.com\"");
        assert_eq!(serde_json::from_str::<String>(&masked).unwrap(), "oops \"[email]\"");
    }

    proptest! {
        #[test]
        fn whatever_surrounds_a_token_it_is_masked_and_the_line_stays_json(
            before in any::<String>(), after in any::<String>(), depth in 0..4_usize
        ) {
            let mut text = format!("{before}ocs_acme_S3CR3TS3CR3T {after}");
            for _ in 0..depth {
                text = Value::from(text).to_string();
            }
            let line = serde_json::json!({ "message": text }).to_string();
            let masked = redact_json_line(&line);
            prop_assert!(!masked.contains("S3CR3T"));
            prop_assert!(serde_json::from_str::<Value>(&masked).is_ok());
        }
    }
}
