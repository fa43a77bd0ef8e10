//! Pictures.

use super::*;

#[tokio::test]
async fn m106_pictures_are_stored_under_a_url_of_their_own_for_a_day_and_for_one_app() {
    let scene = Scene::start().await;
    let pixel = STANDARD.decode(media::PIXEL_BASE64).unwrap();
    let drawn = scene.draw(json!({ "n": 2, "size": "1024x1024", "user": "ann" })).await;
    assert_eq!(drawn.status, 200, "{}", drawn.text());
    let data = drawn.json()["data"].as_array().unwrap().clone();
    let urls: Vec<_> = data.iter().map(|item| item["url"].as_str().unwrap().to_owned()).collect();
    assert_eq!(urls.len(), 2);
    assert_ne!(urls[0], urls[1]);
    assert_eq!(data[0]["revised_prompt"], "a cat, in oil");
    assert!(!drawn.text().contains("b64_json") && !drawn.text().contains("127.0.0.1"), "{}", drawn.text());
    let asked = scene.last().body;
    assert_eq!(
        [&asked["model"], &asked["n"], &asked["size"], &asked["response_format"]],
        [&json!("painter"), &json!(2), &json!("1024x1024"), &json!("b64_json")]
    );

    let reader = scene.acme.with_scopes(&["ai:read"]).await;
    let picture = reader.get(&urls[0]).await;
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/png"));
    assert_eq!(picture.body, pixel);
    assert_eq!(scene.acme.with_scopes(&["ai:invoke"]).await.get(&urls[0]).await.status, 403);
    let own_path = urls[0].strip_prefix("/acme").unwrap();
    let other = scene.app.tenant("other").await;
    assert_eq!(other.get(own_path).await.status, 404, "another app has no such picture");
    assert_eq!(scene.acme.get("/v1/ai/files/not-an-id").await.status, 404);

    let used = scene.last_use().await;
    assert_eq!(
        [&used["kind"], &used["units"], &used["model"], &used["end_user"], &used["status"]],
        [&json!("images"), &json!(2), &json!("painter"), &json!("ann"), &json!("ok")]
    );
    assert_eq!(used["cost_micro_usd"], Value::Null, "nobody said what it costs");

    scene.app.clock.advance(files::FILE_LIFE);
    assert_eq!(reader.get(&urls[0]).await.status, 404, "its day is over");
    files::sweep(&scene.app.running.app).await.unwrap();
    assert_eq!(scene.app.sql("select count(*)::text from ai_files").await, ["0"]);
}

#[tokio::test]
async fn m106_a_small_picture_may_be_inside_the_answer_and_a_large_one_never_is() {
    let scene = Scene::start().await;
    let small = scene.draw(json!({ "response_format": "b64_json" })).await.json();
    assert_eq!(small["data"][0]["b64_json"], media::PIXEL_BASE64);
    assert_eq!(small["data"][0]["url"], Value::Null);
    let large = scene.draw(json!({ "model": "openai/painter-large", "response_format": "b64_json" })).await;
    assert!(large.body.len() < 1_000, "{} bytes", large.body.len());
    let url = large.json()["data"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(scene.acme.get(&url).await.body.len(), media::LARGE_PICTURE_BYTES);

    // An app that keeps more than it may loses its oldest.
    let newer = "insert into ai_files
      select (left(file_id::text, 18) || '-ffff-ffffffffff' || lpad(n::text, 2, '0'))::uuid, app_id, media_type,
             decode(repeat('00', 16 * 1024 * 1024), 'hex'), expires_at
      from ai_files, generate_series(1, 16) as n";
    sqlx::query(newer).execute(&mut scene.app.owner().await).await.unwrap();
    assert_eq!(scene.acme.get(&url).await.status, 200);
    let next = scene.draw(json!({ "model": "openai/painter-large" })).await.json();
    assert_eq!(scene.acme.get(&url).await.status, 404);
    assert_eq!(scene.acme.get(next["data"][0]["url"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn m106_a_picture_its_provider_put_elsewhere_is_fetched_and_what_is_none_is_an_error() {
    let scene = Scene::start().await;
    let fetched = scene.draw(json!({ "model": "openai/painter-elsewhere" })).await;
    assert_eq!(fetched.status, 200, "{}", fetched.text());
    let url = fetched.json()["data"][0]["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("/acme/v1/ai/files/"), "our address, not the provider's: {url}");
    assert!(scene.acme.get(&url).await.text().ends_with("elsewhere"));
    for model in ["openai/painter-of-pages", "openai/painter-of-nothing"] {
        let broken = scene.draw(json!({ "model": model })).await;
        let (status, code, _) = wrong(&broken);
        assert_eq!((status, code), (502, json!("provider_bad_reply")), "{model}: {}", broken.text());
        assert!(!broken.text().contains("127.0.0.1"), "{}", broken.text());
    }
    for raw in
        [r#"{"data":[]}"#, r#"{"data":[{"b64_json":"!"}]}"#, "[]", r#"{"data":[{"b64_json":"PHN2Zz4="}]}"#]
    {
        scene.upstream.script(vec![Step::Raw(raw.to_owned())]);
        assert_eq!(wrong(&scene.draw(json!({})).await).0, 502, "{raw}");
    }
    let kept = scene.app.sql("select count(*)::text from ai_files").await;
    assert_eq!(kept, ["1"], "nothing that is no picture was kept");
    let newer = scene.draw(json!({ "model": "openai/gpt-image-1", "n": 2 })).await.json();
    assert_eq!(newer["usage"]["output_tokens"], 2000, "{newer}");
    let used = scene.last_use().await;
    assert_eq!((&used["prompt_tokens"], &used["completion_tokens"]), (&json!(50), &json!(2000)));
    assert_eq!(wrong(&scene.draw(json!({ "n": 5 })).await).2, "n");
}

const GOOGLES_PAINTER: &str = "google/gemini-3.1-flash-image";

#[tokio::test]
async fn m106_googles_models_draw_each_picture_in_a_request_of_its_own_and_their_tokens_are_paid() {
    let scene = Scene::start().await;
    scene
        .price(
            GOOGLES_PAINTER,
            json!({ "input_micro_usd_per_mtok": 1_000_000, "output_micro_usd_per_mtok": 60_000_000 }),
        )
        .await;
    let drawn = scene
        .draw(json!({ "model": GOOGLES_PAINTER, "n": 2, "size": "16:9", "user": "ann",
            "google": { "generationConfig": { "seed": 7 } } }))
        .await;
    assert_eq!(drawn.status, 200, "{}", drawn.text());
    let pixel = STANDARD.decode(media::PIXEL_BASE64).unwrap();
    let data = drawn.json()["data"].as_array().unwrap().clone();
    assert_eq!(data.len(), 2);
    for item in &data {
        let picture = scene.acme.get(item["url"].as_str().unwrap()).await;
        assert_eq!(picture.header("content-type"), "image/png");
        assert_eq!(picture.body, pixel);
    }
    let (read, written) = google_media::PICTURE_TOKENS;
    assert_eq!(drawn.json()["usage"]["output_tokens"], 2 * written);
    let asked = scene.upstream.received();
    assert_eq!(asked.len(), 2, "Google makes one at a time");
    for asked in asked {
        assert_eq!(asked.path, "/v1beta/models/gemini-3.1-flash-image:generateContent", "no key in it");
        assert_eq!(asked.headers["x-goog-api-key"], UPSTREAM_KEY);
        assert_eq!(
            asked.body,
            json!({ "contents": [{ "role": "user", "parts": [{ "text": "a cat" }] }], "generationConfig": {
                "responseModalities": ["IMAGE"], "imageConfig": { "aspectRatio": "16:9" }, "seed": 7 } })
        );
    }
    let used = scene.last_use().await;
    assert_eq!(
        [
            &used["kind"],
            &used["units"],
            &used["end_user"],
            &used["prompt_tokens"],
            &used["completion_tokens"]
        ],
        [&json!("images"), &json!(2), &json!("ann"), &json!(2 * read), &json!(2 * written)]
    );
    assert_eq!(used["cost_micro_usd"], 2 * (read + 60 * written));
    let inline = scene.draw(json!({ "model": GOOGLES_PAINTER, "response_format": "b64_json" })).await;
    assert_eq!(inline.json()["data"][0]["b64_json"], media::PIXEL_BASE64);
    let later = scene.draw_later(json!({ "model": GOOGLES_PAINTER })).await;
    let done = ended(&scene.acme, &later.json()).await;
    assert!(done["result"]["data"][0]["url"].is_string(), "{done}");
}

#[tokio::test]
async fn m106_what_google_has_no_word_for_is_refused_and_what_goes_wrong_there_has_its_status() {
    let scene = Scene::start().await;
    let draw = async |more: Value| scene.draw(with(json!({ "model": GOOGLES_PAINTER }), more)).await;
    for (more, param) in [
        (json!({ "quality": "high" }), "quality"),
        (json!({ "size": "1536x1024" }), "size"),
        (json!({ "n": 5 }), "n"),
    ] {
        let refused = draw(more.clone()).await;
        assert_eq!((refused.status, wrong(&refused).2), (400, json!(param)), "{more}: {}", refused.text());
    }
    assert!(scene.upstream.received().is_empty(), "nobody was asked");
    let unknown = draw(json!({ "size": "7:3" })).await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("must be one of 1:1"), "Google says which there are: {}", unknown.text());
    assert_eq!(draw(json!({ "mask": "x" })).await.status, 400, "what is not known is Google's to refuse");

    let usage = json!({ "promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7 });
    for (raw, status, code) in [
        (json!({ "candidates": [{ "finishReason": "IMAGE_SAFETY" }] }), 400, "content_policy_violation"),
        (json!({ "promptFeedback": { "blockReason": "SAFETY" } }), 400, "content_policy_violation"),
        (json!({ "candidates": [{ "finishReason": "NO_IMAGE" }] }), 502, "provider_bad_reply"),
        (
            json!({ "candidates": [{ "content": { "parts": [{ "text": "no" }] }, "finishReason": "STOP" }] }),
            502,
            "provider_bad_reply",
        ),
    ] {
        let raw = with(raw, json!({ "usageMetadata": usage }));
        scene.upstream.script(vec![Step::Raw(raw.to_string())]);
        let failed = draw(json!({})).await;
        assert_eq!((failed.status, &wrong(&failed).1), (status, &json!(code)), "{raw}: {}", failed.text());
        let used = scene.last_use().await;
        assert_eq!(
            [&used["status"], &used["units"], &used["prompt_tokens"], &used["completion_tokens"]],
            [&json!("failed"), &json!(0), &json!(3), &json!(4)],
            "it was paid for"
        );
    }
    for (theirs, ours, code) in [
        (403, 502, "provider_credentials"),
        (404, 404, "not_found"),
        (429, 429, "rate_limit_exceeded"),
        (500, 502, "provider_error"),
    ] {
        scene.upstream.script(vec![Step::error(theirs, &format!("no, said {UPSTREAM_KEY}"))]);
        let failed = draw(json!({})).await;
        assert_eq!((failed.status, &wrong(&failed).1), (ours, &json!(code)), "{}", failed.text());
        assert!(!failed.text().contains(UPSTREAM_KEY));
    }
    // One of two fails: none is given, and the other is charged for.
    scene.upstream.script(vec![Step::error(400, "not this one")]);
    assert_eq!(draw(json!({ "n": 2 })).await.status, 400);
    let (read, written) = google_media::PICTURE_TOKENS;
    let used = scene.last_use().await;
    assert_eq!(
        [&used["status"], &used["units"], &used["prompt_tokens"], &used["completion_tokens"]],
        [&json!("failed"), &json!(0), &json!(read), &json!(written)]
    );
    assert_eq!(scene.app.sql("select count(*)::text from ai_files").await, ["0"]);
}

#[tokio::test]
async fn m106_whoever_hangs_up_on_googles_picture_lets_google_go() {
    let scene = Scene::start().await;
    scene.upstream.script(vec![Step::Stall]);
    let body = json!({ "model": GOOGLES_PAINTER, "prompt": "a cat" });
    let asking = scene.acme.request("POST", "/v1/ai/image").json(&body).send();
    assert!(tokio::time::timeout(Duration::from_millis(300), asking).await.is_err());
    scene.upstream.wait_until(|received| received[0].hung_up).await;
    until("it is in the ledger", async || !scene.acme.uses().await.is_empty()).await;
    assert_eq!(scene.last_use().await["status"], "canceled");
}
