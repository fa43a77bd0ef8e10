//! Guests, good and bad, run through the sandbox alone: no HTTP, no database.

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _};
use opg_host::sandbox::compiler::CompilerConfig;
use opg_host::sandbox::door::*;
use opg_host::sandbox::*;
use opg_tests::guests;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

// --- calls ---------------------------------------------------------------

#[tokio::test]
async fn a_tool_describes_itself_and_answers() {
    let bench = Bench::new();
    let component = bench.load(guests::WORD_COUNT).await;
    assert_eq!(component.kind(), PluginKind::Tool);
    assert_eq!(component.digest(), Sandbox::digest(guests::WORD_COUNT));

    let tools = bench.sandbox.describe_tool(&component).await.unwrap();
    assert_eq!(tools.len(), 1);
    assert_eq!(tools[0].definition.name, "word_count");
    assert!(tools[0].capabilities.is_empty());

    let called = bench.call(&component, "word_count", json!({"text": "a b a", "top": 1})).await;
    assert_eq!(output(&called), json!({"words": 3, "top": [{"word": "a", "count": 2}]}));
    assert!(called.spent.cpu > Duration::ZERO);
    assert!(called.spent.memory_bytes_peak >= 1 << 20);
}

#[tokio::test]
async fn a_tool_may_refuse_its_input() {
    let bench = Bench::new();
    let component = bench.load(guests::WORD_COUNT).await;
    let called = bench.call(&component, "word_count", json!({"wrong": 1})).await;
    assert!(matches!(called.result, Ok(Err(ToolError::InvalidInput(_)))), "{called:?}");
}

#[tokio::test]
async fn an_agent_answers_and_its_events_go_out() {
    let bench = Bench::new();
    let component = bench.load(guests::AGENT_ECHO).await;
    assert_eq!(component.kind(), PluginKind::Agent);
    let agent = bench.sandbox.describe_agent(&component).await.unwrap();
    assert!(agent.description.contains("Repeats"));

    let door = Arc::new(TestDoor::default());
    let called =
        bench.sandbox.run_agent(&component, door.clone(), CallLimits::default(), turn("hello")).await;
    let outcome = called.result.unwrap().unwrap();
    assert_eq!(outcome.finish_reason, "stop");
    assert!(outcome.messages.contains("hello"));
    assert_eq!(door.events.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_tool_is_not_an_agent() {
    let bench = Bench::new();
    let tool = bench.load(guests::COUNTER).await;
    let called =
        bench.sandbox.run_agent(&tool, Arc::new(ClosedDoor), CallLimits::default(), turn("hello")).await;
    assert!(matches!(called.result, Err(CallError::Engine(text)) if text.contains("not an agent")));
    assert!(bench.sandbox.describe_agent(&tool).await.is_err());
}

#[tokio::test]
async fn nothing_survives_a_call() {
    let bench = Bench::new();
    let component = bench.load(guests::COUNTER).await;
    for _ in 0..20 {
        assert_eq!(output(&bench.call(&component, "counter", json!({})).await), json!(1));
    }
}

#[tokio::test]
async fn a_guest_knows_of_its_call_what_it_is_told() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let context =
        CallContext { invocation_id: "i1".into(), app: "acme".into(), session_id: Some("s1".into()) };
    let limits = CallLimits { wall: Duration::from_millis(1234), ..CallLimits::default() };
    let called = bench
        .sandbox
        .call_tool(&component, Arc::new(ClosedDoor), limits, "who_am_i", "{}".into(), context)
        .await;
    let expected = json!({"invocation_id": "i1", "app": "acme", "session_id": "s1", "time_limit_ms": 1234});
    assert_eq!(output(&called), expected);
}

// --- time ----------------------------------------------------------------

#[tokio::test]
async fn a_spinning_guest_is_stopped_by_its_deadline() {
    let bench = Bench::new();
    let component = bench.load(guests::SPIN).await;
    let limits = CallLimits { wall: Duration::from_millis(200), ..CallLimits::default() };
    let called = bench.call_with(&component, Arc::new(ClosedDoor), limits, "spin", json!({})).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)));
    assert!(called.spent.wall >= Duration::from_millis(200));
    assert!(called.spent.wall < Duration::from_millis(500), "{:?}", called.spent);
}

#[tokio::test]
async fn a_spinning_guest_is_stopped_by_its_cpu_time() {
    let bench = Bench::new();
    let component = bench.load(guests::SPIN).await;
    let limits = CallLimits { cpu: Duration::from_millis(100), ..CallLimits::default() };
    let called = bench.call_with(&component, Arc::new(ClosedDoor), limits, "spin", json!({})).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)));
    assert!(called.spent.cpu >= Duration::from_millis(100));
    assert!(called.spent.cpu < Duration::from_millis(200), "{:?}", called.spent);
}

#[tokio::test]
async fn an_agent_that_spins_is_stopped() {
    let bench = Bench::new();
    let component = bench.load(guests::AGENT_SPIN).await;
    let limits = CallLimits { wall: Duration::from_millis(200), ..CallLimits::default() };
    let door = Arc::new(TestDoor::default());
    let called = bench.sandbox.run_agent(&component, door.clone(), limits, turn("hello")).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)));
    assert_eq!(door.events.lock().unwrap().len(), 1, "what it said before went out");
}

#[tokio::test]
async fn spinning_guests_stall_neither_the_host_nor_a_neighbour() {
    let bench = Bench::new();
    let (spin, counter) = (bench.load(guests::SPIN).await, bench.load(guests::COUNTER).await);
    let limits = CallLimits { wall: Duration::from_secs(3), ..CallLimits::default() };
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let (sandbox, spin) = (bench.sandbox.clone(), spin.clone());
            tokio::spawn(async move {
                let call =
                    sandbox.call_tool(&spin, Arc::new(ClosedDoor), limits, "spin", "{}".into(), context());
                call.await.result
            })
        })
        .collect();
    eventually(|| bench.sandbox.stats().calls_in_flight == 4).await;

    for _ in 0..20 {
        let before = Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(before.elapsed() < Duration::from_millis(150), "the host's timers: {:?}", before.elapsed());
    }
    let before = Instant::now();
    assert_eq!(output(&bench.call(&counter, "counter", json!({})).await), json!(1));
    assert!(before.elapsed() < Duration::from_millis(500), "a neighbour's call: {:?}", before.elapsed());
    for call in spinning {
        assert!(matches!(call.await.unwrap(), Err(CallError::TimedOut)));
    }
}

#[tokio::test]
async fn waiting_for_the_host_is_under_the_deadline_and_costs_no_cpu_time() {
    let bench = Bench::new();
    let component = bench.load(guests::SLOW).await;
    let limits = CallLimits { wall: Duration::from_millis(200), ..CallLimits::default() };
    let door = Arc::new(TestDoor { http: Http::Never, ..TestDoor::default() });
    let input = json!({"url": "https://example.com/"});
    let called = bench.call_with(&component, door.clone(), limits, "slow", input).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)));
    assert!(called.spent.wall < Duration::from_millis(500), "{:?}", called.spent);
    assert!(called.spent.cpu < Duration::from_millis(50), "{:?}", called.spent);
    assert!(*door.time_left.lock().unwrap() <= Duration::from_millis(200));
    eventually(|| door.stopped.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_wait_inside_wasi_is_under_the_deadline() {
    let bench = Bench::new();
    let component = bench.load(guests::WASI).await;
    let limits = CallLimits { wall: Duration::from_millis(200), ..CallLimits::default() };
    let called =
        bench.call_with(&component, Arc::new(ClosedDoor), limits, "sleep", json!({"ms": 60_000})).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)));
    assert!(called.spent.wall < Duration::from_millis(500), "{:?}", called.spent);
}

#[tokio::test]
async fn a_description_that_never_ends_is_stopped() {
    let bench = Bench::new();
    let component = bench.load(guests::SLEEPY_DESCRIBE).await;
    let before = Instant::now();
    assert_eq!(bench.sandbox.describe_tool(&component).await, Err(CallError::TimedOut));
    assert!(before.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn whoever_stops_waiting_stops_the_guest_and_what_it_asked_for() {
    let bench = Bench::new();
    let component = bench.load(guests::SLOW).await;
    let door = Arc::new(TestDoor { http: Http::Never, ..TestDoor::default() });
    let input = json!({"url": "https://example.com/"});
    {
        let call = bench.call_with(&component, door.clone(), CallLimits::default(), "slow", input);
        let started = eventually(|| door.started.load(Ordering::SeqCst));
        tokio::select! {
            called = call => panic!("it cannot answer: {called:?}"),
            () = started => {}
        }
    }
    eventually(|| door.stopped.load(Ordering::SeqCst)).await;
    eventually(|| bench.sandbox.stats().calls_in_flight == 0).await;
}

#[tokio::test]
async fn whoever_stops_waiting_stops_a_guest_that_spins() {
    let bench = Bench::new();
    let component = bench.load(guests::SPIN).await;
    let call = bench.call(&component, "spin", json!({}));
    assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
    eventually(|| bench.sandbox.stats().calls_in_flight == 0).await;
}

#[tokio::test]
async fn without_a_free_slot_a_call_is_refused_soon() {
    let bench = Bench::with_slots(1);
    let (spin, counter) = (bench.load(guests::SPIN).await, bench.load(guests::COUNTER).await);
    let limits = CallLimits { wall: Duration::from_secs(4), ..CallLimits::default() };
    let spinning = bench.call_with(&spin, Arc::new(ClosedDoor), limits, "spin", json!({}));
    let refused = async {
        eventually(|| bench.sandbox.stats().calls_in_flight == 1).await;
        bench.call(&counter, "counter", json!({})).await
    };
    let (spinning, refused) = tokio::join!(spinning, refused);
    assert!(matches!(refused.result, Err(CallError::Busy)), "{refused:?}");
    assert!(matches!(spinning.result, Err(CallError::TimedOut)));
    assert_eq!(bench.sandbox.stats().calls_refused, 1);
    assert_eq!(output(&bench.call(&counter, "counter", json!({})).await), json!(1), "the slot is free again");
}

// --- where a call begins ---------------------------------------------------
//
// These tests run on a host with a thread to lend; all others on one without.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_begins_where_it_is_asked_for_once_another_has_ended_at_once() {
    let bench = Bench::new();
    let component = bench.load(guests::CHATTER).await;
    let first = bench.where_it_runs(&component, 1).await;
    assert_eq!(first, GUESTS_THREAD, "nobody knows it yet");
    bench.trust(&component, "chatter", json!({"lines": 0})).await;
    for _ in 0..100 {
        if bench.where_it_runs(&component, 1).await != GUESTS_THREAD {
            return;
        }
    }
    panic!("none of a hundred short calls began where it was asked for");
}

#[tokio::test]
async fn a_host_with_one_thread_lends_none() {
    let bench = Bench::new();
    let component = bench.load(guests::CHATTER).await;
    for _ in 0..20 {
        assert_eq!(bench.where_it_runs(&component, 1).await, GUESTS_THREAD);
    }
    assert_eq!(bench.sandbox.stats().first_slices_lent, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_begins_on_the_host_and_spins_is_moved_and_stopped() {
    let bench = Bench::new();
    let component = bench.load(guests::SPIN).await;
    let door = Arc::new(ClosedDoor);
    for (wall_ms, cpu_ms) in [(200, 5_000), (5_000, 100)] {
        let (wall, cpu) = (Duration::from_millis(wall_ms), Duration::from_millis(cpu_ms));
        let limits = CallLimits { wall, cpu, ..CallLimits::default() };
        let called = bench
            .begins_on_host(&component, ("spin", json!({"ms": 0})), async || {
                bench.call_with(&component, door.clone(), limits, "spin", json!({})).await
            })
            .await;
        assert!(matches!(called.result, Err(CallError::TimedOut)), "{called:?}");
        let late = Duration::from_millis(300);
        assert!(called.spent.wall < wall + late && called.spent.cpu < cpu + late, "{:?}", called.spent);
        // It is not trusted a second time.
        let lent = bench.sandbox.stats().first_slices_lent;
        bench.call(&component, "spin", json!({"ms": 0})).await;
        assert_eq!(bench.sandbox.stats().first_slices_lent, lent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_begins_on_the_host_and_waits_for_it_gets_its_answer() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let door = Arc::new(TestDoor { http: Http::Answers(207), ..TestDoor::default() });
    for (name, input, answer) in [
        ("fetch", json!({"url": "https://a.b/"}), json!({"status": 207, "body": "GET https://a.b/"})),
        ("ask_model", json!({"model": "a/b", "prompt": "hi"}), json!("hello")),
    ] {
        let called = bench
            .begins_on_host(&component, ("who_am_i", json!({})), async || {
                bench.call_with(&component, door.clone(), CallLimits::default(), name, input.clone()).await
            })
            .await;
        assert_eq!(output(&called)["ok"], answer, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_waiting_stops_a_guest_wherever_it_began() {
    let bench = Bench::new();
    let (spin, grabby) = (bench.load(guests::SPIN).await, bench.load(guests::GRABBY).await);
    // In its first slice, just after it, and long after it.
    for wait_ms in [1, 12, 60] {
        bench.trust(&spin, "spin", json!({"ms": 0})).await;
        let (sandbox, component) = (bench.sandbox.clone(), spin.clone());
        let limits = CallLimits::default();
        let call = tokio::spawn(async move {
            sandbox.call_tool(&component, Arc::new(ClosedDoor), limits, "spin", "{}".into(), context()).await
        });
        eventually(|| bench.sandbox.stats().calls_in_flight == 1).await;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        call.abort();
        let before = Instant::now();
        eventually(|| bench.sandbox.stats().calls_in_flight == 0).await;
        assert!(before.elapsed() < Duration::from_millis(150), "{wait_ms}: {:?}", before.elapsed());
    }

    bench.trust(&grabby, "who_am_i", json!({})).await;
    let door = Arc::new(TestDoor { http: Http::Never, ..TestDoor::default() });
    let input = json!({"url": "https://example.com/"});
    let call = bench.call_with(&grabby, door.clone(), CallLimits::default(), "fetch", input);
    assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
    eventually(|| door.stopped.load(Ordering::SeqCst)).await;
    eventually(|| bench.sandbox.stats().calls_in_flight == 0).await;
}

/// The same flood, of guests that earn trust by a short call and misuse it for
/// a long one, on a host that lends a thread and on one that lends none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_that_misuse_the_hosts_threads_hardly_delay_it() {
    let one_thread =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (lends, lends_none) = (Bench::new(), Bench::on(one_thread.handle().clone(), 16));
    let (mut lending, mut not_lending) = (vec![], vec![]);
    for _ in 0..5 {
        not_lending.push(delays_in_a_flood(&lends_none).await);
        lending.push(delays_in_a_flood(&lends).await);
    }
    assert!(lends.sandbox.stats().first_slices_lent > 0, "they came to the host's threads");
    assert_eq!(lends_none.sandbox.stats().first_slices_lent, 0);
    let (lending, not_lending) = (median(lending), median(not_lending));
    println!("a timer's mean delay in a flood: {lending:?}, without lending {not_lending:?}");
    assert!(lending < 3 * not_lending + Duration::from_millis(1), "{lending:?}, without {not_lending:?}");
    one_thread.shutdown_background();
}

/// How late the host's timers are, on average, while guests flood it.
async fn delays_in_a_flood(bench: &Bench) -> Duration {
    const TIMERS: u32 = 100;
    let component = bench.load(guests::SPIN).await;
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let (sandbox, component) = (bench.sandbox.clone(), component.clone());
            let spin = async move |input: &str| {
                let door = Arc::new(ClosedDoor);
                let called = sandbox.call_tool(
                    &component,
                    door,
                    CallLimits::default(),
                    "spin",
                    input.into(),
                    context(),
                );
                called.await.result.unwrap().unwrap();
            };
            AbortOnDrop(tokio::spawn(async move {
                loop {
                    spin(r#"{"ms": 0}"#).await;
                    spin(r#"{"ms": 30}"#).await;
                }
            }))
        })
        .collect();
    let period = Duration::from_millis(2);
    // A task of its own: what this test itself runs on is not one of the host's threads.
    let late = tokio::spawn(async move {
        let mut late = Duration::ZERO;
        for _ in 0..TIMERS {
            let due = Instant::now() + period;
            tokio::time::sleep_until(due.into()).await;
            late += due.elapsed();
        }
        late / TIMERS
    });
    let late = late.await.unwrap();
    drop(flood);
    eventually(|| bench.sandbox.stats().calls_in_flight == 0).await;
    late
}

/// A task that ends with whoever holds it.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

// --- memory, traps, output -----------------------------------------------

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
        let name = "sandbox::a_trap_is_quick_even_where_backtraces_are_on";
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

// --- what a guest can reach -----------------------------------------------

#[tokio::test]
async fn a_guest_sees_nothing_of_the_machine() {
    let bench = Bench::new();
    let component = bench.load(guests::WASI).await;
    let door = Arc::new(TestDoor::default());
    let called = bench.call_with(&component, door.clone(), CallLimits::default(), "wasi", json!({})).await;
    let seen = output(&called);
    assert_eq!(seen["variables"], json!([]));
    assert_eq!(seen["arguments"], json!([]));
    assert_eq!(seen["stdin"], json!({"bytes": 0, "error": null}));
    for path in ["passwd", "root", "written"] {
        assert!(seen[path]["error"].is_string(), "{path}: {seen}");
    }
    assert!(!Path::new("/tmp/opg-was-here").exists());
    let logs = door.logs.lock().unwrap();
    assert!(logs.contains(&(LogLevel::Info, "said on stdout".to_owned())), "{logs:?}");
    assert!(logs.contains(&(LogLevel::Warn, "said on stderr".to_owned())), "{logs:?}");
}

#[tokio::test]
async fn behind_a_closed_door_everything_is_denied() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    for (name, input) in [
        ("fetch", json!({"url": "https://example.com/"})),
        ("read_secret", json!({"name": "API_KEY"})),
        ("kv_get", json!({"key": "a"})),
        ("kv_set", json!({"key": "a", "value": 1})),
        ("kv_delete", json!({"key": "a"})),
        ("kv_keys", json!({"prefix": ""})),
        ("ask_model", json!({"model": "a/b", "prompt": "hi"})),
        ("call_tool", json!({"name": "x", "input": {}})),
        ("emit", json!({"event": {"type": "text", "text": "a"}})),
        ("ask_person", json!({"action": "push", "patterns": []})),
    ] {
        let seen = output(&bench.call(&component, name, input).await);
        assert_eq!(seen["error"], "denied", "{name}: {seen}");
    }
    assert_eq!(output(&bench.call(&component, "list_tools", json!({})).await), json!({"ok": []}));
    let component = bench.load(guests::DB).await;
    for name in ["query", "execute"] {
        let seen = output(&bench.call(&component, name, json!({"sql": "select 1"})).await);
        assert_eq!(seen["error"], "denied", "{name}: {seen}");
    }
    assert_eq!(output(&bench.call(&component, "namespace", json!({})).await), "");
}

#[tokio::test]
async fn behind_an_open_door_answers_come_back() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let door = Arc::new(TestDoor { http: Http::Answers(207), ..TestDoor::default() });
    let call = async |name: &str, input: Value| {
        output(&bench.call_with(&component, door.clone(), CallLimits::default(), name, input).await)
    };
    let seen = call("fetch", json!({"url": "https://example.com/a"})).await;
    assert_eq!(seen["ok"], json!({"status": 207, "body": "GET https://example.com/a"}));
    assert_eq!(call("read_secret", json!({"name": "API_KEY"})).await["ok"], "ref:API_KEY");
    assert_eq!(call("kv_set", json!({"key": "k", "value": [1]})).await["ok"], Value::Null);
    assert_eq!(call("kv_get", json!({"key": "k"})).await["ok"], json!([1]));
    assert_eq!(call("kv_keys", json!({"prefix": "k"})).await["ok"], json!(["k"]));
    assert_eq!(call("kv_delete", json!({"key": "k"})).await["ok"], Value::Null);
    assert_eq!(call("kv_get", json!({"key": "k"})).await["ok"], Value::Null);
    assert_eq!(call("list_tools", json!({})).await["ok"], json!(["adder"]));
    let seen = call("ask_model", json!({"model": "a/b", "prompt": "hi"})).await;
    assert_eq!(seen["ok"], "hello", "{seen}");
}

#[tokio::test]
async fn a_model_call_ends_with_the_guests_call() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let door = Arc::new(TestDoor { model_stalls: true, ..TestDoor::default() });
    let limits = CallLimits { wall: Duration::from_millis(200), ..CallLimits::default() };
    let input = json!({"model": "a/b", "prompt": "hi"});
    let called = bench.call_with(&component, door.clone(), limits, "ask_model", input).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)), "{called:?}");
    eventually(|| door.stopped.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn the_time_a_person_takes_is_not_the_calls_and_no_more_than_that() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let limits = CallLimits { wall: Duration::from_millis(400), ..CallLimits::default() };
    let door = Arc::new(TestDoor { person_takes: Duration::from_millis(900), ..TestDoor::default() });
    let call =
        async |name: &str, input: Value| bench.call_with(&component, door.clone(), limits, name, input).await;
    let allowed = call("ask_person", json!({"action": "yes", "patterns": ["a", "b"]})).await;
    assert_eq!(output(&allowed), json!({"ok": null}));
    assert!(allowed.spent.wall >= Duration::from_millis(900), "{:?}", allowed.spent);
    let refused = call("ask_person", json!({"action": "no", "patterns": []})).await;
    assert_eq!(output(&refused)["error"], "denied");
    // Whatever else it waits for is its own time, as before.
    let waits = call("fetch", json!({"url": "https://example.com/"})).await;
    assert!(matches!(waits.result, Err(CallError::TimedOut)), "{waits:?}");
    assert!(waits.spent.wall < Duration::from_secs(5), "{:?}", waits.spent);
}

#[tokio::test]
async fn a_statement_passes_the_door_as_text_and_ends_with_the_guests_call() {
    let bench = Bench::new();
    let component = bench.load(guests::DB).await;
    let door = Arc::new(TestDoor::default());
    let limits = CallLimits { wall: Duration::from_millis(300), ..CallLimits::default() };
    let call =
        async |name: &str, input: Value| bench.call_with(&component, door.clone(), limits, name, input).await;
    assert_eq!(output(&call("namespace", json!({})).await), "app_acme__");
    let input = json!({"sql": "select $1", "params": ["a", null], "limit": 7});
    let seen = output(&call("query", input).await);
    assert_eq!(seen["ok"], json!({"statement": "select $1", "params": r#"["a",null]"#, "limit": 7}));
    assert!(*door.time_left.lock().unwrap() <= Duration::from_millis(300));
    let called = call("execute", json!({"sql": "delete"})).await;
    assert!(matches!(called.result, Err(CallError::TimedOut)), "{called:?}");
    eventually(|| door.stopped.load(Ordering::SeqCst)).await;
}

#[tokio::test]
async fn a_panic_behind_the_door_is_the_hosts_fault_and_ends_nothing() {
    let bench = Bench::new();
    let component = bench.load(guests::GRABBY).await;
    let door = Arc::new(TestDoor { http: Http::Panics, ..TestDoor::default() });
    let input = json!({"url": "https://example.com/"});
    let called = bench.call_with(&component, door, CallLimits::default(), "fetch", input).await;
    assert_eq!(output(&called)["error"], "unavailable");
}

#[tokio::test]
async fn a_tool_can_call_another_through_the_door() {
    let bench = Bench::new();
    let component = bench.load(guests::RELAY).await;
    let door = Arc::new_cyclic(|itself| TestDoor {
        tools: Some((bench.sandbox.clone(), component.clone(), itself.clone())),
        ..TestDoor::default()
    });
    let input = json!({"depth": 5});
    let called = bench.call_with(&component, door.clone(), CallLimits::default(), "relay", input).await;
    assert_eq!(output(&called), json!({"reached": 5, "stopped_by": null}));
    assert_eq!(door.tool_calls.load(Ordering::SeqCst), 5);
}

// --- loading ---------------------------------------------------------------

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

// --- helpers ---------------------------------------------------------------

/// A sandbox with a cache of its own.
struct Bench {
    sandbox: Sandbox,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with_slots(16)
    }

    fn with_slots(slots: u32) -> Self {
        Self::on(Handle::current(), slots)
    }

    fn on(host: Handle, slots: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { sandbox: new_sandbox_on(host, dir.path(), slots), _dir: dir }
    }

    /// Makes short calls until one begins on a thread of the host.
    async fn trust(&self, component: &Component, name: &str, input: Value) {
        let lent = self.sandbox.stats().first_slices_lent;
        let before = Instant::now();
        while self.sandbox.stats().first_slices_lent == lent {
            assert!(before.elapsed() < Duration::from_secs(5), "no call begins on the host");
            output(&self.call(component, name, input.clone()).await);
        }
    }

    /// Makes a call after short ones, until it begins on a thread of the host. A tick may come in between.
    async fn begins_on_host<T>(
        &self,
        component: &Component,
        (short, input): (&str, Value),
        call: impl AsyncFn() -> T,
    ) -> T {
        for _ in 0..10 {
            self.trust(component, short, input.clone()).await;
            let lent = self.sandbox.stats().first_slices_lent;
            let called = call().await;
            if self.sandbox.stats().first_slices_lent > lent {
                return called;
            }
        }
        panic!("it never begins on the host");
    }

    /// The name of the thread on which a guest logs its first line.
    async fn where_it_runs(&self, chatter: &Component, lines: u32) -> String {
        let door = Arc::new(TestDoor::default());
        let input = json!({"lines": lines});
        self.call_with(chatter, door.clone(), CallLimits::default(), "chatter", input).await;
        door.log_threads.lock().unwrap()[0].clone()
    }

    async fn load(&self, wasm: &'static [u8]) -> Component {
        self.sandbox.load(wasm.into()).await.unwrap()
    }

    async fn call(
        &self,
        component: &Component,
        name: &str,
        input: Value,
    ) -> Called<Result<String, ToolError>> {
        self.call_with(component, Arc::new(ClosedDoor), CallLimits::default(), name, input).await
    }

    async fn call_with(
        &self,
        component: &Component,
        door: Arc<dyn Door>,
        limits: CallLimits,
        name: &str,
        input: Value,
    ) -> Called<Result<String, ToolError>> {
        self.sandbox.call_tool(component, door, limits, name, input.to_string(), context()).await
    }
}

fn new_sandbox(dir: &Path, calls_in_flight_max: u32) -> Sandbox {
    new_sandbox_on(Handle::current(), dir, calls_in_flight_max)
}

fn new_sandbox_on(host: Handle, dir: &Path, calls_in_flight_max: u32) -> Sandbox {
    let compiler = CompilerConfig::with(opg_tests::process::binary());
    let config =
        SandboxConfig { cache_dir: dir.to_owned(), compiler, worker_threads: 2, calls_in_flight_max, host };
    Sandbox::new(config).unwrap()
}

/// What the threads that belong to guests are called.
const GUESTS_THREAD: &str = "opg-guest";

fn context() -> CallContext {
    CallContext { invocation_id: "test".into(), app: "test".into(), session_id: None }
}

fn turn(text: &str) -> Turn {
    Turn {
        model: "demo/echo".into(),
        messages: json!([{"role": "user", "content": text}]).to_string(),
        options: "{}".into(),
        client_tools: "[]".into(),
        max_steps: 4,
        context: context(),
        ..Turn::default()
    }
}

fn output(called: &Called<Result<String, ToolError>>) -> Value {
    let output = called.result.as_ref().expect("the call ended").as_ref().expect("the tool answered");
    serde_json::from_str(output).unwrap()
}

/// The one file with machine code below `dir`.
fn compiled_file(dir: &Path) -> std::path::PathBuf {
    let engine =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    std::fs::read_dir(engine.unwrap()).unwrap().next().unwrap().unwrap().path()
}

/// Waits until `happened`, which it must within two seconds.
async fn eventually(happened: impl Fn() -> bool) {
    let before = Instant::now();
    while !happened() {
        assert!(before.elapsed() < Duration::from_secs(2), "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A door with something behind it, that keeps what it hears.
#[derive(Default)]
struct TestDoor {
    http: Http,
    model_stalls: bool,
    tools: Option<(Sandbox, Component, Weak<Self>)>,
    logs: Mutex<Vec<(LogLevel, String)>>,
    log_threads: Mutex<Vec<String>>,
    events: Mutex<Vec<String>>,
    kv: Mutex<std::collections::BTreeMap<String, Vec<u8>>>,
    time_left: Mutex<Duration>,
    tool_calls: AtomicU32,
    started: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    person_takes: Duration,
}

#[derive(Default, Clone, Copy)]
enum Http {
    #[default]
    Never,
    Answers(u16),
    Panics,
}

/// Says when it is dropped.
struct Stopped(Arc<AtomicBool>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Door for TestDoor {
    fn log(&self, level: LogLevel, message: &str) {
        let thread = std::thread::current();
        self.log_threads.lock().unwrap().push(thread.name().unwrap_or_default().to_owned());
        self.logs.lock().unwrap().push((level, message.to_owned()));
    }

    async fn secret(&self, name: String) -> Result<String, DoorError> {
        Ok(format!("ref:{name}"))
    }

    async fn http(&self, request: HttpRequest, time_left: Duration) -> Result<HttpResponse, DoorError> {
        *self.time_left.lock().unwrap() = time_left;
        let _stopped = Stopped(self.stopped.clone());
        self.started.store(true, Ordering::SeqCst);
        match self.http {
            Http::Never => std::future::pending().await,
            Http::Panics => panic!("as the test wants"),
            Http::Answers(status) => Ok(HttpResponse {
                status,
                headers: vec![],
                body: format!("{} {}", request.method, request.url).into_bytes(),
            }),
        }
    }

    async fn kv_get(&self, key: String) -> Result<Option<Vec<u8>>, DoorError> {
        Ok(self.kv.lock().unwrap().get(&key).cloned())
    }

    async fn kv_set(&self, key: String, value: Vec<u8>) -> Result<(), DoorError> {
        self.kv.lock().unwrap().insert(key, value);
        Ok(())
    }

    async fn kv_delete(&self, key: String) -> Result<(), DoorError> {
        self.kv.lock().unwrap().remove(&key);
        Ok(())
    }

    async fn kv_keys(&self, prefix: String) -> Result<Vec<String>, DoorError> {
        Ok(self.kv.lock().unwrap().keys().filter(|key| key.starts_with(&prefix)).cloned().collect())
    }

    fn db_namespace(&self) -> String {
        "app_acme__".to_owned()
    }

    async fn db_query(
        &self,
        statement: String,
        params: String,
        limit: Option<u32>,
        time_left: Duration,
    ) -> Result<String, DoorError> {
        *self.time_left.lock().unwrap() = time_left;
        Ok(json!({"statement": statement, "params": params, "limit": limit}).to_string())
    }

    async fn db_execute(
        &self,
        _statement: String,
        _params: String,
        _time_left: Duration,
    ) -> Result<String, DoorError> {
        let _stopped = Stopped(self.stopped.clone());
        self.started.store(true, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn complete(&self, _request: String, _time_left: Duration) -> Result<Completion, DoorError> {
        let stopped = Stopped(self.stopped.clone());
        let text = |text: &str| Ok(json!({"type": "text", "text": text}).to_string());
        let said =
            stream::iter([text("hel"), text("lo"), Ok(r#"{"type":"finish","reason":"stop"}"#.to_owned())]);
        if self.model_stalls {
            let never = stream::once(async move {
                let _stopped = stopped;
                std::future::pending().await
            });
            return Ok(said.take(1).chain(never).boxed());
        }
        Ok(said.boxed())
    }

    fn tools(&self) -> Vec<ToolDefinition> {
        vec![ToolDefinition { name: "adder".into(), description: "Adds.".into(), input_schema: "{}".into() }]
    }

    async fn call_tools(
        &self,
        calls: Vec<ToolInvocation>,
        time_left: Duration,
    ) -> Vec<Result<String, DoorError>> {
        let (sandbox, component, itself) = self.tools.clone().expect("the test gave tools");
        let limits = CallLimits { wall: time_left, ..CallLimits::default() };
        let mut answers = vec![];
        for call in calls {
            self.tool_calls.fetch_add(1, Ordering::SeqCst);
            let door = itself.upgrade().expect("the door is in use");
            let called = sandbox.call_tool(&component, door, limits, &call.name, call.input, context()).await;
            answers.push(match called.result {
                Ok(Ok(output)) => Ok(output),
                Ok(Err(error)) => Err(DoorError::Failed(error.to_string())),
                Err(error) => Err(DoorError::Failed(error.to_string())),
            });
        }
        answers
    }

    async fn emit(&self, event: String) -> Result<(), DoorError> {
        self.events.lock().unwrap().push(event);
        Ok(())
    }

    async fn ask_permission(&self, question: Question) -> Result<(), DoorError> {
        self.events.lock().unwrap().push(format!("{question:?}"));
        tokio::time::sleep(self.person_takes).await;
        if question.action == "no" { Err(DoorError::Denied("no".into())) } else { Ok(()) }
    }
}
