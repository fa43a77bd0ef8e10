use super::*;

fn body(extra: Value) -> Value {
    try_body(extra).unwrap()
}

fn try_body(extra: Value) -> Result<Value, RequestError> {
    let mut value = json!({ "model": "anthropic/claude", "messages": [{ "role": "user", "content": "hi" }] });
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    super::body("claude", &ChatRequest::from_value(value).unwrap())
}

fn call(id: &str, arguments: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": arguments } })
}

#[test]
fn a_limit_is_always_said_and_the_system_stands_apart() {
    let said = body(json!({ "messages": [
        { "role": "system", "content": "be kind" },
        { "role": "user", "content": "hi" },
        { "role": "developer", "content": [{ "type": "text", "text": "be brief", "cache_control": { "type": "ephemeral" } }] },
    ] }));
    assert_eq!(said["max_tokens"], MAX_TOKENS_DEFAULT);
    assert_eq!(
        said["system"],
        json!([
            { "type": "text", "text": "be kind" },
            { "type": "text", "text": "be brief", "cache_control": { "type": "ephemeral" } },
        ])
    );
    assert_eq!(said["messages"], json!([{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }]));
    assert_eq!((&said["model"], &said["stream"]), (&json!("claude"), &json!(true)));
    assert_eq!(body(json!({ "max_completion_tokens": 7 }))["max_tokens"], 7);
}

#[test]
fn turns_alternate_and_all_results_stand_first_in_one_message() {
    let said = body(json!({ "messages": [
        { "role": "user", "content": "one" },
        { "role": "user", "content": [{ "type": "text", "text": "" }, { "type": "text", "text": "two" }] },
        { "role": "assistant", "content": "", "tool_calls": [call("a", "{\"x\":1}"), call("b", "{oops")] },
        { "role": "tool", "tool_call_id": "a", "content": "1" },
        { "role": "user", "content": "and?" },
        { "role": "tool", "tool_call_id": "b", "content": [
            { "type": "text", "text": "see" },
            { "type": "image_url", "image_url": { "url": "https://x.test/a.png" } } ], "is_error": true },
    ] }));
    assert_eq!(
        said["messages"],
        json!([
            { "role": "user", "content": [{ "type": "text", "text": "one" }, { "type": "text", "text": "two" }] },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1 } },
                { "type": "tool_use", "id": "b", "name": "f", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "a", "content": [{ "type": "text", "text": "1" }] },
                { "type": "tool_result", "tool_use_id": "b", "is_error": true, "content": [
                    { "type": "text", "text": "see" },
                    { "type": "image", "source": { "type": "url", "url": "https://x.test/a.png" } },
                ] },
                { "type": "text", "text": "and?" },
            ] },
        ])
    );
}

#[test]
fn tools_keep_their_schema_and_a_choice_says_whether_calls_may_stand_side_by_side() {
    let tools = json!([{ "type": "function", "function": { "name": "f", "description": "does", "strict": true,
        "parameters": { "type": "object", "properties": {} } } }]);
    let choice = |extra: Value| {
        let mut all = json!({ "tools": tools });
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let said = body(all);
        assert_eq!(
            said["tools"],
            json!([{ "name": "f", "description": "does", "strict": true,
                "input_schema": { "type": "object", "properties": {} } }]),
            "also with the choice of none"
        );
        said["tool_choice"].clone()
    };
    assert_eq!(choice(json!({})), Value::Null);
    assert_eq!(choice(json!({ "tool_choice": "required" })), json!({ "type": "any" }));
    assert_eq!(choice(json!({ "tool_choice": "none" })), json!({ "type": "none" }));
    assert_eq!(
        choice(json!({ "parallel_tool_calls": false })),
        json!({ "type": "auto", "disable_parallel_tool_use": true })
    );
    let one = json!({ "type": "function", "function": { "name": "f" } });
    assert_eq!(
        choice(json!({ "tool_choice": one, "parallel_tool_calls": false })),
        json!({ "type": "tool", "name": "f", "disable_parallel_tool_use": true })
    );
}

#[test]
fn anthropics_own_words_go_as_they_came_and_set_nothing_that_is_typed() {
    let said = body(
        json!({ "top_k": 5, "reasoning_effort": "high", "user": "u", "store": true, "anthropic": {
        "thinking": { "type": "enabled", "budget_tokens": 2048 }, "output_config": { "effort": "max" },
        "model": "other", "system": "other", "tools": [{ "type": "bash" }], "context_management": { "edits": [] } } }),
    );
    assert_eq!(said["thinking"]["budget_tokens"], 2048);
    assert_eq!((&said["model"], said.get("tools"), said.get("system")), (&json!("claude"), None, None));
    assert_eq!((&said["top_k"], &said["metadata"]["user_id"]), (&json!(5), &json!("u")));
    assert_eq!(said["context_management"], json!({ "edits": [] }));
    assert_eq!(said["output_config"], json!({ "effort": "max" }));
    assert_eq!(said.get("store"), None);
    assert_eq!(body(json!({ "reasoning_effort": "minimal" }))["output_config"]["effort"], "low");
    assert_eq!(body(json!({ "reasoning_effort": "none" }))["thinking"], json!({ "type": "disabled" }));
}

#[test]
fn what_cannot_be_said_is_refused() {
    let audio = json!([{ "role": "user", "content": [
        { "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }] }]);
    for (extra, param) in [
        (json!({ "temperature": 1.2 }), "temperature"),
        (json!({ "presence_penalty": 0.5 }), "presence_penalty"),
        (json!({ "response_format": { "type": "json_object" } }), "response_format"),
        (json!({ "messages": audio }), "messages[0].content"),
    ] {
        assert_eq!(try_body(extra.clone()).unwrap_err().param.as_deref(), Some(param), "{extra}");
    }
    assert!(try_body(json!({ "presence_penalty": 0, "temperature": 1 })).is_ok());
}
