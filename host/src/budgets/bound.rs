//! The most a reply may cost, before it is asked for.

use crate::{
    models::{
        ChatRequest, Message, Price, Usage,
        embeddings::{EmbeddingRequest, Input},
        images::ImageRequest,
        moderation::ModerationRequest,
        openai::request::Content,
        speech::{InTokens, SpeechRequest},
        transcription::TranscriptionRequest,
    },
    prices::Priced,
};
use serde_json::Value;

/// Tokens a model reads beside what is sent: what its provider puts around messages and tools.
const PROMPT_OVERHEAD_TOKENS: u64 = 1_000;
/// Tokens an image, a sound or a file takes at the most that is usual: a large image in full detail, a long document.
const MEDIA_TOKENS_MAX: u64 = 20_000;
/// Tokens a picture takes where models are paid by tokens: the largest in the best quality, and half as much again.
const IMAGE_TOKENS_MAX: u64 = 10_000;
/// Tokens a character takes to be spoken where models are paid by tokens: 25 for a second, in which even the slowest
/// say more than two.
const SPOKEN_TOKENS_PER_CHARACTER_MAX: u64 = 10;
/// Tokens a second of sound is read as where models are paid by tokens: twice what is usual.
const SOUND_TOKENS_PER_SECOND_MAX: u64 = 25;
/// Tokens that are written of a second of speech: as fast as anybody speaks.
const SPEECH_TOKENS_PER_SECOND_MAX: u64 = 10;
/// Tokens of a reply where neither the request nor the price says how long it can be.
const OUTPUT_TOKENS_ASSUMED: u64 = 32_768;

/// A request whose use is bounded.
///
/// A token is at least one byte of text, so the bytes sent bound the tokens read; a request that wants its reply
/// bounded tightly names `max_tokens`.
pub(crate) trait Bounded {
    /// The most tokens it may use. `output_tokens_max` is the model's longest reply, if that is known.
    fn usage_at_most(&self, output_tokens_max: Option<u64>) -> Usage;

    /// The most it may use of what is not counted in tokens; none where it uses no such thing.
    fn units_at_most(&self) -> Option<u64> {
        None
    }

    /// Whether a price says something of what it will turn out to have used.
    fn is_priced_by(&self, _: &Price) -> bool {
        true
    }

    /// The most it may cost, in micro-dollars; none where the price says nothing of what it uses.
    fn cost_at_most(&self, priced: &Priced) -> Option<u64> {
        if !self.is_priced_by(&priced.price) {
            return None;
        }
        let (price, usage) = (dearest(&priced.price), self.usage_at_most(priced.output_tokens_max));
        let cost = price.cost_with_units_micro_usd(&usage, self.units_at_most())?;
        let is_priced =
            cost > 0 || price.unit_micro_usd_per_million.is_some() || self.units_at_most().is_none();
        is_priced.then_some(cost)
    }
}

impl Bounded for ChatRequest {
    fn usage_at_most(&self, output_tokens_max: Option<u64>) -> Usage {
        let asked = self.max_completion_tokens.or(self.max_tokens);
        let each = asked.or(output_tokens_max).unwrap_or(OUTPUT_TOKENS_ASSUMED);
        Usage {
            prompt_tokens: prompt_tokens_at_most(self),
            completion_tokens: each.saturating_mul(u64::from(self.choices)),
            ..Usage::default()
        }
    }
}

impl Bounded for EmbeddingRequest {
    fn usage_at_most(&self, _: Option<u64>) -> Usage {
        let tokens = |input: &Input| match input {
            Input::Text(text) => bytes(text),
            Input::Tokens(tokens) => tokens.len() as u64,
        };
        let prompt_tokens = self.input.iter().map(tokens).fold(0, u64::saturating_add);
        Usage { prompt_tokens, ..Usage::default() }
    }
}

impl Bounded for ImageRequest {
    fn usage_at_most(&self, _: Option<u64>) -> Usage {
        let completion_tokens = self.count.saturating_mul(IMAGE_TOKENS_MAX);
        // Where each is a request of its own, each reads the text.
        let prompt_tokens = bytes(&self.prompt).saturating_mul(self.count);
        Usage { prompt_tokens, completion_tokens, ..Usage::default() }
    }

    fn units_at_most(&self) -> Option<u64> {
        Some(self.count)
    }
}

/// A text to be spoken, by those that may be asked.
pub(crate) struct Speech<'a> {
    pub(crate) request: &'a SpeechRequest,
    /// Whether they say how many tokens it was.
    pub(crate) in_tokens: InTokens,
}

impl Bounded for Speech<'_> {
    fn usage_at_most(&self, output_tokens_max: Option<u64>) -> Usage {
        if self.in_tokens == InTokens::Never {
            return Usage::default();
        }
        let how = self.request.rest.get("instructions").and_then(Value::as_str).unwrap_or_default();
        let text = bytes(&self.request.input).saturating_add(bytes(how));
        // A short text takes its time, too.
        let spoken = self.request.characters().saturating_mul(SPOKEN_TOKENS_PER_CHARACTER_MAX);
        let spoken = spoken.saturating_add(PROMPT_OVERHEAD_TOKENS);
        Usage {
            prompt_tokens: text.saturating_add(PROMPT_OVERHEAD_TOKENS),
            completion_tokens: spoken.min(output_tokens_max.unwrap_or(u64::MAX)),
            ..Usage::default()
        }
    }

    fn units_at_most(&self) -> Option<u64> {
        Some(self.request.characters())
    }

    /// Who does not say how many tokens it was can only be paid by the character.
    fn is_priced_by(&self, price: &Price) -> bool {
        self.in_tokens == InTokens::Always || price.unit_micro_usd_per_million.is_some()
    }
}

impl Bounded for TranscriptionRequest {
    fn usage_at_most(&self, _: Option<u64>) -> Usage {
        let seconds = self.seconds_at_most();
        Usage {
            prompt_tokens: seconds.saturating_mul(SOUND_TOKENS_PER_SECOND_MAX),
            completion_tokens: seconds.saturating_mul(SPEECH_TOKENS_PER_SECOND_MAX),
            ..Usage::default()
        }
    }

    fn units_at_most(&self) -> Option<u64> {
        Some(self.seconds_at_most())
    }
}

impl Bounded for ModerationRequest {
    fn usage_at_most(&self, _: Option<u64>) -> Usage {
        Usage { prompt_tokens: self.bytes(), ..Usage::default() }
    }
}

/// A cache may be dearer than reading anew.
fn dearest(price: &Price) -> Price {
    let input = price
        .input_micro_usd_per_mtok
        .max(price.cached_input_micro_usd_per_mtok)
        .max(price.cache_write_micro_usd_per_mtok);
    Price { input_micro_usd_per_mtok: input, ..*price }
}

fn prompt_tokens_at_most(request: &ChatRequest) -> u64 {
    let tools = request.tools.iter().map(|tool| bytes(&tool.to_value().to_string()));
    let all = request.messages.iter().map(of_message).chain(tools);
    all.fold(PROMPT_OVERHEAD_TOKENS, u64::saturating_add)
}

fn of_message(message: &Message) -> u64 {
    let media = match &message.content {
        Some(Content::Parts(parts)) => parts.iter().filter(|part| !part.contains_key("text")).count() as u64,
        _ => 0,
    };
    let calls = message.tool_calls.iter().map(|call| bytes(&call.name) + bytes(&call.arguments));
    calls.fold(bytes(&message.plain_text()), u64::saturating_add) + media * MEDIA_TOKENS_MAX
}

fn bytes(text: &str) -> u64 {
    text.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bound_counts_bytes_media_and_the_longest_reply() {
        let priced = |output_tokens_max| Priced {
            // A micro-dollar a token read, two a token written.
            price: Price {
                input_micro_usd_per_mtok: 1_000_000,
                cached_input_micro_usd_per_mtok: 100_000,
                cache_write_micro_usd_per_mtok: 900_000,
                output_micro_usd_per_mtok: 2_000_000,
                unit_micro_usd_per_million: None,
            },
            output_tokens_max,
            points_rate: None,
        };
        let request = |more: Value| {
            let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "12345678" }] });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ChatRequest::from_value(body).unwrap()
        };
        let read = 8 + PROMPT_OVERHEAD_TOKENS;
        assert_eq!(request(json!({ "max_tokens": 5 })).cost_at_most(&priced(None)), Some(read + 10));
        assert_eq!(request(json!({})).cost_at_most(&priced(Some(7))), Some(read + 14));
        assert_eq!(request(json!({})).cost_at_most(&priced(None)), Some(read + 2 * OUTPUT_TOKENS_ASSUMED));
        let image = json!({ "max_tokens": 5, "messages": [{ "role": "user", "content": [
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } } ] }] });
        let with_image = request(image).cost_at_most(&priced(None));
        assert_eq!(with_image, Some(PROMPT_OVERHEAD_TOKENS + MEDIA_TOKENS_MAX + 10));
        let three = request(json!({ "max_tokens": 5, "n": 3 })).cost_at_most(&priced(None));
        assert_eq!(three, Some(read + 30), "each answer may be as long");
    }

    #[test]
    fn what_is_counted_otherwise_is_held_at_its_own_price_and_never_for_nothing() {
        let priced = |unit: Option<u64>, output: u64| Priced {
            price: Price {
                input_micro_usd_per_mtok: 0,
                cached_input_micro_usd_per_mtok: 0,
                cache_write_micro_usd_per_mtok: 0,
                output_micro_usd_per_mtok: output,
                unit_micro_usd_per_million: unit,
            },
            output_tokens_max: None,
            points_rate: None,
        };
        let image = ImageRequest::from_value(json!({ "model": "m", "prompt": "x", "n": 3 })).unwrap();
        assert_eq!(image.cost_at_most(&priced(Some(40_000_000_000), 0)), Some(120_000));
        assert_eq!(image.cost_at_most(&priced(None, 1_000_000)), Some(3 * IMAGE_TOKENS_MAX));
        assert_eq!(
            image.cost_at_most(&priced(None, 0)),
            None,
            "no price of a picture is not a price of nothing"
        );
        assert_eq!(image.cost_at_most(&priced(Some(0), 0)), Some(0), "the operator may say that it is free");
        let speech = json!({ "model": "m", "input": "abcd", "voice": "alloy" });
        let request = SpeechRequest::from_value(speech).unwrap();
        let speech = |in_tokens: InTokens| Speech { request: &request, in_tokens };
        for in_tokens in [InTokens::Never, InTokens::Sometimes] {
            assert_eq!(speech(in_tokens).cost_at_most(&priced(Some(15_000_000), 0)), Some(60));
            assert_eq!(speech(in_tokens).cost_at_most(&priced(None, 1_000_000)), None);
        }
        let spoken = PROMPT_OVERHEAD_TOKENS + 4 * SPOKEN_TOKENS_PER_CHARACTER_MAX;
        assert_eq!(speech(InTokens::Always).cost_at_most(&priced(None, 1_000_000)), Some(spoken));
        let both = speech(InTokens::Sometimes).cost_at_most(&priced(Some(15_000_000), 1_000_000));
        assert_eq!(both, Some(60 + spoken), "whoever of them answers");
        assert_eq!(speech(InTokens::Always).cost_at_most(&priced(None, 0)), None);
    }
}
