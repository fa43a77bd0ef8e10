//! A person's own account: profile, password, console sessions (rows M074, M075).

use super::{
    password::{self, HashError},
    standing::{self, StandingError},
    store,
};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, AsMyself, action::may, audit},
    tenants::ServiceTx,
};
use secrecy::SecretString;
use uuid::Uuid;

/// What is changed of a profile; what is none stays.
pub struct Change {
    /// How they are called.
    pub name: Option<String>,
    /// In which language (BCP 47).
    pub locale: Option<String>,
    /// How the console looks.
    pub theme: Option<Theme>,
}

/// How the console looks.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// As the person's system has it.
    System,
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Theme {
    const fn name(self) -> &'static str {
        match self {
            Theme::System => "system",
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }
}

/// The longest language tag: a language, a script, a region and a variant fit.
const LOCALE_CHARS_MAX: usize = 35;

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Fields are wrong.
    #[error("the account's data is wrong")]
    Invalid(Vec<FieldError>),
    /// The password of now is not the one given.
    #[error("the current password is wrong")]
    WrongPassword,
    /// There is none, or it is somebody else's.
    #[error("no such session")]
    NoSuchSession,
    /// There is none, or it is somebody else's.
    #[error("no such identity")]
    NoSuchIdentity,
    /// There is none, or it is somebody else's.
    #[error("no such passkey")]
    NoSuchPasskey,
    /// Without it they could not sign in any more.
    #[error(
        "this is the only way you sign in; set a password with POST /v1/me/password before you remove it"
    )]
    LastWayIn,
    /// Their session ended meanwhile.
    #[error("{0}")]
    Standing(#[from] StandingError),
    /// The password could not be hashed.
    #[error("{0}")]
    Password(#[from] HashError),
    /// The database.
    #[error("the account could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// What is wrong with how somebody is to be called.
pub(super) fn check_name(name: &str) -> Option<FieldError> {
    (name.chars().count() > 200 || name.chars().any(char::is_control))
        .then(|| FieldError::new("/name", "expected at most 200 characters, none of them control characters"))
}

fn is_locale(text: &str) -> bool {
    let part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    text.len() <= LOCALE_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.split('-').all(part)
}

/// The caller's account.
///
/// # Errors
/// The database's.
pub(super) async fn read(
    app: &App,
    allowed: &impl AsMyself,
) -> sqlx::Result<(store::Profile, Vec<store::MyApp>)> {
    let mut tx = app.person_tx(allowed).await?;
    let profile = store::profile(&mut tx).await?;
    Ok((profile, store::my_apps(&mut tx).await?))
}

/// The caller's accounts at other providers.
///
/// # Errors
/// The database's.
pub(super) async fn identities(app: &App, allowed: &impl AsMyself) -> sqlx::Result<Vec<store::Identity>> {
    store::my_identities(&mut app.person_tx(allowed).await?).await
}

/// Unlinks one of the caller's accounts at other providers.
///
/// # Errors
/// [`AccountError`]
pub async fn unlink(app: &App, allowed: &Allowed<may::MeWrite>, id: &str) -> Result<(), AccountError> {
    let identity_id = Uuid::parse_str(id).map_err(|_| AccountError::NoSuchIdentity)?;
    let mut tx = app.service_tx().await?;
    let has_password = store::lock_account(&mut tx, allowed.me()).await?;
    if !store::delete_identity(&mut tx, allowed.me(), identity_id).await? {
        return Err(AccountError::NoSuchIdentity);
    }
    keeps_a_way_in(app, &mut tx, allowed.me(), has_password).await?;
    let entry = audit::Entry::ok("me.identities.unlink", format!("identity/{identity_id}"));
    audit::write_platform(app, &mut tx, allowed.credential(), None, entry).await?;
    Ok(tx.commit().await?)
}

/// The caller's passkeys.
///
/// # Errors
/// The database's.
pub(super) async fn passkeys(app: &App, allowed: &impl AsMyself) -> sqlx::Result<Vec<store::MyPasskey>> {
    store::my_passkeys(&mut app.person_tx(allowed).await?).await
}

/// Removes one of the caller's passkeys. Who signed in with it stays signed in.
///
/// # Errors
/// [`AccountError`]
pub async fn remove_passkey(
    app: &App,
    allowed: &Allowed<may::MeWrite>,
    id: &str,
) -> Result<(), AccountError> {
    let passkey_id = Uuid::parse_str(id).map_err(|_| AccountError::NoSuchPasskey)?;
    let mut tx = app.service_tx().await?;
    let has_password = store::lock_account(&mut tx, allowed.me()).await?;
    if !store::delete_passkey(&mut tx, allowed.me(), passkey_id).await? {
        return Err(AccountError::NoSuchPasskey);
    }
    keeps_a_way_in(app, &mut tx, allowed.me(), has_password).await?;
    let entry = audit::Entry::ok("me.passkeys.delete", format!("passkey/{passkey_id}"));
    audit::write_platform(app, &mut tx, allowed.credential(), None, entry).await?;
    Ok(tx.commit().await?)
}

/// Whether somebody can sign in with what is left to them.
async fn keeps_a_way_in(
    app: &App,
    tx: &mut ServiceTx,
    user_id: Uuid,
    has_password: bool,
) -> Result<(), AccountError> {
    if has_password || app.mailer.is_some() {
        return Ok(());
    }
    let left = store::count_identities(tx, user_id).await? + store::count_passkeys(tx, user_id).await?;
    if left == 0 { Err(AccountError::LastWayIn) } else { Ok(()) }
}

/// Changes the caller's profile.
///
/// # Errors
/// [`AccountError`]
pub async fn change(app: &App, allowed: &Allowed<may::MeWrite>, change: Change) -> Result<(), AccountError> {
    let mut wrong: Vec<_> = change.name.as_deref().and_then(check_name).into_iter().collect();
    if change.locale.as_deref().is_some_and(|locale| !is_locale(locale)) {
        wrong.push(FieldError::new("/locale", "expected a language tag, such as `en` or `pt-BR`"));
    }
    if !wrong.is_empty() {
        return Err(AccountError::Invalid(wrong));
    }
    let mut tx = app.person_tx(allowed).await?;
    let theme = change.theme.map(Theme::name);
    store::update_profile(&mut tx, change.name.as_deref(), change.locale.as_deref(), theme).await?;
    let entry = audit::Entry::ok("me.write", format!("user/{}", allowed.me()));
    audit::write_own(app, &mut tx, allowed, entry).await?;
    Ok(tx.commit().await?)
}

/// Changes the caller's password, or sets one where there is none. Every other session and every command line of theirs
/// has to sign in again.
///
/// # Errors
/// [`AccountError`]
pub async fn change_password(
    app: &App,
    allowed: &Allowed<may::MeWrite>,
    current: Option<SecretString>,
    new: SecretString,
) -> Result<(), AccountError> {
    if let Some(wrong) = password::check("/new_password", &new) {
        return Err(AccountError::Invalid(vec![wrong]));
    }
    let stored = {
        let mut tx = app.service_tx().await?;
        store::password_hash(&mut tx, allowed.me()).await?
    };
    let target = format!("user/{}", allowed.me());
    let known = match (current, &stored) {
        (_, None) => true,
        (Some(current), Some(_)) => app.passwords.verify(current, stored.clone()).await?,
        (None, Some(_)) => false,
    };
    if !known {
        let entry = audit::Entry::ok("me.password", target).result(audit::Outcome::Failed);
        let mut tx = app.person_tx(allowed).await?;
        audit::write_own(app, &mut tx, allowed, entry).await?;
        tx.commit().await?;
        return Err(AccountError::WrongPassword);
    }
    let hash = app.passwords.hash(&app.entropy, new).await?;
    let mut tx = app.service_tx().await?;
    standing::hold(tx.conn(), allowed, app.now()).await?;
    // Of two that change it at once, the second gave a password that is none any more.
    if !store::replace_password(&mut tx, allowed.me(), stored.as_deref(), &hash).await? {
        return Err(AccountError::WrongPassword);
    }
    store::revoke_sign_ins(&mut tx, allowed.me(), allowed.credential().credential_id, app.now()).await?;
    audit::write_platform(app, &mut tx, allowed.credential(), None, audit::Entry::ok("me.password", target))
        .await?;
    Ok(tx.commit().await?)
}

/// Ends one of the caller's console sessions.
///
/// # Errors
/// [`AccountError`]
pub async fn end_session(app: &App, allowed: &Allowed<may::MeWrite>, id: &str) -> Result<(), AccountError> {
    let credential_id = Uuid::parse_str(id).map_err(|_| AccountError::NoSuchSession)?;
    let mut tx = app.person_tx(allowed).await?;
    if !store::revoke_session(&mut tx, credential_id, app.now()).await? {
        return Err(AccountError::NoSuchSession);
    }
    let entry = audit::Entry::ok("me.sessions.revoke", format!("credential/{credential_id}"));
    audit::write_own(app, &mut tx, allowed, entry).await?;
    Ok(tx.commit().await?)
}

/// Ends all of the caller's console sessions but the one that calls.
///
/// # Errors
/// [`AccountError`]
pub async fn end_other_sessions(app: &App, allowed: &Allowed<may::MeWrite>) -> Result<(), AccountError> {
    let mut tx = app.person_tx(allowed).await?;
    store::revoke_other_sessions(&mut tx, allowed.credential().credential_id, app.now()).await?;
    let entry = audit::Entry::ok("me.sessions.revoke", "credential/others");
    audit::write_own(app, &mut tx, allowed, entry).await?;
    Ok(tx.commit().await?)
}
