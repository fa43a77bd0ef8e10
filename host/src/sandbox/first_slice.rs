//! Where the first slice of a call runs. A slice is what runs between two ticks.
//!
//! To hand a call to the guests' threads and its answer back takes longer than
//! most calls do. So a tool's call may begin on the thread of the host that
//! asks for it; what has not ended by the next tick, or waits for the host,
//! goes on where guests belong.
//!
//! What keeps guests from taking the host's threads:
//! - One thread of the host is never lent: with a single one, no call begins there.
//! - A tool is trusted by its last call alone: only if that one ended at once,
//!   wherever it ran, may the next one begin here.
//! - A place that was held for longer than a short call takes then rests, many
//!   times as long.

use super::cpu::Stopwatch;
use super::limits::{FIRST_SLICE_REST_FACTOR, SHORT_CALL_TIME};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};

/// Whether a tool's calls are expected to end in their first slice, and soon.
#[derive(Default)]
pub(super) struct Habit(AtomicBool);

impl Habit {
    pub(super) fn is_short(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Remembers how its last call went.
    pub(super) fn learn(&self, was_short: bool) {
        // Written by all threads: only if it changes, so that they need not take it from each other.
        if self.is_short() != was_short {
            self.0.store(was_short, Ordering::Relaxed);
        }
    }
}

/// The threads of the host that can be lent at the same time.
pub(super) struct Places {
    since: Instant,
    places: Box<[State]>,
}

struct State {
    /// From when it may be taken: microseconds after `Places::since`.
    free_from_us: AtomicU64,
    taken_times: AtomicU64,
}

/// Stands for a time that never comes.
const TAKEN: u64 = u64::MAX;

impl Places {
    /// All threads of a runtime but one.
    pub(super) fn on(host: &Handle) -> Self {
        Self::new(host.metrics().num_workers().saturating_sub(1))
    }

    fn new(count: usize) -> Self {
        let place = |_| State { free_from_us: 0.into(), taken_times: 0.into() };
        Self { since: Instant::now(), places: (0..count).map(place).collect() }
    }

    /// A place, if one is free and has rested.
    pub(super) fn take(&self) -> Option<Place<'_>> {
        let held = Stopwatch::start();
        let now_us = self.micros(held.started);
        let state = self.places.iter().find(|place| place.take(now_us))?;
        state.taken_times.fetch_add(1, Ordering::Relaxed);
        Some(Place { places: self, state, held })
    }

    /// How often one was taken.
    pub(super) fn taken_times(&self) -> u64 {
        self.places.iter().map(|place| place.taken_times.load(Ordering::Relaxed)).sum()
    }

    fn micros(&self, time: Instant) -> u64 {
        u64::try_from(time.duration_since(self.since).as_micros()).unwrap_or(TAKEN - 1)
    }
}

impl State {
    fn take(&self, now_us: u64) -> bool {
        let from_us = self.free_from_us.load(Ordering::Relaxed);
        from_us <= now_us
            && self
                .free_from_us
                .compare_exchange(from_us, TAKEN, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// One place, held for one slice.
pub(super) struct Place<'a> {
    places: &'a Places,
    state: &'a State,
    held: Stopwatch,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let rested = Instant::now() + rest(self.held.elapsed());
        self.state.free_from_us.store(self.places.micros(rested), Ordering::Relaxed);
    }
}

/// How long a place rests that was held for so much CPU time.
fn rest(held: Duration) -> Duration {
    if held > SHORT_CALL_TIME { held.saturating_mul(FIRST_SLICE_REST_FACTOR) } else { Duration::ZERO }
}

/// Polls a call once on this thread; `Err` where it panicked. Timers and what
/// else belongs to a runtime are those of the guests' one.
pub(super) async fn poll_here<C: Future>(
    guests: &Runtime,
    place: Place<'_>,
    mut call: Pin<&mut C>,
) -> std::thread::Result<Poll<C::Output>> {
    let first = poll_fn(|cx| Poll::Ready(poll_once(guests, call.as_mut(), cx))).await;
    drop(place);
    first
}

fn poll_once<C: Future>(
    guests: &Runtime,
    call: Pin<&mut C>,
    cx: &mut Context<'_>,
) -> std::thread::Result<Poll<C::Output>> {
    let _guests = guests.enter();
    // A panic must end the call, as it does on the guests' threads, and not whoever asks for it.
    catch_unwind(AssertUnwindSafe(|| call.poll(cx)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_of_the_host_is_never_lent() {
        assert!(Places::new(0).take().is_none());
        let places = Places::new(2);
        let held = (places.take().unwrap(), places.take().unwrap());
        assert!(places.take().is_none());
        drop(held.0);
        assert!(places.take().is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn a_runtime_lends_all_its_threads_but_one() {
        assert_eq!(Places::on(&Handle::current()).places.len(), 2);
    }

    #[test]
    fn a_place_held_for_long_rests_many_times_as_long() {
        assert_eq!(rest(SHORT_CALL_TIME), Duration::ZERO);
        assert_eq!(rest(Duration::from_millis(10)), Duration::from_millis(10) * FIRST_SLICE_REST_FACTOR);

        let places = Places::new(1);
        let (place, taken) = (places.take().unwrap(), Instant::now());
        let held = 2 * SHORT_CALL_TIME;
        while place.held.elapsed() < held {}
        drop(place);
        while places.take().is_none() {
            std::thread::yield_now();
        }
        assert!(taken.elapsed() >= held * FIRST_SLICE_REST_FACTOR, "{:?}", taken.elapsed());
    }
}
