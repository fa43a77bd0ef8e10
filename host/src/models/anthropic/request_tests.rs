use super::*;
use crate::models::ChatRequest;

fn chat(extra: Value) -> Value {
    try_chat(extra).unwrap()
}

fn try_chat(extra: Value) -> Result<Value, RequestError> {
    let mut value = json!({ "model": "anthropic/claude", "max_tokens": 9,
        "messages": [{ "role": "user", "content": "hi" }] });
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let chat = to_chat(value)?;
    ChatRequest::from_value(chat.clone()).expect("what comes out is a request");
    Ok(chat)
}

#[test]
fn a_request_of_claude_code_is_understood() {
    let said = chat(json!({
        "system": [{ "type": "text", "text": "be kind", "cache_control": { "type": "ephemeral" } }],
        "metadata": { "user_id": "u" }, "thinking": { "type": "adaptive" }, "stream": true, "temperature": 1,
        "stop_sequences": ["END"], "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "tools": [{ "name": "Read", "description": "reads", "input_schema": { "type": "object" },
            "cache_control": { "type": "ephemeral" } }],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "go" }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "sig" },
                { "type": "text", "text": "I read." },
                { "type": "tool_use", "id": "toolu_1", "name": "Read", "input": { "path": "a" } } ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_1", "is_error": true,
                  "content": [{ "type": "text", "text": "no such file" }] },
                { "type": "text", "text": "go on", "cache_control": { "type": "ephemeral" } } ] },
        ],
    }));
    let ephemeral = json!({ "type": "ephemeral" });
    assert_eq!(
        said["messages"],
        json!([
            { "role": "system", "content": [{ "type": "text", "text": "be kind", "cache_control": ephemeral }] },
            { "role": "user", "content": [{ "type": "text", "text": "go" }] },
            { "role": "assistant", "content": [{ "type": "text", "text": "I read." }],
              "tool_calls": [{ "id": "toolu_1", "type": "function",
                "function": { "name": "Read", "arguments": "{\"path\":\"a\"}" } }],
              "reasoning_content": "hm",
              "reasoning_details": [{ "type": "reasoning.text", "text": "hm", "signature": "sig",
                "format": "anthropic-claude-v1" }] },
            { "role": "tool", "tool_call_id": "toolu_1", "is_error": true,
              "content": [{ "type": "text", "text": "no such file" }] },
            { "role": "user", "content": [{ "type": "text", "text": "go on", "cache_control": ephemeral }] },
        ])
    );
    assert_eq!(
        said["anthropic"],
        json!({ "metadata": { "user_id": "u" }, "thinking": { "type": "adaptive" } })
    );
    assert_eq!((&said["stop"], &said["tool_choice"]), (&json!(["END"]), &json!("required")));
    assert_eq!((&said["parallel_tool_calls"], &said["max_tokens"]), (&json!(false), &json!(9)));
    assert_eq!(said["tools"][0]["function"]["cache_control"], ephemeral);
}

#[test]
fn what_is_wrong_is_named() {
    let message = |message: Value| json!({ "messages": [message] });
    let user = |block: Value| message(json!({ "role": "user", "content": [block] }));
    for (extra, param) in [
        (json!({ "messages": [] }), "messages"),
        (json!({ "messages": null }), "messages"),
        (message(json!({ "role": "wizard", "content": "x" })), "messages.0.role"),
        (message(json!({ "role": "user" })), "messages.0.content"),
        (user(json!({ "type": "server_tool_use" })), "messages.0.content.0.type"),
        (user(json!({ "type": "image" })), "messages.0.content.0.source"),
        (
            user(json!({ "type": "image", "source": { "type": "file", "file_id": "f" } })),
            "messages.0.content.0.source.type",
        ),
        (user(json!({ "type": "tool_result" })), "messages.0.content.0.tool_use_id"),
        (json!({ "system": 7 }), "system"),
        (json!({ "tools": [{ "name": "x" }] }), "tools.0.input_schema"),
        (json!({ "tools": [{ "type": "bash_20250124", "name": "bash" }] }), "tools.0.type"),
        (json!({ "tool_choice": { "type": "maybe" } }), "tool_choice.type"),
        (json!({ "stop_sequences": "x" }), "stop_sequences"),
    ] {
        assert_eq!(try_chat(extra.clone()).unwrap_err().param.as_deref(), Some(param), "{extra}");
    }
}

#[test]
fn thinking_without_a_signature_is_heard_and_not_sent_back() {
    let said = chat(json!({ "messages": [
        { "role": "assistant", "content": [{ "type": "thinking", "thinking": "hm", "signature": "" }] },
        { "role": "user", "content": "go" } ] }));
    assert_eq!(said["messages"][0]["reasoning_content"], "hm");
    assert_eq!(said["messages"][0].get(DETAILS), None);
}
