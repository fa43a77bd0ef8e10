//! What an installation keeps of plugins is bounded: versions, and bytes that nothing refers to (row M368).

use opg_host::{
    app::Clock,
    db_proxy::limits::KEPT_AFTER_DELETE,
    limits::{BLOBS_KEPT_UNUSED, VERSIONS_KEPT},
    registry::kept::sweep,
};
use opg_tests::{
    app::{Answer, Client, Setup, TestApp, logs, send},
    guests,
    site::Site,
    wait::until,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const KEPT: i64 = VERSIONS_KEPT as i64;
const MARKDOWN: &str = "text/markdown";
const WASM: &str = "application/wasm";

/// An agent that is text: a plugin like any other, of which nothing is compiled.
fn agent(description: &str, prompt: &str) -> String {
    format!("---\ndescription: {description}\n---\n{prompt}\n")
}

fn path(name: &str) -> String {
    format!("/v1/tenant/agents/{name}")
}

async fn upload(client: &Client, name: &str, text: String) -> Answer {
    client.put_bytes(&path(name), MARKDOWN, text).await
}

/// What the newest version is, as it was uploaded.
async fn text_of(client: &Client, name: &str) -> Answer {
    send(client.request("GET", &path(name)).header("accept", MARKDOWN)).await
}

/// The numbers of all versions there are, newest first.
async fn versions(client: &Client, plugin: &str) -> Vec<i64> {
    let listed = client.get(&format!("{plugin}/versions?limit=200")).await.json();
    listed["data"].as_array().unwrap().iter().map(|one| one["version"].as_i64().unwrap()).collect()
}

async fn rollback(client: &Client, plugin: &str, version: i64) -> Answer {
    client.post(&format!("{plugin}/rollback"), &json!({ "version": version })).await
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn file(app: &TestApp, sha256: &str) -> PathBuf {
    app.data_dir().join("blobs/sha256").join(&sha256[..2]).join(sha256)
}

/// How many blobs there are.
fn files(dir: &Path) -> usize {
    let folders = std::fs::read_dir(dir.join("blobs/sha256")).map(Iterator::collect::<Vec<_>>);
    let folders = folders.unwrap_or_default().into_iter().map(|folder| folder.unwrap().path());
    folders.map(|folder| std::fs::read_dir(folder).unwrap().count()).sum()
}

async fn run(app: &TestApp, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut app.owner().await).await.unwrap();
}

async fn sweep(app: &TestApp) {
    sweep::all(&app.running.app).await.unwrap();
}

fn day() -> chrono::Duration {
    chrono::Duration::from_std(BLOBS_KEPT_UNUSED).unwrap()
}

/// A day later, and a little.
fn a_day_passes(app: &TestApp) {
    app.clock.advance(day() + chrono::Duration::minutes(1));
}

/// As an older release left them: versions `from` to `to` of each plugin, like its first one.
async fn older_release_left(app: &TestApp, from: i64, to: i64, sha256: &str, passed: bool) {
    let different = format!("jsonb_build_object('version', n, 'sha256', {sha256})");
    run(
        app,
        format!(
            "insert into plugin_versions select (jsonb_populate_record(one, {different})).*
             from (select v as one from plugin_versions v where version = 1) first, generate_series({from}, {to}) n"
        ),
    )
    .await;
    if passed {
        let reviewed = format!(
            "insert into plugin_reviews (plugin_id, app_id, version, reviewed_at, passed_by)
             select plugin_id, app_id, version, created_at, 'nothing_new' from plugin_versions
             where version between {from} and {to}"
        );
        run(app, reviewed).await;
    }
}

#[tokio::test]
async fn m368_the_newest_versions_are_kept_and_one_that_is_gone_is_said_to_be() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let counter = path("counter");
    for n in 1..=KEPT + 10 {
        let uploaded = upload(&acme, "counter", agent("Counts", &format!("Count {n}."))).await;
        assert_eq!((&uploaded.json()["version"], &uploaded.json()["status"]), (&json!(n), &json!("active")));
    }
    assert_eq!(versions(&acme, &counter).await, (11..=KEPT + 10).rev().collect::<Vec<_>>());
    let reviews = "select min(version)::text || ' ' || count(*)::text from plugin_reviews";
    assert_eq!(app.sql(reviews).await, [format!("11 {KEPT}")]);

    let gone = rollback(&acme, &counter, 3).await;
    assert_eq!((gone.status, &gone.json()["code"]), (410, &json!("version_gone")), "{}", gone.text());
    let there: Vec<_> = (11..KEPT + 10).rev().collect();
    assert_eq!(gone.json()["versions"], json!(there), "all but the one that runs");
    let says = gone.json()["detail"].as_str().unwrap().to_owned();
    assert!(says.starts_with("version 3 is not kept any more (50 are); there are 59, 58, "), "{says}");
    for never in [0, -1, KEPT + 11] {
        assert_eq!(rollback(&acme, &counter, never).await.status, 404, "{never}");
    }
    assert_eq!(rollback(&acme, &counter, 11).await.status, 200);

    // It is in the log of what was done for ever, and its number is given to no other.
    assert_eq!(
        app.sql("select count(*)::text from audit_events where action = 'agents.write'").await,
        ["61"]
    );
    let next = upload(&acme, "counter", agent("Counts", "Count on.")).await;
    assert_eq!(next.json()["version"], json!(KEPT + 11));
}

#[tokio::test]
async fn m368_what_runs_what_waits_and_the_way_back_stay_however_much_is_uploaded() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let counter = path("counter");
    for n in 1..=3 {
        upload(&acme, "counter", agent("Counts", &format!("Count {n}."))).await;
    }
    assert_eq!(rollback(&acme, &counter, 2).await.status, 200);
    // Each says something new, and waits.
    for n in 4..=KEPT + 20 {
        let uploaded = upload(&acme, "counter", agent(&format!("Counts to {n}"), "Count.")).await;
        assert_eq!(uploaded.json()["status"], "pending_review", "{}", uploaded.text());
    }
    let mut expected: Vec<_> = (21..=KEPT + 20).rev().collect();
    expected.extend([2, 1]);
    assert_eq!(versions(&acme, &counter).await, expected, "2 runs, and 1 was before it");

    let review = |version: i64| json!({ "version": version, "grant": "all" });
    let gone = acme.post(&format!("{counter}/review"), &review(5)).await;
    assert_eq!((gone.status, &gone.json()["code"]), (410, &json!("version_gone")));
    assert!(gone.text().contains("version 5 is not kept any more; upload it again"), "{}", gone.text());
    assert_eq!(acme.post(&format!("{counter}/rollback"), &json!({})).await.json()["version"], 1);
    let reviewed = acme.post(&format!("{counter}/review"), &review(KEPT + 20)).await;
    assert_eq!(reviewed.status, 200, "{}", reviewed.text());
    // Nothing that waits is before it now, and the next one lets what was kept for itself go.
    upload(&acme, "counter", agent(&format!("Counts to {}", KEPT + 20), "Count on.")).await;
    assert_eq!(versions(&acme, &counter).await, (22..=KEPT + 21).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn m368_what_an_older_release_left_is_trimmed_without_an_upload() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    for name in ["first", "second"] {
        upload(&acme, name, agent("Counts", name)).await;
    }
    older_release_left(&app, 2, 260, "'x' || n", true).await;
    app.clock.advance(chrono::Duration::hours(2));
    sweep(&app).await;
    for name in ["first", "second"] {
        let mut expected: Vec<_> = (261 - KEPT..=260).rev().collect();
        expected.push(1);
        assert_eq!(versions(&acme, &path(name)).await, expected, "the first one runs");
    }
    a_day_passes(&app);
    sweep(&app).await;
    assert_eq!(app.sql("select sha256 from blob_checks").await, Vec::<String>::new());
    assert_eq!(text_of(&acme, "first").await.status, 500, "this one has no bytes: the test made it up");
    assert_eq!(rollback(&acme, &path("first"), 1).await.status, 200);
}

#[tokio::test]
async fn m368_bytes_go_a_day_after_the_last_that_referred_to_them() {
    let app = TestApp::with_manual_clock().await;
    let (acme, other) = (app.tenant("acme").await, app.tenant("other").await);
    let tool = "/v1/tenant/tools/word-count";
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    other.install_tool("word-count", guests::WORD_COUNT).await;
    let blob = file(&app, &sha256(guests::WORD_COUNT));
    assert!(blob.exists());
    a_day_passes(&app);
    sweep(&app).await;
    assert_eq!(app.sql("select sha256 from blob_checks").await, Vec::<String>::new(), "it was looked at");

    assert_eq!(acme.delete(tool).await.status, 204);
    a_day_passes(&app);
    sweep(&app).await;
    assert!(blob.exists(), "the other app has the same");
    let app = app.restart().await;
    let (acme, other) = (acme.elsewhere(&app.base_url()), other.elsewhere(&app.base_url()));
    assert_eq!(other.invoke("word-count", json!({ "text": "a b" })).await.json()["output"]["words"], 2);

    assert_eq!(other.delete(tool).await.status, 204);
    app.clock.advance(day() - chrono::Duration::minutes(1));
    sweep(&app).await;
    assert!(blob.exists(), "whoever began with it may still run");
    app.clock.advance(chrono::Duration::minutes(2));
    sweep(&app).await;
    assert!(!blob.exists());
    assert_eq!(app.sql("select sha256 from blob_checks").await, Vec::<String>::new());
    let metrics = app.anonymous().get("/metrics").await.text();
    let bytes = guests::WORD_COUNT.len();
    for line in ["opg_blobs_removed_total 1", &format!("opg_blobs_removed_bytes_total {bytes}")] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
    assert!(logs().contains("blobs that nothing referred to were removed"));

    // As if it had never been there.
    let again = acme.put_bytes(tool, WASM, guests::WORD_COUNT).await;
    assert_eq!((again.status, &again.json()["version"]), (201, &json!(1)));
    assert!(blob.exists());
    app.clock.advance(chrono::Duration::hours(2));
    sweep(&app).await;
    let metrics = app.anonymous().get("/metrics").await.text();
    for line in ["opg_blobs 1", &format!("opg_blobs_bytes {bytes}")] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn m368_of_a_typescript_tool_the_file_and_what_was_made_of_it_go() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    let source =
        "export default { description: \"Says hello\", args: {}, async execute() { return \"hello\" } }\n";
    let hello = "/v1/tenant/tools/hello";
    let uploaded = acme.put_bytes(hello, "text/typescript", source).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let uploaded = uploaded.json();
    let blobs = ["sha256", "source_sha256"].map(|name| file(&app, uploaded[name].as_str().unwrap()));
    // Made anew for another runtime, and for more of them than are kept.
    let made = ["first", "second", "third", "fourth"].map(|runtime| {
        let made = sha256(runtime.as_bytes());
        let at = file(&app, &made);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(&at, runtime).unwrap();
        (runtime, made, at)
    });
    for (age, (runtime, made, _)) in made.iter().enumerate() {
        run(&app, format!(
            "insert into typescript_builds select plugin_id, app_id, 1, '{runtime}', '{made}', null, now() - interval '{} days'
             from plugins", 9 - age)).await;
    }
    a_day_passes(&app);
    sweep(&app).await;
    assert!(blobs.iter().chain(made.iter().map(|(.., at)| at)).all(|blob| blob.exists()));

    // The same file once more, by this host: what it makes of it is the newest.
    let runtime = "delete from typescript_builds where length(runtime) = 64 returning runtime";
    assert_eq!(app.sql(runtime).await.len(), 1);
    assert_eq!(acme.put_bytes(hello, "text/typescript", source).await.status, 200);
    assert_eq!(
        app.sql("select runtime from typescript_builds order by made_at desc").await[1..],
        ["fourth", "third"]
    );
    a_day_passes(&app);
    sweep(&app).await;
    assert_eq!(made.each_ref().map(|(.., at)| at.exists()), [false, false, true, true]);
    assert_eq!(acme.invoke("hello", json!({})).await.json()["output"], "hello");

    assert_eq!(acme.delete(hello).await.status, 204);
    a_day_passes(&app);
    sweep(&app).await;
    assert_eq!(files(app.data_dir()), 0);
}

#[tokio::test]
async fn m368_what_nothing_ever_named_is_found_and_what_was_named_without_a_note_stays() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    upload(&acme, "counter", agent("Counts", "Count.")).await;
    // As a host of an older release uploads.
    run(&app, "delete from blob_checks".to_owned()).await;
    let stray = file(&app, &sha256(b"stray"));
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, "stray").unwrap();
    // Refused after its bytes were kept: the name of the tool is looked up before, what is too many only then.
    let full = "insert into plugins select gen_random_uuid(), app_id, kind, 'full-' || n, null, created_at, updated_at
                from plugins, generate_series(1, 99) n returning name";
    assert_eq!(app.sql(full).await.len(), 99);
    let refused = upload(&acme, "one-more", agent("Counts", "Refused.")).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("too_many_plugins")));
    assert_eq!(files(app.data_dir()), 3);

    app.clock.advance(chrono::Duration::hours(2));
    sweep(&app).await;
    assert_eq!(app.sql("select sha256 from blob_checks where app_id is null").await, [sha256(b"stray")]);
    assert_eq!(files(app.data_dir()), 3, "it may belong to what is being restored");
    a_day_passes(&app);
    sweep(&app).await;
    assert_eq!(files(app.data_dir()), 1);
    assert_eq!(text_of(&acme, "counter").await.text(), agent("Counts", "Count."));
}

#[tokio::test(flavor = "multi_thread")]
async fn m368_bytes_that_are_uploaded_again_while_they_are_removed_are_there() {
    let one = TestApp::with_manual_clock().await;
    let other = one.another_host().await;
    let (acme, rival) = (one.tenant("acme").await, one.tenant("rival").await);
    let there = rival.elsewhere(&other.base_url());
    let text = || agent("Counts", "Count.");
    let mut removed = 0;
    for round in 0..60 {
        upload(&acme, "counter", text()).await;
        acme.delete(&path("counter")).await;
        // The other one has never had it, as far as is noted.
        let of_rival =
            "delete from blob_checks where app_id = (select app_id from apps where slug = 'rival')";
        run(&one, of_rival.to_owned()).await;
        a_day_passes(&one);
        // At once, and a little apart.
        let pause = Duration::from_micros(200 * (round % 12));
        let uploads = async {
            tokio::time::sleep(pause).await;
            tokio::join!(upload(&acme, "counter", text()), upload(&there, "counter", text()))
        };
        let swept = async { tokio::join!(sweep(&one), sweep(&other)) };
        let ((first, second), _) = tokio::join!(uploads, swept);
        for (client, uploaded) in [(&acme, first), (&there, second)] {
            assert_eq!(uploaded.status, 201, "{}", uploaded.text());
            let shown = text_of(client, "counter").await;
            assert_eq!((shown.status, shown.text()), (200, text()), "round {round}");
        }
        removed = logs().matches("blobs that nothing referred to were removed").count();
        // Nor does the next look take it.
        a_day_passes(&one);
        tokio::join!(sweep(&one), sweep(&other));
        assert_eq!(text_of(&acme, "counter").await.status, 200, "round {round}");
        for client in [&acme, &there] {
            assert_eq!(client.delete(&path("counter")).await.status, 204);
        }
    }
    assert!(removed > 5, "it was not always kept: {removed}");
    a_day_passes(&one);
    until("the last one goes", async || {
        tokio::join!(sweep(&one), sweep(&other));
        files(one.data_dir()) == 0
    })
    .await;
}

#[tokio::test]
async fn m368_who_uploads_bytes_waits_for_whoever_removes_them_and_no_second_host_does() {
    let app = TestApp::with_manual_clock().await;
    let (acme, other) = (app.tenant("acme").await, app.tenant("other").await);
    let text = agent("Counts", "Count.");
    upload(&acme, "counter", text.clone()).await;
    acme.delete(&path("counter")).await;
    a_day_passes(&app);
    let blob = file(&app, &sha256(text.as_bytes()));
    // As a host that removes it, and has looked already.
    let mut remover = app.owner().await;
    let lock = format!(
        "begin; select pg_advisory_xact_lock(hashtextextended('blob/{}', 0))",
        sha256(text.as_bytes())
    );
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut remover).await.unwrap();
    sweep(&app).await;
    assert!(blob.exists(), "another host is at it, and this one goes on");
    let (client, sent) = (other.clone(), text.clone());
    let waiting = tokio::spawn(async move { upload(&client, "counter", sent).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished());
    std::fs::remove_file(&blob).unwrap();
    sqlx::raw_sql("commit").execute(&mut remover).await.unwrap();
    assert_eq!(waiting.await.unwrap().status, 201);
    assert_eq!(text_of(&other, "counter").await.text(), text);
    sweep(&app).await;
    assert_eq!(text_of(&other, "counter").await.text(), text);
}

#[tokio::test]
async fn m368_an_upload_whose_bytes_went_before_it_was_written_down_is_refused_whole() {
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    let text = agent("Counts", "Count.");
    let blob = file(&app, &sha256(text.as_bytes()));
    let mut owner = app.owner().await;
    let lock = "select pg_advisory_lock(hashtextextended('plugins/' || app_id, 0)) from apps";
    sqlx::raw_sql(lock).execute(&mut owner).await.unwrap();
    let (client, sent) = (acme.clone(), text.clone());
    let slow = tokio::spawn(async move { upload(&client, "counter", sent).await });
    until("its bytes are written", async || blob.exists()).await;
    a_day_passes(&app);
    sweep(&app).await;
    assert!(!blob.exists());
    sqlx::raw_sql("select pg_advisory_unlock_all()").execute(&mut owner).await.unwrap();
    let refused = slow.await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("send it again") && !refused.header("retry-after").is_empty());
    assert_eq!(acme.get(&path("counter")).await.status, 404, "nothing was written down");
    assert_eq!(upload(&acme, "counter", text.clone()).await.status, 201);
    assert_eq!(text_of(&acme, "counter").await.text(), text);
}

#[tokio::test]
async fn m368_a_call_under_way_ends_properly_when_its_version_goes() {
    let setup = Setup { clock: Clock::manual(Clock::system().now()), ..Setup::default() };
    let app = TestApp::set_up(setup, TestApp::allow_local).await;
    let site = Site::start().await;
    let acme = app.tenant("acme").await;
    let slow = "/v1/tenant/tools/slow";
    acme.put_bytes(slow, WASM, guests::SLOW).await;
    acme.grant("tools", "slow", &[("http", &site.host())]).await;
    let call = |url: String| {
        let caller = acme.clone();
        tokio::spawn(async move { caller.invoke("slow", json!({ "url": url })).await })
    };
    let running = call(site.url("/meet/2"));
    site.wait_for(1).await;
    // Many versions later; what they are does not matter here.
    older_release_left(&app, 2, KEPT + 1, "repeat('0', 62) || lpad(n::text, 2, '0')", true).await;
    run(&app, format!("update plugins set active_version = {}", KEPT + 1)).await;
    let mut newest = guests::SLOW.to_vec();
    newest.extend_from_slice(&[0, 4, 2, b'n', b'o', b'a']);
    let uploaded = acme.put_bytes(slow, WASM, newest).await;
    assert_eq!(
        (&uploaded.json()["version"], &uploaded.json()["status"]),
        (&json!(KEPT + 2), &json!("active"))
    );
    assert!(!versions(&acme, slow).await.contains(&1));
    a_day_passes(&app);
    sweep(&app).await;
    assert!(!file(&app, &sha256(guests::SLOW)).exists());

    let next = call(site.url("/meet/2"));
    for (answer, version) in [(next.await.unwrap(), KEPT + 2), (running.await.unwrap(), 1)] {
        assert_eq!(
            (answer.status, &answer.json()["output"]),
            (200, &json!(200)),
            "{version}: {}",
            answer.text()
        );
    }
    let runs = acme.get(&format!("{slow}/invocations")).await.json();
    let mut ran: Vec<_> =
        runs["data"].as_array().unwrap().iter().map(|run| run["version"].as_i64().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, [1, KEPT + 2], "how it went is told of a version that is gone as well");
}

#[tokio::test]
async fn m368_m164_what_a_deleted_apps_plugins_were_goes_with_its_tables() {
    const UPLOADS: &str =
        "select count(*)::text from audit_events where action in ('tools.write', 'agents.write')";
    const LEFT: &str = "select slug || ' ' || (select count(*) from plugins p where p.app_id = a.app_id)
      || ' ' || (select count(*) from plugin_versions v where v.app_id = a.app_id)
      || ' ' || (select count(*) from plugin_kv k where k.app_id = a.app_id)
      || ' ' || (select count(*) from plugin_grants g where g.app_id = a.app_id)
      || ' ' || (select count(*) from tool_runs r where r.app_id = a.app_id) from apps a order by slug";
    let app = TestApp::with_manual_clock().await;
    let (acme, other) = (app.tenant("acme").await, app.tenant("other").await);
    for client in [&acme, &other] {
        client.install_tool("word-count", guests::WORD_COUNT).await;
        assert_eq!(client.invoke("word-count", json!({ "text": "a" })).await.status, 200);
    }
    for n in 0..25 {
        upload(&acme, &format!("agent-{n}"), agent("Counts", &format!("Count {n}."))).await;
    }
    run(&app, "insert into plugin_kv select app_id, 'tool/x', 'k' || n, 'v', now() from apps, generate_series(1, 500) n;
               insert into plugin_grants select app_id, 'tool', 'x', 'http', 'x', null, now() from apps".to_owned()).await;
    let audited = app.sql(UPLOADS).await;
    assert_eq!(app.operator().delete("/v1/admin/tenants/acme?confirm=acme").await.status, 204);

    app.clock.advance(KEPT_AFTER_DELETE - chrono::Duration::hours(1));
    sweep(&app).await;
    assert_eq!(
        app.sql(LEFT).await,
        ["acme 26 26 500 1 1", "other 1 1 500 1 1"],
        "somebody may think better of it"
    );
    app.clock.advance(chrono::Duration::hours(2));
    sweep(&app).await;
    assert_eq!(app.sql(LEFT).await, ["acme 0 0 0 0 0", "other 1 1 500 1 1"]);
    assert_eq!(files(app.data_dir()), 26);
    a_day_passes(&app);
    sweep(&app).await;
    assert_eq!(files(app.data_dir()), 1, "what another app has too");
    let app = app.restart().await;
    let other = other.elsewhere(&app.base_url());
    assert_eq!(other.invoke("word-count", json!({ "text": "a b" })).await.json()["output"]["words"], 2);
    assert_eq!(
        (app.sql(UPLOADS).await, &audited),
        (audited.clone(), &vec!["27".to_owned()]),
        "what was done stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn m368_a_host_that_is_killed_while_it_removes_leaves_nothing_half_done() {
    const STRAYS: usize = 3000;
    let app = TestApp::with_manual_clock().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    upload(&acme, "counter", agent("Counts", "Count.")).await;
    let strays: Vec<_> = (0..STRAYS).map(|n| sha256(n.to_string().as_bytes())).collect();
    for stray in &strays {
        let stray = file(&app, stray);
        std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
        std::fs::write(stray, "stray").unwrap();
    }
    // Due for a host whose clock runs, and not for this one.
    let due = app.clock.now() + chrono::Duration::microseconds(1);
    let names = strays.join("'), ('");
    run(
        &app,
        format!("insert into blob_checks select name, null, '{due}' from (values ('{names}')) s(name)"),
    )
    .await;
    let Some(other) = app.another_process(app.data_dir(), &[]).await else { return };
    until("it removes", async || files(app.data_dir()) < STRAYS - 100).await;
    other.kill_9().await;
    let left = files(app.data_dir());
    assert!(left > 100, "it was killed in the middle: {left}");

    app.clock.advance(chrono::Duration::seconds(1));
    until("the next one does the rest", async || {
        sweep(&app).await;
        app.sql("select sha256 from blob_checks where app_id is null").await.is_empty()
    })
    .await;
    assert_eq!(files(app.data_dir()), 2);
    let app = app.restart().await;
    let acme = acme.elsewhere(&app.base_url());
    assert_eq!(acme.invoke("word-count", json!({ "text": "a b" })).await.json()["output"]["words"], 2);
    assert_eq!(text_of(&acme, "counter").await.text(), agent("Counts", "Count."));
}

#[tokio::test(flavor = "multi_thread")]
async fn m368_two_hosts_that_sweep_at_once_and_are_broken_off_anywhere_leave_what_is_needed() {
    let one = TestApp::with_manual_clock().await;
    let other = one.another_host().await;
    let acme = one.tenant("acme").await;
    for n in 0..40 {
        upload(&acme, &format!("agent-{n}"), agent("Counts", &format!("Count {n}."))).await;
    }
    for n in (0..40).filter(|n| n % 2 == 0) {
        assert_eq!(acme.delete(&path(&format!("agent-{n}"))).await.status, 204);
    }
    a_day_passes(&one);
    for round in 0..40 {
        let time = Duration::from_micros(500 * round);
        let broken_off = |app| tokio::time::timeout(time, sweep(app));
        drop(tokio::join!(broken_off(&one), broken_off(&other)));
    }
    until("all that nobody needs goes", async || {
        tokio::join!(sweep(&one), sweep(&other));
        files(one.data_dir()) == 20
    })
    .await;
    let app = one.restart().await;
    let acme = acme.elsewhere(&app.base_url());
    for n in (0..40).filter(|n| n % 2 == 1) {
        let shown: Value = acme.get(&path(&format!("agent-{n}"))).await.json();
        assert_eq!(shown["status"], "active");
        assert_eq!(
            text_of(&acme, &format!("agent-{n}")).await.text(),
            agent("Counts", &format!("Count {n}."))
        );
    }
}
