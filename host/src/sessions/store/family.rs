//! The SQL of sessions that stand below others: from one to the top, and to all below it.

use crate::tenants::ServiceTx;
use sqlx::PgConnection;
use uuid::Uuid;

/// Session `$1` and all below it, as `family (session_id)`: what a statement begins with.
pub(in crate::sessions) const FAMILY: &str = "with recursive family as (
           select session_id from sessions where session_id = $1
           union select s.session_id from sessions s join family f on s.parent_id = f.session_id
         )";

/// The session whose files this one works on: itself, or the one at the top of those it is below.
pub(crate) async fn with_files(
    conn: &mut PgConnection,
    session_id: Uuid,
    parent_id: Option<Uuid>,
) -> sqlx::Result<Uuid> {
    let Some(parent_id) = parent_id else { return Ok(session_id) };
    let top = sqlx::query_scalar(
        "with recursive line as (
           select session_id, parent_id from sessions where session_id = $1
           union all
           select s.session_id, s.parent_id from sessions s join line l on s.session_id = l.parent_id
         ) select session_id from line where parent_id is null",
    );
    Ok(top.bind(parent_id).fetch_optional(conn).await?.unwrap_or(session_id))
}

/// These sessions and all below them, each with its app.
pub(in crate::sessions) async fn families(
    tx: &mut ServiceTx,
    of: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, Uuid)>> {
    sqlx::query_as(
        "with recursive family as (
           select session_id, app_id from sessions where session_id = any($1)
           union select c.session_id, c.app_id from sessions c join family f on c.parent_id = f.session_id
         ) select session_id, app_id from family",
    )
    .bind(of)
    .fetch_all(tx.conn())
    .await
}
