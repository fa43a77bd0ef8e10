//! `/v1/commands`, `/v1/tenant/commands/{name}`, `/v1/sessions/{id}/command`

use super::{
    fill, parse,
    store::{self, Command},
};
use crate::{
    agents,
    app::App,
    chat::send::ChatError,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, InApp, action::may, audit},
    http::{
        Json, NoContent, Params,
        etag::{Precondition, entity_tag},
    },
    limits::COMMANDS_PER_APP_MAX,
    models::ModelId,
    sessions::{
        SessionError,
        routes::SessionPath,
        turns::{
            content::Part,
            prompt::{self, Accepted, PromptInput, WhenBusy},
        },
    },
    tenants::TenantTx,
};
use axum::{extract::State, response::IntoResponse};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// A command in a path.
#[derive(Deserialize)]
pub struct CommandPath {
    name: String,
}

/// A command, as it is sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommandInput {
    /// What the agent is told.
    template: String,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// The agent that answers.
    agent: Option<String>,
    /// The model, `provider/model`.
    model: Option<String>,
}

/// A call of a command.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallInput {
    /// Its name; or a whole line, such as `/review "the last draft"`.
    pub(crate) command: String,
    /// What is written after it.
    #[serde(default)]
    pub(crate) arguments: String,
    /// The message's id; one that was sent before is not taken again.
    pub(crate) message_id: Option<Uuid>,
    /// The agent that answers, rather than the command's.
    pub(crate) agent: Option<String>,
    /// The model, rather than the command's.
    pub(crate) model: Option<String>,
    /// What to do while another turn runs or waits.
    #[serde(default)]
    pub(crate) when_busy: WhenBusy,
}

/// Lists the app's commands (row M290).
pub async fn list(State(app): State<App>, allowed: Allowed<may::SessionsRead>) -> ApiResult<Json<Value>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let commands = store::list(&mut tx).await?;
    let shown = commands.iter().map(|command| {
        let mut shown = json!(command);
        // There is no route that shows one: what `If-Match` takes stands here.
        shown["etag"] = json!(tag(command).to_str().unwrap_or_default());
        shown
    });
    Ok(Json(json!({ "data": shown.collect::<Vec<_>>() })))
}

fn tag(command: &Command) -> HeaderValue {
    entity_tag(&json!(command))
}

/// Whether a command is the one that was read, or not there, as a request says (row M051).
async fn check(tx: &mut TenantTx, name: &str, headers: &HeaderMap) -> ApiResult<()> {
    let only = Precondition::of(headers);
    if only.is_none() {
        return Ok(());
    }
    let tags: Vec<_> = store::find(tx, name).await?.iter().map(tag).collect();
    Ok(only.check(&tags)?)
}

/// Writes one.
pub async fn put(
    State(app): State<App>,
    allowed: Allowed<may::TenantWrite>,
    Params(path): Params<CommandPath>,
    headers: HeaderMap,
    Json(input): Json<CommandInput>,
) -> ApiResult<impl IntoResponse> {
    let wrong = super::check(&path.name, &input.template, &input.description);
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    if input.agent.is_some() {
        agents::choose(&app, &allowed, input.agent.as_deref()).await.map_err(ChatError::from)?;
    }
    if let Some(model) = &input.model {
        ModelId::parse(model).map_err(ChatError::Request)?;
    }
    let CommandInput { template, description, agent, model } = input;
    let command = Command { name: path.name, description, template, agent, model, updated_at: app.now() };
    let mut tx = app.tenant_tx(&allowed).await?;
    store::lock(&mut tx, allowed.app().app_id).await?;
    check(&mut tx, &command.name, &headers).await?;
    if !store::put(&mut tx, allowed.app().app_id, &command, COMMANDS_PER_APP_MAX).await? {
        let text = format!("an app has {COMMANDS_PER_APP_MAX} commands at the most; delete one first");
        return Err(ApiError::conflict("too_many_commands", text));
    }
    let entry = audit::Entry::ok("commands.put", format!("command/{}", command.name));
    audit::write(&app, &mut tx, &allowed, entry).await?;
    tx.commit().await?;
    Ok(([(header::ETAG, tag(&command))], Json(json!(command))))
}

/// Deletes one.
pub async fn delete(
    State(app): State<App>,
    allowed: Allowed<may::TenantWrite>,
    Params(path): Params<CommandPath>,
    headers: HeaderMap,
) -> ApiResult<NoContent> {
    let mut tx = app.tenant_tx(&allowed).await?;
    store::lock(&mut tx, allowed.app().app_id).await?;
    if store::find(&mut tx, &path.name).await?.is_none() {
        return Err(ApiError::not_found("command"));
    }
    check(&mut tx, &path.name, &headers).await?;
    store::delete(&mut tx, &path.name).await?;
    let entry = audit::Entry::ok("commands.delete", format!("command/{}", path.name));
    audit::write(&app, &mut tx, &allowed, entry).await?;
    tx.commit().await?;
    Ok(NoContent)
}

/// Prompts a session with a command (row M273).
pub async fn call(
    State(app): State<App>,
    allowed: Allowed<may::SessionsPrompt>,
    Params(path): Params<SessionPath>,
    Json(input): Json<CallInput>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let session_id = path.session_id()?;
    Ok((StatusCode::ACCEPTED, Json(json!(send(&app, &allowed, session_id, input).await?))))
}

/// Prompts a session with a command, filled in.
///
/// # Errors
/// As a client is told.
pub(crate) async fn send(
    app: &App,
    allowed: &Allowed<may::SessionsPrompt>,
    session_id: Uuid,
    input: CallInput,
) -> ApiResult<Accepted> {
    // A whole line, as it was written, or its two parts.
    let (name, arguments, pointer) = match parse(&input.command) {
        Some((name, arguments)) if input.arguments.is_empty() => (name, arguments, "/command"),
        _ => (input.command.as_str(), input.arguments.as_str(), "/arguments"),
    };
    let command = find(app, allowed, session_id, name).await?;
    let text = fill(&command.template, arguments)
        .map_err(|error| ApiError::invalid(vec![FieldError::new(pointer, error.to_string())]))?;
    let prompt = PromptInput {
        parts: vec![Part::Text { text }],
        message_id: input.message_id,
        agent: input.agent.or(command.agent),
        model: input.model.or(command.model),
        permissions: None,
        when_busy: input.when_busy,
        queue: false,
    };
    Ok(prompt::prompt(app, allowed, session_id, prompt).await?)
}

/// The command of this name, for a session that is there; else what there is.
async fn find(
    app: &App,
    allowed: &Allowed<may::SessionsPrompt>,
    session_id: Uuid,
    name: &str,
) -> ApiResult<Command> {
    let mut tx = app.tenant_tx(allowed).await?;
    // A session that is not there is told from one that is by nothing else.
    crate::sessions::store::find(&mut tx, session_id).await?.ok_or(SessionError::NotFound)?;
    if let Some(command) = store::find(&mut tx, name).await? {
        return Ok(command);
    }
    let names: Vec<String> = store::list(&mut tx).await?.into_iter().map(|command| command.name).collect();
    let error = ApiError::new(
        StatusCode::NOT_FOUND,
        "unknown_command",
        "no such command; GET /v1/commands lists them",
    );
    Err(error.with("suggestions", json!(names)))
}
