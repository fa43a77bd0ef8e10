//! Path and query parameters, and the proof that a caller may.

use crate::{
    app::App,
    error::ApiError,
    grants::{Allowed, Caller, Permission, authenticate::Credential},
};
use axum::extract::{FromRequestParts, Path, Query, RawPathParams};
use http::request::Parts;
use serde::de::DeserializeOwned;

/// Parameters of the path. A struct: under `/<app>/v1` there is one more.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        // A name that does not even parse names nothing.
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
        let path_app = RawPathParams::from_request_parts(parts, app).await.ok().and_then(|params| {
            params.iter().find(|(name, _)| *name == "app").map(|(_, slug)| slug.to_owned())
        });
        let caller: Option<&Caller> = match parts.extensions.get::<Credential>() {
            Some(Credential::Valid(caller)) => Some(caller),
            Some(Credential::Unreachable) => {
                return Err(ApiError::unavailable("credentials cannot be checked right now; try again"));
            }
            Some(Credential::Absent | Credential::Invalid) | None => None,
        };
        Allowed::judge(caller, path_app.as_deref()).map_err(ApiError::from)
    }
}
