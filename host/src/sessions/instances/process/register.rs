//! Registering: a token that is good once against a token for as long as the instance lives, and keys that only the
//! process that asks can open.

use super::{
    BEAT_EVERY, CHANNEL_KEY_BYTES, INSTANCE_PREFIX, REGISTRATION_PREFIX, RUNNER_CALLS_MAX, RUNNER_THREADS,
    Registered, watch,
};
use crate::{
    app::App,
    grants::{Caller, CredentialKind, audit, credential::NewToken},
    http::RequestContext,
    runner::{
        CHANNEL_KEY, RunnerConfig,
        seal::{self, PUBLIC_KEY_BYTES},
    },
    sessions::instances::{Target, store},
};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Who registers.
pub(super) struct Registering {
    pub(super) session_id: Uuid,
    pub(super) token: Zeroizing<String>,
    pub(super) public_key: [u8; PUBLIC_KEY_BYTES],
}

/// What it is given.
pub(super) struct Given {
    pub(super) instance_token: Zeroizing<String>,
    /// By name, each sealed to its public key.
    pub(super) sealed_keys: Vec<(&'static str, String)>,
    pub(super) config: RunnerConfig,
}

/// Why it is not registered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegisterError {
    /// The token is none, or not good any more, or not for this.
    #[error("not registered")]
    Refused,
    /// The key is one that nothing may be sealed to.
    #[error("the key is no X25519 public key")]
    BadKey,
    /// The database.
    #[error("the registration could not be written down")]
    Db(#[from] sqlx::Error),
}

/// Registers a runner.
///
/// # Errors
/// [`RegisterError`]; a token that was refused is in the audit log of its app, where it has one.
pub(super) async fn register(
    app: &App,
    context: RequestContext,
    by: Registering,
) -> Result<Given, RegisterError> {
    if !by.token.starts_with(REGISTRATION_PREFIX) {
        return Err(RegisterError::Refused);
    }
    // Made before anything is written: a key that cannot be sealed to uses nothing up.
    let channel_key = Zeroizing::new(app.entropy.bytes::<CHANNEL_KEY_BYTES>());
    let sealed = seal::seal(&by.public_key, by.session_id, CHANNEL_KEY, channel_key.as_slice())
        .map_err(|_| RegisterError::BadKey)?;
    let caller = Caller::without_credential(CredentialKind::Registration, context, None);
    let now = app.now();
    let mut tx = app.service_tx().await?;
    let found = store::expected(&mut tx, &app.pepper.hash(&by.token)).await?;
    let Some(expected) = found else { return Err(RegisterError::Refused) };
    let wrong = match () {
        () if expected.session_id != by.session_id => Some("it is another session's"),
        () if expected.driver != Target::Process.name() => Some("it is another driver's"),
        () if expected.registration_used_at.is_some() => Some("it was used before"),
        () if expected.registration_until <= now => Some("its time is over"),
        () if expected.state != "provisioning" => Some("its instance was ended"),
        () => None,
    };
    let entry = audit::Entry::ok("instances.register", format!("session/{}", expected.session_id));
    let detail = json!({ "instance_id": expected.instance_id });
    if let Some(why) = wrong {
        let mut detail = detail;
        detail["refused"] = json!(why);
        let entry = entry.result(audit::Outcome::Failed).detail(detail);
        audit::write_platform(app, &mut tx, &caller, Some(expected.app_id), entry).await?;
        tx.commit().await?;
        return Err(RegisterError::Refused);
    }
    store::registered(&mut tx, expected.instance_id, now).await?;
    audit::write_platform(app, &mut tx, &caller, Some(expected.app_id), entry.detail(detail)).await?;
    tx.commit().await?;

    let secret = NewToken::secret(&app.entropy);
    let instance_token = Zeroizing::new(format!("{INSTANCE_PREFIX}{}", secret.expose_secret()));
    let token_hash = app.pepper.hash(&instance_token);
    let runner = app.runners.add((expected.instance_id, expected.session_id, expected.app_id));
    if runner.registered.set(Registered { token_hash, channel_key }).is_err() {
        return Err(RegisterError::Refused);
    }
    runner.registration.notify_one();
    runner.heard();
    watch::listen(app, &runner);
    Ok(Given {
        instance_token,
        sealed_keys: vec![(CHANNEL_KEY, sealed)],
        config: RunnerConfig {
            heartbeat_ms: u64::try_from(BEAT_EVERY.as_millis()).unwrap_or(u64::MAX),
            calls_max: RUNNER_CALLS_MAX,
            threads: RUNNER_THREADS,
        },
    })
}
