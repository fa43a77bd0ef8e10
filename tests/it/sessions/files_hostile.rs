//! Files that are meant to do harm: names, links, holes, numbers.

use super::{
    at,
    files::{file, list, put, read, work, worker},
    new_session, start,
};
use opg_host::limits::{WORKSPACE_BYTES_MAX, WORKSPACE_FILE_BYTES_MAX, WORKSPACE_FILES_MAX};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Where the files of a session are on the disk.
pub(super) fn on_disk(data_dir: &Path, session: &str) -> PathBuf {
    let apps = std::fs::read_dir(data_dir.join("workspaces")).unwrap();
    let found = apps.map(|app| app.unwrap().path().join(session).join("files")).find(|files| files.is_dir());
    found.expect("the session has files")
}

#[tokio::test]
async fn m286_hostile_names_are_refused_at_every_door() {
    let (app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    put(&acme, &id, "a", "x").await;
    let (long, deep) = ("n".repeat(256), "d/".repeat(33) + "x");
    let names = [
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "//etc/passwd",
        "/workspace/../../x",
        "..\\x",
        "C:\\x",
        "a\nb",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}",
        &long,
        &deep,
    ];
    let mut steps = vec![];
    for name in names {
        for answer in [
            acme.get(&file(&id, name)).await,
            acme.put_bytes(&file(&id, name), "text/plain", "x").await,
            acme.delete(&file(&id, name)).await,
        ] {
            assert_eq!(answer.status, 422, "{name:?}: {}", answer.text());
        }
        steps.push(json!({ "do": "write", "path": name, "text": "x" }));
        steps.push(json!({ "do": "rename", "path": "a", "to": name }));
        steps.push(json!({ "do": "mkdir", "path": name }));
    }
    assert_eq!(acme.get(&at(&id, "file?path=a%00b")).await.status, 400);
    let (answers, _) = work(&acme, &id, json!(steps)).await;
    assert!(answers.iter().all(|answer| answer["error"] == "invalid"), "{answers:#?}");
    assert_eq!(list(&acme, &id, "").await, ["a"]);
    let home = on_disk(app.data_dir(), &id);
    assert_eq!(std::fs::read_dir(home.parent().unwrap().parent().unwrap()).unwrap().count(), 1);
    // Strange, and harmless.
    for name in ["...", "-rf", "con", ".git", "a b", "日本", "%2e%2e", "$(x)", "'", "*"] {
        put(&acme, &id, name, name).await;
        assert_eq!(read(&acme, &id, name).await, name);
    }
}

#[tokio::test]
async fn m286_a_link_on_the_disk_leads_nowhere_and_is_as_if_it_were_not() {
    let (app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    put(&acme, &id, "real/a", "inside").await;
    let files = on_disk(app.data_dir(), &id);
    let outside = app.data_dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "outside").unwrap();
    use std::os::unix::fs::symlink;
    symlink(&outside, files.join("dir")).unwrap();
    symlink(outside.join("secret"), files.join("link")).unwrap();
    symlink("real", files.join("within")).unwrap();
    symlink("/", files.join("root")).unwrap();
    // Made elsewhere: the path of a socket is short.
    let short = tempfile::tempdir().unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(short.path().join("s")).unwrap();
    std::fs::rename(short.path().join("s"), files.join("socket")).unwrap();
    std::fs::write(files.join("b\nc"), "a name that is none").unwrap();
    assert_eq!(list(&acme, &id, "").await, ["real"]);
    let through = ["link", "dir/secret", "within/a", "root/etc/passwd", "socket"];
    for path in through {
        assert_eq!(acme.get(&file(&id, path)).await.status, 404, "{path}");
        assert_eq!(acme.delete(&file(&id, path)).await.status, 404, "{path}");
    }
    assert_eq!(acme.get(&at(&id, "find?q=outside")).await.json()["data"], json!([]));
    let mut steps = vec![];
    for path in through {
        steps.push(json!({ "do": "read", "path": path }));
        steps.push(json!({ "do": "stat", "path": path }));
        steps.push(json!({ "do": "remove", "path": path, "all": true }));
        steps.push(json!({ "do": "rename", "path": path, "to": "stolen" }));
    }
    let (answers, _) = work(&acme, &id, json!(steps)).await;
    assert!(answers.iter().all(|answer| answer["error"] == "not-found"), "{answers:#?}");
    // What is written where a link is takes its place, and never goes through it.
    put(&acme, &id, "link", "mine").await;
    let write = json!([
        { "do": "write", "path": "dir/new", "text": "x" },
        { "do": "write", "path": "within/a", "text": "x" },
        { "do": "write_at", "path": "link", "text": "!" },
    ]);
    let (answers, _) = work(&acme, &id, write).await;
    assert!(answers[0].get("ok").is_none() && answers[1].get("ok").is_none(), "{answers:?}");
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "outside");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "nothing outside is touched");
    assert_eq!(
        (read(&acme, &id, "link").await.as_str(), read(&acme, &id, "real/a").await.as_str()),
        ("mine!", "inside")
    );
    assert_eq!(acme.delete(&file(&id, "real")).await.status, 204);
    assert_eq!(acme.delete(&format!("/v1/sessions/{id}")).await.status, 204);
    assert_eq!(
        std::fs::read_to_string(outside.join("secret")).unwrap(),
        "outside",
        "not by removing it either"
    );
    assert!(!files.exists());
}

#[tokio::test]
async fn m286_a_file_with_holes_counts_whole_and_a_huge_one_is_refused_or_bounded() {
    let (app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    let (file_max, half) = (WORKSPACE_FILE_BYTES_MAX, WORKSPACE_FILE_BYTES_MAX / 2);
    let mut steps = vec![
        json!({ "do": "write", "path": "a", "text": "old" }),
        json!({ "do": "write_at", "path": "a", "text": "x", "offset": 1_u64 << 40 }),
        json!({ "do": "write_at", "path": "a", "text": "x", "offset": u64::MAX }),
        json!({ "do": "write_at", "path": "a", "text": "x", "offset": file_max }),
        json!({ "do": "read", "path": "a" }),
    ];
    // One byte each, and holes as large as may be: as if they were written.
    let fits = WORKSPACE_BYTES_MAX / half;
    steps.extend(
        (0..fits + 4)
            .map(|at| json!({ "do": "write_at", "path": format!("h{at}"), "text": "x", "offset": half })),
    );
    let (answers, _) = work(&acme, &id, json!(steps)).await;
    assert!(answers[1..4].iter().all(|answer| answer["error"] == "limit"), "{answers:#?}");
    assert_eq!(answers[4]["ok"]["text"], "old");
    let written = answers[5..].iter().filter(|answer| answer.get("ok").is_some()).count() as u64;
    assert!(written < fits && written >= fits - 2, "{written} of {fits}");
    assert_eq!(answers.last().unwrap()["error"], "limit");

    // Somebody with the machine's disk puts one there: it is shown, and nobody waits for it.
    let other = new_session(&acme).await;
    put(&acme, &other, "a", "x").await;
    let huge = std::fs::File::create(on_disk(app.data_dir(), &other).join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let before = std::time::Instant::now();
    assert_eq!(list(&acme, &other, "").await, ["a", "huge"]);
    assert_eq!(acme.get(&file(&other, "huge")).await.status, 413);
    let part = acme.request("GET", &file(&other, "huge")).header("range", "bytes=1099511627770-");
    assert_eq!(opg_tests::app::send(part).await.text(), "\0".repeat(6));
    assert_eq!(acme.get(&at(&other, "find?q=x")).await.json()["data"][0]["path"], "a");
    assert!(before.elapsed() < std::time::Duration::from_secs(20), "{:?}", before.elapsed());
    assert_eq!(acme.delete(&file(&other, "huge")).await.status, 204);
}

#[tokio::test]
async fn m286_a_flood_of_files_ends_at_the_limit_and_the_neighbour_goes_on() {
    let (app, _upstream, acme) = start().await;
    let id = worker(&acme).await;
    let (answers, _) = work(&acme, &id, json!([{ "do": "many", "path": "d", "times": 100_000 }])).await;
    let written = answers[0]["ok"]["written"].as_u64().unwrap();
    assert!(written > 100 && written < WORKSPACE_FILES_MAX, "{answers:?}");
    assert_eq!(answers[0]["ok"]["error"], "limit", "{answers:?}");
    let neighbour = new_session(&acme).await;
    put(&acme, &neighbour, "a", "x").await;

    // A directory that somebody filled behind our back is not waited for.
    let files = on_disk(app.data_dir(), &neighbour);
    std::fs::create_dir(files.join("full")).unwrap();
    for at in 0..=WORKSPACE_FILES_MAX * 2 {
        std::fs::File::create(files.join("full").join(at.to_string())).unwrap();
    }
    for what in ["files?path=full", "find?q=x"] {
        let refused = acme.get(&at(&neighbour, what)).await;
        assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("too_many_files")), "{what}");
    }
    assert_eq!(list(&acme, &neighbour, "").await, ["a", "full"]);
    assert_eq!(acme.delete(&format!("/v1/sessions/{neighbour}")).await.status, 204);
    assert!(!files.exists());
}
