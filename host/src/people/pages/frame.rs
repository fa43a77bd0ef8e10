//! What all pages have in common: how they look, and what a browser may do with them.

use super::markup::{Markup, markup};
use crate::error::ApiError;
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// All there is of it: it fits a phone, and is dark where the person's system is.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1c1f;--soft:#5b5b66;--line:#c9c9d2;--paper:#fff;--back:#f3f3f6;--key:#1d4ed8;--on-key:#fff;--wrong:#b01020}\
@media(prefers-color-scheme:dark){:root{--ink:#ececf1;--soft:#a3a3b0;--line:#44444f;--paper:#1d1d22;--back:#121215;--key:#8ab4ff;--on-key:#0b1220;--wrong:#ff8a93}}\
*{box-sizing:border-box}\
body{margin:0;padding:1rem;background:var(--back);color:var(--ink);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}\
main{max-width:30rem;margin:4vh auto;padding:1.5rem;background:var(--paper);border:1px solid var(--line);border-radius:.75rem}\
h1{margin:0 0 1rem;font-size:1.35rem;line-height:1.25}\
p{margin:0 0 1rem}\
label{display:block;margin:0 0 .25rem;font-weight:600}\
input[type=text],input[type=email],input[type=password],select{width:100%;min-height:2.75rem;margin:0 0 1rem;padding:.5rem .75rem;border:1px solid var(--line);border-radius:.5rem;background:var(--paper);color:var(--ink);font:inherit}\
.code{font:600 1.5rem/1.4 ui-monospace,monospace;letter-spacing:.15em}\
input.code{text-transform:uppercase}\
button,.button{display:block;width:100%;min-height:2.75rem;margin:0 0 .75rem;padding:.5rem 1rem;border:1px solid var(--key);border-radius:.5rem;background:var(--key);color:var(--on-key);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}\
.second{background:transparent;color:var(--key)}\
button.plain{display:inline;width:auto;min-height:0;margin:0;padding:0;border:0;background:none;color:var(--key);font-weight:400;text-decoration:underline}\
:focus-visible{outline:3px solid var(--key);outline-offset:2px}\
dl{margin:0 0 1rem}dt{color:var(--soft)}dd{margin:0 0 .5rem}\
fieldset{margin:0 0 1rem;padding:.75rem 1rem;border:1px solid var(--line);border-radius:.5rem}\
legend{padding:0 .25rem;font-weight:600}\
fieldset label{display:flex;gap:.6rem;padding:.3rem 0;font-weight:400}\
fieldset input{flex:none;width:1.15rem;height:1.15rem;margin:.2rem 0 0}\
.note{padding:.75rem 1rem;border-left:4px solid var(--key);background:var(--back)}\
.wrong{padding:.75rem 1rem;border-left:4px solid var(--wrong);background:var(--back);color:var(--wrong)}\
footer{margin:1.25rem 0 0;padding:1rem 0 0;border-top:1px solid var(--line);color:var(--soft);font-size:.9rem}\
footer p{margin:0 0 .25rem}";

/// What a browser may do with a page: show it in the one style it has, and send its forms to us.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy("'self'"));

fn policy(forms: &str) -> HeaderValue {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let text = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action {forms}; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    HeaderValue::from_str(&text).expect("a digest and what we wrote are plain text")
}

/// The same page, with forms that may lead to where a program listens on the browser's own machine: browsers hold where a
/// form leads in the end against the policy of the page that it is on.
pub(super) fn leading_to(redirect_uri: &str, mut page: Response) -> Response {
    // No policy can name an address of IPv6: then it is any that is not encrypted, as this one is.
    let origin = redirect_uri.split('/').take(3).collect::<Vec<_>>().join("/");
    let there = if origin.contains('[') { "http:" } else { &origin };
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy(&format!("'self' {there}")));
    page
}

/// A page with this heading.
pub(super) fn page(status: StatusCode, title: &'static str, body: Markup) -> Response {
    let whole = markup!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
        "<title>" {title} " - OPG</title><style>" (Markup::literal(STYLE)) "</style></head>"
        "<body><main><h1>" {title} "</h1>" (body) "</main></body></html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, POLICY.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
    ];
    (status, headers, whole.into_string()).into_response()
}

/// What was wrong, above a form that is shown again; nothing where nothing was.
pub(super) fn wrong(error: Option<&ApiError>) -> Markup {
    let shown =
        |error: &ApiError| markup!("<p class=\"wrong\" role=\"alert\">" {sentence(&error.detail)} "</p>");
    error.map_or_else(Markup::default, shown)
}

/// The text of an error as a person reads it: those of the API begin small and end without a stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).chain(std::iter::once('.').filter(|_| !text.ends_with('.'))).collect()
}

/// The same page again, with the status and the headers of what was wrong.
pub(super) fn with_error(mut page: Response, error: &ApiError) -> Response {
    *page.status_mut() = error.status;
    for (name, value) in &error.headers {
        page.headers_mut().insert(name, value.clone());
    }
    page
}

/// What could not be shown, in words.
pub(super) fn trouble(error: &ApiError) -> Response {
    let body = markup!(
        (wrong(Some(error)))
        "<p><a href=\"/device\">Begin again</a></p>"
    );
    with_error(page(error.status, "That did not work", body), error)
}
