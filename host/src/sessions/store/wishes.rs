//! The SQL of what people set of a session, which each of its turns goes by.

use crate::{
    sessions::{context::Compaction, instances::Target, permissions::Policy},
    tenants::TenantTx,
};
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

/// What is changed of a session; none: it stays.
#[derive(Default)]
pub(in crate::sessions) struct Changes<'a> {
    pub(in crate::sessions) title: Option<&'a str>,
    pub(in crate::sessions) agent: Option<&'a str>,
    pub(in crate::sessions) model: Option<&'a str>,
    pub(in crate::sessions) permissions: Option<&'a Policy>,
    pub(in crate::sessions) compaction: Option<Compaction>,
}

pub(in crate::sessions) async fn change(
    tx: &mut TenantTx,
    session_id: Uuid,
    changes: &Changes<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update sessions set title = coalesce($2, title), agent = coalesce($3, agent), model = coalesce($4, model),
           permissions = coalesce($5, permissions), compaction = coalesce($6, compaction)
         where session_id = $1",
    )
    .bind(session_id)
    .bind(changes.title)
    .bind(changes.agent)
    .bind(changes.model)
    .bind(changes.permissions.map(Json))
    .bind(changes.compaction.map(Compaction::name))
    .execute(tx.conn())
    .await
    .map(drop)
}

/// What a session wants of every turn, and the session it is below of.
#[derive(FromRow)]
pub(in crate::sessions) struct Wishes {
    pub(in crate::sessions) agent: Option<String>,
    pub(in crate::sessions) model: Option<String>,
    pub(in crate::sessions) parent_id: Option<Uuid>,
    target: String,
}

impl Wishes {
    /// What its guests run on.
    pub(in crate::sessions) fn target(&self) -> Target {
        Target::named(&self.target)
    }
}

pub(in crate::sessions) async fn wishes(tx: &mut TenantTx, session_id: Uuid) -> sqlx::Result<Option<Wishes>> {
    sqlx::query_as("select agent, model, parent_id, target from sessions where session_id = $1")
        .bind(session_id)
        .fetch_optional(tx.conn())
        .await
}
