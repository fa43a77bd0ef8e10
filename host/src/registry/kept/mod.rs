//! What is kept of plugins, and what goes (row M368).
//!
//! **Versions.** Of each plugin the newest [`VERSIONS_KEPT`], and beside them what runs, what waits and what there is
//! to go back to (`surplus`). The others go with the upload that makes them too many, or by upkeep ([`sweep`]).
//! Numbers are not given twice, as the newest always stays.
//!
//! **Bytes** are stored by digest, once for all apps, and nobody counts who refers to them. Instead it is noted when to
//! look, in `blob_checks`, and [`sweep`] looks then: what no version and no build refers to goes.
//! - Who is about to write bytes notes them first (`put`), for a day later ([`BLOBS_KEPT_UNUSED`]).
//! - Who takes a reference away notes what it referred to, in the same transaction.
//! - What is in the store and neither is found by looking through it, once an hour, and noted as well.
//!
//! Why nothing goes that somebody needs:
//! - *The same bytes are uploaded while they are removed.* Noting them before they are written and removing them take
//!   the same lock, by digest, and whoever removes holds it until the bytes are gone. So either the note is there, and
//!   the bytes stay, or they are written after they went: an upload always writes them.
//! - *An upload takes long.* Its version is written down only where its note still is (`hold`), in one transaction.
//!   Who looks takes due notes first, for which it waits for that transaction, and looks for references afterwards.
//! - *A call runs, or a host remembers, what was just taken away.* Both are over within the day.
//! - *Two hosts look at once.* The lock again: the second goes on to the next.
//! - *A host dies in between.* The bytes go first and their note with the commit: who comes next finds the note.
//! - *A host of an older release notes nothing.* References are looked for, not counted, and its bytes are found.
//!
//! Deliberately absent: a limit of bytes for each app; it follows from those of plugins, versions and uploads.
//! And compiled code: that is a cache with a bound of its own (`sandbox::cache`).

mod store;
pub mod sweep;

use super::blobs::{self, BlobError};
use crate::{
    app::App,
    limits::{BLOBS_KEPT_UNUSED, BUILDS_KEPT, VERSIONS_KEPT},
    tenants::TenantTx,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// Versions that go in one transaction, so that none is long.
const VERSIONS_AT_ONCE: usize = 100;

/// A version of a plugin, as far as it matters here.
#[derive(Clone, Copy, Debug, FromRow)]
struct Known {
    version: i32,
    runs: bool,
    passed: bool,
}

/// Writes bytes for a version that will be written down.
///
/// # Errors
/// The store's or the database's.
pub(super) async fn put<E>(app: &App, app_id: Uuid, bytes: Bytes) -> Result<String, E>
where
    E: From<BlobError> + From<sqlx::Error>,
{
    let sha256 = blobs::digest(&bytes);
    let mut tx = app.service_tx().await?;
    store::lock_bytes(&mut tx, &sha256).await?;
    store::note(tx.conn(), Some(app_id), std::slice::from_ref(&sha256), look_at(app.now())).await?;
    tx.commit().await?;
    app.blobs.put(&sha256, bytes).await?;
    Ok(sha256)
}

/// Holds on to the notes of bytes until the transaction ends, which refers to them; whether they are all there. Where not,
/// the bytes may be gone.
pub(super) async fn hold(
    conn: &mut PgConnection,
    app_id: Uuid,
    mut sha256: Vec<String>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    sha256.sort();
    sha256.dedup();
    let held = store::hold(conn, app_id, &sha256, look_at(now)).await?;
    Ok(usize::try_from(held) == Ok(sha256.len()))
}

/// Removes versions of a plugin that are kept no longer, some of them where they are many; how many it was. To be
/// called under the registry's lock.
pub(super) async fn trim(
    conn: &mut PgConnection,
    plugin: (Uuid, Uuid),
    now: DateTime<Utc>,
) -> sqlx::Result<usize> {
    let mut gone = surplus(&store::versions(&mut *conn, plugin.0).await?);
    // The oldest first: what is left is what would be left.
    gone.reverse();
    gone.truncate(VERSIONS_AT_ONCE);
    if !gone.is_empty() {
        store::remove_versions(conn, plugin, &gone, look_at(now)).await?;
    }
    Ok(gone.len())
}

/// Notes all that a plugin refers to, which the transaction deletes.
pub(super) async fn release(
    conn: &mut PgConnection,
    plugin: (Uuid, Uuid),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    store::release(conn, plugin, None, look_at(now)).await
}

/// Removes what was made of a version for older runtimes than are kept. To be called under the registry's lock.
pub(super) async fn trim_builds(
    conn: &mut PgConnection,
    which: (Uuid, i32),
    app_id: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    store::remove_older_builds(conn, which, app_id, BUILDS_KEPT, look_at(now)).await
}

/// Whether a version that is not there was there once.
pub(super) async fn is_gone(tx: &mut TenantTx, plugin_id: Uuid, version: i32) -> sqlx::Result<bool> {
    let newest = super::store::newest_version(tx, plugin_id).await?;
    Ok(newest.is_some_and(|newest| (1..newest.version).contains(&version)))
}

/// When to look at bytes that somebody refers to now, or did until now.
fn look_at(now: DateTime<Utc>) -> DateTime<Utc> {
    now + BLOBS_KEPT_UNUSED
}

/// Which of a plugin's versions, newest first, are kept no longer. Beyond the newest stay
/// - the one that runs,
/// - the one before it, and the newest before it that passed: what a rollback goes to, or may,
/// - the newest that waits for review: of those before it nobody waits for more than 50.
fn surplus(known: &[Known]) -> Vec<i32> {
    let runs = known.iter().find(|one| one.runs).map_or(0, |one| one.version);
    let newest_of =
        |wanted: &dyn Fn(&Known) -> bool| known.iter().find(|one| wanted(one)).map(|one| one.version);
    let stay = [
        Some(runs),
        newest_of(&|one| one.version < runs),
        newest_of(&|one| one.version < runs && one.passed),
        newest_of(&|one| one.version > runs && !one.passed),
    ];
    let older = known.iter().skip(VERSIONS_KEPT).map(|one| one.version);
    older.filter(|version| !stay.contains(&Some(*version))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions 1 to `newest`; those in `waiting` never passed.
    fn gone(newest: i32, runs: Option<i32>, waiting: &[i32]) -> Vec<i32> {
        let known: Vec<_> = (1..=newest)
            .rev()
            .map(|version| Known {
                version,
                runs: runs == Some(version),
                passed: !waiting.contains(&version),
            })
            .collect();
        let mut gone = surplus(&known);
        gone.sort_unstable();
        gone
    }

    #[test]
    fn the_newest_stay_and_beside_them_what_runs_what_waits_and_the_way_back() {
        let kept = i32::try_from(VERSIONS_KEPT).unwrap();
        let all = |to: i32| (1..=to).collect::<Vec<_>>();
        let but =
            |to: i32, stay: &[i32]| all(to).into_iter().filter(|one| !stay.contains(one)).collect::<Vec<_>>();
        let every: Vec<i32> = all(kept + 10);
        type Case<'a> = (i32, Option<i32>, &'a [i32], Vec<i32>);
        let cases: [Case<'_>; 9] = [
            (0, None, &[], vec![]),
            (kept, Some(kept), &[], vec![]),
            (kept + 1, Some(kept + 1), &[], vec![1]),
            (kept + 10, Some(kept + 10), &[], all(10)),
            // An old one runs: it, and what it goes back to.
            (kept + 10, Some(5), &[], but(10, &[4, 5])),
            (kept + 10, Some(5), &[3, 4], but(10, &[2, 4, 5])),
            (kept + 10, Some(1), &[], but(10, &[1])),
            // The newest that waits; none of the others do, who were passed over.
            (kept + 10, Some(5), &[6, 7], but(10, &[4, 5, 7])),
            // Nothing ever ran.
            (kept + 10, None, &every, all(10)),
        ];
        for (newest, runs, waiting, expected) in cases {
            assert_eq!(gone(newest, runs, waiting), expected, "{newest} {runs:?} {waiting:?}");
        }
    }

    #[test]
    fn however_many_there_are_few_more_than_the_newest_stay() {
        let kept = i32::try_from(VERSIONS_KEPT).unwrap();
        for runs in [None, Some(1), Some(700), Some(1000)] {
            for waiting in [vec![], (1..1000).filter(|one| one % 2 == 0 && Some(*one) != runs).collect()] {
                let stay = 1000 - i32::try_from(gone(1000, runs, &waiting).len()).unwrap();
                assert!((kept..=kept + 4).contains(&stay), "{runs:?}: {stay}");
            }
        }
    }
}
