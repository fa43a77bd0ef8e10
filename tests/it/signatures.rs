//! Keys an app trusts, and what is uploaded to it then.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
    signing::Signer,
};
use serde_json::{Value, json};

const SIGNATURE: &str = "x-opg-signature";
const WASM: &str = "application/wasm";
const TOOL: &str = "/v1/tenant/tools/thing";

/// Made by minisign 0.11 itself.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../fixtures/signatures/", $name))
    };
}

/// Lets the app trust these keys.
async fn trust(client: &Client, keys: &[String]) {
    let set = client.put("/v1/tenant", &json!({ "trustedKeys": keys })).await;
    assert_eq!((set.status, &set.json()["trustedKeys"]), (200, &json!(keys)), "{}", set.text());
}

async fn upload(
    client: &Client,
    path: &str,
    media_type: &str,
    body: impl Into<Vec<u8>>,
    signature: Option<&str>,
) -> Answer {
    let request = client.request("PUT", path).header("content-type", media_type);
    let request = signature.into_iter().fold(request, |request, sent| request.header(SIGNATURE, sent));
    send(request.body(body.into())).await
}

fn refused_as(answer: &Answer, code: &str) {
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!(code)), "{}", answer.text());
}

#[tokio::test]
async fn m363_an_app_that_trusts_keys_takes_nothing_that_none_of_them_signed_by_any_route() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let (ann, bob, eve) = (Signer::new(1), Signer::new(2), Signer::new(3));
    trust(&acme, &[ann.key(), bob.key()]).await;
    let manifest = json!({ "wasm": [{ "data": STANDARD.encode(guests::EXTISM_KIT) }] }).to_string();
    let typescript = fixture!("hi.ts");
    for (path, media_type, body) in [
        ("/v1/tenant/tools/slow", WASM, guests::SLOW.to_vec()),
        ("/v1/tenant/tools/kit", WASM, guests::EXTISM_KIT.to_vec()),
        ("/v1/tenant/tools/told", "application/vnd.extism.manifest+json", manifest.into_bytes()),
        ("/v1/tenant/tools/hi", "text/typescript", typescript.as_bytes().to_vec()),
        ("/v1/tenant/agents/echo", WASM, guests::AGENT_ECHO.to_vec()),
        ("/v1/tenant/agents/marked", "text/markdown", b"---\ndescription: x\n---\nx".to_vec()),
    ] {
        let put =
            async |signature: Option<&str>| upload(&acme, path, media_type, body.clone(), signature).await;
        let unsigned = put(None).await;
        refused_as(&unsigned, "signature_required");
        let told = unsigned.text();
        assert!(
            told.contains("0101010101010101, 0202020202020202") && told.contains("minisign -S"),
            "{told}"
        );
        refused_as(&put(Some(&eve.sign(&body))).await, "untrusted_key");
        refused_as(&put(Some(&ann.sign(b"other bytes"))).await, "signature_mismatch");
        refused_as(&put(Some("no signature")).await, "bad_signature");
        // With ann's number, by eve.
        let mut forged = STANDARD.decode(eve.sign(&body)).unwrap();
        let line = forged.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let inside = STANDARD.encode([&b"ED"[..], &[1; 8], &[7; 64]].concat());
        forged[line..line + inside.len()].copy_from_slice(inside.as_bytes());
        refused_as(&put(Some(&STANDARD.encode(forged))).await, "signature_mismatch");
        assert_eq!(acme.get(path).await.status, 404, "{path}: nothing was stored");
        assert_eq!(
            app.sql("select count(*)::text from plugin_versions where signed_by is null").await,
            ["0"]
        );

        let taken = put(Some(&bob.sign(&body))).await;
        assert_eq!((taken.status, &taken.json()["signed_by"]), (201, &json!(bob.key())), "{}", taken.text());
        assert_eq!(acme.get(path).await.json()["signed_by"], json!(bob.key()), "{path}");
        let versions = acme.get(&format!("{path}/versions")).await.json();
        assert_eq!(versions["data"][0]["signed_by"], json!(bob.key()), "{path}");
        let again = put(Some(&bob.sign(&body))).await;
        assert_eq!((again.status, &again.json()["version"]), (200, &json!(1)), "nothing new");
        refused_as(&put(None).await, "signature_required");
    }
    let written = "select count(*)::text from audit_events where result = 'failed' and detail ->> 'code' = 'signature_required'";
    assert_eq!(app.sql(written).await, ["12"], "who tries is seen trying");
    // Two signatures are none.
    let two = acme.request("PUT", TOOL).header("content-type", WASM).body(guests::SLOW);
    let two = two.header(SIGNATURE, ann.sign(guests::SLOW)).header(SIGNATURE, bob.sign(guests::SLOW));
    refused_as(&send(two).await, "bad_signature");
}

#[tokio::test]
async fn m363_what_minisign_itself_signed_is_taken_and_what_it_signed_in_its_old_form_is_not() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let key = |file: &str| file.lines().nth(1).unwrap().to_owned();
    let (ann, bob) = (key(fixture!("ann.pub")), key(fixture!("bob.pub")));
    trust(&acme, std::slice::from_ref(&ann)).await;
    let put = async |signature: &str| {
        upload(&acme, TOOL, "text/typescript", fixture!("hi.ts"), Some(&STANDARD.encode(signature))).await
    };
    let by_bob = put(fixture!("hi.ts.by-bob.minisig")).await;
    refused_as(&by_bob, "untrusted_key");
    let numbers = ["9BA1B1EEC6A71DCD", "A3D9C0E864D699CA"];
    assert!(numbers.iter().all(|number| by_bob.text().contains(number)), "{}", by_bob.text());
    let old = put(fixture!("hi.ts.old-form.minisig")).await;
    refused_as(&old, "bad_signature");
    assert!(old.text().contains("-H"), "{}", old.text());
    let taken = put(fixture!("hi.ts.minisig")).await;
    assert_eq!((taken.status, &taken.json()["signed_by"]), (201, &json!(ann)), "{}", taken.text());
    let crlf = fixture!("hi.ts.minisig").replace('\n', "\r\n");
    assert_ne!(put(&crlf).await.status, 500);
    trust(&acme, std::slice::from_ref(&bob)).await;
    let taken = put(fixture!("hi.ts.by-bob.minisig")).await;
    assert_eq!(
        (&taken.json()["signed_by"], &taken.json()["version"], &taken.json()["status"]),
        (&json!(bob), &json!(2), &json!("active")),
        "the same bytes, signed by somebody else, are a version of their own: {}",
        taken.text()
    );
}

#[tokio::test]
async fn m363_without_keys_a_signature_is_refused_rather_than_passed_over() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let sent = Signer::new(1).sign(guests::SLOW);
    let refused = upload(&acme, TOOL, WASM, guests::SLOW, Some(&sent)).await;
    refused_as(&refused, "no_trusted_keys");
    assert!(refused.text().contains("trustedKeys"), "{}", refused.text());
    refused_as(&upload(&acme, TOOL, WASM, guests::SLOW, Some("?")).await, "bad_signature");
    assert_eq!(acme.get(TOOL).await.status, 404);
    let unsigned = upload(&acme, TOOL, WASM, guests::SLOW, None).await;
    assert_eq!((unsigned.status, &unsigned.json()["signed_by"]), (201, &Value::Null), "{}", unsigned.text());
}

#[tokio::test]
async fn m363_keys_are_the_apps_configuration_and_whoever_uploads_cannot_change_them() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let (ann, bob) = (Signer::new(1).key(), Signer::new(2).key());
    for (keys, wrong) in [
        (json!(["RWx"]), "/trustedKeys/0"),
        (json!([ann, format!("{bob}\n")]), "/trustedKeys/1"),
        (json!([format!("untrusted comment: x\n{ann}")]), "/trustedKeys/0"),
        (json!([ann, ann]), "/trustedKeys/1"),
        (json!((0..21).map(|seed| Signer::new(seed).key()).collect::<Vec<_>>()), "/trustedKeys"),
        (json!("RW"), "/trustedKeys"),
        (json!([7]), "/trustedKeys/0"),
    ] {
        let refused = acme.put("/v1/tenant", &json!({ "trustedKeys": keys })).await;
        assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!(wrong)), "{keys}");
    }
    assert_eq!(acme.get("/v1/tenant").await.json()["trustedKeys"], json!([]));

    trust(&acme, &[ann.clone(), bob.clone()]).await;
    let renamed = acme.put("/v1/tenant", &json!({ "name": "Acme" })).await;
    let both = json!([ann, bob]);
    assert_eq!(renamed.json()["trustedKeys"], both, "who does not know of them does not take them away");
    let narrow = acme
        .with_scopes(&["tools:write", "tools:read", "tools:approve", "agents:write", "tenant:read"])
        .await;
    assert_eq!(
        narrow.get("/v1/tenant").await.json()["trustedKeys"],
        both,
        "what must be signed with may be known"
    );
    assert_eq!(narrow.put("/v1/tenant", &json!({ "trustedKeys": [] })).await.status, 403);
    for approve in ["", "?approve=1"] {
        refused_as(
            &upload(&narrow, &format!("{TOOL}{approve}"), WASM, guests::SLOW, None).await,
            "signature_required",
        );
    }
    trust(&acme, &[]).await;
    assert_eq!(upload(&narrow, TOOL, WASM, guests::SLOW, None).await.status, 201);
    let audited = "select (detail -> 'trusted_keys' ->> 'before')::jsonb::text from audit_events
                   where action = 'tenant.write' and detail ? 'trusted_keys' order by audit_id";
    let before = app.sql(audited).await;
    assert_eq!(before.len(), 2, "{before:?}");
    assert_eq!((before[0].as_str(), before[1].contains(&ann)), ("[]", true), "{before:?}");

    // An app may have them from the start.
    let made = app.tenant_with(json!({ "id": "strict", "trustedKeys": [ann] })).await;
    refused_as(&upload(&made, TOOL, WASM, guests::SLOW, None).await, "signature_required");
    let wrong = json!({ "id": "wrong", "trustedKeys": ["x"] });
    let wrong = app.operator().post("/v1/admin/tenants", &wrong).await;
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (422, &json!("/trustedKeys/0")));
}

#[tokio::test]
async fn m363_nothing_unsigned_begins_to_run_by_a_review_or_a_rollback_and_what_runs_goes_on() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let (ann, bob) = (Signer::new(1), Signer::new(2));
    let path = "/v1/tenant/tools/word-count";
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    // A second and a third version, of which the last waits.
    let padded = [guests::WORD_COUNT, &[0, 2, 1, b'x'][..]].concat();
    assert_eq!(upload(&acme, path, WASM, padded.clone(), None).await.json()["status"], "active");
    assert_eq!(upload(&acme, path, WASM, guests::GRABBY, None).await.json()["status"], "pending_review");
    trust(&acme, &[ann.key()]).await;

    let count = acme.invoke("word-count", json!({ "text": "a b" })).await;
    assert_eq!(count.status, 200, "what runs goes on: {}", count.text());
    let review = |version: i32| json!({ "version": version, "grant": "all" });
    for (route, body) in
        [("review", review(3)), ("rollback", json!({ "version": 1 })), ("rollback", json!({}))]
    {
        let refused = acme.post(&format!("{path}/{route}"), &body).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (409, &json!("untrusted_version")),
            "{route}: {}",
            refused.text()
        );
    }
    assert_eq!(acme.get(path).await.json()["active_version"], 2);
    let reviewed = acme.post(&format!("{path}/review"), &review(2)).await;
    assert_eq!(reviewed.status, 200, "what it may can be decided anew: {}", reviewed.text());

    // The same bytes once more, signed: a version that may run.
    let signed = upload(&acme, path, WASM, guests::WORD_COUNT, Some(&ann.sign(guests::WORD_COUNT))).await;
    assert_eq!(
        (&signed.json()["version"], &signed.json()["status"]),
        (&json!(4), &json!("active")),
        "{}",
        signed.text()
    );
    let fifth = upload(&acme, path, WASM, padded.clone(), Some(&ann.sign(&padded))).await;
    assert_eq!((&fifth.json()["version"], &fifth.json()["status"]), (&json!(5), &json!("active")));
    let back = acme.post(&format!("{path}/rollback"), &json!({})).await;
    assert_eq!((back.status, &back.json()["version"]), (200, &json!(4)), "{}", back.text());

    // Nobody trusts ann any more.
    trust(&acme, &[bob.key()]).await;
    let refused = acme.post(&format!("{path}/rollback"), &json!({ "version": 5 })).await;
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("untrusted_version")));
    assert_eq!(acme.invoke("word-count", json!({ "text": "a b" })).await.status, 200);
    // Signatures are not asked for any more.
    trust(&acme, &[]).await;
    assert_eq!(acme.post(&format!("{path}/rollback"), &json!({ "version": 1 })).await.status, 200);
}
