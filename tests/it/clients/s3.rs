//! Artifacts in a bucket (rows M322, M352): of moto, an S3 server that nobody here wrote and that checks each
//! signature; and looked at with Amazon's own client.

use super::{pypi, run, sources};
use opg_host::{
    app::Clock,
    config::Config,
    sessions::artifacts::{self, BucketConfig},
};
use opg_tests::{
    app::{Client, TestApp, forget_logs, logs},
    upstream::ScriptedUpstream,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};

/// The server, with a door before it that can be shut.
struct Server {
    child: Child,
    python: PathBuf,
    said: Value,
    door: SocketAddr,
    open: Arc<AtomicBool>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// None where there is no Python.
    async fn start() -> Option<Server> {
        let python = pypi("s3")?;
        let mut command = Command::new(&python);
        command.env_clear().arg(sources("s3").join("server.py"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let behind: SocketAddr =
            said["endpoint"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (door, open) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(true)));
        let is_open = open.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let is_open = is_open.clone();
                tokio::spawn(async move {
                    let Ok(mut to) = TcpStream::connect(behind).await else { return };
                    let shut = async {
                        while is_open.load(Ordering::Relaxed) {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    };
                    tokio::select! {
                        () = shut => {}
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    }
                });
            }
        });
        Some(Server { child, python, said, door, open })
    }

    fn config(&self, prefix: &str) -> BucketConfig {
        let text = |name: &str| self.said[name].as_str().unwrap().to_owned();
        BucketConfig {
            bucket: text("bucket"),
            prefix: prefix.to_owned(),
            endpoint: Some(format!("http://{}", self.door).parse().unwrap()),
            region: "us-east-1".to_owned(),
            access_key_id: text("access_key_id").into(),
            secret_access_key: text("secret_access_key").into(),
        }
    }

    /// What `objects.py` says.
    fn ask(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.python);
        command.env_clear().env("OPG_S3", self.said.to_string());
        tokio::task::block_in_place(|| run(command.arg(sources("s3").join("objects.py")).args(args)))
    }

    /// Each object and its SHA-256.
    fn objects(&self) -> BTreeMap<String, String> {
        serde_json::from_str(&self.ask(&[])).unwrap()
    }

    /// Waits until there are so many.
    async fn has(&self, count: usize) -> BTreeMap<String, String> {
        for _ in 0..20 {
            let there = self.objects();
            if there.len() == count {
                return there;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{count}: {:?}", self.objects());
    }
}

async fn start(clock: Clock, change: impl FnOnce(&mut Config)) -> (TestApp, ScriptedUpstream, Client) {
    let change = |config: &mut Config| {
        TestApp::allow_local(config);
        change(config);
    };
    let (app, upstream) = (TestApp::at(clock, change).await, ScriptedUpstream::start().await);
    let acme = app.tenant_of("acme", &upstream).await;
    (app, upstream, acme)
}

async fn new_session(client: &Client) -> String {
    let made = client.post("/v1/sessions", &json!({ "model": "openai/scripted" })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

/// A turn that ends well, and what is kept of the session then: so many artifacts, the latest first.
async fn turn(client: &Client, id: &str, count: usize) -> Vec<Value> {
    let body = json!({ "parts": [{ "type": "text", "text": "hello" }] });
    let before = kept(client, id).await;
    let taken = client.post(&format!("/v1/sessions/{id}/prompt"), &body).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    for _ in 0..400 {
        let found = kept(client, id).await;
        if found.len() == count && found.first() != before.first() {
            let messages = client.get(&format!("/v1/sessions/{id}/messages?limit=200")).await.json();
            assert_eq!(messages["data"].as_array().unwrap().len() % 2, 0, "the turn has its answer");
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:?}", kept(client, id).await);
}

async fn kept(client: &Client, id: &str) -> Vec<Value> {
    client.get(&format!("/v1/sessions/{id}/artifacts")).await.json()["data"].as_array().unwrap().clone()
}

async fn restore(client: &Client, id: &str, body: Value) -> (u16, Value) {
    let answer = client.post(&format!("/v1/sessions/{id}/restore"), &body).await;
    (answer.status, answer.json())
}

/// The files of artifacts on this host.
fn here(app: &TestApp) -> Vec<String> {
    let dirs = std::fs::read_dir(app.data_dir().join("artifacts")).unwrap();
    let files = dirs.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

async fn health(app: &TestApp) -> (u16, Value) {
    let answer = app.anonymous().get("/readyz").await;
    (answer.status, answer.json()["artifacts_bucket"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn m322_m352_sessions_are_kept_in_a_bucket_and_come_back_from_there() {
    let Some(server) = Server::start().await else { return };
    let bucket = server.config("opg/one");
    let (app, upstream, acme) = start(Clock::system(), |config| config.artifacts_bucket = Some(bucket)).await;
    let id = new_session(&acme).await;
    let first = turn(&acme, &id, 1).await[0].clone();
    let key = |artifact: &Value| format!("opg/one/{id}/{}.json", artifact["id"].as_str().unwrap());
    let there = server.has(1).await;
    assert_eq!(there.get(&key(&first)).map(String::as_str), first["sha256"].as_str(), "{there:?}");
    assert_eq!(here(&app), Vec::<String>::new(), "it is there and not here");
    assert_eq!(health(&app).await, (200, json!("ok")));

    // What is in the bucket is a document, for this app and any other.
    let document: Value = serde_json::from_str(&server.ask(&[&key(&first)])).unwrap();
    let other = app.tenant_of("other", &upstream).await;
    let copy = other.post("/v1/sessions/import", &document).await;
    assert_eq!(copy.status, 201, "{}", copy.text());

    // Back to the first, which is read from there; and no further than what is whole.
    let second = turn(&acme, &id, 2).await[0].clone();
    let (status, _) = restore(&acme, &id, json!({ "artifact_id": first["id"] })).await;
    assert_eq!(status, 200);
    assert_eq!(document["messages"].as_array().unwrap().len(), 2);
    let messages = acme.get(&format!("/v1/sessions/{id}/messages")).await.json();
    assert_eq!(messages["data"].as_array().unwrap().len(), 2);
    server.ask(&[&key(&second), "damaged"]);
    let (status, answer) = restore(&acme, &id, json!({ "artifact_id": second["id"] })).await;
    assert_eq!((status, &answer["code"], &answer["previous"]), (409, &json!("artifact_corrupt"), &first));

    // The latest three, and none of a session that was deleted.
    turn(&acme, &id, 3).await;
    turn(&acme, &id, 3).await;
    let there = server.has(3).await;
    assert!(!there.contains_key(&key(&first)), "{there:?}");
    assert_eq!(acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
    server.has(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m322_a_bucket_that_is_away_fails_no_turn_and_gets_later_what_waited() {
    let Some(server) = Server::start().await else { return };
    let bucket = server.config("");
    let (app, _upstream, acme) =
        start(Clock::system(), |config| config.artifacts_bucket = Some(bucket)).await;
    let (id, deleted) = (new_session(&acme).await, new_session(&acme).await);
    let first = turn(&acme, &id, 1).await[0].clone();
    turn(&acme, &deleted, 1).await;
    server.has(2).await;

    server.open.store(false, Ordering::Relaxed);
    let second = turn(&acme, &id, 2).await[0].clone();
    assert_eq!(here(&app), [format!("{}.json", second["id"].as_str().unwrap())], "it waits here");
    assert_eq!(health(&app).await, (200, json!("failing")), "and nothing else stops");
    let (status, _) = restore(&acme, &id, json!({})).await;
    assert_eq!(status, 200, "what waits is read from here");
    let (status, answer) = restore(&acme, &id, json!({ "artifact_id": first["id"] })).await;
    assert_eq!((status, &answer["code"]), (503, &json!("unavailable")), "{answer}");
    let began = std::time::Instant::now();
    assert_eq!(acme.delete(&format!("/v1/sessions/{deleted}")).await.status, 204);
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for a bucket");

    server.open.store(true, Ordering::Relaxed);
    artifacts::tidy(&app.running.app).await.unwrap();
    let there = server.has(2).await;
    for artifact in [&first, &second] {
        let key = format!("{id}/{}.json", artifact["id"].as_str().unwrap());
        assert_eq!(there.get(&key).map(String::as_str), artifact["sha256"].as_str(), "{there:?}");
    }
    assert_eq!(here(&app), Vec::<String>::new());
    assert_eq!(health(&app).await, (200, json!("ok")));
    let (status, _) = restore(&acme, &id, json!({ "artifact_id": first["id"] })).await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn m352_what_a_bucket_missed_to_remove_is_removed_by_the_next_start() {
    let Some(server) = Server::start().await else { return };
    let bucket = server.config("opg");
    let (app, _upstream, acme) =
        start(Clock::system(), |config| config.artifacts_bucket = Some(bucket)).await;
    let (id, deleted) = (new_session(&acme).await, new_session(&acme).await);
    for count in 1..=3 {
        turn(&acme, &id, count).await;
    }
    turn(&acme, &deleted, 1).await;
    let before = server.has(4).await;
    server.open.store(false, Ordering::Relaxed);
    // The fourth takes the place of the first, which is there still, as is a session that is deleted.
    turn(&acme, &id, 3).await;
    assert_eq!(acme.delete(&format!("/v1/sessions/{deleted}")).await.status, 204);
    let owed = "select path from artifact_removals";
    let has_both = async |app: &TestApp| {
        for _ in 0..100 {
            let owed = app.sql(owed).await;
            if owed.len() == 2 && owed.contains(&format!("{deleted}/")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:?}", app.sql(owed).await);
    };
    has_both(&app).await;
    let app = app.restart().await;
    artifacts::tidy(&app.running.app).await.unwrap();
    has_both(&app).await;
    // The door may let a request through whose answer it keeps: there can be more, and nothing is gone.
    let there = server.objects();
    assert!(
        before.keys().all(|key| there.contains_key(key)),
        "what does not answer is not asked to remove: {there:?}"
    );

    server.open.store(true, Ordering::Relaxed);
    artifacts::tidy(&app.running.app).await.unwrap();
    let there = server.has(3).await;
    assert!(there.keys().all(|key| key.starts_with(&format!("opg/{id}/"))), "{there:?}");
    assert_eq!(app.sql(owed).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn m322_a_key_that_is_refused_is_told_in_the_log_and_shown_nowhere() {
    let Some(server) = Server::start().await else { return };
    forget_logs();
    let secret = "wrong-secret-canary-0123456789";
    let bucket = BucketConfig { secret_access_key: secret.into(), ..server.config("") };
    let (app, _upstream, acme) =
        start(Clock::system(), |config| config.artifacts_bucket = Some(bucket.clone())).await;
    let id = new_session(&acme).await;
    turn(&acme, &id, 1).await;
    assert_eq!((health(&app).await, here(&app).len()), ((200, json!("failing")), 1));
    let (status, _) = restore(&acme, &id, json!({})).await;
    assert_eq!(status, 200);
    let said = logs();
    assert!(said.contains("the bucket of artifacts fails"), "{said}");
    for hidden in [secret, server.said["access_key_id"].as_str().unwrap()] {
        assert!(!said.contains(hidden), "{said}");
    }
    // What waits is brought once the key is right.
    let right = server.config("");
    let app = app.restart_with(|config| config.artifacts_bucket = Some(right)).await;
    artifacts::tidy(&app.running.app).await.unwrap();
    server.has(1).await;
    assert_eq!(here(&app), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn m352_what_is_older_than_the_retention_goes_from_the_bucket_and_nothing_before() {
    const DAY: chrono::Duration = chrono::Duration::days(1);
    let Some(server) = Server::start().await else { return };
    let bucket = server.config("opg");
    let clock = Clock::manual(Clock::system().now());
    let (app, _upstream, acme) = start(clock, |config| {
        config.artifacts_bucket = Some(bucket);
        config.session_ttl = Duration::from_secs(90 * 24 * 60 * 60);
    })
    .await;
    let id = new_session(&acme).await;
    turn(&acme, &id, 1).await;
    // What nobody has an entry of goes too; what is beside the prefix is somebody else's.
    server.ask(&["opg/nobody/x.json", "{}"]);
    server.ask(&["another/x.json", "{}"]);
    app.clock.advance(DAY * 29);
    artifacts::tidy(&app.running.app).await.unwrap();
    assert_eq!((server.has(3).await.len(), kept(&acme, &id).await.len()), (3, 1));
    app.clock.advance(DAY * 2);
    artifacts::tidy(&app.running.app).await.unwrap();
    let there = server.has(1).await;
    assert!(there.contains_key("another/x.json"), "{there:?}");
    assert_eq!(kept(&acme, &id).await, Vec::<Value>::new());
    assert_eq!(acme.get(&format!("/v1/sessions/{id}")).await.status, 200, "the session is there still");
}
