use super::*;
use crate::models::frames::{Decode, REPLY_BYTES_MAX};
use crate::models::{EventStream, stream::ReplyTo};
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use serde_json::json;

/// What a consumer sees of a reply whose bytes arrive in these pieces.
async fn seen(pieces: &[&[u8]]) -> String {
    let mut decoder = Decoder::default();
    let mut items = Vec::new();
    let mut feed = |step: &mut dyn FnMut(&mut Vec<Event>) -> Result<(), UpstreamError>| {
        let mut events = Vec::new();
        let result = step(&mut events);
        items.extend(events.into_iter().map(Ok));
        result.map_err(|error| items.push(Err(error))).is_ok()
    };
    let ok = pieces.iter().all(|piece| feed(&mut |events| decoder.push(piece, events)));
    if ok {
        feed(&mut |events| decoder.end(events));
    }
    let lines = EventStream::new(stream::iter(items), ReplyTo::default()).map(|item| match item {
        Ok(event) => event.to_guest_json(),
        Err(error) => format!("error {}: {} [{}]", error.status, error, error.code),
    });
    lines.collect::<Vec<_>>().await.join("\n")
}

fn frames(values: &[Value]) -> String {
    values.iter().map(|value| format!("data: {value}\n\n")).collect()
}

fn delta(delta: Value) -> Value {
    json!({ "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] })
}

fn finish(reason: &str) -> Value {
    json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": reason }] })
}

async fn seen_frames(values: &[Value]) -> String {
    seen(&[frames(values).as_bytes(), b"data: [DONE]\n\n"]).await
}

#[tokio::test]
async fn a_plain_stream_is_text_finish_and_usage() {
    let reply = [
        delta(json!({ "role": "assistant", "content": "" })),
        delta(json!({ "reasoning_content": "hm" })),
        delta(json!({ "content": "Hel" })),
        delta(json!({ "content": "lo" })),
        finish("stop"),
        json!({ "choices": [], "usage": { "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7,
            "prompt_tokens_details": { "cached_tokens": 4 } } }),
    ];
    insta::assert_snapshot!(seen_frames(&reply).await, @r##"
    {"text":"hm","type":"reasoning"}
    {"text":"Hel","type":"text"}
    {"text":"lo","type":"text"}
    {"reason":"stop","type":"finish"}
    {"cached_tokens":4,"completion_tokens":2,"estimated":false,"prompt_tokens":5,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[tokio::test]
async fn a_whole_answer_reads_like_a_streamed_one() {
    let body = json!({ "object": "chat.completion", "choices": [{ "index": 0, "finish_reason": "tool_calls",
        "message": { "role": "assistant", "content": "Look:", "reasoning": "hm", "tool_calls": [
            { "id": "a", "type": "function", "function": { "name": "add", "arguments": "{\"x\":1}" } },
            { "id": "b", "type": "function", "function": { "name": "now", "arguments": "" } } ] } }],
        "usage": { "prompt_tokens": 5, "completion_tokens": 2 } });
    insta::assert_snapshot!(seen(&[b"\n ", body.to_string().as_bytes()]).await, @r##"
    {"text":"hm","type":"reasoning"}
    {"text":"Look:","type":"text"}
    {"arguments":"{\"x\":1}","id":"a","index":0,"name":"add","type":"tool_call"}
    {"arguments":"","id":"b","index":1,"name":"now","type":"tool_call"}
    {"arguments":"{}","index":1,"type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":0,"completion_tokens":2,"estimated":false,"prompt_tokens":5,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[tokio::test]
async fn one_chunk_may_hold_everything_at_once() {
    let reply = [
        delta(json!({ "role": "assistant", "content": "Hi", "reasoning": "hm", "tool_calls": [
            { "index": 1, "id": "a", "function": { "name": "f", "arguments": "{" } },
            { "index": 2, "id": "b", "function": { "name": "g", "arguments": "{}" } } ] })),
        delta(json!({ "tool_calls": [{ "index": 1, "function": { "arguments": "}" } }] })),
        finish("tool_calls"),
    ];
    insta::assert_snapshot!(seen_frames(&reply).await, @r##"
    {"text":"hm","type":"reasoning"}
    {"text":"Hi","type":"text"}
    {"arguments":"{","id":"a","index":0,"name":"f","type":"tool_call"}
    {"arguments":"{}","id":"b","index":1,"name":"g","type":"tool_call"}
    {"arguments":"}","index":0,"type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":0,"completion_tokens":2,"estimated":true,"prompt_tokens":0,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[tokio::test]
async fn calls_without_an_index_are_told_apart() {
    let google = [
        delta(json!({ "tool_calls": [
            { "id": "a", "function": { "name": "f", "arguments": "{\"n\":1}" },
              "extra_content": { "google": { "thought_signature": "sig" } } },
            { "id": "", "function": { "name": "f", "arguments": "{\"n\":2}" } } ] })),
        finish("STOP"),
    ];
    insta::assert_snapshot!(seen_frames(&google).await, @r##"
    {"arguments":"{\"n\":1}","extra_content":{"google":{"thought_signature":"sig"}},"id":"a","index":0,"name":"f","type":"tool_call"}
    {"arguments":"{\"n\":2}","id":"call_0_1","index":1,"name":"f","type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":0,"completion_tokens":4,"estimated":true,"prompt_tokens":0,"reasoning_tokens":0,"type":"usage"}
    "##);
    let fragments = [
        delta(json!({ "tool_calls": [{ "id": "a", "function": { "name": "f", "arguments": "{\"n\"" } }] })),
        delta(json!({ "tool_calls": [{ "function": { "arguments": ":1}" } }] })),
        delta(json!({ "tool_calls": [{ "id": "b", "function": { "name": "g", "arguments": { "n": 2 } } }] })),
        finish("tool_calls"),
    ];
    insta::assert_snapshot!(seen_frames(&fragments).await, @r##"
    {"arguments":"{\"n\"","id":"a","index":0,"name":"f","type":"tool_call"}
    {"arguments":":1}","index":0,"type":"tool_call"}
    {"arguments":"{\"n\":2}","id":"b","index":1,"name":"g","type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":0,"completion_tokens":4,"estimated":true,"prompt_tokens":0,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[tokio::test]
async fn an_index_that_is_always_zero_does_not_glue_calls_together() {
    let call = |id: &str, name: &str, arguments: &str| {
        delta(
            json!({ "tool_calls": [{ "index": 0, "id": id, "function": { "name": name, "arguments": arguments } }] }),
        )
    };
    let reply = [call("a", "f", "{}"), call("b", "f", "{\"n\""), call("c", "", ":1}"), finish("stop")];
    insta::assert_snapshot!(seen_frames(&reply).await, @r##"
    {"arguments":"{}","id":"a","index":0,"name":"f","type":"tool_call"}
    {"arguments":"{\"n\"","id":"b","index":1,"name":"f","type":"tool_call"}
    {"arguments":":1}","index":1,"type":"tool_call"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":0,"completion_tokens":3,"estimated":true,"prompt_tokens":0,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[tokio::test]
async fn errors_come_in_many_shapes_and_keep_their_meaning() {
    let partial = frames(&[delta(json!({ "content": "Hel" }))]);
    let cases = [
        r#"data: {"error":{"message":"slow down","code":429}}"#,
        r#"data: {"error":{"message":"too long","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
        r#"data: [{"error":{"code":401,"message":"key AIzaX"}}]"#,
        "event: error\ndata: {\"message\":\"overloaded\"}",
        r#"data: {"choices":[{"index":0,"delta":{},"error":{"code":502,"message":"x"}}]}"#,
        r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"MALFORMED_FUNCTION_CALL"}]}"#,
        "data: {oops",
        "data: {\"hello\":1}",
        "",
    ];
    let mut lines = Vec::new();
    for case in cases {
        lines.push(seen(&[partial.as_bytes(), case.as_bytes(), b"\n\n"]).await.replace('\n', " | "));
    }
    insta::assert_snapshot!(lines.join("\n"), @r##"
    {"text":"Hel","type":"text"} | error 429: The model provider limits the rate of requests. Retry later. [rate_limit_exceeded]
    {"text":"Hel","type":"text"} | error 400: too long [context_length_exceeded]
    {"text":"Hel","type":"text"} | error 502: The model provider refused this app's credentials. Ask an owner of the app to check the key. [provider_credentials]
    {"text":"Hel","type":"text"} | error 502: The model provider failed. Retry later. [provider_error]
    {"text":"Hel","type":"text"} | error 502: The model provider failed. Retry later. [provider_error]
    {"text":"Hel","type":"text"} | error 502: The model provider's reply could not be read to its end: the model broke off with an error. [provider_bad_reply]
    {"text":"Hel","type":"text"} | error 502: The model provider's reply could not be read to its end: a frame is not valid JSON. [provider_bad_reply]
    {"text":"Hel","type":"text"} | error 502: The model provider's reply could not be read to its end: a frame is no part of a chat completion. [provider_bad_reply]
    {"text":"Hel","type":"text"} | error 502: The model provider's reply could not be read to its end: it ended before it was finished. [provider_bad_reply]
    "##);
}

#[tokio::test]
async fn what_is_no_reply_is_an_error() {
    let cases: [&[u8]; 6] = [
        b"",
        b"   ",
        b"<!doctype html>",
        br#"[{"error":{"code":400,"message":"bad schema","status":"INVALID_ARGUMENT"}}]"#,
        br#"{"choices":[]}"#,
        b"{\"choices\":",
    ];
    let mut lines = Vec::new();
    for case in cases {
        lines.push(seen(&[case]).await);
    }
    insta::assert_snapshot!(lines.join("\n"), @r##"
    error 502: The model provider's reply could not be read to its end: it ended before it was finished. [provider_bad_reply]
    error 502: The model provider's reply could not be read to its end: it ended before it was finished. [provider_bad_reply]
    error 502: The model provider's reply could not be read to its end: it is a web page. [provider_bad_reply]
    error 400: bad schema [invalid_request]
    error 502: The model provider's reply could not be read to its end: it ended before it was finished. [provider_bad_reply]
    error 502: The model provider's reply could not be read to its end: it is not valid JSON. [provider_bad_reply]
    "##);
}

#[tokio::test]
async fn done_without_a_reason_is_a_stop_and_an_end_without_either_is_not() {
    let text = frames(&[delta(json!({ "content": "Hi" }))]);
    insta::assert_snapshot!(seen(&[text.as_bytes(), b"data: [DONE]\n\ndata: {oops\n\n"]).await, @r##"
    {"text":"Hi","type":"text"}
    {"reason":"stop","type":"finish"}
    {"cached_tokens":0,"completion_tokens":1,"estimated":true,"prompt_tokens":0,"reasoning_tokens":0,"type":"usage"}
    "##);
    insta::assert_snapshot!(seen(&[text.as_bytes()]).await, @r##"
    {"text":"Hi","type":"text"}
    error 502: The model provider's reply could not be read to its end: it ended before it was finished. [provider_bad_reply]
    "##);
    let finished = frames(&[delta(json!({ "content": "Hi" })), finish("model_length")]);
    insta::assert_snapshot!(seen(&[finished.as_bytes()]).await, @r##"
    {"text":"Hi","type":"text"}
    {"reason":"length","type":"finish"}
    {"cached_tokens":0,"completion_tokens":1,"estimated":true,"prompt_tokens":0,"reasoning_tokens":0,"type":"usage"}
    "##);
}

#[test]
fn usage_that_hides_reasoning_in_the_total_is_counted_in_full() {
    let usage = read_usage(&json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40 }));
    assert_eq!((usage.completion_tokens, usage.total_tokens()), (30, 40));
    let nonsense = read_usage(&json!({ "prompt_tokens": -1, "completion_tokens": "many" }));
    assert_eq!(nonsense, Usage::default());
}

#[test]
fn a_reply_without_end_is_cut_off() {
    let mut decoder = Decoder::default();
    let comment = [b": ".as_slice(), &vec![b'x'; 1024 * 1024], b"\n\n"].concat();
    let mut result = Ok(());
    for _ in 0..=REPLY_BYTES_MAX / comment.len() + 1 {
        result = result.and_then(|()| decoder.push(&comment, &mut Vec::new()));
    }
    assert!(result.is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        let _ = decoder.push(b"data: ", &mut events);
        let _ = decoder.push(&bytes, &mut events);
        let _ = decoder.end(&mut events);
    }
}
