//! Answering what is asked.

use super::{Policy, Response, Rule, Verdict, gate::is_cut, resolved, store, strictest};
use crate::{
    app::App,
    error::FieldError,
    grants::{Allowed, InApp, action::may, audit},
    limits::PERMISSION_RULES_MAX,
    sessions::{
        log::{self, Draft, Kind},
        store as sessions,
    },
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Nothing of this id is asked in this session.
    #[error("no such permission")]
    NotFound,
    /// Somebody answered before, or time was up.
    #[error("this was answered before: {0}")]
    Resolved(String),
    /// The pattern is wrong.
    #[error("the pattern is wrong")]
    Invalid(Vec<FieldError>),
    /// There is no room for another rule.
    #[error(
        "this session has {PERMISSION_RULES_MAX} rules already; remove some with PATCH, or answer `once`"
    )]
    TooManyRules,
    /// The database.
    #[error("the answer could not be written down")]
    Db(#[from] sqlx::Error),
}

/// An answer.
pub struct Answer {
    /// What is said.
    pub response: Response,
    /// Why, for the agent to read.
    pub message: Option<String>,
    /// With `always`: for which inputs, as in a rule; all, unless given.
    pub pattern: BTreeMap<String, String>,
}

/// Answers what was asked in a session or one below it. `always` is a rule from then on, and answers whatever else
/// waits and fits it.
///
/// # Errors
/// [`AnswerError`]; then nothing was answered.
pub async fn answer(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    (session_id, permission_id): (Uuid, Uuid),
    answer: Answer,
) -> Result<(), AnswerError> {
    let now = app.now();
    let mut tx = app.tenant_tx(allowed).await?;
    let asked = store::find(&mut tx, session_id, permission_id).await?.ok_or(AnswerError::NotFound)?;
    if let Some(response) = &asked.response {
        return Err(AnswerError::Resolved(response.clone()));
    }
    // Whoever ends the turn holds the session's row, and answers what is open: one of us is first. Those above it come
    // before it, as everywhere.
    let line: Vec<_> = store::policies(&mut tx, asked.session_id).await?;
    let above = line.iter().rev().filter(|_| answer.response == Response::Always);
    for session_id in above.map(|(session_id, _)| *session_id).chain([asked.session_id]) {
        sessions::lock(&mut tx, session_id).await?.ok_or(AnswerError::NotFound)?;
    }
    let message = answer.message.as_deref();
    if !store::resolve(&mut tx, permission_id, answer.response, message, now).await? {
        return Err(AnswerError::Resolved(Response::Reject.name().to_owned()));
    }
    let mut drafts = vec![resolved(asked.turn_id, permission_id, answer.response, message)];
    let mut told = vec![];
    if answer.response == Response::Always {
        let rule = Rule { tool: asked.tool.clone(), pattern: answer.pattern, action: Verdict::Allow };
        let mut policies = vec![];
        // As they are now that nobody else changes them.
        for (session_id, mut policy) in store::policies(&mut tx, asked.session_id).await? {
            // The rule goes where the asking came from: to the session itself, or to those above it.
            if asks(&policy, &asked) {
                if policy.rules.len() >= PERMISSION_RULES_MAX {
                    return Err(AnswerError::TooManyRules);
                }
                policy.rules.push(rule.clone());
                let wrong = policy.check("/permissions");
                if !wrong.is_empty() {
                    return Err(AnswerError::Invalid(wrong));
                }
                store::set_policy(tx.conn(), session_id, &policy).await?;
                let updated = Draft::new(Kind::SessionUpdated, None, json!({ "permissions": policy }));
                if session_id == asked.session_id {
                    drafts.push(updated);
                } else {
                    let of = (session_id, allowed.app().app_id);
                    told.push(log::write(app, tx.conn(), of, vec![updated]).await?);
                }
            }
            policies.push(policy);
        }
        for (also, turn_id, tool, input) in store::open_of_session(&mut tx, asked.session_id).await? {
            let Value::Object(input) = input else { continue };
            // The new rule alone, and on all of what the tool would be given.
            if !is_cut(&input)
                && rule.matches(&tool, &input)
                && strictest(&policies, &tool, &input) == Verdict::Allow
                && store::resolve(&mut tx, also, Response::Once, None, now).await?
            {
                drafts.push(resolved(turn_id, also, Response::Once, None));
            }
        }
    }
    let written = log::write(app, tx.conn(), (asked.session_id, allowed.app().app_id), drafts).await?;
    let entry =
        audit::Entry::ok("sessions.permission", format!("session/{} tool/{}", asked.session_id, asked.tool))
            .detail(json!({ "response": answer.response }));
    audit::write(app, &mut tx, allowed, entry).await?;
    tx.commit().await?;
    told.into_iter().chain([written]).for_each(|written| written.tell(app));
    Ok(())
}

/// Whether this is a session that asks for such a call. Of an input that is not all there nobody knows: then it may be.
fn asks(policy: &Policy, asked: &store::Asked) -> bool {
    match &asked.input {
        Value::Object(input) if !is_cut(input) => policy.judge(&asked.tool, input) == Verdict::Ask,
        _ => true,
    }
}
