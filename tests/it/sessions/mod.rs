//! Sessions that run by themselves and are watched: their states, their log, their turns, what they ask, and what is left of them
//! when their host dies.

mod context;
mod crash;
mod document;
mod drivers;
mod files;
mod files_archive;
mod files_family;
mod files_guest;
mod files_hostile;
mod files_import;
mod files_push;
mod lifecycle;
mod log;
mod permissions;
pub(crate) mod runner;
mod share;
mod subagents;
mod teller;
mod turns;
mod watch;

use opg_tests::{
    app::{Client, TestApp},
    upstream::ScriptedUpstream,
};
use serde_json::{Value, json};
use watch::Watch;

const SESSIONS: &str = "/v1/sessions";

/// An OPG with a tenant whose models are scripted.
async fn start() -> (TestApp, ScriptedUpstream, Client) {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    (app, upstream, acme)
}

/// A session of these members; its id.
async fn create(client: &Client, members: Value) -> String {
    let made = client.post(SESSIONS, &members).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

/// One whose turns ask the scripted model.
async fn new_session(client: &Client) -> String {
    create(client, json!({ "model": "openai/scripted" })).await
}

fn said(text: &str) -> Value {
    json!({ "parts": [{ "type": "text", "text": text }] })
}

fn at(session: &str, what: &str) -> String {
    format!("{SESSIONS}/{session}/{what}")
}

/// Sends a prompt that is taken; what it was answered with.
async fn prompt(client: &Client, session: &str, body: Value) -> Value {
    let taken = client.post(&at(session, "prompt"), &body).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    taken.json()
}

/// Sends a prompt and waits until its turn has ended; all that was told of it.
async fn turn(client: &Client, session: &str, body: Value) -> Vec<Value> {
    let mut watch = Watch::open(client, session, None).await;
    let taken = prompt(client, session, body).await;
    watch.until(|event| event["type"] == "turn.ended" && event["turn_id"] == taken["turn_id"]).await
}

async fn messages(client: &Client, session: &str) -> Vec<Value> {
    let list = client.get(&at(session, "messages?limit=200")).await;
    assert_eq!(list.status, 200, "{}", list.text());
    list.json()["data"].as_array().unwrap().clone()
}

async fn status(client: &Client, session: &str) -> String {
    client.get(&format!("{SESSIONS}/{session}")).await.json()["status"].as_str().unwrap().to_owned()
}

/// Waits until a session is in this state.
async fn expect_status(client: &Client, session: &str, wanted: &str) {
    let waiting = async {
        while status(client, session).await != wanted {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.is_err() {
        panic!("it is {} and not {wanted}", status(client, session).await);
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// The text of an answer, put together from its pieces.
fn streamed_text(events: &[Value]) -> String {
    let pieces = of_kind(events, "message.append").into_iter();
    let spoken = pieces.filter(|event| event["role"] == "assistant" && event["part"]["type"] == "text");
    spoken.map(|event| event["part"]["text"].as_str().unwrap()).collect()
}
