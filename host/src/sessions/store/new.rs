//! The SQL of a session that is made.

use crate::{
    grants::InApp,
    sessions::{Status, context::Compaction, instances::Target, permissions::Policy},
    tenants::TenantTx,
};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

/// A session to be.
pub(in crate::sessions) struct NewSession<'a> {
    pub(in crate::sessions) session_id: Uuid,
    pub(in crate::sessions) app_id: Uuid,
    /// Whose it is; none: the app's.
    pub(in crate::sessions) user_id: Option<Uuid>,
    /// The session it does a task for.
    pub(in crate::sessions) parent_id: Option<Uuid>,
    pub(in crate::sessions) forked_from: Option<Uuid>,
    pub(in crate::sessions) title: &'a str,
    pub(in crate::sessions) status: Status,
    pub(in crate::sessions) agent: Option<&'a str>,
    pub(in crate::sessions) model: Option<&'a str>,
    pub(in crate::sessions) permissions: Policy,
    pub(in crate::sessions) compaction: Compaction,
    /// What it runs on.
    pub(in crate::sessions) target: Target,
    pub(in crate::sessions) now: DateTime<Utc>,
    pub(in crate::sessions) expires_at: DateTime<Utc>,
    /// Who takes it at once, and until when.
    pub(in crate::sessions) lease: Option<(Uuid, DateTime<Utc>)>,
}

impl NewSession<'_> {
    /// One of whoever acts.
    pub(in crate::sessions) fn new(
        session_id: Uuid,
        proof: &impl InApp,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Self {
        NewSession {
            session_id,
            app_id: proof.app().app_id,
            user_id: proof.user_id(),
            parent_id: None,
            forked_from: None,
            title: "",
            status: Status::Creating,
            agent: None,
            model: None,
            permissions: Policy::default(),
            compaction: Compaction::default(),
            target: Target::default(),
            now,
            expires_at,
            lease: None,
        }
    }
}

pub(in crate::sessions) async fn insert(tx: &mut TenantTx, new: &NewSession<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "insert into sessions (session_id, app_id, forked_from, title, status, agent, model, permissions, created_at,
           last_accessed_at, expires_at, busy_token, busy_until, user_id, parent_id, compaction, target)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(new.session_id)
    .bind(new.app_id)
    .bind(new.forked_from)
    .bind(new.title)
    .bind(new.status.name())
    .bind(new.agent)
    .bind(new.model)
    .bind(Json(&new.permissions))
    .bind(new.now)
    .bind(new.expires_at)
    .bind(new.lease.map(|(token, _)| token))
    .bind(new.lease.map(|(_, until)| until))
    .bind(new.user_id)
    .bind(new.parent_id)
    .bind(new.compaction.name())
    .bind(new.target.name())
    .execute(tx.conn())
    .await
    .map(drop)
}

/// How many sessions of the app run on something.
pub(in crate::sessions) async fn count_live(tx: &mut TenantTx, now: DateTime<Utc>) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from sessions where status in ('creating', 'active', 'idle') and expires_at > $1",
    )
    .bind(now)
    .fetch_one(tx.conn())
    .await
}
