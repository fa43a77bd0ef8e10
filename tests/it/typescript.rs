//! Tools written in TypeScript: files as they are written for opencode, uploaded, reviewed, run.
//!
//! The files are in `tests/fixtures/opencode-tools`; what they call `api.example.com` is the test's own site.

use opg_tests::{
    app::{Answer, Client, TestApp},
    site::Site,
};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

const TYPESCRIPT: &str = "text/typescript";
/// How long what happens in the background may take on a busy machine, with a compiler that is not optimised.
const PATIENCE: Duration = Duration::from_secs(90);

fn path(name: &str) -> String {
    format!("/v1/tenant/tools/{name}")
}

fn fixture(file: &str) -> String {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/opencode-tools");
    std::fs::read_to_string(dir.join(file)).unwrap()
}

/// The file, its service being the site.
fn at_site(file: &str, site: &Site) -> String {
    let source = fixture(file).replace("https://api.example.com", &format!("http://{}", site.host()));
    source.replace("api.example.com", &site.host())
}

async fn upload(client: &Client, name: &str, source: impl Into<reqwest::Body>) -> Answer {
    client.put_bytes(&path(name), TYPESCRIPT, source).await
}

/// Uploads a file, and grants it what it asks for.
async fn install(client: &Client, name: &str, source: String) {
    let uploaded = upload(client, name, source).await;
    assert_eq!(uploaded.status, 201, "{name}: {}", uploaded.text());
    assert_eq!(uploaded.json()["kind"], "typescript");
    if uploaded.json()["status"] == "pending_review" {
        let reviewed = client.post(&format!("{}/review", path(name)), &json!({ "grant": "all" })).await;
        assert_eq!(reviewed.status, 200, "{name}: {}", reviewed.text());
    }
}

/// A file, the tool in it that is called, its input, and what comes of it: the output, or a part of the error.
struct Case(&'static str, &'static str, Value, Result<Value, &'static str>);

fn says(output: &str) -> Result<Value, &'static str> {
    Ok(json!(output))
}

fn cases() -> Vec<Case> {
    let shapes = json!([{ "kind": "circle", "radius": 1 }, { "kind": "rectangle", "width": 2, "height": 3 }]);
    vec![
        Case("weather.ts", "weather", json!({ "city": "Oslo" }), says("Oslo: 21.5 °C, clear")),
        Case(
            "weather.ts",
            "weather",
            json!({ "city": "Oslo", "units": "imperial" }),
            says("Oslo: 71 °F, clear"),
        ),
        Case(
            "github-issues.ts",
            "github-issues",
            json!({ "repo": "a/b", "query": "slow", "state": "open" }),
            says("2 found for repo:a/b state:open slow\n#1 It breaks [bug]\n#2 It is slow"),
        ),
        Case(
            "sql-format.ts",
            "sql-format",
            json!({ "sql": "select a,  b from t left join u on t.id = u.id where a > 1 order by b" }),
            says("SELECT a, b\nFROM t\nLEFT JOIN u on t.id = u.id\nWHERE a > 1\nORDER BY b"),
        ),
        Case(
            "csv-stats.ts",
            "csv-stats",
            json!({ "csv": "name,n\n\"a, \"\"b\"\"\",1\nc,2\nd,6\n" }),
            says(r#"{"n":{"count":3,"min":1,"max":6,"mean":3,"median":2}}"#),
        ),
        Case(
            "markdown-toc.ts",
            "markdown-toc",
            json!({ "markdown": "# A\n## Über uns!\n```\n# no\n```\n## A\n#### deep" }),
            says("- [A](#a)\n  - [Über uns!](#über-uns)\n  - [A](#a-1)"),
        ),
        Case(
            "regex-test.ts",
            "regex-test",
            json!({ "pattern": "(?<=@)(?<host>\\w+)", "text": "a@b, c@de" }),
            says(
                r#"[{"at":2,"text":"b","groups":{"host":"b"}},{"at":7,"text":"de","groups":{"host":"de"}}]"#,
            ),
        ),
        Case(
            "date-diff.ts",
            "date-diff",
            json!({ "from": "2026-11-01", "to": "2026-11-25" }),
            says("24 days, 17 working days, ends on a Wednesday"),
        ),
        Case(
            "uuid-make.ts",
            "uuid-make",
            json!({ "count": 20 }),
            says(r#"{"valid":true,"different":true,"random":true}"#),
        ),
        Case("base64.ts", "base64", json!({ "text": "héllo?>", "urlsafe": true }), says("aMOpbGxvPz4")),
        Case("base64.ts", "base64", json!({ "text": "aMOpbGxvPz4=", "decode": true }), says("héllo?>")),
        Case(
            "base64.ts",
            "base64",
            json!({ "text": "%", "decode": true }),
            Err("InvalidCharacterError: the text is not base64\n    at execute in base64.ts:10:"),
        ),
        Case(
            "jwt-decode.ts",
            "jwt-decode",
            json!({ "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiLDqSIsImV4cCI6MX0.x" }),
            says(r#"{"header":{"alg":"HS256"},"claims":{"sub":"é","exp":1},"expired":true}"#),
        ),
        Case(
            "slack-post.ts",
            "slack-post",
            json!({ "channel": "#general", "text": "hi" }),
            says(r##"POST application/json; charset=utf-8 {"channel":"#general","text":"hi","blocks":[]}"##),
        ),
        Case(
            "stripe-charge.ts",
            "stripe-charge",
            json!({ "amount": 1200 }),
            says(
                "amount=1200&currency=eur&metadata%5Bfrom%5D=opg+%26+co application/x-www-form-urlencoded;charset=UTF-8 true",
            ),
        ),
        Case("paginate.ts", "paginate", json!({}), says("11,12,21,22,31,32")),
        Case("paginate.ts", "paginate", json!({ "max": 3 }), says("11,12,21")),
        Case("retry.ts", "retry", json!({}), says("well at attempt 3")),
        Case("abort-slow.ts", "abort-slow", json!({ "ms": 30 }), says("AbortError TimeoutError false")),
        Case("shapes.ts", "shapes", json!({ "shapes": shapes }), says("9.14")),
        Case("levels.ts", "levels", json!({ "level": "Warn" }), says("Warn=21 #f00")),
        Case(
            "generics.ts",
            "generics",
            json!({ "tasks": { "c": ["b", "a"], "b": ["a"], "a": [] } }),
            says("a=1 b c"),
        ),
        Case(
            "generics.ts",
            "generics",
            json!({ "tasks": { "a": ["b"], "b": ["a"] } }),
            Err("RangeError: cycle at a\n    at visit in generics.ts:"),
        ),
        Case("bank.ts", "bank", json!({ "owner": "Ann", "deposits": [10, 5] }), says("Ann #1: 13.00")),
        Case(
            "bank.ts",
            "bank",
            json!({ "owner": "Bo", "gold": true, "deposits": [2.5] }),
            says("Bo #1: 2.50 (gold)"),
        ),
        Case("top-level-await.ts", "top-level-await", json!({ "n": 3 }), says("27 (call 1)")),
        Case("top-level-await.ts", "top-level-await", json!({ "n": 4 }), says("256 (call 1)")),
        Case("math.ts", "math", json!({}), says("add, divide")),
        Case("math.ts", "math_add", json!({ "a": 1.5, "b": 2 }), says("3.5")),
        Case(
            "math.ts",
            "math_divide",
            json!({ "a": 1, "b": 0 }),
            Err("cannot divide by 0\n    at execute in math.ts:10:"),
        ),
        Case(
            "defaults.ts",
            "defaults",
            json!({ "name": "  Ann " }),
            says(r#"{"name":"Ann","tags":[],"options":{"retries":3,"verbose":false},"limit":7}"#),
        ),
        Case("nullable.ts", "nullable", json!({ "a": null, "c": 1 }), says("a:null b:undefined c:number")),
        Case(
            "records.ts",
            "records",
            json!({ "sales": [["tea", 2], ["cake", 1], ["tea", 1]], "prices": { "tea": 1.333, "cake": 2.5 }, "round": 1 }),
            says(r#"{"tea":4,"cake":2.5}"#),
        ),
        Case(
            "templates.ts",
            "templates",
            json!({ "title": "a < b", "lines": ["x", "\"y\""] }),
            says("<h1>a &lt; b</h1><ul><li id=\"0\">x</li><li id=\"1\">&quot;y&quot;</li></ul>21"),
        ),
        Case("big-json.ts", "big-json", json!({ "rows": 5000 }), says("340281 bytes, 2500 ok, last 5000")),
        Case(
            "unicode.ts",
            "unicode",
            json!({ "text": "Ünï α 👍" }),
            says("7 characters, 4 letters, 👍, greek: true, UNI Α 👍"),
        ),
        Case(
            "fails.ts",
            "fails",
            json!({ "why": "throw" }),
            Err("it broke\n    at deeper in fails.ts:18:13\n    at execute in fails.ts:26:26"),
        ),
        Case(
            "fails.ts",
            "fails",
            json!({ "why": "custom" }),
            Err(
                "QuotaError: quota used up, 3 left\n  caused by TypeError: the ledger said no\n    at QuotaError in fails.ts:",
            ),
        ),
        Case(
            "fails.ts",
            "fails",
            json!({ "why": "bug" }),
            Err("TypeError: cannot read property 'a' of undefined\n    at execute in fails.ts:28:"),
        ),
        Case("fails.ts", "fails", json!({ "why": "string" }), Err("the tool failed: just text")),
        Case(
            "fails.ts",
            "fails",
            json!({ "why": "forever" }),
            Err("the tool waits for a promise that never settles"),
        ),
        Case(
            "fails.ts",
            "fails",
            json!({ "why": "deep" }),
            Err("RangeError: Maximum call stack size exceeded\n    at again in fails.ts:30:"),
        ),
        Case(
            "fails.ts",
            "fails",
            json!({ "why": "buffer" }),
            Err(
                "Buffer is not defined: use Uint8Array, TextEncoder, TextDecoder, atob and btoa\n    at execute in fails.ts:32:",
            ),
        ),
        Case("metadata.ts", "metadata", json!({}), says("string /workspace /workspace true")),
        Case(
            "asks.ts",
            "asks",
            json!({}),
            Err(
                "nobody can be asked: this call belongs to no session's turn; what a tool may touch at all is granted when it is reviewed\n    at execute in asks.ts:7",
            ),
        ),
        Case("chunks.ts", "chunks", json!({ "text": "ä\nö€\n👍", "size": 1 }), says("ä|ö€|👍 1000")),
        Case("parallel.ts", "parallel", json!({ "count": 40 }), says("met met met met met; 40")),
        Case(
            "fuzzy.ts",
            "fuzzy",
            json!({ "word": "kitten", "words": ["sitting", "kitchen", "mitten"] }),
            says("mitten:1 kitchen:2"),
        ),
        Case("colour.ts", "colour", json!({ "a": "#ffffff", "b": "000000" }), says("21.00")),
        Case(
            "zod-import.ts",
            "zod-import",
            json!({ "email": "Ann@Example.com", "range": { "from": 1, "to": 4 } }),
            says("ann@example.com 3 true"),
        ),
        Case(
            "zod-import.ts",
            "zod-import",
            json!({ "email": "nope", "range": { "from": 4, "to": 1 } }),
            Err("✖ Invalid email address\n  → at email\n✖ from is after to\n  → at range"),
        ),
        Case("settled.ts", "settled", json!({}), says("frf fast any 3 micro")),
        Case(
            "url-tools.ts",
            "url-tools",
            json!({ "url": "https://www.shop.test/p?z=1&utm_source=x&a=ü#top" }),
            says(
                "https://shop.test/p?a=%C3%BC&z=1 https://host.test:8443/a/b?x=1#y 8443 https://host.test:8443 q=a+b%26c&%C3%BC=%C3%A4 false",
            ),
        ),
        Case(
            "clone.ts",
            "clone",
            json!({}),
            says("true 1 1970-01-01T00:00:00.000Z true 3 DataCloneError 1 18446744073709551616"),
        ),
        Case("my-db-tool.ts", "my-db-tool", json!({ "query": "select 1" }), says("Executed query: select 1")),
        Case(
            "plain.js",
            "plain",
            json!({ "text": "ab", "times": 2 }),
            Ok(json!({ "repeated": "abab", "length": 4 })),
        ),
        Case("form.ts", "form", json!({}), says("PUT 4 true hi  201 1 application/json")),
    ]
}

/// Runs the cases and tells all that went wrong.
async fn run(cases: Vec<Case>) {
    let (app, site) = (TestApp::local().await, Site::start().await);
    let acme = app.tenant("acme").await;
    let stored = acme.put("/v1/tenant/secrets", &json!({ "set": { "STRIPE_KEY": "sk_test_123456" } })).await;
    assert_eq!(stored.status, 204, "{}", stored.text());
    let mut installed = "";
    let mut wrong = vec![];
    for Case(file, tool, input, expected) in cases {
        let name = file.split('.').next().unwrap();
        if installed != file {
            install(&acme, name, at_site(file, &site)).await;
            installed = file;
        }
        let ran = acme.invoke(tool, input.clone()).await;
        let fits = match &expected {
            Ok(output) => ran.status == 200 && ran.json()["output"] == *output,
            Err(text) => {
                ran.status != 200 && ran.json()["detail"].as_str().unwrap_or_default().contains(text)
            }
        };
        if !fits {
            wrong.push(format!("{tool} {input}: expected {expected:?}, got {} {}", ran.status, ran.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Two halves, for two cores: making forty components takes most of a minute.
#[tokio::test]
async fn m019_files_of_opencode_run_as_they_are() {
    run(cases().into_iter().take_while(|Case(file, ..)| *file != HALFWAY).collect()).await;
}

#[tokio::test]
async fn m019_more_files_of_opencode_run_as_they_are() {
    run(cases().into_iter().skip_while(|Case(file, ..)| *file != HALFWAY).collect()).await;
}

const HALFWAY: &str = "math.ts";

/// A file with this line in it, the third.
fn with_line(line: &str) -> String {
    format!(
        "import {{ tool }} from \"@opencode-ai/plugin\"\n\n{line}\nexport default tool({{ description: \"x\", args: {{}}, execute: async () => \"x\" }})\n"
    )
}

#[tokio::test]
async fn m019_a_file_that_cannot_work_is_refused_with_its_line_and_what_to_do() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let there = "there are @opencode-ai/plugin and zod, node:fs/promises and node:path, and the globals of the web such as fetch, URL and crypto";
    let bundle = "bundle a package into the file: `npx esbuild tool.ts --bundle --format=esm --external:zod --external:@opencode-ai/plugin`";
    let cases: Vec<(String, Option<u64>, String)> = vec![
        (with_line("const x: = 1"), Some(3), "this is not TypeScript: ".into()),
        (with_line("let x = 1; let x = 2"), Some(3), "this is not TypeScript: ".into()),
        (
            with_line("import fs from \"node:fs\"; fs.readFileSync(\"/etc/passwd\")"),
            Some(3),
            format!(
                "`node:fs` cannot be imported: {there}; use node:fs/promises, for the files of the session\nbad.ts:3:16\n3 | import fs from \"node:fs\"; fs.readFileSync(\"/etc/passwd\")\n  |                ^"
            ),
        ),
        (
            with_line("import axios from \"axios\"; axios.get(\"x\")"),
            Some(3),
            format!(
                "`axios` cannot be imported: {there}; use fetch, which is there without import\nbad.ts:3:19"
            ),
        ),
        (
            with_line("import _ from \"lodash\"; _.chunk([])"),
            Some(3),
            format!("`lodash` cannot be imported: {there}; {bundle}\nbad.ts:3:15"),
        ),
        (
            with_line("import { x } from \"./other\"; x()"),
            Some(3),
            "one file is uploaded: put both into one".into(),
        ),
        (
            with_line("throw new Error(\"no configuration\")"),
            Some(3),
            "the file does not load: no configuration\n    at bad.ts:3:".into(),
        ),
        (
            with_line("const limit: number = undefined!.limit"),
            Some(3),
            "the file does not load: TypeError: cannot read property 'limit' of undefined\n    at bad.ts:3:"
                .into(),
        ),
        (
            with_line("await new Promise(() => {})"),
            None,
            "the file does not load: the file waits at its top level for something that never comes".into(),
        ),
        (
            with_line("await fetch(\"https://api.example.com\")"),
            Some(3),
            "nothing can be fetched while a tool is being uploaded; call `fetch` inside `execute`".into(),
        ),
        (
            with_line("setTimeout(() => {}, 1)"),
            Some(3),
            "timers do not run while a tool is being uploaded".into(),
        ),
        (
            with_line("const id = crypto.randomUUID()"),
            Some(3),
            "there is no chance while a tool is being uploaded".into(),
        ),
        (
            with_line("const b = Buffer.from(\"a\")"),
            Some(3),
            "Buffer is not defined: use Uint8Array, TextEncoder".into(),
        ),
        ("export const x = 1".into(), None, "the file does not load: the file exports no tool".into()),
        ("".into(), None, "the file exports no tool".into()),
        (
            "export default { args: {}, execute() {} }".into(),
            None,
            "`default` has no description: a model would not know when to call it".into(),
        ),
        (
            "export default { description: \"x\", args: { a: \"string\" }, execute() {} }".into(),
            None,
            "the arg `a` of `default` is no schema; write it with tool.schema, such as tool.schema.string()"
                .into(),
        ),
        (
            with_line("export const capabilities = \"all\""),
            None,
            "`capabilities` is a list of { kind, target, reason }".into(),
        ),
        (
            with_line("const all = []; for (;;) all.push(new Uint8Array(1 << 20))"),
            None,
            "the top level of the file takes more than 32 MiB of memory; move the work into `execute`".into(),
        ),
    ];
    let mut wrong = vec![];
    for (source, line, says) in cases {
        let answer = upload(&acme, "bad", source.clone()).await;
        let body = answer.json();
        let detail = body["detail"].as_str().unwrap_or_default();
        let fits = answer.status == 422
            && body["code"] == "typescript_invalid"
            && body["line"].as_u64() == line
            && detail.contains(&says);
        if !fits {
            wrong.push(format!("{source}\nexpected {line:?} {says}\ngot {}", answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let binary = upload(&acme, "bad", vec![0xff, 0xfe, 0]).await;
    assert_eq!((binary.status, binary.json()["code"].as_str()), (422, Some("not_utf8")));
    let large = upload(&acme, "bad", " ".repeat((1 << 20) + 1)).await;
    assert_eq!(large.status, 413, "{}", large.text());
    let wish = with_line("export const capabilities = [{ kind: \"disk\", target: \"/\", reason: \"x\" }]");
    let refused = upload(&acme, "bad", wish).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (422, Some("bad_description")));
    assert_eq!(acme.get("/v1/tenant/tools").await.json()["data"], json!([]), "nothing of it is left");
}

#[tokio::test]
async fn a_top_level_that_does_not_end_is_stopped_at_upload() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let (spinning, served) =
        tokio::join!(upload(&acme, "spin", with_line("while (true) {}")), acme.get("/v1/tenant"));
    assert_eq!(served.status, 200);
    assert_eq!(spinning.json()["code"], "typescript_invalid");
    assert!(
        spinning.text().contains("runs for more than 5 s; move the work into `execute`"),
        "{}",
        spinning.text()
    );
}

#[tokio::test]
async fn m217_a_file_is_given_back_byte_for_byte_beside_the_component_made_of_it() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let source = format!("\u{feff}{}\r\n// ünïcode\t\n", fixture("my-db-tool.ts"));
    let first = upload(&acme, "db", source.clone()).await;
    assert_eq!((first.status, &first.json()["status"]), (201, &json!("active")), "{}", first.text());
    assert_eq!(first.json()["size_bytes"], source.len());
    let again = upload(&acme, "db", source.clone()).await;
    assert_eq!((again.status, again.json()), (200, first.json()), "the same file changes nothing");

    let shown = acme.get(&path("db")).await.json();
    assert_eq!((&shown["kind"], shown.get("source")), (&json!("typescript"), None));
    assert_eq!(acme.get(&format!("{}?source=1", path("db"))).await.json()["source"], json!(source));
    let bytes = |accept: &'static str| acme.request("GET", &path("db")).header("accept", accept);
    let file = opg_tests::app::send(bytes("text/typescript")).await;
    assert_eq!((file.status, file.header("content-type")), (200, "text/typescript; charset=utf-8"));
    assert_eq!(file.body, source.as_bytes());
    assert_eq!(file.header("etag"), format!("\"{}\"", shown["source_sha256"].as_str().unwrap()));
    let component = opg_tests::app::send(bytes("application/wasm")).await;
    assert!(component.body.starts_with(b"\0asm\x0d\0\x01\0"));

    // What was made can be uploaded as what it is, and is the same tool.
    let copy = acme.put_bytes(&path("copy"), "application/wasm", component.body).await;
    assert_eq!((copy.status, &copy.json()["kind"]), (201, &json!("component")), "{}", copy.text());

    // A comment more is another file, and a way back.
    let changed = upload(&acme, "db", format!("{source}// more")).await;
    assert_eq!((changed.status, &changed.json()["version"]), (200, &json!(2)));
    let back = acme.post(&format!("{}/rollback", path("db")), &json!({})).await;
    assert_eq!(back.json()["version"], 1);
    assert_eq!(acme.invoke("db", json!({ "query": "x" })).await.json()["output"], "Executed query: x");
}

#[tokio::test]
async fn the_same_file_gives_the_same_component() {
    let (one, other) = (TestApp::start().await, TestApp::start().await);
    let source =
        with_line("const a = [Math.random(), Date.now(), performance.now(), new Map([[{}, Symbol()]])]");
    let mut made = vec![];
    for app in [&one, &other] {
        made.push(app.running.app.typescript.component("same", source.clone()).await.unwrap());
    }
    assert!(made[0] == made[1]);
}

// --- another release of the runtime ---

/// What the runtime says of a text that is not base64, and what another release of it might.
const WORDS: (&str, &str) = ("the text is not base64", "this is no base64 text");

/// The runtime with another text in the place of each of these: as a release that changes it.
fn another_runtime(changes: &[(&str, &str)]) -> &'static [u8] {
    let mut runtime = opg_predefined::JAVASCRIPT_RUNTIME.to_vec();
    for (old, new) in changes {
        let found: Vec<usize> = runtime
            .windows(old.len())
            .enumerate()
            .filter(|(_, part)| *part == old.as_bytes())
            .map(|(at, _)| at)
            .collect();
        assert!(found.len() == 1 && new.len() <= old.len(), "{old}: {found:?}");
        // Spaces are nothing in JavaScript.
        let new = format!("{new:width$}", width = old.len());
        runtime[found[0]..found[0] + old.len()].copy_from_slice(new.as_bytes());
    }
    runtime.leak()
}

/// What the tool made of `base64.ts` says of a text that is none.
async fn complaint(client: &Client, name: &str) -> String {
    let ran = client.invoke(name, json!({ "text": "%", "decode": true })).await;
    assert_eq!(ran.json()["code"], "tool_failed", "{name}: {}", ran.text());
    ran.text()
}

/// Waits until a query gives so many rows.
async fn rows(app: &TestApp, query: &'static str, count: usize) -> Vec<String> {
    let began = Instant::now();
    loop {
        let rows = app.sql(query).await;
        if rows.len() >= count {
            return rows;
        }
        assert!(began.elapsed() < PATIENCE, "{query}: {rows:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_the_runtime_tools_are_made_anew_while_the_old_ones_serve() {
    const BUILDS: &str = "select p.name || coalesce(b.refused, '') from typescript_builds b
                          join plugins p using (plugin_id) order by b.made_at";
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    for name in ["never-used", "used-first", "used-last"] {
        install(&acme, name, fixture("base64.ts")).await;
    }
    for name in ["used-first", "used-last"] {
        assert!(complaint(&acme, name).await.contains(WORDS.0));
    }
    let before = acme.get(&path("used-last")).await.json();

    let app = app.restart_with_javascript(another_runtime(&[WORDS])).await;
    let acme = acme.elsewhere(&app.base_url());
    let began = Instant::now();
    for name in ["used-first", "used-last"] {
        loop {
            let says = complaint(&acme, name).await;
            if says.contains(WORDS.1) {
                break;
            }
            assert!(says.contains(WORDS.0) && began.elapsed() < PATIENCE, "{name}: {says}");
        }
    }
    let builds = rows(&app, BUILDS, 6).await;
    assert_eq!(builds[..3], ["never-used", "used-first", "used-last"], "at their uploads");
    assert_eq!(builds[3..], ["used-last", "used-first", "never-used"], "the most recently used first");

    // It is the version that was uploaded, and its file once more changes nothing.
    assert_eq!(acme.get(&path("used-last")).await.json(), before);
    let again = upload(&acme, "used-last", fixture("base64.ts")).await;
    assert_eq!((again.status, &again.json()["version"]), (200, &json!(1)), "{}", again.text());
    assert_eq!(again.json()["sha256"], before["sha256"]);

    // A host of the old release beside it, or after it, runs what it ran.
    let app = app.restart_with_javascript(opg_predefined::JAVASCRIPT_RUNTIME).await;
    let acme = acme.elsewhere(&app.base_url());
    assert!(complaint(&acme, "used-last").await.contains(WORDS.0));
    assert_eq!(app.sql(BUILDS).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_would_say_something_else_made_anew_stays_what_was_reviewed() {
    const REFUSED: &str = "select refused from typescript_builds where refused is not null order by made_at";
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    install(&acme, "b64", fixture("base64.ts")).await;
    let before = acme.get(&path("b64")).await.json();

    let describes = ("description: definition.description,", "description: `Ignore ${exported}`,");
    let app = app.restart_with_javascript(another_runtime(&[WORDS, describes])).await;
    let acme = acme.elsewhere(&app.base_url());
    let refused = rows(&app, REFUSED, 1).await;
    assert!(refused[0].contains("than what was reviewed"), "{refused:?}");
    assert!(complaint(&acme, "b64").await.contains(WORDS.0), "the old one goes on");
    assert_eq!(acme.get(&path("b64")).await.json(), before);

    // Whoever uploads the file again has it reviewed, and meanwhile nothing changes.
    let again = upload(&acme, "b64", fixture("base64.ts")).await;
    assert_eq!(again.json()["status"], "pending_review", "{}", again.text());
    assert_eq!(again.json()["exports"][0]["description"], "Ignore default");
    assert!(complaint(&acme, "b64").await.contains(WORDS.0));

    // One that takes no such file any more.
    let throws = ("const definitions = [];", "throw Error('moved on')");
    let app = app.restart_with_javascript(another_runtime(&[WORDS, throws])).await;
    let acme = acme.elsewhere(&app.base_url());
    let refused = rows(&app, REFUSED, 2).await;
    assert!(refused[1].contains("moved on"), "{refused:?}");
    assert!(complaint(&acme, "b64").await.contains(WORDS.0), "the old one goes on");
}

#[tokio::test]
async fn m019_a_file_asks_for_what_it_names_and_says_what_was_not_granted() {
    let (app, site) = (TestApp::local().await, Site::start().await);
    let acme = app.tenant("acme").await;
    let uploaded = upload(&acme, "stripe-charge", at_site("stripe-charge.ts", &site)).await.json();
    assert_eq!(
        uploaded["requested_capabilities"],
        json!([
            { "kind": "http", "target": site.host(), "reason": "Line 3 names this host." },
            {
                "kind": "secret",
                "target": format!("STRIPE_KEY@{}", site.host()),
                "reason": "Line 4 reads `process.env.STRIPE_KEY`; it can be sent to this host."
            },
        ])
    );
    assert_eq!(uploaded["status"], "pending_review");
    acme.grant("tools", "stripe-charge", &[]).await;
    let denied = acme.invoke("stripe-charge", json!({ "amount": 1 })).await;
    let text = denied.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(denied.json()["code"], "tool_failed");
    assert!(
        text.contains("TypeError: fetch failed")
            && text.contains(&format!("http:POST {}/posted", site.host())),
        "{text}"
    );
    // Somewhere in the call of `fetch`, which has four lines.
    assert!(text.contains("at call in stripe-charge.ts:"), "{text}");
    assert!(site.visits().is_empty());

    // The file's own list replaces what could be read off it.
    let stored = acme
        .put(
            "/v1/tenant/secrets",
            &json!({ "set": { "API_KEY": "key-123456", "OTHER_KEY": "other-123456" } }),
        )
        .await;
    assert_eq!(stored.status, 204, "{}", stored.text());
    let uploaded = upload(&acme, "env-config", at_site("env-config.ts", &site)).await.json();
    assert_eq!(uploaded["requested_capabilities"].as_array().unwrap().len(), 3);
    assert_eq!(uploaded["requested_capabilities"][0]["reason"], "The service");
    let api_key = format!("API_KEY@{}", site.host());
    acme.grant("tools", "env-config", &[("http", &site.host()), ("secret", &api_key)]).await;
    let half = acme.invoke("env-config", json!({})).await;
    assert!(half.text().contains("OTHER_KEY"), "a reference made at upload opens nothing: {}", half.text());
    let other_key = format!("OTHER_KEY@{}", site.host());
    acme.grant(
        "tools",
        "env-config",
        &[("http", &site.host()), ("secret", &api_key), ("secret", &other_key)],
    )
    .await;
    let whole = acme.invoke("env-config", json!({})).await.json();
    assert_eq!(
        whole["output"], "production string undefined true {{secret:API_KEY}} v {{secret:OTHER_KEY}}",
        "{whole}"
    );
    let visit = site.visits().pop().unwrap();
    assert_eq!(visit.headers["x-api-key"], "key-123456");
    assert_eq!(visit.headers["x-other"], "v other-123456");
    assert!(
        whole["logs"][0]["message"].as_str().unwrap().starts_with("process.env.NOT_GRANTED is undefined: ")
    );
}

#[tokio::test]
async fn m019_what_a_file_logs_is_the_calls_log_and_its_names_are_those_of_opencode() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    install(&acme, "metadata", fixture("metadata.ts")).await;
    let ran = acme.invoke("metadata", json!({})).await.json();
    let messages: Vec<_> =
        ran["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages[0], r#"progress {"done":0,"at":{"map":[["step",0]]}}"#);
    assert_eq!((messages.len(), &ran["logs"][0]["level"]), (3, &json!("info")));

    install(&acme, "math", fixture("math.ts")).await;
    let shown = acme.get(&path("math")).await.json();
    let names: Vec<_> =
        shown["exports"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["math", "math_add", "math_divide"]);
    install(&acme, "lonely", "export const only = { description: \"x\", execute: () => \"y\" }".to_owned())
        .await;
    assert_eq!(acme.invoke("lonely_only", json!({})).await.json()["output"], "y");
}

#[tokio::test]
async fn a_file_that_nests_without_end_is_refused_and_the_server_has_not_read_it() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    // The first file has the runtime compiled, which takes memory of ours.
    let fine = r#"import { tool } from "@opencode-ai/plugin"
export default tool({ description: "Says yes", args: {}, execute: async () => "yes" })"#;
    assert_eq!(upload(&acme, "fine", fine).await.status, 201);
    let before = memory_bytes_peak();
    // No bracket in it: the grammar is followed by recursion, a megabyte deep.
    let uploaded = upload(&acme, "deep", "!".repeat((1 << 20) - 2) + "1").await;
    assert_eq!(uploaded.status, 422, "{}", uploaded.text());
    assert_eq!(uploaded.json()["code"], "typescript_invalid", "{}", uploaded.text());
    let grown = memory_bytes_peak() - before;
    assert!(grown < 100 << 20, "the child read it, and not this process: {grown} bytes more");
    acme.install_tool("word-count", opg_tests::guests::WORD_COUNT).await;
}

/// The most memory this process has had, in bytes.
fn memory_bytes_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}
