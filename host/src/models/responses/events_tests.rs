use super::*;
use crate::models::responses::request::to_chat;

fn encoder() -> ResponseEncoder {
    let request = json!({ "model": "m", "input": "hi", "instructions": "be kind", "metadata": { "a": "b" } });
    let (_, echo) = to_chat(request).unwrap();
    ResponseEncoder::new(Head { id: "1".into(), created: 7, model: "r/gpt".into(), echo })
}

fn events() -> Vec<Event> {
    let call = |index: u32, id: Option<&str>, arguments: &str| Event::ToolCall {
        index,
        id: id.map(str::to_owned),
        name: id.map(|_| "f".to_owned()),
        arguments: arguments.into(),
        extra_content: None,
    };
    vec![
        Event::Reasoning("hm".into()),
        Event::Thought(Thought { text: "hm".into(), ..Thought::sealed(Maker::Anthropic, "sig") }),
        Event::Text("hi".into()),
        Event::Refusal("no".into()),
        call(0, Some("a"), "{\"x\""),
        call(1, Some("b"), "{}"),
        call(0, None, ":1}"),
        Event::Finish(FinishReason::ToolCalls),
        Event::Usage(Usage { prompt_tokens: 9, completion_tokens: 3, cached_tokens: 2, ..Usage::default() }),
    ]
}

#[test]
fn a_stream_begins_and_ends_each_item_and_closes_with_the_whole() {
    let mut encoder = encoder();
    let mut out: String = events().iter().map(|event| encoder.event(event)).collect();
    out += &encoder.done();
    let kinds: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    insta::assert_snapshot!(kinds.join("\n"), @r"
    response.created
    response.in_progress
    response.output_item.added
    response.reasoning_summary_part.added
    response.reasoning_summary_text.delta
    response.reasoning_summary_text.done
    response.reasoning_summary_part.done
    response.output_item.done
    response.output_item.added
    response.content_part.added
    response.output_text.delta
    response.content_part.added
    response.refusal.delta
    response.output_text.done
    response.content_part.done
    response.refusal.done
    response.content_part.done
    response.output_item.done
    response.output_item.added
    response.function_call_arguments.delta
    response.output_item.added
    response.function_call_arguments.delta
    response.function_call_arguments.delta
    response.function_call_arguments.done
    response.output_item.done
    response.function_call_arguments.done
    response.output_item.done
    response.completed
    ");
    assert!(out.ends_with("data: [DONE]\n\n"));
}

#[test]
fn the_whole_repeats_the_request_and_holds_every_item() {
    let mut encoder = encoder();
    events().iter().for_each(|event| drop(encoder.event(event)));
    let response = encoder.into_response().unwrap();
    assert_eq!((&response["id"], &response["status"]), (&json!("resp_1"), &json!("completed")));
    assert_eq!((&response["instructions"], &response["metadata"]), (&json!("be kind"), &json!({ "a": "b" })));
    assert_eq!(response["store"], json!(false));
    let kinds: Vec<_> =
        response["output"].as_array().unwrap().iter().map(|item| item["type"].clone()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "function_call"]);
    assert_eq!(response["output"][2]["arguments"], "{\"x\":1}");
    let seal = response["output"][0]["encrypted_content"].as_str().unwrap();
    assert_eq!(Thought::from_opaque(seal).unwrap().seal, "sig");
    assert_eq!(
        (&response["usage"]["total_tokens"], &response["usage"]["input_tokens_details"]["cached_tokens"]),
        (&json!(12), &json!(2))
    );
}

#[test]
fn a_failure_is_said_in_both_ways_clients_look_for_it() {
    let mut encoder = encoder();
    let mut out = encoder.event(&Event::Text("hi".into()));
    out += &encoder.error("rate_limit_exceeded", "slow", None);
    out += &encoder.done();
    let last: Vec<&str> = out.lines().filter(|line| line.starts_with("event: ")).collect();
    assert_eq!(last[last.len() - 2..], ["event: error", "event: response.failed"]);
    assert!(!out.contains("[DONE]"));
}
