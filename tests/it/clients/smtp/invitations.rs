//! Letters to who is invited: by an app's owner (row M197), and by an operator (row M079).

use super::{EMAIL, FROM, Server, ask, closed, code_in, start, verify};
use opg_host::limits::INVITATION_LETTERS_PER_MAILBOX_PER_HOUR;
use opg_tests::app::{Client, PASSWORD, TestApp, logs, send};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const MEMBERS: &str = "/ann/v1/tenant/members";
const USERS: &str = "/platform/v1/users";

async fn invite(by: &Client, email: &str) -> String {
    let began = Instant::now();
    let answer = by.post(MEMBERS, &json!({ "email": email, "role": "developer" })).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(began.elapsed() < Duration::from_secs(3), "nobody waits for a letter that takes five");
    answer.json()["id"].as_str().unwrap().to_owned()
}

fn text(letter: &Value) -> &str {
    letter["text"].as_str().unwrap()
}

async fn signed_in(app: &TestApp) -> Client {
    app.client(Some(&app.sign_in(EMAIL, PASSWORD).await.session()))
}

#[tokio::test(flavor = "multi_thread")]
async fn m197_whoever_is_invited_gets_a_letter_proves_their_address_and_accepts() {
    let Some(mut server) = Server::start(&["slow"]) else { return };
    let app = start(&server, |config| config.base_url = Some("https://opg.example".to_owned())).await;
    let ann = app.person(EMAIL).await;
    let renamed = ann.patch("/v1/me", &json!({ "name": "visit evil.example" })).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text());
    let named = ann.put("/ann/v1/tenant", &json!({ "name": "visit evil.example" })).await;
    assert_eq!(named.status, 200, "{}", named.text());
    let invited = invite(&ann, "Bob@Example.com").await;
    let letter = server.letter().await;
    assert_eq!((&letter["from"], &letter["to"]), (&json!(FROM), &json!(["Bob@Example.com"])), "{letter}");
    let said = text(&letter);
    for words in
        ["Subject: You are invited to an app", "    ann\r\n", "role developer", "https://opg.example/login"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.contains(&format!("/v1/me/invitations/{invited}/accept")), "{said}");
    assert!(!said.contains("evil") && !said.contains(EMAIL), "no word of whoever invites: {said}");

    // With no account yet: a code makes one, which proves the address, and the invitation is there.
    ask(&app, "bob@example.com").await;
    let code = code_in(&server.letter().await);
    let bob = app.client(Some(&verify(&app, "bob@example.com", &code).await.session()));
    assert_eq!(bob.get("/v1/me").await.json()["invitations"][0]["id"], json!(invited));
    assert_eq!(bob.get("/ann/v1/tenant").await.status, 404);
    let accepted = send(bob.request("POST", &format!("/v1/me/invitations/{invited}/accept"))).await;
    assert_eq!(accepted.json(), json!({ "app": "ann", "role": "developer" }));
    assert_eq!(bob.get("/ann/v1/tenant").await.status, 200);
    assert!(!logs().contains("Bob@Example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn m197_a_letter_goes_to_who_can_have_an_account_and_a_mailbox_gets_few() {
    let Some(mut server) = Server::start(&[]) else { return };
    // Nobody signs up: a stranger could do nothing with a letter.
    let app = closed(&server).await;
    let ann = signed_in(&app).await;
    invite(&ann, "nobody@example.com").await;
    // Letters like hers, but no mailbox of hers.
    invite(&ann, "\u{212a}ate@example.com").await;
    for _ in 0..INVITATION_LETTERS_PER_MAILBOX_PER_HOUR {
        invite(&ann, "ANN@example.com").await;
        assert_eq!(server.letter().await["to"], json!([EMAIL]), "as its person wrote it");
    }
    let last = invite(&ann, EMAIL).await;
    let listed = ann.get("/ann/v1/tenant/invitations").await.json();
    assert_eq!(listed["data"][0]["id"], json!(last), "what is not mailed is invited all the same");
    for _ in 0..400 {
        if logs().contains("its mailbox got too many") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(logs().contains("its mailbox got too many"));
    server.only_to(&app, EMAIL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m079_whoever_an_operator_invites_gets_a_letter_and_signs_in_with_a_code() {
    let Some(mut server) = Server::start(&[]) else { return };
    let app = closed(&server).await;
    let invited = app.operator().post(USERS, &json!({ "email": "bob@example.com", "name": "Bob" })).await;
    assert_eq!((invited.status, &invited.json()["mailed"]), (201, &json!(true)), "{}", invited.text());
    let letter = server.letter().await;
    assert_eq!(letter["to"], json!(["bob@example.com"]));
    let said = text(&letter);
    assert!(
        said.contains("Subject: An account was made for you") && said.contains("ask for a code"),
        "{said}"
    );
    assert!(!said.contains("http") && !said.contains("Bob"), "{said}");
    ask(&app, "bob@example.com").await;
    let code = code_in(&server.letter().await);
    let signed_in = verify(&app, "bob@example.com", &code).await;
    let bob = app.client(Some(&signed_in.session()));
    assert_eq!(bob.get("/v1/me").await.json()["name"], "Bob");
    assert_eq!(bob.get("/bob/v1/tenant").await.status, 200);

    // Once they are disabled, no code is mailed to them, and one that was is none.
    ask(&app, "bob@example.com").await;
    let code = code_in(&server.letter().await);
    let path = format!("{USERS}/{}", invited.json()["id"].as_str().unwrap());
    assert_eq!(app.operator().delete(&path).await.status, 200);
    assert_eq!(verify(&app, "bob@example.com", &code).await.status, 401);
    ask(&app, "bob@example.com").await;
    server.only_to(&app, EMAIL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m079_an_operator_is_told_where_no_letter_was_sent() {
    let Some(server) = Server::start(&["refuse"]) else { return };
    let app = start(&server, |_| {}).await;
    let invited = app.operator().post(USERS, &json!({ "email": "bob@example.com" })).await;
    assert_eq!((invited.status, &invited.json()["mailed"]), (201, &json!(false)), "{}", invited.text());
    assert!(logs().contains("a letter about a new account could not be mailed"));
    assert!(!logs().contains("bob@example.com"));
}
