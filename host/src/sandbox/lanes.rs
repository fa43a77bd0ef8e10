//! The threads guests run on: a lane for calls that began lately, and one for those that go on and on.
//!
//! A call that computes for longer than most do changes lanes, once, and so do
//! the calls of an app that together compute as much. So what a short call
//! finds before it is other short calls, never a guest that spins; and the
//! threads of the long lane stand back behind all others, which then hardly
//! notice it; what a priority does not bound is bound there as well ([`Share`]).

use super::cpu::{Stopwatch, pages_given, step_back};
use super::share::Share;
use super::state::AbortOnDrop;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;
use tokio::runtime::{Handle, Runtime};

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

    /// Threads that stand back, for other work of the kind.
    pub(super) fn behind(&self) -> &Handle {
        self.long.handle()
    }

    /// Runs a call to its end, at its app's expense; `None` where it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        share: Share,
        call: Pin<Box<impl Future<Output = T> + Send + 'static>>,
    ) -> Option<T> {
        let call = if share.is_used_up(Instant::now()) {
            call
        } else {
            match AbortOnDrop(self.fresh.spawn(begin(share.clone(), call))).await.ok()? {
                Begun::Ended(output) => return Some(output),
                Begun::Long(call) => call,
            }
        };
        AbortOnDrop(self.long.spawn(go_on(share, call))).await.ok()
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
    /// It, or its app, computes for long.
    Long(C),
}

/// Polls a call until it ends, or its app's share is used up.
async fn begin<C: Future>(share: Share, call: Pin<Box<C>>) -> Begun<C::Output, Pin<Box<C>>> {
    let mut call = Some(call);
    poll_fn(|cx| {
        let Some(running) = call.as_mut() else { return Poll::Pending };
        let (stopwatch, pages_before) = (Stopwatch::start(), pages_given());
        let polled = running.as_mut().poll(cx);
        let now = Instant::now();
        share.charge_pages(pages_given().wrapping_sub(pages_before), now);
        let used_up = share.charge_time(stopwatch.elapsed(), now);
        match (polled, used_up) {
            (Poll::Ready(output), _) => Poll::Ready(Begun::Ended(output)),
            (Poll::Pending, false) => Poll::Pending,
            (Poll::Pending, true) => call.take().map_or(Poll::Pending, |call| Poll::Ready(Begun::Long(call))),
        }
    })
    .await
}

/// Polls a call to its end, with pauses for the pages it is given; before its answer as well, or many short calls would
/// have none.
async fn go_on<C: Future>(share: Share, mut call: Pin<Box<C>>) -> C::Output {
    loop {
        let (output, pause) = poll_fn(|cx| {
            let pages_before = pages_given();
            let polled = call.as_mut().poll(cx);
            let pages = pages_given().wrapping_sub(pages_before);
            match (polled, share.charge_pages(pages, Instant::now())) {
                (Poll::Pending, None) => Poll::Pending,
                (Poll::Pending, pause) => Poll::Ready((None, pause)),
                (Poll::Ready(output), pause) => Poll::Ready((Some(output), pause)),
            }
        })
        .await;
        if let Some(until) = pause {
            tokio::time::sleep_until(until.into()).await;
        }
        if let Some(output) = output {
            return output;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{limits::LONG_CALL_CPU, share::Shares};
    use super::*;

    fn thread() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    async fn compute() -> (String, String) {
        let stopwatch = Stopwatch::start();
        while stopwatch.elapsed() < LONG_CALL_CPU {}
        let before = thread();
        tokio::task::yield_now().await;
        (before, thread())
    }

    #[tokio::test]
    async fn a_call_that_goes_on_and_on_changes_lanes_and_a_short_one_does_not() {
        let (lanes, shares) = (Lanes::start(1).unwrap(), Shares::default());
        assert_eq!(
            lanes.run(shares.of("busy"), Box::pin(compute())).await.unwrap(),
            ("opg-guest".to_owned(), "opg-guest-long".to_owned())
        );
        let waits = async {
            tokio::time::sleep(2 * LONG_CALL_CPU).await;
            thread()
        };
        assert_eq!(lanes.run(shares.of("patient"), Box::pin(waits)).await.unwrap(), "opg-guest");
        let panics = Box::pin(async { panic!("as the test wants") });
        assert!(lanes.run(shares.of("patient"), panics).await.is_none());
        lanes.shutdown_background();
    }

    #[tokio::test]
    async fn an_app_that_has_computed_long_begins_behind_the_others() {
        let (lanes, shares) = (Lanes::start(1).unwrap(), Shares::default());
        lanes.run(shares.of("busy"), Box::pin(compute())).await.unwrap();
        let began = async |app| lanes.run(shares.of(app), Box::pin(async { thread() })).await.unwrap();
        assert_eq!(
            (began("busy").await, began("neighbour").await),
            ("opg-guest-long".to_owned(), "opg-guest".to_owned())
        );
        lanes.shutdown_background();
    }
}
