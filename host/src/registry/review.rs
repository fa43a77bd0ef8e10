//! Review: a person says what a plugin may touch, and a waiting version runs.

use super::{
    PluginName, Requested,
    compare::{self, Change, Side},
    kept,
    predefined::Plugin,
    seen::{self, Seen},
    signature::is_trusted,
    store,
};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, AppRef, Capability, InApp, Permission, audit},
    http::etag::{Failed, Precondition},
    tenants::TenantTx,
};
use http::HeaderValue;
use serde_json::json;
use uuid::Uuid;

/// What is granted.
pub enum Granting {
    /// Everything the version asks for.
    Everything,
    /// These; everything else it asks for is denied.
    These(Vec<Capability>),
    /// What stands granted, and what the version asks for that none that passed did: who uploads it reviews it.
    New,
}

/// How a review ended.
pub struct Reviewed {
    /// The version that runs now; none for a predefined plugin.
    pub version: Option<i32>,
    /// What the plugin was granted.
    pub granted: Vec<Capability>,
    /// What it asked for and did not get.
    pub denied: Vec<Capability>,
    /// How the plugin stands now.
    pub tag: HeaderValue,
}

/// What a reviewer reads.
pub struct Preview {
    /// The version that runs.
    pub active_version: Option<i32>,
    /// What stands granted.
    pub granted: Vec<Capability>,
    /// Versions that wait, oldest first; of a predefined plugin what it is, without a number.
    pub waiting: Vec<Waiting>,
    /// How the plugin stands.
    pub tag: HeaderValue,
}

/// A version that waits, and how it differs from the one that runs.
pub struct Waiting {
    /// Its number.
    pub version: Option<i32>,
    /// What it asks for.
    pub requested: Vec<Requested>,
    /// In words.
    pub changes: Vec<Change>,
}

/// What there is to review of a plugin.
///
/// # Errors
/// [`ReviewError`]
pub async fn preview(app: &App, proof: &impl InApp, plugin: &PluginName) -> Result<Preview, ReviewError> {
    let mut tx = app.tenant_tx(proof).await?;
    let seen = Seen::read(&mut tx, plugin).await?;
    let tag = seen.tag();
    let Seen { row, waiting, granted, .. } = seen;
    let Some(row) = row else {
        let shipped = app.predefined.find(plugin.kind, &plugin.name).ok_or(ReviewError::NotFound)?;
        let side = Side { description: &shipped.description, requested: &shipped.requested };
        let requested = shipped.requested.clone();
        let waiting = vec![Waiting { version: None, requested, changes: compare::changes(None, side) }];
        return Ok(Preview { active_version: None, granted, waiting, tag });
    };
    let active = match row.active_version {
        Some(active) => store::find_version(&mut tx, row.plugin_id, active).await?,
        None => None,
    };
    let waiting = waiting.into_iter().map(|version| Waiting {
        version: Some(version.version),
        changes: compare::changes(active.as_ref().map(side), side(&version)),
        requested: version.requested.0,
    });
    Ok(Preview { active_version: row.active_version, granted, waiting: waiting.collect(), tag })
}

fn side(version: &store::VersionRow) -> Side<'_> {
    Side { description: &version.description, requested: &version.requested }
}

/// Why nothing was reviewed.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such plugin, or not this version.
    #[error("no such plugin or version")]
    NotFound,
    /// It was there once.
    #[error("version {0} is not kept any more; upload it again")]
    Gone(i32),
    /// Several versions wait: which one the reviewer saw is theirs to say.
    #[error("several versions wait for review ({}); say which one you mean with `version`", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    WhichVersion(Vec<i32>),
    /// No key that is trusted signed the version.
    #[error("no key this app trusts signed version {0}; upload it again, signed")]
    Untrusted(i32),
    /// How the plugin stands.
    #[error("{0}")]
    Precondition(#[from] Failed),
    /// More is granted than asked for.
    #[error("the review is wrong")]
    Invalid(Vec<FieldError>),
    /// The database.
    #[error("the review could not be stored")]
    Db(#[from] sqlx::Error),
}

/// Grants capabilities to a plugin and lets the version run: the newest, unless
/// given; it must be given where several wait, so that nobody approves what came
/// after they looked.
///
/// # Errors
/// [`ReviewError`]; nothing was changed then.
pub async fn review<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    (version, only): (Option<i32>, &Precondition),
    granting: Granting,
) -> Result<Reviewed, ReviewError> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock(tx.conn(), allowed.app().app_id).await?;
    let (requested, uploaded): (Vec<Capability>, _) = match store::find(&mut tx, plugin).await? {
        Some(row) => {
            let found = match version {
                Some(number) => store::find_version(&mut tx, row.plugin_id, number).await?,
                None => {
                    let waiting = store::waiting_versions(&mut tx, row.plugin_id).await?;
                    if waiting.len() > 1 {
                        let waiting = waiting.into_iter().map(|version| version.version).collect();
                        return Err(ReviewError::WhichVersion(waiting));
                    }
                    store::newest_version(&mut tx, row.plugin_id).await?
                }
            };
            let found = match (found, version) {
                (Some(found), _) => found,
                (None, Some(number)) if kept::is_gone(&mut tx, row.plugin_id, number).await? => {
                    return Err(ReviewError::Gone(number));
                }
                (None, _) => return Err(ReviewError::NotFound),
            };
            let runs = row.active_version == Some(found.version);
            if !runs && !is_trusted(found.signed_by.as_deref(), &store::trusted_keys(&mut tx).await?) {
                return Err(ReviewError::Untrusted(found.version));
            }
            let requested = found.requested.iter().map(|wish| wish.capability.clone()).collect();
            (requested, Some((row.plugin_id, found.version)))
        }
        None => {
            let shipped: &Plugin =
                app.predefined.find(plugin.kind, &plugin.name).ok_or(ReviewError::NotFound)?;
            if version.is_some() {
                return Err(ReviewError::NotFound);
            }
            (shipped.requested.iter().map(|wish| wish.capability.clone()).collect(), None)
        }
    };
    seen::check_granted(&mut tx, plugin, only).await??;
    let passed_by = match granting {
        Granting::New => store::PassedBy::Uploader,
        Granting::Everything | Granting::These(_) => store::PassedBy::Person,
    };
    let granted = match granting {
        Granting::New => {
            let plugin_id = uploaded.map(|(plugin_id, _)| plugin_id);
            standing_and_new(&mut tx, plugin, plugin_id, &requested).await?
        }
        Granting::Everything => requested.clone(),
        Granting::These(these) => check(these, &requested)?,
    };
    let by = allowed.caller().credential_id;
    store::replace_grants(&mut tx, allowed.app().app_id, plugin, &granted, by, app.now()).await?;
    if let Some((plugin_id, number)) = uploaded {
        let which = (plugin_id, number);
        store::insert_review(&mut tx, which, allowed.app().app_id, passed_by, by, app.now()).await?;
        store::activate(&mut tx, plugin_id, number, app.now()).await?;
    }
    let denied: Vec<_> =
        requested.into_iter().filter(|wish| !granted.iter().any(|given| wish.within(given))).collect();
    let entry = audit::Entry::ok(A::ACTION.name(), plugin.to_string())
        .detail(json!({ "version": uploaded.map(|(_, v)| v), "granted": granted, "denied": denied }));
    audit::write(app, &mut tx, allowed, entry).await?;
    let tag = seen::tag(&mut tx, plugin).await?;
    tx.commit().await?;
    app.changes.made(allowed.app().app_id);
    Ok(Reviewed { version: uploaded.map(|(_, number)| number), granted, denied, tag })
}

/// What stands granted of what is asked for now, and what was never asked for by a version that passed: what was
/// denied stays denied.
async fn standing_and_new(
    tx: &mut TenantTx,
    plugin: &PluginName,
    plugin_id: Option<Uuid>,
    requested: &[Capability],
) -> sqlx::Result<Vec<Capability>> {
    let passed = match plugin_id {
        Some(plugin_id) => store::passed_versions(tx, plugin_id).await?,
        None => vec![],
    };
    let asked_before = |wish: &Capability| {
        let had = passed.iter().flat_map(|version| version.requested.iter());
        had.into_iter().any(|had| wish.within(&had.capability))
    };
    let standing = store::list_grants(tx, Some(plugin)).await?.into_iter().map(|(_, capability)| capability);
    let standing = standing.filter(|given| requested.iter().any(|wish| given.within(wish)));
    let new = requested.iter().filter(|wish| !asked_before(wish)).cloned();
    let mut granted: Vec<_> = standing.chain(new).collect();
    granted.sort();
    granted.dedup();
    Ok(granted)
}

fn check(these: Vec<Capability>, requested: &[Capability]) -> Result<Vec<Capability>, ReviewError> {
    let (mut wrong, mut granted) = (vec![], vec![]);
    for (at, capability) in these.into_iter().enumerate() {
        let pointer = format!("/grant/{at}");
        match capability.canonical() {
            Err(bad) => wrong.push(FieldError::new(pointer, bad.to_string())),
            Ok(capability) if requested.iter().any(|wish| capability.within(wish)) => {
                granted.push(capability);
            }
            Ok(capability) => {
                wrong.push(FieldError::new(
                    pointer,
                    format!("`{capability}` is more than the plugin asks for"),
                ));
            }
        }
    }
    if wrong.is_empty() { Ok(granted) } else { Err(ReviewError::Invalid(wrong)) }
}
