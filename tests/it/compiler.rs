//! Compiling is hostile input too: the child that does it, what it may use, and
//! what becomes of compiled code when the engine changes.

use opg_host::sandbox::{LoadError, Sandbox, SandboxConfig, compiler::CompilerConfig};
use opg_tests::{
    app::{Setup, TestApp},
    guests,
    process::{OpgProcess, binary},
    wait::until,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

const WASM: &str = "application/wasm";
/// How long something may take that takes no time on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn m357_a_compile_bomb_is_killed_at_its_budget_while_the_neighbour_uploads_and_calls() {
    let compiler = CompilerConfig { cpu_max: Duration::from_secs(4), ..CompilerConfig::with(binary()) };
    let app = TestApp::set_up(Setup { compiler, ..Setup::default() }, |_| {}).await;
    let (mallory, acme) = (app.tenant("mallory").await, app.tenant("acme").await);
    acme.install_tool("steady", guests::WORD_COUNT).await;

    let bomb = tokio::spawn({
        let mallory = mallory.clone();
        // It passes every count; two of these functions take longer than the budget.
        async move { mallory.put_bytes("/v1/tenant/tools/bomb", WASM, bomb(13)).await }
    });
    until("the bomb is being compiled", async || !compilations().is_empty()).await;

    let fresh = acme.put_bytes("/v1/tenant/tools/fresh", WASM, never_compiled(guests::WORD_COUNT)).await;
    assert_eq!(fresh.status, 201, "{}", fresh.text());
    for _ in 0..20 {
        let called = acme.invoke("steady", json!({ "text": "a b" })).await;
        assert_eq!(called.json()["output"]["words"], 2, "{}", called.text());
    }
    assert!(!bomb.is_finished(), "the neighbour had its upload and its calls while the bomb was compiled");

    let refused = bomb.await.unwrap();
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(refused.json()["code"], "bad_component");
    assert!(refused.text().contains("takes too long to compile"), "{}", refused.text());
    assert_eq!(compilations(), BTreeMap::new(), "nothing of it goes on");
    let left = mallory.get("/v1/tenant/tools/bomb").await;
    assert_eq!(left.status, 404, "{}", left.text());
    // The one who sent it has lost nothing but time.
    mallory.install_tool("steady", guests::WORD_COUNT).await;
}

#[tokio::test]
async fn m357_155_kib_that_would_take_half_an_hour_are_refused_before_they_are_compiled() {
    let app = TestApp::start().await;
    let mallory = app.tenant("mallory").await;
    let bomb = bomb(30);
    assert!(bomb.len() > 155 << 10, "{}", bomb.len());
    let compiled = app.running.app.sandbox.stats().components_compiled;
    let refused = mallory.put_bytes("/v1/tenant/tools/bomb", WASM, bomb).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("units of weight"), "{}", refused.text());
    assert_eq!(app.running.app.sandbox.stats().components_compiled, compiled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_takes_too_much_memory_to_compile_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = |memory_bytes_max| {
        let compiler = CompilerConfig { memory_bytes_max, ..CompilerConfig::with(binary()) };
        sandbox(dir.path(), compiler)
    };
    let refused = sandbox(12 << 20).load(guests::WORD_COUNT.into()).await.unwrap_err();
    assert_eq!(refused, LoadError::CompileOutOfMemory);
    sandbox(512 << 20).load(guests::WORD_COUNT.into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compilation_ends_with_whoever_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path(), CompilerConfig::with(binary()));
    let loading = tokio::spawn(async move { sandbox.load(bomb(13).into()).await });
    until("it is being compiled", async || !compilations().is_empty()).await;
    loading.abort();
    until("the child is gone", async || compilations().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_compiler_a_host_says_so_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = sandbox(dir.path(), CompilerConfig::with("/nonexistent/opg"));
    let failed = sandbox.load(guests::WORD_COUNT.into()).await.unwrap_err();
    assert!(matches!(&failed, LoadError::Engine(text) if text.contains("does not start")), "{failed}");
}

#[test]
fn the_compilers_child_can_compute_and_nothing_else() {
    // A reader of TypeScript has a thread with a stack of its own, which is memory, and one for its clock.
    for (job, threads, memory_bytes) in [("component", "1", 1_u64 << 30), ("typescript", "3", 2 << 30)] {
        let mut child = Command::new(binary())
            .args(["compile-worker", job, "30,1073741824"])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let began = Instant::now();
        // It shuts itself in before it reads: that nothing was sent yet does not matter.
        let status = loop {
            let status = facts(child.id(), "status");
            if status.get("Seccomp").is_some_and(|mode| mode == "2") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "{job} never shuts itself in: {status:?}");
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status["NoNewPrivs"], "1");
        assert_eq!(status["Threads"], threads);
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        for (limit, value) in [
            ("Max cpu time", "30"),
            ("Max data size", &memory_bytes.to_string()),
            ("Max core file size", "0"),
            ("Max file size", "0"),
        ] {
            let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
            assert_eq!(line[limit.len()..].split_whitespace().next(), Some(value), "{line}");
        }
        // No shared code, and no component; and no file of TypeScript.
        child.stdin.take().unwrap().write_all(&0_u64.to_le_bytes()).unwrap();
        let said = child.wait_with_output().unwrap();
        assert_eq!(said.status.success(), job == "component", "{said:?}");
        assert_eq!(said.stdout.first(), (job == "component").then_some(&1), "nothing is made of nothing");
    }
}

#[test]
fn a_child_that_is_asked_for_something_else_does_nothing() {
    for args in [&["component"][..], &["component", "no"], &["paint", "1,1"], &["component", "1,1", "x"]] {
        let said = Command::new(binary()).arg("compile-worker").args(args).output().unwrap();
        assert_eq!(said.status.code(), Some(2), "{args:?}");
        assert!(said.stdout.is_empty());
        assert!(String::from_utf8_lossy(&said.stderr).contains("for OPG itself"), "{said:?}");
    }
}

#[tokio::test]
async fn the_server_can_gain_no_privileges_and_leaves_no_core() {
    let dir = tempfile::tempdir().unwrap();
    let opg = OpgProcess::start(dir.path()).await;
    assert_eq!(facts(opg.pid(), "status")["NoNewPrivs"], "1");
    let limits = fs::read_to_string(format!("/proc/{}/limits", opg.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert_eq!(opg.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_the_engine_what_was_compiled_is_compiled_anew_in_the_background() {
    let app = TestApp::with(|config| config.cache_dir = config.data_dir.join("cache")).await;
    let acme = app.tenant("acme").await;
    let wasm = never_compiled(guests::WORD_COUNT);
    let uploaded = acme.put_bytes("/v1/tenant/tools/fresh", WASM, wasm.clone()).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());

    // As an older engine would have left it: code that this one does not take, and one that is gone.
    let cache = app.data_dir().join("cache");
    let engine = fs::read_dir(&cache).unwrap().map(|e| e.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let older = cache.join("0123456789abcdef");
    fs::rename(&engine, &older).unwrap();
    fs::write(older.join(format!("{}.cwasm", "0".repeat(64))), "of a plugin that was deleted").unwrap();

    let app = app.restart().await;
    let acme = acme.elsewhere(&app.base_url());
    until("all is compiled anew", async || !older.exists()).await;
    let sandbox = &app.running.app.sandbox;
    assert!(sandbox.find(&Sandbox::digest(&wasm)).is_some(), "it is ready before anybody calls it");
    let compiled = sandbox.stats().components_compiled;
    let called = acme.invoke("fresh", json!({ "text": "a b" })).await;
    assert_eq!(called.json()["output"]["words"], 2, "{}", called.text());
    assert_eq!(sandbox.stats().components_compiled, compiled);
}

// --- what is uploaded ------------------------------------------------------

/// The same component with other bytes: a custom section that nobody has had before.
fn never_compiled(wasm: &[u8]) -> Vec<u8> {
    let unique = tempfile::Builder::new().rand_bytes(16).tempdir().unwrap();
    let name = unique.path().file_name().unwrap().as_encoded_bytes().to_vec();
    let content = [vec![u8::try_from(name.len()).unwrap()], name].concat();
    with_section(wasm.to_vec(), 0, &content)
}

/// A tool with one core module more, that nobody instantiates: `functions` of 5 KiB, each 120 loops in each other
/// with 500 locals that change in the innermost. One takes 10 to 40 seconds.
fn bomb(functions: usize) -> Vec<u8> {
    const DEPTH: usize = 120;
    const LOCALS: usize = 500;
    let mut body = [vec![1], leb128(LOCALS), vec![0x7f]].concat();
    body.extend([0x03, 0x40].repeat(DEPTH));
    for local in 0..LOCALS {
        body.extend([vec![0x20], leb128(local), vec![0x41, 1, 0x6a, 0x21], leb128(local)].concat());
    }
    body.extend([0x20, 0, 0x0d, 0, 0x0b].repeat(DEPTH));
    body.push(0x0b);
    let body = [leb128(body.len()), body].concat();

    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module = with_section(module, 1, &[1, 0x60, 0, 0]);
    module = with_section(module, 3, &[leb128(functions), vec![0; functions]].concat());
    module = with_section(module, 10, &[leb128(functions), body.repeat(functions)].concat());
    with_section(guests::WORD_COUNT.to_vec(), 1, &module)
}

fn with_section(mut wasm: Vec<u8>, id: u8, content: &[u8]) -> Vec<u8> {
    wasm.push(id);
    wasm.extend(leb128(content.len()));
    wasm.extend(content);
    wasm
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

// --- what is looked at -----------------------------------------------------

fn sandbox(dir: &Path, compiler: CompilerConfig) -> Sandbox {
    let host = Handle::current();
    let config = SandboxConfig {
        cache_dir: dir.to_owned(),
        compiler,
        worker_threads: 1,
        calls_in_flight_max: 1,
        host,
    };
    Sandbox::new(config).unwrap()
}

/// `name: value` of a process, as the kernel tells it; empty where it has ended.
fn facts(pid: u32, file: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let fact =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    text.lines().filter_map(fact).collect()
}

/// The compilers that this process has started and that still run, by process id. A test has a process to itself.
fn compilations() -> BTreeMap<u32, String> {
    let ours = std::process::id().to_string();
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let of_ours = |pid: &u32| {
        let status = facts(*pid, "status");
        let runs = status.get("State").is_some_and(|state| !state.starts_with('Z'));
        runs && status.get("PPid") == Some(&ours)
    };
    let command = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).ok().map(|line| (pid, line));
    pids.filter(of_ours).filter_map(command).filter(|(_, line)| line.contains("compile-worker")).collect()
}
