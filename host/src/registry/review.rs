//! Review: a person says what a plugin may touch, and a waiting version runs.

use super::{PluginName, predefined::Plugin, store};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, AppRef, Capability, InApp, Permission, audit},
};
use serde_json::json;

/// What is granted.
pub enum Granting {
    /// Everything the version asks for.
    Everything,
    /// These; everything else it asks for is denied.
    These(Vec<Capability>),
}

/// How a review ended.
pub struct Reviewed {
    /// The version that runs now; none for a predefined plugin.
    pub version: Option<i32>,
    /// What the plugin was granted.
    pub granted: Vec<Capability>,
    /// What it asked for and did not get.
    pub denied: Vec<Capability>,
}

/// Why nothing was reviewed.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such plugin, or not this version.
    #[error("no such plugin or version")]
    NotFound,
    /// Several versions wait: which one the reviewer saw is theirs to say.
    #[error("several versions wait for review ({}); say which one you mean with `version`", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    WhichVersion(Vec<i32>),
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
    version: Option<i32>,
    granting: Granting,
) -> Result<Reviewed, ReviewError> {
    let mut tx = app.tenant_tx(allowed).await?;
    store::lock(&mut tx, allowed.app().app_id).await?;
    let (requested, uploaded): (Vec<Capability>, _) = match store::find(&mut tx, plugin).await? {
        Some(row) => {
            let found = match version {
                Some(number) => store::find_version(&mut tx, row.plugin_id, number).await?,
                None => {
                    let waiting = store::waiting_versions(&mut tx, row.plugin_id).await?;
                    if waiting.len() > 1 {
                        return Err(ReviewError::WhichVersion(waiting));
                    }
                    store::newest_version(&mut tx, row.plugin_id).await?
                }
            };
            let found = found.ok_or(ReviewError::NotFound)?;
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
    let granted = match granting {
        Granting::Everything => requested.clone(),
        Granting::These(these) => check(these, &requested)?,
    };
    let by = allowed.caller().credential_id;
    store::replace_grants(&mut tx, allowed.app().app_id, plugin, &granted, by, app.now()).await?;
    if let Some((plugin_id, number)) = uploaded {
        store::insert_review(&mut tx, plugin_id, allowed.app().app_id, number, by, app.now()).await?;
        store::activate(&mut tx, plugin_id, number, app.now()).await?;
    }
    let denied: Vec<_> =
        requested.into_iter().filter(|wish| !granted.iter().any(|given| wish.within(given))).collect();
    let entry = audit::Entry::ok(A::ACTION.name(), plugin.to_string())
        .detail(json!({ "version": uploaded.map(|(_, v)| v), "granted": granted, "denied": denied }));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    Ok(Reviewed { version: uploaded.map(|(_, number)| number), granted, denied })
}

fn check(these: Vec<Capability>, requested: &[Capability]) -> Result<Vec<Capability>, ReviewError> {
    let mut wrong = vec![];
    for (at, capability) in these.iter().enumerate() {
        let pointer = format!("/grant/{at}");
        if let Err(bad) = capability.check() {
            wrong.push(FieldError::new(pointer, bad.to_string()));
        } else if !requested.iter().any(|wish| capability.within(wish)) {
            wrong.push(FieldError::new(pointer, format!("`{capability}` is more than the plugin asks for")));
        }
    }
    if wrong.is_empty() { Ok(these) } else { Err(ReviewError::Invalid(wrong)) }
}
