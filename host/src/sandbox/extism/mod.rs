//! Extism plugins: core modules that speak Extism's ABI, which PDKs of a dozen languages do.
//!
//! A module that imports `extism:host/env` is one; its imports are the functions of [`kernel`], over an [`arena`], and
//! a little of WASI preview 1 ([`wasi`]). It is verified ([`shape`]), compiled in the child and run in a store of its
//! own like any guest, within the same limits, and reaches what its manifest ([`manifest`]) asks for through the same
//! door.
//!
//! Each function it exports is a tool, which reads its arguments as JSON and answers with JSON or text; or it describes
//! its tools itself ([`servlet`]).
//!
//! Deliberately absent: functions of the host's own (`extism:host/user`), files, modules linked together, and an
//! instance that outlives a call.

mod arena;
mod http;
mod kernel;
mod manifest;
mod servlet;
mod shape;
mod vars;
mod wasi;

pub(super) use kernel::{Kernel, TooMuch};
pub(super) use manifest::into_module;
pub(super) use shape::{Shape, verify};

use super::bindings::tool::exports::opg::tool::tool::{Definition, Error};
use super::bindings::tool::opg::tool::types::Capability;
use super::describe::RequestedCapability;
use super::limits::{ERROR_TEXT_BYTES_MAX, OUTPUT_BYTES_MAX, VARS_BYTES_MAX};
use super::state::GuestState;
use super::verify::LoadError;
use kernel::{Refused, Settings};
use manifest::{Input, Manifest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use shape::SERVLET;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::{Engine, Extern, Instance, InstancePre, Linker, Module, ModuleExport, Store, Trap};
use wasmtime_wasi::I32Exit;

/// What plugins may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    kernel::add_to_linker(&mut linker)?;
    wasi::add_to_linker(engine, &mut linker)?;
    Ok(linker)
}

/// A linked plugin.
pub(super) struct Plugin {
    pre: InstancePre<GuestState>,
    /// By the names of its functions.
    functions: BTreeMap<String, ModuleExport>,
    describes_itself: bool,
    manifest: Manifest,
    settings: Arc<Settings>,
}

impl Plugin {
    /// Finds the functions of a linked module.
    pub(super) fn new(
        module: &Module,
        pre: InstancePre<GuestState>,
        shape: &Shape,
    ) -> Result<Self, LoadError> {
        let index = |name: &String| module.get_export_index(name).map(|index| (name.clone(), index));
        let functions: Option<_> = shape.functions.iter().map(index).collect();
        let functions =
            functions.ok_or_else(|| LoadError::Engine("an exported function cannot be found".to_owned()))?;
        let manifest = shape.manifest.clone();
        let var_bytes_max = manifest
            .memory
            .max_var_bytes
            .map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let settings = Settings {
            config: manifest.config.clone(),
            keeps_vars: manifest.opg.keep_vars,
            var_bytes_max: var_bytes_max.min(VARS_BYTES_MAX),
            response_bytes_max: manifest.memory.max_http_response_bytes,
        };
        Ok(Self {
            pre,
            functions,
            describes_itself: shape.is_servlet(),
            manifest,
            settings: Arc::new(settings),
        })
    }

    /// Whether one must run it to know its tools.
    pub(super) fn describes_itself(&self) -> bool {
        self.describes_itself
    }

    /// What its tools are, where its functions are the tools.
    pub(super) fn definitions(&self) -> Vec<Definition> {
        self.with_wishes(self.functions.keys().map(|name| self.definition(name)).collect())
    }

    fn definition(&self, name: &str) -> Definition {
        let told = self.manifest.opg.tools.get(name).cloned().unwrap_or_default();
        let schema = told.input_schema.unwrap_or_else(|| match told.input {
            Input::Json => json!({ "type": "object" }),
            Input::Text => json!({
                "type": "object",
                "properties": { "text": { "type": "string" } },
                "required": ["text"],
                "additionalProperties": false,
            }),
        });
        Definition {
            name: name.to_owned(),
            description: told
                .description
                .unwrap_or_else(|| format!("The function `{name}` of an Extism plugin.")),
            input_schema: schema.to_string(),
            capabilities: vec![],
        }
    }

    /// Asks it what its tools are, or why it does not say. What is configured is not there yet.
    pub(super) async fn describe(
        &self,
        store: &mut Store<GuestState>,
    ) -> wasmtime::Result<Result<Vec<Definition>, String>> {
        let said = unless_refused(self.run(store, SERVLET[0], b"").await)?;
        Ok(said.and_then(|said| servlet::definitions(&said)).map(|found| self.with_wishes(found)))
    }

    /// The manifest's wishes are those of the whole plugin: they stand with its first tool.
    fn with_wishes(&self, mut definitions: Vec<Definition>) -> Vec<Definition> {
        if let Some(first) = definitions.first_mut() {
            let wish = |wish: RequestedCapability| Capability {
                kind: wish.kind,
                target: wish.target,
                reason: wish.reason,
            };
            first.capabilities = self.manifest.wishes().into_iter().map(wish).collect();
        }
        definitions
    }

    /// Calls a tool, in an instance of its own.
    pub(super) async fn call(
        &self,
        store: &mut Store<GuestState>,
        name: &str,
        input: &str,
    ) -> wasmtime::Result<Result<String, Error>> {
        store.data_mut().extism.settings = self.settings.clone();
        let called = if self.describes_itself {
            let request = match servlet::request(name, input) {
                Ok(request) => request,
                Err(wrong) => return Ok(Err(Error::InvalidInput(wrong))),
            };
            self.run(store, SERVLET[1], &request).await
        } else {
            match self.input(name, input) {
                Ok(input) => self.run(store, name, &input).await,
                Err(wrong) => return Ok(Err(Error::InvalidInput(wrong))),
            }
        };
        let output = match unless_refused(called)? {
            Ok(output) => output,
            Err(failed) => return Ok(Err(Error::Failed(failed))),
        };
        if self.describes_itself {
            return Ok(servlet::answer(&output));
        }
        Ok(match String::from_utf8(output) {
            Ok(text) => Ok(json_or_text(text)),
            Err(_) => Err(Error::Failed("its output is neither JSON nor text in UTF-8".to_owned())),
        })
    }

    /// What a function reads of a tool's input.
    fn input(&self, name: &str, input: &str) -> Result<Vec<u8>, String> {
        if !self.functions.contains_key(name) {
            return Err(format!("there is no tool `{name}`"));
        }
        match self.manifest.opg.tools.get(name).map_or(Input::Json, |told| told.input) {
            Input::Json => Ok(input.as_bytes().to_vec()),
            Input::Text => {
                #[derive(Deserialize)]
                struct Text {
                    text: String,
                }
                let given: Text = serde_json::from_str(input).map_err(|error| error.to_string())?;
                Ok(given.text.into_bytes())
            }
        }
    }

    /// Runs a function: its output, or its error.
    async fn run(
        &self,
        store: &mut Store<GuestState>,
        function: &str,
        input: &[u8],
    ) -> wasmtime::Result<Result<Vec<u8>, String>> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        begin(store, instance).await?;
        let state = store.data_mut();
        // What it did as it began does not count as this call's.
        state.extism.arena.reset(&mut state.memory);
        let handle = state.extism.arena.put(input, &mut state.memory);
        let handle = handle.ok_or_else(|| wasmtime::Error::msg("there is no room for the input"))?;
        state.extism.arena.set_input(handle, input.len() as u64);
        let callee = self
            .functions
            .get(function)
            .and_then(|index| instance.get_module_export(&mut *store, index))
            .and_then(Extern::into_func)
            .ok_or_else(|| wasmtime::Error::msg("the function is not there any more"))?;
        let status = match callee.typed::<(), i32>(&*store) {
            Ok(callee) => callee.call_async(&mut *store, ()).await,
            Err(_) => callee.typed::<(), ()>(&*store)?.call_async(&mut *store, ()).await.map(|()| 0),
        };
        ended(status, store.data())
    }
}

/// What the host refuses ends a call of Extism's, and is no crash of the plugin's.
fn unless_refused<T>(called: wasmtime::Result<Result<T, String>>) -> wasmtime::Result<Result<T, String>> {
    called.or_else(|error| error.downcast::<Refused>().map(|Refused(why)| Err(why)))
}

/// What a call came to: what it returned matters less than the error it set.
fn ended(status: wasmtime::Result<i32>, state: &GuestState) -> wasmtime::Result<Result<Vec<u8>, String>> {
    let arena = &state.extism.arena;
    let status = match status {
        Ok(status) => status,
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(0)) => 0,
            // A runtime says what is wrong, and then gives up.
            None if !error.is::<Trap>() => return Err(error),
            _ if arena.error().is_none() || state.memory.was_refused() => return Err(error),
            _ => -1,
        },
    };
    if let Some(error) = arena.error() {
        // One byte more than fits, so that whoever shows it sees that it must cut.
        let error = &error[..error.len().min(ERROR_TEXT_BYTES_MAX + 1)];
        return Ok(Err(String::from_utf8_lossy(error).into_owned()));
    }
    if status != 0 {
        return Ok(Err(format!("it returned {status} and did not say why")));
    }
    let output = arena.output();
    if output.len() > OUTPUT_BYTES_MAX {
        return Err(TooMuch.into());
    }
    Ok(Ok(output.to_vec()))
}

/// Starts the plugin's runtime, as Extism does: Haskell's, or C's by one of two names.
async fn begin(store: &mut Store<GuestState>, instance: Instance) -> wasmtime::Result<()> {
    if let Some(haskell) = instance.get_func(&mut *store, "hs_init") {
        call_if_there(store, instance, "_initialize").await?;
        if let Ok(haskell) = haskell.typed::<(i32, i32), ()>(&*store) {
            haskell.call_async(&mut *store, (0, 0)).await?;
        }
        return Ok(());
    }
    if instance.get_func(&mut *store, "__wasm_call_ctors").is_some() {
        return call_if_there(store, instance, "__wasm_call_ctors").await;
    }
    call_if_there(store, instance, "_initialize").await
}

async fn call_if_there(
    store: &mut Store<GuestState>,
    instance: Instance,
    name: &str,
) -> wasmtime::Result<()> {
    match instance.get_typed_func::<(), ()>(&mut *store, name) {
        Ok(function) => function.call_async(&mut *store, ()).await,
        // Not there, or another's by this name.
        Err(_) => Ok(()),
    }
}

/// What a tool answers with: JSON as it is, anything else as a text; nothing is `null`.
fn json_or_text(text: String) -> String {
    if text.is_empty() {
        return "null".to_owned();
    }
    if serde_json::from_str::<IgnoredAny>(&text).is_ok() {
        return text;
    }
    serde_json::Value::String(text).to_string()
}
