//! Closed-loop load: each client sends its next request when it has its answer.

use std::time::{Duration, Instant};

/// How much, for how long.
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) time: Duration,
}

/// What was measured.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// Sends `request` again and again from every client, and takes each one's time.
pub(crate) async fn measure<F: Future<Output = ()>>(load: &Load, request: impl Fn() -> F) -> Measured {
    run(load.clients, load.time / 10, &request).await;
    let started = Instant::now();
    let mut times = run(load.clients, load.time, &request).await;
    let took = started.elapsed();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    Measured { per_second: times.len() as f64 / took.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
}

async fn run<F: Future<Output = ()>>(
    clients: usize,
    time: Duration,
    request: &impl Fn() -> F,
) -> Vec<Duration> {
    let until = Instant::now() + time;
    let client = || async {
        let mut times = vec![];
        while Instant::now() < until {
            let started = Instant::now();
            request().await;
            times.push(started.elapsed());
        }
        times
    };
    futures_util::future::join_all((0..clients).map(|_| client())).await.concat()
}
