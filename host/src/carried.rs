//! Work that is carried through, whether or not whoever began it still waits.
//!
//! A task of its own would do as well, but costs whoever waits two switches of tasks, each of which may wake the other
//! core. Here the work is done where it is waited for, and becomes a task only when that ends.

use crate::app::App;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that goes on by itself when this is dropped before it was done.
#[must_use = "dropped, it goes on in a task of its own"]
pub(crate) struct Carried<T: Send + 'static> {
    background: TaskTracker,
    runtime: Handle,
    /// None once it is done.
    work: Option<Work<T>>,
}

impl App {
    /// Does something here that must be carried through also where whoever waits for it goes away.
    pub(crate) fn carry<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Carried<T> {
        let (background, runtime) = (self.background.clone(), self.runtime.clone());
        Carried { background, runtime, work: Some(Box::pin(work)) }
    }
}

impl<T: Send + 'static> Future for Carried<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let done = work.as_mut().poll(context);
        if done.is_ready() {
            self.work = None;
        }
        done
    }
}

impl<T: Send + 'static> Drop for Carried<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            drop(self.background.spawn_on(work, &self.runtime));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        time::Duration,
    };
    use tokio::sync::oneshot;

    /// Work that counts how often it began and ended, and waits in between.
    fn work(background: &TaskTracker) -> (Carried<&'static str>, oneshot::Sender<()>, [Arc<AtomicU32>; 2]) {
        let (go_on, wait) = oneshot::channel();
        let counts = [Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0))];
        let [began, ended] = counts.clone();
        let work = async move {
            began.fetch_add(1, Ordering::SeqCst);
            let _ = wait.await;
            ended.fetch_add(1, Ordering::SeqCst);
            "done"
        };
        let (background, runtime) = (background.clone(), Handle::current());
        (Carried { background, runtime, work: Some(Box::pin(work)) }, go_on, counts)
    }

    #[tokio::test]
    async fn what_is_waited_for_is_done_in_place_and_in_no_task() {
        let background = TaskTracker::new();
        let (carried, go_on, [began, ended]) = work(&background);
        go_on.send(()).unwrap();
        assert_eq!(carried.await, "done");
        assert!(background.is_empty());
        assert_eq!((began.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (1, 1));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_done_once_all_the_same() {
        let background = TaskTracker::new();
        for polled in [false, true] {
            let (mut carried, go_on, [began, ended]) = work(&background);
            if polled {
                let waited = tokio::time::timeout(Duration::from_millis(1), &mut carried).await;
                assert!(waited.is_err(), "it waits");
            }
            assert_eq!(began.load(Ordering::SeqCst), u32::from(polled));
            drop(carried);
            assert_eq!(background.len(), 1);
            go_on.send(()).unwrap();
            background.close();
            background.wait().await;
            background.reopen();
            assert_eq!((began.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (1, 1));
        }
    }
}
