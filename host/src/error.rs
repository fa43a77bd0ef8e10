//! What a client sees when something did not work.
//!
//! Which error goes where: a store returns `sqlx::Error`, an operation its own
//! enum, a handler `ApiError`; `anyhow` is for `main` and the CLI. This is the
//! one place that knows status codes for shared kinds. A cause is logged once,
//! where it becomes an `ApiError`; a client never sees it.

use crate::models::anthropic::events::ErrorBody;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::ops::{Deref, DerefMut};

/// A handler's result.
pub type ApiResult<T> = Result<T, ApiError>;

/// An error on its way to a client. Rendered by `http::render`, as RFC 9457
/// problem+json or as OpenAI's or Anthropic's error object, by the route it came from.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Problem>);

/// What an [`ApiError`] says.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// A stable name for programs, `snake_case`.
    pub code: String,
    /// What happened and what to do next, for people.
    pub detail: String,
    /// Each wrong field of the body.
    pub fields: Vec<FieldError>,
    /// The request parameter that is wrong, where there is one.
    pub param: Option<String>,
    /// More members of the problem.
    pub more: Map<String, Value>,
    /// Headers that go with it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong and what is expected.
    pub message: String,
}

impl FieldError {
    /// A wrong field.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> FieldError {
        FieldError { pointer: pointer.into(), message: message.into() }
    }
}

impl ApiError {
    /// An error of this status, code and text.
    pub fn new(status: StatusCode, code: impl Into<String>, detail: impl Into<String>) -> ApiError {
        ApiError(Box::new(Problem {
            status,
            code: code.into(),
            detail: detail.into(),
            fields: vec![],
            param: None,
            more: Map::new(),
            headers: vec![],
        }))
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(code: &str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401: no valid credential.
    pub fn not_signed_in() -> ApiError {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "invalid_credential",
            "send a valid credential as `Authorization: Bearer …`",
        )
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"opg\""))
    }

    /// 403: known, but not allowed.
    pub fn forbidden(code: &str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: not there, or not yours; the answer is the same.
    pub fn not_found(what: &str) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", format!("no such {what}"))
    }

    /// 409: the state does not allow it.
    pub fn conflict(code: &str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, code, detail)
    }

    /// 413 with the limit.
    pub fn too_large(bytes_max: usize) -> ApiError {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            format!("the body is larger than {bytes_max} bytes; send less"),
        )
        .with("limit_bytes", json!(bytes_max))
    }

    /// 415 with what is taken.
    pub fn wrong_content_type(expected: &str) -> ApiError {
        ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("send the body with `Content-Type: {expected}`"),
        )
    }

    /// 422: fields are wrong, all of them named.
    pub fn invalid(fields: Vec<FieldError>) -> ApiError {
        let detail =
            fields.iter().map(|f| format!("{}: {}", f.pointer, f.message)).collect::<Vec<_>>().join("; ");
        let mut error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail);
        error.fields = fields;
        error
    }

    /// 422 about one thing that is not a field.
    pub fn unprocessable(code: &str, detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 429 with when to come back.
    pub fn rate_limited(code: &str, detail: impl Into<String>, retry_after_s: u64) -> ApiError {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, code, detail)
            .header(header::RETRY_AFTER, HeaderValue::from(retry_after_s.max(1)))
    }

    /// 503: come back later.
    pub fn unavailable(detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            .header(header::RETRY_AFTER, HeaderValue::from(1_u64))
    }

    /// 500: our fault. The cause is logged here, once, and not shown.
    pub fn internal(doing: &str, cause: impl std::fmt::Display) -> ApiError {
        tracing::error!(cause = %cause, "{doing}");
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "something went wrong on our side; it is logged under the request id",
        )
    }

    /// The same with a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> ApiError {
        self.headers.push((name, value));
        self
    }

    /// The same with another member.
    pub fn with(mut self, name: &str, value: Value) -> ApiError {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// The same with the parameter that is wrong.
    pub fn param(mut self, param: impl Into<String>) -> ApiError {
        self.param = Some(param.into());
        self
    }

    /// RFC 9457 problem details.
    pub fn problem(&self, request_id: &str) -> Value {
        let mut problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
            "errors": self.fields,
        });
        if let Some(object) = problem.as_object_mut() {
            object.extend(self.more.clone());
        }
        problem
    }

    /// OpenAI's error object.
    pub fn openai(&self) -> Value {
        json!({ "error": {
            "message": self.detail,
            "type": self.openai_type(),
            "param": self.param,
            "code": self.code,
        }})
    }

    /// Anthropic's error object.
    pub fn anthropic(&self, request_id: &str) -> Value {
        let (status, code, message) = (self.status.as_u16(), self.code.as_str(), self.detail.as_str());
        ErrorBody { status, code, message, request_id }.to_value()
    }

    fn openai_type(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            402 | 429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }
}

impl Deref for ApiError {
    type Target = Problem;
    fn deref(&self) -> &Problem {
        &self.0
    }
}

impl DerefMut for ApiError {
    fn deref_mut(&mut self) -> &mut Problem {
        &mut self.0
    }
}

impl IntoResponse for ApiError {
    /// Status and headers now; `http::render` writes the body, for it knows the
    /// route and the request id.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(cause: sqlx::Error) -> ApiError {
        match cause {
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::PoolClosed => {
                tracing::error!(%cause, "no database connection");
                ApiError::unavailable("the database cannot be reached right now; try again")
            }
            cause if is_unstorable_text(&cause) => ApiError::bad_request(
                "unstorable_text",
                "the request holds a character that cannot be stored (U+0000); leave it out",
            ),
            cause => ApiError::internal("a statement failed", cause),
        }
    }
}

/// Whether a statement failed for a text PostgreSQL has no room for. JSON may write U+0000, PostgreSQL may not
/// store it, so this is the client's doing: `character_not_in_repertoire` and `untranslatable_character`.
fn is_unstorable_text(cause: &sqlx::Error) -> bool {
    let code = cause.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "22021" | "22P05"))
}

impl From<crate::grants::Denied> for ApiError {
    fn from(denied: crate::grants::Denied) -> ApiError {
        use crate::grants::Denied;
        let text = denied.to_string();
        match denied {
            Denied::NotSignedIn => ApiError::not_signed_in(),
            Denied::MissingScope { action, granted } => {
                let required: Vec<_> = action.any_of().iter().map(|scope| scope.name()).collect();
                ApiError::forbidden("insufficient_scope", text)
                    .with("required", json!(required))
                    .with("granted", json!(granted))
            }
            Denied::WrongKind { .. } => ApiError::forbidden("wrong_credential_kind", text),
            Denied::NoApp => ApiError::bad_request("app_required", text),
            Denied::NoSuchApp => ApiError::not_found("app"),
            Denied::AppMismatch => ApiError::forbidden("app_mismatch", text),
            Denied::Suspended => ApiError::forbidden("app_suspended", text),
            Denied::NotDeclared(_) => ApiError::forbidden("capability_not_declared", text),
            Denied::NotGranted(_) => ApiError::forbidden("capability_not_granted", text),
        }
    }
}
