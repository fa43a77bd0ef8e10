//! Signing in and out (rows M067, M070).
//!
//! Whatever is wrong, the answer is the same, and a password is hashed for it: nobody learns which addresses have
//! accounts. Attempts are counted by address and account; the database is asked after that.

use super::{hashed_email, password::HashError, store};
use crate::{
    app::App,
    grants::{Allowed, AsMyself, Caller, CredentialKind, Scopes, action::may, audit, credential::NewToken},
    http::RequestContext,
    limits::{CONSOLE_SESSION_LIFE, CONSOLE_SESSIONS_PER_USER_MAX, USER_AGENT_CHARS_MAX},
};
use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

/// Somebody who signed in.
pub struct SignedIn {
    /// Who.
    pub user_id: Uuid,
    /// The session, as a credential.
    pub credential_id: Uuid,
    /// Its token, shown this once.
    pub token: SecretString,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Why nobody signed in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The address or the password is wrong; which, is not said.
    #[error("the e-mail address or the password is wrong")]
    Refused,
    /// The password could not be checked.
    #[error("{0}")]
    Password(#[from] HashError),
    /// The database.
    #[error("the session could not be stored")]
    Db(#[from] sqlx::Error),
}

/// How long a session lives.
pub(super) fn session_life() -> Duration {
    Duration::from_std(CONSOLE_SESSION_LIFE).unwrap_or_default()
}

/// Signs somebody in with a password.
///
/// # Errors
/// [`LoginError`]
pub async fn login(
    app: &App,
    context: RequestContext,
    email: &str,
    password: SecretString,
    user_agent: Option<&str>,
) -> Result<SignedIn, LoginError> {
    let found = {
        let mut tx = app.service_tx().await?;
        store::find_login(&mut tx, email.trim()).await?
    }; // the connection goes back before a password is hashed
    let (user_id, stored) = found.map(|found| (found.user_id, found.password_hash)).unzip();
    if !app.passwords.verify(password, stored.flatten()).await? {
        refused(app, context, email, user_id).await?;
        return Err(LoginError::Refused);
    }
    let user_id = user_id.ok_or(LoginError::Refused)?;
    begin_session(
        app,
        Caller::without_credential(CredentialKind::ConsoleSession, context, Some(user_id)),
        user_id,
        user_agent,
    )
    .await
}

/// Writes down that somebody tried, for the operator: by the account, where there is one, and by a hash of the
/// address, which tells attempts at one from attempts at many.
async fn refused(app: &App, context: RequestContext, email: &str, user_id: Option<Uuid>) -> sqlx::Result<()> {
    let target = user_id.map_or("user/unknown".to_owned(), |id| format!("user/{id}"));
    let entry = audit::Entry::ok("auth.login", target)
        .result(audit::Outcome::Failed)
        .detail(json!({ "email_hash": hex::encode(hashed_email(app, email)) }));
    let by = Caller::without_credential(CredentialKind::Anonymous, context, None);
    let mut tx = app.service_tx().await?;
    audit::write_platform(app, &mut tx, &by, None, entry).await?;
    tx.commit().await
}

/// Begins a session of somebody's who proved who they are.
pub(super) async fn begin_session(
    app: &App,
    by: Caller,
    user_id: Uuid,
    user_agent: Option<&str>,
) -> Result<SignedIn, LoginError> {
    let made = NewToken::make(CredentialKind::ConsoleSession, "", &app.entropy);
    let (credential_id, now) = (app.new_id(), app.now());
    let expires_at = now + session_life();
    let user_agent = user_agent.map(shortened);
    let new = store::NewCredential {
        credential_id,
        kind: CredentialKind::ConsoleSession,
        user_id,
        name: "",
        secret_hash: app.pepper.hash(made.token.expose_secret()),
        prefix: &made.prefix,
        last4: &made.last4,
        scopes: Scopes::person(),
        app_ids: None,
        family_id: None,
        ip: by.ip.map(|ip| ip.to_string()),
        user_agent: user_agent.as_deref(),
        expires_at: Some(expires_at),
        created_by: None,
        now,
    };
    let mut tx = app.service_tx().await?;
    store::insert_credential(tx.conn(), &new).await?;
    store::revoke_oldest_sessions(&mut tx, user_id, CONSOLE_SESSIONS_PER_USER_MAX, now).await?;
    let by = Caller { credential_id: Some(credential_id), ..by };
    let entry = audit::Entry::ok("auth.login", format!("user/{user_id}"));
    audit::write_platform(app, &mut tx, &by, None, entry).await?;
    tx.commit().await?;
    Ok(SignedIn { user_id, credential_id, token: made.token, expires_at })
}

/// A browser's name for itself, as far as a list of sessions needs it.
fn shortened(user_agent: &str) -> String {
    user_agent.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARS_MAX).collect()
}

/// Ends the credential that calls, and what belongs to the same sign-in.
///
/// # Errors
/// The database's.
pub async fn logout(app: &App, allowed: &Allowed<may::Logout>) -> sqlx::Result<()> {
    let Some(credential_id) = allowed.credential().credential_id else { return Ok(()) };
    let mut tx = app.person_tx(allowed).await?;
    store::revoke_family_of(&mut tx, credential_id, app.now()).await?;
    let entry = audit::Entry::ok("auth.logout", format!("credential/{credential_id}"));
    audit::write_own(app, &mut tx, allowed, entry).await?;
    tx.commit().await
}
