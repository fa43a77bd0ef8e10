use super::*;
use crate::models::ChatRequest;

fn try_chat(extra: Value) -> Result<Value, RequestError> {
    let mut value = json!({ "model": "r/gpt", "input": "hi" });
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let (chat, _) = to_chat(value)?;
    ChatRequest::from_value(chat.clone()).expect("what comes out is a request");
    Ok(chat)
}

#[test]
fn the_items_of_a_turn_become_one_message() {
    let google = Thought { id: Some("c2".into()), ..Thought::sealed(Maker::Google, "seal") };
    let said = try_chat(json!({ "instructions": "be kind", "input": [
        { "role": "user", "content": "go" },
        { "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "hm" }],
          "encrypted_content": "enc" },
        { "type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": google.to_opaque() },
        { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "I ask." }] },
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
        { "type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c1", "output": "1" },
        { "type": "function_call_output", "call_id": "c2", "output": [{ "type": "input_text", "text": "2" }] },
        { "role": "user", "content": [{ "type": "input_text", "text": "and?" },
            { "type": "input_image", "image_url": "https://x.test/a.png", "detail": "low" }] },
    ] }))
    .unwrap();
    assert_eq!(
        said["messages"],
        json!([
            { "role": "system", "content": "be kind" },
            { "role": "user", "content": "go" },
            { "role": "assistant", "content": "I ask.", "reasoning_content": "hm",
              "reasoning_details": [{ "type": "reasoning.encrypted", "data": "enc", "id": "rs_1", "text": "hm",
                "format": "openai-responses-v1" }],
              "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } },
                { "id": "c2", "type": "function", "function": { "name": "g", "arguments": "{}" },
                  "extra_content": { "google": { "thought_signature": "seal" } } } ] },
            { "role": "tool", "tool_call_id": "c1", "content": "1" },
            { "role": "tool", "tool_call_id": "c2", "content": "2" },
            { "role": "user", "content": [{ "type": "text", "text": "and?" },
                { "type": "image_url", "image_url": { "url": "https://x.test/a.png", "detail": "low" } }] },
        ])
    );
}

#[test]
fn options_have_their_chat_names_and_bookkeeping_is_left_out() {
    let said = try_chat(json!({
        "max_output_tokens": 5, "store": true, "metadata": { "a": "b" }, "prompt_cache_key": "k", "truncation": "disabled",
        "include": ["reasoning.encrypted_content"], "reasoning": { "effort": "high", "summary": "auto" },
        "text": { "verbosity": "low", "format": { "type": "json_schema", "name": "n", "schema": {}, "strict": true } },
        "tools": [{ "type": "function", "name": "f", "parameters": { "type": "object" }, "strict": null }],
        "tool_choice": { "type": "function", "name": "f" },
    }))
    .unwrap();
    assert_eq!(
        said,
        json!({
            "model": "r/gpt", "messages": [{ "role": "user", "content": "hi" }], "max_completion_tokens": 5,
            "prompt_cache_key": "k", "reasoning_effort": "high", "verbosity": "low",
            "openai_responses": { "reasoning": { "summary": "auto" } },
            "response_format": { "type": "json_schema",
                "json_schema": { "name": "n", "schema": {}, "strict": true } },
            "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }],
            "tool_choice": { "type": "function", "function": { "name": "f" } },
        })
    );
}

#[test]
fn what_is_wrong_is_named() {
    let item = |item: Value| json!({ "input": [item] });
    for (extra, param) in [
        (json!({ "input": null }), "input"),
        (json!({ "input": [] }), "input"),
        (json!({ "input": 7 }), "input"),
        (item(json!({ "role": "wizard", "content": "x" })), "input[0].role"),
        (item(json!({ "role": "user" })), "input[0].content"),
        (item(json!({ "type": "item_reference", "id": "x" })), "input[0].type"),
        (item(json!({ "role": "user", "content": [{ "type": "video" }] })), "input[0].content[0].type"),
        (item(json!({ "type": "function_call", "name": "f" })), "input[0].call_id"),
        (json!({ "conversation": "c" }), "conversation"),
        (json!({ "truncation": "auto" }), "truncation"),
        (json!({ "tools": [{ "type": "custom", "name": "x" }] }), "tools[0].type"),
        (json!({ "text": { "format": { "type": "grammar" } } }), "text.format.type"),
    ] {
        assert_eq!(try_chat(extra.clone()).unwrap_err().param.as_deref(), Some(param), "{extra}");
    }
}
