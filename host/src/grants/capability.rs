//! Capabilities: what a plugin may touch outside its sandbox.
//!
//! A plugin *requests* them in `describe`, each with a reason; a tenant
//! *grants* some at review. What a call may use is what stands in both, and
//! what the caller itself may do ([`super::decide()`]).

use super::target::{
    http::HttpTarget,
    kv::KvTarget,
    limit::{LimitTarget, Limited},
    model::ModelTarget,
    secret::SecretTarget,
    table,
};
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
    /// Requests: `api.example.com`, `*.example.com`, `host:8080`, `GET,POST api.example.com/v1/*`, `*`.
    Http,
    /// A secret, for one host: `NAME@api.example.com`, `NAME@api.example.com header:authorization`.
    Secret,
    /// The plugin's own key-value store: `read`, `write`, `read:prefix/*`.
    Kv,
    /// A model: `provider/model`, `provider/*` or `*`, `provider/model tokens=20000`.
    Model,
    /// Another tool: its name or `*`.
    Tool,
    /// The app's database: `read:customers`, `write:orders`, `alter:*`.
    #[serde(rename = "db")]
    Database,
    /// The files of the session it runs in: `read`, `read-write`.
    Workspace,
    /// A limit of its calls: `memory_mib=128`, `wall_ms=60000`, `cpu_ms=20000`.
    Limit,
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

    pub(super) fn parse(name: &str) -> Option<DatabaseAccess> {
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
            CapabilityKind::Workspace => "workspace",
            CapabilityKind::Limit => "limit",
        }
    }

    /// Every kind there is.
    pub const ALL: [CapabilityKind; 8] = [
        Self::Http,
        Self::Secret,
        Self::Kv,
        Self::Database,
        Self::Workspace,
        Self::Model,
        Self::Tool,
        Self::Limit,
    ];

    /// Their names, for texts that list them.
    pub fn names() -> String {
        Self::ALL.map(CapabilityKind::name).join(", ")
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<CapabilityKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
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

/// A request a guest wants to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest<'a> {
    /// In capitals.
    pub method: &'a str,
    /// Where to.
    pub at: HostPort<'a>,
    /// The URL's path, as it will be sent.
    pub path: &'a str,
}

/// Where in a request a secret stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// In the header of this name, in lower case.
    Header(&'a str),
    /// In the value of this parameter of the query.
    Query(&'a str),
    /// In the body.
    Body,
}

/// What a guest reaches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach<'a> {
    /// A request.
    Http(HttpRequest<'a>),
    /// The name of a secret, before it is known where it goes.
    SecretName(&'a str),
    /// A secret's value on the way to this host. Without a place: the guest has the value, wherever from.
    SecretTo { name: &'a str, host: HostPort<'a>, place: Option<Place<'a>> },
    /// Reading this key from its key-value store, or all keys that start like this.
    KvRead(&'a str),
    /// Writing this key.
    KvWrite(&'a str),
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
    /// Reading the files of the session it runs in.
    WorkspaceRead,
    /// Changing them.
    WorkspaceWrite,
}

/// A capability with its target read.
enum Target<'a> {
    Http(HttpTarget<'a>),
    Secret(SecretTarget<'a>),
    Kv(KvTarget<'a>),
    Model(ModelTarget<'a>),
    Tool(&'a str),
    Database(DatabaseAccess, &'a str),
    /// Whether it writes.
    Workspace(bool),
    Limit(LimitTarget),
}

impl Capability {
    /// A capability of this kind and target.
    pub fn new(kind: CapabilityKind, target: impl Into<String>) -> Capability {
        Capability { kind, target: target.into() }
    }

    /// The same with its target in canonical form.
    ///
    /// # Errors
    /// Where the target does not follow its kind's grammar: what is wrong and what is expected.
    pub fn canonical(self) -> Result<Capability, BadCapability> {
        let target = match self.read() {
            Some(Target::Http(target)) => target.to_string(),
            Some(Target::Secret(target)) => target.to_string(),
            Some(Target::Model(target)) => target.to_string(),
            // There is one way to write these.
            Some(
                Target::Kv(_)
                | Target::Tool(_)
                | Target::Database(..)
                | Target::Workspace(_)
                | Target::Limit(_),
            ) => self.target,
            None => return Err(BadCapability { kind: self.kind, target: self.target }),
        };
        Ok(Capability { kind: self.kind, target })
    }

    fn read(&self) -> Option<Target<'_>> {
        let target = self.target.as_str();
        match self.kind {
            CapabilityKind::Http => HttpTarget::parse(target).map(Target::Http),
            CapabilityKind::Secret => SecretTarget::parse(target).map(Target::Secret),
            CapabilityKind::Kv => KvTarget::parse(target).map(Target::Kv),
            CapabilityKind::Model => ModelTarget::parse(target).map(Target::Model),
            CapabilityKind::Tool => {
                (target == "*" || crate::tools::is_name(target)).then_some(Target::Tool(target))
            }
            CapabilityKind::Database => table::parse(target).map(|(may, of)| Target::Database(may, of)),
            CapabilityKind::Workspace => match target {
                "read" => Some(Target::Workspace(false)),
                "read-write" => Some(Target::Workspace(true)),
                _ => None,
            },
            CapabilityKind::Limit => LimitTarget::parse(target).map(Target::Limit),
        }
    }

    /// Whether this opens what the guest reaches for.
    pub fn opens(&self, reach: &Reach<'_>) -> bool {
        match (self.read(), reach) {
            (Some(Target::Http(target)), Reach::Http(request)) => target.opens(request),
            (Some(Target::Secret(target)), Reach::SecretName(wanted)) => target.name == *wanted,
            (Some(Target::Secret(target)), Reach::SecretTo { name, host, place: Some(place) }) => {
                target.opens(name, host, place)
            }
            (Some(Target::Secret(target)), Reach::SecretTo { name, host, place: None }) => {
                target.may_go_to(name, host)
            }
            (Some(Target::Kv(target)), Reach::KvRead(key)) => target.opens(false, key),
            (Some(Target::Kv(target)), Reach::KvWrite(key)) => target.opens(true, key),
            (Some(Target::Model(target)), Reach::Model(model)) => target.opens(model),
            (Some(Target::Tool(target)), Reach::Tool(tool)) => target == "*" || target == *tool,
            (Some(Target::Database(may, of)), Reach::Database { access, table }) => {
                *access <= may && (of == "*" || of == *table || table.is_empty())
            }
            (Some(Target::Workspace(_)), Reach::WorkspaceRead) => true,
            (Some(Target::Workspace(writes)), Reach::WorkspaceWrite) => writes,
            _ => false,
        }
    }

    /// Whether a grant that opens what the guest reaches for, and nothing else, would be [within](Self::within) this:
    /// a wish for `*` covers `localhost:8080`, which it does not open by itself.
    pub fn covers(&self, reach: &Reach<'_>) -> bool {
        match (self.read(), reach) {
            (Some(Target::Http(target)), Reach::Http(request)) => target.covers(request),
            (Some(Target::Secret(target)), Reach::SecretTo { name, host, place }) => {
                target.covers(name, host, place.as_ref())
            }
            _ => self.opens(reach),
        }
    }

    /// Whether granting `self` stays within `requested`: equal, or narrower
    /// where the kind has patterns (a host under a requested `*`).
    pub fn within(&self, requested: &Capability) -> bool {
        match (self.read(), requested.read()) {
            (Some(Target::Http(narrow)), Some(Target::Http(wide))) => narrow.is_within(&wide),
            (Some(Target::Secret(narrow)), Some(Target::Secret(wide))) => narrow.is_within(&wide),
            (Some(Target::Kv(narrow)), Some(Target::Kv(wide))) => narrow.is_within(&wide),
            (Some(Target::Model(narrow)), Some(Target::Model(wide))) => narrow.is_within(&wide),
            (Some(Target::Tool(narrow)), Some(Target::Tool(wide))) => wide == "*" || narrow == wide,
            (Some(Target::Database(may, of)), Some(Target::Database(wanted, at))) => {
                may <= wanted && (at == "*" || at == of)
            }
            (Some(Target::Workspace(narrow)), Some(Target::Workspace(wide))) => wide || !narrow,
            (Some(Target::Limit(narrow)), Some(Target::Limit(wide))) => narrow.is_within(&wide),
            _ => false,
        }
    }

    /// The name of the secret this is about, if it is about one.
    pub fn secret(&self) -> Option<&str> {
        match self.read()? {
            Target::Secret(target) => Some(target.name),
            _ => None,
        }
    }

    /// The limit this sets, if it sets one.
    pub(crate) fn limit(&self) -> Option<(Limited, u32)> {
        match self.read()? {
            Target::Limit(target) => Some((target.what, target.amount)),
            _ => None,
        }
    }

    /// How many tokens this lets a chain of calls use of this model, where it opens it: none says as many as it likes.
    pub(crate) fn tokens_of(&self, model: &str) -> Option<Option<u64>> {
        match self.read()? {
            Target::Model(target) if target.opens(model) => Some(target.tokens_max),
            _ => None,
        }
    }
}

impl Reach<'_> {
    /// What was asked for in full, for whoever asked; [`fmt::Display`] is shorter, for the audit log, where what a
    /// guest makes up must not become a thousand different things.
    pub fn in_full(&self) -> String {
        match self {
            Reach::Http(HttpRequest { method, at, path }) => format!("http:{method} {at}{path}"),
            Reach::SecretTo { name, host, place: Some(place) } => format!("secret:{name}@{host} {place}"),
            Reach::KvRead(key) => format!("kv:read:{key}"),
            Reach::KvWrite(key) => format!("kv:write:{key}"),
            other => other.to_string(),
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
            Reach::Http(request) => write!(f, "http:{}", request.at),
            Reach::SecretName(name) => write!(f, "secret:{name}"),
            Reach::SecretTo { name, host, place: None | Some(Place::Header(_)) } => {
                write!(f, "secret:{name}@{host}")
            }
            Reach::SecretTo { name, host, place: Some(Place::Query(_)) } => {
                write!(f, "secret:{name}@{host} query")
            }
            Reach::SecretTo { name, host, place: Some(Place::Body) } => {
                write!(f, "secret:{name}@{host} body")
            }
            Reach::KvRead(_) => f.write_str("kv:read"),
            Reach::KvWrite(_) => f.write_str("kv:write"),
            Reach::Model(model) => write!(f, "model:{model}"),
            Reach::Tool(tool) => write!(f, "tool:{tool}"),
            Reach::Database { access, table: "" } => write!(f, "db:{}", access.name()),
            Reach::Database { access, table } => write!(f, "db:{}:{table}", access.name()),
            Reach::WorkspaceRead => f.write_str("workspace:read"),
            Reach::WorkspaceWrite => f.write_str("workspace:read-write"),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Header(name) => write!(f, "header:{name}"),
            Place::Query(name) => write!(f, "query:{name}"),
            Place::Body => f.write_str("body"),
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
            "a host such as `api.example.com`, `*.example.com` or `api.example.com:8080`, or `*`; before it methods and \
             after it a path where it should be less: `GET,POST api.example.com/v1/*`"
        }
        CapabilityKind::Secret => {
            "`NAME@host`, such as `API_KEY@api.example.com`, and where it stands: ` header:authorization`, ` query:key` \
             or ` body`; any header where nothing is said"
        }
        CapabilityKind::Kv => "`read` or `write`, or for some keys `read:prefix/*` or `write:prefix/*`",
        CapabilityKind::Model => {
            "`provider/model`, `provider/*` or `*`, and how much of it where that is known: ` tokens=20000`"
        }
        CapabilityKind::Tool => "the name of a tool, or `*`",
        CapabilityKind::Database => {
            "`read:table`, `write:table` or `alter:table` (the table without the app's prefix), or `*` for all of them"
        }
        CapabilityKind::Workspace => "`read` or `read-write`",
        CapabilityKind::Limit => {
            "`memory_mib=128` (256 at the most), `wall_ms=60000` (300000) or `cpu_ms=20000` (60000)"
        }
    }
}
