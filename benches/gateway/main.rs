//! What a gateway adds to a call of a model: OPG, and whatever of three others is installed, before the same
//! upstream, in turns, so that a busy machine slows all of them alike. `direct` is the upstream itself.
//!
//! Every way gets the same request in OpenAI's chat dialect, and its answer is read to the end. OPG does what it
//! always does: it checks the credential, looks for tools and budgets, writes the ledger before the last word.
//! The others check no key and write nothing.

#[path = "../http/memory.rs"]
mod memory;
mod rivals;
mod way;

use opg_tests::{process::OpgProcess, upstream::ScriptedUpstream};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use way::Way;

/// Turns of each way.
const ROUNDS: usize = 5;
/// How long a turn is, and how long each way is warmed up before the first.
const TURN: Duration = Duration::from_millis(1200);
/// Requests the upstream keeps: it measures nothing of its own.
const KEPT_MAX: usize = 16;

fn main() {
    // The upstream and the clients on threads of their own, so that neither waits for the other's turn.
    let serving = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let serving = serving.expect("threads");
    let upstream = serving.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        ScriptedUpstream::start_on(listener, KEPT_MAX)
    });
    let asking = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
    asking.block_on(measure(&upstream));
}

async fn measure(upstream: &ScriptedUpstream) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let opg = OpgProcess::start_local(dir.path()).await;
    let mut ways = vec![Way::direct(upstream), way::opg(&opg, upstream).await];
    let configurations = tempfile::tempdir().expect("a temporary directory can be made");
    ways.extend(rivals::start(upstream, configurations.path()).await);

    for stream in [false, true] {
        for clients in [1, 16] {
            let plural = if clients == 1 { "client" } else { "clients" };
            println!("\n{clients} {plural}, {}\n", if stream { "streamed" } else { "not streamed" });
            table(&ways, clients, stream).await;
        }
    }
    println!("\nmemory after that\n");
    println!("| | itself | its children |\n|---|---|---|");
    for way in &ways {
        if let Some(pid) = way.pid() {
            println!("| {} | {} | {} |", way.name, memory::of(pid), memory::of_children(pid));
        }
    }
    drop(ways);
    opg.stop().await;
}

/// What was measured of one way.
#[derive(Default)]
struct Measured {
    times: Vec<Duration>,
    took: Duration,
    failed: usize,
}

async fn table(ways: &[Way], clients: usize, stream: bool) {
    let mut all: Vec<Measured> = ways.iter().map(|_| Measured::default()).collect();
    for way in ways {
        turn(way, clients, stream, &mut Measured::default()).await;
    }
    for _ in 0..ROUNDS {
        for (way, measured) in ways.iter().zip(&mut all) {
            turn(way, clients, stream, measured).await;
        }
    }
    println!(
        "| | requests/s | p50 ms | p99 ms | added p50 ms | added p99 ms | failed |\n|---|---|---|---|---|---|---|"
    );
    for measured in &mut all {
        measured.times.sort_unstable();
    }
    for (way, measured) in ways.iter().zip(&all) {
        let at = |share| (measured.at(share), measured.at(share) - all[0].at(share));
        let ((p50, added50), (p99, added99)) = (at(0.5), at(0.99));
        let per_second = measured.times.len() as f64 / measured.took.as_secs_f64();
        let (name, failed) = (way.name, measured.failed);
        println!(
            "| {name} | {per_second:.0} | {p50:.3} | {p99:.3} | {added50:.3} | {added99:.3} | {failed} |"
        );
    }
}

impl Measured {
    /// In milliseconds, the time that this share of the requests took at most.
    fn at(&self, share: f64) -> f64 {
        let position = (self.times.len() as f64 * share) as usize;
        let time = self.times.get(position.min(self.times.len().saturating_sub(1)));
        time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// Each client sends its next request when it has its answer.
async fn turn(way: &Way, clients: usize, stream: bool, measured: &mut Measured) {
    let (began, until) = (Instant::now(), Instant::now() + TURN);
    let client = || async {
        let (mut times, mut failed) = (vec![], 0);
        while Instant::now() < until {
            let started = Instant::now();
            if way.ask(stream).await {
                times.push(started.elapsed());
            } else {
                failed += 1;
            }
        }
        (times, failed)
    };
    for (times, failed) in futures_util::future::join_all((0..clients).map(|_| client())).await {
        measured.times.extend(times);
        measured.failed += failed;
    }
    measured.took += began.elapsed();
}
