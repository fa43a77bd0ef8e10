//! Members of an app by both doors, and inviting them by their address.

use chrono::Duration;
use opg_host::{
    app::Clock,
    limits::{INVITATION_LIFE, INVITATIONS_PER_APP_MAX, INVITATIONS_PER_APP_PER_HOUR},
};
use opg_tests::app::{Answer, Client, TestApp, logs, send};
use serde_json::{Value, json};

const MEMBERS: &str = "/ann/v1/tenant/members";
const INVITED: &str = "/ann/v1/tenant/invitations";
const ADMINS: &str = "/platform/v1/apps/ann/admins";

async fn start() -> TestApp {
    TestApp::at(Clock::manual(Clock::system().now()), TestApp::let_people_in).await
}

async fn id(person: &Client) -> String {
    person.get("/v1/me").await.json()["id"].as_str().unwrap().to_owned()
}

/// Somebody whose address is proved.
async fn proved(app: &TestApp, email: &str) -> Client {
    let person = app.person(email).await;
    let prove = "update users set email_proved_at = now() where email = $1";
    sqlx::query(prove).bind(email).execute(&mut app.owner().await).await.unwrap();
    person
}

async fn invite(by: &Client, email: &str, role: &str) -> String {
    let invited = by.post(MEMBERS, &json!({ "email": email, "role": role })).await;
    assert_eq!(invited.status, 202, "{}", invited.text());
    invited.json()["id"].as_str().unwrap().to_owned()
}

async fn mine(person: &Client) -> Vec<Value> {
    person.get("/v1/me").await.json()["invitations"].as_array().unwrap().clone()
}

async fn accept(person: &Client, id: &str) -> Answer {
    send(person.request("POST", &format!("/v1/me/invitations/{id}/accept"))).await
}

async fn decline(person: &Client, id: &str) -> Answer {
    send(person.request("POST", &format!("/v1/me/invitations/{id}/decline"))).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn m197_members_are_managed_by_two_doors_and_are_the_same_behind_them() {
    let app = TestApp::open_to_people().await;
    let operator = app.operator();
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let (anns, bobs) = (id(&ann).await, id(&bob).await);
    let of_bob = format!("{ADMINS}/{bobs}");
    // Their owner, an operator, and a token of the app.
    let token = ann.post("/ann/v1/tenant/tokens", &json!({})).await.json();
    let token = app.client(token["token"].as_str());
    for by in [&ann, &operator, &token] {
        let added = by.post(ADMINS, &json!({ "user_id": bobs, "role": "viewer" })).await;
        assert_eq!((added.status, added.json()), (201, json!({ "id": bobs, "role": "viewer" })));
        assert_eq!(by.get(ADMINS).await.json(), ann.get(MEMBERS).await.json(), "the same by both");
        assert_eq!(
            code(&by.post(ADMINS, &json!({ "user_id": bobs, "role": "owner" })).await),
            refused(409, "already_a_member")
        );
        assert_eq!(by.patch(&of_bob, &json!({ "role": "admin" })).await.json()["role"], "admin");
        assert_eq!(bob.get("/ann/v1/whoami").await.status, 200);
        // The last owner stays, whoever asks.
        let of_ann = format!("{ADMINS}/{anns}");
        assert_eq!(code(&by.delete(&of_ann).await), refused(409, "last_owner"));
        assert_eq!(code(&by.patch(&of_ann, &json!({ "role": "admin" })).await), refused(409, "last_owner"));
        assert_eq!(by.delete(&of_bob).await.status, 204);
        assert_eq!((bob.get("/ann/v1/whoami").await.status, by.delete(&of_bob).await.status), (404, 404));
    }
    // A member who is no owner sees them and changes none.
    ann.post(ADMINS, &json!({ "user_id": bobs, "role": "admin" })).await;
    assert_eq!(bob.get(ADMINS).await.status, 200);
    for answer in [
        bob.patch(&of_bob, &json!({ "role": "owner" })).await,
        bob.delete(&of_bob).await,
        bob.post(ADMINS, &json!({ "email": "cid@example.com", "role": "viewer" })).await,
        bob.delete("/platform/v1/apps/ann/invitations/x").await,
    ] {
        assert_eq!(code(&answer), refused(403, "insufficient_scope"), "{}", answer.text());
    }
    // No app, and somebody else's, to whoever asks.
    let cid = app.person("cid@example.com").await;
    let at = |app: &str| format!("/platform/v1/apps/{app}/admins");
    assert_eq!((cid.get(&at("ann")).await.status, cid.get(&at("nobody")).await.status), (404, 404));
    assert_eq!((operator.get(&at("nobody")).await.status, token.get(&at("nobody")).await.status), (404, 404));
    assert_eq!(code(&token.get(&at("cid")).await), refused(403, "app_mismatch"));
    assert_eq!(app.anonymous().get(&at("ann")).await.status, 401);
    let deleted = operator.delete("/v1/admin/tenants/cid?confirm=cid").await;
    assert_eq!((deleted.status, operator.get(&at("cid")).await.status), (204, 404));
    // An app that has no member yet gets its first from an operator.
    app.tenant("acme").await;
    assert_eq!(operator.post(&at("acme"), &json!({ "user_id": bobs, "role": "owner" })).await.status, 201);
    assert_eq!(bob.get("/acme/v1/tenant").await.status, 200);
}

#[tokio::test]
async fn m197_a_credential_needs_the_scope_of_members_at_either_door() {
    let app = TestApp::open_to_people().await;
    let ann = app.person("ann@example.com").await;
    let with = async |scopes: &[&str]| {
        let wanted = json!({ "name": "x", "scopes": scopes, "expires_in": 3600 });
        let made = ann.post("/platform/v1/tokens", &wanted).await.json();
        app.client(made["token"].as_str())
    };
    let (reads, writes) = (with(&["members:read"]).await, with(&["members:write"]).await);
    let body = json!({ "email": "bob@example.com", "role": "owner" });
    for (list, add) in [
        (MEMBERS, MEMBERS),
        (ADMINS, ADMINS),
        (INVITED, MEMBERS),
        ("/platform/v1/apps/ann/invitations", ADMINS),
    ] {
        assert_eq!((reads.get(list).await.status, reads.post(add, &body).await.status), (200, 403), "{list}");
        assert_eq!(
            (writes.get(list).await.status, writes.post(add, &body).await.status),
            (403, 202),
            "{list}"
        );
    }
}

/// All of an answer but its date, its invitation's id and its address.
fn whole(answer: &Answer, email: &str) -> (u16, Vec<String>, String) {
    let shown = answer.headers.iter().filter(|(name, _)| *name != "date" && *name != "content-length");
    let mut headers: Vec<_> = shown.map(|(name, value)| format!("{name}: {value:?}")).collect();
    headers.sort();
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    (answer.status, headers, answer.text().replace(&id, "ID").replace(email, "EMAIL"))
}

#[tokio::test]
async fn m197_an_address_is_invited_alike_whether_it_has_an_account_or_not() {
    let app = start().await;
    let ann = proved(&app, "ann@example.com").await;
    proved(&app, "proved@example.com").await;
    app.person("unproved@example.com").await;
    let gone = id(&proved(&app, "gone@example.com").await).await;
    assert_eq!(app.operator().delete(&format!("/platform/v1/users/{gone}")).await.status, 200);
    for (by, door) in [(&ann, MEMBERS), (&ann, ADMINS), (&app.operator(), ADMINS)] {
        let mut answers = vec![];
        // Also one's own, which has one already.
        for email in [
            "proved@example.com",
            "unproved@example.com",
            "nobody@example.com",
            "gone@example.com",
            "ann@example.com",
        ] {
            let request = by.request("POST", door).header("x-request-id", "same");
            let answer = send(request.json(&json!({ "email": email, "role": "viewer" }))).await;
            answers.push(whole(&answer, email));
        }
        assert_eq!(answers[0].0, 202);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
    let listed = ann.get(INVITED).await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 5, "each once, whoever asked last: {listed}");
    let rows =
        app.sql("select row_to_json(a)::text from audit_events a where action like 'invitations.%'").await;
    assert_eq!(rows.len(), 15);
    assert!(!rows.concat().contains("example.com") && !logs().contains("nobody@example.com"));
    for wrong in ["nobody", "a@b", "a\u{0}@b.example", ""] {
        let answer = ann.post(MEMBERS, &json!({ "email": wrong, "role": "viewer" })).await;
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["pointer"]),
            (422, &json!("/email")),
            "{wrong}"
        );
    }
    for body in [
        json!({ "role": "viewer" }),
        json!({ "role": "viewer", "email": "a@b.example", "user_id": gone }),
        json!({ "email": "a@b.example" }),
        json!({ "role": "god", "email": "a@b.example" }),
    ] {
        assert_eq!(ann.post(MEMBERS, &body).await.status, 422, "{body}");
    }
}

#[tokio::test]
async fn m197_who_proved_the_address_becomes_a_member_by_accepting_and_nobody_else() {
    let app = start().await;
    let ann = app.person("ann@example.com").await;
    // Somebody has the address and has not proved it: it may be anybody.
    let bob = app.person("bob@example.com").await;
    let cid = proved(&app, "cid@example.com").await;
    let invited = invite(&ann, " Bob@Example.COM", "developer").await;
    assert_eq!(ann.get(INVITED).await.json()["data"][0]["email"], "Bob@Example.COM", "as they wrote it");
    let nobody = "0190a000-0000-7000-8000-000000000000";
    for (who, name) in [(&bob, "who did not prove it"), (&cid, "another"), (&ann, "who invited")] {
        assert!(mine(who).await.is_empty(), "{name}");
        for of in [invited.as_str(), nobody, "x"] {
            let answers = [accept(who, of).await, decline(who, of).await];
            assert!(answers.iter().all(|answer| code(answer) == refused(404, "not_found")), "{name} {of}");
        }
    }
    assert_eq!(bob.get("/ann/v1/tenant").await.status, 404, "nobody is a member for being invited");

    app.sql("update users set email_proved_at = now() where email = 'bob@example.com' returning 'x'").await;
    let shown = mine(&bob).await;
    assert_eq!((shown.len(), &shown[0]["id"]), (1, &json!(invited)));
    assert_eq!((&shown[0]["app"], &shown[0]["role"]), (&json!("ann"), &json!("developer")), "{shown:?}");
    assert_eq!(bob.get("/ann/v1/tenant").await.status, 404, "nor for having seen it");
    // Many at once: it is answered once.
    let at_once = futures_util::future::join_all((0..5).map(|_| accept(&bob, &invited))).await;
    let done: Vec<_> = at_once.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!((done.len(), done[0].json()), (1, json!({ "app": "ann", "role": "developer" })));
    assert_eq!(bob.get("/ann/v1/tenant").await.status, 200);
    assert_eq!(bob.post(MEMBERS, &json!({ "email": "x@example.com", "role": "viewer" })).await.status, 403);
    assert_eq!(
        (mine(&bob).await.len(), ann.get(INVITED).await.json()["data"].as_array().unwrap().len()),
        (0, 0)
    );
    let audit = ann.get("/ann/v1/tenant/audit?action=invitations.accept").await.json();
    assert_eq!(audit["data"][0]["actor"], format!("user:{}", id(&bob).await), "{audit}");
    assert_eq!(audit["data"][0]["detail"]["invited_by"], id(&ann).await, "{audit}");

    // Who is a member is told so, and stays what they are.
    let again = invite(&ann, "bob@example.com", "owner").await;
    assert_eq!(code(&accept(&bob, &again).await), refused(409, "already_a_member"));
    let role = app.sql("select role from app_members join users using (user_id) where email = 'bob@example.com' order by 1").await;
    assert_eq!(role, ["developer", "owner"], "in Ann's app and in their own");
    assert_eq!((decline(&bob, &again).await.status, mine(&bob).await.len()), (204, 0));
    assert_eq!(accept(&bob, &again).await.status, 404, "no is no");
    let audit = ann.get("/ann/v1/tenant/audit?action=invitations.decline").await.json();
    assert_eq!(audit["data"].as_array().unwrap().len(), 1, "{audit}");
}

#[tokio::test]
async fn m197_letters_that_only_look_alike_are_another_address() {
    let app = start().await;
    let ann = app.person("ann@example.com").await;
    let kate = proved(&app, "kate@example.com").await;
    // A Kelvin sign, which Unicode takes for a k; a Cyrillic a; a dotless i is none either; and a space nobody sees.
    for alike in [
        "\u{212a}ate@example.com",
        "k\u{430}te@example.com",
        "kate@examp\u{131}e.com",
        "kate\u{200b}@example.com",
    ] {
        let invited = invite(&ann, alike, "owner").await;
        assert_eq!((mine(&kate).await.len(), accept(&kate, &invited).await.status), (0, 404), "{alike}");
    }
    // And who has such an address is not who was invited by another.
    let other = proved(&app, "\u{416}ohn@example.com").await;
    let invited = invite(&ann, "\u{436}ohn@example.com", "viewer").await;
    assert_eq!((mine(&other).await.len(), accept(&other, &invited).await.status), (0, 404));
    assert_eq!(accept(&kate, &invite(&ann, "KATE@example.com", "viewer").await).await.status, 200);
}

#[tokio::test]
async fn m197_an_invitation_ends_with_its_time_its_app_and_what_it_stood_on() {
    let app = start().await;
    let operator = app.operator();
    let (ann, bob) = (app.person("ann@example.com").await, proved(&app, "bob@example.com").await);
    let cid = app.person("cid@example.com").await;
    let (anns, cids) = (id(&ann).await, id(&cid).await);
    let gone = async |invited: &str, why: &str| {
        assert_eq!(mine(&bob).await.len(), 0, "{why}");
        assert_eq!(code(&accept(&bob, invited).await), refused(404, "not_found"), "{why}");
    };
    // Its time, to the second.
    let invited = invite(&ann, "bob@example.com", "viewer").await;
    app.clock.advance(Duration::from_std(INVITATION_LIFE).unwrap() - Duration::seconds(1));
    assert_eq!(mine(&bob).await.len(), 1);
    app.clock.advance(Duration::seconds(1));
    gone(&invited, "its time is over").await;
    assert_eq!(ann.get(INVITED).await.json()["data"], json!([]));
    app.clock.advance(Duration::seconds(1));
    opg_host::people::sweep::all(&app.running.app).await.unwrap();
    assert_eq!(app.sql("select 'x' from app_invitations").await, [""; 0]);

    // Taken back, and asked again.
    let invited = invite(&ann, "bob@example.com", "viewer").await;
    assert_eq!(ann.delete(&format!("{INVITED}/{invited}")).await.status, 204);
    assert_eq!(ann.delete(&format!("{INVITED}/{invited}")).await.status, 404);
    gone(&invited, "it was taken back").await;
    let invited = invite(&ann, "bob@example.com", "owner").await;
    let next = invite(&ann, "BOB@example.com", "viewer").await;
    assert_eq!(accept(&bob, &invited).await.status, 404, "another took its place");
    assert_eq!((mine(&bob).await.len(), &mine(&bob).await[0]["id"]), (1, &json!(next)));
    assert_eq!(operator.delete(&format!("/platform/v1/apps/ann/invitations/{next}")).await.status, 204);

    // Who invited is an owner no more, or is disabled, or gone.
    assert_eq!(ann.post(MEMBERS, &json!({ "user_id": cids, "role": "owner" })).await.status, 201);
    let invited = invite(&cid, "bob@example.com", "owner").await;
    let of_cid = format!("{MEMBERS}/{cids}");
    assert_eq!(ann.patch(&of_cid, &json!({ "role": "admin" })).await.status, 200);
    gone(&invited, "who invited is no owner").await;
    assert_eq!(ann.get(INVITED).await.json()["data"][0]["id"], json!(invited), "its owners see it still");
    assert_eq!(ann.patch(&of_cid, &json!({ "role": "owner" })).await.status, 200);
    assert_eq!(mine(&bob).await.len(), 1);
    let users = format!("/platform/v1/users/{cids}");
    assert_eq!(operator.delete(&users).await.status, 200);
    gone(&invited, "who invited is disabled").await;
    assert_eq!(operator.patch(&users, &json!({ "disabled": false })).await.status, 200);
    assert_eq!(ann.delete(&of_cid).await.status, 204);
    gone(&invited, "who invited was removed").await;

    // A token of the app's: as long as it lives.
    let token = ann.post("/ann/v1/tenant/tokens", &json!({ "expires_in": 3600 })).await.json();
    let by = app.client(token["token"].as_str());
    let invited = invite(&by, "bob@example.com", "viewer").await;
    assert_eq!(mine(&bob).await[0]["expires_at"], token["expires_at"], "no longer than that");
    assert_eq!(
        ann.delete(&format!("/ann/v1/tenant/tokens/{}?force=true", token["id"].as_str().unwrap()))
            .await
            .status,
        204
    );
    gone(&invited, "the token was revoked").await;

    // An app that is deleted.
    let invited = invite(&ann, "bob@example.com", "viewer").await;
    let suspend = "update apps set status = $1 where slug = 'ann'";
    for (status, seen) in [("suspended", 0), ("active", 1)] {
        sqlx::query(suspend).bind(status).execute(&mut app.owner().await).await.unwrap();
        assert_eq!(mine(&bob).await.len(), seen, "{status}");
    }
    let anns_account = format!("/platform/v1/users/{anns}");
    assert_eq!(operator.get(&anns_account).await.status, 200);
    assert_eq!(operator.delete("/v1/admin/tenants/ann?confirm=ann").await.status, 204);
    gone(&invited, "its app was deleted").await;
}

#[tokio::test]
async fn m197_who_is_disabled_accepts_nothing_and_an_operators_invitation_stands() {
    let app = start().await;
    let operator = app.operator();
    app.tenant("acme").await;
    let bob = proved(&app, "bob@example.com").await;
    let users = format!("/platform/v1/users/{}", id(&bob).await);
    let door = "/platform/v1/apps/acme/admins";
    let invited = operator.post(door, &json!({ "email": "bob@example.com", "role": "owner" })).await;
    let invited = invited.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(operator.delete(&users).await.status, 200);
    assert_eq!(accept(&bob, &invited).await.status, 401);
    assert_eq!(operator.patch(&users, &json!({ "disabled": false })).await.status, 200);
    let bob = app.client(Some(&app.sign_in("bob@example.com", opg_tests::app::PASSWORD).await.session()));
    assert_eq!(accept(&bob, &invited).await.json(), json!({ "app": "acme", "role": "owner" }));
    assert_eq!(bob.get("/acme/v1/tenant").await.status, 200);
}

#[tokio::test]
async fn m197_an_app_invites_so_many_an_hour_and_so_many_wait() {
    let app = start().await;
    let (ann, bob) = (app.person("ann@example.com").await, proved(&app, "bob@example.com").await);
    for n in 0..INVITATIONS_PER_APP_PER_HOUR {
        let by = if n % 2 == 0 { MEMBERS } else { ADMINS };
        let body = json!({ "email": format!("n{n}@example.com"), "role": "viewer" });
        assert_eq!(ann.post(by, &body).await.status, 202, "{n}");
    }
    let more = json!({ "email": "bob@example.com", "role": "viewer" });
    for (by, door) in [(&ann, MEMBERS), (&ann, ADMINS), (&app.operator(), ADMINS)] {
        let answer = by.post(door, &more).await;
        assert_eq!(code(&answer), refused(429, "too_many_invitations"), "{}", answer.text());
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 60);
    }
    let other =
        bob.post("/bob/v1/tenant/members", &json!({ "email": "ann@example.com", "role": "viewer" })).await;
    assert_eq!(other.status, 202, "another app has its own");

    let fill = "insert into app_invitations select gen_random_uuid(), app_id, n || '@x.example', n || '@x.example', 'viewer',
                  null, null, now(), now() + interval '1 day' from apps, generate_series(1, $1) n where slug = 'bob'";
    sqlx::query(fill).bind(INVITATIONS_PER_APP_MAX - 1).execute(&mut app.owner().await).await.unwrap();
    let invite = async |email: &str| {
        let answer = bob.post("/bob/v1/tenant/members", &json!({ "email": email, "role": "viewer" })).await;
        code(&answer)
    };
    assert_eq!(invite("cid@example.com").await, refused(409, "invitations_full"));
    assert_eq!(invite("ANN@example.com").await.0, 202, "one that takes the place of another needs none");
    let listed = bob.get("/bob/v1/tenant/invitations?limit=200").await.json();
    let one = listed["data"][0]["id"].as_str().unwrap();
    assert_eq!(bob.delete(&format!("/bob/v1/tenant/invitations/{one}")).await.status, 204);
    assert_eq!(invite("cid@example.com").await.0, 202);
    app.clock.advance(Duration::days(2));
    assert_eq!(invite("dan@example.com").await.0, 202, "those whose time is over take no place");
    assert_eq!(
        app.sql("select 'x' from app_invitations join apps using (app_id) where slug = 'bob'").await.len(),
        3,
        "what was made by a route lives for a week"
    );
}

#[tokio::test]
async fn m197_accepting_fills_no_app_beyond_its_members() {
    let app = start().await;
    let (ann, bob) = (app.person("ann@example.com").await, proved(&app, "bob@example.com").await);
    let invited = invite(&ann, "bob@example.com", "viewer").await;
    app.sql(
        "with people as (insert into users (user_id, email, name, created_at)
           select gen_random_uuid(), n || '@x.example', '', now() from generate_series(1, 99) n returning user_id)
         insert into app_members select app_id, people.user_id, 'viewer', now() from people, apps where slug = 'ann'
         returning 'x'",
    )
    .await;
    assert_eq!(code(&accept(&bob, &invited).await), refused(409, "too_many_members"));
    app.sql("delete from users where email = '7@x.example' returning 'x'").await;
    assert_eq!(accept(&bob, &invited).await.status, 200, "the invitation was still there");
}
