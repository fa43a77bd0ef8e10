//! Members of an app, and what their role lets them do there.

use opg_tests::app::{Client, TestApp};
use serde_json::{Value, json};

async fn id(person: &Client) -> String {
    person.get("/v1/me").await.json()["id"].as_str().unwrap().to_owned()
}

async fn add(by: &Client, person: &Client, role: &str) {
    let added =
        by.post("/ann/v1/tenant/members", &json!({ "user_id": id(person).await, "role": role })).await;
    assert_eq!(added.status, 201, "{}", added.text());
}

#[tokio::test]
async fn m197_a_member_does_what_their_role_lets_them_and_loses_it_at_once() {
    let app = TestApp::open_to_people().await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    assert_eq!(bob.get("/ann/v1/tenant").await.status, 404, "no member, no app");
    let path = format!("/ann/v1/tenant/members/{}", id(&bob).await);
    add(&ann, &bob, "viewer").await;
    // What is asked, and who may.
    let asks = async |bob: &Client| {
        let secret = json!({ "set": { "KEY": "value" } });
        let member = json!({ "user_id": "0190a000-0000-7000-8000-000000000000", "role": "viewer" });
        [
            bob.get("/ann/v1/tenant").await.status != 403,
            bob.put("/ann/v1/tenant/secrets", &secret).await.status != 403,
            bob.post("/ann/v1/tenant/tokens", &json!({})).await.status != 403,
            bob.post("/ann/v1/tenant/members", &member).await.status != 403,
        ]
    };
    for (role, may) in [
        ("viewer", [true, false, false, false]),
        ("developer", [true, true, false, false]),
        ("admin", [true, true, true, false]),
        ("owner", [true, true, true, true]),
    ] {
        let changed = ann.patch(&path, &json!({ "role": role })).await;
        assert_eq!(changed.json()["role"], role, "{}", changed.text());
        assert_eq!(asks(&bob).await, may, "{role}");
        assert_eq!(bob.get("/ann/v1/whoami").await.json()["app"], "ann");
    }
    assert_eq!(bob.get("/bob/v1/tenant").await.status, 200, "and in their own app they are who they were");
    let members = ann.get("/ann/v1/tenant/members").await.json();
    let names: Vec<_> =
        members["data"].as_array().unwrap().iter().map(|m| (&m["email"], &m["role"])).collect();
    assert_eq!(
        names,
        [(&json!("ann@example.com"), &json!("owner")), (&json!("bob@example.com"), &json!("owner"))]
    );
    assert!(!members.to_string().contains("hash"), "{members}");
    assert_eq!(ann.delete(&path).await.status, 204);
    assert_eq!((bob.get("/ann/v1/tenant").await.status, ann.delete(&path).await.status), (404, 404));
    let audit = ann.get("/ann/v1/tenant/audit?action=members.change").await.json();
    assert_eq!(audit["data"].as_array().unwrap().len(), 4);
    assert_eq!(audit["data"][0]["actor"], format!("user:{}", id(&ann).await));
}

#[tokio::test]
async fn m029_an_app_that_has_owners_keeps_one() {
    let app = TestApp::open_to_people().await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let path = |id: String| format!("/ann/v1/tenant/members/{id}");
    let (anns, bobs) = (path(id(&ann).await), path(id(&bob).await));
    for answer in [ann.delete(&anns).await, ann.patch(&anns, &json!({ "role": "admin" })).await] {
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("last_owner")), "{}", answer.text());
    }
    assert_eq!(ann.patch(&anns, &json!({ "role": "owner" })).await.status, 200, "which changes nothing");
    add(&ann, &bob, "owner").await;
    // Each removes the other at once: one of them is left.
    for _ in 0..5 {
        let (of_bob, of_ann) = tokio::join!(ann.delete(&bobs), bob.delete(&anns));
        let owners = app
            .sql("select user_id::text from app_members join apps using (app_id) where slug = 'ann'")
            .await;
        assert_eq!(owners.len(), 1, "{} {}", of_bob.status, of_ann.status);
        let (left, gone) = if of_bob.status == 204 { (&ann, &bob) } else { (&bob, &ann) };
        add(left, gone, "owner").await;
    }
}

#[tokio::test]
async fn m197_a_member_is_a_person_there_is_and_is_one_once() {
    let app = TestApp::open_to_people().await;
    let ann = app.person("ann@example.com").await;
    let post = async |body: Value| {
        let answer = ann.post("/ann/v1/tenant/members", &body).await;
        (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
    };
    let own = id(&ann).await;
    let never = "0190a000-0000-7000-8000-000000000000";
    assert_eq!(post(json!({ "user_id": never, "role": "viewer" })).await, (422, "no_such_person".to_owned()));
    assert_eq!(post(json!({ "user_id": "ann", "role": "viewer" })).await, (422, "no_such_person".to_owned()));
    assert_eq!(post(json!({ "user_id": own, "role": "viewer" })).await, (409, "already_a_member".to_owned()));
    assert_eq!(post(json!({ "user_id": own, "role": "god" })).await.0, 422);
    assert_eq!(
        post(json!({ "email": "bob@example.com", "role": "viewer" })).await.0,
        202,
        "by address nobody is made a member, but invited"
    );
    assert_eq!(ann.get("/ann/v1/tenant/members").await.json()["data"].as_array().unwrap().len(), 1);
    let tokens = ann.post("/ann/v1/tenant/tokens", &json!({})).await.json();
    let of_app = app.client(tokens["token"].as_str());
    assert_eq!(of_app.get("/v1/tenant/members").await.json()["data"][0]["id"], json!(own));
    assert_eq!(of_app.get("/v1/me").await.status, 403, "an app's token is nobody");
}

#[tokio::test]
async fn m003_a_person_says_which_app_and_an_apps_token_cannot_say_another() {
    let app = TestApp::open_to_people().await;
    let acme = app.tenant("acme").await;
    let ann = app.person("ann@example.com").await;
    let none = ann.get("/v1/tenant").await;
    assert_eq!((none.status, &none.json()["code"]), (400, &json!("app_required")));
    let ask = async |client: &Client, path: &str, name: &str| {
        let request = client.request("GET", path).header("x-opg-app", name);
        opg_tests::app::send(request).await
    };
    assert_eq!(ask(&ann, "/v1/tenant", "ann").await.status, 200);
    for nobodys in ["acme", "emca", "", "A B", "ann, acme"] {
        assert_eq!(ask(&ann, "/v1/tenant", nobodys).await.status, 404, "{nobodys}");
    }
    assert_eq!(ask(&ann, "/ann/v1/tenant", "acme").await.status, 200, "the path counts");
    assert_eq!(ask(&acme, "/v1/tenant", "acme").await.status, 200);
    let other = ask(&acme, "/v1/tenant", "ann").await;
    assert_eq!((other.status, &other.json()["code"]), (403, &json!("app_mismatch")));
    // What is the person's own does not depend on it.
    assert_eq!(ask(&ann, "/v1/me", "acme").await.status, 200);
}

#[tokio::test]
async fn m029_a_member_leaves_unless_they_are_the_last_owner() {
    let app = TestApp::open_to_people().await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let last = ann.delete("/v1/me/apps/ann").await;
    assert_eq!((last.status, &last.json()["code"]), (409, &json!("last_owner")));
    assert_eq!(bob.delete("/v1/me/apps/ann").await.status, 404);
    add(&ann, &bob, "viewer").await;
    assert_eq!(bob.delete("/v1/me/apps/ann").await.status, 204);
    assert_eq!(bob.get("/ann/v1/tenant").await.status, 404);
    assert_eq!(bob.get("/v1/me").await.json()["apps"].as_array().unwrap().len(), 1);
    add(&ann, &bob, "owner").await;
    assert_eq!(ann.delete("/v1/me/apps/ann").await.status, 204, "another owner is there");
    assert_eq!((ann.get("/ann/v1/tenant").await.status, bob.get("/ann/v1/tenant").await.status), (404, 200));
}
