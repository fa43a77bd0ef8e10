use super::*;

fn base() -> Value {
    json!({ "model": "openai/gpt-x", "messages": [{ "role": "user", "content": "hi" }] })
}

fn with(key: &str, value: Value) -> Value {
    let mut body = base();
    body[key] = value;
    body
}

fn tool(name: &str, parameters: Value) -> Value {
    json!({ "type": "function", "function": { "name": name, "parameters": parameters } })
}

fn object() -> Value {
    json!({ "type": "object", "properties": {} })
}

/// The `param` and `code` a body is refused with.
fn refusal(body: Value) -> (String, &'static str) {
    let error = ChatRequest::from_value(body.clone()).expect_err(&format!("{body} should be refused"));
    (error.param.unwrap_or_default(), error.code)
}

#[test]
fn every_field_out_of_bounds_is_refused_by_name() {
    let many = |count: usize, value: Value| Value::Array(vec![value; count]);
    let cases = [
        (with("model", json!(null)), "model"),
        (with("model", json!("a b")), "model"),
        (with("model", json!("/x")), "model"),
        (with("model", json!("openai/")), "model"),
        (with("messages", json!(null)), "messages"),
        (with("messages", json!("hi")), "messages"),
        (with("messages", json!([])), "messages"),
        (with("messages", many(MESSAGES_MAX + 1, json!({}))), "messages"),
        (with("messages", json!(["hi"])), "messages[0]"),
        (with("messages", json!([{ "content": "hi" }])), "messages[0].role"),
        (with("messages", json!([{ "role": "wizard", "content": "hi" }])), "messages[0].role"),
        (with("messages", json!([{ "role": "function", "content": "hi" }])), "messages[0].role"),
        (with("messages", json!([{ "role": "user" }])), "messages[0].content"),
        (with("messages", json!([{ "role": "assistant" }])), "messages[0].content"),
        (with("messages", json!([{ "role": "user", "content": 7 }])), "messages[0].content"),
        (with("messages", json!([{ "role": "user", "content": [] }])), "messages[0].content"),
        (
            with("messages", json!([{ "role": "user", "content": [{ "type": "x" }] }])),
            "messages[0].content[0].type",
        ),
        (
            with("messages", json!([{ "role": "user", "content": [{ "type": "text" }] }])),
            "messages[0].content[0].text",
        ),
        (
            with("messages", json!([{ "role": "system", "content": [{ "type": "image_url" }] }])),
            "messages[0].content[0].type",
        ),
        (
            with(
                "messages",
                json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "file:///etc/passwd" } }] }]),
            ),
            "messages[0].content[0].image_url.url",
        ),
        (
            with("messages", json!([{ "role": "user", "content": "x", "tool_calls": [] }])),
            "messages[0].tool_calls",
        ),
        (with("temperature", json!(2.1)), "temperature"),
        (with("temperature", json!(-0.1)), "temperature"),
        (with("temperature", json!("hot")), "temperature"),
        (with("top_p", json!(1.1)), "top_p"),
        (with("presence_penalty", json!(3)), "presence_penalty"),
        (with("max_tokens", json!(0)), "max_tokens"),
        (with("max_tokens", json!(-1)), "max_tokens"),
        (with("max_tokens", json!(1.5)), "max_tokens"),
        (with("max_completion_tokens", json!(0)), "max_completion_tokens"),
        (with("n", json!(CHOICES_MAX + 1)), "n"),
        (with("n", json!(0)), "n"),
        (with("logprobs", json!("yes")), "logprobs"),
        (with("top_logprobs", json!(2)), "top_logprobs"),
        (with("modalities", json!(["text", "audio"])), "modalities"),
        (with("functions", json!([])), "functions"),
        (with("stop", json!(["a", "b", "c", "d", "e"])), "stop"),
        (with("stop", json!("")), "stop"),
        (with("stream", json!("yes")), "stream"),
        (with("stream_options", json!({ "include_usage": 1 })), "stream_options.include_usage"),
        (with("agent", json!("a b")), "agent"),
        (with("session_id", json!("")), "session_id"),
        (with("tools", json!({})), "tools"),
        (with("tools", many(TOOLS_MAX + 1, tool("a", object()))), "tools"),
        (with("tools", json!([{ "type": "custom", "custom": {} }])), "tools[0].type"),
        (with("tools", json!([tool("no spaces", object())])), "tools[0].function.name"),
        (with("tools", json!([tool("", object())])), "tools[0].function.name"),
        (with("tools", json!([tool(&"x".repeat(65), object())])), "tools[0].function.name"),
        (with("tools", json!([tool("a", object()), tool("a", object())])), "tools[1].function.name"),
        (with("tools", json!([tool("a", json!({}))])), "tools[0].function.parameters"),
        (with("tools", json!([tool("a", json!({ "type": "string" }))])), "tools[0].function.parameters"),
        (with("tools", json!([tool("a", json!("object"))])), "tools[0].function.parameters"),
        (with("tool_choice", json!("required")), "tool_choice"),
        (with("tool_choice", json!("sometimes")), "tool_choice"),
        (with("tool_choice", json!({ "type": "function", "function": { "name": "a" } })), "tool_choice"),
    ];
    for (body, param) in cases {
        assert_eq!(refusal(body.clone()).0, param, "{body}");
    }
    assert_eq!(refusal(json!([])), (String::new(), "invalid_type"));
    assert_eq!(ChatRequest::from_slice(b"{").unwrap_err().code, "invalid_json");
}

#[test]
fn a_tool_message_must_answer_a_call_that_was_made() {
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [
        { "id": "c1", "type": "function", "function": { "name": "add", "arguments": "{}" } } ] });
    let answer = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "3" });
    let user = json!({ "role": "user", "content": "go" });

    assert!(ChatRequest::from_value(with("messages", json!([user, call, answer("c1")]))).is_ok());
    let orphan = with("messages", json!([user, call, answer("c2")]));
    assert_eq!(refusal(orphan.clone()), ("messages[2].tool_call_id".into(), "invalid_value"));
    let early = with("messages", json!([user, answer("c1"), call]));
    assert_eq!(refusal(early).0, "messages[1].tool_call_id");
    let nameless = with("messages", json!([{ "role": "tool", "content": "3" }]));
    assert_eq!(refusal(nameless).0, "messages[0].tool_call_id");

    let mut in_session = orphan;
    in_session["session_id"] = json!("s1");
    let request = ChatRequest::from_value(in_session).expect("the history may hold the call");
    assert!(check_tool_answers(&request.messages).is_err());
}

#[test]
fn tool_calls_have_a_shape() {
    let body = |call: Value| with("messages", json!([{ "role": "assistant", "tool_calls": call }]));
    let good = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let changed = |pointer: &str, value: Value| {
        let mut call = good.clone();
        *call.pointer_mut(pointer).expect("a field of a call") = value;
        body(json!([call]))
    };
    let cases = [
        (changed("/id", json!("")), "messages[0].tool_calls[0].id"),
        (changed("/id", json!(1)), "messages[0].tool_calls[0].id"),
        (changed("/type", json!("custom")), "messages[0].tool_calls[0].type"),
        (changed("/function", json!(null)), "messages[0].tool_calls[0].function"),
        (changed("/function/name", json!("a b")), "messages[0].tool_calls[0].function.name"),
        (changed("/function/arguments", json!({})), "messages[0].tool_calls[0].function.arguments"),
        (body(json!([good, good])), "messages[0].tool_calls[1].id"),
        (body(json!({})), "messages[0].tool_calls"),
        (body(json!([])), "messages[0].content"),
    ];
    for (body, param) in cases {
        assert_eq!(refusal(body.clone()).0, param, "{body}");
    }
}

#[test]
fn unknown_fields_survive_and_ours_do_not_travel() {
    let mut body = with("seed", json!(7));
    body["response_format"] = json!({ "type": "json_object" });
    body["presence_penalty"] = json!(0.5);
    body["agent"] = json!("helper");
    body["session_id"] = json!("ses_1");
    body["n"] = json!(1);
    body["temperature"] = json!(null);
    body["messages"][0]["name"] = json!("ann");
    body["messages"][0]["content"] =
        json!([{ "type": "text", "text": "hi", "cache_control": { "type": "ephemeral" } }]);
    let request = ChatRequest::from_value(body).unwrap();

    assert_eq!((request.agent.as_deref(), request.session_id.as_deref()), (Some("helper"), Some("ses_1")));
    assert_eq!(request.temperature, None);
    let rest = json!({ "seed": 7, "response_format": { "type": "json_object" }, "presence_penalty": 0.5 });
    assert_eq!(Value::Object(request.rest), rest);
    insta::assert_snapshot!(request.messages[0].to_value(), @r#"{"content":[{"cache_control":{"type":"ephemeral"},"text":"hi","type":"text"}],"name":"ann","role":"user"}"#);
}

#[test]
fn a_model_may_contain_slashes_and_a_bare_name_stays_bare() {
    let id = |text| ModelId::parse(text).map(|id| (id.provider, id.model)).unwrap();
    assert_eq!(id("openrouter/meta/llama:free"), (Some("openrouter".into()), "meta/llama:free".into()));
    assert_eq!(id("gpt-x"), (None, "gpt-x".into()));
    assert_eq!(ModelId::parse("a/b/c").unwrap().to_string(), "a/b/c");
}

#[test]
fn tool_choice_may_name_a_tool_of_the_host() {
    let body = with("tool_choice", json!({ "type": "function", "function": { "name": "word_count" } }));
    let request = ChatRequest::from_value_with_tools(body, &["word_count"]).unwrap();
    assert_eq!(request.tool_choice, Some(ToolChoice::Function("word_count".into())));
}

#[test]
fn the_smaller_token_limit_wins() {
    let mut body = with("max_tokens", json!(10));
    body["max_completion_tokens"] = json!(5);
    assert_eq!(ChatRequest::from_value(body).unwrap().output_tokens_max(), Some(5));
}

#[test]
fn a_message_survives_being_stored() {
    let value = json!({ "role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [
        { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" },
          "extra_content": { "google": { "thought_signature": "abc" } } } ] });
    let message: Message = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(serde_json::to_value(message).unwrap(), value);
}
