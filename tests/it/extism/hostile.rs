//! Plugins, written as text, that mean no good.

use super::*;

/// Uploads such a plugin and calls its one tool.
async fn run(client: &Client, name: &str, body: &str) -> Answer {
    install(client, name, &plugin(body)).await;
    client.invoke(name, json!({})).await
}

#[tokio::test]
async fn a_plugin_that_does_not_end_is_stopped_wherever_it_is() {
    let app = TestApp::with(|config| config.tool_time_limit = Duration::from_millis(500)).await;
    let acme = app.tenant("acme").await;
    for (name, body) in [
        ("spin", r#"(func (export "a") (result i32) (loop (br 0)) (i32.const 0))"#),
        (
            "spin-in-start",
            r#"(func $s (loop (br 0))) (start $s) (func (export "a") (result i32) (i32.const 0))"#,
        ),
        (
            "spin-in-initialize",
            r#"(func (export "_initialize") (loop (br 0))) (func (export "a") (result i32) (i32.const 0))"#,
        ),
        (
            "spin-in-constructors",
            r#"(func (export "__wasm_call_ctors") (loop (br 0))) (func (export "a") (result i32) (i32.const 0))"#,
        ),
        (
            "sleep",
            // A clock, for 2^60 ns.
            r#"(func (export "a") (result i32)
                (i32.store (i32.const 16) (i32.const 1))
                (i64.store (i32.const 24) (i64.const 1152921504606846976))
                (call $poll_oneoff (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))"#,
        ),
    ] {
        let before = Instant::now();
        let ran = run(&acme, name, body).await;
        assert_eq!(ran.json()["code"], "tool_timeout", "{name}: {}", ran.text());
        assert!(before.elapsed() < Duration::from_secs(10), "{name} took {:?}", before.elapsed());
    }
}

#[tokio::test]
async fn a_plugin_that_takes_too_much_is_stopped_by_the_limits_of_all_guests() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    for (name, body, code) in [
        (
            "memory",
            r#"(func (export "a") (result i32)
                (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable))"#,
            "tool_oom",
        ),
        (
            "blocks",
            r#"(func (export "a") (result i32)
                (loop $more (br_if $more (i64.ne (call $alloc (i64.const 1048576)) (i64.const 0)))) (unreachable))"#,
            "tool_oom",
        ),
        (
            "small-blocks",
            r#"(func (export "a") (result i32)
                (loop $more (br_if $more (i64.ne (call $alloc (i64.const 1)) (i64.const 0)))) (unreachable))"#,
            "tool_oom",
        ),
        (
            "one-large-block",
            r#"(func (export "a") (result i32)
                (if (i64.eqz (call $alloc (i64.const -1))) (then unreachable)) (i32.const 0))"#,
            "tool_oom",
        ),
        (
            "output",
            r#"(func (export "a") (result i32)
                (call $output_set (call $alloc (i64.const 60000000)) (i64.const 60000000)) (i32.const 0))"#,
            "tool_output_too_large",
        ),
        (
            "argument",
            r#"(func (export "a") (result i32)
                (call $log_info (call $alloc (i64.const 9000000))) (i32.const 0))"#,
            "tool_output_too_large",
        ),
        (
            "asks-too-often",
            r#"(func (export "a") (result i32) (loop (drop (call $memory_bytes)) (br 0)) (i32.const 0))"#,
            "tool_trap",
        ),
        (
            "clock",
            r#"(func (export "a") (result i32)
                (loop (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 0))) (br 0)) (i32.const 0))"#,
            "tool_trap",
        ),
        (
            "variables",
            r#"(func (export "a") (result i32)
                (call $var_set (call $alloc (i64.const 1)) (call $alloc (i64.const 2000000))) (i32.const 0))"#,
            "tool_failed",
        ),
        ("recurse", r#"(func $a (export "a") (result i32) (i32.add (call $a) (i32.const 1)))"#, "tool_trap"),
        (
            "bad-handle",
            r#"(func (export "a") (result i32) (drop (call $config_get (i64.const 77))) (i32.const 0))"#,
            "tool_trap",
        ),
        (
            "bad-request",
            r#"(func (export "a") (result i32)
                (drop (call $http_request (call $alloc (i64.const 8)) (i64.const 0))) (i32.const 0))"#,
            "tool_trap",
        ),
        (
            "exit",
            r#"(func (export "a") (result i32) (call $proc_exit (i32.const 3)) (i32.const 0))"#,
            "tool_trap",
        ),
        ("status", r#"(func (export "a") (result i32) (i32.const 5))"#, "tool_failed"),
        (
            "large-error",
            r#"(func (export "a") (result i32)
                (call $error_set (call $alloc (i64.const 60000000))) (i32.const 1))"#,
            "tool_failed",
        ),
    ] {
        let before = Instant::now();
        let ran = run(&acme, name, body).await;
        assert_eq!(ran.json()["code"], code, "{name}: {}", ran.text());
        // 8 KiB, each byte of them escaped in JSON.
        assert!(ran.text().len() < 60_000, "{name}: what is said of it is short");
        assert!(before.elapsed() < Duration::from_secs(20), "{name} took {:?}", before.elapsed());
    }
    let logged = r#"(func (export "a") (result i32)
        (local $n i32)
        (loop $more
            (call $log_info (call $put (i32.const 0) (i32.const 1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $n) (i32.const 5000))))
        (i32.const 0))"#;
    let ran = run(&acme, "log-flood", logged).await.json();
    assert!(ran["logs"].as_array().is_some_and(|lines| lines.len() <= 1_000), "{ran}");
}

#[tokio::test]
async fn offsets_that_lead_nowhere_read_as_nothing_and_harm_nothing() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let ran = run(
        &acme,
        "offsets",
        r#"(func $all (param $at i64) (result i64)
            (call $store_u64 (local.get $at) (i64.const -1))
            (call $store_u8 (local.get $at) (i32.const 255))
            (call $free (local.get $at))
            (call $error_set (local.get $at))
            (call $output_set (local.get $at) (i64.const 9))
            (call $input_set (local.get $at) (i64.const 9))
            (i64.or (call $load_u64 (local.get $at))
            (i64.or (i64.extend_i32_u (call $load_u8 (local.get $at)))
            (i64.or (call $length (local.get $at)) (call $length_unsafe (local.get $at))))))
        (func (export "a") (result i32)
            (if (i64.ne (i64.const 0)
                (i64.or (call $all (i64.const 1)) (i64.or (call $all (i64.const -1))
                (i64.or (call $all (i64.const 4294967296)) (call $all (i64.const -9))))))
                (then unreachable))
            ;; The input is as it was: `{}`.
            (if (i64.ne (call $input_length) (i64.const 2)) (then unreachable))
            (call $output_set (call $input_offset) (call $input_length))
            (i32.const 0))"#,
    )
    .await;
    assert_eq!(ran.json()["output"], json!({}), "{}", ran.text());

    // What WASI is asked to write outside of the plugin's memory: 21 is `fault`.
    let ran = run(
        &acme,
        "pointers",
        r#"(func $is (param $errno i32) (param $expected i32)
            (if (i32.ne (local.get $errno) (local.get $expected)) (then unreachable)))
        (func (export "a") (result i32)
            (call $is (call $random_get (i32.const -8) (i32.const 64)) (i32.const 21))
            (call $is (call $random_get (i32.const 0) (i32.const -1)) (i32.const 28))
            (call $is (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const -4)) (i32.const 21))
            (call $is (call $clock_time_get (i32.const 9) (i64.const 0) (i32.const 0)) (i32.const 28))
            (call $is (call $args_sizes_get (i32.const -1) (i32.const 0)) (i32.const 21))
            (call $is (call $fd_write (i32.const 1) (i32.const -4) (i32.const 2) (i32.const 0)) (i32.const 21))
            (i32.store (i32.const 0) (i32.const 8))
            (i32.store (i32.const 4) (i32.const -1))
            (call $is (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0)) (i32.const 21))
            (call $is (call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 8))
            (call $is (call $poll_oneoff (i32.const -9) (i32.const 0) (i32.const 1) (i32.const 0)) (i32.const 21))
            (call $is (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0)) (i32.const 28))
            (i32.const 0))"#,
    )
    .await;
    assert_eq!(ran.json()["output"], Value::Null, "{}", ran.text());
}

#[tokio::test]
async fn a_plugin_sees_nothing_of_the_machine_and_what_it_prints_is_logged() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let ran = run(
        &acme,
        "prints",
        r#"(data (i32.const 64) "hello\1b[0m\nand more")
        (func $is (param $errno i32) (param $expected i32)
            (if (i32.ne (local.get $errno) (local.get $expected)) (then unreachable)))
        (func (export "a") (result i32)
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 4))
            (i32.store (i32.const 8) (i32.const 68))
            (i32.store (i32.const 12) (i32.const 14))
            (call $is (call $fd_write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 32)) (i32.const 0))
            (call $is (i32.load (i32.const 32)) (i32.const 18))
            (call $is (call $environ_sizes_get (i32.const 32) (i32.const 36)) (i32.const 0))
            (call $is (i32.load (i32.const 32)) (i32.const 0))
            (call $is (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)) (i32.const 0))
            (call $is (i32.load (i32.const 32)) (i32.const 0))
            (call $is (call $fd_prestat_get (i32.const 3) (i32.const 32)) (i32.const 8))
            (call $is (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0)
                (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 32)) (i32.const 8))
            (call $is (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 32)) (i32.const 0))
            ;; In steps of 100 µs.
            (if (i64.ne (i64.rem_u (i64.load (i32.const 32)) (i64.const 100000)) (i64.const 0)) (then unreachable))
            (call $is (call $random_get (i32.const 32) (i32.const 8)) (i32.const 0))
            (if (i64.eqz (i64.load (i32.const 32))) (then unreachable))
            (call $proc_exit (i32.const 0))
            (i32.const 0))"#,
    )
    .await;
    let ran = ran.json();
    assert_eq!(ran["output"], Value::Null, "{ran}");
    let lines: Vec<_> =
        ran["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(lines, ["hello\\u{1b}[0m", "and more"]);
}

#[tokio::test]
async fn a_plugin_that_runs_out_of_time_stops_no_other() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    install_manifest(
        &acme,
        "short",
        guests::EXTISM_KIT,
        json!({ "timeout_ms": 300 }),
        &[("limit", "wall_ms=300")],
    )
    .await;
    // The same module, so what runs is shared; its calls take longer.
    install_manifest(
        &acme,
        "long",
        guests::EXTISM_KIT,
        json!({ "timeout_ms": 1500 }),
        &[("limit", "wall_ms=1500")],
    )
    .await;
    let began = Instant::now();
    let long = acme.invoke("long_spin", json!({}));
    let shorts = async {
        for _ in 0..3 {
            assert_eq!(failure(&acme, "short_spin", json!({})).await.0, "tool_timeout");
        }
    };
    let (long, ()) = tokio::join!(long, shorts);
    assert_eq!(long.json()["code"], "tool_timeout", "{}", long.text());
    assert!(began.elapsed() >= Duration::from_millis(1400), "it had its own time: {:?}", began.elapsed());
    assert!(long.json()["ms"].as_f64().is_some_and(|ms| ms >= 1400.0), "{}", long.text());
}
