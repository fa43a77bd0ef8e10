//! Which providers there are, and what an operator sets of each.

use secrecy::SecretString;
use url::Url;

/// The longest id of an account at a provider, in bytes: OpenID Connect's.
pub(super) const SUBJECT_BYTES_MAX: usize = 255;
/// The longest id of ours at a provider, in bytes: theirs have less than a hundred.
const CLIENT_ID_BYTES_MAX: usize = 255;

/// Who knows people by accounts of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// github.com, or a GitHub Enterprise Server.
    GitHub,
    /// Google.
    Google,
}

impl Provider {
    /// All of them, in the order they are offered.
    pub const ALL: [Provider; 2] = [Provider::GitHub, Provider::Google];

    /// The name in paths and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::GitHub => "github",
            Provider::Google => "google",
        }
    }

    /// What people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Provider::GitHub => "GitHub",
            Provider::Google => "Google",
        }
    }

    /// What its variables begin with.
    pub(crate) const fn variables(self) -> &'static str {
        match self {
            Provider::GitHub => "OAUTH_GITHUB",
            Provider::Google => "OAUTH_GOOGLE",
        }
    }
}

/// A provider with which the operator registered this server.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Which.
    pub provider: Provider,
    /// What it calls us.
    pub client_id: String,
    /// How it knows us.
    pub client_secret: SecretString,
    /// Where it is; none: where everybody's is.
    pub url: Option<Url>,
}

/// Whether a provider may call us this.
pub(crate) fn is_client_id(text: &str) -> bool {
    text.len() <= CLIENT_ID_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic())
}
