//! Errors as opencode's clients read them.

use crate::error::ApiError;
use http::StatusCode;
use serde_json::{Value, json};

/// What an error names besides, for those of opencode that name something.
pub(super) const SESSION: &str = "sessionID";
/// The same of a permission.
pub(super) const REQUEST: &str = "requestID";

/// Its status: what we find wrong in a body is a bad request there.
pub fn status(error: &ApiError) -> StatusCode {
    match error.status {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    }
}

/// Its body. Ours has a code as well, which theirs has not.
pub fn body(error: &ApiError) -> Value {
    let message = &error.detail;
    if error.status == StatusCode::UNAUTHORIZED {
        return json!({ "_tag": "UnauthorizedError", "message": message });
    }
    if let Some(id) = error.more.get(REQUEST) {
        return json!({ "_tag": "PermissionNotFoundError", REQUEST: id, "message": message });
    }
    if let Some(id) = error.more.get(SESSION) {
        return json!({ "_tag": "SessionBusyError", SESSION: id, "message": message });
    }
    let name = match status(error).as_u16() {
        403 => "ForbiddenError",
        404 | 410 => "NotFoundError",
        400..=499 => "BadRequest",
        _ => "UnknownError",
    };
    json!({ "name": name, "data": { "message": message, "code": error.code } })
}
