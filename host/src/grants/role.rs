//! What a member may do in an app.

use super::{Scope, Scopes};
use serde::{Deserialize, Serialize};

/// A member's role in an app: a named set of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything in the app.
    Owner,
    /// Everything in the app but its members; an owner can remove it.
    Admin,
    /// Builds: tools, agents, chat, secrets; grants no capabilities, makes no credentials.
    Developer,
    /// Looks.
    Viewer,
}

impl Role {
    /// Every role, the widest first.
    pub const ALL: [Role; 4] = [Role::Owner, Role::Admin, Role::Developer, Role::Viewer];

    /// The name in the database and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Developer => "developer",
            Role::Viewer => "viewer",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What it may do.
    pub fn scopes(self) -> Scopes {
        match self {
            Role::Owner => Scopes::app(),
            Role::Admin => Scopes::app().without(Scope::MembersWrite),
            Role::Developer => Scopes::app()
                .without(Scope::MembersWrite)
                .without(Scope::TokensWrite)
                .without(Scope::TokensRead)
                .without(Scope::ToolsApprove)
                .without(Scope::TenantWrite)
                .without(Scope::AuditRead),
            Role::Viewer => Scopes::of(&[
                Scope::ChatRead,
                Scope::AiRead,
                Scope::SessionsRead,
                Scope::TenantRead,
                Scope::ToolsRead,
                Scope::AgentsRead,
                Scope::SecretsRead,
                Scope::KeysRead,
                Scope::UsageRead,
                Scope::DbRead,
                Scope::MembersRead,
            ]),
        }
    }

    /// What a credential of a person's may do in an app where they have this role.
    pub fn cap(self, credential: Scopes) -> Scopes {
        credential.intersect(self.scopes().union(Scopes::own()))
    }
}
