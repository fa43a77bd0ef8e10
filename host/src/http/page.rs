//! Pages of a list: `?limit=1–200&cursor=…` in, `{data, next_cursor, has_more}` out (row M048).

use crate::{
    app::App,
    error::ApiError,
    limits::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX},
};
use axum::extract::{FromRequestParts, Query};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Which part of a list is wanted.
#[derive(Debug)]
pub struct Page {
    /// How many rows.
    pub limit: u32,
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Raw {
    limit: Option<String>,
    cursor: Option<String>,
}

impl FromRequestParts<App> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Ok(Query(raw)) = Query::<Raw>::from_request_parts(parts, app).await else {
            return Err(ApiError::bad_request("bad_query", "`limit` and `cursor` may be given once each"));
        };
        let limit = match raw.limit {
            None => PAGE_ROWS_DEFAULT,
            Some(text) => text.parse().ok().filter(|n| (1..=PAGE_ROWS_MAX).contains(n)).ok_or_else(|| {
                ApiError::bad_request("bad_limit", format!("`limit` is a number from 1 to {PAGE_ROWS_MAX}"))
            })?,
        };
        Ok(Page { limit, cursor: raw.cursor })
    }
}

impl Page {
    /// The key of the last row of the page before, if there was one.
    ///
    /// # Errors
    /// 400 where the cursor is not one of ours.
    pub fn after<K: FromStr>(&self) -> Result<Option<K>, ApiError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let key = key.filter(|key| !key.contains('\0'));
        key.and_then(|key| key.parse().ok()).map(Some).ok_or_else(|| {
            ApiError::bad_request("bad_cursor", "`cursor` is not one this list gave out; start without one")
        })
    }

    /// How many rows to ask for: one more, to know whether there are more.
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The page of these rows, `fetch` of them at the most.
    pub fn of<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String) -> Paged<T> {
        let limit = self.limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor =
            if has_more { rows.last().map(|row| URL_SAFE_NO_PAD.encode(key(row))) } else { None };
        Paged { data: rows, next_cursor, has_more }
    }
}

/// One page.
#[derive(Debug, Serialize)]
pub struct Paged<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where the next page starts, if there is one.
    pub next_cursor: Option<String>,
    /// Whether there is one.
    pub has_more: bool,
}
