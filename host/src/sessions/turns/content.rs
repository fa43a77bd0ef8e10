//! The parts of a prompt, as a model reads them.

use crate::{
    error::FieldError,
    limits::{PROMPT_PARTS_MAX, SUBAGENTS_AT_WORK_MAX},
    sessions::{messages::without_data, subagents::Subtask},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One part of a user's message.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// Words.
    Text {
        /// The words.
        text: String,
    },
    /// A picture.
    Image {
        /// `https://…`, or a `data:` URL.
        url: String,
    },
    /// A file: text is read out to the model, a picture is shown to it.
    File {
        /// Its name.
        filename: Option<String>,
        /// A `data:` URL in base64.
        url: String,
    },
    /// A task another agent does first; the answer is given with what it said.
    Subtask(Subtask),
    /// The agent that is to answer.
    Agent {
        /// Its name.
        name: String,
    },
}

impl Part {
    /// The part as the log tells it: what it holds in full is in the message.
    pub(super) fn told(&self) -> Value {
        let mut told = json!(self);
        without_data(&mut told);
        told
    }
}

/// What the parts come to.
#[derive(Debug, PartialEq)]
pub struct Read {
    /// The message's content.
    pub content: Value,
    /// The agent a part names.
    pub agent: Option<String>,
    /// What other agents do first.
    pub subtasks: Vec<Subtask>,
    /// The words alone, for a title.
    pub words: String,
}

/// Reads the parts of a prompt.
///
/// # Errors
/// Every part that is wrong.
pub fn read(parts: &[Part]) -> Result<Read, Vec<FieldError>> {
    let mut wrong = vec![];
    let (mut blocks, mut agent, mut words, mut subtasks) = (vec![], None, vec![], vec![]);
    if parts.len() > PROMPT_PARTS_MAX {
        wrong.push(FieldError::new("/parts", format!("{PROMPT_PARTS_MAX} parts at the most")));
    }
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Text { text } if text.trim().is_empty() => {
                wrong.push(FieldError::new(
                    format!("/parts/{at}/text"),
                    "is empty; say something or leave the part out",
                ));
            }
            Part::Text { text } => {
                words.push(text.as_str());
                blocks.push(json!({ "type": "text", "text": text }));
            }
            Part::Image { url } if is_image(url) => {
                blocks.push(json!({ "type": "image_url", "image_url": { "url": url } }));
            }
            Part::Image { .. } => wrong.push(FieldError::new(
                format!("/parts/{at}/url"),
                "is an `https:` URL, or a `data:image/…;base64,` URL",
            )),
            Part::File { filename, url } => match file(filename.as_deref(), url) {
                Ok(block) => blocks.push(block),
                Err(message) => wrong.push(FieldError::new(format!("/parts/{at}/url"), message)),
            },
            Part::Subtask(task) => {
                wrong.extend(task.check(&format!("/parts/{at}")));
                words.push(task.description.as_ref().unwrap_or(&task.prompt));
                blocks.push(json!({ "type": "text", "text": task.words() }));
                subtasks.push(task.clone());
            }
            Part::Agent { name } if agent.as_ref().is_none_or(|other| other == name) => {
                agent = Some(name.clone());
            }
            Part::Agent { .. } => {
                wrong.push(FieldError::new(format!("/parts/{at}/name"), "one turn has one agent; name one"));
            }
        }
    }
    if i64::try_from(subtasks.len()).unwrap_or(i64::MAX) > SUBAGENTS_AT_WORK_MAX {
        let message = format!("{SUBAGENTS_AT_WORK_MAX} parts of type `subtask` at the most");
        wrong.push(FieldError::new("/parts", message));
    }
    if blocks.is_empty() && wrong.is_empty() {
        wrong.push(FieldError::new(
            "/parts",
            "holds no message; send a part of type `text`, `image`, `file` or `subtask`",
        ));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    // A single text is what every provider reads in the same way.
    let content = match blocks.as_slice() {
        [only] if only["type"] == "text" => only["text"].clone(),
        _ => Value::Array(blocks),
    };
    Ok(Read { content, agent, subtasks, words: words.join(" ") })
}

/// Whether this is where a picture can be.
pub(in crate::sessions) fn is_image(url: &str) -> bool {
    url.starts_with("https://") || data_url(url).is_some_and(|(mime, _)| mime.starts_with("image/"))
}

fn file(filename: Option<&str>, url: &str) -> Result<Value, String> {
    let (mime, data) =
        data_url(url).ok_or("is a `data:<type>;base64,…` URL; other files cannot be read from here")?;
    if mime.starts_with("image/") {
        return Ok(json!({ "type": "image_url", "image_url": { "url": url } }));
    }
    let bytes = STANDARD.decode(data).map_err(|_| "is not base64")?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("is of type `{mime}`, which no model reads here; send text or a picture"))?;
    let name = filename.unwrap_or("file");
    Ok(json!({ "type": "text", "text": format!("The file `{name}`:\n\n{text}") }))
}

/// The type and the base64 of a `data:` URL (RFC 2397).
fn data_url(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let mime = head.strip_suffix(";base64")?;
    Some((mime.split(';').next().unwrap_or_default(), data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: Value) -> Vec<Part> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_single_text_is_a_plain_message_and_several_parts_are_a_list() {
        let one = read(&parts(json!([{ "type": "text", "text": "hi" }]))).unwrap();
        assert_eq!((one.content, one.words.as_str()), (json!("hi"), "hi"));
        let file = format!("data:text/plain;charset=utf-8;base64,{}", STANDARD.encode("a,b"));
        let both = read(&parts(json!([
            { "type": "agent", "name": "poet" },
            { "type": "text", "text": "look" },
            { "type": "image", "url": "data:image/png;base64,AA==" },
            { "type": "file", "filename": "t.csv", "url": file },
        ])))
        .unwrap();
        assert_eq!(both.agent.as_deref(), Some("poet"));
        assert_eq!(both.content[1]["image_url"]["url"], "data:image/png;base64,AA==");
        assert_eq!(both.content[2]["text"], "The file `t.csv`:\n\na,b");
    }

    #[test]
    fn the_log_tells_of_a_picture_and_does_not_hold_it() {
        let told = |value: Value| parts(json!([value]))[0].told();
        let picture =
            json!({ "type": "image", "url": format!("data:image/png;base64,{}", STANDARD.encode([7; 300])) });
        assert_eq!(told(picture), json!({ "type": "image", "url": "data:image/png", "bytes": 300 }));
        let elsewhere = json!({ "type": "image", "url": "https://example.com/a.png" });
        assert_eq!(told(elsewhere.clone()), elsewhere);
    }

    #[test]
    fn every_part_that_is_wrong_is_named() {
        let wrong = read(&parts(json!([
            { "type": "text", "text": " " },
            { "type": "image", "url": "http://example.com/a.png" },
            { "type": "file", "url": "data:application/pdf;base64,/w==" },
            { "type": "file", "url": "file:///etc/passwd" },
        ])))
        .unwrap_err();
        let pointers: Vec<_> = wrong.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/parts/0/text", "/parts/1/url", "/parts/2/url", "/parts/3/url"]);
        assert_eq!(read(&[]).unwrap_err()[0].pointer, "/parts");
        let only_agent = parts(json!([{ "type": "agent", "name": "poet" }]));
        assert_eq!(read(&only_agent).unwrap_err()[0].pointer, "/parts");
    }
}
