//! What a client of each dialect sends and reads, told in one way.

use opg_tests::app::{Answer, Client};
use serde_json::{Map, Value, json};

/// A dialect in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Chat,
    Messages,
    Responses,
}

pub(super) const DIALECTS: [Dialect; 3] = [Dialect::Chat, Dialect::Messages, Dialect::Responses];

/// What a client heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<Call>,
    /// `stop`, `length`, `tool_calls` or `content_filter`.
    pub(super) finish: String,
    /// Read, written, cached, written to the cache, thought.
    pub(super) usage: [u64; 5],
    /// What a client adds to its conversation.
    pub(super) native: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: Value,
}

impl Dialect {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
        }
    }

    /// Where the model answers by itself, whatever the app has.
    pub(super) fn raw_path(self) -> Option<&'static str> {
        match self {
            Self::Chat => Some("/v1/ai/chat"),
            Self::Messages => None,
            Self::Responses => Some("/v1/ai/responses"),
        }
    }

    pub(super) fn user(self, text: &str) -> Value {
        match self {
            Self::Chat | Self::Messages => json!({ "role": "user", "content": text }),
            Self::Responses => json!({ "type": "message", "role": "user", "content": text }),
        }
    }

    /// A user's picture with a word.
    pub(super) fn picture(self, base64: &str) -> Value {
        let url = format!("data:image/png;base64,{base64}");
        let content = match self {
            Self::Chat => json!([{ "type": "text", "text": "what is this?" },
                { "type": "image_url", "image_url": { "url": url } }]),
            Self::Messages => json!([{ "type": "text", "text": "what is this?" },
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": base64 } }]),
            Self::Responses => json!([{ "type": "input_text", "text": "what is this?" },
                { "type": "input_image", "image_url": url }]),
        };
        json!({ "role": "user", "content": content })
    }

    /// The results of calls, as messages or items.
    pub(super) fn results(self, results: &[(&str, &str)]) -> Vec<Value> {
        let each = results.iter();
        match self {
            Self::Chat => each
                .map(|(id, text)| json!({ "role": "tool", "tool_call_id": id, "content": text }))
                .collect(),
            Self::Messages => {
                let blocks: Vec<Value> = each
                    .map(|(id, text)| json!({ "type": "tool_result", "tool_use_id": id, "content": text }))
                    .collect();
                vec![json!({ "role": "user", "content": blocks })]
            }
            Self::Responses => each
                .map(|(id, text)| json!({ "type": "function_call_output", "call_id": id, "output": text }))
                .collect(),
        }
    }

    pub(super) fn tool(self, name: &str) -> Value {
        let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        match self {
            Self::Chat => json!({ "type": "function", "function": { "name": name, "parameters": schema } }),
            Self::Messages => json!({ "name": name, "input_schema": schema }),
            Self::Responses => json!({ "type": "function", "name": name, "parameters": schema }),
        }
    }

    pub(super) fn body(self, model: &str, conversation: &[Value], stream: bool) -> Value {
        let mut body = json!({ "model": model, "stream": stream });
        match self {
            Self::Chat => {
                body["messages"] = json!(conversation);
                if stream {
                    body["stream_options"] = json!({ "include_usage": true });
                }
            }
            Self::Messages => {
                body["messages"] = json!(conversation);
                body["max_tokens"] = json!(1000);
            }
            Self::Responses => body["input"] = json!(conversation),
        }
        body
    }

    /// Asks, and reads a good answer.
    pub(super) async fn ask(self, client: &Client, body: &Value) -> Heard {
        let answer = client.post(self.path(), body).await;
        assert_eq!(answer.status, 200, "{self:?} {body}: {}", answer.text());
        self.read(&answer)
    }

    pub(super) fn read(self, answer: &Answer) -> Heard {
        let is_stream = answer.header("content-type").starts_with("text/event-stream");
        match (self, is_stream) {
            (Self::Chat, false) => read_completion(&answer.json()),
            (Self::Chat, true) => read_completion(&gather_chunks(&answer.frames())),
            (Self::Messages, false) => read_message(&answer.json()),
            (Self::Messages, true) => read_message(&gather_events(&answer.frames())),
            (Self::Responses, false) => read_response(&answer.json()),
            (Self::Responses, true) => read_response(&gather_items(&answer.frames())),
        }
    }

    /// The message of an error in the dialect's own shape.
    pub(super) fn error(self, value: &Value) -> String {
        let error = match self {
            Self::Chat | Self::Responses => {
                assert!(value["error"]["type"].is_string() && value["error"]["code"].is_string(), "{value}");
                &value["error"]
            }
            Self::Messages => {
                assert_eq!(value["type"], "error", "{value}");
                assert!(value["error"]["type"].is_string() && value["request_id"].is_string(), "{value}");
                &value["error"]
            }
        };
        error["message"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn arguments(value: &Value) -> Value {
    let text = value.as_str().expect("arguments are text");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn count(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

// === chat completions ===

fn read_completion(completion: &Value) -> Heard {
    let choice = &completion["choices"][0];
    let message = &choice["message"];
    let calls = message["tool_calls"].as_array().into_iter().flatten().map(|call| Call {
        id: text(&call["id"]),
        name: text(&call["function"]["name"]),
        arguments: arguments(&call["function"]["arguments"]),
    });
    let usage = &completion["usage"];
    Heard {
        text: text(&message["content"]),
        reasoning: text(&message["reasoning_content"]),
        refusal: text(&message["refusal"]),
        calls: calls.collect(),
        finish: text(&choice["finish_reason"]),
        usage: [
            count(usage, "/prompt_tokens"),
            count(usage, "/completion_tokens"),
            count(usage, "/prompt_tokens_details/cached_tokens"),
            count(usage, "/prompt_tokens_details/cache_write_tokens"),
            count(usage, "/completion_tokens_details/reasoning_tokens"),
        ],
        native: vec![message.clone()],
    }
}

fn gather_chunks(frames: &[Value]) -> Value {
    let (mut message, mut calls, mut details) = (Map::new(), Vec::<Value>::new(), Vec::new());
    let (mut finish, mut usage) = (Value::Null, Value::Null);
    assert_eq!(frames.last(), Some(&json!("[DONE]")), "{frames:?}");
    assert_eq!(frames[0]["choices"][0]["delta"], json!({ "role": "assistant" }), "{frames:?}");
    for frame in frames {
        if frame["usage"].is_object() {
            usage = frame["usage"].clone();
        }
        let choice = &frame["choices"][0];
        for (name, value) in choice["delta"].as_object().into_iter().flatten() {
            match (name.as_str(), value) {
                ("tool_calls", Value::Array(pieces)) => {
                    pieces.iter().for_each(|piece| add_piece(&mut calls, piece));
                }
                ("reasoning_details", Value::Array(more)) => details.extend(more.clone()),
                (name, Value::String(more)) => {
                    let all =
                        message.entry(name).or_insert(json!("")).as_str().unwrap_or_default().to_owned();
                    message.insert(name.to_owned(), json!(all + more));
                }
                _ => panic!("{frame}"),
            }
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
    }
    if !calls.is_empty() {
        message.insert("tool_calls".into(), json!(calls));
    }
    if !details.is_empty() {
        message.insert("reasoning_details".into(), json!(details));
    }
    message.entry("content").or_insert(Value::Null);
    json!({ "choices": [{ "message": message, "finish_reason": finish }], "usage": usage })
}

fn add_piece(calls: &mut Vec<Value>, piece: &Value) {
    let index = usize::try_from(piece["index"].as_u64().expect("every piece has its index")).unwrap();
    if index == calls.len() {
        let mut call = piece.clone();
        call.as_object_mut().unwrap().remove("index");
        calls.push(call);
        return;
    }
    let all = text(&calls[index]["function"]["arguments"]);
    calls[index]["function"]["arguments"] = json!(all + piece["function"]["arguments"].as_str().unwrap());
}

// === Anthropic's messages ===

fn read_message(message: &Value) -> Heard {
    assert_eq!((&message["type"], &message["role"]), (&json!("message"), &json!("assistant")), "{message}");
    let mut heard = Heard::default();
    for block in message["content"].as_array().unwrap() {
        match block["type"].as_str().unwrap() {
            "text" => heard.text += block["text"].as_str().unwrap(),
            "thinking" => heard.reasoning += block["thinking"].as_str().unwrap(),
            "redacted_thinking" => assert!(block["data"].is_string(), "{block}"),
            "tool_use" => heard.calls.push(Call {
                id: text(&block["id"]),
                name: text(&block["name"]),
                arguments: block["input"].clone(),
            }),
            _ => panic!("{block}"),
        }
    }
    heard.finish = match message["stop_reason"].as_str().unwrap() {
        "end_turn" => "stop",
        "max_tokens" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        other => panic!("{other}"),
    }
    .to_owned();
    if heard.finish == "content_filter" {
        heard.refusal = heard.text.clone();
    }
    let usage = &message["usage"];
    let (cached, written) =
        (count(usage, "/cache_read_input_tokens"), count(usage, "/cache_creation_input_tokens"));
    heard.usage = [
        count(usage, "/input_tokens") + cached + written,
        count(usage, "/output_tokens"),
        cached,
        written,
        count(usage, "/output_tokens_details/thinking_tokens"),
    ];
    heard.native = vec![json!({ "role": "assistant", "content": message["content"] })];
    heard
}

fn gather_events(frames: &[Value]) -> Value {
    assert_eq!(frames[0]["type"], "message_start", "{frames:?}");
    assert_eq!(frames.last().unwrap()["type"], "message_stop", "{frames:?}");
    let mut message = frames[0]["message"].clone();
    let mut blocks: Vec<Value> = Vec::new();
    let mut json_text = String::new();
    for frame in &frames[1..] {
        let index = frame["index"].as_u64().map(|index| usize::try_from(index).unwrap());
        match frame["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!(index, Some(blocks.len()), "blocks come one after the other: {frame}");
                blocks.push(frame["content_block"].clone());
                json_text.clear();
            }
            "content_block_delta" => {
                assert_eq!(index, Some(blocks.len() - 1), "{frame}");
                let (block, delta) = (blocks.last_mut().unwrap(), &frame["delta"]);
                for key in ["text", "thinking", "signature"] {
                    if let Some(more) = delta[key].as_str() {
                        block[key] = json!(text(&block[key]) + more);
                    }
                }
                json_text += delta["partial_json"].as_str().unwrap_or_default();
            }
            "content_block_stop" => {
                let block = blocks.last_mut().unwrap();
                if block["type"] == "tool_use" {
                    let text = if json_text.is_empty() { "{}" } else { &json_text };
                    block["input"] = serde_json::from_str(text).unwrap();
                }
            }
            "message_delta" => {
                message["stop_reason"] = frame["delta"]["stop_reason"].clone();
                message["usage"] = frame["usage"].clone();
            }
            "message_stop" | "ping" => {}
            _ => panic!("{frame}"),
        }
    }
    message["content"] = json!(blocks);
    message
}

// === responses ===

fn read_response(response: &Value) -> Heard {
    assert_eq!(response["object"], "response", "{response}");
    let mut heard = Heard::default();
    for item in response["output"].as_array().unwrap() {
        match item["type"].as_str().unwrap() {
            "message" => {
                for part in item["content"].as_array().unwrap() {
                    heard.text += part["text"].as_str().unwrap_or_default();
                    heard.refusal += part["refusal"].as_str().unwrap_or_default();
                }
            }
            "reasoning" => {
                for part in item["summary"].as_array().unwrap() {
                    heard.reasoning += part["text"].as_str().unwrap();
                }
            }
            "function_call" => heard.calls.push(Call {
                id: text(&item["call_id"]),
                name: text(&item["name"]),
                arguments: arguments(&item["arguments"]),
            }),
            _ => panic!("{item}"),
        }
        heard.native.push(item.clone());
    }
    let why = response["incomplete_details"]["reason"].as_str();
    heard.finish = match (response["status"].as_str().unwrap(), why, heard.calls.is_empty()) {
        ("completed", None, true) => "stop",
        ("completed", None, false) => "tool_calls",
        ("incomplete", Some("max_output_tokens"), _) => "length",
        ("incomplete", Some("content_filter"), _) => "content_filter",
        other => panic!("{other:?}"),
    }
    .to_owned();
    let usage = &response["usage"];
    heard.usage = [
        count(usage, "/input_tokens"),
        count(usage, "/output_tokens"),
        count(usage, "/input_tokens_details/cached_tokens"),
        count(usage, "/input_tokens_details/cache_write_tokens"),
        count(usage, "/output_tokens_details/reasoning_tokens"),
    ];
    heard
}

/// Puts the items together from their pieces, and holds them against what the last event says.
fn gather_items(frames: &[Value]) -> Value {
    let (done, frames) = frames.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    let numbers: Vec<_> = frames.iter().map(|frame| frame["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..frames.len() as u64).collect::<Vec<_>>());
    assert_eq!(frames[0]["type"], "response.created");
    let (mut texts, mut ended) = (Vec::<String>::new(), Vec::<Value>::new());
    for frame in frames {
        let at = frame["output_index"].as_u64().map(|at| usize::try_from(at).unwrap());
        match frame["type"].as_str().unwrap() {
            "response.output_item.added" => {
                assert_eq!(at, Some(texts.len()));
                texts.push(String::new());
                ended.push(Value::Null);
            }
            "response.output_text.delta"
            | "response.refusal.delta"
            | "response.reasoning_summary_text.delta"
            | "response.function_call_arguments.delta" => {
                texts[at.unwrap()] += frame["delta"].as_str().unwrap();
            }
            "response.output_item.done" => ended[at.unwrap()] = frame["item"].clone(),
            _ => {}
        }
    }
    let response = frames.last().unwrap()["response"].clone();
    assert_eq!(response["output"], json!(ended));
    for (item, pieces) in ended.iter().zip(texts) {
        let whole = match item["type"].as_str().unwrap() {
            "message" => {
                text(&item["content"][0]["text"]) + item["content"][0]["refusal"].as_str().unwrap_or_default()
            }
            "reasoning" => text(&item["summary"][0]["text"]),
            _ => text(&item["arguments"]),
        };
        assert_eq!(whole, pieces, "{item}");
    }
    response
}
