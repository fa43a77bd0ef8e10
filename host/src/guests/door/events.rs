//! `events.emit`: what the caller sees while an agent runs.

use super::Door;
use crate::{
    guests::chain::{EmitError, Emitted},
    registry::PluginKind,
    sandbox::door::DoorError,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: String,
}

pub(super) async fn emit(door: &Door, event: &str) -> Result<(), DoorError> {
    let event: Event = serde_json::from_str(event).map_err(|_| {
        DoorError::Invalid("an event is a JSON object with a `type`, and a `text` where it is text".into())
    })?;
    // A tool's words are its result; only an agent speaks to the client.
    if door.grants.plugin().kind != PluginKind::Agent {
        return Ok(());
    }
    let emitted = match event.kind.as_str() {
        "text" => Emitted::Text(event.text),
        "reasoning" => Emitted::Reasoning(event.text),
        _ => return Ok(()),
    };
    door.chain.emit(emitted).await.map_err(|error| match error {
        EmitError::NobodyListens => DoorError::Unavailable(error.to_string()),
        EmitError::TooLarge => DoorError::Limit(error.to_string()),
    })
}
