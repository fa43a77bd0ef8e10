//! `/v1/auth/oauth/{provider}` and its `/callback`: to another provider and back, in a browser.
//!
//! Both are followed, never sent: a link of our page leads there, and the provider's page leads back. A link of another
//! site's leads to our page first, so that nobody is signed in because they looked at something else.

use super::{
    onward::{DEVICE, Onward, see},
    routes::{answer, ask_who, begun_with, query},
};
use crate::{
    app::App,
    error::{ApiError, ApiResult},
    grants::cookie,
    http::{Form, Params, RequestContext, own_origin},
    limits::OAUTH_NEXT_BYTES_MAX,
    people::{
        oauth::{
            Oauth, Provider,
            client::Client,
            flow::{self, OauthError, Word},
        },
        routes::user_agent,
    },
};
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, Uri, header};
use serde::Deserialize;
use url::{Position, Url, form_urlencoded};

/// Which provider.
#[derive(Deserialize)]
pub struct ProviderPath {
    provider: String,
}

/// Where a page's link to a provider leads, so that it goes on from there where somebody was going.
pub(super) fn link(provider: Provider, onward: &Onward) -> String {
    let next = form_urlencoded::Serializer::new(String::new()).append_pair("next", &onward.path()).finish();
    format!("/v1/auth/oauth/{}?{next}", provider.name())
}

/// A provider that the operator registered with. Any other is not there.
fn find<'a>(app: &'a App, path: &ProviderPath) -> ApiResult<(&'a Oauth, &'a Client)> {
    let oauth = app.oauth.as_ref();
    let found = oauth.and_then(|oauth| oauth.find(&path.provider).map(|client| (oauth, client)));
    found.ok_or_else(|| ApiError::not_found("resource"))
}

fn redirect_uri(app: &App, headers: &HeaderMap, client: &Client) -> String {
    format!("{}/v1/auth/oauth/{}/callback", own_origin(app, headers), client.provider.name())
}

/// A path of this server with its query, as a browser will understand it; none for what leads elsewhere.
fn local(next: &str) -> Option<String> {
    let here = Url::parse("http://here.invalid").ok()?;
    let url = here.join(next).ok().filter(|url| url.origin() == here.origin())?;
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let fits = next.starts_with('/') && path.len() <= OAUTH_NEXT_BYTES_MAX;
    // What is left of `/..//elsewhere` and its like would be a host to a browser.
    (fits && !path.starts_with("//")).then(|| path.to_owned())
}

/// `GET /v1/auth/oauth/{provider}`: sends a browser to the provider.
pub async fn get_start(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Params(path): Params<ProviderPath>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    match find(&app, &path) {
        Ok((_, client)) => answer(start(&app, &context, client, &headers, &query(&uri)).await),
        Err(absent) => absent.into_response(),
    }
}

async fn start(
    app: &App,
    context: &RequestContext,
    client: &Client,
    headers: &HeaderMap,
    query: &Form,
) -> ApiResult<Response> {
    let next = match query.all("next").next() {
        // Where a sign-in goes on unless told.
        None => DEVICE.to_owned(),
        Some(_) => query.one("next").and_then(local).ok_or_else(|| {
            ApiError::bad_request(
                "bad_query",
                "`next` is a path of this server, once; begin at the page to sign in",
            )
        })?,
    };
    if cookie::is_led_by_another_site(headers) {
        return Ok(see(&Onward::of_path(&next).login()));
    }
    app.rate_limits.login_elsewhere(context.ip)?;
    let begun = flow::begin(app, client, &redirect_uri(app, headers, client), &next).await?;
    let mut gone = see(begun.to.as_str());
    gone.headers_mut().insert(header::SET_COOKIE, cookie::set_oauth(app, &begun.kept, flow::life()));
    Ok(gone)
}

/// `GET /v1/auth/oauth/{provider}/callback`: where the provider sends the browser back.
pub async fn get_callback(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    Params(path): Params<ProviderPath>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    match find(&app, &path) {
        Ok(at) => answer(come_back(&app, context, at, &headers, &query(&uri)).await),
        Err(absent) => absent.into_response(),
    }
}

async fn come_back(
    app: &App,
    context: RequestContext,
    at: (&Oauth, &Client),
    headers: &HeaderMap,
    query: &Form,
) -> ApiResult<Response> {
    let kept = cookie::read_oauth(app, headers).unwrap_or_default();
    let state = query.one("state").unwrap_or_default();
    let returned = flow::take_back(app, at.1, &kept, state).await?;
    let word = match query.one("error") {
        Some(error) => Word::Error(error),
        None => Word::Code(query.one("code").unwrap_or_default()),
    };
    let redirect_uri = redirect_uri(app, headers, at.1);
    let finished = flow::finish(app, at, context, &returned, word, &redirect_uri, user_agent(headers)).await;
    let mut next = match finished {
        Ok(signed_in) => begun_with(app, &signed_in, see(&returned.next)),
        Err(error) => ask_who(app, headers, &Onward::of_path(&returned.next), "", Some(&error.into())),
    };
    next.headers_mut().append(header::SET_COOKIE, cookie::clear_oauth(app));
    Ok(next)
}

impl From<OauthError> for ApiError {
    fn from(error: OauthError) -> ApiError {
        let text = error.to_string();
        match error {
            OauthError::Stale => ApiError::bad_request("sign_in_stale", text),
            OauthError::NotForUs(_) => ApiError::bad_request("sign_in_not_for_us", text),
            OauthError::Denied(_) => ApiError::forbidden("sign_in_denied", text),
            OauthError::Unverified(_) => ApiError::forbidden("email_not_verified", text),
            OauthError::Nobody(_) => ApiError::new(StatusCode::UNAUTHORIZED, "login_refused", text),
            OauthError::TooManyLinked => ApiError::conflict("too_many_identities", text),
            OauthError::Failed(_) => ApiError::new(StatusCode::BAD_GATEWAY, "provider_failed", text),
            OauthError::TooMany(error) => error,
            OauthError::Signup(cause) => cause.into(),
            OauthError::Login(cause) => cause.into(),
            OauthError::Db(cause) => cause.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::AUTHORIZE_BYTES_MAX;

    #[test]
    fn m073_a_sign_in_goes_on_at_a_path_of_this_server_and_nowhere_else() {
        for (next, path) in [
            ("/device", "/device"),
            ("/device?user_code=BCDF-GHJK", "/device?user_code=BCDF-GHJK"),
            ("/device#x", "/device"),
            ("/a/../device", "/device"),
            ("/a?to=https://evil.example", "/a?to=https://evil.example"),
            ("/\u{e4}\0b", "/%C3%A4%00b"),
            ("/", "/"),
        ] {
            assert_eq!(local(next).as_deref(), Some(path), "{next}");
        }
        for next in [
            "",
            "device",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/a/..//evil.example",
            "/a/../\\evil.example",
            "https://evil.example",
            "https:evil.example",
            "http://here.invalid/device",
            "javascript:alert(1)",
            "data:text/html,x",
            "@evil.example",
            "?next=/",
            &format!("/{}", "a".repeat(OAUTH_NEXT_BYTES_MAX)),
        ] {
            assert_eq!(local(next), None, "{next}");
        }
    }

    #[test]
    fn m073_what_somebody_came_for_goes_along() {
        let device = Onward::Device("BCDF-GHJK".to_owned());
        let to = link(Provider::GitHub, &device);
        assert_eq!(to, "/v1/auth/oauth/github?next=%2Fdevice%3Fuser_code%3DBCDF-GHJK");
        let query = "client_id=opg-cli&state=a%2Fb%26c";
        let program = Onward::Authorize(query.to_owned());
        let to = Url::parse("http://here.invalid").unwrap().join(&link(Provider::Google, &program)).unwrap();
        let (_, next) = to.query_pairs().next().unwrap();
        assert_eq!(local(&next).as_deref(), Some(format!("/oauth/authorize?{query}").as_str()));
        let longest = Onward::Authorize(format!("state={}", "a".repeat(AUTHORIZE_BYTES_MAX)));
        assert!(local(&longest.path()).is_some());
    }
}
