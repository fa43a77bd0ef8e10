//! A plugin as somebody saw it, and its entity tag (row M051): whoever read it changes it only if it still stands so.
//!
//! The tag is of everything that a route changes: which versions there are, which runs, which passed, what is granted.
//! The digest of the newest version's bytes is a tag of theirs, and counts for whoever read those.

use super::{
    PluginName,
    store::{self, PluginRow, VersionRow},
};
use crate::{
    grants::Capability,
    http::etag::{self, Failed, Precondition, entity_tag},
    tenants::TenantTx,
};
use http::HeaderValue;
use serde_json::json;

/// A plugin as it stands. What is shipped and not uploaded has grants alone.
pub(super) struct Seen {
    /// It, where it is uploaded.
    pub row: Option<PluginRow>,
    /// Its newest version.
    pub newest: Option<VersionRow>,
    /// Versions that wait for review, oldest first.
    pub waiting: Vec<VersionRow>,
    /// What it was granted.
    pub granted: Vec<Capability>,
}

impl Seen {
    /// How it stands in this transaction; until its end, where the registry's lock is held.
    pub(super) async fn read(tx: &mut TenantTx, plugin: &PluginName) -> sqlx::Result<Seen> {
        let granted = store::list_grants(tx, Some(plugin)).await?;
        let granted = granted.into_iter().map(|(_, capability)| capability).collect();
        let row = store::find(tx, plugin).await?;
        let (newest, waiting) = match &row {
            Some(row) => (
                store::newest_version(tx, row.plugin_id).await?,
                store::waiting_versions(tx, row.plugin_id).await?,
            ),
            None => (None, vec![]),
        };
        Ok(Seen { row, newest, waiting, granted })
    }

    /// The tag of what is shown of it.
    pub(super) fn tag(&self) -> HeaderValue {
        let waiting: Vec<_> = self.waiting.iter().map(|version| version.version).collect();
        entity_tag(&json!({
            // One that was deleted and uploaded again is another.
            "plugin": self.row.as_ref().map(|row| row.plugin_id),
            "active": self.row.as_ref().and_then(|row| row.active_version),
            "updated_at": self.row.as_ref().map(|row| row.updated_at),
            "newest": self.newest.as_ref().map(|version| (version.version, version.passed)),
            "waiting": waiting,
            "granted": self.granted,
        }))
    }

    /// Whether it stands as a request says, where it is there for whoever uploads, deletes and rolls back.
    fn check(&self, only: &Precondition) -> Result<(), Failed> {
        match &self.row {
            Some(_) => self.check_granted(only),
            None => only.check(&[]),
        }
    }

    /// The same for whoever grants, for whom it is there also where it is shipped.
    fn check_granted(&self, only: &Precondition) -> Result<(), Failed> {
        let bytes = self.newest.as_ref().map(|version| etag::tag(&version.sha256));
        let tags: Vec<_> = [Some(self.tag()), bytes].into_iter().flatten().collect();
        only.check(&tags)
    }
}

/// Whether a plugin stands as a request says, if that says anything. To be asked with the registry's lock held.
///
/// # Errors
/// The database's.
pub(super) async fn check(
    tx: &mut TenantTx,
    plugin: &PluginName,
    only: &Precondition,
) -> sqlx::Result<Result<(), Failed>> {
    if only.is_none() {
        return Ok(Ok(()));
    }
    Ok(Seen::read(tx, plugin).await?.check(only))
}

/// The same before something is granted to it.
///
/// # Errors
/// The database's.
pub(super) async fn check_granted(
    tx: &mut TenantTx,
    plugin: &PluginName,
    only: &Precondition,
) -> sqlx::Result<Result<(), Failed>> {
    if only.is_none() {
        return Ok(Ok(()));
    }
    Ok(Seen::read(tx, plugin).await?.check_granted(only))
}

/// The tag of a plugin after it was changed.
///
/// # Errors
/// The database's.
pub(super) async fn tag(tx: &mut TenantTx, plugin: &PluginName) -> sqlx::Result<HeaderValue> {
    Ok(Seen::read(tx, plugin).await?.tag())
}
