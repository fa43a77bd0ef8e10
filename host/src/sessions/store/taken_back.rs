//! The SQL of messages that were taken back. They stay, and come back where somebody wants them to, until something else
//! is said in their place.

use crate::tenants::TenantTx;
use sqlx::PgConnection;
use uuid::Uuid;

/// A message `m` of session `$1` that was not taken back.
pub(in crate::sessions) const NOT_REVERTED: &str =
    "m.seq < coalesce((select reverted_from from sessions where session_id = $1), 2147483647)";

/// The turns whose messages stand from this place on, also those that were taken back: those of chat requests, too, by
/// what their changes are kept under.
pub(crate) async fn turns_from(tx: &mut TenantTx, session_id: Uuid, seq: i32) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "select distinct coalesce(turn_id, changes_id) from session_messages
         where session_id = $1 and seq >= $2 and coalesce(turn_id, changes_id) is not null",
    )
    .bind(session_id)
    .bind(seq)
    .fetch_all(tx.conn())
    .await
}

/// Takes messages back from this place on; none: no more.
pub(in crate::sessions) async fn set_reverted(
    tx: &mut TenantTx,
    session_id: Uuid,
    from: Option<i32>,
) -> sqlx::Result<()> {
    sqlx::query("update sessions set reverted_from = $2 where session_id = $1")
        .bind(session_id)
        .bind(from)
        .execute(tx.conn())
        .await
        .map(drop)
}

/// Removes what was taken back for good: something else is said in its place.
pub(in crate::sessions) async fn forget_reverted(
    conn: &mut PgConnection,
    session_id: Uuid,
) -> sqlx::Result<()> {
    sqlx::query(
        "with were as (
           select reverted_from from sessions where session_id = $1 and reverted_from is not null
         ), back as (
           update sessions set reverted_from = null from were where session_id = $1
         )
         delete from session_messages using were where session_id = $1 and seq >= were.reverted_from",
    )
    .bind(session_id)
    .execute(conn)
    .await
    .map(drop)
}
