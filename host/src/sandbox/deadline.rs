//! When a call must have ended: a moment that is put off while a person is waited for.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The deadline of one call, shared by what runs it and what it waits for.
#[derive(Clone, Debug)]
pub(super) struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    pub(super) fn new(at: Instant) -> Self {
        Self(Arc::new(Mutex::new(at)))
    }

    pub(super) fn at(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn time_left(&self) -> Duration {
        self.at().saturating_duration_since(Instant::now())
    }

    /// Puts it off by `time`; when what comes back is dropped, by what was taken of it.
    pub(super) fn put_off(&self, time: Duration) -> PutOff {
        self.moved(|at| at + time);
        PutOff { deadline: self.clone(), time, since: Instant::now() }
    }

    fn moved(&self, to: impl FnOnce(Instant) -> Instant) {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *at = to(*at);
    }
}

/// While this is there, a deadline is put off.
#[must_use = "the deadline is put off as long as this is there"]
pub(super) struct PutOff {
    deadline: Deadline,
    time: Duration,
    since: Instant,
}

impl Drop for PutOff {
    fn drop(&mut self) {
        let unused = self.time.saturating_sub(self.since.elapsed());
        self.deadline.moved(|at| at - unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_of_a_delay_is_given_back() {
        let start = Instant::now();
        let deadline = Deadline::new(start + Duration::from_secs(30));
        let put_off = deadline.put_off(Duration::from_secs(300));
        assert_eq!(deadline.at(), start + Duration::from_secs(330));
        std::thread::sleep(Duration::from_millis(5));
        drop(put_off);
        let late = deadline.at() - (start + Duration::from_secs(30));
        assert!(late >= Duration::from_millis(5) && late < Duration::from_secs(10), "{late:?}");
    }
}
