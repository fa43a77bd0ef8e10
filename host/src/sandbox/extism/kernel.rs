//! `extism:host/env`: Extism's kernel and its host functions, as functions of ours.
//!
//! They are those of Extism 1; the memory they share with the plugin is an [`Arena`], and what they reach is behind the
//! call's [`Door`](crate::sandbox::door::Door). A function that takes a handle owns it from then on, as there.

use super::arena::Arena;
use super::vars::Vars;
use super::{http, vars};
use crate::sandbox::clock::Coarse;
use crate::sandbox::door::{DoorError, LogLevel};
use crate::sandbox::limits::{HOSTCALL_BYTES_MAX, LOG_LINE_BYTES_MAX};
use crate::sandbox::state::GuestState;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::{Caller, Linker};
use wasmtime_wasi::clocks::MonotonicClock;

/// What plugins import from.
pub(super) const ENV: &str = "extism:host/env";

/// Where an application that embeds Extism offers functions of its own. Here are none.
pub(super) const USER: &str = "extism:host/user";

/// What there is of it: all of Extism 1 but `memory` and `extism_context`, which are no functions, and which no PDK
/// imports.
pub(super) const FUNCTIONS: [&str; 32] = [
    "alloc",
    "free",
    "length",
    "length_unsafe",
    "load_u8",
    "load_u64",
    "store_u8",
    "store_u64",
    "memory_bytes",
    "reset",
    "input_set",
    "input_offset",
    "input_length",
    "input_load_u8",
    "input_load_u64",
    "output_set",
    "output_offset",
    "output_length",
    "error_set",
    "error_get",
    "config_get",
    "var_get",
    "var_set",
    "http_request",
    "http_status_code",
    "http_headers",
    "log_trace",
    "log_debug",
    "log_info",
    "log_warn",
    "log_error",
    "get_log_level",
];

/// What `get_log_level` says: lines from this level on are kept. Extism counts from 0, which is `trace`.
const LOG_LEVEL_DEBUG: i32 = 1;

/// What one call of a plugin has of Extism.
#[derive(Default)]
pub(in crate::sandbox) struct Kernel {
    pub(super) arena: Arena,
    pub(super) settings: Arc<Settings>,
    pub(super) vars: Vars,
    pub(super) response: http::Response,
    /// Since the plugin first looked at it.
    pub(super) clock: Option<Coarse<MonotonicClock>>,
}

/// What a manifest says of the calls.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) config: BTreeMap<String, String>,
    pub(super) keeps_vars: bool,
    pub(super) var_bytes_max: usize,
    pub(super) response_bytes_max: Option<u64>,
}

/// The call of a plugin that asks for something.
pub(super) type Plugin<'a> = Caller<'a, GuestState>;

/// Why a call ends where the host does not do what was asked: in Extism too nothing comes back to the plugin then.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

impl From<DoorError> for Refused {
    fn from(error: DoorError) -> Self {
        Self(error.to_string())
    }
}

/// Why a call ends that handed over, or would be handed, more than passes at once.
#[derive(Debug, thiserror::Error)]
#[error("more than {HOSTCALL_BYTES_MAX} bytes do not pass between plugin and host at once")]
pub(in crate::sandbox) struct TooMuch;

pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    add_memory(linker)?;
    add_ends(linker)?;
    linker.func_wrap(ENV, "config_get", |mut plugin: Plugin<'_>, key: u64| {
        let key = taken_text(&mut plugin, key, "config key")?;
        let settings = state(&mut plugin).extism.settings.clone();
        settings.config.get(&key).map_or(Ok(0), |value| give(&mut plugin, value.as_bytes()))
    })?;
    linker.func_wrap_async(ENV, "var_get", |mut plugin: Plugin<'_>, (key,): (u64,)| {
        Box::new(async move { vars::get(&mut plugin, key).await })
    })?;
    linker.func_wrap_async(ENV, "var_set", |mut plugin: Plugin<'_>, (key, value): (u64, u64)| {
        Box::new(async move { vars::set(&mut plugin, key, value).await })
    })?;
    linker.func_wrap_async(ENV, "http_request", |mut plugin: Plugin<'_>, (request, body): (u64, u64)| {
        Box::new(async move { http::request(&mut plugin, request, body).await })
    })?;
    linker.func_wrap(ENV, "http_status_code", |plugin: Plugin<'_>| plugin.data().extism.response.status)?;
    linker.func_wrap(ENV, "http_headers", |mut plugin: Plugin<'_>| http::headers(&mut plugin))?;
    linker.func_wrap(ENV, "get_log_level", || LOG_LEVEL_DEBUG)?;
    for (name, level) in [
        ("log_trace", None),
        ("log_debug", Some(LogLevel::Debug)),
        ("log_info", Some(LogLevel::Info)),
        ("log_warn", Some(LogLevel::Warn)),
        ("log_error", Some(LogLevel::Error)),
    ] {
        linker
            .func_wrap(ENV, name, move |mut plugin: Plugin<'_>, line: u64| log(&mut plugin, level, line))?;
    }
    Ok(())
}

/// What the plugin does with the memory it shares with us. Its CPU time pays for these, as for its own memory's, so
/// that those that only look or write are not counted: an input of 8 MiB takes a million of them.
fn add_memory(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    linker.func_wrap(ENV, "alloc", |mut plugin: Plugin<'_>, length: u64| {
        let state = state(&mut plugin);
        state.extism.arena.alloc(length, &mut state.memory)
    })?;
    linker.func_wrap(ENV, "free", |mut plugin: Plugin<'_>, at: u64| {
        let state = plugin.data_mut();
        state.extism.arena.free(at, &mut state.memory);
    })?;
    for name in ["length", "length_unsafe"] {
        linker.func_wrap(ENV, name, |plugin: Plugin<'_>, at: u64| plugin.data().extism.arena.length(at))?;
    }
    linker.func_wrap(ENV, "load_u8", |plugin: Plugin<'_>, at: u64| {
        let [byte] = plugin.data().extism.arena.load(at);
        u32::from(byte)
    })?;
    linker.func_wrap(ENV, "load_u64", |plugin: Plugin<'_>, at: u64| {
        u64::from_le_bytes(plugin.data().extism.arena.load(at))
    })?;
    linker.func_wrap(ENV, "store_u8", |mut plugin: Plugin<'_>, at: u64, value: u32| {
        let [byte, ..] = value.to_le_bytes();
        plugin.data_mut().extism.arena.store(at, [byte]);
    })?;
    linker.func_wrap(ENV, "store_u64", |mut plugin: Plugin<'_>, at: u64, value: u64| {
        plugin.data_mut().extism.arena.store(at, value.to_le_bytes());
    })?;
    linker.func_wrap(ENV, "memory_bytes", |mut plugin: Plugin<'_>| state(&mut plugin).extism.arena.size())?;
    linker.func_wrap(ENV, "reset", |mut plugin: Plugin<'_>| {
        let state = state(&mut plugin);
        state.extism.arena.reset(&mut state.memory);
    })?;
    Ok(())
}

/// Input, output and error.
fn add_ends(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    fn arena<'a>(plugin: &'a Plugin<'_>) -> &'a Arena {
        &plugin.data().extism.arena
    }
    linker.func_wrap(ENV, "input_set", |mut plugin: Plugin<'_>, at: u64, length: u64| {
        plugin.data_mut().extism.arena.set_input(at, length);
    })?;
    linker.func_wrap(ENV, "input_offset", |plugin: Plugin<'_>| arena(&plugin).input_start())?;
    linker.func_wrap(ENV, "input_length", |plugin: Plugin<'_>| arena(&plugin).input_length())?;
    linker.func_wrap(ENV, "input_load_u8", |plugin: Plugin<'_>, offset: u64| {
        let [byte] = arena(&plugin).load_input(offset);
        u32::from(byte)
    })?;
    linker.func_wrap(ENV, "input_load_u64", |plugin: Plugin<'_>, offset: u64| {
        u64::from_le_bytes(arena(&plugin).load_input(offset))
    })?;
    linker.func_wrap(ENV, "output_set", |mut plugin: Plugin<'_>, at: u64, length: u64| {
        plugin.data_mut().extism.arena.set_output(at, length);
    })?;
    linker.func_wrap(ENV, "output_offset", |plugin: Plugin<'_>| arena(&plugin).output_range().0)?;
    linker.func_wrap(ENV, "output_length", |plugin: Plugin<'_>| arena(&plugin).output_range().1)?;
    linker.func_wrap(ENV, "error_set", |mut plugin: Plugin<'_>, at: u64| {
        plugin.data_mut().extism.arena.set_error(at);
    })?;
    linker.func_wrap(ENV, "error_get", |plugin: Plugin<'_>| arena(&plugin).error_start())?;
    Ok(())
}

/// The state of the call, for one more thing it asks for.
pub(super) fn state<'a>(plugin: &'a mut Plugin<'_>) -> &'a mut GuestState {
    plugin.data_mut().asked()
}

/// What the plugin hands over.
pub(super) fn taken(plugin: &mut Plugin<'_>, handle: u64, what: &str) -> wasmtime::Result<Box<[u8]>> {
    let state = plugin.data_mut();
    if state.extism.arena.length(handle) > HOSTCALL_BYTES_MAX as u64 {
        return Err(TooMuch.into());
    }
    state
        .extism
        .arena
        .take(handle, &mut state.memory)
        .ok_or_else(|| wasmtime::Error::msg(format!("invalid handle offset for {what}: {handle}")))
}

/// The same, where it must be text.
pub(super) fn taken_text(plugin: &mut Plugin<'_>, handle: u64, what: &str) -> wasmtime::Result<String> {
    let bytes = taken(plugin, handle, what)?;
    String::from_utf8(bytes.into_vec()).map_err(|_| wasmtime::Error::msg(format!("the {what} is not UTF-8")))
}

/// Hands these bytes to the plugin: their handle, 0 for none.
pub(super) fn give(plugin: &mut Plugin<'_>, bytes: &[u8]) -> wasmtime::Result<u64> {
    let state = plugin.data_mut();
    let handle = state.extism.arena.put(bytes, &mut state.memory);
    // The budget has noted that it was asked for too much: the call ends as out of memory.
    handle.ok_or_else(|| wasmtime::Error::msg("there is no room for what the host gives"))
}

fn log(plugin: &mut Plugin<'_>, level: Option<LogLevel>, line: u64) -> wasmtime::Result<()> {
    state(plugin);
    // An empty line has no block.
    let line = if line == 0 { Box::default() } else { taken(plugin, line, "log message")? };
    if let Some(level) = level {
        // One byte more than fits, so that the log sees that it must cut.
        let line = &line[..line.len().min(LOG_LINE_BYTES_MAX + 1)];
        plugin.data().host.log(level, &String::from_utf8_lossy(line));
    }
    Ok(())
}
