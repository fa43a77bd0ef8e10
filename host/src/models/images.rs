//! Pictures of a text: OpenAI's dialect in, OpenAI's or Google's out.

use super::error::UpstreamError;
use super::frames::{items, text, tokens};
use super::openai::request::{Fields, ModelId, RequestError};
use super::{Kind, Upstream, Usage, google};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Pictures of one request (row M106): each may be megabytes, and all are in memory at once.
pub const IMAGES_MAX: u64 = 4;
/// The longest text, in characters: OpenAI's own limit.
pub const PROMPT_CHARS_MAX: usize = 32_000;
/// One picture, in bytes: several times what models make.
pub const IMAGE_BYTES_MAX: usize = 16 << 20;
/// The largest answer, in bytes: all pictures of it as base64.
const ANSWER_BYTES_MAX: usize = 48 << 20;
/// How a size, a quality or a style may be called, in characters.
const WORD_CHARS_MAX: usize = 32;
/// What would make an answer other than a list of pictures.
const REFUSED: [&str; 2] = ["stream", "partial_images"];

/// A request for pictures, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRequest {
    pub model: ModelId,
    pub prompt: String,
    /// How many.
    pub count: u64,
    /// The client wants them inside the answer, where they are small enough.
    pub inline: bool,
    /// Everything else, for the provider.
    pub rest: Map<String, Value>,
}

/// Pictures, and what they cost in tokens where their provider says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    pub images: Vec<Image>,
    pub usage: Usage,
}

/// One picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub picture: Picture,
    /// What the provider made of the text before it drew.
    pub revised_prompt: Option<String>,
}

/// A picture, or where its provider put it.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    Bytes(Bytes),
    Url(String),
}

impl ImageRequest {
    /// Reads a request.
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let mut fields = Fields::new(value, "")?;
        for name in REFUSED {
            if fields.take(name).is_some_and(|value| value != json!(false) && value != json!(0)) {
                let message = format!("`{name}` is not supported: pictures come whole. Leave it out.");
                return Err(RequestError::new(name, "unsupported_parameter", message));
            }
        }
        let model = fields.string("model")?.ok_or_else(|| RequestError::missing("model"))?;
        let prompt = fields.string("prompt")?.ok_or_else(|| RequestError::missing("prompt"))?;
        if prompt.is_empty() || prompt.chars().count() > PROMPT_CHARS_MAX {
            return Err(RequestError::invalid("prompt", "must be 1 to 32000 characters long."));
        }
        let inline = match fields.string("response_format")?.as_deref() {
            None | Some("url") => false,
            Some("b64_json") => true,
            Some(_) => return Err(RequestError::invalid("response_format", "must be `url` or `b64_json`.")),
        };
        let request = Self {
            model: ModelId::parse(&model)?,
            prompt,
            count: fields.whole("n", 1, IMAGES_MAX)?.unwrap_or(1),
            inline,
            rest: Map::new(),
        };
        for name in ["size", "quality", "style", "background", "output_format"] {
            let Some(word) = fields.string(name)? else { continue };
            if word.is_empty() || word.chars().count() > WORD_CHARS_MAX {
                return Err(RequestError::invalid(name, "is no word a model knows."));
            }
            fields.map.insert(name.to_owned(), json!(word));
        }
        Ok(Self { rest: fields.map, ..request })
    }
}

/// Asks a provider of OpenAI's dialect or of Google's.
pub(super) async fn ask(
    upstream: &Upstream,
    model: &str,
    request: &ImageRequest,
) -> Result<Images, UpstreamError> {
    let model = upstream.name_of(model);
    if upstream.kind() == Kind::Google {
        return google::media::draw(upstream, model, request).await;
    }
    let answer = upstream.ask(&["images", "generations"], &body(model, request), ANSWER_BYTES_MAX).await;
    let images = read(&answer.map_err(|error| error.of_endpoint("pictures"))?)
        .ok_or_else(|| UpstreamError::bad_reply("its pictures could not be read"))?;
    if images.images.len() as u64 == request.count {
        return Ok(images);
    }
    Err(UpstreamError::bad_reply("it has another number of pictures than was asked for"))
}

fn body(model: &str, request: &ImageRequest) -> Value {
    let mut body = request.rest.clone();
    body.insert("model".into(), json!(model));
    body.insert("prompt".into(), json!(request.prompt));
    body.insert("n".into(), json!(request.count));
    // OpenAI's newer models always answer so, and refuse to be told.
    if !model.contains("gpt-image") && !model.contains("chatgpt-image") {
        body.insert("response_format".into(), json!("b64_json"));
    }
    Value::Object(body)
}

fn read(answer: &Value) -> Option<Images> {
    let image = |item: &Value| {
        let picture = match (text(item, "b64_json"), text(item, "url")) {
            (Some(base64), _) => Picture::Bytes(STANDARD.decode(base64).ok()?.into()),
            (None, Some(url)) => Picture::Url(url.to_owned()),
            (None, None) => return None,
        };
        let fits = !matches!(&picture, Picture::Bytes(bytes) if bytes.len() > IMAGE_BYTES_MAX);
        let revised_prompt = text(item, "revised_prompt").map(str::to_owned);
        fits.then_some(Image { picture, revised_prompt })
    };
    let images = items(answer, "data").iter().map(image).collect::<Option<Vec<_>>>()?;
    let count = |pointer: &str| tokens(answer, pointer).unwrap_or(0);
    let usage = Usage {
        prompt_tokens: count("/usage/input_tokens"),
        completion_tokens: count("/usage/output_tokens"),
        ..Usage::default()
    };
    Some(Images { images, usage })
}

/// What kind of picture these bytes are; none: they are none that a browser shows.
pub fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m106_a_request_names_a_model_a_text_and_at_most_four() {
        let request = |more: Value| {
            let mut body = json!({ "model": "openai/painter", "prompt": "a cat", "size": "1024x1024" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ImageRequest::from_value(body)
        };
        let read = request(json!({ "n": 4, "user": "ann" })).unwrap();
        assert_eq!((read.count, read.inline, &read.rest["size"]), (4, false, &json!("1024x1024")));
        for (wrong, param) in [
            (json!({ "n": 5 }), "n"),
            (json!({ "n": 0 }), "n"),
            (json!({ "prompt": "" }), "prompt"),
            (json!({ "prompt": null }), "prompt"),
            (json!({ "prompt": "x".repeat(PROMPT_CHARS_MAX + 1) }), "prompt"),
            (json!({ "size": 7 }), "size"),
            (json!({ "stream": true }), "stream"),
            (json!({ "response_format": "png" }), "response_format"),
        ] {
            assert_eq!(request(wrong.clone()).unwrap_err().param.as_deref(), Some(param), "{wrong}");
        }
    }

    #[test]
    fn the_newer_models_of_openai_are_not_told_what_they_refuse_to_be_told() {
        let request = ImageRequest::from_value(json!({ "model": "m", "prompt": "x" })).unwrap();
        assert_eq!(body("dall-e-3", &request)["response_format"], "b64_json");
        assert_eq!(body("gpt-image-1", &request).get("response_format"), None);
    }

    #[test]
    fn a_picture_is_known_by_its_first_bytes_and_nothing_else_is_one() {
        assert_eq!(media_type(b"\x89PNG\r\n\x1a\n"), Some("image/png"));
        assert_eq!(media_type(b"RIFF\x00\x00\x00\x00WEBPVP8 "), Some("image/webp"));
        assert_eq!(media_type(b"<svg onload=alert(1)>"), None);
        assert_eq!(media_type(b""), None);
    }

    #[test]
    fn what_is_no_picture_is_not_read() {
        assert_eq!(read(&json!({ "data": [{ "b64_json": "!" }] })), None);
        assert_eq!(read(&json!({ "data": [{}] })), None);
        let read =
            read(&json!({ "data": [{ "b64_json": "AA==" }], "usage": { "output_tokens": 7 } })).unwrap();
        assert_eq!((read.images.len(), read.usage.completion_tokens), (1, 7));
    }
}
