//! The SQL of the conversation as a model reads it: from its last summary on, and how long it has become.

use super::taken_back::NOT_REVERTED;
use crate::{
    sessions::{
        context::{self, Context},
        messages::MessageKind,
    },
    tenants::TenantTx,
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// The place of the last summary of session `$1` that was not taken back, or 0.
fn summed_up() -> String {
    format!(
        "coalesce((select max(m.seq) from session_messages m
           where session_id = $1 and kind = 'summary' and {NOT_REVERTED}), 0)"
    )
}

/// The conversation as a model reads it: the last summary, and what came after it.
pub(in crate::sessions) async fn messages(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Vec<Value>> {
    let kept: Vec<(String, Value)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "select kind, message from session_messages m
         where session_id = $1 and {NOT_REVERTED} and seq >= {} order by seq",
        summed_up()
    )))
    .bind(session_id)
    .fetch_all(tx.conn())
    .await?;
    let read = |(kind, message): (String, Value)| match MessageKind::from(kind) {
        MessageKind::Message => vec![message],
        MessageKind::Summary => context::as_read(&message).into(),
    };
    Ok(kept.into_iter().flat_map(read).collect())
}

/// Whether something was said since the last summary.
pub(in crate::sessions) async fn says_something_new(
    tx: &mut TenantTx,
    session_id: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "select exists (select from session_messages m where session_id = $1 and {NOT_REVERTED} and seq > {})",
        summed_up()
    )))
    .bind(session_id)
    .fetch_one(tx.conn())
    .await
}

/// Keeps how long the conversation has become; none: not known.
pub(in crate::sessions) async fn set_context(
    conn: &mut PgConnection,
    session_id: Uuid,
    context: Option<Context>,
) -> sqlx::Result<()> {
    let Some(Context { tokens, limit }) = context else {
        // The platform does this too, and has no right to the rest.
        return sqlx::query("update sessions set context_tokens = null where session_id = $1")
            .bind(session_id)
            .execute(conn)
            .await
            .map(drop);
    };
    sqlx::query("update sessions set context_tokens = $2, context_limit = $3 where session_id = $1")
        .bind(session_id)
        .bind(tokens)
        .bind(limit)
        .execute(conn)
        .await
        .map(drop)
}
