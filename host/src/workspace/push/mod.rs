//! Pushing a session's files to a Git repository (row M284): all of them as one commit, on the branch that was named
//! and no other.
//!
//! No program is started: Git's HTTP is spoken through the guarded way out ([`crate::egress`]), so that the address
//! that was judged is the one that is reached, and there are no hooks, no configuration and no other protocols. The
//! token is in memory for as long as the push runs, and goes to the place that was named: redirects are not followed.
//! The commit's parent is what the branch is at, so nothing that is there is lost; the server may still say no, and
//! what it says is shown.
//!
//! In the place of a token a push may name a secret of the app. It goes to the hosts that whoever may write secrets
//! named for it (`secrets::push`) and to no other: who may use a session could else send any secret anywhere. It is
//! opened when the push runs, and taken out of what the server says.
//!
//! Deliberately absent: fetching, merging, force, tags.

mod pack;
mod wire;

use super::{Space, WorkspaceError, reach, routes::Seen};
use crate::{
    app::App,
    error::FieldError,
    grants::{Acting, Allowed, InApp, action::may, audit},
    limits::{WORKSPACE_PUSH_BYTES_MAX, WORKSPACE_PUSH_TIME_MAX, WORKSPACE_PUSHES_PER_APP_MAX},
    secrets::{self, RevealError, scan::Scanner},
    sessions::{
        SessionError,
        artifacts::store::{self, Artifact},
        manage,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::Duration;
use http::HeaderValue;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use url::{Host, Url};
use uuid::Uuid;

/// A commit's message.
const MESSAGE_BYTES_MAX: usize = 10 << 10;
/// A branch's name, a token, and who it is of.
const NAME_BYTES_MAX: usize = 200;
const TOKEN_BYTES_MAX: usize = 4 << 10;
/// A URL, as long as any that works.
const URL_BYTES_MAX: usize = 2000;
/// The same for one that is not there: nobody is to find out by asking which there are.
const NO_SUCH_SECRET: &str = "there is no secret of this name that a push may send to this host; \
                              whoever may write secrets says which may, as its `push_hosts`";

/// Where to, and as whom.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PushInput {
    /// The repository's URL, as for `git clone`.
    repo: String,
    /// The branch; it is made where it is not there.
    branch: String,
    /// The branch that a new one begins at; nothing, unless given.
    base: Option<String>,
    /// What the commit says.
    message: String,
    /// Whose token it is; most servers do not look at it.
    username: Option<String>,
    /// What the server asks for as a password.
    #[schemars(with = "Option<String>")]
    token: Option<SecretString>,
    /// In its place: the name of a secret of the app that a push may send to the repository's host.
    token_ref: Option<String>,
}

/// Why nothing was begun, or how it ended.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Members are wrong.
    #[error("the push is wrong")]
    Invalid(Vec<FieldError>),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The files.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// Nothing was ever written.
    #[error("this session has no files")]
    NoFiles,
    /// Others run.
    #[error("{WORKSPACE_PUSHES_PER_APP_MAX} pushes of this app are on their way; try again later")]
    TooMany,
    /// The secret was removed since, or its host.
    #[error("the secret is not there any more, or may not be sent to this host any more")]
    SecretGone,
    /// The secret cannot be sent as a password.
    #[error("the secret is no token: that is one line, 4 KiB at the most")]
    BadSecret,
    /// The secret does not open.
    #[error("the secret could not be opened; it is logged")]
    Sealed,
    /// The token is not good for it.
    #[error("the repository does not take this token, or not for pushing")]
    Denied,
    /// The server said no.
    #[error("the repository refused the push: {0}")]
    Refused(String),
    /// It could not be asked.
    #[error("the repository could not be reached: {0}")]
    Remote(String),
    /// It took too long.
    #[error("the push took too long")]
    Timeout,
    /// The host was stopped.
    #[error("the host was stopped; push again")]
    Stopped,
}

impl From<sqlx::Error> for PushError {
    fn from(cause: sqlx::Error) -> PushError {
        PushError::Workspace(cause.into())
    }
}

impl PushError {
    /// A stable name, for programs.
    const fn code(&self) -> &'static str {
        match self {
            PushError::SecretGone => "secret_gone",
            PushError::BadSecret => "bad_secret",
            PushError::Denied => "token_refused",
            PushError::Refused(_) => "push_refused",
            PushError::Remote(_) => "unreachable",
            PushError::Timeout => "timeout",
            PushError::Stopped => "host_stopping",
            PushError::Workspace(WorkspaceError::TooMuch) => "too_large",
            _ => "failed",
        }
    }
}

/// A push that may be one.
struct Push {
    repo: Url,
    branch: String,
    base: Option<String>,
    message: String,
    username: String,
    password: Password,
}

/// What a server is shown.
enum Password {
    Nothing,
    Token(SecretString),
    /// A secret of this name, for this host.
    Secret {
        name: String,
        place: String,
    },
}

impl Push {
    fn read(app: &App, input: PushInput) -> Result<Push, PushError> {
        let mut wrong = vec![];
        let mut check = |ok: bool, pointer: &str, why: &str| {
            if !ok {
                wrong.push(FieldError::new(pointer, why));
            }
        };
        let repo = Url::parse(&input.repo).ok().filter(|_| input.repo.len() <= URL_BYTES_MAX);
        // Where guests may reach this machine, as in development, a token may go unencrypted too.
        let schemes: &[&str] =
            if app.config.allow_private_guest_http { &["https", "http"] } else { &["https"] };
        let judged = repo.as_ref().map(|repo| app.guest_egress.judge(repo));
        check(
            repo.as_ref().is_some_and(|repo| {
                schemes.contains(&repo.scheme()) && repo.query().is_none() && repo.fragment().is_none()
            }),
            "/repo",
            "the URL of a repository, such as `https://git.example.com/ann/notes.git`",
        );
        if let Some(Err(refusal)) = &judged {
            check(false, "/repo", &refusal.to_string());
        }
        check(is_branch(&input.branch), "/branch", "the name of a branch, such as `main` or `ann/notes`");
        check(input.base.as_deref().is_none_or(is_branch), "/base", "the name of a branch");
        let said = (1..=MESSAGE_BYTES_MAX).contains(&input.message.len()) && !input.message.contains('\0');
        check(
            said && !input.message.trim().is_empty(),
            "/message",
            "what the commit says, 10 KiB at the most",
        );
        let username = input.username.unwrap_or_else(|| "x-access-token".to_owned());
        check(is_plain(&username) && !username.contains(':'), "/username", "a name without `:`");
        let token = input.token.as_ref().map(ExposeSecret::expose_secret);
        check(token.is_none_or(is_plain), "/token", "a token, 4 KiB at the most");
        let is_secret = input.token_ref.is_some();
        check(!is_secret || token.is_none(), "/token_ref", "either `token` or `token_ref`");
        let is_safe = repo.as_ref().is_some_and(|repo| repo.scheme() == "https" || is_this_machine(repo));
        check(!is_secret || is_safe, "/repo", "a secret goes to an `https` URL alone");
        let Some((Ok(repo), true)) = judged.map(|judged| (judged, wrong.is_empty())) else {
            return Err(PushError::Invalid(wrong));
        };
        let password = match (input.token_ref, input.token) {
            (Some(name), _) => {
                let place = secrets::push::place_of(&repo).unwrap_or_default();
                Password::Secret { name, place }
            }
            (None, Some(token)) => Password::Token(token),
            (None, None) => Password::Nothing,
        };
        let PushInput { branch, base, message, .. } = input;
        Ok(Push { repo, branch, base, message, username, password })
    }
}

/// What can be a part of a password and its name.
fn is_plain(text: &str) -> bool {
    text.len() <= TOKEN_BYTES_MAX && !text.chars().any(char::is_control)
}

/// Whether what is sent there stays on this machine.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// What a server is sent for a name and a password.
fn basic(username: &str, password: &SecretString) -> HeaderValue {
    let pair = format!("{username}:{}", password.expose_secret());
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)))
        .expect("base64 is a header's value");
    value.set_sensitive(true);
    value
}

/// As `git check-ref-format` has it, and no characters but plain ones.
fn is_branch(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.chars().all(plain)
        && !name.contains("..")
        && !name.starts_with('-')
        && name.split('/').all(|part| {
            !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.ends_with(".lock")
        })
}

/// Begins a push. How it ends is read from the session's artifacts.
///
/// # Errors
/// [`PushError`]
pub(crate) async fn begin(
    app: &App,
    allowed: &Allowed<may::SessionsWrite>,
    Seen { session_id, with_files }: Seen,
    input: PushInput,
) -> Result<Artifact, PushError> {
    let push = Push::read(app, input)?;
    let space = reach::existing(app, allowed, with_files).await?.ok_or(PushError::NoFiles)?;
    let detail = json!({ "branch": push.branch });
    let artifact = Artifact::to(app.new_id(), "git", push.repo.to_string(), detail, app.now());
    let mut tx = app.tenant_tx(allowed).await?;
    manage::usable(app, &mut tx, session_id).await?;
    if let Password::Secret { name, place } = &push.password
        && !secrets::push::may_be_sent(&mut tx, name, place).await?
    {
        return Err(PushError::Invalid(vec![FieldError::new("/token_ref", NO_SUCH_SECRET)]));
    }
    if store::count_running(&mut tx).await? >= WORKSPACE_PUSHES_PER_APP_MAX {
        return Err(PushError::TooMany);
    }
    store::insert(&mut tx, (session_id, allowed.app().app_id), &artifact).await?;
    let entry = audit::Entry::ok("sessions.push", format!("session/{session_id}"));
    let to = json!({ "repo": push.repo.as_str(), "branch": push.branch });
    audit::write(app, &mut tx, allowed, entry.detail(to)).await?;
    tx.commit().await?;
    let work = run(app.clone(), Acting::of(allowed), artifact.artifact_id, space, push);
    app.spawn(work);
    Ok(artifact)
}

async fn run(app: App, acting: Acting, artifact_id: Uuid, space: Arc<Space>, push: Push) {
    let sending =
        tokio::time::timeout(WORKSPACE_PUSH_TIME_MAX, send(&app, &acting, artifact_id, space, push));
    let pushed = tokio::select! {
        () = app.cut_off.cancelled() => Err(PushError::Stopped),
        pushed = sending => pushed.unwrap_or(Err(PushError::Timeout)),
    };
    let (state, detail) = match pushed {
        Ok(commit) => ("done", json!({ "commit": commit })),
        Err(error) => {
            if let PushError::Workspace(WorkspaceError::Io(cause)) = &error {
                tracing::error!(%cause, "a workspace could not be packed");
            }
            ("failed", json!({ "reason": { "code": error.code(), "message": error.to_string() } }))
        }
    };
    if let Err(cause) = end(&app, &acting, artifact_id, state, &detail).await {
        tracing::error!(%cause, "how a push ended could not be written down");
    }
}

async fn end(app: &App, acting: &Acting, artifact_id: Uuid, state: &str, detail: &Value) -> sqlx::Result<()> {
    let mut tx = app.tenant_tx(acting).await?;
    store::end(&mut tx, artifact_id, state, detail, app.now()).await?;
    tx.commit().await
}

/// What the server is shown, and what finds it in what the server says.
async fn authorize(
    app: &App,
    acting: &Acting,
    artifact_id: Uuid,
    push: &Push,
) -> Result<(Option<HeaderValue>, Option<Scanner>), PushError> {
    let (name, place) = match &push.password {
        Password::Nothing => return Ok((None, None)),
        Password::Token(token) => return Ok((Some(basic(&push.username, token)), None)),
        Password::Secret { name, place } => (name, place),
    };
    let opened = secrets::push::reveal(app, acting.app().app_id, name, place).await;
    let secret = opened.map_err(|error| match error {
        RevealError::Db(cause) => PushError::from(cause),
        RevealError::Sealed => {
            tracing::error!(secret = name, "a secret for a push could not be opened");
            PushError::Sealed
        }
    })?;
    let secret = secret.ok_or(PushError::SecretGone)?;
    if !is_plain(secret.expose_secret()) {
        return Err(PushError::BadSecret);
    }
    // Before it leaves: no audit, no secret.
    let mut tx = app.tenant_tx(acting).await?;
    let entry = audit::Entry::ok("secrets.use", format!("secret/{name}"));
    let to = json!({ "repo": push.repo.as_str(), "artifact_id": artifact_id });
    audit::write(app, &mut tx, acting, entry.detail(to)).await?;
    tx.commit().await?;
    let sent = basic(&push.username, &secret);
    Ok((Some(sent), Scanner::new(&vec![(name.clone(), secret)])))
}

/// Sends it; the commit's name.
async fn send(
    app: &App,
    acting: &Acting,
    artifact_id: Uuid,
    space: Arc<Space>,
    push: Push,
) -> Result<String, PushError> {
    let (authorization, secret) = authorize(app, acting, artifact_id, &push).await?;
    let Push { repo, branch, base, message, .. } = push;
    let remote = wire::Remote {
        egress: &app.guest_egress,
        url: &repo,
        authorization,
        secret: secret.as_ref(),
        timeout: WORKSPACE_PUSH_TIME_MAX,
    };
    let refs = remote.refs().await?;
    let missing = || PushError::Refused("there is no branch of the name in `base`".to_owned());
    let parent = match (refs.branch(&branch), base) {
        (Some(tip), _) => Some(tip),
        (None, Some(base)) => Some(refs.branch(&base).ok_or_else(missing)?),
        (None, None) => None,
    };
    let at = app.now().timestamp();
    let author = format!("{} <{}@opg.invalid>", acting.app().slug, acting.app().slug);
    let packed = move || {
        pack::of(
            &space,
            WORKSPACE_PUSH_BYTES_MAX,
            &pack::Commit { parent, author: &author, at, message: &message },
        )
    };
    let (pack, commit) = reach::job(app, acting.app().app_id, packed).await?;
    remote.push(&refs, &branch, commit, &pack).await?;
    Ok(hex::encode(commit))
}

/// Ends the pushes of hosts that died.
///
/// # Errors
/// The database's.
pub async fn end_lost(app: &App) -> sqlx::Result<()> {
    let since = app.now() - Duration::from_std(WORKSPACE_PUSH_TIME_MAX * 2).unwrap_or(Duration::MAX);
    let reason = json!({ "reason": { "code": "host_lost", "message": "the host stopped; push again" } });
    let mut tx = app.service_tx().await?;
    store::end_lost(&mut tx, since, &reason, app.now()).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_has_a_name_git_takes() {
        for good in ["main", "ann/notes-2", "v1.0", "a_b"] {
            assert!(is_branch(good), "{good}");
        }
        for bad in [
            "",
            "-f",
            "a..b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.",
            "a.lock",
            "a b",
            "a~1",
            "a:b",
            "a\nb",
            "ä",
            "refs\0x",
            &"a".repeat(201),
        ] {
            assert!(!is_branch(bad), "{bad:?}");
        }
    }
}
