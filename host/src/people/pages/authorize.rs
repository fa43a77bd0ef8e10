//! The pages of whoever lets in a program that opened their browser.

use super::{
    decider::{self, Decider},
    frame,
    markup::{Markup, markup},
    onward::{Onward, REQUEST_FIELD},
};
use crate::{
    error::ApiError,
    people::{
        authorize::{Asked, Stranger, Wish},
        store::MyApp,
    },
};
use axum::response::Response;
use http::StatusCode;

/// Shows what asks, and asks whether to let it in.
pub(super) fn decide(
    who: &Decider<'_>,
    asked: &Asked,
    wish: &Wish,
    apps: &[MyApp],
    error: Option<&ApiError>,
) -> Response {
    let which = match &wish.app {
        Some(slug) => markup!("<p>In your app " {slug} ", and in no other.</p>"),
        None => decider::apps(apps),
    };
    let body = markup!(
        (frame::wrong(error))
        "<p>A program on this machine opened this page.</p>"
        (about(asked))
        "<form method=\"post\" action=\"/oauth/authorize\">"
        (who.hidden())
        "<input type=\"hidden\" name=\"" {REQUEST_FIELD} "\" value=\"" {asked.query} "\">"
        (decider::scopes(wish.scopes))
        (which)
        (decider::life())
        "<p class=\"note\">Did you begin this yourself, just now? Any program on this machine can call itself that. If"
        " a page or somebody else sent you here, deny it: it would be let in, as you.</p>"
        "<button>Allow</button>"
        "<button class=\"second\" formaction=\"/oauth/authorize/deny\">Deny</button>"
        "</form>"
        (who.footer(&Onward::Authorize(asked.query.clone())))
    );
    frame::leading_to(&asked.redirect_uri, frame::page(StatusCode::OK, "Let this program in?", body))
}

fn about(asked: &Asked) -> Markup {
    markup!(
        "<dl>"
        "<dt>It calls itself</dt><dd>" {asked.client.name} " (" {asked.client.id} ")</dd>"
        "<dt>and waits on this machine at</dt><dd>" {asked.redirect_uri} "</dd>"
        "</dl>"
    )
}

/// What is told to nobody but whoever looks at the page.
pub(super) fn stranger(stranger: &Stranger) -> Response {
    trouble(&ApiError::bad_request("invalid_request", stranger.to_string()))
}

/// What could not be done, in words.
pub(super) fn trouble(error: &ApiError) -> Response {
    let body = markup!(
        (frame::wrong(Some(error)))
        "<p>Nobody was let in. Go back to the program that opened this page, and begin again there.</p>"
    );
    frame::with_error(frame::page(StatusCode::OK, "That did not work", body), error)
}
