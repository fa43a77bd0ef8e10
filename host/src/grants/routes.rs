//! `/v1/tenant/tokens`, `/v1/tenant/audit`, `/platform/v1/whoami`.

use super::{
    Allowed, CredentialKind, InApp, Scopes,
    action::may,
    issue::{self, IssueError, RevokeError, Wanted},
    store,
};
use crate::{
    app::App,
    error::{ApiError, ApiResult, FieldError},
    grants::{
        Caller,
        authenticate::{Credential, UNREACHABLE},
    },
    http::{Json, NoContent, Page, Paged, Params, extract::Queried},
    limits::CREDENTIAL_LIFE_SECONDS_MAX,
    people,
};
use axum::{Extension, extract::State, response::IntoResponse};
use chrono::Duration;
use http::StatusCode;
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

/// `POST /v1/tenant/tokens`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// `tenant_token` (the default) or `dev_grant`.
    kind: Option<String>,
    /// For people, 100 characters at the most.
    name: Option<String>,
    /// What it may do; all the caller may, unless given.
    scopes: Option<Vec<String>>,
    /// Seconds until it ends; never, unless given.
    expires_in: Option<u64>,
}

impl CreateToken {
    fn check(self) -> Result<Wanted, ApiError> {
        let mut wrong = vec![];
        let kind = match self.kind.as_deref() {
            None | Some("tenant_token") => CredentialKind::TenantToken,
            Some("dev_grant") => CredentialKind::DevGrant,
            Some(_) => {
                wrong.push(FieldError::new("/kind", "expected `tenant_token` or `dev_grant`"));
                CredentialKind::TenantToken
            }
        };
        let name = self.name.unwrap_or_default();
        if name.chars().count() > 100 || name.chars().any(char::is_control) {
            wrong.push(FieldError::new(
                "/name",
                "expected at most 100 characters, none of them control characters",
            ));
        }
        let scopes = match self.scopes.as_deref().map(Scopes::parse) {
            Some(Ok(scopes)) => Some(scopes),
            Some(Err(unknown)) => {
                wrong.push(FieldError::new("/scopes", unknown.to_string()));
                None
            }
            None if kind == CredentialKind::DevGrant => {
                wrong.push(FieldError::new("/scopes", "a `dev_grant` names its scopes"));
                None
            }
            None => None,
        };
        if scopes == Some(Scopes::NONE) {
            wrong.push(FieldError::new("/scopes", "expected at least one scope"));
        }
        let life = self.expires_in;
        if life.is_some_and(|s| s == 0 || s > CREDENTIAL_LIFE_SECONDS_MAX) {
            wrong.push(FieldError::new(
                "/expires_in",
                format!("expected 1 to {CREDENTIAL_LIFE_SECONDS_MAX} seconds"),
            ));
        }
        if !wrong.is_empty() {
            return Err(ApiError::invalid(wrong));
        }
        let expires_in = life.and_then(|s| i64::try_from(s).ok()).and_then(Duration::try_seconds);
        Ok(Wanted { kind, name, scopes, expires_in })
    }
}

/// Makes a credential; the token is in this answer and nowhere else.
pub async fn create_token(
    State(app): State<App>,
    allowed: Allowed<may::TokensWrite>,
    Json(body): Json<CreateToken>,
) -> ApiResult<impl IntoResponse> {
    let wanted = body.check()?;
    let issued = issue::issue(&app, &allowed, wanted).await?;
    let answer = json!({
        "id": issued.credential_id,
        "token": issued.token.expose_secret(),
        "prefix": issued.prefix,
        "last4": issued.last4,
        "scopes": issued.scopes,
        "expires_at": issued.expires_at,
    });
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Lists live credentials, newest first, without their secrets.
pub async fn list_tokens(
    State(app): State<App>,
    allowed: Allowed<may::TokensRead>,
    page: Page,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list_live(&mut tx, app.now(), page.after()?, page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.credential_id.to_string())))
}

/// A credential in a path.
#[derive(Deserialize)]
pub struct TokenPath {
    id: String,
}

/// `?force=true`
#[derive(Deserialize)]
pub struct Force {
    #[serde(default)]
    force: bool,
}

/// Revokes a credential.
pub async fn delete_token(
    State(app): State<App>,
    allowed: Allowed<may::TokensWrite>,
    Params(path): Params<TokenPath>,
    Queried(query): Queried<Force>,
) -> ApiResult<NoContent> {
    issue::revoke(&app, &allowed, &path.id, query.force).await?;
    Ok(NoContent)
}

/// `?action=`
#[derive(Deserialize)]
pub struct AuditFilter {
    action: Option<String>,
}

/// Lists what was done, newest first.
pub async fn list_audit(
    State(app): State<App>,
    allowed: Allowed<may::AuditRead>,
    page: Page,
    Queried(filter): Queried<AuditFilter>,
) -> ApiResult<Json<Paged<impl serde::Serialize>>> {
    let mut tx = app.tenant_tx(&allowed).await?;
    let rows = store::list_audit(&mut tx, page.after()?, filter.action.as_deref(), page.fetch()).await?;
    Ok(Json(page.of(rows, |row| row.audit_id.to_string())))
}

/// Who the credential belongs to, for any kind (row M068).
pub async fn whoami(
    State(app): State<App>,
    Extension(credential): Extension<Credential>,
) -> ApiResult<Json<Value>> {
    match credential {
        Credential::Valid(caller) => Ok(Json(describe(&app, &caller).await?)),
        Credential::Unreachable => Err(ApiError::unavailable(UNREACHABLE)),
        Credential::Absent | Credential::Invalid => Err(ApiError::not_signed_in()),
    }
}

/// Who the credential belongs to, asked inside an app (row M100).
pub async fn app_whoami(State(app): State<App>, allowed: Allowed<may::WhoAmI>) -> ApiResult<Json<Value>> {
    Ok(Json(describe(&app, InApp::caller(&allowed)).await?))
}

async fn describe(app: &App, caller: &Caller) -> ApiResult<Value> {
    let user = match caller.user_id {
        Some(user_id) => people::describe(app, user_id).await?,
        None => Value::Null,
    };
    Ok(json!({
        "kind": caller.kind,
        "credential_id": caller.credential_id,
        "user": user,
        "app": caller.app().map(|app| &app.slug),
        "scopes": caller.scopes,
        "expires_at": caller.expires_at,
    }))
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> ApiError {
        match error {
            IssueError::Wider(_) => ApiError::forbidden("wider_than_own", error.to_string()),
            IssueError::TooMany => ApiError::conflict("too_many_credentials", error.to_string()),
            IssueError::Db(cause) => cause.into(),
        }
    }
}

impl From<RevokeError> for ApiError {
    fn from(error: RevokeError) -> ApiError {
        match error {
            RevokeError::NotFound => ApiError::not_found("credential"),
            RevokeError::NeedsForce(_) => ApiError::conflict("needs_force", error.to_string()),
            RevokeError::Db(cause) => cause.into(),
        }
    }
}
