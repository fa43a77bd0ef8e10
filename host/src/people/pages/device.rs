//! The pages of whoever lets a command line in.

use super::{
    decider::{self, Decider},
    frame,
    markup::{Markup, markup},
    onward::Onward,
};
use crate::{
    error::ApiError,
    grants::Scopes,
    limits::USER_CODE_CHARS_KEPT_MAX,
    people::store::{DeviceRequest, MyApp},
};
use axum::response::Response;
use http::StatusCode;

/// Asks for the code. One that came with the link is there already, and still somebody has to send it.
pub(super) fn ask(who: &Decider<'_>, user_code: &str, error: Option<&ApiError>) -> Response {
    let came_with_the_link = match user_code {
        "" => Markup::default(),
        _ => markup!("<p>Go on only if your terminal shows this very code.</p>"),
    };
    let body = markup!(
        (frame::wrong(error))
        "<p>A program that asks to be let in shows a code of eight letters.</p>"
        "<form method=\"post\" action=\"/device\">"
        (who.hidden())
        "<label for=\"user_code\">Code</label>"
        "<input type=\"text\" class=\"code\" id=\"user_code\" name=\"user_code\" value=\"" {user_code} "\""
        " maxlength=\"" {USER_CODE_CHARS_KEPT_MAX} "\" autocomplete=\"off\" autocapitalize=\"characters\""
        " spellcheck=\"false\" required autofocus>"
        (came_with_the_link)
        "<button>Continue</button>"
        "</form>"
        (who.footer(&Onward::Device(user_code.to_owned())))
    );
    frame::page(StatusCode::OK, "Let a program in", body)
}

/// Shows what asks, and asks whether to let it in.
pub(super) fn decide(
    who: &Decider<'_>,
    user_code: &str,
    request: &DeviceRequest,
    apps: &[MyApp],
    error: Option<&ApiError>,
) -> Response {
    let body = markup!(
        (frame::wrong(error))
        "<p>Its code is <span class=\"code\">" {user_code} "</span>. Go on only if this matches what your terminal"
        " shows.</p>"
        (about(request))
        "<form method=\"post\" action=\"/device/approve\">"
        (who.hidden())
        "<input type=\"hidden\" name=\"user_code\" value=\"" {user_code} "\">"
        (decider::scopes(Scopes::parse_known(&request.scopes)))
        (decider::apps(apps))
        (decider::life())
        "<p class=\"note\">Did you begin this yourself, just now? If somebody sent you here or told you a code, deny"
        " it: they would be let in, as you. Nobody who helps you needs this.</p>"
        "<button>Approve</button>"
        "<button class=\"second\" formaction=\"/device/deny\">Deny</button>"
        "</form>"
        (who.footer(&Onward::Device(user_code.to_owned())))
    );
    frame::page(StatusCode::OK, "Let this program in?", body)
}

fn about(request: &DeviceRequest) -> Markup {
    let or = |text: &str| if text.is_empty() { "(not said)".to_owned() } else { text.to_owned() };
    markup!(
        "<dl>"
        "<dt>It calls itself</dt><dd>" {or(&request.client)} "</dd>"
        "<dt>and its machine</dt><dd>" {or(&request.hostname)} "</dd>"
        "<dt>It asked from the address</dt><dd>" {or(request.ip.as_deref().unwrap_or_default())} "</dd>"
        "<dt>at</dt><dd>" {request.created_at.format("%Y-%m-%d %H:%M UTC")} "</dd>"
        "</dl>"
    )
}

/// The end of it.
pub(super) fn done(let_in: bool) -> Response {
    let (title, text) = match let_in {
        true => ("It is let in", "Go back to your terminal; it goes on by itself. You can close this page."),
        false => ("It is turned away", "The program gets nothing. You can close this page."),
    };
    frame::page(StatusCode::OK, title, markup!("<p>" {text} "</p>"))
}
