//! Models: `provider/model`, `provider/*` or `*`, and how much of it: `openai/gpt-5 tokens=20000`, the tokens one
//! request's chain of calls may use of it, those that go in and those that come out together.

use std::fmt;

/// What a `model` target means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelTarget<'a> {
    pub(crate) pattern: &'a str,
    /// None: as many as the app's budget has.
    pub(crate) tokens_max: Option<u64>,
}

impl<'a> ModelTarget<'a> {
    pub(crate) fn parse(target: &'a str) -> Option<ModelTarget<'a>> {
        /// More than any context anybody sells, a hundred times over.
        const TOKENS_MAX: u64 = 100_000_000;
        let (pattern, tokens_max) = match target.split_once(' ') {
            Some((pattern, cap)) => {
                let tokens = cap.strip_prefix("tokens=")?;
                let number: u64 = tokens.parse().ok().filter(|n| (1..=TOKENS_MAX).contains(n))?;
                (pattern, Some(number).filter(|n| n.to_string() == tokens)?.into())
            }
            None => (target, None),
        };
        (pattern == "*" || is_pattern(pattern)).then_some(ModelTarget { pattern, tokens_max })
    }

    pub(crate) fn opens(&self, model: &str) -> bool {
        matches(self.pattern, model)
    }

    pub(crate) fn is_within(&self, wide: &ModelTarget<'_>) -> bool {
        let no_more = match (self.tokens_max, wide.tokens_max) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(narrow), Some(wide)) => narrow <= wide,
        };
        no_more && matches(wide.pattern, self.pattern)
    }
}

impl fmt::Display for ModelTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tokens_max {
            Some(tokens) => write!(f, "{} tokens={tokens}", self.pattern),
            None => f.write_str(self.pattern),
        }
    }
}

fn is_pattern(target: &str) -> bool {
    target.split_once('/').is_some_and(|(provider, model)| {
        !provider.is_empty()
            && provider.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !model.is_empty()
            && model.len() <= 200
            && (model == "*" || !model.contains('*'))
            // What reads as it is: a character that turns the writing round would show a reviewer another model.
            && model.bytes().all(|b| b.is_ascii_graphic())
    })
}

fn matches(pattern: &str, model: &str) -> bool {
    pattern == "*"
        || pattern == model
        || pattern
            .strip_suffix("/*")
            .is_some_and(|provider| model.split_once('/').is_some_and(|(p, _)| p == provider))
}
