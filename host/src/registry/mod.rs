//! What is installed: tools and agents, uploaded by a tenant or shipped with OPG.
//!
//! A plugin is a name, its versions, and what the tenant granted it. An upload
//! is checked, compiled and asked what it is (`describe`) before it is stored;
//! a version that asks for capabilities, or says something new, runs only once
//! it was reviewed. What a tenant uploads shadows what is shipped under the same
//! name.
//!
//! - [`upload`], [`review`], [`rollback`], [`remove`]: what is done to a plugin; `seen`: whether it is still what was
//!   read.
//! - [`compare`], `words`: what a reviewer reads.
//! - [`resolve`]: from a name to something that runs.
//! - [`recompile`], [`remake`]: after a release with another engine, or another JavaScript runtime.
//! - [`blobs`]: the bytes, by digest. [`kept`]: which versions and bytes stay. [`predefined`]: what we ship.
//! - [`markdown`]: agents written as text, run by the `default` agent.

pub mod blobs;
pub mod compare;
pub mod compiling;
pub mod kept;
pub mod markdown;
pub mod predefined;
pub mod recompile;
pub mod remake;
pub mod remove;
pub mod resolve;
pub mod review;
pub mod rollback;
pub mod routes;
mod sbom;
mod seen;
pub mod signature;
mod store;
pub mod upload;
mod words;

use crate::{grants::Capability, sandbox::door::ToolDefinition};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Functions a model can call.
    Tool,
    /// A loop that answers a turn.
    Agent,
}

impl PluginKind {
    /// The name in the database and in texts.
    pub const fn name(self) -> &'static str {
        match self {
            PluginKind::Tool => "tool",
            PluginKind::Agent => "agent",
        }
    }
}

impl From<crate::sandbox::PluginKind> for PluginKind {
    fn from(kind: crate::sandbox::PluginKind) -> PluginKind {
        match kind {
            crate::sandbox::PluginKind::Tool => PluginKind::Tool,
            crate::sandbox::PluginKind::Agent => PluginKind::Agent,
        }
    }
}

/// A plugin, by kind and name, within an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName {
    /// Its kind.
    pub kind: PluginKind,
    /// Its name.
    pub name: String,
}

impl PluginName {
    /// A tool.
    pub fn tool(name: impl Into<String>) -> PluginName {
        PluginName { kind: PluginKind::Tool, name: name.into() }
    }

    /// An agent.
    pub fn agent(name: impl Into<String>) -> PluginName {
        PluginName { kind: PluginKind::Agent, name: name.into() }
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.name(), self.name)
    }
}

/// Whether this may name a plugin: `^[a-z0-9-]{1,64}$` (row M218).
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A capability as a plugin asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// What it wants.
    #[serde(flatten)]
    pub capability: Capability,
    /// Why, for the person who decides.
    pub reason: String,
}

/// What a version said it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Description {
    /// A plugin of tools.
    Tools {
        /// Each of them.
        tools: Vec<ToolDefinition>,
    },
    /// An agent that is a component.
    Agent {
        /// What it is for.
        description: String,
    },
    /// An agent that is text.
    Markdown(markdown::Agent),
}

impl Description {
    /// Whether a reviewer would read the same: what models are told, what it may use. The prompt of a markdown agent
    /// is its code, as a component's bytes are, and like them may change.
    pub fn declares_the_same(&self, other: &Description) -> bool {
        match (self, other) {
            (Description::Markdown(one), Description::Markdown(other)) => {
                (&one.description, &one.model, &one.tools) == (&other.description, &other.model, &other.tools)
            }
            _ => self == other,
        }
    }

    /// Its tools, if it has any.
    pub fn tools(&self) -> &[ToolDefinition] {
        match self {
            Description::Tools { tools } => tools,
            Description::Agent { .. } | Description::Markdown(_) => &[],
        }
    }
}

/// How a version is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A WebAssembly component.
    Component,
    /// Markdown with front matter.
    Markdown,
    /// A TypeScript file, and the component made of it.
    TypeScript,
    /// A core WebAssembly module, an Extism plugin; its manifest, if any, stands in it.
    Extism,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Format::Component => "component",
            Format::Markdown => "markdown",
            Format::TypeScript => "typescript",
            Format::Extism => "extism",
        }
    }

    /// The format of this name; a component, unless it is another's.
    fn parse(name: &str) -> Format {
        let others = [Format::Markdown, Format::TypeScript, Format::Extism];
        let other = others.into_iter().find(|format| format.name() == name);
        other.unwrap_or(Format::Component)
    }

    /// The media type of what runs.
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::Component | Format::TypeScript | Format::Extism => "application/wasm",
            Format::Markdown => "text/markdown; charset=utf-8",
        }
    }
}
