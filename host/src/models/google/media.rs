//! Pictures and speech by Google's `generateContent`, which its models give instead of words where they are asked to.
//!
//! A picture is a request of its own: Google makes one at a time, so several are asked for side by side. A sound comes
//! whole, older models' without a head. What Google has no word for is refused, as it is for chats.
//!
//! Deliberately absent: Imagen and its `:predict`, which Google switched off in August 2026.

use super::{
    decode::{read_reason, read_usage},
    wav,
};
use crate::models::{
    ChatRequest, FinishReason, RequestError, Upstream, UpstreamError, UpstreamErrorKind, Usage,
    frames::{items, text},
    images::{IMAGE_BYTES_MAX, Image, ImageRequest, Images, Picture},
    options::{GOOGLE, Options},
    speech::{SpeechRequest, Spoken},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt, future, stream};
use serde_json::{Map, Value, json};

/// The largest answer with a picture, in bytes: the largest picture as base64, and as much again as words take.
const PICTURE_ANSWER_BYTES_MAX: usize = 24 << 20;
/// The largest answer with a sound, in bytes: eleven minutes as base64, the most its models say at once.
const SOUND_ANSWER_BYTES_MAX: usize = 48 << 20;
/// What is typed in our request: nothing beside it may set it.
const TYPED: [&str; 2] = ["model", "contents"];
/// Words of OpenAI's about a picture that Google has none for.
const PICTURE_WORDS: [&str; 7] =
    ["quality", "style", "background", "output_format", "output_compression", "moderation", "input_fidelity"];
/// What can be said of a picture in pixels, and what Google calls it; the first is what it makes unless told.
const SQUARES: [(&str, Option<&str>); 3] =
    [("1024x1024", None), ("2048x2048", Some("2K")), ("4096x4096", Some("4K"))];
/// How often Google's sounds are sampled, in hertz, and OpenAI's `pcm` by definition.
const RATE: u32 = 24_000;

/// What a model made.
struct Made {
    media_type: String,
    bytes: Bytes,
    usage: Usage,
}

/// Has pictures made, side by side. Where one fails, all do; what the others used is said with the failure.
pub async fn draw(upstream: &Upstream, model: &str, request: &ImageRequest) -> Result<Images, UpstreamError> {
    let body = of_picture(request).map_err(UpstreamError::unsupported)?;
    let asked = (0..request.count).map(|_| make(upstream, model, &body, PICTURE_ANSWER_BYTES_MAX));
    let (mut images, mut usage, mut failed) = (Vec::new(), Usage::default(), None);
    for answer in future::join_all(asked).await {
        let answer = answer.and_then(fitting);
        match answer {
            Ok(made) => {
                usage = usage.and(&made.usage);
                images.push(Image { picture: Picture::Bytes(made.bytes), revised_prompt: None });
            }
            Err(error) => {
                usage = usage.and(&error.used.as_deref().copied().unwrap_or_default());
                failed = failed.or(Some(error));
            }
        }
    }
    match failed {
        None => Ok(Images { images, usage }),
        Some(error) => Err(error.having_used(usage)),
    }
}

fn fitting(made: Made) -> Result<Made, UpstreamError> {
    if made.bytes.len() <= IMAGE_BYTES_MAX {
        return Ok(made);
    }
    Err(UpstreamError::bad_reply("its picture is too large").having_used(made.usage))
}

/// Has a text spoken. Returns once all of the sound is here.
pub async fn speak(
    upstream: &Upstream,
    model: &str,
    request: &SpeechRequest,
) -> Result<Spoken, UpstreamError> {
    let format = match request.format {
        None | Some("wav") => Format::Wav,
        Some("pcm") => Format::Pcm,
        Some(_) => return Err(UpstreamError::unsupported(no_such_format())),
    };
    let body = of_speech(request).map_err(UpstreamError::unsupported)?;
    let made = make(upstream, model, &body, SOUND_ANSWER_BYTES_MAX).await?;
    let (usage, sound) = (made.usage, in_format(made, format));
    let sound = sound.ok_or_else(|| UpstreamError::bad_reply("it is no sound of a form we know"));
    let sound = sound.map_err(|error| error.having_used(usage))?;
    let bytes = stream::once(future::ready(Ok(sound))).boxed();
    Ok(Spoken { media_type: format.media_type(), bytes, usage })
}

#[derive(Clone, Copy)]
enum Format {
    Wav,
    Pcm,
}

impl Format {
    const fn media_type(self) -> &'static str {
        match self {
            Format::Wav => "audio/wav",
            Format::Pcm => "audio/pcm",
        }
    }
}

fn no_such_format() -> RequestError {
    let message = "Google models speak `wav` and `pcm` (16 bits, 24 kHz, one channel); ask for one of these.";
    RequestError::new("response_format", "unsupported_value", message)
}

/// The sound as it was asked for; none where it is of a kind that cannot be made that.
fn in_format(made: Made, format: Format) -> Option<Bytes> {
    let (kind, parameters) = made.media_type.split_once(';').unwrap_or((&made.media_type, ""));
    let is_wav = wav::is_wav(&made.bytes);
    let is_raw = ["audio/l16", "audio/pcm"].iter().any(|name| kind.trim().eq_ignore_ascii_case(name));
    let rate = |parameter: &str| parameter.trim().strip_prefix("rate=")?.parse::<u32>().ok();
    let rate = parameters.split(';').find_map(rate).unwrap_or(RATE);
    match format {
        Format::Wav if is_wav => Some(made.bytes),
        Format::Wav if is_raw => Some(wav::with_head(&made.bytes, rate)),
        Format::Pcm if is_wav => wav::samples(&made.bytes, RATE),
        Format::Pcm if is_raw && rate == RATE => Some(made.bytes),
        _ => None,
    }
}

/// Asks for one thing, and reads it.
async fn make(
    upstream: &Upstream,
    model: &str,
    body: &Value,
    bytes_max: usize,
) -> Result<Made, UpstreamError> {
    let method = format!("{model}:generateContent");
    let answer = upstream.ask(&["models", &method], body, bytes_max).await?;
    let usage = answer.get("usageMetadata").map(read_usage).unwrap_or_default();
    read(&answer, usage).map_err(|error| error.having_used(usage))
}

/// The first that a model made and did not only think of.
fn read(answer: &Value, usage: Usage) -> Result<Made, UpstreamError> {
    let candidate = items(answer, "candidates").first();
    let parts =
        candidate.and_then(|candidate| candidate.get("content")).map_or(&[][..], |c| items(c, "parts"));
    let made = parts
        .iter()
        .filter(|part| part.get("thought") != Some(&json!(true)))
        .find_map(|part| part.get("inlineData"));
    if let Some(made) = made {
        let bytes = text(made, "data").and_then(|data| STANDARD.decode(data).ok());
        let bytes = bytes.filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| UpstreamError::bad_reply("what it holds could not be read"))?;
        let media_type = text(made, "mimeType").unwrap_or_default().to_owned();
        return Ok(Made { media_type, bytes: bytes.into(), usage });
    }
    let blocked = answer.pointer("/promptFeedback/blockReason").is_some();
    match candidate.and_then(|candidate| text(candidate, "finishReason")).map(read_reason) {
        Some(Ok(FinishReason::ContentFilter)) => Err(filtered()),
        None if blocked => Err(filtered()),
        Some(Err(error)) => Err(error),
        Some(Ok(_)) | None => Err(UpstreamError::bad_reply("it holds nothing of what was asked for")),
    }
}

fn filtered() -> UpstreamError {
    UpstreamError {
        code: "content_policy_violation".to_owned(),
        message: "The model provider's filter refused to make this. Ask for something else.".to_owned(),
        ..UpstreamError::new(UpstreamErrorKind::Rejected)
    }
}

fn of_picture(request: &ImageRequest) -> Result<Value, RequestError> {
    let of =
        ChatRequest { rest: request.rest.clone(), ..ChatRequest::new(request.model.clone(), Vec::new()) };
    let (mut options, own) = Options::with_own(&of, GOOGLE)?;
    for name in PICTURE_WORDS {
        if options.take(name).is_some_and(|word| word != json!("auto")) {
            let message = format!("Google models have no `{name}`; leave it out.");
            return Err(RequestError::new(name, "unsupported_parameter", message));
        }
    }
    let mut config = Map::from_iter([("responseModalities".to_owned(), json!(["IMAGE"]))]);
    let size = options.take("size");
    if let Some(size) = size.as_ref().and_then(Value::as_str).filter(|size| *size != "auto") {
        config.insert("imageConfig".into(), shape(size)?);
    }
    Ok(body(json!({ "text": request.prompt }), config, options, own))
}

/// A shape in Google's words, or a square in pixels: of other pixels Google makes what is about right, and not that.
fn shape(size: &str) -> Result<Value, RequestError> {
    let square = SQUARES.iter().find(|(pixels, _)| *pixels == size);
    match square {
        Some((_, None)) => Ok(json!({ "aspectRatio": "1:1" })),
        Some((_, Some(name))) => Ok(json!({ "aspectRatio": "1:1", "imageSize": name })),
        None if size.contains(':') => Ok(json!({ "aspectRatio": size })),
        None => {
            let rule = "must be a shape such as `16:9` for Google models, or `1024x1024`, `2048x2048` or `4096x4096`.";
            Err(RequestError::invalid("size", rule))
        }
    }
}

fn of_speech(request: &SpeechRequest) -> Result<Value, RequestError> {
    let of =
        ChatRequest { rest: request.rest.clone(), ..ChatRequest::new(request.model.clone(), Vec::new()) };
    let (mut options, own) = Options::with_own(&of, GOOGLE)?;
    if options.take("speed").is_some_and(|speed| speed.as_f64() != Some(1.0)) {
        let message = "Google models have no `speed`; leave it out, and say in `instructions` how fast.";
        return Err(RequestError::new("speed", "unsupported_parameter", message));
    }
    let mut part = json!({ "text": request.input });
    if let Some(how) = options.take("instructions") {
        part["speechMetadata"] = json!({ "style": how });
    }
    let voice = json!({ "prebuiltVoiceConfig": { "voiceName": request.voice } });
    let config = Map::from_iter([
        ("responseModalities".to_owned(), json!(["AUDIO"])),
        ("speechConfig".to_owned(), json!({ "voiceConfig": voice })),
    ]);
    Ok(body(part, config, options, own))
}

/// A request of one part; what a client says beside it in Google's own words stays, where we have none for it.
fn body(part: Value, config: Map<String, Value>, mut options: Options, mut own: Map<String, Value>) -> Value {
    options.drop_bookkeeping();
    let mut merged = match own.remove("generationConfig") {
        Some(Value::Object(own)) => own,
        _ => Map::new(),
    };
    merged.extend(config);
    let mut body = options.into_rest();
    body.extend(own);
    TYPED.iter().for_each(|name| drop(body.remove(*name)));
    body.insert("contents".into(), json!([{ "role": "user", "parts": [part] }]));
    body.insert("generationConfig".into(), Value::Object(merged));
    Value::Object(body)
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
