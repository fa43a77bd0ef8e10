//! All attacks at once, again and again, and then all must be as before.
//!
//! `./dev soak [seconds]` runs it for long; with the other tests it is short.

use super::{
    ATTACKS,
    arena::{Arena, Baseline, until_idle},
    attacks::needs_local,
};
use opg_tests::{app::forget_logs, spans};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a tool may take: all of them share the machine, and each must come to its own end.
const TOGETHER: Duration = Duration::from_secs(4);
/// How long, unless `OPG_SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 5;

/// Which part of that goes before it counts, as well: each guest attacks once at the least.
const WARM_UP_PART: u32 = 4;
/// And how long that is at the least: the short run has as much before as it has after.
const WARM_UP_MIN: Duration = Duration::from_secs(SECONDS);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_forty_together_leave_nothing_behind() {
    let seconds =
        std::env::var("OPG_SOAK_SECONDS").ok().map_or(SECONDS, |text| text.parse().expect("a number"));
    let arenas = [Arena::start(false, TOGETHER).await, Arena::start(true, TOGETHER).await];
    let mut mallories = vec![];
    for (guest, attack) in ATTACKS {
        let arena = &arenas[usize::from(needs_local(guest.name))];
        mallories.push((arena.mallory(*guest).await, *attack));
    }
    // A while before it counts: everything is compiled, every pool has its connections, and of the engine's slots as
    // many are warm as are ever used at once. What grows from there on is lost.
    let warm_up = WARM_UP_MIN.max(Duration::from_secs(seconds) / WARM_UP_PART);
    rounds(&mallories, &arenas[0], warm_up).await;
    forget(&arenas);
    let before = both(&arenas).await;
    let heap_before = heap();
    let connections_before = connections(&arenas).await;
    let (done, neighbours) = rounds(&mallories, &arenas[0], Duration::from_secs(seconds)).await;
    forget(&arenas);
    let after = both(&arenas).await;
    let heap_after = heap();
    let connections_after = connections(&arenas).await;

    println!("{seconds} s of all {} guests at once", ATTACKS.len());
    for (guest, times) in &done {
        println!("{times:6} × {guest}");
    }
    println!("{neighbours:6} calls of the neighbour, all served");
    println!(
        "memory      {:>8} KiB before, {:>8} KiB after",
        before.memory_bytes >> 10,
        after.memory_bytes >> 10
    );
    if let (Some(before), Some(after)) = (&heap_before, &heap_after) {
        println!(
            "  allocated {:>8} KiB before, {:>8} KiB after",
            before.allocated >> 10,
            after.allocated >> 10
        );
        println!("  free heap {:>8} KiB before, {:>8} KiB after", before.free >> 10, after.free >> 10);
    }
    println!("threads     {:>8}     before, {:>8}     after", before.threads, after.threads);
    println!("files       {:>8}     before, {:>8}     after", before.files, after.files);
    println!("tasks       {:>8}     before, {:>8}     after", before.tasks, after.tasks);
    println!("connections {connections_before:>8}     before, {connections_after:>8}     after");
    before.is_back(&arenas[0]).await;
    assert!(
        connections_after <= connections_before + CONNECTIONS_KEPT_MAX,
        "{connections_after} connections"
    );
    assert!(done.values().all(|times| *times > 0), "each had its turn: {done:?}");
}

/// What the test itself keeps of what it saw is none of the host's; nor is what the allocator keeps for the next one who
/// asks.
fn forget(arenas: &[Arc<Arena>; 2]) {
    forget_logs();
    spans::forget();
    for arena in arenas {
        arena.site.forget();
    }
    // SAFETY: it takes a number and gives pages back; any thread may call it at any time.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Connections to the database that a pool may have opened since.
const CONNECTIONS_KEPT_MAX: usize = 8;

async fn both(arenas: &[Arc<Arena>; 2]) -> Baseline {
    until_idle(&arenas[0]).await;
    Baseline::of(&arenas[1]).await
}

async fn connections(arenas: &[Arc<Arena>; 2]) -> usize {
    let mut count = 0;
    for arena in arenas {
        let all = "select pid::text from pg_stat_activity where datname = current_database()";
        count += arena.app.sql(all).await.len();
    }
    count
}

/// Runs all attacks side by side until the time is over, each at least once; how often each was done, and how many calls
/// of the neighbour were served meanwhile.
async fn rounds(
    mallories: &[(super::Mallory, super::Attack)],
    arena: &Arc<Arena>,
    time: Duration,
) -> (BTreeMap<&'static str, u64>, u64) {
    let until = Instant::now() + time;
    let done = Arc::new(Mutex::new(BTreeMap::new()));
    let attacks: Vec<_> = mallories
        .iter()
        .map(|(mallory, attack)| {
            let (mallory, attack, done) = (mallory.clone(), *attack, done.clone());
            tokio::spawn(async move {
                loop {
                    attack(&mallory).await;
                    *done.lock().unwrap().entry(mallory.guest.name).or_default() += 1;
                    forget_logs();
                    if Instant::now() >= until {
                        return;
                    }
                }
            })
        })
        .collect();
    let served = Arc::new(AtomicU64::new(0));
    let (counts, neighbour) = (served.clone(), arena.clone());
    let neighbour = tokio::spawn(async move {
        loop {
            neighbour.neighbours_call().await;
            counts.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    for attack in attacks {
        attack.await.unwrap();
    }
    assert!(!neighbour.is_finished(), "the neighbour is served throughout");
    neighbour.abort();
    let done = done.lock().unwrap().clone();
    (done, served.load(Ordering::Relaxed))
}

/// What the allocator says of itself, in bytes.
struct Heap {
    /// What the process uses.
    allocated: u64,
    /// What it has given back, and the allocator keeps for the next.
    free: u64,
}

/// None where the allocator is another than glibc's, or says something else.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn heap() -> Option<Heap> {
    let file = tempfile::NamedTempFile::new().ok()?;
    let path = std::ffi::CString::new(file.path().to_str()?).ok()?;
    // SAFETY: both strings end with a zero; the stream is checked, and closed once.
    unsafe {
        let stream = libc::fopen(path.as_ptr(), c"w".as_ptr());
        if stream.is_null() {
            return None;
        }
        libc::malloc_info(0, stream);
        libc::fclose(stream);
    }
    let text = std::fs::read_to_string(file.path()).ok()?;
    // The totals of all arenas stand last.
    let last = |kind: &str| -> Option<u64> {
        let line = text.lines().rev().find(|line| line.contains(kind))?;
        line.split("size=\"").nth(1)?.split('"').next()?.parse().ok()
    };
    let free = last("total type=\"fast\"")? + last("total type=\"rest\"")?;
    let held = last("system type=\"current\"")? + last("total type=\"mmap\"")?;
    Some(Heap { allocated: held.saturating_sub(free), free })
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn heap() -> Option<Heap> {
    None
}
