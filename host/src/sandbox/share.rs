//! What the guests of each app take from others, besides memory: time to compute ahead of them, pages, and the host's
//! answers.
//!
//! Ahead of others they compute as much as one long call does before it stands back, and over time a fraction of a core.
//! So many calls that end before they are long take no more from a neighbour than one that goes on.
//!
//! For a page the kernel may interrupt all cores that run this process, so that they forget where it was before: a guest
//! that reads each of its pages and then writes it does that hundreds of thousands of times a second, and no priority
//! keeps it from that. So who was given more pages than a call usually wants pauses for each.
//!
//! What a guest asks of the host is done by threads that stand back behind nobody, also where the answer is no: so who
//! asks more often than a tool has reason to pauses for that as well.
//!
//! All are leaky buckets, kept as the time at which they are empty again (GCRA, ITU-T I.371).

use super::limits::{ASK_TIME, ASKS_AT_ONCE, LONG_CALL_CPU, PAGE_TIME, PAGES_AT_ONCE, SHARE_OF_CORE};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Above so many apps, those that owe nothing are forgotten.
const KEPT_MAX: usize = 1024;

/// What every app took lately.
#[derive(Clone, Default)]
pub(super) struct Shares(Arc<Mutex<HashMap<Box<str>, Taken>>>);

/// When what an app took is paid for.
#[derive(Clone, Copy)]
struct Taken {
    time: Instant,
    pages: Instant,
    asks: Instant,
}

/// One app's share.
#[derive(Clone)]
pub(super) struct Share {
    shares: Shares,
    app: Box<str>,
}

impl Shares {
    /// The share of an app; what belongs to none, as the description of what is uploaded, has one together.
    pub(super) fn of(&self, app: &str) -> Share {
        Share { shares: self.clone(), app: app.into() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Taken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Whether the app has computed so much that its guests stand back.
    pub(super) fn is_used_up(&self, now: Instant) -> bool {
        self.shares.lock().get(&self.app).is_some_and(|taken| taken.is_much(now))
    }

    /// Counts time one of its guests computed ahead of others; whether they stand back from now on.
    pub(super) fn charge_time(&self, cpu: Duration, now: Instant) -> bool {
        self.charge(now, |taken| {
            taken.time = taken.time.max(now) + cpu * SHARE_OF_CORE;
            taken.is_much(now)
        })
    }

    /// Counts pages one of its guests was given; until when it is to pause, if it was given many.
    pub(super) fn charge_pages(&self, pages: u32, now: Instant) -> Option<Instant> {
        self.charge(now, |taken| {
            taken.pages = taken.pages.max(now) + PAGE_TIME * pages;
            (taken.pages > now + PAGE_TIME * PAGES_AT_ONCE).then_some(taken.pages)
        })
    }

    /// Counts things that one of its guests asks of the host; until when it is to pause, if there were many.
    pub(super) fn charge_asks(&self, asks: u32, now: Instant) -> Option<Instant> {
        self.charge(now, |taken| {
            taken.asks = taken.asks.max(now) + ASK_TIME * asks;
            (taken.asks > now + ASK_TIME * ASKS_AT_ONCE).then_some(taken.asks)
        })
    }

    fn charge<T>(&self, now: Instant, charge: impl FnOnce(&mut Taken) -> T) -> T {
        let mut shares = self.shares.lock();
        if let Some(taken) = shares.get_mut(&self.app) {
            return charge(taken);
        }
        if shares.len() >= KEPT_MAX {
            shares.retain(|_, taken| taken.time.max(taken.pages).max(taken.asks) > now);
        }
        charge(shares.entry(self.app.clone()).or_insert(Taken { time: now, pages: now, asks: now }))
    }
}

impl Taken {
    fn is_much(self, now: Instant) -> bool {
        self.time.saturating_duration_since(now) >= LONG_CALL_CPU * SHARE_OF_CORE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_calls_use_a_share_up_as_one_long_call_does_and_time_gives_it_back() {
        let (shares, now) = (Shares::default(), Instant::now());
        let share = shares.of("busy");
        assert!(!share.charge_time(LONG_CALL_CPU / 2, now) && !share.is_used_up(now));
        assert!(share.charge_time(LONG_CALL_CPU / 2, now) && share.is_used_up(now));
        assert!(shares.of("busy").is_used_up(now), "it is the app's, not the call's");
        assert!(!shares.of("neighbour").is_used_up(now));
        let later = now + Duration::from_millis(1);
        assert!(!share.is_used_up(later));
        assert!(
            share.charge_time(Duration::from_millis(1), later),
            "of the rest it may use what time gave back"
        );
    }

    #[test]
    fn whoever_computes_less_than_a_share_never_stands_back() {
        let share = Shares::default().of("steady");
        let (each, mut now) = (LONG_CALL_CPU / 4, Instant::now());
        for _ in 0..1_000 {
            assert!(!share.charge_time(each, now));
            now += each * SHARE_OF_CORE;
        }
    }

    #[test]
    fn an_app_pauses_for_its_pages_once_they_are_many_however_many_calls_they_are_given_to() {
        let (shares, now) = (Shares::default(), Instant::now());
        assert_eq!(shares.of("busy").charge_pages(PAGES_AT_ONCE, now), None);
        assert_eq!(
            shares.of("busy").charge_pages(PAGES_AT_ONCE, now),
            Some(now + PAGE_TIME * PAGES_AT_ONCE * 2),
            "until all are paid for"
        );
        assert_eq!(shares.of("neighbour").charge_pages(PAGES_AT_ONCE, now), None);
        assert!(!shares.of("busy").is_used_up(now), "it has not computed");
        let later = now + PAGE_TIME * PAGES_AT_ONCE * 2;
        assert_eq!(shares.of("busy").charge_pages(1, later), None);
    }

    #[test]
    fn an_app_that_asks_more_often_than_a_tool_has_reason_to_pauses_and_then_asks_on() {
        let (shares, now) = (Shares::default(), Instant::now());
        for _ in 0..ASKS_AT_ONCE {
            assert_eq!(shares.of("busy").charge_asks(1, now), None);
        }
        assert_eq!(shares.of("busy").charge_asks(1, now), Some(now + ASK_TIME * (ASKS_AT_ONCE + 1)));
        assert_eq!(shares.of("neighbour").charge_asks(1, now), None);
        assert_eq!(shares.of("busy").charge_asks(1, now + ASK_TIME * 2), None);
    }

    #[test]
    fn apps_that_owe_nothing_are_forgotten() {
        let (shares, now) = (Shares::default(), Instant::now());
        for app in 0..KEPT_MAX {
            shares.of(&app.to_string()).charge_time(Duration::from_micros(1), now);
        }
        shares.of("later").charge_time(Duration::from_micros(1), now + Duration::from_secs(1));
        assert_eq!(shares.lock().len(), 1);
    }
}
