use super::*;
use crate::models::frames::Decode;
use crate::models::{EventStream, stream::ReplyTo};
use futures_util::{StreamExt, stream};

async fn seen(reply: &str) -> String {
    let mut decoder = Decoder::default();
    let (mut events, mut items) = (Vec::new(), Vec::new());
    let result = decoder.push(reply.as_bytes(), &mut events).and_then(|()| decoder.end(&mut events));
    items.extend(events.into_iter().map(Ok));
    items.extend(result.err().map(Err));
    let lines =
        EventStream::new(stream::iter(items), ReplyTo { messages: 2, ..ReplyTo::default() }).map(|item| {
            match item {
                Ok(event) => event.to_guest_json(),
                Err(error) => format!("error {} {}: {error}", error.status, error.code),
            }
        });
    lines.collect::<Vec<_>>().await.join("\n")
}

fn chunk(parts: Value, reason: Option<&str>) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if let Some(reason) = reason {
        candidate["finishReason"] = json!(reason);
    }
    json!({ "candidates": [candidate] })
}

fn reply() -> Vec<Value> {
    let mut last = chunk(json!([{ "text": "", "thoughtSignature": "s2" }]), Some("STOP"));
    last["usageMetadata"] = json!({ "promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 2, "totalTokenCount": 16 });
    vec![
        chunk(json!([{ "text": "hm", "thought": true }, { "text": "hi" }]), None),
        chunk(
            json!([
                { "functionCall": { "name": "f", "args": { "a": 1 } }, "thoughtSignature": "s1" },
                { "functionCall": { "id": "own", "name": "g" } },
            ]),
            None,
        ),
        last,
    ]
}

#[tokio::test]
async fn a_stream_a_whole_reply_and_a_list_of_chunks_are_read_alike() {
    let stream: String = reply().iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
    let told = seen(&stream).await;
    assert_eq!(seen(&json!(reply()).to_string()).await, told);
    insta::assert_snapshot!(told, @r##"
    {"text":"hm","type":"reasoning"}
    {"text":"hi","type":"text"}
    {"arguments":"{\"a\":1}","extra_content":{"google":{"thought_signature":"s1"}},"id":"call_2_0","index":0,"name":"f","type":"tool_call"}
    {"arguments":"{}","id":"own","index":1,"name":"g","type":"tool_call"}
    {"detail":{"data":"s2","format":"google-gemini-v1","type":"reasoning.encrypted"},"type":"thought"}
    {"reason":"tool_calls","type":"finish"}
    {"cached_tokens":2,"completion_tokens":7,"estimated":false,"prompt_tokens":9,"reasoning_tokens":3,"type":"usage"}
    "##);
}

#[tokio::test]
async fn a_call_may_end_with_a_word_that_google_does_not_have() {
    let call = json!([{ "functionCall": { "name": "f", "args": {} } }]);
    let told = seen(&chunk(call, Some("FUNCTION_CALL")).to_string()).await;
    assert!(told.contains(r#""name":"f""#) && told.contains(r#""reason":"tool_calls""#), "{told}");
    let told = seen(&chunk(json!([{ "text": "hi" }]), Some("FUNCTION_CALL")).to_string()).await;
    assert!(told.contains(r#""reason":"stop""#), "{told}");
}

#[tokio::test]
async fn an_error_may_come_in_a_list_and_a_failure_of_the_model_is_one() {
    let wrapped = json!([{ "error": { "code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED" } }]);
    assert!(seen(&wrapped.to_string()).await.contains("error 429 rate_limit_exceeded"));
    for reason in ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE", "OTHER", "<b>odd</b>"] {
        let told = seen(&chunk(json!([]), Some(reason)).to_string()).await;
        assert!(told.contains("error 502 provider_bad_reply") && !told.contains("<b>"), "{told}");
    }
    for (theirs, ours) in [("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("SPII", "content_filter")]
    {
        let told = seen(&chunk(json!([{ "text": "a" }]), Some(theirs)).to_string()).await;
        assert!(told.contains(&format!("\"reason\":\"{ours}\"")), "{told}");
    }
    let blocked = json!({ "promptFeedback": { "blockReason": "SAFETY" } });
    assert!(seen(&blocked.to_string()).await.contains("content_filter"));
    assert!(seen("data: {\"hello\":1}\n\n").await.contains("a frame is no part of a reply"));
}
