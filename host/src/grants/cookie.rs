//! The session of a browser: a cookie that scripts cannot read, and what keeps other sites from using it.
//!
//! A browser sends a cookie with whatever any page makes it ask for. So a request that comes by cookie and changes
//! something is taken only where both hold: the browser does not say that it comes from another origin
//! (`Sec-Fetch-Site`, or `Origin` where it sends no such header), and it carries the session's CSRF token in
//! `X-CSRF-Token`, which only a page that could read an answer of ours knows. The token is made of the session's id
//! with the installation's pepper: nothing is stored, and it ends with the session.
//!
//! What only reads is taken where the browser does not say that another origin's script or page asked for a part of its
//! own: such a one sees no answer of ours, but for a WebSocket's, which no rule of the browser's keeps from it.
//!
//! A form of a page of ours cannot send a header: it has the token in a hidden field. Before somebody is signed in the
//! token is made of a random value in a cookie of its own, so that a form counts in the browser it was shown in alone.

use super::Caller;
use crate::{app::App, error::ApiError, http::Form};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::Duration;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Where a page sends the session's CSRF token.
pub const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The cookie's name. With `__Host-` no other host and no subdomain can set it, which takes `Secure`; on a
/// developer's own machine there is no TLS.
fn name(app: &App) -> &'static str {
    if app.config.is_production() { "__Host-opg_session" } else { "opg_session" }
}

/// The name of the cookie that a form is tied to while nobody is signed in.
fn form_name(app: &App) -> &'static str {
    if app.config.is_production() { "__Host-opg_form" } else { "opg_form" }
}

/// The name of the cookie that a sign-in at another provider is tied to while it is there.
fn oauth_name(app: &App) -> &'static str {
    if app.config.is_production() { "__Host-opg_oauth" } else { "opg_oauth" }
}

/// The session's token in the cookies of a request. Two of the name are none that is valid.
pub(crate) fn read(app: &App, headers: &HeaderMap) -> Option<String> {
    find(name(app), headers)
}

fn find(name: &str, headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let pairs = cookies.flat_map(|value| value.to_str().unwrap_or_default().split(';'));
    let mut found = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(found, _)| *found == name);
    let (_, token) = found.next()?;
    Some(if found.next().is_some() { String::new() } else { token.to_owned() })
}

/// Sets the session's cookie.
pub(crate) fn set(app: &App, token: &str, life: Duration) -> HeaderValue {
    write(app, name(app), token, Some(life.num_seconds()))
}

/// Removes it.
pub(crate) fn clear(app: &App) -> HeaderValue {
    write(app, name(app), "", Some(0))
}

/// What a browser keeps of a sign-in at another provider.
pub(crate) fn read_oauth(app: &App, headers: &HeaderMap) -> Option<String> {
    find(oauth_name(app), headers)
}

/// Has a browser keep it. `SameSite=Lax` lets it come along when the provider sends the browser back.
pub(crate) fn set_oauth(app: &App, kept: &str, life: Duration) -> HeaderValue {
    write(app, oauth_name(app), kept, Some(life.num_seconds()))
}

/// Has it forget that.
pub(crate) fn clear_oauth(app: &App) -> HeaderValue {
    write(app, oauth_name(app), "", Some(0))
}

fn write(app: &App, name: &str, token: &str, max_age_s: Option<i64>) -> HeaderValue {
    let secure = if app.config.is_production() { "; Secure" } else { "" };
    let max_age = max_age_s.map(|seconds| format!(" Max-Age={seconds};")).unwrap_or_default();
    let text = format!("{name}={token}; Path=/;{max_age} HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::from_str(&text).expect("a token and numbers are plain text");
    value.set_sensitive(true);
    value
}

/// The CSRF token of a session.
pub(crate) fn csrf_token(app: &App, credential_id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(app.pepper.derive("csrf", credential_id.as_bytes()))
}

/// The field of a form that has its token.
pub(crate) const FORM_FIELD: &str = "csrf_token";

/// What ties a form to a browser in which nobody is signed in: what stands in it, and the cookie to set where there is
/// none yet.
pub(crate) fn form_token(app: &App, headers: &HeaderMap) -> (String, Option<HeaderValue>) {
    if let Some(value) = find(form_name(app), headers).filter(|value| !value.is_empty()) {
        return (token_of_form(app, &value), None);
    }
    let value = URL_SAFE_NO_PAD.encode(app.entropy.bytes::<32>());
    (token_of_form(app, &value), Some(write(app, form_name(app), &value, None)))
}

fn token_of_form(app: &App, value: &str) -> String {
    URL_SAFE_NO_PAD.encode(app.pepper.derive("form", value.as_bytes()))
}

/// Whether a form was shown by a page of ours, in this browser: to whoever is signed in, or before anybody was.
///
/// # Errors
/// 403
pub(crate) fn check_form(
    app: &App,
    caller: Option<&Caller>,
    headers: &HeaderMap,
    form: &Form,
) -> Result<(), ApiError> {
    // Our pages send no referrer, for which a browser calls the origin of their forms `null`. One that does not say
    // better, because the connection is not encrypted, is known by the token alone.
    let says_nothing = headers.get(SEC_FETCH_SITE).is_none()
        && headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes() == b"null");
    if !says_nothing {
        check_origin(headers)?;
    }
    let expected = match caller {
        Some(caller) => caller.credential_id.map(|id| csrf_token(app, id)),
        None => find(form_name(app), headers)
            .filter(|value| !value.is_empty())
            .map(|value| token_of_form(app, &value)),
    };
    let (expected, sent) = (expected.unwrap_or_default(), form.one(FORM_FIELD).unwrap_or_default());
    if !expected.is_empty() && bool::from(expected.as_bytes().ct_eq(sent.as_bytes())) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "csrf_failed",
        "this form is not one that was shown in this browser, or its time is over, and nothing was done; open the \
         page again and send it from there, with cookies allowed",
    ))
}

/// Whether a page of ours meant a request that came by cookie.
///
/// # Errors
/// 403, with what to send.
pub(crate) fn check_intent(
    app: &App,
    caller: &Caller,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    if method.is_safe() {
        return if is_read_by_another_origin(headers) { Err(cross_origin()) } else { Ok(()) };
    }
    check_origin(headers)?;
    let expected = caller.credential_id.map(|id| csrf_token(app, id)).unwrap_or_default();
    let sent = headers.get(X_CSRF_TOKEN).map(HeaderValue::as_bytes).unwrap_or_default();
    if !expected.is_empty() && bool::from(expected.as_bytes().ct_eq(sent)) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "csrf_failed",
        "a change that comes by cookie carries the session's `csrf_token`, which signing in and GET /v1/me tell, in \
         the header `X-CSRF-Token`",
    ))
}

/// Whether a browser says that a request comes from another origin.
///
/// # Errors
/// 403
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    if is_own_origin(headers) { Ok(()) } else { Err(cross_origin()) }
}

/// Whether a browser says that a request comes from this server's own origin, or no browser says where it comes from.
pub(crate) fn is_own_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(SEC_FETCH_SITE), text(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_origin_of(origin, text(header::HOST)),
        // No browser of today: a program, which no page can make ask.
        (None, None) => true,
    }
}

fn cross_origin() -> ApiError {
    ApiError::forbidden("cross_origin", "this is for pages of this server's own origin")
}

/// Whether another origin's page asks for something, and not a person who follows a link of it. A `GET` has an `Origin`
/// where a script asks for its answer, or for a WebSocket.
fn is_read_by_another_origin(headers: &HeaderMap) -> bool {
    let mode = headers.get(SEC_FETCH_MODE).map(|value| value.to_str().unwrap_or_default());
    let is_part_of_a_page = mode.is_some_and(|mode| mode != "navigate");
    match headers.contains_key(header::ORIGIN) {
        true => !is_own_origin(headers),
        false => is_part_of_a_page && is_led_by_another_site(headers),
    }
}

/// Whether a browser says that another site's page led it here.
pub(crate) fn is_led_by_another_site(headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).and_then(|value| value.to_str().ok());
    site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

fn is_origin_of(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.is_some() && authority == host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_names_another_origin_is_refused() {
        let ask = |pairs: &[(&HeaderName, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("opg.example:8443"));
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            check_origin(&headers).is_ok()
        };
        let (site, origin) = (&SEC_FETCH_SITE, &header::ORIGIN);
        assert!(ask(&[]) && ask(&[(site, "same-origin")]) && ask(&[(origin, "https://opg.example:8443")]));
        assert!(ask(&[(site, "same-origin"), (origin, "https://proxy.example")]), "the browser knows better");
        for sites in ["cross-site", "same-site", "none", "", "Same-Origin", "\u{e4}"] {
            assert!(!ask(&[(site, sites), (origin, "https://opg.example:8443")]), "{sites}");
        }
        for origins in [
            "null",
            "",
            "https://opg.example",
            "https://opg.example:8443.evil.example",
            "https://evil.example/https://opg.example:8443",
            "opg.example:8443",
            "ftp://opg.example:8443",
        ] {
            assert!(!ask(&[(origin, origins)]), "{origins}");
        }
    }

    #[test]
    fn what_another_origins_page_reads_is_told_from_a_link_that_a_person_follows() {
        let is_foreign = |origin: Option<&str>, site: Option<&str>, mode: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("opg.example"));
            for (name, value) in [(header::ORIGIN, origin), (SEC_FETCH_SITE, site), (SEC_FETCH_MODE, mode)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_str(value).unwrap());
                }
            }
            is_read_by_another_origin(&headers)
        };
        let (ours, theirs) = (Some("https://opg.example"), Some("https://evil.example"));
        for (origin, site, mode) in [
            (theirs, Some("cross-site"), Some("cors")),
            (theirs, Some("same-site"), Some("websocket")),
            (theirs, None, None),
            (Some("null"), Some("cross-site"), Some("cors")),
            (None, Some("cross-site"), Some("no-cors")),
            (None, Some("same-site"), Some("no-cors")),
        ] {
            assert!(is_foreign(origin, site, mode), "{origin:?} {site:?} {mode:?}");
        }
        for (origin, site, mode) in [
            (None, None, None),
            (ours, None, None),
            (ours, Some("same-origin"), Some("websocket")),
            (None, Some("same-origin"), Some("cors")),
            (None, Some("none"), Some("navigate")),
            (None, Some("cross-site"), Some("navigate")),
            (None, Some("cross-site"), None),
        ] {
            assert!(!is_foreign(origin, site, mode), "{origin:?} {site:?} {mode:?}");
        }
    }
}
