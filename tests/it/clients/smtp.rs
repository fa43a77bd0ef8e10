//! Codes by mail (row M071): through aiosmtpd, a mail server that nobody here wrote.

mod invitations;

use super::{pypi, sources};
use opg_host::{
    app::Clock,
    config::Config,
    limits::{MAIL_CODE_LIFE, MAIL_CODE_TRIES_MAX, MAIL_CODES_PER_MAILBOX_PER_HOUR},
    mail::{Encryption, MailConfig},
};
use opg_tests::{
    app::{Answer, Client, PASSWORD, TestApp, logs, send},
    browser::Browser,
    process::OpgProcess,
    routes::fresh_ip,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

const EMAIL: &str = "ann@example.com";
const FROM: &str = "opg@mail.example";
/// What nobody waits for: a letter that has to come.
const LETTER_TIME: Duration = Duration::from_secs(20);

/// The server, and what it took.
struct Server {
    child: Child,
    port: u16,
    authority: Option<String>,
    letters: mpsc::UnboundedReceiver<Value>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its input, and takes its certificate with it.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

impl Server {
    /// None where there is no Python.
    fn start(words: &[&str]) -> Option<Server> {
        let python = pypi("smtp")?;
        let mut command = Command::new(python);
        command.env_clear().arg(sources("smtp").join("server.py")).args(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let (sender, letters) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                drop(sender.send(serde_json::from_str(&line).unwrap()));
            }
        });
        let port = u16::try_from(said["port"].as_u64().unwrap()).unwrap();
        Some(Server { child, port, authority: said["authority"].as_str().map(str::to_owned), letters })
    }

    fn config(&self) -> MailConfig {
        MailConfig {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            encryption: Encryption::None,
            login: None,
            from: format!("OPG <{FROM}>"),
        }
    }

    async fn letter(&mut self) -> Value {
        let letter = tokio::time::timeout(LETTER_TIME, self.letters.recv()).await;
        letter.expect("a letter comes").expect("the server runs")
    }

    /// The code of the next letter, which is for this address.
    async fn code_for(&mut self, email: &str) -> String {
        let letter = self.letter().await;
        assert_eq!((&letter["from"], &letter["to"]), (&json!(FROM), &json!([email])), "{letter}");
        code_in(&letter)
    }

    /// Nothing more was sent: what comes next is the letter that is asked for now.
    async fn only_to(&mut self, app: &TestApp, email: &str) {
        assert_eq!(ask(app, email).await.status, 202);
        self.code_for(email).await;
    }
}

fn code_in(letter: &Value) -> String {
    let text = letter["text"].as_str().unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let code = body.lines().next().unwrap().to_owned();
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{text}");
    code
}

async fn start(server: &Server, change: impl FnOnce(&mut Config)) -> TestApp {
    let mail = server.config();
    let clock = Clock::manual(Clock::system().now());
    TestApp::at(clock, |config| {
        TestApp::let_people_in(config);
        config.mail = Some(mail);
        change(config);
    })
    .await
}

/// Where nobody signs up any more, but who did is there.
async fn closed(server: &Server) -> TestApp {
    let app = start(server, |_| {}).await;
    app.sign_up(EMAIL).await;
    app.restart_with(|config| config.allow_self_registration = false).await
}

async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    let request = client.request("POST", path).header("x-request-id", "same");
    send(request.header("x-forwarded-for", fresh_ip()).json(body)).await
}

async fn ask(app: &TestApp, email: &str) -> Answer {
    post(&app.anonymous(), "/v1/auth/magic", &json!({ "email": email })).await
}

async fn verify(app: &TestApp, email: &str, code: &str) -> Answer {
    post(&app.anonymous(), "/v1/auth/magic/verify", &json!({ "email": email, "code": code })).await
}

/// All of an answer but its date.
fn whole(answer: &Answer) -> (u16, Vec<String>, String) {
    let shown = answer.headers.iter().filter(|(name, _)| *name != "date");
    let mut headers: Vec<_> = shown.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    (answer.status, headers, answer.text())
}

/// Another code of six digits.
fn wrong(code: &str) -> String {
    let last = if code.ends_with('0') { "1" } else { "0" };
    format!("{}{last}", &code[..5])
}

fn minutes(app: &TestApp, count: i64) {
    app.clock.advance(chrono::Duration::minutes(count));
}

#[tokio::test(flavor = "multi_thread")]
async fn m071_a_code_that_was_mailed_signs_its_person_in_once() {
    let Some(mut server) = Server::start(&[]) else { return };
    let app = closed(&server).await;
    let asked = ask(&app, " ANN@Example.com ").await;
    assert_eq!((asked.status, &asked.json()["expires_in"]), (202, &json!(600)), "{}", asked.text());
    let letter = server.letter().await;
    // It goes to the address as its person wrote it.
    assert_eq!(letter["to"], json!([EMAIL]));
    let (text, code) = (letter["text"].as_str().unwrap(), code_in(&letter));
    for header in ["From: OPG <opg@mail.example>", "To: ann@example.com", "Subject: Your code to sign in"] {
        assert!(text.contains(header), "{header}: {text}");
    }
    let (headers, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        !headers.contains(&code) && body.contains("within 10 minutes") && !body.contains("http"),
        "{text}"
    );

    let signed_in = verify(&app, EMAIL, &format!("{} {}", &code[..3], &code[3..])).await;
    assert_eq!(signed_in.json()["user"]["email"], EMAIL, "{}", signed_in.text());
    assert!(signed_in.header("set-cookie").starts_with("opg_session=opg_ses_"), "{:?}", signed_in.headers);
    let ann = app.client(Some(&signed_in.session()));
    assert_eq!(ann.get("/ann/v1/tenant").await.json()["id"], "ann");
    assert!(ann.get("/v1/me").await.json()["email_proved_at"].is_string());
    let again = verify(&app, EMAIL, &code).await;
    assert_eq!((again.status, &again.json()["code"]), (401, &json!("code_refused")), "it is good once");

    // Many at once with one code: it is good once.
    ask(&app, EMAIL).await;
    let code = server.code_for(EMAIL).await;
    let at_once = futures_util::future::join_all((0..5).map(|_| verify(&app, EMAIL, &code))).await;
    assert_eq!(at_once.iter().filter(|answer| answer.status == 200).count(), 1);

    // It stands nowhere, and neither does the address where it could be kept out.
    ask(&app, EMAIL).await;
    let code = server.code_for(EMAIL).await;
    let rows = app.sql("select row_to_json(c)::text from sign_in_codes c").await.concat();
    let audit = app.sql("select row_to_json(a)::text from audit_events a").await.concat();
    let quoted = |text: &str| text.contains(&format!("\"{code}\"")) || text.contains(&format!(" {code} "));
    assert!(!quoted(&rows) && !quoted(&audit) && !quoted(&logs()));
    assert!(!rows.contains(EMAIL) && !audit.contains(EMAIL) && !logs().contains(EMAIL));
    assert!(logs().contains("a code was mailed"));
    let actions = app.sql("select action from audit_events where action = 'auth.code'").await;
    assert_eq!(actions.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn m071_an_address_without_an_account_gets_the_same_answers_and_no_letter() {
    let Some(mut server) = Server::start(&["slow"]) else { return };
    let app = closed(&server).await;
    app.sql("insert into users select gen_random_uuid(), 'gone@example.com', '', now(), now() returning 'x'")
        .await;
    let mut answers = vec![];
    for email in [EMAIL, "nobody@example.com", "gone@example.com"] {
        let began = Instant::now();
        answers.push(whole(&ask(&app, email).await));
        assert!(began.elapsed() < Duration::from_secs(3), "nobody waits for a letter that takes five");
    }
    assert_eq!(answers[0].0, 202);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let code = server.code_for(EMAIL).await;
    for _ in 0..600 {
        if app.sql("select 'x' from sign_in_codes").await.len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answers = vec![];
    for (email, code) in [
        (EMAIL, wrong(&code)),
        ("nobody@example.com", code.clone()),
        ("gone@example.com", code.clone()),
        ("never@example.com", code.clone()),
        (EMAIL, String::new()),
        ("no address at all", code.clone()),
    ] {
        answers.push(whole(&verify(&app, email, &code).await));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let tries = app.sql("select tries::text from sign_in_codes order by tries").await;
    assert_eq!(tries, ["1", "1", "2"], "the same is kept of each");
    assert_eq!(verify(&app, EMAIL, &code).await.status, 200);
    server.only_to(&app, EMAIL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m071_a_code_takes_five_tries_and_ten_minutes_and_the_next_one_takes_its_place() {
    let Some(mut server) = Server::start(&[]) else { return };
    let app = closed(&server).await;
    ask(&app, EMAIL).await;
    let code = server.code_for(EMAIL).await;
    for _ in 0..MAIL_CODE_TRIES_MAX {
        assert_eq!(verify(&app, EMAIL, &wrong(&code)).await.status, 401);
    }
    assert_eq!(verify(&app, EMAIL, &code).await.status, 401, "five tries are over");

    ask(&app, EMAIL).await;
    let first = server.code_for(EMAIL).await;
    ask(&app, EMAIL).await;
    let second = server.code_for(EMAIL).await;
    if first != second {
        assert_eq!(verify(&app, EMAIL, &first).await.status, 401, "another took its place");
    }
    minutes(&app, 9);
    assert_eq!(verify(&app, EMAIL, &second).await.status, 200);

    ask(&app, EMAIL).await;
    let late = server.code_for(EMAIL).await;
    app.clock.advance(chrono::Duration::from_std(MAIL_CODE_LIFE).unwrap());
    assert_eq!(verify(&app, EMAIL, &late).await.status, 401, "ten minutes are over");
    opg_host::people::sweep::all(&app.running.app).await.unwrap();
    assert_eq!(app.sql("select 'x' from sign_in_codes").await.len(), 1, "its last second is not over");
    minutes(&app, 1);
    opg_host::people::sweep::all(&app.running.app).await.unwrap();
    assert_eq!(app.sql("select 'x' from sign_in_codes").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn m071_codes_are_asked_for_a_few_times_an_hour_and_tried_a_few_times_a_minute() {
    let Some(server) = Server::start(&[]) else { return };
    let app = closed(&server).await;
    for email in [EMAIL, "nobody@example.com"] {
        for _ in 0..MAIL_CODES_PER_MAILBOX_PER_HOUR {
            assert_eq!(ask(&app, email).await.status, 202, "{email}");
        }
        let more = ask(&app, &email.to_uppercase()).await;
        assert_eq!((more.status, &more.json()["code"]), (429, &json!("too_many_codes")), "{email}");
        assert!(more.header("retry-after").parse::<u64>().unwrap() > 60);
    }
    assert_eq!(ask(&app, "other@example.com").await.status, 202, "another mailbox is not full");
    let from_one = async |n: usize| {
        let request =
            app.anonymous().request("POST", "/v1/auth/magic").header("x-forwarded-for", "192.0.2.9");
        send(request.json(&json!({ "email": format!("n{n}@example.com") }))).await.status
    };
    let mut statuses = vec![];
    for n in 0..=30 {
        statuses.push(from_one(n).await);
    }
    assert!(statuses[..30].iter().all(|status| *status == 202) && statuses[30] == 429, "{statuses:?}");
    let try_one = async || {
        let request = app.anonymous().request("POST", "/v1/auth/magic/verify");
        let body = json!({ "email": EMAIL, "code": "000000" });
        send(request.header("x-forwarded-for", "192.0.2.10").json(&body)).await
    };
    let mut last = try_one().await;
    for _ in 0..15 {
        last = try_one().await;
    }
    assert_eq!((last.status, &last.json()["code"]), (429, &json!("too_many_logins")), "as passwords are");
}

#[tokio::test(flavor = "multi_thread")]
async fn m071_the_first_code_proves_the_address_and_ends_what_was_set_before() {
    let Some(mut server) = Server::start(&[]) else { return };
    let app = start(&server, |_| {}).await;
    // Somebody signs up with an address that is not theirs, and waits.
    let somebody = app.person(EMAIL).await;
    let wanted = json!({ "name": "wait", "scopes": ["tools:read"], "expires_in": 3600 });
    let token =
        somebody.post("/platform/v1/tokens", &wanted).await.json()["token"].as_str().unwrap().to_owned();
    ask(&app, EMAIL).await;
    let letter = server.letter().await;
    assert!(letter["text"].as_str().unwrap().contains("what was set up before ends"), "{letter}");
    let signed_in = verify(&app, EMAIL, &code_in(&letter)).await;
    let ann = app.client(Some(&signed_in.session()));
    assert_eq!(somebody.get("/v1/me").await.status, 401);
    assert_eq!(app.client(Some(&token)).get("/platform/v1/whoami").await.status, 401);
    assert_eq!(app.sign_in(EMAIL, PASSWORD).await.status, 401, "that password is none any more");
    assert_eq!(app.sql("select action from audit_events where action = 'auth.email_proved'").await.len(), 1);

    // Its owner sets one, and what is signed in from now on stays with the next code.
    let set = ann.post("/v1/me/password", &json!({ "new_password": "a password of mine" })).await;
    assert_eq!(set.status, 204, "{}", set.text());
    let without = ann.post("/v1/me/password", &json!({ "new_password": "another password" })).await;
    assert_eq!((without.status, &without.json()["code"]), (403, &json!("wrong_password")));
    ask(&app, EMAIL).await;
    let letter = server.letter().await;
    assert!(!letter["text"].as_str().unwrap().contains("what was set up before"), "{letter}");
    assert_eq!(verify(&app, EMAIL, &code_in(&letter)).await.status, 200);
    assert_eq!(ann.get("/v1/me").await.status, 200);
    assert_eq!(app.sign_in(EMAIL, "a password of mine").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn m069_m071_where_anybody_may_sign_up_a_code_makes_the_account() {
    let Some(mut server) = Server::start(&[]) else { return };
    let app = start(&server, |_| {}).await;
    ask(&app, "New@Example.com").await;
    let letter = server.letter().await;
    assert!(letter["text"].as_str().unwrap().contains("you make one"), "{letter}");
    assert_eq!(app.sql("select email from users").await, [""; 0], "nothing is made before");
    let code = code_in(&letter);
    assert_eq!(verify(&app, "new@example.com", &wrong(&code)).await.status, 401);
    assert_eq!(app.sql("select email from users").await, [""; 0]);
    // Signing up without a password is the same.
    let no_password = json!({ "email": "other@example.com" });
    let asked = post(&app.anonymous(), "/v1/auth/signup", &no_password).await;
    assert_eq!((asked.status, asked.text().contains("magic/verify")), (202, true), "{}", asked.text());
    let other = server.code_for("other@example.com").await;
    assert_eq!(verify(&app, "other@example.com", &other).await.status, 200);
    app.sql("delete from users where email = 'other@example.com' returning 'x'").await;

    let signed_in = verify(&app, "new@example.com", &code).await;
    let new = app.client(Some(&signed_in.session()));
    let me = new.get("/v1/me").await.json();
    assert_eq!(me["apps"], json!([{ "id": "new", "name": "new", "role": "owner" }]), "{me}");
    assert!(me["email_proved_at"].is_string(), "{me}");
    assert_eq!(app.sign_in("new@example.com", "").await.status, 401, "no password is none that fits");

    // One that was mailed while that was so makes none any more.
    ask(&app, "late@example.com").await;
    let code = server.code_for("late@example.com").await;
    let app = app.restart_with(|config| config.allow_self_registration = false).await;
    assert_eq!(verify(&app, "late@example.com", &code).await.status, 401);
    assert_eq!(app.sql("select email from users").await, ["new@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn m065_m071_the_page_mails_a_code_and_goes_on_with_what_somebody_came_for() {
    let Some(mut server) = Server::start(&[]) else { return };
    let app = closed(&server).await;
    let mut browser = Browser::at(&app);
    let page = browser.open("/device?user_code=BCDF-GHJK").await;
    assert_eq!(page.heading(), "Sign in");
    let none = browser.submit(&page, "/login/mail", &[("email", "no address")]).await;
    assert_eq!((none.answer.status, none.heading().as_str()), (422, "Sign in"), "{}", none.text());
    let page = browser.submit(&page, "/login/mail", &[("email", EMAIL)]).await;
    assert_eq!((page.answer.status, page.heading().as_str()), (200, "Type the code"), "{}", page.text());
    let code = server.code_for(EMAIL).await;
    let refused = browser.submit(&page, "/login/code", &[("code", &wrong(&code))]).await;
    assert_eq!((refused.answer.status, refused.heading().as_str()), (401, "Type the code"));
    assert_eq!(refused.wrong(), "The code is wrong, or its time is over; ask for another.");
    let forged = [("email", EMAIL), ("code", code.as_str()), ("csrf_token", "x")];
    assert_eq!(browser.post("/login/code", &forged).await.answer.status, 403);
    assert_eq!(browser.post("/login/mail", &forged).await.answer.status, 403);
    let page = browser.submit(&refused, "/login/code", &[("code", &code)]).await;
    assert_eq!(
        (page.heading().as_str(), page.query("user_code").as_deref()),
        ("Let a program in", Some("BCDF-GHJK"))
    );

    // An unknown address is shown the same.
    let mut other = Browser::at(&app);
    let login = other.open("/login").await;
    let page = other.submit(&login, "/login/mail", &[("email", "nobody@example.com")]).await;
    assert_eq!((page.answer.status, page.heading().as_str()), (200, "Type the code"));
    server.only_to(&app, EMAIL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m071_a_server_that_fails_or_is_not_safe_is_told_in_the_log_without_the_address() {
    for (words, encryption, login, expected) in [
        (&["refuse"][..], Encryption::None, None, "the mail server answered 550"),
        (&["login"], Encryption::None, Some("wrong"), "the mail server answered 535"),
        // What was meant to be encrypted is not sent in the clear, nor to whoever says it is the server.
        (&[], Encryption::StartTls, None, "the mail server cannot be used"),
        (&["tls"], Encryption::Tls, None, "the mail server cannot be used"),
        (&["starttls"], Encryption::StartTls, None, "the mail server cannot be used"),
    ] {
        let Some(mut server) = Server::start(words) else { return };
        let mut mail = server.config();
        mail.encryption = encryption;
        mail.host = "localhost".to_owned();
        mail.login = login.map(|password| ("opg".to_owned(), format!("{password}-canary").into()));
        let app = start(&server, |config| config.mail = Some(mail)).await;
        app.sign_up(EMAIL).await;
        opg_tests::app::forget_logs();
        assert_eq!(ask(&app, EMAIL).await.status, 202, "{words:?}");
        let mut said = logs();
        for _ in 0..400 {
            said = logs();
            if said.contains("a code could not be mailed") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(said.contains(expected), "{words:?}: {said}");
        assert!(!said.contains(EMAIL) && !said.contains("canary"), "{words:?}: {said}");
        assert!(server.letters.try_recv().is_err(), "{words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m071_the_real_program_signs_in_at_the_mail_server_once_the_line_is_encrypted() {
    for words in [["starttls", "login"], ["tls", "login"]] {
        let Some(mut server) = Server::start(&words) else { return };
        let scheme = if words[0] == "tls" { "smtps" } else { "smtp" };
        let url = format!("{scheme}://opg:p%2Fq%25@localhost:{}", server.port);
        let dir = tempfile::tempdir().unwrap();
        let variables = [
            ("SMTP_URL", url.as_str()),
            ("SMTP_FROM", FROM),
            ("ALLOW_SELF_REGISTRATION", "true"),
            ("SSL_CERT_FILE", server.authority.as_deref().unwrap()),
        ];
        let opg = OpgProcess::start_with(dir.path(), &variables).await;
        let asked = opg.client(None).post("/v1/auth/magic", &json!({ "email": EMAIL })).await;
        assert_eq!(asked.status, 202, "{}", asked.text());
        let code = server.code_for(EMAIL).await;
        let body = json!({ "email": EMAIL, "code": code });
        let signed_in = opg.client(None).post("/v1/auth/magic/verify", &body).await;
        assert_eq!(signed_in.status, 200, "{}", signed_in.text());
        assert_eq!(opg.stop().await, Some(0));
    }
}
