//! Secrets of an app: names come out, values never.

use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
};
use serde_json::{Value, json};

async fn env(client: &Client, text: impl Into<String>) -> Answer {
    send(
        client
            .request("PUT", "/v1/tenant/secrets")
            .header("content-type", "text/plain; charset=utf-8")
            .body(text.into()),
    )
    .await
}

async fn names(client: &Client) -> Vec<String> {
    let list = client.get("/v1/tenant/secrets?limit=200").await.json();
    list["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn m227_names_are_listed_with_what_uses_them_and_never_a_value() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.install_tool("grabby", guests::GRABBY).await;
    let put = json!({ "set": { "API_KEY": "the-value-itself", "UNUSED": "another-value" } });
    let answer = acme.put("/v1/tenant/secrets", &put).await;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    let list = acme.get("/v1/tenant/secrets").await;
    assert_eq!(list.header("cache-control"), "no-store");
    assert!(!list.text().contains("value"), "{}", list.text());
    let data = list.json()["data"].clone();
    assert_eq!((&data[0]["name"], &data[0]["used_by"]), (&json!("API_KEY"), &json!(["tool/grabby"])));
    assert_eq!((&data[1]["name"], &data[1]["used_by"]), (&json!("UNUSED"), &json!([])));
    assert!(data[0]["updated_at"].is_string());
    let keys: Vec<_> = data[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["name", "push_hosts", "updated_at", "used_by"]);
    assert_eq!(data[0]["push_hosts"], json!([]));
    assert!(names(&app.tenant("other").await).await.is_empty());

    let first = acme.get("/v1/tenant/secrets?limit=1").await.json();
    assert_eq!((&first["data"][0]["name"], &first["has_more"]), (&json!("API_KEY"), &json!(true)));
    let next = format!("/v1/tenant/secrets?limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    let next = acme.get(&next).await.json();
    assert_eq!((&next["data"][0]["name"], &next["has_more"]), (&json!("UNUSED"), &json!(false)));
}

#[tokio::test]
async fn m228_a_request_is_done_whole_or_not_at_all() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    assert_eq!(
        acme.put("/v1/tenant/secrets", &json!({ "set": { "KEEP": "1", "DROP": "1" } })).await.status,
        204
    );
    let long = "x".repeat(64 * 1024 + 1);
    let wrong = json!({
        "set": { "GOOD": "1", "bad": "1", "OPG_X": "1", "9X": "1", "A-B": "1", "EMPTY": "", "LONG": long, "KEEP": "2", "A~/B": "1", "N\u{0}": "1", (&*"X".repeat(65)): "1" },
        "unset": ["DROP", "KEEP"],
    });
    let answer = acme.put("/v1/tenant/secrets", &wrong).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let json = answer.json();
    let mut pointers: Vec<_> =
        json["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    let long_name = format!("/set/{}", "X".repeat(65));
    assert_eq!(
        pointers,
        [
            "/set/9X",
            "/set/A-B",
            "/set/A~0~1B",
            "/set/EMPTY",
            "/set/KEEP",
            "/set/LONG",
            "/set/N\u{0}",
            "/set/OPG_X",
            &long_name,
            "/set/bad"
        ]
    );
    assert_eq!(names(&acme).await, ["DROP", "KEEP"], "nothing was changed");
    assert_eq!(
        acme.put("/v1/tenant/secrets", &json!({ "set": { "NEW": "1" }, "unset": ["DROP", "NEVER_WAS"] }))
            .await
            .status,
        204
    );
    assert_eq!(names(&acme).await, ["KEEP", "NEW"]);
    assert_eq!(
        acme.put("/v1/tenant/secrets", &json!({ "unset": ["a\u{0}b", "", "lower"] })).await.status,
        422
    );
    assert_eq!(acme.put("/v1/tenant/secrets", &json!({})).await.status, 204, "nothing asked, nothing done");
    let edge = json!({ "set": { "EDGE": "x".repeat(64 * 1024), "UNICODE": "grüße\n日本\u{0}" } });
    assert_eq!(acme.put("/v1/tenant/secrets", &edge).await.status, 204);
}

#[tokio::test]
async fn m284_an_owner_says_where_a_push_may_send_a_secret_and_it_is_kept_until_they_say_otherwise() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let hosts = async || acme.get("/v1/tenant/secrets").await.json()["data"][0]["push_hosts"].clone();
    let put = async |body: Value| acme.put("/v1/tenant/secrets", &body).await;
    let both = json!({ "set": { "GIT": "one" }, "push_hosts": { "GIT": ["GitHub.com.", "git.example.com:8443", "github.com:443"] } });
    assert_eq!(put(both).await.status, 204);
    assert_eq!(hosts().await, json!(["git.example.com:8443", "github.com"]), "each in one form");
    // Another value of the same secret goes where the first did.
    assert_eq!(put(json!({ "set": { "GIT": "two" } })).await.status, 204);
    assert_eq!(hosts().await, json!(["git.example.com:8443", "github.com"]));
    let many: Vec<_> = (0..17).map(|at| format!("h{at}.example.com")).collect();
    for (body, pointer) in [
        (json!({ "push_hosts": { "GIT": ["*.example.com"] } }), "/push_hosts/GIT"),
        (json!({ "push_hosts": { "GIT": ["https://github.com"] } }), "/push_hosts/GIT"),
        (json!({ "push_hosts": { "GIT": ["github.com/ann"] } }), "/push_hosts/GIT"),
        (json!({ "push_hosts": { "GIT": ["a\u{0}b"] } }), "/push_hosts/GIT"),
        (json!({ "push_hosts": { "GIT": many } }), "/push_hosts/GIT"),
        (json!({ "push_hosts": { "NONE": ["github.com"] } }), "/push_hosts/NONE"),
        (json!({ "push_hosts": { "a/b": ["github.com"] } }), "/push_hosts/a~1b"),
        (json!({ "set": { "NEW": "1" }, "push_hosts": { "NONE": [] } }), "/push_hosts/NONE"),
        (json!({ "unset": ["GIT"], "push_hosts": { "GIT": [] } }), "/push_hosts/GIT"),
    ] {
        let refused = put(body.clone()).await;
        assert_eq!(
            (refused.status, &refused.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{body}"
        );
    }
    assert_eq!((names(&acme).await, hosts().await.as_array().unwrap().len()), (vec!["GIT".to_owned()], 2));
    assert_eq!(put(json!({ "push_hosts": { "GIT": [] } })).await.status, 204);
    assert_eq!(hosts().await, json!([]));
    // One that was removed and comes again is another.
    assert_eq!(put(json!({ "push_hosts": { "GIT": ["github.com"] } })).await.status, 204);
    assert_eq!(put(json!({ "unset": ["GIT"] })).await.status, 204);
    assert_eq!(put(json!({ "set": { "GIT": "three" } })).await.status, 204);
    assert_eq!(hosts().await, json!([]));
    let audited =
        "select detail::text from audit_events where action = 'secrets.push_hosts' order by audit_id";
    let audited = app.sql(audited).await;
    assert_eq!(audited.len(), 3);
    assert!(audited[0].contains("git.example.com:8443"), "{audited:?}");
}

#[tokio::test]
async fn m228_lines_of_an_env_file_are_taken_as_text() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let text = "# keys\r\nDB_URL=postgres://u:p@h/db?x=1\r\n\r\nexport TOKEN=\"a b\"\nSINGLE='q'\n";
    let answer = env(&acme, text).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(names(&acme).await, ["DB_URL", "SINGLE", "TOKEN"]);
    let answer = env(&acme, "GOOD=1\nthe-value-that-slipped").await;
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("line 2") && !answer.text().contains("slipped"), "{}", answer.text());
    for bad in ["lower=1", "OPG_X=1", "=1", "EMPTY="] {
        assert_eq!(env(&acme, bad).await.status, 422, "{bad}");
    }
    let bytes = acme
        .request("PUT", "/v1/tenant/secrets")
        .header("content-type", "text/plain")
        .body(vec![b'A', b'=', 0xff]);
    assert_eq!(send(bytes).await.status, 400);
    assert_eq!(names(&acme).await.len(), 3);
    let form = acme
        .request("PUT", "/v1/tenant/secrets")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("A=1");
    assert_eq!(send(form).await.status, 415);
}

#[tokio::test]
async fn m228_an_app_has_a_limited_number_of_secrets() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let set = |from: u32, to: u32| -> Value {
        let set: serde_json::Map<_, _> = (from..to).map(|n| (format!("KEY_{n:03}"), json!("v"))).collect();
        json!({ "set": set })
    };
    assert_eq!(acme.put("/v1/tenant/secrets", &set(0, 200)).await.status, 204);
    let more = acme.put("/v1/tenant/secrets", &set(199, 201)).await;
    assert_eq!(
        (more.status, more.json()["code"].clone(), more.json()["limit"].clone()),
        (409, json!("too_many_secrets"), json!(200))
    );
    assert_eq!(names(&acme).await.len(), 200);
    let swap = json!({ "set": { "OTHER": "v" }, "unset": ["KEY_000"] });
    assert_eq!(acme.put("/v1/tenant/secrets", &swap).await.status, 204, "one out, one in");
}

#[tokio::test]
async fn m313_a_stored_value_is_ciphertext_and_fits_its_own_row_only() {
    let app = TestApp::with(|config| config.allow_private_guest_http = true).await;
    let acme = app.tenant("acme").await;
    let put = json!({ "set": { "API_KEY": "plain-text-one", "SWAPPED": "plain-text-two" } });
    assert_eq!(acme.put("/v1/tenant/secrets", &put).await.status, 204);
    let rows = app
        .sql("select encode(encrypted_value, 'escape') || encode(encrypted_data_key, 'escape') from secrets")
        .await;
    assert!(rows.len() == 2 && rows.iter().all(|row| !row.contains("plain-text")));
    acme.install_tool("grabby", guests::GRABBY).await;
    let input = json!({ "url": "http://localhost:1/", "header": "x-key", "name": "API_KEY" });
    let before = acme.invoke("grabby_fetch_with_secret", input.clone()).await.text();
    // Somebody who can write the database puts one envelope in the place of the other.
    sqlx::query("update secrets t set encrypted_value = f.encrypted_value, nonce = f.nonce, encrypted_data_key = f.encrypted_data_key,
                 data_key_nonce = f.data_key_nonce from secrets f where t.name = 'API_KEY' and f.name = 'SWAPPED'")
        .execute(&mut app.owner().await).await.unwrap();
    let after = acme.invoke("grabby_fetch_with_secret", input).await;
    assert_ne!(before, after.text(), "the swapped envelope does not open");
    assert!(!after.text().contains("plain-text"));
}

#[tokio::test]
async fn m060_every_change_of_a_secret_is_written_down_by_name() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    acme.put("/v1/tenant/secrets", &json!({ "set": { "ONE": "value-one" } })).await;
    acme.put("/v1/tenant/secrets", &json!({ "set": { "TWO": "value-two" }, "unset": ["ONE"] })).await;
    let audit = acme.get("/v1/tenant/audit").await;
    assert!(!audit.text().contains("value-"), "{}", audit.text());
    let json = audit.json();
    let mut done: Vec<_> = json["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{} {}", row["action"].as_str().unwrap(), row["target"].as_str().unwrap()))
        .filter(|text| text.starts_with("secrets."))
        .collect();
    done.sort();
    assert_eq!(done, ["secrets.set secret/ONE", "secrets.set secret/TWO", "secrets.unset secret/ONE"]);
    let row = &json["data"][0];
    assert!(
        row["actor"].as_str().unwrap().starts_with("tenant_token:")
            && row["ip"] == "127.0.0.1"
            && row["surface"] == "rest"
    );
    assert_eq!(audit.header("cache-control"), "no-store");
}
