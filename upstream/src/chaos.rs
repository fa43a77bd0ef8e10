//! What can go wrong with a provider, by the name of a model: no script is needed, and a gateway in between
//! passes the name on.

use crate::Step;

/// A model that fails, always in the same way.
#[derive(Debug, Clone, Copy)]
pub struct Chaos {
    /// The model's name.
    pub model: &'static str,
    /// What it does, for people.
    pub does: &'static str,
    script: fn() -> Vec<Step>,
}

/// How long the slow ones wait, in milliseconds: long enough to see, short enough to wait for.
const SLOW_MS: u64 = 3_000;
/// The pause between the words of `chaos-slow-words`, in milliseconds.
const PAUSE_MS: u64 = 500;

/// All of them.
pub const ALL: [Chaos; 11] = [
    Chaos {
        model: "chaos-slow",
        does: "waits 3 s before the first byte",
        script: || vec![Step::Wait(SLOW_MS), Step::text("at last")],
    },
    Chaos {
        model: "chaos-slow-words",
        does: "pauses half a second after each of five words",
        script: || {
            let words = ["one ", "two ", "three ", "four ", "five"];
            let said = words.into_iter().flat_map(|word| [Step::text(word), Step::Wait(PAUSE_MS)]);
            said.collect()
        },
    },
    Chaos {
        model: "chaos-stall",
        does: "says a few words and then nothing, and keeps the connection",
        script: || vec![begun(), Step::Stall],
    },
    Chaos {
        model: "chaos-reset",
        does: "breaks the connection in the middle of the answer",
        script: || vec![begun(), Step::Reset],
    },
    Chaos {
        model: "chaos-cut",
        does: "ends the answer in the middle, in good order",
        script: || vec![begun(), Step::End],
    },
    Chaos {
        model: "chaos-429",
        does: "429 with Retry-After: 2",
        script: || {
            let message = "slow down".to_owned();
            vec![Step::Error { status: 429, message, retry_after: Some("2".to_owned()) }]
        },
    },
    Chaos {
        model: "chaos-500",
        does: "500 before the first byte",
        script: || vec![Step::error(500, "the provider failed")],
    },
    Chaos {
        model: "chaos-error",
        does: "an error inside the stream",
        script: || vec![begun(), Step::error(500, "the provider failed in the middle")],
    },
    Chaos {
        model: "chaos-malformed",
        does: "a frame that is no JSON",
        script: || vec![begun(), Step::MalformedFrame],
    },
    Chaos { model: "chaos-huge", does: "a frame of 8 MiB", script: || vec![Step::HugeFrame] },
    Chaos { model: "chaos-html", does: "200 with a web page", script: || vec![Step::WrongContentType] },
];

/// What the model of this name does, if it is one of them.
pub(crate) fn script(model: &str) -> Option<Vec<Step>> {
    let chaos = ALL.iter().find(|chaos| chaos.model == model)?;
    Some((chaos.script)())
}

fn begun() -> Step {
    Step::text("Once upon a time")
}
