//! What an upload's bytes and a typed tool's values meet first, without the sandbox around it: for the properties in
//! `fuzz/`, which want millions of calls.

use super::{
    engine::new_engine,
    typed::{self, value},
    verify::{LoadError, verify},
};
use serde_json::Value;
use wasmtime::component::{Component, types::ComponentItem};

/// The checks of an upload before anything is compiled.
///
/// # Errors
/// What is wrong with it.
pub fn check(wasm: &[u8]) -> Result<(), LoadError> {
    verify(wasm).map(drop)
}

/// The functions that a component exports by themselves.
pub struct Functions(Vec<(String, wasmtime::component::types::ComponentFunc)>);

impl Functions {
    /// Compiles a component, here: for one of ours.
    ///
    /// # Errors
    /// The engine's.
    pub fn of(wasm: &[u8]) -> wasmtime::Result<Functions> {
        let engine = new_engine(1)?;
        let component = Component::new(&engine, wasm)?;
        let exports = component.component_type();
        let functions = exports.exports(&engine).filter_map(|(name, item)| match item.ty {
            ComponentItem::ComponentFunc(ty) => Some((name.to_owned(), ty)),
            _ => None,
        });
        Ok(Functions(functions.collect()))
    }

    /// The JSON of the values that a function's arguments become, by the names of its parameters.
    ///
    /// # Errors
    /// What is wrong with them; also where there is no such function.
    pub fn there_and_back(&self, function: &str, input: &str) -> Result<Value, String> {
        let (_, ty) = self.0.iter().find(|(name, _)| name == function).ok_or("no such function")?;
        let values = typed::params(ty, input)?;
        let back = ty.params().zip(values).map(|((name, ty), value)| {
            Ok((name.to_owned(), value::into_json(&ty, value).map_err(|wrong| format!("back: {wrong}"))?))
        });
        Ok(Value::Object(back.collect::<Result<_, String>>()?))
    }
}
