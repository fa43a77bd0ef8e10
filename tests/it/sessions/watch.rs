//! Reading a session's stream as a client does.

use opg_tests::app::Client;
use serde_json::Value;
use std::{collections::VecDeque, time::Duration};

/// How long the next thing may take to be told.
const SOON: Duration = Duration::from_secs(20);

/// A stream that is read. Dropping it closes the connection.
pub(super) struct Watch {
    answer: reqwest::Response,
    buffer: Vec<u8>,
    ready: VecDeque<Value>,
    /// What `server.connected` said.
    pub(super) connected: Value,
}

impl Watch {
    /// Opens a session's stream from after `cursor`; from now on, unless given.
    pub(super) async fn open(client: &Client, session: &str, cursor: Option<i64>) -> Watch {
        let query = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        Watch::from(client.request("GET", &format!("/v1/sessions/{session}/stream{query}"))).await
    }

    /// Opens a stream by a request.
    pub(super) async fn from(request: reqwest::RequestBuilder) -> Watch {
        let answer = request.send().await.expect("an answer comes");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        let mut watch = Watch { answer, buffer: vec![], ready: VecDeque::new(), connected: Value::Null };
        watch.connected = watch.next().await.expect("the stream says what it is");
        assert_eq!(watch.connected["event"], "server.connected");
        watch
    }

    /// The next thing told: an event of the log as it is, anything else with its name under `event`. None at the end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let read =
                tokio::time::timeout(SOON, self.answer.chunk()).await.expect("something is told in time");
            self.buffer.extend(read.ok()??);
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                self.ready.push_back(read_frame(std::str::from_utf8(&frame).expect("a frame is text")));
            }
        }
    }

    /// Events up to the first one that is wanted, that one included.
    pub(super) async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = vec![];
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended after {events:#?}"));
            let found = wanted(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// The same, where the first one that is wanted may take so long.
    pub(super) async fn until_within(
        &mut self,
        time: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Vec<Value> {
        let mut events = vec![];
        let ends = tokio::time::Instant::now() + time;
        loop {
            // A stream says now and then that it is there.
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended after {events:#?}"));
            assert!(tokio::time::Instant::now() < ends, "not in time: {events:#?}");
            if event["event"] == "heartbeat" {
                continue;
            }
            let found = wanted(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// Events up to the end of the next turn.
    pub(super) async fn turn(&mut self) -> Vec<Value> {
        self.until(|event| event["type"] == "turn.ended").await
    }
}

fn read_frame(frame: &str) -> Value {
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
    let mut data: Value =
        serde_json::from_str(field("data: ").expect("a frame has data")).expect("data is JSON");
    let name = field("event: ").expect("a frame has a name");
    match field("id: ") {
        Some(id) => {
            assert_eq!((data["seq"].to_string().as_str(), data["type"].as_str()), (id, Some(name)));
        }
        None => data["event"] = name.into(),
    }
    data
}
