//! Readers of sessions' logs: what one costs that waits, and how soon it is told.
//!
//! The real binary, an embedded database, the `demo` provider, readers on loopback. A thousand readers of one session,
//! then one reader of each of a thousand sessions. Latency is from the time an event bears, which is that of its
//! transaction, to its arrival: both clocks are this machine's.

use opg_tests::{app::Client, process::OpgProcess};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use tokio::{sync::mpsc, task::JoinSet};

/// How many readers, and then how many sessions.
const READERS: usize = 1000;
/// Turns that are told to them, one after another.
const TURNS: usize = 20;
/// How long a host is left alone before its memory is read.
const SETTLE_TIME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() {
    let files = opg_host::hardening::files_max(16_384);
    assert!(files > 2 * READERS as u64, "{files} files are too few: raise the limit (ulimit -n)");
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let opg = OpgProcess::start(dir.path()).await;
    println!("{:<52} {:>12} {:>10} {:>10}", "", "KiB each", "p50 ms", "p99 ms");
    let one = opg.tenant("one").await;
    readers_of_one(&opg, &one).await;
    let many = opg.tenant("many").await;
    a_reader_of_each(&opg, &many).await;
    opg.stop().await;
}

async fn readers_of_one(opg: &OpgProcess, client: &Client) {
    let id = new_session(client).await;
    warm_up(client, &id).await;
    let before = settled(opg).await;
    let (told, mut arrivals) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        readers.spawn(read(open(client, &id).await, told.clone()));
    }
    let each = settled(opg).await.saturating_sub(before) / READERS as u64;
    let mut latencies = vec![];
    for _ in 0..TURNS {
        prompt(client, &id).await;
        for _ in 0..READERS {
            latencies.push(arrivals.recv().await.expect("every reader is told"));
        }
    }
    report(&format!("{READERS} readers of one session"), each, &mut latencies);
    readers.shutdown().await;
}

async fn a_reader_of_each(opg: &OpgProcess, client: &Client) {
    let mut sessions = vec![];
    for _ in 0..READERS {
        sessions.push(new_session(client).await);
    }
    let before = settled(opg).await;
    let (told, mut arrivals) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for id in &sessions {
        readers.spawn(read(open(client, id).await, told.clone()));
    }
    let each = settled(opg).await.saturating_sub(before) / READERS as u64;
    let mut latencies = vec![];
    for id in sessions.iter().take(TURNS * 5) {
        prompt(client, id).await;
        latencies.push(arrivals.recv().await.expect("its reader is told"));
    }
    report(&format!("one reader of each of {READERS} sessions"), each, &mut latencies);
    readers.shutdown().await;
}

async fn new_session(client: &Client) -> String {
    let made = client.post("/v1/sessions", &json!({ "model": "demo/assistant" })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().expect("it has an id").to_owned()
}

/// What the first turn brings along is not the readers'.
async fn warm_up(client: &Client, id: &str) {
    let (told, mut arrivals) = mpsc::unbounded_channel();
    let mut readers = JoinSet::new();
    for _ in 0..20 {
        readers.spawn(read(open(client, id).await, told.clone()));
    }
    prompt(client, id).await;
    for _ in 0..20 {
        arrivals.recv().await.expect("every reader is told");
    }
    readers.shutdown().await;
}

async fn prompt(client: &Client, id: &str) {
    let body = json!({ "parts": [{ "type": "text", "text": "hello" }], "when_busy": "queue" });
    let taken = client.post(&format!("/v1/sessions/{id}/prompt"), &body).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
}

async fn open(client: &Client, id: &str) -> reqwest::Response {
    let answer = client.request("GET", &format!("/v1/sessions/{id}/stream")).send().await;
    let answer = answer.expect("a stream is opened");
    assert_eq!(answer.status(), 200);
    answer
}

/// Reads a stream for as long as it lasts; tells how old each end of a turn was when it came, in microseconds.
async fn read(mut stream: reqwest::Response, told: mpsc::UnboundedSender<u64>) {
    let mut buffer = Vec::new();
    while let Ok(Some(chunk)) = stream.chunk().await {
        buffer.extend_from_slice(&chunk);
        while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
            let frame: Vec<u8> = buffer.drain(..end + 2).collect();
            let Some(age) = age_of_end(&frame) else { continue };
            if told.send(age).is_err() {
                return;
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is no part of OPG: it asks what time it is here")]
fn age_of_end(frame: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(frame).ok()?;
    if !text.contains("event: turn.ended\n") {
        return None;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let data: Value =
        serde_json::from_str(text.lines().find_map(|line| line.strip_prefix("data: "))?).ok()?;
    let then = chrono::DateTime::parse_from_rfc3339(data["time"].as_str()?).ok()?.timestamp_micros();
    u64::try_from(i64::try_from(now.as_micros()).ok()? - then).ok()
}

/// The host's memory, in KiB, once nothing moves.
async fn settled(opg: &OpgProcess) -> u64 {
    tokio::time::sleep(SETTLE_TIME).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", opg.pid())).expect("the host runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn report(name: &str, kib_each: u64, latencies: &mut [u64]) {
    latencies.sort_unstable();
    let at = |part: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let place = ((latencies.len() - 1) as f64 * part) as usize;
        let micros = latencies[place];
        format!("{}.{:03}", micros / 1000, micros % 1000)
    };
    println!("{name:<52} {kib_each:>12} {:>10} {:>10}", at(0.5), at(0.99));
}
