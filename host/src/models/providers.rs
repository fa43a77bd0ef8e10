//! The providers we know by name, and where each speaks the OpenAI dialect.
//!
//! A tenant's own `baseUrl` wins over this table; a name that is not in it needs one.

use url::Url;

/// What a provider's reading of the OpenAI dialect leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Takes `stream_options`; those that do not send usage anyway.
    pub stream_options: bool,
    /// Takes `max_completion_tokens` beside `max_tokens`.
    pub max_completion_tokens: bool,
    /// Takes an assistant's `reasoning_content` back; others refuse a message that has it.
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

/// The table, sorted by id.
pub const WELL_KNOWN: &[WellKnown] = &[
    WellKnown { id: "anthropic", base_url: "https://api.anthropic.com/v1/", dialect: OPENAI },
    WellKnown { id: "cerebras", base_url: "https://api.cerebras.ai/v1/", dialect: OPENAI },
    WellKnown { id: "deepseek", base_url: "https://api.deepseek.com/v1/", dialect: OLDER },
    WellKnown { id: "fireworks", base_url: "https://api.fireworks.ai/inference/v1/", dialect: OLDER },
    WellKnown {
        id: "google",
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai/",
        dialect: OPENAI,
    },
    WellKnown { id: "groq", base_url: "https://api.groq.com/openai/v1/", dialect: OPENAI },
    WellKnown { id: "mistral", base_url: "https://api.mistral.ai/v1/", dialect: STRICT },
    WellKnown { id: "ollama", base_url: "http://127.0.0.1:11434/v1/", dialect: OLDER },
    WellKnown { id: "openai", base_url: "https://api.openai.com/v1/", dialect: OPENAI },
    WellKnown { id: "openrouter", base_url: "https://openrouter.ai/api/v1/", dialect: OPEN },
    WellKnown { id: "together", base_url: "https://api.together.xyz/v1/", dialect: OLDER },
    WellKnown { id: "xai", base_url: "https://api.x.ai/v1/", dialect: OPENAI },
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
    }
}
