//! Components that know nothing of us: each function they export is a tool.
//!
//! Any component with ordinary WIT functions will do. A tool's schema comes
//! from the function's types (`schema`), its input and output are JSON for
//! them (`value`), its description is the doc comment that the author's
//! toolchain left in the component (`docs`).
//!
//! A function in an interface is called `<interface>_<function>`. Where a
//! function returns a `result`, its error is the tool's error.
//!
//! Deliberately absent: resources, streams and futures, which are no values;
//! capabilities, which such a component has no way to ask for.

pub(super) mod docs;
mod schema;
pub(super) mod value;

use super::bindings::tool::exports::opg::tool::tool::{Definition, Error};
use super::state::GuestState;
use super::verify::LoadError;
use docs::Docs;
use schema::Unfit;
use serde_json::Value;
use std::collections::BTreeMap;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Type, Val};
use wasmtime::{Engine, Store};

/// A linked component with its functions, by the names of the tools they are.
pub(super) struct Typed {
    pre: InstancePre<GuestState>,
    functions: BTreeMap<String, Function>,
}

struct Function {
    index: ComponentExportIndex,
    ty: ComponentFunc,
    definition: Definition,
}

impl Typed {
    /// Finds the functions of a component.
    pub(super) fn new(
        engine: &Engine,
        component: &Component,
        pre: InstancePre<GuestState>,
        docs: &Docs,
    ) -> Result<Self, LoadError> {
        let mut functions = BTreeMap::new();
        let mut add = |found: Found<'_>| -> Result<(), LoadError> {
            let name = found.tool_name();
            let function = found.function(component, docs)?;
            match functions.insert(name.clone(), function) {
                None => Ok(()),
                Some(_) => Err(unfit(&name, "two functions would be tools of this name; rename one")),
            }
        };
        let ty = component.component_type();
        for (export, item) in ty.exports(engine) {
            // What a toolchain adds, such as `wasi:cli/run`, is not the author's.
            if export.starts_with("wasi:") {
                continue;
            }
            match item.ty {
                ComponentItem::ComponentFunc(ty) => add(Found { interface: None, name: export, ty })?,
                ComponentItem::ComponentInstance(instance) => {
                    for (name, item) in instance.exports(engine) {
                        if let ComponentItem::ComponentFunc(ty) = item.ty {
                            add(Found { interface: Some(export), name, ty })?;
                        }
                    }
                }
                _ => {}
            }
        }
        if functions.is_empty() {
            return Err(LoadError::NoExport);
        }
        Ok(Self { pre, functions })
    }

    /// What its tools are, by name.
    pub(super) fn definitions(&self) -> Vec<Definition> {
        self.functions.values().map(|function| function.definition.clone()).collect()
    }

    /// Calls a function, in an instance of its own.
    pub(super) async fn call(
        &self,
        store: &mut Store<GuestState>,
        name: &str,
        input: &str,
    ) -> wasmtime::Result<Result<String, Error>> {
        let Some(function) = self.functions.get(name) else {
            return Ok(Err(Error::InvalidInput(format!("there is no tool `{name}`"))));
        };
        let params = match params(&function.ty, input) {
            Ok(params) => params,
            Err(wrong) => return Ok(Err(Error::InvalidInput(wrong))),
        };
        let mut results = vec![Val::Bool(false); function.ty.results().len()];
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let callee = instance
            .get_func(&mut *store, function.index)
            .ok_or_else(|| wasmtime::Error::msg("the function is not there any more"))?;
        callee.call_async(&mut *store, &params, &mut results).await?;
        Ok(answer(&function.ty, results.pop()))
    }
}

/// The values of a function's arguments.
pub(super) fn params(ty: &ComponentFunc, input: &str) -> Result<Vec<Val>, String> {
    let mut given: serde_json::Map<String, Value> =
        serde_json::from_str(input).map_err(|error| format!("the input is not a JSON object: {error}"))?;
    ty.params()
        .map(|(name, ty)| {
            let value = given.remove(name).unwrap_or(Value::Null);
            value::from_json(&ty, value).map_err(|wrong| format!("`{name}`: {wrong}"))
        })
        .collect()
}

/// A `result` at the top is the tool's own answer or error; nothing is `null`.
fn answer(ty: &ComponentFunc, result: Option<Val>) -> Result<String, Error> {
    let json = match (ty.results().next(), result) {
        (Some(Type::Result(ty)), Some(Val::Result(Ok(value)))) => value::unboxed(ty.ok(), value),
        (Some(Type::Result(ty)), Some(Val::Result(Err(error)))) => {
            return Err(Error::Failed(words(value::unboxed(ty.err(), error))));
        }
        (Some(ty), Some(value)) => value::into_json(&ty, value),
        _ => Ok(Value::Null),
    };
    json.map(|json| json.to_string()).map_err(Error::Failed)
}

/// What a function says of its failure, as a sentence where it is one.
fn words(error: Result<Value, String>) -> String {
    match error {
        Ok(Value::String(words)) | Err(words) => words,
        Ok(Value::Null) => "it failed and does not say why".to_owned(),
        Ok(json) => json.to_string(),
    }
}

/// A function among the exports.
struct Found<'a> {
    /// The export it stands in, such as `acme:geo/distance@1.0.0`.
    interface: Option<&'a str>,
    name: &'a str,
    ty: ComponentFunc,
}

impl Found<'_> {
    fn tool_name(&self) -> String {
        match self.interface {
            None => self.name.to_owned(),
            Some(interface) => format!("{}_{}", bare(interface), self.name),
        }
    }

    fn function(&self, component: &Component, docs: &Docs) -> Result<Function, LoadError> {
        let name = self.tool_name();
        let wrong = |why: Unfit| unfit(&name, &why.to_string());
        let interface = self.interface.and_then(|interface| component.get_export_index(None, interface));
        let index = component
            .get_export_index(interface.as_ref(), self.name)
            .ok_or_else(|| LoadError::Engine(format!("the export `{name}` cannot be found")))?;
        let input_schema = schema::of_params(&self.ty).map_err(wrong)?.to_string();
        self.ty.results().try_for_each(|ty| schema::of(&ty).map(drop)).map_err(wrong)?;
        let description = docs
            .get(&docs::key(self.interface.map(bare), self.name))
            .cloned()
            .unwrap_or_else(|| signature(&name, &self.ty));
        let definition = Definition { name, description, input_schema, capabilities: vec![] };
        Ok(Function { index, ty: self.ty.clone(), definition })
    }
}

/// `distance` of `acme:geo/distance@1.0.0`.
fn bare(interface: &str) -> &str {
    let path = interface.split('@').next().unwrap_or(interface);
    path.rsplit(['/', ':']).next().unwrap_or(path)
}

/// What stands where the author has said nothing.
fn signature(name: &str, ty: &ComponentFunc) -> String {
    let params: Vec<_> = ty.params().map(|(name, ty)| format!("{name}: {}", schema::wit_name(&ty))).collect();
    let result = ty.results().next().map(|ty: Type| format!(" -> {}", schema::wit_name(&ty)));
    format!("{name}({}){}", params.join(", "), result.unwrap_or_default())
}

fn unfit(name: &str, why: &str) -> LoadError {
    LoadError::Function { name: super::text::clean(name, 100), why: why.to_owned() }
}
