//! Models the operator pays for: sources, models, who may use them, and who is asked when one does not answer.

use opg_host::app::Clock;
use opg_tests::{
    app::{Answer, Client, TestApp, logs},
    proxy::Proxy,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
const SOURCES: &str = "/platform/v1/ai/sources";
const MODELS: &str = "/platform/v1/ai/models";
/// Nothing listens there.
const NOWHERE: &str = "http://127.0.0.1:9/v1";

/// An operator with two places that serve `plat/large`, asked in this order, and an app that may use it.
struct Bench {
    app: TestApp,
    operator: Client,
    acme: Client,
    first: ScriptedUpstream,
    second: ScriptedUpstream,
}

impl Bench {
    async fn start() -> Bench {
        let app = TestApp::at(Clock::manual(Clock::system().now()), |config| {
            TestApp::allow_local(config);
            config.demo_provider = false;
            config.mock_provider = false;
        })
        .await;
        let operator = app.operator();
        let (first, second) = (ScriptedUpstream::start().await, ScriptedUpstream::start().await);
        source(&operator, "first", first.base_url(), json!({ "order": 0 })).await;
        source(&operator, "second", second.base_url(), json!({ "order": 1 })).await;
        let acme = app.tenant("acme").await;
        let bench = Bench { app, operator, acme, first, second };
        bench.serve(json!([{ "source": "first" }, { "source": "second" }])).await;
        bench.may(json!(["*"])).await;
        bench
    }

    /// Says what serves `plat/large`; each calls it `scripted`.
    async fn serve(&self, sources: Value) {
        let mut sources = sources.as_array().unwrap().clone();
        sources.iter_mut().for_each(|source| source["model"] = json!("scripted"));
        let is_there = self.operator.get(&format!("{MODELS}/plat/large")).await.status == 200;
        let answer = if is_there {
            change(&self.operator, &format!("{MODELS}/plat/large"), json!({ "sources": sources })).await
        } else {
            self.operator.post(MODELS, &large(json!(sources))).await
        };
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
    }

    async fn may(&self, models: Value) {
        let path = "/v1/admin/tenants/acme/ai/models";
        let set = self.operator.put(path, &json!({ "models": models })).await;
        assert_eq!(set.status, 200, "{}", set.text());
    }

    async fn ask(&self) -> Answer {
        self.acme.chat("plat/large", "hello").await
    }

    /// What a request is answered with, and how many models are listed, where the app may use these.
    async fn answers_to(&self, models: Value) -> (u16, usize) {
        self.may(models).await;
        (self.ask().await.status, ids(&self.acme.get("/v1/models").await).len())
    }

    /// How often each was asked.
    fn asked(&self) -> (usize, usize) {
        (self.first.received().len(), self.second.received().len())
    }

    async fn health(&self, name: &str) -> Value {
        let health = self.operator.get(&format!("{SOURCES}/{name}/health")).await;
        assert_eq!(health.status, 200, "{}", health.text());
        health.json()
    }
}

fn key_of(name: &str) -> String {
    format!("sk-{name}-key-0123456789")
}

async fn source(operator: &Client, name: &str, base_url: &str, fields: Value) {
    let mut body =
        json!({ "id": name, "kind": "openai-compatible", "base_url": base_url, "key": key_of(name) });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let made = operator.post(SOURCES, &body).await;
    assert_eq!(made.status, 201, "{}", made.text());
}

/// A micro-dollar for a token read or written.
fn price() -> Value {
    json!({ "input_micro_usd_per_mtok": 1_000_000, "output_micro_usd_per_mtok": 1_000_000 })
}

fn large(sources: Value) -> Value {
    json!({ "id": "plat/large", "alias": "big", "context_tokens": 1000, "sources": sources, "price": price() })
}

async fn change(client: &Client, path: &str, body: Value) -> Answer {
    opg_tests::app::send(client.request("PATCH", path).json(&body)).await
}

fn ids(list: &Answer) -> Vec<String> {
    let list = list.json();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}

fn pointers(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 422, "{}", answer.text());
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn m182_m184_an_app_uses_a_model_of_the_platform_once_the_operator_says_so_and_no_longer() {
    let bench = Bench::start().await;
    let (acme, other) = (&bench.acme, bench.app.tenant("other").await);
    let answer = bench.ask().await;
    assert_eq!((answer.status, answer.content().as_str()), (200, "hello"), "{}", answer.text());
    assert_eq!(answer.json()["model"], "plat/large", "by its own name");
    let received = bench.first.received();
    assert_eq!(received[0].body["model"], "scripted", "by the source's");
    assert_eq!(received[0].headers["authorization"], format!("Bearer {}", key_of("first")));
    let row = acme.uses().await.pop().unwrap();
    assert_eq!(
        (&row["provider"], &row["model"], &row["paid_by"], &row["attempts"], &row["cost_micro_usd"]),
        (&json!("plat"), &json!("large"), &json!("platform"), &json!(1), &json!(15))
    );
    let listed = acme.get("/v1/models").await;
    assert_eq!(ids(&listed), ["plat/large"]);
    assert_eq!(listed.json()["data"][0]["alias"], "big");

    // Nobody who may not: neither the list nor a request tells them that it is there.
    assert_eq!(ids(&other.get("/v1/models").await), Vec::<String>::new());
    for model in ["plat/large", "nope/large"] {
        let refused = other.chat(model, "hello").await;
        assert_eq!((refused.status, code(&refused)), (400, json!("provider_not_configured")), "{model}");
    }
    assert_eq!(other.chat("big", "hello").await.status, 404);
    for path in [SOURCES, MODELS, "/platform/v1/ai/sources/first", "/platform/v1/ai/sources/first/health"] {
        assert_eq!(acme.get(path).await.status, 403, "{path}");
    }

    assert_eq!(bench.answers_to(json!([])).await, (400, 0));
    assert_eq!(bench.answers_to(json!(["plat/*"])).await, (200, 1));
    assert_eq!(bench.answers_to(json!(["plat/large"])).await, (200, 1));
    let unknown = acme.chat("plat/other", "hello").await;
    assert_eq!((unknown.status, code(&unknown)), (404, json!("model_not_found")));
    for (path, off, on) in [
        (format!("{MODELS}/plat/large"), json!({ "enabled": false }), json!({ "enabled": true })),
        (format!("{MODELS}/plat%2Flarge"), json!({ "enabled": false }), json!({ "enabled": true })),
    ] {
        assert_eq!(change(&bench.operator, &path, off).await.status, 200);
        assert_eq!((bench.ask().await.status, ids(&acme.get("/v1/models").await).len()), (400, 0), "{path}");
        assert_eq!(change(&bench.operator, &path, on).await.status, 200);
        assert_eq!(bench.ask().await.status, 200);
    }
    let before = bench.asked();
    for name in ["first", "second"] {
        let off = change(&bench.operator, &format!("{SOURCES}/{name}"), json!({ "enabled": false })).await;
        assert_eq!((off.status, &off.json()["enabled"]), (200, &json!(false)));
    }
    assert_eq!((bench.ask().await.status, bench.asked()), (400, before), "no source is on");
    let there = bench.operator.get("/v1/admin/tenants/acme/ai/models").await.json();
    assert_eq!(there, json!({ "models": ["plat/large"], "points_per_month": null }));
    assert_eq!(bench.operator.delete(&format!("{MODELS}/plat/large")).await.status, 204);
    let there = bench.operator.get("/v1/admin/tenants/acme/ai/models").await.json();
    assert_eq!(
        there,
        json!({ "models": [], "points_per_month": null }),
        "and nothing is left of it for one made later of the same name"
    );
}

#[tokio::test]
async fn m179_a_source_is_made_changed_and_removed_and_its_key_never_comes_back() {
    let bench = Bench::start().await;
    let operator = &bench.operator;
    let shown = operator.get(&format!("{SOURCES}/first")).await.json();
    assert_eq!(
        (&shown["id"], &shown["kind"], &shown["last4"], &shown["order"], &shown["weight"], &shown["enabled"]),
        (&json!("first"), &json!("openai-compatible"), &json!("6789"), &json!(0), &json!(1), &json!(true))
    );
    assert_eq!(ids(&operator.get(SOURCES).await), ["first", "second"], "in the order they are asked");
    let later = change(operator, &format!("{SOURCES}/first"), json!({ "order": 5, "weight": 7 })).await;
    assert_eq!((&later.json()["order"], &later.json()["weight"]), (&json!(5), &json!(7)));
    assert_eq!(ids(&operator.get(SOURCES).await), ["second", "first"]);
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.asked(), (0, 1));

    // A key stays with its address.
    let moved =
        change(operator, &format!("{SOURCES}/second"), json!({ "base_url": bench.first.base_url() })).await;
    assert_eq!(pointers(&moved), ["/key"]);
    let moved = json!({ "base_url": bench.first.base_url(), "key": key_of("new") });
    assert_eq!(change(operator, &format!("{SOURCES}/second"), moved).await.status, 200);
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.first.received()[0].headers["authorization"], format!("Bearer {}", key_of("new")));

    let good = json!({ "id": "third", "kind": "google", "base_url": "https://x.example/v1" });
    let with = |fields: Value| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    for (fields, wrong) in [
        (json!({ "id": "Third" }), "/id"),
        (json!({ "kind": "mine" }), "/kind"),
        (json!({ "base_url": "ftp://x.example" }), "/base_url"),
        (json!({ "base_url": "https://u:p@x.example" }), "/base_url"),
        (json!({ "key": "with spaces" }), "/key"),
        (json!({ "key": "" }), "/key"),
        (json!({ "order": -1 }), "/order"),
        (json!({ "weight": 0 }), "/weight"),
        (json!({ "weight": 1001 }), "/weight"),
    ] {
        assert_eq!(pointers(&operator.post(SOURCES, &with(fields.clone())).await), [wrong], "{fields}");
    }
    let taken = operator.post(SOURCES, &with(json!({ "id": "first" }))).await;
    assert_eq!((taken.status, &taken.json()["code"]), (409, &json!("id_taken")));
    assert_eq!(ids(&operator.get(SOURCES).await).len(), 2);

    assert_eq!(operator.delete(&format!("{SOURCES}/second")).await.status, 204);
    assert_eq!(operator.delete(&format!("{SOURCES}/second")).await.status, 404);
    assert_eq!(bench.ask().await.status, 200, "the other is left");
    let kept = super::canary::dump(&bench.app).await;
    for canary in [key_of("first"), key_of("second"), key_of("new")] {
        assert!(!kept.iter().any(|(_, text)| text.contains(&canary)), "no key lies about");
        assert!(!logs().contains(&canary));
    }
    let actions =
        "select distinct action from audit_events where action like 'sources.%' or action like 'ai_models.%'
                   order by 1";
    assert_eq!(bench.app.sql(actions).await, ["ai_models.write", "sources.write"]);
}

#[tokio::test]
async fn m182_a_model_apps_may_use_has_a_price_and_a_source() {
    let bench = Bench::start().await;
    let operator = &bench.operator;
    let sources = json!([{ "source": "first" }]);
    let cases = [
        (json!({ "id": "plat/x", "sources": sources }), vec!["/price"]),
        (json!({ "id": "plat/x", "price": price() }), vec!["/sources"]),
        (json!({ "id": "plat/x" }), vec!["/price", "/sources"]),
        (
            json!({ "id": "plat/x", "sources": [{ "source": "nope" }], "price": price() }),
            vec!["/sources/0/source"],
        ),
        (
            json!({ "id": "plat/x", "sources": [{ "source": "first" }, { "source": "first" }], "price": price() }),
            vec!["/sources/1/source"],
        ),
        (
            json!({ "id": "plat/x", "sources": [{ "source": "first", "order": -1, "weight": 0, "model": "a b" }] }),
            vec!["/sources/0/model", "/sources/0/order", "/sources/0/weight"],
        ),
        (json!({ "id": "plat/x", "alias": "big", "sources": sources, "price": price() }), vec!["/alias"]),
        (json!({ "id": "plat/x", "alias": "a/b", "sources": sources, "price": price() }), vec!["/alias"]),
        (
            json!({ "id": "plat/x", "context_tokens": 0, "sources": sources, "price": price() }),
            vec!["/context_tokens"],
        ),
        (json!({ "id": "x", "sources": sources, "price": price() }), vec!["/id"]),
        (json!({ "id": "demo/x", "sources": sources, "price": price() }), vec!["/id"]),
        (
            json!({ "id": "plat/x", "sources": sources,
                    "price": { "input_micro_usd_per_mtok": -1, "output_micro_usd_per_mtok": 1 } }),
            vec!["/price"],
        ),
        (
            json!({ "id": "plat/x", "sources": sources,
                    "price": { "input_micro_usd_per_mtok": 10_000_000_000_000_u64, "output_micro_usd_per_mtok": 1 } }),
            vec!["/price/input_micro_usd_per_mtok"],
        ),
        (json!({ "id": "plat/x", "kind": "poem", "sources": sources, "price": price() }), vec!["/kind"]),
    ];
    for (body, wrong) in cases {
        let answer = operator.post(MODELS, &body).await;
        assert_eq!(answer.status, 422, "{body}");
        let found = pointers(&answer);
        assert!(
            wrong.iter().all(|pointer| found.iter().any(|f| f.starts_with(pointer))),
            "{body}: {found:?}"
        );
        assert_eq!(ids(&operator.get(MODELS).await), ["plat/large"], "nothing is left of it: {body}");
    }
    assert_eq!(bench.app.sql("select model from model_prices").await, ["large"]);
    assert_eq!(operator.post(MODELS, &large(sources)).await.status, 409);

    // A price that is needed stays.
    let kept = operator.delete("/platform/v1/ai/prices/plat/large").await;
    assert_eq!((kept.status, &kept.json()["code"]), (409, &json!("price_in_use")));
    let path = format!("{MODELS}/plat/large");
    assert_eq!(change(operator, &path, json!({ "enabled": false })).await.status, 200);
    assert_eq!(operator.delete("/platform/v1/ai/prices/plat/large").await.status, 204);
    assert_eq!(pointers(&change(operator, &path, json!({ "enabled": true })).await), ["/price"]);
    let again = change(operator, &path, json!({ "enabled": true, "price": price(), "alias": null })).await;
    assert_eq!(again.status, 200, "{}", again.text());
    let shown = again.json();
    assert_eq!(
        (&shown["id"], &shown["alias"], &shown["kind"], &shown["context_tokens"], &shown["enabled"]),
        (&json!("plat/large"), &Value::Null, &json!("chat"), &json!(1000), &json!(true))
    );
    assert_eq!(shown["price"]["input_micro_usd_per_mtok"], 1_000_000);
    assert_eq!(
        shown["sources"][0],
        json!({ "source": "first", "order": null, "weight": null, "model": "scripted" })
    );
    assert_eq!(operator.get(&path).await.json(), shown);
    assert_eq!(change(operator, &format!("{MODELS}/plat/nope"), json!({})).await.status, 404);
}

#[tokio::test]
async fn m183_before_the_first_word_another_source_is_asked_and_the_request_stays_one() {
    let bench = Bench::start().await;
    let budget = json!({ "scope": "app", "period": "total", "limit_micro_usd": 1_000_000 });
    assert_eq!(bench.acme.put("/v1/tenant/budgets/all", &budget).await.status, 200);
    let mut expected = 0;
    for (stream, status) in [(false, 429), (true, 500), (false, 503), (true, 401), (false, 402), (true, 504)]
    {
        bench.first.script(vec![Step::error(status, "not now")]);
        let body = json!({ "model": "plat/large", "stream": stream, "max_tokens": 5,
                           "messages": [{ "role": "user", "content": "hello" }] });
        let answer = bench.acme.post(CHAT, &body).await;
        assert_eq!(answer.status, 200, "{status}: {}", answer.text());
        assert!(answer.text().contains("hello") && !answer.text().contains("not now"), "{}", answer.text());
        expected += 1;
        assert_eq!(bench.asked(), (expected, expected), "{status}");
        let rows = bench.acme.uses().await;
        assert_eq!(rows.len(), expected, "one row for one request");
        assert_eq!(
            (&rows[expected - 1]["attempts"], &rows[expected - 1]["status"]),
            (&json!(2), &json!("ok"))
        );
        // The circuit would open in the end.
        bench.app.clock.advance(chrono::Duration::seconds(61));
    }
    assert_eq!(bench.first.received()[0].headers["authorization"], format!("Bearer {}", key_of("first")));
    assert_eq!(bench.second.received()[0].headers["authorization"], format!("Bearer {}", key_of("second")));
    let spent = bench.acme.get("/v1/usage/balance").await.json()["data"][0]["spending"][0].clone();
    assert_eq!(
        (&spent["spent_micro_usd"], &spent["reserved_micro_usd"]),
        (&json!(15 * expected), &json!(0)),
        "held and charged once"
    );

    // What is wrong with the request is wrong everywhere.
    for status in [400, 404, 413, 422] {
        bench.first.script(vec![Step::error(status, "no")]);
        assert_eq!(bench.ask().await.status, status);
        assert_eq!(bench.asked().1, expected, "{status}");
    }
    // An answer that makes no sense was paid for.
    bench.first.script(vec![Step::WrongContentType]);
    assert_eq!(bench.ask().await.status, 502);
    assert_eq!(bench.asked().1, expected);
}

#[tokio::test]
async fn m183_a_source_that_is_not_there_is_passed_over_for_embeddings_too() {
    let bench = Bench::start().await;
    source(&bench.operator, "gone", NOWHERE, json!({})).await;
    bench.serve(json!([{ "source": "gone", "order": 0 }, { "source": "second", "order": 1 }])).await;
    assert_eq!(bench.ask().await.status, 200);
    let embedded =
        bench.acme.post("/v1/embeddings", &json!({ "model": "plat/large", "input": "hello" })).await;
    assert_eq!(embedded.status, 200, "{}", embedded.text());
    assert_eq!(bench.second.received()[1].body["model"], "scripted");
    let rows = bench.acme.uses().await;
    assert_eq!(rows.iter().map(|row| row["attempts"].as_i64().unwrap()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(bench.health("gone").await["last_error"]["code"], "provider_unreachable");
}

#[tokio::test]
async fn m183_after_the_first_word_nobody_else_is_asked() {
    let bench = Bench::start().await;
    for steps in [
        vec![Step::text("so far"), Step::Reset],
        vec![Step::text("so far"), Step::error(500, "oops")],
        vec![Step::text("so far"), Step::error(429, "oops")],
    ] {
        bench.first.script(steps.clone());
        let body = json!({ "model": "plat/large", "stream": true, "messages": [{ "role": "user", "content": "hello" }] });
        let answer = bench.acme.post(CHAT, &body).await;
        assert_eq!(answer.status, 200);
        let frames = answer.frames();
        assert!(answer.text().contains("so far") && !answer.text().contains("[DONE]"), "{}", answer.text());
        assert!(frames.last().unwrap()["error"].is_object(), "{}", answer.text());
        assert_eq!(bench.asked().1, 0, "{steps:?}");
        let row = bench.acme.uses().await.pop().unwrap();
        assert_eq!((&row["attempts"], &row["status"]), (&json!(1), &json!("failed")));
        // A whole answer has no first byte either until it is whole, but was begun.
        bench.first.script(steps);
        assert!(bench.ask().await.status >= 429);
        assert_eq!(bench.asked().1, 0);
        bench.app.clock.advance(chrono::Duration::seconds(61));
    }
    let health = bench.health("first").await;
    assert_eq!(health["circuit"], "closed");
}

#[tokio::test]
async fn m183_no_more_than_three_are_asked_and_what_the_operators_accounts_lack_is_not_told() {
    let bench = Bench::start().await;
    for name in ["third", "fourth"] {
        source(&bench.operator, name, bench.second.base_url(), json!({ "order": 9 })).await;
    }
    bench.serve(json!([{ "source": "first" }, { "source": "second" }, { "source": "third" }, { "source": "fourth" }])).await;
    let budget = json!({ "scope": "app", "period": "total", "limit_micro_usd": 1_000_000 });
    assert_eq!(bench.acme.put("/v1/tenant/budgets/all", &budget).await.status, 200);
    bench.first.script(vec![Step::error(500, "no")]);
    for _ in 0..2 {
        bench.second.script(vec![Step::error(401, "bad key of the operator")]);
    }
    let answer = bench.ask().await;
    assert_eq!((answer.status, code(&answer)), (502, json!("provider_error")), "{}", answer.text());
    assert!(!answer.text().contains("key"), "{}", answer.text());
    assert_eq!(bench.asked(), (1, 2));
    let rows = bench.acme.uses().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (&rows[0]["attempts"], &rows[0]["status"], &rows[0]["cost_micro_usd"]),
        (&json!(3), &json!("failed"), &json!(0))
    );
    let balance = bench.acme.get("/v1/usage/balance").await.json();
    assert_eq!(balance["data"][0]["spending"][0]["reserved_micro_usd"], 0, "{balance}");
}

#[tokio::test]
async fn m183_what_an_attempt_was_charged_before_it_failed_is_not_lost() {
    let bench = Bench::start().await;
    source(&bench.operator, "claude", bench.first.base_url(), json!({ "kind": "anthropic" })).await;
    bench.serve(json!([{ "source": "claude", "order": 0 }, { "source": "second", "order": 1 }])).await;
    // It says what it read, and then that it is overloaded.
    bench.first.script(vec![
        Step::Comment,
        Step::Usage { prompt_tokens: 100, completion_tokens: 0 },
        Step::error(529, "overloaded"),
    ]);
    let answer = bench.ask().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 10, "the client is told of its answer");
    let row = bench.acme.uses().await.pop().unwrap();
    assert_eq!(
        (&row["attempts"], &row["prompt_tokens"], &row["completion_tokens"]),
        (&json!(2), &json!(110), &json!(6)),
        "{row}"
    );
    assert_eq!(row["cost_micro_usd"], 116);
}

#[tokio::test]
async fn m183_m498_what_a_failed_attempt_used_is_held_besides_before_another_source_is_asked() {
    let bench = Bench::start().await;
    source(&bench.operator, "claude", bench.first.base_url(), json!({ "kind": "anthropic" })).await;
    bench.serve(json!([{ "source": "claude", "order": 0 }, { "source": "second", "order": 1 }])).await;
    let body = json!({ "model": "plat/large", "max_tokens": 5, "messages": [{ "role": "user", "content": "hello" }] });
    let set = async |limit: u64| {
        let budget = json!({ "scope": "app", "period": "total", "limit_micro_usd": limit });
        assert_eq!(bench.acme.put("/v1/tenant/budgets/all", &budget).await.status, 200);
    };
    let overloaded = || {
        bench.first.script(vec![
            Step::Comment,
            Step::Usage { prompt_tokens: 100, completion_tokens: 0 },
            Step::error(529, "overloaded"),
        ]);
    };
    let counted = async || {
        let spent = bench.acme.get("/v1/usage/balance").await.json()["data"][0]["spending"][0].clone();
        (spent["spent_micro_usd"].as_i64().unwrap(), spent["reserved_micro_usd"].as_i64().unwrap())
    };
    // One attempt may cost 1010. Where the first used 101 of that in vain, there is room for 1009.
    set(1_110).await;
    overloaded();
    let refused = bench.acme.post(CHAT, &body).await;
    assert_eq!((refused.status, code(&refused)), (502, json!("provider_error")), "{}", refused.text());
    assert_eq!(bench.asked(), (1, 0), "nobody else was asked");
    let row = bench.acme.uses().await.pop().unwrap();
    assert_eq!(
        (&row["attempts"], &row["status"], &row["cost_micro_usd"]),
        (&json!(1), &json!("failed"), &json!(101))
    );
    assert_eq!(counted().await, (101, 0));
    // With room for both, both are held and charged.
    set(101 + 1_111).await;
    overloaded();
    bench.second.script(vec![
        Step::text("hello"),
        Step::Wait(500),
        Step::Usage { prompt_tokens: 10, completion_tokens: 5 },
    ]);
    let (answer, held) = futures_util::join!(bench.acme.post(CHAT, &body), async {
        bench.second.wait_until(|received| !received.is_empty()).await;
        counted().await
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(held, (101, 1_010 + 101), "what was lost, and what the second may cost");
    assert_eq!(bench.acme.uses().await.pop().unwrap()["cost_micro_usd"], 116);
    assert_eq!(counted().await, (101 + 116, 0));
}

#[tokio::test]
async fn m497_a_source_that_keeps_failing_rests_and_is_tried_by_one_request() {
    let bench = Bench::start().await;
    for _ in 0..5 {
        bench.first.script(vec![Step::error(500, "no")]);
        assert_eq!(bench.ask().await.status, 200);
    }
    assert_eq!(bench.asked(), (5, 5));
    let health = bench.health("first").await;
    assert_eq!(
        (&health["circuit"], &health["requests"], &health["errors"], &health["error_rate"]),
        (&json!("open"), &json!(5), &json!(5), &json!(1.0))
    );
    assert_eq!(health["last_error"]["code"], "provider_error");
    assert!(health["asked_again_at"].is_string());
    assert_eq!(bench.health("second").await["circuit"], "closed");
    assert!(bench.health("second").await["latency_ms_p50"].is_u64());

    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.asked(), (5, 6), "the first is left alone");
    assert_eq!(bench.acme.uses().await.pop().unwrap()["attempts"], 1, "who rests was not asked");

    // One that is still broken rests again; one that answers is back.
    bench.app.clock.advance(chrono::Duration::seconds(30));
    bench.first.script(vec![Step::error(500, "no")]);
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.asked(), (6, 7));
    assert_eq!(bench.health("first").await["circuit"], "open");
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.asked(), (6, 8));
    bench.app.clock.advance(chrono::Duration::seconds(30));
    bench.first.script(vec![Step::Wait(400), Step::text("back")]);
    let (probe, beside) = tokio::join!(bench.ask(), async {
        bench.first.wait_until(|received| received.len() == 7).await;
        assert_eq!(bench.health("first").await["circuit"], "half_open");
        bench.ask().await
    });
    assert_eq!((probe.content().as_str(), beside.content().as_str()), ("back", "hello"));
    assert_eq!(bench.asked(), (7, 9), "one alone");
    assert_eq!(bench.health("first").await["circuit"], "closed");
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.asked(), (8, 9));
}

#[tokio::test]
async fn m497_where_all_rest_a_request_is_told_when_to_come_back_and_a_test_of_the_source_ends_it() {
    let bench = Bench::start().await;
    bench.serve(json!([{ "source": "first" }])).await;
    for _ in 0..5 {
        bench.first.script(vec![Step::error(503, "no")]);
        assert_eq!(bench.ask().await.status, 502);
    }
    let resting = bench.ask().await;
    assert_eq!((resting.status, code(&resting)), (503, json!("provider_unavailable")), "{}", resting.text());
    assert_eq!(resting.header("retry-after"), "30");
    assert_eq!(bench.asked(), (5, 0));
    let row = bench.acme.uses().await.pop().unwrap();
    assert_eq!((&row["attempts"], &row["status"]), (&json!(0), &json!("failed")));

    let tested = bench.operator.post(&format!("{SOURCES}/first/test"), &json!({})).await;
    assert_eq!(
        (&tested.json()["ok"], &tested.json()["models"]),
        (&json!(true), &json!(["scripted", "scripted-large"]))
    );
    assert_eq!(bench.ask().await.status, 200);
    // So does a change of it.
    for _ in 0..6 {
        bench.first.script(vec![Step::error(503, "no")]);
        bench.ask().await;
    }
    assert_eq!(bench.health("first").await["circuit"], "open");
    let body = json!({ "key": key_of("better") });
    assert_eq!(change(&bench.operator, &format!("{SOURCES}/first"), body).await.status, 200);
    assert_eq!(bench.health("first").await["circuit"], "closed");
}

#[tokio::test]
async fn m180_m181_a_source_lists_its_models_and_they_become_drafts_nobody_is_offered() {
    let bench = Bench::start().await;
    source(&bench.operator, "gone", NOWHERE, json!({})).await;
    let dead = bench.operator.post(&format!("{SOURCES}/gone/test"), &json!({})).await;
    assert_eq!((dead.status, &dead.json()["ok"]), (200, &json!(false)), "{}", dead.text());
    assert!(!dead.text().contains("127.0.0.1"), "{}", dead.text());
    let failed = bench.operator.post(&format!("{SOURCES}/gone/sync-models"), &json!({})).await;
    assert_eq!((failed.status, &failed.json()["code"]), (502, &json!("source_failed")), "{}", failed.text());

    let path = format!("{SOURCES}/first/sync-models");
    let synced = bench.operator.post(&path, &json!({ "provider": "plat" })).await.json();
    assert_eq!(
        synced,
        json!({ "created": ["plat/scripted", "plat/scripted-large"], "known": 0, "skipped": 0 })
    );
    let again = bench.operator.post(&path, &json!({ "provider": "plat" })).await.json();
    assert_eq!(again, json!({ "created": [], "known": 2, "skipped": 0 }));
    let own = bench.operator.post(&path, &json!({})).await.json();
    assert_eq!(own["created"][0], "first/scripted", "the source's id, unless it is told");
    assert_eq!(pointers(&bench.operator.post(&path, &json!({ "provider": "demo" })).await), ["/provider"]);

    let draft = bench.operator.get(&format!("{MODELS}/plat/scripted")).await.json();
    assert_eq!((&draft["enabled"], &draft["price"]), (&json!(false), &Value::Null));
    assert_eq!(draft["sources"][0]["source"], "first");
    assert_eq!(ids(&bench.acme.get("/v1/models").await), ["plat/large"]);
    assert_eq!(bench.acme.chat("plat/scripted", "hello").await.status, 404);
    let on = json!({ "enabled": true, "price": price() });
    assert_eq!(change(&bench.operator, &format!("{MODELS}/plat/scripted"), on).await.status, 200);
    assert_eq!(bench.acme.chat("plat/scripted", "hello").await.status, 200);
    let page = bench.operator.get(&format!("{MODELS}?limit=2")).await;
    assert_eq!(ids(&page), ["first/scripted", "first/scripted-large"]);
    let cursor = page.json()["next_cursor"].as_str().unwrap().to_owned();
    let rest = bench.operator.get(&format!("{MODELS}?cursor={cursor}")).await;
    assert_eq!(ids(&rest), ["plat/large", "plat/scripted", "plat/scripted-large"]);
}

#[tokio::test]
async fn m018_ones_own_key_comes_first_and_no_key_goes_where_another_belongs() {
    let bench = Bench::start().await;
    let own = ScriptedUpstream::start().await;
    let plat = json!({ "apiKey": "sk-of-the-app-0123456789", "baseUrl": own.base_url() });
    assert_eq!(bench.acme.put("/v1/tenant", &json!({ "providers": { "plat": plat } })).await.status, 200);
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!((own.received().len(), bench.asked()), (1, (0, 0)), "the app's own, under the same name");
    assert_eq!(
        own.received()[0].body["model"],
        "large",
        "nor is its model called as the platform's source does"
    );
    assert_eq!(own.received()[0].headers["authorization"], "Bearer sk-of-the-app-0123456789");
    assert_eq!(bench.acme.uses().await.pop().unwrap()["paid_by"], "app");
    assert_eq!(
        ids(&bench.acme.get("/v1/models").await),
        ["plat/scripted", "plat/scripted-large"],
        "its own list"
    );

    // It fails: then nobody else pays.
    own.script(vec![Step::error(500, "no")]);
    assert_eq!(bench.ask().await.status, 502);
    assert_eq!((own.received().len(), bench.asked()), (2, (0, 0)));

    // It is gone: the platform's again.
    assert_eq!(bench.acme.put("/v1/tenant", &json!({})).await.status, 200);
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!((own.received().len(), bench.asked()), (2, (1, 0)));
    for received in [bench.first.received(), bench.second.received()].concat() {
        assert!(!format!("{:?}", received.headers).contains("of-the-app"));
    }
}

#[tokio::test]
async fn m013_an_app_names_models_itself_and_the_platform_gives_them_names() {
    let bench = Bench::start().await;
    let acme = &bench.acme;
    let model =
        |answer: Answer| (answer.status, answer.json()["model"].as_str().unwrap_or_default().to_owned());
    let large = || (200, "plat/large".to_owned());
    assert_eq!(model(acme.chat("big", "x").await), large(), "the platform's name");
    assert_eq!(model(acme.chat("large", "x").await), large(), "the one that is called so");
    let put = acme
        .put("/v1/tenant", &json!({ "modelAliases": { "fast": "plat/large", "big": "plat/none" } }))
        .await;
    assert_eq!(
        put.json()["modelAliases"],
        json!({ "big": "plat/none", "fast": "plat/large" }),
        "{}",
        put.text()
    );
    assert_eq!(model(acme.chat("fast", "x").await), large());
    assert_eq!(acme.chat("big", "x").await.status, 404, "the app's own word counts");
    let embedded = acme.post("/v1/embeddings", &json!({ "model": "fast", "input": "x" })).await;
    assert_eq!(embedded.status, 200, "{}", embedded.text());
    for (aliases, wrong) in [
        (json!({ "a/b": "plat/large" }), "/modelAliases/a~1b"),
        (json!({ "A": "plat/large" }), "/modelAliases/A"),
        (json!({ "a": "large" }), "/modelAliases/a"),
        (json!({ "a": "" }), "/modelAliases/a"),
    ] {
        assert_eq!(pointers(&acme.put("/v1/tenant", &json!({ "modelAliases": aliases })).await), [wrong]);
    }
    // What one model is called is what another is named: it is said which there are.
    let own = ScriptedUpstream::start().await;
    let two = json!({ "providers": { "mine": { "apiKey": "sk-0123456789", "baseUrl": own.base_url() } } });
    assert_eq!(acme.put("/v1/tenant", &two).await.status, 200);
    let path = format!("{MODELS}/plat/large");
    assert_eq!(change(&bench.operator, &path, json!({ "alias": "scripted" })).await.status, 200);
    let ambiguous = acme.chat("scripted", "x").await;
    assert_eq!((ambiguous.status, code(&ambiguous)), (400, json!("model_ambiguous")));
    assert!(ambiguous.text().contains("mine/scripted") && ambiguous.text().contains("plat/large"));
    assert_eq!(acme.chat("fast", "x").await.status, 404, "PUT replaces: what it does not say is not there");
}

#[tokio::test]
async fn m184_what_an_app_may_use_is_checked_and_kept_in_order() {
    let bench = Bench::start().await;
    let path = "/v1/admin/tenants/acme/ai/models";
    for (models, wrong) in [
        (json!(["plat/nope"]), vec!["/models/0"]),
        (json!(["*", "large", "", "Plat/*"]), vec!["/models/1", "/models/2", "/models/3"]),
    ] {
        assert_eq!(pointers(&bench.operator.put(path, &json!({ "models": models })).await), wrong);
    }
    let set = bench.operator.put(path, &json!({ "models": ["plat/large", "*", "plat/large"] })).await.json();
    assert_eq!(set, json!({ "models": ["*", "plat/large"], "points_per_month": null }));
    assert_eq!(
        bench.operator.put("/v1/admin/tenants/nobody/ai/models", &json!({ "models": [] })).await.status,
        404
    );
    assert_eq!(bench.operator.get("/v1/admin/tenants/nobody/ai/models").await.status, 404);
    assert_eq!(bench.acme.get(path).await.status, 403);
}

#[tokio::test]
async fn m179_a_source_is_asked_through_its_proxy_and_what_that_is_told_is_never_shown() {
    let bench = Bench::start().await;
    let proxy = Proxy::start().await;
    let path = format!("{SOURCES}/first");
    let set = change(&bench.operator, &path, json!({ "proxy": proxy.url("ann:pass%20word@") })).await;
    assert_eq!((set.status, &set.json()["proxy"]), (200, &json!(format!("{}/", proxy.url("")))));
    assert_eq!(bench.ask().await.status, 200);
    assert_eq!(bench.asked(), (1, 0));
    let head = proxy.heads().remove(0);
    let target = format!("POST {}chat/completions HTTP/1.1", bench.first.base_url());
    // `ann:pass word`, as RFC 7617 has it.
    let told = "Basic YW5uOnBhc3Mgd29yZA==";
    assert!(head.starts_with(&target) && head.contains(told), "{head}");
    let received = bench.first.received().remove(0).headers;
    assert_eq!(received["authorization"], format!("Bearer {}", key_of("first")));
    assert!(received.get("proxy-authorization").is_none());
    let tested = bench.operator.post(&format!("{path}/test"), &json!({})).await.json();
    assert_eq!((&tested["ok"], proxy.heads().len()), (&json!(true), 2), "{tested}");

    // What is asked over https goes through a tunnel; who is at the other end is checked as ever.
    let https = bench.first.base_url().replace("http://", "https://");
    let moved = json!({ "base_url": https, "key": key_of("first") });
    assert_eq!(change(&bench.operator, &path, moved).await.status, 200);
    bench.serve(json!([{ "source": "first" }])).await;
    let failed = bench.ask().await;
    assert_eq!(failed.status, 502, "{}", failed.text());
    assert!(!failed.text().contains("127.0.0.1"), "{}", failed.text());
    let head = proxy.heads().pop().unwrap();
    let host = https.trim_start_matches("https://").split('/').next().unwrap();
    assert!(head.starts_with(&format!("CONNECT {host} HTTP/1.1")) && head.contains(told), "{head}");
    assert!(!head.contains(&key_of("first")), "a tunnel is told no key: {head}");

    // Without it again.
    let direct = json!({ "base_url": bench.first.base_url(), "key": key_of("first"), "proxy": null });
    let direct = change(&bench.operator, &path, direct).await;
    assert_eq!((direct.status, &direct.json()["proxy"]), (200, &Value::Null));
    let before = proxy.heads().len();
    assert_eq!((bench.ask().await.status, proxy.heads().len()), (200, before));

    let with_proxy = json!({ "proxy": proxy.url("ann:pass%20word@") });
    source(&bench.operator, "third", bench.second.base_url(), with_proxy).await;
    let sealed =
        bench.app.sql("select (encrypted_value is not null)::text || url from ai_source_proxies").await;
    assert_eq!(sealed, [format!("true{}/", proxy.url(""))]);
    let shown = bench.operator.get(SOURCES).await.text() + &bench.operator.get(&path).await.text() + &logs();
    let kept = bench.app.sql("select detail::text from audit_events").await.concat();
    for secret in ["pass%20word", "pass word", "YW5uOnBhc3Mgd29yZA"] {
        assert!(!shown.contains(secret) && !kept.contains(secret), "{secret}");
    }
    for wrong in [json!("socks5://127.0.0.1:1"), json!("not a url"), json!("http://p/path"), json!(7)] {
        let refused = change(&bench.operator, &path, json!({ "proxy": wrong })).await;
        assert_eq!(refused.status, 422, "{wrong}: {}", refused.text());
    }
}

#[tokio::test]
async fn m179_a_proxy_is_no_way_around_what_may_not_be_reached() {
    let app = TestApp::start().await;
    let operator = app.operator();
    let upstream = ScriptedUpstream::start().await;
    let proxy = Proxy::start().await;
    let through = json!({ "id": "near", "kind": "openai-compatible", "base_url": upstream.base_url(), "proxy": proxy.url("") });
    assert_eq!(operator.post(SOURCES, &through).await.status, 422, "an address that is private");
    let by_name = upstream.base_url().replace("127.0.0.1", "localhost");
    source(&operator, "near", &by_name, json!({ "proxy": proxy.url("") })).await;
    let serving = large(json!([{ "source": "near", "model": "scripted" }]));
    assert_eq!(operator.post(MODELS, &serving).await.status, 201);
    let acme = app.tenant("acme").await;
    let may = json!({ "models": ["*"] });
    assert_eq!(operator.put("/v1/admin/tenants/acme/ai/models", &may).await.status, 200);
    let refused = acme.chat("plat/large", "hello").await;
    assert_eq!(
        (refused.status, code(&refused)),
        (502, json!("provider_unreachable")),
        "a name that leads to one"
    );
    let tested = operator.post(&format!("{SOURCES}/near/test"), &json!({})).await.json();
    assert_eq!(tested["ok"], json!(false), "{tested}");
    assert!(proxy.heads().is_empty() && upstream.received().is_empty(), "{:?}", proxy.heads());
}
