//! `/v1/tenant/secrets`

use super::{
    store,
    write::{self, Changes, WriteError, parse_env},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, action::may},
    http::{Json, NoContent, Page, Paged, body},
    limits::{JSON_BYTES_MAX, SECRETS_PER_APP_MAX},
};
use axum::extract::{Request, State};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Lists names, never values.
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::SecretsRead>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list(&mut tx, page.after::<String>()?.as_deref(), page.fetch()).await?;
    let used_by = store::used_by(&mut tx).await?;
    let rows = page.of(rows, |row| row.name.clone());
    let data = rows.data.iter().map(|row| {
        let users: Vec<_> =
            used_by.iter().filter(|(name, _)| *name == row.name).map(|(_, plugin)| plugin).collect();
        json!({ "name": row.name, "updated_at": row.updated_at, "used_by": users, "push_hosts": row.push_hosts })
    });
    Ok(Json(Paged { data: data.collect(), next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecretsInput {
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    set: BTreeMap<String, SecretString>,
    #[serde(default)]
    unset: BTreeSet<String>,
    /// By name: the hosts that a push may send it to. None, unless said.
    #[serde(default)]
    push_hosts: BTreeMap<String, BTreeSet<String>>,
}

/// Stores and removes secrets: JSON `{set, unset, push_hosts}`, or `.env` lines as `text/plain`.
pub async fn put(
    State(app): State<App>,
    allowed: Allowed<may::SecretsWrite>,
    request: Request,
) -> ApiResult<NoContent> {
    let changes = match body::media_type(request.headers()).as_deref() {
        Some("text/plain") => {
            let bytes = body::read(request.into_body(), JSON_BYTES_MAX).await?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| ApiError::bad_request("not_utf8", "the body is not UTF-8 text"))?;
            let set = parse_env(text).map_err(|line| {
                ApiError::invalid(vec![FieldError::new("", format!("line {line}: expected `NAME=value`"))])
            })?;
            Changes { set, ..Changes::default() }
        }
        _ => {
            let SecretsInput { set, unset, push_hosts } =
                body::fit(body::read_json(request, JSON_BYTES_MAX).await?)?;
            Changes { set, unset, push_hosts }
        }
    };
    write::write(&app, &allowed, &changes).await?;
    Ok(NoContent)
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> ApiError {
        match error {
            WriteError::Invalid(fields) => ApiError::invalid(fields),
            WriteError::TooMany => ApiError::conflict("too_many_secrets", error.to_string())
                .with("limit", json!(SECRETS_PER_APP_MAX)),
            WriteError::Seal(cause) => ApiError::internal("a secret could not be sealed", cause),
            WriteError::Db(cause) => cause.into(),
        }
    }
}
