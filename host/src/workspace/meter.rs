//! What workspaces hold, counted in one place and before it is written.
//!
//! Bytes are counted by a file's length and not by what it takes on the disk: a file with holes counts whole. Each
//! file, directory and kept earlier state counts as one. A session and its app are counted together or not at all.

use crate::limits::{
    WORKSPACE_BYTES_MAX, WORKSPACE_BYTES_PER_APP_MAX, WORKSPACE_FILES_MAX, WORKSPACE_FILES_PER_APP_MAX,
};
use std::sync::{Arc, Mutex, PoisonError};

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Lengths of files.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

impl Amount {
    /// One file of this length.
    pub const fn file(bytes: u64) -> Amount {
        Amount { bytes, files: 1 }
    }

    fn and(self, more: Amount) -> Amount {
        Amount { bytes: self.bytes.saturating_add(more.bytes), files: self.files.saturating_add(more.files) }
    }

    fn without(self, less: Amount) -> Amount {
        Amount { bytes: self.bytes.saturating_sub(less.bytes), files: self.files.saturating_sub(less.files) }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, more: Amount) {
        *self = self.and(more);
    }
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The session's bytes.
    SessionBytes,
    /// The session's files.
    SessionFiles,
    /// The app's bytes.
    AppBytes,
    /// The app's files.
    AppFiles,
}

/// What all workspaces of an app on this host hold.
#[derive(Debug, Default)]
pub struct OfApp(Mutex<Amount>);

impl OfApp {
    pub(super) fn holding(amount: Amount) -> OfApp {
        OfApp(Mutex::new(amount))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Amount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one workspace holds, and its app with it.
#[derive(Debug)]
pub struct Meter {
    app: Arc<OfApp>,
    session: Mutex<Amount>,
}

impl Meter {
    /// Of a workspace that holds this much, which is counted in the app already.
    pub(super) fn new(app: Arc<OfApp>, holding: Amount) -> Arc<Meter> {
        Arc::new(Meter { app, session: Mutex::new(holding) })
    }

    /// Takes as much, or nothing.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn reserve(self: &Arc<Meter>, amount: Amount) -> Result<Reserved, Over> {
        self.take(amount)?;
        Ok(Reserved { meter: self.clone(), amount })
    }

    fn take(&self, amount: Amount) -> Result<(), Over> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut app = self.app.lock();
        let (of_session, of_app) = (session.and(amount), app.and(amount));
        // What adds nothing of a kind is not held up by it.
        let over = |added: u64, now: u64, max: u64| added > 0 && now > max;
        if over(amount.bytes, of_session.bytes, WORKSPACE_BYTES_MAX) {
            return Err(Over::SessionBytes);
        }
        if over(amount.files, of_session.files, WORKSPACE_FILES_MAX) {
            return Err(Over::SessionFiles);
        }
        if over(amount.bytes, of_app.bytes, WORKSPACE_BYTES_PER_APP_MAX) {
            return Err(Over::AppBytes);
        }
        if over(amount.files, of_app.files, WORKSPACE_FILES_PER_APP_MAX) {
            return Err(Over::AppFiles);
        }
        (*session, *app) = (of_session, of_app);
        Ok(())
    }

    /// Counts what is there whatever the limits say: what was there before comes back.
    pub fn count(&self, amount: Amount) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut app = self.app.lock();
        (*session, *app) = (session.and(amount), app.and(amount));
    }

    /// Gives back what is not there any more: no more than was taken.
    pub fn release(&self, amount: Amount) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut app = self.app.lock();
        let amount =
            Amount { bytes: amount.bytes.min(session.bytes), files: amount.files.min(session.files) };
        (*session, *app) = (session.without(amount), app.without(amount));
    }

    /// What it holds.
    pub fn holds(&self) -> Amount {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was taken for something that is being written. Given back when it is dropped.
#[derive(Debug)]
#[must_use = "what is dropped is given back"]
pub struct Reserved {
    meter: Arc<Meter>,
    amount: Amount,
}

impl Reserved {
    /// Takes more.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn more(&mut self, bytes: u64) -> Result<(), Over> {
        let more = Amount { bytes, files: 0 };
        self.meter.take(more)?;
        self.amount += more;
        Ok(())
    }

    /// It is there now.
    pub fn keep(mut self) {
        self.amount = Amount::default();
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.meter.release(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(app: &Arc<OfApp>) -> Arc<Meter> {
        Meter::new(app.clone(), Amount::default())
    }

    #[test]
    fn what_is_not_kept_is_given_back() {
        let app = Arc::new(OfApp::default());
        let meter = meter(&app);
        let mut reserved = meter.reserve(Amount::file(10)).unwrap();
        reserved.more(5).unwrap();
        assert_eq!(meter.holds(), Amount { bytes: 15, files: 1 });
        drop(reserved);
        assert_eq!((meter.holds(), *app.lock()), Default::default());
        meter.reserve(Amount::file(7)).unwrap().keep();
        assert_eq!((meter.holds(), *app.lock()), (Amount::file(7), Amount::file(7)));
    }

    #[test]
    fn a_limit_refuses_the_whole_and_counts_nothing() {
        let app = Arc::new(OfApp::default());
        let meter = meter(&app);
        let too_much = Amount { bytes: WORKSPACE_BYTES_MAX + 1, files: 1 };
        assert_eq!(meter.reserve(too_much).unwrap_err(), Over::SessionBytes);
        let too_many = Amount { bytes: 1, files: WORKSPACE_FILES_MAX + 1 };
        assert_eq!(meter.reserve(too_many).unwrap_err(), Over::SessionFiles);
        assert_eq!((meter.holds(), *app.lock()), Default::default());
    }

    #[test]
    fn many_sessions_fill_an_app_and_no_more() {
        let app = Arc::new(OfApp::default());
        let meters: Vec<_> =
            (0..=WORKSPACE_BYTES_PER_APP_MAX / WORKSPACE_BYTES_MAX).map(|_| meter(&app)).collect();
        let whole = Amount { bytes: WORKSPACE_BYTES_MAX, files: 0 };
        let (last, first) = meters.split_last().unwrap();
        first.iter().for_each(|meter| meter.reserve(whole).unwrap().keep());
        assert_eq!(last.reserve(Amount { bytes: 1, files: 0 }).unwrap_err(), Over::AppBytes);
        first[0].release(whole);
        last.reserve(whole).unwrap().keep();
    }

    #[test]
    fn no_number_of_writers_at_once_goes_over() {
        let app = Arc::new(OfApp::default());
        let meter = meter(&app);
        let piece = Amount { bytes: WORKSPACE_BYTES_MAX / 100, files: 1 };
        let taken: usize = std::thread::scope(|scope| {
            let writer = || {
                scope.spawn(|| (0..50).filter(|_| meter.reserve(piece).map(Reserved::keep).is_ok()).count())
            };
            let writers: Vec<_> = (0..8).map(|_| writer()).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }
}
