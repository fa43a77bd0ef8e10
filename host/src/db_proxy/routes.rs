//! `/v1/sdk/database`, `/v1/sdk/types`

use super::{
    DatabaseError, backup,
    backup::BackupError,
    check,
    execute::{self, Executed, How, Warned},
    history, manifest,
    parse::RefusedKind,
    provision::Workspace,
    query::{self, Rows},
    schema::{self, Relation},
    types,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, InApp, action::may},
    http::{Json, Page, Paged, Params, etag::entity_tag, extract::Queried},
    tenants,
};
use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

/// How long a manifest may be kept: it changes with a release or its configuration (row M053).
const MANIFEST_CACHE: &str = "private, max-age=60";

/// `GET /v1/sdk/database/manifest`
pub async fn get_manifest(
    State(app): State<App>,
    allowed: Allowed<may::DbRead>,
    headers: HeaderMap,
) -> Response {
    let manifest = manifest::manifest(&app, &allowed);
    let tag = entity_tag(&manifest);
    let fresh = headers.get(header::IF_NONE_MATCH).is_some_and(|given| *given == tag);
    let cache = [(header::ETAG, tag), (header::CACHE_CONTROL, HeaderValue::from_static(MANIFEST_CACHE))];
    if fresh {
        (StatusCode::NOT_MODIFIED, cache).into_response()
    } else {
        (cache, Json(manifest)).into_response()
    }
}

/// `GET /v1/sdk/database/tables`
pub async fn list_tables(
    State(app): State<App>,
    allowed: Allowed<may::DbRead>,
    page: Page,
) -> ApiResult<Json<Paged<Relation>>> {
    let after: Option<RelationName> = page.after()?;
    let relations = schema::relations(&app, &allowed).await?;
    let wanted =
        relations.into_iter().filter(|relation| after.as_ref().is_none_or(|after| relation.name > after.0));
    let rows = wanted.take(page.limit as usize + 1).collect();
    Ok(Json(page.of(rows, |relation: &Relation| relation.name.clone())))
}

/// A name in a cursor: of a relation of some app, or the cursor is none of ours.
struct RelationName(String);

impl FromStr for RelationName {
    type Err = ();
    fn from_str(name: &str) -> Result<RelationName, ()> {
        if name.starts_with("app_") && name.contains("__") {
            Ok(RelationName(name.to_owned()))
        } else {
            Err(())
        }
    }
}

/// `POST /v1/sdk/database/query`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryInput {
    /// One `SELECT`, `WITH … SELECT`, `VALUES` or `TABLE`.
    sql: String,
    /// Values of `$1`, `$2`, …
    #[serde(default)]
    params: Vec<Value>,
    /// Rows at the most.
    limit: Option<u32>,
}

/// Runs a query.
pub async fn post_query(
    State(app): State<App>,
    allowed: Allowed<may::DbRead>,
    Json(body): Json<QueryInput>,
) -> ApiResult<Json<Rows>> {
    let checked = check::query(&app, &allowed, body.sql).await?;
    Ok(Json(query::run(&app, &checked, &body.params, body.limit).await?))
}

/// `POST /v1/sdk/database/execute`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecuteInput {
    /// One or more statements, separated by `;`.
    sql: String,
    /// Values of `$1`, `$2`, … of a single statement.
    #[serde(default)]
    params: Vec<Value>,
    /// Whether it is only tried.
    #[serde(rename = "dryRun", alias = "dry_run")]
    dry_run: Option<bool>,
    /// `apply:<slug>`, to keep it.
    confirm: Option<String>,
    /// What needs saying twice: `truncate`.
    #[serde(default)]
    allow: Vec<Allow>,
}

/// What needs saying twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Allow {
    Truncate,
}

/// Tries a change, or applies it.
pub async fn post_execute(
    State(app): State<App>,
    allowed: Allowed<may::DbWrite>,
    Json(body): Json<ExecuteInput>,
) -> ApiResult<Json<Executed>> {
    if body.dry_run.unwrap_or(true) {
        let checked = check::dry_run(&app, &allowed, body.sql).await?;
        let mut tried = execute::run(&app, &checked, &body.params, How::DryRun).await?;
        if body.confirm.is_some() {
            tried.warnings.push(not_applied());
        }
        return Ok(Json(tried));
    }
    // Applying is another action: the gate is asked again, for that.
    let allowed: Allowed<may::DbApply> = Allowed::judge(Some(InApp::caller(&allowed)), None)?;
    let how =
        How::apply(&allowed.app().slug, body.confirm.as_deref(), body.allow.contains(&Allow::Truncate))?;
    let checked = check::apply(&app, &allowed, body.sql).await?;
    Ok(Json(execute::run(&app, &checked, &body.params, how).await?))
}

fn not_applied() -> Warned {
    Warned {
        code: "not_applied",
        message: "this was a dry run: `confirm` alone applies nothing; send `\"dryRun\": false` with it"
            .to_owned(),
        statement: 0,
    }
}

/// `?lang=`
#[derive(Deserialize)]
pub struct TypesQuery {
    #[serde(default = "typescript")]
    lang: String,
}

fn typescript() -> String {
    "ts".to_owned()
}

/// `GET /v1/sdk/types`
pub async fn get_types(
    State(app): State<App>,
    allowed: Allowed<may::DbRead>,
    Queried(query): Queried<TypesQuery>,
) -> ApiResult<Response> {
    if query.lang != "ts" {
        return Err(ApiError::invalid(vec![FieldError::new("/lang", "expected one of: `ts`")]));
    }
    let relations = schema::relations(&app, &allowed).await?;
    let workspace = Workspace::of(allowed.app());
    let text = types::typescript(workspace.namespace().as_str(), &relations);
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// `GET /v1/sdk/database/history`
pub async fn list_history(
    State(app): State<App>,
    allowed: Allowed<may::DbRead>,
    page: Page,
) -> ApiResult<Json<Paged<history::Applied>>> {
    let rows = history::list(&app, &allowed, page.after()?, page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.audit_id.to_string())))
}

/// `GET /v1/sdk/database/backup`
pub async fn get_backup(State(app): State<App>, allowed: Allowed<may::DbRead>) -> ApiResult<Response> {
    dump(&app, &Workspace::of(allowed.app())).await
}

/// A tenant in a path.
#[derive(Deserialize)]
pub struct TenantPath {
    id: String,
}

/// `GET /v1/admin/tenants/{id}/database/backup`
pub async fn get_backup_of(
    State(app): State<App>,
    _allowed: Allowed<may::AppsBackup>,
    Params(path): Params<TenantPath>,
) -> ApiResult<Response> {
    let app_id = tenants::find_id(&app, &path.id).await?.ok_or_else(|| ApiError::not_found("tenant"))?;
    dump(&app, &Workspace::named(app_id, &path.id)).await
}

async fn dump(app: &App, workspace: &Workspace) -> ApiResult<Response> {
    let text = backup::start(app, workspace).await?;
    let name = format!("attachment; filename=\"{}.sql\"", workspace.schema());
    let headers = [(header::CONTENT_TYPE, "application/sql".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(text)).into_response())
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> ApiError {
        match error {
            BackupError::Busy => ApiError::rate_limited("backup_busy", error.to_string(), 5),
            BackupError::NoProgram => {
                ApiError::new(StatusCode::NOT_IMPLEMENTED, "backup_unavailable", error.to_string())
            }
            BackupError::Failed(cause) => ApiError::internal("a backup could not be made", cause),
        }
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> ApiError {
        let (cause, statement) = error.cause();
        let text = error.to_string();
        let code = cause.code();
        let mut api = match cause {
            DatabaseError::Denied(denied) => ApiError::from(denied.clone()),
            DatabaseError::Refused(refused) if refused.kind == RefusedKind::Namespace => {
                ApiError::forbidden(code, text)
            }
            DatabaseError::BadLimit => return ApiError::invalid(vec![FieldError::new("/limit", text)]),
            DatabaseError::BadParam { number, .. } => {
                return ApiError::invalid(vec![FieldError::new(format!("/params/{}", number - 1), text)]);
            }
            DatabaseError::Sql { sqlstate, position, .. } => {
                let api = ApiError::unprocessable(code, text).with("sqlstate", json!(sqlstate));
                match position {
                    Some(at) => api.with("position", json!(at)),
                    None => api,
                }
            }
            DatabaseError::Timeout | DatabaseError::LockTimeout => {
                ApiError::new(StatusCode::REQUEST_TIMEOUT, code, text)
            }
            DatabaseError::TooLarge => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, code, text)
                .with("limit_bytes", json!(super::limits::RESULT_BYTES_MAX)),
            DatabaseError::NotConfirmed(_) => ApiError::conflict(code, text),
            DatabaseError::Quota(_) => ApiError::new(StatusCode::INSUFFICIENT_STORAGE, code, text),
            DatabaseError::Busy => ApiError::rate_limited(code, text, 1),
            DatabaseError::Unavailable => ApiError::unavailable(text),
            DatabaseError::Refused(refused) if refused.kind == RefusedKind::Internal => {
                ApiError::internal("parsing SQL", text)
            }
            DatabaseError::Refused(_)
            | DatabaseError::Resources
            | DatabaseError::ParamsMismatch { .. }
            | DatabaseError::TooManyParams
            | DatabaseError::ParamsWithMany
            | DatabaseError::At { .. } => ApiError::unprocessable(code, text),
        };
        if let Some(index) = statement {
            api = api.with("statement", json!(index));
        }
        api
    }
}
