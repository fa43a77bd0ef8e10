//! Calls, and what a guest knows of them.

use super::*;

#[tokio::test]
async fn a_tool_describes_itself_and_answers() {
    let bench = Bench::new();
    let component = bench.load(guests::WORD_COUNT).await;
    assert_eq!(component.kind(), PluginKind::Tool);
    assert_eq!(component.digest(), Sandbox::digest(guests::WORD_COUNT));

    let tools = bench.sandbox.describe_tool(&component).await.unwrap();
    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0].definition.name, "word_count");
    assert!(tools[0].capabilities.is_empty());

    let called = bench.call(&component, "word_count", json!({"text": "a b a", "top": 1})).await;
    assert_eq!(output(&called), json!({"words": 3, "top": [{"word": "a", "count": 2}]}));
    assert!(called.spent.cpu > Duration::ZERO);
    assert!(called.spent.memory_bytes_peak >= 1 << 20);
}

#[tokio::test]
async fn a_tool_may_refuse_its_input() {
    let bench = Bench::new();
    let component = bench.load(guests::WORD_COUNT).await;
    let called = bench.call(&component, "word_count", json!({"wrong": 1})).await;
    assert!(matches!(called.result, Ok(Err(ToolError::InvalidInput(_)))), "{called:?}");
}

#[tokio::test]
async fn an_agent_answers_and_its_events_go_out() {
    let bench = Bench::new();
    let component = bench.load(guests::AGENT_ECHO).await;
    assert_eq!(component.kind(), PluginKind::Agent);
    let agent = bench.sandbox.describe_agent(&component).await.unwrap();
    assert!(agent.description.contains("Repeats"));

    let door = Arc::new(TestDoor::default());
    let called =
        bench.sandbox.run_agent(&component, door.clone(), CallLimits::default(), turn("hello")).await;
    let outcome = called.result.unwrap().unwrap();
    assert_eq!(outcome.finish_reason, "stop");
    assert!(outcome.messages.contains("hello"));
    assert_eq!(door.events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_tool_is_not_an_agent() {
    let bench = Bench::new();
    let tool = bench.load(guests::COUNTER).await;
    let called =
        bench.sandbox.run_agent(&tool, Arc::new(ClosedDoor), CallLimits::default(), turn("hello")).await;
    assert!(matches!(called.result, Err(CallError::Engine(text)) if text.contains("not an agent")));
    assert!(bench.sandbox.describe_agent(&tool).await.is_err());
}

#[tokio::test]
async fn nothing_survives_a_call() {
    let bench = Bench::new();
    let component = bench.load(guests::COUNTER).await;
    for _ in 0..20 {
        assert_eq!(output(&bench.call(&component, "counter", json!({})).await), json!(1));
    }
}

#[tokio::test]
async fn a_guest_knows_of_its_call_what_it_is_told() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let context =
        CallContext { invocation_id: "i1".into(), app: "acme".into(), session_id: Some("s1".into()) };
    let limits = CallLimits { wall: Duration::from_millis(1234), ..CallLimits::default() };
    let called = bench
        .sandbox
        .call_tool(&component, Arc::new(ClosedDoor), limits, "who_am_i", "{}".into(), context)
        .await;
    let expected = json!({"invocation_id": "i1", "app": "acme", "session_id": "s1", "time_limit_ms": 1234});
    assert_eq!(output(&called), expected);
}
