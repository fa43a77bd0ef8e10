//! The gate: one pure function judges people and guests alike.

use super::{
    action::{Action, On},
    caller::{AppRef, Caller, Standing},
    capability::{Capability, DatabaseAccess, Reach},
    scope::Scope,
};

/// Who asks, through which door.
#[derive(Clone, Copy, Debug)]
pub enum Principal<'a> {
    /// Nobody we know: no credential, or not a valid one.
    Anonymous,
    /// A credential over HTTP.
    Caller(&'a Caller),
    /// A plugin in the sandbox, on behalf of a caller.
    Guest {
        /// For whom it runs.
        caller: &'a Caller,
        /// What the plugin said it wants to touch.
        requested: &'a [Capability],
        /// What the tenant granted it.
        granted: &'a [Capability],
    },
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Resource<'a> {
    /// The installation.
    Platform,
    /// An app, by the slug in the path; none where the credential names it.
    App(Option<&'a str>),
    /// The caller's own account.
    Myself,
    /// Something outside the sandbox.
    Outside(Reach<'a>),
}

/// Why not. The text says what to do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No valid credential: 401.
    #[error("send a valid credential as `Authorization: Bearer …`")]
    NotSignedIn,
    /// A valid credential that lacks the scope: 403.
    #[error("this credential lacks a scope: `{}` needs {}; ask an owner of the app for a credential that has it", action.name(), needs(*action))]
    MissingScope {
        /// What was asked.
        action: Action,
        /// What the credential has.
        granted: super::Scopes,
    },
    /// A valid credential of the wrong kind for this door: 403.
    #[error("`{}` is for {}", action.name(), for_whom(*action))]
    WrongKind {
        /// What was asked.
        action: Action,
    },
    /// A person's credential, and no app it could be for: 400.
    #[error("which app? name it in the path, as `/<app>/v1/…`, or in the header `X-OPG-App`")]
    NoApp,
    /// A person's credential, for an app that is not, or of which they are no member: 404.
    #[error("no such app")]
    NoSuchApp,
    /// The path names an app the credential does not belong to: 403.
    #[error("the credential belongs to another app than the path names")]
    AppMismatch,
    /// The app is suspended: 403.
    #[error("this app is suspended; ask the operator to resume it")]
    Suspended,
    /// The plugin did not ask for this in `describe`.
    #[error("the plugin did not declare `{0}`; declare it with a reason and upload it again")]
    NotDeclared(String),
    /// The tenant did not grant this at review.
    #[error("`{0}` is not granted to this plugin; an owner can grant it with a review (POST …/review)")]
    NotGranted(String),
}

/// May `who` do `action` on `what`? No grant means no.
///
/// Deliberately absent: deny rules, and grants that cross apps. The caller's
/// own scopes cap a guest: a plugin run by a viewer can do no more than one.
///
/// # Errors
/// Why not, for the caller to read.
pub fn decide(who: Principal<'_>, action: Action, what: &Resource<'_>) -> Result<(), Denied> {
    match (who, what) {
        (Principal::Anonymous, _) => Err(Denied::NotSignedIn),
        (Principal::Caller(caller), Resource::Platform) => platform(caller, action),
        (Principal::Caller(caller), Resource::App(path)) => app(caller, action, *path),
        (Principal::Caller(caller), Resource::Myself) => myself(caller, action),
        (Principal::Guest { caller, requested, granted }, Resource::Outside(reach)) => {
            guest(caller, requested, granted, action, reach)
        }
        (Principal::Caller(_), Resource::Outside(_)) | (Principal::Guest { .. }, _) => {
            Err(Denied::WrongKind { action })
        }
    }
}

fn platform(caller: &Caller, action: Action) -> Result<(), Denied> {
    match (action.on(), &caller.standing) {
        (On::Platform | On::Managed, Standing::Operator) => has_scope(caller, action),
        _ => Err(Denied::WrongKind { action }),
    }
}

fn myself(caller: &Caller, action: Action) -> Result<(), Denied> {
    match (action.on(), caller.user_id) {
        (On::Person, Some(_)) => has_scope(caller, action),
        _ => Err(Denied::WrongKind { action }),
    }
}

fn app(caller: &Caller, action: Action, path: Option<&str>) -> Result<(), Denied> {
    if !matches!(action.on(), On::App | On::Managed) {
        return Err(Denied::WrongKind { action });
    }
    let app = match &caller.standing {
        Standing::App(app) => app,
        Standing::Person { named: false } => return Err(Denied::NoApp),
        Standing::Person { named: true } => return Err(Denied::NoSuchApp),
        Standing::Operator => return Err(Denied::WrongKind { action }),
    };
    if path.is_some_and(|slug| slug != app.slug) {
        return Err(Denied::AppMismatch);
    }
    in_service(app)?;
    has_scope(caller, action)
}

fn guest(
    caller: &Caller,
    requested: &[Capability],
    granted: &[Capability],
    action: Action,
    reach: &Reach<'_>,
) -> Result<(), Denied> {
    let Standing::App(app) = &caller.standing else { return Err(Denied::WrongKind { action }) };
    if action != action_of(reach) {
        return Err(Denied::WrongKind { action });
    }
    in_service(app)?;
    if !requested.iter().any(|wish| wish.covers(reach)) {
        return Err(Denied::NotDeclared(reach.in_full()));
    }
    if !granted.iter().any(|capability| capability.opens(reach)) {
        return Err(Denied::NotGranted(reach.in_full()));
    }
    has_scope(caller, action)
}

/// The action that reaching for this is.
pub const fn action_of(reach: &Reach<'_>) -> Action {
    match reach {
        Reach::Http(_) => Action::GuestHttp,
        Reach::SecretName(_) | Reach::SecretTo { .. } => Action::GuestSecret,
        Reach::KvRead(_) | Reach::KvWrite(_) => Action::GuestKv,
        Reach::Model(_) => Action::GuestModel,
        Reach::Tool(_) => Action::GuestTool,
        Reach::Database { access: DatabaseAccess::Read, .. } => Action::GuestDbRead,
        Reach::Database { access: DatabaseAccess::Write | DatabaseAccess::Alter, .. } => Action::GuestDbWrite,
        Reach::WorkspaceRead => Action::GuestWorkspaceRead,
        Reach::WorkspaceWrite => Action::GuestWorkspaceWrite,
    }
}

fn in_service(app: &AppRef) -> Result<(), Denied> {
    if app.suspended { Err(Denied::Suspended) } else { Ok(()) }
}

fn has_scope(caller: &Caller, action: Action) -> Result<(), Denied> {
    let any_of = action.any_of();
    if any_of.is_empty() || any_of.iter().any(|scope| caller.scopes.has(*scope)) {
        Ok(())
    } else {
        Err(Denied::MissingScope { action, granted: caller.scopes })
    }
}

fn for_whom(action: Action) -> &'static str {
    match action.on() {
        On::Platform => "the platform's operators; a tenant's credential cannot do it",
        On::Person => "people; sign in and use your own credential",
        On::Managed => "an app's own credentials and the platform's operators",
        On::App | On::Guest => "an app's own credentials; use a token of that app",
    }
}

fn needs(action: Action) -> String {
    let names: Vec<_> =
        action.any_of().iter().copied().map(Scope::name).map(|name| format!("`{name}`")).collect();
    names.join(" or ")
}
