//! The opencode mount: what opencode's clients are answered, checked against its own interface (`schemas.json`, of
//! its OpenAPI document what we answer with), and who sees what.

mod clients;
mod shapes;

use opg_tests::{
    app::{Answer, Client, TestApp, send},
    guests,
    upstream::{ScriptedUpstream, Step},
};
use serde_json::{Value, json};
use shapes::Shapes;
use std::{collections::VecDeque, time::Duration};

const CALL: &str = r#"call word-count {"text": "a b"}"#;
/// How long the next thing may take to be told.
const SOON: Duration = Duration::from_secs(20);

/// Somebody who calls an app as opencode's clients do.
#[derive(Clone)]
struct Mount {
    client: Client,
    token: String,
    prefix: String,
}

impl Mount {
    fn new(app: &TestApp, slug: &str, token: &str) -> Mount {
        Mount { client: app.anonymous(), token: token.to_owned(), prefix: format!("/t/{slug}/opencode") }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, &format!("{}{path}", self.prefix));
        request.basic_auth("anybody", Some(&self.token))
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.request("GET", path)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request("POST", path).json(&body)).await
    }

    /// What a route answers that is well.
    async fn fine(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let request = self.request(method, path);
        let answer = send(body.into_iter().fold(request, |request, body| request.json(&body))).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()
    }

    async fn session(&self, body: Value) -> String {
        let made = self.fine("POST", "/session", Some(body)).await;
        Shapes::load().check("Session", &made);
        made["id"].as_str().unwrap().to_owned()
    }

    /// Prompts, and waits for the answer.
    async fn prompt(&self, session: &str, text: &str) -> Value {
        self.fine("POST", &format!("/session/{session}/message"), Some(said(text))).await
    }

    async fn prompt_async(&self, session: &str, body: Value) {
        let taken = self.post(&format!("/session/{session}/prompt_async"), body).await;
        assert_eq!(taken.status, 204, "{}", taken.text());
    }

    async fn messages(&self, session: &str) -> Vec<Value> {
        let listed = self.fine("GET", &format!("/session/{session}/message"), None).await;
        for message in listed.as_array().unwrap() {
            Shapes::load().check("Message", &message["info"]);
            message["parts"].as_array().unwrap().iter().for_each(|part| Shapes::load().check("Part", part));
        }
        listed.as_array().unwrap().clone()
    }

    async fn events(&self) -> Events {
        Events::open(self.request("GET", "/event")).await
    }
}

fn said(text: &str) -> Value {
    json!({ "parts": [{ "type": "text", "text": text }] })
}

/// A stream of events that is read, each checked against its schema.
struct Events {
    answer: reqwest::Response,
    buffer: Vec<u8>,
    ready: VecDeque<Value>,
}

impl Events {
    async fn open(request: reqwest::RequestBuilder) -> Events {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut events = Events { answer, buffer: vec![], ready: VecDeque::new() };
        let first = events.next().await.unwrap();
        let first = first.get("payload").unwrap_or(&first);
        assert_eq!((&first["type"], &first["properties"]), (&json!("server.connected"), &json!({})));
        events
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let read =
                tokio::time::timeout(SOON, self.answer.chunk()).await.expect("something is told in time");
            self.buffer.extend(read.ok()??);
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                let text = std::str::from_utf8(&frame).unwrap();
                let event: Value = serde_json::from_str(text.split_once("data: ").unwrap().1).unwrap();
                Shapes::load().check_event(event.get("payload").unwrap_or(&event));
                self.ready.push_back(event);
            }
        }
    }

    /// Events up to the first that is wanted, that one included; heartbeats are left out.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = vec![];
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended after {events:#?}"));
            if event["type"] == "server.heartbeat" {
                continue;
            }
            let found = wanted(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    }

    async fn until_idle(&mut self, session: &str) -> Vec<Value> {
        self.until(|event| event["type"] == "session.idle" && event["properties"]["sessionID"] == session)
            .await
    }

    /// Whether it ends, whatever it says before.
    async fn ends(mut self) -> bool {
        let ending = async { while self.next().await.is_some() {} };
        tokio::time::timeout(SOON * 2, ending).await.is_ok()
    }
}

/// Events as opencode's own are written down in its trace: type, and what kind of it.
fn trace(events: &[Value]) -> Vec<String> {
    let told = events.iter().map(|event| {
        let (kind, of) = (event["type"].as_str().unwrap(), &event["properties"]);
        let more = match kind {
            "message.updated" if of["info"]["role"] == "user" => ":user".to_owned(),
            "message.updated" => format!(":assistant:{}", of["info"]["finish"].as_str().unwrap_or("None")),
            "message.part.updated" if of["part"]["type"] == "tool" => {
                format!(":tool:{}", of["part"]["state"]["status"].as_str().unwrap())
            }
            "message.part.updated" => format!(":{}", of["part"]["type"].as_str().unwrap()),
            "session.status" => format!(":{}", of["status"]["type"].as_str().unwrap()),
            _ => String::new(),
        };
        format!("{kind}{more}")
    });
    let mut told: Vec<String> = told.collect();
    // How many pieces it comes in is the model's affair.
    told.dedup();
    told
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).map(|event| &event["properties"]).collect()
}

/// Lets all apps share sessions: a PUT of it would be one of everything else as well.
async fn share(app: &TestApp) {
    app.sql(
        "with set as (update apps set session_sharing = true returning 1) select count(*)::text from set",
    )
    .await;
}

/// The text of a message.
fn text(message: &Value) -> String {
    let parts = message["parts"].as_array().unwrap().iter();
    parts.filter(|part| part["type"] == "text").filter_map(|part| part["text"].as_str()).collect()
}

async fn start() -> (TestApp, ScriptedUpstream, Client, Mount) {
    let app = TestApp::local().await;
    let upstream = ScriptedUpstream::start().await;
    let acme = app.tenant_of("acme", &upstream).await;
    acme.install_tool("word-count", guests::WORD_COUNT).await;
    let mount = Mount::new(&app, "acme", acme.token());
    (app, upstream, acme, mount)
}

#[tokio::test]
async fn m354_a_turn_is_told_in_opencodes_order_and_its_history_is_what_was_told() {
    let (_app, upstream, _acme, mount) = start().await;
    upstream.script(vec![Step::Reasoning("hm".into()), Step::text("Hello"), Step::text(" there")]);
    let mut events = mount.events().await;
    let session = mount.session(json!({})).await;
    let answer = mount.prompt(&session, "hi").await;
    let told = events.until_idle(&session).await;
    let last = events.until(|event| event["type"] == "session.updated").await;
    assert_eq!(
        trace(&told),
        [
            "session.created",
            "session.updated",
            "message.updated:user",
            "message.part.updated:text",
            "session.updated",
            "session.status:busy",
            "message.updated:assistant:None",
            "message.part.updated:step-start",
            "message.part.updated:reasoning",
            "message.part.delta",
            "message.part.updated:text",
            "message.part.delta",
            "message.part.updated:reasoning",
            "message.part.updated:text",
            "message.part.updated:step-finish",
            "message.updated:assistant:stop",
            "session.status:idle",
            "session.idle",
        ]
        .map(str::to_owned)
        .as_slice()
    );
    assert_eq!(text(&answer), "Hello there");
    Shapes::load().check("AssistantMessage", &answer["info"]);
    let info = &answer["info"];
    assert_eq!((&info["providerID"], &info["modelID"]), (&json!("openai"), &json!("scripted")));
    assert!(info["tokens"]["output"].as_i64().unwrap() > 0, "{info}");
    let updated = &last[0]["properties"]["info"];
    assert_eq!(updated["title"], "hi");
    assert_eq!(updated["tokens"]["output"], info["tokens"]["output"]);

    // What was told last of each message and part is what is kept.
    let kept = mount.messages(&session).await;
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[1]["info"], answer["info"]);
    let one = mount
        .fine("GET", &format!("/session/{session}/message/{}", text_of(&kept[1]["info"]["id"])), None)
        .await;
    assert_eq!(one, kept[1]);
    for message in &kept {
        let of_it = |told: &&&Value| told["info"]["id"] == message["info"]["id"];
        let updates = of_kind(&told, "message.updated");
        let told_last = updates.iter().rev().find(of_it).unwrap();
        assert_eq!(told_last["info"]["time"]["created"], message["info"]["time"]["created"]);
        for part in message["parts"].as_array().unwrap() {
            let parts = of_kind(&told, "message.part.updated");
            let told_last = parts.iter().rev().find(|told| told["part"]["id"] == part["id"]).unwrap();
            assert_eq!(
                (&told_last["part"]["type"], &told_last["part"]["text"]),
                (&part["type"], &part["text"])
            );
        }
    }
    // Clients look for parts by halves.
    let ids: Vec<&str> =
        kept[1]["parts"].as_array().unwrap().iter().map(|part| part["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert!(kept[0]["info"]["id"].as_str() < kept[1]["info"]["id"].as_str());
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn m354_a_tool_asks_waits_and_runs() {
    let (_app, _upstream, _acme, mount) = start().await;
    let rules = json!([
        { "permission": "question", "action": "deny", "pattern": "*" },
        { "permission": "word-count", "action": "ask", "pattern": "*" },
    ]);
    let session = mount.session(json!({ "permission": rules })).await;
    let mut events = Events::open(mount.request("GET", "/global/event")).await;
    mount.prompt_async(&session, said(CALL)).await;
    let asked = loop {
        let event = events.next().await.unwrap();
        if event["payload"]["type"] == "permission.asked" {
            break event["payload"]["properties"].clone();
        }
    };
    assert_eq!((&asked["permission"], &asked["metadata"]), (&json!("word-count"), &json!({ "text": "a b" })));
    assert!(asked["tool"]["callID"].is_string(), "it says which call: {asked}");
    let listed = mount.fine("GET", "/permission", None).await;
    Shapes::load().check_answer("/permission", &listed);
    assert_eq!(listed[0]["id"], asked["id"]);
    assert_eq!(
        mount.fine("GET", "/session/status", None).await,
        json!({ session.as_str(): { "type": "busy" } })
    );
    // What runs is in the history as far as it has come.
    let running = mount.messages(&session).await;
    assert_eq!(running[0]["parts"][0]["text"], CALL);

    let at = format!("/permission/{}/reply", text_of(&asked["id"]));
    assert_eq!(mount.post(&at, json!({ "reply": "perhaps" })).await.status, 400);
    assert_eq!(mount.fine("POST", &at, Some(json!({ "reply": "once" }))).await, json!(true));
    let mut told = vec![];
    loop {
        let event = events.next().await.unwrap()["payload"].clone();
        told.push(event);
        if told.last().unwrap()["type"] == "session.idle" {
            break;
        }
    }
    let told = trace(&told);
    let at = |wanted: &str| {
        told.iter().position(|event| event == wanted).unwrap_or_else(|| panic!("{wanted}: {told:?}"))
    };
    let order = [
        "permission.replied",
        "message.part.updated:tool:completed",
        "message.updated:assistant:tool-calls",
        "message.updated:assistant:stop",
        "session.status:idle",
        "session.idle",
    ];
    assert!(order.map(at).is_sorted(), "{told:?}");

    let again =
        mount.post(&format!("/permission/{}/reply", text_of(&asked["id"])), json!({ "reply": "once" })).await;
    assert_eq!(again.status, 404);
    Shapes::load().check("PermissionNotFoundError", &again.json());
    let kept = mount.messages(&session).await;
    let kinds = |message: &Value| -> Vec<String> {
        message["parts"].as_array().unwrap().iter().map(|part| text_of(&part["type"])).collect()
    };
    assert_eq!(kept.len(), 3);
    assert_eq!(kinds(&kept[1]), ["step-start", "tool", "step-finish"]);
    let state = &kept[1]["parts"][1]["state"];
    assert_eq!((&state["status"], &state["input"]), (&json!("completed"), &json!({ "text": "a b" })));
    assert_eq!(kinds(&kept[2]), ["step-start", "text", "step-finish"]);
    assert_eq!(kept[2]["info"]["parentID"], kept[0]["info"]["id"]);
}

#[tokio::test]
async fn m354_what_fails_or_is_stopped_ends_and_says_why() {
    let (_app, upstream, _acme, mount) = start().await;
    upstream.script_for_model("broken", vec![Step::error(400, "no such luck")]);
    upstream.script_for_model("endless", vec![Step::text("on"), Step::text(" and on"), Step::Stall]);
    let mut events = mount.events().await;
    let session = mount.session(json!({ "model": { "providerID": "openai", "id": "broken" } })).await;
    let answer = mount.prompt(&session, "hi").await;
    assert_eq!(answer["info"]["error"]["name"], "UnknownError", "{answer}");
    Shapes::load().check("AssistantMessage", &answer["info"]);
    let told = events.until_idle(&session).await;
    let errors = of_kind(&told, "session.error");
    assert_eq!(errors.len(), 1);
    assert!(text_of(&errors[0]["error"]["data"]["message"]).contains("no such luck"), "{errors:?}");
    assert_eq!(mount.messages(&session).await.last().unwrap()["info"], answer["info"], "and it stays");

    let session = mount.session(json!({ "model": { "providerID": "openai", "id": "endless" } })).await;
    mount.prompt_async(&session, said("go")).await;
    events.until(|event| event["type"] == "message.part.delta").await;
    assert_eq!(mount.fine("POST", &format!("/session/{session}/abort"), None).await, json!(true));
    let told = events.until_idle(&session).await;
    assert_eq!(of_kind(&told, "session.error")[0]["error"]["name"], "MessageAbortedError");
    let kept = mount.messages(&session).await;
    assert_eq!(kept[1]["info"]["error"]["name"], "MessageAbortedError");
    assert!(text(&kept[1]).starts_with("on"), "what was said stays");
    assert_eq!(
        mount.fine("POST", &format!("/session/{session}/abort"), None).await,
        json!(true),
        "nothing to stop"
    );
    // What is not there is refused before anything is promised.
    let nothing = mount
        .post(
            &format!("/session/{session}/message"),
            json!({ "agent": "nobody", "parts": [{ "type": "text", "text": "x" }] }),
        )
        .await;
    assert_eq!(nothing.status, 404, "{}", nothing.text());
    Shapes::load().check("NotFoundError", &nothing.json());
}

#[tokio::test]
async fn m354_ids_that_clients_make_come_back_and_a_prompt_sent_twice_is_taken_once() {
    let (_app, upstream, acme, mount) = start().await;
    let session = mount.session(json!({ "title": "mine" })).await;
    let body =
        json!({ "messageID": "msg_20182bf71001iswfursf1xrtOd", "parts": [{ "type": "text", "text": "x" }] });
    let at = format!("/session/{session}/message");
    let first = mount.fine("POST", &at, Some(body.clone())).await;
    assert_eq!(first["info"]["parentID"], body["messageID"]);
    let again = mount.fine("POST", &at, Some(body)).await;
    assert_eq!(first, again);
    assert_eq!(upstream.received().len(), 1);
    assert_eq!(mount.messages(&session).await.len(), 2);
    let odd = json!({ "messageID": "msg_mine", "parts": [{ "type": "text", "text": "x" }] });
    let refused = mount.post(&at, odd).await;
    assert_eq!(refused.status, 400);
    Shapes::load().check("BadRequestError", &refused.json());
    // The same session under our own routes, by the same title.
    let ours = acme.get("/v1/sessions").await.json();
    assert_eq!(ours["data"][0]["title"], "mine");
    // What would be left out without a word is refused.
    for member in [
        json!({ "system": "be nice" }),
        json!({ "noReply": true }),
        json!({ "format": { "type": "json_schema" } }),
    ] {
        let mut body = said("x");
        body.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        assert_eq!(mount.post(&at, body).await.status, 400, "{member}");
    }
    let narrow = json!({ "permission": [{ "permission": "bash", "action": "allow", "pattern": "git *" }] });
    assert_eq!(mount.post("/session", narrow).await.status, 400);
}

#[tokio::test]
async fn m354_a_history_is_read_from_its_end_page_by_page_with_what_waits() {
    let (_app, upstream, _acme, mount) = start().await;
    upstream.script_for_model("endless", vec![Step::text("on"), Step::Stall]);
    let session = mount.session(json!({})).await;
    for text in ["one", "two", "three"] {
        mount.prompt(&session, text).await;
    }
    let at = format!("/session/{session}/message");
    let page = mount.get(&format!("{at}?limit=2")).await;
    let said = |page: &Answer| page.json().as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    assert_eq!(said(&page)[0], "three");
    let cursor = page.header("x-next-cursor").to_owned();
    let earlier = mount.get(&format!("{at}?limit=2&before={cursor}")).await;
    assert_eq!(said(&earlier)[0], "two");
    let first = mount.get(&format!("{at}?limit=2&before={}", earlier.header("x-next-cursor"))).await;
    assert_eq!((said(&first)[0].as_str(), first.header("x-next-cursor")), ("one", ""));
    assert_eq!(mount.get(&format!("{at}?before=nothing")).await.status, 400);

    let slow = json!({ "model": { "providerID": "openai", "modelID": "endless" }, "parts": [{ "type": "text", "text": "go" }] });
    let mut events = mount.events().await;
    mount.prompt_async(&session, slow).await;
    events.until(|event| event["type"] == "message.part.delta").await;
    mount.prompt_async(&session, self::said("and then")).await;
    events.until(|event| event["type"] == "message.updated").await;
    let kept = mount.messages(&session).await;
    let words: Vec<String> = kept[6..].iter().map(text).collect();
    assert_eq!(words, ["go", "on", "and then"], "{kept:#?}");
    let busy = mount
        .post(&format!("/session/{session}/revert"), json!({ "messageID": kept[0]["info"]["id"] }))
        .await;
    assert_eq!(busy.status, 409);
    Shapes::load().check("SessionBusyError", &busy.json());
    // Whoever begins to listen in the middle of it hears the end all the same.
    let mut late = mount.events().await;
    mount.fine("POST", &format!("/session/{session}/abort"), None).await;
    let told = late.until_idle(&session).await;
    let parts = of_kind(&told, "message.part.updated");
    assert!(
        parts.iter().any(|told| told["part"]["type"] == "text" && told["part"]["text"] == "on"),
        "{told:#?}"
    );
}

#[tokio::test]
async fn m354_sessions_and_events_are_their_owners_alone() {
    let app = TestApp::open_to_people().await;
    let (ann, bob) = (app.person("ann@example.com").await, app.person("bob@example.com").await);
    let me = bob.get("/v1/me").await.json();
    let member = json!({ "user_id": me["id"], "role": "owner" });
    assert_eq!(ann.post("/ann/v1/tenant/members", &member).await.status, 201);
    let of_app = ann.in_app("ann").post("/v1/tenant/tokens", &json!({})).await.json();
    let other = app.tenant("other").await;
    let model = json!({ "model": { "providerID": "demo", "id": "assistant" } });
    let mounts = [
        Mount::new(&app, "ann", ann.token()),
        Mount::new(&app, "ann", bob.token()),
        Mount::new(&app, "ann", of_app["token"].as_str().unwrap()),
        Mount::new(&app, "bob", bob.token()),
        Mount::new(&app, "other", other.token()),
    ];
    let mut streams = vec![];
    for mount in &mounts {
        streams.push(mount.events().await);
    }
    let mut sessions = vec![];
    for mount in &mounts {
        let session = mount.session(model.clone()).await;
        mount.prompt(&session, "mine alone").await;
        sessions.push(session);
    }
    for (mount, (events, own)) in mounts.iter().zip(streams.iter_mut().zip(&sessions)) {
        let listed = mount.fine("GET", "/session", None).await;
        let ids: Vec<_> = listed.as_array().unwrap().iter().map(|session| text_of(&session["id"])).collect();
        assert_eq!(ids, [own.as_str()]);
        let told = events.until_idle(own).await;
        for event in &told {
            assert_eq!(event["properties"]["sessionID"], json!(own), "{event}");
        }
        for others in sessions.iter().filter(|session| *session != own) {
            for path in ["", "/message", "/children", "/todo"] {
                let theirs = mount.get(&format!("/session/{others}{path}")).await;
                let nobodys = mount.get(&format!("/session/ses_dfe7d40a2ffe3e5i2XARU4lsYJ{path}")).await;
                assert_eq!((theirs.status, theirs.text()), (404, nobodys.text()), "{path}");
                Shapes::load().check("NotFoundError", &theirs.json());
            }
            assert_eq!(mount.post(&format!("/session/{others}/prompt_async"), said("x")).await.status, 404);
        }
    }
    // A token of one app opens no other.
    assert_eq!(Mount::new(&app, "ann", other.token()).get("/session").await.status, 403);
}

#[tokio::test]
async fn m354_a_stream_ends_with_its_credential_and_with_the_server() {
    let (app, _upstream, acme, mount) = start().await;
    let token = acme.post("/v1/tenant/tokens", &json!({})).await.json();
    let short = Mount::new(&app, "acme", token["token"].as_str().unwrap());
    let (revoked, kept) = (short.events().await, mount.events().await);
    assert_eq!(acme.delete(&format!("/v1/tenant/tokens/{}", text_of(&token["id"]))).await.status, 204);
    assert!(revoked.ends().await, "within a heartbeat or two");
    let ending = tokio::spawn(kept.ends());
    app.running.stop().await;
    assert!(ending.await.unwrap());
}

#[tokio::test]
async fn m354_who_is_nobody_is_asked_for_a_password() {
    let (app, _upstream, acme, mount) = start().await;
    for request in [
        app.anonymous().request("GET", "/t/acme/opencode/session"),
        app.anonymous().request("GET", "/t/acme/opencode/event"),
        app.anonymous().request("GET", "/t/acme/opencode/vcs").basic_auth("opencode", Some("wrong")),
        app.anonymous().request("POST", "/t/acme/opencode/no/such/route"),
    ] {
        let answer = send(request).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"opg\"");
        Shapes::load().check("UnauthorizedError", &answer.json());
    }
    // By any name, and by the usual scheme as well.
    let named = app.anonymous().request("GET", "/t/acme/opencode/session").basic_auth("", Some(acme.token()));
    assert_eq!(send(named).await.status, 200);
    assert_eq!(acme.get("/t/acme/opencode/session").await.status, 200);
    let unknown = mount.get("/no/such/route").await;
    assert_eq!((unknown.status, unknown.json()["name"].clone()), (404, json!("NotFoundError")));
    assert_eq!(mount.post("/session/ses_1/shell", json!({})).await.status, 400);
    assert_eq!(send(mount.request("PATCH", "/config").json(&json!({}))).await.status, 405);
}

#[tokio::test]
async fn m354_the_files_of_a_session_are_seen_where_it_is_named_and_by_nobody_else() {
    let (app, _upstream, acme, mount) = start().await;
    acme.install_tool("workspace", guests::WORKSPACE).await;
    acme.grant("tools", "workspace", &[("workspace", "read-write")]).await;
    let session = mount.session(json!({})).await;
    let steps = json!({ "steps": [
        { "do": "write", "path": "src/a.rs", "text": "fn main() {}\n" }, { "do": "write", "path": "b", "text": "\u{0}" },
    ] });
    mount.prompt(&session, &format!("call workspace {steps}")).await;
    let shapes = Shapes::load();
    let fine = async |path: &str, more: &str| {
        let answer = mount.fine("GET", &format!("{path}?workspace={session}{more}"), None).await;
        if shapes.answers().any(|known| known == path) {
            shapes.check_answer(path, &answer);
        }
        answer
    };
    let listed = fine("/file", "&path=").await;
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|node| node["absolute"].clone()).collect();
    assert_eq!(names, [json!("/workspace/src"), json!("/workspace/b")]);
    assert_eq!(
        fine("/file/content", "&path=src/a.rs").await,
        json!({ "type": "text", "content": "fn main() {}\n" })
    );
    assert_eq!(fine("/file/content", "&path=/workspace/b").await["encoding"], "base64");
    let changed = fine("/file/status", "").await;
    assert_eq!(changed[1], json!({ "path": "src/a.rs", "added": 1, "removed": 0, "status": "added" }));
    assert_eq!(fine("/find", "&pattern=main").await[0]["submatches"][0]["start"], 3);
    assert_eq!(fine("/find/file", "&query=sars").await, json!(["src/a.rs"]));
    assert_eq!(fine("/find/file", "&query=&type=directory").await, json!(["src/"]));
    let diff = mount.fine("GET", &format!("/session/{session}/diff"), None).await;
    diff.as_array().unwrap().iter().for_each(|file| shapes.check("SnapshotFileDiff", file));
    assert!(diff[1]["patch"].as_str().unwrap().contains("+fn main() {}"), "{diff}");
    let said = mount.messages(&session).await[0]["info"]["id"].as_str().unwrap().to_owned();
    let of_message = mount.fine("GET", &format!("/session/{session}/diff?messageID={said}"), None).await;
    assert_eq!(of_message, diff);

    // What is not there, and what is not theirs.
    for (path, status) in [
        ("/file?path=nowhere", 404),
        ("/file?path=../..", 400),
        ("/file/content?path=src", 409),
        ("/file/content?path=/etc/passwd", 400),
        ("/find?pattern=(", 400),
    ] {
        assert_eq!(mount.get(&format!("{path}&workspace={session}")).await.status, status, "{path}");
    }
    let other = app.tenant("neighbour").await;
    let theirs = Mount::new(&app, "neighbour", other.token());
    let never = opg_host::opencode::ids::session("0190f3c4-bbbb-7000-8000-000000000000".parse().unwrap());
    for path in
        ["/file?path=", "/file/content?path=b", "/file/status?x=", "/find?pattern=x", "/find/file?query="]
    {
        let (of_it, of_none) = (
            theirs.get(&format!("{path}&workspace={session}")).await,
            theirs.get(&format!("{path}&workspace={never}")).await,
        );
        assert_eq!((of_it.status, of_it.text()), (404, of_none.text()), "{path}");
    }
    assert_eq!(theirs.get(&format!("/session/{session}/diff")).await.status, 404);
}

#[tokio::test]
async fn m354_sessions_are_shared_where_the_app_does_and_summed_up() {
    let (app, upstream, _acme, mount) = start().await;
    let session = mount.session(json!({ "title": "Mine" })).await;
    mount.prompt(&session, "hello").await;
    let refused = mount.post(&format!("/session/{session}/share"), json!({})).await;
    assert_eq!(
        (refused.status, &refused.json()["data"]["code"]),
        (403, &json!("sharing_off")),
        "{}",
        refused.text()
    );
    share(&app).await;
    let shared = mount.fine("POST", &format!("/session/{session}/share"), None).await;
    Shapes::load().check("Session", &shared);
    let url = shared["share"]["url"].as_str().unwrap().to_owned();
    let opened = app.anonymous().get(url.strip_prefix(&app.base_url()).unwrap()).await;
    assert_eq!((opened.status, &opened.json()["title"]), (200, &json!("Mine")));
    let later = mount.fine("GET", &format!("/session/{session}"), None).await;
    assert_eq!(later["share"], Value::Null, "it is shown once");
    Shapes::load().check("Session", &mount.fine("DELETE", &format!("/session/{session}/share"), None).await);
    assert_eq!(app.anonymous().get(url.strip_prefix(&app.base_url()).unwrap()).await.status, 404);

    upstream.script(vec![Step::text("They greeted.")]);
    let body = json!({ "providerID": "openai", "modelID": "scripted" });
    let summarize = format!("/session/{session}/summarize");
    assert_eq!(mount.fine("POST", &summarize, Some(body.clone())).await, json!(true));
    mount.messages(&session).await;
    let nothing = mount.post(&summarize, body).await;
    assert_eq!((nothing.status, &nothing.json()["data"]["code"]), (409, &json!("nothing_to_summarize")));
}

#[tokio::test]
async fn m354_what_there_is_nothing_of_is_answered_in_its_shape() {
    let (_app, _upstream, acme, mount) = start().await;
    let command = json!({ "template": "Count $ARGUMENTS", "description": "Counts" });
    assert_eq!(acme.put("/v1/tenant/commands/count", &command).await.status, 200);
    mount.session(json!({})).await;
    let shapes = Shapes::load();
    for path in shapes.answers() {
        let answer = mount.fine("GET", &path.replace("{projectID}", "global"), None).await;
        shapes.check_answer(path, &answer);
    }
    assert!(shapes.answers().count() > 40);
}
