//! How soon a provider notices that a client went away.

use crate::{
    app::Client,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// How long it may take from a client's going away to its provider's noticing.
const AT_ONCE: Duration = Duration::from_millis(100);
/// How often it is tried where it took longer: a machine that does other things keeps any of us waiting now and then;
/// what is slow by itself is slow each time.
const TRIES: usize = 3;

/// Has a client ask and go away, and panics if the provider notices that late.
pub async fn expect_notice_at_once(
    upstream: &ScriptedUpstream,
    client: &Client,
    path: &str,
    body: &Value,
    script: &[Step],
) {
    let mut took: Vec<Duration> = Vec::new();
    while took.last().is_none_or(|last| *last >= AT_ONCE) {
        assert!(took.len() < TRIES, "{path} {body} {script:?}: noticed after {took:?}");
        took.push(noticed_after(upstream, client, path, body, script).await);
    }
}

/// Asks over a connection of its own, closes it once the provider is at it, and says how long that took to get
/// here: from the moment the socket is closed to the moment this side ends, as it clocked it.
async fn noticed_after(
    upstream: &ScriptedUpstream,
    client: &Client,
    path: &str,
    body: &Value,
    script: &[Step],
) -> Duration {
    let before = upstream.received().len();
    upstream.script(script.to_vec());
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: opg\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        client.token(),
        body.len()
    );
    let mut socket = TcpStream::connect(client.address()).await.expect("the server listens");
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    upstream.wait_until(|received| received.len() > before).await;
    // What is said before a stall is on its way, and with a stream at the client.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let closed = Instant::now();
    drop(socket);
    let received = upstream.wait_until(|received| received[before].hung_up).await;
    received[before].ended_at.expect("it ended").saturating_duration_since(closed)
}
