//! Variables: for one call, or where the manifest asks for it and that was granted, in the key-value store.

use super::kernel::{Plugin, Refused, give, state, taken, taken_text};
use super::manifest::VARS_PREFIX;
use crate::sandbox::door::{DoorError, LogLevel};
use crate::sandbox::limits::ARENA_BLOCK_BYTES;
use std::collections::BTreeMap;

/// A call's variables.
#[derive(Default)]
pub(super) struct Vars {
    of_this_call: BTreeMap<String, Box<[u8]>>,
    /// What they cost, in bytes.
    bytes: usize,
    /// They were to be kept, and that was denied.
    denied: bool,
}

impl Vars {
    fn remove(&mut self, key: &str) -> usize {
        let freed = self.of_this_call.remove(key).map_or(0, |value| cost(key, &value));
        self.bytes = self.bytes.saturating_sub(freed);
        freed
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ARENA_BLOCK_BYTES
}

pub(super) async fn get(plugin: &mut Plugin<'_>, key: u64) -> wasmtime::Result<u64> {
    state(plugin);
    let key = taken_text(plugin, key, "var key")?;
    if are_kept(plugin) {
        let (host, kept) = (plugin.data().host.clone(), kept_as(&key));
        let door = host.door.clone();
        match host.ask(async move { door.kv_get(kept).await }).await {
            Ok(value) => return give(plugin, &value.unwrap_or_default()),
            Err(error) => unless_denied(plugin, error)?,
        }
    }
    match plugin.data().extism.vars.of_this_call.get(&key).cloned() {
        Some(value) => give(plugin, &value),
        None => Ok(0),
    }
}

/// A value of 0 removes the variable.
pub(super) async fn set(plugin: &mut Plugin<'_>, key: u64, value: u64) -> wasmtime::Result<()> {
    let max = state(plugin).extism.settings.var_bytes_max;
    if max == 0 {
        return Err(Refused("the manifest leaves no room for variables".to_owned()).into());
    }
    let key = taken_text(plugin, key, "var key")?;
    let value = match value {
        0 => None,
        value => Some(taken(plugin, value, "var value")?),
    };
    if are_kept(plugin) {
        let (host, kept, value) = (plugin.data().host.clone(), kept_as(&key), value.clone());
        let door = host.door.clone();
        let done = host.ask(async move {
            match value {
                Some(value) => door.kv_set(kept, value.into_vec()).await,
                None => door.kv_delete(kept).await,
            }
        });
        match done.await {
            Ok(()) => return Ok(()),
            Err(error) => unless_denied(plugin, error)?,
        }
    }
    set_for_this_call(plugin, key, value, max)
}

fn set_for_this_call(
    plugin: &mut Plugin<'_>,
    key: String,
    value: Option<Box<[u8]>>,
    max: usize,
) -> wasmtime::Result<()> {
    let state = plugin.data_mut();
    let freed = state.extism.vars.remove(&key);
    state.memory.give(freed);
    let Some(value) = value else { return Ok(()) };
    let cost = cost(&key, &value);
    if state.extism.vars.bytes.saturating_add(cost) > max {
        return Err(Refused(format!("the variables have more than {max} bytes together")).into());
    }
    if !state.memory.take(cost) {
        return Err(wasmtime::Error::msg("there is no room for a variable"));
    }
    state.extism.vars.bytes += cost;
    state.extism.vars.of_this_call.insert(key, value);
    Ok(())
}

fn are_kept(plugin: &Plugin<'_>) -> bool {
    let extism = &plugin.data().extism;
    extism.settings.keeps_vars && !extism.vars.denied
}

fn kept_as(key: &str) -> String {
    format!("{VARS_PREFIX}{key}")
}

/// Without a grant the variables are those of this call, as they would be if nothing had been asked for.
fn unless_denied(plugin: &mut Plugin<'_>, error: DoorError) -> wasmtime::Result<()> {
    let DoorError::Denied(why) = error else { return Err(Refused::from(error).into()) };
    let state = plugin.data_mut();
    state.extism.vars.denied = true;
    state.host.log(LogLevel::Warn, &format!("variables live for this call only: {why}"));
    Ok(())
}
