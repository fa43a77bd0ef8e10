//! Pictures and speech by Google's `generateContent`, asked for and answered as Google's documentation has it. A queued
//! script that is an error, a stall or raw JSON is obeyed.

use super::{Shared, Step, Watch, google, media};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

/// Four samples of 16 bits, the lower byte first: all that it ever says.
pub const SAMPLES_BASE64: &str = "AQACAAMABAA=";
/// The same at 24 kHz as a WAV file.
pub const WAV_BASE64: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAwF0AAIC7AAACABAAZGF0YQgAAAABAAIAAwAEAA==";
/// What a picture takes, in tokens read and written, thoughts included.
pub const PICTURE_TOKENS: (u64, u64) = (12, 1_150);
/// What a text takes to be spoken, in tokens read and written.
pub const SPEECH_TOKENS: (u64, u64) = (7, 25);
const VOICES: [&str; 4] = ["Aoede", "Charon", "Kore", "Puck"];
const SHAPES: [&str; 10] = ["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"];
/// Members of a request: others are not known.
const MEMBERS: [&str; 7] = [
    "contents",
    "generationConfig",
    "systemInstruction",
    "safetySettings",
    "tools",
    "toolConfig",
    "cachedContent",
];

/// Whether a request wants something other than words.
pub(super) fn is_asked(body: &[u8]) -> bool {
    serde_json::from_slice(body)
        .is_ok_and(|body: Value| is_wanted(&body, "IMAGE") || is_wanted(&body, "AUDIO"))
}

fn is_wanted(body: &Value, modality: &str) -> bool {
    body["generationConfig"]["responseModalities"] == json!([modality])
}

pub(super) async fn answer(
    state: &Arc<Shared>,
    model: &str,
    uri: &Uri,
    headers: HeaderMap,
    body: &[u8],
) -> Response {
    let mut watch = Watch::of(state, uri, headers, body);
    match media::next_step(state) {
        None => {}
        Some(Step::Stall) => std::future::pending::<()>().await,
        Some(Step::Error { status, message, retry_after }) => {
            watch.complete();
            return failed(status, &message, retry_after.as_deref());
        }
        Some(Step::Raw(text)) => {
            watch.complete();
            return ([(header::CONTENT_TYPE, "application/json")], text).into_response();
        }
        Some(other) => panic!("{other:?} means nothing here"),
    }
    watch.complete();
    let body = &watch.body;
    let mut members = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    if let Some(unknown) = members.find(|name| !MEMBERS.contains(name)) {
        let message =
            format!("Invalid JSON payload received. Unknown name \"{unknown}\": Cannot find field.");
        return failed(400, &message, None);
    }
    if is_wanted(body, "IMAGE") { picture(body) } else { sound(model, body) }
}

fn failed(status: u16, message: &str, retry_after: Option<&str>) -> Response {
    let code = StatusCode::from_u16(status).expect("a script names a status");
    let mut response = (code, axum::Json(google::error_of(status, message))).into_response();
    if let Some(wait) = retry_after {
        let wait = wait.parse().expect("a script names a header value");
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

fn picture(body: &Value) -> Response {
    let shape = &body["generationConfig"]["imageConfig"]["aspectRatio"];
    if shape.as_str().is_some_and(|shape| !SHAPES.contains(&shape)) {
        return failed(400, &format!("aspect_ratio must be one of {}", SHAPES.join(", ")), None);
    }
    let (read, written) = PICTURE_TOKENS;
    let thought = 30;
    let part = json!({ "inlineData": { "mimeType": "image/png", "data": media::PIXEL_BASE64 },
        "thoughtSignature": "c2VhbA==" });
    made(
        part,
        json!({ "promptTokenCount": read, "candidatesTokenCount": written - thought, "thoughtsTokenCount": thought,
            "totalTokenCount": read + written,
            "candidatesTokensDetails": [{ "modality": "IMAGE", "tokenCount": written - thought }] }),
    )
}

fn sound(model: &str, body: &Value) -> Response {
    let voice = &body["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"];
    if !VOICES.iter().any(|known| *voice == json!(known)) {
        let message =
            format!("Voice name {voice} is not supported. Allowed voice names are: {}", VOICES.join(", "));
        return failed(400, &message, None);
    }
    // Models from 3.8 on answer with a whole WAV file, older ones with samples alone.
    let (media_type, data) = match model.contains("3.8") {
        true => ("audio/wav", WAV_BASE64),
        false => ("audio/L16;codec=pcm;rate=24000", SAMPLES_BASE64),
    };
    let (read, written) = SPEECH_TOKENS;
    let part = json!({ "inlineData": { "mimeType": media_type, "data": data } });
    made(
        part,
        json!({ "promptTokenCount": read, "candidatesTokenCount": written, "totalTokenCount": read + written,
            "candidatesTokensDetails": [{ "modality": "AUDIO", "tokenCount": written }] }),
    )
}

fn made(part: Value, usage: Value) -> Response {
    let content = json!({ "role": "model", "parts": [part] });
    axum::Json(json!({
        "candidates": [{ "content": content, "finishReason": "STOP", "index": 0 }],
        "usageMetadata": usage, "modelVersion": "scripted", "responseId": "r1",
    }))
    .into_response()
}
