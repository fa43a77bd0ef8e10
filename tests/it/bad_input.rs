//! Bad input, for every route there is: an error that says whose fault it is (theirs), and nothing lost by it.

use opg_host::{http::render::Shape, limits};
use opg_tests::{
    app::{Answer, Client, TestApp, logs, send},
    guests,
    routes::{self, Case},
};
use serde_json::{Value, json};

/// Who may call it.
fn caller<'a>(case: &Case, bench: &'a Bench) -> &'a Client {
    match () {
        () if case.is_operators() => &bench.operator,
        () if case.is_persons() => &bench.person,
        () if case.is_runners() => &bench.runner,
        () => &bench.acme,
    }
}

fn code(answer: &Answer) -> Value {
    let json = answer.json();
    // OpenAI's and Anthropic's, opencode's, and our own.
    let objects = [&json["error"]["code"], &json["data"]["code"], &json["code"]];
    objects.into_iter().find(|code| code.is_string()).cloned().unwrap_or_default()
}

struct Bench {
    app: TestApp,
    acme: Client,
    operator: Client,
    person: Client,
    runner: Client,
}

impl Bench {
    async fn start() -> Bench {
        let app = TestApp::open_to_people().await;
        let acme = app.tenant("acme").await;
        acme.install_tool("word-count", guests::WORD_COUNT).await;
        assert_eq!(acme.put("/v1/tenant/secrets", &json!({ "set": { "KEEP": "1" } })).await.status, 204);
        let (operator, person) = (app.operator(), app.person("person@example.com").await);
        let runner = crate::sessions::runner::registered(&app, &acme).await;
        Bench { app, acme, operator, person, runner }
    }

    fn request(&self, case: &Case) -> reqwest::RequestBuilder {
        let request = case.request(caller(case, self), "acme", "word-count");
        request.header("x-forwarded-for", routes::fresh_ip())
    }

    async fn json(&self, case: &Case, body: impl Into<reqwest::Body>) -> Answer {
        send(self.request(case).header("content-type", "application/json").body(body)).await
    }

    /// What was there is there, nothing else is, and nothing broke.
    async fn nothing_happened(&self) {
        let names = |answer: Answer| answer.json()["data"].as_array().unwrap().len();
        assert_eq!(names(self.acme.get("/v1/tenant/tools").await), 1);
        assert_eq!(names(self.acme.get("/v1/tenant/agents").await), 0);
        assert_eq!(names(self.acme.get("/v1/tenant/secrets").await), 1);
        assert_eq!(names(self.acme.get("/v1/tenant/tokens").await), 1);
        assert_eq!(names(self.acme.get("/v1/tenant/members").await), 0);
        assert_eq!(names(self.acme.get("/v1/tenant/invitations").await), 0);
        assert_eq!(names(self.operator.get("/platform/v1/users?disabled=false").await), 1);
        assert_eq!(names(self.operator.get("/v1/admin/tenants").await), 2, "one is the person's own");
        let me = self.person.get("/v1/me").await.json();
        assert_eq!((&me["name"], &me["locale"], &me["theme"]), (&json!(""), &Value::Null, &Value::Null));
        let sound = self.acme.invoke("word-count", json!({ "text": "still there" })).await;
        assert_eq!(sound.status, 200, "{}", sound.text());
        let logged = logs();
        let broken =
            logged.lines().find(|line| line.contains("panicked") || line.contains("\"level\":\"ERROR\""));
        assert_eq!(broken, None);
    }
}

fn json_routes() -> impl Iterator<Item = Case> {
    routes::all().into_iter().filter(Case::takes_json)
}

#[tokio::test]
async fn m046_what_is_not_json_is_a_400_with_the_offset() {
    let bench = Bench::start().await;
    let deep_list = "[".repeat(10_000);
    let deep_object = "{\"a\":".repeat(10_000);
    let whole = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for case in json_routes() {
        let bodies: [(&[u8], Option<u64>); 14] = [
            (b"", Some(0)),
            (b"   ", None),
            (b"{", Some(1)),
            (b"{\"a\": 1,}", Some(9)),
            (b"{}\n{}", Some(4)),
            (b"nul", None),
            (b"{'a': 1}", Some(2)),
            (b"{\"a\": 01}", None),
            (b"{\"a\": NaN}", None),
            (b"{\"a\": \"\xff\xfe\"}", None),
            (b"{\"a\": \"\\ud800\"}", None),
            (deep_list.as_bytes(), None),
            (deep_object.as_bytes(), None),
            (whole.as_bytes(), None),
        ];
        for (body, offset) in bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(20)]).into_owned();
            let answer = bench.json(&case, body.to_vec()).await;
            assert_eq!(
                (answer.status, code(&answer)),
                (400, json!("malformed_json")),
                "{} {shown}: {}",
                case.at(),
                answer.text()
            );
            if Shape::of(&case.path("acme", "x")) == Shape::Problem {
                let at = answer.json()["offset"].as_u64();
                assert!(at.is_some_and(|at| at <= body.len() as u64), "{} {shown}: {at:?}", case.at());
                assert!(offset.is_none() || at == offset, "{} {shown}: {at:?}", case.at());
            }
        }
    }
    bench.nothing_happened().await;
}

#[tokio::test]
async fn m046_json_of_another_shape_names_the_fields() {
    let bench = Bench::start().await;
    for case in json_routes() {
        let openai = Shape::of(&case.path("acme", "x")) != Shape::Problem;
        for body in ["null", "1", "\"text\"", "[]", "[{}]", "true"] {
            let answer = bench.json(&case, body).await;
            let expected: &[u16] = if openai { &[400] } else { &[422] };
            assert!(
                expected.contains(&answer.status),
                "{} {body}: {} {}",
                case.at(),
                answer.status,
                answer.text()
            );
        }
        if openai {
            continue;
        }
        for body in [json!({ "no_such_field": 1 }), json!({ "": 1 }), json!({ "__proto__": {} })] {
            let answer = bench.json(&case, body.to_string()).await;
            assert_eq!(answer.status, 422, "{} {body}: {}", case.at(), answer.text());
        }
        // Every field there is, of no type it could be.
        let fields = [
            "id",
            "name",
            "email",
            "providers",
            "defaultModel",
            "includePredefined",
            "set",
            "unset",
            "kind",
            "scopes",
            "expires_in",
            "version",
            "grant",
            "input",
            "password",
            "user_id",
            "disabled",
            "role",
            "theme",
            "locale",
        ];
        for field in fields {
            for value in
                [json!(-1.5), json!([[[]]]), json!({ "a": { "b": [] } }), json!(1e300), json!("\u{0}")]
            {
                let answer = bench.json(&case, json!({ field: value }).to_string()).await;
                assert!(
                    (400..500).contains(&answer.status),
                    "{} {field}={value}: {} {}",
                    case.at(),
                    answer.status,
                    answer.text()
                );
                if answer.status == 422 && !case.template.ends_with("/invoke") {
                    assert!(
                        !answer.json()["errors"].as_array().unwrap().is_empty(),
                        "{} {field}: {}",
                        case.at(),
                        answer.text()
                    );
                }
            }
        }
    }
    bench.nothing_happened().await;
}

#[tokio::test]
async fn m046_a_field_given_twice_is_refused_or_the_last_of_them_counts() {
    let bench = Bench::start().await;
    let body = r#"{"set": {"ONE": "1"}, "set": {"TWO": "2"}}"#;
    let request =
        bench.acme.request("PUT", "/v1/tenant/secrets").header("content-type", "application/json").body(body);
    let answer = send(request).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    let names = bench.acme.get("/v1/tenant/secrets").await.text();
    assert!(names.contains("TWO") && !names.contains("ONE"), "one reading for all: {names}");
}

#[tokio::test]
async fn m046_another_content_type_is_a_415() {
    let bench = Bench::start().await;
    for case in routes::all().into_iter().filter(Case::takes_body) {
        for media in [
            "application/xml",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "",
            "application",
            "\u{e4}/json",
        ] {
            if case.is_form() && media.starts_with("multipart/") {
                continue;
            }
            // What `curl --data-binary` says of a tool's file.
            if case.template.ends_with("/tools/{name}") && media.ends_with("urlencoded") {
                continue;
            }
            let value = http::HeaderValue::from_bytes(media.as_bytes()).unwrap();
            let answer = send(bench.request(&case).header("content-type", value).body("{}")).await;
            assert_eq!(
                (answer.status, code(&answer)),
                (415, json!("unsupported_media_type")),
                "{} {media}: {}",
                case.at(),
                answer.text()
            );
        }
        let answer = send(bench.request(&case).body("{}")).await;
        assert_eq!(answer.status, 415, "{} without one", case.at());
    }
    bench.nothing_happened().await;
    let fine = bench
        .acme
        .request("PUT", "/v1/tenant/secrets")
        .header("content-type", "Application/JSON; charset=UTF-8");
    assert_eq!(send(fine.body("{}")).await.status, 204);
}

#[tokio::test]
async fn m047_a_body_over_the_limit_is_a_413_that_says_the_limit() {
    let bench = Bench::start().await;
    for case in routes::all().into_iter().filter(Case::takes_body) {
        let uploads_agent = case.is_upload() && case.template.contains("/agents/");
        let (limit, media) = match () {
            () if uploads_agent => (limits::MARKDOWN_BYTES_MAX, "text/markdown"),
            () if case.is_upload() => (limits::COMPONENT_BYTES_MAX, "application/wasm"),
            () if ["/prompt", "/internal/events", "/internal/session-json"]
                .iter()
                .any(|end| case.template.ends_with(end)) =>
            {
                (limits::CHAT_BYTES_MAX, "application/json")
            }
            () if case.template.ends_with("/sessions/import") => {
                (limits::SESSION_DOCUMENT_BYTES_MAX, "application/json")
            }
            () if case.is_form() => (limits::SOUND_BYTES_MAX, "multipart/form-data; boundary=x"),
            () if Shape::of(&case.path("acme", "x")) != Shape::Problem => {
                (limits::CHAT_BYTES_MAX, "application/json")
            }
            () => (limits::JSON_BYTES_MAX, "application/json"),
        };
        let body = vec![b' '; limit + 1];
        let answer = send(bench.request(&case).header("content-type", media).body(body)).await;
        assert_eq!(
            (answer.status, code(&answer)),
            (413, json!("payload_too_large")),
            "{}: {}",
            case.at(),
            answer.text()
        );
        assert!(answer.text().contains(&limit.to_string()), "{}: {}", case.at(), answer.text());
        // At the limit it is read.
        let body = vec![b' '; limit];
        let answer = send(bench.request(&case).header("content-type", media).body(body)).await;
        assert!([400, 422].contains(&answer.status), "{}: {} {}", case.at(), answer.status, answer.text());
    }
    bench.nothing_happened().await;
}

#[tokio::test]
async fn m048_a_page_that_cannot_be_is_a_400() {
    let bench = Bench::start().await;
    let mut lists = 0;
    for case in routes::guarded().iter().filter(|case| case.method == http::Method::GET) {
        let path = case.path("acme", "word-count");
        let client = caller(case, &bench);
        let plain = client.get(&path).await;
        let paged = plain.status == 200 && plain.text().contains("\"has_more\"");
        // What we ship is one page.
        let paged = paged && !path.contains("/predefined/");
        for query in [
            "limit=0",
            "limit=201",
            "limit=-1",
            "limit=ten",
            "limit=1.5",
            "limit=",
            "limit=99999999999999999999",
            "limit=1&limit=2",
            "cursor=%FF",
            "cursor=nonsense",
            "cursor=AA",
            "cursor=",
            "cursor=AAAA%00",
            "cursor=\u{e4}",
            "cursor=YQBi",
        ] {
            let answer = client.get(&format!("{path}?{query}")).await;
            if paged && query != "cursor=YQBi" {
                let secrets =
                    path.ends_with("/secrets") || path.ends_with("/tools") || path.ends_with("/agents");
                let any_text_will_do = secrets && query.starts_with("cursor=") && answer.status == 200;
                assert!(
                    answer.status == 400 || any_text_will_do,
                    "{} {query}: {} {}",
                    case.at(),
                    answer.status,
                    answer.text()
                );
            } else {
                assert!(answer.status < 500, "{} {query}: {}", case.at(), answer.text());
            }
        }
        lists += usize::from(paged);
        for query in
            ["%00=1", "a=%00", "action=%00", "kind=%00&request_id=%00", "action=%FF", "&&&===", "source=%00"]
        {
            let answer = client.get(&format!("{path}?{query}")).await;
            assert!(answer.status < 500, "{} {query}: {}", case.at(), answer.text());
        }
    }
    assert!(lists >= 14, "{lists}");
    let rows = bench.acme.get("/v1/tenant/audit?limit=1").await.json();
    assert_eq!(rows["data"].as_array().unwrap().len(), 1);
    bench.nothing_happened().await;
}

#[tokio::test]
async fn names_of_every_kind_are_answered_and_break_nothing() {
    let bench = Bench::start().await;
    // Twice in a path it is still a URL that a client can send: those end at 64 KiB.
    let huge = "a".repeat(30_000);
    let names = [
        "%00",
        "a%00b",
        "%FF",
        "%C3%28",
        "%ED%A0%80",
        "..%2F..%2Fetc%2Fpasswd",
        "%2e%2e",
        "'%3B--",
        "%F0%9F%98%80",
        "%20",
        "%E2%80%AE",
        "A",
        "-",
        "*",
        "%25",
        "%7B%7D",
        &huge,
    ];
    for case in routes::guarded().iter().filter(|case| case.names_one()) {
        for name in names {
            let client = caller(case, &bench);
            let request = case.request(client, "acme", name);
            let request = match case.takes_body() {
                true if case.is_upload() && case.template.contains("/tools/") => {
                    request.header("content-type", "application/wasm").body("x")
                }
                true if case.is_upload() => {
                    request.header("content-type", "text/markdown").body("---\nbroken")
                }
                true if case.template.ends_with("/review") => request.json(&json!({ "grant": "all" })),
                true if case.template.ends_with("/invoke") => request.json(&json!({ "input": {} })),
                true if case.template.ends_with("/rotate") => request.json(&json!({})),
                true if case.template.contains("/platform/v1/tokens/") => {
                    request.json(&json!({ "name": "x" }))
                }
                true if case.template.contains("/members/") || case.template.contains("/admins/") => {
                    request.json(&json!({ "role": "viewer" }))
                }
                true if case.template.contains("/platform/v1/users/") => {
                    request.json(&json!({ "disabled": true }))
                }
                true if case.template.contains("/budgets/") => {
                    request.json(&json!({ "scope": "app", "period": "day", "limit_micro_usd": 1 }))
                }
                true if case.template.contains("/prices/") => {
                    request.json(&json!({ "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 1 }))
                }
                true if case.template.contains("/sessions/") || case.is_opencodes() => {
                    request.json(&session_body(case))
                }
                true if case.template.ends_with("/test") => request.json(&json!({})),
                true if case.template.ends_with("/sync-models") => {
                    request.json(&json!({ "provider": "prov" }))
                }
                true if case.template.contains("/keys/") => request.json(&json!({ "key": "sk-0123456789" })),
                true if case.template.ends_with("/ai/models") => request.json(&json!({ "models": [] })),
                true if case.template.contains("/platform/v1/ai/") => {
                    request.json(&json!({ "enabled": false }))
                }
                true => request.json(&json!({ "version": 1 })),
                false => request,
            };
            let answer = send(request).await;
            let shown = &name[..name.len().min(20)];
            assert!(
                (400..500).contains(&answer.status),
                "{} {shown}: {} {}",
                case.at(),
                answer.status,
                answer.text()
            );
            // What is made under the name that is sent says what is wrong with it.
            // A URL's parser takes `..` for the folder above, so that is the path of another route, or of none.
            let is_another = name.contains("%2e%2e") && answer.status == 405;
            if case.method != http::Method::PUT && name.len() < 100 && !is_another {
                assert_eq!(answer.status, 404, "{} {shown}: {}", case.at(), answer.text());
            }
        }
    }
    bench.nothing_happened().await;
}

/// An id of a message that was never said.
const NEVER_WAS: &str = "0190f3c4-0000-7000-8000-000000000000";

/// A body that is right for what is done to a session.
fn session_body(case: &Case) -> Value {
    match case.template.rsplit('/').next() {
        Some("prompt" | "message" | "prompt_async") => json!({ "parts": [{ "type": "text", "text": "x" }] }),
        Some("command") => json!({ "command": "x" }),
        Some("revert") if case.is_opencodes() => {
            json!({ "messageID": opg_host::opencode::ids::message(NEVER_WAS.parse().unwrap()) })
        }
        Some("summarize") if case.is_opencodes() => json!({ "providerID": "openai", "modelID": "x" }),
        Some("reply") => json!({ "reply": "once" }),
        Some("revert") => json!({ "message_id": NEVER_WAS }),
        Some("{permission}") => json!({ "response": "once" }),
        Some("git") => json!({ "repo": "https://git.invalid/x.git", "branch": "b", "message": "m" }),
        _ => json!({}),
    }
}

#[tokio::test]
async fn a_nul_in_any_text_is_the_clients_fault() {
    let bench = Bench::start().await;
    let nul = "a\u{0}b";
    let chat = |body: Value| (http::Method::POST, "/v1/chat/completions".to_owned(), body);
    let message = json!([{ "role": "user", "content": nul }]);
    for (method, path, body) in [
        (http::Method::PUT, "/v1/tenant".to_owned(), json!({ "name": nul })),
        (
            http::Method::PUT,
            "/v1/tenant".to_owned(),
            json!({ "defaultModel": { "providerId": nul, "modelId": nul } }),
        ),
        (
            http::Method::PUT,
            "/v1/tenant".to_owned(),
            json!({ "defaultModel": { "providerId": "openai", "modelId": nul } }),
        ),
        (
            http::Method::PUT,
            "/v1/tenant".to_owned(),
            json!({ "providers": { "a": { "baseUrl": format!("https://a.example/{nul}") } } }),
        ),
        (http::Method::PUT, "/v1/tenant".to_owned(), json!({ "includePredefined": { "tools": [nul] } })),
        (http::Method::PUT, "/v1/tenant/secrets".to_owned(), json!({ "set": { nul: "1" } })),
        (http::Method::PUT, "/v1/tenant/secrets".to_owned(), json!({ "unset": [nul] })),
        (http::Method::POST, "/v1/tenant/tokens".to_owned(), json!({ "name": nul })),
        (http::Method::POST, "/v1/tenant/tokens".to_owned(), json!({ "scopes": [nul] })),
        (
            http::Method::POST,
            "/v1/tenant/tools/word-count/review".to_owned(),
            json!({ "grant": [{ "kind": "http", "target": nul }] }),
        ),
        (http::Method::POST, "/v1/tenant/tools/word-count/review".to_owned(), json!({ "grant": nul })),
        chat(json!({ "model": nul, "messages": [{ "role": "user", "content": "hi" }] })),
        chat(
            json!({ "model": "demo/assistant", "session_id": nul, "messages": [{ "role": "user", "content": "hi" }] }),
        ),
        chat(
            json!({ "model": "demo/assistant", "agent": nul, "messages": [{ "role": "user", "content": "hi" }] }),
        ),
    ] {
        let request = bench.acme.request(method.as_str(), &path).json(&body);
        let answer = send(request).await;
        // A default model is the provider's to know; whatever else, it may not be our fault.
        assert!((400..500).contains(&answer.status), "{path} {body}: {} {}", answer.status, answer.text());
    }
    // To a model it may be said; what cannot be kept is refused.
    let said = bench
        .acme
        .post("/v1/chat/completions", &json!({ "model": "demo/assistant", "messages": message }))
        .await;
    assert!(said.status < 500, "{}", said.text());
    let kept = bench
        .acme
        .post(
            "/v1/chat/completions",
            &json!({ "model": "demo/assistant", "session_id": "new", "messages": message }),
        )
        .await;
    assert!(kept.status < 500, "{}", kept.text());
    let counted = bench.acme.invoke("word-count", json!({ "text": nul })).await;
    assert!(counted.status < 500, "{}", counted.text());
    bench.nothing_happened().await;
}

#[tokio::test]
async fn headers_with_any_bytes_are_answered() {
    let bench = Bench::start().await;
    for name in [
        "x-request-id",
        "x-opg-session-id",
        "content-type",
        "accept",
        "x-forwarded-for",
        "idempotency-key",
        "if-match",
        "user-agent",
        "origin",
        "host",
    ] {
        for value in [&b"\xff\xfe\xfd"[..], b"\xc3\xa4", b"", b"a\tb", b"%00", "x".repeat(8000).as_bytes()] {
            let Ok(value) = http::HeaderValue::from_bytes(value) else { continue };
            for (method, path) in [
                ("GET", "/v1/tenant"),
                ("GET", "/healthz"),
                ("POST", "/v1/chat/completions"),
                ("PUT", "/v1/tenant/secrets"),
            ] {
                let answer = send(bench.acme.request(method, path).header(name, value.clone())).await;
                assert!(answer.status < 500, "{method} {path} {name}: {value:?}: {}", answer.text());
                assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
            }
        }
    }
    bench.nothing_happened().await;
    assert_eq!(bench.app.anonymous().get("/healthz").await.status, 200);
}
