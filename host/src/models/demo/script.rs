//! What the demo model answers: rules over the conversation, no state.

use crate::models::offline::{Answer, Call};
use crate::models::openai::request::{ChatRequest, Message, Role, Tool, ToolChoice, is_tool_name};
use serde_json::{Map, Value, json};

/// A tool's result is quoted up to here, in characters.
const RESULT_CHARS_MAX: usize = 2_000;
/// The user's text is quoted up to here, in characters.
const ECHO_CHARS_MAX: usize = 200;
/// Calls in one answer; a real model makes a handful.
const CALLS_MAX: usize = 16;

/// Pairs of quotation marks people write.
const QUOTES: [(char, char); 6] = [('"', '"'), ('“', '”'), ('„', '“'), ('«', '»'), ('`', '`'), ('\'', '\'')];

pub(super) fn answer(request: &ChatRequest) -> Answer {
    let results = trailing_results(&request.messages);
    if !results.is_empty() {
        return Answer::Text(tell_results(&request.messages, results));
    }
    let is_user = |message: &&Message| message.role == Role::User;
    let said = request.messages.iter().rfind(is_user).map(Message::plain_text).unwrap_or_default();
    let said = said.trim();
    let offered: Vec<&Tool> = match &request.tool_choice {
        Some(ToolChoice::None) => Vec::new(),
        Some(ToolChoice::Function(name)) => request.tools.iter().filter(|tool| tool.name == *name).collect(),
        _ => request.tools.iter().collect(),
    };
    let calls = told_calls(said, &offered);
    if !calls.is_empty() {
        return Answer::Calls(calls);
    }
    if let Some(call) = implied_call(said, &offered) {
        return Answer::Calls(vec![call]);
    }
    let is_forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    if let Some(tool) = offered.first().filter(|_| is_forced) {
        return Answer::Calls(vec![fill(tool, said, &[said.to_owned()])]);
    }
    Answer::Text(tell(said, &request.tools))
}

/// The results at the end of the conversation.
pub(in crate::models) fn trailing_results(messages: &[Message]) -> &[Message] {
    let after = messages.iter().rposition(|message| message.role != Role::Tool);
    &messages[after.map_or(0, |position| position + 1)..]
}

pub(in crate::models) fn tell_results(messages: &[Message], results: &[Message]) -> String {
    let name_of = |result: &Message| {
        let calls = messages.iter().rev().flat_map(|message| &message.tool_calls);
        let mut calls = calls.filter(|call| Some(&call.id) == result.tool_call_id.as_ref());
        calls.next().map_or_else(|| "tool".to_owned(), |call| call.name.clone())
    };
    let one = |result: &Message| {
        format!("`{}` answered: {}", name_of(result), cut(&result.plain_text(), RESULT_CHARS_MAX))
    };
    results.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Calls the user spelled out, each at the start of a line.
fn told_calls(said: &str, offered: &[&Tool]) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut rest = said;
    while !rest.is_empty() && calls.len() < CALLS_MAX {
        let line_end = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let told = told_call(rest, line_end, offered);
        let (call, used) = told.map_or((None, line_end), |(call, used)| (Some(call), used));
        calls.extend(call);
        rest = &rest[used..];
    }
    calls
}

/// The call at the start of `text`, and how many bytes it took. Its JSON may run over several lines.
fn told_call(text: &str, line_end: usize, offered: &[&Tool]) -> Option<(Call, usize)> {
    let line = text[..line_end].trim_start_matches(['-', '*', ' ', '\t']);
    let line = strip_word(line, "please").unwrap_or(line);
    let after_verb = ["call", "use"].iter().find_map(|verb| strip_word(line, verb))?;
    let name_end = after_verb.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(after_verb.len());
    let (name, arguments) = after_verb.split_at(name_end);
    let name = name.trim_matches(|c: char| c == '`' || c == '.' || c == ',');
    let tool = offered.iter().find(|tool| is_tool_name(name) && tool.name == name)?;
    let arguments = arguments.trim_start_matches([':', ' ', '\t']);
    let arguments = strip_word(arguments, "with").unwrap_or(arguments);
    if arguments.starts_with('{') {
        let start = subslice_offset(text, arguments);
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        if let Some(Ok(_)) = values.next() {
            let end = start + values.byte_offset();
            let used = text[end..].find('\n').map_or(text.len(), |newline| end + newline + 1);
            return Some((
                Call { name: tool.name.clone(), arguments: text[start..end].to_owned() },
                used.max(line_end),
            ));
        }
        return Some((
            Call { name: tool.name.clone(), arguments: arguments.trim_end().to_owned() },
            line_end,
        ));
    }
    let plain = arguments.trim();
    let mut texts = quoted(plain);
    if texts.is_empty() && !plain.is_empty() {
        texts.push(plain.to_owned());
    }
    Some((fill(tool, plain, &texts), line_end))
}

/// Where `inner`, a part of `outer`, begins in it.
fn subslice_offset(outer: &str, inner: &str) -> usize {
    inner.as_ptr() as usize - outer.as_ptr() as usize
}

/// A call the user did not spell out but plainly wants: a tool's name, and something to give it.
fn implied_call(said: &str, offered: &[&Tool]) -> Option<Call> {
    let lower = said.to_lowercase();
    let is_named = |tool: &&&Tool| {
        let name = tool.name.to_lowercase();
        [name.clone(), name.replace(['_', '-'], " ")].iter().any(|name| has_word(&lower, name))
    };
    let tool = offered.iter().find(is_named)?;
    let spoken = [tool.name.clone(), tool.name.replace(['_', '-'], " ")];
    let texts: Vec<String> = quoted(said).into_iter().filter(|text| !spoken.contains(text)).collect();
    let asks = ["use", "call", "run", "invoke", "try"].iter().any(|verb| has_word(&lower, verb));
    let needs_nothing = required(tool).is_empty();
    (!texts.is_empty() || (asks && needs_nothing)).then(|| fill(tool, said, &texts))
}

/// Arguments for a tool: its required inputs, or else its first text, from these texts and the numbers in
/// what was said.
pub(in crate::models) fn fill(tool: &Tool, said: &str, texts: &[String]) -> Call {
    let empty = Map::new();
    let properties = tool.parameters.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut names = required(tool);
    if names.is_empty() && !texts.is_empty() {
        let is_text = |property: &&String| properties[*property].get("type") == Some(&json!("string"));
        names.extend(properties.keys().find(is_text).map(String::as_str));
    }
    let mut texts = texts.iter();
    let mut numbers = numbers(said).into_iter();
    let mut arguments = Map::new();
    for name in names {
        let schema = properties.get(name).unwrap_or(&Value::Null);
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("string");
        let fixed =
            schema.get("const").or_else(|| schema.get("default")).or_else(|| schema.pointer("/enum/0"));
        let value = match kind {
            "string" if schema.get("enum").is_none() => texts.next().map(|text| json!(text)),
            "integer" => numbers.next().map(|number| json!(number as i64)),
            "number" => numbers.next().map(|number| json!(number)),
            _ => None,
        };
        arguments.insert(name.to_owned(), value.or_else(|| fixed.cloned()).unwrap_or_else(|| nothing(kind)));
    }
    Call { name: tool.name.clone(), arguments: Value::Object(arguments).to_string() }
}

fn required(tool: &Tool) -> Vec<&str> {
    let names = tool.parameters.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn nothing(kind: &str) -> Value {
    match kind {
        "integer" | "number" => json!(0),
        "boolean" => json!(false),
        "array" => json!([]),
        "object" => json!({}),
        "null" => Value::Null,
        _ => json!(""),
    }
}

fn tell(said: &str, tools: &[Tool]) -> String {
    let lower = said.to_lowercase();
    let asks = ["which", "what", "list", "show", "have"].iter().any(|word| has_word(&lower, word));
    if asks && (has_word(&lower, "tool") || has_word(&lower, "tools")) {
        return tell_tools(tools);
    }
    let echo = cut(said, ECHO_CHARS_MAX);
    format!(
        "I am the demo model: I follow a few fixed rules and run offline, so my answers are not clever. \
         You said: {echo}\n\
         Ask me which tools I have, or write `call <tool> <json>` and I will call one."
    )
}

fn tell_tools(tools: &[Tool]) -> String {
    if tools.is_empty() {
        return "I am the demo model, and I was offered no tools.".to_owned();
    }
    let line = |tool: &Tool| {
        let first_line = tool.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
        let first_line = cut(first_line.trim(), ECHO_CHARS_MAX);
        if first_line.is_empty() {
            format!("- {}", tool.name)
        } else {
            format!("- {}: {first_line}", tool.name)
        }
    };
    let lines = tools.iter().map(line).collect::<Vec<_>>().join("\n");
    format!("I am the demo model. I was offered these tools:\n{lines}")
}

/// The texts between quotation marks, in order. An apostrophe inside a word is none.
fn quoted(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        let closing = QUOTES.iter().filter(|(open, _)| *open == first && !before.is_alphanumeric());
        let end = closing.filter_map(|(_, close)| Some((rest.find(*close)?, close.len_utf8()))).min();
        if let Some((end, close_len)) = end {
            found.push(rest[..end].to_owned());
            rest = &rest[end + close_len..];
        }
        before = first;
    }
    found.retain(|text| !text.is_empty());
    found
}

fn numbers(text: &str) -> Vec<f64> {
    let words = text.split(|c: char| c.is_whitespace() || "\"'`,;:()?!=".contains(c));
    words.filter_map(|word| word.trim_end_matches('.').parse().ok()).filter(|n: &f64| n.is_finite()).collect()
}

/// `text` without `word` in front and the space after it.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let head = text.get(..word.len()).filter(|head| head.eq_ignore_ascii_case(word))?;
    let rest = &text[head.len()..];
    rest.starts_with([' ', '\t']).then(|| rest.trim_start_matches([' ', '\t']))
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word).any(|(start, found)| {
        let before = text[..start].chars().next_back();
        let after = text[start + found.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
