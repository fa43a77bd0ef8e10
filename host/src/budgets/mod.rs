//! Budgets: how much may be spent on models, by an app, a credential or an end user, in a day, a month or ever
//! (rows M129, M498).
//!
//! The most a call may cost is held against every budget it counts for *before* a provider is asked, and what it did
//! cost is charged when it ends (`hold`, `settle`). What is spent and what is held are rows that change in one
//! transaction with the ledger, under one lock for each app, so that no number of calls at once overspends. A process
//! renews its holds while it lives; those of one that died are let go ([`sweep`]).
//!
//! An app sets budgets for itself; the operator sets others, which the app sees and cannot change. All of them count.
//! What an app may use of the platform's models in a month, in points, is one more of the operator's, whose unit is
//! milli-points (`Unit`): it counts for calls that cost points, is set with what the app may use (`points`), and is
//! shown apart.
//!
//! Deliberately absent: a budget of tokens (a grant has one: `model … tokens=N`), and money itself.

mod bound;
mod hold;
pub(crate) mod points;
pub mod routes;
mod set;
mod store;
pub mod sweep;

pub(crate) use bound::{Bounded, Speech};
pub use hold::HoldError;
pub(crate) use hold::{Hold, Spender, hold, settle, terms};

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

/// Budgets of one app by each that sets them: each is looked at for each call.
pub const BUDGETS_PER_APP_MAX: i64 = 20;
/// The largest budget, in micro-dollars: a billion dollars.
pub const LIMIT_MICRO_USD_MAX: u64 = 1_000_000_000_000_000;
/// How much of a budget is spent, in percent, when somebody is told, unless the budget says otherwise.
pub const ALERT_PERCENT: u8 = 80;
/// The longest name of an end user, in bytes: what OpenAI takes for `user`, and more.
pub const END_USER_BYTES_MAX: usize = 256;

/// When the periods began that `now` is in: the day, the month, all time.
pub(crate) fn periods(now: DateTime<Utc>) -> [DateTime<Utc>; 3] {
    [Period::Day, Period::Month, Period::Total].map(|period| period.start(now))
}

/// Whose spending a budget bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of the app's.
    App,
    /// One credential's, or that of each by itself.
    Credential,
    /// One end user's (`user` of a request), or that of each by itself.
    EndUser,
}

impl Scope {
    const fn name(self) -> &'static str {
        match self {
            Scope::App => "app",
            Scope::Credential => "credential",
            Scope::EndUser => "end_user",
        }
    }

    fn parse(name: &str) -> Option<Scope> {
        [Scope::App, Scope::Credential, Scope::EndUser].into_iter().find(|scope| scope.name() == name)
    }
}

/// What a budget is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    MicroUsd,
    MilliPoints,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Unit::MicroUsd => "micro_usd",
            Unit::MilliPoints => "milli_points",
        }
    }

    fn parse(name: &str) -> Option<Unit> {
        [Unit::MicroUsd, Unit::MilliPoints].into_iter().find(|unit| unit.name() == name)
    }
}

/// How long a budget lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From midnight to midnight, UTC.
    Day,
    /// From the first of a month on, UTC.
    Month,
    /// For ever.
    Total,
}

impl Period {
    const fn name(self) -> &'static str {
        match self {
            Period::Day => "day",
            Period::Month => "month",
            Period::Total => "total",
        }
    }

    fn parse(name: &str) -> Option<Period> {
        [Period::Day, Period::Month, Period::Total].into_iter().find(|period| period.name() == name)
    }

    /// When the period that `now` is in began.
    fn start(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let midnight = |day: chrono::NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
        match self {
            Period::Day => midnight(now.date_naive()),
            Period::Month => midnight(now.date_naive().with_day(1).unwrap_or_default()),
            Period::Total => DateTime::UNIX_EPOCH,
        }
    }

    /// When the period that `now` is in ends, if it does.
    fn end(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Period::Day => self.start(now).checked_add_days(Days::new(1)),
            Period::Month => self.start(now).checked_add_months(Months::new(1)),
            Period::Total => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_a_month_begin_and_end_at_midnight_utc_and_all_time_never_ends() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let now = at("2026-12-31T23:59:59Z");
        assert_eq!(Period::Day.start(now), at("2026-12-31T00:00:00Z"));
        assert_eq!(Period::Day.end(now), Some(at("2027-01-01T00:00:00Z")));
        assert_eq!(Period::Month.start(now), at("2026-12-01T00:00:00Z"));
        assert_eq!(Period::Month.end(now), Some(at("2027-01-01T00:00:00Z")));
        assert_eq!((Period::Total.start(now), Period::Total.end(now)), (DateTime::UNIX_EPOCH, None));
        assert_eq!(Period::Day.start(at("2026-01-01T00:00:00Z")), at("2026-01-01T00:00:00Z"));
    }
}
