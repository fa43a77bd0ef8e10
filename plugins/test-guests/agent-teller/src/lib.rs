//! Test guest: an agent that tells whatever it is told to.

use opg_guest::*;

/// Emits the events that the last message is a list of, each as often as its `times` says, and answers with what the
/// host said to each: `ok`, or why not. `nested` stands for so many lists in each other.
#[agent]
fn tell(turn: Turn) -> Result<Outcome, Error> {
    let said = turn.messages.last().and_then(|message| message["content"].as_str()).unwrap_or("[]");
    let events: Vec<Value> = serde_json::from_str(said).map_err(|error| Error::Failed(error.to_string()))?;
    let mut answers = Vec::new();
    for mut event in events {
        let times = event["times"].as_u64().unwrap_or(1);
        if let Some(nested) = event["nested"].as_u64() {
            event["nested"] = (0..nested).fold(json!([]), |inner, _| json!([inner]));
        }
        let told: Vec<_> = (0..times).map(|_| events::emit(&event)).collect();
        answers.push(match told.into_iter().find_map(Result::err) {
            None => "ok".to_owned(),
            Some(error) => error.to_string(),
        });
    }
    let text = answers.join("; ");
    events::text(&text)?;
    let message = json!({"role": "assistant", "content": text});
    Ok(Outcome { finish_reason: FinishReason::Stop, messages: vec![message] })
}
