use opg_guest::Context;
use opg_guest::model::ToolCallFragment;

use super::*;

/// Answers of the model in order, and what the loop did with them.
#[derive(Default)]
struct Script {
    answers: Vec<Vec<Result<Event, Error>>>,
    tools: Vec<&'static str>,
    outputs: Vec<Result<String, Error>>,
    requests: Vec<Value>,
    batches: Vec<Vec<Invocation>>,
    events: Vec<Value>,
}

impl Host for Script {
    type Completion = std::vec::IntoIter<Result<Event, Error>>;

    fn available_tools(&mut self) -> Result<Vec<Definition>, Error> {
        let tool = |name: &&str| Definition {
            name: (*name).to_owned(),
            description: format!("does {name}"),
            input_schema: json!({"type": "object"}),
        };
        Ok(self.tools.iter().map(tool).collect())
    }

    fn complete(&mut self, request: &Value) -> Result<Self::Completion, Error> {
        self.requests.push(request.clone());
        Ok(self.answers.remove(0).into_iter())
    }

    fn call_tools(&mut self, calls: &[Invocation]) -> Vec<Result<String, Error>> {
        self.batches.push(calls.to_vec());
        self.outputs.drain(..calls.len()).collect()
    }

    fn emit(&mut self, event: Value) -> Result<(), Error> {
        self.events.push(event);
        Ok(())
    }
}

fn turn() -> Turn {
    Turn {
        model: "demo/m".into(),
        instructions: None,
        messages: vec![json!({"role": "user", "content": "hi"})],
        options: Map::new(),
        client_tools: Vec::new(),
        max_steps: 5,
        context: Context {
            invocation_id: "i".into(),
            app: "acme".into(),
            session_id: None,
            time_limit_ms: 1000,
        },
    }
}

fn client_tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
}

fn text(text: &str) -> Result<Event, Error> {
    Ok(Event::Text(text.into()))
}

fn call(index: u32, name: &str, arguments: &str) -> Result<Event, Error> {
    let id = Some(format!("id{index}"));
    let name = Some(name.into());
    Ok(Event::ToolCall(ToolCallFragment {
        index,
        id,
        name,
        arguments: arguments.into(),
        extra_content: None,
    }))
}

fn finish(reason: FinishReason) -> Result<Event, Error> {
    Ok(Event::Finish(Some(reason)))
}

fn tool_message(id: &str, content: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": content})
}

fn function_call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

#[test]
fn a_plain_answer_streams_and_ends_the_turn() {
    let mut host = Script {
        answers: vec![vec![
            Ok(Event::Reasoning("hm".into())),
            text("Hel"),
            text("lo"),
            Ok(Event::Usage { prompt_tokens: 1, completion_tokens: 2 }),
            finish(FinishReason::Stop),
        ]],
        ..Script::default()
    };
    let outcome = run(turn(), &mut host).unwrap();
    assert_eq!(outcome.finish_reason, FinishReason::Stop);
    assert_eq!(outcome.messages, [json!({"role": "assistant", "content": "Hello"})]);
    let events = [
        json!({"type": "reasoning", "text": "hm"}),
        json!({"type": "text", "text": "Hel"}),
        json!({"type": "text", "text": "lo"}),
    ];
    assert_eq!(host.events, events);
    assert!(host.requests[0].get("tools").is_none(), "no tools, no list of tools");
}

#[test]
fn instructions_and_options_are_passed_on_and_cannot_change_what_is_asked() {
    let mut host = Script { answers: vec![vec![text("ok")]], ..Script::default() };
    let Value::Object(options) = json!({"temperature": 0, "model": "other/m", "messages": [], "tools": [1]})
    else {
        unreachable!()
    };
    run(Turn { instructions: Some("Be kind.".into()), options, ..turn() }, &mut host).unwrap();
    let expected = json!({
        "model": "demo/m",
        "temperature": 0,
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "hi"},
        ],
    });
    assert_eq!(host.requests, [expected]);
}

#[test]
fn server_tools_run_side_by_side_and_the_model_gets_every_result_in_order() {
    let mut host = Script {
        tools: vec!["add", "now"],
        answers: vec![
            vec![
                text("Let me see."),
                call(0, "add", r#"{"a":1}"#),
                call(1, "now", ""),
                finish(FinishReason::ToolCalls),
            ],
            vec![text("Three."), finish(FinishReason::Stop)],
        ],
        outputs: vec![Ok(r#"{"sum":3}"#.into()), Ok(r#""noon""#.into())],
        ..Script::default()
    };
    let outcome = run(turn(), &mut host).unwrap();
    let batch = [("add", r#"{"a":1}"#), ("now", "{}")]
        .map(|(name, input)| Invocation { name: name.into(), input: input.into() });
    assert_eq!(host.batches, [batch]);
    let messages = [
        json!({
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [function_call("id0", "add", r#"{"a":1}"#), function_call("id1", "now", "{}")],
        }),
        tool_message("id0", r#"{"sum":3}"#),
        tool_message("id1", "noon"),
        json!({"role": "assistant", "content": "Three."}),
    ];
    assert_eq!(outcome.messages, messages);
    assert_eq!(outcome.finish_reason, FinishReason::Stop);
    assert_eq!(host.requests[1]["messages"].as_array().unwrap()[1..], messages[..3]);
    assert_eq!(host.requests[0]["tools"][0]["function"]["description"], "does add");
    let kinds: Vec<_> = host.events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["text", "tool_call", "tool_call", "tool_result", "tool_result", "text"]);
}

#[test]
fn what_goes_wrong_with_a_tool_is_told_to_the_model_and_does_not_end_the_turn() {
    let mut host = Script {
        tools: vec!["add"],
        answers: vec![
            vec![call(0, "add", "{oops"), call(1, "nope", "{}"), call(2, "add", "{}"), call(3, "add", "{}")],
            vec![text("Sorry.")],
        ],
        outputs: vec![Err(Error::Denied("no grant".into())), Ok("7".into())],
        ..Script::default()
    };
    let outcome = run(turn(), &mut host).unwrap();
    assert_eq!(host.batches[0].len(), 2, "only calls that can be run are");
    let content = |at: usize| outcome.messages[at]["content"].as_str().unwrap();
    assert!(content(1).starts_with("Error: the arguments must be one JSON object"), "{}", content(1));
    assert!(content(1).ends_with("you sent: {oops"));
    assert!(content(2).starts_with("Error: there is no tool `nope`"));
    assert_eq!(content(3), "Error: denied: no grant");
    assert_eq!(content(4), "7");
    assert_eq!(outcome.messages[0]["tool_calls"][0]["function"]["arguments"], "{}");
    assert_eq!(outcome.messages[5]["content"], "Sorry.");
}

#[test]
fn a_call_of_a_client_tool_ends_the_turn_and_server_calls_beside_it_are_not_run() {
    let mut host = Script {
        tools: vec!["add"],
        answers: vec![vec![call(0, "add", "{}"), call(1, "open_door", ""), finish(FinishReason::ToolCalls)]],
        ..Script::default()
    };
    let outcome = run(Turn { client_tools: vec![client_tool("open_door")], ..turn() }, &mut host).unwrap();
    assert_eq!(outcome.finish_reason, FinishReason::ToolCalls);
    let message = json!({"role": "assistant", "content": null, "tool_calls": [function_call("id1", "open_door", "{}")]});
    assert_eq!(outcome.messages, [message]);
    assert!(host.batches.is_empty());
}

#[test]
fn a_client_tool_stands_before_a_server_tool_of_the_same_name() {
    let mut host =
        Script { tools: vec!["add"], answers: vec![vec![call(0, "add", "{}")]], ..Script::default() };
    let outcome = run(Turn { client_tools: vec![client_tool("add")], ..turn() }, &mut host).unwrap();
    assert_eq!(host.requests[0]["tools"], json!([client_tool("add")]));
    assert_eq!(outcome.finish_reason, FinishReason::ToolCalls);
}

#[test]
fn a_forced_tool_choice_holds_for_the_first_step_only() {
    let mut host = Script {
        tools: vec!["add"],
        answers: vec![vec![call(0, "add", "{}")], vec![text("done")]],
        outputs: vec![Ok("1".into())],
        ..Script::default()
    };
    let options = Map::from_iter([("tool_choice".to_owned(), json!("required"))]);
    run(Turn { options, ..turn() }, &mut host).unwrap();
    assert_eq!(host.requests[0]["tool_choice"], "required");
    assert!(host.requests[1].get("tool_choice").is_none());
}

#[test]
fn a_model_that_never_stops_calling_is_stopped_and_its_last_calls_are_not_run() {
    let mut host = Script {
        tools: vec!["add"],
        answers: vec![vec![call(0, "add", "{}")], vec![text("more"), call(0, "add", "{}")]],
        outputs: vec![Ok("1".into())],
        ..Script::default()
    };
    let outcome = run(Turn { max_steps: 2, ..turn() }, &mut host).unwrap();
    assert_eq!(outcome.finish_reason, FinishReason::Length);
    assert_eq!((host.requests.len(), host.batches.len()), (2, 1));
    assert_eq!(outcome.messages.last().unwrap(), &json!({"role": "assistant", "content": "more"}));
}

#[test]
fn a_call_that_was_cut_off_is_not_run() {
    for reason in [FinishReason::Length, FinishReason::ContentFilter] {
        let mut host = Script {
            tools: vec!["add"],
            answers: vec![vec![text("Let"), call(0, "add", "{}"), finish(reason)]],
            ..Script::default()
        };
        let outcome = run(turn(), &mut host).unwrap();
        assert_eq!(outcome.finish_reason, reason);
        assert_eq!(outcome.messages, [json!({"role": "assistant", "content": "Let"})]);
    }
}

#[test]
fn an_error_of_the_model_ends_the_turn_as_it_is() {
    let error = Error::Model(Box::new(Error::Limit("over budget".into())));
    let mut host = Script { answers: vec![vec![text("Hel"), Err(error.clone())]], ..Script::default() };
    assert_eq!(run(turn(), &mut host), Err(error));
}
