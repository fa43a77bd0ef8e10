//! The policy, printed: every role and kind of credential against every action.
//!
//! A golden file holds it, so that a change of policy is a readable diff.

use super::{
    Action, AppRef, Caller, CredentialKind, On, Principal, Resource, Role, Scopes, Standing, Surface, decide,
};
use std::fmt::Write;

/// The matrix as text: one line an action, one column a principal.
pub fn print() -> String {
    let columns: Vec<(&str, Option<Caller>)> = vec![
        ("anonymous", None),
        ("person", Some(person(Scopes::person(), Standing::Person { named: false }))),
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
        let _ = write!(text, "{:<18}", action.name());
        for (_, caller) in &columns {
            let is_operator = caller.as_ref().is_some_and(|caller| caller.standing == Standing::Operator);
            let resource = match action.on() {
                On::Platform => Resource::Platform,
                On::Managed if is_operator => Resource::Platform,
                On::Person => Resource::Myself,
                On::App | On::Managed | On::Guest => Resource::App(None),
            };
            let who = caller.as_ref().map_or(Principal::Anonymous, Principal::Caller);
            let _ = write!(text, "{:>11}", if decide(who, action, &resource).is_ok() { "yes" } else { "-" });
        }
        text.push('\n');
    }
    text
}

fn member(role: Role) -> Caller {
    person(role.cap(Scopes::person()), app(false))
}

fn person(scopes: Scopes, standing: Standing) -> Caller {
    Caller { user_id: Some(uuid::Uuid::nil()), ..caller(CredentialKind::ConsoleSession, scopes, standing) }
}

fn app(suspended: bool) -> Standing {
    Standing::App(AppRef { app_id: uuid::Uuid::nil(), slug: "acme".into(), suspended })
}

fn caller(kind: CredentialKind, scopes: Scopes, standing: Standing) -> Caller {
    Caller {
        kind,
        credential_id: None,
        user_id: None,
        standing,
        scopes,
        expires_at: None,
        surface: Surface::Rest,
        ip: None,
        request_id: String::new(),
        version: None,
        trace: None,
    }
}
