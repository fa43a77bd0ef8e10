//! Beginning a sign-in at a provider, and finishing it when its browser comes back.

use super::{
    Person, Provider,
    client::{AskError, Client, Oauth, word},
    github, google,
};
use crate::{
    app::App,
    error::ApiError,
    grants::{Caller, CredentialKind, audit},
    http::RequestContext,
    limits::{IDENTITIES_PER_USER_MAX, OAUTH_CODE_BYTES_MAX, OAUTH_SIGN_IN_LIFE},
    people::{
        hashed_email,
        login::{self, LoginError, SignedIn},
        magic,
        signup::{self, SignupError},
        store,
    },
    tenants::{ServiceTx, routes::is_email},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Duration;
use serde_json::json;
use subtle::ConstantTimeEq;
use url::Url;
use uuid::Uuid;

/// Why nobody signed in.
#[derive(Debug, thiserror::Error)]
pub enum OauthError {
    /// It was not begun in this browser, its time is over, or somebody came back before. Which, is not said.
    #[error(
        "this sign-in was not begun in this browser, took too long, or is finished already, and nothing was done; \
         begin again, with cookies allowed"
    )]
    Stale,
    /// Whoever it is said no there.
    #[error("{} was told not to sign you in here; begin again, or sign in another way", .0.title())]
    Denied(Provider),
    /// The provider does not do what it should. The cause is logged where it is found.
    #[error("{} did not answer as it should; try again in a moment, or sign in another way", .0.title())]
    Failed(Provider),
    /// What it says is not about this sign-in.
    #[error("what {} says is not for this sign-in, and nothing was done; begin again", .0.title())]
    NotForUs(Provider),
    /// No account here goes with it, and its address is not verified.
    #[error(
        "{} has not verified your e-mail address, so it cannot say which account here is yours; verify it there and \
         begin again, or sign in another way",
        .0.title()
    )]
    Unverified(Provider),
    /// No account here goes with it, or one that may not sign in.
    #[error("no account that may sign in here goes with that account at {}; ask this server's operator", .0.title())]
    Nobody(Provider),
    /// Too many are linked to one person.
    #[error(
        "your account has {} others linked to it; unlink one, or sign in another way",
        IDENTITIES_PER_USER_MAX
    )]
    TooManyLinked,
    /// Too many accounts were made from one address.
    #[error("{}", .0.detail)]
    TooMany(ApiError),
    /// The account.
    #[error("{0}")]
    Signup(#[from] SignupError),
    /// The session.
    #[error("{0}")]
    Login(#[from] LoginError),
    /// The database.
    #[error("the sign-in could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// What goes to the provider and comes back of a sign-in, each made of what its browser keeps and telling nothing of
/// the others.
struct Marks {
    /// Comes back with the browser.
    state: String,
    /// Comes back in the provider's word about the person.
    nonce: String,
    /// Shows the provider that who has the code is who asked for it.
    verifier: String,
}

impl Marks {
    fn of(app: &App, kept: &str) -> Marks {
        let made = |purpose| URL_SAFE_NO_PAD.encode(app.pepper.derive(purpose, kept.as_bytes()));
        Marks { state: made("oauth state"), nonce: made("oauth nonce"), verifier: made("oauth verifier") }
    }
}

fn sign_in_hash(app: &App, kept: &str) -> [u8; 32] {
    app.pepper.derive("oauth sign-in", kept.as_bytes())
}

/// A sign-in that was begun.
pub struct Begun {
    /// What its browser keeps.
    pub kept: String,
    /// Where it goes now.
    pub to: Url,
}

/// How long one may take.
pub fn life() -> Duration {
    Duration::from_std(OAUTH_SIGN_IN_LIFE).unwrap_or_default()
}

/// Begins a sign-in that comes back to `redirect_uri` and goes on at `next`, a path of this server.
///
/// # Errors
/// The database's.
pub async fn begin(app: &App, client: &Client, redirect_uri: &str, next: &str) -> sqlx::Result<Begun> {
    let kept = URL_SAFE_NO_PAD.encode(app.entropy.bytes::<32>());
    let marks = Marks::of(app, &kept);
    let (provider, now) = (client.provider.name(), app.now());
    let sign_in_hash = sign_in_hash(app, &kept);
    let new = store::NewOauthSignIn { sign_in_hash, provider, next, now, expires_at: now + life() };
    let mut tx = app.service_tx().await?;
    store::insert_oauth_sign_in(&mut tx, &new).await?;
    tx.commit().await?;
    let to = client.authorize(redirect_uri, &marks.state, &marks.nonce, &marks.verifier);
    Ok(Begun { kept, to })
}

/// A sign-in whose browser came back.
pub struct Returned {
    marks: Marks,
    /// Where it goes on.
    pub next: String,
}

/// Takes a sign-in back from the browser that keeps `kept`. It is good once, whatever comes of it.
///
/// # Errors
/// [`OauthError::Stale`], and the database's.
pub async fn take_back(app: &App, client: &Client, kept: &str, state: &str) -> Result<Returned, OauthError> {
    let marks = Marks::of(app, kept);
    // Before the row is touched: who makes a browser come here with another state ends nothing.
    if kept.is_empty() || !bool::from(marks.state.as_bytes().ct_eq(state.as_bytes())) {
        return Err(OauthError::Stale);
    }
    let mut tx = app.service_tx().await?;
    let hash = sign_in_hash(app, kept);
    let found = store::take_oauth_sign_in(&mut tx, &hash, client.provider.name()).await?;
    tx.commit().await?;
    let found = found.filter(|found| app.now() < found.expires_at).ok_or(OauthError::Stale)?;
    Ok(Returned { marks, next: found.next })
}

/// What the provider sent the browser back with.
pub enum Word<'a> {
    /// A code that stands for who it is.
    Code(&'a str),
    /// An error.
    Error(&'a str),
}

/// Signs in whoever a provider says it is.
///
/// # Errors
/// [`OauthError`]
pub async fn finish(
    app: &App,
    (oauth, client): (&Oauth, &Client),
    context: RequestContext,
    returned: &Returned,
    word: Word<'_>,
    redirect_uri: &str,
    user_agent: Option<&str>,
) -> Result<SignedIn, OauthError> {
    let code = match word {
        Word::Code(code) if (1..=OAUTH_CODE_BYTES_MAX).contains(&code.len()) => code,
        Word::Code(_) => return Err(OauthError::NotForUs(client.provider)),
        Word::Error(error) => return Err(sent_back(client.provider, error)),
    };
    // No connection of the database is held while the provider is asked.
    let person = person(app, oauth, client, &returned.marks, code, redirect_uri).await;
    let person = person.map_err(|cause| unusable(client.provider, &cause))?;
    let user_id = match whose(app, client, &context, &person).await {
        Err(error @ (OauthError::Unverified(_) | OauthError::Nobody(_))) => {
            refused(app, client, context, &person).await?;
            return Err(error);
        }
        found => found?,
    };
    let by = Caller::without_credential(CredentialKind::ConsoleSession, context, Some(user_id));
    Ok(login::begin_session(app, by, user_id, user_agent).await?)
}

/// Why a provider sent somebody back without a code.
fn sent_back(provider: Provider, error: &str) -> OauthError {
    if error == "access_denied" {
        return OauthError::Denied(provider);
    }
    tracing::warn!(provider = provider.name(), error = word(error), "a provider gave no code");
    OauthError::Failed(provider)
}

fn unusable(provider: Provider, cause: &AskError) -> OauthError {
    tracing::warn!(provider = provider.name(), %cause, "a provider does not say who somebody is");
    match cause {
        AskError::Code | AskError::Claims(_) => OauthError::NotForUs(provider),
        _ => OauthError::Failed(provider),
    }
}

async fn person(
    app: &App,
    oauth: &Oauth,
    client: &Client,
    marks: &Marks,
    code: &str,
    redirect_uri: &str,
) -> Result<Person, AskError> {
    let answer = client.redeem(oauth, redirect_uri, code, &marks.verifier).await?;
    let person = match client.provider {
        Provider::GitHub => github::person(oauth, client, &answer).await,
        Provider::Google => google::person(client, &answer, &marks.nonce, app.now()),
    }?;
    let email = person.email.filter(|email| is_email(email));
    Ok(Person { email, ..person })
}

/// Whose account here goes with a provider's: the one it is linked to, the one of its verified address, or a new one.
async fn whose(
    app: &App,
    client: &Client,
    context: &RequestContext,
    person: &Person,
) -> Result<Uuid, OauthError> {
    let mut tx = app.service_tx().await?;
    let provider = client.provider;
    if let Some(known) =
        store::find_identity(&mut tx, provider.name(), &client.at.issuer, &person.subject).await?
    {
        return if known.may_sign_in { Ok(known.user_id) } else { Err(OauthError::Nobody(provider)) };
    }
    let email = person.email.as_deref().ok_or(OauthError::Unverified(provider))?;
    if let Some(found) = store::find_addressee(&mut tx, email).await? {
        // The database finds the same letters in other scripts alike; mailboxes are not.
        if !found.email.eq_ignore_ascii_case(email) {
            return Err(OauthError::Nobody(provider));
        }
        if !magic::prove(app, &mut tx, context, found.user_id).await? {
            return Err(OauthError::Nobody(provider));
        }
        link(app, &mut tx, client, context, found.user_id, (&person.subject, email)).await?;
        tx.commit().await?;
        return Ok(found.user_id);
    }
    drop(tx);
    if !app.config.allow_self_registration {
        return Err(OauthError::Nobody(provider));
    }
    app.rate_limits.registration(context.ip).map_err(OauthError::TooMany)?;
    // None: the address is of an account that may not sign in, or got one this moment.
    let user_id = signup::by_proof(app, context, email).await?.ok_or(OauthError::Nobody(provider))?;
    let mut tx = app.service_tx().await?;
    link(app, &mut tx, client, context, user_id, (&person.subject, email)).await?;
    tx.commit().await?;
    Ok(user_id)
}

async fn link(
    app: &App,
    tx: &mut ServiceTx,
    client: &Client,
    context: &RequestContext,
    user_id: Uuid,
    (subject, email): (&str, &str),
) -> Result<(), OauthError> {
    if store::count_identities(tx, user_id).await? >= IDENTITIES_PER_USER_MAX {
        return Err(OauthError::TooManyLinked);
    }
    let new = store::NewIdentity {
        identity_id: app.new_id(),
        user_id,
        provider: client.provider.name(),
        issuer: &client.at.issuer,
        subject,
        email,
        now: app.now(),
    };
    // Of two that come back at once with the same account, the second begins again, and finds it linked.
    if !store::insert_identity(tx, &new).await? {
        return Err(OauthError::Stale);
    }
    let by = Caller::without_credential(CredentialKind::Anonymous, context.clone(), Some(user_id));
    let entry = audit::Entry::ok("auth.identity_linked", format!("user/{user_id}"));
    let entry = entry.detail(json!({ "provider": client.provider.name() }));
    Ok(audit::write_platform(app, tx, &by, None, entry).await?)
}

/// Writes down that somebody tried, as for a wrong password.
async fn refused(app: &App, client: &Client, context: RequestContext, person: &Person) -> sqlx::Result<()> {
    let email_hash = person.email.as_deref().map(|email| hex::encode(hashed_email(app, email)));
    let entry = audit::Entry::ok("auth.login", "user/unknown")
        .result(audit::Outcome::Failed)
        .detail(json!({ "provider": client.provider.name(), "email_hash": email_hash }));
    let by = Caller::without_credential(CredentialKind::Anonymous, context, None);
    let mut tx = app.service_tx().await?;
    audit::write_platform(app, &mut tx, &by, None, entry).await?;
    tx.commit().await
}
