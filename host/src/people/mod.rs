//! People: they sign up, sign in, and act for the apps they are members of.
//!
//! A person has an e-mail address and a password. A code that is mailed there and comes back proves the address; until
//! one did, it may be anybody's. Signing up makes their own app, of which
//! they are the owner. Signing in makes a *console session*, a credential like any other, which a browser holds in a
//! cookie. In an app a person may do what their role there allows; that is read with every request.
//!
//! - [`password`]: hashing, off the threads that serve, and bounded.
//! - [`signup`], [`login`], [`account`]: what a person does with their own account. [`magic`]: signing in by mail.
//!   [`oauth`]: signing in with an account at GitHub or Google. [`passkeys`]: signing in with a key of one's own.
//! - [`programs`]: what a program is let in for, and the tokens it gets then. [`device`]: letting a command line in, by a
//!   code; [`authorize`]: the same for a program that opens a browser. [`personal_tokens`]: for programs that run without their person.
//! - [`members`]: who is in an app, and as what. [`invitations`]: asking somebody in by their address.
//! - [`users`]: what operators do with people: list, invite, disable.
//! - [`standing`]: whether who asks still may, where what they make outlives their session.
//! - [`pages`]: the same for a browser without a program in it.
//!
//! Whether an address has an account is nobody's to know: signing up answers the same, and after the same time,
//! either way; signing in with an unknown address hashes a password as well; a code by mail is promised to all; and
//! every address can be invited. An operator may know.
//!
//! Deliberately absent: links by mail.

pub mod account;
pub mod authorize;
pub mod device;
pub mod device_routes;
pub mod invitation_routes;
pub mod invitations;
pub mod login;
pub mod magic;
pub mod member_routes;
pub mod members;
pub mod oauth;
pub mod pages;
pub mod passkeys;
pub mod password;
pub mod personal_tokens;
pub mod program_routes;
pub mod programs;
pub mod routes;
pub mod signup;
pub mod standing;
mod store;
pub mod sweep;
pub mod token_routes;
pub mod user_routes;
pub mod users;

use crate::app::App;
use serde_json::{Value, json};
use uuid::Uuid;

/// Who a person is, as they and their programs read it.
///
/// # Errors
/// The database's.
pub(crate) async fn describe(app: &App, user_id: Uuid) -> sqlx::Result<Value> {
    let mut tx = app.service_tx().await?;
    let person = store::find_person(&mut tx, user_id).await?;
    Ok(person
        .map_or(Value::Null, |person| json!({ "id": user_id, "email": person.email, "name": person.name })))
}

/// What stands in the place of an address where it should not be read: the same for every spelling of one.
fn hashed_email(app: &App, email: &str) -> [u8; 32] {
    app.pepper.derive("email", email.trim().to_lowercase().as_bytes())
}

/// Where this server is, as a letter says it: by the operator's word alone, for whoever asks could say another's.
fn named_in_letters(base_url: Option<&str>) -> String {
    let fits = base_url.filter(|url| url.len() <= 60 && url.is_ascii());
    fits.map(|url| format!("It is at\n\n    {url}/login\n\n")).unwrap_or_default()
}
