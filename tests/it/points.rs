//! Points: the operator's own unit for what its models cost apps.

use opg_tests::{
    app::{Answer, Client, TestApp, UPSTREAM_KEY, send},
    paid::{self, CHAT, costs_five, with},
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use std::time::Duration;

const MODELS: &str = "/platform/v1/ai/models";
const MAY: &str = "/v1/admin/tenants/acme/ai/models";

/// An operator with `plat/large`, of which a token written costs a micro-dollar, which is a hundred milli-points; and an
/// app that may use it.
struct Scene {
    app: TestApp,
    operator: Client,
    acme: Client,
    upstream: ScriptedUpstream,
}

impl Scene {
    async fn start() -> Scene {
        let (app, upstream) = paid::start().await;
        upstream.script_for_model("scripted", costs_five());
        let operator = app.operator();
        let points = json!({ "price": price(json!({ "points_rate": 100_000_000 })) });
        let made = paid::platform_model(&operator, &upstream, points).await;
        assert_eq!(made.json()["price"]["points_rate"], 100_000_000, "{}", made.text());
        let acme = app.tenant("acme").await;
        let scene = Scene { app, operator, acme, upstream };
        assert_eq!(scene.may(json!({})).await["points_per_month"], Value::Null);
        scene
    }

    /// Lets the app use all there is, with these terms; as it is then.
    async fn may(&self, terms: Value) -> Value {
        let set = self.operator.put(MAY, &with(json!({ "models": ["*"] }), terms)).await;
        assert_eq!(set.status, 200, "{}", set.text());
        let read = self.operator.get(MAY).await.json();
        assert_eq!(set.json(), read);
        read
    }

    /// A request that may cost five micro-dollars, and does.
    async fn ask(&self) -> Answer {
        self.acme.post(CHAT, &five()).await
    }

    async fn points(&self) -> Value {
        self.acme.get("/v1/usage/balance").await.json()["points"].clone()
    }

    async fn until_counted(&self, spent: i64, reserved: i64) {
        for _ in 0..200 {
            let points = self.points().await;
            if (&points["spent_milli_points"], &points["reserved_milli_points"])
                == (&json!(spent), &json!(reserved))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{}, expected {spent} and {reserved}", self.points().await);
    }
}

fn price(more: Value) -> Value {
    with(paid::price(), more)
}

fn five() -> Value {
    paid::five("plat/large")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m184_two_hundred_requests_at_once_against_points_for_ten_use_points_for_ten() {
    let scene = Scene::start().await;
    scene.upstream.script_for_model("scripted", [vec![Step::Wait(300)], costs_five()].concat());
    assert_eq!(scene.may(json!({ "points_per_month": 5 })).await["points_per_month"], 5);
    let asking = (0..200).map(|_| {
        let acme = scene.acme.clone();
        tokio::spawn(async move { acme.post(CHAT, &five()).await })
    });
    let mut served = 0;
    for asked in asking.collect::<Vec<_>>() {
        let answer = asked.await.unwrap();
        match answer.status {
            200 => served += 1,
            402 => assert_eq!(answer.json()["error"]["code"], "points_exceeded", "{}", answer.text()),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!(served, 10);
    assert_eq!(scene.upstream.received().len(), 10, "the others were refused before the provider was asked");
    scene.until_counted(5_000, 0).await;
    assert_eq!(scene.points().await["left_milli_points"], 0);
    assert_eq!(scene.app.sql("select sum(milli_points)::text from usage_events").await, ["5000"]);
}

#[tokio::test]
async fn m128_m126_m301_points_are_said_to_be_left_and_stand_in_the_ledger_with_their_rate() {
    let scene = Scene::start().await;
    assert_eq!(scene.points().await, Value::Null, "it has as many as it likes");
    assert_eq!(scene.ask().await.status, 200);
    // What was used before there was an allowance counts as well.
    scene.may(json!({ "points_per_month": 1 })).await;
    let points = scene.points().await;
    assert_eq!(
        [&points["per_month"], &points["spent_milli_points"], &points["left_milli_points"]],
        [&json!(1), &json!(500), &json!(500)],
        "{points}"
    );
    assert_eq!(scene.ask().await.status, 200);
    for stream in [false, true] {
        let refused = scene.acme.post(CHAT, &with(five(), json!({ "stream": stream }))).await;
        assert_eq!((refused.status, refused.header("x-should-retry")), (402, "false"), "{}", refused.text());
        let said = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        for part in ["of 1000 milli-points 1000 are spent and 0 held", "may cost 500", "until 2"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let raw = scene.acme.post("/v1/ai/chat", &five()).await;
    assert_eq!((raw.status, &raw.json()["error"]["code"]), (402, &json!("points_exceeded")));
    let resets_at = scene.points().await["resets_at"].as_str().unwrap().to_owned();
    let next = resets_at.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!(next > scene.app.clock.now() && resets_at.contains("-01T00:00:00"), "{resets_at}");
    scene.until_counted(1_000, 0).await;

    // A new rate is for what comes; what was is as it was.
    let path = format!("{MODELS}/plat/large");
    let change = json!({ "price": price(json!({ "points_rate": 1 })) });
    assert_eq!(send(scene.operator.request("PATCH", &path).json(&change)).await.status, 200);
    scene.app.clock.advance(next - scene.app.clock.now());
    assert_eq!(scene.points().await["left_milli_points"], 1_000, "another month");
    assert_eq!(scene.ask().await.status, 200);
    let rows = scene.acme.uses().await;
    let of = |row: &Value| {
        [row["cost_micro_usd"].clone(), row["points_rate"].clone(), row["milli_points"].clone()]
    };
    assert_eq!(of(&rows[0]), [json!(5), json!(100_000_000), json!(500)]);
    assert_eq!(of(&rows[2]), [json!(5), json!(1), json!(1)], "rounded up, never nothing");
    let summary = scene.acme.get("/v1/usage/summary").await.json();
    assert_eq!((&summary["milli_points"], &summary["cost_micro_usd"]), (&json!(1_001), &json!(15)));
    assert_eq!(summary["data"][0]["milli_points"], 1_001);
    let audited = scene.acme.get("/v1/tenant/audit?action=budget.alert").await.json();
    let alerts = audited["data"].as_array().unwrap();
    assert_eq!(alerts.len(), 1, "{audited}");
    assert_eq!(alerts[0]["detail"]["limit_milli_points"], 1_000, "{audited}");
}

#[tokio::test]
async fn m182_a_key_of_ones_own_and_a_model_without_a_rate_cost_no_points() {
    let scene = Scene::start().await;
    scene.may(json!({ "points_per_month": 0 })).await;
    assert_eq!(scene.ask().await.status, 402);
    // The price is the model's, whoever's key it is asked with.
    let own =
        json!({ "providers": { "plat": { "apiKey": UPSTREAM_KEY, "baseUrl": scene.upstream.base_url() } } });
    assert_eq!(scene.acme.put("/v1/tenant", &own).await.status, 200);
    assert_eq!(scene.ask().await.status, 200);
    let row = scene.acme.uses().await.pop().unwrap();
    assert_eq!(
        [&row["paid_by"], &row["points_rate"], &row["milli_points"]],
        [&json!("app"), &Value::Null, &Value::Null]
    );
    assert_eq!(row["cost_micro_usd"], 5);
    assert_eq!(scene.acme.put("/v1/tenant", &json!({ "providers": {} })).await.status, 200);
    assert_eq!(scene.ask().await.status, 402);

    let change = json!({ "price": price(json!({})) });
    let changed = send(scene.operator.request("PATCH", &format!("{MODELS}/plat/large")).json(&change)).await;
    assert_eq!((changed.status, &changed.json()["price"]["points_rate"]), (200, &Value::Null));
    assert_eq!(scene.ask().await.status, 200);
    let row = scene.acme.uses().await.pop().unwrap();
    assert_eq!((&row["paid_by"], &row["milli_points"]), (&json!("platform"), &Value::Null));
    assert_eq!(scene.points().await["spent_milli_points"], 0);
}

#[tokio::test]
async fn m059_points_are_whole_and_not_negative_and_an_allowance_is_no_budget_of_the_apps() {
    let scene = Scene::start().await;
    for rate in [json!(-1), json!(1.5), json!("1"), json!(1_000_000_001)] {
        let change = json!({ "price": price(json!({ "points_rate": rate })) });
        let path = format!("{MODELS}/plat/large");
        let refused = send(scene.operator.request("PATCH", &path).json(&change)).await;
        assert_eq!(refused.status, 422, "{rate}: {}", refused.text());
        let set = scene.operator.put("/platform/v1/ai/prices/plat/large", &change["price"]).await;
        assert_eq!(set.status, 422, "{rate}: {}", set.text());
    }
    for points in [json!(-1), json!(1.5), json!("1"), json!(1_000_000_000_001_u64)] {
        let body = json!({ "models": ["*"], "points_per_month": points });
        let refused = scene.operator.put(MAY, &body).await;
        assert_eq!(refused.status, 422, "{points}: {}", refused.text());
    }
    assert_eq!(scene.operator.get(MAY).await.json(), json!({ "models": ["*"], "points_per_month": null }));

    scene.may(json!({ "points_per_month": 7 })).await;
    assert_eq!(scene.may(json!({})).await["points_per_month"], 7, "left out, it stays");
    for list in ["/v1/tenant/budgets", "/v1/usage/balance"] {
        assert_eq!(scene.acme.get(list).await.json()["data"], json!([]), "{list}");
    }
    let listed = scene.operator.get("/v1/admin/tenants/acme/budgets").await.json();
    assert_eq!(listed["data"], json!([]));
    for name in ["points", "points%2Fmonth"] {
        let gone = scene.operator.delete(&format!("/v1/admin/tenants/acme/budgets/{name}")).await;
        assert_eq!(gone.status, 404, "{name}");
    }
    let path = "/v1/admin/tenants/acme/budgets/points%2Fmonth";
    let budget = json!({ "scope": "app", "period": "month", "limit_micro_usd": 1 });
    assert_eq!(scene.operator.put(path, &budget).await.status, 422);
    assert_eq!(scene.points().await["per_month"], 7);
    assert_eq!(scene.ask().await.status, 200);

    // A budget in dollars counts dollars beside it, and each is let go of.
    let budget = json!({ "scope": "app", "period": "total", "limit_micro_usd": 12 });
    assert_eq!(scene.acme.put("/v1/tenant/budgets/all", &budget).await.status, 200);
    assert_eq!(scene.ask().await.status, 200);
    let refused = scene.ask().await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (402, &json!("budget_exceeded")));
    let spent = scene.acme.get("/v1/usage/balance").await.json()["data"][0]["spending"][0].clone();
    assert_eq!((&spent["spent_micro_usd"], &spent["reserved_micro_usd"]), (&json!(10), &json!(0)));
    scene.until_counted(1_000, 0).await;
    assert_eq!(scene.may(json!({ "points_per_month": null })).await["points_per_month"], Value::Null);
    assert_eq!(scene.points().await, Value::Null);
}
