//! A session's log for whoever watches: as server-sent events (WHATWG HTML, 9.2), or over a WebSocket (RFC 6455).

use super::log::{
    Event, Feed, Item, News, Reader,
    read::{End, HEARTBEAT_EVERY},
};
use crate::{app::App, serve::Slot};
use axum::{
    body::Body,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use serde_json::{Value, json};
use std::{convert::Infallible, time::Duration};

/// What a client of a WebSocket may send at once: it has nothing to say.
const CLIENT_BYTES_MAX: usize = 4 << 10;
/// How long one message may take to be taken.
const SEND_TIME_MAX: Duration = Duration::from_secs(30);

/// What a reader is told of the session when it comes, and whenever there is more to say than an event.
pub(super) fn connected(session: &Value, cursor: i64) -> (&'static str, Value) {
    let data =
        json!({ "cursor": cursor, "session": session, "heartbeat_seconds": HEARTBEAT_EVERY.as_secs() });
    ("server.connected", data)
}

/// The items of a log that are no events of it.
pub(super) fn notice(item: &Item, cursor: i64) -> Option<(&'static str, Value)> {
    match item {
        Item::Event(_) => None,
        Item::Heartbeat => Some(("heartbeat", json!({ "cursor": cursor }))),
        Item::Reset(cursor) => Some((
            "reset",
            json!({ "cursor": cursor, "message": "older events are not kept; read the messages again and go on from here" }),
        )),
        Item::End(end) => {
            Some(("end", json!({ "reason": end.name(), "message": why(*end), "cursor": cursor })))
        }
    }
}

fn why(end: End) -> &'static str {
    match end {
        End::TooSlow => "events came faster than you read them; come back with the cursor",
        End::Gone => "the session is gone",
        End::Revoked => "this credential may not read it any more",
        End::Stopping => "the server stops; come back with the cursor",
        End::Unavailable => "the log cannot be read right now; come back with the cursor",
    }
}

/// The stream of a reader; it ends with the reader, and the reader with it.
pub(super) fn sse(session: &Value, reader: Reader) -> Response {
    let (name, data) = connected(session, reader.cursor());
    let first = frame(None, name, &data);
    let going = Some((reader, Some(first)));
    let frames = stream::unfold(going, |going| async move {
        let (mut reader, first) = going?;
        if let Some(first) = first {
            return Some((Ok::<_, Infallible>(Bytes::from(first)), Some((reader, None))));
        }
        let item = reader.next().await?;
        let frame = match &item {
            Item::Event(event) => of_event(event),
            other => notice(other, reader.cursor())
                .map(|(name, data)| frame(None, name, &data))
                .unwrap_or_default(),
        };
        let over = matches!(item, Item::End(_));
        Some((Ok(Bytes::from(frame)), (!over).then_some((reader, None))))
    });
    event_stream(Body::from_stream(frames))
}

/// The stream of a feed; it ends with the feed, and the feed with it.
pub(super) fn sse_of_all(feed: Feed) -> Response {
    let first = frame(None, "server.connected", &json!({ "heartbeat_seconds": HEARTBEAT_EVERY.as_secs() }));
    let frames = stream::unfold(Some((feed, Some(first))), |going| async move {
        let (mut feed, first) = going?;
        if let Some(first) = first {
            return Some((Ok::<_, Infallible>(Bytes::from(first)), Some((feed, None))));
        }
        let news = feed.next().await?;
        let over = matches!(news, News::End(_));
        Some((Ok(Bytes::from(of_news(&news))), (!over).then_some((feed, None))))
    });
    event_stream(Body::from_stream(frames))
}

fn of_news(news: &News) -> String {
    match news {
        News::Event(event) => frame(None, &event.kind, &json!(event)),
        News::Gone(session_id) => frame(None, "session.deleted", &json!({ "session_id": session_id })),
        News::Missed => {
            let message = "events may have been missed; read your sessions again";
            frame(None, "reset", &json!({ "message": message }))
        }
        News::Heartbeat => frame(None, "heartbeat", &json!({})),
        News::End(end) => frame(None, "end", &json!({ "reason": end.name(), "message": why(*end) })),
    }
}

/// An answer of server-sent events, which nobody on the way is to keep.
pub(crate) fn event_stream(body: Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

/// The stream of a reader over a WebSocket, a text message each: events as they are, anything else with its name as `type`.
/// What a client sends is read for its pings and its goodbye, and nothing else.
pub(super) fn websocket(
    app: &App,
    session: &Value,
    mut reader: Reader,
    upgrade: WebSocketUpgrade,
    slot: Option<Slot>,
) -> Response {
    // What it keeps: its place among the connections, and the process until it has said goodbye.
    let kept = (slot, app.background.token());
    let first = connected(session, reader.cursor());
    let upgrade = upgrade.max_message_size(CLIENT_BYTES_MAX).max_frame_size(CLIENT_BYTES_MAX);
    upgrade.on_upgrade(async move |mut socket| {
        let _kept = kept;
        if !sent(&mut socket, message(first.0, first.1)).await {
            return;
        }
        loop {
            let item = tokio::select! {
                said = socket.recv() => match said {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => continue,
                },
                item = reader.next() => item,
            };
            let Some(item) = item else { break };
            let told = match &item {
                Item::Event(event) => Message::text(json!(event).to_string()),
                other => match notice(other, reader.cursor()) {
                    Some((name, data)) => message(name, data),
                    None => continue,
                },
            };
            if !sent(&mut socket, told).await {
                return;
            }
        }
        sent(&mut socket, Message::Close(None)).await;
    })
}

/// Whether a message was taken. A client that does not read is let go; it may come back with its cursor.
async fn sent(socket: &mut WebSocket, message: Message) -> bool {
    matches!(tokio::time::timeout(SEND_TIME_MAX, socket.send(message)).await, Ok(Ok(())))
}

fn message(name: &str, mut data: Value) -> Message {
    data["type"] = json!(name);
    Message::text(data.to_string())
}

fn of_event(event: &Event) -> String {
    frame(Some(event.seq), &event.kind, &json!(event))
}

/// JSON has no line ends, so one `data` line holds it.
fn frame(id: Option<i64>, name: &str, data: &Value) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {name}\ndata: {data}\n\n")
}
