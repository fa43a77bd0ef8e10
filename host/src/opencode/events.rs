//! `/event`, `/global/event`: what happens in all of the caller's sessions.

use super::{
    DIRECTORY,
    encode::{Said, Turn},
    ids,
    messages::Names,
    shape,
};
use crate::{
    app::App,
    error::ApiResult,
    grants::{Acting, Allowed, action::may},
    sessions::{
        Status,
        log::{self, Event, Feed, News},
        store,
        stream::event_stream,
        turns::store as turns,
    },
};
use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    time::Duration,
};
use uuid::Uuid;

/// As often as opencode has it: its clients take a stream for dead that says nothing for longer.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// The stream of an instance.
pub async fn subscribe(State(app): State<App>, allowed: Allowed<may::SessionsRead>) -> ApiResult<Response> {
    respond(&app, &allowed, |event| event).await
}

/// The stream of all instances, of which there is one.
pub async fn subscribe_global(
    State(app): State<App>,
    allowed: Allowed<may::SessionsRead>,
) -> ApiResult<Response> {
    respond(
        &app,
        &allowed,
        |event| json!({ "directory": DIRECTORY, "project": super::PROJECT, "payload": event }),
    )
    .await
}

struct Going {
    app: App,
    feed: Feed,
    encoder: Encoder,
    wrap: fn(Value) -> Value,
    ready: VecDeque<Said>,
}

async fn respond(
    app: &App,
    allowed: &Allowed<may::SessionsRead>,
    wrap: fn(Value) -> Value,
) -> ApiResult<Response> {
    let going = Going {
        app: app.clone(),
        feed: Feed::open(app, allowed, HEARTBEAT_EVERY).await?,
        encoder: Encoder::new(app, Acting::of(allowed)),
        wrap,
        ready: VecDeque::from([("server.connected", json!({}))]),
    };
    let frames = stream::unfold(going, |mut going| async move {
        loop {
            if let Some((kind, properties)) = going.ready.pop_front() {
                let event =
                    json!({ "id": ids::event(going.app.new_id()), "type": kind, "properties": properties });
                let frame = format!("event: message\ndata: {}\n\n", (going.wrap)(event));
                return Some((Ok::<_, Infallible>(Bytes::from(frame)), going));
            }
            match going.feed.next().await? {
                News::Event(event) => going.ready.extend(going.encoder.hear(&event).await),
                News::Gone(session_id) => {
                    going.encoder.forget(session_id);
                    let info = shape::gone(session_id, going.app.now());
                    let id = ids::session(session_id);
                    going.ready.push_back(("session.deleted", json!({ "sessionID": id, "info": info })));
                }
                News::Heartbeat => going.ready.push_back(("server.heartbeat", json!({}))),
                // It has no word for that; its clients read a session anew when they open it.
                News::Missed => {}
                News::End(_) => return None,
            }
        }
    });
    Ok(event_stream(Body::from_stream(frames)))
}

/// What one reader knows of the turns it hears of.
struct Encoder {
    app: App,
    acting: Acting,
    turns: HashMap<Uuid, Turn>,
}

impl Encoder {
    fn new(app: &App, acting: Acting) -> Encoder {
        Encoder { app: app.clone(), acting, turns: HashMap::new() }
    }

    fn forget(&mut self, session_id: Uuid) {
        self.turns.retain(|_, turn| turn.of.session_id != session_id);
    }

    /// What is said of an event.
    async fn hear(&mut self, event: &Event) -> Vec<Said> {
        self.try_to_hear(event).await.unwrap_or_else(|cause| {
            tracing::warn!(%cause, session_id = %event.session_id, "an event could not be told to a client of opencode");
            vec![]
        })
    }

    async fn try_to_hear(&mut self, event: &Event) -> sqlx::Result<Vec<Said>> {
        let session = ids::session(event.session_id);
        let data = |name: &str| event.data.get(name).unwrap_or(&Value::Null);
        Ok(match event.kind.as_str() {
            "session.status" => {
                self.status(event, data("from").as_str(), data("to").as_str().unwrap_or_default()).await?
            }
            "session.updated" => self.updated(event.session_id).await?.into_iter().collect(),
            "permission.request" => {
                let asked = data("permission");
                let id = |name: &str| {
                    asked[name].as_str().and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_default()
                };
                let tool = asked["tool"].as_str().unwrap_or_default();
                let call = event.turn_id.and_then(|turn_id| self.turns.get(&turn_id)?.open_call(tool));
                let ids = (id("session_id"), id("id"));
                vec![("permission.asked", shape::permission(ids, tool, &asked["input"], call))]
            }
            "permission.resolved" => {
                let id = data("permission_id")
                    .as_str()
                    .and_then(|id| Uuid::parse_str(id).ok())
                    .unwrap_or_default();
                let said = json!({ "sessionID": session, "requestID": ids::permission(id), "reply": data("response") });
                vec![("permission.replied", said)]
            }
            _ => match event.turn_id {
                Some(turn_id) => self.turn(event, turn_id).await?,
                None => self.of_request(event).await?,
            },
        })
    }

    async fn turn(&mut self, event: &Event, turn_id: Uuid) -> sqlx::Result<Vec<Said>> {
        if !self.turns.contains_key(&turn_id) {
            let Some(turn) = self.load(event, turn_id).await? else { return Ok(vec![]) };
            self.turns.insert(turn_id, turn);
        }
        let ended = event.kind == log::Kind::TurnEnded.name();
        let mut used = 0;
        if ended {
            let mut tx = self.app.tenant_tx(&self.acting).await?;
            let told = turns::told(&mut tx, event.session_id, &[turn_id]).await?;
            used = told.first().map_or(0, |turn| turn.cost_micro_usd);
        }
        let Some(turn) = self.turns.get_mut(&turn_id) else { return Ok(vec![]) };
        turn.charge(used);
        let said = turn.hear(event);
        if ended {
            self.turns.remove(&turn_id);
        }
        Ok(said)
    }

    /// A turn as it stood before an event; none where it is gone.
    async fn load(&self, event: &Event, turn_id: Uuid) -> sqlx::Result<Option<Turn>> {
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        let Some(session) = store::find(&mut tx, event.session_id).await? else { return Ok(None) };
        let told = turns::told(&mut tx, event.session_id, &[turn_id]).await?;
        let Some(told) = told.first() else { return Ok(None) };
        let before = log::store::of_turn_before(&mut tx, event.session_id, turn_id, event.seq).await?;
        drop(tx);
        let names = Names::load(&self.app, &self.acting, &session).await?;
        let asked_at = before.first().map_or(event.time, |first| first.time);
        let mut turn =
            Turn::new(names.of(told.message_id, Some(told)), turn_id, ids::made_at(turn_id, asked_at));
        before.iter().for_each(|event| drop(turn.hear(event)));
        Ok(Some(turn))
    }

    /// What a chat request added to a session, which is told when it has ended.
    async fn of_request(&self, event: &Event) -> sqlx::Result<Vec<Said>> {
        let message = event.data.get("message").unwrap_or(&Value::Null);
        let id = message["id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
        let (Some(id), true) = (id, event.kind == log::Kind::MessageComplete.name()) else {
            return Ok(vec![]);
        };
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        let Some(session) = store::find(&mut tx, event.session_id).await? else { return Ok(vec![]) };
        drop(tx);
        let shown = super::messages::one(&self.app, &self.acting, &session, id).await?;
        let now = event.time.timestamp_millis();
        let said = shown.map(|shown| {
            let session = ids::session(event.session_id);
            let parts = shown["parts"].as_array().cloned().unwrap_or_default();
            let message = ("message.updated", json!({ "sessionID": session, "info": shown["info"] }));
            let part =
                |part| ("message.part.updated", json!({ "sessionID": session, "part": part, "time": now }));
            std::iter::once(message).chain(parts.into_iter().map(part)).collect()
        });
        Ok(said.unwrap_or_default())
    }

    async fn status(&self, event: &Event, from: Option<&str>, to: &str) -> sqlx::Result<Vec<Said>> {
        let id = ids::session(event.session_id);
        let status = |name: &str| ("session.status", json!({ "sessionID": id, "status": { "type": name } }));
        let is = |name: &str, status: Status| name == status.name();
        let Some(from) = from else {
            let info = self.info(event.session_id).await?;
            let told = |kind| info.clone().map(|info| (kind, json!({ "sessionID": id, "info": info })));
            return Ok(["session.created", "session.updated"].into_iter().filter_map(told).collect());
        };
        if is(to, Status::Active) {
            return Ok(vec![status("busy")]);
        }
        // A session that is made ready is not one that has come to rest: clients stop listening at that.
        if is(from, Status::Active) || is(to, Status::Error) {
            let mut said = vec![status("idle"), ("session.idle", json!({ "sessionID": id }))];
            said.extend(self.updated(event.session_id).await?);
            return Ok(said);
        }
        Ok(vec![])
    }

    async fn updated(&self, session_id: Uuid) -> sqlx::Result<Option<Said>> {
        let info = self.info(session_id).await?;
        Ok(info
            .map(|info| ("session.updated", json!({ "sessionID": ids::session(session_id), "info": info }))))
    }

    async fn info(&self, session_id: Uuid) -> sqlx::Result<Option<Value>> {
        let mut tx = self.app.tenant_tx(&self.acting).await?;
        let Some(session) = store::find(&mut tx, session_id).await? else { return Ok(None) };
        let used = store::used(&mut tx, session_id).await?;
        Ok(Some(shape::session(&session, Some(&used.all))))
    }
}
