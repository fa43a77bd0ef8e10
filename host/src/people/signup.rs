//! Signing up: an account and its personal app, all or nothing (row M069).

use super::{password::HashError, store};
use crate::{
    app::App,
    grants::{Caller, CredentialKind, Role, audit},
    http::RequestContext,
    limits::SIGNUP_ANSWER_TIME,
    tenants::create::{self, CreateError},
};
use secrecy::SecretString;
use std::time::Instant;
use uuid::Uuid;

/// Who signs up.
pub struct Wanted {
    /// The address, as they write it.
    pub email: String,
    /// What they will sign in with.
    pub password: SecretString,
    /// How they are called.
    pub name: String,
}

/// Why there is no account. That there was one already is no error: nobody is told.
#[derive(Debug, thiserror::Error)]
pub enum SignupError {
    /// The password.
    #[error("{0}")]
    Password(#[from] HashError),
    /// The personal app.
    #[error("{0}")]
    App(#[from] CreateError),
    /// The database.
    #[error("the account could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Makes an account, unless the address has one. Returns after [`SIGNUP_ANSWER_TIME`], whichever it was; what takes
/// longer goes on and is carried through.
///
/// # Errors
/// [`SignupError`]
pub async fn signup(app: &App, context: RequestContext, wanted: Wanted) -> Result<(), SignupError> {
    let began = Instant::now();
    let making = {
        let app = app.clone();
        app.clone().spawn(async move {
            let made = make(&app, context, wanted).await;
            if let Err(cause) = &made {
                tracing::error!(%cause, "somebody could not sign up");
            }
            made
        })
    };
    let made = tokio::time::timeout(SIGNUP_ANSWER_TIME, making).await;
    if let Ok(Ok(Err(error))) = made {
        return Err(error);
    }
    tokio::time::sleep(SIGNUP_ANSWER_TIME.saturating_sub(began.elapsed())).await;
    Ok(())
}

async fn make(app: &App, context: RequestContext, wanted: Wanted) -> Result<(), SignupError> {
    let password_hash = app.passwords.hash(&app.entropy, wanted.password).await?;
    let new = store::NewPerson {
        user_id: app.new_id(),
        email: wanted.email.trim(),
        name: &wanted.name,
        password_hash: Some(&password_hash),
        proved: false,
        now: app.now(),
    };
    let by = Caller::without_credential(CredentialKind::Registration, context, Some(new.user_id));
    insert(app, &by, "auth.signup", &new).await.map(drop)
}

/// Makes an account without a password, for whoever proved that the address is theirs; none where it has one by now.
pub(super) async fn by_proof(
    app: &App,
    context: &RequestContext,
    email: &str,
) -> Result<Option<Uuid>, SignupError> {
    let user_id = app.new_id();
    let (email, now) = (email.trim(), app.now());
    let new = store::NewPerson { user_id, email, name: "", password_hash: None, proved: true, now };
    let by = Caller::without_credential(CredentialKind::Registration, context.clone(), Some(user_id));
    Ok(insert(app, &by, "auth.signup", &new).await?.then_some(user_id))
}

/// Makes an account without a password, for whoever an operator invites; none where the address has one.
pub(super) async fn by_operator(
    app: &App,
    by: &Caller,
    email: &str,
    name: &str,
) -> Result<Option<Uuid>, SignupError> {
    let user_id = app.new_id();
    let (email, now) = (email.trim(), app.now());
    let new = store::NewPerson { user_id, email, name, password_hash: None, proved: false, now };
    Ok(insert(app, by, "users.invite", &new).await?.then_some(user_id))
}

/// An account and its app; false where the address has one.
async fn insert(
    app: &App,
    by: &Caller,
    action: &'static str,
    new: &store::NewPerson<'_>,
) -> Result<bool, SignupError> {
    let user_id = new.user_id;
    let mut tx = app.service_tx().await?;
    if !store::insert_person(&mut tx, new).await? {
        return Ok(false);
    }
    let own = create::personal(app, &mut tx, by, &local_part(new.email)).await?;
    store::insert_member(tx.conn(), own.app_id, user_id, Role::Owner, new.now).await?;
    let entry = audit::Entry::ok(action, format!("user/{user_id}"));
    audit::write_platform(app, &mut tx, by, None, entry).await?;
    tx.commit().await?;
    Ok(true)
}

/// What the personal app is called after: as much of the address as a name has room for.
fn local_part(email: &str) -> String {
    email.trim().split('@').next().unwrap_or_default().chars().take(100).collect()
}
