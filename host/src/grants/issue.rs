//! Making and revoking an app's credentials.

use super::{
    Allowed, CredentialKind, InApp, Scopes,
    action::may,
    audit,
    credential::{NewToken, Token},
    store,
};
use crate::{app::App, limits::CREDENTIALS_PER_APP_MAX, tenants::TenantTx};
use chrono::{DateTime, Duration, Utc};
use secrecy::SecretString;
use sqlx::PgConnection;
use uuid::Uuid;

/// What to make.
pub struct Wanted {
    /// `tenant_token` or `dev_grant`.
    pub kind: CredentialKind,
    /// For people.
    pub name: String,
    /// None: all the app has, for a tenant token; it must be given for a developer grant.
    pub scopes: Option<Scopes>,
    /// How long it lives; none: until revoked.
    pub expires_in: Option<Duration>,
}

/// A credential just made.
pub struct Issued {
    /// Its id.
    pub credential_id: Uuid,
    /// The token, shown this once.
    pub token: SecretString,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ends.
    pub expires_at: Option<DateTime<Utc>>,
    /// What identifies it to a person.
    pub prefix: String,
    /// Its last characters.
    pub last4: String,
}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// A credential may not give what it has not got.
    #[error("a credential cannot be wider than the one that makes it; leave out {}", .0.names().join(", "))]
    Wider(Scopes),
    /// Too many.
    #[error("this app has {CREDENTIALS_PER_APP_MAX} live credentials; revoke one first")]
    TooMany,
    /// The database.
    #[error("the credential could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Makes a credential of the caller's app, no wider than the caller's own.
///
/// # Errors
/// [`IssueError`]
pub async fn issue(
    app: &App,
    allowed: &Allowed<may::TokensWrite>,
    wanted: Wanted,
) -> Result<Issued, IssueError> {
    // What is a person's own is no app's to give.
    let own = allowed.caller().scopes.intersect(Scopes::app());
    let scopes = wanted.scopes.unwrap_or(own);
    if !own.covers(scopes) {
        return Err(IssueError::Wider(scopes.iter().filter(|scope| !own.has(*scope)).collect()));
    }
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock_app(&mut tx, allowed.app().app_id).await?;
    if store::count_live(&mut tx, app.now()).await? >= CREDENTIALS_PER_APP_MAX {
        return Err(IssueError::TooMany);
    }
    let made = Making {
        kind: wanted.kind,
        name: &wanted.name,
        scopes,
        expires_at: earlier(wanted.expires_in.map(|life| app.now() + life), allowed.caller().makes_until()),
        created_by: allowed.caller().credential_id,
    };
    let issued = insert(app, tx.conn(), allowed.app().app_id, &allowed.app().slug, made).await?;
    let entry = audit::Entry::ok("tokens.create", format!("credential/{}", issued.credential_id)).detail(
        serde_json::json!({ "kind": wanted.kind, "scopes": scopes, "expires_at": issued.expires_at }),
    );
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    Ok(issued)
}

/// A credential does not outlive the one that makes it (row M005).
fn earlier(wanted: Option<DateTime<Utc>>, own: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (wanted, own) {
        (Some(wanted), Some(own)) => Some(wanted.min(own)),
        (wanted, own) => wanted.or(own),
    }
}

/// What goes into a new credential, judged already.
pub(crate) struct Making<'a> {
    pub(crate) kind: CredentialKind,
    pub(crate) name: &'a str,
    pub(crate) scopes: Scopes,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) created_by: Option<Uuid>,
}

/// Makes and stores a credential in somebody's transaction.
pub(crate) async fn insert(
    app: &App,
    conn: &mut PgConnection,
    app_id: Uuid,
    slug: &str,
    making: Making<'_>,
) -> sqlx::Result<Issued> {
    use secrecy::ExposeSecret;
    let made = NewToken::make(making.kind, slug, &app.entropy);
    let credential_id = app.new_id();
    let row = store::NewCredential {
        credential_id,
        kind: making.kind.name(),
        app_id,
        name: making.name,
        secret_hash: app.pepper.hash(made.token.expose_secret()),
        prefix: &made.prefix,
        last4: &made.last4,
        scopes: making.scopes,
        expires_at: making.expires_at,
        created_by: making.created_by,
        created_at: app.now(),
    };
    store::insert_credential(conn, row).await?;
    Ok(Issued {
        credential_id,
        token: made.token,
        scopes: making.scopes,
        expires_at: making.expires_at,
        prefix: made.prefix,
        last4: made.last4,
    })
}

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is none, or it is another app's.
    #[error("no such credential")]
    NotFound,
    /// It would lock its user out.
    #[error("{0}; repeat with `?force=true` if that is meant")]
    NeedsForce(&'static str),
    /// The database.
    #[error("the credential could not be revoked")]
    Db(#[from] sqlx::Error),
}

/// Revokes a credential of the caller's app, named by its id or by the token
/// itself (row M007). From the next request on it is dead, on every host.
///
/// # Errors
/// [`RevokeError`]
pub async fn revoke(
    app: &App,
    allowed: &Allowed<may::TokensWrite>,
    id_or_token: &str,
    force: bool,
) -> Result<(), RevokeError> {
    let credential_id = resolve(app, allowed, id_or_token).await?.ok_or(RevokeError::NotFound)?;
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock_app(&mut tx, allowed.app().app_id).await?;
    if !force && is_live(&mut tx, app, credential_id).await? {
        if allowed.caller().credential_id == Some(credential_id) {
            return Err(RevokeError::NeedsForce("this is the credential you are using"));
        }
        if store::count_live(&mut tx, app.now()).await? <= 1 {
            return Err(RevokeError::NeedsForce("this is the app's last credential"));
        }
    }
    if !store::revoke(&mut tx, credential_id, app.now()).await? {
        return Err(RevokeError::NotFound);
    }
    let entry = audit::Entry::ok("tokens.revoke", format!("credential/{credential_id}"));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    app.changes.made(allowed.app().app_id);
    Ok(())
}

async fn resolve(
    app: &App,
    allowed: &Allowed<may::TokensWrite>,
    id_or_token: &str,
) -> sqlx::Result<Option<Uuid>> {
    match Token::of(id_or_token) {
        Token::Tenant { .. } | Token::Dev => {
            let mut tx = app.service_tx().await?;
            store::find_id_by_hash(&mut tx, allowed.app().app_id, &app.pepper.hash(id_or_token)).await
        }
        Token::Person | Token::Other | Token::Unknown => Ok(Uuid::parse_str(id_or_token).ok()),
    }
}

async fn is_live(tx: &mut TenantTx, app: &App, credential_id: Uuid) -> sqlx::Result<bool> {
    let live = store::list_live(tx, app.now(), None, CREDENTIALS_PER_APP_MAX + 1).await?;
    Ok(live.iter().any(|row| row.credential_id == credential_id))
}
