//! Memory, traps and outputs.

use super::*;

#[tokio::test]
async fn a_guest_that_takes_too_much_memory_is_stopped() {
    let bench = Bench::new();
    let component = bench.load(guests::HOG).await;
    let limits = CallLimits { memory_bytes_max: 16 << 20, ..CallLimits::default() };
    let called = bench.call_with(&component, Arc::new(ClosedDoor), limits, "hog", json!({})).await;
    assert!(matches!(called.result, Err(CallError::OutOfMemory)), "{called:?}");
    assert!(called.spent.memory_bytes_peak <= 16 << 20);
    assert!(called.spent.memory_bytes_peak > 12 << 20);
}

#[tokio::test]
async fn a_guest_that_copes_with_less_memory_may_answer() {
    let bench = Bench::new();
    let component = bench.load(guests::HOG).await;
    let limits = CallLimits { memory_bytes_max: 16 << 20, ..CallLimits::default() };
    let called =
        bench.call_with(&component, Arc::new(ClosedDoor), limits, "hog", json!({"gently": true})).await;
    let had = output(&called).as_u64().unwrap();
    assert!((8 << 20..16 << 20).contains(&had), "{had}");
}

#[tokio::test]
async fn no_plan_gives_more_memory_than_the_engine_has() {
    let bench = Bench::new();
    let component = bench.load(guests::HOG).await;
    let limits = CallLimits { memory_bytes_max: usize::MAX, ..CallLimits::default() };
    let called = bench.call_with(&component, Arc::new(ClosedDoor), limits, "hog", json!({})).await;
    assert!(matches!(called.result, Err(CallError::OutOfMemory)), "{called:?}");
    assert!(called.spent.memory_bytes_peak <= 256 << 20);
}

#[tokio::test]
async fn a_trap_is_told_in_a_line_and_its_last_words_are_logged() {
    let bench = Bench::new();
    let component = bench.load(guests::TRAP).await;
    let door = Arc::new(TestDoor::default());
    let input = json!({"message": "out of luck"});
    let called = bench.call_with(&component, door.clone(), CallLimits::default(), "trap", input).await;
    let Err(CallError::Trap(text)) = called.result else { panic!("{called:?}") };
    assert_eq!(text, "wasm `unreachable` instruction executed");
    let logs = door.logs.lock().unwrap().clone();
    assert!(
        logs.iter().any(|(level, line)| *level == LogLevel::Warn && line.contains("out of luck")),
        "{logs:?}"
    );
    // The next call is as good as the first.
    let counter = bench.load(guests::COUNTER).await;
    assert_eq!(output(&bench.call(&counter, "counter", json!({})).await), json!(1));
}

/// With `RUST_BACKTRACE=1` an engine that keeps host backtraces needs 100 ms
/// and more for each trap: a lever for a guest. The variable is read once, so
/// this test starts itself again with it.
#[test]
fn a_trap_is_quick_even_where_backtraces_are_on() {
    if std::env::var_os("RUST_BACKTRACE").is_none_or(|value| value != "1") {
        let name = "sandbox::bounds::a_trap_is_quick_even_where_backtraces_are_on";
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env("RUST_BACKTRACE", "1")
            .output()
            .unwrap();
        assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let bench = Bench::new();
        let component = bench.load(guests::TRAP).await;
        for _ in 0..10 {
            let called = bench.call(&component, "trap", json!({})).await;
            assert!(matches!(called.result, Err(CallError::Trap(_))));
            assert!(called.spent.wall < Duration::from_millis(50), "{:?}", called.spent);
        }
    });
}

#[tokio::test]
async fn a_guest_that_exits_has_crashed() {
    let bench = Bench::new();
    let component = bench.load(guests::WASI).await;
    for (code, status) in [(0, 0), (3, 1)] {
        let called = bench.call(&component, "leave", json!({"code": code})).await;
        let Err(CallError::Trap(text)) = called.result else { panic!("{called:?}") };
        assert_eq!(text, format!("it exited with status {status}"));
    }
}

#[tokio::test]
async fn an_output_that_is_too_large_is_refused() {
    let bench = Bench::new();
    let component = bench.load(guests::SHOUT).await;
    let fits = bench.call(&component, "shout", json!({"bytes": 1_000_000})).await;
    assert_eq!(output(&fits).as_str().unwrap().len(), 1_000_000);
    for bytes in [1 << 20, 5 << 20, 12 << 20] {
        let called = bench.call(&component, "shout", json!({"bytes": bytes})).await;
        assert!(matches!(called.result, Err(CallError::OutputTooLarge)), "{bytes}");
    }
    let lower = CallLimits { output_bytes_max: 100, ..CallLimits::default() };
    let called =
        bench.call_with(&component, Arc::new(ClosedDoor), lower, "shout", json!({"bytes": 100})).await;
    assert!(matches!(called.result, Err(CallError::OutputTooLarge)));
}

#[tokio::test]
async fn an_error_that_is_too_long_is_cut() {
    let bench = Bench::new();
    let component = bench.load(guests::SHOUT).await;
    let called = bench.call(&component, "shout_error", json!({"bytes": 1_000_000})).await;
    let Ok(Err(ToolError::Failed(text))) = called.result else { panic!("not an error of the tool") };
    assert!(text.len() < 9_000, "{}", text.len());
    assert!(text.ends_with('…'));
}

#[tokio::test]
async fn log_lines_are_cut_and_counted() {
    let bench = Bench::new();
    let component = bench.load(guests::CHATTER).await;
    let door = Arc::new(TestDoor::default());
    let input = json!({"lines": 5_000});
    let called = bench.call_with(&component, door.clone(), CallLimits::default(), "chatter", input).await;
    assert_eq!(output(&called), json!(5_000), "writing never fails");
    assert_eq!(called.spent.log_lines_dropped, 4_000);
    assert_eq!(door.logs.lock().unwrap().len(), 1_000);

    let door = Arc::new(TestDoor::default());
    let input = json!({"lines": 2, "line_bytes": 100_000});
    bench.call_with(&component, door.clone(), CallLimits::default(), "chatter", input).await;
    let logs = door.logs.lock().unwrap();
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|(_, line)| line.len() < 9_000 && line.ends_with('…')));
}
