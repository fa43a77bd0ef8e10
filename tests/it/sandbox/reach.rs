//! What a guest can reach.

use super::*;

#[tokio::test]
async fn a_guest_sees_nothing_of_the_machine() {
    let bench = Bench::new();
    let component = bench.load(guests::WASI).await;
    let door = Arc::new(TestDoor::default());
    let called = bench.call_with(&component, door.clone(), CallLimits::default(), "wasi", json!({})).await;
    let seen = output(&called);
    assert_eq!(seen["variables"], json!([]));
    assert_eq!(seen["arguments"], json!([]));
    assert_eq!(seen["stdin"], json!({"bytes": 0, "error": null}));
    for path in ["passwd", "root", "written"] {
        assert!(seen[path]["error"].is_string(), "{path}: {seen}");
    }
    assert!(!Path::new("/tmp/opg-was-here").exists());
    let logs = door.logs.lock().unwrap();
    assert!(logs.contains(&(LogLevel::Info, "said on stdout".to_owned())), "{logs:?}");
    assert!(logs.contains(&(LogLevel::Warn, "said on stderr".to_owned())), "{logs:?}");
}

#[tokio::test]
async fn behind_a_closed_door_everything_is_denied() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    for (name, input) in [
        ("fetch", json!({"url": "https://example.com/"})),
        ("read_secret", json!({"name": "API_KEY"})),
        ("kv_get", json!({"key": "a"})),
        ("kv_set", json!({"key": "a", "value": 1})),
        ("kv_delete", json!({"key": "a"})),
        ("kv_keys", json!({"prefix": ""})),
        ("ask_model", json!({"model": "a/b", "prompt": "hi"})),
        ("call_tool", json!({"name": "x", "input": {}})),
        ("emit", json!({"event": {"type": "text", "text": "a"}})),
        ("ask_person", json!({"action": "push", "patterns": []})),
    ] {
        let seen = output(&bench.call(&component, name, input).await);
        assert_eq!(seen["error"], "denied", "{name}: {seen}");
    }
    assert_eq!(output(&bench.call(&component, "list_tools", json!({})).await), json!({"ok": []}));
    let component = bench.load(guests::DB).await;
    for name in ["query", "execute"] {
        let seen = output(&bench.call(&component, name, json!({"sql": "select 1"})).await);
        assert_eq!(seen["error"], "denied", "{name}: {seen}");
    }
    assert_eq!(output(&bench.call(&component, "namespace", json!({})).await), "");
}

#[tokio::test]
async fn behind_an_open_door_answers_come_back() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let door = Arc::new(TestDoor { http: Http::Answers(207), ..TestDoor::default() });
    let call = async |name: &str, input: Value| {
        output(&bench.call_with(&component, door.clone(), CallLimits::default(), name, input).await)
    };
    let seen = call("fetch", json!({"url": "https://example.com/a"})).await;
    assert_eq!(seen["ok"], json!({"status": 207, "body": "GET https://example.com/a"}));
    assert_eq!(call("read_secret", json!({"name": "API_KEY"})).await["ok"], "ref:API_KEY");
    assert_eq!(call("kv_set", json!({"key": "k", "value": [1]})).await["ok"], Value::Null);
    assert_eq!(call("kv_get", json!({"key": "k"})).await["ok"], json!([1]));
    assert_eq!(call("kv_keys", json!({"prefix": "k"})).await["ok"], json!(["k"]));
    assert_eq!(call("kv_delete", json!({"key": "k"})).await["ok"], Value::Null);
    assert_eq!(call("kv_get", json!({"key": "k"})).await["ok"], Value::Null);
    assert_eq!(call("list_tools", json!({})).await["ok"], json!(["adder"]));
    let seen = call("ask_model", json!({"model": "a/b", "prompt": "hi"})).await;
    assert_eq!(seen["ok"], "hello", "{seen}");
}

#[tokio::test]
async fn a_model_call_ends_with_the_guests_call() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let door = Arc::new(TestDoor { model_stalls: true, ..TestDoor::default() });
    let limits = CallLimits { wall: Duration::from_millis(200), ..CallLimits::default() };
    let input = json!({"model": "a/b", "prompt": "hi"});
    let called = bench.call_with(&component, door.clone(), limits, "ask_model", input).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)), "{called:?}");
    eventually(|| door.stopped.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn the_time_a_person_takes_is_not_the_calls_and_no_more_than_that() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let limits = CallLimits { wall: Duration::from_millis(400), ..CallLimits::default() };
    let door = Arc::new(TestDoor { person_takes: Duration::from_millis(900), ..TestDoor::default() });
    let call =
        async |name: &str, input: Value| bench.call_with(&component, door.clone(), limits, name, input).await;
    let allowed = call("ask_person", json!({"action": "yes", "patterns": ["a", "b"]})).await;
    assert_eq!(output(&allowed), json!({"ok": null}));
    assert!(allowed.spent.wall >= Duration::from_millis(900), "{:?}", allowed.spent);
    let refused = call("ask_person", json!({"action": "no", "patterns": []})).await;
    assert_eq!(output(&refused)["error"], "denied");
    // Whatever else it waits for is its own time, as before.
    let waits = call("fetch", json!({"url": "https://example.com/"})).await;
    assert!(matches!(waits.result, Err(CallError::TimedOut)), "{waits:?}");
    assert!(waits.spent.wall < Duration::from_secs(5), "{:?}", waits.spent);
}

#[tokio::test]
async fn a_statement_passes_the_door_as_text_and_ends_with_the_guests_call() {
    let bench = Bench::new();
    let component = bench.load(guests::DB).await;
    let door = Arc::new(TestDoor::default());
    let limits = CallLimits { wall: Duration::from_millis(300), ..CallLimits::default() };
    let call =
        async |name: &str, input: Value| bench.call_with(&component, door.clone(), limits, name, input).await;
    assert_eq!(output(&call("namespace", json!({})).await), "app_acme__");
    let input = json!({"sql": "select $1", "params": ["a", null], "limit": 7});
    let seen = output(&call("query", input).await);
    assert_eq!(seen["ok"], json!({"statement": "select $1", "params": r#"["a",null]"#, "limit": 7}));
    assert!(*door.time_left.lock().unwrap() <= Duration::from_millis(300));
    let called = call("execute", json!({"sql": "delete"})).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)), "{called:?}");
    eventually(|| door.stopped.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_panic_behind_the_door_is_the_hosts_fault_and_ends_nothing() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let door = Arc::new(TestDoor { http: Http::Panics, ..TestDoor::default() });
    let input = json!({"url": "https://example.com/"});
    let called = bench.call_with(&component, door, CallLimits::default(), "fetch", input).await;
    assert_eq!(output(&called)["error"], "unavailable");
}

#[tokio::test]
async fn a_tool_can_call_another_through_the_door() {
    let bench = Bench::new();
    let component = bench.load(guests::RELAY).await;
    let door = Arc::new_cyclic(|itself| TestDoor {
        tools: Some((bench.sandbox.clone(), component.clone(), itself.clone())),
        ..TestDoor::default()
    });
    let input = json!({"depth": 5});
    let called = bench.call_with(&component, door.clone(), CallLimits::default(), "relay", input).await;
    assert_eq!(output(&called), json!({"reached": 5, "stopped_by": null}));
    assert_eq!(door.tool_calls.load(Ordering::SeqCst), 5);
}
