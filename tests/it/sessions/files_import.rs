//! Files from an archive: all of them or none, and whatever an archive says.

use super::{
    Watch, at,
    files::{file, list, put, read},
    files_hostile::on_disk,
    new_session, of_kind, start,
};
use opg_host::limits::{WORKSPACE_BYTES_MAX, WORKSPACE_FILE_BYTES_MAX, WORKSPACE_FILES_MAX};
use opg_tests::app::{Answer, Client, send};
use serde_json::json;
use std::io::{Cursor, Write};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

async fn import(client: &Client, session: &str, query: &str, archive: Vec<u8>) -> Answer {
    let request = client.request("POST", &at(session, &format!("import.zip{query}")));
    send(request.header("content-type", "application/zip").body(archive)).await
}

const DEFLATE: CompressionMethod = CompressionMethod::Deflated;

/// An archive as a library makes it.
fn packed(method: CompressionMethod, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, bytes) in files {
        match name.strip_suffix('/') {
            Some(directory) => zip.add_directory(directory, options).unwrap(),
            None => {
                zip.start_file(*name, options).unwrap();
                zip.write_all(bytes).unwrap();
            }
        }
    }
    zip.finish().unwrap().into_inner()
}

/// An entry of an archive made by hand: what it says of itself need not be so.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    bytes: Vec<u8>,
    flags: u16,
    method: u16,
    crc: u32,
    size: u32,
    attributes: u32,
    /// What stands before the bytes, where that is something else.
    local_name: Option<Vec<u8>>,
}

fn entry(name: &str, bytes: &[u8]) -> Entry {
    Entry {
        name: name.as_bytes().to_vec(),
        bytes: bytes.to_vec(),
        flags: 0,
        method: 0,
        crc: crc(bytes),
        size: bytes.len().try_into().unwrap(),
        attributes: 0,
        local_name: None,
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(!0, fold)
}

fn end(entries: u16, bytes: usize, at: usize) -> Vec<u8> {
    let mut end = b"PK\x05\x06\0\0\0\0".to_vec();
    end.extend([entries.to_le_bytes(), entries.to_le_bytes()].concat());
    end.extend(
        [u32::try_from(bytes).unwrap().to_le_bytes(), u32::try_from(at).unwrap().to_le_bytes()].concat(),
    );
    end.extend([0, 0]);
    end
}

fn by_hand(entries: &[Entry]) -> Vec<u8> {
    let (mut archive, mut directory) = (vec![], vec![]);
    for one in entries {
        let (at, length) = (archive.len() as u32, one.bytes.len() as u32);
        let numbers = |name: &[u8]| {
            let mut numbers = [one.flags, one.method, 0, 0].map(u16::to_le_bytes).concat();
            numbers.extend([one.crc, length, one.size].map(u32::to_le_bytes).concat());
            numbers.extend([name.len() as u16, 0].map(u16::to_le_bytes).concat());
            numbers
        };
        let local = one.local_name.as_ref().unwrap_or(&one.name);
        archive.extend([b"PK\x03\x04\x14\0".as_slice(), &numbers(local), local, &one.bytes].concat());
        directory.extend([b"PK\x01\x02\x14\x03\x14\0".as_slice(), &numbers(&one.name)].concat());
        directory.extend([0; 6]);
        directory.extend([one.attributes.to_le_bytes(), at.to_le_bytes()].concat());
        directory.extend(&one.name);
    }
    let at = archive.len();
    archive.extend(&directory);
    archive.extend(end(entries.len() as u16, directory.len(), at));
    archive
}

#[tokio::test]
async fn m026_files_come_from_an_archive_and_what_goes_out_comes_in_again() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    put(&acme, &id, "old", "stays").await;
    put(&acme, &id, "a.txt", "old").await;
    let mut watch = Watch::open(&acme, &id, None).await;
    let archive = packed(
        DEFLATE,
        &[("a.txt", b"one"), ("empty/", b""), ("src/", b""), ("src/\u{65e5}\u{672c} x.rs", b"two")],
    );
    let taken = import(&acme, &id, "", archive.clone()).await;
    assert_eq!((taken.status, taken.json()), (200, json!({ "files": 2, "bytes": 6 })), "{}", taken.text());
    let told = watch.until(|event| event["path"] == "src/\u{65e5}\u{672c} x.rs").await;
    assert_eq!(of_kind(&told, "file.changed")[0]["kind"], "modified");
    assert_eq!(list(&acme, &id, "").await, ["a.txt", "empty", "old", "src"]);
    assert_eq!(read(&acme, &id, "a.txt").await, "one");
    let below = import(&acme, &id, "?path=in/here", by_hand(&[entry("stored", b"as it is")])).await;
    assert_eq!(below.status, 200, "{}", below.text());
    assert_eq!(read(&acme, &id, "in/here/stored").await, "as it is");
    let audit = acme.get("/v1/tenant/audit?action=sessions.files_import").await.json();
    assert_eq!(audit["data"][1]["detail"], json!({ "files": 2, "bytes": 6 }));

    // What a session gives out another takes, of whatever app.
    let whole = acme.get(&at(&id, "export.zip")).await.body.to_vec();
    let other = app.tenant("other").await;
    let copy = super::create(&other, json!({})).await;
    let taken = import(&other, &copy, "", whole).await;
    assert_eq!((taken.status, &taken.json()["files"]), (200, &json!(4)), "{}", taken.text());
    assert_eq!(list(&other, &copy, "").await, list(&acme, &id, "").await);
    assert_eq!(read(&other, &copy, "src/\u{65e5}\u{672c} x.rs").await, "two");

    // Not by who may not, nor into what is not theirs; and an empty one changes nothing.
    assert_eq!(import(&other, &id, "", archive.clone()).await.status, 404);
    let reads = acme.with_scopes(&["sessions:read"]).await;
    assert_eq!(import(&reads, &id, "", archive.clone()).await.status, 403);
    assert_eq!(import(&acme, &id, "?path=../x", archive).await.status, 422);
    assert_eq!(import(&acme, &id, "", packed(DEFLATE, &[])).await.json(), json!({ "files": 0, "bytes": 0 }));
    // An archive in an archive is a file.
    let nested = packed(DEFLATE, &[("inner.zip", packed(DEFLATE, &[("inner", b"x")]).as_slice())]);
    assert_eq!(import(&acme, &id, "", nested).await.status, 200);
    assert_eq!(acme.get(&file(&id, "inner.zip")).await.status, 200);
}

#[tokio::test]
async fn m026_a_hostile_archive_is_refused_whole_and_nothing_is_touched() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    put(&acme, &id, "a", "mine").await;
    put(&acme, &id, "dir/b", "mine").await;
    let fine = entry("fine", b"x");
    let named = |name: &str| by_hand(&[fine.clone(), entry(name, b"evil")]);
    let with = |change: &dyn Fn(&mut Entry)| {
        let mut evil = entry("evil", b"evil");
        change(&mut evil);
        by_hand(&[fine.clone(), evil])
    };
    let (long, deep) = ("n".repeat(256), "d/".repeat(40) + "x");
    let names = [
        "../evil",
        "a/../../evil",
        "..",
        "/etc/evil",
        "/workspace/evil",
        "//evil",
        "..\\evil",
        "dir\\evil",
        "C:/evil",
        "C:evil",
        "e\0vil",
        "e\nvil",
        "con",
        "dir/NUL.txt",
        "com1",
        &long,
        &deep,
    ];
    let mut cases: Vec<(String, Vec<u8>)> =
        names.iter().map(|name| (format!("the name {name:?}"), named(name))).collect();
    let mut case = |what: &str, archive: Vec<u8>| cases.push((what.to_owned(), archive));
    case("a name twice", by_hand(&[entry("x", b"1"), entry("x", b"2")]));
    case("names that differ by capitals", by_hand(&[entry("x", b"1"), entry("X", b"2")]));
    case("directories that do", by_hand(&[entry("d/x", b"1"), entry("D/y", b"2")]));
    case("forms of a letter", by_hand(&[entry("\u{e9}", b"1"), entry("e\u{301}", b"2")]));
    case("a file and a directory", by_hand(&[entry("x", b"1"), entry("x/y", b"2")]));
    case("a symbolic link", with(&|evil| evil.attributes = 0o120_777 << 16));
    case("a device", with(&|evil| evil.attributes = 0o020_666 << 16));
    case("a pipe", with(&|evil| evil.attributes = 0o010_666 << 16));
    case("a directory that is a file", with(&|evil| evil.attributes = 0o040_755 << 16));
    case("encryption", with(&|evil| evil.flags = 1));
    case("strong encryption", with(&|evil| evil.flags = 1 | 1 << 6));
    case("LZMA", with(&|evil| evil.method = 14));
    case("AES", with(&|evil| evil.method = 99));
    case("no UTF-8", with(&|evil| evil.name = b"\xff\xfe".to_vec()));
    case("another name before its bytes", with(&|evil| evil.local_name = Some(b"fine".to_vec())));
    case("a wrong checksum", with(&|evil| evil.crc ^= 1));
    case("two lengths", with(&|evil| evil.size += 1));
    case("no Deflate", with(&|evil| evil.method = 8));
    let mut longer = packed(DEFLATE, &[("evil", vec![b'x'; 5000].as_slice())]);
    // What the directory says of its size, which comes 24 bytes after its beginning.
    let directory = longer.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    longer[directory + 24..directory + 28].copy_from_slice(&10_u32.to_le_bytes());
    case("more than it says", longer);
    let whole = by_hand(&[fine.clone(), entry("evil", b"evil")]);
    case("nothing", vec![]);
    case("no archive", b"hello, world; this is no archive at all".to_vec());
    case("its beginning", whole[..whole.len() / 2].to_vec());
    case("something before it", [b"#!/bin/sh\n".as_slice(), &whole].concat());
    case("something after it", [whole.as_slice(), b"more"].concat());
    let mut fewer = whole.clone();
    let (end_at, one) = (fewer.len() - 22, 1_u16.to_le_bytes());
    fewer[end_at + 8..end_at + 12].copy_from_slice(&[one, one].concat());
    case("more entries than it says", fewer.clone());
    fewer[end_at + 8..end_at + 12].copy_from_slice(&[3, 0, 3, 0]);
    case("fewer entries than it says", fewer.clone());
    fewer[end_at + 4] = 1;
    case("a part of several", fewer);
    // Both entries are the same bytes.
    let mut overlapping = by_hand(&[entry("one", b"evil"), entry("one", b"evil")]);
    let second = overlapping.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    overlapping[second + 42..second + 46].copy_from_slice(&0_u32.to_le_bytes());
    case("entries that overlap", overlapping);
    for (what, archive) in cases {
        let refused = import(&acme, &id, "", archive).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (422, &json!("bad_archive")),
            "{what}: {}",
            refused.text()
        );
    }
    // What is in the way of something else is not overwritten, and nothing else is put there either.
    for (archive, code) in [
        (by_hand(&[fine.clone(), entry("dir", b"x")]), "is_a_directory"),
        (by_hand(&[fine.clone(), entry("a/b", b"x")]), "not_a_directory"),
    ] {
        let refused = import(&acme, &id, "", archive).await;
        assert_eq!((refused.status, &refused.json()["code"]), (409, &json!(code)), "{}", refused.text());
    }
    assert_eq!(list(&acme, &id, "").await, ["a", "dir"]);
    assert_eq!(
        (read(&acme, &id, "a").await, read(&acme, &id, "dir/b").await),
        ("mine".into(), "mine".into())
    );
    let home = on_disk(app.data_dir(), &id).parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(home.join("staging")).unwrap().count(), 0, "nothing is left of it");
    assert_eq!(std::fs::read_dir(home.parent().unwrap()).unwrap().count(), 1, "and nothing is beside it");
    assert_eq!(import(&acme, &id, "", whole).await.status, 200);
}

#[tokio::test]
async fn m026_bombs_are_not_unpacked_and_what_does_not_fit_leaves_nothing() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    let zeros = vec![0; usize::try_from(WORKSPACE_FILE_BYTES_MAX).unwrap()];
    let files: Vec<(String, &[u8])> = (0..3).map(|at| (format!("f{at}"), zeros.as_slice())).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let too_large = async |what: &str, archive: Vec<u8>| {
        let began = std::time::Instant::now();
        let refused = import(&acme, &id, "", archive).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (413, &json!("payload_too_large")),
            "{what}: {}",
            refused.text()
        );
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{what}: {:?}", began.elapsed());
    };
    too_large("much of nothing", packed(DEFLATE, &files)).await;
    let mut tera = by_hand(&[Entry { method: 8, size: u32::MAX, ..entry("tera", b"\x03\0") }]);
    too_large("4 GiB, it says", tera.clone()).await;
    // 1 TiB, as large archives say it: in a field that is added.
    let directory = tera.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let field = [&[1, 0, 8, 0][..], &(1_u64 << 40).to_le_bytes()].concat();
    drop(tera.splice(directory + 50..directory + 50, field.iter().copied()));
    tera[directory + 30..directory + 32].copy_from_slice(&(field.len() as u16).to_le_bytes());
    let end_at = tera.len() - 22;
    tera[end_at + 12..end_at + 16].copy_from_slice(&((end_at - directory) as u32).to_le_bytes());
    too_large("1 TiB, it says", tera).await;
    let many: Vec<Entry> = (0..=WORKSPACE_FILES_MAX).map(|at| entry(&at.to_string(), b"")).collect();
    too_large("too many", by_hand(&many)).await;
    // A million, it says, and as many there are.
    let mut million: Vec<u8> = vec![];
    let mut one = b"PK\x01\x02".to_vec();
    one.extend([0; 42]);
    (0..1_000_000).for_each(|_| million.extend(&one));
    let (bytes, count) = (million.len() as u64, 1_000_000_u64);
    let mut large = b"PK\x06\x06".to_vec();
    large.extend([44_u64.to_le_bytes().as_slice(), &[45, 0, 45, 0], &[0; 8]].concat());
    large.extend([count, count, bytes, 0].map(u64::to_le_bytes).concat());
    large.extend([b"PK\x06\x07\0\0\0\0".as_slice(), &bytes.to_le_bytes(), &1_u32.to_le_bytes()].concat());
    let mut small = end(u16::MAX, 0, 0);
    small[12..20].fill(0xff);
    too_large("a million", [million, large, small].concat()).await;
    too_large("the archive itself", vec![0; usize::try_from(WORKSPACE_BYTES_MAX).unwrap() + 1]).await;
    assert_eq!(acme.get(&at(&id, "files")).await.json()["data"], json!([]));

    // What is in it fits by itself and not beside what is there: nothing of it stays, and there is room again.
    let noise: Vec<u8> = (0..WORKSPACE_FILE_BYTES_MAX / 4)
        .flat_map(|at| (at * at * 7919).to_be_bytes()[4..].to_vec())
        .collect();
    for at in 0..7 {
        assert_eq!(acme.put_bytes(&file(&id, &format!("n{at}")), "x/y", noise.clone()).await.status, 201);
    }
    let two = packed(CompressionMethod::Stored, &[("x", &noise), ("y", &noise)]);
    let refused = import(&acme, &id, "", two).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &json!("workspace_full")),
        "{}",
        refused.text()
    );
    assert_eq!(list(&acme, &id, "").await.len(), 7);
    let home = on_disk(app.data_dir(), &id).parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(home.join("staging")).unwrap().count(), 0);
    assert_eq!(
        import(&acme, &id, "", packed(CompressionMethod::Stored, &[("x", &noise[1000..])])).await.status,
        200
    );
}

#[tokio::test]
async fn m026_one_archive_of_an_app_comes_at_a_time_and_who_goes_away_keeps_nobody_waiting() {
    let (app, _upstream, acme) = start().await;
    let (id, other) = (new_session(&acme).await, app.tenant("other").await);
    let theirs = super::create(&other, json!({})).await;
    let archive = by_hand(&[entry("a", b"x")]);
    // An archive of which nothing comes but its beginning, as long as the sender is kept.
    let begin = || {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
        sender.try_send(Ok(archive[..10].to_vec())).unwrap();
        let body = reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
        (tokio::spawn(send(acme.request("POST", &at(&id, "import.zip")).body(body))), sender)
    };
    let (mut slow, mut sender) = begin();
    let answer = async {
        loop {
            let answer = import(&acme, &id, "", archive.clone()).await;
            if answer.status == 429 {
                break answer;
            }
            // The whole one was there before it, and it was refused.
            if slow.is_finished() {
                (slow, sender) = begin();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), answer).await.unwrap();
    assert_eq!(answer.json()["code"], "too_many_imports");
    assert_eq!(import(&other, &theirs, "", archive.clone()).await.status, 200, "another app is not held up");
    slow.abort();
    drop(sender);
    let free = async {
        while import(&acme, &id, "", archive.clone()).await.status != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), free).await.unwrap();
}
