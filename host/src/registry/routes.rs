//! `/v1/tenant/tools`, `/v1/tenant/agents`, `/v1/predefined`.

use super::{
    Description, Format, PluginKind, PluginName,
    blobs::BlobError,
    compiling::NoTurn,
    predefined, remove,
    remove::RemoveError,
    review,
    review::{Granting, ReviewError},
    rollback,
    rollback::RollbackError,
    sbom,
    seen::Seen,
    signature::{self, Sent, SignatureError, Signer},
    store::{self, PluginRow, VersionRow},
    upload::{self, UploadError, Uploaded, With},
    words,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{
        Allowed, AppRef, Caller, Capability, CapabilityKind, Denied, InApp, Permission, action::may, audit,
    },
    http::{
        Json, NoContent, Page, Paged, Params, body, digest::Digests, etag::Precondition, extract::Queried,
    },
    limits::{COMPONENT_BYTES_MAX, MARKDOWN_BYTES_MAX},
    sandbox::{CallError, LoadError},
    tools,
    typescript::{SOURCE_BYTES_MAX, TypeScriptError},
};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

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

// === tools and agents ===

/// A kind of plugin, as routes: the same handlers, each kind under scopes of its own.
pub trait Kind: Send + Sync + 'static {
    /// The kind.
    const KIND: PluginKind;
    /// What looking takes.
    type Read: Permission<Of = AppRef>;
    /// What changing takes.
    type Write: Permission<Of = AppRef>;
    /// What granting takes.
    type Review: Permission<Of = AppRef>;
}

/// `/v1/tenant/tools`
pub enum Tools {}

impl Kind for Tools {
    const KIND: PluginKind = PluginKind::Tool;
    type Read = may::ToolsRead;
    type Write = may::ToolsWrite;
    type Review = may::ToolsReview;
}

/// `/v1/tenant/agents`
pub enum Agents {}

impl Kind for Agents {
    const KIND: PluginKind = PluginKind::Agent;
    type Read = may::AgentsRead;
    type Write = may::AgentsWrite;
    type Review = may::AgentsReview;
}

impl Named {
    fn plugin<K: Kind>(self) -> PluginName {
        PluginName { kind: K::KIND, name: self.name }
    }
}

/// Lists plugins, by name.
pub async fn list<K: Kind>(
    State(app): State<App>,
    allowed: Allowed<K::Read>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list(&mut tx, K::KIND, page.after::<String>()?.as_deref(), page.fetch()).await?;
    let rows = page.of(rows, |row| row.plugin.name.clone());
    let data = rows.data.iter().map(|row| meta(K::KIND, &row.plugin, &row.version, None)).collect();
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

/// Shows a plugin; with an `Accept` of its own media type, its bytes; with `?source=1` also the file it was made of, with
/// `?sbom=1` what it says it was built of.
pub async fn get<K: Kind>(
    State(app): State<App>,
    allowed: Allowed<K::Read>,
    Params(path): Params<Named>,
    Queried(query): Queried<Source>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let plugin = path.plugin::<K>();
    let seen = Seen::read(&mut app.tenant_tx(&allowed).await?, &plugin).await?;
    let tag = seen.tag();
    let (Some(row), Some(version)) = (seen.row, seen.newest) else {
        return Err(ApiError::not_found(plugin.kind.name()));
    };
    let format = Format::parse(&version.format);
    let vary = (header::VARY, header::ACCEPT.as_str().to_owned());
    if let Some((sha256, media_type)) = wanted_bytes(&headers, format, &version) {
        let etag = format!("\"{sha256}\"");
        // Bytes never change under their digest; what is said about them does.
        let has_it = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        if has_it.is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)) {
            return Ok((StatusCode::NOT_MODIFIED, [vary, (header::ETAG, etag)]).into_response());
        }
        let bytes = app.blobs.get(sha256).await?;
        let content = [vary, (header::CONTENT_TYPE, media_type.to_owned()), (header::ETAG, etag)];
        return Ok((content, bytes).into_response());
    }
    let mut meta = meta(plugin.kind, &row, &version, Some(&seen.granted));
    if !seen.waiting.is_empty() {
        let preview = review::preview(&app, &allowed, &plugin).await?;
        let changes =
            preview.waiting.into_iter().map(|w| json!({ "version": w.version, "changes": w.changes }));
        meta["waiting"] = changes.collect();
    }
    if let (true, Some(sha256)) = (query.is_wanted(), &version.source_sha256) {
        meta["source"] = json!(String::from_utf8_lossy(&app.blobs.get(sha256).await?));
    }
    if query.wants_sbom() {
        let bytes = app.blobs.get(&version.sha256).await?;
        meta["sbom"] = json!(sbom::read(bytes).await);
    }
    Ok(([vary], tagged(tag, meta)).into_response())
}

/// With how the plugin stands, for `If-Match` (row M051).
fn tagged(tag: HeaderValue, shown: Value) -> impl IntoResponse {
    ([(header::ETAG, tag)], Json(shown))
}

/// Deletes a plugin.
pub async fn delete<K: Kind>(
    State(app): State<App>,
    allowed: Allowed<K::Write>,
    Params(path): Params<Named>,
    Queried(query): Queried<Force>,
    headers: HeaderMap,
) -> ApiResult<NoContent> {
    remove::remove(&app, &allowed, &path.plugin::<K>(), query.force, &Precondition::of(&headers)).await?;
    Ok(NoContent)
}

/// Reviews a plugin.
pub async fn review<K: Kind>(
    State(app): State<App>,
    allowed: Allowed<K::Review>,
    Params(path): Params<Named>,
    headers: HeaderMap,
    Json(input): Json<ReviewInput>,
) -> ApiResult<impl IntoResponse> {
    let plugin = path.plugin::<K>();
    let which = (input.version, &Precondition::of(&headers));
    let done = review::review(&app, &allowed, &plugin, which, input.grant.check()?).await?;
    let shown = json!({
        "name": plugin.name,
        "version": done.version,
        "status": "active",
        "granted": done.granted,
        "denied": done.denied,
    });
    Ok(tagged(done.tag, shown))
}

/// Shows what there is to review: what waits, and in words how it differs from what runs.
pub async fn preview<K: Kind>(
    State(app): State<App>,
    allowed: Allowed<K::Read>,
    Params(path): Params<Named>,
) -> ApiResult<impl IntoResponse> {
    let plugin = path.plugin::<K>();
    let preview = review::preview(&app, &allowed, &plugin).await?;
    let in_words = |capability: &Capability| words::of(capability);
    let granted = preview.granted.iter().map(
        |given| json!({ "kind": given.kind, "target": given.target, "text": format!("May {}", in_words(given)) }),
    );
    let waiting = preview.waiting.iter().map(|waiting| {
        json!({
            "version": waiting.version,
            "requested_capabilities": waiting.requested,
            "changes": waiting.changes,
        })
    });
    let shown = json!({
        "name": plugin.name,
        "active_version": preview.active_version,
        "granted": granted.collect::<Vec<_>>(),
        "waiting": waiting.collect::<Vec<_>>(),
    });
    Ok(tagged(preview.tag, shown))
}

/// Lists a plugin's versions.
pub async fn versions<K: Kind>(
    State(app): State<App>,
    allowed: Allowed<K::Read>,
    Params(path): Params<Named>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let plugin = path.plugin::<K>();
    let mut tx = app.tenant_tx(&allowed).await?;
    let row = store::find(&mut tx, &plugin).await?.ok_or_else(|| ApiError::not_found(plugin.kind.name()))?;
    let rows = store::list_versions(&mut tx, row.plugin_id, page.after()?, page.fetch()).await?;
    let rows = page.of(rows, |version| version.version.to_string());
    let mut data: Vec<_> = rows.data.iter().map(|version| meta(plugin.kind, &row, version, None)).collect();
    if plugin.kind == PluginKind::Tool {
        let mut runs = tools::runs::by_version(&mut tx, &plugin.name).await?;
        for (version, meta) in rows.data.iter().zip(&mut data) {
            meta["runs"] =
                runs.remove(&version.version).unwrap_or_else(|| json!({ "count": 0, "failed": 0 }));
        }
    }
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

/// Rolls a plugin back.
pub async fn rollback<K: Kind>(
    State(app): State<App>,
    allowed: Allowed<K::Write>,
    Params(path): Params<Named>,
    headers: HeaderMap,
    Json(input): Json<RollbackInput>,
) -> ApiResult<impl IntoResponse> {
    let (plugin, only) = (path.plugin::<K>(), Precondition::of(&headers));
    let (version, tag) = rollback::rollback(&app, &allowed, &plugin, input.version, &only).await?;
    Ok(tagged(tag, json!({ "version": version, "status": "active" })))
}

/// Uploads a tool: a component, an Extism plugin, or a TypeScript file.
pub async fn put_tool(
    State(app): State<App>,
    allowed: Allowed<may::ToolsWrite>,
    Params(path): Params<Named>,
    Queried(query): Queried<Uploading>,
    request: Request,
) -> ApiResult<Response> {
    let plugin = PluginName::tool(path.name);
    let reviewer = query.reviewer::<may::ToolsReview>(allowed.caller())?;
    let (digests, sent) = (Digests::of(request.headers())?, Sent::of(request.headers()));
    let only = Precondition::of(request.headers());
    let uploaded = match body::media_type(request.headers()).as_deref() {
        Some("application/wasm" | "application/octet-stream") => {
            let wasm = body::read(request.into_body(), COMPONENT_BYTES_MAX).await?;
            query.check(&digests, &wasm)?;
            let signer = signer(&app, &allowed, &plugin, &sent, &wasm).await?;
            upload::component(&app, &allowed, &plugin, (wasm, With { signer, only })).await
        }
        Some(EXTISM_MANIFEST) => {
            let manifest = body::read(request.into_body(), COMPONENT_BYTES_MAX).await?;
            query.check(&digests, &manifest)?;
            let signer = signer(&app, &allowed, &plugin, &sent, &manifest).await?;
            upload::extism(&app, &allowed, &plugin, (manifest, With { signer, only })).await
        }
        Some(media) if TYPESCRIPT.contains(&media) => {
            // A component is larger than a file may be, and is told so further down.
            let bytes = body::read(request.into_body(), SOURCE_BYTES_MAX).await?;
            query.check(&digests, &bytes)?;
            let signer = signer(&app, &allowed, &plugin, &sent, &bytes).await?;
            let source = String::from_utf8(bytes.into()).map_err(|_| {
                ApiError::unprocessable(
                    "not_utf8",
                    "the file is not UTF-8 text; send a component as `application/wasm`",
                )
            })?;
            upload::typescript(&app, &allowed, &plugin, (source, With { signer, only })).await
        }
        _ => return Err(ApiError::wrong_content_type("text/typescript` or `application/wasm")),
    };
    let uploaded = match uploaded {
        Ok(uploaded) => uploaded,
        Err(error) => return Err(refused(&app, &allowed, &plugin, error).await),
    };
    let uploaded = approve(&app, reviewer.as_ref(), &plugin, uploaded).await?;
    Ok(answer(&plugin, &uploaded))
}

/// An Extism manifest with its module in it. Nobody has registered a type for one.
const EXTISM_MANIFEST: &str = "application/vnd.extism.manifest+json";

/// What clients send a TypeScript or JavaScript file as. The last is what `curl --data-binary` says unless told.
const TYPESCRIPT: [&str; 7] = [
    "text/typescript",
    "text/plain",
    "application/typescript",
    "text/javascript",
    "application/javascript",
    "text/x-typescript",
    "application/x-www-form-urlencoded",
];

/// Uploads an agent: a component, or markdown.
pub async fn put_agent(
    State(app): State<App>,
    allowed: Allowed<may::AgentsWrite>,
    Params(path): Params<Named>,
    Queried(query): Queried<Uploading>,
    request: Request,
) -> ApiResult<Response> {
    let plugin = PluginName::agent(path.name);
    let reviewer = query.reviewer::<may::AgentsReview>(allowed.caller())?;
    let (digests, sent) = (Digests::of(request.headers())?, Sent::of(request.headers()));
    let only = Precondition::of(request.headers());
    let uploaded = match body::media_type(request.headers()).as_deref() {
        Some("application/wasm" | "application/octet-stream") => {
            let wasm = body::read(request.into_body(), COMPONENT_BYTES_MAX).await?;
            query.check(&digests, &wasm)?;
            let signer = signer(&app, &allowed, &plugin, &sent, &wasm).await?;
            upload::component(&app, &allowed, &plugin, (wasm, With { signer, only })).await
        }
        Some("text/markdown" | "text/plain") => {
            let bytes = body::read(request.into_body(), MARKDOWN_BYTES_MAX).await?;
            query.check(&digests, &bytes)?;
            let signer = signer(&app, &allowed, &plugin, &sent, &bytes).await?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| ApiError::unprocessable("not_utf8", "the markdown is not UTF-8 text"))?;
            upload::markdown(&app, &allowed, &plugin, (text, With { signer, only })).await
        }
        _ => return Err(ApiError::wrong_content_type("text/markdown` or `application/wasm")),
    };
    let uploaded = match uploaded {
        Ok(uploaded) => uploaded,
        Err(error) => return Err(refused(&app, &allowed, &plugin, error).await),
    };
    let uploaded = approve(&app, reviewer.as_ref(), &plugin, uploaded).await?;
    Ok(answer(&plugin, &uploaded))
}

/// Who signed what is uploaded, before anything else is done with it.
async fn signer<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    sent: &Sent,
    bytes: &Bytes,
) -> ApiResult<Signer> {
    upload::check_name(plugin)?;
    match signature::signer(app, allowed, sent, bytes).await {
        Ok(signer) => Ok(signer),
        Err(error) => Err(refused(app, allowed, plugin, error.into()).await),
    }
}

/// Writes a refused upload into the audit log: whoever tries what must not run should be seen trying.
async fn refused<A: Permission<Of = AppRef>>(
    app: &App,
    allowed: &Allowed<A>,
    plugin: &PluginName,
    error: UploadError,
) -> ApiError {
    let told = ApiError::from(error);
    let is_about_the_plugin = told.status == StatusCode::UNPROCESSABLE_ENTITY && told.code != "bad_name";
    if is_about_the_plugin {
        let entry = audit::Entry::ok(A::ACTION.name(), plugin.to_string())
            .result(audit::Outcome::Failed)
            .detail(json!({ "code": told.code }));
        if let Err(cause) = write_alone(app, allowed, entry).await {
            tracing::error!(%cause, %plugin, "a refused upload could not be written down");
        }
    }
    told
}

async fn write_alone(app: &App, proof: &impl InApp, entry: audit::Entry) -> sqlx::Result<()> {
    let mut tx = app.tenant_tx(proof).await?;
    audit::write(app, &mut tx, proof, entry).await?;
    tx.commit().await
}

/// `?approve=1`: whoever uploads may review, and says that this is the review. `?sha256=…`: what they mean to upload.
#[derive(Deserialize)]
pub struct Uploading {
    approve: Option<String>,
    sha256: Option<String>,
}

impl Uploading {
    /// Whether these are the bytes that were meant (row M363), by the query and by the request's headers.
    fn check(&self, digests: &Digests, bytes: &[u8]) -> ApiResult<()> {
        digests.check(bytes)?;
        let Some(expected) = &self.sha256 else { return Ok(()) };
        let found = hex::encode(Sha256::digest(bytes));
        if expected.eq_ignore_ascii_case(&found) {
            return Ok(());
        }
        let text = format!(
            "these bytes have the SHA-256 `{found}`, not the one in `sha256`; send the file it is of"
        );
        Err(ApiError::unprocessable("digest_mismatch", text))
    }

    /// The proof that the caller may review, where they said they do.
    fn reviewer<A: Permission<Of = AppRef>>(&self, caller: &Caller) -> Result<Option<Allowed<A>>, Denied> {
        match self.approve.as_deref() {
            None | Some("0" | "false") => Ok(None),
            Some(_) => Allowed::judge(Some(caller), None).map(Some),
        }
    }
}

async fn approve<A: Permission<Of = AppRef>>(
    app: &App,
    reviewer: Option<&Allowed<A>>,
    plugin: &PluginName,
    uploaded: Uploaded,
) -> ApiResult<Uploaded> {
    let Some(reviewer) = reviewer.filter(|_| !uploaded.active) else { return Ok(uploaded) };
    let which = (Some(uploaded.version.version), &Precondition::default());
    let done = review::review(app, reviewer, plugin, which, Granting::New).await?;
    Ok(Uploaded { active: true, tag: done.tag, ..uploaded })
}

// === predefined ===

/// Lists what we ship of a kind.
pub async fn list_predefined<K: Kind>(
    State(app): State<App>,
    _allowed: Allowed<may::PredefinedRead>,
) -> Json<Value> {
    let data: Vec<_> = app.predefined.all(K::KIND).map(shipped_meta).collect();
    Json(json!({ "data": data, "next_cursor": null, "has_more": false }))
}

/// Shows one of it; `?source=1` its source, `Accept: application/wasm` its bytes.
pub async fn get_predefined<K: Kind>(
    State(app): State<App>,
    _allowed: Allowed<may::PredefinedRead>,
    Params(path): Params<Named>,
    Queried(query): Queried<Source>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    get_shipped(&app, K::KIND, &path.name, &query, &headers)
}

/// `?source=1&sbom=1`
#[derive(Deserialize)]
pub struct Source {
    source: Option<String>,
    sbom: Option<String>,
}

impl Source {
    fn is_wanted(&self) -> bool {
        self.source.as_deref().is_some_and(|flag| flag != "0")
    }

    fn wants_sbom(&self) -> bool {
        self.sbom.as_deref().is_some_and(|flag| flag != "0")
    }
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
                    format!("expected one of {}", CapabilityKind::names()),
                )),
            }
        }
        if wrong.is_empty() { Ok(Granting::These(granted)) } else { Err(ApiError::invalid(wrong)) }
    }
}

/// Which bytes `Accept` asks for: their digest and media type.
fn wanted_bytes<'a>(
    headers: &HeaderMap,
    format: Format,
    version: &'a VersionRow,
) -> Option<(&'a str, &'static str)> {
    let runs = (&*version.sha256, format.media_type());
    let source = version.source_sha256.as_deref().map(|sha256| (sha256, "text/typescript; charset=utf-8"));
    [Some(runs), source].into_iter().flatten().find(|(_, media_type)| accepts(headers, media_type))
}

fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let bare = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|part| bare(part) == bare(media_type))
}

fn answer(plugin: &PluginName, uploaded: &Uploaded) -> Response {
    let status = if uploaded.created { StatusCode::CREATED } else { StatusCode::OK };
    let version = &uploaded.version;
    let body = json!({
        "name": plugin.name,
        "version": version.version,
        "sha256": version.sha256,
        "source_sha256": version.source_sha256,
        "size_bytes": version.size_bytes,
        "kind": version.format,
        "exports": exports(&plugin.name, &version.description),
        "requested_capabilities": version.requested,
        "signed_by": version.signed_by,
        "status": if uploaded.active { "active" } else { "pending_review" },
    });
    (status, tagged(uploaded.tag.clone(), body)).into_response()
}

fn meta(kind: PluginKind, row: &PluginRow, version: &VersionRow, granted: Option<&[Capability]>) -> Value {
    let status = match row.active_version {
        Some(active) if active == version.version => "active",
        Some(active) if active > version.version => "superseded",
        // Newer than what runs, after a rollback; it could run at once.
        _ if version.passed => "inactive",
        _ => "pending_review",
    };
    let mut meta = json!({
        "name": row.name,
        "kind": version.format,
        "version": version.version,
        "active_version": row.active_version,
        "sha256": version.sha256,
        "source_sha256": version.source_sha256,
        "size_bytes": version.size_bytes,
        "exports": exports(&row.name, &version.description),
        "requested_capabilities": version.requested,
        "signed_by": version.signed_by,
        "status": status,
        "created_at": row.created_at,
        "uploaded_at": version.uploaded_at,
        "updated_at": row.updated_at,
    });
    if let Some(granted) = granted {
        meta["granted_capabilities"] = json!(granted);
        meta["wit"] = json!(wit_of(kind, Format::parse(&version.format)));
    }
    meta
}

/// The world it is of. What comes as a core module is of none.
fn wit_of(kind: PluginKind, format: Format) -> Option<&'static str> {
    match (kind, format) {
        (_, Format::Extism) => None,
        (PluginKind::Tool, _) => Some("opg:tool/plugin@1.0.0"),
        (PluginKind::Agent, _) => Some("opg:agent/plugin@1.0.0"),
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
        "wit": wit_of(plugin.name.kind, Format::Component),
    })
}

fn get_shipped(
    app: &App,
    kind: PluginKind,
    name: &str,
    query: &Source,
    headers: &HeaderMap,
) -> ApiResult<Response> {
    let plugin = app.predefined.find(kind, name).ok_or_else(|| ApiError::not_found(kind.name()))?;
    if accepts(headers, Format::Component.media_type()) {
        return Ok(
            ([(header::CONTENT_TYPE, Format::Component.media_type())], plugin.wasm.clone()).into_response()
        );
    }
    let mut meta = shipped_meta(plugin);
    if query.is_wanted() {
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
            UploadError::Precondition(failed) => failed.into(),
            UploadError::Signature(cause) => {
                let code = match cause {
                    SignatureError::Missing(_) => "signature_required",
                    SignatureError::NoKeys => "no_trusted_keys",
                    SignatureError::Unreadable | SignatureError::OldForm => "bad_signature",
                    SignatureError::Untrusted { .. } => "untrusted_key",
                    SignatureError::Mismatch => "signature_mismatch",
                    SignatureError::Db(cause) => return cause.into(),
                };
                ApiError::unprocessable(code, text)
            }
            UploadError::BadComponent(LoadError::Engine(cause)) => {
                ApiError::internal("a component could not be loaded", cause)
            }
            UploadError::BadComponent(LoadError::Busy) => ApiError::unavailable(text),
            UploadError::BadComponent(_) => ApiError::unprocessable("bad_component", text),
            UploadError::NoTurn(NoTurn::TooManyWait) => ApiError::unavailable(text),
            UploadError::NoTurn(NoTurn::TimeUsed(wait)) => {
                ApiError::rate_limited("compile_time_used", text, wait.as_secs())
            }
            UploadError::WrongKind { .. } => ApiError::unprocessable("wrong_kind", text),
            UploadError::Describe(CallError::Busy) => ApiError::unavailable("the sandbox is busy; try again"),
            UploadError::Describe(_) => ApiError::unprocessable("describe_failed", text),
            UploadError::BadDescription(_) => ApiError::unprocessable("bad_description", text),
            UploadError::BadMarkdown(cause) => {
                ApiError::unprocessable("bad_markdown", text).with("line", json!(cause.line))
            }
            UploadError::BadTypeScript(TypeScriptError::Invalid(invalid)) => {
                let error = ApiError::unprocessable("typescript_invalid", text);
                match invalid.place {
                    Some(place) => error
                        .with("line", json!(place.line))
                        .with("column", json!(place.column))
                        .with("source_line", json!(place.text)),
                    None => error,
                }
            }
            UploadError::BadTypeScript(TypeScriptError::Busy) => ApiError::unavailable(text),
            UploadError::BadTypeScript(TypeScriptError::Engine(cause)) => {
                ApiError::internal("a TypeScript file could not be made a component", cause)
            }
            UploadError::UnknownTool(_) => ApiError::unprocessable("unknown_tool", text),
            UploadError::TooMany | UploadError::TooManyTools(_) => {
                ApiError::conflict("too_many_plugins", text)
            }
            UploadError::TookTooLong => ApiError::unavailable(text),
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
            ReviewError::Gone(_) => ApiError::new(StatusCode::GONE, "version_gone", error.to_string()),
            ReviewError::WhichVersion(_) => ApiError::conflict("version_required", error.to_string()),
            ReviewError::Untrusted(_) => ApiError::conflict("untrusted_version", error.to_string()),
            ReviewError::Invalid(fields) => ApiError::invalid(fields),
            ReviewError::Precondition(failed) => failed.into(),
            ReviewError::Db(cause) => cause.into(),
        }
    }
}

impl From<RollbackError> for ApiError {
    fn from(error: RollbackError) -> ApiError {
        match error {
            RollbackError::NotFound => ApiError::not_found("plugin or version"),
            RollbackError::Gone { ref there, .. } => {
                ApiError::new(StatusCode::GONE, "version_gone", error.to_string())
                    .with("versions", json!(there))
            }
            RollbackError::NotReviewed(_) => ApiError::conflict("not_reviewed", error.to_string()),
            RollbackError::Untrusted(_) => ApiError::conflict("untrusted_version", error.to_string()),
            RollbackError::NothingOlder => ApiError::conflict("nothing_older", error.to_string()),
            RollbackError::Precondition(failed) => failed.into(),
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
            RemoveError::Precondition(failed) => failed.into(),
            RemoveError::Db(cause) => cause.into(),
        }
    }
}
