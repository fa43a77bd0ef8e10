//! The commands that are requests to a server.

pub(super) mod invoke;
pub(super) mod logs;
pub(super) mod manage;
pub(super) mod publish;
pub(super) mod review;

use super::{At, Told, Wrong, project::Project, text};
use crate::{
    account,
    client::{Answer, Client, ClientError},
};
use serde_json::Value;
use std::{
    env, fs,
    io::{self, BufRead, IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

/// Rows asked for at once: the most the API gives.
const PAGE_ROWS: u32 = 200;

/// Which server, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// Where the server is; `OPG_URL`, unless given.
    #[arg(long)]
    url: Option<String>,
    /// A file with the token and nothing else; `OPG_TOKEN`, unless given, or what `opg login` got.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Which app; `OPG_APP`, unless given. A token of an app knows it.
    #[arg(long)]
    app: Option<String>,
}

/// A server to ask.
pub(super) struct Server(Client);

/// Which plugin of which server.
#[derive(clap::Args)]
pub(super) struct Which {
    /// The tool's plugin; the project's in this folder, unless given.
    name: Option<String>,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    server: ServerArgs,
}

/// A plugin to ask a server about.
struct Plugin {
    server: Server,
    name: String,
    /// Its path in the API.
    path: String,
}

impl Which {
    /// # Errors
    /// What is not said, and how to say it.
    fn find(&self) -> anyhow::Result<Plugin> {
        Plugin::new(name_or_project(self.name.as_deref(), &self.at.dir)?, &self.server)
    }
}

impl Plugin {
    fn new(name: String, server: &ServerArgs) -> anyhow::Result<Plugin> {
        Ok(Plugin { server: server.connect()?, path: format!("/v1/tenant/tools/{name}"), name })
    }

    /// All of them, the newest first.
    async fn versions(&self) -> anyhow::Result<Vec<Value>> {
        self.server.all(&format!("{}/versions", self.path), usize::MAX).await
    }
}

impl ServerArgs {
    /// # Errors
    /// What is not said, and how to say it.
    pub(super) fn connect(&self) -> anyhow::Result<Server> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let url = self.url.clone().or_else(|| variable("OPG_URL")).ok_or_else(|| {
            Wrong(
                "which server? set OPG_URL, such as `export OPG_URL=http://127.0.0.1:3000`, or give --url"
                    .into(),
            )
        })?;
        let url = checked_url(&url)?;
        let token = match &self.token_file {
            Some(file) => fs::read_to_string(file)
                .map_err(|cause| Wrong(format!("--token-file {}: {cause}", file.display())))?,
            None => match variable("OPG_TOKEN") {
                Some(token) => token,
                None => signed_in(&url)?.ok_or_else(|| {
                    Wrong(
                        "who are you? sign in with `opg login`, or set OPG_TOKEN to a token of the app, or give \
                         --token-file; creating an app, or POST /v1/tenant/tokens, gives one"
                            .into(),
                    )
                })?,
            },
        };
        if url.starts_with("http://") && !is_local(&url) {
            eprintln!("opg tool: warning: the token goes out in the clear; use https");
        }
        let app = self.app.clone().or_else(|| variable("OPG_APP"));
        Ok(Server(Client::new(&url, token.trim())?.in_app(app)))
    }
}

/// The token of whoever signed in to this server with `opg login`.
fn signed_in(url: &str) -> anyhow::Result<Option<String>> {
    let runtime = tokio::runtime::Handle::current();
    Ok(tokio::task::block_in_place(|| runtime.block_on(account::token(url)))?)
}

fn checked_url(text: &str) -> Result<String, Wrong> {
    let url = text.trim().trim_end_matches('/');
    let parsed = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let plain =
        parsed.filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none());
    match plain {
        Some(_) => Ok(url.to_owned()),
        None => Err(Wrong(
            "the server's URL is http:// or https://, a host, and no more, such as http://127.0.0.1:3000"
                .into(),
        )),
    }
}

fn is_local(url: &str) -> bool {
    match url::Url::parse(url).ok().as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Server {
    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.0.get(path).await.map_err(said)?.body)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        Ok(self.0.post(path, body).await.map_err(said)?.body)
    }

    async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.0.delete(path).await.map_err(said).map(drop)
    }

    async fn put(&self, path: &str, headers: &[(&str, &str)], body: bytes::Bytes) -> anyhow::Result<Answer> {
        self.0.put(path, headers, body).await.map_err(said)
    }

    /// Every row of a list, page by page, until there are `most`.
    async fn all(&self, path: &str, most: usize) -> anyhow::Result<Vec<Value>> {
        let (mut rows, mut cursor) = (vec![], String::new());
        loop {
            let limit = PAGE_ROWS.min(u32::try_from(most - rows.len()).unwrap_or(PAGE_ROWS));
            let page = self.get(&format!("{path}?limit={limit}{cursor}")).await?;
            rows.extend(page["data"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) if rows.len() < most => cursor = format!("&cursor={next}"),
                _ => return Ok(rows),
            }
        }
    }
}

/// A refusal with what to do about it, where that is not in its text.
fn said(error: ClientError) -> anyhow::Error {
    let ClientError::Refused { status, ref code, ref detail, ref body, .. } = error else {
        return error.into();
    };
    let mut text = detail.clone();
    if let Some(fields) = body["errors"].as_array().filter(|fields| fields.len() > 1) {
        for field in fields {
            text += &format!("\n  {}: {}", word(&field["pointer"]), word(&field["message"]));
        }
    }
    let hint = match (status, code.as_str()) {
        (401, _) => "; is OPG_TOKEN a token of an app of this server, and not revoked?",
        (403, "wrong_credential_kind") => {
            "; the operator's token does nothing inside an app: use the app's own"
        }
        (400, "app_required") => "; give --app, or set OPG_APP",
        (404, _) => "; `opg tool list` shows what there is",
        (429, _) => "; wait a moment and try again",
        _ => "",
    };
    anyhow::anyhow!("{text}{hint} ({status} {code})")
}

/// The name given, or the project's in this folder.
fn name_or_project(name: Option<&str>, dir: &Path) -> Result<String, Wrong> {
    match name {
        Some(name) => checked_name(name),
        None => Project::find(dir)
            .map(|project| project.name)
            .map_err(|wrong| Wrong(format!("which tool? give its name, or stand in its project ({wrong})"))),
    }
}

/// A tool's or a plugin's name, fit for a path.
fn checked_name(name: &str) -> Result<String, Wrong> {
    if opg_host::tools::is_name(name) {
        return Ok(name.to_owned());
    }
    Err(Wrong(format!("`{}` is no tool's name; `opg tool list` shows what there is", text::line(name))))
}

/// JSON from the command line, from `@file`, or from stdin for `-`.
pub(super) fn input(given: &str) -> Result<Value, Wrong> {
    let wrong = |cause: &dyn std::fmt::Display| {
        Wrong(format!("the input is not JSON ({cause}), such as '{{\"name\": \"Ann\"}}'"))
    };
    let text = if given == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map_err(|cause| wrong(&cause))?;
        text
    } else if let Some(file) = given.strip_prefix('@') {
        fs::read_to_string(file).map_err(|cause| Wrong(format!("{file} cannot be read: {cause}")))?
    } else {
        given.to_owned()
    };
    serde_json::from_str(&text).map_err(|cause| wrong(&cause))
}

/// Asks a person yes or no; where there is none, `flags` say what to give instead.
fn confirm(question: &str, flags: &str) -> anyhow::Result<()> {
    if !io::stdin().is_terminal() {
        return Err(Wrong(format!("nobody is here to answer; say it with {flags}")).into());
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    eprintln!("nothing was changed");
    Err(Told.into())
}

/// A string, or a number or nothing as one; fit for a line.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text::line(text),
        Value::Null => String::new(),
        other => text::line(&other.to_string()),
    }
}

/// What a status means, and what to do.
fn status_in_words(status: &str) -> &str {
    match status {
        "active" => "active: models and people can call it",
        "pending_review" => "waits for review: nobody can call it yet",
        "inactive" => "inactive: an older version runs",
        "superseded" => "superseded by a newer version",
        other => other,
    }
}

/// Capabilities, one a line, in words; `mark` stands before each.
fn wishes(capabilities: &Value, mark: impl Fn(&Value) -> &'static str) -> String {
    let mut out = String::new();
    for wish in capabilities.as_array().into_iter().flatten() {
        let (kind, target) = (word(&wish["kind"]), word(&wish["target"]));
        let words = text::in_words(&kind, &target);
        let reason =
            wish["reason"].as_str().map(|reason| format!(": {}", text::line(reason))).unwrap_or_default();
        out += &format!("  {}{words}{reason}  [{kind}:{target}]\n", mark(wish));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_and_nothing_more() {
        assert_eq!(checked_url(" http://127.0.0.1:3000/ "), Ok("http://127.0.0.1:3000".into()));
        for wrong in ["127.0.0.1:3000", "ftp://a", "https://user:pw@a", "https://a?x=1", ""] {
            assert!(checked_url(wrong).is_err(), "{wrong}");
        }
        assert!(
            is_local("http://[::1]:3000") && is_local("http://localhost") && !is_local("http://a.example")
        );
    }

    #[test]
    fn no_name_leaves_its_place_in_a_path() {
        assert!(checked_name("notes_add_note").is_ok());
        for wrong in ["../secrets", "a/b", "a?b", ""] {
            assert!(checked_name(wrong).is_err(), "{wrong}");
        }
    }
}
