//! Keys of model providers that whoever calls brings (rows M278 to M280): stored, tested and removed one at a time,
//! beside `PUT /v1/tenant`, which sets all of an app's providers.
//!
//! A key goes in and never comes out again. It belongs to the caller's user where there is one
//! (`user_of`), else to the app, and is sent to the address its provider has at the time it is stored, and to no
//! other. Without a key of one's own, models of that name are the platform's, where the app may use them.

pub mod routes;
mod store;

use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, InApp, action::may, audit},
    limits::PROVIDERS_PER_APP_MAX,
    models::{
        Kind,
        catalog::{self, is_built_in},
        providers::well_known,
    },
    secrets::envelope::SealError,
    sources,
    tenants::providers::{self, OpenError, OpenProvider, PLACE, check_key, is_provider_id, last4, user_of},
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use store::KeyRow;
use url::Url;

/// A key in a request: one of `key` and `managed`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyInput {
    /// The key.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    key: Option<SecretString>,
    /// True: the platform's sources, and no key of one's own.
    managed: Option<bool>,
    /// Whether the provider is asked first whether it takes the key.
    check: Option<bool>,
}

/// What a provider said to a key.
#[derive(Serialize)]
pub struct Tested {
    ok: bool,
    latency_ms: u64,
    /// How many models it offers.
    models: usize,
    /// Why none.
    message: Option<String>,
}

/// Why a key was not stored, tested or removed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nobody knows such a provider.
    #[error("no such provider")]
    NotFound,
    /// What is wrong, all of it.
    #[error("the key is wrong")]
    Invalid(Vec<FieldError>),
    /// The platform has none for this app.
    #[error("the platform has no model of `{0}` for this app; store a key of your own")]
    NotManaged(String),
    /// There are as many as there may be.
    #[error("there are {PROVIDERS_PER_APP_MAX} providers already; remove some")]
    TooMany,
    /// A key cannot be sealed.
    #[error("the key could not be sealed")]
    Seal(#[from] SealError),
    /// A key cannot be opened.
    #[error("the key cannot be opened on this host; store it again")]
    Sealed,
    /// The database.
    #[error(transparent)]
    Db(#[from] sqlx::Error),
}

/// Stores a key, or gives it up for the platform's.
///
/// # Errors
/// [`KeyError`]; nothing was changed then.
async fn put(
    app: &App,
    allowed: &Allowed<may::KeysWrite>,
    provider: &str,
    input: KeyInput,
) -> Result<(), KeyError> {
    let invalid = |at: &str, message: &str| Err(KeyError::Invalid(vec![FieldError::new(at, message)]));
    match (input.key, input.managed) {
        (Some(_), Some(true)) => invalid("/managed", "either a key or the platform's; leave one out"),
        (None, Some(true)) => give_up(app, allowed, provider).await,
        (None, _) => invalid("/key", "a key, or `\"managed\": true` for the platform's"),
        (Some(key), _) => {
            if let Err(message) = check_key(&key) {
                return invalid("/key", message);
            }
            store_key(app, allowed, provider, key, input.check == Some(true)).await
        }
    }
}

async fn store_key(
    app: &App,
    allowed: &Allowed<may::KeysWrite>,
    provider: &str,
    key: SecretString,
    check: bool,
) -> Result<(), KeyError> {
    let place = place(app, allowed, provider).await?.ok_or(KeyError::NotFound)?;
    if check {
        let open =
            OpenProvider { base_url: place.url, api_key: Some(key.clone()), kind: place.kind, proxy: None };
        if let Err(message) = catalog::fetch(app, &open).await {
            let message = format!("the provider did not take it: {message}");
            return Err(KeyError::Invalid(vec![FieldError::new("/key", message)]));
        }
    }
    let (app_id, user_id) = (allowed.app().app_id, user_of(allowed));
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock_app(&mut tx, app_id).await?;
    let before = store::find(&mut tx, user_id, provider).await?;
    let after = match &before {
        Some(row) => {
            let sealed = app.seal(PLACE, row.provider_key_id, &key)?;
            store::update(&mut tx, row.provider_key_id, &last4(key.expose_secret()), &sealed, app.now())
                .await?
        }
        None => {
            if store::count(&mut tx, user_id).await? >= PROVIDERS_PER_APP_MAX as i64 {
                return Err(KeyError::TooMany);
            }
            let provider_key_id = app.new_id();
            let new = store::NewKey {
                provider_key_id,
                app_id,
                user_id,
                provider,
                // A user's key stays with the address the app's provider has now.
                base_url: place.base_url.as_deref(),
                dialect: place.dialect.as_deref(),
                last4: &last4(key.expose_secret()),
                sealed: &app.seal(PLACE, provider_key_id, &key)?,
                at: app.now(),
            };
            store::insert(&mut tx, new).await?
        }
    };
    let entry =
        audit::Entry::ok("keys.write", format!("key/{provider}")).change(before.as_ref(), Some(&after));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    app.changes.made(app_id);
    Ok(())
}

/// Where a provider is, and what it speaks.
struct Standing {
    url: Url,
    kind: Kind,
    /// As the app says, where it is not well known.
    base_url: Option<String>,
    dialect: Option<String>,
}

/// None: neither the app nor we know where such a provider is.
async fn place(
    app: &App,
    allowed: &Allowed<may::KeysWrite>,
    provider: &str,
) -> Result<Option<Standing>, KeyError> {
    let own = providers::list(app, allowed).await?.into_iter().find(|row| row.provider == provider);
    let known = well_known(provider).filter(|_| !is_built_in(provider));
    let kind = own.as_ref().map_or_else(|| Kind::of_id(provider), providers::ProviderRow::speaks);
    let (base_url, dialect) = own.map_or((None, None), |row| (row.base_url, row.kind));
    let text = base_url.as_deref().or_else(|| known.map(|known| known.base_url));
    let Some(url) = text.and_then(|text| Url::parse(text).ok()) else { return Ok(None) };
    let reachable = app.model_egress.judge(&url).is_ok();
    Ok(reachable.then_some(Standing { url, kind, base_url, dialect }))
}

/// The app's provider goes, address and all: what is left of it would be asked in the platform's place.
async fn give_up(app: &App, allowed: &Allowed<may::KeysWrite>, provider: &str) -> Result<(), KeyError> {
    if !sources::offers_provider(app, allowed.app().app_id, provider).await? {
        let known = place(app, allowed, provider).await?.is_some();
        return Err(if known { KeyError::NotManaged(provider.to_owned()) } else { KeyError::NotFound });
    }
    take_away(app, allowed, provider, false).await.map(drop)
}

/// Removes a key; whether there was one. A provider that the app says an address of stays, without it.
///
/// # Errors
/// [`KeyError`]
async fn remove(app: &App, allowed: &Allowed<may::KeysWrite>, provider: &str) -> Result<bool, KeyError> {
    take_away(app, allowed, provider, true).await
}

async fn take_away(
    app: &App,
    allowed: &Allowed<may::KeysWrite>,
    provider: &str,
    keep_address: bool,
) -> Result<bool, KeyError> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock_app(&mut tx, allowed.app().app_id).await?;
    let found = store::find(&mut tx, user_of(allowed), provider).await?;
    let Some(before) = found.filter(|row| !keep_address || row.last4.is_some()) else { return Ok(false) };
    // A person's is in the way of the app's for as long as it is there.
    let is_apps = user_of(allowed).is_none();
    let after = if is_apps && keep_address && before.base_url.is_some() {
        Some(store::clear(&mut tx, before.provider_key_id, app.now()).await?)
    } else {
        store::delete(&mut tx, before.provider_key_id).await?;
        None
    };
    let entry =
        audit::Entry::ok("keys.write", format!("key/{provider}")).change(Some(&before), after.as_ref());
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    app.changes.made(allowed.app().app_id);
    Ok(true)
}

/// The keys the caller stored, without them.
///
/// # Errors
/// The database's.
async fn list(app: &App, allowed: &Allowed<may::KeysRead>) -> sqlx::Result<Vec<KeyRow>> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::list(&mut tx, user_of(allowed)).await
}

/// Asks a provider whether it takes the key.
///
/// # Errors
/// [`KeyError`]
async fn test(app: &App, allowed: &Allowed<may::KeysWrite>, provider: &str) -> Result<Tested, KeyError> {
    if !is_provider_id(provider) {
        return Err(KeyError::NotFound);
    }
    let opened = providers::open(app, allowed.app().app_id, user_of(allowed), provider).await;
    let opened = opened.map_err(|error| match error {
        OpenError::Sealed => KeyError::Sealed,
        OpenError::NoAddress => KeyError::NotFound,
        OpenError::Db(cause) => KeyError::Db(cause),
    })?;
    let (open, _whose) = opened.filter(|(open, _)| open.api_key.is_some()).ok_or(KeyError::NotFound)?;
    let began = Instant::now();
    let listed = catalog::fetch(app, &open).await;
    let latency_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (models, message) = match &listed {
        Ok(models) => (models.len(), None),
        Err(message) => (0, Some(message.clone())),
    };
    Ok(Tested { ok: listed.is_ok(), latency_ms, models, message })
}
