//! Why a model did not answer, in words that are safe to hand to whoever asked.
//!
//! The rule: what the *caller* can fix is passed on (a bad request, an unknown model, a rate limit); what
//! only the *operator* can fix (a wrong key, an unpaid bill) is masked as a gateway error. A message never
//! holds the provider's key or address.

use super::{RequestError, Usage};
use serde_json::Value;

/// What to tell a caller to wait when a provider that limits its rate does not say, in seconds.
pub const RETRY_AFTER_DEFAULT_S: u64 = 5;
/// The longest wait we pass on, in seconds: a day. A provider that says more means "not today".
pub const RETRY_AFTER_MAX_S: u64 = 86_400;
/// How much of a provider's own message we pass on, in characters.
pub const MESSAGE_CHARS_MAX: usize = 1_000;
/// The code of a 404 whose provider gave none.
const NOT_FOUND: &str = "not_found";
/// How much of a provider's error code we pass on, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// The caller's: the provider refused the request (400, 404, 413, 422).
    Rejected,
    /// The caller's pace: too many requests.
    RateLimited,
    /// The operator's: the provider's account is out of money or quota.
    QuotaExhausted,
    /// The operator's: the provider refused our key (401, 402, 403).
    Credentials,
    /// The provider's: it answered with an error.
    Failed,
    /// The network's: no connection, or it broke before an answer.
    Unreachable,
    /// The provider's: it took too long.
    TimedOut,
    /// The provider's: its answer makes no sense, is too large, or ended half-way.
    BadReply,
}

/// Why a model did not answer. `message` is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UpstreamError {
    pub kind: UpstreamErrorKind,
    /// The status our own answer should have.
    pub status: u16,
    pub message: String,
    pub code: String,
    /// Which field of the request is wrong, where we know.
    pub param: Option<String>,
    /// Seconds to wait; only where waiting helps.
    pub retry_after: Option<u64>,
    /// What it cost nevertheless, where the provider said so before it failed.
    pub used: Option<Box<Usage>>,
}

impl UpstreamError {
    /// The error for an HTTP status a provider answered with. `detail` is what it said.
    pub fn from_status(status: u16, detail: ErrorDetail, retry_after: Option<u64>) -> Self {
        use UpstreamErrorKind as Kind;
        if detail.is_quota() {
            return Self::new(Kind::QuotaExhausted);
        }
        match status {
            401..=403 => Self::new(Kind::Credentials),
            408 | 504 => Self::new(Kind::TimedOut),
            429 => Self {
                retry_after: Some(retry_after.unwrap_or(RETRY_AFTER_DEFAULT_S).min(RETRY_AFTER_MAX_S)),
                ..Self::new(Kind::RateLimited)
            },
            400 | 404 | 413 | 422 => Self::rejected(status, detail),
            _ => Self::new(Kind::Failed),
        }
    }

    /// The error with the standard words of its kind.
    pub fn new(kind: UpstreamErrorKind) -> Self {
        use UpstreamErrorKind as Kind;
        let (status, code, message) = match kind {
            Kind::Rejected => (400, "invalid_request", "The model provider refused the request."),
            Kind::RateLimited => {
                (429, "rate_limit_exceeded", "The model provider limits the rate of requests. Retry later.")
            }
            Kind::QuotaExhausted => (
                429,
                "provider_quota_exhausted",
                "The account at the model provider has no quota left. Ask an owner of the app to top it up.",
            ),
            Kind::Credentials => (
                502,
                "provider_credentials",
                "The model provider refused this app's credentials. Ask an owner of the app to check the key.",
            ),
            Kind::Failed => (502, "provider_error", "The model provider failed. Retry later."),
            Kind::Unreachable => (502, "provider_unreachable", "The model provider could not be reached."),
            Kind::TimedOut => (504, "provider_timeout", "The model provider took too long."),
            Kind::BadReply => {
                (502, "provider_bad_reply", "The model provider's reply could not be read to its end.")
            }
        };
        let (param, retry_after, used) = (None, None, None);
        Self { kind, status, message: message.into(), code: code.into(), param, retry_after, used }
    }

    /// A reply that makes no sense; `what` says which rule it broke.
    pub fn bad_reply(what: &str) -> Self {
        let base = Self::new(UpstreamErrorKind::BadReply);
        Self { message: format!("{}: {what}.", base.message.trim_end_matches('.')), ..base }
    }

    /// A request that this provider cannot be asked; it was not sent.
    pub fn unsupported(error: RequestError) -> Self {
        Self {
            message: error.message,
            code: error.code.to_owned(),
            param: error.param,
            ..Self::new(UpstreamErrorKind::Rejected)
        }
    }

    /// The same to an app that has no part in it: what the operator's account lacks is the operator's affair.
    #[must_use]
    pub fn of_platform(self) -> Self {
        use UpstreamErrorKind as Kind;
        match self.kind {
            Kind::Credentials | Kind::QuotaExhausted => Self { used: self.used, ..Self::new(Kind::Failed) },
            _ => self,
        }
    }

    /// The same, and what it cost nevertheless.
    #[must_use]
    pub fn having_used(self, usage: Usage) -> Self {
        Self { used: Some(Box::new(usage)), ..self }
    }

    /// A provider that does not make what is asked of it, whatever the model (row M108).
    pub fn no_capability(what: &str) -> Self {
        Self {
            status: 404,
            code: "capability_unavailable".into(),
            message: format!("The provider of this model makes no {what}; name a model of another."),
            param: Some("model".into()),
            ..Self::new(UpstreamErrorKind::Rejected)
        }
    }

    /// What went wrong at an address that not every provider has: one that is not there, and says nothing of a
    /// model, is a provider without it.
    pub fn of_endpoint(self, what: &str) -> Self {
        if self.status == 404 && self.code == NOT_FOUND { Self::no_capability(what) } else { self }
    }

    /// Whether the same request may succeed later without anyone acting.
    pub fn should_retry(&self) -> bool {
        use UpstreamErrorKind as Kind;
        !matches!(self.kind, Kind::Rejected | Kind::QuotaExhausted | Kind::Credentials)
    }

    /// Removes from the message what must not travel: the key, the provider's host, any URL.
    pub fn scrub(self, forbidden: &[&str]) -> Self {
        if self.kind != UpstreamErrorKind::Rejected {
            return self; // our own words
        }
        let leaks = |text: &str| forbidden.iter().any(|word| is_telling(word) && text.contains(word));
        let code = if leaks(&self.code) { "invalid_request".to_owned() } else { self.code };
        Self { message: scrub(&self.message, forbidden), code, ..self }
    }

    /// The `type` of the OpenAI error object.
    pub fn openai_type(&self) -> &'static str {
        use UpstreamErrorKind as Kind;
        match self.kind {
            Kind::Rejected => "invalid_request_error",
            Kind::RateLimited => "rate_limit_error",
            Kind::QuotaExhausted => "insufficient_quota",
            _ => "upstream_error",
        }
    }

    fn rejected(status: u16, detail: ErrorDetail) -> Self {
        let base = Self::new(UpstreamErrorKind::Rejected);
        let (code, message) = match status {
            404 => (NOT_FOUND, "The model provider does not know this model."),
            413 => ("request_too_large", "The request is too large for the model provider."),
            _ => (base.code.as_str(), base.message.as_str()),
        };
        Self {
            status,
            code: detail.safe_code().unwrap_or_else(|| code.to_owned()),
            message: detail.message.filter(|text| !text.is_empty()).unwrap_or_else(|| message.to_owned()),
            ..base
        }
    }
}

/// What a provider said about its error, cleaned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorDetail {
    pub message: Option<String>,
    pub code: Option<String>,
    pub kind: Option<String>,
}

impl ErrorDetail {
    /// Reads the shapes seen in the wild: `{"error":{…}}`, `[{"error":{…}}]`, `{"error":"text"}`,
    /// `{"object":"error",…}`, `{"detail":"text"}`. None where the value is no error.
    pub fn find(value: &Value) -> Option<Self> {
        let value = match value {
            Value::Array(items) => items.first()?,
            other => other,
        };
        let error = match value.get("error") {
            Some(Value::Null) | None => {
                let is_error = value.get("object").and_then(Value::as_str) == Some("error")
                    || value.get("type").and_then(Value::as_str) == Some("error");
                let bare = value.get("choices").is_none()
                    && (value.get("detail").is_some() || value.get("message").is_some());
                if !is_error && !bare {
                    return None;
                }
                value
            }
            Some(error) if is_falsy(error) => return None,
            Some(error) => error,
        };
        let text = |key: &str| match error.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let message = match error {
            Value::String(text) => Some(text.clone()),
            _ => text("message").or_else(|| text("detail")),
        };
        Some(Self { message, code: text("code"), kind: text("type").or_else(|| text("status")) })
    }

    /// The HTTP status this error means when it came inside a 200 answer: a numeric code, a number as
    /// text, or a name.
    pub fn status(&self) -> u16 {
        let words = [&self.code, &self.kind];
        let words = || words.iter().filter_map(|word| word.as_deref());
        if let Some(status) = words().filter_map(|word| word.parse().ok()).find(|n| (400..600).contains(n)) {
            return status;
        }
        words().find_map(named_status).unwrap_or(502)
    }

    fn is_quota(&self) -> bool {
        let named = [&self.code, &self.kind];
        named.iter().any(|word| word.as_deref().is_some_and(|word| word.contains("insufficient_quota")))
    }

    fn safe_code(&self) -> Option<String> {
        let is_name = |word: &&String| {
            word.len() <= CODE_BYTES_MAX
                && word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        [&self.code, &self.kind].into_iter().flatten().find(is_name).cloned()
    }
}

/// What clients take for no error at all.
fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn named_status(word: &str) -> Option<u16> {
    let word = word.to_ascii_lowercase();
    let any = |needles: &[&str]| needles.iter().any(|needle| word.contains(needle));
    if any(&["rate_limit", "too_many_requests", "resource_exhausted"]) {
        Some(429)
    } else if any(&["timeout", "timed_out", "deadline_exceeded"]) {
        Some(504)
    } else if any(&["authentication", "unauthenticated", "permission", "invalid_api_key", "billing"]) {
        Some(401)
    } else if any(&["not_found"]) {
        Some(404)
    } else if any(&["too_large"]) {
        Some(413)
    } else if any(&["invalid_request", "invalid_argument", "context_length", "bad_request", "content_policy"])
    {
        Some(400)
    } else {
        None
    }
}

/// A word so short that it turns up by chance gives nothing away.
fn is_telling(word: &str) -> bool {
    word.len() >= 4
}

fn scrub(text: &str, forbidden: &[&str]) -> String {
    let mut text = text.to_owned();
    for word in forbidden.iter().filter(|word| is_telling(word)) {
        text = text.replace(word, "[removed]");
    }
    let words = text.split_whitespace().map(|word| {
        let is_secret = ["sk-", "AIza", "Bearer", "gsk_"].iter().any(|prefix| word.contains(prefix));
        if word.contains("://") || is_secret { "[removed]" } else { word }
    });
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_status_is_mapped_by_whose_fault_it_is() {
        let cases = [
            (400, 400),
            (401, 502),
            (402, 502),
            (403, 502),
            (404, 404),
            (408, 504),
            (413, 413),
            (418, 502),
            (422, 422),
            (429, 429),
            (500, 502),
            (503, 502),
            (504, 504),
            (529, 502),
            (302, 502),
        ];
        for (theirs, ours) in cases {
            let error = UpstreamError::from_status(theirs, ErrorDetail::default(), None);
            assert_eq!(error.status, ours, "{theirs}");
        }
    }

    #[test]
    fn a_rate_limit_always_says_how_long_to_wait() {
        let wait = |given| UpstreamError::from_status(429, ErrorDetail::default(), given).retry_after;
        assert_eq!(wait(Some(7)), Some(7));
        assert_eq!(wait(None), Some(RETRY_AFTER_DEFAULT_S));
        assert_eq!(wait(Some(u64::MAX)), Some(RETRY_AFTER_MAX_S));
    }

    #[test]
    fn an_error_inside_a_good_answer_is_understood_by_number_text_or_name() {
        let cases = [
            (json!({"error": {"code": 429, "message": "slow"}}), 429),
            (json!({"error": {"code": "503", "message": "down"}}), 503),
            (json!({"error": {"type": "overloaded_error"}}), 502),
            (json!({"error": {"type": "invalid_request_error", "code": "context_length_exceeded"}}), 400),
            (json!([{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}]), 400),
            (json!({"error": {"status": "RESOURCE_EXHAUSTED"}}), 429),
            (json!({"error": "model is loading"}), 502),
            (json!({"object": "error", "message": "no", "code": 404}), 404),
            (json!({"error": {"type": "authentication_error"}}), 401),
        ];
        for (value, status) in cases {
            assert_eq!(ErrorDetail::find(&value).expect("an error").status(), status, "{value}");
        }
        assert_eq!(ErrorDetail::find(&json!({"error": null, "choices": []})), None);
        assert_eq!(ErrorDetail::find(&json!({"choices": []})), None);
        assert_eq!(ErrorDetail::find(&json!({"choices": [], "error": ""})), None);
    }

    #[test]
    fn a_message_loses_the_key_and_the_address() {
        let detail = ErrorDetail {
            message: Some(
                "bad key KEY1 at https://api.example.com/v1/chat; host api.example.com\u{7} sk-abc".into(),
            ),
            ..ErrorDetail::default()
        };
        let error = UpstreamError::from_status(400, detail, None).scrub(&["KEY1", "api.example.com"]);
        insta::assert_snapshot!(error, @"bad key [removed] at [removed] host [removed] [removed]");
    }

    #[test]
    fn an_unpaid_bill_is_not_worth_a_retry() {
        let detail = ErrorDetail { code: Some("insufficient_quota".into()), ..ErrorDetail::default() };
        let error = UpstreamError::from_status(429, detail, Some(1));
        assert_eq!((error.kind, error.should_retry()), (UpstreamErrorKind::QuotaExhausted, false));
    }
}
