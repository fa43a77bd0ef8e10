//! `POST /v1/tenant/tools/{name}/invoke`

use super::{
    catalog,
    invoke::{self, InvokeError, Left},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::{Allowed, GuestGrants, action::may},
    guests::{Chain, limits},
    http::{Json, Params, body},
    limits::JSON_BYTES_MAX,
    sandbox::Spent,
    tools,
};
use axum::extract::{Request, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A tool in a path.
#[derive(Deserialize)]
pub struct ToolPath {
    name: String,
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
    let tools = catalog::load(&app, &allowed).await?;
    let tool = tools.find(&path.name).ok_or(InvokeError::NotFound)?.clone();
    if tools::sets_up(&tool.inner_name) {
        Allowed::<may::ToolsWrite>::judge(Some(allowed.caller()), None)?;
    }
    let tools = Arc::new(tools.for_guests());
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
        let text = error.to_string();
        let failed = |status, code, left: Left| {
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
            InvokeError::TooMany => ApiError::rate_limited("too_many_calls", text, 1),
            InvokeError::Busy => ApiError::unavailable(text),
            InvokeError::InvalidInput(_, left) => {
                failed(StatusCode::UNPROCESSABLE_ENTITY, "tool_refused_input", left)
            }
            InvokeError::Failed(_, left) => failed(StatusCode::BAD_GATEWAY, "tool_failed", left),
            InvokeError::Trap(_, left) => failed(StatusCode::BAD_GATEWAY, "tool_trap", left),
            InvokeError::OutOfMemory(left) => failed(StatusCode::BAD_GATEWAY, "tool_oom", left),
            InvokeError::OutputTooLarge(left) => {
                failed(StatusCode::BAD_GATEWAY, "tool_output_too_large", left)
            }
            InvokeError::TimedOut(left) => failed(StatusCode::GATEWAY_TIMEOUT, "tool_timeout", left),
            InvokeError::Code(cause) => ApiError::internal("a tool could not be loaded", cause),
            InvokeError::Db(cause) => cause.into(),
        }
    }
}
