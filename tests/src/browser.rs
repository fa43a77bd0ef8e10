//! Somebody's browser, as far as pages without a program need one: cookies, forms with what they hold, and where an
//! answer leads.

use crate::{
    app::{Answer, Client, TestApp, send},
    routes::fresh_ip,
};
use std::collections::BTreeMap;
use url::{Url, form_urlencoded};

/// A browser, at an address nobody used before.
pub struct Browser {
    client: Client,
    ip: String,
    /// Its cookies, for all of the site.
    pub cookies: BTreeMap<String, String>,
}

/// A page it shows.
#[derive(Debug)]
pub struct Page {
    /// What came back in the end.
    pub answer: Answer,
    /// Where it was found, with its query.
    pub path: String,
}

impl Browser {
    /// One that was never here.
    pub fn at(app: &TestApp) -> Browser {
        Browser { client: app.anonymous(), ip: fresh_ip(), cookies: BTreeMap::new() }
    }

    /// A request as it sends one, to be finished by the test.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, path).header("x-forwarded-for", &self.ip);
        if self.cookies.is_empty() {
            return request;
        }
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.header("cookie", cookies.join("; "))
    }

    /// Opens a page, and what it leads to.
    pub async fn open(&mut self, path: &str) -> Page {
        let answer = send(self.request("GET", path).header("sec-fetch-site", "none")).await;
        self.arrive(path, answer).await
    }

    /// Follows a link one step: what comes back, wherever it leads.
    pub async fn follow(&mut self, path: &str, site: &str) -> Answer {
        let answer = send(self.request("GET", path).header("sec-fetch-site", site)).await;
        self.keep_cookies(&answer);
        answer
    }

    /// Opens a page that another site led to, and what it leads to.
    pub async fn come_back(&mut self, path: &str) -> Page {
        let answer = send(self.request("GET", path).header("sec-fetch-site", "cross-site")).await;
        self.arrive(path, answer).await
    }

    /// Sends a form, and opens what it leads to.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let answer = self.post_once(path, fields).await;
        self.arrive(path, answer).await
    }

    /// Sends a form: what comes back, wherever it leads.
    pub async fn post_once(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        // What a browser says of a form of a page that sends no referrer.
        let request = request.header("origin", "null").header("sec-fetch-site", "same-origin");
        let answer = send(request.body(form)).await;
        self.keep_cookies(&answer);
        answer
    }

    /// Sends the form of a page whose button leads there: what it holds, and what is typed into it.
    pub async fn submit(&mut self, page: &Page, action: &str, typed: &[(&str, &str)]) -> Page {
        let held = page.held(action);
        self.post(action, &filled(&held, typed)).await
    }

    /// Sends the form of a page: what comes back, wherever it leads.
    pub async fn submit_once(&mut self, page: &Page, action: &str, typed: &[(&str, &str)]) -> Answer {
        let held = page.held(action);
        self.post_once(action, &filled(&held, typed)).await
    }

    async fn arrive(&mut self, path: &str, mut answer: Answer) -> Page {
        let mut path = path.to_owned();
        self.keep_cookies(&answer);
        for _ in 0..5 {
            if answer.status != 303 {
                return Page { answer, path };
            }
            path = answer.header("location").to_owned();
            assert!(path.starts_with('/') && !path.starts_with("//"), "it leads elsewhere: {path}");
            answer = send(self.request("GET", &path).header("sec-fetch-site", "same-origin")).await;
            self.keep_cookies(&answer);
        }
        panic!("it leads on and on: {path}");
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("a cookie is text");
            let (pair, attributes) = cookie.split_once(';').expect("a cookie has attributes");
            let (name, value) = pair.split_once('=').expect("a cookie has a name");
            match attributes.contains("Max-Age=0;") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }
}

/// What a form holds, and what is typed into it.
fn filled<'a>(held: &'a [(String, String)], typed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<_> = held.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.retain(|(name, _)| typed.iter().all(|(other, _)| other != name));
    fields.extend(typed);
    fields
}

impl Page {
    /// Its HTML.
    pub fn text(&self) -> String {
        self.answer.text()
    }

    /// Its heading.
    pub fn heading(&self) -> String {
        let text = self.text();
        let (_, rest) = text.split_once("<h1>").unwrap_or_else(|| panic!("no page: {text}"));
        rest.split_once("</h1>").expect("a heading ends").0.to_owned()
    }

    /// What was wrong, where it says so.
    pub fn wrong(&self) -> String {
        let text = self.text();
        let said = text.split_once("role=\"alert\">").map(|(_, rest)| rest.split_once("</p>"));
        said.flatten().map(|(said, _)| said.to_owned()).unwrap_or_default()
    }

    /// What the form that leads there, or one of whose buttons does, holds: hidden fields, what is typed already, and
    /// boxes that are ticked.
    pub fn held(&self, action: &str) -> Vec<(String, String)> {
        let text = self.text();
        let leads_there = |form: &&str| {
            form.contains(&format!(" action=\"{action}\""))
                || form.contains(&format!("formaction=\"{action}\""))
        };
        let form = text.split("<form").skip(1).map(|form| form.split("</form>").next().unwrap_or_default());
        let form = form.into_iter().find(leads_there);
        let form = form.unwrap_or_else(|| panic!("no form leads to {action}: {text}"));
        let attribute = |tag: &str, name: &str| {
            let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
            Some(plain(rest.split_once('"')?.0))
        };
        let inputs = form.split("<input").skip(1).filter_map(|tag| {
            let tag = tag.split_once('>')?.0;
            let chosen = !tag.contains("type=\"checkbox\"") || tag.ends_with(" checked");
            let pair = (attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default());
            chosen.then_some(pair)
        });
        inputs.collect()
    }

    /// The query it was found with.
    pub fn query(&self, name: &str) -> Option<String> {
        let url = Url::parse("http://localhost").and_then(|url| url.join(&self.path)).expect("a path");
        url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    }
}

/// Text as it was before it was escaped.
fn plain(escaped: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    pairs.iter().fold(escaped.to_owned(), |text, (from, to)| text.replace(from, to))
}
