//! Making a passkey, and signing in with one: what a browser is told, and what it comes back with.

use super::site::Site;
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, AsMyself, Caller, CredentialKind, action::may, audit},
    http::RequestContext,
    limits::{PASSKEY_CEREMONY_LIFE, PASSKEY_NAME_CHARS_MAX, PASSKEYS_PER_USER_MAX},
    people::{
        login::{self, LoginError, SignedIn},
        standing::{self, StandingError},
        store::{self, MyPasskey},
    },
    tenants::ServiceTx,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Duration;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;
use webauthn_rs::prelude::{
    CreationChallengeResponse, DiscoverableAuthentication, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, RequestChallengeResponse, WebauthnError,
};
use webauthn_rs_proto::ResidentKeyRequirement;

/// Why a passkey was not made, or nobody signed in.
#[derive(Debug, thiserror::Error)]
pub enum PasskeyError {
    /// What is answered was not begun by this person, took too long, or is finished already. Which, is not said.
    #[error("what this answers was not begun here, took too long, or is finished already; begin again")]
    Stale,
    /// It is for another server, or another name of this one.
    #[error("this passkey's answer was made for another site than this one, and nothing was done")]
    Elsewhere,
    /// The authenticator's answer is not as it should be.
    #[error("the authenticator's answer is not what was asked for ({0}); begin again")]
    Unfit(&'static str),
    /// The key is somebody's already.
    #[error("this passkey is known here already")]
    Known,
    /// A person has too many.
    #[error(
        "your account has {PASSKEYS_PER_USER_MAX} passkeys; remove one with DELETE /v1/me/passkeys/{{id}}"
    )]
    TooMany,
    /// What it was made with ended meanwhile.
    #[error("{0}")]
    Standing(#[from] StandingError),
    /// Nobody here has this passkey, or its answer is wrong; which, is not said.
    #[error("this passkey signs nobody in here; sign in another way, or begin again")]
    Refused,
    /// What is kept cannot be read.
    #[error("what is kept of a passkey cannot be read")]
    Kept(#[source] serde_json::Error),
    /// The library was asked for what it does not do.
    #[error("a ceremony could not be begun")]
    Begin(#[source] WebauthnError),
    /// The session.
    #[error("{0}")]
    Login(#[from] LoginError),
    /// The database.
    #[error("the passkey could not be read or written")]
    Db(#[from] sqlx::Error),
}

/// What is wrong with how a passkey is to be called.
pub(super) fn check_name(name: &str) -> Option<FieldError> {
    let fits = !name.trim().is_empty()
        && name.chars().count() <= PASSKEY_NAME_CHARS_MAX
        && !name.chars().any(char::is_control);
    (!fits).then(|| {
        let text =
            format!("expected 1 to {PASSKEY_NAME_CHARS_MAX} characters, none of them control characters");
        FieldError::new("/name", text)
    })
}

/// What a page is told at the beginning.
pub struct Begun<T> {
    /// Comes back with the answer.
    pub(super) ceremony: String,
    /// What the browser asks its authenticators.
    pub(super) asked: T,
}

fn hash(app: &App, ceremony: &str) -> [u8; 32] {
    app.pepper.derive("passkey ceremony", ceremony.as_bytes())
}

/// Writes down what was begun.
async fn begin<T>(
    app: &App,
    tx: &mut ServiceTx,
    user_id: Option<Uuid>,
    asked: T,
    state: &impl Serialize,
) -> Result<Begun<T>, PasskeyError> {
    let ceremony = URL_SAFE_NO_PAD.encode(app.entropy.bytes::<32>());
    let now = app.now();
    let expires_at = now + Duration::from_std(PASSKEY_CEREMONY_LIFE).unwrap_or_default();
    let state = serde_json::to_value(state).map_err(PasskeyError::Kept)?;
    let new = store::NewCeremony { ceremony_hash: hash(app, &ceremony), user_id, state, now, expires_at };
    store::put_ceremony(tx, &new).await?;
    Ok(Begun { ceremony, asked })
}

/// Takes back what was begun. It is good once, whatever comes of it.
async fn take_back<T: DeserializeOwned>(
    app: &App,
    user_id: Option<Uuid>,
    ceremony: &str,
) -> Result<T, PasskeyError> {
    let mut tx = app.service_tx().await?;
    let found = store::take_ceremony(&mut tx, &hash(app, ceremony), user_id).await?;
    tx.commit().await?;
    let found = found.filter(|found| app.now() < found.expires_at).ok_or(PasskeyError::Stale)?;
    serde_json::from_value(found.state).map_err(PasskeyError::Kept)
}

/// Begins making a passkey for the caller: one that says whose it is, by itself.
///
/// # Errors
/// [`PasskeyError`]
pub async fn begin_making(
    app: &App,
    allowed: &Allowed<may::MeWrite>,
    site: &Site,
) -> Result<Begun<CreationChallengeResponse>, PasskeyError> {
    let me = allowed.me();
    let profile = store::profile(&mut app.person_tx(allowed).await?).await?;
    let mut tx = app.service_tx().await?;
    if store::count_passkeys(&mut tx, me).await? >= PASSKEYS_PER_USER_MAX {
        return Err(PasskeyError::TooMany);
    }
    let has = store::credential_ids(&mut tx, me, &site.rp_id).await?;
    let called = profile.email.as_deref().unwrap_or("you");
    let shown = if profile.name.is_empty() { called } else { &profile.name };
    let begun = site.webauthn.start_passkey_registration(me, called, shown, Some(has));
    let (mut asked, state) = begun.map_err(PasskeyError::Begin)?;
    // Signing in asks for no address, so the key must be one that its authenticator finds without.
    if let Some(selection) = &mut asked.public_key.authenticator_selection {
        selection.resident_key = Some(ResidentKeyRequirement::Required);
        selection.require_resident_key = true;
    }
    let begun = begin(app, &mut tx, Some(me), asked, &state).await?;
    tx.commit().await?;
    Ok(begun)
}

/// Keeps the passkey that an authenticator made.
///
/// # Errors
/// [`PasskeyError`]
pub(in crate::people) async fn finish_making(
    app: &App,
    allowed: &Allowed<may::MeWrite>,
    site: &Site,
    (ceremony, answer): (&str, &RegisterPublicKeyCredential),
    name: &str,
) -> Result<MyPasskey, PasskeyError> {
    let (me, caller, now) = (allowed.me(), allowed.credential(), app.now());
    let state: PasskeyRegistration = take_back(app, Some(me), ceremony).await?;
    let passkey = site.webauthn.finish_passkey_registration(answer, &state).map_err(|cause| unfit(&cause))?;
    let mut tx = app.service_tx().await?;
    // It outlives the session: whoever lost that meanwhile leaves none behind.
    standing::hold(tx.conn(), allowed, now).await?;
    if store::count_passkeys(&mut tx, me).await? >= PASSKEYS_PER_USER_MAX {
        return Err(PasskeyError::TooMany);
    }
    let new = store::NewPasskey {
        passkey_id: app.new_id(),
        user_id: me,
        rp_id: &site.rp_id,
        credential_id: passkey.cred_id(),
        name,
        passkey: serde_json::to_value(&passkey).map_err(PasskeyError::Kept)?,
        now,
    };
    if !store::insert_passkey(&mut tx, &new).await? {
        return Err(PasskeyError::Known);
    }
    let entry = audit::Entry::ok("me.passkeys.create", format!("passkey/{}", new.passkey_id))
        .detail(json!({ "rp_id": site.rp_id }));
    audit::write_platform(app, &mut tx, caller, None, entry).await?;
    tx.commit().await?;
    Ok(MyPasskey {
        passkey_id: new.passkey_id,
        name: name.to_owned(),
        rp_id: site.rp_id.clone(),
        created_at: now,
        last_used_at: None,
    })
}

/// Why an authenticator's answer is not taken.
fn unfit(cause: &WebauthnError) -> PasskeyError {
    match cause {
        WebauthnError::InvalidRPOrigin | WebauthnError::InvalidRPIDHash => PasskeyError::Elsewhere,
        WebauthnError::UserNotVerified => PasskeyError::Unfit("it did not verify that you are its owner"),
        WebauthnError::UserNotPresent => PasskeyError::Unfit("nobody was there"),
        WebauthnError::MismatchedChallenge => PasskeyError::Unfit("it answers another question"),
        WebauthnError::CredentialExcludedFromRequest | WebauthnError::CredentialAlreadyExists => {
            PasskeyError::Known
        }
        _ => PasskeyError::Unfit("it is not well formed, or its signature is wrong"),
    }
}

/// Begins signing somebody in, whoever it will be.
///
/// # Errors
/// [`PasskeyError`]
pub async fn begin_login(app: &App, site: &Site) -> Result<Begun<RequestChallengeResponse>, PasskeyError> {
    let (asked, state) = site.webauthn.start_discoverable_authentication().map_err(PasskeyError::Begin)?;
    let mut tx = app.service_tx().await?;
    let begun = begin(app, &mut tx, None, asked, &state).await?;
    tx.commit().await?;
    Ok(begun)
}

/// Signs in whose passkey it is.
///
/// # Errors
/// [`PasskeyError`]
pub async fn finish_login(
    app: &App,
    context: RequestContext,
    site: &Site,
    (ceremony, answer): (&str, &PublicKeyCredential),
    user_agent: Option<&str>,
) -> Result<SignedIn, PasskeyError> {
    let state: DiscoverableAuthentication = take_back(app, None, ceremony).await?;
    let user_id = match whose(app, site, state, answer).await? {
        Ok(user_id) => user_id,
        Err(no) => {
            refused(app, context, &no).await?;
            return Err(if no.elsewhere { PasskeyError::Elsewhere } else { PasskeyError::Refused });
        }
    };
    let by = Caller::without_credential(CredentialKind::ConsoleSession, context, Some(user_id));
    Ok(login::begin_session(app, by, user_id, user_agent).await?)
}

/// Nobody is signed in.
struct No {
    /// Who it would have been, where somebody has the passkey.
    user_id: Option<Uuid>,
    why: &'static str,
    elsewhere: bool,
}

impl No {
    fn of(user_id: Uuid, cause: &WebauthnError) -> No {
        let elsewhere = matches!(cause, WebauthnError::InvalidRPOrigin | WebauthnError::InvalidRPIDHash);
        let why = match cause {
            _ if elsewhere => "made for another site",
            // The same count twice: somebody may have a copy of the key (Web Authentication §6.1.1).
            WebauthnError::CredentialPossibleCompromise => "its counter did not rise",
            WebauthnError::UserNotVerified => "its owner was not verified",
            _ => "its answer is wrong",
        };
        No { user_id: Some(user_id), why, elsewhere }
    }
}

async fn whose(
    app: &App,
    site: &Site,
    state: DiscoverableAuthentication,
    answer: &PublicKeyCredential,
) -> Result<Result<Uuid, No>, PasskeyError> {
    let unknown = No { user_id: None, why: "nobody has it", elsewhere: false };
    let Ok((user_id, credential_id)) = site.webauthn.identify_discoverable_authentication(answer) else {
        return Ok(Err(unknown));
    };
    let mut tx = app.service_tx().await?;
    let Some(mut found) = store::lock_passkey(&mut tx, user_id, (&site.rp_id, credential_id)).await? else {
        return Ok(Err(unknown));
    };
    let mut passkey: Passkey = serde_json::from_value(found.passkey.take()).map_err(PasskeyError::Kept)?;
    let result = match site.webauthn.finish_discoverable_authentication_v2(answer, state, &passkey) {
        Ok(result) => result,
        Err(cause) => return Ok(Err(No::of(user_id, &cause))),
    };
    passkey.update_credential(&result);
    found.passkey = serde_json::to_value(&passkey).map_err(PasskeyError::Kept)?;
    store::passkey_used(&mut tx, &found, app.now()).await?;
    tx.commit().await?;
    Ok(Ok(user_id))
}

/// Writes down that somebody tried, as for a wrong password.
async fn refused(app: &App, context: RequestContext, no: &No) -> sqlx::Result<()> {
    let target = no.user_id.map_or("user/unknown".to_owned(), |id| format!("user/{id}"));
    let entry = audit::Entry::ok("auth.login", target)
        .result(audit::Outcome::Failed)
        .detail(json!({ "passkey": no.why }));
    let by = Caller::without_credential(CredentialKind::Anonymous, context, None);
    let mut tx = app.service_tx().await?;
    audit::write_platform(app, &mut tx, &by, None, entry).await?;
    tx.commit().await
}

/// The browser's answer, as the library reads it.
///
/// # Errors
/// What is wrong where.
pub(super) fn read<T: DeserializeOwned>(credential: Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(credential).map_err(|error| {
        let path: String = error.path().iter().map(|segment| format!("/{segment}")).collect();
        FieldError::new(format!("/credential{path}"), error.into_inner().to_string())
    })
}
