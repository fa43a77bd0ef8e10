//! Making, changing and removing sources.

use super::{
    SOURCES_MAX, SetError, check_order, check_weight,
    model::given,
    store::{self, NewKey, SourceRow},
};
use crate::{
    app::App,
    egress::Proxy,
    error::FieldError,
    grants::{Allowed, action::may, audit},
    models::Kind,
    secrets::{Place, envelope::Sealed},
    tenants::ServiceTx,
    tenants::providers::{check_base_url, check_key, is_provider_id, last4, same_origin},
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub(crate) const PLACE: Place = Place { table: "ai_sources", key: "source_id", field: "encrypted_value" };
pub(crate) const PROXY_PLACE: Place =
    Place { table: "ai_source_proxies", key: "source_id", field: "encrypted_value" };

/// A new source.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSource {
    /// Its name, for the operator alone.
    id: String,
    /// The dialect it speaks.
    kind: Kind,
    /// Where it is.
    base_url: String,
    /// Its key; left out for one that wants none.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    key: Option<SecretString>,
    /// Lower ones are asked first; 0 unless given.
    order: Option<i32>,
    /// How often among those of the same order; 1 unless given.
    weight: Option<i32>,
    /// Whether it is asked at all; yes, unless given.
    enabled: Option<bool>,
    /// A proxy it is asked through, `http://[user:password@]host:port`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    proxy: Option<SecretString>,
}

/// What changes of a source; what is left out stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceChange {
    kind: Option<Kind>,
    base_url: Option<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    key: Option<SecretString>,
    order: Option<i32>,
    weight: Option<i32>,
    enabled: Option<bool>,
    /// Null: none any more.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    proxy: Option<Option<SecretString>>,
}

/// Makes a source.
///
/// # Errors
/// [`SetError`]; nothing was made then.
pub(super) async fn create(
    app: &App,
    allowed: &Allowed<may::SourcesWrite>,
    new: NewSource,
) -> Result<SourceRow, SetError> {
    let NewSource { id, kind, base_url, key, order, weight, enabled, proxy } = new;
    let (kind, base_url, proxy) = (Some(kind), Some(base_url), proxy.map(Some));
    let change = SourceChange { kind, base_url, key, order, weight, enabled, proxy };
    let mut wrong = check(app, &change);
    if !is_provider_id(&id) {
        wrong.insert(
            0,
            FieldError::new("/id", "a source's id is lower-case letters, digits and hyphens, 40 at the most"),
        );
    }
    if !wrong.is_empty() {
        return Err(SetError::Invalid(wrong));
    }
    let blank = SourceRow {
        source_id: app.new_id(),
        name: id,
        kind: String::new(),
        base_url: String::new(),
        proxy: None,
        last4: None,
        position: 0,
        weight: 1,
        enabled: true,
        created_at: app.now(),
        updated_at: app.now(),
    };
    let (row, key, proxy) = changed(app, &blank, change)?;
    let mut tx = app.service_tx().await?;
    if store::count_sources(&mut tx).await? >= SOURCES_MAX {
        return Err(SetError::TooMany(SOURCES_MAX));
    }
    if !store::insert_source(&mut tx, &row, key.as_ref()).await? {
        return Err(SetError::Taken(row.name));
    }
    keep_proxy(&mut tx, &row, proxy.as_ref()).await?;
    let entry = audit::Entry::ok("sources.write", format!("source/{}", row.name)).change(None, Some(&row));
    audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    tx.commit().await?;
    Ok(row)
}

/// Changes a source, from the next request on.
///
/// # Errors
/// [`SetError`]; nothing was changed then.
pub(super) async fn change(
    app: &App,
    allowed: &Allowed<may::SourcesWrite>,
    name: &str,
    change: SourceChange,
) -> Result<SourceRow, SetError> {
    let wrong = check(app, &change);
    if !wrong.is_empty() {
        return Err(SetError::Invalid(wrong));
    }
    let mut tx = app.service_tx().await?;
    let before = store::lock_source(&mut tx, name).await?.ok_or(SetError::NotFound("source"))?;
    let moves = change.base_url.as_deref().is_some_and(|base_url| !same_origin(base_url, &before.base_url));
    if moves && before.last4.is_some() && change.key.is_none() {
        let message = "a key does not move to another address; give it again";
        return Err(SetError::Invalid(vec![FieldError::new("/key", message)]));
    }
    let (after, key, proxy) = changed(app, &before, change)?;
    store::update_source(&mut tx, &after, key.as_ref()).await?;
    keep_proxy(&mut tx, &after, proxy.as_ref()).await?;
    let entry =
        audit::Entry::ok("sources.write", format!("source/{name}")).change(Some(&before), Some(&after));
    audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    tx.commit().await?;
    app.circuits.forget(after.source_id);
    Ok(after)
}

/// Removes a source; whether it was there. Models it served are served by their others.
///
/// # Errors
/// The database's.
pub(super) async fn remove(
    app: &App,
    allowed: &Allowed<may::SourcesWrite>,
    name: &str,
) -> sqlx::Result<bool> {
    let mut tx = app.service_tx().await?;
    let Some(before) = store::lock_source(&mut tx, name).await? else { return Ok(false) };
    store::delete_source(&mut tx, before.source_id).await?;
    let entry = audit::Entry::ok("sources.write", format!("source/{name}")).change(Some(&before), None);
    audit::write_platform(app, &mut tx, allowed.caller(), None, entry).await?;
    tx.commit().await?;
    app.circuits.forget(before.source_id);
    Ok(true)
}

fn check(app: &App, change: &SourceChange) -> Vec<FieldError> {
    let mut wrong = vec![];
    if let Some(Err(message)) = change.base_url.as_deref().map(|text| check_base_url(app, text)) {
        wrong.push(FieldError::new("/base_url", message));
    }
    if let Some(Err(message)) = change.key.as_ref().map(check_key) {
        wrong.push(FieldError::new("/key", message));
    }
    if let Some(Some(Err(message))) = change.proxy.as_ref().map(|proxy| proxy.as_ref().map(Proxy::parse)) {
        wrong.push(FieldError::new("/proxy", message));
    }
    check_order(change.order, "", &mut wrong);
    check_weight(change.weight, "", &mut wrong);
    wrong
}

/// What becomes of a source's proxy: another, with what it wants to be told, sealed; or none.
type NewProxy = Option<Option<Sealed>>;

async fn keep_proxy(tx: &mut ServiceTx, row: &SourceRow, new: Option<&NewProxy>) -> sqlx::Result<()> {
    let Some(new) = new else { return Ok(()) };
    let proxy = row.proxy.as_deref().zip(new.as_ref());
    store::set_proxy(tx, row.source_id, proxy.map(|(url, sealed)| (url, sealed.as_ref()))).await
}

/// The source as it will be, and its new key and proxy, sealed.
fn changed(
    app: &App,
    before: &SourceRow,
    change: SourceChange,
) -> Result<(SourceRow, Option<NewKey>, Option<NewProxy>), SetError> {
    let kind = change.kind.map_or_else(|| before.kind.clone(), |kind| kind.name().to_owned());
    let key = match &change.key {
        Some(key) => Some(app.seal(PLACE, before.source_id, key)?),
        None => None,
    };
    let proxy = change.proxy.map(|text| text.and_then(|text| Proxy::parse(&text).ok()));
    let new_proxy = match &proxy {
        None => None,
        Some(None) => Some(None),
        Some(Some(proxy)) => {
            let seal = |text| app.seal(PROXY_PLACE, before.source_id, text);
            Some(Some(proxy.credentials.as_ref().map(seal).transpose()?))
        }
    };
    let row = SourceRow {
        proxy: match proxy {
            None => before.proxy.clone(),
            Some(proxy) => proxy.map(|proxy| proxy.url.to_string()),
        },
        kind,
        base_url: change.base_url.unwrap_or_else(|| before.base_url.clone()),
        last4: change.key.map(|key| last4(key.expose_secret())).or_else(|| before.last4.clone()),
        position: change.order.unwrap_or(before.position),
        weight: change.weight.unwrap_or(before.weight),
        enabled: change.enabled.unwrap_or(before.enabled),
        updated_at: app.now(),
        ..before.clone()
    };
    Ok((row, key, new_proxy))
}
