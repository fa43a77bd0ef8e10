//! Plugins that describe their tools themselves, as mcp.run has it: `describe` gives what MCP's `tools/list` gives,
//! `call` takes and gives what `tools/call` does.

use crate::sandbox::bindings::tool::exports::opg::tool::tool::{Definition, Error};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What `call` takes.
pub(super) fn request(name: &str, input: &str) -> Result<Vec<u8>, String> {
    let arguments: &RawValue =
        serde_json::from_str(input).map_err(|error| format!("the input is not JSON: {error}"))?;
    #[derive(serde::Serialize)]
    struct Request<'a> {
        method: &'a str,
        params: Params<'a>,
    }
    #[derive(serde::Serialize)]
    struct Params<'a> {
        name: &'a str,
        arguments: &'a RawValue,
    }
    let request = Request { method: "tools/call", params: Params { name, arguments } };
    serde_json::to_vec(&request).map_err(|error| error.to_string())
}

#[derive(Deserialize)]
struct Tools {
    tools: Vec<Tool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    input_schema: Option<Value>,
}

/// What `describe` gave.
pub(super) fn definitions(said: &[u8]) -> Result<Vec<Definition>, String> {
    let said: Tools = serde_json::from_slice(said).map_err(|error| {
        format!(
            "`describe` gave no list of tools, as a plugin that exports `describe` and `call` must: {error}"
        )
    })?;
    Ok(said.tools.into_iter().map(Tool::definition).collect())
}

impl Tool {
    fn definition(self) -> Definition {
        let schema = self.input_schema.unwrap_or_else(|| json!({ "type": "object" }));
        Definition {
            name: self.name,
            description: self.description,
            input_schema: schema.to_string(),
            capabilities: vec![],
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    content: Vec<Value>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(default)]
    structured_content: Option<Box<RawValue>>,
}

/// What `call` gave: its structured content, else its text, else all of it.
pub(super) fn answer(said: &[u8]) -> Result<String, Error> {
    let said: Answer = serde_json::from_slice(said)
        .map_err(|error| Error::Failed(format!("`call` gave no result of a tool's call: {error}")))?;
    let text = said.text();
    if said.is_error == Some(true) {
        return Err(Error::Failed(text.unwrap_or_else(|| Value::Array(said.content).to_string())));
    }
    match (said.structured_content, text) {
        (Some(structured), _) if structured.get() != "null" => Ok(structured.get().to_owned()),
        (_, Some(text)) => Ok(super::json_or_text(text)),
        (_, None) => Ok(Value::Array(said.content).to_string()),
    }
}

impl Answer {
    /// All its parts, where they are text.
    fn text(&self) -> Option<String> {
        let part =
            |part: &Value| (part["type"] == "text").then(|| Some(part["text"].as_str()?.to_owned()))?;
        let parts: Option<Vec<String>> = self.content.iter().map(part).collect();
        parts.map(|parts| parts.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_what_mcp_has_it_be() {
        let asked: Value = serde_json::from_slice(&request("add", r#"{"a":1}"#).unwrap()).unwrap();
        assert_eq!(asked["params"], json!({ "name": "add", "arguments": { "a": 1 } }));
        assert!(request("add", "{").is_err());
    }

    #[test]
    fn an_answer_is_its_text_its_structure_or_all_of_it() {
        let answered = |said: &str| answer(said.as_bytes()).map_err(|error| format!("{error:?}"));
        for (said, output) in [
            (r#"{"content":[{"type":"text","text":"hi"}]}"#, r#""hi""#),
            (r#"{"content":[{"type":"text","text":"{\"a\":1}"}]}"#, r#"{"a":1}"#),
            (
                r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"isError":null}"#,
                r#""a\nb""#,
            ),
            (r#"{"content":[{"type":"text","text":"a"}],"structuredContent":{"b":2}}"#, r#"{"b":2}"#),
            (r#"{"content":[{"type":"image","data":"AA"}]}"#, r#"[{"data":"AA","type":"image"}]"#),
            (r#"{"content":[]}"#, "null"),
        ] {
            assert_eq!(answered(said).as_deref(), Ok(output), "{said}");
        }
        for said in ["", "7", "[]x", r#"{"content":7}"#] {
            assert!(answered(said).unwrap_err().contains("no result"), "{said}");
        }
        let failed = answered(r#"{"content":[{"type":"text","text":"no such city"}],"isError":true}"#);
        assert!(failed.unwrap_err().contains("no such city"));
    }
}
