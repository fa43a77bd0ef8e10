//! The files of a session, as its tools see them: within what is declared, granted and the caller's own.

use super::{
    at, create,
    files::{file, list, put, read, work, worker},
    messages, new_session, of_kind, said, start, turn,
};
use opg_tests::{app::send, guests};
use serde_json::{Value, json};

fn errors(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["error"].as_str().unwrap_or("ok")).collect()
}

#[tokio::test]
async fn m321_m356_workspace_a_tool_works_on_the_files_of_its_session() {
    let (_app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    let steps = json!([
        { "do": "list", "path": "" },
        { "do": "write", "path": "src/a", "text": "one\ntwo" },
        { "do": "read", "path": "/workspace/src/a", "offset": 4 },
        { "do": "write_at", "path": "src/a", "text": "!" },
        { "do": "write_at", "path": "src/a", "text": "ONE", "offset": 0 },
        { "do": "write_at", "path": "holes", "text": "x", "offset": 3 },
        { "do": "stat", "path": "src" },
        { "do": "mkdir", "path": "empty/dir" },
        { "do": "list", "path": "" },
        { "do": "list", "path": "", "after": "empty" },
        { "do": "find", "path": "", "text": "two" },
        { "do": "rename", "path": "src", "to": "lib" },
        { "do": "read", "path": "lib/a" },
        { "do": "remove", "path": "empty", "all": true },
        { "do": "stat", "path": "empty" },
    ]);
    let (answers, _) = work(&acme, &id, steps).await;
    let ok = |at: usize| answers[at]["ok"].clone();
    assert_eq!(ok(0), json!([]));
    assert_eq!(ok(2), json!({ "text": "two", "size": 7 }));
    assert_eq!(ok(6), json!(["src", "directory", 0]));
    assert_eq!(ok(8), json!([["empty", "directory", 0], ["holes", "file", 4], ["src", "directory", 0]]));
    assert_eq!(ok(9), json!([["holes", "file", 4], ["src", "directory", 0]]));
    assert_eq!(ok(10), json!([["src/a", 2, 1, "two!"]]));
    assert_eq!(ok(12), json!({ "text": "ONE\ntwo!", "size": 8 }));
    assert_eq!(answers[14]["error"], "not-found", "{answers:?}");
    assert_eq!(list(&acme, &id, "").await, ["holes", "lib"]);
    assert_eq!(read(&acme, &id, "holes").await, "\0\0\0x");
    put(&acme, &id, "from/me", "hi").await;
    let (answers, _) = work(&acme, &id, json!([{ "do": "read", "path": "from/me" }])).await;
    assert_eq!(answers[0]["ok"]["text"], "hi");
}

#[tokio::test]
async fn m356_workspace_what_cannot_be_done_is_said_by_its_name() {
    let (_app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    let (answers, _) = work(
        &acme,
        &id,
        json!([
            { "do": "read", "path": "nowhere" },
            { "do": "write", "path": "dir/file", "text": "x" },
            { "do": "read", "path": "dir" },
            { "do": "write", "path": "dir", "text": "x" },
            { "do": "write", "path": "dir/file/below", "text": "x" },
            { "do": "remove", "path": "dir" },
            { "do": "rename", "path": "dir", "to": "dir/inside" },
            { "do": "write", "path": "other/file", "text": "x" },
            { "do": "rename", "path": "dir", "to": "other" },
            { "do": "remove", "path": "", "all": true },
            { "do": "find", "path": "", "text": "(" , "regex": true },
        ]),
    )
    .await;
    let expected = [
        "not-found",
        "ok",
        "is-a-directory",
        "is-a-directory",
        "not-a-directory",
        "not-empty",
        "invalid",
        "ok",
        "exists",
        "invalid",
        "invalid",
    ];
    assert_eq!(errors(&answers), expected, "{answers:#?}");
}

#[tokio::test]
async fn m356_workspace_needs_a_grant_and_the_callers_own_right() {
    let (_app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    put(&acme, &id, "a", "x").await;
    let steps = json!([
        { "do": "read", "path": "a" },
        { "do": "list", "path": "" },
        { "do": "write", "path": "a", "text": "y" },
        { "do": "remove", "path": "a" },
        { "do": "mkdir", "path": "b" },
        { "do": "rename", "path": "a", "to": "b" },
    ]);
    acme.grant("tools", "workspace", &[("workspace", "read")]).await;
    let (answers, _) = work(&acme, &id, steps.clone()).await;
    assert_eq!(errors(&answers), ["ok", "ok", "denied", "denied", "denied", "denied"]);
    let message = answers[2]["message"].as_str().unwrap();
    assert!(message.contains("workspace:read-write") && message.contains("/review"), "{message}");
    acme.grant("tools", "workspace", &[]).await;
    let (answers, _) = work(&acme, &id, steps.clone()).await;
    assert_eq!(errors(&answers), ["denied"; 6]);
    let audit = acme.get("/v1/tenant/audit?action=tool.run&limit=1").await.json();
    let reached = &audit["data"][0]["detail"]["reached"];
    assert_eq!(reached["workspace:read-write"], json!({ "allowed": 0, "denied": 4 }));
    assert_eq!(reached["workspace:read"], json!({ "allowed": 0, "denied": 2 }));
    // Granted again; and a call of no session has no files.
    acme.grant("tools", "workspace", &[("workspace", "read-write")]).await;
    let alone = acme.invoke("workspace", json!({ "steps": steps })).await.json();
    let answers = alone["output"].as_array().unwrap().clone();
    assert_eq!(errors(&answers), ["no-session"; 6]);
    assert!(answers[0]["message"].as_str().unwrap().contains("no session"), "{alone}");
    // Who may run tools and not see sessions lends a tool no more than that.
    let runs = acme.with_scopes(&["tools:run"]).await;
    let ran = runs.invoke("workspace", json!({ "steps": [{ "do": "read", "path": "a" }] })).await.json();
    assert_eq!(ran["output"][0]["error"], "denied", "{ran}");
    assert_eq!(read(&acme, &id, "a").await, "x");
}

#[tokio::test]
async fn m356_workspace_is_reviewed_in_words_and_more_of_it_once_more() {
    let (_app, _upstream, acme) = start().await;
    let source = |import: &str| {
        format!(
            "import {{ tool }} from \"@opencode-ai/plugin\"\nimport {{ {import} }} from \"node:fs/promises\"\nexport default tool({{ description: \"x\", args: {{}}, execute: async () => [typeof {import}].join() }})\n"
        )
    };
    let path = "/v1/tenant/tools/looker";
    let uploaded = acme.put_bytes(path, "text/typescript", source("readFile")).await;
    assert_eq!(
        (uploaded.status, &uploaded.json()["status"]),
        (201, &json!("pending_review")),
        "{}",
        uploaded.text()
    );
    let said = async || acme.get(&format!("{path}/review")).await.json()["waiting"][0]["changes"].to_string();
    assert!(said().await.contains("May read the files of the session it is called in"), "{}", said().await);
    acme.post(&format!("{path}/review"), &json!({ "grant": "all" })).await;
    let wider = acme.put_bytes(path, "text/typescript", source("writeFile")).await.json();
    assert_eq!(wider["status"], "pending_review", "{wider}");
    assert!(said().await.contains("May now read, write and remove the files"), "{}", said().await);
}

#[tokio::test]
async fn m286_no_tool_reaches_the_files_of_another_session_or_app() {
    let (app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    let neighbour = create(&acme, json!({ "model": "openai/scripted" })).await;
    put(&acme, &neighbour, "secret", "neighbours").await;
    let other = app.tenant("other").await;
    let theirs = create(&other, json!({})).await;
    put(&other, &theirs, "secret", "theirs").await;
    let apps: Vec<String> = app.sql("select app_id::text from apps where slug = 'other'").await;
    let mut steps = vec![json!({ "do": "read", "path": "secret" }), json!({ "do": "list", "path": "" })];
    for path in [
        format!("../{neighbour}/files/secret"),
        format!("../../{neighbour}/files/secret"),
        format!("../../{}/{theirs}/files/secret", apps[0]),
        format!("{}/workspaces/{}/{theirs}/files/secret", app.data_dir().display(), apps[0]),
        format!("/workspace/../{neighbour}/files/secret"),
        "../journal".to_owned(),
        "../staging/1".to_owned(),
    ] {
        steps.push(json!({ "do": "read", "path": path }));
        steps.push(json!({ "do": "write", "path": path, "text": "mine" }));
        steps.push(json!({ "do": "rename", "path": "a", "to": path }));
    }
    let (answers, _) = work(&acme, &id, json!(steps)).await;
    assert_eq!(errors(&answers[..2]), ["not-found", "ok"]);
    assert_eq!(answers[1]["ok"], json!([]));
    assert!(errors(&answers[2..]).iter().all(|error| *error == "invalid"), "{answers:#?}");
    assert_eq!(read(&acme, &neighbour, "secret").await, "neighbours");
    assert_eq!(read(&other, &theirs, "secret").await, "theirs");
}

#[tokio::test]
async fn m356_workspace_a_tool_called_by_a_tool_works_on_the_same_files_and_in_the_same_turn() {
    let (_app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    let inner = json!({ "steps": [{ "do": "write", "path": "inner", "text": "x" }] });
    let (answers, told) =
        work(&acme, &id, json!([{ "do": "call", "name": "workspace", "input": inner }])).await;
    assert_eq!(answers[0]["ok"][0], json!({ "ok": null }), "{answers:?}");
    assert_eq!(of_kind(&told, "file.changed")[0]["path"], "inner");
    let message = messages(&acme, &id).await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(acme.post(&at(&id, "revert"), &json!({ "message_id": message })).await.status, 200);
    assert_eq!(acme.get(&file(&id, "inner")).await.status, 404);
}

#[tokio::test]
async fn m286_a_chat_request_of_a_session_works_on_its_files() {
    let (_app, _upstream, acme) = start().await;
    acme.install_tool("workspace", guests::WORKSPACE).await;
    acme.grant("tools", "workspace", &[("workspace", "read-write")]).await;
    let steps = json!({ "steps": [{ "do": "write", "path": "a", "text": "by chat" }] });
    let body = json!({
        "model": "openai/scripted",
        "messages": [{ "role": "user", "content": format!("call workspace {steps}") }],
    });
    let id = new_session(&acme).await;
    let request = acme.request("POST", "/v1/chat/completions").header("x-opg-session-id", &id);
    let answer = send(request.json(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(read(&acme, &id, "a").await, "by chat");
    let timeline = acme.get(&at(&id, "timeline")).await.json();
    assert!(
        timeline["data"].as_array().unwrap().iter().any(|event| event["type"] == "file.changed"),
        "{timeline}"
    );
}

#[tokio::test]
async fn m287_what_a_chat_request_changed_is_shown_and_taken_back_like_a_prompts() {
    let (_app, _upstream, acme) = start().await;
    acme.install_tool("workspace", guests::WORKSPACE).await;
    acme.grant("tools", "workspace", &[("workspace", "read-write")]).await;
    let id = new_session(&acme).await;
    let chat = async |text: &str, steps: Value| {
        let content = format!("{text}\ncall workspace {}", json!({ "steps": steps }));
        let body =
            json!({ "model": "openai/scripted", "messages": [{ "role": "user", "content": content }] });
        let request = acme.request("POST", "/v1/chat/completions").header("x-opg-session-id", &id);
        let answer = send(request.json(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    chat("first", json!([{ "do": "write", "path": "a", "text": "one\n" }])).await;
    let before = messages(&acme, &id).await.len();
    chat(
        "second",
        json!([{ "do": "write", "path": "a", "text": "two\n" }, { "do": "write", "path": "b", "text": "x" }]),
    )
    .await;
    let of_second = messages(&acme, &id).await[before..].to_vec();
    assert!(of_second.iter().all(|message| message["turn_id"].is_null()), "it is no turn of the log's");
    let diff = async |query: String| acme.get(&at(&id, &format!("diff{query}"))).await.json();
    for message in &of_second {
        let shown = diff(format!("?message_id={}", message["id"].as_str().unwrap())).await;
        let files: Vec<_> = shown["data"].as_array().unwrap().iter().map(|file| &file["path"]).collect();
        assert_eq!(files, [&json!("a"), &json!("b")], "{shown}");
        assert!(shown["data"][0]["diff"].as_str().unwrap().contains("-one\n+two\n"), "{shown}");
    }
    assert_eq!(diff(String::new()).await["data"][0]["kind"], "created");
    let back = json!({ "message_id": of_second[0]["id"] });
    assert_eq!(acme.post(&at(&id, "revert"), &back).await.status, 200);
    assert_eq!((read(&acme, &id, "a").await, list(&acme, &id, "").await.len()), ("one\n".to_owned(), 1));
    assert_eq!(acme.post(&at(&id, "unrevert"), &json!({})).await.status, 200);
    assert_eq!((read(&acme, &id, "a").await, list(&acme, &id, "").await.len()), ("two\n".to_owned(), 2));
}

const NOTES: &str = r#"
import { tool } from "@opencode-ai/plugin"
import * as fs from "node:fs/promises"
import path from "node:path"

export default tool({
  description: "Keeps notes",
  args: { line: tool.schema.string() },
  async execute({ line }, ctx) {
    const file = path.join(ctx.directory, "notes", "today.md")
    await fs.mkdir(path.dirname(file), { recursive: true })
    await fs.appendFile(file, line + "\n")
    await fs.writeFile("top.bin", new Uint8Array([1, 2, 255]))
    const codes = []
    for (const bad of [
      () => fs.readFile("nowhere", "utf8"),
      () => fs.readFile("../../etc/passwd"),
      () => fs.readFile("/etc/passwd"),
      () => fs.mkdir("notes"),
      () => fs.rmdir("notes"),
      () => fs.unlink("notes"),
      () => fs.writeFile("top.bin", "x", { flag: "wx" }),
      () => fs.readFile("notes/today.md", "latin1"),
    ]) await bad().then(() => codes.push("ok"), (error) => codes.push(error.code ?? error.name))
    await fs.rm("nowhere", { force: true })
    await fs.copyFile(file, "copy.md")
    await fs.rename("copy.md", "moved.md")
    const stat = await fs.stat("moved.md")
    const entries = await fs.readdir(".", { withFileTypes: true })
    return JSON.stringify({
      text: await fs.readFile(file, "utf8"),
      bytes: [...(await fs.readFile("top.bin"))],
      codes, size: stat.size, file: stat.isFile(),
      names: entries.map((entry) => entry.name + (entry.isDirectory() ? "/" : "")),
      all: await fs.readdir(ctx.directory, { recursive: true }),
      paths: [path.extname("a/b.ts"), path.basename("a/b.ts", ".ts"), path.relative("/workspace/a", "/workspace/b/c"), path.resolve("x/../y")],
    })
  },
})
"#;

#[tokio::test]
async fn m356_workspace_a_file_of_opencode_has_it_as_its_file_system() {
    let (_app, _upstream, acme) = start().await;
    let uploaded = acme.put_bytes("/v1/tenant/tools/notes", "text/typescript", NOTES).await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    acme.post("/v1/tenant/tools/notes/review", &json!({ "grant": "all" })).await;
    let id = create(&acme, json!({ "model": "openai/scripted" })).await;
    let told = turn(&acme, &id, said(r#"call notes {"line": "hello"}"#)).await;
    let result = of_kind(&told, "tool.result")[0].clone();
    assert_eq!(result["ok"], true, "{result}");
    let seen: Value = serde_json::from_str(result["output"].as_str().unwrap()).unwrap();
    assert_eq!(
        seen,
        json!({
            "text": "hello\n", "bytes": [1, 2, 255], "size": 6, "file": true,
            "codes": ["ENOENT", "EINVAL", "EINVAL", "EEXIST", "ENOTEMPTY", "EISDIR", "EEXIST", "RangeError"],
            "names": ["moved.md", "notes/", "top.bin"],
            "all": ["moved.md", "notes", "top.bin", "notes/today.md"],
            "paths": [".ts", "b", "../b/c", "/workspace/y"],
        })
    );
    assert_eq!(read(&acme, &id, "notes/today.md").await, "hello\n");
}
