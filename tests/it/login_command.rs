//! `opg login`, `whoami` and `logout`: the real binary, and a person who types the code.

use opg_tests::{
    app::{Client, PASSWORD, TestApp},
    browser::Browser,
    process::binary,
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Output, Stdio},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

const EMAIL: &str = "ann@example.com";

/// Somebody's shell.
struct Shell {
    url: String,
    home: tempfile::TempDir,
}

impl Shell {
    fn of(app: &TestApp) -> Shell {
        Shell { url: app.base_url(), home: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.home.path().join(".config/opg/credentials.json")
    }

    fn kept(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("OPG_URL", &self.url).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn opg(&self, args: &[&str]) -> (Option<i32>, String) {
        said(&self.command(args).output().await.unwrap())
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let text = text.concat();
    assert!(!text.contains("opg_plt_") && !text.contains("opg_rfr_") && !text.contains("opg_pat_"), "{text}");
    (output.status.code(), text)
}

/// Signs in, and the person decides.
async fn login(shell: &Shell, person: &Client, decision: &str) -> (Option<i32>, String) {
    let mut child = shell.command(&["login"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let code = loop {
        let line = lines.next_line().await.unwrap().expect("it says a code");
        if let Some(code) = line.strip_prefix("and type the code ") {
            break code.to_owned();
        }
    };
    let path = format!("/platform/v1/auth/device/{decision}");
    let decided = person.post(&path, &json!({ "user_code": code })).await;
    assert_eq!(decided.status, 204, "{}", decided.text());
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        text += &line;
    }
    (child.wait().await.unwrap().code(), text)
}

#[tokio::test]
async fn m401_m402_a_person_signs_in_at_the_command_line_works_there_and_signs_out() {
    let app = TestApp::open_to_people().await;
    let ann = app.person(EMAIL).await;
    let shell = Shell::of(&app);
    let (code, text) = shell.opg(&["whoami"]).await;
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("opg login"), "{text}");

    let (code, text) = login(&shell, &ann, "approve").await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(EMAIL), "{text}");
    let mode = fs::metadata(shell.file()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let (code, text) = shell.opg(&["whoami"]).await;
    assert_eq!((code, text.trim()), (Some(0), format!("{EMAIL} on {}", shell.url).as_str()));
    let (code, text) = shell.opg(&["whoami", "--json"]).await;
    assert_eq!(
        (code, serde_json::from_str::<Value>(&text).unwrap()["kind"].clone()),
        (Some(0), json!("platform_token"))
    );

    let (code, text) = shell.opg(&["tool", "list"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--app"), "a person says which app: {text}");
    let (code, text) = shell.opg(&["tool", "list", "--app", "ann"]).await;
    assert_eq!(code, Some(0), "{text}");

    // Its hour is over, and many commands notice at once: one of them renews, the others find what it got.
    let mut kept = shell.kept();
    let before = kept["servers"][&shell.url]["access_token"].clone();
    kept["servers"][&shell.url]["expires_at_s"] = json!(0);
    fs::write(shell.file(), kept.to_string()).unwrap();
    let at_once = futures_util::future::join_all((0..6).map(|_| shell.opg(&["whoami"]))).await;
    assert!(at_once.iter().all(|(code, _)| *code == Some(0)), "{at_once:?}");
    assert_ne!(shell.kept()["servers"][&shell.url]["access_token"], before);
    let count = "select count(*)::text from credentials where kind = 'refresh_token'";
    assert_eq!(app.sql(count).await, ["2"], "the first, and the next");

    let (code, text) = shell.opg(&["logout"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(shell.opg(&["whoami"]).await.0, Some(4));
    assert_eq!(shell.opg(&["logout"]).await.0, Some(4));
    let live = "select count(*)::text from credentials where family_id is not null and revoked_at is null";
    assert_eq!(app.sql(live).await, ["0"], "on the server it is over as well");
    assert_eq!(ann.get("/v1/me").await.status, 200, "and the person's browser is none of that");
}

#[tokio::test]
async fn m065_m401_the_page_that_is_printed_is_where_the_code_is_typed() {
    let app = TestApp::open_to_people().await;
    app.sign_up(EMAIL).await;
    let shell = Shell::of(&app);
    let mut child = shell.command(&["login"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut printed = async |before: &str| {
        loop {
            let line = lines.next_line().await.unwrap().expect("it says more");
            if let Some(said) = line.strip_prefix(before) {
                return said.to_owned();
            }
        }
    };
    let (page, code) = (printed("Open ").await, printed("and type the code ").await);
    let mut browser = Browser::at(&app);
    let page = browser.open(page.strip_prefix(&app.base_url()).unwrap()).await;
    let page = browser.submit(&page, "/login", &[("email", EMAIL), ("password", PASSWORD)]).await;
    let page = browser.submit(&page, "/device", &[("user_code", &code)]).await;
    assert!(page.text().contains("<dd>opg</dd>"), "{}", page.text());
    let page = browser.submit(&page, "/device/approve", &[]).await;
    assert_eq!(page.path, "/device/approved", "{}", page.text());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
    assert_eq!(shell.opg(&["whoami"]).await.0, Some(0));
}

#[tokio::test]
async fn m401_a_refusal_is_said_and_a_personal_token_is_taken_from_stdin() {
    let app = TestApp::open_to_people().await;
    let ann = app.person(EMAIL).await;
    let shell = Shell::of(&app);
    let (code, text) = login(&shell, &ann, "deny").await;
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("denied") && !shell.file().exists(), "{text}");

    let wanted = json!({ "name": "shell", "scopes": ["tools:read"], "app_ids": ["ann"], "expires_in": 3600 });
    let made = ann.post("/platform/v1/tokens", &wanted).await.json();
    let mut child = shell.command(&["login", "--with-token"]).stdin(Stdio::piped()).spawn().unwrap();
    let token = format!("{}\n", made["token"].as_str().unwrap());
    child.stdin.take().unwrap().write_all(token.as_bytes()).await.unwrap();
    let (code, text) = said(&child.wait_with_output().await.unwrap());
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = shell.opg(&["tool", "list"]).await;
    assert_eq!(code, Some(0), "the one app it is for needs no naming: {text}");
    let (code, text) = shell.opg(&["logout"]).await;
    assert_eq!(code, Some(0), "{text}");
    let kept = app.client(made["token"].as_str()).get("/platform/v1/whoami").await;
    assert_eq!(kept.status, 200, "it was made elsewhere, and is used there");

    let wrong = shell.command(&["login", "--with-token"]).output().await.unwrap();
    assert_eq!(said(&wrong).0, Some(2));
    let nowhere = shell.command(&["whoami"]).env_remove("OPG_URL").output().await.unwrap();
    let (code, text) = said(&nowhere);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("OPG_URL"), "{text}");
}
