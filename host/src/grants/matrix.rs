//! The policy, printed: every role and kind of credential against every action.
//!
//! A golden file holds it, so that a change of policy is a readable diff.

use super::{
    Action, AppRef, Caller, CredentialKind, On, Principal, Resource, Scope, Scopes, Standing, Surface, decide,
};
use std::fmt::Write;

/// A member's role in an app: a named set of scopes, given to a credential when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything in the app.
    Owner,
    /// Everything in the app; an owner can remove it.
    Admin,
    /// Builds: tools, agents, chat, secrets; grants no capabilities, makes no credentials.
    Developer,
    /// Looks.
    Viewer,
}

impl Role {
    /// Every role, the widest first.
    pub const ALL: [Role; 4] = [Role::Owner, Role::Admin, Role::Developer, Role::Viewer];

    /// What it may do.
    pub fn scopes(self) -> Scopes {
        match self {
            Role::Owner | Role::Admin => Scopes::app(),
            Role::Developer => Scopes::app()
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
                Scope::UsageRead,
                Scope::DbRead,
            ]),
        }
    }
}

/// The matrix as text: one line an action, one column a principal.
pub fn print() -> String {
    let columns: Vec<(&str, Option<Caller>)> = vec![
        ("anonymous", None),
        ("viewer", Some(member(Role::Viewer))),
        ("developer", Some(member(Role::Developer))),
        ("admin", Some(member(Role::Admin))),
        ("owner", Some(member(Role::Owner))),
        ("ocs_token", Some(caller(CredentialKind::TenantToken, Scopes::app(), app(false)))),
        ("suspended", Some(caller(CredentialKind::TenantToken, Scopes::app(), app(true)))),
        ("operator", Some(caller(CredentialKind::AdminToken, Scopes::all(), Standing::Operator))),
    ];
    let mut text = format!("{:<18}", "action");
    for (name, _) in &columns {
        let _ = write!(text, "{name:>11}");
    }
    text.push('\n');
    for action in Action::ALL.iter().copied().filter(|action| action.on() != On::Guest) {
        let resource = if action.on() == On::Platform { Resource::Platform } else { Resource::App(None) };
        let _ = write!(text, "{:<18}", action.name());
        for (_, caller) in &columns {
            let who = caller.as_ref().map_or(Principal::Anonymous, Principal::Caller);
            let _ = write!(text, "{:>11}", if decide(who, action, &resource).is_ok() { "yes" } else { "-" });
        }
        text.push('\n');
    }
    text
}

fn member(role: Role) -> Caller {
    caller(CredentialKind::DevGrant, role.scopes(), app(false))
}

fn app(suspended: bool) -> Standing {
    Standing::App(AppRef { app_id: uuid::Uuid::nil(), slug: "acme".into(), suspended })
}

fn caller(kind: CredentialKind, scopes: Scopes, standing: Standing) -> Caller {
    Caller {
        kind,
        credential_id: None,
        standing,
        scopes,
        expires_at: None,
        surface: Surface::Rest,
        ip: None,
        request_id: String::new(),
    }
}
