//! What is loaded, compiled, and kept.

use super::*;

#[tokio::test]
async fn what_is_not_a_plugin_is_refused_with_what_to_do() {
    let bench = Bench::new();
    let half = &guests::COUNTER[..guests::COUNTER.len() / 2];
    let refusals: [(&str, &[u8], &str); 6] = [
        ("a core module", b"\0asm\x01\0\0\0", "build a component: cargo build --target wasm32-wasip2"),
        ("a socket", guests::SOCKET, "send requests with `opg:host/http`"),
        ("a program", guests::NOT_A_PLUGIN, "`#[tool]` or `#[agent]`"),
        ("half a file", half, "not valid"),
        ("machine code", b"\x7fELF\x02\x01\x01\0", "not WebAssembly"),
        ("nothing", b"", "not WebAssembly"),
    ];
    for (what, wasm, text) in refusals {
        let error = bench.sandbox.load(wasm.into()).await.unwrap_err().to_string();
        assert!(error.contains(text), "{what}: {error}");
    }
    let error = bench.sandbox.load(guests::SOCKET.into()).await.unwrap_err().to_string();
    assert!(error.contains("`wasi:sockets/"), "{error}");
    let large = bench.sandbox.load(vec![0; (32 << 20) + 1].into()).await.unwrap_err();
    assert!(matches!(large, LoadError::TooLarge { .. }));
    assert_eq!(bench.sandbox.stats().components_compiled, 0, "none of them came to the compiler");
}

#[tokio::test]
async fn everything_we_ship_loads_and_describes_itself() {
    let bench = Bench::new();
    for shipped in opg_predefined::PREDEFINED {
        let component = bench.load(shipped.wasm).await;
        match shipped.kind {
            opg_predefined::Kind::Tool => {
                let tools = bench.sandbox.describe_tool(&component).await.unwrap();
                assert!(!tools.is_empty(), "{}", shipped.name);
            }
            opg_predefined::Kind::Agent => {
                let agent = bench.sandbox.describe_agent(&component).await.unwrap();
                assert!(!agent.description.is_empty(), "{}", shipped.name);
            }
        }
    }
}

#[tokio::test]
async fn a_schema_that_is_no_object_is_refused() {
    let bench = Bench::new();
    let component = bench.load(guests::BAD_DESCRIBE).await;
    let error = bench.sandbox.describe_tool(&component).await.unwrap_err();
    assert!(matches!(&error, CallError::BadDescription(text) if text.contains("object")), "{error}");
}

#[tokio::test]
async fn one_component_is_compiled_once_however_many_ask() {
    let bench = Bench::new();
    let loads = (0..8).map(|_| bench.sandbox.load(guests::COUNTER.into()));
    for loaded in futures_util::future::join_all(loads).await {
        assert_eq!(loaded.unwrap().digest(), Sandbox::digest(guests::COUNTER));
    }
    let stats = bench.sandbox.stats();
    assert_eq!((stats.components_compiled, stats.components_ready), (1, 1));
    assert!(bench.sandbox.find(&Sandbox::digest(guests::COUNTER)).is_some());
    assert!(bench.sandbox.find(&Sandbox::digest(guests::SPIN)).is_none());
}

#[tokio::test]
async fn an_extism_plugin_is_compiled_once_and_found_again_like_any_component() {
    let dir = tempfile::tempdir().unwrap();
    for expected in [(1, 0), (0, 1)] {
        let sandbox = new_sandbox(dir.path(), 4);
        let plugin = sandbox.load(guests::EXTISM_KIT.into()).await.unwrap();
        assert!(plugin.is_extism() && plugin.kind() == PluginKind::Tool);
        let input = json!({"name": "Bern"}).to_string();
        let door = Arc::new(ClosedDoor);
        let called = sandbox.call_tool(&plugin, door, CallLimits::default(), "greet", input, context()).await;
        assert_eq!(output(&called), json!({"text": "Hello, Bern!", "letters": 4}));
        assert!(called.spent.cpu > Duration::ZERO && called.spent.memory_bytes_peak >= 1 << 20);
        let stats = sandbox.stats();
        assert_eq!((stats.components_compiled, stats.components_from_cache), expected);
    }
}

#[tokio::test]
async fn a_restart_finds_what_was_compiled_and_compiles_again_what_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let start = async || {
        let sandbox = new_sandbox(dir.path(), 4);
        let component = sandbox.load(guests::COUNTER.into()).await.unwrap();
        let called = sandbox
            .call_tool(
                &component,
                Arc::new(ClosedDoor),
                CallLimits::default(),
                "counter",
                "{}".into(),
                context(),
            )
            .await;
        assert_eq!(output(&called), json!(1));
        let stats = sandbox.stats();
        (stats.components_compiled, stats.components_from_cache)
    };
    assert_eq!(start().await, (1, 0));
    assert_eq!(start().await, (0, 1));

    let file = compiled_file(dir.path());
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(start().await, (1, 0), "a changed file is not loaded");
    assert_eq!(start().await, (0, 1), "it was replaced");
    std::fs::write(&file, b"").unwrap();
    assert_eq!(start().await, (1, 0));
}

/// A small Extism plugin, which gives back what it gets.
static PLUGIN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = r#"(module
        (import "extism:host/env" "input_length" (func $length (result i64)))
        (import "extism:host/env" "input_load_u8" (func $load (param i64) (result i32)))
        (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
        (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
        (import "extism:host/env" "output_set" (func $answer (param i64 i64)))
        (memory (export "memory") 1)
        (func (export "echo") (result i32) (local $to i64) (local $at i64)
            (local.set $to (call $alloc (call $length)))
            (loop $next
                (call $store (i64.add (local.get $to) (local.get $at)) (call $load (local.get $at)))
                (local.set $at (i64.add (local.get $at) (i64.const 1)))
                (br_if $next (i64.lt_u (local.get $at) (call $length))))
            (call $answer (local.get $to) (call $length))
            (i32.const 0)))"#;
    wat::parse_str(text).unwrap()
});

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn a_damaged_extism_plugin_is_refused_or_runs_within_its_limits(
        cut in prop::option::of(0..PLUGIN.len()),
        flips in prop::collection::vec((0..PLUGIN.len(), any::<u8>()), 0..3),
    ) {
        let mut wasm = PLUGIN.clone();
        for (at, with) in flips {
            wasm[at] ^= with;
        }
        wasm.truncate(cut.unwrap_or(wasm.len()));
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let bench = Bench::new();
            if let Ok(plugin) = bench.sandbox.load(wasm.into()).await {
                let limits = CallLimits { wall: Duration::from_secs(1), ..CallLimits::default() };
                let called = bench.call_with(&plugin, Arc::new(ClosedDoor), limits, "echo", json!({})).await;
                assert!(!matches!(called.result, Err(CallError::Engine(_))), "{called:?}");
            }
        });
    }

    #[test]
    fn a_damaged_component_is_refused_or_runs_within_its_limits(
        cut in prop::option::of(0..guests::COUNTER.len()),
        flips in prop::collection::vec((0..guests::COUNTER.len(), any::<u8>()), 0..4),
    ) {
        let mut wasm = guests::COUNTER.to_vec();
        for (at, with) in flips {
            wasm[at] ^= with;
        }
        wasm.truncate(cut.unwrap_or(wasm.len()));
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let bench = Bench::new();
            if let Ok(component) = bench.sandbox.load(wasm.into()).await
                && component.kind() == PluginKind::Tool
            {
                let limits = CallLimits { wall: Duration::from_secs(1), ..CallLimits::default() };
                let called = bench.call_with(&component, Arc::new(ClosedDoor), limits, "counter", json!({})).await;
                assert!(!matches!(called.result, Err(CallError::Engine(_))), "{called:?}");
            }
        });
    }
}
