//! The upstream for people: told over HTTP what to do, under `/scripted/`, by whoever develops a client or a
//! gateway. On 127.0.0.1 and without a credential: whoever can reach it may script it.

use crate::{MODELS, Received, ScriptedUpstream, Shared, Step, chaos};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;

/// How many requests are kept to be looked at.
const KEPT_MAX: usize = 200;
/// What no header that may hold a key is shown with.
const MASKED: &str = "(hidden)";
/// Headers providers take keys in.
const KEYS: [&str; 4] = ["authorization", "x-api-key", "x-goog-api-key", "api-key"];

impl ScriptedUpstream {
    /// Serves people on this socket.
    pub fn for_people(listener: TcpListener) -> Self {
        let models = MODELS.into_iter().chain(chaos::ALL.iter().map(|chaos| chaos.model)).collect();
        Self::serve(listener, KEPT_MAX, models, routes())
    }
}

fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/scripted/next", post(next))
        .route("/scripted/models/{model}", put(set).delete(unset))
        .route("/scripted/requests", get(requests).delete(forget))
}

/// Queues a script for the next request, whatever its model.
async fn next(State(state): State<Arc<Shared>>, body: Bytes) -> Response {
    match script(&body) {
        Ok(steps) => state.scripts().queued.push_back(steps),
        Err(wrong) => return bad(&wrong),
    }
    StatusCode::NO_CONTENT.into_response()
}

/// Sets the script of a model.
async fn set(State(state): State<Arc<Shared>>, Path(model): Path<String>, body: Bytes) -> Response {
    match script(&body) {
        Ok(steps) => drop(state.scripts().by_model.insert(model, steps)),
        Err(wrong) => return bad(&wrong),
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn unset(State(state): State<Arc<Shared>>, Path(model): Path<String>) -> StatusCode {
    match state.scripts().by_model.remove(&model) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

/// The newest requests, oldest first.
async fn requests(State(state): State<Arc<Shared>>) -> Json<Value> {
    let log = state.received.borrow();
    Json(json!({ "data": log.kept.iter().map(shown).collect::<Vec<_>>() }))
}

async fn forget(State(state): State<Arc<Shared>>) -> StatusCode {
    state.received.send_modify(|log| log.forgotten += log.kept.drain(..).count());
    StatusCode::NO_CONTENT
}

/// Steps from JSON, of which every one can be done.
fn script(body: &[u8]) -> Result<Vec<Step>, String> {
    let steps: Vec<Step> = serde_json::from_slice(body).map_err(|cause| {
        format!("a script is a list of steps, such as [{{\"text\": \"hi\"}}, \"reset\"]: {cause}")
    })?;
    for step in &steps {
        let Step::Error { status, retry_after, .. } = step else { continue };
        if !(400..600).contains(status) {
            return Err(format!("{status} is no status of an error: 400 to 599"));
        }
        let wait = retry_after.as_deref().map(HeaderValue::from_str).transpose();
        wait.map_err(|_| "retry_after cannot stand in a header".to_owned())?;
    }
    Ok(steps)
}

fn bad(message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": { "message": message } }))).into_response()
}

fn shown(received: &Received) -> Value {
    json!({ "path": received.path, "headers": headers(&received.headers), "body": received.body,
        "completed": received.completed, "hung_up": received.hung_up })
}

fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let shown = headers.iter().map(|(name, value)| {
        let text = value.to_str().unwrap_or_default();
        let text = if KEYS.contains(&name.as_str()) { MASKED } else { text };
        (name.as_str().to_owned(), json!(text))
    });
    shown.collect()
}
