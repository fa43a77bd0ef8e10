//! What both pages have in common on which somebody lets a program in.

use super::{
    markup::{Markup, markup},
    onward::Onward,
};
use crate::{
    grants::{Scope, Scopes, cookie::FORM_FIELD},
    limits::DEVICE_GRANT_LIFE,
    people::store::MyApp,
};

/// Who decides.
pub(super) struct Decider<'a> {
    /// Their address, for them to see whose session it is.
    pub(super) email: &'a str,
    /// The session's CSRF token.
    pub(super) token: &'a str,
}

impl Decider<'_> {
    pub(super) fn hidden(&self) -> Markup {
        markup!("<input type=\"hidden\" name=\"" {FORM_FIELD} "\" value=\"" {self.token} "\">")
    }

    pub(super) fn footer(&self, onward: &Onward) -> Markup {
        markup!(
            "<footer><p>Signed in as " {self.email} ".</p>"
            "<form method=\"post\" action=\"/logout\">"
            (self.hidden())
            (onward.field())
            "<button class=\"plain\">Sign out, or use another account</button>"
            "</form></footer>"
        )
    }
}

/// What it may do, to untick some of it.
pub(super) fn scopes(scopes: Scopes) -> Markup {
    let one = |scope: Scope| {
        markup!(
            "<label><input type=\"checkbox\" name=\"scope\" value=\"" {scope.name()} "\" checked>"
            "<span>" {scope.about()} "</span></label>"
        )
    };
    markup!("<fieldset><legend>It may, for you</legend>" (scopes.iter().map(one).collect()) "</fieldset>")
}

/// In which app alone, to choose one.
pub(super) fn apps(apps: &[MyApp]) -> Markup {
    let one = |app: &MyApp| markup!("<option value=\"" {app.slug} "\">" {app.slug} " alone</option>");
    markup!(
        "<label for=\"app\">In which of your apps</label>"
        "<select id=\"app\" name=\"app\"><option value=\"\">all of them</option>"
        (apps.iter().map(one).collect())
        "</select>"
    )
}

/// For how long.
pub(super) fn life() -> Markup {
    markup!(
        "<p>It stays let in for " {DEVICE_GRANT_LIFE.as_secs() / (24 * 60 * 60)} " days, or until it signs out.</p>"
    )
}
