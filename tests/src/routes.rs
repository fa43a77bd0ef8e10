//! Every route of the service, ready to be called: for tests made from the list of routes.

use crate::app::{Answer, Client, send};
use http::Method;
use opg_host::{
    grants::{Action, action::On},
    router::{Route, all_routes, app_segment, is_runners},
};
use std::sync::atomic::{AtomicU32, Ordering};

/// A route as it stands in the list, under one of its prefixes.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its method.
    pub method: Method,
    /// Its path with `{…}` in it, `/{app}` first where it stands there.
    pub template: String,
    /// What its caller must be allowed.
    pub action: Option<Action>,
}

/// Every route that asks for a credential, under each of its prefixes.
pub fn guarded() -> Vec<Case> {
    cases(|route| !route.public)
}

/// Every route that asks for none.
pub fn public() -> Vec<Case> {
    cases(|route| route.public)
}

/// Every route, under each of its prefixes.
pub fn all() -> Vec<Case> {
    cases(|_| true)
}

fn cases(wanted: impl Fn(&Route) -> bool) -> Vec<Case> {
    let routes = all_routes().into_iter().filter(|(route, _)| wanted(route));
    let cases = routes.map(|(route, template)| Case { method: route.method, template, action: route.action });
    cases.collect()
}

impl Case {
    /// The path with the app's slug and something in the place of each name.
    pub fn path(&self, app: &str, name: &str) -> String {
        self.template
            .replace("{app}", app)
            .replace("{name}", name)
            .replace("{id}", name)
            .replace("{*id}", name)
            .replace("{*path}", name)
            .replace("{message}", name)
            .replace("{provider}", name)
            .replace("{permission}", "0190f3c4-bbbb-7000-8000-000000000000")
    }

    /// Whether it stands under `/{app}`, or under another prefix that names an app.
    pub fn names_app(&self) -> bool {
        app_segment(&self.template).is_some()
    }

    /// Whether it is one that opencode's clients call.
    pub fn is_opencodes(&self) -> bool {
        self.template.starts_with("/t/")
    }

    /// Whether it names one thing of many.
    pub fn names_one(&self) -> bool {
        ["{name}", "{id}", "{*id}"].iter().any(|name| self.template.contains(name))
    }

    /// Whether it takes a body that must be of some kind; a file's may be anything.
    pub fn takes_body(&self) -> bool {
        let commands = [
            "/internal/heartbeat",
            "/resume",
            "/stop",
            "/abort",
            "/cancel",
            "/accept",
            "/decline",
            "/unrevert",
            "/auth/logout",
            "/auth/passkey/register/start",
            "/auth/passkey/login/start",
            "/{*path}",
        ];
        let mut is_command = commands.iter().any(|end| self.template.ends_with(end));
        is_command |= self.is_opencodes() && self.template.ends_with("/share");
        let takes_one = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        takes_one && !is_command && !self.is_file() && !self.is_page()
    }

    /// Whether its body is JSON, or may be. An upload is not, nor a form.
    pub fn takes_json(&self) -> bool {
        self.takes_body() && !self.is_upload() && !self.is_form()
    }

    /// Whether it is a page, or takes a form of one: for browsers, which are told in HTML what is wrong.
    pub fn is_page(&self) -> bool {
        ["/login", "/logout", "/device", "/oauth/", "/v1/auth/oauth/"]
            .iter()
            .any(|page| self.template.starts_with(page))
    }

    /// Whether its body is a form with a file.
    pub fn is_form(&self) -> bool {
        self.template.ends_with("/ai/transcriptions")
    }

    /// Whether its body is a file's, whatever it is.
    pub fn is_file(&self) -> bool {
        ["/sessions/{id}/file", "/sessions/{id}/import.zip"].iter().any(|end| self.template.ends_with(end))
    }

    /// Whether its body is a plugin.
    pub fn is_upload(&self) -> bool {
        let of_plugins = ["/tools/{name}", "/agents/{name}"];
        self.method == Method::PUT && of_plugins.iter().any(|end| self.template.ends_with(end))
    }

    /// Whether it is for runners, by tokens that the gate knows nothing of.
    pub fn is_runners(&self) -> bool {
        is_runners(&self.template)
    }

    /// Whether it is for operators.
    pub fn is_operators(&self) -> bool {
        self.action.is_some_and(|action| action.on() == On::Platform)
    }

    /// Whether it is for a person, about their own account.
    pub fn is_persons(&self) -> bool {
        self.action.is_some_and(|action| action.on() == On::Person)
    }

    /// A request to it, finished by the test.
    pub fn request(&self, client: &Client, app: &str, name: &str) -> reqwest::RequestBuilder {
        client.request(self.method.as_str(), &self.path(app, name))
    }

    /// Calls it without a body.
    pub async fn call(&self, client: &Client, app: &str, name: &str) -> Answer {
        send(self.request(client, app, name)).await
    }

    /// What to say when it did something wrong.
    pub fn at(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// An address nobody had before in this process: limits count by address.
pub fn fresh_ip() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0x0a00_0000);
    std::net::Ipv4Addr::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_string()
}
