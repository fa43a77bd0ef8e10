//! The files of a session, as people see them.

use super::{Watch, at, create, new_session, of_kind, said, start, turn};
use opg_host::limits::{WORKSPACE_FILE_BYTES_MAX, WORKSPACE_MATCHES_MAX};
use opg_tests::{
    app::{Answer, Client, send},
    guests,
};
use serde_json::{Value, json};

/// The path of a file, for a query.
pub(super) fn file(session: &str, path: &str) -> String {
    let path: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
    at(session, &format!("file?path={path}"))
}

pub(super) async fn put(client: &Client, session: &str, path: &str, text: &str) -> Answer {
    let put = client.put_bytes(&file(session, path), "text/plain", text.to_owned()).await;
    assert!([200, 201].contains(&put.status), "{path}: {} {}", put.status, put.text());
    put
}

pub(super) async fn read(client: &Client, session: &str, path: &str) -> String {
    let got = client.get(&file(session, path)).await;
    assert_eq!(got.status, 200, "{path}: {}", got.text());
    got.text()
}

/// The paths in a directory.
pub(super) async fn list(client: &Client, session: &str, path: &str) -> Vec<String> {
    let listed = client.get(&at(session, &format!("files?path={path}&limit=200"))).await;
    assert_eq!(listed.status, 200, "{}", listed.text());
    let data = listed.json()["data"].as_array().unwrap().clone();
    data.iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
}

/// What the tool `workspace` was told of each step, in a turn of its own.
pub(super) async fn work(client: &Client, session: &str, steps: Value) -> (Vec<Value>, Vec<Value>) {
    let call = json!({ "steps": steps });
    let told = turn(client, session, said(&format!("call workspace {call}"))).await;
    let results = of_kind(&told, "tool.result");
    assert_eq!(results.len(), 1, "{:?}", told.last());
    let result = results[0].clone();
    assert_eq!(result["ok"], true, "{result}");
    let answers = serde_json::from_str(result["output"].as_str().unwrap()).unwrap();
    (answers, told)
}

/// A tenant whose sessions have the tool `workspace`, with all it asks for.
pub(super) async fn worker(client: &Client) -> String {
    client.install_tool("workspace", guests::WORKSPACE).await;
    client.grant("tools", "workspace", &[("workspace", "read-write"), ("tool", "*")]).await;
    new_session(client).await
}

#[tokio::test]
async fn m286_files_are_written_listed_read_and_removed() {
    let (_app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    assert_eq!(acme.get(&at(&id, "files")).await.json()["data"], json!([]), "nothing was written");
    assert_eq!(acme.get(&file(&id, "a.txt")).await.status, 404);
    let mut watch = Watch::open(&acme, &id, None).await;
    let made = put(&acme, &id, "src/a.txt", "one\ntwo\n").await;
    assert_eq!(
        (made.status, made.json()),
        (201, json!({ "path": "src/a.txt", "kind": "created", "size": 8 }))
    );
    let told = watch.until(|event| event["type"] == "file.changed").await.pop().unwrap();
    assert_eq!(
        (&told["path"], &told["kind"], &told["size"]),
        (&json!("src/a.txt"), &json!("created"), &json!(8))
    );
    assert_eq!(put(&acme, &id, "./src//a.txt", "three").await.status, 200, "one form for one path");
    put(&acme, &id, "b", "").await;
    assert_eq!(list(&acme, &id, "").await, ["b", "src"]);
    let entry = acme.get(&at(&id, "files?path=/workspace/src")).await.json()["data"][0].clone();
    assert_eq!((&entry["type"], &entry["size"]), (&json!("file"), &json!(5)));
    assert!(entry["modified_at"].as_str().unwrap().starts_with("20"), "{entry}");
    assert_eq!(read(&acme, &id, "src/a.txt").await, "three");
    assert_eq!(acme.get(&file(&id, "src")).await.status, 409, "it is a directory");
    assert_eq!(acme.put_bytes(&file(&id, "src"), "text/plain", "x").await.status, 409);
    assert_eq!(acme.put_bytes(&file(&id, "b/c"), "text/plain", "x").await.status, 409, "b is a file");
    assert_eq!(acme.get(&at(&id, "files?path=nowhere")).await.status, 404);
    assert_eq!(acme.delete(&file(&id, "src")).await.status, 204);
    let told = watch.until(|event| event["kind"] == "removed").await.pop().unwrap();
    assert_eq!(told["path"], "src");
    assert_eq!(acme.delete(&file(&id, "src")).await.status, 404);
    assert_eq!(list(&acme, &id, "").await, ["b"]);
    let audit = acme.get("/v1/tenant/audit?action=sessions.file_delete").await.json();
    assert_eq!(audit["data"][0]["detail"]["path"], "src");
}

#[tokio::test]
async fn m286_a_list_has_pages_and_a_file_has_parts_and_a_version() {
    let (_app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    for name in ["a", "b", "c", "d", "e"] {
        put(&acme, &id, name, "0123456789").await;
    }
    let first = acme.get(&at(&id, "files?limit=2")).await.json();
    assert_eq!((&first["data"][1]["path"], &first["has_more"]), (&json!("b"), &json!(true)));
    let next = first["next_cursor"].as_str().unwrap();
    let rest = acme.get(&at(&id, &format!("files?limit=9&cursor={next}"))).await.json();
    assert_eq!((&rest["data"][0]["path"], &rest["has_more"]), (&json!("c"), &json!(false)));

    let whole = acme.get(&file(&id, "a")).await;
    let tag = whole.header("etag").to_owned();
    let get =
        |name: &'static str, value: String| send(acme.request("GET", &file(&id, "a")).header(name, value));
    let part = get("range", "bytes=2-4".into()).await;
    assert_eq!(
        (part.status, part.text().as_str(), part.header("content-range")),
        (206, "234", "bytes 2-4/10")
    );
    assert_eq!(get("range", "bytes=-3".into()).await.text(), "789");
    let outside = get("range", "bytes=10-".into()).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */10"));
    assert_eq!(get("if-none-match", tag.clone()).await.status, 304);

    let write = |name: &'static str, value: String| {
        send(acme.request("PUT", &file(&id, "a")).header(name, value).body("new"))
    };
    assert_eq!(write("if-none-match", "*".into()).await.status, 412, "there is one");
    assert_eq!(write("if-match", "\"another\"".into()).await.status, 412);
    assert_eq!(read(&acme, &id, "a").await, "0123456789", "a refused write changes nothing");
    let wrote = write("if-match", tag.clone()).await;
    assert_eq!(wrote.status, 200);
    assert_eq!(acme.get(&file(&id, "a")).await.header("etag"), wrote.header("etag"));
    assert_eq!(write("if-match", tag).await.status, 412, "it is another now");
    assert_eq!(read(&acme, &id, "a").await, "new");
}

#[tokio::test]
async fn m286_nothing_a_file_holds_runs_in_a_browser() {
    let (_app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    put(&acme, &id, "x\"; a.html", "<script>alert(1)</script>").await;
    let got = acme.get(&file(&id, "x\"; a.html")).await;
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert_eq!(got.header("content-disposition"), "attachment; filename*=UTF-8''x%22%3B%20a.html");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert!(got.header("content-security-policy").contains("default-src 'none'"));
}

#[tokio::test]
async fn m286_text_is_found_with_its_line_and_column() {
    let (_app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    put(&acme, &id, "src/a.rs", "fn main() {\n    todo!();\n}\n").await;
    put(&acme, &id, "b.txt", "nothing\ntodo later").await;
    put(&acme, &id, "c.bin", "todo\0").await;
    let find = async |query: &str| acme.get(&at(&id, &format!("find?{query}"))).await;
    let all = find("q=todo").await.json();
    assert_eq!(
        all["data"],
        json!([
            { "path": "b.txt", "line": 2, "column": 1, "text": "todo later" },
            { "path": "src/a.rs", "line": 2, "column": 5, "text": "    todo!();" },
        ])
    );
    assert_eq!(find("q=todo&path=src").await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(find("q=^todo&regex=true").await.json()["data"][0]["path"], "b.txt");
    let one = find("q=todo&limit=1").await.json();
    assert_eq!((one["data"].as_array().unwrap().len(), &one["truncated"]), (1, &json!(true)));
    assert_eq!(find("q=todo&path=nowhere").await.status, 404);
    for bad in ["", "q=", "q=(&regex=true", "q=a&path=../x"] {
        assert_eq!(find(bad).await.status, 422, "{bad}");
    }
    assert_eq!(find("q=a&limit=0").await.status, 400);
    put(&acme, &id, "many", &"hit\n".repeat(WORKSPACE_MATCHES_MAX * 2)).await;
    let many = find("q=hit").await.json();
    assert_eq!(
        (many["data"].as_array().unwrap().len(), &many["truncated"]),
        (WORKSPACE_MATCHES_MAX, &json!(true))
    );
}

#[tokio::test]
async fn m286_a_file_that_is_too_large_is_refused_and_the_old_one_stays() {
    let (_app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    put(&acme, &id, "a", "old").await;
    let most = usize::try_from(WORKSPACE_FILE_BYTES_MAX).unwrap();
    let refused = acme.put_bytes(&file(&id, "a"), "text/plain", vec![b'x'; most + 1]).await;
    assert_eq!((refused.status, &refused.json()["limit_bytes"]), (413, &json!(most)), "{}", refused.text());
    assert_eq!(read(&acme, &id, "a").await, "old");
    assert_eq!(acme.put_bytes(&file(&id, "a"), "text/plain", vec![b'x'; most]).await.status, 200);
    // Eight of these are all a session may have, and what is refused leaves nothing behind.
    for name in ["b", "c", "d", "e", "f", "g"] {
        assert_eq!(
            acme.put_bytes(&file(&id, name), "text/plain", vec![b'x'; most]).await.status,
            201,
            "{name}"
        );
    }
    let (h, i) = (file(&id, "h"), file(&id, "i"));
    let (one, other) = tokio::join!(
        acme.put_bytes(&h, "text/plain", vec![b'x'; most]),
        acme.put_bytes(&i, "text/plain", vec![b'x'; most]),
    );
    let statuses = [one.status, other.status];
    assert!(
        statuses.contains(&409) && statuses.iter().all(|status| [201, 409].contains(status)),
        "{statuses:?}"
    );
    // Two at once and room for one: one at the most. Each may have been in the other's way.
    if !statuses.contains(&201) {
        assert_eq!(acme.put_bytes(&file(&id, "h"), "text/plain", vec![b'x'; most]).await.status, 201);
    }
    assert_eq!(acme.put_bytes(&file(&id, "j"), "text/plain", "x").await.status, 409);
    assert_eq!(acme.delete(&file(&id, "a")).await.status, 204);
    assert_eq!(acme.put_bytes(&file(&id, "j"), "text/plain", vec![b'x'; most]).await.status, 201);
}

#[tokio::test]
async fn m287_a_turns_changes_are_shown_taken_back_and_brought_back() {
    let (_app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    put(&acme, &id, "kept", "as it is").await;
    put(&acme, &id, "old", "one\ntwo\nthree\n").await;
    put(&acme, &id, "gone", "bye\n").await;
    let steps = json!([
        { "do": "write", "path": "new/file", "text": "hello\n" },
        { "do": "write_at", "path": "old", "text": "four\n" },
        { "do": "remove", "path": "gone" },
        { "do": "write", "path": "bin", "text": "\u{0}" },
    ]);
    let (answers, told) = work(&acme, &id, steps).await;
    assert!(answers.iter().all(|answer| answer.get("ok").is_some()), "{answers:?}");
    let message = of_kind(&told, "turn.started")[0]["message_id"].clone();
    // In the order in which it happened: between the call and what came of it.
    let order: Vec<_> = told.iter().filter_map(|event| event["type"].as_str()).collect();
    let place = |kind: &str| order.iter().position(|one| *one == kind).unwrap();
    assert!(
        place("tool.call") < place("file.changed") && place("file.changed") < place("tool.result"),
        "{order:?}"
    );
    let changes: Vec<_> = of_kind(&told, "file.changed")
        .iter()
        .map(|event| (event["path"].clone(), event["kind"].clone()))
        .collect();
    let expected = [("new/file", "created"), ("old", "modified"), ("gone", "removed"), ("bin", "created")];
    assert_eq!(changes, expected.map(|(path, kind)| (json!(path), json!(kind))));

    let diff = acme.get(&at(&id, &format!("diff?message_id={}", message.as_str().unwrap()))).await.json();
    let of =
        |path: &str| diff["data"].as_array().unwrap().iter().find(|one| one["path"] == path).unwrap().clone();
    assert_eq!(of("old")["diff"], "--- a/old\n+++ b/old\n@@ -1,3 +1,4 @@\n one\n two\n three\n+four\n");
    assert_eq!((&of("new/file")["kind"], &of("new/file")["before"]), (&json!("created"), &Value::Null));
    assert_eq!((&of("gone")["kind"], &of("gone")["after"]), (&json!("removed"), &Value::Null));
    assert_eq!((&of("bin")["binary"], &of("bin")["diff"]), (&json!(true), &Value::Null));
    assert!(diff["data"].as_array().unwrap().iter().all(|one| one["path"] != "kept"));

    let second = work(&acme, &id, json!([{ "do": "write", "path": "old", "text": "again" }])).await.1;
    let later = of_kind(&second, "turn.started")[0]["message_id"].as_str().unwrap().to_owned();
    let first = acme.get(&at(&id, &format!("diff?message_id={}", message.as_str().unwrap()))).await.json();
    assert_eq!(first, diff, "what came later is not this turn's");
    let of_later = acme.get(&at(&id, &format!("diff?message_id={later}"))).await.json();
    assert_eq!(of_later["data"].as_array().unwrap().len(), 1);
    assert_eq!(acme.get(&at(&id, "diff")).await.json()["data"].as_array().unwrap().len(), 4, "all of them");

    let mut watch = Watch::open(&acme, &id, None).await;
    assert_eq!(acme.post(&at(&id, "revert"), &json!({ "message_id": later })).await.status, 200);
    assert_eq!(read(&acme, &id, "old").await, "one\ntwo\nthree\nfour\n");
    let told = watch.until(|event| event["type"] == "session.updated").await;
    assert_eq!(of_kind(&told, "file.changed")[0]["path"], "old");
    assert_eq!(acme.post(&at(&id, "revert"), &json!({ "message_id": message })).await.status, 200);
    assert_eq!(read(&acme, &id, "old").await, "one\ntwo\nthree\n");
    assert_eq!(list(&acme, &id, "").await, ["gone", "kept", "old"], "not even the directory is left");
    let back = acme.request("POST", &at(&id, "unrevert"));
    assert_eq!(send(back).await.status, 200);
    assert_eq!(read(&acme, &id, "old").await, "again");
    assert_eq!(list(&acme, &id, "").await, ["bin", "kept", "new", "old"]);
    assert_eq!(read(&acme, &id, "new/file").await, "hello\n");
    // Another turn settles it: what was taken back stays so.
    assert_eq!(acme.post(&at(&id, "revert"), &json!({ "message_id": later })).await.status, 200);
    work(&acme, &id, json!([{ "do": "write", "path": "other", "text": "x" }])).await;
    assert_eq!(send(acme.request("POST", &at(&id, "unrevert"))).await.status, 200);
    assert_eq!(read(&acme, &id, "old").await, "one\ntwo\nthree\nfour\n");
}

#[tokio::test]
async fn m026_files_go_with_their_session_and_what_is_lost_is_said_to_be_gone() {
    let (app, _upstream, acme) = start().await;
    let (id, other) = (new_session(&acme).await, new_session(&acme).await);
    put(&acme, &id, "a", "x").await;
    put(&acme, &other, "a", "y").await;
    let root = app.data_dir().join("workspaces");
    let of_app = std::fs::read_dir(&root).unwrap().next().unwrap().unwrap().path();
    assert!(of_app.join(&id).join("files/a").is_file());
    assert_eq!(acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
    assert!(!of_app.join(&id).exists());
    assert_eq!(acme.get(&file(&id, "a")).await.status, 404);
    assert_eq!(acme.put_bytes(&file(&id, "a"), "text/plain", "x").await.status, 404);
    assert!(!of_app.join(&id).exists(), "nor does it come back");
    // What no session has is swept away; what is not ours stays.
    let orphan = of_app.join("0190f3c4-0000-7000-8000-000000000000");
    std::fs::create_dir_all(orphan.join("files/x")).unwrap();
    std::fs::write(root.join("note"), "mine").unwrap();
    opg_host::workspace::sweep::orphans(&app.running.app).await.unwrap();
    assert!(!orphan.exists() && root.join("note").exists() && of_app.join(&other).exists());
    assert_eq!(read(&acme, &other, "a").await, "y");
    // Another host, or a disk that was lost.
    let app = app.restart().await;
    let acme = acme.elsewhere(&app.base_url());
    assert_eq!(read(&acme, &other, "a").await, "y", "a restart loses nothing");
    // The disk alone is another: what the host knows credentials by, it still has.
    let elsewhere = app.data_dir().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for key in ["token.pepper", "master.key"] {
        if app.data_dir().join(key).exists() {
            std::fs::copy(app.data_dir().join(key), elsewhere.join(key)).unwrap();
        }
    }
    let app = app.restart_with(|config| config.data_dir.push("elsewhere")).await;
    let acme = acme.elsewhere(&app.base_url());
    for answer in [
        acme.get(&file(&other, "a")).await,
        acme.get(&at(&other, "files")).await,
        acme.put_bytes(&file(&other, "a"), "text/plain", "x").await,
        acme.delete(&file(&other, "a")).await,
        acme.get(&at(&other, "find?q=x")).await,
        acme.get(&at(&other, "diff")).await,
    ] {
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (409, &json!("workspace_gone")),
            "{}",
            answer.text()
        );
    }
    let fresh = new_session(&acme).await;
    put(&acme, &fresh, "a", "z").await;
}

#[tokio::test]
async fn m286_files_are_seen_by_whoever_sees_the_session_and_nobody_else() {
    let (app, _upstream, acme) = start().await;
    let id = create(&acme, json!({})).await;
    put(&acme, &id, "a", "mine").await;
    let reads = acme.with_scopes(&["sessions:read"]).await;
    assert_eq!(read(&reads, &id, "a").await, "mine");
    assert_eq!(reads.put_bytes(&file(&id, "a"), "text/plain", "x").await.status, 403);
    assert_eq!(reads.delete(&file(&id, "a")).await.status, 403);
    let other = app.tenant("other").await;
    let never = "0190f3c4-0000-7000-8000-000000000000";
    for what in ["files", "file?path=a", "find?q=mine", "diff"] {
        let (there, not) = (other.get(&at(&id, what)).await, other.get(&at(never, what)).await);
        let same = |answer: &Answer| answer.json()["detail"].clone();
        assert_eq!((there.status, same(&there)), (404, same(&not)), "{what}");
    }
    assert_eq!(other.put_bytes(&file(&id, "a"), "text/plain", "x").await.status, 404);
    assert_eq!(read(&acme, &id, "a").await, "mine");
}
