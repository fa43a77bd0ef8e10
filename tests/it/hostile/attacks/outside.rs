//! Guests that reach for what is outside: addresses, answers without an end, secrets, files.

use crate::hostile::arena::Mallory;
use opg_tests::app::logs;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Every spelling stands in `every_spelling_of_a_private_host_is_refused`.
pub(in crate::hostile) async fn private_hosts(mallory: &Mallory) {
    mallory.install().await;
    let site = &mallory.arena.site;
    let port = site.port;
    // Granted all the same: by a person who did not know what is behind a name.
    let granted = [("http", "*"), ("http", &site.host()), ("http", &site.other_host())];
    mallory.client.grant("tools", mallory.guest.name, &granted).await;
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        &format!("http://127.1:{port}/"),
        &format!("http://0x7f.1:{port}/"),
        &format!("http://2130706433:{port}/"),
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        &format!("http://localhost:{port}/"),
        &format!("http://LOCALHOST.:{port}/"),
        &format!("http://①②⑦.0.0.1:{port}/"),
        &format!("http://example.com@127.0.0.1:{port}/"),
        &format!("http://user:pass@localhost:{port}/"),
        "http://127.0.0.1:99999/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
    ] {
        let answer = mallory.stopped(json!({ "url": url }), "tool_failed").await;
        let text = answer.text();
        assert!(!text.contains("hello") && !text.contains("not granted"), "{url}: {text}");
    }
    assert_eq!(site.visits().len(), 0, "no connection was made");
}

/// Names that resolve to addresses inside, one public address among private ones, and what was reached in the end are
/// in `a_name_that_resolves_to_a_private_address_is_refused`, `a_redirect_to_a_private_address_is_refused` and
/// `a_private_address_that_was_reached_all_the_same_is_refused`.
pub(in crate::hostile) async fn rebinding(mallory: &Mallory) {
    mallory.install().await;
    let site = &mallory.arena.site;
    mallory.client.grant("tools", mallory.guest.name, &[("http", &site.host())]).await;
    let inside = format!("http://{}/inside", site.other_host());
    let answer =
        mallory.stopped(json!({ "url": site.url(&format!("/redirect?{inside}")) }), "tool_failed").await;
    assert!(answer.text().contains("127.0.0.1"), "{}", answer.text());
    assert!(site.visits().iter().all(|visit| visit.uri != "/inside"), "the second hop was not made");
    let fine = mallory.invoke(json!({ "url": site.url("/") })).await;
    assert_eq!(fine.json()["output"], 200, "{}", fine.text());
}

pub(in crate::hostile) async fn endless_response(mallory: &Mallory) {
    mallory.install().await;
    let port = hostile_site().await;
    let granted = [("http", &*format!("localhost:{port}")), ("http", &mallory.arena.site.host())];
    mallory.client.grant("tools", mallory.guest.name, &granted).await;
    for (path, codes) in [
        ("bytes", "tool_failed"),
        ("announced", "tool_failed"),
        ("drip", "tool_timeout tool_failed"),
        ("headers", "tool_failed"),
        ("continue", "tool_timeout tool_failed"),
    ] {
        let answer = mallory.invoke(json!({ "url": format!("http://localhost:{port}/{path}") })).await;
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        assert!(codes.split(' ').any(|known| known == code), "{path}: {}", answer.text());
        assert!(
            answer.text().len() < 10_000 && !answer.text().contains("not granted"),
            "{path}: {}",
            answer.text()
        );
        assert_eq!(mallory.audited("tool.run").await["result"], "failed");
    }
    // What is packed could unpack to anything, and cannot be searched: it was not asked for.
    let packed = mallory.invoke(json!({ "url": mallory.arena.site.url("/packed") })).await;
    assert_eq!(packed.json()["code"], "tool_failed", "{}", packed.text());
    assert!(packed.text().contains("compressed although that was not asked for"), "{}", packed.text());
}

/// A server whose answers never end, until the attack does.
async fn hostile_site() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        // As many as there are kinds of answers.
        for _ in 0..5 {
            let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::from_secs(5), listener.accept()).await
            else {
                return;
            };
            tokio::spawn(answer_without_end(stream));
        }
    });
    port
}

async fn answer_without_end(mut stream: TcpStream) -> Option<()> {
    let mut asked = [0; 1024];
    let bytes = stream.read(&mut asked).await.ok()?;
    let asked = String::from_utf8_lossy(&asked[..bytes]).into_owned();
    let path = asked.split(' ').nth(1)?.to_owned();
    let (start, more, pause) = match path.as_str() {
        "/bytes" => (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            format!("10000\r\n{}\r\n", "x".repeat(65536)),
            0,
        ),
        "/announced" => ("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n", "x".repeat(65536), 0),
        "/drip" => ("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n", "x".to_owned(), 50),
        "/headers" => ("HTTP/1.1 200 OK\r\n", "x-header: x\r\n".repeat(1000), 0),
        _ => ("", "HTTP/1.1 100 Continue\r\n\r\n".to_owned(), 1),
    };
    stream.write_all(start.as_bytes()).await.ok()?;
    loop {
        stream.write_all(more.as_bytes()).await.ok()?;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// What no guest, log or audit row may ever hold.
const CANARY: &str = "canary-5e1f0c77aa";

/// More tricks stand in `m252_a_secret_goes_to_its_host_alone_and_the_guest_never_sees_it_even_where_it_is_echoed`, and
/// how often a guest may ask in `a_run_reaches_for_so_much_and_no_more`.
pub(in crate::hostile) async fn secret_thief(mallory: &Mallory) {
    let secrets = json!({ "set": { "API_KEY": CANARY, "OTHER_KEY": CANARY } });
    assert!(mallory.client.put("/v1/tenant/secrets", &secrets).await.status < 300);
    mallory.install().await;
    let site = &mallory.arena.site;
    let secret = format!("API_KEY@{}", site.host());
    let granted = [("http", &*site.host()), ("http", &site.other_host()), ("secret", &secret)];
    mallory.client.grant("tools", mallory.guest.name, &granted).await;
    let elsewhere = format!("http://{}/echo", site.other_host());
    let whole = "{{secret:API_KEY}}";
    let visits = site.visits().len();
    for (url, header, body) in [
        (site.url("/echo"), whole, None),
        (site.url("/echo"), "{{secret:{{secret:API_KEY}}}}", None),
        (site.url("/echo"), "{{secret:API_KEY}}{{secret:API_KEY}}", None),
        (site.url("/echo"), "{{secret:OTHER_KEY}}", None),
        (site.url("/echo"), "plain", Some(whole)),
        (elsewhere.clone(), whole, None),
        (site.url(&format!("/redirect?{elsewhere}")), whole, None),
        (site.url("/echo?key={{secret:API_KEY}}"), "plain", None),
    ] {
        let input = json!({ "url": url, "header": header, "body": body });
        let answer = mallory.client.invoke("secret-thief_send", input).await;
        let text = answer.text();
        let backwards: String = CANARY.chars().rev().collect();
        assert!(!text.contains(CANARY) && !text.contains(&backwards), "{url} {header}: {text}");
    }
    let sent = site.visits().split_off(visits);
    assert!(
        sent.iter().any(|visit| visit.headers.get("x-key").is_some_and(|key| key == CANARY)),
        "the granted host got it"
    );
    let other = site.other_host();
    for visit in sent.iter().filter(|visit| visit.headers["host"] == other.as_str()) {
        assert!(visit.headers.values().all(|value| value != CANARY), "the other host did not: {visit:?}");
    }

    let names = json!({ "names": ["API_KEY", "OTHER_KEY", "NEVER_KEPT"] });
    let probed = mallory.client.invoke("secret-thief_probe", names).await.json();
    let said: Vec<String> = serde_json::from_value(probed["output"].clone()).unwrap();
    let blank = |text: &str, name: &str| text.replace(name, "");
    assert_eq!(
        blank(&said[1], "OTHER_KEY"),
        blank(&said[2], "NEVER_KEPT"),
        "what was not granted looks like what is not there"
    );
    assert!(said[1].starts_with("denied"), "{said:?}");
    let reached: Value = mallory.audited("tool.run").await["detail"]["reached"].clone();
    assert_eq!(reached["secret:OTHER_KEY"], json!({ "allowed": 0, "denied": 1 }));
    let audit = mallory.client.get("/v1/tenant/audit?limit=200").await.text();
    assert!(!audit.contains(CANARY) && !logs().contains(CANARY));
}

/// What a guest sees of the machine is in `a_guest_sees_nothing_of_the_machine`.
pub(in crate::hostile) async fn wasi(mallory: &Mallory) {
    mallory.install().await;
    let looked = mallory.client.invoke("wasi", json!({})).await;
    let seen = looked.json()["output"].clone();
    for path in ["passwd", "root", "written"] {
        assert!(seen[path]["error"].is_string(), "{path}: {seen}");
    }
    assert_eq!((&seen["variables"], &seen["stdin"]["bytes"]), (&json!([]), &json!(0)));
    assert!(!std::path::Path::new("/tmp/opg-was-here").exists());
    assert_eq!(mallory.audited("tool.run").await["result"], "ok");
}
