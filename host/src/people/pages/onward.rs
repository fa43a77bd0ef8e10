//! Where somebody was going when they were asked who they are: it is kept in each form until they are signed in.

use super::{
    frame,
    markup::{Markup, markup},
};
use crate::{
    http::Form,
    limits::USER_CODE_CHARS_KEPT_MAX,
    people::{authorize::Asked, device},
};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use url::form_urlencoded;

/// Where a program is let in that shows a code.
pub(super) const DEVICE: &str = "/device";
/// Where one is let in that opened this browser.
pub(super) const AUTHORIZE: &str = "/oauth/authorize";
/// The field of a form that keeps what such a one asks with, as a query.
pub(super) const REQUEST_FIELD: &str = "request";

/// Where to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Onward {
    /// To let a program in that shows a code: as much of that as was typed.
    Device(String),
    /// To let a program in that opened this browser: what it asks with, as a query.
    Authorize(String),
}

impl Onward {
    /// What a form of ours, or the query of a page of ours, keeps of it.
    pub(super) fn of(form: &Form) -> Onward {
        let request = Form::of(form.one(REQUEST_FIELD).unwrap_or_default().as_bytes());
        match Asked::query(&request) {
            Some(request) if !request.is_empty() => Onward::Authorize(request),
            _ => Onward::Device(user_code(form)),
        }
    }

    /// What a path of this server leads to, as far as it is one of these.
    pub(super) fn of_path(path: &str) -> Onward {
        let (page, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Form::of(query.as_bytes());
        match page {
            AUTHORIZE => Onward::asked(&query),
            DEVICE => Onward::Device(user_code(&query)),
            _ => Onward::Device(String::new()),
        }
    }

    /// What a program asks with.
    pub(super) fn asked(request: &Form) -> Onward {
        Asked::query(request).map_or_else(|| Onward::Device(String::new()), Onward::Authorize)
    }

    /// Whether somebody was going anywhere that can be named.
    pub(super) fn is_known(&self) -> bool {
        !self.kept().1.is_empty()
    }

    /// A page to sign in on: its form may lead to the program at once, where that asks for what nobody gives.
    pub(super) fn shown_on(&self, page: Response) -> Response {
        let Onward::Authorize(request) = self else { return page };
        match Asked::read(&Form::of(request.as_bytes())) {
            Ok(asked) => frame::leading_to(&asked.redirect_uri, page),
            Err(_) => page,
        }
    }

    fn kept(&self) -> (&'static str, &str) {
        match self {
            Onward::Device(user_code) => ("user_code", user_code),
            Onward::Authorize(request) => (REQUEST_FIELD, request),
        }
    }

    /// What keeps it in a form.
    pub(super) fn field(&self) -> Markup {
        let (name, value) = self.kept();
        markup!("<input type=\"hidden\" name=\"" {name} "\" value=\"" {value} "\">")
    }

    /// The path it leads to.
    pub(super) fn path(&self) -> String {
        match self {
            Onward::Device(_) => self.kept_by(DEVICE),
            Onward::Authorize(request) => format!("{AUTHORIZE}?{request}"),
        }
    }

    /// The path of the page to sign in, which keeps it.
    pub(super) fn login(&self) -> String {
        self.kept_by("/login")
    }

    fn kept_by(&self, page: &str) -> String {
        let (name, value) = self.kept();
        if value.is_empty() {
            return page.to_owned();
        }
        let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        format!("{page}?{query}")
    }
}

/// As much of a code as is worth showing again.
pub(super) fn user_code(form: &Form) -> String {
    let typed = form.one("user_code").unwrap_or_default().trim();
    let plain = typed.chars().filter(|c| !c.is_control()).take(USER_CODE_CHARS_KEPT_MAX);
    device::as_shown(typed).unwrap_or_else(|| plain.collect())
}

/// To another page, which is asked for anew: whoever reloads it sends no form a second time.
pub(super) fn see(location: &str) -> Response {
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/login"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m065_m082_what_somebody_came_for_is_kept_while_they_sign_in_and_leads_nowhere_else() {
        for (kept, login, path) in [
            ("", "/login", "/device"),
            ("user_code=bcdf+ghjk", "/login?user_code=BCDF-GHJK", "/device?user_code=BCDF-GHJK"),
            ("request=", "/login", "/device"),
            (
                "request=client_id%3Dopg-cli%26state%3Da%252Fb%26other%3D1",
                "/login?request=client_id%3Dopg-cli%26state%3Da%252Fb",
                "/oauth/authorize?client_id=opg-cli&state=a%2Fb",
            ),
            ("request=%2F%2Fevil.example%0D%0A", "/login", "/device"),
        ] {
            let onward = Onward::of(&Form::of(kept.as_bytes()));
            assert_eq!((onward.login().as_str(), onward.path().as_str()), (login, path), "{kept}");
            if onward.is_known() {
                assert_eq!(Onward::of_path(path), onward, "{kept}");
            }
        }
        assert_eq!(Onward::of_path("/other?user_code=BCDF-GHJK"), Onward::Device(String::new()));
    }
}
