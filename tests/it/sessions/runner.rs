//! Sessions in a process of their own: what that process is, what it holds, how it registers, and what is left when it goes.

use super::{
    Watch, at, create,
    drivers::{Scene, all_steps, ready, scene, steps},
    expect_status, messages, of_kind, prompt, said, start, streamed_text, turn,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use opg_host::{
    runner::seal::SecretKey,
    sessions::instances::{STEP_TIME_MAX, process},
};
use opg_tests::{
    app::{Answer, Client, TestApp, UPSTREAM_KEY, logs},
    guests,
    process::OpgProcess,
    upstream::Step,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

const SOON: Duration = Duration::from_secs(30);

/// The runners that this process, or the one of this id, has started.
fn runners_of(parent: u32) -> BTreeSet<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_one = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which may hold anything: its state, its parent.
        let rest = stat.rsplit(") ").next().unwrap_or_default();
        let mut fields = rest.split(' ');
        let (state, its_parent) = (fields.next(), fields.next());
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        state != Some("Z")
            && its_parent == Some(&parent.to_string())
            && arguments.split(|byte| *byte == 0).nth(1) == Some(b"runner")
    };
    ids.filter(is_one).collect()
}

fn runners() -> BTreeSet<u32> {
    runners_of(std::process::id())
}

fn the_runner() -> u32 {
    let all = runners();
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: takes numbers; the process is one this test started and has not waited for.
    assert_eq!(unsafe { libc::kill(i32::try_from(pid).unwrap(), signal) }, 0);
}

async fn shown(client: &Client, id: &str) -> Value {
    client.get(&format!("/v1/sessions/{id}")).await.json()
}

#[tokio::test]
async fn m263_a_target_that_the_operator_did_not_enable_is_refused_and_nothing_starts() {
    let (_app, _upstream, acme) = start().await;
    let refused = acme.post("/v1/sessions", &json!({ "target": "process" })).await;
    assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/target")));
    assert!(refused.text().contains("not enabled"), "{}", refused.text());
    assert_eq!(runners(), BTreeSet::new());
    // Where only that is enabled, it is what a session runs on unless told.
    let app = TestApp::with(|config| {
        config.session_targets = vec![opg_host::sessions::instances::Target::Process];
    })
    .await;
    let acme = app.tenant("acme").await;
    let id = create(&acme, json!({ "model": "demo/assistant" })).await;
    expect_status(&acme, &id, "idle").await;
    assert_eq!(shown(&acme, &id).await["instance"]["driver"], "process");
    assert_eq!(acme.post("/v1/sessions", &json!({ "target": "wasm" })).await.status, 422);
}

#[tokio::test]
async fn m317_m339_a_runner_is_a_process_that_holds_nothing_but_two_sockets() {
    let scene = scene().await;
    let id = ready(&scene.acme, "process", json!({})).await;
    let pid = the_runner();
    turn(&scene.acme, &id, said("hello")).await;
    let of = |what: &str| PathBuf::from(format!("/proc/{pid}/{what}"));
    let arguments = fs::read(of("cmdline")).unwrap();
    let arguments: Vec<_> = arguments.split(|byte| *byte == 0).filter(|part| !part.is_empty()).collect();
    assert_eq!((arguments.len(), arguments[1]), (2, &b"runner"[..]), "no argument holds anything");
    let status = fs::read_to_string(of("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().to_owned()
    };
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".to_owned(), "2".to_owned()));
    let limits = fs::read_to_string(of("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // What only root may look at, of a process that nobody else may.
    if let Ok(environment) = fs::read(of("environ")) {
        assert_eq!(environment, b"", "nothing is in its environment");
        let open: Vec<_> = fs::read_dir(of("fd"))
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .collect();
        let network: String = ["tcp", "tcp6", "udp", "udp6"]
            .iter()
            .map(|table| fs::read_to_string(of(&format!("net/{table}"))).unwrap_or_default())
            .collect();
        for link in &open {
            let link = link.to_str().unwrap();
            let socket = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            assert!(socket.is_none_or(|inode| !network.contains(&format!(" {inode} "))), "{link}: {open:?}");
            let is_fine =
                ["socket:", "pipe:", "anon_inode:", "/memfd:"].iter().any(|kind| link.starts_with(kind));
            assert!(is_fine, "{link}: {open:?}");
        }
        assert!(!fs::read_to_string(of("maps")).unwrap().contains("cwasm"), "it loads no file");
    }
}

/// The same OPG, whose runners are this script instead.
async fn with_runners(scene: Scene, script: &str) -> (TestApp, Client) {
    use std::os::unix::fs::PermissionsExt;
    // What is compiled is kept, also from a program that compiles nothing.
    ready(&scene.acme, "wasm", json!({ "model": "demo/assistant" })).await;
    let Scene { app, acme, .. } = scene;
    let program = app.data_dir().join("runner.sh");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let app = app.restart_with_program(program).await;
    let acme = app.client(Some(acme.token()));
    (app, acme)
}

/// What is told of a session whose process does not come to be its runner, and its last status.
async fn told_of_failure(acme: &Client) -> (Vec<Value>, Value) {
    let id = create(acme, json!({ "target": "process", "model": "demo/assistant" })).await;
    let mut told =
        Watch::open(acme, &id, Some(0)).await.until_within(SOON * 2, |event| event["to"] == "error").await;
    assert_eq!(
        super::kinds(&told),
        ["session.status", "session.step", "session.step", "session.status"],
        "{told:#?}"
    );
    let status = told.pop().unwrap();
    assert_eq!((&told[1]["step"], &told[1]["state"]), (&json!("provision"), &json!("done")));
    assert_eq!((&told[2]["step"], &told[2]["state"]), (&json!("register"), &json!("failed")));
    assert_eq!(told[2]["reason"], status["reason"]);
    assert_eq!(shown(acme, &id).await["instance"]["reason"], status["reason"]);
    (told, status)
}

#[tokio::test]
async fn m317_a_process_that_does_not_register_fails_at_that_step_and_the_log_says_why() {
    let failing = with_runners(scene().await, "echo 'opg_reg_canary: no' >&2; exit 3");
    let (app, acme) = Box::pin(failing).await;
    let (_, status) = told_of_failure(&acme).await;
    assert!(status["reason"].as_str().unwrap().contains("its registration failed"), "{status}");
    assert!(
        !status.to_string().contains("canary"),
        "what it complains of is the operator's to read: {status}"
    );
    assert_eq!(app.running.app.runners.count(), 0);
}

#[tokio::test]
async fn m317_a_step_may_take_half_a_minute_and_no_longer() {
    let idling = with_runners(scene().await, "echo $$ >${0%/*}/pid; exec /bin/sleep 300");
    let (app, acme) = Box::pin(idling).await;
    let began = tokio::time::Instant::now();
    let (told, status) = told_of_failure(&acme).await;
    assert!(status["reason"].as_str().unwrap().contains("`register` was not done after 30 s"), "{status}");
    let took = began.elapsed();
    assert!((STEP_TIME_MAX..STEP_TIME_MAX * 2).contains(&took), "{took:?}");
    let at =
        |event: &Value| event["time"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert!((at(&told[2]) - at(&told[1])).num_seconds() >= 29, "{told:#?}");
    assert_eq!(app.running.app.runners.count(), 0);
    let pid = fs::read_to_string(app.data_dir().join("pid")).unwrap();
    until("what did not register is ended", || fs::read(format!("/proc/{}/stat", pid.trim())).is_err()).await;
}

#[tokio::test]
async fn m315_no_byte_of_a_key_is_in_a_runner_or_in_what_is_written_of_it() {
    let scene = scene().await;
    scene.acme.install_tool("word-count", guests::WORD_COUNT).await;
    let secret = "canary-secret-0123456789abcdef";
    let set = scene.acme.put("/v1/tenant/secrets", &json!({ "set": { "KEY": secret } })).await;
    assert_eq!(set.status, 204, "{}", set.text());
    let id = ready(&scene.acme, "process", json!({})).await;
    let pid = the_runner();
    turn(&scene.acme, &id, said(r#"call word-count {"text": "a b c"}"#)).await;
    assert_eq!(scene.upstream.received()[0].headers["authorization"], format!("Bearer {UPSTREAM_KEY}"));
    let master_key = scene.app.running.app.config.master_key.clone().unwrap();
    let master_key = secrecy::ExposeSecret::expose_secret(&master_key).to_owned();
    let canaries = [UPSTREAM_KEY, secret, master_key.as_str(), scene.acme.token()];
    if let Some(memory) = memory_of(pid) {
        assert!(memory.contains("word-count"), "its memory was read");
        for canary in canaries {
            assert!(!memory.contains(canary), "{canary} is in its memory");
        }
    }
    for token in ["opg_reg_", "opg_run_"] {
        let logged = logs();
        let said = logged
            .match_indices(token)
            .all(|(at, _)| logged[at..].starts_with(&format!("{token}[redacted]")));
        assert!(said, "{token} is in a log line");
    }
    let written = scene.app.sql(
        "select string_agg(t, '') from (
           select i::text as t from session_instances i union all select a::text from audit_events a
           union all select e::text from session_events e union all select s::text from sessions s
         ) as all_of_it",
    );
    let written = written.await.concat();
    assert!(written.contains("instances.register"));
    for canary in canaries.into_iter().chain(["opg_reg_", "opg_run_"]) {
        assert!(!written.contains(canary), "{canary} is in the database");
        assert!(!logs().contains(canary) || canary.starts_with("opg_"), "{canary} is in a log line");
    }
}

/// What a process holds in memory and may write to; none where nobody may look.
fn memory_of(pid: u32) -> Option<String> {
    use std::os::unix::fs::FileExt;
    /// Above what it uses: what is larger is reserved for guests and empty.
    const REGION_BYTES_MAX: u64 = 64 << 20;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut all = vec![];
    for line in
        maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw")))
    {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
        let mut region = vec![0; usize::try_from((to - from).min(REGION_BYTES_MAX)).ok()?];
        if let Ok(count) = memory.read_at(&mut region, from) {
            region.truncate(count);
            all.push(String::from_utf8_lossy(&region).into_owned());
        }
    }
    Some(all.join("\n"))
}

#[tokio::test]
async fn m292_a_runner_that_is_killed_leaves_all_that_was_acknowledged_and_the_next_prompt_gets_another() {
    let scene = scene().await;
    let id = ready(&scene.acme, "process", json!({})).await;
    let first = the_runner();
    let instance = shown(&scene.acme, &id).await["instance"]["id"].clone();
    turn(&scene.acme, &id, said("one")).await;
    scene.upstream.script(vec![Step::text("Half an ans"), Step::Stall]);
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    prompt(&scene.acme, &id, said("two")).await;
    let mut told = watch.until(|event| event["part"]["text"] == "Half an ans").await;
    signal(first, libc::SIGKILL);
    told.extend(watch.turn().await);
    let ended = told.last().unwrap();
    assert_eq!(
        (&ended["state"], &ended["reason"]["code"]),
        (&json!("failed"), &json!("runner_lost")),
        "{ended}"
    );
    scene.upstream.wait_until(|received| received.last().is_some_and(|last| last.hung_up)).await;
    let kept = messages(&scene.acme, &id).await;
    let texts: Vec<_> = kept.iter().map(|message| message["parts"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["one", "one", "two", "Half an ans"]);

    let told = turn(&scene.acme, &id, said("three")).await;
    assert_eq!(streamed_text(&told), "three");
    let failed = "select state || ' ' || reason from session_instances where state = 'error'";
    let failed = scene.app.sql(failed).await;
    // Whoever is the first to notice says so: whoever watches it, or the turn that needs another.
    let said = ["is gone", "host_lost"].iter().any(|text| failed.iter().any(|row| row.contains(text)));
    assert!(failed.len() == 1 && said, "{failed:?}");
    assert_ne!(the_runner(), first);
    let again = shown(&scene.acme, &id).await["instance"].clone();
    assert_eq!((&again["state"], again["id"] == instance), (&json!("running"), false));
    assert_eq!(scene.app.running.app.in_flight.total(), 0);
}

#[tokio::test]
async fn m292_a_runner_that_dies_at_rest_is_told_in_the_log_and_a_prompt_wakes_the_session() {
    let scene = scene().await;
    let id = ready(&scene.acme, "process", json!({})).await;
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    signal(the_runner(), libc::SIGKILL);
    let told = watch.until(|event| event["type"] == "session.status").await.pop().unwrap();
    assert_eq!((&told["from"], &told["to"]), (&json!("idle"), &json!("error")));
    assert!(told["reason"].as_str().unwrap().contains("its process ended"), "{told}");
    assert_eq!(shown(&scene.acme, &id).await["instance"]["state"], "error");
    let told = turn(&scene.acme, &id, said("hello")).await;
    assert_eq!(streamed_text(&told), "hello");
}

#[tokio::test]
async fn m292_a_runner_that_misses_three_beats_is_lost_and_ended() {
    let scene = scene().await;
    let id = ready(&scene.acme, "process", json!({})).await;
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    let pid = the_runner();
    // Alive for longer than it may be silent.
    tokio::time::sleep(process::BEAT_EVERY * process::BEATS_MISSED_MAX + Duration::from_secs(1)).await;
    assert_eq!(shown(&scene.acme, &id).await["status"], "idle");
    signal(pid, libc::SIGSTOP);
    let stopped = tokio::time::Instant::now();
    let told = watch.until(|event| event["type"] == "session.status").await.pop().unwrap();
    assert_eq!(told["to"], "error");
    assert!(told["reason"].as_str().unwrap().contains("3 beats"), "{told}");
    assert!(stopped.elapsed() > process::BEAT_EVERY * 2, "{:?}", stopped.elapsed());
    until("what stands still is ended", || runners().is_empty()).await;
    let told = turn(&scene.acme, &id, said("hello")).await;
    assert_eq!(streamed_text(&told), "hello");
}

#[tokio::test]
async fn m324_a_runner_ends_with_what_it_was_for() {
    let scene = scene().await;
    let mut ids = vec![];
    for _ in 0..3 {
        ids.push(ready(&scene.acme, "process", json!({})).await);
    }
    assert_eq!((runners().len(), scene.app.running.app.runners.count()), (3, 3), "one for each");
    assert_eq!(scene.acme.post(&at(&ids[0], "stop"), &json!({})).await.status, 200);
    until("it ends with its session's stop", || runners().len() == 2).await;
    assert_eq!(scene.acme.delete(&format!("/v1/sessions/{}", ids[1])).await.status, 204);
    until("it ends with its session", || runners().len() == 1).await;
    // Ended behind the host's back, as another host would: the next beat is refused.
    let ended = "update session_instances set state = 'terminated' where state = 'running' returning state";
    assert_eq!(scene.app.sql(ended).await.len(), 1);
    until("it ends with its instance", || runners().is_empty()).await;
    assert_eq!(scene.app.running.app.runners.count(), 0);
}

#[tokio::test]
async fn m324_an_app_has_so_many_runners_and_one_that_goes_makes_room() {
    let mut scene = scene().await;
    scene.app = scene.app.restart_with(|config| config.session_runners_per_app = 2).await;
    let acme = scene.app.client(Some(scene.acme.token()));
    let new = async |client: &Client| {
        create(client, json!({ "target": "process", "model": "demo/assistant" })).await
    };
    let (first, second) = (new(&acme).await, new(&acme).await);
    expect_status(&acme, &first, "idle").await;
    expect_status(&acme, &second, "idle").await;
    let third = new(&acme).await;
    let told = Watch::open(&acme, &third, Some(0)).await.until(|event| event["to"] == "error").await;
    let reason = told.last().unwrap()["reason"].as_str().unwrap();
    assert!(reason.contains("2 sessions of this app") && reason.contains("stop or delete one"), "{reason}");
    assert_eq!(told[1]["state"], "failed", "{told:#?}");
    // A prompt is taken, and its turn says the same.
    let told = turn(&acme, &third, said("hello")).await;
    let ended = told.last().unwrap();
    assert_eq!((&ended["state"], ended["reason"]["message"].as_str()), (&json!("failed"), Some(reason)));
    assert_eq!(runners().len(), 2);
    // In this host's sandbox there is room, and another app has its own.
    let here = create(&acme, json!({ "target": "wasm", "model": "demo/assistant" })).await;
    assert_eq!(turn(&acme, &here, said("hello")).await.last().unwrap()["state"], "done");
    let other = scene.app.tenant("other").await;
    let theirs = new(&other).await;
    expect_status(&other, &theirs, "idle").await;
    // Those that run go on; one that is stopped makes room.
    assert_eq!(turn(&acme, &first, said("hello")).await.last().unwrap()["state"], "done");
    assert_eq!(acme.post(&at(&second, "stop"), &json!({})).await.status, 200);
    let told = turn(&acme, &third, said("hello again")).await;
    assert_eq!(told.last().unwrap()["state"], "done", "{told:#?}");
}

#[tokio::test]
async fn m324_a_session_that_another_host_has_gets_a_runner_there() {
    let scene = scene().await;
    let other = scene.app.another_host().await;
    let id = ready(&scene.acme, "process", json!({})).await;
    let first = the_runner();
    let elsewhere = scene.acme.elsewhere(&other.base_url());
    let told = turn(&elsewhere, &id, said("over here")).await;
    assert_eq!(streamed_text(&told), "over here");
    let instance = shown(&elsewhere, &id).await["instance"]["id"].clone();
    assert_eq!(steps(&told, "process", &instance), all_steps("process"), "it is made ready as the first was");
    until("the one there was is ended", || !runners().contains(&first)).await;
    let living = "select count(*)::text from session_instances where state in ('provisioning', 'running')";
    assert_eq!(scene.app.sql(living).await, ["1"]);
}

#[tokio::test]
async fn m325_runners_die_with_their_host_and_their_sessions_go_on_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let targets = [("SESSION_TARGETS", "wasm,process")];
    let opg = OpgProcess::start_with(dir.path(), &targets).await;
    let acme = opg.tenant("acme").await;
    let id = ready(&acme, "process", json!({ "model": "demo/assistant" })).await;
    let before = messages(&acme, &id).await.len();
    turn(&acme, &id, said("hello")).await;
    let (host, all) = (opg.pid(), runners_of(opg.pid()));
    assert_eq!(all.len(), 1);
    opg.kill_9().await;
    let gone = || all.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true));
    until("a runner outlives its host", gone).await;
    assert_eq!(runners_of(host), BTreeSet::new());

    let opg = OpgProcess::start_with(dir.path(), &targets).await;
    let acme = opg.client(Some(acme.token()));
    assert_eq!(shown(&acme, &id).await["instance"]["reason"], "host_lost");
    assert_eq!(messages(&acme, &id).await.len(), before + 2);
    turn(&acme, &id, said("hello again")).await;
    assert_eq!(shown(&acme, &id).await["instance"]["state"], "running");
    assert_eq!(runners_of(opg.pid()).len(), 1);
    assert_eq!(opg.stop().await, Some(0));
}

#[tokio::test]
async fn m292_a_runner_whose_host_died_is_found_by_another_host_and_its_session_says_so() {
    let scene = scene().await;
    let dir = tempfile::tempdir().unwrap();
    let targets = [("SESSION_TARGETS", "wasm,process")];
    let Some(other) = scene.app.another_process(dir.path(), &targets).await else { return };
    let there = scene.acme.elsewhere(other.base_url());
    let of_other = ready(&there, "process", json!({ "model": "demo/assistant" })).await;
    let ours = ready(&scene.acme, "process", json!({ "model": "demo/assistant" })).await;
    assert_eq!((runners_of(other.pid()).len(), runners().len()), (1, 1));
    turn(&there, &of_other, said("one")).await;
    let mut watch = Watch::open(&scene.acme, &of_other, None).await;
    other.kill_9().await;
    assert_eq!(shown(&scene.acme, &of_other).await["instance"]["state"], "running", "nobody knows yet");
    // A minute is long for a test: as if nothing had been heard of any for two.
    let long_ago = "update session_instances set beat_at = beat_at - interval '2 minutes'
                    where state = 'running' returning state";
    assert_eq!(scene.app.sql(long_ago).await.len(), 2);
    let told = watch.until(|event| event["type"] == "session.status").await.pop().unwrap();
    assert_eq!((&told["from"], &told["to"]), (&json!("idle"), &json!("error")));
    assert!(told["reason"].as_str().unwrap().contains("its host died"), "{told}");
    let instance = shown(&scene.acme, &of_other).await["instance"].clone();
    assert_eq!((&instance["state"], &instance["reason"]), (&json!("error"), &told["reason"]));
    // What this host has is there, and it says so again.
    assert_eq!(shown(&scene.acme, &ours).await["instance"]["state"], "running");
    let beating = "select count(*)::text from session_instances
                   where state = 'running' and beat_at > now() - interval '1 minute'";
    assert_eq!(scene.app.sql(beating).await, ["1"]);
    let told = turn(&scene.acme, &ours, said("still here")).await;
    assert_eq!(of_kind(&told, "session.step").len(), 0, "in the runner it has");
    let told = turn(&scene.acme, &of_other, said("two")).await;
    assert_eq!(told.last().unwrap()["state"], "done", "{told:#?}");
    assert_eq!(messages(&scene.acme, &of_other).await.len(), 4);
}

// --- registering ------------------------------------------------------------

/// A session whose instance waits for a process to register with this token.
async fn expecting(scene: &Scene, token: &str, life_s: i32) -> String {
    let id = ready(&scene.acme, "wasm", json!({})).await;
    expect(&scene.app, &id, token, life_s).await;
    id
}

pub(crate) async fn expect(app: &TestApp, session: &str, token: &str, life_s: i32) {
    let changed = sqlx::query(
        "update session_instances set driver = 'process', state = 'provisioning', registration_hash = $2,
           registration_until = now() + make_interval(secs => $3) where session_id = $1::uuid",
    )
    .bind(session)
    .bind(app.running.app.pepper.hash(token))
    .bind(f64::from(life_s))
    .execute(&mut app.owner().await)
    .await
    .unwrap();
    assert_eq!(changed.rows_affected(), 1);
}

/// A runner that has registered, without a process: for a session of this tenant's.
pub(crate) async fn registered(app: &TestApp, acme: &Client) -> Client {
    let id = create(acme, json!({ "target": "wasm" })).await;
    expect_status(acme, &id, "idle").await;
    let token = format!("opg_reg_{}", "r".repeat(43));
    expect(app, &id, &token, 60).await;
    let given = register(&app.anonymous(), &id, &token, &SecretKey::make().1).await;
    assert_eq!(given.status, 200, "{}", given.text());
    app.client(given.json()["instance_token"].as_str())
}

async fn register(client: &Client, session: &str, token: &str, key: &str) -> Answer {
    let body = json!({ "session_id": session, "registration_token": token, "public_key": key });
    client.post("/internal/register", &body).await
}

/// What the audit log says of registrations.
async fn audited(app: &TestApp) -> Vec<String> {
    let rows = "select result || ' ' || coalesce(detail ->> 'refused', '') from audit_events
                where action = 'instances.register' order by audit_id";
    app.sql(rows).await
}

#[tokio::test]
async fn m291_m339_a_registration_token_is_good_once_for_its_session_and_not_for_long() {
    let scene = scene().await;
    let anybody = scene.app.anonymous();
    let (key, public_key) = SecretKey::make();
    let token = format!("opg_reg_{}", "a".repeat(43));
    let id = expecting(&scene, &token, 60).await;
    let other = ready(&scene.acme, "wasm", json!({})).await;

    for bad in [STANDARD.encode([7; 31]), STANDARD.encode([7; 33]), String::new(), "no base64!".to_owned()] {
        let refused = register(&anybody, &id, &token, &bad).await;
        assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/public_key")));
    }
    assert_eq!(register(&anybody, &id, &token, &STANDARD.encode([0; 32])).await.status, 422, "no key at all");
    assert_eq!(audited(&scene.app).await, Vec::<String>::new(), "a bad key uses nothing up");
    for (session, token) in
        [(&other, token.as_str()), (&id, "opg_reg_nothing"), (&id, scene.acme.token()), (&id, "")]
    {
        let refused = register(&anybody, session, token, &public_key).await;
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("invalid_credential")));
    }
    assert_eq!(audited(&scene.app).await, ["failed it is another session's"]);

    let registered = register(&anybody, &id, &token, &public_key).await;
    assert_eq!(registered.status, 200, "{}", registered.text());
    let given = registered.json();
    assert!(given["instance_token"].as_str().unwrap().starts_with("opg_run_"));
    assert_eq!(given["config"]["heartbeat_ms"], 5000);
    // What was sealed opens with the key alone that was made for it, and holds no key of a provider.
    let sealed = given["sealed_keys"].as_array().unwrap();
    assert_eq!((sealed.len(), &sealed[0]["name"]), (1, &json!("channel")));
    let (session, sealed) = (id.parse().unwrap(), sealed[0]["sealed"].as_str().unwrap());
    assert_eq!(key.open(session, "channel", sealed).unwrap().len(), 32);
    assert!(SecretKey::make().0.open(session, "channel", sealed).is_err());

    assert_eq!(register(&anybody, &id, &token, &public_key).await.status, 401, "it was good once");
    let late = format!("opg_reg_{}", "b".repeat(43));
    let id = expecting(&scene, &late, -1).await;
    assert_eq!(register(&anybody, &id, &late, &public_key).await.status, 401);
    assert_eq!(
        audited(&scene.app).await,
        ["failed it is another session's", "ok ", "failed it was used before", "failed its time is over"]
    );
}

#[tokio::test]
async fn m292_what_a_runner_reports_has_numbers_without_a_gap_and_is_taken_once() {
    let scene = scene().await;
    let token = format!("opg_reg_{}", "c".repeat(43));
    let id = expecting(&scene, &token, 60).await;
    let given = register(&scene.app.anonymous(), &id, &token, &SecretKey::make().1).await.json();
    let runner = scene.app.client(given["instance_token"].as_str());
    assert_eq!(runner.post("/internal/heartbeat", &json!({})).await.status, 204);
    let event = |seq: u64| json!({ "seq": seq, "run": 0, "event": r#"{"type":"text","text":"x"}"# });
    let report = async |seqs: &[u64]| {
        let events: Vec<_> = seqs.iter().map(|seq| event(*seq)).collect();
        runner.post("/internal/events", &json!({ "events": events })).await
    };
    let taken = report(&[1, 2]).await;
    assert_eq!((taken.status, &taken.json()["next_seq"]), (200, &json!(3)), "{}", taken.text());
    // Nothing runs: each is answered as an agent would be that nobody hears.
    assert_eq!(taken.json()["results"][1]["code"], "unavailable");
    let again = report(&[2, 3]).await;
    assert_eq!((&again.json()["next_seq"], &again.json()["results"][0]), (&json!(4), &Value::Null));
    let gap = report(&[6]).await;
    assert_eq!(
        (gap.status, &gap.json()["code"], &gap.json()["resend_from"]),
        (409, &json!("sequence_gap"), &json!(4))
    );
    let half = report(&[4, 6]).await;
    assert_eq!((half.status, &half.json()["resend_from"]), (409, &json!(5)));
    let outcome = json!({ "run": 0, "json": { "finish_reason": "stop", "messages": "[]" } });
    assert_eq!(runner.post("/internal/session-json", &outcome).await.status, 404, "nothing runs");
    // It opens nothing else, and ends with its instance.
    for path in ["/v1/sessions", "/v1/whoami", "/platform/v1/whoami", "/v1/tenant/tools"] {
        assert_eq!(runner.get(path).await.status, 401, "{path}");
    }
    assert_eq!(scene.acme.post(&at(&id, "stop"), &json!({})).await.status, 200);
    for path in ["heartbeat", "events", "session-json"] {
        assert_eq!(runner.post(&format!("/internal/{path}"), &json!({})).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn m292_who_registers_and_is_silent_is_lost() {
    let scene = scene().await;
    let token = format!("opg_reg_{}", "d".repeat(43));
    let id = expecting(&scene, &token, 60).await;
    let given = register(&scene.app.anonymous(), &id, &token, &SecretKey::make().1).await.json();
    let mut watch = Watch::open(&scene.acme, &id, None).await;
    let told = watch.until(|event| event["type"] == "session.status").await;
    assert_eq!(of_kind(&told, "session.status")[0]["to"], "error");
    let runner = scene.app.client(given["instance_token"].as_str());
    assert_eq!(runner.post("/internal/heartbeat", &json!({})).await.status, 401);
}
