//! Whether a source answers, counted while it is used: one that keeps failing is left alone for a while.
//!
//! Closed: it is asked. Where half of what it was asked in a minute failed, it opens: it is not asked for
//! [`OPEN_TIME`], then by one request alone, which closes it or opens it anew.
//!
//! Counted in this process and forgotten with it: each host finds out for itself, from its own requests.

use crate::models::{UpstreamError, UpstreamErrorKind};
use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;

/// How far back outcomes count.
pub const WINDOW: Duration = Duration::seconds(60);
/// Outcomes that count at the most: of a busy source, the last of its minute.
pub const OUTCOMES_MAX: usize = 200;
/// Outcomes before a source is judged: one failure of a quiet one says nothing.
pub const OUTCOMES_MIN: usize = 5;
/// Failures among them, in percent, that open it.
pub const ERRORS_PERCENT: usize = 50;
/// How long it is left alone: long enough for a provider's hiccup, short enough that nobody waits for an operator.
pub const OPEN_TIME: Duration = Duration::seconds(30);

/// The circuits of all sources.
#[derive(Default)]
pub struct Circuits(Mutex<HashMap<Uuid, Circuit>>);

#[derive(Default)]
struct Circuit {
    state: State,
    outcomes: VecDeque<Outcome>,
    last_error: Option<LastError>,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: DateTime<Utc>,
    },
    /// One request is under way to see whether it answers again.
    HalfOpen,
}

#[derive(Clone, Copy)]
struct Outcome {
    at: DateTime<Utc>,
    ok: bool,
    latency_ms: u64,
}

/// The last failure of a source.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    at: DateTime<Utc>,
    code: String,
}

/// What is known of a source.
#[derive(Debug, Serialize)]
pub struct Health {
    /// `closed`, `open` or `half_open`.
    pub circuit: &'static str,
    /// When it is asked again, where it is open.
    pub asked_again_at: Option<DateTime<Utc>>,
    /// How far back the rest looks, in seconds.
    pub window_s: i64,
    /// Requests that ended or began to be answered.
    pub requests: usize,
    /// Those that failed.
    pub errors: usize,
    /// As a part of 1.
    pub error_rate: f64,
    /// Until the first word, of half of what was answered.
    pub latency_ms_p50: Option<u64>,
    /// Of 95 in a hundred.
    pub latency_ms_p95: Option<u64>,
    /// The last failure, however long ago.
    pub last_error: Option<LastError>,
}

/// How a request may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Like any other.
    Usual,
    /// Alone, to see whether the source answers again.
    Probe,
}

impl Circuits {
    /// Whether a source may be asked now; else when it is worth trying.
    pub(crate) fn admit(&self, source_id: Uuid, now: DateTime<Utc>) -> Result<Turn, DateTime<Utc>> {
        let mut circuits = self.lock();
        let circuit = circuits.entry(source_id).or_default();
        match circuit.state {
            State::Closed => Ok(Turn::Usual),
            State::Open { until } if now < until => Err(until),
            State::Open { .. } => {
                circuit.state = State::HalfOpen;
                Ok(Turn::Probe)
            }
            State::HalfOpen => Err(now + OPEN_TIME),
        }
    }

    /// A source answered.
    pub(crate) fn answered(&self, source_id: Uuid, turn: Turn, now: DateTime<Utc>, latency_ms: u64) {
        let mut circuits = self.lock();
        let circuit = circuits.entry(source_id).or_default();
        if turn == Turn::Probe {
            circuit.state = State::Closed;
            circuit.outcomes.clear();
        }
        circuit.count(Outcome { at: now, ok: true, latency_ms });
    }

    /// A source did not answer, or broke off.
    pub(crate) fn failed(
        &self,
        source_id: Uuid,
        turn: Turn,
        now: DateTime<Utc>,
        latency_ms: u64,
        error: &UpstreamError,
    ) {
        if error.kind == UpstreamErrorKind::Rejected {
            return self.answered(source_id, turn, now, latency_ms); // the request's fault
        }
        let mut circuits = self.lock();
        let circuit = circuits.entry(source_id).or_default();
        circuit.last_error = Some(LastError { at: now, code: error.code.clone() });
        circuit.count(Outcome { at: now, ok: false, latency_ms });
        let open = State::Open { until: now + OPEN_TIME };
        match circuit.state {
            State::HalfOpen if turn == Turn::Probe => circuit.state = open,
            State::Closed if circuit.is_failing() => circuit.state = open,
            State::Closed | State::Open { .. } | State::HalfOpen => {}
        }
    }

    /// Whoever asked went away before there was an answer.
    pub(crate) fn left(&self, source_id: Uuid, turn: Turn, now: DateTime<Utc>) {
        if turn == Turn::Probe {
            self.lock().entry(source_id).or_default().state = State::Open { until: now };
        }
    }

    /// Forgets a source that was changed or removed.
    pub(super) fn forget(&self, source_id: Uuid) {
        self.lock().remove(&source_id);
    }

    /// What is known of a source.
    pub(super) fn health(&self, source_id: Uuid, now: DateTime<Utc>) -> Health {
        let mut circuits = self.lock();
        let fresh = Circuit::default();
        let circuit = match circuits.get_mut(&source_id) {
            Some(circuit) => {
                circuit.let_go(now);
                &*circuit
            }
            None => &fresh,
        };
        let requests = circuit.outcomes.len();
        let errors = circuit.errors();
        let mut latencies: Vec<u64> =
            circuit.outcomes.iter().filter(|o| o.ok).map(|o| o.latency_ms).collect();
        latencies.sort_unstable();
        let percentile =
            |percent: usize| latencies.get((latencies.len() * percent / 100).min(latencies.len().max(1) - 1));
        let (name, asked_again_at) = match circuit.state {
            State::Closed => ("closed", None),
            State::Open { until } => ("open", Some(until)),
            State::HalfOpen => ("half_open", None),
        };
        Health {
            circuit: name,
            asked_again_at,
            window_s: WINDOW.num_seconds(),
            requests,
            errors,
            error_rate: if requests == 0 { 0.0 } else { errors as f64 / requests as f64 },
            latency_ms_p50: percentile(50).copied(),
            latency_ms_p95: percentile(95).copied(),
            last_error: circuit.last_error.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Circuit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Circuit {
    fn count(&mut self, outcome: Outcome) {
        self.let_go(outcome.at);
        if self.outcomes.len() == OUTCOMES_MAX {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(outcome);
    }

    fn let_go(&mut self, now: DateTime<Utc>) {
        while self.outcomes.front().is_some_and(|oldest| oldest.at + WINDOW <= now) {
            self.outcomes.pop_front();
        }
    }

    fn errors(&self) -> usize {
        self.outcomes.iter().filter(|outcome| !outcome.ok).count()
    }

    fn is_failing(&self) -> bool {
        let count = self.outcomes.len();
        count >= OUTCOMES_MIN && self.errors() * 100 >= count * ERRORS_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Uuid = Uuid::from_u128(1);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::seconds(seconds)
    }

    fn fail(circuits: &Circuits, turn: Turn, seconds: i64) {
        let error = UpstreamError::new(UpstreamErrorKind::Failed);
        circuits.failed(SOURCE, turn, at(seconds), 7, &error);
    }

    fn state(circuits: &Circuits, seconds: i64) -> &'static str {
        circuits.health(SOURCE, at(seconds)).circuit
    }

    #[test]
    fn m497_a_source_that_keeps_failing_is_left_alone_and_then_asked_by_one_request() {
        let circuits = Circuits::default();
        for second in 0..4 {
            assert_eq!(circuits.admit(SOURCE, at(second)), Ok(Turn::Usual));
            fail(&circuits, Turn::Usual, second);
        }
        assert_eq!(state(&circuits, 4), "closed", "four say too little");
        fail(&circuits, Turn::Usual, 4);
        assert_eq!(state(&circuits, 4), "open");
        assert_eq!(circuits.admit(SOURCE, at(33)), Err(at(34)));
        assert_eq!(circuits.admit(SOURCE, at(34)), Ok(Turn::Probe));
        assert!(circuits.admit(SOURCE, at(34)).is_err(), "one alone");
        fail(&circuits, Turn::Probe, 35);
        assert_eq!(circuits.admit(SOURCE, at(64)), Err(at(65)));
        assert_eq!(circuits.admit(SOURCE, at(65)), Ok(Turn::Probe));
        circuits.answered(SOURCE, Turn::Probe, at(66), 20);
        assert_eq!(circuits.admit(SOURCE, at(66)), Ok(Turn::Usual));
        let health = circuits.health(SOURCE, at(66));
        assert_eq!((health.requests, health.errors, health.latency_ms_p50), (1, 0, Some(20)));
        assert_eq!(health.last_error.unwrap().code, "provider_error");
    }

    #[test]
    fn m497_what_is_the_requests_fault_what_is_old_and_what_is_rare_opens_nothing() {
        let circuits = Circuits::default();
        let theirs = UpstreamError::new(UpstreamErrorKind::Rejected);
        for second in 0..10 {
            circuits.failed(SOURCE, Turn::Usual, at(second), 1, &theirs);
        }
        for second in 10..19 {
            fail(&circuits, Turn::Usual, second);
        }
        assert_eq!(state(&circuits, 19), "closed", "9 of 19");
        fail(&circuits, Turn::Usual, 19);
        assert_eq!(state(&circuits, 19), "open", "half");

        let slow = Circuits::default();
        for minute in 0..20 {
            fail(&slow, Turn::Usual, minute * 61);
        }
        assert_eq!(state(&slow, 20 * 61), "closed");
        assert_eq!(slow.health(SOURCE, at(20 * 61)).requests, 0);
    }

    #[test]
    fn m497_a_probe_that_is_left_lets_the_next_one_try_and_an_old_request_decides_nothing() {
        let circuits = Circuits::default();
        (0..5).for_each(|second| fail(&circuits, Turn::Usual, second));
        assert_eq!(circuits.admit(SOURCE, at(40)), Ok(Turn::Probe));
        circuits.answered(SOURCE, Turn::Usual, at(41), 1);
        circuits.left(SOURCE, Turn::Usual, at(41));
        assert!(circuits.admit(SOURCE, at(41)).is_err(), "those were sent before it opened");
        circuits.left(SOURCE, Turn::Probe, at(42));
        assert_eq!(circuits.admit(SOURCE, at(42)), Ok(Turn::Probe));
        circuits.forget(SOURCE);
        assert_eq!(circuits.admit(SOURCE, at(43)), Ok(Turn::Usual));
    }
}
