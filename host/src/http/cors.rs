//! Pages of other origins that may call an app's API (row M054): the "HTTP CORS protocol" of the Fetch standard (§3.2).
//!
//! **One rule.** An app lists origins (`tenants::origins`). An answer on a route of an app says that a page may read it
//! where the app it is about lists the page's origin, and else says nothing: no header but `Vary`. Which app that is:
//!
//! 1. the one that the request names, by its path or by `X-OPG-App`: whether it is there or not, so that a page whose
//!    origin it does not list cannot tell;
//! 2. else the one that its credential acts in;
//! 3. else none, because there is no valid credential or a person's says no app: then the answer is about no app, and any
//!    app that lists the origin is enough.
//!
//! A preflight has no credential, and says of `X-OPG-App` only that it will come. Under `/v1` it goes by the third: it
//! lets a page ask, and whether it reads the answer is judged when that comes.
//!
//! What comes by cookie is never shared, and no answer says `Access-Control-Allow-Credentials`: a page of another origin
//! has the credential it was given, and not the one that a browser keeps for somebody (`grants::cookie`). Neither are
//! the routes of the platform, of people and their sign-in, of pages and of runners.
//!
//! Of what is asked without an `Origin`, or by a page of our own, nothing is looked up. For others it is what an app's
//! list is remembered as, or one statement.

use crate::{
    app::App,
    grants::{
        authenticate::{self, Acted},
        cookie,
    },
    limits::CORS_PREFLIGHT_LIFE,
    router,
    tenants::origins::{self, Listed},
};
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// What a page may send. That a route takes another is told by its answer, which can be read.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");

/// What a page may read of an answer's head besides what every page may (Fetch, "CORS-safelisted response-header name"):
/// all we say to clients, and nothing that is for browsers and caches alone.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "accept-ranges, allow, content-disposition, content-range, etag, idempotency-replayed, location, \
     preference-applied, ratelimit-limit, ratelimit-policy, ratelimit-remaining, ratelimit-reset, retry-after, \
     www-authenticate, x-next-cursor, x-opg-session-id, x-request-id, x-should-retry",
);

/// Lets pages of other origins read what the app lets them: a layer over every route.
pub(crate) async fn share(State(app): State<App>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    if !matched.is_some_and(|path| router::is_of_an_app(path.as_str())) {
        return next.run(request).await;
    }
    let foreign = Foreign::of(&request);
    let mut answer = next.run(request).await;
    let acted = answer.extensions_mut().remove::<Acted>();
    if let (Some(foreign), Some(acted)) = (&foreign, acted)
        && let Some(listed) = foreign.find(&app, &acted, answer.status()).await
    {
        answer = foreign.shared(answer, listed);
    }
    // Of every answer: one without an `Origin` that a cache kept would be given to a page as well.
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    answer
}

/// A request of another origin's page.
struct Foreign {
    origin: HeaderValue,
    named: Option<String>,
    preflight: Option<Preflight>,
}

/// What a browser asks before it sends a page's request (Fetch, "CORS-preflight request").
struct Preflight {
    headers: Option<HeaderValue>,
}

impl Foreign {
    fn of(request: &Request) -> Option<Foreign> {
        let headers = request.headers();
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let (origin, others) = (origins.next()?, origins.next());
        if others.is_some() || cookie::is_own_origin(headers) {
            return None;
        }
        Some(Foreign {
            origin: origin.clone(),
            named: authenticate::named_app(request),
            preflight: Preflight::of(request.method(), headers),
        })
    }

    /// How the app that the answer is about lists the origin; none also where that cannot be found out.
    async fn find(&self, app: &App, acted: &Acted, status: StatusCode) -> Option<Listed> {
        let origin = self.origin.to_str().ok()?;
        let is_named = |slug: &str| self.named.as_deref().is_none_or(|named| named == slug);
        let found = match (acted, &self.named) {
            (Acted::ByCookie, _) => return None,
            (Acted::In(acted, version), _) if is_named(&acted.slug) => {
                origins::listed_by(app, (acted.app_id, *version), origin).await
            }
            // Whoever asks too often is not worth a statement each time.
            _ if status == StatusCode::TOO_MANY_REQUESTS => return None,
            (_, Some(slug)) => origins::listed_by_named(app, slug, origin).await,
            (_, None) => origins::listed_by_any(app, origin).await,
        };
        found.unwrap_or_else(|cause| {
            tracing::error!(%cause, "an app's origins could not be looked up");
            None
        })
    }

    /// The answer, for a page to read; to a preflight that nothing else was wrong with, what the page may send.
    fn shared(&self, answer: Response, listed: Listed) -> Response {
        let origin = match listed {
            Listed::ByName => self.origin.clone(),
            // With this a browser shows a page nothing that came by its credentials, whatever else an answer says.
            Listed::AsAny => HeaderValue::from_static("*"),
        };
        // No route takes the method, so this is how far one comes that is not asked too often.
        let asked_first =
            self.preflight.as_ref().filter(|_| answer.status() == StatusCode::METHOD_NOT_ALLOWED);
        let mut answer = match asked_first {
            Some(preflight) => preflight.answer(),
            None => {
                let mut answer = answer;
                answer.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
                answer
            }
        };
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer
    }
}

impl Preflight {
    fn of(method: &Method, headers: &HeaderMap) -> Option<Preflight> {
        let is_one = method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        is_one.then(|| Preflight { headers: headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned() })
    }

    fn answer(&self) -> Response {
        let mut answer = StatusCode::NO_CONTENT.into_response();
        let headers = answer.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(CORS_PREFLIGHT_LIFE.as_secs()));
        headers.append(header::VARY, HeaderValue::from_static("access-control-request-headers"));
        // Whatever it is: clients of models send dozens of their own, `*` would leave `Authorization` out (Fetch, "CORS
        // non-wildcard request-header name"), and a header is no reason for us to believe a page.
        if let Some(wanted) = &self.headers {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        answer
    }
}
