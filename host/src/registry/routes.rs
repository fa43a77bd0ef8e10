//! `/v1/tenant/tools`, `/v1/tenant/agents`, `/v1/predefined`.

use super::{
    Description, Format, PluginKind, PluginName,
    blobs::BlobError,
    predefined, remove,
    remove::RemoveError,
    review,
    review::{Granting, ReviewError},
    rollback,
    rollback::RollbackError,
    store::{self, PluginRow, VersionRow},
    upload::{self, UploadError, Uploaded},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, AppRef, Capability, CapabilityKind, Permission, action::may},
    http::{Json, NoContent, Page, Paged, Params, body, extract::Queried},
    limits::{COMPONENT_BYTES_MAX, MARKDOWN_BYTES_MAX},
    sandbox::{CallError, LoadError},
    tools,
};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// A plugin in a path.
#[derive(Deserialize)]
pub struct Named {
    name: String,
}

/// `?force=true`
#[derive(Deserialize)]
pub struct Force {
    #[serde(default)]
    force: bool,
}

// === tools ===

/// Lists tools, by name.
pub async fn list_tools(
    State(app): State<App>,
    allowed: Allowed<may::ToolsRead>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    list(&app, &allowed, PluginKind::Tool, page).await
}

/// Shows a tool; with `Accept: application/wasm`, its bytes.
pub async fn get_tool(
    State(app): State<App>,
    allowed: Allowed<may::ToolsRead>,
    Params(path): Params<Named>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    get(&app, &allowed, &PluginName::tool(path.name), &headers).await
}

/// Uploads a tool.
pub async fn put_tool(
    State(app): State<App>,
    allowed: Allowed<may::ToolsWrite>,
    Params(path): Params<Named>,
    request: Request,
) -> ApiResult<Response> {
    let plugin = PluginName::tool(path.name);
    let media = body::media_type(request.headers());
    if matches!(media.as_deref(), Some("text/plain" | "text/typescript" | "application/typescript")) {
        return Err(ApiError::unprocessable(
            "typescript_unsupported",
            "this release runs components only: build the tool as a WebAssembly component and send it as `application/wasm`",
        ));
    }
    if !matches!(media.as_deref(), Some("application/wasm" | "application/octet-stream")) {
        return Err(ApiError::wrong_content_type("application/wasm"));
    }
    let wasm = body::read(request.into_body(), COMPONENT_BYTES_MAX).await?;
    let uploaded = upload::component(&app, &allowed, &plugin, wasm).await?;
    Ok(answer(&plugin, &uploaded))
}

/// Deletes a tool.
pub async fn delete_tool(
    State(app): State<App>,
    allowed: Allowed<may::ToolsWrite>,
    Params(path): Params<Named>,
    Queried(query): Queried<Force>,
) -> ApiResult<NoContent> {
    remove::remove(&app, &allowed, &PluginName::tool(path.name), query.force).await?;
    Ok(NoContent)
}

/// Reviews a tool.
pub async fn review_tool(
    State(app): State<App>,
    allowed: Allowed<may::ToolsReview>,
    Params(path): Params<Named>,
    Json(input): Json<ReviewInput>,
) -> ApiResult<Json<Value>> {
    reviewed(&app, &allowed, PluginName::tool(path.name), input).await
}

/// Lists a tool's versions.
pub async fn list_tool_versions(
    State(app): State<App>,
    allowed: Allowed<may::ToolsRead>,
    Params(path): Params<Named>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    versions(&app, &allowed, &PluginName::tool(path.name), page).await
}

/// Rolls a tool back.
pub async fn rollback_tool(
    State(app): State<App>,
    allowed: Allowed<may::ToolsWrite>,
    Params(path): Params<Named>,
    Json(input): Json<RollbackInput>,
) -> ApiResult<Json<Value>> {
    let version = rollback::rollback(&app, &allowed, &PluginName::tool(path.name), input.version).await?;
    Ok(Json(json!({ "version": version, "status": "active" })))
}

// === agents ===

/// Lists agents, by name.
pub async fn list_agents(
    State(app): State<App>,
    allowed: Allowed<may::AgentsRead>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    list(&app, &allowed, PluginKind::Agent, page).await
}

/// Shows an agent; with `Accept: application/wasm` or `text/markdown`, its bytes.
pub async fn get_agent(
    State(app): State<App>,
    allowed: Allowed<may::AgentsRead>,
    Params(path): Params<Named>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    get(&app, &allowed, &PluginName::agent(path.name), &headers).await
}

/// Uploads an agent: a component, or markdown.
pub async fn put_agent(
    State(app): State<App>,
    allowed: Allowed<may::AgentsWrite>,
    Params(path): Params<Named>,
    request: Request,
) -> ApiResult<Response> {
    let plugin = PluginName::agent(path.name);
    let uploaded = match body::media_type(request.headers()).as_deref() {
        Some("application/wasm" | "application/octet-stream") => {
            let wasm = body::read(request.into_body(), COMPONENT_BYTES_MAX).await?;
            upload::component(&app, &allowed, &plugin, wasm).await?
        }
        Some("text/markdown" | "text/plain") => {
            let bytes = body::read(request.into_body(), MARKDOWN_BYTES_MAX).await?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| ApiError::unprocessable("not_utf8", "the markdown is not UTF-8 text"))?;
            upload::markdown(&app, &allowed, &plugin, text).await?
        }
        _ => return Err(ApiError::wrong_content_type("text/markdown` or `application/wasm")),
    };
    Ok(answer(&plugin, &uploaded))
}

/// Deletes an agent.
pub async fn delete_agent(
    State(app): State<App>,
    allowed: Allowed<may::AgentsWrite>,
    Params(path): Params<Named>,
    Queried(query): Queried<Force>,
) -> ApiResult<NoContent> {
    remove::remove(&app, &allowed, &PluginName::agent(path.name), query.force).await?;
    Ok(NoContent)
}

/// Reviews an agent.
pub async fn review_agent(
    State(app): State<App>,
    allowed: Allowed<may::AgentsReview>,
    Params(path): Params<Named>,
    Json(input): Json<ReviewInput>,
) -> ApiResult<Json<Value>> {
    reviewed(&app, &allowed, PluginName::agent(path.name), input).await
}

/// Lists an agent's versions.
pub async fn list_agent_versions(
    State(app): State<App>,
    allowed: Allowed<may::AgentsRead>,
    Params(path): Params<Named>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    versions(&app, &allowed, &PluginName::agent(path.name), page).await
}

/// Rolls an agent back.
pub async fn rollback_agent(
    State(app): State<App>,
    allowed: Allowed<may::AgentsWrite>,
    Params(path): Params<Named>,
    Json(input): Json<RollbackInput>,
) -> ApiResult<Json<Value>> {
    let version = rollback::rollback(&app, &allowed, &PluginName::agent(path.name), input.version).await?;
    Ok(Json(json!({ "version": version, "status": "active" })))
}

// === predefined ===

/// Lists the tools we ship.
pub async fn list_predefined_tools(
    State(app): State<App>,
    _allowed: Allowed<may::PredefinedRead>,
) -> Json<Value> {
    Json(list_shipped(&app, PluginKind::Tool))
}

/// Shows one of them; `?source=1` its source, `Accept: application/wasm` its bytes.
pub async fn get_predefined_tool(
    State(app): State<App>,
    _allowed: Allowed<may::PredefinedRead>,
    Params(path): Params<Named>,
    Queried(query): Queried<Source>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    get_shipped(&app, PluginKind::Tool, &path.name, &query, &headers)
}

/// Lists the agents we ship.
pub async fn list_predefined_agents(
    State(app): State<App>,
    _allowed: Allowed<may::PredefinedRead>,
) -> Json<Value> {
    Json(list_shipped(&app, PluginKind::Agent))
}

/// Shows one of them; `?source=1` its source, `Accept: application/wasm` its bytes.
pub async fn get_predefined_agent(
    State(app): State<App>,
    _allowed: Allowed<may::PredefinedRead>,
    Params(path): Params<Named>,
    Queried(query): Queried<Source>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    get_shipped(&app, PluginKind::Agent, &path.name, &query, &headers)
}

/// `?source=1`
#[derive(Deserialize)]
pub struct Source {
    source: Option<String>,
}

// === what both kinds share ===

/// `POST …/review`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewInput {
    /// The version; the newest, unless given.
    version: Option<i32>,
    /// `"all"`, or the capabilities to grant; what is left out is denied.
    grant: GrantInput,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum GrantInput {
    Word(String),
    These(Vec<CapabilityInput>),
}

#[derive(Deserialize, JsonSchema)]
struct CapabilityInput {
    kind: String,
    target: String,
}

/// `POST …/rollback`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackInput {
    /// The version; the one before the active one, unless given.
    version: Option<i32>,
}

impl GrantInput {
    fn check(self) -> Result<Granting, ApiError> {
        let these = match self {
            GrantInput::Word(word) if word == "all" => return Ok(Granting::Everything),
            GrantInput::Word(_) => {
                return Err(ApiError::invalid(vec![FieldError::new(
                    "/grant",
                    "expected `\"all\"` or a list of capabilities",
                )]));
            }
            GrantInput::These(these) => these,
        };
        let mut wrong = vec![];
        let mut granted = vec![];
        for (at, input) in these.into_iter().enumerate() {
            match CapabilityKind::parse(&input.kind) {
                Some(kind) => granted.push(Capability::new(kind, input.target)),
                None => wrong.push(FieldError::new(
                    format!("/grant/{at}/kind"),
                    "expected one of http, secret, kv, model, tool",
                )),
            }
        }
        if wrong.is_empty() { Ok(Granting::These(granted)) } else { Err(ApiError::invalid(wrong)) }
    }
}

async fn reviewed<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: PluginName,
    input: ReviewInput,
) -> ApiResult<Json<Value>> {
    let done = review::review(app, allowed, &plugin, input.version, input.grant.check()?).await?;
    Ok(Json(json!({
        "name": plugin.name,
        "version": done.version,
        "status": "active",
        "granted": done.granted,
        "denied": done.denied,
    })))
}

async fn list<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    kind: PluginKind,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let mut tx = app.tenant_tx(allowed).await?;
    let rows = store::list(&mut tx, kind, page.after::<String>()?.as_deref(), page.fetch()).await?;
    let rows = page.of(rows, |row| row.plugin.name.clone());
    let data = rows.data.iter().map(|row| meta(kind, &row.plugin, &row.version, None)).collect();
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

async fn get<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    headers: &HeaderMap,
) -> ApiResult<Response> {
    let (row, version, granted) = {
        let mut tx = app.tenant_tx(allowed).await?;
        let row =
            store::find(&mut tx, plugin).await?.ok_or_else(|| ApiError::not_found(plugin.kind.name()))?;
        let version = store::newest_version(&mut tx, row.plugin_id).await?;
        let version = version.ok_or_else(|| ApiError::not_found(plugin.kind.name()))?;
        let granted: Vec<_> =
            store::list_grants(&mut tx, Some(plugin)).await?.into_iter().map(|(_, c)| c).collect();
        (row, version, granted)
    };
    let etag = format!("\"{}\"", version.sha256);
    let format = if version.format == Format::Markdown.name() { Format::Markdown } else { Format::Component };
    let vary = (header::VARY, header::ACCEPT.as_str().to_owned());
    if wants_bytes(headers, format) {
        // Bytes never change under their digest; what is said about them does.
        let has_it = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if has_it.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)) {
            return Ok((StatusCode::NOT_MODIFIED, [vary, (header::ETAG, etag)]).into_response());
        }
        let bytes = app.blobs.get(&version.sha256).await?;
        let content = [vary, (header::CONTENT_TYPE, format.media_type().to_owned()), (header::ETAG, etag)];
        return Ok((content, bytes).into_response());
    }
    let meta = meta(plugin.kind, &row, &version, Some(&granted));
    Ok(([vary, (header::ETAG, etag)], Json(meta)).into_response())
}

fn wants_bytes(headers: &HeaderMap, format: Format) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = match format {
        Format::Component => "application/wasm",
        Format::Markdown => "text/markdown",
    };
    accept
        .split(',')
        .any(|part| part.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted))
}

async fn versions<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let mut tx = app.tenant_tx(allowed).await?;
    let row = store::find(&mut tx, plugin).await?.ok_or_else(|| ApiError::not_found(plugin.kind.name()))?;
    let rows = store::list_versions(&mut tx, row.plugin_id, page.after()?, page.fetch()).await?;
    let rows = page.of(rows, |version| version.version.to_string());
    let data = rows.data.iter().map(|version| meta(plugin.kind, &row, version, None)).collect();
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

fn answer(plugin: &PluginName, uploaded: &Uploaded) -> Response {
    let status = if uploaded.created { StatusCode::CREATED } else { StatusCode::OK };
    let version = &uploaded.version;
    let body = json!({
        "name": plugin.name,
        "version": version.version,
        "sha256": version.sha256,
        "size_bytes": version.size_bytes,
        "kind": version.format,
        "exports": exports(&plugin.name, &version.description),
        "requested_capabilities": version.requested,
        "status": if uploaded.active { "active" } else { "pending_review" },
    });
    (status, [(header::ETAG, format!("\"{}\"", version.sha256))], Json(body)).into_response()
}

fn meta(kind: PluginKind, row: &PluginRow, version: &VersionRow, granted: Option<&[Capability]>) -> Value {
    let status = match row.active_version {
        Some(active) if active == version.version => "active",
        Some(active) if active > version.version => "superseded",
        // Newer than what runs, after a rollback; it could run at once.
        _ if version.reviewed || version.requested.is_empty() => "inactive",
        _ => "pending_review",
    };
    let mut meta = json!({
        "name": row.name,
        "kind": version.format,
        "version": version.version,
        "active_version": row.active_version,
        "sha256": version.sha256,
        "size_bytes": version.size_bytes,
        "exports": exports(&row.name, &version.description),
        "requested_capabilities": version.requested,
        "status": status,
        "created_at": row.created_at,
        "uploaded_at": version.uploaded_at,
        "updated_at": row.updated_at,
    });
    if let Some(granted) = granted {
        meta["granted_capabilities"] = json!(granted);
        meta["wit"] = json!(wit_of(kind));
    }
    meta
}

fn wit_of(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Tool => "opg:tool/plugin@1.0.0",
        PluginKind::Agent => "opg:agent/plugin@1.0.0",
    }
}

fn exports(plugin: &str, description: &Description) -> Value {
    match description {
        Description::Tools { tools } => tools
            .iter()
            .map(|tool| {
                json!({
                    "name": tools::exposed_name(plugin, tools.len(), &tool.name),
                    "description": tool.description,
                    "input_schema": serde_json::from_str::<Value>(&tool.input_schema).unwrap_or_default(),
                })
            })
            .collect(),
        Description::Agent { description } => json!([{ "description": description }]),
        Description::Markdown(agent) => json!([{
            "description": agent.description,
            "model": agent.model,
            "tools": agent.tools,
        }]),
    }
}

fn shipped_meta(plugin: &predefined::Plugin) -> Value {
    json!({
        "name": plugin.name.name,
        "kind": "component",
        "sha256": plugin.component.digest(),
        "size_bytes": plugin.wasm.len(),
        "exports": exports(&plugin.name.name, &plugin.description),
        "requested_capabilities": plugin.requested,
        "wit": wit_of(plugin.name.kind),
    })
}

fn list_shipped(app: &App, kind: PluginKind) -> Value {
    let data: Vec<_> = app.predefined.all(kind).map(shipped_meta).collect();
    json!({ "data": data, "next_cursor": null, "has_more": false })
}

fn get_shipped(
    app: &App,
    kind: PluginKind,
    name: &str,
    query: &Source,
    headers: &HeaderMap,
) -> ApiResult<Response> {
    let plugin = app.predefined.find(kind, name).ok_or_else(|| ApiError::not_found(kind.name()))?;
    if wants_bytes(headers, Format::Component) {
        return Ok(
            ([(header::CONTENT_TYPE, Format::Component.media_type())], plugin.wasm.clone()).into_response()
        );
    }
    let mut meta = shipped_meta(plugin);
    if query.source.as_deref().is_some_and(|flag| flag != "0") {
        meta["source"] = json!(plugin.source);
    }
    Ok(Json(meta).into_response())
}

// === errors ===

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> ApiError {
        let text = error.to_string();
        match error {
            UploadError::BadName => ApiError::unprocessable("bad_name", text),
            UploadError::BadComponent(LoadError::Engine(cause)) => {
                ApiError::internal("a component could not be loaded", cause)
            }
            UploadError::BadComponent(LoadError::Busy) => ApiError::unavailable(text),
            UploadError::BadComponent(_) => ApiError::unprocessable("bad_component", text),
            UploadError::WrongKind { .. } => ApiError::unprocessable("wrong_kind", text),
            UploadError::Describe(CallError::Busy) => ApiError::unavailable("the sandbox is busy; try again"),
            UploadError::Describe(_) => ApiError::unprocessable("describe_failed", text),
            UploadError::BadDescription(_) => ApiError::unprocessable("bad_description", text),
            UploadError::BadMarkdown(cause) => {
                ApiError::unprocessable("bad_markdown", text).with("line", json!(cause.line))
            }
            UploadError::UnknownTool(_) => ApiError::unprocessable("unknown_tool", text),
            UploadError::TooMany | UploadError::TooManyTools(_) => {
                ApiError::conflict("too_many_plugins", text)
            }
            UploadError::Blob(cause) => cause.into(),
            UploadError::Db(cause) => cause.into(),
        }
    }
}

impl From<BlobError> for ApiError {
    fn from(cause: BlobError) -> ApiError {
        ApiError::internal("a blob could not be read or written", cause)
    }
}

impl From<ReviewError> for ApiError {
    fn from(error: ReviewError) -> ApiError {
        match error {
            ReviewError::NotFound => ApiError::not_found("plugin or version"),
            ReviewError::WhichVersion(_) => ApiError::conflict("version_required", error.to_string()),
            ReviewError::Invalid(fields) => ApiError::invalid(fields),
            ReviewError::Db(cause) => cause.into(),
        }
    }
}

impl From<RollbackError> for ApiError {
    fn from(error: RollbackError) -> ApiError {
        match error {
            RollbackError::NotFound => ApiError::not_found("plugin or version"),
            RollbackError::NotReviewed(_) => ApiError::conflict("not_reviewed", error.to_string()),
            RollbackError::NothingOlder => ApiError::conflict("nothing_older", error.to_string()),
            RollbackError::Db(cause) => cause.into(),
        }
    }
}

impl From<RemoveError> for ApiError {
    fn from(error: RemoveError) -> ApiError {
        match error {
            RemoveError::NotFound => ApiError::not_found("plugin"),
            RemoveError::InUse(_) => ApiError::conflict("in_use", error.to_string()),
            RemoveError::IsDefault => ApiError::conflict("is_default_agent", error.to_string()),
            RemoveError::Db(cause) => cause.into(),
        }
    }
}
