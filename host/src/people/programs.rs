//! Programs that a person lets in: what for, and the tokens they get then, however they asked (rows M064, M066): by a
//! code that is typed ([`device`](super::device)), or in a browser that they opened ([`authorize`](super::authorize)).
//!
//! What a person gives is within what the program asked for, and within what they may themselves. It gets a token for
//! an hour and a *refresh token*, which gets the next pair, once. A refresh token that comes twice was copied: all that
//! the sign-in led to, its *family*, ends.

use super::{standing::StandingError, store};
use crate::{
    app::App,
    grants::{
        Allowed, AsMyself, Caller, CredentialKind, Scope, Scopes, action::may, audit, credential::NewToken,
    },
    http::RequestContext,
    limits::{DEVICE_GRANT_LIFE, PLATFORM_TOKEN_LIFE},
    tenants::ServiceTx,
};
use chrono::{DateTime, Duration, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

/// What a program may be let in for: what is a person's, but the account itself.
pub(super) fn grantable() -> Scopes {
    Scopes::person().without(Scope::AccountManage)
}

/// Why a program cannot ask for this.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotGrantable(String);

/// The scopes of these names, if a program may be let in for them (row M063).
pub(super) fn wanted<S: AsRef<str>>(names: &[S]) -> Result<Scopes, NotGrantable> {
    let scopes = Scopes::parse(names).map_err(|unknown| NotGrantable(unknown.to_string()))?;
    if scopes == Scopes::NONE || !grantable().covers(scopes) {
        let text = "a program can be let in for scopes of apps and `platform:tokens`, one at least";
        return Err(NotGrantable(text.to_owned()));
    }
    Ok(scopes)
}

/// What a person approves.
pub struct Approval {
    /// What of what was asked for; none: all of it.
    pub scopes: Option<Scopes>,
    /// In which app alone, by its slug; none: all of theirs.
    pub app: Option<String>,
    /// How long what it leads to lives; none: [`DEVICE_GRANT_LIFE`].
    pub expires_in: Option<Duration>,
}

/// Why it is not theirs to approve.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    /// More than was asked for, or than the person may give.
    #[error("the request asks for less; leave out {}", .0.names().join(", "))]
    Wider(Scopes),
    /// No app of the person's.
    #[error("no such app")]
    NoSuchApp,
    /// It is no session that approves.
    #[error("sign in to approve this")]
    NotSignedIn,
    /// Their session ended meanwhile.
    #[error("{0}")]
    Standing(#[from] StandingError),
    /// The database.
    #[error("the apps could not be read")]
    Db(#[from] sqlx::Error),
}

impl Approval {
    /// The app that is named, as an id; none: all apps of the person's.
    pub(super) async fn app_ids(
        &self,
        app: &App,
        allowed: &Allowed<may::DeviceDecide>,
    ) -> Result<Option<Vec<Uuid>>, ApproveError> {
        let Some(slug) = &self.app else { return Ok(None) };
        let mut tx = app.person_tx(allowed).await?;
        let ids = store::my_app_ids(&mut tx, std::slice::from_ref(slug)).await?;
        ids.map(Some).ok_or(ApproveError::NoSuchApp)
    }

    /// What is given of what was asked for.
    pub(super) fn scopes(
        &self,
        allowed: &Allowed<may::DeviceDecide>,
        asked: Scopes,
    ) -> Result<Scopes, ApproveError> {
        let scopes = self.scopes.unwrap_or(asked);
        let most = asked.intersect(allowed.credential().scopes.intersect(grantable()));
        if !most.covers(scopes) {
            return Err(ApproveError::Wider(scopes.iter().filter(|scope| !most.has(*scope)).collect()));
        }
        Ok(scopes)
    }

    /// When what it leads to ends.
    pub(super) fn ends_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + self.expires_in.unwrap_or_else(|| chrono_of(DEVICE_GRANT_LIFE))
    }
}

/// Why a program got no token (RFC 8628 §3.5, RFC 6749 §5.2).
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its person has not decided yet.
    #[error("nobody has approved this yet; ask again after the interval")]
    Pending,
    /// It asks too often.
    #[error("asked too soon; wait five seconds longer each time")]
    SlowDown,
    /// Its time is over.
    #[error("this request has expired; begin again")]
    Expired,
    /// Its person said no.
    #[error("the request was denied")]
    Denied,
    /// Not a code or token of ours, or one that was used.
    #[error("this code or token is not valid, or was used before; sign in again")]
    Invalid,
    /// Not a program we know.
    #[error("no program is known by this client_id")]
    UnknownClient,
    /// The database.
    #[error("the tokens could not be stored")]
    Db(#[from] sqlx::Error),
}

/// What a program is let in with.
pub struct Tokens {
    /// For requests.
    pub access: SecretString,
    /// For the next pair.
    pub refresh: SecretString,
    /// How long the first lives.
    pub expires_in: std::time::Duration,
    /// What it may do.
    pub scopes: Scopes,
}

/// Gives the next pair for a refresh token. One that was used before ends the whole family.
///
/// # Errors
/// [`TokenError`]
pub async fn refresh(app: &App, context: RequestContext, token: &str) -> Result<Tokens, TokenError> {
    let now = app.now();
    let (mut tx, hash) = (app.service_tx().await?, app.pepper.hash(token));
    let whose = store::refresh_tokens_person(&mut tx, &hash).await?;
    store::lock_person(&mut tx, whose).await?;
    let found = store::lock_refresh_token(&mut tx, &hash).await?;
    let found = found.ok_or(TokenError::Invalid)?;
    if found.revoked_at.is_some() {
        // Used by two: by whom of them rightly, nobody can tell.
        if store::revoke_family(&mut tx, found.family_id, now).await? > 0 {
            let by = Caller::without_credential(CredentialKind::RefreshToken, context, Some(found.user_id));
            let entry = audit::Entry::ok("auth.refresh", format!("user/{}", found.user_id))
                .result(audit::Outcome::Failed)
                .detail(json!({ "reused": found.credential_id, "family_id": found.family_id }));
            audit::write_platform(app, &mut tx, &by, None, entry).await?;
        }
        tx.commit().await?;
        return Err(TokenError::Invalid);
    }
    if found.expires_at <= now {
        return Err(TokenError::Invalid);
    }
    store::revoke_credential(&mut tx, found.credential_id, now).await?;
    let family = Family {
        family_id: found.family_id,
        user_id: found.user_id,
        name: &found.name,
        scopes: Scopes::parse_known(&found.scopes),
        app_ids: found.app_ids,
        ends_at: found.expires_at,
        ip: context.ip.map(|ip| ip.to_string()),
    };
    let tokens = family.pair(app, &mut tx).await?;
    tx.commit().await?;
    Ok(tokens)
}

/// What the tokens of one sign-in have in common.
pub(super) struct Family<'a> {
    pub(super) family_id: Uuid,
    pub(super) user_id: Uuid,
    /// What the program calls itself.
    pub(super) name: &'a str,
    pub(super) scopes: Scopes,
    pub(super) app_ids: Option<Vec<Uuid>>,
    pub(super) ends_at: DateTime<Utc>,
    pub(super) ip: Option<String>,
}

impl Family<'_> {
    /// The first tokens of it, or the next.
    pub(super) async fn pair(&self, app: &App, tx: &mut ServiceTx) -> sqlx::Result<Tokens> {
        let life = chrono_of(PLATFORM_TOKEN_LIFE).min(self.ends_at - app.now());
        let access = self.member(app, tx, CredentialKind::PlatformToken, app.now() + life).await?;
        let refresh = self.member(app, tx, CredentialKind::RefreshToken, self.ends_at).await?;
        let expires_in = life.to_std().unwrap_or_default();
        Ok(Tokens { access, refresh, expires_in, scopes: self.scopes })
    }

    async fn member(
        &self,
        app: &App,
        tx: &mut ServiceTx,
        kind: CredentialKind,
        expires_at: DateTime<Utc>,
    ) -> sqlx::Result<SecretString> {
        let made = NewToken::make(kind, "", &app.entropy);
        let new = store::NewCredential {
            credential_id: app.new_id(),
            kind,
            user_id: self.user_id,
            name: self.name,
            secret_hash: app.pepper.hash(made.token.expose_secret()),
            prefix: &made.prefix,
            last4: &made.last4,
            scopes: self.scopes,
            app_ids: self.app_ids.clone(),
            family_id: Some(self.family_id),
            ip: self.ip.clone(),
            user_agent: None,
            expires_at: Some(expires_at),
            created_by: None,
            now: app.now(),
        };
        store::insert_credential(tx.conn(), &new).await?;
        Ok(made.token)
    }
}

/// A limit as a time that dates are reckoned with.
pub(super) fn chrono_of(time: std::time::Duration) -> Duration {
    Duration::from_std(time).unwrap_or(Duration::MAX)
}
