//! Bodies: read within a limit, refused with a text that helps.

use crate::{
    error::{ApiError, FieldError},
    limits::{BODY_TIME_MAX, JSON_BYTES_MAX},
};
use axum::{
    body::Body,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::Segment;

/// A JSON body, in or out.
///
/// In: 415 for another content type, 413 over the limit, 400 where it is not
/// JSON (with the offset), 422 where it does not fit the type, naming every
/// field that does not (rows M043, M046, M047).
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(cause) => ApiError::internal("an answer could not be written as JSON", cause).into_response(),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + JsonSchema> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let value = read_json(request, JSON_BYTES_MAX).await?;
        fit(value).map(Json)
    }
}

/// 204.
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// Reads a body of JSON of any shape.
///
/// # Errors
/// 415, 413 or 400.
pub async fn read_json(request: Request, bytes_max: usize) -> Result<Value, ApiError> {
    if !is_json(request.headers()) {
        return Err(ApiError::wrong_content_type("application/json"));
    }
    let bytes = read(request.into_body(), bytes_max).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        ApiError::bad_request("malformed_json", format!("the body is not JSON: {error}"))
            .with("offset", offset(&bytes, error.line(), error.column()).into())
    })
}

/// Reads a body whole.
///
/// # Errors
/// 413 over the limit; 400 where the client broke off.
pub async fn read(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let reading = tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, bytes_max).collect());
    let Ok(read) = reading.await else {
        return Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "the body took too long; send it again",
        ));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(bytes_max)),
        Err(_) => Err(ApiError::bad_request("incomplete_body", "the body ended early; send it again")),
    }
}

/// The fields of a form or of a query, in their order.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the form that one of our pages sent.
    ///
    /// # Errors
    /// 415 for another content type, 413 over the limit, 400 where it holds what no form of ours does.
    pub async fn read(request: Request, bytes_max: usize) -> Result<Form, ApiError> {
        const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";
        if media_type(request.headers()).as_deref() != Some(MEDIA_TYPE) {
            return Err(ApiError::wrong_content_type(MEDIA_TYPE));
        }
        let bytes = read(request.into_body(), bytes_max).await?;
        let form = Form::of(&bytes);
        if form.0.iter().any(|(_, value)| value.contains('\0')) {
            return Err(ApiError::bad_request("bad_form", "the form holds U+0000; leave it out"));
        }
        Ok(form)
    }

    /// What is written as forms and queries are.
    pub fn of(text: &[u8]) -> Form {
        Form(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The value of a field; none where it is not there, or more than once: which of two is meant, nobody can tell.
    pub fn one(&self, name: &str) -> Option<&str> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// These of its fields, written as a query.
    pub fn written(&self, names: &[&str]) -> String {
        let wanted = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(wanted).finish()
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The media type of a request, lower case, without parameters.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|media| media == "application/json" || media.ends_with("+json"))
}

fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize =
        bytes.split_inclusive(|b| *b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (before + column).min(bytes.len())
}

/// A value as this type, or every field that does not fit.
///
/// # Errors
/// 422 with all pointers: from the type's schema first, which sees every
/// field, then from reading it, which sees the first.
pub fn fit<T: DeserializeOwned + JsonSchema>(value: Value) -> Result<T, ApiError> {
    let schema = schemars::schema_for!(T);
    let validator = jsonschema::validator_for(schema.as_value())
        .map_err(|cause| ApiError::internal("a body's schema is wrong", cause))?;
    let wrong: Vec<FieldError> = validator
        .iter_errors(&value)
        .map(|error| FieldError::new(error.instance_path().to_string(), error.masked().to_string()))
        .collect();
    if !wrong.is_empty() {
        return Err(ApiError::invalid(wrong));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let step = |segment: &Segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            other => format!("/{other}"),
        };
        let pointer: String = error.path().iter().map(step).collect();
        ApiError::invalid(vec![FieldError::new(pointer, error.inner().to_string())])
    })
}
