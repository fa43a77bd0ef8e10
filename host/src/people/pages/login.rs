//! The pages of whoever is not signed in.

use super::{
    frame,
    markup::{Markup, markup},
    oauth,
    onward::Onward,
};
use crate::{error::ApiError, grants::cookie::FORM_FIELD, limits::MAIL_CODE_LIFE, people::oauth::Provider};
use axum::response::Response;
use http::StatusCode;

/// What a form here keeps while somebody signs in.
pub(super) struct Kept<'a> {
    /// What ties it to the browser.
    pub(super) token: &'a str,
    /// Where they were going.
    pub(super) onward: &'a Onward,
    /// The address, as it was typed.
    pub(super) email: &'a str,
}

impl Kept<'_> {
    fn fields(&self) -> Markup {
        markup!(
            "<input type=\"hidden\" name=\"" {FORM_FIELD} "\" value=\"" {self.token} "\">"
            (self.onward.field())
        )
    }
}

/// How somebody may sign in besides with a password.
pub(super) struct Ways {
    /// With a code that is mailed.
    pub(super) mail: bool,
    /// With an account at one of these.
    pub(super) providers: Vec<Provider>,
}

/// A link, and no form: what a form leads to is bound by the page's policy, and this leads elsewhere.
fn elsewhere(provider: Provider, onward: &Onward) -> Markup {
    markup!(
        "<a class=\"button second\" href=\"" {oauth::link(provider, onward)} "\">Continue with "
        {provider.title()} "</a>"
    )
}

/// Asks who it is.
pub(super) fn sign_in(kept: &Kept<'_>, ways: &Ways, error: Option<&ApiError>) -> Response {
    let by_mail = match ways.mail {
        true => markup!(
            "<button class=\"second\" formaction=\"/login/mail\" formnovalidate>Mail me a code</button>"
        ),
        false => Markup::default(),
    };
    let why = match kept.onward.is_known() {
        false => Markup::default(),
        true => markup!("<p>Then you can look at what asks to be let in.</p>"),
    };
    let body = markup!(
        (frame::wrong(error))
        (why)
        "<form method=\"post\" action=\"/login\">"
        (kept.fields())
        "<label for=\"email\">E-mail address</label>"
        "<input type=\"email\" id=\"email\" name=\"email\" value=\"" {kept.email} "\" autocomplete=\"username\""
        " maxlength=\"254\" required autofocus>"
        "<label for=\"password\">Password</label>"
        "<input type=\"password\" id=\"password\" name=\"password\" autocomplete=\"current-password\" required>"
        "<button>Sign in</button>"
        (by_mail)
        "</form>"
        (ways.providers.iter().map(|provider| elsewhere(*provider, kept.onward)).collect())
    );
    frame::page(StatusCode::OK, "Sign in", body)
}

/// Asks for the code that was mailed, if the address can have one.
pub(super) fn type_code(kept: &Kept<'_>, error: Option<&ApiError>) -> Response {
    let body = markup!(
        (frame::wrong(error))
        "<p>If " {kept.email} " can sign in here, a letter with a code is on its way. It is good for "
        {MAIL_CODE_LIFE.as_secs() / 60} " minutes.</p>"
        "<form method=\"post\" action=\"/login/code\">"
        (kept.fields())
        "<input type=\"hidden\" name=\"email\" value=\"" {kept.email} "\">"
        "<label for=\"code\">Code</label>"
        "<input type=\"text\" class=\"code\" id=\"code\" name=\"code\" inputmode=\"numeric\" maxlength=\"10\""
        " autocomplete=\"one-time-code\" required autofocus>"
        "<button>Sign in</button>"
        "<button class=\"second\" formaction=\"/login/mail\" formnovalidate>Mail me another</button>"
        "</form>"
        "<form action=\"/login\">"
        (kept.onward.field())
        "<button class=\"plain\">Use another address, or a password</button>"
        "</form>"
    );
    frame::page(StatusCode::OK, "Type the code", body)
}
