//! CPU time of the thread that runs a guest: neighbours that keep it from
//! running cost a guest nothing.
//!
//! To ask the system for it takes a tenth of the time of a short call. So it
//! is asked now and then, and where something took long; in between the wall
//! clock does, which is never less.

#[cfg(target_os = "linux")]
use super::limits::GUEST_NICENESS;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The most that is counted too much, for each time something is measured.
const SLACK: Duration = Duration::from_micros(100);

/// What this thread's clocks said not long ago.
#[derive(Clone, Copy)]
struct Reading {
    wall: Instant,
    cpu: Duration,
}

thread_local! {
    static LAST: Cell<Option<Reading>> = const { Cell::new(None) };
}

/// Measures CPU time from its start, on the thread where it was started.
pub(super) struct Stopwatch {
    pub(super) started: Instant,
    before: Reading,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        let started = Instant::now();
        let last = LAST.get().filter(|last| started.duration_since(last.wall) <= SLACK);
        let before = last.unwrap_or_else(|| {
            let reading = Reading { wall: started, cpu: thread_cpu() };
            LAST.set(Some(reading));
            reading
        });
        Self { started, before }
    }

    /// The CPU time so far: never less than it was, and at most `SLACK` more.
    pub(super) fn elapsed(&self) -> Duration {
        let wall = self.started.elapsed();
        if wall <= SLACK { wall } else { wall.min(thread_cpu().saturating_sub(self.before.cpu)) }
    }
}

#[expect(unsafe_code, reason = "the standard library does not offer a thread's CPU time")]
fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the call to write to, and is not kept.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(failed, 0, "this clock is there on Linux and macOS");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How many pages the kernel has given this thread so far.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library does not know what a thread was given")]
pub(super) fn pages_given() -> u32 {
    // SAFETY: it is made of numbers, of which zero is one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a valid place for the call to write to, and is not kept.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    // Only differences are of interest: it may begin anew, and stays where it is where nothing is counted.
    if failed == 0 { usage.ru_minflt as u32 } else { 0 }
}

/// Elsewhere they are counted for the whole process.
#[cfg(not(target_os = "linux"))]
pub(super) fn pages_given() -> u32 {
    0
}

/// Lets the threads of the host, of short calls and of the database go before this one.
///
/// Where the system refuses, guests run as before: limits do not depend on it.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library does not know priorities")]
pub(super) fn step_back() {
    // SAFETY: takes a number and touches no memory of ours. On Linux a niceness is one thread's.
    let niceness = unsafe { libc::nice(GUEST_NICENESS) };
    tracing::debug!(niceness, "a thread for guests that compute");
}

/// Elsewhere a priority is the whole process's.
#[cfg(not(target_os = "linux"))]
pub(super) fn step_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_counts_and_sleep_does_not() {
        let (before, stopwatch) = (thread_cpu(), Stopwatch::start());
        while thread_cpu() - before < Duration::from_millis(5) {}
        let worked = stopwatch.elapsed();
        assert!(worked >= Duration::from_millis(4), "{worked:?}");
        std::thread::sleep(Duration::from_millis(50));
        assert!(stopwatch.elapsed() < worked + Duration::from_millis(10), "{:?}", stopwatch.elapsed());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_page_counts_once_it_is_touched() {
        const PAGES: usize = 1_000;
        let before = pages_given();
        let mut memory: Vec<u8> = Vec::with_capacity(PAGES * 4096);
        assert!(pages_given() - before < 100, "they are promised, and not given");
        memory.resize(PAGES * 4096, 1);
        std::hint::black_box(&memory);
        // Where the system gives huge pages unasked, each is 512.
        assert!(pages_given() - before >= 1, "of {PAGES}");
    }

    #[test]
    fn short_work_is_never_counted_as_less_and_little_more() {
        for _ in 0..1_000 {
            let stopwatch = Stopwatch::start();
            let before = thread_cpu();
            std::hint::black_box((0..200).sum::<u64>());
            let truth = thread_cpu() - before;
            let measured = stopwatch.elapsed();
            assert!(measured >= truth, "{measured:?} for {truth:?}");
        }
    }
}
