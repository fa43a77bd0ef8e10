//! From a session to its document, a page of messages at a time.

use super::{Head, Message, Schema, store};
use crate::{
    app::App,
    grants::Acting,
    limits::PAGE_ROWS_MAX,
    sessions::{SessionError, context::Compaction, messages::Kept, store as sessions},
};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

/// Turns that are written down, the latest of them.
const TURNS_MAX: i64 = 10_000;

/// A document on its way out.
struct Writing {
    app: App,
    acting: Acting,
    session_id: Uuid,
    /// What stands before the messages; none: it is written.
    head: Option<String>,
    /// The last message that is written.
    after: i32,
    /// The last one there was at the beginning.
    until: i32,
}

/// The document of a session, in pieces. Each page is read by itself: a slow reader holds no connection.
///
/// # Errors
/// [`SessionError`], before anything was written.
pub(crate) async fn stream(
    app: &App,
    acting: Acting,
    session_id: Uuid,
) -> Result<impl Stream<Item = sqlx::Result<Bytes>> + use<>, SessionError> {
    let mut tx = app.tenant_tx(&acting).await?;
    let session = sessions::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if session.expires_at <= app.now() {
        return Err(SessionError::Expired);
    }
    let until = store::last_place(&mut tx, session_id).await?;
    let turns = store::turns(&mut tx, session_id, TURNS_MAX).await?;
    let head = Head {
        id: session_id,
        title: session.title,
        agent: session.agent,
        model: session.model,
        permissions: session.permissions.0,
        compaction: Compaction::named(&session.compaction),
        created_at: session.created_at,
    };
    let (schema, exported_at) = (Schema::V1, app.now());
    let head = format!(
        "{{\"schema\":{},\"exported_at\":{},\"session\":{},\"turns\":{},\"messages\":[",
        text(&schema),
        text(&exported_at),
        text(&head),
        text(&turns),
    );
    let app = app.clone();
    let writing = Writing { app, acting, session_id, head: Some(head), after: 0, until };
    Ok(stream::unfold(Some(writing), |writing| async move {
        let mut writing = writing?;
        match writing.next().await {
            Ok((piece, more)) => Some((Ok(piece), more.then_some(writing))),
            // The answer breaks off: what is there is no JSON, and nobody takes it for whole.
            Err(cause) => Some((Err(cause), None)),
        }
    }))
}

impl Writing {
    /// The next piece, and whether there are more.
    async fn next(&mut self) -> sqlx::Result<(Bytes, bool)> {
        if let Some(head) = self.head.take() {
            return Ok((head.into(), true));
        }
        let first = self.after == 0;
        let limit = i64::from(PAGE_ROWS_MAX);
        let page = {
            let mut tx = self.app.tenant_tx(&self.acting).await?;
            store::page(&mut tx, self.session_id, self.after, self.until, limit).await?
        };
        let Some(last) = page.last() else { return Ok(("]}".into(), false)) };
        self.after = last.seq;
        let messages: Vec<String> = page.into_iter().map(|kept| text(&message(kept))).collect();
        let comma = if first { "" } else { "," };
        Ok((format!("{comma}{}", messages.join(",")).into(), true))
    }
}

fn message(kept: Kept) -> Message {
    let Kept { message_id: id, kind, turn_id, message, reasoning, created_at, .. } = kept;
    Message { id, kind, turn_id, message, reasoning, created_at }
}

/// JSON text. What is ours is always JSON.
fn text(value: &impl Serialize) -> String {
    json!(value).to_string()
}
