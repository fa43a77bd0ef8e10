//! Letting in a program on its person's own machine: the authorization code grant with PKCE (RFC 6749, 7636, 8252, 9700;
//! rows M064, M082).
//!
//! The program opens a page of ours in the browser of whoever started it and listens on an address of its own machine.
//! There they see what asks and for what, and allow or deny it. The browser is sent to where the program listens, with a
//! code that is good once, for [`AUTHORIZATION_CODE_LIFE`], and only with the verifier that the program made for this
//! one request: whoever else on the machine sees the code has nothing. For the code it gets its tokens (`programs`).
//!
//! - *Where a program listens* is an address of its own machine, by number and with a port, and nothing else: nobody is
//!   sent anywhere else, whatever is wrong. What may ask is in a list, `CLIENTS`, and stands on the page; that it is
//!   the program it says, nobody can know (RFC 8252 §8.6), so each time its person is asked.
//! - *A code comes once.* With the wrong verifier, from another client or by another address it was copied, and is over
//!   then. A second time, what the first led to ends.
//! - *It goes with the session it was allowed in*: who signed out or was disabled meanwhile lets nobody in.
//!
//! Deliberately absent: programs that register themselves, other places to listen than one's own machine, clients with
//! a secret, `plain`.

mod request;

pub(super) use self::request::is_verifier;
pub use self::request::{Asked, Client, Refused, Stranger, Wish};

use super::{
    programs::{Approval, ApproveError, Family, TokenError, Tokens, chrono_of},
    standing, store,
};
use crate::{
    app::App,
    grants::{Allowed, AsMyself, Caller, CredentialKind, Scopes, action::may, audit, credential::NewToken},
    http::RequestContext,
    limits::AUTHORIZATION_CODE_LIFE,
    tenants::ServiceTx,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Lets the program in that asks; the code it is sent back with.
///
/// # Errors
/// [`ApproveError`]
pub async fn allow(
    app: &App,
    allowed: &Allowed<may::DeviceDecide>,
    asked: &Asked,
    wish: &Wish,
    approval: &Approval,
) -> Result<SecretString, ApproveError> {
    let (user_id, now) = (allowed.me(), app.now());
    let credential_id = allowed.credential().credential_id.ok_or(ApproveError::NotSignedIn)?;
    let scopes = approval.scopes(allowed, wish.scopes)?;
    let app_ids = approval.app_ids(app, allowed).await?;
    let code = NewToken::secret(&app.entropy);
    let new = store::NewAuthorizationCode {
        code_hash: app.pepper.hash(code.expose_secret()),
        client_id: asked.client.id,
        redirect_uri: &asked.redirect_uri,
        code_challenge: &wish.code_challenge,
        user_id,
        scopes,
        app_ids: app_ids.as_deref(),
        ends_at: approval.ends_at(now),
        credential_id,
        now,
        expires_at: now + chrono_of(AUTHORIZATION_CODE_LIFE),
    };
    let mut tx = app.service_tx().await?;
    standing::hold(tx.conn(), allowed, now).await?;
    store::insert_authorization_code(&mut tx, &new).await?;
    let entry = audit::Entry::ok("authorize.allow", format!("user/{user_id}"))
        .detail(json!({ "client": asked.client.id, "redirect_uri": asked.redirect_uri, "scopes": scopes }));
    audit::write_platform(app, &mut tx, allowed.credential(), None, entry).await?;
    tx.commit().await?;
    Ok(code)
}

/// Turns the program away.
///
/// # Errors
/// The database's.
pub async fn deny(app: &App, allowed: &Allowed<may::DeviceDecide>, asked: &Asked) -> sqlx::Result<()> {
    let mut tx = app.service_tx().await?;
    let entry = audit::Entry::ok("authorize.deny", format!("user/{}", allowed.me()))
        .detail(json!({ "client": asked.client.id, "redirect_uri": asked.redirect_uri }));
    audit::write_platform(app, &mut tx, allowed.credential(), None, entry).await?;
    tx.commit().await
}

/// What a program comes back with.
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a str,
    /// Who it is.
    pub client: &'static Client,
    /// Where it was sent the code.
    pub redirect_uri: &'a str,
    /// What its challenge was made of.
    pub code_verifier: &'a str,
}

/// Gives a program its tokens for the code it was sent.
///
/// # Errors
/// [`TokenError`]
pub async fn redeem(app: &App, context: RequestContext, by: &Redemption<'_>) -> Result<Tokens, TokenError> {
    let (now, hash) = (app.now(), app.pepper.hash(by.code));
    let mut tx = app.service_tx().await?;
    let whose = store::authorization_codes_person(&mut tx, &hash).await?;
    store::lock_person(&mut tx, whose).await?;
    let found = store::lock_authorization_code(&mut tx, &hash, now).await?.ok_or(TokenError::Invalid)?;
    if found.used_at.is_some() {
        end_what_it_led_to(app, &mut tx, context, &found).await?;
        tx.commit().await?;
        return Err(TokenError::Invalid);
    }
    if let Some(wrong) = by.wrong(&found, now) {
        store::use_authorization_code(&mut tx, &hash, None, now).await?;
        refused(app, &mut tx, context, &found, json!({ "client": by.client.id, "wrong": wrong })).await?;
        tx.commit().await?;
        return Err(TokenError::Invalid);
    }
    let family = Family {
        family_id: app.new_id(),
        user_id: found.user_id,
        name: by.client.name,
        scopes: Scopes::parse_known(&found.scopes),
        app_ids: found.app_ids,
        ends_at: found.ends_at,
        ip: context.ip.map(|ip| ip.to_string()),
    };
    store::use_authorization_code(&mut tx, &hash, Some(family.family_id), now).await?;
    let tokens = family.pair(app, &mut tx).await?;
    let actor = Caller::without_credential(CredentialKind::PlatformToken, context, Some(family.user_id));
    let entry = audit::Entry::ok("auth.code", format!("user/{}", family.user_id))
        .detail(json!({ "client": by.client.id, "family_id": family.family_id }));
    audit::write_platform(app, &mut tx, &actor, None, entry).await?;
    tx.commit().await?;
    Ok(tokens)
}

impl Redemption<'_> {
    /// Why it is not for whoever comes with it, or for nobody any more; none: it is.
    fn wrong(&self, found: &store::AuthorizationCode, now: DateTime<Utc>) -> Option<&'static str> {
        let made = URL_SAFE_NO_PAD.encode(Sha256::digest(self.code_verifier.as_bytes()));
        if found.client_id != self.client.id {
            Some("client_id")
        } else if found.redirect_uri != self.redirect_uri {
            Some("redirect_uri")
        } else if !bool::from(made.as_bytes().ct_eq(found.code_challenge.as_bytes())) {
            Some("code_verifier")
        } else if found.expires_at <= now || found.ends_at <= now {
            Some("expired")
        } else if !found.stands {
            Some("signed_out")
        } else {
            None
        }
    }
}

/// A code that comes again was copied: who of the two came first rightly, nobody can tell.
async fn end_what_it_led_to(
    app: &App,
    tx: &mut ServiceTx,
    context: RequestContext,
    found: &store::AuthorizationCode,
) -> sqlx::Result<()> {
    let Some(family_id) = found.family_id else { return Ok(()) };
    if store::revoke_family(tx, family_id, app.now()).await? == 0 {
        return Ok(());
    }
    let detail = json!({ "client": found.client_id, "reused": true, "family_id": family_id });
    refused(app, tx, context, found, detail).await
}

async fn refused(
    app: &App,
    tx: &mut ServiceTx,
    context: RequestContext,
    found: &store::AuthorizationCode,
    detail: Value,
) -> sqlx::Result<()> {
    // Whoever it is: not the person whose code it is, as far as anybody knows.
    let actor = Caller::without_credential(CredentialKind::Anonymous, context, None);
    let entry = audit::Entry::ok("auth.code", format!("user/{}", found.user_id))
        .result(audit::Outcome::Failed)
        .detail(detail);
    audit::write_platform(app, tx, &actor, None, entry).await
}
