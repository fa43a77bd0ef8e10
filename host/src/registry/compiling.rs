//! Whose turn it is to have something compiled.
//!
//! Compiling is the most that a request can cost us. So an app has one
//! component compiled at a time, whatever it uploads side by side, and so much
//! of it in an hour; the lanes of the compiler stay free for the others.

use crate::limits::{COMPILATIONS_WAITING_PER_APP_MAX, COMPILE_TIME_PER_APP_MAX, COMPILE_TIME_REFILL};
use chrono::{DateTime, Utc};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// The turns of all apps of this process.
#[derive(Clone, Default)]
pub struct Turns(Arc<Mutex<HashMap<Uuid, Account>>>);

/// Why it is not this app's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTurn {
    /// Too many of its uploads wait already.
    #[error(
        "{COMPILATIONS_WAITING_PER_APP_MAX} components of this app wait to be compiled; try again when they are done"
    )]
    TooManyWait,
    /// It has used its time.
    #[error(
        "this app's components took {} minutes to compile within an hour; try again in {} seconds",
        COMPILE_TIME_PER_APP_MAX.as_secs() / 60, .0.as_secs()
    )]
    TimeUsed(Duration),
}

/// An app's turn, until dropped.
pub struct Turn {
    turns: Turns,
    app_id: Uuid,
    began: Instant,
    _alone: OwnedSemaphorePermit,
}

struct Account {
    alone: Arc<Semaphore>,
    waiting: usize,
    /// What it used and has not been forgiven yet, as of `at`.
    used: Duration,
    at: DateTime<Utc>,
}

impl Turns {
    /// Waits for the app's turn.
    ///
    /// # Errors
    /// [`NoTurn`], at once.
    pub async fn take(&self, app_id: Uuid, now: DateTime<Utc>) -> Result<Turn, NoTurn> {
        let waiting = self.wait(app_id, now)?;
        let alone = waiting.alone.clone().acquire_owned().await.expect("the semaphore is never closed");
        drop(waiting);
        Ok(Turn { turns: self.clone(), app_id, began: Instant::now(), _alone: alone })
    }

    fn wait(&self, app_id: Uuid, now: DateTime<Utc>) -> Result<Waiting, NoTurn> {
        let mut accounts = self.lock();
        let account = accounts.entry(app_id).or_insert_with(|| Account::new(now));
        account.forgive(now);
        if account.used >= COMPILE_TIME_PER_APP_MAX {
            return Err(NoTurn::TimeUsed(time_until_free(account.used)));
        }
        if account.waiting >= COMPILATIONS_WAITING_PER_APP_MAX {
            return Err(NoTurn::TooManyWait);
        }
        account.waiting += 1;
        Ok(Waiting { turns: self.clone(), app_id, alone: account.alone.clone() })
    }

    /// Forgets apps that owe nothing.
    pub fn tidy(&self, now: DateTime<Utc>) {
        self.lock().retain(|_, account| {
            account.forgive(now);
            !account.used.is_zero() || account.waiting > 0 || account.alone.available_permits() == 0
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counted as waiting until dropped.
struct Waiting {
    turns: Turns,
    app_id: Uuid,
    alone: Arc<Semaphore>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(account) = self.turns.lock().get_mut(&self.app_id) {
            account.waiting -= 1;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(account) = self.turns.lock().get_mut(&self.app_id) {
            account.used += self.began.elapsed();
        }
    }
}

impl Account {
    fn new(now: DateTime<Utc>) -> Self {
        Self { alone: Arc::new(Semaphore::new(1)), waiting: 0, used: Duration::ZERO, at: now }
    }

    /// Time passes: what was used an hour ago is free again.
    fn forgive(&mut self, now: DateTime<Utc>) {
        let passed = (now - self.at).to_std().unwrap_or_default();
        let share = passed.as_secs_f64() / COMPILE_TIME_REFILL.as_secs_f64();
        self.used = self.used.saturating_sub(COMPILE_TIME_PER_APP_MAX.mul_f64(share.min(1.0)));
        self.at = self.at.max(now);
    }
}

/// Rounded up to seconds, for a client to wait.
fn time_until_free(used: Duration) -> Duration {
    let over = used.saturating_sub(COMPILE_TIME_PER_APP_MAX) + Duration::from_secs(1);
    let wait = COMPILE_TIME_REFILL.mul_f64(over.as_secs_f64() / COMPILE_TIME_PER_APP_MAX.as_secs_f64());
    Duration::from_secs(wait.as_secs() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
    }

    #[tokio::test]
    async fn an_app_compiles_one_at_a_time_and_others_do_not_wait_for_it() {
        let turns = Turns::default();
        let first = turns.take(APP, at(0)).await.unwrap();
        let second = tokio::spawn({
            let turns = turns.clone();
            async move { turns.take(APP, at(0)).await.unwrap() }
        });
        turns.take(OTHER, at(0)).await.unwrap();
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap();
    }

    #[tokio::test]
    async fn so_many_wait_and_one_that_gives_up_makes_room() {
        let turns = Turns::default();
        let _held = turns.take(APP, at(0)).await.unwrap();
        let waiting: Vec<_> =
            (0..COMPILATIONS_WAITING_PER_APP_MAX).map(|_| turns.wait(APP, at(0)).unwrap()).collect();
        assert_eq!(turns.wait(APP, at(0)).err(), Some(NoTurn::TooManyWait));
        drop(waiting);
        assert!(turns.wait(APP, at(0)).is_ok());
    }

    #[tokio::test]
    async fn an_app_that_used_its_time_comes_again_later_and_others_at_once() {
        let turns = Turns::default();
        drop(turns.take(APP, at(0)).await.unwrap());
        turns.lock().get_mut(&APP).unwrap().used = COMPILE_TIME_PER_APP_MAX + Duration::from_secs(30);
        let Err(NoTurn::TimeUsed(wait)) = turns.take(APP, at(0)).await else { panic!("it had its time") };
        assert!(turns.take(OTHER, at(0)).await.is_ok());
        let seconds = i64::try_from(wait.as_secs()).unwrap();
        assert!(turns.take(APP, at(seconds - 60)).await.is_err());
        assert!(turns.take(APP, at(seconds)).await.is_ok());
    }

    #[tokio::test]
    async fn who_owes_nothing_is_forgotten() {
        let turns = Turns::default();
        drop(turns.take(APP, at(0)).await.unwrap());
        let held = turns.take(OTHER, at(0)).await.unwrap();
        turns.tidy(at(3600));
        assert_eq!(turns.lock().keys().collect::<Vec<_>>(), [&OTHER]);
        drop(held);
        turns.tidy(at(7200));
        assert!(turns.lock().is_empty());
    }
}
