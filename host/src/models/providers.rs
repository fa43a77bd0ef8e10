//! The providers we know by name, where each is, and which dialect it speaks.
//!
//! A tenant's own `baseUrl` and `kind` win over this table; a name that is not in it needs a `baseUrl`, and
//! speaks OpenAI's chat dialect unless told.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

/// The version of Anthropic's API that is spoken.
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// The dialect a provider speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// OpenAI's chat completions, as anybody speaks them.
    #[default]
    OpenaiCompatible,
    /// OpenAI's responses.
    OpenaiResponses,
    /// Anthropic's messages.
    Anthropic,
    /// Google's `generateContent`.
    Google,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::OpenaiCompatible, Self::OpenaiResponses, Self::Anthropic, Self::Google];

    /// The word in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenaiCompatible => "openai-compatible",
            Self::OpenaiResponses => "openai-responses",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind of a provider by its id alone.
    pub fn of_id(provider: &str) -> Self {
        well_known(provider).map(|known| known.kind).unwrap_or_default()
    }

    /// The headers that say who asks; a key goes into the header of its dialect and never into a URL.
    pub fn headers(self, key: &SecretString) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        if self == Self::Anthropic {
            let version = HeaderName::from_static("anthropic-version");
            headers.insert(version, HeaderValue::from_static(ANTHROPIC_VERSION));
        }
        let key = key.expose_secret();
        if key.is_empty() {
            return Ok(headers);
        }
        let (name, text) = match self {
            Self::OpenaiCompatible | Self::OpenaiResponses => (AUTHORIZATION, format!("Bearer {key}")),
            Self::Anthropic => (HeaderName::from_static("x-api-key"), key.to_owned()),
            Self::Google => (HeaderName::from_static("x-goog-api-key"), key.to_owned()),
        };
        let mut value = HeaderValue::from_str(&text)?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(headers)
    }
}

/// What a provider's reading of the OpenAI dialect leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Takes `stream_options`; those that do not send usage anyway.
    pub stream_options: bool,
    /// Takes `max_completion_tokens` beside `max_tokens`.
    pub max_completion_tokens: bool,
    /// Takes an assistant's `reasoning_content` and `reasoning_details` back; others refuse a message that has
    /// them.
    pub reasoning_content: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self { stream_options: true, max_completion_tokens: true, reasoning_content: true }
    }
}

/// A provider known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WellKnown {
    pub id: &'static str,
    pub base_url: &'static str,
    pub kind: Kind,
    /// How it reads OpenAI's dialect, where that is its kind.
    pub dialect: Dialect,
}

/// As OpenAI reads it.
const OPENAI: Dialect =
    Dialect { stream_options: true, max_completion_tokens: true, reasoning_content: false };
/// As OpenAI reads it, and with reasoning going round.
const OPEN: Dialect = Dialect { reasoning_content: true, ..OPENAI };
/// Knows the older name of the token limit only.
const OLDER: Dialect = Dialect { max_completion_tokens: false, ..OPEN };
/// Refuses every field it does not know, `stream_options` among them.
const STRICT: Dialect =
    Dialect { stream_options: false, max_completion_tokens: false, reasoning_content: false };

const fn at(id: &'static str, base_url: &'static str, dialect: Dialect) -> WellKnown {
    WellKnown { id, base_url, kind: Kind::OpenaiCompatible, dialect }
}

/// The table, sorted by id.
pub const WELL_KNOWN: &[WellKnown] = &[
    WellKnown { kind: Kind::Anthropic, ..at("anthropic", "https://api.anthropic.com/v1/", OPENAI) },
    at("cerebras", "https://api.cerebras.ai/v1/", OPENAI),
    at("deepseek", "https://api.deepseek.com/v1/", OLDER),
    at("fireworks", "https://api.fireworks.ai/inference/v1/", OLDER),
    WellKnown {
        kind: Kind::Google,
        ..at("google", "https://generativelanguage.googleapis.com/v1beta/", OPENAI)
    },
    at("groq", "https://api.groq.com/openai/v1/", OPENAI),
    at("mistral", "https://api.mistral.ai/v1/", STRICT),
    at("ollama", "http://127.0.0.1:11434/v1/", OLDER),
    at("openai", "https://api.openai.com/v1/", OPENAI),
    at("openrouter", "https://openrouter.ai/api/v1/", OPEN),
    at("together", "https://api.together.xyz/v1/", OLDER),
    at("xai", "https://api.x.ai/v1/", OPENAI),
];

/// A path below a base URL, whether that ends with a slash or not; none for a URL that has no paths.
pub fn endpoint(base_url: &Url, path: &[&str]) -> Option<Url> {
    let mut url = base_url.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend(path);
    Some(url)
}

/// The provider of this name.
pub fn well_known(id: &str) -> Option<&'static WellKnown> {
    WELL_KNOWN.iter().find(|provider| provider.id == id)
}

/// How whoever is at this address reads OpenAI's dialect.
pub fn dialect_at(base_url: &Url) -> Dialect {
    let here = |provider: &&WellKnown| {
        Url::parse(provider.base_url).is_ok_and(|url| url.origin() == base_url.origin())
    };
    WELL_KNOWN.iter().find(here).map(|provider| provider.dialect).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_url_is_a_url_that_can_be_joined() {
        assert!(WELL_KNOWN.is_sorted_by_key(|provider| provider.id));
        for provider in WELL_KNOWN {
            let url = Url::parse(provider.base_url).expect(provider.id);
            assert!(url.path().ends_with('/') && url.has_host(), "{}", provider.id);
        }
        assert_eq!(well_known("mistral").map(|provider| provider.dialect.stream_options), Some(false));
        assert_eq!(well_known("nobody"), None);
        let at = |text: &str| dialect_at(&Url::parse(text).unwrap());
        assert_eq!(at("https://api.mistral.ai/v2/"), STRICT);
        assert_eq!(at("https://mistral.example/v1/"), Dialect::default());
    }

    #[test]
    fn a_kind_has_one_name_and_each_provider_one_kind() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        let kinds = ["anthropic", "google", "openai", "mine"].map(Kind::of_id);
        let expected = [Kind::Anthropic, Kind::Google, Kind::OpenaiCompatible, Kind::OpenaiCompatible];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_key_goes_into_the_header_of_its_dialect_and_is_not_shown() {
        let key = SecretString::from("sk-secret");
        for kind in Kind::ALL {
            let headers = kind.headers(&key).unwrap();
            assert!(!format!("{headers:?}").contains("sk-secret"), "{kind:?}");
            let holding: Vec<_> =
                headers.iter().filter(|(_, value)| value.to_str().unwrap().ends_with("sk-secret")).collect();
            assert_eq!(holding.len(), 1, "{kind:?}");
        }
        assert!(Kind::Google.headers(&SecretString::from("")).unwrap().is_empty());
    }
}
