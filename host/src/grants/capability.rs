//! Capabilities: what a plugin may touch outside its sandbox.
//!
//! A plugin *requests* them in `describe`, each with a reason; a tenant
//! *grants* some at review. What a call may use is what stands in both, and
//! what the caller itself may do ([`super::decide()`]).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A capability, as requested or granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capability {
    /// What sort of thing.
    pub kind: CapabilityKind,
    /// Which one of that sort; the grammar depends on the kind.
    pub target: String,
}

/// What sort of thing a capability opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityKind {
    /// Requests to a host: `api.example.com`, `*.example.com`, `host:8080`, `host:*`, `*`.
    Http,
    /// A secret, for one host: `NAME@api.example.com`.
    Secret,
    /// The plugin's own key-value store: `read` or `write`.
    Kv,
    /// A model: `provider/model`, `provider/*` or `*`.
    Model,
    /// Another tool: its name or `*`.
    Tool,
    /// The app's database: `read:customers`, `write:orders`, `alter:*`.
    #[serde(rename = "db")]
    Database,
}

/// What is done to a table. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DatabaseAccess {
    /// Its rows are read.
    Read,
    /// Its rows are changed.
    Write,
    /// It is created, changed, emptied or dropped.
    Alter,
}

impl DatabaseAccess {
    /// The name in targets.
    pub const fn name(self) -> &'static str {
        match self {
            DatabaseAccess::Read => "read",
            DatabaseAccess::Write => "write",
            DatabaseAccess::Alter => "alter",
        }
    }

    fn parse(name: &str) -> Option<DatabaseAccess> {
        [Self::Read, Self::Write, Self::Alter].into_iter().find(|access| access.name() == name)
    }
}

impl CapabilityKind {
    /// The name in manifests, reviews and the database.
    pub const fn name(self) -> &'static str {
        match self {
            CapabilityKind::Http => "http",
            CapabilityKind::Secret => "secret",
            CapabilityKind::Kv => "kv",
            CapabilityKind::Model => "model",
            CapabilityKind::Tool => "tool",
            CapabilityKind::Database => "db",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<CapabilityKind> {
        [Self::Http, Self::Secret, Self::Kv, Self::Model, Self::Tool, Self::Database]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A host and port a guest wants to reach. Lower case, without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort<'a> {
    /// The host as in the URL, canonical.
    pub host: &'a str,
    /// The port, known or given.
    pub port: u16,
    /// Whether it is the scheme's own port.
    pub default_port: bool,
}

/// What a guest reaches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// A request to this host.
    Http(HostPort<'a>),
    /// The name of a secret, before it is known where it goes.
    SecretName(&'a str),
    /// A secret's value on the way to this host.
    SecretTo { name: &'a str, host: HostPort<'a> },
    /// Reading from its key-value store.
    KvRead,
    /// Writing to its key-value store.
    KvWrite,
    /// A call to this model.
    Model(&'a str),
    /// A call to this tool.
    Tool(&'a str),
    /// A statement of the app's database.
    Database {
        /// What it does.
        access: DatabaseAccess,
        /// To which table, named without the app's prefix; empty: to none, as `select now()`.
        table: &'a str,
    },
}

impl Capability {
    /// A capability of this kind and target.
    pub fn new(kind: CapabilityKind, target: impl Into<String>) -> Capability {
        Capability { kind, target: target.into() }
    }

    /// Whether the target follows the kind's grammar.
    ///
    /// # Errors
    /// What is wrong and what is expected.
    pub fn check(&self) -> Result<(), BadCapability> {
        let ok = match self.kind {
            CapabilityKind::Http => is_host_pattern(&self.target),
            CapabilityKind::Secret => self.target.split_once('@').is_some_and(|(name, host)| {
                crate::secrets::is_name(name) && is_host_pattern(host) && host != "*"
            }),
            CapabilityKind::Kv => matches!(self.target.as_str(), "read" | "write"),
            CapabilityKind::Model => self.target == "*" || is_model_pattern(&self.target),
            CapabilityKind::Tool => self.target == "*" || crate::tools::is_name(&self.target),
            CapabilityKind::Database => table_target(&self.target).is_some(),
        };
        if ok { Ok(()) } else { Err(BadCapability { kind: self.kind, target: self.target.clone() }) }
    }

    /// Whether this opens what the guest reaches for.
    pub fn opens(&self, reach: &Reach<'_>) -> bool {
        match (self.kind, reach) {
            (CapabilityKind::Http, Reach::Http(host)) => host_matches(&self.target, host),
            (CapabilityKind::Secret, Reach::SecretName(wanted)) => {
                self.target.split_once('@').is_some_and(|(name, _)| name == *wanted)
            }
            (CapabilityKind::Secret, Reach::SecretTo { name: wanted, host }) => self
                .target
                .split_once('@')
                .is_some_and(|(name, at)| name == *wanted && host_matches(at, host)),
            (CapabilityKind::Kv, Reach::KvRead) => matches!(self.target.as_str(), "read" | "write"),
            (CapabilityKind::Kv, Reach::KvWrite) => self.target == "write",
            (CapabilityKind::Model, Reach::Model(model)) => model_matches(&self.target, model),
            (CapabilityKind::Tool, Reach::Tool(tool)) => self.target == "*" || self.target == *tool,
            (CapabilityKind::Database, Reach::Database { access, table }) => table_target(&self.target)
                .is_some_and(|(may, of)| *access <= may && (of == "*" || of == *table || table.is_empty())),
            _ => false,
        }
    }

    /// Whether granting `self` stays within `requested`: equal, or narrower
    /// where the kind has patterns (a host under a requested `*`).
    pub fn within(&self, requested: &Capability) -> bool {
        if self.kind != requested.kind {
            return false;
        }
        if self.target == requested.target {
            return true;
        }
        match self.kind {
            CapabilityKind::Http => host_pattern_within(&self.target, &requested.target),
            CapabilityKind::Secret => match (self.target.split_once('@'), requested.target.split_once('@')) {
                (Some((name, host)), Some((wanted, at))) => name == wanted && host_pattern_within(host, at),
                _ => false,
            },
            CapabilityKind::Kv => self.target == "read" && requested.target == "write",
            CapabilityKind::Model => model_matches(&requested.target, &self.target),
            CapabilityKind::Tool => requested.target == "*",
            CapabilityKind::Database => match (table_target(&self.target), table_target(&requested.target)) {
                (Some((may, of)), Some((wanted, at))) => may <= wanted && (at == "*" || at == of),
                _ => false,
            },
        }
    }
}

impl Reach<'_> {
    /// The capability that opens this and nothing else, where a grant can be that narrow.
    pub fn narrowest(&self) -> Option<Capability> {
        match self {
            Reach::Http(host) => Some(Capability::new(CapabilityKind::Http, host.to_string())),
            Reach::SecretTo { name, host } => {
                Some(Capability::new(CapabilityKind::Secret, format!("{name}@{host}")))
            }
            Reach::Database { access, table } if !table.is_empty() => {
                Some(Capability::new(CapabilityKind::Database, format!("{}:{table}", access.name())))
            }
            Reach::SecretName(_)
            | Reach::KvRead
            | Reach::KvWrite
            | Reach::Model(_)
            | Reach::Tool(_)
            | Reach::Database { .. } => None,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.target)
    }
}

impl fmt::Display for Reach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reach::Http(at) => write!(f, "http:{at}"),
            Reach::SecretName(name) => write!(f, "secret:{name}"),
            Reach::SecretTo { name, host } => write!(f, "secret:{name}@{host}"),
            Reach::KvRead => f.write_str("kv:read"),
            Reach::KvWrite => f.write_str("kv:write"),
            Reach::Model(model) => write!(f, "model:{model}"),
            Reach::Tool(tool) => write!(f, "tool:{tool}"),
            Reach::Database { access, table: "" } => write!(f, "db:{}", access.name()),
            Reach::Database { access, table } => write!(f, "db:{}:{table}", access.name()),
        }
    }
}

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.default_port { f.write_str(self.host) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// A capability whose target does not follow its kind's grammar.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{target}` is not a target of capability `{}`: expected {}", kind.name(), expected(*kind))]
pub struct BadCapability {
    /// The kind.
    pub kind: CapabilityKind,
    /// The target that was given.
    pub target: String,
}

fn expected(kind: CapabilityKind) -> &'static str {
    match kind {
        CapabilityKind::Http => {
            "a host such as `api.example.com`, `*.example.com` or `api.example.com:8080`, or `*`"
        }
        CapabilityKind::Secret => "`NAME@host`, such as `API_KEY@api.example.com`",
        CapabilityKind::Kv => "`read` or `write`",
        CapabilityKind::Model => "`provider/model`, `provider/*` or `*`",
        CapabilityKind::Tool => "the name of a tool, or `*`",
        CapabilityKind::Database => {
            "`read:table`, `write:table` or `alter:table` (the table without the app's prefix), or `*` for all of them"
        }
    }
}

/// `read:customers` or `write:*`: what may be done, and to which table.
fn table_target(target: &str) -> Option<(DatabaseAccess, &str)> {
    /// PostgreSQL's names are no longer.
    const NAME_BYTES_MAX: usize = 63;
    let (access, table) = target.split_once(':')?;
    let is_name = (1..=NAME_BYTES_MAX).contains(&table.len())
        && table.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'));
    (is_name || table == "*").then_some((DatabaseAccess::parse(access)?, table))
}

fn is_model_pattern(target: &str) -> bool {
    target.split_once('/').is_some_and(|(provider, model)| {
        !provider.is_empty()
            && provider.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !model.is_empty()
            && model.len() <= 200
            && (model == "*" || !model.contains('*'))
            && !model.chars().any(|c| c.is_whitespace() || c.is_control())
    })
}

fn model_matches(pattern: &str, model: &str) -> bool {
    pattern == "*"
        || pattern == model
        || pattern
            .strip_suffix("/*")
            .is_some_and(|provider| model.split_once('/').is_some_and(|(p, _)| p == provider))
}

/// `*`, `host`, `*.host`, the latter with an optional `:port` or `:*` for any. A bare IPv6 address is not a pattern.
fn is_host_pattern(target: &str) -> bool {
    if target == "*" {
        return true;
    }
    let (host, port) = split_port(target);
    let host = host.strip_prefix("*.").unwrap_or(host);
    let labels_ok = host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        });
    labels_ok && port.is_none_or(|port| port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn split_port(target: &str) -> (&str, Option<&str>) {
    match target.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (target, None),
    }
}

/// Without a port, a pattern stands for the scheme's own.
fn host_matches(pattern: &str, at: &HostPort<'_>) -> bool {
    if pattern == "*" {
        return at.default_port;
    }
    let (host, port) = split_port(pattern);
    let port_ok = match port {
        Some("*") => true,
        Some(port) => port.parse() == Ok(at.port),
        None => at.default_port,
    };
    port_ok && name_matches(host, at.host)
}

fn name_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => host.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => pattern == host,
    }
}

fn host_pattern_within(narrow: &str, wide: &str) -> bool {
    if wide == "*" {
        return is_host_pattern(narrow);
    }
    let ((narrow_host, narrow_port), (wide_host, wide_port)) = (split_port(narrow), split_port(wide));
    (narrow_port == wide_port || wide_port == Some("*"))
        && (narrow_host == wide_host
            || name_matches(wide_host, narrow_host.strip_prefix("*.").unwrap_or(narrow_host)))
}
