//! A session's history, as opencode's clients read it: what is kept, what runs, and what waits.

use super::{
    encode::{Turn, kept_call},
    ids,
    shape::{self, Answer, DEFAULT_AGENT, Of, Tokens, Words},
};
use crate::{
    app::App,
    error::ApiResult,
    grants::InApp,
    models::ModelId,
    registry::{Description, PluginKind, resolve},
    sessions::{
        log,
        messages::{self, View},
        store::{self, Shown},
        turns::{
            State,
            store::{self as turns, Told},
        },
    },
    tenants::configure,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use uuid::Uuid;

/// Who answers in a session where a prompt does not say.
pub(super) struct Names {
    session_id: Uuid,
    agent: Option<String>,
    model: Option<String>,
    /// Models that agents want.
    of_agents: HashMap<String, String>,
    default_model: Option<String>,
}

impl Names {
    /// As it stands now.
    pub(super) async fn load(app: &App, proof: &impl InApp, session: &Shown) -> sqlx::Result<Names> {
        let (tenant, _providers) = configure::read(app, proof).await?;
        let agents = resolve::usable(app, proof, PluginKind::Agent).await?;
        let of_agents = agents.into_iter().filter_map(|agent| match agent.description {
            Description::Markdown(text) => Some((agent.name.name, text.model?)),
            Description::Agent { .. } | Description::Tools { .. } => None,
        });
        Ok(Names {
            session_id: session.session_id,
            agent: session.agent.clone(),
            model: session.model.clone(),
            of_agents: of_agents.collect(),
            default_model: tenant.default_model,
        })
    }

    /// What is the same of all messages of a turn.
    pub(super) fn of(&self, parent: Uuid, turn: Option<&Told>) -> Of {
        let agent = turn.and_then(|turn| turn.agent.clone()).or_else(|| self.agent.clone());
        let of_agent = agent.as_ref().and_then(|agent| self.of_agents.get(agent));
        // As a turn chooses: the nearest word counts.
        let model = turn.and_then(|turn| turn.model.as_ref()).or(self.model.as_ref()).or(of_agent);
        let (provider, model) = model.or(self.default_model.as_ref()).map(|id| split(id)).unwrap_or_default();
        let agent = agent.unwrap_or_else(|| DEFAULT_AGENT.to_owned());
        Of { session_id: self.session_id, parent, agent, provider, model }
    }
}

/// The provider and the model of an id; a name of the app's own has no provider.
fn split(id: &str) -> (String, String) {
    match ModelId::parse(id) {
        Ok(ModelId { provider: Some(provider), model }) => (provider, model),
        _ => (String::new(), id.to_owned()),
    }
}

/// A page of messages, the oldest first, and where the one before it ends.
pub(super) async fn page(
    app: &App,
    proof: &impl InApp,
    session: &Shown,
    before: Option<i32>,
    limit: i64,
) -> ApiResult<(Vec<Value>, Option<i32>)> {
    let names = Names::load(app, proof, session).await?;
    let session_id = session.session_id;
    let mut tx = app.tenant_tx(proof).await?;
    let rows = store::last_messages(&mut tx, session_id, before.unwrap_or(i32::MAX), limit + 1).await?;
    let mut views = messages::views(rows);
    let more = i64::try_from(views.len()).unwrap_or(i64::MAX) > limit;
    if more {
        views.remove(0);
    }
    let earlier = views.first().filter(|_| more).map(|(seq, _)| *seq);
    // What waits and what runs is in the log alone, or half of it.
    let mut open: Vec<Uuid> = vec![];
    if before.is_none() {
        open.extend(turns::running(tx.conn(), session_id).await?);
        open.extend(turns::queued(tx.conn(), session_id).await?);
    }
    let mut wanted: Vec<Uuid> = views.iter().filter_map(|(_, view)| view.turn_id).collect();
    wanted.extend(&open);
    let told = turns::told(&mut tx, session_id, &wanted).await?;
    let views: Vec<View> = views.into_iter().map(|(_, view)| view).collect();
    let mut shown = kept(&names, &views, &told);
    for turn in open.into_iter().filter_map(|turn_id| told.iter().find(|turn| turn.turn_id == turn_id)) {
        let (user, answers) = heard(&mut tx, &names, turn).await?;
        if turn.state == State::Queued.name() {
            shown.push(user);
        }
        let known = |message: &Value| shown.iter().any(|shown| shown["info"]["id"] == message["info"]["id"]);
        let fresh: Vec<Value> = answers.into_iter().filter(|message| !known(message)).collect();
        shown.extend(fresh);
    }
    Ok((shown, earlier))
}

/// What the log says of a turn that has not ended: its prompt, and its answers so far.
async fn heard(
    tx: &mut crate::tenants::TenantTx,
    names: &Names,
    turn: &Told,
) -> sqlx::Result<(Value, Vec<Value>)> {
    let events = log::store::of_turn_before(tx, names.session_id, turn.turn_id, i64::MAX).await?;
    let asked_at = events.first().map(|event| event.time).unwrap_or_default();
    let mut replayed =
        Turn::new(names.of(turn.message_id, Some(turn)), turn.turn_id, ids::made_at(turn.turn_id, asked_at));
    events.iter().for_each(|event| drop(replayed.hear(event)));
    Ok((replayed.user(), replayed.answers()))
}

/// The last message of a turn that has ended, for whoever waited for it.
pub(super) async fn answer(
    app: &App,
    proof: &impl InApp,
    session: &Shown,
    turn_id: Uuid,
) -> ApiResult<Option<Value>> {
    let names = Names::load(app, proof, session).await?;
    let mut tx = app.tenant_tx(proof).await?;
    let rows = store::messages_of_turn(&mut tx, session.session_id, turn_id).await?;
    let told = turns::told(&mut tx, session.session_id, &[turn_id]).await?;
    let views: Vec<View> = messages::views(rows).into_iter().map(|(_, view)| view).collect();
    let mut shown = kept(&names, &views, &told);
    let last = shown.pop().filter(|message| message["info"]["role"] == "assistant");
    // It said nothing, or its prompt was taken back.
    Ok(last.or_else(|| told.first().map(|turn| silent(&names, turn))))
}

/// One message of a session; none where it is not there.
pub(super) async fn one(
    app: &App,
    proof: &impl InApp,
    session: &Shown,
    message_id: Uuid,
) -> sqlx::Result<Option<Value>> {
    let names = Names::load(app, proof, session).await?;
    let session_id = session.session_id;
    let mut tx = app.tenant_tx(proof).await?;
    let Some(seq) = store::place(&mut tx, session_id, message_id).await? else {
        // Of a turn that has not ended.
        let mut open: Vec<Uuid> = turns::running(tx.conn(), session_id).await?.into_iter().collect();
        open.extend(turns::queued(tx.conn(), session_id).await?);
        for turn in turns::told(&mut tx, session_id, &open).await? {
            let (user, answers) = heard(&mut tx, &names, &turn).await?;
            let id = json!(ids::message(message_id));
            let found = std::iter::once(user).chain(answers).find(|message| message["info"]["id"] == id);
            if found.is_some() {
                return Ok(found);
            }
        }
        return Ok(None);
    };
    let mut rows = store::messages_with_answers(tx.conn(), session_id, seq - 1, 1).await?;
    if let Some(turn_id) = rows.first().and_then(|row| row.turn_id) {
        rows = store::messages_of_turn(&mut tx, session_id, turn_id).await?;
    } else {
        // With the one before, which it may answer.
        let mut before = store::last_messages(&mut tx, session_id, seq, 1).await?;
        before.append(&mut rows);
        rows = before;
    }
    let views: Vec<View> = messages::views(rows).into_iter().map(|(_, view)| view).collect();
    let wanted: Vec<Uuid> = views.iter().filter_map(|view| view.turn_id).collect();
    let told = turns::told(&mut tx, session_id, &wanted).await?;
    let id = json!(ids::message(message_id));
    Ok(kept(&names, &views, &told).into_iter().find(|message| message["info"]["id"] == id))
}

/// Messages that are kept. Of a turn that ended without a word there is one that says why.
fn kept(names: &Names, views: &[View], told: &[Told]) -> Vec<Value> {
    let turn = |view: &View| told.iter().find(|turn| Some(turn.turn_id) == view.turn_id);
    let mut shown = vec![];
    let mut asked: Option<Uuid> = None;
    for (at, view) in views.iter().enumerate() {
        let turn = turn(view);
        let last =
            views[at + 1..].iter().all(|later| later.turn_id != view.turn_id || later.turn_id.is_none());
        let stored = ids::made_at(view.id, view.created_at);
        match view.role.as_str() {
            "user" => {
                asked = Some(view.id);
                let created = view.turn_id.map_or(stored, |turn_id| ids::made_at(turn_id, view.created_at));
                let of = names.of(view.id, turn);
                shown.push(json!({ "info": of.user(created), "parts": of.user_parts(&view.parts) }));
                let ended = turn.filter(|turn| last && turn.ended_at.is_some());
                shown.extend(ended.map(|turn| silent(names, turn)));
            }
            "assistant" => {
                let of = names.of(turn.map(|turn| turn.message_id).or(asked).unwrap_or(view.id), turn);
                let next = views.get(at + 1).map(|later| ids::made_at(later.id, later.created_at));
                let ended =
                    turn.filter(|_| last).and_then(|turn| turn.ended_at).map(|at| at.timestamp_millis());
                let mut answer = of_view(view, stored, ended.or(next).unwrap_or(stored).max(stored));
                let has_calls = !answer.calls.is_empty();
                answer.finish = Some(if has_calls { "tool-calls" } else { "stop" }.to_owned());
                if let Some(turn) = turn.filter(|_| last) {
                    close(&mut answer, turn);
                }
                shown.push(json!({ "info": answer.info(&of), "parts": answer.parts(&of) }));
            }
            // Nothing of opencode's.
            _ => {}
        }
    }
    shown
}

/// What stands for the answer of a turn that has none.
fn silent(names: &Names, turn: &Told) -> Value {
    let ended = turn.ended_at.unwrap_or_default();
    let mut answer = Answer::new(turn.turn_id, ids::made_at(turn.turn_id, ended));
    answer.finish = Some("stop".to_owned());
    answer.close(ended.timestamp_millis());
    close(&mut answer, turn);
    let of = names.of(turn.message_id, Some(turn));
    json!({ "info": answer.info(&of), "parts": answer.parts(&of) })
}

/// Says of a turn's last answer how the turn ended and what it used.
fn close(answer: &mut Answer, turn: &Told) {
    answer.tokens = Tokens {
        prompt: turn.prompt_tokens,
        completion: turn.completion_tokens,
        cached: turn.cached_tokens,
        cost_micro_usd: turn.cost_micro_usd,
        ..Tokens::default()
    };
    answer.error = shape::turn_error(&turn.state, turn.reason.as_deref().unwrap_or_default());
    if answer.error.is_some() {
        answer.finish = None;
    }
}

fn of_view(view: &View, created: i64, completed: i64) -> Answer {
    let words = |kind: &str| {
        let pieces = view
            .parts
            .iter()
            .filter(|part| part["type"] == kind || (kind == "text" && part["type"] == "refusal"));
        let text: String = pieces.filter_map(|part| part["text"].as_str()).collect();
        let words = Words { text, start: created, end: Some(completed) };
        Some(words).filter(|words| !words.text.is_empty())
    };
    let calls = view.parts.iter().filter(|part| part["type"] == "tool");
    let mut answer = Answer {
        reasoning: words("reasoning"),
        text: words("text"),
        calls: calls.map(|part| kept_call(part, created)).collect(),
        ..Answer::new(view.id, created)
    };
    answer.close(completed);
    answer
}
