//! What is not counted in tokens.

use super::*;

#[tokio::test]
async fn what_is_counted_in_units_is_held_against_budgets_and_charged() {
    let scene = Scene::start().await;
    scene.budget(100_000).await;
    let unpriced = scene.draw(json!({})).await;
    assert_eq!(wrong(&unpriced).1, "price_unknown", "{}", unpriced.text());
    let of_units = |price: u64| json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 0, "unit_micro_usd_per_million": price });
    scene
        .price("openai/painter", json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 0 }))
        .await;
    assert_eq!(
        wrong(&scene.draw(json!({})).await).1,
        "price_unknown",
        "no price of a picture is not a price of nothing"
    );
    // Four cents a picture: two fit, three do not.
    scene.price("openai/painter", of_units(40_000_000_000)).await;
    assert_eq!(wrong(&scene.draw(json!({ "n": 3 })).await).1, "budget_exceeded");
    assert!(scene.upstream.received().is_empty(), "no provider was asked");
    assert_eq!(scene.draw(json!({ "n": 2 })).await.status, 200);
    assert_eq!(scene.last_use().await["cost_micro_usd"], 80_000);
    // Fifteen dollars a million characters.
    scene.price("openai/speaker", of_units(15_000_000)).await;
    assert_eq!(scene.speak(json!({ "input": "a".repeat(1_000) })).await.status, 200);
    assert_eq!(scene.last_use().await["cost_micro_usd"], 15_000);
    assert_eq!(wrong(&scene.speak(json!({ "input": "a".repeat(1_000) })).await).1, "budget_exceeded");
    scene.price("openai/hearer", of_units(100_000_000)).await;
    let heard = scene.transcribe(&[("model", "openai/hearer"), ("file", "RIFF")]).await;
    assert_eq!(heard.status, 200, "{}", heard.text());
    let used = scene.last_use().await;
    assert_eq!(
        [&used["kind"], &used["units"], &used["cost_micro_usd"]],
        [&json!("seconds"), &json!(7), &json!(700)]
    );
    let balance = scene.acme.get("/v1/usage/balance").await.json()["data"][0]["spending"][0].clone();
    let counted = (&balance["spent_micro_usd"], &balance["reserved_micro_usd"]);
    assert_eq!(counted, (&json!(95_700), &json!(0)), "{balance}");
}
