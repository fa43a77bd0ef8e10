//! Budgets, prices, and what the ledger says of them.

use opg_host::budgets::sweep;
use opg_tests::{
    app::{ADMIN_TOKEN, Answer, Client, TestApp, UPSTREAM_KEY},
    guests,
    paid::{self, CHAT, costs_five, price, with},
    process::OpgProcess,
    upstream::{ScriptedUpstream, Step},
    wait::until,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

async fn start() -> (TestApp, ScriptedUpstream, Client) {
    let (app, upstream) = paid::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    priced(&app.operator()).await;
    (app, upstream, acme)
}

async fn priced(operator: &Client) {
    let set = operator.put("/platform/v1/ai/prices/openai/scripted", &price()).await;
    assert_eq!(set.status, 204, "{}", set.text());
}

fn five() -> Value {
    paid::five("openai/scripted")
}

async fn budget(client: &Client, name: &str, fields: Value) -> Answer {
    let all = with(json!({ "scope": "app", "period": "total", "limit_micro_usd": 50 }), fields);
    client.put(&format!("/v1/tenant/budgets/{name}"), &all).await
}

/// Of a budget: spent and held, summed over all it counts for.
async fn counted(client: &Client, name: &str) -> (i64, i64) {
    let balance = client.get("/v1/usage/balance").await.json();
    let all = balance["data"].as_array().unwrap();
    let one = all.iter().find(|budget| budget["name"] == name).unwrap_or_else(|| panic!("{name}: {balance}"));
    let sum =
        |field: &str| one["spending"].as_array().unwrap().iter().map(|s| s[field].as_i64().unwrap()).sum();
    (sum("spent_micro_usd"), sum("reserved_micro_usd"))
}

async fn until_counted(client: &Client, name: &str, expected: (i64, i64)) {
    until(&format!("{name} is {expected:?}"), async || counted(client, name).await == expected).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m498_two_hundred_requests_at_once_against_a_budget_for_ten_spend_for_ten() {
    let (app, upstream, acme) = start().await;
    upstream.script_for_model("scripted", [vec![Step::Wait(300)], costs_five()].concat());
    assert_eq!(budget(&acme, "all", json!({})).await.status, 200);
    let asking = (0..200).map(|_| {
        let acme = acme.clone();
        tokio::spawn(async move { acme.post(CHAT, &five()).await })
    });
    let mut served = 0;
    for asked in asking.collect::<Vec<_>>() {
        let answer = asked.await.unwrap();
        match answer.status {
            200 => served += 1,
            402 => assert_eq!(answer.json()["error"]["code"], "budget_exceeded", "{}", answer.text()),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!(served, 10);
    assert_eq!(upstream.received().len(), 10, "the others were refused before the provider was asked");
    until_counted(&acme, "all", (50, 0)).await;
    let ledger = app.sql("select sum(cost_micro_usd)::text from usage_events").await;
    assert_eq!(ledger, ["50"]);
}

#[tokio::test]
async fn m498_a_refusal_says_what_is_left_and_when_it_begins_anew_and_is_not_tried_again() {
    let (app, upstream, acme) = start().await;
    upstream.script_for_model("scripted", costs_five());
    assert_eq!(budget(&acme, "daily", json!({ "period": "day", "limit_micro_usd": 7 })).await.status, 200);
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
    for stream in [false, true] {
        let refused = acme.post(CHAT, &with(five(), json!({ "stream": stream }))).await;
        assert_eq!(refused.status, 402, "{}", refused.text());
        assert_eq!(refused.header("x-should-retry"), "false");
        let said = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        for part in ["`daily`", "of 7 micro-dollars 5 are spent and 0 held", "may cost 5", "until 2"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    assert_eq!(upstream.received().len(), 1);
    let small = with(five(), json!({ "max_tokens": 2 }));
    assert_eq!(acme.post(CHAT, &small).await.status, 200, "what fits into the rest is served");
    let shown = acme.get("/v1/usage/balance").await.json()["data"][0].clone();
    let midnight =
        (app.clock.now().date_naive() + chrono::Days::new(1)).and_time(chrono::NaiveTime::MIN).and_utc();
    assert_eq!(
        shown["resets_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap(),
        midnight
    );
    assert_eq!(shown["spending"][0]["left_micro_usd"], 0, "never below nothing: {shown}");
    app.clock.advance(chrono::Duration::hours(24));
    assert_eq!(acme.post(CHAT, &five()).await.status, 200, "tomorrow is another day");
    assert_eq!(counted(&acme, "daily").await, (5, 0));
}

#[tokio::test]
async fn m498_a_credentials_and_an_end_users_budget_count_theirs_alone() {
    let (_app, upstream, acme) = start().await;
    upstream.script_for_model("scripted", costs_five());
    let helper = acme.with_scopes(&["chat:write"]).await;
    let each = json!({ "limit_micro_usd": 5 });
    assert_eq!(
        budget(&acme, "each-key", with(each.clone(), json!({ "scope": "credential" }))).await.status,
        200
    );
    assert_eq!(helper.post(CHAT, &five()).await.status, 200);
    assert_eq!(helper.post(CHAT, &five()).await.status, 402);
    assert_eq!(acme.post(CHAT, &five()).await.status, 200, "another credential has its own");
    assert_eq!(acme.delete("/v1/tenant/budgets/each-key").await.status, 204);

    let one = with(each.clone(), json!({ "scope": "end_user", "subject": "ann" }));
    assert_eq!(budget(&acme, "ann", one).await.status, 200);
    let of = |user: &str| with(five(), json!({ "user": user }));
    assert_eq!(acme.post(CHAT, &of("ann")).await.status, 200);
    assert_eq!(acme.post(CHAT, &of("ann")).await.status, 402);
    assert_eq!(acme.post(CHAT, &of("bob")).await.status, 200, "it is ann's");
    assert_eq!(acme.post(CHAT, &five()).await.status, 200, "nor does it count where nobody is named");
    assert_eq!(budget(&acme, "everybody", with(each, json!({ "scope": "end_user" }))).await.status, 200);
    assert_eq!(acme.post(CHAT, &of("bob")).await.status, 402, "bob spent before there was a budget");
    assert_eq!(acme.post(CHAT, &of("cem")).await.status, 200);
    let users = acme.get("/v1/usage/summary?by=end_user").await.json();
    let cost = |user: Value| {
        let all = users["data"].as_array().unwrap();
        all.iter().find(|total| total["end_user"] == user).map(|total| total["cost_micro_usd"].clone())
    };
    assert_eq!([cost(json!("ann")), cost(json!("bob"))], [Some(json!(5)), Some(json!(5))], "m127: {users}");
    let long = acme.post(CHAT, &of(&"x".repeat(300))).await;
    assert_eq!((long.status, long.json()["error"]["param"].as_str()), (400, Some("user")));
}

#[tokio::test]
async fn m498_what_was_spent_before_counts_and_a_guests_calls_count_as_well() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    priced(&app.operator()).await;
    upstream.script_for_model("scripted", costs_five());
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
    assert_eq!(budget(&acme, "all", json!({ "limit_micro_usd": 10 })).await.status, 200);
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    // By the default agent now: the model is asked out of the sandbox.
    assert_eq!(acme.post(CHAT, &with(five(), json!({ "agent": "default" }))).await.status, 200);
    until_counted(&acme, "all", (10, 0)).await;
    let refused = acme.post(CHAT, &with(five(), json!({ "agent": "default" }))).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (402, Some("budget_exceeded")));
    assert_eq!(upstream.received().len(), 2);
}

#[tokio::test]
async fn m129_what_is_held_is_let_go_when_a_call_fails_or_is_broken_off() {
    let (_app, upstream, acme) = start().await;
    assert_eq!(budget(&acme, "all", json!({})).await.status, 200);
    upstream.script(vec![Step::error(500, "no")]);
    assert_eq!(acme.post(CHAT, &five()).await.status, 502);
    until_counted(&acme, "all", (0, 0)).await;

    upstream.script(vec![Step::Stall]);
    let before_the_first_word = acme.request("POST", CHAT).json(&five()).send();
    assert!(tokio::time::timeout(Duration::from_millis(300), before_the_first_word).await.is_err());
    until_counted(&acme, "all", (0, 0)).await;

    upstream.script(vec![Step::text("one two three four five six seven eight"), Step::Stall]);
    let streamed = with(five(), json!({ "stream": true, "max_tokens": 40 }));
    let mut answer = acme.request("POST", CHAT).json(&streamed).send().await.unwrap();
    while !String::from_utf8_lossy(&answer.chunk().await.unwrap().unwrap()).contains("seven") {}
    assert_eq!(counted(&acme, "all").await, (0, 40), "held while it runs");
    drop(answer);
    // What was seen, by our own count: four characters a token.
    until_counted(&acme, "all", (10, 0)).await;
}

#[tokio::test]
async fn m129_after_a_kill_nothing_is_held_and_what_counts_is_what_the_ledger_says() {
    let dir = tempfile::tempdir().unwrap();
    let opg = OpgProcess::start_local(dir.path()).await;
    let upstream = ScriptedUpstream::start().await;
    upstream.script_for_model("scripted", [vec![Step::Wait(100)], costs_five()].concat());
    let operator = opg.client(Some(ADMIN_TOKEN));
    let made = operator
        .post(
            "/v1/admin/tenants",
            &json!({ "id": "acme", "providers": {
            "openai": { "apiKey": UPSTREAM_KEY, "baseUrl": upstream.base_url() } } }),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let acme = opg.client(made.json()["token"].as_str());
    priced(&operator).await;
    assert_eq!(budget(&acme, "all", json!({ "limit_micro_usd": 1_000_000 })).await.status, 200);
    let served = Arc::new(AtomicI64::new(0));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (acme, served) = (acme.clone(), served.clone());
        asking.spawn(async move {
            while let Ok(answer) = acme.request("POST", CHAT).json(&five()).send().await {
                let status = answer.status();
                let Ok(text) = answer.text().await else { return };
                assert_eq!(status, 200, "{text}");
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let began = Instant::now();
    while served.load(Ordering::Relaxed) < 100 || counted(&acme, "all").await.1 == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{served:?} are served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    opg.kill_9().await;
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    let served = served.load(Ordering::Relaxed);
    let opg = OpgProcess::start_local(dir.path()).await;
    let acme = opg.client(Some(acme.token()));
    let ledger = acme.get("/v1/usage/summary?by=day").await.json()["cost_micro_usd"].as_i64().unwrap();
    until_counted(&acme, "all", (ledger, 0)).await;
    let completed = upstream.received().iter().filter(|request| request.completed).count() as i64;
    assert!(ledger >= served * 5, "what was acknowledged is settled: {ledger}, {served} served");
    assert!(
        ledger <= completed * 5,
        "and nothing the upstream did not count: {ledger}, {completed} completed"
    );
    assert!(completed * 5 - ledger <= 50 * 5, "all but what was on its way: {ledger}, {completed} completed");
    opg.stop().await;
}

#[tokio::test]
async fn m129_a_hold_nobody_renews_is_let_go_and_one_that_is_renewed_stands() {
    let (app, upstream, acme) = start().await;
    assert_eq!(budget(&acme, "all", json!({})).await.status, 200);
    upstream.script(vec![Step::text("a"), Step::Stall]);
    let streamed = with(five(), json!({ "stream": true }));
    let mut answer = acme.request("POST", CHAT).json(&streamed).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    assert_eq!(counted(&acme, "all").await, (0, 5));
    for _ in 0..5 {
        app.clock.advance(chrono::Duration::seconds(120));
        sweep::expired(&app.running.app).await.unwrap();
        assert_eq!(counted(&acme, "all").await, (0, 5), "this process lives");
    }
    app.sql("with theirs as (update budget_holds set process_id = gen_random_uuid() returning 1) select 'done' from theirs")
        .await;
    app.clock.advance(chrono::Duration::seconds(120));
    sweep::expired(&app.running.app).await.unwrap();
    assert_eq!(counted(&acme, "all").await, (0, 5), "not yet");
    app.clock.advance(chrono::Duration::seconds(120));
    // Upkeep may be at it at the same moment, so how many went here says nothing.
    sweep::expired(&app.running.app).await.unwrap();
    until_counted(&acme, "all", (0, 0)).await;
    drop(answer);
    until_counted(&acme, "all", (1, 0)).await;
}

#[tokio::test]
async fn m498_a_model_without_a_price_is_refused_where_a_budget_counts_and_free_to_use_elsewhere() {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
    assert_eq!(acme.uses().await[0]["cost_micro_usd"], Value::Null, "absent, not zero");
    assert_eq!(budget(&acme, "all", json!({})).await.status, 200);
    let refused = acme.post(CHAT, &five()).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (409, Some("price_unknown")));
    assert!(refused.text().contains("PUT /platform/v1/ai/prices/openai/scripted"), "{}", refused.text());
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(upstream.received().len(), 1);
    priced(&app.operator()).await;
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
}

#[tokio::test]
async fn m182_prices_are_whole_and_not_negative_and_listed_in_pages() {
    let app = TestApp::start().await;
    let operator = app.operator();
    let path = "/platform/v1/ai/prices/openrouter/meta/llama-4";
    for (body, status) in [
        (json!({ "input_micro_usd_per_mtok": -1, "output_micro_usd_per_mtok": 1 }), 422),
        (json!({ "input_micro_usd_per_mtok": 1.5, "output_micro_usd_per_mtok": 1 }), 422),
        (json!({ "output_micro_usd_per_mtok": 1 }), 422),
        (json!({ "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": u64::MAX }), 422),
        (
            json!({ "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 1, "output_tokens_max": 0 }),
            422,
        ),
        (json!({ "input_micro_usd_per_mtok": 1, "output_micro_usd_per_mtok": 1, "free": true }), 422),
    ] {
        let answer = operator.put(path, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(operator.get("/platform/v1/ai/prices").await.json()["data"], json!([]));
    assert_eq!(operator.put("/platform/v1/ai/prices/nothing", &price()).await.status, 422);
    assert_eq!(operator.put(path, &price()).await.status, 204);
    priced(&operator).await;
    let first = operator.get("/platform/v1/ai/prices?limit=1").await.json();
    assert_eq!(
        (first["data"][0]["id"].as_str(), &first["has_more"]),
        (Some("openai/scripted"), &json!(true))
    );
    let next = first["next_cursor"].as_str().unwrap();
    let second = operator.get(&format!("/platform/v1/ai/prices?limit=1&cursor={next}")).await.json();
    let llama = &second["data"][0];
    assert_eq!((llama["id"].as_str(), &second["has_more"]), (Some("openrouter/meta/llama-4"), &json!(false)));
    assert_eq!(llama["cached_input_micro_usd_per_mtok"], 0, "as what is read, unless it is said");
    assert_eq!(operator.delete(path).await.status, 204);
    assert_eq!(operator.delete(path).await.status, 404);
    let acme = app.tenant("acme").await;
    assert_eq!(acme.put(path, &price()).await.status, 403, "prices are the operator's");
}

#[tokio::test]
async fn m184_the_operators_budget_counts_for_an_app_that_sees_it_and_cannot_change_it() {
    let (app, upstream, acme) = start().await;
    upstream.script_for_model("scripted", costs_five());
    let operator = app.operator();
    let path = "/v1/admin/tenants/acme/budgets/cap";
    let body = json!({ "scope": "app", "period": "month", "limit_micro_usd": 5 });
    let set = operator.put(path, &body).await;
    assert_eq!((set.status, set.json()["set_by"].as_str()), (200, Some("platform")), "{}", set.text());
    let seen = acme.get("/v1/tenant/budgets").await.json()["data"][0].clone();
    assert_eq!((seen["name"].as_str(), seen["set_by"].as_str()), (Some("cap"), Some("platform")));
    assert_eq!(acme.delete("/v1/tenant/budgets/cap").await.status, 404, "it is not theirs");
    assert_eq!(budget(&acme, "cap", json!({ "limit_micro_usd": 1_000_000 })).await.json()["set_by"], "app");
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
    assert_eq!(acme.post(CHAT, &five()).await.status, 402, "one of the same name changes nothing");
    let other = app.tenant("other").await;
    assert_eq!(other.get("/v1/tenant/budgets").await.json()["data"], json!([]));
    let raised = with(body, json!({ "limit_micro_usd": 10 }));
    assert_eq!(operator.put(path, &raised).await.status, 200);
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
    assert_eq!(operator.delete(path).await.status, 204);
    assert_eq!(
        operator.get("/v1/admin/tenants/acme/budgets").await.json()["data"].as_array().unwrap().len(),
        1
    );
    assert_eq!(operator.put("/v1/admin/tenants/nobody/budgets/cap", &raised).await.status, 404);
}

#[tokio::test]
async fn m498_what_is_no_budget_is_refused_with_all_that_is_wrong_and_an_alert_comes_once() {
    let (_app, upstream, acme) = start().await;
    let wrong = budget(&acme, "all", json!({ "subject": "me", "alert_percent": 0 })).await;
    let pointers: Vec<_> =
        wrong.json()["errors"].as_array().unwrap().iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!((wrong.status, pointers), (422, vec![json!("/subject"), json!("/alert_percent")]));
    for fields in [
        json!({ "limit_micro_usd": -1 }),
        json!({ "period": "week" }),
        json!({ "scope": "credential", "subject": "somebody" }),
        json!({ "scope": "end_user", "subject": "" }),
    ] {
        assert_eq!(budget(&acme, "all", fields.clone()).await.status, 422, "{fields}");
    }
    assert_eq!(budget(&acme, "All%20of%20it", json!({})).await.status, 422);
    assert_eq!(budget(&acme, "all", json!({ "limit_micro_usd": 20, "alert_percent": 50 })).await.status, 200);
    let other = budget(&acme, "all", json!({ "period": "day" })).await;
    assert_eq!((other.status, other.json()["code"].as_str()), (409, Some("another_budget")));
    upstream.script_for_model("scripted", costs_five());
    for alerts in [0, 1, 1, 1] {
        assert_eq!(acme.post(CHAT, &five()).await.status, 200);
        let audited = acme.get("/v1/tenant/audit?action=budget.alert").await.json();
        assert_eq!(audited["data"].as_array().unwrap().len(), alerts, "{audited}");
    }
    // All at once: one more than there may be is refused however they come.
    let names: Vec<_> = (0..25).map(|n| format!("b-{n}")).collect();
    let set = futures_util::future::join_all(names.iter().map(|name| budget(&acme, name, json!({})))).await;
    assert_eq!(set.iter().filter(|answer| answer.status == 200).count(), 19);
    assert_eq!(budget(&acme, "one-more", json!({})).await.json()["code"], "too_many_budgets");
}

#[tokio::test]
async fn m126_m127_the_ledger_is_listed_by_what_one_looks_for_and_summed_up_by_day_key_and_door() {
    let (app, upstream, acme) = start().await;
    upstream.script_for_model("scripted", costs_five());
    assert_eq!(acme.post(CHAT, &with(five(), json!({ "user": "ann" }))).await.status, 200);
    app.clock.advance(chrono::Duration::hours(24));
    upstream.script(vec![Step::error(500, "no")]);
    assert_eq!(acme.post(CHAT, &five()).await.status, 502);
    let helper = acme.with_scopes(&["chat:write"]).await;
    assert_eq!(helper.post(CHAT, &five()).await.status, 200);
    assert_eq!(helper.chat("demo/assistant", "hello").await.status, 200);
    let listed = async |query: &str| {
        let answer = acme.get(&format!("/v1/usage/ai-logs?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        answer.json()["data"].as_array().unwrap().len()
    };
    let noon = app.clock.now() - chrono::Duration::hours(12);
    let noon = noon.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    for (query, rows) in [
        ("kind=tokens".to_owned(), 4),
        ("model=scripted".to_owned(), 3),
        ("model=openai/scripted".to_owned(), 3),
        ("model=demo/assistant".to_owned(), 1),
        ("model=nothing".to_owned(), 0),
        ("status=failed".to_owned(), 1),
        ("end_user=ann".to_owned(), 1),
        (format!("from={noon}"), 3),
        (format!("to={noon}"), 1),
        (format!("to={noon}&status=failed"), 0),
    ] {
        assert_eq!(listed(&query).await, rows, "{query}");
    }
    assert_eq!(acme.get("/v1/usage/ai-logs?from=yesterday").await.status, 400);
    assert_eq!(acme.get("/v1/usage/summary?by=weather").await.status, 400);
    let summed = async |by: &str| {
        let summary = acme.get(&format!("/v1/usage/summary?by={by}")).await.json();
        let counts: i64 =
            summary["data"].as_array().unwrap().iter().map(|total| total["count"].as_i64().unwrap()).sum();
        assert_eq!(counts, 4, "{by}: {summary}");
        summary["data"].as_array().unwrap().clone()
    };
    assert_eq!([summed("day").await.len(), summed("credential").await.len()], [2, 2]);
    assert_eq!(summed("surface").await[0]["surface"], "rest");
    let by_model = summed("model").await;
    let scripted = by_model.iter().find(|total| total["model"] == "scripted").unwrap();
    assert_eq!((&scripted["count"], &scripted["cost_micro_usd"]), (&json!(3), &json!(10)));
}

#[tokio::test]
async fn m498_a_budget_counts_in_every_dialect_and_for_embeddings() {
    let (app, upstream, acme) = start().await;
    let priced = app
        .operator()
        .put(
            "/platform/v1/ai/prices/openai/embedder",
            &json!({
        "input_micro_usd_per_mtok": 1_000_000, "output_micro_usd_per_mtok": 0 }),
        )
        .await;
    assert_eq!(priced.status, 204);
    assert_eq!(budget(&acme, "all", json!({ "limit_micro_usd": 4 })).await.status, 200);
    let text = "hello";
    for (path, body) in [
        (
            "/v1/messages",
            json!({ "model": "openai/scripted", "max_tokens": 5,
            "messages": [{ "role": "user", "content": text }] }),
        ),
        ("/v1/responses", json!({ "model": "openai/scripted", "max_output_tokens": 16, "input": text })),
        ("/v1/embeddings", json!({ "model": "openai/embedder", "input": text })),
    ] {
        let refused = acme.post(path, &body).await;
        assert_eq!(refused.status, 402, "{path}: {}", refused.text());
        assert!(refused.text().contains("`all`"), "{path}: {}", refused.text());
    }
    assert!(upstream.received().is_empty(), "no provider was asked");
    let each = json!({ "scope": "end_user", "limit_micro_usd": 0 });
    assert_eq!(acme.delete("/v1/tenant/budgets/all").await.status, 204);
    assert_eq!(budget(&acme, "users", each).await.status, 200);
    let anthropic = json!({ "model": "openai/scripted", "max_tokens": 5, "metadata": { "user_id": "ann" },
        "messages": [{ "role": "user", "content": text }] });
    let refused = acme.post("/v1/messages", &anthropic).await;
    assert_eq!((refused.status, refused.json()["type"].as_str()), (402, Some("error")), "{}", refused.text());
}

#[tokio::test]
async fn m128_no_counter_of_a_budget_is_hidden_however_many_there_are() {
    let (app, _upstream, acme) = start().await;
    for (name, fields) in [
        ("users", json!({ "scope": "end_user", "limit_micro_usd": 1_000 })),
        ("few", json!({ "scope": "end_user", "period": "day" })),
    ] {
        assert_eq!(budget(&acme, name, fields).await.status, 200);
    }
    let many = "insert into budget_counters (budget_id, app_id, subject, period_start, spent_micro_usd)
                select budget_id, app_id, 'user-' || lpad(n::text, 3, '0'), 'epoch', n from budgets, generate_series(1, 205) n
                where name = 'users'";
    sqlx::query(many).execute(&mut app.owner().await).await.unwrap();
    assert_eq!(acme.post(CHAT, &with(five(), json!({ "user": "user-001" }))).await.status, 200);

    let all = acme.get("/v1/usage/balance").await.json();
    let of = |name: &str| {
        let found = all["data"].as_array().unwrap().iter().find(|budget| budget["name"] == name);
        (found.unwrap()["has_more"].clone(), found.unwrap()["spending"].as_array().unwrap().clone())
    };
    let (has_more, users) = of("users");
    assert_eq!((has_more, users.len()), (json!(true), 200));
    assert_eq!(users[0]["subject"], "user-205", "the dearest first");
    let (has_more, few) = of("few");
    assert_eq!((has_more, few.len()), (json!(false), 1), "many of one hide none of another: {few:?}");

    let mut seen = vec![];
    let mut path = "/v1/usage/balance?budget=users&limit=100".to_owned();
    loop {
        let page = acme.get(&path).await.json();
        let data = page["data"].as_array().unwrap();
        assert_eq!((data.len(), &data[0]["name"]), (1, &json!("users")), "{page}");
        seen.extend(data[0]["spending"].as_array().unwrap().iter().map(|s| s["subject"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/usage/balance?budget=users&limit=100&cursor={cursor}");
    }
    let expected: Vec<Value> = (1..=205).map(|n| json!(format!("user-{n:03}"))).collect();
    assert_eq!(seen, expected);
    let one = acme.get("/v1/usage/balance?budget=users&subject=user-007").await.json();
    assert_eq!(
        one["data"][0]["spending"],
        json!([{ "subject": "user-007", "spent_micro_usd": 7, "reserved_micro_usd": 0, "left_micro_usd": 993 }])
    );
    let both = acme.get("/v1/usage/balance?subject=user-001").await.json();
    let counted = both["data"].as_array().unwrap().iter().map(|b| b["spending"].as_array().unwrap().len());
    assert_eq!(counted.collect::<Vec<_>>(), [1, 1], "{both}");
    assert_eq!(acme.get("/v1/usage/balance?budget=nobody").await.json()["data"], json!([]));
    assert_eq!(acme.get("/v1/usage/balance?budget=users&cursor=eA").await.status, 400);
    let other = app.tenant("other").await;
    assert_eq!(other.get("/v1/usage/balance?budget=users").await.json()["data"], json!([]));
}

#[tokio::test]
async fn what_was_counted_in_days_and_months_that_are_over_is_removed_and_nothing_else_is() {
    let (app, upstream, acme) = start().await;
    upstream.script_for_model("scripted", costs_five());
    for period in ["day", "month", "total"] {
        assert_eq!(
            budget(&acme, period, json!({ "period": period, "limit_micro_usd": 1_000 })).await.status,
            200
        );
    }
    let counters = async || {
        let counters = "select name || ' ' || count(*) from budget_counters join budgets using (budget_id) group by name order by name";
        app.sql(counters).await
    };
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
    app.clock.advance(chrono::Duration::days(1));
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
    let before = counters().await;
    assert_eq!(sweep::past(&app.running.app).await.unwrap(), 0, "what has just ended stays");
    assert_eq!(counters().await, before);

    // One that goes on holds what it held when it began.
    upstream.script(vec![Step::text("a"), Step::Stall]);
    let streamed = with(five(), json!({ "stream": true }));
    let mut answer = acme.request("POST", CHAT).json(&streamed).send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    app.clock.advance(chrono::Duration::days(70));
    sweep::past(&app.running.app).await.unwrap();
    assert_eq!(counters().await, ["day 1", "month 1", "total 1"], "what is held stays");
    drop(answer);
    until_counted(&acme, "total", (11, 0)).await;
    assert_eq!(sweep::past(&app.running.app).await.unwrap(), 2);
    assert_eq!(counters().await, ["total 1"]);
    assert_eq!(acme.post(CHAT, &five()).await.status, 200);
    assert_eq!((counted(&acme, "month").await, counted(&acme, "total").await), ((6, 0), (16, 0)));
}
