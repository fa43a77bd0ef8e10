//! `opg login`, `opg logout`, `opg whoami`: a person at the command line.
//!
//! `login` shows a code that the person types into the server's page (RFC 8628); what comes back is kept in a file
//! that they alone can read. No token is ever printed, nor taken from the command line, which every user of a
//! machine can read. Exit code 4 says that nobody is signed in.

mod file;
mod login;

use crate::client::{Client, ClientError};
use file::{Entry, File};
use serde_json::{Value, json};
use std::{
    env,
    io::Read,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// It did not work: the server said no, or could not be asked.
const FAILED: u8 = 1;
/// The command line or what surrounds it is wrong.
const WRONG: u8 = 2;
/// Nobody is signed in, or not any more.
const SIGNED_OUT: u8 = 4;
/// A token that ends within this is replaced before it is used: a request takes time to get there.
const REFRESH_BEFORE_S: u64 = 60;

/// Why a command of a person's did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    /// The command line.
    #[error("{0}")]
    Wrong(String),
    /// Nobody is signed in to this server.
    #[error("nobody is signed in to {0}; `opg login` signs you in")]
    SignedOut(String),
    /// The file.
    #[error("{0}")]
    File(String),
    /// The person, or the time.
    #[error("{0}")]
    Refused(String),
    /// The server.
    #[error("{0}")]
    Client(#[from] ClientError),
}

impl AccountError {
    const fn exit_code(&self) -> u8 {
        match self {
            AccountError::Wrong(_) => WRONG,
            AccountError::SignedOut(_) => SIGNED_OUT,
            AccountError::Refused(_) => SIGNED_OUT,
            AccountError::File(_) | AccountError::Client(_) => FAILED,
        }
    }
}

/// `opg login`
#[derive(clap::Args)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    at: At,
    /// What to be let in for, such as `tools:*`; all that a program may, unless given. May be given several times.
    #[arg(long)]
    scope: Vec<String>,
    /// Keep a personal token read from stdin, and ask nobody.
    #[arg(long, conflicts_with = "scope")]
    with_token: bool,
}

/// `opg logout`
#[derive(clap::Args)]
pub(crate) struct LogoutArgs {
    #[command(flatten)]
    at: At,
}

/// `opg whoami`
#[derive(clap::Args)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    at: At,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// Which server.
#[derive(clap::Args)]
struct At {
    /// Where the server is; `OPG_URL`, unless given, or the one server there is a sign-in for.
    #[arg(long)]
    url: Option<String>,
}

impl At {
    fn url(&self) -> Result<String, AccountError> {
        let variable = || env::var("OPG_URL").ok().filter(|value| !value.trim().is_empty());
        let given = self.url.clone().or_else(variable);
        let url = match given {
            Some(url) => url,
            None => File::at(file::path()?)
                .only_server()?
                .ok_or_else(|| AccountError::Wrong("which server? set OPG_URL, or give --url".to_owned()))?,
        };
        let url = url.trim().trim_end_matches('/').to_owned();
        let plain = url::Url::parse(&url).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none()
        });
        if plain {
            Ok(url)
        } else {
            Err(AccountError::Wrong(
                "the server's URL is http:// or https://, a host, and no more".to_owned(),
            ))
        }
    }
}

/// Signs in.
pub(crate) fn login(args: LoginArgs) -> ExitCode {
    wait(async move {
        let url = args.at.url()?;
        let entry = if args.with_token { given_token()? } else { login::sign_in(&url, &args.scope).await? };
        let who = Client::new(&url, &entry.access_token)?.get("/platform/v1/whoami").await?.body;
        let file = File::at(file::path()?);
        let lock = file.lock()?;
        file.put(&lock, &url, Some(entry))?;
        eprintln!("signed in to {url} as {}", name(&who));
        Ok(())
    })
}

fn given_token() -> Result<Entry, AccountError> {
    let mut token = String::new();
    let read = std::io::stdin().read_to_string(&mut token);
    read.map_err(|cause| AccountError::Wrong(format!("stdin cannot be read: {cause}")))?;
    let token = token.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(AccountError::Wrong("stdin holds no token".to_owned()));
    }
    Ok(Entry { access_token: token.to_owned(), refresh_token: None, expires_at_s: None })
}

/// Signs out: here, and on the server where it can be asked.
pub(crate) fn logout(args: LogoutArgs) -> ExitCode {
    wait(async move {
        let url = args.at.url()?;
        let file = File::at(file::path()?);
        let lock = file.lock()?;
        let entry = file.get(&url)?.ok_or_else(|| AccountError::SignedOut(url.clone()))?;
        // A personal token was made elsewhere, and goes on to be used there.
        if entry.refresh_token.is_some() {
            let ended = async {
                let entry = renewed(&url, entry).await?;
                let client = Client::new(&url, &entry.access_token)?;
                client.post("/platform/v1/auth/logout", &json!({})).await
            };
            match ended.await {
                Err(ClientError::Refused { status: 400 | 401, .. }) | Ok(_) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        file.put(&lock, &url, None)?;
        eprintln!("signed out of {url}");
        Ok(())
    })
}

/// Says who is signed in.
pub(crate) fn whoami(args: WhoamiArgs) -> ExitCode {
    wait(async move {
        let url = args.at.url()?;
        let token = token(&url).await?.ok_or_else(|| AccountError::SignedOut(url.clone()))?;
        let who = match Client::new(&url, &token)?.get("/platform/v1/whoami").await {
            Err(ClientError::Refused { status: 401, .. }) => return Err(AccountError::SignedOut(url)),
            done => done?.body,
        };
        if args.json {
            println!("{who}");
        } else {
            println!("{} on {url}", name(&who));
        }
        Ok(())
    })
}

/// Who a server says one is, fit for a terminal.
fn name(who: &Value) -> String {
    let text = who["user"]["email"].as_str().or_else(|| who["app"].as_str()).or_else(|| who["kind"].as_str());
    text.unwrap_or("nobody").chars().filter(|c| !c.is_control()).collect()
}

/// The token of whoever is signed in to this server, good for a while; none where nobody is.
///
/// # Errors
/// [`AccountError`]
pub(crate) async fn token(url: &str) -> Result<Option<String>, AccountError> {
    let file = File::at(file::path()?);
    match file.get(url)? {
        None => return Ok(None),
        Some(entry) if !is_ending(&entry) => return Ok(Some(entry.access_token)),
        Some(_) => {}
    }
    // A refresh token is good once: one process at a time, and whoever comes second finds what the first got.
    let lock = file.lock()?;
    let Some(entry) = file.get(url)? else { return Ok(None) };
    if !is_ending(&entry) {
        return Ok(Some(entry.access_token));
    }
    match renewed(url, entry).await {
        Ok(entry) => {
            let token = entry.access_token.clone();
            file.put(&lock, url, Some(entry))?;
            Ok(Some(token))
        }
        Err(ClientError::Refused { status: 400, .. }) => {
            file.put(&lock, url, None)?;
            Err(AccountError::SignedOut(url.to_owned()))
        }
        Err(cause) => Err(cause.into()),
    }
}

fn is_ending(entry: &Entry) -> bool {
    entry.refresh_token.is_some() && entry.expires_at_s.is_some_and(|at| at <= now_s() + REFRESH_BEFORE_S)
}

/// The entry as it is, or the next one where it ends.
async fn renewed(url: &str, entry: Entry) -> Result<Entry, ClientError> {
    let (true, Some(refresh_token)) = (is_ending(&entry), &entry.refresh_token) else { return Ok(entry) };
    let body = json!({ "grant_type": "refresh_token", "refresh_token": refresh_token });
    let answer = Client::new(url, "")?.post("/platform/v1/auth/token", &body).await?;
    Ok(Entry::of(&answer.body, now_s()))
}

/// Seconds since 1970.
fn now_s() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is a client: nobody chooses its time")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn wait(work: impl Future<Output = Result<(), AccountError>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(cause) => Err(AccountError::File(format!("cannot start: {cause}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text: String = error.to_string().chars().filter(|c| !c.is_control()).collect();
            eprintln!("opg: {text}");
            ExitCode::from(error.exit_code())
        }
    }
}
