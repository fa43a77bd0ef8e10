//! What models cost, in whole micro-dollars.
//!
//! Integers only, rounded up once per reply, so that many small calls cannot be free. Prices of real models
//! change weekly and belong to the operator's configuration; only the models that are built in are priced here.

use super::{Usage, demo, mock};
use serde::Serialize;

/// Tokens, or units, a price is given for.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// Micro-dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Price {
    pub input_micro_usd_per_mtok: u64,
    /// For what came from the provider's cache.
    pub cached_input_micro_usd_per_mtok: u64,
    /// For what was written to the provider's cache.
    pub cache_write_micro_usd_per_mtok: u64,
    pub output_micro_usd_per_mtok: u64,
    /// For a million images, characters or seconds, where the model makes or hears such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_micro_usd_per_million: Option<u64>,
}

/// The pretend price of the demo models: nobody pays it, but the ledger has something to show.
pub const DEMO: Price = Price {
    input_micro_usd_per_mtok: 100_000,
    cached_input_micro_usd_per_mtok: 100_000,
    cache_write_micro_usd_per_mtok: 100_000,
    output_micro_usd_per_mtok: 400_000,
    unit_micro_usd_per_million: None,
};

impl Price {
    /// The cost of a reply, in micro-dollars, rounded up.
    pub fn cost_micro_usd(&self, usage: &Usage) -> u64 {
        self.sum(usage, 0, 0)
    }

    /// The cost of an answer that used something besides tokens. None where that has no price, and there are no
    /// tokens to charge for instead: providers say what a picture cost in one or the other.
    pub fn cost_with_units_micro_usd(&self, usage: &Usage, units: Option<u64>) -> Option<u64> {
        match (units, self.unit_micro_usd_per_million) {
            (None | Some(0), _) => Some(self.cost_micro_usd(usage)),
            (Some(units), Some(price)) => Some(self.sum(usage, units, price)),
            (Some(_), None) => (usage.total_tokens() > 0).then(|| self.cost_micro_usd(usage)),
        }
    }

    fn sum(&self, usage: &Usage, units: u64, unit_price: u64) -> u64 {
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let written = usage.cache_write_tokens.min(usage.prompt_tokens - cached);
        let parts = [
            (usage.prompt_tokens - cached - written, self.input_micro_usd_per_mtok),
            (cached, self.cached_input_micro_usd_per_mtok),
            (written, self.cache_write_micro_usd_per_mtok),
            (usage.completion_tokens, self.output_micro_usd_per_mtok),
            (units, unit_price),
        ];
        let sum = parts
            .into_iter()
            .map(|(tokens, price)| u128::from(tokens) * u128::from(price))
            .fold(0, u128::saturating_add);
        u64::try_from(sum.div_ceil(TOKENS_PER_PRICE)).unwrap_or(u64::MAX)
    }
}

/// The built-in price of a model; None where only the operator can know.
pub fn built_in(provider: &str, model: &str) -> Option<Price> {
    let models: &[&str] = match provider {
        demo::PROVIDER => &demo::MODELS,
        mock::PROVIDER => &mock::MODELS,
        _ => &[],
    };
    models.contains(&model).then_some(DEMO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn usage(prompt_tokens: u64, cached_tokens: u64, completion_tokens: u64) -> Usage {
        Usage { prompt_tokens, cached_tokens, completion_tokens, ..Usage::default() }
    }

    #[test]
    fn the_smallest_reply_is_not_free_and_the_largest_does_not_overflow() {
        assert_eq!(DEMO.cost_micro_usd(&usage(0, 0, 0)), 0);
        assert_eq!(DEMO.cost_micro_usd(&usage(1, 0, 0)), 1);
        assert_eq!(DEMO.cost_micro_usd(&usage(1_000_000, 0, 1_000_000)), 500_000);
        let dear = Price { output_micro_usd_per_mtok: u64::MAX, ..DEMO };
        assert_eq!(dear.cost_micro_usd(&usage(u64::MAX, u64::MAX, u64::MAX)), u64::MAX);
    }

    #[test]
    fn cached_tokens_have_their_own_price_and_cannot_exceed_the_prompt() {
        let price = Price {
            input_micro_usd_per_mtok: 1_000_000,
            cached_input_micro_usd_per_mtok: 100_000,
            cache_write_micro_usd_per_mtok: 2_000_000,
            output_micro_usd_per_mtok: 0,
            unit_micro_usd_per_million: None,
        };
        assert_eq!(price.cost_micro_usd(&usage(100, 90, 0)), 19);
        assert_eq!(price.cost_micro_usd(&usage(10, 90, 0)), 1);
        let written = |tokens| Usage { cache_write_tokens: tokens, ..usage(100, 50, 0) };
        assert_eq!(price.cost_micro_usd(&written(10)), 40 + 5 + 20);
        assert_eq!(price.cost_micro_usd(&written(90)), 5 + 100);
    }

    #[test]
    fn what_is_no_token_costs_its_own_price_or_what_its_tokens_do() {
        let free = usage(0, 0, 0);
        let of_units = |price| Price { unit_micro_usd_per_million: Some(price), ..DEMO };
        assert_eq!(of_units(40_000_000_000).cost_with_units_micro_usd(&free, Some(2)), Some(80_000));
        assert_eq!(of_units(1).cost_with_units_micro_usd(&free, Some(1)), Some(1), "rounded up, never free");
        assert_eq!(DEMO.cost_with_units_micro_usd(&free, Some(2)), None, "not known is not nothing");
        assert_eq!(DEMO.cost_with_units_micro_usd(&usage(0, 0, 1_000_000), Some(2)), Some(400_000));
        assert_eq!(DEMO.cost_with_units_micro_usd(&free, None), Some(0));
    }

    #[test]
    fn only_the_models_that_are_built_in_have_a_built_in_price() {
        assert_eq!(built_in("demo", "assistant"), Some(DEMO));
        assert_eq!(built_in("mock", "echo"), Some(DEMO));
        assert_eq!(built_in("demo", "gpt-x"), None);
        assert_eq!(built_in("openai", "assistant"), None);
    }

    proptest! {
        #[test]
        fn splitting_a_reply_never_makes_it_cheaper(a in 0..1u64 << 40, b in 0..1u64 << 40, c in 0..1u64 << 40) {
            let whole = DEMO.cost_micro_usd(&usage(a + b, 0, c));
            let parts = DEMO.cost_micro_usd(&usage(a, 0, 0)) + DEMO.cost_micro_usd(&usage(b, 0, c));
            prop_assert!(parts >= whole);
        }
    }
}
