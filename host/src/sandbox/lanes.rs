//! The threads guests run on: a lane for calls that began lately, and one for those that go on and on.
//!
//! A call that computes for longer than most do changes lanes, once. So what a
//! short call finds before it is other short calls, never a guest that spins;
//! and the threads of the long lane stand back behind all others, which then
//! hardly notice it.

use super::cpu::{Stopwatch, step_back};
use super::limits::LONG_CALL_CPU;
use super::state::AbortOnDrop;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Both lanes, each with a thread for each core.
pub(super) struct Lanes {
    fresh: Runtime,
    long: Runtime,
}

/// How many tasks a worker polls before it looks at timers, and at tasks from
/// other threads. A guest's poll may take a whole tick: the usual 61 would make
/// a deadline more than half a second late.
const POLLS_BEFORE_EVENTS: u32 = 2;

impl Lanes {
    pub(super) fn start(worker_threads: usize) -> std::io::Result<Self> {
        let lane = |name: &str| {
            let mut lane = tokio::runtime::Builder::new_multi_thread();
            lane.worker_threads(worker_threads)
                .thread_name(name)
                .event_interval(POLLS_BEFORE_EVENTS)
                .global_queue_interval(POLLS_BEFORE_EVENTS)
                .enable_time();
            lane
        };
        let fresh = lane("opg-guest").build()?;
        let long = lane("opg-guest-long").on_thread_start(step_back).build()?;
        Ok(Self { fresh, long })
    }

    /// Where calls begin, and where their timers are.
    pub(super) fn fresh(&self) -> &Runtime {
        &self.fresh
    }

    /// Runs a call to its end; `None` where it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: Pin<Box<impl Future<Output = T> + Send + 'static>>,
    ) -> Option<T> {
        match AbortOnDrop(self.fresh.spawn(begin(call))).await.ok()? {
            Begun::Ended(output) => Some(output),
            Begun::Long(call) => AbortOnDrop(self.long.spawn(call)).await.ok(),
        }
    }

    /// Ends both without waiting: guests end at their next tick.
    pub(super) fn shutdown_background(self) {
        self.fresh.shutdown_background();
        self.long.shutdown_background();
    }
}

/// How a call began.
enum Begun<T, C> {
    /// It ended.
    Ended(T),
    /// It computes for long.
    Long(C),
}

/// Polls a call until it ends, or has computed for long.
async fn begin<C: Future>(call: Pin<Box<C>>) -> Begun<C::Output, Pin<Box<C>>> {
    let mut call = Some(call);
    let mut cpu = Duration::ZERO;
    poll_fn(|cx| {
        let Some(running) = call.as_mut() else { return Poll::Pending };
        let stopwatch = Stopwatch::start();
        let polled = running.as_mut().poll(cx);
        cpu += stopwatch.elapsed();
        match (polled, cpu >= LONG_CALL_CPU) {
            (Poll::Ready(output), _) => Poll::Ready(Begun::Ended(output)),
            (Poll::Pending, false) => Poll::Pending,
            (Poll::Pending, true) => call.take().map_or(Poll::Pending, |call| Poll::Ready(Begun::Long(call))),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_call_that_goes_on_and_on_changes_lanes_and_a_short_one_does_not() {
        let lanes = Lanes::start(1).unwrap();
        let spin = async {
            let stopwatch = Stopwatch::start();
            while stopwatch.elapsed() < LONG_CALL_CPU {}
            let before = thread();
            tokio::task::yield_now().await;
            (before, thread())
        };
        assert_eq!(
            lanes.run(Box::pin(spin)).await.unwrap(),
            ("opg-guest".to_owned(), "opg-guest-long".to_owned())
        );
        let waits = async {
            tokio::time::sleep(2 * LONG_CALL_CPU).await;
            thread()
        };
        assert_eq!(lanes.run(Box::pin(waits)).await.unwrap(), "opg-guest");
        assert!(lanes.run(Box::pin(async { panic!("as the test wants") })).await.is_none());
        lanes.shutdown_background();
    }
}
