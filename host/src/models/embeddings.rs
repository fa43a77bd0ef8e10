//! Texts into vectors: OpenAI's dialect in, OpenAI's or Google's out.

use super::error::UpstreamError;
use super::frames::{items, tokens};
use super::openai::request::{Fields, ModelId, RequestError};
use super::{Kind, Upstream, Usage};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

/// Inputs of one request: OpenAI's own limit (row M105).
pub const INPUTS_MAX: usize = 2_048;
/// The most dimensions that can be asked for: several times what any model has.
pub const DIMENSIONS_MAX: u64 = 65_536;
/// The largest answer, in bytes: 2048 vectors of 1536 numbers, written as JSON.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Characters that make one token, roughly; for providers that do not say.
const CHARS_PER_TOKEN: u64 = super::tokens::CHARS_PER_TOKEN;

/// A request for embeddings, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingRequest {
    pub model: ModelId,
    pub input: Vec<Input>,
    pub dimensions: Option<u64>,
    /// The client reads vectors as base64 of little-endian floats.
    pub as_base64: bool,
    /// Everything else, for the provider.
    pub rest: Map<String, Value>,
}

/// One thing to embed.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Text(String),
    /// Tokens of the model's own alphabet.
    Tokens(Vec<u64>),
}

/// Vectors, in the order of the inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    pub vectors: Vec<Vec<f32>>,
    pub usage: Usage,
}

impl EmbeddingRequest {
    /// Reads a request.
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let mut fields = Fields::new(value, "")?;
        let model = fields.string("model")?.ok_or_else(|| RequestError::missing("model"))?;
        let format = fields.string("encoding_format")?;
        let as_base64 = match format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(RequestError::invalid("encoding_format", "must be `float` or `base64`.")),
        };
        Ok(Self {
            model: ModelId::parse(&model)?,
            input: read_input(fields.take("input"))?,
            dimensions: fields.whole("dimensions", 1, DIMENSIONS_MAX)?,
            as_base64,
            rest: fields.map,
        })
    }

    fn estimate(&self) -> u64 {
        let count = |input: &Input| match input {
            Input::Text(text) => (text.chars().count() as u64).div_ceil(CHARS_PER_TOKEN),
            Input::Tokens(tokens) => tokens.len() as u64,
        };
        self.input.iter().map(count).fold(0, u64::saturating_add)
    }
}

fn read_input(value: Option<Value>) -> Result<Vec<Input>, RequestError> {
    let wrong = || RequestError::wrong_type("input", "text, an array of texts, or tokens");
    let inputs = match value.ok_or_else(|| RequestError::missing("input"))? {
        text @ Value::String(_) => vec![read_one(text, "input")?],
        Value::Array(items) if items.is_empty() => {
            return Err(RequestError::invalid("input", "must hold at least one text."));
        }
        Value::Array(items) if items[0].is_number() => vec![read_one(Value::Array(items), "input")?],
        Value::Array(items) if items.len() > INPUTS_MAX => {
            return Err(RequestError::too_many("input", items.len(), INPUTS_MAX));
        }
        Value::Array(items) => {
            let read = |(position, item)| read_one(item, &format!("input[{position}]"));
            items.into_iter().enumerate().map(read).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong()),
    };
    Ok(inputs)
}

fn read_one(value: Value, path: &str) -> Result<Input, RequestError> {
    let empty = || RequestError::invalid(path, "must not be empty.");
    match value {
        Value::String(text) if text.is_empty() => Err(empty()),
        Value::String(text) => Ok(Input::Text(text)),
        Value::Array(tokens) if tokens.is_empty() => Err(empty()),
        Value::Array(tokens) => {
            let tokens = tokens.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
            tokens.map(Input::Tokens).ok_or_else(|| RequestError::wrong_type(path, "text or tokens"))
        }
        _ => Err(RequestError::wrong_type(path, "text or tokens")),
    }
}

/// The refusal of a provider that makes no embeddings.
pub fn none_here(provider: &str) -> UpstreamError {
    UpstreamError::unsupported(RequestError::new(
        "model",
        "unsupported_operation",
        format!("{provider} makes no embeddings; name a model of another."),
    ))
}

/// Asks a provider.
pub(super) async fn ask(
    upstream: &Upstream,
    model: &str,
    request: &EmbeddingRequest,
) -> Result<Embeddings, UpstreamError> {
    let model = upstream.name_of(model);
    let embeddings = match upstream.kind() {
        Kind::Anthropic => return Err(none_here("Anthropic")),
        Kind::OpenaiCompatible | Kind::OpenaiResponses => {
            let answer =
                upstream.ask(&["embeddings"], &openai_body(model, request), ANSWER_BYTES_MAX).await?;
            read_openai(&answer, request)
        }
        Kind::Google => {
            let body = google_body(model, request).map_err(UpstreamError::unsupported)?;
            let path = ["models", &format!("{model}:batchEmbedContents")];
            read_google(&upstream.ask(&path, &body, ANSWER_BYTES_MAX).await?, request)
        }
    };
    let bad = || UpstreamError::bad_reply("its vectors could not be read");
    let embeddings = embeddings.ok_or_else(bad)?;
    if embeddings.vectors.len() == request.input.len() { Ok(embeddings) } else { Err(bad()) }
}

fn openai_body(model: &str, request: &EmbeddingRequest) -> Value {
    let mut body = request.rest.clone();
    let input = request.input.iter().map(|input| match input {
        Input::Text(text) => json!(text),
        Input::Tokens(tokens) => json!(tokens),
    });
    body.insert("model".into(), json!(model));
    body.insert("input".into(), input.collect());
    body.insert("encoding_format".into(), json!("float"));
    body.extend(request.dimensions.map(|dimensions| ("dimensions".to_owned(), json!(dimensions))));
    Value::Object(body)
}

fn read_openai(answer: &Value, request: &EmbeddingRequest) -> Option<Embeddings> {
    let mut placed: Vec<(u64, Vec<f32>)> = (0..)
        .zip(items(answer, "data"))
        .map(|(place, item)| {
            let place = item.get("index").and_then(Value::as_u64).unwrap_or(place);
            Some((place, vector(item.get("embedding")?)?))
        })
        .collect::<Option<_>>()?;
    placed.sort_by_key(|(place, _)| *place);
    let vectors = placed.into_iter().map(|(_, vector)| vector).collect();
    let said = tokens(answer, "/usage/prompt_tokens");
    Some(Embeddings { vectors, usage: usage(said, request) })
}

fn google_body(model: &str, request: &EmbeddingRequest) -> Result<Value, RequestError> {
    let name = format!("models/{model}");
    let one = |input: &Input| {
        let Input::Text(text) = input else {
            let rule = "must be texts: Google models take no tokens.";
            return Err(RequestError::invalid("input", rule));
        };
        let mut one = json!({ "model": name, "content": { "parts": [{ "text": text }] } });
        if let Some(dimensions) = request.dimensions {
            one["outputDimensionality"] = json!(dimensions);
        }
        Ok(one)
    };
    let requests = request.input.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "requests": requests }))
}

fn read_google(answer: &Value, request: &EmbeddingRequest) -> Option<Embeddings> {
    let vectors =
        items(answer, "embeddings").iter().map(|item| vector(item.get("values")?)).collect::<Option<_>>()?;
    let said = tokens(answer, "/usageMetadata/promptTokenCount");
    Some(Embeddings { vectors, usage: usage(said, request) })
}

fn vector(value: &Value) -> Option<Vec<f32>> {
    match value {
        Value::Array(numbers) => numbers.iter().map(|number| Some(number.as_f64()? as f32)).collect(),
        Value::String(text) => {
            let bytes = STANDARD.decode(text).ok()?;
            let (floats, rest) = bytes.as_chunks::<4>();
            rest.is_empty().then(|| floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        _ => None,
    }
}

fn usage(said: Option<u64>, request: &EmbeddingRequest) -> Usage {
    Usage {
        prompt_tokens: said.unwrap_or_else(|| request.estimate()),
        estimated: said.is_none(),
        ..Usage::default()
    }
}

impl Embeddings {
    /// The list of OpenAI's dialect.
    pub fn to_openai_json(&self, model: &str, as_base64: bool) -> Value {
        let write = |vector: &Vec<f32>| {
            if as_base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|float| float.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            }
        };
        let data = self.vectors.iter().enumerate().map(
            |(index, vector)| json!({ "object": "embedding", "index": index, "embedding": write(vector) }),
        );
        let tokens = self.usage.prompt_tokens;
        json!({
            "object": "list",
            "data": data.collect::<Vec<_>>(),
            "model": model,
            "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(input: Value) -> Result<EmbeddingRequest, RequestError> {
        EmbeddingRequest::from_value(json!({ "model": "openai/small", "input": input }))
    }

    #[test]
    fn m105_an_input_is_a_text_texts_or_tokens_and_never_empty_or_too_many() {
        let count = |input: Value| request(input).unwrap().input.len();
        let (ints, lists) = (json!([1, 2]), json!([[1, 2], [3]]));
        assert_eq!([count(json!("a")), count(json!(["a", "b"])), count(ints), count(lists)], [1, 2, 1, 2]);
        let many = json!(vec!["a"; INPUTS_MAX + 1]);
        for bad in [json!(null), json!(""), json!([]), json!(["a", ""]), json!([[]]), json!({}), many] {
            let error = request(bad).unwrap_err();
            assert!(error.param.unwrap().starts_with("input"));
        }
    }

    #[test]
    fn vectors_come_in_the_order_of_the_inputs_as_numbers_or_as_bytes() {
        let request = request(json!(["a", "bcdef"])).unwrap();
        let answer = json!({ "data": [
            { "index": 1, "embedding": [0.5, -2.0] },
            { "index": 0, "embedding": "AACAPwAAAEA=" },
        ] });
        let read = read_openai(&answer, &request).unwrap();
        assert_eq!(read.vectors, [vec![1.0, 2.0], vec![0.5, -2.0]]);
        assert_eq!((read.usage.prompt_tokens, read.usage.estimated), (3, true));
        let list = read.to_openai_json("openai/small", true);
        assert_eq!(list["data"][0]["embedding"], "AACAPwAAAEA=");
        assert_eq!(read.to_openai_json("m", false)["data"][1]["embedding"], json!([0.5, -2.0]));
        let google = json!({ "embeddings": [{ "values": [1.0] }, { "values": [2.0] }] });
        assert_eq!(read_google(&google, &request).unwrap().vectors, [vec![1.0], vec![2.0]]);
        assert_eq!(read_openai(&json!({ "data": [{ "embedding": "!" }] }), &request), None);
    }
}
