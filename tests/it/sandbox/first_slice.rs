//! Where a call begins. These tests run on a host with a thread to lend; all others on one without.

use super::*;

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
