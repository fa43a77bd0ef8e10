//! Test guest: an agent without a model; it repeats the last user message.

use opg_guest::*;

/// Repeats what the user said.
#[agent]
fn echo(turn: Turn) -> Result<Outcome, Error> {
    let last = turn.messages.iter().rev().find(|message| message["role"] == "user");
    let text = last.and_then(|message| message["content"].as_str());
    let text = text.ok_or_else(|| Error::invalid_input("there is no user message with text"))?;
    events::text(text)?;
    Ok(Outcome {
        finish_reason: FinishReason::Stop,
        messages: vec![json!({"role": "assistant", "content": text})],
    })
}
