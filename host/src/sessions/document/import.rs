//! From a document to a session of its own. Nothing in it runs: no model is asked and no tool is called again.

use super::{Document, Message, store};
use crate::{
    app::App,
    error::FieldError,
    grants::{Acting, Allowed, InApp, action::may, audit},
    limits::{
        OUTPUT_DEPTH_MAX, SESSION_BYTES_MAX, SESSION_MESSAGES_MAX, SESSION_TITLE_BYTES_MAX,
        SESSIONS_LIVE_PER_APP_MAX,
    },
    models,
    sessions::{
        SessionError, Status,
        instances::{self, provision},
        log,
        manage::{ManageError, target_of},
        messages::MessageKind,
        status, store as sessions,
        turns::content::is_image,
        wishes,
    },
    tools::output,
};
use chrono::{DateTime, Duration, Utc};
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

/// How many wrong places are named: the rest is most often the same mistake.
const WRONG_MAX: usize = 20;
/// How far ahead of ours the clock may be that wrote a document.
const AHEAD_MAX: Duration = Duration::days(1);

/// Makes a session of a document, with an id of its own.
///
/// # Errors
/// [`ManageError`]; nothing was made then.
pub(crate) async fn import(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    document: Document,
) -> Result<sessions::Shown, ManageError> {
    let now = app.now();
    let wrong = check(&document, now);
    if !wrong.is_empty() {
        return Err(ManageError::Invalid(wrong));
    }
    let Document { session: head, messages, .. } = document;
    wishes::check(app, allowed, head.agent.as_deref(), head.model.as_deref()).await?;
    let target = target_of(app, None)?;
    let (session_id, app_id, instance_id) = (app.new_id(), allowed.app().app_id, app.new_id());
    let mut tx = app.tenant_tx(allowed).await?;
    if sessions::count_live(&mut tx, now).await? >= SESSIONS_LIVE_PER_APP_MAX {
        return Err(ManageError::TooMany);
    }
    let new = sessions::NewSession {
        title: &head.title,
        agent: head.agent.as_deref(),
        model: head.model.as_deref(),
        permissions: head.permissions,
        compaction: head.compaction,
        target,
        ..sessions::NewSession::new(session_id, allowed, now, now + app.config.session_ttl)
    };
    sessions::insert(&mut tx, &new).await?;
    store::insert(&mut tx, (session_id, app_id), &messages, false).await?;
    instances::store::begin(tx.conn(), (session_id, app_id), instance_id, target, false, now).await?;
    let drafts = vec![status::changed(None, Status::Creating, None)];
    let written = log::write(app, tx.conn(), (session_id, app_id), drafts).await?;
    let entry = audit::Entry::ok("sessions.import", format!("session/{session_id}"));
    let detail = json!({ "from": head.id, "messages": messages.len() });
    audit::write(app, &mut tx, allowed, entry.detail(detail)).await?;
    let shown = sessions::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    tx.commit().await?;
    written.tell(app);
    provision::start(app, Acting::of(allowed), session_id, instance_id, head.agent, target);
    Ok(shown)
}

/// Every wrong place of a document, up to so many.
fn check(document: &Document, now: DateTime<Utc>) -> Vec<FieldError> {
    let mut wrong = document.session.permissions.check("/session/permissions");
    if document.session.title.len() > SESSION_TITLE_BYTES_MAX {
        let text = format!("{SESSION_TITLE_BYTES_MAX} bytes at the most");
        wrong.push(FieldError::new("/session/title", text));
    }
    let head = &document.session;
    for (member, text) in
        [("title", Some(&head.title)), ("agent", head.agent.as_ref()), ("model", head.model.as_ref())]
    {
        if text.is_some_and(|text| text.contains('\0')) {
            wrong.push(FieldError::new(format!("/session/{member}"), "holds a NUL"));
        }
    }
    let count = i64::try_from(document.messages.len()).unwrap_or(i64::MAX);
    if count > SESSION_MESSAGES_MAX {
        wrong.push(FieldError::new("/messages", format!("{SESSION_MESSAGES_MAX} messages at the most")));
        return wrong;
    }
    let mut reading = Reading { now, ids: BTreeSet::new(), open: BTreeSet::new(), bytes: 0 };
    for (at, message) in document.messages.iter().enumerate() {
        let found = reading.message(message);
        wrong.extend(
            found.into_iter().map(|(member, text)| FieldError::new(format!("/messages/{at}/{member}"), text)),
        );
        if wrong.len() >= WRONG_MAX {
            return wrong;
        }
    }
    if reading.bytes > SESSION_BYTES_MAX {
        wrong.push(FieldError::new("/messages", format!("{SESSION_BYTES_MAX} bytes of JSON at the most")));
    }
    wrong
}

/// What of the messages before has to do with the next.
struct Reading {
    now: DateTime<Utc>,
    ids: BTreeSet<Uuid>,
    /// Calls of tools that nobody has answered.
    open: BTreeSet<String>,
    bytes: i64,
}

impl Reading {
    /// What is wrong with a message: where in it, and what.
    fn message(&mut self, message: &Message) -> Vec<(String, String)> {
        let mut wrong = vec![];
        let mut say = |member: &str, text: String| wrong.push((member.to_owned(), text));
        if message.id.is_nil() || !self.ids.insert(message.id) {
            say("id", "is nil, or that of another message".to_owned());
        }
        if message.created_at < DateTime::UNIX_EPOCH || message.created_at > self.now + AHEAD_MAX {
            say("created_at", "is no time a message was written at".to_owned());
        }
        let text = message.message.to_string();
        let said = message.reasoning.as_deref().map_or(0, str::len).saturating_add(text.len());
        self.bytes = self.bytes.saturating_add(i64::try_from(said).unwrap_or(i64::MAX));
        if output::depth(&text) > OUTPUT_DEPTH_MAX {
            say("message", format!("is nested deeper than {OUTPUT_DEPTH_MAX}"));
            return wrong;
        }
        if let Err(cause) = serde_json::from_value::<models::Message>(message.message.clone()) {
            say("message", format!("is no message of a chat: {cause}"));
            return wrong;
        }
        let role = message.message["role"].as_str().unwrap_or_default();
        let content = &message.message["content"];
        if message.kind == MessageKind::Summary
            && (role != "assistant" || content.as_str().is_none_or(|text| text.trim().is_empty()))
        {
            say("message", "a summary is a text of the assistant's".to_owned());
        }
        for (block_at, block) in content.as_array().into_iter().flatten().enumerate() {
            let url = block["image_url"]["url"].as_str();
            if block["type"] == "image_url" && !url.is_some_and(is_image) {
                let text = "is an `https:` URL, or a `data:image/…;base64,` URL".to_owned();
                say(&format!("message/content/{block_at}/image_url/url"), text);
            }
        }
        if role == "tool" {
            let answered = message.message["tool_call_id"].as_str().unwrap_or_default();
            if !self.open.remove(answered) {
                say("message/tool_call_id", "answers no call of a message before it".to_owned());
            }
            return wrong;
        }
        // A provider takes no conversation in which a call stands without its answer.
        if let Some(open) = self.open.pop_first() {
            self.open.clear();
            say("message", format!("stands where the call `{open}` has not been answered"));
        }
        let calls = message.message["tool_calls"].as_array().into_iter().flatten();
        for call in calls.filter_map(|call| call["id"].as_str()) {
            if !self.open.insert(call.to_owned()) {
                say("message/tool_calls", format!("two calls are called `{call}`"));
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn wrong(messages: Value) -> Vec<String> {
        let document = json!({
            "schema": "opg.session/1",
            "exported_at": "2026-01-01T00:00:00Z",
            "session": { "id": Uuid::from_u128(1), "title": "", "agent": null, "model": null, "compaction": "auto",
                "permissions": { "mode": "allow", "rules": [] }, "created_at": "2026-01-01T00:00:00Z" },
            "turns": [],
            "messages": messages,
        });
        let document: Document = serde_json::from_value(document).unwrap();
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        check(&document, now).into_iter().map(|field| field.pointer).collect()
    }

    fn message(id: u128, message: Value) -> Value {
        json!({ "id": Uuid::from_u128(id), "kind": "message", "turn_id": null, "message": message, "reasoning": null,
            "created_at": "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn a_conversation_that_a_model_can_read_is_taken() {
        let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let fine = json!([
            message(1, json!({ "role": "user", "content": "hi" })),
            message(2, json!({ "role": "assistant", "content": null, "tool_calls": [call("a"), call("b")] })),
            message(3, json!({ "role": "tool", "tool_call_id": "b", "content": "2" })),
            message(4, json!({ "role": "tool", "tool_call_id": "a", "content": "1" })),
            message(5, json!({ "role": "assistant", "content": "Done." })),
        ]);
        assert_eq!(wrong(fine), Vec::<String>::new());
        assert_eq!(wrong(json!([])), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let user = |id| message(id, json!({ "role": "user", "content": "hi" }));
        let call = json!({ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let calls = json!({ "role": "assistant", "content": null, "tool_calls": [call] });
        assert_eq!(wrong(json!([user(1), user(1), user(0)])), ["/messages/1/id", "/messages/2/id"]);
        assert_eq!(
            wrong(json!([message(1, json!({ "role": "king", "content": "hi" }))])),
            ["/messages/0/message"]
        );
        let answer = json!({ "role": "tool", "tool_call_id": "a", "content": "1" });
        assert_eq!(wrong(json!([message(1, answer)])), ["/messages/0/message/tool_call_id"]);
        assert_eq!(wrong(json!([message(1, calls), user(2)])), ["/messages/1/message"]);
        let picture = json!({ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "http://a.example/x" } }] });
        assert_eq!(wrong(json!([message(1, picture)])), ["/messages/0/message/content/0/image_url/url"]);
        let mut summary = user(1);
        summary["kind"] = json!("summary");
        assert_eq!(wrong(json!([summary])), ["/messages/0/message"]);
        let mut later = user(1);
        later["created_at"] = json!("2027-01-01T00:00:00Z");
        assert_eq!(wrong(json!([later])), ["/messages/0/created_at"]);
        let many: Vec<Value> = (0..100).map(|_| user(0)).collect();
        assert_eq!(wrong(json!(many)).len(), WRONG_MAX);
        let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(
            wrong(json!([message(1, json!({ "role": "user", "content": "x", "name": deep }))])),
            ["/messages/0/message"]
        );
    }
}
