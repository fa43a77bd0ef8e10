//! Tools that ask their host for something, tested natively.

use opg_guest::*;
use testing::Host;

/// Keeps a note, and says so.
#[tool(
    kv("write", "to keep it"),
    http("hooks.example.com", "to say so"),
    secret("HOOK@hooks.example.com", "to sign in")
)]
fn keep(title: String) -> Result<u32, Error> {
    let count = kv::get::<u32>(&title)?.unwrap_or(0) + 1;
    kv::set(&title, &count)?;
    log::info(format_args!("kept {title}"));
    http::post("https://hooks.example.com/kept")
        .secret_header("authorization", "Bearer ", "HOOK")?
        .json(&json!({ "title": title }))?
        .send()?
        .success()?;
    Ok(count)
}

fn host() -> Host {
    Host::new().kv_value("a", &2).secret("HOOK").http("https://hooks.example.com/", testing::text(200, "ok"))
}

#[test]
fn a_tool_runs_against_a_host_in_memory_and_the_test_sees_what_it_did() {
    let host = host().start();
    assert_eq!(keep("a".into()), Ok(3));
    assert_eq!(host.kept::<u32>("a"), Some(3));
    assert_eq!(host.logs(), [(testing::Level::Info, "kept a".to_owned())]);
    let request = &host.requests()[0];
    assert_eq!((request.method.as_str(), request.url.as_str()), ("POST", "https://hooks.example.com/kept"));
    assert!(
        request.headers.contains(&("authorization".into(), "Bearer {{secret:HOOK}}".into())),
        "a reference"
    );
}

#[test]
fn what_a_host_was_not_given_is_denied_and_says_what_to_add() {
    for (host, add) in [
        (Host::new(), ".kv()"),
        (Host::new().kv(), ".secret(\"HOOK\")"),
        (Host::new().kv().secret("HOOK"), ".http(\"https://hooks.example.com/kept\""),
    ] {
        let _host = host.start();
        let error = keep("a".into()).unwrap_err();
        assert_eq!(error.kind(), "denied");
        assert!(error.message().contains(add), "{error}");
    }
}

#[test]
fn without_a_host_a_call_is_denied_and_a_log_line_is_no_harm() {
    log::info("to nobody");
    let error = keep("a".into()).unwrap_err();
    assert!(error.message().contains("testing::Host::new()"), "{error}");
}

#[test]
fn a_host_ends_where_it_is_dropped_and_the_one_before_is_back() {
    let outer = Host::new().kv_value("where", &"outside").start();
    {
        let _inner = Host::new().kv_value("where", &"inside").start();
        assert_eq!(kv::get::<String>("where"), Ok(Some("inside".into())));
    }
    assert_eq!(kv::get::<String>("where"), Ok(Some("outside".into())));
    drop(outer);
    assert!(kv::get::<String>("where").is_err());
}

#[test]
fn a_request_can_fail_and_a_status_is_an_answer() {
    let _host = Host::new()
        .http_fn(|request| request.url.ends_with("/down").then(|| Err(Error::Unavailable("down".into()))))
        .http("https://a.example/", testing::text(404, "gone"))
        .start();
    assert_eq!(http::get("https://a.example/down").send(), Err(Error::Unavailable("down".into())));
    let answer = http::get("https://a.example/x").send().unwrap();
    assert_eq!(answer.success(), Err(Error::failed("the server answered 404: gone")));
}

#[test]
fn rows_are_cut_as_the_host_cuts_them_and_a_change_counts_them() {
    #[data]
    #[derive(Debug, PartialEq)]
    struct Row {
        id: i64,
    }
    let rows: Vec<Value> = (0..3).map(|id| json!({ "id": id })).collect();
    let host = Host::new().db("select", rows.clone()).db("insert", rows).start();
    assert_eq!(db::query::<Row>("select id", ()).unwrap().len(), 3);
    let some = db::rows::<Row>("select id", (), Some(2)).unwrap();
    assert_eq!((some.rows.len(), some.truncated), (2, true));
    assert_eq!(db::execute("insert", ("x",)), Ok(3));
    assert_eq!(db::returning::<Row>("insert", ()).unwrap().rows[2], Row { id: 2 });
    assert_eq!(host.statements()[2], ("insert".to_owned(), vec![json!("x")]));
    assert_eq!(db::execute("drop", ()).unwrap_err().kind(), "denied");
}

#[test]
fn models_and_other_tools_answer_as_they_were_told() {
    let host = Host::new()
        .model(Ok("hello"))
        .model(Err(Error::Limit("over budget".into())))
        .tool("keep", |input| keep(input["title"].as_str().unwrap_or_default().to_owned()).map(Value::from))
        .kv()
        .secret("HOOK")
        .http("https://hooks.example.com/", testing::text(200, ""))
        .start();
    let ask = json!({ "model": "demo/echo", "messages": [] });
    let events: Vec<_> = model::complete(&ask).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(events[0], model::Event::Text("hello".into()));
    assert_eq!(events[1], model::Event::Finish(Some(FinishReason::Stop)));
    assert_eq!(model::complete(&ask).err().map(|e| e.kind()), Some("limit"));
    assert_eq!(model::complete(&ask).err().map(|e| e.kind()), Some("limit"), "no answer is left");
    assert_eq!(host.prompts(), [ask.clone(), ask.clone(), ask]);
    assert_eq!(tools::available().unwrap()[0].name, "keep");
    assert_eq!(tools::call::<u32>("keep", &json!({ "title": "t" })), Ok(1));
    assert_eq!(tools::call::<u32>("other", &json!({})).unwrap_err().kind(), "denied");
}
