//! Scopes: what a credential may be used for.
//!
//! A scope is `noun:verb`. The catalogue is closed: an unknown name in a
//! request is an error, in the database a thing to ignore.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! scopes {
    ($($variant:ident $name:literal $about:literal;)*) => {
        /// One scope of the catalogue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Scope { $(#[doc = $about] $variant,)* }

        impl Scope {
            /// Every scope there is, in the order of the catalogue.
            pub const ALL: &[Scope] = &[$(Scope::$variant,)*];

            /// The name in tokens, requests and errors.
            pub const fn name(self) -> &'static str {
                match self { $(Scope::$variant => $name,)* }
            }

            /// What it lets one do, in a few words.
            pub const fn about(self) -> &'static str {
                match self { $(Scope::$variant => $about,)* }
            }

            /// The scope of this name.
            pub fn parse(name: &str) -> Option<Scope> {
                match name { $($name => Some(Scope::$variant),)* _ => None }
            }
        }
    };
}

scopes! {
    ChatRead "chat:read" "see models and predefined tools and agents";
    ChatWrite "chat:write" "send chat requests, which spend money";
    AiRead "ai:read" "see models, what they cost, and pictures they made";
    AiInvoke "ai:invoke" "ask models themselves, which spends money";
    SessionsRead "sessions:read" "see sessions and their messages";
    SessionsWrite "sessions:write" "create, use and delete sessions";
    TenantRead "tenant:read" "see the app's configuration";
    TenantWrite "tenant:write" "change the app's configuration and provider keys";
    ToolsRead "tools:read" "see uploaded tools";
    ToolsWrite "tools:write" "upload, roll back and delete tools";
    ToolsApprove "tools:approve" "grant capabilities to tools and agents";
    ToolsRun "tools:run" "run a tool";
    AgentsRead "agents:read" "see uploaded agents";
    AgentsWrite "agents:write" "upload, roll back and delete agents";
    AgentsRun "agents:run" "run an agent";
    SecretsRead "secrets:read" "see the names of secrets";
    SecretsWrite "secrets:write" "store and remove secrets";
    KeysRead "keys:read" "see which providers have a key";
    KeysWrite "keys:write" "store, test and remove keys of providers";
    TokensRead "tokens:read" "see the app's credentials";
    TokensWrite "tokens:write" "create and revoke the app's credentials";
    UsageRead "usage:read" "see what was used and what it cost";
    AuditRead "audit:read" "see the audit log";
    DbRead "db:read" "read the app's database";
    DbWrite "db:write" "try changes of the app's database; nothing is kept";
    DbApply "db:apply" "change the app's database";
    MembersRead "members:read" "see who is a member of the app";
    MembersWrite "members:write" "add and remove members of the app and change their roles";
    PlatformAppsRead "platform:apps:read" "see every app";
    PlatformAppsWrite "platform:apps:write" "create and change apps";
    PlatformAppsDelete "platform:apps:delete" "delete apps";
    PlatformUsers "platform:users" "see, invite and disable people";
    PlatformProviders "platform:providers" "set where models are, which there are and what they cost";
    PlatformTokens "platform:tokens" "see, make and revoke one's own personal tokens";
    AccountManage "account:manage" "see and change one's own account; sessions of the console alone have it";
}

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u64);

impl Scopes {
    /// No scope at all.
    pub const NONE: Scopes = Scopes(0);

    /// The set of these.
    pub const fn of(scopes: &[Scope]) -> Scopes {
        let mut bits = 0;
        let mut at = 0;
        while at < scopes.len() {
            bits |= 1 << scopes[at] as u8;
            at += 1;
        }
        Scopes(bits)
    }

    /// Everything an app has: what a tenant token and an owner may do.
    pub fn app() -> Scopes {
        let of_app = |scope: &Scope| !["platform:", "account:"].iter().any(|p| scope.name().starts_with(p));
        Scope::ALL.iter().copied().filter(of_app).collect()
    }

    /// What is a person's own, whatever app they act in.
    pub const fn own() -> Scopes {
        Scopes::of(&[Scope::PlatformTokens, Scope::AccountManage])
    }

    /// Everything a person may do: in the apps they are a member of as far as their role goes, and what is their own.
    pub fn person() -> Scopes {
        Scopes::app().union(Scopes::own())
    }

    /// Everything there is.
    pub fn all() -> Scopes {
        Scope::ALL.iter().copied().collect()
    }

    /// Whether `scope` is in the set.
    pub const fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }

    /// Whether every scope of `other` is in this set.
    pub const fn covers(self, other: Scopes) -> bool {
        other.0 & !self.0 == 0
    }

    /// The scopes in both.
    pub const fn intersect(self, other: Scopes) -> Scopes {
        Scopes(self.0 & other.0)
    }

    /// The scopes in either.
    pub const fn union(self, other: Scopes) -> Scopes {
        Scopes(self.0 | other.0)
    }

    /// The set without `scope`.
    pub const fn without(self, scope: Scope) -> Scopes {
        Scopes(self.0 & !(1 << scope as u8))
    }

    /// The scopes in the set, in the order of the catalogue.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.has(*scope))
    }

    /// Their names, in the order of the catalogue.
    pub fn names(self) -> Vec<&'static str> {
        self.iter().map(Scope::name).collect()
    }

    /// The set of these names; `noun:*` stands for every scope of that noun.
    ///
    /// # Errors
    /// The first name that means nothing.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Scopes, UnknownScope> {
        let mut set = Scopes::NONE;
        for name in names {
            set = Scopes(set.0 | parse_one(name.as_ref())?.0);
        }
        Ok(set)
    }

    /// The set of these names, those that mean nothing left out: for rows
    /// written by an older or newer release.
    pub fn parse_known<S: AsRef<str>>(names: &[S]) -> Scopes {
        names.iter().filter_map(|name| Scope::parse(name.as_ref())).collect()
    }
}

fn parse_one(name: &str) -> Result<Scopes, UnknownScope> {
    if let Some(noun) = name.strip_suffix('*') {
        let set: Scopes = Scope::ALL
            .iter()
            .copied()
            .filter(|s| noun.ends_with(':') && s.name().starts_with(noun))
            .collect();
        return if set == Scopes::NONE { Err(UnknownScope(name.to_owned())) } else { Ok(set) };
    }
    Scope::parse(name).map(|scope| Scopes::of(&[scope])).ok_or_else(|| UnknownScope(name.to_owned()))
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        scopes.into_iter().fold(Scopes::NONE, |set, scope| Scopes(set.0 | 1 << scope as u8))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl Serialize for Scopes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Scopes, D::Error> {
        Scopes::parse(&Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A scope name that means nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a scope")]
pub struct UnknownScope(pub String);
