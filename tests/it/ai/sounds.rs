//! Speech and transcripts.

use super::*;

#[tokio::test]
async fn m107_speech_comes_as_it_is_made_and_its_characters_are_written_down() {
    let scene = Scene::start().await;
    let said = scene.speak(json!({ "input": "grüß dich", "format": "wav", "speed": 1.5 })).await;
    assert_eq!((said.status, said.header("content-type")), (200, "audio/wav"), "{}", said.text());
    assert_eq!(said.text(), media::SOUND.concat());
    let asked = scene.last().body;
    assert_eq!(
        [&asked["model"], &asked["voice"], &asked["response_format"], &asked["speed"], &asked["format"]],
        [&json!("speaker"), &json!("alloy"), &json!("wav"), &json!(1.5), &Value::Null]
    );
    let used = scene.last_use().await;
    assert_eq!(
        [&used["kind"], &used["units"], &used["status"]],
        [&json!("characters"), &json!(9), &json!("ok")]
    );
    assert_eq!(scene.speak(json!({ "response_format": "opus" })).await.header("content-type"), "audio/ogg");

    let unknown = scene.speak(json!({ "voice": "nobody" })).await;
    assert_eq!(unknown.status, 400, "{}", unknown.text());
    assert!(unknown.text().contains("voice"), "the provider says which there are: {}", unknown.text());
    let failed = scene.last_use().await;
    assert_eq!((&failed["status"], &failed["units"]), (&json!("failed"), &json!(0)));
    assert_eq!(wrong(&scene.speak(json!({ "input": "x".repeat(4_097) })).await).2, "input");
    scene.upstream.script(vec![Step::Raw(r#"{"sound":"none"}"#.to_owned())]);
    assert_eq!(wrong(&scene.speak(json!({})).await).1, "provider_bad_reply");
}

#[tokio::test]
async fn m107_googles_models_speak_as_wav_or_pcm_and_their_tokens_are_held_and_paid() {
    let scene = Scene::start().await;
    let samples = STANDARD.decode(google_media::SAMPLES_BASE64).unwrap();
    let file = STANDARD.decode(google_media::WAV_BASE64).unwrap();
    // The newer ones answer with a file, the older with samples: whoever asks cannot tell.
    for model in ["google/gemini-3.8-flash-tts", "google/gemini-3.1-flash-tts-preview"] {
        let speak =
            async |more: Value| scene.speak(with(json!({ "model": model, "voice": "Kore" }), more)).await;
        for (format, media_type, sound) in [
            (json!({}), "audio/wav", &file),
            (json!({ "format": "wav" }), "audio/wav", &file),
            (json!({ "response_format": "pcm" }), "audio/pcm", &samples),
        ] {
            let said = speak(format).await;
            assert_eq!((said.status, said.header("content-type")), (200, media_type), "{}", said.text());
            assert_eq!(&said.body, sound);
        }
        let used = scene.last_use().await;
        let (read, written) = google_media::SPEECH_TOKENS;
        assert_eq!(
            [&used["kind"], &used["units"], &used["prompt_tokens"], &used["completion_tokens"]],
            [&json!("characters"), &json!(5), &json!(read), &json!(written)]
        );
    }
    let asked = scene.last();
    assert_eq!(asked.path, "/v1beta/models/gemini-3.1-flash-tts-preview:generateContent");
    assert_eq!(
        asked.body,
        json!({ "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }], "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": { "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": "Kore" } } } } })
    );
    let speak = async |more: Value| {
        scene.speak(with(json!({ "model": "google/gemini-3.8-flash-tts", "voice": "Kore" }), more)).await
    };
    assert_eq!(speak(json!({ "instructions": "cheerfully" })).await.status, 200);
    let part = scene.last().body["contents"][0]["parts"][0].clone();
    assert_eq!(part, json!({ "text": "hello", "speechMetadata": { "style": "cheerfully" } }));

    let before = scene.upstream.received().len();
    for format in ["mp3", "opus", "aac", "flac"] {
        let refused = speak(json!({ "format": format })).await;
        assert_eq!(wrong(&refused), (400, json!("unsupported_value"), json!("response_format")), "{format}");
        assert!(refused.text().contains("`wav` and `pcm`"), "{}", refused.text());
    }
    assert_eq!(wrong(&speak(json!({ "speed": 2 })).await).2, "speed");
    assert_eq!(scene.upstream.received().len(), before, "nobody was asked");
    let unknown = speak(json!({ "voice": "nobody" })).await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("Aoede, Charon"), "Google says which there are: {}", unknown.text());
    for raw in [
        json!({ "candidates": [{ "content": { "parts": [{ "inlineData": { "mimeType": "text/html", "data": "PGI+" } }] } }] }),
        json!({ "candidates": [{ "content": { "parts": [{ "text": "hello" }] }, "finishReason": "STOP" }] }),
    ] {
        scene.upstream.script(vec![Step::Raw(raw.to_string())]);
        assert_eq!(wrong(&speak(json!({})).await).1, "provider_bad_reply");
    }

    // A micro-dollar for each token: what a text may take is held before, and what it took is charged.
    scene
        .price(
            "google/gemini-3.8-flash-tts",
            json!({ "input_micro_usd_per_mtok": 0, "output_micro_usd_per_mtok": 1_000_000 }),
        )
        .await;
    scene.budget(1_060).await;
    assert_eq!(speak(json!({})).await.status, 200);
    assert_eq!(scene.last_use().await["cost_micro_usd"], google_media::SPEECH_TOKENS.1);
    let asked = scene.upstream.received().len();
    assert_eq!(wrong(&speak(json!({})).await).1, "budget_exceeded", "25 of 1060 are spent, 1050 are held");
    assert_eq!(scene.upstream.received().len(), asked);
}

#[tokio::test]
async fn m107_whoever_hangs_up_on_a_sound_hangs_up_on_the_provider() {
    let scene = Scene::start().await;
    let body = json!({ "model": "openai/speaker-that-stalls", "input": "hello", "voice": "alloy" });
    let mut sound = scene.acme.request("POST", "/v1/ai/speech").json(&body).send().await.unwrap();
    assert_eq!(sound.chunk().await.unwrap().unwrap(), media::SOUND[0].as_bytes(), "it comes piece by piece");
    drop(sound);
    scene.upstream.wait_until(|received| received[0].hung_up).await;
    let since = Instant::now();
    while scene.acme.uses().await.is_empty() {
        assert!(since.elapsed() < Duration::from_secs(5), "nothing was written down");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let used = scene.last_use().await;
    assert_eq!(
        (&used["status"], &used["units"]),
        (&json!("canceled"), &json!(5)),
        "the text was sent, and costs"
    );
}

#[tokio::test]
async fn m108_a_sound_goes_through_as_its_form_says_but_for_the_model() {
    let scene = Scene::start().await;
    let fields = [
        ("file", "RIFF\r\n--not-the-boundary\r\n"),
        ("model", "openai/hearer"),
        ("language", "en"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
    ];
    let heard = scene.transcribe(&fields).await;
    assert_eq!((heard.status, &heard.json()["text"]), (200, &json!(media::HEARD)), "{}", heard.text());
    let sent = scene.last();
    let form = sent.body["form"].as_str().unwrap();
    assert!(sent.headers["content-type"].to_str().unwrap().starts_with("multipart/form-data; boundary=opg-"));
    assert!(form.contains("name=\"model\"\r\n\r\nhearer\r\n"), "{form}");
    assert!(form.contains(
        "name=\"file\"; filename=\"say %22hi%22.wav\"\r\ncontent-type: audio/wav\r\n\r\nRIFF\r\n--not"
    ));
    assert_eq!(form.matches("timestamp_granularities[]").count(), 2, "{form}");
    assert!(!form.contains("openai/hearer") && !form.contains("form-boundary"), "{form}");
    let used = scene.last_use().await;
    assert_eq!([&used["kind"], &used["units"]], [&json!("seconds"), &json!(media::SOUND_SECONDS)]);

    for (format, media_type) in [("text", "text/plain; charset=utf-8"), ("vtt", "text/vtt; charset=utf-8")] {
        let heard = scene
            .transcribe(&[("model", "openai/hearer"), ("file", "RIFF"), ("response_format", format)])
            .await;
        assert_eq!((heard.status, heard.header("content-type")), (200, media_type));
        assert!(heard.text().contains(media::HEARD));
        assert_eq!(scene.last_use().await["units"], 1, "nobody said how long it was: it is estimated");
    }
    assert_eq!(wrong(&scene.transcribe(&[("file", "RIFF")]).await).2, "model");
    assert_eq!(wrong(&scene.transcribe(&[("model", "openai/hearer")]).await).2, "file");
    let request = scene
        .acme
        .request("POST", "/v1/ai/transcriptions")
        .header("content-type", "multipart/form-data; boundary=x");
    assert_eq!(wrong(&send(request.body("--x\r\nbroken")).await).1, "malformed_form");
}
