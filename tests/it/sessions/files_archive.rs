//! All files of a session in one archive.

use super::{
    at,
    files::{file, put},
    files_hostile::on_disk,
    new_session, start,
};
use opg_host::limits::WORKSPACE_FILE_BYTES_MAX;
use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

fn unpack(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("it is an archive");
    (0..archive.len())
        .map(|at| {
            let mut entry = archive.by_index(at).unwrap();
            let mut bytes = vec![];
            entry.read_to_end(&mut bytes).expect("its checksum is right");
            (entry.name().unwrap().into_owned(), bytes)
        })
        .collect()
}

#[tokio::test]
async fn m283_m323_all_files_come_in_an_archive_with_names_that_lead_nowhere() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    let empty = acme.get(&at(&id, "export.zip")).await;
    assert_eq!((empty.status, unpack(&empty.body).len()), (200, 0), "nothing was written");
    put(&acme, &id, "a.txt", "one").await;
    put(&acme, &id, "src/日本 x.rs", "two").await;
    let noise: Vec<u8> =
        (0..3_000_000_u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    assert_eq!(acme.put_bytes(&file(&id, "big"), "x/y", noise.clone()).await.status, 201);
    let files = on_disk(app.data_dir(), &id);
    std::os::unix::fs::symlink("/etc/passwd", files.join("link")).unwrap();
    std::fs::write(files.join("..\\evil"), "x").unwrap();
    let got = acme.get(&at(&id, "export.zip")).await;
    assert_eq!((got.status, got.header("content-type")), (200, "application/zip"));
    assert!(
        got.header("content-disposition").starts_with("attachment"),
        "{}",
        got.header("content-disposition")
    );
    let unpacked = unpack(&got.body);
    assert_eq!(unpacked.keys().collect::<Vec<_>>(), ["a.txt", "big", "src/", "src/日本 x.rs"]);
    assert_eq!((&unpacked["a.txt"][..], unpacked["big"] == noise), (&b"one"[..], true));
    let reads = acme.with_scopes(&["chat:write"]).await;
    assert_eq!(reads.get(&at(&id, "export.zip")).await.status, 403);
}

#[tokio::test]
async fn m283_more_than_fits_is_refused_before_the_first_byte_and_a_reader_may_go() {
    let (app, _upstream, acme) = start().await;
    let id = new_session(&acme).await;
    let noise: Vec<u8> = (0..WORKSPACE_FILE_BYTES_MAX / 4)
        .flat_map(|at| (at * at * 7919).to_be_bytes()[4..].to_vec())
        .collect();
    for name in ["a", "b", "c"] {
        assert_eq!(acme.put_bytes(&file(&id, name), "x/y", noise.clone()).await.status, 201);
    }
    // Who begins to read and goes away, many times, holds up nobody.
    for _ in 0..20 {
        let mut began = acme.request("GET", &at(&id, "export.zip")).send().await.unwrap();
        assert!(began.chunk().await.unwrap().is_some());
    }
    put(&acme, &id, "d", "x").await;
    // What changes meanwhile is one or the other, and the archive is whole.
    let archive = at(&id, "export.zip");
    let (got, _) = tokio::join!(acme.get(&archive), async {
        for _ in 0..50 {
            put(&acme, &id, "d", &"y".repeat(100_000)).await;
            put(&acme, &id, "c", "small").await;
        }
        acme.delete(&file(&id, "b")).await
    });
    assert_eq!(got.status, 200);
    let unpacked = unpack(&got.body);
    assert!(unpacked["a"] == noise && unpacked.contains_key("d"), "{:?}", unpacked.keys());
    let huge = std::fs::File::create(on_disk(app.data_dir(), &id).join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let refused = acme.get(&at(&id, "export.zip")).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (413, Some("payload_too_large")));
}
