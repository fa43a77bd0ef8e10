use super::*;

fn picture(more: Value) -> Result<Value, RequestError> {
    let mut body = json!({ "model": "google/painter", "prompt": "a cat" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    of_picture(&ImageRequest::from_value(body).unwrap())
}

fn speech(more: Value) -> Result<Value, RequestError> {
    let mut body = json!({ "model": "google/speaker", "input": "hi", "voice": "Kore" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    of_speech(&SpeechRequest::from_value(body).unwrap())
}

#[test]
fn m106_a_picture_is_asked_for_in_googles_words_and_what_it_has_none_for_is_refused() {
    let said = picture(json!({ "n": 3, "user": "ann", "quality": "auto", "style": null, "size": "21:9",
        "google": { "safetySettings": [1], "contents": "no",
            "generationConfig": { "responseModalities": ["TEXT"], "seed": 7 } } }));
    assert_eq!(
        said.unwrap(),
        json!({ "contents": [{ "role": "user", "parts": [{ "text": "a cat" }] }], "safetySettings": [1],
            "generationConfig": { "responseModalities": ["IMAGE"], "imageConfig": { "aspectRatio": "21:9" }, "seed": 7 } })
    );
    let shape =
        |size: &str| picture(json!({ "size": size })).unwrap()["generationConfig"]["imageConfig"].clone();
    assert_eq!(shape("auto"), Value::Null);
    assert_eq!(shape("1024x1024"), json!({ "aspectRatio": "1:1" }));
    assert_eq!(shape("4096x4096"), json!({ "aspectRatio": "1:1", "imageSize": "4K" }));
    for (wrong, param) in [
        (json!({ "quality": "high" }), "quality"),
        (json!({ "background": "transparent" }), "background"),
        (json!({ "output_format": "webp" }), "output_format"),
        (json!({ "output_compression": 50 }), "output_compression"),
        (json!({ "size": "1536x1024" }), "size"),
    ] {
        assert_eq!(picture(wrong.clone()).unwrap_err().param.as_deref(), Some(param), "{wrong}");
    }
}

#[test]
fn m107_a_text_is_given_with_its_voice_and_how_it_is_said() {
    let said = speech(json!({ "instructions": "cheerfully", "speed": 1, "user": "ann" })).unwrap();
    assert_eq!(
        said,
        json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi", "speechMetadata": { "style": "cheerfully" } }] }],
            "generationConfig": { "responseModalities": ["AUDIO"],
                "speechConfig": { "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": "Kore" } } } } })
    );
    assert_eq!(speech(json!({ "speed": 1.5 })).unwrap_err().param.as_deref(), Some("speed"));
}

fn answer(parts: Value, more: Value) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    candidate.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "candidates": [candidate] })
}

#[test]
fn what_was_made_is_not_what_was_thought_of_and_a_filter_is_no_failure() {
    let inline = |data: &str| json!({ "mimeType": "image/png", "data": data });
    let parts = json!([{ "thought": true, "inlineData": inline("AAAA") }, { "text": "here" }, { "inlineData": inline("AQID") }]);
    let made = read(&answer(parts, json!({ "finishReason": "STOP" })), Usage::default()).unwrap();
    assert_eq!((&made.bytes[..], made.media_type.as_str()), (&[1, 2, 3][..], "image/png"));
    let failure = |answer: Value| {
        let error = read(&answer, Usage::default()).err().unwrap();
        (error.status, error.code)
    };
    for reason in ["IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_RECITATION"] {
        let filtered = failure(answer(json!([]), json!({ "finishReason": reason })));
        assert_eq!(filtered, (400, "content_policy_violation".to_owned()), "{reason}");
    }
    let blocked = json!({ "promptFeedback": { "blockReason": "OTHER" } });
    assert_eq!(failure(blocked).0, 400);
    for broken in [
        answer(json!([]), json!({ "finishReason": "NO_IMAGE" })),
        answer(json!([{ "text": "I would rather not" }]), json!({ "finishReason": "STOP" })),
        answer(json!([{ "inlineData": inline("!") }]), json!({})),
        answer(json!([{ "inlineData": inline("") }]), json!({})),
        json!({}),
        json!([]),
    ] {
        assert_eq!(failure(broken.clone()), (502, "provider_bad_reply".to_owned()), "{broken}");
    }
}

#[test]
fn m107_a_sound_with_and_without_a_head_becomes_what_was_asked_for_or_nothing() {
    let samples = [1, 2, 3, 4];
    let of = |media_type: &str, bytes: &[u8], format: Format| {
        let bytes = Bytes::copy_from_slice(bytes);
        in_format(Made { media_type: media_type.to_owned(), bytes, usage: Usage::default() }, format)
    };
    let raw = "audio/L16;codec=pcm;rate=24000";
    let file = wav::with_head(&samples, RATE);
    assert_eq!(of(raw, &samples, Format::Wav), Some(file.clone()));
    assert_eq!(of(raw, &samples, Format::Pcm).unwrap(), &samples[..]);
    assert_eq!(of("audio/wav", &file, Format::Wav), Some(file.clone()));
    assert_eq!(of("audio/wav", &file, Format::Pcm).unwrap(), &samples[..]);
    // At another rate the head says so, and without one nobody could know.
    let slow = of("audio/l16; rate=16000", &samples, Format::Wav).unwrap();
    assert_eq!(slow, wav::with_head(&samples, 16_000));
    assert_eq!(of("audio/l16; rate=16000", &samples, Format::Pcm), None);
    assert_eq!(of("audio/mpeg", b"ID3", Format::Wav), None);
    assert_eq!(of("text/html", b"<html>", Format::Pcm), None);
}
