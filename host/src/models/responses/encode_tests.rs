use super::*;

fn try_body(extra: Value) -> Result<Value, RequestError> {
    let mut value = json!({ "model": "r/gpt", "messages": [{ "role": "user", "content": "hi" }] });
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body("gpt", &ChatRequest::from_value(value).unwrap())
}

#[test]
fn a_turn_is_reasoning_words_and_calls_in_this_order() {
    let thought =
        Thought { id: Some("rs_1".into()), text: "sum".into(), ..Thought::sealed(Maker::OpenAi, "enc") };
    let said = try_body(json!({ "messages": [
        { "role": "developer", "content": "be kind" },
        { "role": "assistant", "content": "I ask.", "reasoning_details": [thought.to_detail()], "tool_calls": [
            { "id": "c1", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c1", "content": [{ "type": "text", "text": "42" }] },
        { "role": "assistant", "content": null, "refusal": "no" },
    ] }));
    assert_eq!(
        said.unwrap()["input"],
        json!([
            { "type": "message", "role": "developer", "content": [{ "type": "input_text", "text": "be kind" }] },
            { "type": "reasoning", "id": "rs_1", "encrypted_content": "enc",
              "summary": [{ "type": "summary_text", "text": "sum" }] },
            { "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "I ask." }] },
            { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c1", "output": "42" },
            { "type": "message", "role": "assistant", "content": [{ "type": "refusal", "refusal": "no" }] },
        ])
    );
}

#[test]
fn nothing_is_stored_and_options_have_their_names_here() {
    let said = try_body(json!({
        "max_tokens": 5, "reasoning_effort": "low", "verbosity": "low", "seed": 7, "user": "u",
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": {}, "strict": true } },
        "tools": [{ "type": "function", "function": { "name": "f" } }],
        "tool_choice": { "type": "function", "function": { "name": "f" } }, "parallel_tool_calls": false,
        "openai_responses": { "reasoning": { "summary": "auto" }, "previous_response_id": "no" },
    }))
    .unwrap();
    assert_eq!((&said["store"], &said["include"]), (&json!(false), &json!(["reasoning.encrypted_content"])));
    assert_eq!(said["reasoning"], json!({ "effort": "low", "summary": "auto" }));
    assert_eq!(
        said["text"],
        json!({ "verbosity": "low", "format": { "type": "json_schema", "name": "n", "schema": {}, "strict": true } })
    );
    assert_eq!((said.get("seed"), said.get("previous_response_id")), (None, None));
    assert_eq!((&said["user"], &said["max_output_tokens"]), (&json!("u"), &json!(5)));
    assert_eq!(said["tools"][0]["strict"], json!(false), "the chat dialect is not strict unless told");
    assert_eq!(said["tool_choice"], json!({ "type": "function", "name": "f" }));
    assert_eq!(said["parallel_tool_calls"], json!(false));
    assert_eq!(try_body(json!({ "stop": "x" })).unwrap_err().param.as_deref(), Some("stop"));
}
