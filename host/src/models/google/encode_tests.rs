use super::*;

fn body(extra: Value) -> Value {
    try_body("gemini-3-pro", extra).unwrap()
}

fn try_body(model: &str, extra: Value) -> Result<Value, RequestError> {
    let mut value = json!({ "model": "google/gemini", "messages": [{ "role": "user", "content": "hi" }] });
    value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    super::body(model, &ChatRequest::from_value(value).unwrap())
}

fn call(id: &str) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": format!("f_{id}"), "arguments": "{\"x\":1}" } })
}

#[test]
fn answers_stand_in_the_order_of_the_calls_one_for_each() {
    let said = body(json!({ "messages": [
        { "role": "system", "content": "be kind" },
        { "role": "user", "content": "go" },
        { "role": "assistant", "content": null, "tool_calls": [call("a"), call("b"), call("call_3_1")] },
        { "role": "tool", "tool_call_id": "call_3_1", "content": "three" },
        { "role": "tool", "tool_call_id": "b", "content": "{\"two\":2}" },
        { "role": "tool", "tool_call_id": "a", "content": "no", "is_error": true },
        { "role": "user", "content": "and?" },
    ] }));
    assert_eq!(said["systemInstruction"], json!({ "parts": [{ "text": "be kind" }] }));
    assert_eq!(
        said["contents"],
        json!([
            { "role": "user", "parts": [{ "text": "go" }] },
            { "role": "model", "parts": [
                { "functionCall": { "id": "a", "name": "f_a", "args": { "x": 1 } } },
                { "functionCall": { "id": "b", "name": "f_b", "args": { "x": 1 } } },
                { "functionCall": { "name": "f_call_3_1", "args": { "x": 1 } } },
            ] },
            { "role": "user", "parts": [
                { "functionResponse": { "id": "a", "name": "f_a", "response": { "error": "no" } } },
                { "functionResponse": { "id": "b", "name": "f_b", "response": { "two": 2 } } },
                { "functionResponse": { "name": "f_call_3_1", "response": { "output": "three" } } },
                { "text": "and?" },
            ] },
        ])
    );
    let unanswered = json!({ "messages": [
        { "role": "assistant", "content": null, "tool_calls": [call("a"), call("b")] },
        { "role": "tool", "tool_call_id": "b", "content": "2" } ] });
    assert_eq!(try_body("g", unanswered).unwrap_err().param.as_deref(), Some("messages[0].tool_calls"));
}

#[test]
fn a_signature_goes_onto_the_text_it_came_with() {
    let parts = |content: &str, text: &str| {
        let detail = Thought { text: text.into(), ..Thought::sealed(Maker::Google, "seal") }.to_detail();
        let message = json!({ "role": "assistant", "content": content, "reasoning_details": [detail] });
        body(json!({ "messages": [message] }))["contents"][0]["parts"].clone()
    };
    assert_eq!(
        parts("Hello you", " you"),
        json!([{ "text": "Hello" }, { "text": " you", "thoughtSignature": "seal" }])
    );
    assert_eq!(parts("you", "you"), json!([{ "text": "you", "thoughtSignature": "seal" }]));
    assert_eq!(parts("Hello", ""), json!([{ "text": "Hello" }, { "text": "", "thoughtSignature": "seal" }]));
}

#[test]
fn options_have_googles_names_and_a_schema_loses_what_is_about_itself() {
    let said = body(json!({
        "temperature": 0.5, "top_p": 0.9, "top_k": 3, "seed": 7, "stop": "END", "max_tokens": 5,
        "presence_penalty": 0.1, "reasoning_effort": "low", "tool_choice": { "type": "function", "function": { "name": "f" } },
        "tools": [{ "type": "function", "function": { "name": "f", "strict": true, "parameters": {
            "$schema": "x", "type": "object", "properties": { "a": { "$id": "y", "type": "string" } } } } }],
        "google": { "safetySettings": [1], "contents": "no", "generationConfig": { "topK": 9, "mediaResolution": "LOW" } },
    }));
    assert_eq!(
        said["generationConfig"],
        json!({ "temperature": 0.5, "topP": 0.9, "topK": 3, "seed": 7, "stopSequences": ["END"],
            "maxOutputTokens": 5, "presencePenalty": 0.1, "mediaResolution": "LOW",
            "thinkingConfig": { "includeThoughts": true, "thinkingLevel": "low" } })
    );
    assert_eq!(
        said["tools"],
        json!([{ "functionDeclarations": [{ "name": "f", "parametersJsonSchema": {
            "type": "object", "properties": { "a": { "type": "string" } } } }] }])
    );
    assert_eq!(
        said["toolConfig"],
        json!({ "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["f"] } })
    );
    assert_eq!((&said["safetySettings"], said["contents"].is_array()), (&json!([1]), true));
    let budget = |effort: &str| {
        let said = try_body("gemini-2.5-flash", json!({ "reasoning_effort": effort })).unwrap();
        said["generationConfig"]["thinkingConfig"]["thinkingBudget"].clone()
    };
    assert_eq!([budget("none"), budget("low"), budget("high")], [0, 1024, 24_576]);
}
