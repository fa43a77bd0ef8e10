//! What a model of the platform may be asked for: how long its replies are, how much of it a minute takes, and how many
//! requests it has at once (row M182).
//!
//! For all apps together: an operator has one contract with a provider, whoever asks. Counted in this process and
//! forgotten with it, as circuits are: each host lets in as much. A minute is the last sixty seconds, so no minute,
//! wherever it begins, has more than the limit of requests; of tokens it has what requests used that were let in
//! while something of the minute was left.
//!
//! Deliberately absent: the context (a provider counts what a model reads, and says so), shares of an app, waiting in
//! line.

use super::{
    CONCURRENT_REQUESTS_MAX, REQUESTS_PER_MINUTE_MAX, TOKENS_PER_MINUTE_MAX,
    model::{LimitsChange, within},
};
use crate::{
    app::App,
    error::FieldError,
    models::{ChatRequest, UpstreamError, UpstreamErrorKind, Usage},
    prices::OUTPUT_TOKENS_MAX,
};
use serde::Serialize;
use sqlx::FromRow;
use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How far back requests and tokens count, in seconds.
const MINUTE_S: i64 = 60;
/// What to tell who comes while there are as many as there may be: nobody knows when one of them ends, in seconds.
const CONCURRENT_RETRY_AFTER_S: u64 = 1;

/// The limits of a model; none: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromRow, Serialize)]
pub(crate) struct Limits {
    /// The longest reply, in tokens.
    pub(super) output_tokens: Option<i64>,
    /// Requests in a minute.
    pub(super) requests_per_minute: Option<i64>,
    /// Tokens read and written in a minute.
    pub(super) tokens_per_minute: Option<i64>,
    /// Requests at once.
    pub(super) concurrent_requests: Option<i64>,
}

/// What is under way and what the last minute had, of each model that has such limits.
#[derive(Default)]
pub struct Paces(Mutex<HashMap<String, Pace>>);

#[derive(Debug, Default)]
struct Pace {
    requests: Minute,
    tokens: Minute,
    /// Requests under way.
    under_way: u64,
    /// Tokens they are reckoned to read, in place of what they will have used.
    reckoned: u64,
}

/// How many in each second of the last minute.
#[derive(Debug, Default)]
struct Minute(VecDeque<(i64, u64)>);

/// A request that was let in. Dropped before it said what it used: it was refused elsewhere, and counts for nothing.
pub(crate) struct Pass {
    app: App,
    model: String,
    let_in_s: i64,
    reckoned: u64,
    used: Option<u64>,
}

impl Limits {
    /// These with a change, as far as it makes sense.
    pub(super) fn with(self, change: &LimitsChange, wrong: &mut Vec<FieldError>) -> Limits {
        let mut set = |name: &str, now: Option<i64>, wanted: Option<Option<u64>>, max: u64| match wanted {
            None => now,
            Some(wanted) => within(&format!("/limits/{name}"), wanted, max, wrong),
        };
        Limits {
            output_tokens: set("output_tokens", self.output_tokens, change.output_tokens, OUTPUT_TOKENS_MAX),
            requests_per_minute: set(
                "requests_per_minute",
                self.requests_per_minute,
                change.requests_per_minute,
                REQUESTS_PER_MINUTE_MAX,
            ),
            tokens_per_minute: set(
                "tokens_per_minute",
                self.tokens_per_minute,
                change.tokens_per_minute,
                TOKENS_PER_MINUTE_MAX,
            ),
            concurrent_requests: set(
                "concurrent_requests",
                self.concurrent_requests,
                change.concurrent_requests,
                CONCURRENT_REQUESTS_MAX,
            ),
        }
    }

    /// The request as it is asked: one that does not say how long its reply may be says so then. So what is held for
    /// it, and what the model writes, is within the limit.
    ///
    /// # Errors
    /// Where it asks for more: 400, naming the limit.
    pub(crate) fn of_output<'a>(
        &self,
        (provider, model): (&str, &str),
        request: &'a ChatRequest,
    ) -> Result<Cow<'a, ChatRequest>, UpstreamError> {
        let Some(most) = number(self.output_tokens) else { return Ok(Cow::Borrowed(request)) };
        match request.output_tokens_max() {
            None => Ok(Cow::Owned(ChatRequest { max_completion_tokens: Some(most), ..request.clone() })),
            Some(asked) if asked <= most => Ok(Cow::Borrowed(request)),
            Some(asked) => {
                let param = if request.max_tokens.is_some() { "max_tokens" } else { "max_completion_tokens" };
                Err(UpstreamError {
                    code: "max_tokens_too_large".to_owned(),
                    message: format!(
                        "A reply of `{provider}/{model}` has at most {most} tokens here, and the request asks for up to \
                         {asked}: name {most} or fewer, or leave it out."
                    ),
                    param: Some(param.to_owned()),
                    ..UpstreamError::new(UpstreamErrorKind::Rejected)
                })
            }
        }
    }

    /// Lets a request in; none where nothing counts it. `reads` reckons the tokens it will read.
    ///
    /// # Errors
    /// 429, naming the limit, with when to come back.
    pub(crate) fn admit(
        &self,
        app: &App,
        (provider, model): (&str, &str),
        reads: impl FnOnce() -> u64,
    ) -> Result<Option<Pass>, UpstreamError> {
        if self.requests_per_minute.or(self.tokens_per_minute).or(self.concurrent_requests).is_none() {
            return Ok(None);
        }
        let reckoned = if self.tokens_per_minute.is_some() { reads() } else { 0 };
        let (now, model) = (app.now().timestamp(), format!("{provider}/{model}"));
        app.paces.admit(self, &model, reckoned, now).map_err(|refused| refused.tell(&model))?;
        Ok(Some(Pass { app: app.clone(), model, let_in_s: now, reckoned, used: None }))
    }
}

/// Which limit has no room, how much it is, and how many seconds until it may have some.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    what: &'static str,
    limit: u64,
    wait_s: u64,
}

impl Refused {
    fn tell(self, model: &str) -> UpstreamError {
        let Refused { what, limit, wait_s } = self;
        UpstreamError {
            code: "model_rate_limited".to_owned(),
            message: format!(
                "`{model}` takes {limit} {what} here, of all apps together, and has no room for more. Retry in \
                 {wait_s} seconds."
            ),
            retry_after: Some(wait_s),
            ..UpstreamError::new(UpstreamErrorKind::RateLimited)
        }
    }
}

impl Paces {
    fn admit(&self, limits: &Limits, model: &str, reckoned: u64, now_s: i64) -> Result<(), Refused> {
        let mut paces = self.lock();
        let pace = paces.entry(model.to_owned()).or_default();
        pace.let_go(now_s);
        if let Some(limit) = number(limits.concurrent_requests).filter(|limit| pace.under_way >= *limit) {
            return Err(Refused { what: "requests at once", limit, wait_s: CONCURRENT_RETRY_AFTER_S });
        }
        if let Some(limit) = number(limits.requests_per_minute).filter(|limit| pace.requests.sum() >= *limit)
        {
            let wait_s = pace.requests.wait_s(limit, now_s);
            return Err(Refused { what: "requests a minute", limit, wait_s });
        }
        if let Some(limit) = number(limits.tokens_per_minute)
            .filter(|limit| pace.tokens.sum().saturating_add(pace.reckoned) >= *limit)
        {
            let wait_s = pace.tokens.wait_s(limit.saturating_sub(pace.reckoned), now_s);
            return Err(Refused { what: "tokens a minute", limit, wait_s });
        }
        pace.requests.add(now_s, 1);
        pace.under_way += 1;
        pace.reckoned = pace.reckoned.saturating_add(reckoned);
        Ok(())
    }

    /// Forgets models of which the last minute had nothing.
    pub(crate) fn forget_idle(&self, now_s: i64) {
        self.lock().retain(|_, pace| {
            pace.let_go(now_s);
            pace.under_way > 0 || !pace.requests.0.is_empty() || !pace.tokens.0.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Pace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn let_go(&mut self, now_s: i64) {
        self.requests.let_go(now_s);
        self.tokens.let_go(now_s);
    }
}

impl Minute {
    /// Of the second a minute ago some may be less than a minute old.
    fn let_go(&mut self, now_s: i64) {
        while self.0.front().is_some_and(|(second, _)| second + MINUTE_S < now_s) {
            self.0.pop_front();
        }
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|(_, count)| *count).fold(0, u64::saturating_add)
    }

    fn add(&mut self, now_s: i64, count: u64) {
        match self.0.back_mut() {
            // A clock that was put back counts into the second it came from.
            Some((second, there)) if *second >= now_s => *there = there.saturating_add(count),
            _ => self.0.push_back((now_s, count)),
        }
    }

    fn take_back(&mut self, second: i64, count: u64) {
        if let Some((_, there)) = self.0.iter_mut().find(|(at, _)| *at == second) {
            *there = there.saturating_sub(count);
        }
    }

    /// Seconds until there are fewer than `limit`, if nothing comes.
    fn wait_s(&self, limit: u64, now_s: i64) -> u64 {
        let mut left = self.sum();
        for (second, count) in &self.0 {
            left = left.saturating_sub(*count);
            if left < limit {
                return u64::try_from(second + MINUTE_S + 1 - now_s).unwrap_or_default().max(1);
            }
        }
        // What is under way is too much by itself.
        CONCURRENT_RETRY_AFTER_S
    }
}

impl Pass {
    /// The request is over, and used so much.
    pub(crate) fn used(mut self, usage: &Usage) {
        self.used = Some(usage.prompt_tokens.saturating_add(usage.completion_tokens));
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let now_s = self.app.now().timestamp();
        let mut paces = self.app.paces.lock();
        let pace = paces.entry(std::mem::take(&mut self.model)).or_default();
        pace.under_way = pace.under_way.saturating_sub(1);
        pace.reckoned = pace.reckoned.saturating_sub(self.reckoned);
        match self.used {
            Some(0) => {}
            Some(tokens) => pace.tokens.add(now_s, tokens),
            None => pace.requests.take_back(self.let_in_s, 1),
        }
    }
}

fn number(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paces() -> (Paces, Limits) {
        let limits = Limits { requests_per_minute: Some(3), ..Limits::default() };
        (Paces::default(), limits)
    }

    #[test]
    fn m182_no_minute_wherever_it_begins_has_more_requests_than_the_limit() {
        let (paces, limits) = paces();
        let admit = |at: i64| paces.admit(&limits, "p/m", 0, at).map_err(|refused| refused.wait_s);
        assert_eq!([admit(0), admit(0), admit(30)], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(admit(30), Err(31), "until those of second 0 are surely a minute old");
        assert_eq!(admit(60), Err(1));
        assert_eq!([admit(61), admit(61)], [Ok(()), Ok(())]);
        assert_eq!(admit(61), Err(30));
        assert_eq!(paces.admit(&limits, "p/other", 0, 61), Ok(()), "each model for itself");
    }

    #[test]
    fn m182_tokens_count_when_they_are_used_and_until_then_what_is_reckoned_to_be_read() {
        let limits = Limits { tokens_per_minute: Some(100), ..Limits::default() };
        let paces = Paces::default();
        assert_eq!(paces.admit(&limits, "p/m", 60, 0), Ok(()));
        assert_eq!(paces.admit(&limits, "p/m", 500, 0), Ok(()), "something was left");
        let refused = Refused { what: "tokens a minute", limit: 100, wait_s: 1 };
        assert_eq!(paces.admit(&limits, "p/m", 1, 0), Err(refused), "nobody knows when they end");
        {
            let mut all = paces.lock();
            let pace = all.get_mut("p/m").unwrap();
            (pace.under_way, pace.reckoned) = (0, 0);
            pace.tokens.add(10, 70);
            pace.tokens.add(20, 40);
        }
        assert_eq!(paces.admit(&limits, "p/m", 1, 20).map_err(|refused| refused.wait_s), Err(51));
        assert_eq!(paces.admit(&limits, "p/m", 1, 71), Ok(()));
    }

    #[test]
    fn m182_what_was_refused_elsewhere_is_taken_back_and_what_is_idle_is_forgotten() {
        let (paces, limits) = paces();
        for _ in 0..3 {
            assert_eq!(paces.admit(&limits, "p/m", 0, 5), Ok(()));
        }
        {
            let mut all = paces.lock();
            let pace = all.get_mut("p/m").unwrap();
            pace.requests.take_back(5, 1);
            pace.under_way = 0;
        }
        assert_eq!(paces.admit(&limits, "p/m", 0, 6), Ok(()));
        paces.forget_idle(200);
        assert_eq!(paces.lock().len(), 1, "one is under way");
        paces.lock().get_mut("p/m").unwrap().under_way = 0;
        paces.forget_idle(200);
        assert!(paces.lock().is_empty());
    }

    #[test]
    fn m182_who_names_no_length_is_asked_with_the_limit_and_who_names_more_is_refused() {
        let limits = Limits { output_tokens: Some(100), ..Limits::default() };
        let request = |more: serde_json::Value| {
            let mut body = json!({ "model": "p/m", "messages": [{ "role": "user", "content": "x" }] });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ChatRequest::from_value(body).unwrap()
        };
        let asked = |limits: &Limits, more: serde_json::Value| {
            let request = request(more);
            limits.of_output(("p", "m"), &request).map(|request| request.output_tokens_max())
        };
        assert_eq!(asked(&limits, json!({})), Ok(Some(100)));
        assert_eq!(asked(&limits, json!({ "max_tokens": 100 })), Ok(Some(100)));
        assert_eq!(asked(&limits, json!({ "max_completion_tokens": 7 })), Ok(Some(7)));
        assert_eq!(asked(&Limits::default(), json!({})), Ok(None));
        for field in ["max_tokens", "max_completion_tokens"] {
            let refused = asked(&limits, json!({ field: 101 })).unwrap_err();
            assert_eq!((refused.status, refused.param.as_deref()), (400, Some(field)));
            assert!(refused.message.contains("at most 100 tokens"), "{refused}");
        }
    }
}
