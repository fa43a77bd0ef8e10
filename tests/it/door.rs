//! One gate, two doors: what a guest reaches for is granted, capped by its caller, metered and audited.

use opg_tests::{
    app::{Client, TestApp, logs},
    guests,
    site::Site,
    upstream::ScriptedUpstream,
};
use serde_json::{Value, json};

/// What no guest, log or audit row may ever hold.
const CANARY: &str = "canary/\"7f3a9c\"";

async fn grabby(client: &Client, name: &str, grants: &[(&str, &str)]) {
    let path = format!("/v1/tenant/tools/{name}");
    let uploaded = client.put_bytes(&path, "application/wasm", guests::GRABBY).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    client.grant("tools", name, grants).await;
}

/// What the host answered the guest.
async fn seen(client: &Client, tool: &str, input: Value) -> Value {
    let ran = client.invoke(tool, input).await;
    assert_eq!(ran.status, 200, "{}", ran.text());
    ran.json()["output"].clone()
}

/// What the newest run reached for.
async fn reached(client: &Client) -> Value {
    let audit = client.get("/v1/tenant/audit?action=tool.run&limit=1").await.json();
    audit["data"][0]["detail"]["reached"].clone()
}

async fn store_secret(client: &Client) {
    let stored = client.put("/v1/tenant/secrets", &json!({ "set": { "API_KEY": CANARY } })).await;
    assert!(stored.status < 300, "{}", stored.text());
}

#[tokio::test]
async fn m356_http_goes_to_granted_hosts_and_no_other_and_the_audit_says_both() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    grabby(&acme, "grabby", &[]).await;
    let fetch = |url: String| json!({ "url": url });

    let denied = seen(&acme, "grabby_fetch", fetch(site.url("/"))).await;
    assert_eq!(denied["error"], "denied", "{denied}");
    assert!(denied["message"].as_str().unwrap().contains("/review"), "it says what to do: {denied}");
    assert_eq!(reached(&acme).await[format!("http:{}", site.host())], json!({ "allowed": 0, "denied": 1 }));
    assert_eq!(site.visits().len(), 0);

    acme.grant("tools", "grabby", &[("http", &site.host())]).await;
    assert_eq!(seen(&acme, "grabby_fetch", fetch(site.url("/"))).await["ok"]["status"], 200);
    assert_eq!(reached(&acme).await[format!("http:{}", site.host())], json!({ "allowed": 1, "denied": 0 }));
    for url in [
        format!("http://{}/", site.other_host()),
        "http://localhost/".to_owned(),
        format!("https://{}.evil.example/", site.host().replace(':', "-")),
        format!("http://localhost.:{}/x", site.port + 1),
    ] {
        assert_eq!(seen(&acme, "grabby_fetch", fetch(url.clone())).await["error"], "denied", "{url}");
    }
    for url in ["file:///etc/passwd", "not a url", "http://user:pass@localhost/"] {
        let answer = seen(&acme, "grabby_fetch", fetch(url.to_owned())).await;
        assert!(["denied", "invalid"].contains(&answer["error"].as_str().unwrap()), "{url}: {answer}");
    }
    assert_eq!(site.visits().len(), 1, "what was denied never left");
}

#[tokio::test]
async fn m356_a_request_needs_a_grant_of_its_method_and_path_and_so_does_a_redirect() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    acme.put_bytes("/v1/tenant/tools/exfil", "application/wasm", guests::EXFIL).await;
    let target = format!("POST,GET {}/redirect/*", site.host());
    let hop = format!("GET {}/hop/0", site.host());
    let grants = [("http", target.as_str()), ("http", hop.as_str())];
    acme.grant("tools", "exfil", &grants).await;
    let shown = acme.get("/v1/tenant/tools/exfil").await.json();
    assert_eq!(
        shown["granted_capabilities"][1]["target"],
        format!("GET,POST {}/redirect/*", site.host()),
        "in canonical form"
    );
    let fetch = |method: &str, path: &str| json!({ "do": "fetch", "method": method, "url": site.url(path) });
    let steps = json!([
        fetch("GET", "/hop/0"),
        fetch("GET", "/redirect/?/hop/0"),
        fetch("POST", "/redirect/"),
        fetch("POST", "/hop/0"),
        fetch("GET", "/hop/1"),
        fetch("GET", "/redirect/%2e%2e/hop/1"),
        fetch("GET", "/redirect/..%2fhop/1"),
        fetch("GET", "/redirect/?/echo"),
        fetch("GET", "/redirect"),
    ]);
    let packed = [fetch("GET", "/redirect/?/packed")];
    acme.grant("tools", "exfil", &[("http", &site.host())]).await;
    let unread = seen(&acme, "exfil", json!({ "steps": packed })).await;
    assert_eq!(unread[0]["error"], "failed", "nobody asked for a compressed answer: {unread}");
    acme.grant("tools", "exfil", &grants).await;
    let seen = seen(&acme, "exfil", json!({ "steps": steps })).await;
    let allowed: Vec<_> =
        seen.as_array().unwrap().iter().map(|answer| answer["error"] != json!("denied")).collect();
    assert_eq!(allowed, [true, true, true, false, false, false, false, false, false], "{seen}");
    assert!(seen[3]["message"].as_str().unwrap().contains("POST"), "it says what of it: {seen}");
    assert!(!site.visits().iter().any(|visit| visit.uri.starts_with("/echo")), "nor by a redirect");
}

#[tokio::test]
async fn m356_a_part_of_the_store_can_be_granted() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    grabby(&acme, "grabby", &[("kv", "write:cache/*")]).await;
    let ok = |answer: Value| answer.get("ok").is_some();
    for (tool, input, allowed) in [
        ("grabby_kv_set", json!({ "key": "cache/a", "value": 1 }), true),
        ("grabby_kv_get", json!({ "key": "cache/a" }), true),
        ("grabby_kv_keys", json!({ "prefix": "cache/" }), true),
        ("grabby_kv_set", json!({ "key": "other", "value": 1 }), false),
        ("grabby_kv_get", json!({ "key": "cach" }), false),
        ("grabby_kv_keys", json!({ "prefix": "" }), false),
        ("grabby_kv_delete", json!({ "key": "other" }), false),
    ] {
        assert_eq!(ok(seen(&acme, tool, input.clone()).await), allowed, "{tool} {input}");
    }
}

#[tokio::test]
async fn m361_a_grant_may_say_how_many_tokens_a_request_may_use() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.put_bytes("/v1/tenant/tools/exfil", "application/wasm", guests::EXFIL).await;
    acme.grant("tools", "exfil", &[("model", "openai/scripted tokens=40")]).await;
    let whisper = json!({ "do": "whisper", "model": "openai/scripted", "text": "hi" });
    let input = json!({ "steps": vec![whisper; 4] });
    for _ in 0..2 {
        let seen = seen(&acme, "exfil", input.clone()).await;
        assert_eq!(seen[0]["ok"], "hi", "15 tokens each: {seen}");
        assert_eq!(seen[3]["error"], "limit", "{seen}");
        assert!(seen[3]["message"].as_str().unwrap().contains("40 tokens"), "{seen}");
    }
    assert!(upstream.received().len() <= 6, "what is used up is not asked");
    assert_eq!(
        acme.uses().await.iter().filter(|row| row["kind"] == "tokens").count(),
        upstream.received().len()
    );
}

#[tokio::test]
async fn m359_more_memory_and_less_time_can_be_granted() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.put_bytes("/v1/tenant/tools/roomy", "application/wasm", guests::ROOMY).await;
    acme.grant("tools", "roomy", &[]).await;
    let fill = json!({ "mib": 100 });
    assert_eq!(acme.invoke("roomy_fill", fill.clone()).await.json()["code"], "tool_oom", "64 MiB by itself");
    acme.grant("tools", "roomy", &[("limit", "memory_mib=128"), ("limit", "wall_ms=300")]).await;
    let ran = acme.invoke("roomy_turn", json!({})).await;
    assert_eq!(ran.json()["code"], "tool_timeout", "{}", ran.text());
    assert!(ran.json()["ms"].as_f64().is_some_and(|ms| ms < 2000.0), "{}", ran.text());
    acme.grant("tools", "roomy", &[("limit", "memory_mib=128")]).await;
    assert_eq!(acme.invoke("roomy_fill", fill).await.json()["output"], 100);
    let most = acme.invoke("roomy_fill", json!({ "mib": 140 })).await;
    assert_eq!(most.json()["code"], "tool_oom", "no more than was granted: {}", most.text());
    let wider = json!({ "grant": [{ "kind": "limit", "target": "memory_mib=129" }] });
    assert_eq!(acme.post("/v1/tenant/tools/roomy/review", &wider).await.status, 422);
}

#[tokio::test]
async fn m237_m356_a_private_address_is_refused_even_where_it_was_granted() {
    let app = TestApp::start().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    let hosts = [site.host(), site.other_host(), "169.254.169.254".to_owned()];
    let grants: Vec<_> = hosts.iter().map(|host| ("http", host.as_str())).collect();
    grabby(&acme, "grabby", &grants).await;
    for host in &hosts {
        let answer = seen(&acme, "grabby_fetch", json!({ "url": format!("http://{host}/latest") })).await;
        assert_eq!(answer["error"], "denied", "{host}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains("public address"), "{host}: {answer}");
    }
    assert_eq!(site.visits().len(), 0);
}

#[tokio::test]
async fn m356_every_redirect_is_judged_again_and_a_secret_does_not_follow_it() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    store_secret(&acme).await;
    let secret = format!("API_KEY@{}", site.host());
    grabby(&acme, "grabby", &[("http", &site.host()), ("secret", &secret)]).await;
    let elsewhere = format!("http://{}/echo", site.other_host());
    let away = site.url(&format!("/redirect?{elsewhere}"));

    let denied = seen(&acme, "grabby_fetch", json!({ "url": away })).await;
    assert_eq!(denied["error"], "denied", "{denied}");
    assert_eq!(
        reached(&acme).await[format!("http:{}", site.other_host())],
        json!({ "allowed": 0, "denied": 1 })
    );
    assert!(site.visits().iter().all(|visit| visit.uri != "/echo"), "the other host was not asked");

    acme.grant(
        "tools",
        "grabby",
        &[("http", &site.host()), ("http", &site.other_host()), ("secret", &secret)],
    )
    .await;
    for header in ["authorization", "x-api-key"] {
        let input = json!({ "url": away, "header": header, "name": "API_KEY" });
        assert_eq!(seen(&acme, "grabby_fetch_with_secret", input).await["ok"]["status"], 200);
        let visits = site.visits();
        let [.., first, second] = visits.as_slice() else { panic!("two visits") };
        assert_eq!(first.headers[header], format!("Bearer {CANARY}"));
        assert!(second.uri == "/echo" && !second.headers.contains_key(header), "{second:?}");
    }
}

#[tokio::test]
async fn m252_a_secret_goes_to_its_host_alone_and_the_guest_never_sees_it_even_where_it_is_echoed() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    let secret = format!("API_KEY@{}", site.host());
    let everywhere = [("http", site.host()), ("http", site.other_host()), ("secret", secret)];
    let grants: Vec<_> = everywhere.iter().map(|(kind, target)| (*kind, target.as_str())).collect();
    grabby(&acme, "grabby", &grants).await;
    let send = |url: String| json!({ "url": url, "header": "authorization", "name": "API_KEY" });

    let missing = seen(&acme, "grabby_fetch_with_secret", send(site.url("/echo"))).await;
    assert_eq!(missing["error"], "invalid", "not stored yet: {missing}");
    store_secret(&acme).await;

    let echoed = acme.invoke("grabby_fetch_with_secret", send(site.url("/echo"))).await;
    let text = echoed.text();
    assert_eq!(echoed.json()["output"]["ok"]["status"], 200, "{text}");
    assert_eq!(site.visits()[0].headers["authorization"], format!("Bearer {CANARY}"), "the host got it");
    assert!(text.contains("{{secret:API_KEY}}") && !text.contains("7f3a9c"), "{text}");

    let elsewhere = format!("http://{}/echo", site.other_host());
    let denied = seen(&acme, "grabby_fetch_with_secret", send(elsewhere)).await;
    assert_eq!(denied["error"], "denied", "{denied}");
    let target = format!("secret:API_KEY@{}", site.other_host());
    assert_eq!(reached(&acme).await[target], json!({ "allowed": 0, "denied": 1 }));

    let packed = seen(&acme, "grabby_fetch_with_secret", send(site.url("/packed"))).await;
    assert_eq!(packed["error"], "failed", "what cannot be searched is not handed on: {packed}");
    let in_url = json!({ "url": site.url("/x?key={{secret:API_KEY}}") });
    let refused = seen(&acme, "grabby_fetch", in_url).await;
    assert_eq!(refused["error"], "denied", "not granted for the query: {refused}");
    assert!(refused["message"].as_str().unwrap().contains("query:key"), "{refused}");
    let in_path = json!({ "url": site.url("/x/{{secret:API_KEY}}") });
    let refused = seen(&acme, "grabby_fetch", in_path).await;
    assert!(refused["message"].as_str().unwrap().contains("URL"), "{refused}");
    assert_eq!(site.visits().len(), 2);

    let audit = acme.get("/v1/tenant/audit?limit=200").await.text();
    assert!(!audit.contains("7f3a9c") && !logs().contains("7f3a9c"));
}

#[tokio::test]
async fn m252_a_guest_gets_a_reference_never_a_value_and_an_ungranted_name_is_denied_and_audited() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    store_secret(&acme).await;
    grabby(&acme, "grabby", &[("secret", "API_KEY@api.example.com")]).await;
    let reference = seen(&acme, "grabby_read_secret", json!({ "name": "API_KEY" })).await;
    assert_eq!(reference, json!({ "ok": "{{secret:API_KEY}}" }));
    let denied = seen(&acme, "grabby_read_secret", json!({ "name": "DB_URL" })).await;
    assert_eq!(denied["error"], "denied", "{denied}");
    assert_eq!(reached(&acme).await["secret:DB_URL"], json!({ "allowed": 0, "denied": 1 }));

    acme.grant("tools", "grabby", &[]).await;
    let revoked = seen(&acme, "grabby_read_secret", json!({ "name": "API_KEY" })).await;
    assert_eq!(revoked["error"], "denied", "a grant ends at once");
}

#[tokio::test]
async fn m356_a_key_value_store_belongs_to_one_plugin_of_one_app_and_reading_is_not_writing() {
    let app = TestApp::start().await;
    let (acme, rival) = (app.tenant("acme").await, app.tenant("rival").await);
    let both = [("kv", "read"), ("kv", "write")];
    grabby(&acme, "one", &both).await;
    grabby(&acme, "two", &both).await;
    grabby(&acme, "reader", &[("kv", "read")]).await;
    grabby(&rival, "one", &both).await;

    assert_eq!(
        seen(&acme, "one_kv_set", json!({ "key": "k", "value": { "n": 1 } })).await,
        json!({ "ok": null })
    );
    let get = json!({ "key": "k" });
    assert_eq!(seen(&acme, "one_kv_get", get.clone()).await["ok"], json!({ "n": 1 }));
    assert_eq!(seen(&acme, "one_kv_keys", json!({ "prefix": "" })).await["ok"], json!(["k"]));
    for (client, plugin) in [(&acme, "two"), (&acme, "reader"), (&rival, "one")] {
        let got = seen(client, &format!("{plugin}_kv_get"), get.clone()).await;
        assert_eq!(got.get("ok").unwrap_or(&Value::Null), &Value::Null, "{plugin}: {got}");
        let keys = seen(client, &format!("{plugin}_kv_keys"), json!({ "prefix": "" })).await;
        assert_eq!(keys["ok"], json!([]), "{plugin}");
    }
    for (tool, input) in
        [("reader_kv_set", json!({ "key": "k", "value": 1 })), ("reader_kv_delete", get.clone())]
    {
        assert_eq!(seen(&acme, tool, input).await["error"], "denied", "{tool}");
    }
    assert_eq!(reached(&acme).await["kv:write"], json!({ "allowed": 0, "denied": 1 }));
    seen(&acme, "one_kv_delete", get.clone()).await;
    assert_eq!(seen(&acme, "one_kv_keys", json!({ "prefix": "" })).await["ok"], json!([]));
    let long = seen(&acme, "one_kv_get", json!({ "key": "x".repeat(513) })).await;
    assert_eq!(long["error"], "invalid", "{long}");
}

#[tokio::test]
async fn m361_a_guests_model_call_is_metered_and_takes_a_caller_who_may_spend() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    grabby(&acme, "grabby", &[("model", "demo/assistant")]).await;
    let ask = |model: &str| json!({ "model": model, "prompt": "hello there" });

    let answered = seen(&acme, "grabby_ask_model", ask("demo/assistant")).await;
    assert!(answered["ok"].as_str().is_some_and(|text| !text.is_empty()), "{answered}");
    let uses = acme.uses().await;
    let tokens = uses.iter().find(|row| row["kind"] == "tokens").expect("the call is in the ledger");
    assert_eq!((&tokens["plugin"], &tokens["status"]), (&json!("tool/grabby"), &json!("ok")));
    assert!(tokens["completion_tokens"].as_u64().unwrap() > 0 && tokens["cost_micro_usd"].is_number());
    assert_eq!(reached(&acme).await["model:demo/assistant"], json!({ "allowed": 1, "denied": 0 }));

    assert_eq!(seen(&acme, "grabby_ask_model", ask("demo/slow")).await["error"], "denied", "another model");
    let runner = acme.with_scopes(&["tools:run"]).await;
    let capped = runner.invoke("grabby_ask_model", ask("demo/assistant")).await;
    assert_eq!(capped.json()["output"]["error"], "denied", "{}", capped.text());
    assert!(capped.text().contains("chat:write"), "{}", capped.text());
    let count = |uses: &[Value]| uses.iter().filter(|row| row["kind"] == "tokens").count();
    assert_eq!(count(&acme.uses().await), 1, "neither cost anything");
}

#[tokio::test]
async fn m361_tools_call_tools_four_deep_and_each_reaches_with_its_own_grants() {
    let app = TestApp::local().await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("relay", guests::RELAY).await;
    let deep = acme.invoke("relay", json!({ "depth": 10 })).await.json();
    assert_eq!(deep["output"]["reached"], 4, "{deep}");
    assert_eq!(deep["output"]["stopped_by"]["error"], "limit", "{deep}");
    let shallow = acme.invoke("relay", json!({ "depth": 3 })).await.json();
    assert_eq!(shallow["output"], json!({ "reached": 3, "stopped_by": null }));
    let runs = acme.uses().await.iter().filter(|row| row["plugin"] == "tool/relay").count();
    assert_eq!(runs, 5 + 4, "every call is in the ledger");

    // One may call tools, the other may reach the site; neither lends the other what it has.
    grabby(&acme, "caller", &[("tool", "*")]).await;
    grabby(&acme, "reacher", &[("http", &site.host())]).await;
    let fetch = json!({ "url": site.url("/") });
    let lent = json!({ "name": "reacher_fetch", "input": fetch });
    assert_eq!(seen(&acme, "caller_call_tool", lent.clone()).await["ok"]["ok"]["status"], 200);
    assert_eq!(seen(&acme, "caller_fetch", fetch).await["error"], "denied");
    assert_eq!(seen(&acme, "reacher_call_tool", lent).await["error"], "denied");
    assert_eq!(
        seen(&acme, "reacher_list_tools", json!({})).await["ok"],
        json!([]),
        "what it may not call it does not see"
    );

    let bad = json!({ "name": "reacher_fetch", "input": { "url": 7 } });
    assert_eq!(seen(&acme, "caller_call_tool", bad).await["error"], "invalid");
    let unknown = json!({ "name": "nothing", "input": {} });
    assert_eq!(seen(&acme, "caller_call_tool", unknown).await["error"], "invalid");
}

#[tokio::test]
async fn m356_a_guest_knows_of_its_call_what_the_host_says_and_a_tool_does_not_speak_to_the_client() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    grabby(&acme, "grabby", &[]).await;
    let who = acme.invoke("grabby_who_am_i", json!({})).await.json()["output"].clone();
    assert_eq!((&who["app"], &who["session_id"]), (&json!("acme"), &Value::Null));
    assert!(who["time_limit_ms"].as_u64().is_some_and(|ms| ms <= 30_000), "{who}");
    let said = acme
        .chat("demo/assistant", r#"call grabby_emit {"event": {"type": "text", "text": "smuggled"}}"#)
        .await;
    let frames = said.content();
    assert_eq!(said.status, 200, "{}", said.text());
    assert!(!frames.starts_with("smuggled"), "{frames}");
}

#[tokio::test]
async fn a_run_reaches_for_so_much_and_no_more() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("thief", guests::SECRET_THIEF).await;
    let hammer = json!({ "name": "NEVER_KEPT", "times": 10_050 });
    for _ in 0..2 {
        // The next run begins anew.
        assert_eq!(
            seen(&acme, "thief_hammer", hammer.clone()).await,
            json!({ "denied": 10_000, "limit": 50 })
        );
    }
    assert_eq!(reached(&acme).await["kv:read"], json!({ "allowed": 0, "denied": 10_000 }));
}
