//! Deadlines, CPU time, and whoever stops waiting.

use super::*;

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

/// Only what it takes at the least is asserted: how much longer depends on the machine.
#[tokio::test]
async fn whoever_asks_the_host_too_often_pauses_and_soonest_where_it_is_refused() {
    let asking = async |door: Option<Arc<TestDoor>>, times: u32| {
        let bench = Bench::new();
        let component = bench.load(guests::EXFIL).await;
        let input = json!({"steps": [{"do": "ask_often", "name": "KEY", "times": times}]});
        let called = match door {
            Some(door) => bench.call_with(&component, door, CallLimits::default(), "exfil", input).await,
            None => bench.call(&component, "exfil", input).await,
        };
        (output(&called)[0]["ok"].clone(), called.spent.wall)
    };
    // 256 at once, and then one each 100 microseconds.
    let (answers, took) = asking(Some(Arc::default()), 256 + 1_000).await;
    assert_eq!(answers, json!({"ok": 1_256}));
    assert!(took >= Duration::from_millis(100), "{took:?}");
    // Each that is refused counts for ten more.
    let (answers, took) = asking(None, 126).await;
    assert_eq!(answers, json!({"denied": 126}));
    assert!(took >= Duration::from_millis(100), "{took:?}");
}
