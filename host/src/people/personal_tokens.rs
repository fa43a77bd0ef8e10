//! Personal tokens: a person's own, with chosen scopes, for programs that run without them (rows M076 to M078).
//!
//! One is never wider than the credential that makes it: not in scopes, nor in apps; and one that another made does
//! not outlive it. Each ends within a year.

use super::{
    programs::grantable,
    standing::{self, StandingError},
    store,
};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, AsMyself, CredentialKind, Scopes, action::may, audit, credential::NewToken},
    limits::PERSONAL_TOKENS_PER_USER_MAX,
    tenants::PersonTx,
};
use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

/// What to make.
pub struct Wanted {
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// The slugs of the apps it acts for; none: all of the person's.
    pub apps: Option<Vec<String>>,
    /// How long it lives.
    pub expires_in: Duration,
}

/// A token just made.
pub struct Made {
    /// Its id.
    pub credential_id: Uuid,
    /// Its text, shown this once.
    pub token: SecretString,
    /// Its last characters.
    pub last4: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Why the tokens are as they were.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A token may not give what its maker has not got.
    #[error("a token cannot be wider than the credential that makes it; leave out {}", .0.names().join(", "))]
    Wider(Scopes),
    /// An app the person, or the credential that calls, has nothing to do with.
    #[error("the apps are wrong")]
    NoSuchApp(FieldError),
    /// There is none, or it is somebody else's.
    #[error("no such token")]
    NotFound,
    /// Too many.
    #[error("you have {PERSONAL_TOKENS_PER_USER_MAX} personal tokens; revoke one first")]
    TooMany,
    /// What asks for it ended meanwhile.
    #[error("{0}")]
    Standing(#[from] StandingError),
    /// The database.
    #[error("the token could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// Makes a token.
///
/// # Errors
/// [`TokenError`]
pub async fn create(
    app: &App,
    allowed: &Allowed<may::PatsWrite>,
    wanted: Wanted,
) -> Result<Made, TokenError> {
    let caller = allowed.credential();
    let most = caller.scopes.intersect(grantable());
    if !most.covers(wanted.scopes) {
        return Err(TokenError::Wider(wanted.scopes.iter().filter(|scope| !most.has(*scope)).collect()));
    }
    let mut tx = app.person_tx(allowed).await?;
    standing::hold(tx.conn(), allowed, app.now()).await?;
    if store::count_personal_tokens(&mut tx, app.now()).await? >= PERSONAL_TOKENS_PER_USER_MAX {
        return Err(TokenError::TooMany);
    }
    let app_ids = apps(&mut tx, caller.credential_id, wanted.apps).await?;
    let wished = app.now() + wanted.expires_in;
    let new = New {
        name: &wanted.name,
        scopes: wanted.scopes,
        app_ids,
        expires_at: caller.makes_until().map_or(wished, |limit| limit.min(wished)),
    };
    let made = insert(app, &mut tx, allowed, new).await?;
    let entry = audit::Entry::ok("pats.create", format!("credential/{}", made.credential_id))
        .detail(json!({ "scopes": made.scopes, "expires_at": made.expires_at }));
    audit::write_own(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    Ok(made)
}

/// The apps a new token acts for: those that are wanted, of those that the credential which makes it acts for.
async fn apps(
    tx: &mut PersonTx,
    maker: Option<Uuid>,
    wanted: Option<Vec<String>>,
) -> Result<Option<Vec<Uuid>>, TokenError> {
    let own = store::own_app_ids(tx, maker).await?;
    let Some(slugs) = wanted else { return Ok(own) };
    let no_such_app =
        || TokenError::NoSuchApp(FieldError::new("/app_ids", "expected ids of apps you are a member of"));
    let ids = store::my_app_ids(tx, &slugs).await?.ok_or_else(no_such_app)?;
    match own {
        Some(own) if !ids.iter().all(|id| own.contains(id)) => Err(no_such_app()),
        _ => Ok(Some(ids)),
    }
}

struct New<'a> {
    name: &'a str,
    scopes: Scopes,
    app_ids: Option<Vec<Uuid>>,
    expires_at: DateTime<Utc>,
}

async fn insert(app: &App, tx: &mut PersonTx, by: &impl AsMyself, new: New<'_>) -> sqlx::Result<Made> {
    let made = NewToken::make(CredentialKind::PersonalToken, "", &app.entropy);
    let credential_id = app.new_id();
    let row = store::NewCredential {
        credential_id,
        kind: CredentialKind::PersonalToken,
        user_id: by.me(),
        name: new.name,
        secret_hash: app.pepper.hash(made.token.expose_secret()),
        prefix: &made.prefix,
        last4: &made.last4,
        scopes: new.scopes,
        app_ids: new.app_ids,
        family_id: None,
        ip: None,
        user_agent: None,
        expires_at: Some(new.expires_at),
        created_by: by.credential().credential_id,
        now: app.now(),
    };
    store::insert_credential(tx.conn(), &row).await?;
    Ok(Made {
        credential_id,
        token: made.token,
        last4: made.last4,
        scopes: new.scopes,
        expires_at: new.expires_at,
    })
}

/// Gives a token another name.
///
/// # Errors
/// [`TokenError`]
pub async fn rename(
    app: &App,
    allowed: &Allowed<may::PatsWrite>,
    id: &str,
    name: &str,
) -> Result<(), TokenError> {
    let credential_id = parse(id)?;
    let mut tx = app.person_tx(allowed).await?;
    if !store::rename_personal_token(&mut tx, credential_id, name, app.now()).await? {
        return Err(TokenError::NotFound);
    }
    let entry = audit::Entry::ok("pats.rename", format!("credential/{credential_id}"));
    audit::write_own(app, &mut tx, allowed, entry).await?;
    Ok(tx.commit().await?)
}

/// Revokes a token: dead from the next request on, on every host.
///
/// # Errors
/// [`TokenError`]
pub async fn revoke(app: &App, allowed: &Allowed<may::PatsWrite>, id: &str) -> Result<(), TokenError> {
    let credential_id = parse(id)?;
    let mut tx = app.person_tx(allowed).await?;
    if !store::revoke_personal_token(&mut tx, credential_id, app.now()).await? {
        return Err(TokenError::NotFound);
    }
    let entry = audit::Entry::ok("pats.revoke", format!("credential/{credential_id}"));
    audit::write_own(app, &mut tx, allowed, entry).await?;
    Ok(tx.commit().await?)
}

/// Makes a token that may what this one may, as long as it may, and lets this one live on for a while.
///
/// # Errors
/// [`TokenError`]
pub async fn rotate(
    app: &App,
    allowed: &Allowed<may::PatsWrite>,
    id: &str,
    grace: Duration,
) -> Result<Made, TokenError> {
    let credential_id = parse(id)?;
    let mut tx = app.person_tx(allowed).await?;
    standing::hold(tx.conn(), allowed, app.now()).await?;
    let old =
        store::find_personal_token(&mut tx, credential_id, app.now()).await?.ok_or(TokenError::NotFound)?;
    let scopes = Scopes::parse_known(&old.scopes);
    let own = allowed.credential().scopes;
    if !own.covers(scopes) {
        return Err(TokenError::Wider(scopes.iter().filter(|scope| !own.has(*scope)).collect()));
    }
    let maker_apps = store::own_app_ids(&mut tx, allowed.credential().credential_id).await?;
    let within = match (&maker_apps, &old.app_ids) {
        (None, _) => true,
        (Some(own), Some(ids)) => ids.iter().all(|id| own.contains(id)),
        (Some(_), None) => false,
    };
    if !within {
        return Err(TokenError::NotFound);
    }
    let new = New { name: &old.name, scopes, app_ids: old.app_ids, expires_at: old.expires_at };
    let made = insert(app, &mut tx, allowed, new).await?;
    let until = (app.now() + grace).min(old.expires_at);
    store::end_personal_token(&mut tx, credential_id, until).await?;
    let entry = audit::Entry::ok("pats.rotate", format!("credential/{credential_id}"))
        .detail(json!({ "by": made.credential_id, "until": until }));
    audit::write_own(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    Ok(made)
}

fn parse(id: &str) -> Result<Uuid, TokenError> {
    Uuid::parse_str(id).map_err(|_| TokenError::NotFound)
}
