use super::*;
use crate::models::Event;
use crate::models::openai::chunks::CompletionBuilder;
use crate::models::openai::request::is_tool_name;
use futures_util::StreamExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Instant;

fn tools() -> Value {
    let tool = |name: &str, description: &str, parameters: Value| json!({ "type": "function", "function": { "name": name, "description": description, "parameters": parameters } });
    json!([
        tool(
            "word_count",
            "Counts words.\nMore.",
            json!({ "type": "object", "required": ["text"], "properties": {
            "language": { "type": "string" }, "text": { "type": "string" } } })
        ),
        tool(
            "exchange-rate",
            "",
            json!({ "type": "object", "required": ["amount", "from", "to", "round"], "properties": {
            "amount": { "type": "number" }, "from": { "type": "string" }, "to": { "type": "string" },
            "round": { "type": "string", "enum": ["up", "down"] } } })
        ),
        tool("get_time", "Tells the time.", json!({ "type": "object", "properties": {} })),
    ])
}

fn request(said: &str, extra: Value) -> ChatRequest {
    let mut body = json!({ "model": "demo/assistant", "messages": [{ "role": "user", "content": said }], "tools": tools() });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    ChatRequest::from_value(body).unwrap()
}

async fn reply(request: &ChatRequest) -> CompletionBuilder {
    let mut events = Demo::default().stream("assistant", request).await.unwrap();
    let mut builder = CompletionBuilder::default();
    while let Some(event) = events.next().await {
        builder.push(&event.unwrap());
    }
    builder
}

/// The answer in one line: calls, or else text.
async fn answer(said: &str, extra: Value) -> String {
    let reply = reply(&request(said, extra)).await;
    let reason = reply.finish_reason().expect("it finished").as_str();
    if reply.tool_calls().is_empty() {
        return format!("[{reason}] {}", reply.message().plain_text());
    }
    let calls = reply.tool_calls().iter().map(|call| format!("{} {} {}", call.id, call.name, call.arguments));
    format!("[{reason}] {}", calls.collect::<Vec<_>>().join(" + "))
}

#[tokio::test]
async fn it_calls_the_tools_it_is_told_to() {
    let told = [
        "call word_count {\"text\":\"a b\"}",
        "Please use word_count with {\"text\": \"a\",\n \"language\": \"en\"}\nand then\n- call get_time",
        "call get_time {}\ncall nothing {}\ncall word_count {\"text\":1}",
        "call word_count {\"text\": broken",
        "Call word_count: how many words",
        "call exchange-rate 12.5 from \"EUR\" to \"USD\"",
    ];
    let mut lines = Vec::new();
    for said in told {
        lines.push(answer(said, json!({})).await);
    }
    insta::assert_snapshot!(lines.join("\n"), @r##"
    [tool_calls] call_demo_1_0 word_count {"text":"a b"}
    [tool_calls] call_demo_1_0 word_count {"text": "a",
     "language": "en"} + call_demo_1_1 get_time {}
    [tool_calls] call_demo_1_0 get_time {} + call_demo_1_1 word_count {"text":1}
    [tool_calls] call_demo_1_0 word_count {"text": broken
    [tool_calls] call_demo_1_0 word_count {"text":"how many words"}
    [tool_calls] call_demo_1_0 exchange-rate {"amount":12.5,"from":"EUR","round":"up","to":"USD"}
    "##);
}

#[tokio::test]
async fn it_sees_what_is_wanted_from_a_name_and_a_quoted_text() {
    let told = [
        "How many words has “it's a fine day”? Ask word_count.",
        "Please run word count on 'one two'.",
        "Use get_time",
        "What is 3 of 'EUR' in 'USD', says exchange-rate?",
        "What does word_count do?",
        "I don't like word_counting 'things'",
    ];
    let mut lines = Vec::new();
    for said in told {
        lines.push(answer(said, json!({})).await);
    }
    insta::assert_snapshot!(lines.join("\n"), @r##"
    [tool_calls] call_demo_1_0 word_count {"text":"it's a fine day"}
    [tool_calls] call_demo_1_0 word_count {"text":"one two"}
    [tool_calls] call_demo_1_0 get_time {}
    [tool_calls] call_demo_1_0 exchange-rate {"amount":3.0,"from":"EUR","round":"up","to":"USD"}
    [stop] I am the demo model: I follow a few fixed rules and run offline, so my answers are not clever. You said: What does word_count do?
    Ask me which tools I have, or write `call <tool> <json>` and I will call one.
    [stop] I am the demo model: I follow a few fixed rules and run offline, so my answers are not clever. You said: I don't like word_counting 'things'
    Ask me which tools I have, or write `call <tool> <json>` and I will call one.
    "##);
}

#[tokio::test]
async fn it_says_what_it_is_and_which_tools_it_has() {
    insta::assert_snapshot!(answer("Hello!", json!({})).await, @r##"
    [stop] I am the demo model: I follow a few fixed rules and run offline, so my answers are not clever. You said: Hello!
    Ask me which tools I have, or write `call <tool> <json>` and I will call one.
    "##);
    insta::assert_snapshot!(answer("Hello, what tools do you have?", json!({})).await, @r##"
    [stop] I am the demo model. I was offered these tools:
    - word_count: Counts words.
    - exchange-rate
    - get_time: Tells the time.
    "##);
    insta::assert_snapshot!(answer("Which tools?", json!({ "tools": [] })).await, @"[stop] I am the demo model, and I was offered no tools.");
}

#[tokio::test]
async fn tool_choice_is_honoured() {
    let call = "call word_count {\"text\":\"a\"}";
    let named = json!({ "tool_choice": { "type": "function", "function": { "name": "exchange-rate" } } });
    let lines = [
        answer(call, json!({ "tool_choice": "none" })).await,
        answer("Hello", json!({ "tool_choice": "required" })).await,
        answer("7", named).await,
    ];
    insta::assert_snapshot!(lines.join("\n---\n"), @r##"
    [stop] I am the demo model: I follow a few fixed rules and run offline, so my answers are not clever. You said: call word_count {"text":"a"}
    Ask me which tools I have, or write `call <tool> <json>` and I will call one.
    ---
    [tool_calls] call_demo_1_0 word_count {"text":"Hello"}
    ---
    [tool_calls] call_demo_1_0 exchange-rate {"amount":7.0,"from":"7","round":"up","to":""}
    "##);
}

#[tokio::test]
async fn results_of_tools_become_a_sentence() {
    let call = |id: &str, name: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": "{}" } });
    let messages = json!([
        { "role": "user", "content": "call word_count {}\ncall get_time" },
        { "role": "assistant", "content": null, "tool_calls": [call("a", "word_count"), call("b", "get_time")] },
        { "role": "tool", "tool_call_id": "a", "content": "{\"words\":2}" },
        { "role": "tool", "tool_call_id": "b", "content": [{ "type": "text", "text": "noon" }] },
    ]);
    insta::assert_snapshot!(answer("", json!({ "messages": messages })).await, @r##"
    [stop] `word_count` answered: {"words":2}
    `get_time` answered: noon
    "##);
}

#[tokio::test]
async fn max_tokens_and_stop_end_the_answer() {
    insta::assert_snapshot!(answer("Hello", json!({ "max_tokens": 3 })).await, @"[length] I am the dem");
    insta::assert_snapshot!(answer("Hello", json!({ "stop": ["demo", "zebra"] })).await, @"[stop] I am the");
    insta::assert_snapshot!(answer("call word_count {\"text\":\"abcdefgh\"}", json!({ "max_tokens": 2 })).await, @r#"[length] call_demo_1_0 word_count {"text":"#);
}

#[tokio::test]
async fn usage_is_four_characters_to_a_token() {
    let request = ChatRequest::from_value(json!({ "model": "m", "max_tokens": 7, "messages": [
        { "role": "user", "content": "12345" }] }));
    let usage = reply(&request.unwrap()).await.usage().expect("a usage");
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.estimated), (2, 7, false));
}

#[tokio::test]
async fn it_streams_in_pieces_and_slow_takes_its_time() {
    let demo = Demo { slow_delta: Duration::from_millis(5) };
    let request = request("Hello", json!({ "max_tokens": 10 }));
    let start = Instant::now();
    let events = demo.stream("slow", &request).await.unwrap();
    let texts = events.filter(|event| std::future::ready(matches!(event, Ok(Event::Text(_))))).count().await;
    assert!(texts >= 5, "{texts}");
    assert!(start.elapsed() >= Duration::from_millis(25));
}

#[tokio::test]
async fn error_fails_like_an_overloaded_provider_and_an_unknown_model_is_not_found() {
    let request = request("Hello", json!({}));
    let error = Demo::default().stream("error", &request).await.unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (502, "provider_error"));
    let error = Demo::default().stream("gpt-x", &request).await.unwrap_err();
    assert_eq!((error.status, error.code.as_str()), (404, "model_not_found"));
}

proptest! {
    #[test]
    fn it_never_panics_and_calls_only_what_was_offered(said in "(call|use|word_count|get_time|with|\\{|\\}|\"|'|“|”|é|\n| |:|7){0,30}") {
        let request = request(&said, json!({}));
        for event in offline::events(PROVIDER, &request, &script::answer(&request)) {
            if let Event::ToolCall { name: Some(name), .. } = event {
                prop_assert!(is_tool_name(&name) && ["word_count", "exchange-rate", "get_time"].contains(&name.as_str()));
            }
        }
    }
}
