//! A chat request on its way to a provider that speaks the OpenAI dialect.
//!
//! Always streamed and always with usage: what the client asked for is the encoder's business on the way
//! back, and a reply without usage cannot be billed.

use super::request::{ChatRequest, Content, Message, RequestError, Role};
use crate::models::options::Options;
use crate::models::providers::Dialect;
use crate::models::thought::{self, DETAILS};
use serde_json::{Map, Value, json};

/// The body to send. `model` is the provider's own name for the model.
pub fn body(model: &str, request: &ChatRequest, dialect: Dialect) -> Result<Value, RequestError> {
    let mut body: Map<String, Value> = Options::in_openai_words(request)?.into_rest();
    body.insert("model".into(), json!(model));
    body.insert("messages".into(), request.messages.iter().map(|each| message(each, dialect)).collect());
    body.insert("stream".into(), json!(true));
    if dialect.stream_options {
        body.insert("stream_options".into(), json!({ "include_usage": true }));
    }
    if request.tools.is_empty() {
        body.remove("parallel_tool_calls"); // refused where there are no tools
    } else {
        body.insert("tools".into(), request.tools.iter().map(|tool| tool.to_value()).map(tool).collect());
        if let Some(choice) = &request.tool_choice {
            body.insert("tool_choice".into(), choice.to_value());
        }
    }
    let numbers = [("temperature", request.temperature), ("top_p", request.top_p)];
    for (key, value) in numbers.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        body.insert(key.into(), json!(value));
    }
    if !request.stop.is_empty() {
        body.insert("stop".into(), json!(request.stop));
    }
    if request.choices > 1 {
        body.insert("n".into(), json!(request.choices));
    }
    if let Some(top) = request.logprobs {
        body.insert("logprobs".into(), json!(true));
        body.extend((top > 0).then(|| ("top_logprobs".to_owned(), json!(top))));
    }
    insert_limits(&mut body, request, dialect);
    Ok(Value::Object(body))
}

fn insert_limits(body: &mut Map<String, Value>, request: &ChatRequest, dialect: Dialect) {
    if dialect.max_completion_tokens {
        // One name or the other, as the client chose: OpenAI's older and newer models each refuse one.
        if let Some(max) = request.max_tokens.filter(|_| request.max_completion_tokens.is_none()) {
            body.insert("max_tokens".into(), json!(max));
        } else if let Some(max) = request.output_tokens_max() {
            body.insert("max_completion_tokens".into(), json!(max));
        }
    } else if let Some(max) = request.output_tokens_max() {
        body.insert("max_tokens".into(), json!(max));
    }
}

fn message(message: &Message, dialect: Dialect) -> Value {
    let mut value = message.to_value();
    if let Some(fields) = value.as_object_mut() {
        // Words of other dialects, which most providers refuse.
        for name in ["is_error", "cache_control"] {
            fields.remove(name);
        }
        if !dialect.reasoning_content {
            fields.remove("reasoning_content");
            fields.remove(DETAILS);
        }
        for call in fields.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten() {
            bare_call(call);
        }
    }
    if let Some(Content::Parts(parts)) = &message.content {
        value["content"] = parts.iter().map(|part| without_cache_control(json!(part), dialect)).collect();
    }
    if message.role == Role::Developer {
        value["role"] = json!(Role::System.as_str()); // every provider knows it, OpenAI reads it as the same
    }
    value
}

/// A call without what another dialect or we ourselves put there.
fn bare_call(call: &mut Value) {
    let Some(fields) = call.as_object_mut() else { return };
    fields.remove("cache_control");
    if let Some(extra) = fields.remove("extra_content").and_then(thought::without_ours) {
        fields.insert("extra_content".into(), extra);
    }
}

/// OpenAI itself caches unasked and refuses to be told; gateways to Anthropic take it.
fn without_cache_control(mut part: Value, dialect: Dialect) -> Value {
    if let Some(fields) = part.as_object_mut().filter(|_| !dialect.reasoning_content) {
        fields.remove("cache_control");
    }
    part
}

fn tool(mut tool: Value) -> Value {
    if let Some(function) = tool.get_mut("function").and_then(Value::as_object_mut) {
        function.remove("cache_control");
    }
    tool
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::providers;

    fn request(extra: Value) -> ChatRequest {
        let mut value =
            json!({ "model": "openai/gpt-x", "messages": [{ "role": "developer", "content": "be kind" }] });
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        ChatRequest::from_value(value).unwrap()
    }

    #[test]
    fn the_body_streams_with_usage_and_keeps_what_we_do_not_know() {
        let request = request(json!({
            "stream": false, "agent": "a", "session_id": "s", "seed": 7, "temperature": 0.7, "max_tokens": 5,
            "stop": "END", "n": 1, "parallel_tool_calls": true,
            "tools": [{ "type": "function", "function": { "name": "f", "strict": true } }], "tool_choice": "auto",
        }));
        let body = body("gpt-x", &request, Dialect::default()).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r##"
        {
          "max_tokens": 5,
          "messages": [
            {
              "content": "be kind",
              "role": "system"
            }
          ],
          "model": "gpt-x",
          "parallel_tool_calls": true,
          "seed": 7,
          "stop": [
            "END"
          ],
          "stream": true,
          "stream_options": {
            "include_usage": true
          },
          "temperature": 0.7,
          "tool_choice": "auto",
          "tools": [
            {
              "function": {
                "name": "f",
                "parameters": {
                  "properties": {},
                  "type": "object"
                },
                "strict": true
              },
              "type": "function"
            }
          ]
        }
        "##);
    }

    #[test]
    fn a_provider_that_refuses_a_field_does_not_get_it() {
        let mistral = providers::well_known("mistral").expect("it is in the table").dialect;
        let body = body(
            "m",
            &request(json!({ "max_completion_tokens": 5, "parallel_tool_calls": true,
            "messages": [{ "role": "assistant", "content": "hi", "reasoning_content": "hm" }] })),
            mistral,
        )
        .unwrap();
        insta::assert_snapshot!(body, @r#"{"max_tokens":5,"messages":[{"content":"hi","role":"assistant"}],"model":"m","stream":true}"#);
    }

    #[test]
    fn the_name_of_the_token_limit_is_the_clients() {
        let limits = |extra| {
            let body = body("m", &request(extra), Dialect::default()).unwrap();
            (body.get("max_tokens").cloned(), body.get("max_completion_tokens").cloned())
        };
        assert_eq!(limits(json!({ "max_tokens": 5 })), (Some(json!(5)), None));
        assert_eq!(limits(json!({ "max_completion_tokens": 5 })), (None, Some(json!(5))));
        assert_eq!(limits(json!({ "max_tokens": 3, "max_completion_tokens": 5 })), (None, Some(json!(3))));
    }
}
