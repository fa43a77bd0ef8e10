use opg_host::sandbox::*;
#[tokio::test]
async fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::new(SandboxConfig { cache_dir: dir.path().into(), worker_threads: 2, calls_in_flight_max: 8, host: tokio::runtime::Handle::current() }).unwrap();
    let t = std::time::Instant::now();
    let c = sandbox.load(opg_tests::guests::WORD_COUNT.into()).await.unwrap();
    println!("{:?}", t.elapsed());
    println!("{:?}", sandbox.describe_tool(&c).await.unwrap());
    for _ in 0..5 {
    let r = sandbox.call_tool(&c, std::sync::Arc::new(door::ClosedDoor), CallLimits::default(), "word_count", r#"{"text":"a b a","top":1}"#.into(), CallContext::default()).await;
    println!("{r:?}");
    }
}
