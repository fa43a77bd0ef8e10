//! Sharing: a link that shows a conversation to whoever has it, and to nobody for longer than it says.
//!
//! The link is a random secret of which only a hash is kept; a session has one
//! at the most, and a new one ends the old one. An app has to allow it
//! (`sessionSharing`), and where it no longer does no link of it opens anything.
//! What is shown is what was said: words and pictures, and which tools were
//! called. Deliberately absent: what tools were given and what they answered,
//! what a model thought, ids, prices, agents and models.

pub mod routes;
mod store;

use super::{
    SessionError,
    log::{self, Draft, Kind},
    manage::usable,
    messages::{self, View},
};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, InApp, action::may, audit, credential::NewToken},
    limits::{SHARE_LIFE, SHARE_LIFE_SECONDS_MAX},
    tenants::configure,
};
use chrono::{DateTime, Duration, Utc};
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// A wish for a link, as it is sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareInput {
    /// How long it opens the conversation, in seconds.
    pub expires_in: Option<u64>,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// Members are wrong.
    #[error("the link is wrong")]
    Invalid(Vec<FieldError>),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The app does not allow it.
    #[error(
        "this app shares no sessions; whoever may change it sets `sessionSharing` to true with PUT /v1/tenant"
    )]
    Off,
}

impl From<sqlx::Error> for ShareError {
    fn from(cause: sqlx::Error) -> ShareError {
        ShareError::Session(cause.into())
    }
}

/// A link that was just made: the only time its secret is there.
pub(crate) struct Link {
    secret: SecretString,
    expires_at: DateTime<Utc>,
}

impl Link {
    /// What to open, on the server of this origin.
    pub(crate) fn url(&self, origin: &str) -> String {
        format!("{origin}/s/{}", self.secret.expose_secret())
    }
}

/// Makes a link; the one there was ends.
///
/// # Errors
/// [`ShareError`]
pub(crate) async fn share(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
    input: &ShareInput,
) -> Result<Link, ShareError> {
    let seconds = input.expires_in.unwrap_or(SHARE_LIFE.as_secs());
    if !(1..=SHARE_LIFE_SECONDS_MAX).contains(&seconds) {
        let text = format!("is a number of seconds from 1 to {SHARE_LIFE_SECONDS_MAX}");
        return Err(ShareError::Invalid(vec![FieldError::new("/expires_in", text)]));
    }
    let (settings, _providers) = configure::read(app, allowed).await?;
    let now = app.now();
    let expires_at = now + Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
    let secret = NewToken::secret(&app.entropy);
    let mut tx = app.tenant_tx(allowed).await?;
    usable(app, &mut tx, session_id).await?;
    if !settings.session_sharing {
        return Err(ShareError::Off);
    }
    let of = (session_id, allowed.app().app_id);
    store::replace(&mut tx, of, app.pepper.hash(secret.expose_secret()), now, expires_at).await?;
    let told = Draft::new(Kind::SessionUpdated, None, json!({ "shared_until": expires_at }));
    let written = log::write(app, tx.conn(), of, vec![told]).await?;
    let entry = audit::Entry::ok("sessions.share", format!("session/{session_id}"));
    audit::write(app, &mut tx, allowed, entry.detail(json!({ "expires_at": expires_at }))).await?;
    tx.commit().await?;
    written.tell(app);
    Ok(Link { secret, expires_at })
}

/// Ends the link of a session, where it has one.
///
/// # Errors
/// [`SessionError`]
pub(crate) async fn unshare(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    session_id: Uuid,
) -> Result<(), SessionError> {
    let mut tx = app.tenant_tx(allowed).await?;
    usable(app, &mut tx, session_id).await?;
    if !store::delete(&mut tx, session_id).await? {
        return Ok(());
    }
    let told = Draft::new(Kind::SessionUpdated, None, json!({ "shared_until": null }));
    let written = log::write(app, tx.conn(), (session_id, allowed.app().app_id), vec![told]).await?;
    let entry = audit::Entry::ok("sessions.unshare", format!("session/{session_id}"));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    written.tell(app);
    Ok(())
}

/// A conversation, as whoever has its link sees it.
#[derive(Debug, Serialize)]
pub(crate) struct Shared {
    title: String,
    created_at: DateTime<Utc>,
    /// Until when the link opens it, at the most.
    expires_at: DateTime<Utc>,
    #[serde(skip)]
    pub(crate) messages: Vec<(i32, Value)>,
}

/// What a link opens, a page of its messages; none where it opens nothing.
///
/// # Errors
/// The database's.
pub(crate) async fn open(app: &App, secret: &str, after: i32, limit: i64) -> sqlx::Result<Option<Shared>> {
    let mut tx = app.service_tx().await?;
    let Some(found) = store::find(&mut tx, app.pepper.hash(secret), app.now()).await? else {
        return Ok(None);
    };
    let rows = super::store::messages_with_answers(tx.conn(), found.session_id, after, limit).await?;
    let messages = messages::views(rows).into_iter().map(|(seq, view)| (seq, shown(view))).collect();
    let store::Found { title, created_at, expires_at, .. } = found;
    Ok(Some(Shared { title, created_at, expires_at, messages }))
}

/// A message without what is nobody's business.
fn shown(view: View) -> Value {
    let part = |part: Value| match part["type"].as_str() {
        Some("text" | "image" | "refusal") => Some(part),
        Some("tool") => Some(json!({ "type": "tool", "tool": part["tool"], "state": part["state"] })),
        // What a model thought, and whatever a client sent that we do not know.
        _ => None,
    };
    let parts: Vec<Value> = view.parts.into_iter().filter_map(part).collect();
    json!({ "role": view.role, "kind": view.kind, "created_at": view.created_at, "parts": parts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::messages::MessageKind;

    #[test]
    fn what_is_shown_is_what_was_said_and_that_tools_were_called() {
        let view = View {
            id: Uuid::from_u128(7),
            role: "assistant".to_owned(),
            kind: MessageKind::Message,
            turn_id: Some(Uuid::from_u128(8)),
            created_at: DateTime::default(),
            parts: vec![
                json!({ "type": "reasoning", "text": "hm" }),
                json!({ "type": "text", "text": "Look." }),
                json!({ "type": "tool", "call_id": "c", "tool": "f", "state": "completed", "input": { "x": 1 }, "output": "2" }),
                json!({ "type": "thought", "seal": "s" }),
            ],
        };
        let parts = json!([
            { "type": "text", "text": "Look." },
            { "type": "tool", "tool": "f", "state": "completed" },
        ]);
        let created_at = json!(DateTime::<Utc>::default());
        let whole =
            json!({ "role": "assistant", "kind": "message", "created_at": created_at, "parts": parts });
        assert_eq!(shown(view), whole);
    }
}
