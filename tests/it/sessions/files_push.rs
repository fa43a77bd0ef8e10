//! Pushing a session's files to a repository: a real one, behind Git's own HTTP server.

use super::{
    at,
    files::{file, put},
    new_session, start,
};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use opg_tests::app::{Client, TestApp, logs};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

const TOKEN: &str = "canary-git-7f3a9c";

/// `git http-backend` on this machine. It takes pushes with [`TOKEN`].
struct GitServer {
    dir: TempDir,
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Backend {
    root: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
}

impl GitServer {
    async fn start() -> GitServer {
        let dir = TempDir::new().unwrap();
        let seen = Arc::default();
        let backend = Backend { root: dir.path().to_owned(), seen: Arc::clone(&seen) };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let router = Router::new().fallback(serve).with_state(backend);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let server = GitServer { dir, url, seen };
        server.git(".", &["init", "-q", "--bare", "-b", "main", "notes.git"]).await;
        server.git("notes.git", &["config", "http.receivepack", "true"]).await;
        server
    }

    async fn git(&self, at: &str, arguments: &[&str]) -> String {
        let ran = git(&self.dir.path().join(at)).args(arguments).output().await.unwrap();
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    fn repo(&self) -> String {
        format!("{}/notes.git", self.url)
    }
}

/// Git as it is without anybody's configuration.
fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("HOME", "/nowhere");
    git.kill_on_drop(true);
    git
}

async fn serve(State(backend): State<Backend>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    backend.seen.lock().unwrap().push(format!("{} {}", head.method, head.uri));
    let authorization =
        head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    use base64::{Engine, engine::general_purpose::STANDARD};
    let expected = format!("Basic {}", STANDARD.encode(format!("x-access-token:{TOKEN}")));
    if authorization != expected {
        return Response::builder().status(401).body(Body::empty()).unwrap();
    }
    if head.uri.path().starts_with("/moved") {
        return Response::builder()
            .status(302)
            .header("location", "/notes.git/info/refs")
            .body(Body::empty())
            .unwrap();
    }
    let body = axum::body::to_bytes(body, 1 << 30).await.unwrap();
    let header = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut running = git(&backend.root)
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &backend.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "ann")
        .env("REQUEST_METHOD", head.method.as_str())
        .env("PATH_INFO", head.uri.path())
        .env("QUERY_STRING", head.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = running.stdin.take().unwrap();
    input.write_all(&body).await.unwrap();
    drop(input);
    let said = running.wait_with_output().await.unwrap().stdout;
    let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let mut answer = Response::builder();
    for line in std::str::from_utf8(&said[..end]).unwrap().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        answer = match name {
            "Status" => answer.status(value[..3].parse::<u16>().unwrap()),
            _ => answer.header(name, value),
        };
    }
    answer.body(Body::from(said[end + 4..].to_vec())).unwrap()
}

async fn push(client: &Client, session: &str, body: Value) -> Value {
    let begun = client.post(&at(session, "export/git"), &body).await;
    assert_eq!((begun.status, &begun.json()["state"]), (202, &json!("running")), "{}", begun.text());
    let id = begun.json()["id"].clone();
    for _ in 0..600 {
        let listed = client.get(&at(session, "artifacts")).await.json();
        let found = listed["data"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap().clone();
        if found["state"] != "running" {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the push does not end");
}

#[tokio::test]
async fn m284_m285_m302_files_are_pushed_as_one_commit_to_the_branch_that_is_named() {
    let (app, _upstream, acme) = start().await;
    let server = GitServer::start().await;
    let id = new_session(&acme).await;
    let to = |branch: &str| json!({ "repo": server.repo(), "branch": branch, "message": "What was written\n\nAll.", "token": TOKEN });
    assert_eq!(acme.post(&at(&id, "export/git"), &to("main")).await.json()["code"], "no_files");
    put(&acme, &id, "a.txt", "one\n").await;
    put(&acme, &id, "a/b.txt", "two").await;
    put(&acme, &id, "src/日本 x", "three").await;
    put(&acme, &id, ".git/config", "[core] evil").await;
    put(&acme, &id, "sub/.GIT/hooks/x", "evil").await;
    let noise: Vec<u8> =
        (0..1_000_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    assert_eq!(acme.put_bytes(&file(&id, "big"), "x/y", noise.clone()).await.status, 201);
    let first = push(&acme, &id, to("main")).await;
    assert_eq!((&first["state"], &first["kind"]), (&json!("done"), &json!("git")), "{first}");
    assert_eq!(first["location"], json!(server.repo()));
    server.git("notes.git", &["fsck", "--strict"]).await;
    assert_eq!(
        server.git("notes.git", &["rev-parse", "main"]).await,
        first["detail"]["commit"].as_str().unwrap()
    );
    let names = server
        .git("notes.git", &["-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", "main"])
        .await;
    assert_eq!(names, "a.txt\na/b.txt\nbig\nsrc/日本 x");
    assert_eq!(server.git("notes.git", &["show", "main:a/b.txt"]).await, "two");
    assert_eq!(server.git("notes.git", &["cat-file", "-s", "main:big"]).await, noise.len().to_string());
    assert_eq!(
        server.git("notes.git", &["log", "-1", "--format=%an|%B", "main"]).await,
        "acme|What was written\n\nAll."
    );

    // Another commit upon it; another branch at its base, or by itself.
    put(&acme, &id, "a.txt", "ONE\n").await;
    push(&acme, &id, to("main")).await;
    assert_eq!(server.git("notes.git", &["rev-list", "--count", "main"]).await, "2");
    assert_eq!(
        server.git("notes.git", &["rev-parse", "main~1"]).await,
        first["detail"]["commit"].as_str().unwrap()
    );
    let main = server.git("notes.git", &["rev-parse", "main"]).await;
    let mut based = to("ann/more");
    based["base"] = json!("main");
    assert_eq!(push(&acme, &id, based.clone()).await["state"], "done");
    assert_eq!(server.git("notes.git", &["rev-parse", "ann/more~1"]).await, main);
    assert_eq!(push(&acme, &id, to("alone")).await["state"], "done");
    assert_eq!(server.git("notes.git", &["rev-list", "--count", "alone"]).await, "1");
    assert_eq!(server.git("notes.git", &["rev-parse", "main"]).await, main, "no other branch is touched");
    based["branch"] = json!("x");
    based["base"] = json!("nowhere");
    assert_eq!(push(&acme, &id, based).await["detail"]["reason"]["code"], "push_refused");

    // The token is nowhere.
    let tables = app.sql("select coalesce(string_agg(a::text, ' '), '') from session_artifacts a").await;
    let audits = app.sql("select coalesce(string_agg(a::text, ' '), '') from audit_events a").await;
    assert!(!tables[0].contains(TOKEN) && !audits[0].contains(TOKEN) && audits[0].contains("sessions.push"));
    assert!(!logs().contains(TOKEN));
    assert!(!server.seen.lock().unwrap().iter().any(|seen| seen.contains(TOKEN)));
    let listed = acme.get(&at(&id, "artifacts?limit=2")).await.json();
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["has_more"]), (2, &json!(true)));
    assert_eq!(listed["data"][0]["detail"]["branch"], "x", "the newest first");
}

#[tokio::test]
async fn m284_what_the_server_refuses_is_said_and_nothing_is_pushed() {
    let (_app, _upstream, acme) = start().await;
    let server = GitServer::start().await;
    let id = new_session(&acme).await;
    put(&acme, &id, "a", "x").await;
    let hook = server.dir.path().join("notes.git/hooks/update");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(
        &hook,
        "#!/bin/sh\ncase $1 in */protected) echo 'this branch is protected; ask Ann' >&2; exit 1;; esac\n",
    )
    .unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let to = |repo: &str, branch: &str, token: &str| json!({ "repo": repo, "branch": branch, "message": "m", "token": token });
    let reason = |artifact: &Value| artifact["detail"]["reason"].clone();
    let protected = reason(&push(&acme, &id, to(&server.repo(), "protected", TOKEN)).await);
    assert_eq!(protected["code"], "push_refused", "{protected}");
    assert!(protected["message"].as_str().unwrap().contains("ask Ann"), "{protected}");
    for (repo, token, code) in [
        (server.repo(), "another", "token_refused"),
        (format!("{}/nowhere.git", server.url), TOKEN, "unreachable"),
        (format!("{}/moved.git", server.url), TOKEN, "unreachable"),
        ("http://localhost:1/x.git".to_owned(), TOKEN, "unreachable"),
    ] {
        let told = reason(&push(&acme, &id, to(&repo, "main", token)).await);
        assert_eq!(told["code"], json!(code), "{repo}: {told}");
        assert!(!told.to_string().contains(token), "{told}");
    }
    assert!(
        !server.seen.lock().unwrap().iter().any(|seen| seen.contains("POST") && !seen.contains("notes.git"))
    );
    assert_eq!(server.git("notes.git", &["for-each-ref"]).await, "");
    for (member, value) in [
        ("repo", json!("file:///etc")),
        ("repo", json!("ssh://git@example.com/x")),
        ("repo", json!("https://ann:pw@example.com/x.git")),
        ("repo", json!("https://example.com/x.git?a=b")),
        ("repo", json!("-upload-pack=x")),
        ("branch", json!("--force")),
        ("branch", json!("a..b")),
        ("branch", json!("a\nb")),
        ("base", json!("~1")),
        ("message", json!(" ")),
        ("token", json!("a\nb")),
        ("username", json!("a:b")),
        ("force", json!(true)),
    ] {
        let mut body = to(&server.repo(), "main", TOKEN);
        body[member] = value.clone();
        let refused = acme.post(&at(&id, "export/git"), &body).await;
        assert_eq!(refused.status, 422, "{member} {value}: {}", refused.text());
        assert!(refused.text().contains(&format!("/{member}")) || member == "force", "{}", refused.text());
    }
}

/// A secret of the app that a push may send to these hosts.
async fn store(client: &Client, name: &str, value: &str, hosts: &[&str]) {
    let body = json!({ "set": { (name): value }, "push_hosts": { (name): hosts } });
    let stored = client.put("/v1/tenant/secrets", &body).await;
    assert_eq!(stored.status, 204, "{}", stored.text());
}

#[tokio::test]
async fn m284_a_push_names_a_secret_which_goes_to_the_hosts_its_owner_named_and_to_no_other() {
    let (app, upstream, acme) = start().await;
    let (server, other) = (GitServer::start().await, GitServer::start().await);
    let id = new_session(&acme).await;
    put(&acme, &id, "a", "x").await;
    let host = server.url.trim_start_matches("http://");
    let port = host.rsplit(':').next().unwrap();
    store(&acme, "GIT", TOKEN, &["git.example.com", host]).await;
    store(&acme, "UNMARKED", TOKEN, &[]).await;
    store(&app.tenant_of("other", &upstream).await, "THEIRS", TOKEN, &[host]).await;
    let to = |repo: &str, secret: &str, branch: &str| json!({ "repo": repo, "branch": branch, "message": "m", "token_ref": secret });

    // Whatever it is that is not there: one answer, and nobody is asked.
    let absent = acme.post(&at(&id, "export/git"), &to(&server.repo(), "ABSENT", "main")).await;
    assert_eq!((absent.status, &absent.json()["errors"][0]["pointer"]), (422, &json!("/token_ref")));
    for (repo, secret) in [
        (server.repo(), "UNMARKED"),
        (server.repo(), "THEIRS"),
        (server.repo(), "git"),
        (server.repo(), "G\u{0}"),
        (server.repo(), ""),
        (other.repo(), "GIT"),
        (format!("http://127.0.0.1:{port}/notes.git"), "GIT"),
        (format!("https://localhost:{}/notes.git", other.url.rsplit(':').next().unwrap()), "GIT"),
        ("https://localhost/notes.git".to_owned(), "GIT"),
        ("https://git.example.com:8443/notes.git".to_owned(), "GIT"),
        ("https://git.example.com.evil.example/notes.git".to_owned(), "GIT"),
        ("https://example.com/notes.git".to_owned(), "GIT"),
    ] {
        let refused = acme.post(&at(&id, "export/git"), &to(&repo, secret, "main")).await;
        assert_eq!(refused.status, 422, "{repo} {secret}: {}", refused.text());
        assert_eq!(refused.json()["errors"], absent.json()["errors"], "{repo} {secret}");
    }
    let plain = acme.post(&at(&id, "export/git"), &to("http://git.example.com/x.git", "GIT", "main")).await;
    assert_eq!((plain.status, &plain.json()["errors"][0]["pointer"]), (422, &json!("/repo")), "unencrypted");
    let mut both = to(&server.repo(), "GIT", "main");
    both["token"] = json!(TOKEN);
    let both = acme.post(&at(&id, "export/git"), &both).await;
    assert_eq!((both.status, &both.json()["errors"][0]["pointer"]), (422, &json!("/token_ref")));
    assert!(server.seen.lock().unwrap().is_empty() && other.seen.lock().unwrap().is_empty());
    let used = "select target || ' ' || detail::text from audit_events where action = 'secrets.use' order by audit_id";
    assert_eq!(app.sql(used).await, Vec::<String>::new());

    let pushed = push(&acme, &id, to(&server.repo(), "GIT", "main")).await;
    assert_eq!(pushed["state"], "done", "{pushed}");
    assert_eq!(
        server.git("notes.git", &["rev-parse", "main"]).await,
        pushed["detail"]["commit"].as_str().unwrap()
    );
    let audited = app.sql(used).await;
    assert!(audited.len() == 1 && audited[0].starts_with("secret/GIT "), "{audited:?}");
    assert!(audited[0].contains(&server.repo()) && audited[0].contains(pushed["id"].as_str().unwrap()));

    // Its value is read when it is sent: another one counts from the next push on.
    let set = async |value: &str| {
        let set = acme.put("/v1/tenant/secrets", &json!({ "set": { "GIT": value } })).await;
        assert_eq!(set.status, 204, "{}", set.text());
    };
    let code = async |branch: &str| {
        let ended = push(&acme, &id, to(&server.repo(), "GIT", branch)).await;
        ended["detail"]["reason"]["code"].as_str().unwrap_or("done").to_owned()
    };
    set("rotated-value").await;
    assert_eq!(code("main").await, "token_refused");
    set("two\nlines").await;
    assert_eq!(code("main").await, "bad_secret");
    set(TOKEN).await;
    assert_eq!(code("again").await, "done");

    // A server that says it is not shown saying it.
    let hook = server.dir.path().join("notes.git/hooks/update");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\necho 'you sent {TOKEN}' >&2; exit 1\n")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let told = push(&acme, &id, to(&server.repo(), "GIT", "more")).await;
    assert_eq!(told["detail"]["reason"]["code"], "push_refused");
    assert!(told.to_string().contains("you sent {{secret:GIT}}"), "{told}");

    // No longer, once its owner says so; and nothing of it is anywhere.
    let no_more =
        acme.put("/v1/tenant/secrets", &json!({ "push_hosts": { "GIT": ["git.example.com"] } })).await;
    assert_eq!(no_more.status, 204);
    let refused = acme.post(&at(&id, "export/git"), &to(&server.repo(), "GIT", "main")).await;
    assert_eq!((refused.status, refused.json()["errors"].clone()), (422, absent.json()["errors"].clone()));
    let written = app
        .sql(
            "select coalesce(string_agg(t, ' '), '') from (
               select a::text as t from session_artifacts a union all select a::text from audit_events a
               union all select e::text from session_events e) as all_of_it",
        )
        .await;
    assert!(written[0].contains("secrets.use") && !written[0].contains(TOKEN));
    assert!(!logs().contains(TOKEN) && !logs().contains("rotated-value"));
    assert!(!server.seen.lock().unwrap().iter().any(|seen| seen.contains(TOKEN)));
}

#[tokio::test]
async fn m284_a_secret_that_is_removed_before_its_push_runs_ends_it_and_nothing_is_sent() {
    let (app, _upstream, acme) = start().await;
    let server = GitServer::start().await;
    let id = new_session(&acme).await;
    put(&acme, &id, "a", "x").await;
    store(&acme, "GIT", TOKEN, &[server.url.trim_start_matches("http://")]).await;
    // In the transaction that begins the push, after it was looked for.
    sqlx::raw_sql(
        "create function gone() returns trigger language plpgsql as
           $$ begin delete from secrets where name = 'GIT'; return new; end $$;
         create trigger gone after insert on session_artifacts for each row when (new.kind = 'git') execute function gone()",
    )
    .execute(&mut app.owner().await)
    .await
    .unwrap();
    let body = json!({ "repo": server.repo(), "branch": "main", "message": "m", "token_ref": "GIT" });
    let ended = push(&acme, &id, body).await;
    assert_eq!(
        (&ended["state"], &ended["detail"]["reason"]["code"]),
        (&json!("failed"), &json!("secret_gone"))
    );
    assert!(ended["detail"]["reason"]["message"].as_str().unwrap().contains("not there any more"), "{ended}");
    assert!(server.seen.lock().unwrap().is_empty(), "nobody was asked");
    assert_eq!(
        app.sql("select action from audit_events where action = 'secrets.use'").await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn m284_no_push_reaches_an_address_that_is_not_public() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let server = GitServer::start().await;
    let id = new_session(&acme).await;
    put(&acme, &id, "a", "x").await;
    for repo in [
        server.repo(),
        "https://127.0.0.1/x.git".to_owned(),
        "https://[::1]/x.git".to_owned(),
        "http://example.com/x.git".to_owned(),
    ] {
        let body = json!({ "repo": repo, "branch": "main", "message": "m", "token": TOKEN });
        let refused = acme.post(&at(&id, "export/git"), &body).await;
        assert_eq!(refused.status, 422, "{repo}: {}", refused.text());
    }
    // A name is judged when it is resolved.
    let port = server.url.rsplit(':').next().unwrap();
    let named = json!({ "repo": format!("https://localhost:{port}/notes.git"), "branch": "main", "message": "m", "token": TOKEN });
    let answer = acme.post(&at(&id, "export/git"), &named).await;
    if answer.status == 202 {
        let ended = push(&acme, &id, named).await;
        assert_eq!(ended["state"], "failed", "{ended}");
    }
    assert!(server.seen.lock().unwrap().is_empty());
}
