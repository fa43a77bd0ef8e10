//! No route answers somebody who may not: made from the list of routes, so that a new route is tested the
//! moment it stands there.

use http::Method;
use opg_host::{
    app::Clock,
    config::Config,
    grants::{Action, On, Scopes},
    http::render::Shape,
    opencode::ids,
};
use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
    routes::{self, Case, fresh_ip},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::Ipv4Addr};

const AGENT: &str = "---\ndescription: Says little\n---\nYou are terse.";
const A_FILE: &str = "0190a000-0000-7000-8000-00000000000f";
const A_TASK: &str = "0190a000-0000-7000-8000-00000000000a";
const AN_IDENTITY: &str = "0190a000-0000-7000-8000-00000000001d";
const A_PASSKEY: &str = "0190a000-0000-7000-8000-00000000001e";
const AN_INVITATION: &str = "0190a000-0000-7000-8000-0000000001a4";
const NEVER_WAS: &str = "0190a000-0000-7000-8000-000000000000";

/// Each request may come from another address, as a proxy says: failures are limited by address.
fn behind_a_proxy(config: &mut Config) {
    config.trusted_proxies = vec![Ipv4Addr::LOCALHOST.into()];
}

async fn call(case: &Case, client: &Client, app: &str) -> Answer {
    send(case.request(client, app, "some-name").header("x-forwarded-for", fresh_ip())).await
}

/// The error's code, after a look at its shape.
fn code(case: &Case, answer: &Answer) -> String {
    let json = answer.json();
    let path = case.path("acme", "some-name");
    if case.is_opencodes() {
        assert_eq!(answer.header("content-type"), "application/json", "{}", case.at());
        // The one error of its own that says no more.
        if json["_tag"] == "UnauthorizedError" {
            return "invalid_credential".to_owned();
        }
        assert!(json["name"].is_string() && json["data"]["message"].is_string(), "{json}");
        return json["data"]["code"].as_str().unwrap().to_owned();
    }
    if Shape::of(&path) != Shape::Problem {
        assert_eq!(answer.header("content-type"), "application/json", "{}", case.at());
        assert!(json["error"]["message"].is_string() && json["error"]["type"].is_string(), "{json}");
        return json["error"]["code"].as_str().unwrap().to_owned();
    }
    assert_eq!(answer.header("content-type"), "application/problem+json", "{}", case.at());
    assert_eq!(json["status"], answer.status, "{json}");
    assert_eq!(json["request_id"], answer.header("x-request-id"), "{json}");
    for member in ["type", "title", "detail"] {
        assert!(json[member].is_string(), "{member}: {json}");
    }
    json["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn m041_no_route_answers_without_a_valid_credential() {
    let app = TestApp::with(behind_a_proxy).await;
    let acme = app.tenant("acme").await;
    let ending = acme.post("/v1/tenant/tokens", &json!({ "expires_in": 1 })).await.json();
    let revoked = acme.post("/v1/tenant/tokens", &json!({})).await.json();
    let gone = acme.delete(&format!("/v1/tenant/tokens/{}", revoked["id"].as_str().unwrap())).await;
    assert_eq!(gone.status, 204);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let nobodys = format!("ocs_acme_sk_{}", "x".repeat(43));
    let credentials = [
        ("none", None),
        ("not ours", Some("not-an-admin-token")),
        ("never issued", Some(nobodys.as_str())),
        ("of a kind that does not exist", Some("opg_xyz_abcdefghijklmnop")),
        ("expired", ending["token"].as_str()),
        ("revoked", revoked["token"].as_str()),
    ];
    for case in routes::guarded() {
        for (what, token) in credentials {
            let answer = call(&case, &app.client(token), "acme").await;
            assert_eq!(answer.status, 401, "{what}: {}: {}", case.at(), answer.text());
            let scheme = if case.is_opencodes() { "Basic " } else { "Bearer " };
            assert!(answer.header("www-authenticate").starts_with(scheme), "{what}: {}", case.at());
            assert_eq!(code(&case, &answer), "invalid_credential", "{what}: {}", case.at());
        }
    }
}

#[tokio::test]
async fn m291_m292_the_routes_of_runners_take_their_own_tokens_and_no_other() {
    let app = TestApp::with(|config| {
        TestApp::let_people_in(config);
        behind_a_proxy(config);
    })
    .await;
    let acme = app.tenant("acme").await;
    let ann = app.person("ann@example.com").await;
    let runner = crate::sessions::runner::registered(&app, &acme).await;
    let (made_up, unused) = (format!("opg_run_{}", "x".repeat(43)), format!("opg_reg_{}", "x".repeat(43)));
    let clients = [
        app.anonymous(),
        app.operator(),
        acme.clone(),
        ann,
        app.client(Some(&made_up)),
        app.client(Some(&unused)),
        app.client(Some("opg_run_")),
    ];
    let body = json!({ "session_id": NEVER_WAS, "registration_token": unused,
        "public_key": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=" });
    let mut tried = 0;
    for case in routes::all().iter().filter(|case| case.is_runners()) {
        for client in &clients {
            let request = case.request(client, "", "").header("x-forwarded-for", fresh_ip());
            let answer = send(request.json(&body)).await;
            assert_eq!(
                (answer.status, code(case, &answer).as_str()),
                (401, "invalid_credential"),
                "{}: {}",
                case.at(),
                answer.text()
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 4 * clients.len());
    // And a runner's token opens nothing but these.
    for case in routes::guarded() {
        let answer = call(&case, &runner, "acme").await;
        assert_eq!(answer.status, 401, "{}: {}", case.at(), answer.text());
    }
}

#[tokio::test]
async fn m008_a_credential_opens_no_other_apps_prefix() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    app.tenant("other").await;
    for case in routes::guarded().iter().filter(|case| case.names_app()) {
        let answer = case.call(&acme, "other", "some-name").await;
        assert_eq!((answer.status, code(case, &answer).as_str()), (403, "app_mismatch"), "{}", case.at());
        for nobody in ["nobody", "No_Slug", "%FF", "%00", "v1"] {
            let answer = case.call(&acme, nobody, "some-name").await;
            assert_eq!(answer.status, 404, "{} as {nobody}: {}", case.at(), answer.text());
        }
    }
    assert_eq!(acme.get("/acme/v1/whoami").await.status, 200);
}

#[tokio::test]
async fn m042_every_action_needs_its_scope_and_no_other() {
    let app = TestApp::start().await;
    let acme = app.tenant("acme").await;
    let mut by_scopes: BTreeMap<Vec<&str>, Vec<Case>> = BTreeMap::new();
    for case in routes::guarded() {
        let Some(action) = case.action else { continue };
        if action.on() != On::App {
            continue;
        }
        let needed: Vec<_> = action.any_of().iter().map(|scope| scope.name()).collect();
        by_scopes.entry(needed).or_default().push(case);
    }
    let everything = Scopes::app().names();
    for (needed, cases) in by_scopes {
        if needed.is_empty() {
            assert!(cases.iter().all(|case| case.action == Some(Action::WhoAmI)), "{cases:?}");
            continue;
        }
        let others: Vec<_> = everything.iter().filter(|name| !needed.contains(name)).collect();
        let (without, id) = grant(&app, &acme, &others).await;
        for case in &cases {
            let answer = case.call(&without, "acme", "some-name").await;
            assert_eq!(
                (answer.status, code(case, &answer).as_str()),
                (403, "insufficient_scope"),
                "{} with everything but {needed:?}",
                case.at()
            );
            if answer.header("content-type") == "application/problem+json" {
                assert_eq!(answer.json()["required"], json!(needed), "{}", case.at());
                assert_eq!(answer.json()["granted"], json!(others), "{}", case.at());
            }
        }
        revoke(&acme, &id).await;
        for scope in &needed {
            let (with, id) = grant(&app, &acme, &[scope]).await;
            for case in &cases {
                let answer = case.call(&with, "acme", "some-name").await;
                assert!(
                    ![401, 403].contains(&answer.status) && answer.status < 500,
                    "{} with {scope}: {}",
                    case.at(),
                    answer.text()
                );
            }
            revoke(&acme, &id).await;
        }
    }
}

#[tokio::test]
async fn m042_what_is_a_persons_own_needs_its_scope_and_no_other() {
    let app = TestApp::open_to_people().await;
    let ann = app.person("ann@example.com").await;
    let everything = Scopes::person();
    for case in routes::guarded().iter().filter(|case| case.is_persons()) {
        let needed = case.action.unwrap().any_of();
        let others: Scopes = everything.iter().filter(|scope| !needed.contains(scope)).collect();
        set_scopes(&app, others).await;
        if !needed.is_empty() {
            let answer = case.call(&ann, "ann", "some-name").await;
            assert_eq!(
                (answer.status, code(case, &answer).as_str()),
                (403, "insufficient_scope"),
                "{}",
                case.at()
            );
        }
        for scope in needed {
            set_scopes(&app, Scopes::of(&[*scope])).await;
            let answer = case.call(&ann, "ann", "some-name").await;
            let fine = ![401, 403].contains(&answer.status) && answer.status < 500;
            assert!(fine, "{} with {}: {}", case.at(), scope.name(), answer.text());
        }
    }
}

/// Gives every credential of a person's these scopes.
async fn set_scopes(app: &TestApp, scopes: Scopes) {
    let mut owner = app.owner().await;
    sqlx::query("update credentials set scopes = $1 where user_id is not null")
        .bind(scopes.names())
        .execute(&mut owner)
        .await
        .unwrap();
}

#[tokio::test]
async fn m029_a_person_opens_no_app_they_are_no_member_of() {
    let app = TestApp::open_to_people().await;
    app.tenant("acme").await;
    let ann = app.person("ann@example.com").await;
    for case in routes::guarded().iter().filter(|case| case.names_app()) {
        let of = async |slug: &str| {
            let request = case.request(&ann, slug, "some-name").header("x-request-id", "same");
            let answer = send(request).await;
            (answer.status, answer.text().replace(slug, "APP"))
        };
        let (theirs, nobodys) = (of("acme").await, of("emca").await);
        assert_eq!(theirs.0, 404, "{}: {}", case.at(), theirs.1);
        assert_eq!(theirs, nobodys, "{}", case.at());
    }
    for case in routes::guarded() {
        if case.names_app() || case.action.is_none_or(|action| action.on() != On::App) {
            continue;
        }
        let answer = case.call(&ann, "", "some-name").await;
        assert_eq!((answer.status, code(&case, &answer).as_str()), (400, "app_required"), "{}", case.at());
    }
}

async fn grant(app: &TestApp, by: &Client, scopes: &[&&str]) -> (Client, String) {
    let made = by.post("/v1/tenant/tokens", &json!({ "kind": "dev_grant", "scopes": scopes })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    (app.client(made.json()["token"].as_str()), made.json()["id"].as_str().unwrap().to_owned())
}

async fn revoke(by: &Client, id: &str) {
    assert_eq!(by.delete(&format!("/v1/tenant/tokens/{id}")).await.status, 204);
}

#[tokio::test]
async fn m233_the_operator_is_no_tenant_and_a_tenant_no_operator() {
    let app = TestApp::open_to_people().await;
    let acme = app.tenant("acme").await;
    let person = app.person("ann@example.com").await;
    for case in routes::guarded() {
        let Some(action) = case.action else {
            assert_eq!(case.template, "/platform/v1/whoami", "the one route that takes any credential");
            continue;
        };
        let operator = app.operator();
        let wrong = match action.on() {
            On::Platform => vec![&acme, &person],
            On::Person => vec![&acme, &operator],
            On::App | On::Guest => vec![&operator],
            On::Managed => vec![],
        };
        for wrong in wrong {
            let answer = case.call(wrong, "acme", "some-name").await;
            assert_eq!(
                (answer.status, code(&case, &answer).as_str()),
                (403, "wrong_credential_kind"),
                "{}",
                case.at()
            );
        }
    }
    assert_eq!(app.operator().get("/v1/admin/tenants/acme").await.status, 200, "and nothing happened to it");
}

/// What tenant A has under the name of each kind of path, and a name of the same length that never was.
struct Pair {
    there: String,
    never: String,
}

#[tokio::test]
async fn m311_what_belongs_to_another_tenant_is_as_if_it_had_never_been() {
    // Its clock stands still, so that answers which tell the time are the same.
    let clock = Clock::manual(Clock::system().now());
    let app = TestApp::at(clock, TestApp::let_people_in).await;
    let (a, b) = (app.tenant("tenant-a").await, app.tenant("tenant-b").await);
    a.install_tool("tool-one", guests::WORD_COUNT).await;
    let agent = a.put_bytes("/v1/tenant/agents/agent-one", "text/markdown", AGENT).await;
    assert_eq!(agent.status, 201, "{}", agent.text());
    assert_eq!(a.put("/v1/tenant/budgets/budget-one", &budget()).await.status, 200);
    assert_eq!(a.put("/v1/tenant/commands/command-one", &command()).await.status, 200);
    let tokens = a.get("/v1/tenant/tokens").await.json();
    let token_id = tokens["data"][0]["id"].as_str().unwrap().to_owned();
    let session_id = new_session(&a).await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let me = ann.get("/v1/me").await.json();
    let member = json!({ "user_id": me["id"], "role": "owner" });
    assert_eq!(a.post("/v1/tenant/members", &member).await.status, 201);
    let people = People {
        user_id: me["id"].as_str().unwrap().to_owned(),
        session_id: me["session_id"].as_str().unwrap().to_owned(),
        token_id: {
            let wanted = json!({ "name": "ci", "scopes": ["chat:read"], "expires_in": 3600 });
            let made = ann.post("/platform/v1/tokens", &wanted).await;
            assert_eq!(made.status, 201, "{}", made.text());
            made.json()["id"].as_str().unwrap().to_owned()
        },
    };
    let file = format!(
        "insert into ai_files select '{A_FILE}', app_id, 'image/png', '', now() + interval '1 day' from apps
         where slug = 'tenant-a'"
    );
    sqlx::query(sqlx::AssertSqlSafe(file)).execute(&mut app.owner().await).await.unwrap();
    let task = format!(
        "insert into tasks select '{A_TASK}', app_id, null, 'image', 'running', null, null, null, null, 'r',
           gen_random_uuid(), now() + interval '1 day', now(), null, now() + interval '1 day'
         from apps where slug = 'tenant-a'"
    );
    sqlx::query(sqlx::AssertSqlSafe(task)).execute(&mut app.owner().await).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "insert into user_identities select '{AN_IDENTITY}', user_id, 'github', 'x', '7', email, now() from users
         where email = 'ann@example.com'"
    )))
    .execute(&mut app.owner().await)
    .await
    .unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "insert into user_passkeys select '{A_PASSKEY}', user_id, 'x', '\\x07', 'x', '{{}}', now() from users
         where email = 'ann@example.com'"
    )))
    .execute(&mut app.owner().await)
    .await
    .unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "insert into app_invitations select '{AN_INVITATION}', app_id, 'ann@example.com', 'ann@example.com', 'viewer',
           null, null, now(), now() + interval '1 day' from apps where slug = 'tenant-a'"
    )))
    .execute(&mut app.owner().await)
    .await
    .unwrap();
    // Somebody else with a proved address is nobody who was invited.
    let prove = "update users set email_proved_at = now()";
    sqlx::query(prove).execute(&mut app.owner().await).await.unwrap();
    let configured = a
        .put(
            "/v1/tenant",
            &json!({ "providers": {
            "prov": { "apiKey": "sk-0123456789abcdef", "baseUrl": "https://prov.example/v1" },
            "key-one": { "apiKey": "sk-0123456789abcdef", "baseUrl": "https://key.example/v1" },
        } }),
        )
        .await;
    assert_eq!(configured.status, 200, "{}", configured.text());

    let mut cases: Vec<_> = routes::guarded().into_iter().filter(Case::names_one).collect();
    // Last those that make something of that name for B.
    let makes = |case: &Case| case.method == Method::PUT;
    cases.sort_by_key(makes);
    let mut tried = 0;
    for case in &cases {
        let pairs = pairs(case, &token_id, a.token(), &session_id, &people);
        let other = if case.is_persons() { &bob } else { &b };
        assert!(!pairs.is_empty(), "{} has no case here: say what tenant A has under such a path", case.at());
        for pair in pairs {
            let of = |answer: Answer, name: &str| {
                let text = answer.text().replace(name, "NAME");
                let mut headers: Vec<_> = answer
                    .headers
                    .iter()
                    .filter(|(name, _)| *name != "date")
                    // What is made for B is a thing of its own, under either name, and has a tag of its own.
                    .filter(|(name, _)| *name != "etag" || !(makes(case) && answer.status < 300))
                    .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                    .collect();
                headers.sort();
                (answer.status, headers, text)
            };
            let theirs = of(ask(case, other, &pair.there).await, &pair.there);
            let nobodys = of(ask(case, other, &pair.never).await, &pair.never);
            assert_eq!(theirs, nobodys, "{} tells {} from {}", case.at(), pair.there, pair.never);
            let platform = case.action.is_some_and(|action| action.on() == On::Platform);
            if !makes(case) && !platform {
                assert_eq!(theirs.0, 404, "{}: {}", case.at(), theirs.2);
            }
            tried += 1;
        }
    }
    assert!(tried >= cases.len());

    // The session id may come in a header or in the body as well (row M011).
    for in_header in [true, false] {
        let mut answers = vec![];
        for id in [session_id.as_str(), NEVER_WAS] {
            let mut body =
                json!({ "model": "demo/assistant", "messages": [{ "role": "user", "content": "hi" }] });
            let request = b.request("POST", "/v1/chat/completions").header("x-request-id", "same");
            let answer = if in_header {
                send(request.header("x-opg-session-id", id).json(&body)).await
            } else {
                body["session_id"] = json!(id);
                send(request.json(&body)).await
            };
            answers.push((answer.status, answer.text()));
        }
        assert_eq!(answers[0].0, 404);
        assert_eq!(answers[0], answers[1]);
    }

    // And A still has all of it.
    for path in ["/v1/tenant/tools/tool-one", "/v1/tenant/agents/agent-one"] {
        assert_eq!(a.get(path).await.status, 200, "{path}");
    }
    assert_eq!(a.get("/v1/tenant/budgets").await.json()["data"][0]["name"], "budget-one");
    assert_eq!(a.get("/v1/tenant/tokens").await.json()["data"][0]["id"], json!(token_id));
    assert_eq!(a.get(&format!("/v1/ai/files/{A_FILE}")).await.status, 200);
    assert_eq!(a.get(&format!("/v1/tasks/{A_TASK}")).await.json()["status"], "running");
    assert_eq!(a.delete(&format!("/v1/sessions/{session_id}")).await.status, 204);
    assert_eq!(a.get("/v1/tenant/members").await.json()["data"][0]["role"], "owner");
    assert_eq!(ann.get("/v1/me").await.json()["identities"][0]["id"], AN_IDENTITY);
    assert_eq!(ann.get("/v1/me").await.json()["passkeys"][0]["id"], A_PASSKEY);
    assert_eq!(ann.get("/v1/me").await.json()["invitations"][0]["id"], AN_INVITATION);
    assert_eq!(a.get("/v1/tenant/invitations").await.json()["data"][0]["id"], AN_INVITATION);
    assert_eq!(ann.get("/platform/v1/tokens").await.json()["data"][0]["name"], "ci");
}

/// What is a person's of A's.
struct People {
    user_id: String,
    session_id: String,
    token_id: String,
}

fn pairs(case: &Case, token_id: &str, token: &str, session_id: &str, people: &People) -> Vec<Pair> {
    let pair = |there: &str, never: &str| Pair { there: there.to_owned(), never: never.to_owned() };
    let template = case.template.strip_prefix("/{app}").unwrap_or(&case.template);
    let families = [
        ("/v1/tenant/tools/", vec![pair("tool-one", "tool-nil")]),
        ("/v1/tenant/agents/", vec![pair("agent-one", "agent-nil")]),
        (
            "/v1/tenant/tokens/",
            vec![pair(token_id, NEVER_WAS), pair(token, &format!("ocs_tenant-a_sk_{}", "x".repeat(43)))],
        ),
        ("/v1/tenant/members/", vec![pair(&people.user_id, NEVER_WAS)]),
        ("/v1/tenant/invitations/", vec![pair(AN_INVITATION, NEVER_WAS)]),
        ("/platform/v1/apps/{app}/admins/", vec![pair(&people.user_id, NEVER_WAS)]),
        ("/platform/v1/apps/{app}/invitations/", vec![pair(AN_INVITATION, NEVER_WAS)]),
        ("/platform/v1/users/", vec![pair(&people.user_id, NEVER_WAS)]),
        ("/v1/me/invitations/", vec![pair(AN_INVITATION, NEVER_WAS)]),
        ("/platform/v1/tokens/", vec![pair(&people.token_id, NEVER_WAS)]),
        ("/v1/me/apps/", vec![pair("ann", "nna"), pair("tenant-a", "tenant-z")]),
        ("/v1/me/sessions/", vec![pair(&people.session_id, NEVER_WAS)]),
        ("/v1/me/identities/", vec![pair(AN_IDENTITY, NEVER_WAS)]),
        ("/v1/me/passkeys/", vec![pair(A_PASSKEY, NEVER_WAS)]),
        ("/v1/tenant/commands/", vec![pair("command-one", "command-nil")]),
        ("/v1/tenant/budgets/", vec![pair("budget-one", "budget-nil")]),
        ("/platform/v1/ai/prices/", vec![pair("prov/some", "nope/some")]),
        ("/platform/v1/ai/sources/", vec![pair("source-one", "source-nil")]),
        ("/platform/v1/ai/models/", vec![pair("prov/some", "nope/some")]),
        ("/v1/keys/", vec![pair("key-one", "key-nil")]),
        ("/v1/predefined/", vec![pair("tool-one", "tool-nil"), pair("agent-one", "agent-nil")]),
        ("/v1/ai/files/", vec![pair(A_FILE, NEVER_WAS)]),
        ("/v1/tasks/", vec![pair(A_TASK, NEVER_WAS)]),
        ("/v1/models/", vec![pair("prov/some", "nope/some")]),
        ("/v1/sessions/", vec![pair(session_id, NEVER_WAS)]),
        ("/v1/admin/tenants/", vec![pair("tenant-a", "tenant-z")]),
        ("/t/{app}/opencode/session/", vec![pair(&opencodes(session_id), &opencodes(NEVER_WAS))]),
    ];
    families
        .into_iter()
        .find(|(prefix, _)| template.starts_with(prefix))
        .map(|(_, pairs)| pairs)
        .unwrap_or_default()
}

/// A session's id as opencode has it.
fn opencodes(session_id: &str) -> String {
    ids::session(session_id.parse().unwrap())
}

#[tokio::test]
async fn m264_m311_a_session_of_another_person_is_as_if_it_had_never_been() {
    let app = TestApp::open_to_people().await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let me = bob.get("/v1/me").await.json();
    let member = json!({ "user_id": me["id"], "role": "owner" });
    let added = ann.post("/ann/v1/tenant/members", &member).await;
    assert_eq!(added.status, 201, "{}", added.text());
    let (ann, bob) = (ann.in_app("ann"), bob.in_app("ann"));
    let token = ann.post("/v1/tenant/tokens", &json!({})).await.json();
    let of_app = app.client(token["token"].as_str());
    let made = ann.post("/v1/sessions", &json!({ "model": "demo/assistant" })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let said = json!({ "parts": [{ "type": "text", "text": "hello" }] });
    assert_eq!(ann.post(&format!("/v1/sessions/{id}/prompt"), &said).await.status, 202);
    let mut tried = 0;
    let of_sessions = |case: &Case| case.template.starts_with("/v1/sessions/{id}");
    for case in routes::guarded().iter().filter(|case| of_sessions(case)) {
        for other in [&bob, &of_app] {
            let mut answers = vec![];
            for name in [id.as_str(), NEVER_WAS] {
                let answer = ask(case, other, name).await;
                answers.push((answer.status, answer.text().replace(name, "NAME")));
            }
            assert_eq!(answers[0].0, 404, "{}: {}", case.at(), answers[0].1);
            assert_eq!(answers[0], answers[1], "{}", case.at());
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
    for other in [&bob, &of_app] {
        assert_eq!(other.get("/v1/sessions").await.json()["data"], json!([]));
    }
    let chat = json!({ "model": "demo/assistant", "session_id": id, "messages": [{ "role": "user", "content": "x" }] });
    assert_eq!(bob.post("/v1/chat/completions", &chat).await.status, 404);
    // Ann has it, and what she asked for was answered: also after her request had ended.
    let listed = ann.get("/v1/sessions").await.json();
    assert_eq!(listed["data"][0]["id"], json!(id));
    let mut messages = ann.get(&format!("/v1/sessions/{id}/messages")).await.json();
    for _ in 0..200 {
        if messages["data"].as_array().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        messages = ann.get(&format!("/v1/sessions/{id}/messages")).await.json();
    }
    assert_eq!(messages["data"][1]["role"], "assistant", "{messages}");
}

/// Calls a route so that nothing but the name can be wrong.
async fn ask(case: &Case, client: &Client, name: &str) -> Answer {
    let request = case.request(client, "tenant-b", name).header("x-request-id", "same");
    let request = match case.template.rsplit('/').next() {
        Some("message" | "prompt_async") if case.takes_body() => {
            request.json(&json!({ "parts": [{ "type": "text", "text": "x" }] }))
        }
        Some("revert") if case.is_opencodes() => {
            request.json(&json!({ "messageID": ids::message(NEVER_WAS.parse().unwrap()) }))
        }
        _ if case.is_upload() && case.template.contains("/agents/") => {
            request.header("content-type", "text/markdown").body(AGENT)
        }
        _ if case.is_upload() => request.header("content-type", "application/wasm").body(guests::WORD_COUNT),
        _ if case.template.contains("/budgets/") && case.takes_body() => request.json(&budget()),
        Some("test") => request.json(&json!({})),
        _ if case.template.contains("/keys/") && case.takes_body() => {
            request.json(&json!({ "key": "sk-0123456789" }))
        }
        _ if ["/members/", "/admins/"].iter().any(|of| case.template.contains(of)) && case.takes_body() => {
            request.json(&json!({ "role": "viewer" }))
        }
        Some("rotate") => request.json(&json!({})),
        _ if case.template.contains("/platform/v1/tokens/") && case.takes_body() => {
            request.json(&json!({ "name": "other" }))
        }
        Some("command") => request.json(&json!({ "command": "command-one" })),
        _ if case.template.contains("/commands/") && case.takes_body() => request.json(&command()),
        Some("prompt") => request.json(&json!({ "parts": [{ "type": "text", "text": "x" }] })),
        Some("revert") => request.json(&json!({ "message_id": NEVER_WAS })),
        Some("summarize") if case.is_opencodes() => {
            request.json(&json!({ "providerID": "openai", "modelID": "x" }))
        }
        Some("fork" | "summarize" | "share" | "restore") => request.json(&json!({})),
        Some("git") => {
            request.json(&json!({ "repo": "https://git.invalid/x.git", "branch": "b", "message": "m" }))
        }
        Some("{permission}") => request.json(&json!({ "response": "once" })),
        _ if case.method == Method::PATCH => request.json(&json!({})),
        Some("review") => request.json(&json!({ "grant": "all" })),
        Some("rollback") => request.json(&json!({ "version": 1 })),
        Some("invoke") => request.json(&json!({ "input": { "text": "one two" } })),
        _ => request,
    };
    send(request).await
}

fn command() -> Value {
    json!({ "template": "Review $ARGUMENTS." })
}

fn budget() -> Value {
    json!({ "scope": "app", "period": "day", "limit_micro_usd": 1_000_000 })
}

async fn new_session(client: &Client) -> String {
    let body: Value = json!({
        "model": "demo/assistant",
        "session_id": "new",
        "messages": [{ "role": "user", "content": "hello" }],
    });
    let answer = client.post("/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-opg-session-id").to_owned()
}
