use super::*;
use crate::models::frames::Decode;
use crate::models::{EventStream, stream::ReplyTo};
use futures_util::{StreamExt, stream};

/// What a consumer sees of a reply.
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

fn frames(values: &[Value]) -> String {
    values
        .iter()
        .map(|value| format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()))
        .collect()
}

fn start(usage: Value) -> Value {
    json!({ "type": "message_start", "message": { "usage": usage } })
}

fn block(index: u64, block: Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn delta(index: u64, delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn stop(index: u64) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn end(reason: &str, usage: Value) -> [Value; 2] {
    let delta = json!({ "stop_reason": reason, "stop_sequence": null });
    [json!({ "type": "message_delta", "delta": delta, "usage": usage }), json!({ "type": "message_stop" })]
}

#[tokio::test]
async fn blocks_are_numbered_over_everything_and_calls_among_themselves() {
    let [last, over] = end("tool_use", json!({ "output_tokens": 9 }));
    let reply = [
        start(json!({ "input_tokens": 3, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 5,
            "output_tokens": 1 })),
        json!({ "type": "ping" }),
        block(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "hm" })),
        delta(0, json!({ "type": "signature_delta", "signature": "sig" })),
        stop(0),
        block(1, json!({ "type": "text", "text": "" })),
        delta(1, json!({ "type": "text_delta", "text": "hi" })),
        stop(1),
        block(2, json!({ "type": "tool_use", "id": "toolu_1", "name": "f", "input": {} })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "" })),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"a\":1}" })),
        stop(2),
        block(3, json!({ "type": "tool_use", "id": "toolu_2", "name": "g", "input": {} })),
        stop(3),
        json!({ "type": "something_new" }),
        last,
        over,
    ];
    insta::assert_snapshot!(seen(&frames(&reply)).await, @r##"
    {"text":"hm","type":"reasoning"}
    {"detail":{"format":"anthropic-claude-v1","signature":"sig","text":"hm","type":"reasoning.text"},"type":"thought"}
    {"text":"hi","type":"text"}
    {"arguments":"","id":"toolu_1","index":0,"name":"f","type":"tool_call"}
    {"arguments":"{\"a\":1}","index":0,"type":"tool_call"}
    {"arguments":"","id":"toolu_2","index":1,"name":"g","type":"tool_call"}
    {"arguments":"{}","index":1,"type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cache_write_tokens":5,"cached_tokens":4,"completion_tokens":9,"estimated":false,"prompt_tokens":12,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[tokio::test]
async fn a_whole_message_is_read_as_its_stream_would_be() {
    let whole = json!({ "type": "message", "role": "assistant", "content": [
        { "type": "thinking", "thinking": "hm", "signature": "sig" },
        { "type": "redacted_thinking", "data": "xyz" },
        { "type": "text", "text": "hi" },
        { "type": "tool_use", "id": "toolu_1", "name": "f", "input": { "a": 1 } },
    ], "stop_reason": "tool_use", "usage": { "input_tokens": 3, "output_tokens": 9 } });
    insta::assert_snapshot!(seen(&whole.to_string()).await, @r##"
    {"text":"hm","type":"reasoning"}
    {"detail":{"format":"anthropic-claude-v1","signature":"sig","text":"hm","type":"reasoning.text"},"type":"thought"}
    {"detail":{"data":"xyz","format":"anthropic-claude-v1","type":"reasoning.encrypted"},"type":"thought"}
    {"text":"hi","type":"text"}
    {"arguments":"{\"a\":1}","id":"toolu_1","index":0,"name":"f","type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":0,"completion_tokens":9,"estimated":false,"prompt_tokens":3,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[tokio::test]
async fn every_reason_to_stop_has_its_meaning() {
    for (theirs, ours) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ] {
        let [last, over] = end(theirs, json!({ "output_tokens": 1 }));
        let told = seen(&frames(&[start(json!({ "input_tokens": 1 })), last, over])).await;
        assert!(told.contains(&format!("\"reason\":\"{ours}\"")), "{theirs}: {told}");
    }
}

#[tokio::test]
async fn an_error_in_the_middle_is_one_and_what_is_no_event_is_no_answer() {
    let overloaded =
        json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
    let told = seen(&frames(&[start(json!({})), overloaded])).await;
    assert!(told.ends_with("error 502 provider_error: The model provider failed. Retry later."), "{told}");
    let limited = json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "slow" } });
    assert!(seen(&frames(&[limited])).await.contains("error 429 rate_limit_exceeded"));
    let told = seen("data: {\"hello\":1}\n\n").await;
    assert!(told.contains("a frame is no event of a message"), "{told}");
    let told = seen(&frames(&[start(json!({})), block(0, json!({ "type": "text", "text": "hi" }))])).await;
    assert!(told.contains("it ended before it was finished"), "{told}");
}
