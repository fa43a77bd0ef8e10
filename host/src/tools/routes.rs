//! `GET /v1/tools`, `POST /v1/tenant/tools/{name}/invoke`, `GET /v1/tenant/tools/{name}/invocations`

use super::{
    catalog::{self, Catalog},
    forms::{Form, Formed},
    invoke::{self, InvokeError, Left},
    runs, store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, GuestGrants, action::may},
    guests::{Chain, limits},
    http::{Json, Page, Paged, Params, body, extract::Queried},
    limits::JSON_BYTES_MAX,
    registry::{self, PluginName},
    sandbox::Spent,
    tools,
};
use axum::extract::{Request, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// A tool in a path.
#[derive(Deserialize)]
pub struct ToolPath {
    name: String,
}

/// In which form tools are wanted.
#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    form: Form,
}

/// Tools, as a request to a model and a result of MCP have them.
#[derive(Serialize)]
pub struct Definitions {
    tools: Vec<Formed>,
}

/// Lists the tools that a chat of this app offers a model, as a client takes them to offer them itself (row M367).
pub async fn list_definitions(
    State(app): State<App>,
    allowed: Allowed<may::ToolsOffered>,
    Queried(wanted): Queried<Wanted>,
) -> ApiResult<Json<Definitions>> {
    let offered = catalog::known_offered(&app, &allowed).await?;
    let formed = offered.definitions().into_iter().map(|tool| wanted.form.of(tool));
    let tools = formed
        .collect::<serde_json::Result<_>>()
        .map_err(|cause| ApiError::internal("a schema that was checked is no JSON", cause))?;
    Ok(Json(Definitions { tools }))
}

/// Runs a tool once: `{"input": {…}}` in, output, logs and cost out (row M221).
/// One that sets its plugin up takes a caller who may change tools.
pub async fn invoke_tool(
    State(app): State<App>,
    allowed: Allowed<may::ToolsInvoke>,
    Params(path): Params<ToolPath>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let mut body = body::read_json(request, JSON_BYTES_MAX).await?;
    let input = match body.as_object_mut() {
        Some(object) if object.keys().all(|key| key == "input") => {
            object.remove("input").unwrap_or_else(|| json!({}))
        }
        _ => return Err(ApiError::unprocessable("invalid_request", "expected `{\"input\": {…}}`")),
    };
    let tools = catalog::known(&app, &allowed).await?;
    let tool = tools.find(&path.name).ok_or(InvokeError::NotFound)?.clone();
    if tools::sets_up(&tool.inner_name) {
        Allowed::<may::ToolsWrite>::judge(Some(allowed.caller()), None)?;
    }
    let tools = Arc::new(Catalog::clone(&tools).for_guests());
    let grants = GuestGrants::new(&allowed, tool.plugin.name.clone(), &tool.plugin);
    let time_limit = limits::wall(&grants, app.config.tool_time_limit);
    let chain = Chain::start(&app, &allowed, tools, None, time_limit, None);
    let done = invoke::run(&app, &chain, &tool, input.to_string()).await?;
    let output: Value = serde_json::from_str(&done.output).unwrap_or(Value::String(done.output));
    let mut answer = spent(&done.spent);
    answer["output"] = output;
    answer["logs"] = json!(done.logs);
    Ok(Json(answer))
}

/// Lists the last runs of a plugin's tools, newest first, with what they logged (row M368).
pub async fn list_invocations(
    State(app): State<App>,
    allowed: Allowed<may::ToolsRead>,
    Params(path): Params<ToolPath>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let plugin = PluginName::tool(path.name);
    if !registry::resolve::is_there(&app, &allowed, &plugin).await? {
        return Err(ApiError::not_found("tool"));
    }
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list(&mut tx, &plugin.name, page.after()?, page.fetch()).await?;
    let rows = page.of(rows, |row| row.run_id.to_string());
    let data = rows.data.into_iter().map(invocation).collect();
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

fn invocation(row: store::RunRow) -> Value {
    json!({
        "id": row.run_id,
        "time": row.occurred_at,
        "version": row.version,
        "tool": row.tool,
        "status": row.status,
        "ms": runs::ms(row.duration_us),
        "error": row.error_code.map(|code| json!({ "code": code, "detail": row.error_text })),
        "logs": row.logs.0,
        "log_lines_left_out": row.logs_left_out,
        "request_id": row.request_id,
    })
}

fn spent(spent: &Spent) -> Value {
    json!({
        "ms": spent.wall.as_secs_f64() * 1e3,
        "cpu_ms": spent.cpu.as_secs_f64() * 1e3,
        "memory_bytes_peak": spent.memory_bytes_peak,
        "log_lines_dropped": spent.log_lines_dropped,
    })
}

impl From<InvokeError> for ApiError {
    fn from(error: InvokeError) -> ApiError {
        let (code, text) = (error.code(), error.to_string());
        let failed = |status, left: Left| {
            let mut error = ApiError::new(status, code, text.clone()).with("logs", json!(left.logs));
            if let Value::Object(spent) = spent(&left.spent) {
                error.more.extend(spent);
            }
            error
        };
        match error {
            InvokeError::NotFound => ApiError::not_found("tool"),
            InvokeError::BadInput(mut fields) => {
                fields.iter_mut().for_each(|field| field.pointer.insert_str(0, "/input"));
                ApiError::invalid(fields)
            }
            InvokeError::TooMany => ApiError::rate_limited(code, text, 1),
            InvokeError::Busy => ApiError::unavailable(text),
            InvokeError::InvalidInput(_, left) => failed(StatusCode::UNPROCESSABLE_ENTITY, left),
            InvokeError::Failed(_, left) => failed(StatusCode::BAD_GATEWAY, left),
            InvokeError::Trap(_, left) => failed(StatusCode::BAD_GATEWAY, left),
            InvokeError::OutOfMemory(left) => failed(StatusCode::BAD_GATEWAY, left),
            InvokeError::OutputTooLarge(left) => failed(StatusCode::BAD_GATEWAY, left),
            InvokeError::BadOutput(_, left) => failed(StatusCode::BAD_GATEWAY, left),
            InvokeError::TimedOut(left) => failed(StatusCode::GATEWAY_TIMEOUT, left),
            InvokeError::Code(cause) if cause.is_busy() => ApiError::unavailable(cause.to_string()),
            InvokeError::Code(cause) => ApiError::internal("a tool could not be loaded", cause),
            InvokeError::Db(cause) => cause.into(),
        }
    }
}
