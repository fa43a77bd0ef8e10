//! `/v1/admin/tenants`, `/v1/register`, `/v1/tenant`.

use super::{
    Aliases,
    configure::{self, ConfigureError, Replacement},
    create::{self, CreateError, Created, NewApp},
    delete::{self, DeleteError},
    providers::{ProviderInput, StoreError},
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{Allowed, Caller, CredentialKind, InApp, action::may},
    http::{
        Json, NoContent, Page, Paged, Params, RequestContext,
        etag::{Precondition, entity_tag},
        extract::Queried,
    },
};
use axum::{Extension, extract::State, response::IntoResponse};
use http::{HeaderMap, StatusCode, header};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A tenant's configuration, as seed 003 writes it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TenantInput {
    /// Its id, which is its slug. On an update: as it is, or left out.
    id: Option<String>,
    /// For people; the id, unless given.
    name: Option<String>,
    /// Its providers by id.
    #[serde(default)]
    providers: BTreeMap<String, ProviderInput>,
    /// For requests that name no model.
    default_model: Option<DefaultModel>,
    /// Its own names for models, each for a `provider/model`.
    #[serde(default)]
    model_aliases: Aliases,
    /// What is offered of what we ship; all, unless given.
    include_predefined: Option<IncludePredefined>,
    /// Whether its sessions may be shown to whoever has a link; no, unless given.
    #[serde(default)]
    session_sharing: bool,
    /// For how many days its sessions' artifacts are kept; as long as the installation keeps them, unless given.
    artifact_retention_days: Option<i32>,
    /// Keys of minisign's, one of which must have signed what is uploaded; `[]`: nobody has to. Left out, they stay.
    trusted_keys: Option<Vec<String>>,
    /// The origins whose pages may call the app from a browser, as browsers write them; `["*"]`: all. None, unless given.
    #[serde(default)]
    cors_origins: Vec<String>,
    /// Shown by GET, ignored by PUT.
    #[serde(rename = "createdAt")]
    _created_at: Option<String>,
    /// Shown by GET, ignored by PUT.
    #[serde(rename = "updatedAt")]
    _updated_at: Option<String>,
    /// Shown by GET, ignored by PUT.
    #[serde(rename = "status")]
    _status: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DefaultModel {
    provider_id: String,
    model_id: String,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct IncludePredefined {
    tools: Option<Vec<String>>,
    agents: Option<Vec<String>>,
}

impl DefaultModel {
    fn id(&self) -> String {
        format!("{}/{}", self.provider_id, self.model_id)
    }
}

/// Creates a tenant; its first token is in this answer and nowhere else.
pub async fn create_tenant(
    State(app): State<App>,
    allowed: Allowed<may::AppsCreate>,
    Json(body): Json<TenantInput>,
) -> ApiResult<impl IntoResponse> {
    // A missing id is as wrong as an empty one; said together with everything else that is.
    let slug = body.id.unwrap_or_default();
    // A wrong id is said to be a wrong id, not a wrong name as well.
    let name = body.name.unwrap_or_else(|| if is_slug(&slug) { slug.clone() } else { "-".to_owned() });
    let predefined = body.include_predefined.unwrap_or_default();
    let new = NewApp {
        name,
        slug,
        contact_email: None,
        providers: body.providers,
        default_model: body.default_model.map(|model| model.id()),
        model_aliases: body.model_aliases,
        predefined_tools: predefined.tools,
        predefined_agents: predefined.agents,
        session_sharing: body.session_sharing,
        artifact_retention_days: body.artifact_retention_days,
        trusted_keys: body.trusted_keys.unwrap_or_default(),
        cors_origins: body.cors_origins,
    };
    let created = create::create(&app, allowed.caller(), new).await?;
    Ok((StatusCode::CREATED, Json(describe_created(&created))))
}

fn is_slug(text: &str) -> bool {
    super::slug::check(text).is_ok()
}

fn describe_created(created: &Created) -> Value {
    json!({ "tenant": created.app.describe(&created.providers), "token": created.token.expose_secret() })
}

/// Lists tenants, newest first.
pub async fn list_tenants(
    State(app): State<App>,
    _allowed: Allowed<may::AppsList>,
    page: Page,
) -> ApiResult<Json<Paged<Value>>> {
    let mut tx = app.service_tx().await?;
    let rows = store::list_apps(tx.conn(), page.after()?, page.fetch()).await?;
    let rows = page.of(rows, |row| row.app_id.to_string());
    let mut data = vec![];
    for row in &rows.data {
        let providers = store::list_providers(tx.conn(), row.app_id).await?;
        data.push(row.describe(&providers));
    }
    Ok(Json(Paged { data, next_cursor: rows.next_cursor, has_more: rows.has_more }))
}

/// A tenant in a path.
#[derive(Deserialize)]
pub struct TenantPath {
    id: String,
}

/// Shows one tenant.
pub async fn get_tenant(
    State(app): State<App>,
    _allowed: Allowed<may::AppsRead>,
    Params(path): Params<TenantPath>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.service_tx().await?;
    let row = store::find_app(tx.conn(), &path.id).await?.ok_or_else(|| ApiError::not_found("tenant"))?;
    let providers = store::list_providers(tx.conn(), row.app_id).await?;
    Ok(Json(row.describe(&providers)))
}

/// `?confirm=<id>`
#[derive(Deserialize)]
pub struct Confirm {
    confirm: Option<String>,
}

/// Deletes a tenant.
pub async fn delete_tenant(
    State(app): State<App>,
    allowed: Allowed<may::AppsDelete>,
    Params(path): Params<TenantPath>,
    Queried(query): Queried<Confirm>,
) -> ApiResult<NoContent> {
    delete::delete(&app, &allowed, &path.id, query.confirm.as_deref()).await?;
    Ok(NoContent)
}

/// `POST /v1/register`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// For people; the id is derived from it.
    name: String,
    /// Whom to write to.
    email: Option<String>,
}

/// Creates a tenant for anybody, where the operator allows it.
pub async fn register(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: axum::extract::Request,
) -> ApiResult<impl IntoResponse> {
    if !app.config.allow_self_registration {
        return Err(ApiError::not_found("resource"));
    }
    let body: Registration =
        crate::http::body::fit(crate::http::body::read_json(request, crate::limits::JSON_BYTES_MAX).await?)?;
    if body.email.as_deref().is_some_and(|email| !is_email(email)) {
        return Err(ApiError::invalid(vec![FieldError::new("/email", "expected an e-mail address")]));
    }
    app.rate_limits.registration(context.ip)?;
    let created = create::register(
        &app,
        &Caller::without_credential(CredentialKind::Registration, context, None),
        &body.name,
        body.email,
    )
    .await?;
    let answer = json!({ "tenantId": created.app.slug, "token": created.token.expose_secret() });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Good enough to catch a slip; only a letter that arrives proves an address.
pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain =
        |s: &str| !s.is_empty() && !s.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@');
    text.len() <= 254
        && plain(local)
        && plain(domain)
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
}

/// Shows the caller's tenant.
pub async fn get_own(
    State(app): State<App>,
    allowed: Allowed<may::TenantRead>,
) -> ApiResult<impl IntoResponse> {
    let (row, providers) = configure::read(&app, &allowed).await?;
    Ok(tagged(&row.describe(&providers)))
}

/// With its entity tag, for `If-Match` (row M051).
fn tagged(shown: &Value) -> impl IntoResponse + use<> {
    ([(header::ETAG, entity_tag(shown))], Json(shown.clone()))
}

/// Replaces the caller's tenant's configuration; with `If-Match`, only the one that was read.
pub async fn put_own(
    State(app): State<App>,
    allowed: Allowed<may::TenantWrite>,
    headers: HeaderMap,
    Json(body): Json<TenantInput>,
) -> ApiResult<impl IntoResponse> {
    let slug = &allowed.app().slug;
    let predefined = body.include_predefined.unwrap_or_default();
    let with = Replacement {
        id: body.id,
        only: Precondition::of(&headers),
        name: body.name.unwrap_or_else(|| slug.clone()),
        providers: body.providers,
        default_model: body.default_model.map(|model| model.id()),
        model_aliases: body.model_aliases,
        predefined_tools: predefined.tools,
        predefined_agents: predefined.agents,
        session_sharing: body.session_sharing,
        artifact_retention_days: body.artifact_retention_days,
        trusted_keys: body.trusted_keys,
        cors_origins: body.cors_origins,
    };
    let (row, providers) = configure::replace(&app, &allowed, with).await?;
    Ok(tagged(&row.describe(&providers)))
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> ApiError {
        match error {
            CreateError::Invalid(fields) => ApiError::invalid(fields),
            CreateError::Taken(_) => ApiError::conflict("id_taken", error.to_string()),
            CreateError::Seal(cause) => ApiError::internal("a provider's key could not be sealed", cause),
            CreateError::Workspace(cause) => {
                ApiError::internal("a database workspace could not be made", cause)
            }
            CreateError::Db(cause) => cause.into(),
        }
    }
}

impl From<ConfigureError> for ApiError {
    fn from(error: ConfigureError) -> ApiError {
        match error {
            ConfigureError::Invalid(fields) => ApiError::invalid(fields),
            ConfigureError::Stale(failed) => failed.into(),
            ConfigureError::Providers(StoreError::Seal(cause)) => {
                ApiError::internal("a provider's key could not be sealed", cause)
            }
            ConfigureError::Providers(StoreError::Db(cause)) | ConfigureError::Db(cause) => cause.into(),
        }
    }
}

impl From<DeleteError> for ApiError {
    fn from(error: DeleteError) -> ApiError {
        match error {
            DeleteError::NotFound => ApiError::not_found("tenant"),
            DeleteError::NotConfirmed(_) => ApiError::conflict("confirm_required", error.to_string()),
            DeleteError::Db(cause) => cause.into(),
        }
    }
}
