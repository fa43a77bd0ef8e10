//! Path and query parameters, and the proof that a caller may.

use crate::{
    app::App,
    error::ApiError,
    grants::{
        Allowed, Caller, Denied, Permission,
        authenticate::{Credential, UNREACHABLE, header_app},
    },
    router, tenants,
};
use axum::extract::{FromRequestParts, MatchedPath, Path, Query, RawPathParams};
use http::request::Parts;
use serde::de::DeserializeOwned;

/// Parameters of the path. A struct: under `/<app>/v1` there is one more.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        // A name that does not even parse, or that nothing stored can have, names nothing.
        let raw = RawPathParams::from_request_parts(parts, app).await;
        if raw.is_ok_and(|params| params.iter().any(|(_, value)| value.contains('\0'))) {
            return Err(ApiError::not_found("resource"));
        }
        Path::<T>::from_request_parts(parts, app)
            .await
            .map(|Path(p)| Params(p))
            .map_err(|_| ApiError::not_found("resource"))
    }
}

/// Query parameters; 400 names what is wrong.
pub struct Queried<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Queried<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(ApiError::bad_request("bad_query", "the query holds U+0000; leave it out"));
        }
        Query::<T>::from_request_parts(parts, app)
            .await
            .map(|Query(q)| Queried(q))
            .map_err(|rejection| ApiError::bad_request("bad_query", rejection.body_text()))
    }
}

/// The first door of the gate: what authentication found, judged for this action.
impl<A: Permission> FromRequestParts<App> for Allowed<A> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let path_app = named_app(parts, app).await;
        let caller: Option<&Caller> = match parts.extensions.get::<Credential>() {
            Some(Credential::Valid(caller)) => Some(caller),
            Some(Credential::Unreachable) => {
                return Err(ApiError::unavailable(UNREACHABLE));
            }
            Some(Credential::Absent | Credential::Invalid) | None => None,
        };
        let named = path_app.as_ref().map(|named| named.as_deref().unwrap_or_default());
        match Allowed::judge(caller, named) {
            // Known callers learn that an app does not exist; that one does is no secret (row M008).
            Err(Denied::AppMismatch) if !tenants::exists(app, named.unwrap_or_default()).await? => {
                Err(ApiError::not_found("app"))
            }
            judged => judged.map_err(ApiError::from),
        }
    }
}

/// The app a request names, by its path or by `X-OPG-App`; `Some(None)`: one that is nobody's.
pub(crate) async fn named_app(parts: &mut Parts, app: &App) -> Option<Option<String>> {
    match path_app(parts, app).await {
        Some(named) => Some(named),
        None => header_app(&parts.headers).map(Some),
    }
}

/// The `{app}` of the path, where there is one; `Some(None)` where it is not even text: then it is nobody's.
async fn path_app(parts: &mut Parts, app: &App) -> Option<Option<String>> {
    let named = |template: &str| router::app_segment(template).is_some();
    if !parts.extensions.get::<MatchedPath>().is_some_and(|path| named(path.as_str())) {
        return None;
    }
    let params = RawPathParams::from_request_parts(parts, app).await.ok();
    Some(
        params.and_then(|params| {
            params.iter().find(|(name, _)| *name == "app").map(|(_, slug)| slug.to_owned())
        }),
    )
}
