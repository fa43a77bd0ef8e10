//! Work that is carried through, whether or not whoever began it still waits.
//!
//! A task of its own would do as well, but costs whoever waits two switches of tasks, each of which may wake the other
//! core. Here the work is done where it is waited for, and becomes a task only when that ends.

use crate::app::App;
use std::{
    pin::Pin,
    task::{Context, Poll},
};

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something that goes on by itself when this is dropped before it was done.
#[must_use = "dropped, it goes on in a task of its own"]
pub(crate) struct Carried<T: Send + 'static> {
    app: App,
    /// None once it is done.
    work: Option<Work<T>>,
}

impl App {
    /// Does something here that must be carried through also where whoever waits for it goes away.
    pub(crate) fn carry<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Carried<T> {
        Carried { app: self.clone(), work: Some(Box::pin(work)) }
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
            drop(self.app.spawn(work));
        }
    }
}
