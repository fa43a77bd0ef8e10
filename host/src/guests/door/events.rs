//! `events.emit`: what the caller sees while an agent runs.

use super::Door;
use crate::{
    guests::chain::{EmitError, Emitted},
    limits::OUTPUT_DEPTH_MAX,
    registry::PluginKind,
    sandbox::door::DoorError,
    tools::output,
};
use serde_json::{Map, Value};

/// The name of a kind of event.
const KIND_BYTES_MAX: usize = 64;

pub(super) async fn emit(door: &Door, event: &str) -> Result<(), DoorError> {
    let invalid = || {
        DoorError::Invalid("an event is a JSON object with a `type`, and a `text` where it is text".into())
    };
    // What is kept of it is read by many, with something put around it.
    if output::depth(event) > OUTPUT_DEPTH_MAX {
        return Err(DoorError::Invalid(format!("an event is nested {OUTPUT_DEPTH_MAX} deep at the most")));
    }
    let mut event: Map<String, Value> = serde_json::from_str(event).map_err(|_| invalid())?;
    let kind = event.get("type").and_then(Value::as_str).ok_or_else(invalid)?.to_owned();
    if kind.len() > KIND_BYTES_MAX {
        return Err(DoorError::Invalid(format!("an event's `type` is {KIND_BYTES_MAX} bytes at the most")));
    }
    let mut text = || match event.remove("text") {
        Some(Value::String(text)) => Ok(text),
        None => Ok(String::new()),
        Some(_) => Err(invalid()),
    };
    // A tool's words are its result; only an agent speaks to the client.
    if door.grants.plugin().kind != PluginKind::Agent {
        return Ok(());
    }
    let emitted = match kind.as_str() {
        "text" => Emitted::Text(text()?),
        "reasoning" => Emitted::Reasoning(text()?),
        _ => Emitted::Other { kind, event },
    };
    door.chain.emit(emitted).await.map_err(|error| match error {
        EmitError::NobodyListens => DoorError::Unavailable(error.to_string()),
        EmitError::TooLarge => DoorError::Limit(error.to_string()),
    })
}
