//! Models the operator pays for: where they are, which there are, which apps may use them (rows M179 to M184, M497).
//!
//! A *source* is a place with a key; a *model* of the platform has a price, and sources that serve it, asked in turn.
//! An app may use none until the operator says so, and never learns where they are. What an app brings itself
//! goes first: a provider of its own is asked for all models named after it, and never one of ours in its place, nor
//! the reverse (`models::route`).
//!
//! - `source`, `model`, `offer`: what the operator sets.
//! - `turns`: which sources of a model are asked, in which order.
//! - [`circuit`]: which of them do not answer.
//! - `limits`: how much may be asked of a model.
//! - `probe`: asking a source what it has.
//!
//! Deliberately absent: prices (`prices`), keys of apps (`tenants::providers`), and how an allowance of points is kept
//! (`budgets`).

pub mod circuit;
pub(crate) mod limits;
mod model;
mod offer;
mod probe;
pub mod routes;
mod source;
mod store;
pub(crate) mod turns;

pub use circuit::Circuits;
pub use limits::Paces;
pub(crate) use offer::{context_of, offered, offers_provider};
pub(crate) use source::{PLACE, PROXY_PLACE};
pub(crate) use store::prices_model;

use crate::{error::FieldError, secrets::envelope::SealError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sources of the platform: keys are bought one by one.
pub const SOURCES_MAX: i64 = 200;
/// Models of the platform, drafts included: every model of every provider there is.
pub const MODELS_MAX: i64 = 10_000;
/// Sources of one model: more are never asked for one request.
pub const SOURCES_PER_MODEL_MAX: usize = 20;
/// What an app may use is told in so many words.
pub const PATTERNS_PER_APP_MAX: usize = 1_000;
/// The last in line.
pub const ORDER_MAX: i32 = 1_000;
/// The heaviest among equals: a thousandth is as fine as anybody needs.
pub const WEIGHT_MAX: i32 = 1_000;
/// The longest alias, in bytes.
pub const ALIAS_BYTES_MAX: usize = 64;
/// The largest context a model can say it has, in tokens.
pub const CONTEXT_TOKENS_MAX: u64 = 1_000_000_000;
/// The most requests a minute a limit can name: more than one host serves.
pub const REQUESTS_PER_MINUTE_MAX: u64 = 1_000_000;
/// The most tokens a minute a limit can name: as many requests, each with a context of a million.
pub const TOKENS_PER_MINUTE_MAX: u64 = 1_000_000_000_000;
/// The most requests at once a limit can name: more than one host holds open.
pub const CONCURRENT_REQUESTS_MAX: u64 = 100_000;

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Answers conversations.
    Chat,
    /// Makes vectors of texts.
    Embedding,
    /// Makes pictures.
    Image,
    /// Speaks.
    Speech,
    /// Writes down what was said.
    Transcription,
    /// Says what is wrong with a text.
    Moderation,
}

impl ModelKind {
    const fn name(self) -> &'static str {
        match self {
            ModelKind::Chat => "chat",
            ModelKind::Embedding => "embedding",
            ModelKind::Image => "image",
            ModelKind::Speech => "speech",
            ModelKind::Transcription => "transcription",
            ModelKind::Moderation => "moderation",
        }
    }
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// What is wrong, all of it.
    #[error("the request is wrong")]
    Invalid(Vec<FieldError>),
    /// There is none of that name.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// There is one of that name.
    #[error("`{0}` is there already; change it, or take another name")]
    Taken(String),
    /// There are as many as there may be.
    #[error("there are {0} already; delete some")]
    TooMany(i64),
    /// A key.
    #[error("a source's key could not be sealed")]
    Seal(#[from] SealError),
    /// A source's key cannot be opened.
    #[error("the source's key cannot be opened on this host; store it again")]
    Sealed,
    /// A source did not say what it has.
    #[error("the source did not list its models: {0}")]
    NoList(String),
    /// The database.
    #[error(transparent)]
    Db(#[from] sqlx::Error),
}

/// Whether a model may be called so beside its full id.
pub(crate) fn is_alias(text: &str) -> bool {
    text.len() <= ALIAS_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._:-".contains(&b))
}

/// What an alias is made of, for whoever got it wrong.
pub(crate) fn alias_rule() -> String {
    format!("an alias is 1 to {ALIAS_BYTES_MAX} of a-z, 0-9 and, but for the first, `.` `_` `:` `-`")
}

fn check_order(order: Option<i32>, at: &str, wrong: &mut Vec<FieldError>) {
    if order.is_some_and(|order| !(0..=ORDER_MAX).contains(&order)) {
        wrong.push(FieldError::new(format!("{at}/order"), format!("0 to {ORDER_MAX}")));
    }
}

fn check_weight(weight: Option<i32>, at: &str, wrong: &mut Vec<FieldError>) {
    if weight.is_some_and(|weight| !(1..=WEIGHT_MAX).contains(&weight)) {
        wrong.push(FieldError::new(format!("{at}/weight"), format!("1 to {WEIGHT_MAX}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_a_word_and_never_a_full_id() {
        for good in ["fast", "gpt-5", "4o", "a.b_c:d-e"] {
            assert!(is_alias(good), "{good}");
        }
        for bad in ["", "-fast", "Fast", "a/b", "a b", "\u{e4}", &"a".repeat(ALIAS_BYTES_MAX + 1)] {
            assert!(!is_alias(bad), "{bad}");
        }
    }
}
