//! What a model of the platform may be asked for: how long a reply, how often, how much, how many at once.

use opg_tests::{
    app::{Answer, Client, TestApp, UPSTREAM_KEY, send},
    guests,
    paid::{self, CHAT, costs_five, five, with},
    upstream::{ScriptedUpstream, Step},
    wait::until,
};
use serde_json::{Value, json};

const MODEL: &str = "/platform/v1/ai/models/plat/large";

/// An operator with `plat/large`, which takes fifteen tokens for a request, and two apps that may use it.
struct Scene {
    app: TestApp,
    operator: Client,
    acme: Client,
    rival: Client,
    upstream: ScriptedUpstream,
}

impl Scene {
    async fn start(limits: Value) -> Scene {
        let (app, upstream) = paid::start().await;
        upstream.script_for_model("scripted", costs_five());
        let operator = app.operator();
        paid::platform_model(&operator, &upstream, json!({ "limits": limits })).await;
        let (acme, rival) = (app.tenant("acme").await, app.tenant("rival").await);
        for slug in ["acme", "rival"] {
            let path = format!("/v1/admin/tenants/{slug}/ai/models");
            assert_eq!(operator.put(&path, &json!({ "models": ["*"] })).await.status, 200);
        }
        Scene { app, operator, acme, rival, upstream }
    }

    async fn limit(&self, limits: Value) -> Answer {
        self.operator.patch(MODEL, &json!({ "limits": limits })).await
    }

    fn asked(&self) -> usize {
        self.upstream.received().len()
    }

    fn advance(&self, seconds: i64) {
        self.app.clock.advance(chrono::Duration::seconds(seconds));
    }
}

async fn ask(client: &Client) -> Answer {
    client.post(CHAT, &five("plat/large")).await
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}

/// Refused by a limit of the model, with how many seconds to wait.
fn wait_of(refused: &Answer) -> u64 {
    assert_eq!((refused.status, code(refused)), (429, json!("model_rate_limited")), "{}", refused.text());
    refused.header("retry-after").parse().unwrap()
}

#[tokio::test]
async fn m182_limits_are_shown_change_one_by_one_and_what_makes_no_sense_is_named() {
    let scene = Scene::start(json!({ "output_tokens": 4096, "requests_per_minute": 60 })).await;
    let shown = async || scene.operator.get(MODEL).await.json()["limits"].clone();
    let all = |output: Value, requests: Value, tokens: Value, concurrent: Value| {
        json!({ "output_tokens": output, "requests_per_minute": requests, "tokens_per_minute": tokens,
            "concurrent_requests": concurrent })
    };
    assert_eq!(shown().await, all(json!(4096), json!(60), Value::Null, Value::Null));
    let changed = scene.limit(json!({ "requests_per_minute": null, "concurrent_requests": 7 })).await;
    let expected = all(json!(4096), Value::Null, Value::Null, json!(7));
    assert_eq!((changed.status, &changed.json()["limits"]), (200, &expected), "what is left out stays");
    let listed = scene.operator.get("/platform/v1/ai/models").await.json();
    assert_eq!(listed["data"][0]["limits"], expected);

    let names = ["output_tokens", "requests_per_minute", "tokens_per_minute", "concurrent_requests"];
    for name in names {
        for wrong in [json!(0), json!(-1), json!(1.5), json!("7"), json!(u64::MAX), json!([])] {
            let body = json!({ "limits": { name: wrong } });
            let new = json!({ "id": "plat/new", "enabled": false });
            for refused in [
                scene.operator.patch(MODEL, &body).await,
                scene.operator.post("/platform/v1/ai/models", &with(new, body.clone())).await,
            ] {
                assert_eq!(refused.status, 422, "{body}: {}", refused.text());
                let at = &refused.json()["errors"][0]["pointer"];
                assert_eq!(at, &json!(format!("/limits/{name}")), "{}", refused.text());
            }
        }
    }
    let unknown = scene.limit(json!({ "per_second": 1 })).await;
    assert_eq!(unknown.status, 422, "{}", unknown.text());
    assert_eq!(shown().await, expected);
    let audited = "select (before_hash <> after_hash)::text from audit_events where action = 'ai_models.write' order by audit_id desc limit 1";
    assert_eq!(scene.app.sql(audited).await, ["true"]);
}

#[tokio::test]
async fn m182_lists_say_how_long_a_context_and_a_reply_are_where_they_have_a_word_for_it() {
    let scene = Scene::start(json!({ "output_tokens": 4096 })).await;
    let context = json!({ "context_tokens": 128_000 });
    assert_eq!(scene.operator.patch(MODEL, &context).await.status, 200);
    let own = async || {
        let listed = scene.acme.get("/v1/ai/models").await.json();
        let models = listed["data"].as_array().unwrap().clone();
        let large = models.into_iter().find(|model| model["id"] == "plat/large").unwrap();
        (large["context"].clone(), large["output"].clone())
    };
    assert_eq!(own().await, (json!(128_000), json!(4096)));
    let anthropics = scene.acme.request("GET", "/v1/models").header("anthropic-version", "2023-06-01");
    let anthropics = send(anthropics).await.json();
    let of = |id: &str| {
        anthropics["data"].as_array().unwrap().iter().find(|model| model["id"] == id).unwrap().clone()
    };
    let large = of("plat/large");
    assert_eq!((&large["max_input_tokens"], &large["max_tokens"]), (&json!(128_000), &json!(4096)));
    assert_eq!(of("demo/assistant")["max_tokens"], Value::Null, "nobody said");
    let opencodes = scene.acme.get("/t/acme/opencode/config/providers").await.json();
    let providers = opencodes["providers"].as_array().unwrap();
    let plat = providers.iter().find(|provider| provider["id"] == "plat").unwrap();
    assert_eq!(plat["models"]["large"]["limit"], json!({ "context": 128_000, "output": 4096 }));
    let openais = scene.acme.get("/v1/models").await.text();
    assert!(!openais.contains("4096") && !openais.contains("128000"), "OpenAI's has none: {openais}");

    // Without a limit, what the price knows of.
    let price = with(paid::price(), json!({ "output_tokens_max": 2048 }));
    assert_eq!(scene.operator.patch(MODEL, &json!({ "price": price })).await.status, 200);
    assert_eq!(own().await.1, json!(2048), "the shorter of both");
    assert_eq!(scene.limit(json!({ "output_tokens": null })).await.status, 200);
    assert_eq!(own().await.1, json!(2048));
}

#[tokio::test]
async fn m182_who_asks_for_more_than_a_model_may_write_is_refused_in_every_dialect_and_by_an_agent() {
    let scene = Scene::start(json!({ "output_tokens": 100 })).await;
    let said = json!([{ "role": "user", "content": "hello" }]);
    let chat = json!({ "model": "plat/large", "messages": said });
    for (path, body, field) in [
        (CHAT, chat.clone(), "max_tokens"),
        (CHAT, chat.clone(), "max_completion_tokens"),
        (CHAT, with(chat.clone(), json!({ "agent": "default" })), "max_tokens"),
        ("/v1/ai/chat", chat.clone(), "max_tokens"),
        ("/v1/messages", chat.clone(), "max_tokens"),
        ("/v1/responses", json!({ "model": "plat/large", "input": "hello" }), "max_output_tokens"),
    ] {
        for stream in [false, true] {
            let before = scene.asked();
            let body = with(body.clone(), json!({ "stream": stream }));
            let refused = scene.acme.post(path, &with(body.clone(), json!({ field: 101 }))).await;
            assert_eq!(refused.status, 400, "{path} {field}: {}", refused.text());
            assert!(refused.text().contains("at most 100 tokens"), "{}", refused.text());
            assert_eq!(scene.asked(), before, "{path} {field}: nobody was asked");
        }
        let before = scene.asked();
        let fits = scene.acme.post(path, &with(body, json!({ field: 100 }))).await;
        assert_eq!(fits.status, 200, "{path} {field}: {}", fits.text());
        assert_eq!(scene.asked(), before + 1);
    }
}

#[tokio::test]
async fn m182_who_names_no_length_is_asked_with_the_limit_which_is_what_is_held() {
    let scene = Scene::start(json!({ "output_tokens": 100 })).await;
    let budget = json!({ "scope": "app", "period": "total", "limit_micro_usd": 100 });
    assert_eq!(scene.acme.put("/v1/tenant/budgets/all", &budget).await.status, 200);
    let none_named = json!({ "model": "plat/large", "messages": [{ "role": "user", "content": "hello" }] });
    let answer = scene.acme.post(CHAT, &none_named).await;
    assert_eq!(answer.status, 200, "100 fit into the budget: {}", answer.text());
    assert_eq!(scene.upstream.received()[0].body["max_completion_tokens"], 100);
    let held = scene.acme.post(CHAT, &none_named).await;
    assert_eq!((held.status, code(&held)), (402, json!("budget_exceeded")), "5 are spent");
    assert_eq!(scene.limit(json!({ "output_tokens": 90 })).await.status, 200);
    assert_eq!(scene.acme.post(CHAT, &none_named).await.status, 200, "from the next request on");
    assert_eq!(scene.limit(json!({ "output_tokens": null })).await.status, 200);
    assert_eq!(scene.acme.post(CHAT, &none_named).await.status, 402, "32,768 are held again");
}

#[tokio::test]
async fn m182_a_minute_has_so_many_requests_of_all_apps_and_no_more() {
    let scene = Scene::start(json!({ "requests_per_minute": 3 })).await;
    assert_eq!(ask(&scene.acme).await.status, 200);
    scene.advance(20);
    assert_eq!(ask(&scene.rival).await.status, 200);
    let vectors = json!({ "model": "plat/large", "input": "x" });
    assert_eq!(scene.acme.post("/v1/embeddings", &vectors).await.status, 200, "of whatever kind");
    for client in [&scene.acme, &scene.rival] {
        let refused = ask(client).await;
        assert_eq!(wait_of(&refused), 41, "{}", refused.text());
        assert!(refused.text().contains("3 requests a minute"), "{}", refused.text());
    }
    let agent = with(five("plat/large"), json!({ "agent": "default" }));
    assert_eq!(wait_of(&scene.acme.post(CHAT, &agent).await), 41, "an agent's calls as well");
    let messages = scene.acme.post("/v1/messages", &five("plat/large")).await;
    assert_eq!((messages.status, messages.header("retry-after")), (429, "41"), "{}", messages.text());
    assert_eq!(wait_of(&scene.acme.post("/v1/embeddings", &vectors).await), 41);
    assert_eq!(scene.asked(), 3, "nobody was asked");
    let uses = scene.acme.uses().await;
    assert_eq!(uses.iter().filter(|row| row["kind"] == "tokens").count(), 2, "and no use is written down");
    scene.advance(41);
    assert_eq!(ask(&scene.rival).await.status, 200);
    assert_eq!(wait_of(&ask(&scene.rival).await), 20);
    assert_eq!(scene.limit(json!({ "requests_per_minute": null })).await.status, 200);
    assert_eq!(ask(&scene.rival).await.status, 200, "a change counts from the next request on");
}

#[tokio::test]
async fn m182_what_is_refused_elsewhere_takes_nothing_and_ones_own_key_has_no_limits_of_the_platform() {
    let scene = Scene::start(json!({ "requests_per_minute": 2 })).await;
    let nothing = json!({ "scope": "app", "period": "total", "limit_micro_usd": 0 });
    assert_eq!(scene.rival.put("/v1/tenant/budgets/none", &nothing).await.status, 200);
    for _ in 0..5 {
        assert_eq!(ask(&scene.rival).await.status, 402);
    }
    for _ in 0..2 {
        assert_eq!(ask(&scene.acme).await.status, 200, "the budget of another app is not in its way");
    }
    wait_of(&ask(&scene.acme).await);
    let own =
        json!({ "providers": { "plat": { "apiKey": UPSTREAM_KEY, "baseUrl": scene.upstream.base_url() } } });
    assert_eq!(scene.acme.put("/v1/tenant", &own).await.status, 200);
    for _ in 0..4 {
        assert_eq!(ask(&scene.acme).await.status, 200);
    }
}

#[tokio::test]
async fn m182_a_minute_has_so_many_tokens_as_requests_used_that_were_let_in() {
    let scene = Scene::start(json!({ "tokens_per_minute": 40 })).await;
    assert_eq!(ask(&scene.acme).await.status, 200);
    scene.advance(10);
    assert_eq!(ask(&scene.rival).await.status, 200);
    assert_eq!(ask(&scene.acme).await.status, 200, "30 of 40 were used");
    let refused = ask(&scene.acme).await;
    assert_eq!(wait_of(&refused), 51, "{}", refused.text());
    assert!(refused.text().contains("40 tokens a minute"), "{}", refused.text());
    assert_eq!(scene.asked(), 3);
    scene.advance(51);
    assert_eq!(ask(&scene.acme).await.status, 200, "15 of 45 are a minute old");

    // Until it ends a request counts with what it is reckoned to read.
    scene.advance(120);
    scene.upstream.script(vec![Step::Stall]);
    let stalled = tokio::spawn(scene.acme.request("POST", CHAT).json(&five("plat/large")).send());
    scene.upstream.wait_until(|received| received.len() == 5).await;
    assert_eq!(wait_of(&ask(&scene.rival).await), 1);
    stalled.abort();
    until("what was reckoned is let go", async || ask(&scene.rival).await.status == 200).await;
}

/// A request whose answer is not waited for yet.
struct Sent(tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>);

#[tokio::test]
async fn m182_so_many_requests_at_once_and_each_makes_room_however_it_ends() {
    let scene = Scene::start(json!({ "concurrent_requests": 2 })).await;
    let stall = async |client: &Client, said: Vec<Step>| {
        let before = scene.asked();
        scene.upstream.script([said, vec![Step::Stall]].concat());
        let streamed = with(five("plat/large"), json!({ "stream": true, "max_tokens": 40 }));
        let sent = tokio::spawn(client.request("POST", CHAT).json(&streamed).send());
        scene.upstream.wait_until(|received| received.len() == before + 1).await;
        Sent(sent)
    };
    let silent = stall(&scene.acme, vec![]).await;
    let speaking = stall(&scene.rival, vec![Step::text("one two three")]).await.0.await.unwrap().unwrap();
    for client in [&scene.acme, &scene.rival] {
        let refused = ask(client).await;
        assert_eq!(wait_of(&refused), 1);
        assert!(refused.text().contains("2 requests at once"), "{}", refused.text());
    }
    assert_eq!(scene.asked(), 2);

    silent.0.abort();
    until("who hangs up before the first word makes room", async || ask(&scene.acme).await.status == 200)
        .await;
    let again = stall(&scene.acme, vec![]).await;
    wait_of(&ask(&scene.acme).await);
    drop(speaking);
    until("and who does in the middle", async || ask(&scene.acme).await.status == 200).await;
    again.0.abort();
    until("all are gone", async || {
        let stalled = scene.upstream.received();
        stalled.iter().all(|received| received.hung_up || received.completed)
    })
    .await;

    // Those that end, fail, or are asked by an agent one after the other are never in each other's way.
    assert_eq!(scene.limit(json!({ "concurrent_requests": 1 })).await.status, 200);
    until("the last one is over", async || ask(&scene.acme).await.status == 200).await;
    for step in [Step::error(500, "no"), Step::error(400, "no"), Step::Reset, Step::MalformedFrame] {
        scene.upstream.script(vec![step]);
        let failed = ask(&scene.acme).await;
        assert!(failed.status >= 400 && failed.status != 429, "{}", failed.text());
        assert_eq!(ask(&scene.acme).await.status, 200);
    }
    scene.acme.install_tool("word-count", guests::WORD_COUNT).await;
    scene.upstream.script(vec![Step::tool_call("c1", "word-count", r#"{"text":"a b"}"#)]);
    let answer = scene.acme.post(CHAT, &with(five("plat/large"), json!({ "agent": "default" }))).await;
    assert_eq!(answer.status, 200, "it asked twice: {}", answer.text());
    let vectors = json!({ "model": "plat/large", "input": "x" });
    assert_eq!(scene.acme.post("/v1/embeddings", &vectors).await.status, 200);
    assert_eq!(ask(&scene.acme).await.status, 200);
}

#[tokio::test]
async fn m182_a_turn_of_a_session_is_refused_as_well_and_the_session_goes_on() {
    let scene = Scene::start(json!({ "requests_per_minute": 1 })).await;
    let made = scene.acme.post("/v1/sessions", &json!({ "model": "plat/large" })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let prompt = format!("/v1/sessions/{}/prompt", made.json()["id"].as_str().unwrap());
    let ended = "select data -> 'reason' ->> 'code' from session_events
                 where kind = 'turn.ended' and data ->> 'state' = 'failed'";
    let done = "select turn_id::text from session_turns where state in ('done', 'failed')";
    for (turn, after_s) in [(1, 0), (2, 0), (3, 61)] {
        scene.advance(after_s);
        let said = json!({ "parts": [{ "type": "text", "text": "hello" }] });
        let taken = scene.acme.post(&prompt, &said).await;
        assert_eq!(taken.status, 202, "{}", taken.text());
        until("the turn ends", async || scene.app.sql(done).await.len() == turn).await;
    }
    assert_eq!(scene.app.sql(ended).await, ["model_rate_limited"]);
    assert_eq!(scene.asked(), 2, "the third turn was served");
}
