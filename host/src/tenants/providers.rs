//! The model providers an app brings, and keys its users bring: an id, maybe a base URL, a sealed key.
//!
//! A key goes in and never comes out again: it is opened by the service role,
//! in memory, on the way to the provider.

use super::store::{self, ProviderEnvelope};
use crate::{
    app::App,
    egress::Proxy,
    error::FieldError,
    grants::InApp,
    limits::PROVIDERS_PER_APP_MAX,
    models::{Kind, PaidBy, catalog, providers::well_known},
    remembered::Remember,
    secrets::{
        Place,
        envelope::{SealError, Sealed},
    },
};
use chrono::{DateTime, Duration, Utc};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use std::collections::BTreeMap;
use url::Url;
use uuid::Uuid;

/// How exactly it is known when a key was last used: writing it down for each call would cost more than it tells.
const LAST_USED_GRAIN: Duration = Duration::minutes(1);

/// A provider in a request.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderInput {
    /// The key; left out on an update, the old one stays.
    #[serde(rename = "apiKey", default)]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<SecretString>,
    /// Where it is, if not at the well-known address of that provider.
    #[serde(rename = "baseUrl", default)]
    pub base_url: Option<String>,
    /// The dialect it speaks, if not the one its id says.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Shown by GET, ignored by PUT.
    #[serde(rename = "has_key", default)]
    _has_key: Option<bool>,
    /// Shown by GET, ignored by PUT.
    #[serde(rename = "last4", default)]
    _last4: Option<String>,
}

/// A provider as stored, but its key.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct ProviderRow {
    /// The key's id.
    pub provider_key_id: Uuid,
    /// Its name in model ids.
    pub provider: String,
    /// Where it is, if not well known.
    pub base_url: Option<String>,
    /// The dialect it speaks, if not the one its id says.
    pub kind: Option<String>,
    /// The key's last characters; none: no key.
    pub last4: Option<String>,
}

impl ProviderRow {
    /// The dialect it speaks.
    pub fn speaks(&self) -> Kind {
        spoken(&self.provider, self.kind.as_deref())
    }
}

/// The dialect of a provider, by what is stored of it.
fn spoken(provider: &str, kind: Option<&str>) -> Kind {
    kind.and_then(Kind::parse).unwrap_or_else(|| Kind::of_id(provider))
}

/// A provider ready to be stored.
pub(super) struct SealedProvider {
    pub(super) row: ProviderRow,
    pub(super) sealed: Option<Sealed>,
    pub(super) at: DateTime<Utc>,
}

/// A provider ready to be called.
pub struct OpenProvider {
    /// Where.
    pub base_url: Url,
    /// With what; none for one that wants no key.
    pub api_key: Option<SecretString>,
    /// How to speak to it.
    pub kind: Kind,
    /// Through whom, where not directly.
    pub proxy: Option<Proxy>,
}

impl OpenProvider {
    /// The client to ask it with, once its address was judged.
    ///
    /// # Errors
    /// Why there is none, in words without an address.
    pub(crate) fn client(&self, app: &App) -> Result<reqwest::Client, &'static str> {
        match &self.proxy {
            None => Ok(app.model_egress.client().clone()),
            Some(proxy) => app.model_egress.through(proxy).map_err(|_| "its proxy cannot be used"),
        }
    }
}

/// What is wrong with these providers, each field of it.
pub fn check(app: &App, providers: &BTreeMap<String, ProviderInput>) -> Vec<FieldError> {
    let mut wrong = vec![];
    if providers.len() > PROVIDERS_PER_APP_MAX {
        wrong.push(FieldError::new("/providers", format!("at most {PROVIDERS_PER_APP_MAX} providers")));
    }
    for (id, input) in providers {
        let at = format!("/providers/{}", id.replace('~', "~0").replace('/', "~1"));
        if !is_provider_id(id) {
            wrong.push(FieldError::new(
                &at,
                "a provider id is lower-case letters, digits and hyphens, 40 at the most",
            ));
            continue;
        }
        if catalog::is_built_in(id) {
            wrong.push(FieldError::new(&at, format!("`{id}` is built in; it takes no configuration")));
        }
        match &input.base_url {
            Some(text) => {
                if let Err(message) = check_base_url(app, text) {
                    wrong.push(FieldError::new(format!("{at}/baseUrl"), message));
                }
            }
            None if well_known(id).is_none() && !catalog::is_built_in(id) => {
                wrong.push(FieldError::new(
                    format!("{at}/baseUrl"),
                    "this provider is not well known; say where it is",
                ));
            }
            None => {}
        }
        if let Some(Err(message)) = input.api_key.as_ref().map(check_key) {
            wrong.push(FieldError::new(format!("{at}/apiKey"), message));
        }
    }
    wrong
}

/// Whether this may be a key.
pub(crate) fn check_key(key: &SecretString) -> Result<(), &'static str> {
    let text = key.expose_secret();
    let odd = text.chars().any(|c| c.is_control() || c.is_whitespace());
    if odd || !(1..=4096).contains(&text.len()) {
        return Err("a key is 1 to 4096 characters without spaces");
    }
    Ok(())
}

/// Whether two addresses are of one server.
pub(crate) fn same_origin(a: &str, b: &str) -> bool {
    let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
    origin(a) == origin(b)
}

/// Whether a provider may be called so.
pub(crate) fn is_provider_id(id: &str) -> bool {
    id.len() <= 40
        && id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The address is checked again on every connect: a name may come to mean a private address later.
pub(crate) fn check_base_url(app: &App, text: &str) -> Result<(), String> {
    // A parser that mends a URL would have us judge another one than we store.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("expected a URL without spaces".to_owned());
    }
    let url = Url::parse(text)
        .map_err(|_| "expected an absolute URL, such as https://api.example.com/v1".to_owned())?;
    match url.scheme() {
        "https" => {}
        "http" if !app.config.is_production() => {}
        "http" => return Err("expected https".to_owned()),
        _ => return Err("expected http or https".to_owned()),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("expected no query and no fragment".to_owned());
    }
    app.model_egress.judge(&url).map(drop).map_err(|refusal| refusal.to_string())
}

/// Seals a provider's key for a new row.
///
/// # Errors
/// Where a key cannot be sealed, which is our fault.
pub(super) fn seal(app: &App, provider: &str, input: &ProviderInput) -> Result<SealedProvider, SealError> {
    let provider_key_id = app.new_id();
    let sealed = input.api_key.as_ref().map(|key| app.seal(PLACE, provider_key_id, key)).transpose()?;
    Ok(SealedProvider {
        row: ProviderRow {
            provider_key_id,
            provider: provider.to_owned(),
            base_url: input.base_url.clone(),
            kind: input.kind.map(|kind| kind.name().to_owned()),
            last4: input.api_key.as_ref().map(|key| last4(key.expose_secret())),
        },
        sealed,
        at: app.now(),
    })
}

/// Providers that would take the key they have to another address: whoever may change the configuration could
/// have it sent to themselves, and read it after all.
pub(super) fn check_moved(
    present: &[ProviderRow],
    wanted: &BTreeMap<String, ProviderInput>,
) -> Vec<FieldError> {
    let moved = present.iter().filter(|old| {
        let address = |base_url: Option<&str>| {
            let text = base_url.or_else(|| well_known(&old.provider).map(|known| known.base_url));
            text.unwrap_or_default().to_owned()
        };
        let keeps = |new: &&ProviderInput| new.api_key.is_none() && old.last4.is_some();
        let new = wanted.get(&old.provider).filter(keeps);
        new.is_some_and(|new| {
            !same_origin(&address(new.base_url.as_deref()), &address(old.base_url.as_deref()))
        })
    });
    let at = |old: &ProviderRow| format!("/providers/{}/apiKey", old.provider);
    moved
        .map(|old| FieldError::new(at(old), "a key does not move to another address; give it again"))
        .collect()
}

/// Replaces the providers of an app with these; one given without a key keeps the key it had.
pub(super) async fn replace(
    app: &App,
    conn: &mut PgConnection,
    app_id: Uuid,
    wanted: &BTreeMap<String, ProviderInput>,
) -> Result<(), StoreError> {
    let present = store::list_providers(conn, app_id).await?;
    for old in &present {
        match wanted.get(&old.provider) {
            Some(input) if input.api_key.is_none() => {
                let (base_url, kind) = (input.base_url.as_deref(), input.kind.map(Kind::name));
                store::update_provider(conn, old.provider_key_id, base_url, kind, app.now()).await?;
            }
            _ => store::delete_provider(conn, old.provider_key_id).await?,
        }
    }
    for (id, input) in wanted {
        let kept = input.api_key.is_none() && present.iter().any(|old| &old.provider == id);
        if !kept {
            store::insert_provider(conn, app_id, &seal(app, id, input)?).await?;
        }
    }
    Ok(())
}

/// The providers of an app, without their keys.
///
/// # Errors
/// The database's.
pub async fn list(app: &App, proof: &impl InApp) -> sqlx::Result<Vec<ProviderRow>> {
    let mut tx = app.tenant_tx(proof).await?;
    store::list_providers(tx.conn(), proof.app().app_id).await
}

/// Whose keys come before the app's: the person's who asks, if a person does.
pub(crate) fn user_of(proof: &impl InApp) -> Option<Uuid> {
    proof.user_id()
}

/// Opens a provider's key, for a call to it: the user's, else the app's; and says whose it is. None: neither has such
/// a provider.
///
/// # Errors
/// The database's, or the envelope's: then a master key is missing.
pub(crate) async fn open(
    app: &App,
    app_id: Uuid,
    user_id: Option<Uuid>,
    provider: &str,
) -> Result<Option<(OpenProvider, PaidBy)>, OpenError> {
    let found = find_envelope(app, app_id, user_id, provider).await?;
    found.map(|found| open_found(app, provider, &found)).transpose()
}

/// The same for whoever acts, where it is used at once.
///
/// # Errors
/// As [`open`]'s.
pub(crate) async fn open_known(
    app: &App,
    proof: &impl InApp,
    provider: &str,
) -> Result<Option<(OpenProvider, PaidBy)>, OpenError> {
    let (app_id, user_id) = (proof.app().app_id, user_of(proof));
    let name = format!("{}/{provider}", user_id.map(|id| id.to_string()).unwrap_or_default());
    let found = app.remembered.get(proof, &name, find_envelope(app, app_id, user_id, provider)).await?;
    Option::as_ref(&found).map(|found| open_found(app, provider, found)).transpose()
}

async fn find_envelope(
    app: &App,
    app_id: Uuid,
    user_id: Option<Uuid>,
    provider: &str,
) -> sqlx::Result<Option<ProviderEnvelope>> {
    let mut asking = app.service_read().await?;
    let found = store::find_provider_envelope(asking.conn(), app_id, user_id, provider).await?;
    asking.done();
    Ok(found)
}

fn open_found(
    app: &App,
    provider: &str,
    found: &ProviderEnvelope,
) -> Result<(OpenProvider, PaidBy), OpenError> {
    let whose = if found.user_id.is_some() { PaidBy::User } else { PaidBy::App };
    let base_url = match &found.base_url {
        Some(text) => Url::parse(text).ok(),
        None => well_known(provider).and_then(|known| Url::parse(known.base_url).ok()),
    }
    .ok_or(OpenError::NoAddress)?;
    // A name is judged when it is resolved; an address that stands in the URL only here.
    app.model_egress.judge(&base_url).map_err(|_| OpenError::NoAddress)?;
    let kind = spoken(provider, found.kind.as_deref());
    let provider_key_id = found.provider_key_id;
    let api_key = match found.sealed() {
        None => None,
        Some(sealed) => {
            Some(app.open_sealed(PLACE, provider_key_id, &sealed).map_err(|_| OpenError::Sealed)?)
        }
    };
    let is_worth_noting = found.last_used_at.is_none_or(|at| at + LAST_USED_GRAIN <= app.now());
    // What was read may be a minute old.
    if api_key.is_some()
        && is_worth_noting
        && app.keys_used.is_new_use((provider_key_id, found.version), app.now())
    {
        note_use(app, provider_key_id);
    }
    Ok((OpenProvider { base_url, api_key, kind, proxy: None }, whose))
}

impl Remember for ProviderEnvelope {
    fn bytes(&self) -> usize {
        let sealed = self.encrypted_value.as_ref().map_or(0, Vec::len);
        size_of::<ProviderEnvelope>() + sealed + self.base_url.as_ref().map_or(0, String::len)
    }
}

/// Writes down that a key was used, beside the call.
fn note_use(app: &App, provider_key_id: Uuid) {
    let noting = app.clone();
    app.spawn(async move {
        let noted = async {
            let mut tx = noting.service_tx().await?;
            let now = noting.now();
            store::note_use(tx.conn(), provider_key_id, now, now - LAST_USED_GRAIN).await?;
            tx.commit().await
        };
        if let Err(cause) = noted.await {
            tracing::warn!(%cause, "when a key was used could not be written down");
        }
    });
}

/// Why providers could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A key.
    #[error("a provider's key could not be sealed")]
    Seal(#[from] SealError),
    /// The database.
    #[error("the providers could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Why a provider could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The row has no address and none is well known.
    #[error("the provider has no address")]
    NoAddress,
    /// No master key opens it.
    #[error("the provider's key cannot be opened with the master keys of this host")]
    Sealed,
    /// The database.
    #[error("the provider could not be read")]
    Db(#[from] sqlx::Error),
}

pub(crate) const PLACE: Place =
    Place { table: "provider_keys", key: "provider_key_id", field: "encrypted_value" };

/// The last four characters of a key long enough that they tell nothing.
pub(crate) fn last4(key: &str) -> String {
    const KEY_CHARS_MIN: usize = 12;
    let count = key.chars().count();
    if count < KEY_CHARS_MIN { "****".to_owned() } else { key.chars().skip(count - 4).collect() }
}
