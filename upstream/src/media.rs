//! What OpenAI's API makes and hears besides text: pictures, speech, transcripts, judgements. A queued script that is
//! an error, a stall or raw JSON is obeyed; else each answers what its request asks for.

use super::{Shared, Step, Watch, error_response};
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::sync::Arc;

/// A picture of one pixel, as PNG.
pub const PIXEL_BASE64: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII=";
/// How large a picture of the model `painter-large` is, in bytes: a multiple of three, so that base64 can be joined.
pub const LARGE_PICTURE_BYTES: usize = 300_000;
/// How long the upstream says every sound is, in seconds.
pub const SOUND_SECONDS: u64 = 7;
/// What it says it heard.
pub const HEARD: &str = "hello there";
/// The pieces of every sound it makes.
pub const SOUND: [&str; 2] = ["ID3 the first half, ", "the second half"];
const VOICES: [&str; 4] = ["alloy", "echo", "nova", "shimmer"];

/// What the next script says.
pub(super) fn next_step(state: &Shared) -> Option<Step> {
    state.scripts().queued.pop_front()?.into_iter().next()
}

/// What a script says instead of an answer.
async fn scripted(state: &Arc<Shared>, watch: &mut Watch) -> Option<Response> {
    match next_step(state)? {
        Step::Stall => std::future::pending().await,
        Step::Error { status, message, retry_after } => {
            watch.complete();
            Some(error_response(status, &message, retry_after.as_deref()))
        }
        Step::Raw(text) => {
            watch.complete();
            Some(([(header::CONTENT_TYPE, "application/json")], text).into_response())
        }
        other => panic!("{other:?} means nothing here"),
    }
}

fn refused(message: &str, param: Option<&str>, code: Option<&str>) -> Response {
    let error = json!({ "message": message, "type": "invalid_request_error", "param": param, "code": code });
    (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": error }))).into_response()
}

pub(super) async fn images(
    State(state): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let host = headers[header::HOST].to_str().expect("a host is text").to_owned();
    let mut watch = Watch::of(&state, &uri, headers, &body);
    if let Some(answer) = scripted(&state, &mut watch).await {
        return answer;
    }
    watch.complete();
    let body = &watch.body;
    let model = body["model"].as_str().unwrap_or_default();
    let is_newer = model.contains("gpt-image");
    if is_newer && !body["response_format"].is_null() {
        let message = "Unknown parameter: 'response_format'.";
        return refused(message, Some("response_format"), Some("unknown_parameter"));
    }
    let item = match model {
        "painter-large" => {
            // Signature and header of the pixel, then as many bytes as it takes.
            let padding = "A".repeat(LARGE_PICTURE_BYTES / 3 * 4 - 32);
            json!({ "b64_json": format!("{}{padding}", &PIXEL_BASE64[..32]) })
        }
        "painter-elsewhere" => json!({ "url": format!("http://{host}/v1/pictures/pixel.png") }),
        "painter-of-pages" => json!({ "url": format!("http://{host}/v1/pictures/page.html") }),
        "painter-of-nothing" => json!({ "url": format!("http://{host}/v1/pictures/nothing") }),
        _ => {
            json!({ "b64_json": PIXEL_BASE64, "revised_prompt": format!("{}, in oil", body["prompt"].as_str().unwrap_or_default()) })
        }
    };
    let count = usize::try_from(body["n"].as_u64().unwrap_or(1)).expect("a few");
    let mut answer = json!({ "created": 1, "data": vec![item; count] });
    if is_newer {
        answer["usage"] = json!({ "input_tokens": 50, "output_tokens": 1000 * count, "total_tokens": 50 + 1000 * count,
            "input_tokens_details": { "text_tokens": 50, "image_tokens": 0 } });
    }
    axum::Json(answer).into_response()
}

pub(super) async fn picture(Path(name): Path<String>) -> Response {
    match name.as_str() {
        // As much of a picture as makes one.
        "pixel.png" => {
            ([(header::CONTENT_TYPE, "image/png")], &b"\x89PNG\r\n\x1a\nelsewhere"[..]).into_response()
        }
        "page.html" => ([(header::CONTENT_TYPE, "image/png")], "<script>alert(1)</script>").into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

pub(super) async fn speech(
    State(state): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut watch = Watch::of(&state, &uri, headers, &body);
    if watch.body["model"] != json!("speaker-that-stalls")
        && let Some(answer) = scripted(&state, &mut watch).await
    {
        return answer;
    }
    let body = watch.body.clone();
    if !VOICES.iter().any(|voice| body["voice"] == json!(voice)) {
        watch.complete();
        let message = "[{'type': 'enum', 'loc': ('body', 'voice'), 'msg': \"Input should be 'alloy', 'echo', 'nova' or 'shimmer'\"}]";
        return refused(message, None, None);
    }
    let media_type = match body["response_format"].as_str() {
        Some("wav") => "audio/wav",
        Some("opus") => "audio/opus",
        Some("pcm") => "application/octet-stream",
        _ => "audio/mpeg",
    };
    let stalls = body["model"] == json!("speaker-that-stalls");
    let pieces = stream::unfold((0, watch), move |(at, mut watch)| async move {
        if stalls && at == 1 {
            std::future::pending::<()>().await;
        }
        let Some(piece) = SOUND.get(at).copied() else {
            watch.complete();
            return None;
        };
        Some((Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())), (at + 1, watch)))
    });
    ([(header::CONTENT_TYPE, media_type)], Body::from_stream(pieces.boxed())).into_response()
}

pub(super) async fn transcriptions(
    State(state): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = String::from_utf8_lossy(&body).into_owned();
    let mut watch = Watch::new(&state, uri.to_string(), headers, json!({ "form": form }));
    if let Some(answer) = scripted(&state, &mut watch).await {
        return answer;
    }
    watch.complete();
    let asked = |format: &str| form.contains(&format!("name=\"response_format\"\r\n\r\n{format}\r\n"));
    match () {
        () if asked("text") => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], HEARD).into_response(),
        () if asked("vtt") => {
            let text = format!("WEBVTT\n\n00:00:00.000 --> 00:00:07.000\n{HEARD}\n");
            ([(header::CONTENT_TYPE, "text/vtt")], text).into_response()
        }
        () => axum::Json(json!({ "text": HEARD, "usage": { "type": "duration", "seconds": SOUND_SECONDS } }))
            .into_response(),
    }
}

pub(super) async fn moderations(
    State(state): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut watch = Watch::of(&state, &uri, headers, &body);
    if let Some(answer) = scripted(&state, &mut watch).await {
        return answer;
    }
    watch.complete();
    let inputs = match &watch.body["input"] {
        Value::Array(inputs) => inputs.clone(),
        one => vec![one.clone()],
    };
    let judge = |input: &Value| {
        let flagged = input.to_string().contains("harm");
        json!({ "flagged": flagged, "categories": { "violence": flagged },
            "category_scores": { "violence": if flagged { 0.97 } else { 0.01 } } })
    };
    axum::Json(json!({ "id": "modr-scripted", "model": watch.body["model"],
        "results": inputs.iter().map(judge).collect::<Vec<_>>() }))
    .into_response()
}
