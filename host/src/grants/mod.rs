//! A grant lets one principal do one action on one resource, inside one app.
//!
//! No grant means no. **One gate, two doors**: people come in over HTTP, guests
//! come out of the sandbox, and both are judged by the same pure function,
//! [`decide()`]. What passed carries a proof, [`Allowed`], that cannot be made
//! anywhere else; what touches a tenant's rows asks for one.
//!
//! - [`scope`]: what a credential may be used for.
//! - [`action`]: everything one may ask to do, with the scopes it takes.
//! - [`capability`]: what a plugin may touch outside its sandbox; `target`: the text that says which.
//! - [`credential`]: the tokens themselves: formats, hashing, kinds.
//! - [`audit`]: what was done, append-only.
//!
//! - [`role`]: what a member may do in an app. A person's credential has, in an app, the scopes it was made with
//!   as far as the person's role there goes, read anew with every request.
//! - [`cookie`]: the session of a browser, and what keeps other sites from using it.
//!
//! Deliberately absent: deny rules, and grants that cross apps.

pub mod action;
pub mod allowed;
pub mod audit;
pub mod authenticate;
pub mod caller;
pub mod capability;
pub mod cookie;
pub mod credential;
pub mod decide;
pub mod issue;
pub mod matrix;
pub mod role;
pub mod routes;
pub mod scope;
mod store;
mod target;
#[cfg(test)]
mod tests;

pub use action::{Action, On};
pub use allowed::{Acting, Allowed, AsMyself, GuestGrants, InApp, Manages, Permission};
pub use caller::{AppRef, Caller, CredentialKind, Standing, Surface};
pub use capability::{Capability, CapabilityKind, DatabaseAccess, HostPort, HttpRequest, Place, Reach};
pub use decide::{Denied, Principal, Resource, decide};
pub use role::Role;
pub use scope::{Scope, Scopes};
pub(crate) use store::{Live, live, live_role};
pub(crate) use target::limit::Limited;
