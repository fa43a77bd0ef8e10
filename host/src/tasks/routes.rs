//! `/v1/tasks`

use super::{PREFER, TaskError, TaskRow, cancel, store};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, InApp, action::may},
    http::{Json, Page, Paged, Params},
};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderName, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Which preferences were followed (RFC 7240).
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A task in a path.
#[derive(Deserialize)]
pub struct TaskPath {
    id: Uuid,
}

/// The answer to a request that became a task: 202, and where to ask after it.
pub(crate) fn accepted(proof: &impl InApp, task: &TaskRow) -> Response {
    let mut body = task.describe();
    body["task_id"] = json!(task.task_id);
    let headers = [
        (header::LOCATION, format!("/{}/v1/tasks/{}", proof.app().slug, task.task_id)),
        (PREFERENCE_APPLIED, "respond-async".to_owned()),
        (header::VARY, PREFER.as_str().to_owned()),
    ];
    (StatusCode::ACCEPTED, headers, Json(body)).into_response()
}

/// Lists the caller's tasks, newest first (row M130).
pub async fn list(
    State(app): State<App>,
    allowed: Allowed<may::AiRead>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list(&mut tx, page.after()?, page.fetch(), app.now()).await?;
    let rows = page.of(rows, |row| row.task_id.to_string());
    let data = rows.data.iter().map(TaskRow::describe).collect();
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

/// Says how a task stands.
pub async fn get(
    State(app): State<App>,
    allowed: Allowed<may::AiRead>,
    Params(path): Params<TaskPath>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let found = store::find(&mut tx, path.id, app.now()).await?.ok_or(TaskError::NotFound)?;
    Ok(Json(found.describe()))
}

/// Cancels a task that runs, and with it what it asked a provider for.
pub async fn post_cancel(
    State(app): State<App>,
    allowed: Allowed<may::AiInvoke>,
    Params(path): Params<TaskPath>,
) -> ApiResult<Json<Value>> {
    Ok(Json(cancel(&app, &allowed, path.id).await?.describe()))
}

impl From<TaskError> for ApiError {
    fn from(error: TaskError) -> ApiError {
        let text = error.to_string();
        match error {
            TaskError::NotFound => ApiError::not_found("task"),
            TaskError::Ended(_) => ApiError::conflict("task_ended", text),
            TaskError::TooMany => ApiError::rate_limited("too_many_tasks", text, 5),
            TaskError::Db(cause) => cause.into(),
        }
    }
}
