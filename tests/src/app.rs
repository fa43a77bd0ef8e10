//! A whole OPG for one test: its own database, its own port, real guests.
//!
//! ```ignore
//! let app = TestApp::start().await;
//! let acme = app.tenant("acme").await;
//! let answer = acme.get("/v1/tenant/tools").await;
//! assert_eq!(answer.status, 200);
//! ```

use crate::{
    process::{self, OpgProcess},
    routes::fresh_ip,
    spans::Capture,
    upstream::ScriptedUpstream,
};
use bytes::Bytes;
use opg_host::{
    app::{Clock, Entropy},
    config::Config,
    postgres::{self, DatabaseNames, EmbeddedConfig, Location, MIGRATOR, PostgresConfig, Server},
    registry::{PluginKind, predefined::Shipped},
    sandbox::compiler::CompilerConfig,
    serve::{self, Running, Surroundings},
    sessions::instances::Target,
    telemetry::{self, LogConfig, LogFormat},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tempfile::TempDir;
use tracing_subscriber::layer::SubscriberExt;

/// Where a server for many tests is, if `opg-test-env` started one.
pub const DATABASE_URL: &str = "OPG_TEST_DATABASE_URL";
/// The migrated database of the control plane that those of tests begin as copies of, if `opg-test-env` made one.
pub const TEMPLATE: &str = "OPG_TEST_TEMPLATE";
/// What sessions run on in tests that say nothing of it: to run them on another driver.
const SESSION_TARGETS: &str = "OPG_TEST_SESSION_TARGETS";
/// The operator's token in tests.
pub const ADMIN_TOKEN: &str = "admin_secret";
/// The key of a tenant's upstream.
pub const UPSTREAM_KEY: &str = "sk-upstream-canary-0123456789";
/// The password of people in tests.
pub const PASSWORD: &str = "correct horse battery";
/// A master key for tests.
const MASTER_KEY: &str = "fNOnk8u5t7IZBFyEBUqqbyyuXb4+NL4wVDM1irptYMQ=";

/// An OPG that serves.
pub struct TestApp {
    /// What runs.
    pub running: Running,
    /// Its clock, to move.
    pub clock: Clock,
    /// Gone with the test.
    dir: TempDir,
    config: Config,
    names: DatabaseNames,
    own_database: bool,
    managed: bool,
    compiler: CompilerConfig,
    javascript: &'static [u8],
}

/// What surrounds a [`TestApp`] besides its configuration.
pub struct Setup {
    /// Its clock.
    pub clock: Clock,
    /// Whether it starts a database server of its own, which the test may stop.
    pub own_database: bool,
    /// Whether it signs in to the shared server as no superuser, as managed PostgreSQL has it.
    pub managed: bool,
    /// How it compiles components: with the real binary, which must have been built.
    pub compiler: CompilerConfig,
    /// The runtime of TypeScript tools.
    pub javascript: &'static [u8],
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            clock: Clock::system(),
            own_database: false,
            managed: false,
            compiler: CompilerConfig::with(process::binary()),
            javascript: opg_predefined::JAVASCRIPT_RUNTIME,
        }
    }
}

impl TestApp {
    /// One with the usual configuration: development, demo provider on, private addresses refused.
    pub async fn start() -> TestApp {
        TestApp::with(|_| {}).await
    }

    /// One with a configuration of the test's.
    pub async fn with(change: impl FnOnce(&mut Config)) -> TestApp {
        TestApp::set_up(Setup::default(), change).await
    }

    /// One whose clock stands still until the test moves it.
    pub async fn with_manual_clock() -> TestApp {
        let clock = Clock::manual(Clock::system().now());
        TestApp::set_up(Setup { clock, ..Setup::default() }, |_| {}).await
    }

    /// One with other surroundings and a configuration of the test's.
    pub async fn set_up(setup: Setup, change: impl FnOnce(&mut Config)) -> TestApp {
        capture_logs();
        let unique: String = Entropy::os().bytes::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
        let dir = tempfile::Builder::new()
            .prefix("opg-test-")
            .tempdir()
            .expect("a temporary directory can be made");
        let vars = [
            ("ADMIN_TOKENS", ADMIN_TOKEN),
            ("PORT", "0"),
            ("OPG_MASTER_KEY", MASTER_KEY),
            ("DATA_DIR", dir.path().to_str().expect("a temporary directory has a plain name")),
            ("OPG_CACHE_DIR", concat!(env!("OUT_DIR"), "/component-cache")),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut config = Config::from_vars(vars).expect("the test configuration is right");
        config.rate_limit_per_minute = 1_000_000;
        if let Ok(targets) = std::env::var(SESSION_TARGETS) {
            let named = targets.split(',').map(|name| Target::parse(name).expect("a target is named"));
            config.session_targets = named.collect();
        }
        change(&mut config);
        let names = database_names(format!("opg_{unique}"));
        if !setup.own_database && !setup.managed {
            copy_template(&names).await;
        }
        Box::pin(TestApp::open(config, names, dir, setup)).await
    }

    /// One whose clock the test moves.
    pub async fn at(clock: Clock, change: impl FnOnce(&mut Config)) -> TestApp {
        TestApp::set_up(Setup { clock, ..Setup::default() }, change).await
    }

    /// One that may reach servers on this machine, for models and for guests.
    pub async fn local() -> TestApp {
        TestApp::with(TestApp::allow_local).await
    }

    /// What [`TestApp::local`] allows.
    pub fn allow_local(config: &mut Config) {
        config.allow_private_upstreams = true;
        config.allow_private_guest_http = true;
    }

    async fn open(config: Config, names: DatabaseNames, dir: TempDir, setup: Setup) -> TestApp {
        let Setup { clock, own_database, managed, compiler, javascript } = setup;
        let location = match location(dir.path()) {
            _ if own_database => embedded(dir.path()),
            Location::External { url, .. } if managed => {
                Location::External { url: managed_login(&url, &names).await, apps_url: None }
            }
            shared => shared,
        };
        let postgres = PostgresConfig { location, databases: names.clone() };
        let surroundings = Surroundings {
            clock: clock.clone(),
            entropy: Entropy::os(),
            postgres: Some(postgres),
            compiler: Some(compiler.clone()),
        };
        let running =
            serve::start(config.clone(), &shipped(), javascript, surroundings).await.expect("opg starts");
        TestApp { running, clock, dir, config, names, own_database, managed, compiler, javascript }
    }

    /// Stops it and starts another on the same data.
    pub async fn restart(self) -> TestApp {
        self.running.stop().await;
        let setup = Setup {
            clock: self.clock,
            own_database: self.own_database,
            managed: self.managed,
            compiler: self.compiler,
            javascript: self.javascript,
        };
        Box::pin(TestApp::open(self.config, self.names, self.dir, setup)).await
    }

    /// Stops it and starts another on the same data with another configuration.
    pub async fn restart_with(mut self, change: impl FnOnce(&mut Config)) -> TestApp {
        change(&mut self.config);
        self.restart().await
    }

    /// The same, of a release with another runtime of TypeScript tools.
    pub async fn restart_with_javascript(mut self, javascript: &'static [u8]) -> TestApp {
        self.javascript = javascript;
        self.restart().await
    }

    /// Another host on the same data, beside this one.
    pub async fn another_host(&self) -> TestApp {
        let setup = Setup {
            clock: self.clock.clone(),
            own_database: self.own_database,
            managed: self.managed,
            compiler: self.compiler.clone(),
            javascript: self.javascript,
        };
        let unused = tempfile::tempdir().expect("a temporary directory can be made");
        Box::pin(TestApp::open(self.config.clone(), self.names.clone(), unused, setup)).await
    }

    /// The same, which starts this program where it would start itself once more.
    pub async fn restart_with_program(mut self, program: PathBuf) -> TestApp {
        self.compiler = CompilerConfig::with(program);
        self.restart().await
    }

    /// A process of its own on the same databases, which may be killed; none where this one's are no other's.
    pub async fn another_process(&self, data_dir: &Path, variables: &[(&str, &str)]) -> Option<OpgProcess> {
        let database = |name: &str| {
            let mut url = url::Url::parse(&std::env::var(DATABASE_URL).ok()?).ok()?;
            url.set_path(name);
            Some(url.to_string())
        };
        let (control, apps) = (database(&self.names.control)?, database(&self.names.apps)?);
        // What the hosts of one installation have in common.
        let pepper = std::fs::read_to_string(self.data_dir().join("token.pepper")).expect("it was made");
        let shared = [
            ("DATABASE_URL", control.as_str()),
            ("DATABASE_APPS_URL", apps.as_str()),
            ("OPG_MASTER_KEY", MASTER_KEY),
            ("OPG_TOKEN_PEPPER", pepper.trim()),
        ];
        Some(OpgProcess::start_with(data_dir, &[&shared[..], variables].concat()).await)
    }

    /// Where it listens: `http://127.0.0.1:<port>`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.running.addr)
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Somebody without a credential.
    pub fn anonymous(&self) -> Client {
        self.client(None)
    }

    /// The operator.
    pub fn operator(&self) -> Client {
        self.client(Some(ADMIN_TOKEN))
    }

    /// Somebody with this token.
    pub fn client(&self, token: Option<&str>) -> Client {
        Client::new(&self.base_url(), token)
    }

    /// A new tenant; its first token speaks.
    pub async fn tenant(&self, slug: &str) -> Client {
        self.tenant_with(json!({ "id": slug, "name": slug })).await
    }

    /// A new tenant whose provider `openai` is this upstream, with [`UPSTREAM_KEY`], and whose default
    /// model is `openai/scripted`.
    pub async fn tenant_of(&self, slug: &str, upstream: &ScriptedUpstream) -> Client {
        self.tenant_with(json!({
            "id": slug,
            "name": slug,
            "providers": { "openai": { "apiKey": UPSTREAM_KEY, "baseUrl": upstream.base_url() } },
            "defaultModel": { "providerId": "openai", "modelId": "scripted" },
        }))
        .await
    }

    /// A new tenant with this configuration.
    pub async fn tenant_with(&self, body: Value) -> Client {
        let answer = self.operator().post("/v1/admin/tenants", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        self.client(answer.json()["token"].as_str())
    }

    /// One where anybody may sign up, each from an address of their own.
    pub async fn open_to_people() -> TestApp {
        TestApp::with(TestApp::let_people_in).await
    }

    /// What [`TestApp::open_to_people`] allows.
    pub fn let_people_in(config: &mut Config) {
        config.allow_self_registration = true;
        config.trusted_proxies = vec![std::net::Ipv4Addr::LOCALHOST.into()];
    }

    /// Somebody who signed up and in with this address and [`PASSWORD`]; their session's token speaks.
    pub async fn person(&self, email: &str) -> Client {
        self.sign_up(email).await;
        self.client(Some(&self.sign_in(email, PASSWORD).await.session()))
    }

    /// Signs up, and waits until the account is there: the answer does not say.
    pub async fn sign_up(&self, email: &str) {
        let body = json!({ "email": email, "password": PASSWORD });
        let request = self.anonymous().request("POST", "/v1/auth/signup");
        let answer = send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
        let mut owner = self.owner().await;
        for _ in 0..600 {
            let made: bool =
                sqlx::query_scalar("select exists (select from users where lower(email) = lower($1))")
                    .bind(email)
                    .fetch_one(&mut owner)
                    .await
                    .expect("the statement runs");
            if made {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{email} has no account");
    }

    /// Signs in, from an address nobody used before.
    pub async fn sign_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password });
        let request = self.anonymous().request("POST", "/v1/auth/login");
        send(request.header("x-forwarded-for", fresh_ip()).json(&body)).await
    }

    /// A connection as the database's owner.
    pub async fn owner(&self) -> sqlx::PgConnection {
        use sqlx::Connection;
        sqlx::PgConnection::connect_with(&self.running.app.server.admin())
            .await
            .expect("the database answers")
    }

    /// Runs a statement as the database's owner: to look at what no route shows.
    pub async fn sql(&self, query: &'static str) -> Vec<String> {
        use sqlx::Row;
        let mut connection = self.owner().await;
        let rows = sqlx::query(query).fetch_all(&mut connection).await.expect("the statement runs");
        rows.iter().map(|row| row.try_get::<String, _>(0).expect("the first column is text")).collect()
    }
}

/// What `opg-test-env` started, or a server of this test's own.
fn location(dir: &Path) -> Location {
    match std::env::var(DATABASE_URL) {
        Ok(url) => Location::External { url: SecretString::from(url), apps_url: None },
        Err(_) => embedded(dir),
    }
}

fn database_names(control: String) -> DatabaseNames {
    DatabaseNames { apps: format!("{control}_apps"), control }
}

/// Makes a migrated database of the control plane on the shared server, for those of tests to begin as copies of. Without
/// it each test migrates its own, as a first start does, which is most of what a short one takes. The apps' database is
/// each test's own: what its migration takes from everybody is not a part of a copy.
///
/// # Panics
/// Where it cannot be made.
pub async fn make_template(url: &SecretString, control: &str) {
    let location = Location::External { url: url.clone(), apps_url: None };
    let databases = database_names(control.to_owned());
    let server = Server::open(&PostgresConfig { location, databases }).await.expect("the server answers");
    postgres::run(&MIGRATOR, &server.admin()).await.expect("the control plane's database is migrated");
}

/// Makes the control plane's database of a test as a copy of the migrated one, where there is one.
async fn copy_template(names: &DatabaseNames) {
    let (Ok(url), Ok(template)) = (std::env::var(DATABASE_URL), std::env::var(TEMPLATE)) else { return };
    let made = format!("create database {} template {template}", names.control);
    let mut admin = maintenance(&url).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&mut admin).await.expect("a database can be copied");
}

/// A connection to the shared server, to none of the databases of tests.
async fn maintenance(url: &str) -> sqlx::PgConnection {
    use sqlx::Connection;
    let mut url = url::Url::parse(url).expect("the shared server has a URL");
    url.set_path("postgres");
    sqlx::PgConnection::connect(url.as_str()).await.expect("the shared server answers")
}

/// A login that may make databases and roles and nothing else, as a managed server gives out.
async fn managed_login(superuser: &SecretString, names: &DatabaseNames) -> SecretString {
    use secrecy::ExposeSecret;
    let mut url = url::Url::parse(superuser.expose_secret()).expect("the shared server has a URL");
    let mut admin = maintenance(url.as_str()).await;
    let role = format!("managed_{}", names.control);
    let made = format!(
        "create role {role} login createdb createrole password 'managed';
         do $$ begin if exists (select from pg_roles where rolname = 'opg_service') then
           grant opg_app, opg_service to {role} with admin option; end if; end $$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&mut admin).await.expect("a role can be made");
    url.set_username(&role).and_then(|()| url.set_password(Some("managed"))).expect("a URL takes a login");
    SecretString::from(url.to_string())
}

fn embedded(dir: &Path) -> Location {
    Location::Embedded(EmbeddedConfig { durable: false, ..EmbeddedConfig::new(dir) })
}

/// What we ship, as the binary has it.
pub fn shipped() -> Vec<Shipped> {
    let shipped = opg_predefined::PREDEFINED.iter().map(|component| Shipped {
        kind: match component.kind {
            opg_predefined::Kind::Tool => PluginKind::Tool,
            opg_predefined::Kind::Agent => PluginKind::Agent,
        },
        name: component.name,
        wasm: component.wasm,
        source: component.source,
    });
    shipped.collect()
}

fn http_client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    #[expect(clippy::disallowed_methods, reason = "a test is a client, not the host")]
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // A connection that is kept is held at both ends, and a test may count what is held.
        .pool_idle_timeout(Duration::from_secs(2));
    builder.build().expect("a client can be made")
}

/// Somebody who calls.
#[derive(Clone)]
pub struct Client {
    base_url: String,
    token: Option<String>,
    app: Option<String>,
    http: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Client {
    /// Somebody who calls the OPG at this address, with this token.
    pub fn new(base_url: &str, token: Option<&str>) -> Client {
        let token = token.map(str::to_owned);
        Client { base_url: base_url.to_owned(), token, app: None, http: http_client() }
    }

    /// The same somebody, who says with every request which app is meant.
    pub fn in_app(&self, slug: &str) -> Client {
        Client { app: Some(slug.to_owned()), ..self.clone() }
    }

    /// The same somebody at another address.
    pub fn elsewhere(&self, base_url: &str) -> Client {
        Client { base_url: base_url.to_owned(), ..self.clone() }
    }

    /// Somebody with another token, at the same address.
    pub fn with_token(&self, token: &str) -> Client {
        Client { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The host and port it calls.
    pub fn address(&self) -> &str {
        self.base_url.trim_start_matches("http://")
    }

    /// Its token.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("this client has a token")
    }

    /// A request to be finished by the test.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.http.request(method, format!("{}{path}", self.base_url));
        let request = match &self.app {
            Some(slug) => request.header("x-opg-app", slug),
            None => request,
        };
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Answer {
        send(self.request("GET", path)).await
    }

    /// `PATCH` of JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        send(self.request("PATCH", path).json(body)).await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request("DELETE", path)).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request("POST", path).json(body)).await
    }

    /// `PUT` of JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request("PUT", path).json(body)).await
    }

    /// `PUT` of bytes.
    pub async fn put_bytes(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        send(self.request("PUT", path).header("content-type", content_type).body(body)).await
    }

    /// Uploads a tool and grants it all it asks for.
    pub async fn install_tool(&self, name: &str, wasm: &'static [u8]) {
        self.install("tools", name, wasm).await;
    }

    /// Uploads an agent and grants it all it asks for.
    pub async fn install_agent(&self, name: &str, wasm: &'static [u8]) {
        self.install("agents", name, wasm).await;
    }

    async fn install(&self, kind: &str, name: &str, wasm: &'static [u8]) {
        let path = format!("/v1/tenant/{kind}/{name}");
        let uploaded = self.put_bytes(&path, "application/wasm", wasm).await;
        assert_eq!(uploaded.status, 201, "{}", uploaded.text());
        if uploaded.json()["status"] == "pending_review" {
            let reviewed = self.post(&format!("{path}/review"), &json!({ "grant": "all" })).await;
            assert_eq!(reviewed.status, 200, "{}", reviewed.text());
        }
    }

    /// Runs a tool once.
    pub async fn invoke(&self, tool: &str, input: Value) -> Answer {
        self.post(&format!("/v1/tenant/tools/{tool}/invoke"), &json!({ "input": input })).await
    }

    /// Grants a plugin exactly this: `[("http", "localhost:8080")]`.
    pub async fn grant(&self, kind: &str, name: &str, capabilities: &[(&str, &str)]) {
        let grant: Vec<_> =
            capabilities.iter().map(|(kind, target)| json!({ "kind": kind, "target": target })).collect();
        let path = format!("/v1/tenant/{kind}/{name}/review");
        let reviewed = self.post(&path, &json!({ "grant": grant })).await;
        assert_eq!(reviewed.status, 200, "{}", reviewed.text());
    }

    /// Somebody with no more than these scopes of the same tenant.
    pub async fn with_scopes(&self, scopes: &[&str]) -> Client {
        let made = self.post("/v1/tenant/tokens", &json!({ "kind": "dev_grant", "scopes": scopes })).await;
        assert_eq!(made.status, 201, "{}", made.text());
        Client { token: made.json()["token"].as_str().map(str::to_owned), ..self.clone() }
    }

    /// Rows of the ledger, oldest first.
    pub async fn uses(&self) -> Vec<Value> {
        let listed = self.get("/v1/usage/ai-logs?limit=200").await.json();
        let mut rows = listed["data"].as_array().expect("a list").clone();
        rows.reverse();
        rows
    }

    /// Asks a model; the answer whole.
    pub async fn chat(&self, model: &str, text: &str) -> Answer {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": text }] });
        self.post("/v1/chat/completions", &body).await
    }
}

/// Sends a request and reads the whole answer.
pub async fn send(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer comes");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    if status == 200 && is_endless(answer.url().path()) {
        let mut answer = answer;
        // What a stream says first; whoever asks for its head alone gets nothing.
        let body = answer.chunk().await.expect("a stream begins").unwrap_or_default();
        return Answer { status, headers, body };
    }
    Answer { status, headers, body: answer.bytes().await.expect("the answer is whole") }
}

/// Whether a stream is never whole: then its beginning must do.
fn is_endless(path: &str) -> bool {
    ["/v1/events", "/opencode/event", "/opencode/global/event"].iter().any(|end| path.ends_with(end))
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The session's token of a sign-in.
    pub fn session(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        let cookie = self.header("set-cookie").split(';').next().unwrap_or_default();
        cookie.split_once('=').expect("a cookie has a name").1.to_owned()
    }

    /// The text of a chat answer.
    pub fn content(&self) -> String {
        let json = self.json();
        json["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
    }

    /// The `data:` frames of a stream, in order; `[DONE]` as a string.
    pub fn frames(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
    }
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static LOGS: OnceLock<Captured> = OnceLock::new();

fn capture_logs() {
    LOGS.get_or_init(|| {
        let captured = Captured::default();
        let out = captured.clone();
        let config = LogConfig { format: LogFormat::Json, filter: "debug,sqlx=info".to_owned() };
        let subscriber = telemetry::subscriber(&config, move || out.clone()).expect("the filter is right");
        let subscriber = subscriber.with(Capture);
        tracing::subscriber::set_global_default(subscriber).expect("a test process has one subscriber");
        captured
    });
}

/// Everything this process logged.
pub fn logs() -> String {
    let captured = LOGS.get().map(|logs| logs.0.lock().expect("no writer panics").clone());
    String::from_utf8_lossy(&captured.unwrap_or_default()).into_owned()
}

/// Forgets what was logged so far: for a test that measures memory.
pub fn forget_logs() {
    if let Some(logs) = LOGS.get() {
        *logs.0.lock().expect("no writer panics") = Vec::new();
    }
}
