//! An OPG with an attacker and a neighbour, and what must still hold afterwards.

use super::Attack;
use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
    hostile::Guest,
    site::Site,
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a tool may take where one attack runs at a time: long enough to be measured against, short enough to be
/// waited for.
pub(super) const ALONE: Duration = Duration::from_millis(600);

/// How late a stopped call may answer on a machine that does other things as well, besides twice the time it had.
const LATE_MAX: Duration = Duration::from_secs(2);

/// What happens by itself has happened by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// A call that began is written down by then, on a machine that has some time for it.
const WRITTEN_BY: Duration = Duration::from_secs(2);

/// How often control and attack take turns in one measurement, and the neighbour's calls in each.
const TURNS: usize = 4;
const CALLS_PER_TURN: usize = 5;
/// After this an attack has begun.
const LOAD_BEGINS: Duration = Duration::from_millis(15);

/// Memory that may be kept when all is over, in bytes: slots of the pool keep 4 MiB each.
const KEPT_BYTES_MAX: u64 = 64 << 20;
/// Threads, open files and tasks that may be kept: connections of clients and of pools, threads that wait for work.
const KEPT_HANDLES_MAX: usize = 24;

/// A running OPG with a site to reach and a neighbour who wants nothing but to work.
pub(super) struct Arena {
    pub(super) app: TestApp,
    pub(super) site: Site,
    pub(super) neighbour: Client,
    /// A tenant who may leave something for the attacker to find. Not the neighbour, who does nothing but its own calls.
    pub(super) other: Client,
    tool_time: Duration,
}

/// The attacker: a tenant of its own for each guest.
#[derive(Clone)]
pub(super) struct Mallory {
    pub(super) arena: Arc<Arena>,
    pub(super) guest: Guest,
    pub(super) client: Client,
}

impl Arena {
    /// `local` where guests may reach this machine, for attacks that need a site to answer. A tool may take
    /// `tool_time`, and so may a turn.
    pub(super) async fn start(local: bool, tool_time: Duration) -> Arc<Arena> {
        let app = TestApp::with(|config| {
            config.tool_time_limit = tool_time;
            config.agent_time_limit = tool_time;
            if local {
                TestApp::allow_local(config);
            }
        })
        .await;
        let neighbour = app.tenant("neighbour").await;
        neighbour.install_tool("word-count", guests::WORD_COUNT).await;
        let other = app.tenant("other").await;
        Arc::new(Arena { app, site: Site::start().await, neighbour, other, tool_time })
    }

    /// A tenant who does nothing wrong, and does it all the time.
    pub(super) async fn busy_tenant(self: &Arc<Arena>) -> Mallory {
        let busy = Mallory {
            arena: self.clone(),
            guest: opg_tests::hostile::SPIN,
            client: self.app.tenant("busy").await,
        };
        busy.install_as("tools", "word-count", guests::WORD_COUNT.to_vec()).await;
        busy
    }

    pub(super) async fn mallory(self: &Arc<Arena>, guest: Guest) -> Mallory {
        let client = self.app.tenant(&format!("m-{}", guest.name)).await;
        Mallory { arena: self.clone(), guest, client }
    }

    /// One call of the neighbour, which must succeed, and how long it took.
    pub(super) async fn neighbours_call(&self) -> Duration {
        let before = Instant::now();
        let answer = self.neighbour.invoke("word-count", json!({ "text": "a b a" })).await;
        assert_eq!(answer.status, 200, "the neighbour is served: {}", answer.text());
        before.elapsed()
    }

    async fn neighbours_calls(&self, count: usize) -> Vec<Duration> {
        let mut calls = vec![];
        for _ in 0..count {
            calls.push(self.neighbours_call().await);
        }
        calls
    }
}

impl Mallory {
    pub(super) fn path(&self) -> String {
        format!("/v1/tenant/tools/{}", self.guest.name)
    }

    pub(super) async fn upload(&self, wasm: Vec<u8>) -> Answer {
        self.put(&self.path(), wasm).await
    }

    /// Who has used up their time of compiling is told when to come back, and does: in a run of many minutes that comes.
    async fn put(&self, path: &str, wasm: Vec<u8>) -> Answer {
        loop {
            let answer = self.client.put_bytes(path, "application/wasm", wasm.clone()).await;
            if answer.status != 429 || answer.json()["code"] != "compile_time_used" {
                return answer;
            }
            let seconds = answer.header("retry-after").parse().expect("it says when");
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// Installs the guest with all it asks for.
    pub(super) async fn install(&self) {
        self.install_as("tools", self.guest.name, self.guest.wasm()).await;
    }

    pub(super) async fn install_as(&self, kind: &str, name: &str, wasm: Vec<u8>) {
        let path = format!("/v1/tenant/{kind}/{name}");
        let uploaded = self.put(&path, wasm).await;
        assert!([200, 201].contains(&uploaded.status), "{name}: {}", uploaded.text());
        if uploaded.json()["status"] == "pending_review" {
            let reviewed = self.client.post(&format!("{path}/review"), &json!({ "grant": "all" })).await;
            assert_eq!(reviewed.status, 200, "{name}: {}", reviewed.text());
        }
    }

    /// An upload must fail with this code and these words, leave nothing, and be in the audit log.
    pub(super) async fn refused(&self, wasm: Vec<u8>, code: &str, says: &str) {
        let answer = self.upload(wasm).await;
        let text = answer.text();
        assert_eq!((answer.status, answer.json()["code"].as_str()), (422, Some(code)), "{text}");
        assert!(text.contains(says), "{says:?} is not in {text}");
        assert!(text.len() < 10_000, "a guest's own words are cut: {} bytes", text.len());
        let audited = self.audited("tools.write").await;
        assert_eq!((&audited["result"], &audited["detail"]["code"]), (&json!("failed"), &json!(code)));
        assert_eq!(self.client.get(&self.path()).await.status, 404, "nothing of it is kept");
    }

    pub(super) async fn invoke(&self, input: Value) -> Answer {
        self.client.invoke(self.guest.name, input).await
    }

    /// A call that must end with this code, in time, and be in the audit log as failed.
    pub(super) async fn stopped(&self, input: Value, code: &str) -> Answer {
        self.stopped_as(self.guest.name, input, code).await
    }

    pub(super) async fn stopped_as(&self, tool: &str, input: Value, code: &str) -> Answer {
        let before = Instant::now();
        let answer = self.client.invoke(tool, input.clone()).await;
        let text = answer.text();
        let status = if code == "tool_timeout" { 504 } else { 502 };
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (status, Some(code)),
            "{tool} {input}: {}",
            &text[..text.floor_char_boundary(2000)]
        );
        assert!(before.elapsed() < 3 * self.arena.tool_time + LATE_MAX, "{tool}: {:?}", before.elapsed());
        let audited = self.audited("tool.run").await;
        assert_eq!(audited["result"], "failed", "{tool}: {audited}");
        answer
    }

    /// A call that ends by itself. Beside all the others it may be its time that ends it: one that computed long stands
    /// back behind each of them.
    pub(super) async fn ended(&self, input: Value) {
        let answer = self.invoke(input).await;
        let (text, result) = (answer.text(), self.audited("tool.run").await["result"].clone());
        if self.arena.tool_time > ALONE && answer.json()["code"] == "tool_timeout" {
            assert_eq!((answer.status, result), (504, json!("failed")), "{text}");
        } else {
            assert_eq!((answer.status, result), (200, json!("ok")), "{text}");
        }
    }

    /// Goes away from a call before its answer comes, and waits until that is written down. Who goes before the call
    /// began leaves nothing to write down: then it is made again, with more time to begin.
    pub(super) async fn leave(&self, tool: &str, mut after: Duration) {
        let first = Instant::now();
        loop {
            let request = self.client.request("POST", &format!("/v1/tenant/tools/{tool}/invoke"));
            let answer = send(request.json(&json!({ "input": {} })));
            assert!(tokio::time::timeout(after, answer).await.is_err(), "it was still running");
            let left = Instant::now();
            while left.elapsed() < WRITTEN_BY {
                let newest = self.audited("tool.run").await;
                let target = newest["target"].as_str().unwrap_or_default();
                if target.starts_with(&format!("tool/{tool}")) {
                    assert_eq!(newest["detail"]["status"], "canceled", "{newest}");
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(first.elapsed() < PATIENCE, "{tool} runs on, or nobody wrote down that it ended");
            after *= 2;
        }
    }

    /// The newest audit row of an action.
    pub(super) async fn audited(&self, action: &str) -> Value {
        let rows = self.client.get(&format!("/v1/tenant/audit?action={action}&limit=1")).await.json();
        let row = rows["data"][0].clone();
        assert!(row.is_object(), "`{action}` is in the audit log: {rows}");
        row
    }
}

/// Runs an attack and sees what comes of it: its own assertions hold, the neighbour is served meanwhile, and all is as
/// before afterwards.
pub(super) async fn withstands(guest: Guest, attack: Attack) {
    let arena = Arena::start(super::attacks::needs_local(guest.name), ALONE).await;
    let mallory = arena.mallory(guest).await;
    // Once before it counts: what is compiled and connected for the first time is kept.
    attack(&mallory).await;
    arena.neighbours_call().await;
    let before = Baseline::of(&arena).await;
    let neighbour = async {
        for _ in 0..3 {
            arena.neighbours_call().await;
        }
    };
    tokio::join!(attack(&mallory), neighbour);
    before.is_back(&arena).await;
}

/// How many times as long a neighbour's calls take while the one goes on as while the other does, median to median. They
/// take turns, so that what else the machine does falls on both.
pub(super) async fn neighbours_factor(
    arena: &Arena,
    (attacker, attack): (&Mallory, Attack),
    control: Option<(&Mallory, Attack)>,
) -> f64 {
    let (mut with, mut without) = (vec![], vec![]);
    for _ in 0..TURNS {
        let busy = control.map(|(tenant, work)| again_and_again(tenant, work));
        without.extend(neighbours_calls_under(arena, busy).await);
        with.extend(neighbours_calls_under(arena, Some(again_and_again(attacker, attack))).await);
    }
    median(with).as_secs_f64() / median(without).as_secs_f64()
}

fn again_and_again(mallory: &Mallory, attack: Attack) -> AbortOnDrop {
    let mallory = mallory.clone();
    AbortOnDrop(tokio::spawn(async move {
        loop {
            attack(&mallory).await;
        }
    }))
}

async fn neighbours_calls_under(arena: &Arena, load: Option<AbortOnDrop>) -> Vec<Duration> {
    tokio::time::sleep(LOAD_BEGINS).await;
    let calls = arena.neighbours_calls(CALLS_PER_TURN).await;
    assert!(load.is_none_or(|load| !load.0.is_finished()), "it went otherwise than before");
    until_idle(arena).await;
    calls
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is held when nothing runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Baseline {
    pub(super) memory_bytes: u64,
    pub(super) threads: usize,
    pub(super) files: usize,
    pub(super) tasks: usize,
}

impl Baseline {
    pub(super) async fn of(arena: &Arena) -> Baseline {
        until_idle(arena).await;
        Baseline::now()
    }

    fn now() -> Baseline {
        let entries = |path: &str| std::fs::read_dir(path).map_or(0, Iterator::count);
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let resident: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        Baseline {
            memory_bytes: resident * 4096,
            threads: entries("/proc/self/task"),
            files: entries("/proc/self/fd"),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        }
    }

    /// Waits until all is as before.
    pub(super) async fn is_back(self, arena: &Arena) {
        until_idle(arena).await;
        eventually(&format!("all is as before: {self:?}"), || {
            let now = Baseline::now();
            now.memory_bytes <= self.memory_bytes + KEPT_BYTES_MAX
                && now.threads <= self.threads + KEPT_HANDLES_MAX
                && now.files <= self.files + KEPT_HANDLES_MAX
                && now.tasks <= self.tasks + KEPT_HANDLES_MAX
        })
        .await;
    }
}

/// Waits until no call runs, and no slot of the engine's pool is taken.
pub(super) async fn until_idle(arena: &Arena) {
    let app = &arena.app.running.app;
    eventually("no call is in flight", || {
        app.sandbox.stats().calls_in_flight == 0 && app.in_flight.total() == 0
    })
    .await;
    let pool = app.sandbox.engine().pooling_allocator_metrics().expect("instances come from a pool");
    eventually("no slot of the pool is taken", || {
        (pool.core_instances(), pool.component_instances(), pool.memories(), pool.tables(), pool.stacks())
            == (0, 0, 0, 0, 0)
    })
    .await;
}

async fn eventually(what: &str, happened: impl Fn() -> bool) {
    let before = Instant::now();
    while !happened() {
        assert!(before.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}; it is {:?}", Baseline::now());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
