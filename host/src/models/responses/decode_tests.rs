use super::*;
use crate::models::frames::Decode;
use crate::models::{EventStream, stream::ReplyTo};
use futures_util::{StreamExt, stream};
use serde_json::json;

async fn seen(reply: &str) -> String {
    let mut decoder = Decoder::default();
    let (mut events, mut items) = (Vec::new(), Vec::new());
    let result = decoder.push(reply.as_bytes(), &mut events).and_then(|()| decoder.end(&mut events));
    items.extend(events.into_iter().map(Ok));
    items.extend(result.err().map(Err));
    let lines = EventStream::new(stream::iter(items), ReplyTo::default()).map(|item| match item {
        Ok(event) => event.to_guest_json(),
        Err(error) => format!("error {} {}: {error}", error.status, error.code),
    });
    lines.collect::<Vec<_>>().await.join("\n")
}

fn output() -> Value {
    json!([
        { "type": "reasoning", "id": "rs_1", "encrypted_content": "enc",
          "summary": [{ "type": "summary_text", "text": "a" }, { "type": "summary_text", "text": "b" }] },
        { "type": "message", "content": [{ "type": "output_text", "text": "hi" }, { "type": "refusal", "refusal": "no" }] },
        { "type": "function_call", "call_id": "c1", "name": "f", "arguments": "{\"x\":1}" },
    ])
}

fn response(more: Value) -> Value {
    let mut response = json!({ "object": "response", "status": "completed", "output": output(), "usage": {
        "input_tokens": 9, "input_tokens_details": { "cached_tokens": 2 },
        "output_tokens": 4, "output_tokens_details": { "reasoning_tokens": 3 } } });
    response.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    response
}

#[tokio::test]
async fn what_came_in_pieces_is_not_said_again_and_what_did_not_is() {
    let told = seen(&response(json!({})).to_string()).await;
    insta::assert_snapshot!(told, @r##"
    {"text":"a\n\nb","type":"reasoning"}
    {"detail":{"data":"enc","format":"openai-responses-v1","id":"rs_1","text":"a\n\nb","type":"reasoning.encrypted"},"type":"thought"}
    {"text":"hi","type":"text"}
    {"text":"no","type":"text"}
    {"arguments":"","id":"c1","index":0,"name":"f","type":"tool_call"}
    {"arguments":"{\"x\":1}","index":0,"type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":2,"completion_tokens":4,"estimated":false,"prompt_tokens":9,"reasoning_tokens":3,"type":"usage"}
    "##);

    // The same as a stream: the call and the words in pieces, the reasoning at its end alone.
    let items = output();
    let at = |kind: &str, at: u64, more: Value| {
        let mut event = json!({ "type": kind, "output_index": at });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let begun = json!({ "type": "function_call", "call_id": "c1", "name": "f", "arguments": "" });
    let stream = [
        json!({ "type": "response.created", "response": {} }),
        at("response.output_item.added", 0, json!({ "item": { "type": "reasoning", "summary": [] } })),
        at("response.output_item.done", 0, json!({ "item": items[0] })),
        at("response.output_item.added", 1, json!({ "item": { "type": "message", "content": [] } })),
        at("response.output_text.delta", 1, json!({ "delta": "hi" })),
        at("response.refusal.delta", 1, json!({ "delta": "no" })),
        at("response.output_item.done", 1, json!({ "item": items[1] })),
        at("response.output_item.added", 2, json!({ "item": begun })),
        at("response.function_call_arguments.delta", 2, json!({ "delta": "{\"x\":1}" })),
        at("response.output_item.done", 2, json!({ "item": items[2] })),
        json!({ "type": "response.completed", "response": response(json!({})) }),
    ];
    let frames: String = stream.iter().map(|event| format!("data: {event}\n\n")).collect();
    assert_eq!(seen(&frames).await, told);
}

#[tokio::test]
async fn an_unfinished_answer_says_why_and_a_failed_one_is_an_error() {
    for (reason, word) in [("max_output_tokens", "length"), ("content_filter", "content_filter")] {
        let cut = response(json!({ "status": "incomplete", "incomplete_details": { "reason": reason } }));
        assert!(seen(&cut.to_string()).await.contains(&format!("\"reason\":\"{word}\"")));
    }
    let failed = json!({ "type": "response.failed", "response": { "status": "failed",
        "error": { "code": "rate_limit_exceeded", "message": "slow" } } });
    assert!(seen(&format!("data: {failed}\n\n")).await.contains("error 429"));
    let error = json!({ "type": "error", "code": "invalid_request_error", "message": "bad", "param": null });
    assert!(seen(&format!("data: {error}\n\n")).await.contains("error 400 invalid_request_error: bad"));
    assert!(seen("{\"hello\":1}").await.contains("it is no response"));
}
