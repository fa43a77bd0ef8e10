//! Images, sounds and files inside a message, as each dialect has them.
//!
//! Inside they stand as OpenAI's chat dialect has them: a URL, or bytes in base64 as a `data:` URL. Nothing is
//! fetched here: a URL is the provider's to fetch, or to refuse.

use super::openai::request::RequestError;
use serde_json::{Map, Value};

/// What a part that is no text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media<'a> {
    /// Bytes in base64.
    Inline { mime: &'a str, data: &'a str },
    /// Where it is.
    Url(&'a str),
    /// The provider's own name for a file it has.
    FileId(&'a str),
}

impl<'a> Media<'a> {
    /// Reads a `data:` URL, or takes another as it is.
    pub fn of_url(url: &'a str) -> Self {
        let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
        match inline {
            Some((mime, data)) => Self::Inline { mime: mime.split(';').next().unwrap_or_default(), data },
            None => Self::Url(url),
        }
    }

    /// What an OpenAI content part holds; None for text.
    pub fn of_part(part: &'a Map<String, Value>) -> Option<Self> {
        let text = |key: &str, inner: &str| part.get(key)?.get(inner)?.as_str();
        match part.get("type")?.as_str()? {
            "image_url" => text("image_url", "url").map(Self::of_url),
            "input_audio" => Some(Self::Inline {
                mime: match text("input_audio", "format")? {
                    "mp3" => "audio/mpeg",
                    _ => "audio/wav",
                },
                data: text("input_audio", "data")?,
            }),
            "file" => text("file", "file_data")
                .map(Self::of_url)
                .or_else(|| text("file", "file_id").map(Self::FileId)),
            _ => None,
        }
    }
}

/// The text of a part; a refusal is what an assistant said, too.
pub fn text_of(part: &Map<String, Value>) -> Option<&str> {
    ["text", "refusal"].iter().find_map(|key| part.get(*key)?.as_str())
}

/// The refusal of a part that a provider cannot be sent.
pub fn unsupported(position: usize, part: &Map<String, Value>, provider: &str) -> RequestError {
    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
    RequestError::new(
        format!("messages[{position}].content"),
        "unsupported_content",
        format!("{provider} models take no `{kind}` part of this form."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_part_is_bytes_an_address_or_a_name() {
        let of = |part: Value| {
            let part = part.as_object().unwrap().clone();
            Media::of_part(&part).map(|media| format!("{media:?}"))
        };
        let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
        let inline = "Inline { mime: \"image/png\", data: \"AAAA\" }";
        assert_eq!(of(image("data:image/png;base64,AAAA")).unwrap(), inline);
        assert_eq!(of(image("data:image/png;name=x;base64,AAAA")).unwrap(), inline);
        assert_eq!(of(image("https://x.test/a.png")).unwrap(), "Url(\"https://x.test/a.png\")");
        let audio = json!({ "type": "input_audio", "input_audio": { "data": "AA", "format": "mp3" } });
        assert_eq!(of(audio).unwrap(), "Inline { mime: \"audio/mpeg\", data: \"AA\" }");
        let file = json!({ "type": "file", "file": { "file_id": "f1" } });
        assert_eq!(of(file).unwrap(), "FileId(\"f1\")");
        assert_eq!(of(json!({ "type": "text", "text": "x" })), None);
    }
}
