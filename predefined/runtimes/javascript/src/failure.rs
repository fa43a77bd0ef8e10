//! What went wrong in a tool, as text for whoever reads it, at the author's lines.

use crate::lines::Lines;
use rquickjs::{CaughtError, Coerced, Ctx, FromJs, Object, Value};

/// Why there is no output.
pub(crate) struct Failure {
    /// For the caller, and so perhaps a model.
    pub(crate) text: String,
    /// The author's line, from 1.
    pub(crate) line: Option<u32>,
    /// The column in it, from 1.
    pub(crate) column: Option<u32>,
    /// Whether the input is to blame.
    pub(crate) is_bad_input: bool,
}

/// Frames shown: the first says where, a few more say how it came there.
const FRAMES_MAX: usize = 4;

/// Causes followed.
const CAUSES_MAX: usize = 3;

/// Names that scripts for other places use, and what there is here instead.
const ELSEWHERE: [(&str, &str); 9] = [
    ("Buffer", "use Uint8Array, TextEncoder, TextDecoder, atob and btoa"),
    ("Bun", "there are no processes and files here; use fetch"),
    ("Deno", "there are no processes and files here; use fetch"),
    (
        "require",
        "write `import`; only @opencode-ai/plugin and zod can be imported, bundle everything else into the file",
    ),
    ("__dirname", "there are no files here"),
    ("__filename", "there are no files here"),
    ("Intl", "format the text yourself; this runtime has no Intl"),
    ("XMLHttpRequest", "use fetch"),
    ("WebSocket", "use fetch; there are no sockets here"),
];

impl Failure {
    pub(crate) fn plain(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), line: None, column: None, is_bad_input: false }
    }

    /// What was thrown.
    pub(crate) fn of<'js>(ctx: &Ctx<'js>, caught: CaughtError<'js>, file: &str, lines: &Lines) -> Failure {
        let thrown = match caught {
            CaughtError::Exception(exception) => exception.into_object().into_value(),
            CaughtError::Value(value) => value,
            CaughtError::Error(error) => return Failure::plain(error.to_string()),
        };
        let Some(error) = thrown.as_object().filter(|object| object.is_error()) else {
            return Failure::plain(text_of(ctx, &thrown));
        };
        if error.get("invalidInput").unwrap_or(false) {
            return Failure { is_bad_input: true, ..Failure::plain(string(ctx, error, "message")) };
        }
        let mut text = said(ctx, error);
        if let Some((_, instead)) =
            ELSEWHERE.iter().find(|(name, _)| text.contains(&format!("{name} is not defined")))
        {
            text.push_str(&format!(": {instead}"));
        }
        let mut cause: Option<Value<'js>> = error.get("cause").ok();
        for _ in 0..CAUSES_MAX {
            let Some(object) = cause.as_ref().and_then(Value::as_object).filter(|object| object.is_error())
            else {
                break;
            };
            let why = said(ctx, object);
            if !text.contains(&why) {
                text.push_str(&format!("\n  caused by {why}"));
            }
            cause = object.get("cause").ok();
        }
        let mut failure = Failure::plain(text);
        for frame in frames(&string(ctx, error, "stack"), file, lines).into_iter().take(FRAMES_MAX) {
            failure.line = failure.line.or(Some(frame.line));
            failure.column = failure.column.or(Some(frame.column));
            failure
                .text
                .push_str(&format!("\n    at {}{file}:{}:{}", frame.function, frame.line, frame.column));
        }
        failure
    }
}

/// `TypeError: not a function`
fn said<'js>(ctx: &Ctx<'js>, error: &Object<'js>) -> String {
    let (name, message) = (string(ctx, error, "name"), string(ctx, error, "message"));
    match (name.as_str(), message.as_str()) {
        (name, "") => name.to_owned(),
        ("" | "Error", message) => message.to_owned(),
        (name, message) => format!("{name}: {message}"),
    }
}

fn string<'js>(ctx: &Ctx<'js>, object: &Object<'js>, key: &str) -> String {
    object.get::<_, Value<'js>>(key).map(|value| text_of(ctx, &value)).unwrap_or_default()
}

fn text_of<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> String {
    if value.is_undefined() {
        return String::new();
    }
    // A plain object says more as JSON than as `[object Object]`.
    if value.is_object()
        && !value.is_function()
        && !value.is_error()
        && let Ok(Some(json)) = ctx.json_stringify(value.clone())
    {
        return json.to_string().unwrap_or_default();
    }
    let text = Coerced::<String>::from_js(ctx, value.clone()).map(|text| text.0);
    if text.is_err() {
        // What was thrown throws when it is read: that one is not of interest.
        drop(ctx.catch());
    }
    text.unwrap_or_else(|_| "something that cannot be shown was thrown".to_owned())
}

struct Frame {
    /// `weather (`, or nothing at the top level.
    function: String,
    line: u32,
    column: u32,
}

/// The frames in the author's file, as QuickJS writes them: `    at weather (weather.ts:12:9)`.
fn frames(stack: &str, file: &str, lines: &Lines) -> Vec<Frame> {
    let frame = |text: &str| {
        let text = text.trim().strip_prefix("at ")?;
        let (function, place) = match text.split_once(" (") {
            Some((function, place)) => (function, place.trim_end_matches(')')),
            None => ("", text),
        };
        let (line, column) = place.strip_prefix(file)?.strip_prefix(':')?.split_once(':')?;
        let (line, column) = lines.find(line.parse().ok()?, column.parse().ok()?)?;
        let named = !function.is_empty() && function != "<anonymous>" && function != "<eval>";
        Some(Frame { function: if named { format!("{function} in ") } else { String::new() }, line, column })
    };
    stack.lines().filter_map(frame).collect()
}
