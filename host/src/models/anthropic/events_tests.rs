use super::*;

fn head() -> Head {
    Head { id: "msg_1".into(), model: "anthropic/claude".into(), input_tokens: 4 }
}

fn call(index: u32, id: Option<&str>, arguments: &str) -> Event {
    Event::ToolCall {
        index,
        id: id.map(str::to_owned),
        name: id.map(|_| "f".to_owned()),
        arguments: arguments.into(),
        extra_content: None,
    }
}

fn finish(reason: FinishReason) -> [Event; 2] {
    let usage = Usage { prompt_tokens: 9, completion_tokens: 3, cached_tokens: 2, ..Usage::default() };
    [Event::Finish(reason), Event::Usage(usage)]
}

fn streamed(events: &[Event]) -> String {
    let mut encoder = EventEncoder::new(head());
    let mut out: String = events.iter().map(|event| encoder.event(event)).collect();
    out += &encoder.done();
    out
}

fn whole(events: &[Event]) -> Value {
    let mut builder = MessageBuilder::new(head());
    events.iter().for_each(|event| builder.push(event));
    builder.message().expect("it finished")
}

#[test]
fn a_stream_is_blocks_one_after_the_other() {
    let signed = Thought { text: "hm".into(), ..Thought::sealed(Maker::Anthropic, "sig") };
    let mut events = vec![
        Event::Reasoning("h".into()),
        Event::Reasoning("m".into()),
        Event::Thought(signed),
        Event::Text("hi".into()),
        call(0, Some("a"), "{\"x\""),
        call(1, Some("b"), ""),
        call(0, None, ":1}"),
        call(1, None, "{}"),
    ];
    events.extend(finish(FinishReason::ToolCalls));
    insta::assert_snapshot!(streamed(&events).lines().filter(|line| line.starts_with("data")).collect::<Vec<_>>().join("\n"), @r##"
    data: {"message":{"content":[],"id":"msg_1","model":"anthropic/claude","role":"assistant","stop_reason":null,"stop_sequence":null,"type":"message","usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"input_tokens":4,"output_tokens":0}},"type":"message_start"}
    data: {"content_block":{"signature":"","thinking":"","type":"thinking"},"index":0,"type":"content_block_start"}
    data: {"delta":{"thinking":"h","type":"thinking_delta"},"index":0,"type":"content_block_delta"}
    data: {"delta":{"thinking":"m","type":"thinking_delta"},"index":0,"type":"content_block_delta"}
    data: {"delta":{"signature":"sig","type":"signature_delta"},"index":0,"type":"content_block_delta"}
    data: {"index":0,"type":"content_block_stop"}
    data: {"content_block":{"text":"","type":"text"},"index":1,"type":"content_block_start"}
    data: {"delta":{"text":"hi","type":"text_delta"},"index":1,"type":"content_block_delta"}
    data: {"index":1,"type":"content_block_stop"}
    data: {"content_block":{"id":"a","input":{},"name":"f","type":"tool_use"},"index":2,"type":"content_block_start"}
    data: {"delta":{"partial_json":"{\"x\"","type":"input_json_delta"},"index":2,"type":"content_block_delta"}
    data: {"delta":{"partial_json":":1}","type":"input_json_delta"},"index":2,"type":"content_block_delta"}
    data: {"index":2,"type":"content_block_stop"}
    data: {"content_block":{"id":"b","input":{},"name":"f","type":"tool_use"},"index":3,"type":"content_block_start"}
    data: {"delta":{"partial_json":"{}","type":"input_json_delta"},"index":3,"type":"content_block_delta"}
    data: {"index":3,"type":"content_block_stop"}
    data: {"delta":{"stop_reason":"tool_use","stop_sequence":null},"type":"message_delta","usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":2,"input_tokens":7,"output_tokens":3}}
    data: {"type":"message_stop"}
    "##);
    let message = whole(&events);
    assert_eq!(message["content"][2]["input"], json!({ "x": 1 }));
    assert_eq!(message["content"][0], json!({ "type": "thinking", "thinking": "hm", "signature": "sig" }));
}

#[test]
fn a_seal_of_another_maker_travels_where_clients_give_things_back_unread() {
    let google = Thought { text: "the end".into(), ..Thought::sealed(Maker::Google, "g") };
    let mut events = vec![Event::Text("the end".into()), Event::Thought(google.clone())];
    events.extend(finish(FinishReason::Stop));
    let block = whole(&events)["content"][1].clone();
    assert_eq!(block["type"], "redacted_thinking");
    assert_eq!(Thought::from_opaque(block["data"].as_str().unwrap()), Some(google));
}

#[test]
fn an_answer_that_fails_or_never_finishes_ends_in_an_error_and_nothing_else() {
    let mut encoder = EventEncoder::new(head());
    let mut out = encoder.event(&Event::Text("hi".into()));
    out += &encoder.error(&ErrorBody {
        status: 429,
        code: "rate_limit_exceeded",
        message: "slow",
        request_id: "r",
    });
    out += &encoder.event(&Event::Text("more".into()));
    out += &encoder.done();
    let last = out.lines().rfind(|line| line.starts_with("data")).unwrap();
    insta::assert_snapshot!(last, @r#"data: {"error":{"code":"rate_limit_exceeded","message":"slow","type":"rate_limit_error"},"request_id":"r","type":"error"}"#);
    assert!(streamed(&[Event::Text("hi".into())]).ends_with("\n\n"));
    assert!(!streamed(&[Event::Text("hi".into())]).contains("message_stop"));
}
