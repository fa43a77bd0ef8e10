//! The main job, step by step, each answer checked.

use super::{
    ledger,
    story::{Asked, Remains, Step, Story},
};
use crate::client::{Answer, Client, ClientError};
use serde_json::{Value, json};
use std::time::Duration;

mod guests {
    include!(concat!(env!("OUT_DIR"), "/guests.rs"));
}

const MODEL: &str = "demo/assistant";
const CHAT: &str = "/v1/chat/completions";
const WASM: &str = "application/wasm";
/// Ten words, for the tool to count.
const QUESTION: &str =
    r#"Use word-count on "one gate, two doors: people outside, guests inside, judged alike""#;
const WORDS: &str = r#""words":10"#;
/// One call the review allowed, and one it did not.
const TWO_CALLS: &str = concat!(
    "call notes_list_notes {}\n",
    r#"call notes_add_note {"title": "demo", "text": "a tool may do what it was granted"}"#,
);

/// Why the job was not done.
#[derive(Debug, thiserror::Error)]
#[error("this step failed: {step}: {cause}")]
pub(super) struct JobError {
    step: String,
    cause: Wrong,
}

#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("expected {expected}, got {got}")]
    Unexpected { expected: String, got: String },
}

/// Does the job; `begin` is told of each step as it begins.
pub(super) async fn run(operator: &Client, begin: impl Fn(&str)) -> Result<Story, JobError> {
    let mut job = Job { steps: Vec::new(), begun: String::new(), begin };
    job.all(operator).await.map_err(|cause| JobError { step: job.begun, cause })
}

struct Job<B> {
    steps: Vec<Step>,
    begun: String,
    begin: B,
}

impl<B: Fn(&str)> Job<B> {
    async fn all(&mut self, operator: &Client) -> Result<Story, Wrong> {
        let (slug, tenant) = self.create_tenant(operator).await?;
        self.upload_word_count(&tenant).await?;
        self.upload_notes(&tenant).await?;
        self.review_notes(&tenant).await?;
        let (asked, session) = self.ask(&tenant).await?;
        let (again, session_again) = self.ask_streamed(&tenant, &asked.answer).await?;
        let session_notes = self.ask_for_notes(&tenant).await?;

        self.begin("reading the ledger and the audit log");
        let ledger = rows(&tenant.get("/v1/usage/ai-logs?limit=100").await?);
        let audit = rows(&tenant.get("/v1/tenant/audit?limit=100").await?);
        let calls = ledger::calls(&ledger, &asked.request_id);
        let kinds: Vec<_> = calls.iter().map(|call| call.kind).collect();
        expect(
            kinds == ["agent", "model", "tool", "model"],
            "agent, model, tool, model in the ledger",
            &kinds,
        )?;
        let reached = ledger::reached(&audit);
        let denied: Vec<_> = reached.iter().filter(|r| r.denied > 0).map(|r| r.what.as_str()).collect();
        expect(denied == ["kv:write"], "one denial in the audit log, of kv:write", &denied)?;

        let headers = [session, session_again, session_notes].iter().filter(|kept| **kept).count();
        let sessions = headers + ledger::with_session(&ledger);
        expect(sessions == 0, "no session", &sessions)?;
        let first = ledger::first_prompt_tokens(&ledger, &asked.request_id).unwrap_or_default();
        let second = ledger::first_prompt_tokens(&ledger, &again).unwrap_or_default();
        expect(first == second && first > 0, "the same question to be as long again", &[first, second])?;

        Ok(Story {
            url: tenant.url().to_owned(),
            tenant: slug,
            token: tenant.token().to_owned(),
            steps: std::mem::take(&mut self.steps),
            asked,
            calls,
            reached,
            cost: ledger::cost(&ledger),
            remains: Remains {
                sessions,
                prompt_tokens_first_and_again: (first, second),
                ledger_rows: ledger.len(),
                audit_rows: audit.len(),
            },
        })
    }

    /// A new tenant for each run: its ledger tells of this run alone.
    async fn create_tenant(&mut self, operator: &Client) -> Result<(String, Client), Wrong> {
        self.begin("creating a tenant");
        for number in 1_u32.. {
            let slug = format!("demo-{number}");
            let body = json!({ "id": slug, "name": format!("Demo {number}") });
            match operator.post("/v1/admin/tenants", &body).await {
                Ok(answer) => {
                    let token = text(&answer.body, "/token");
                    expect(token.starts_with("ocs_"), "a token that starts with `ocs_`", &answer.body)?;
                    let outcome = "and got the tenant's first token, shown once".to_owned();
                    self.done("operator", format!("created the tenant {slug}"), outcome, answer.took);
                    return Ok((slug, operator.with_token(&token)));
                }
                Err(error) if error.code() == Some("id_taken") => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Wrong::Unexpected { expected: "a free name".into(), got: "none".into() })
    }

    async fn upload_word_count(&mut self, tenant: &Client) -> Result<(), Wrong> {
        self.begin("uploading the tool word-count");
        let answer = tenant
            .put("/v1/tenant/tools/word-count", &[("content-type", WASM)], guests::EXAMPLE_WORD_COUNT)
            .await?;
        expect(answer.body["status"] == "active", "an active tool, as it asks for nothing", &answer.body)?;
        let outcome = "it asks for nothing, so it is active at once".to_owned();
        self.done("tenant", uploaded("word-count", &answer.body), outcome, answer.took);
        Ok(())
    }

    async fn upload_notes(&mut self, tenant: &Client) -> Result<(), Wrong> {
        self.begin("uploading the tools notes");
        let answer =
            tenant.put("/v1/tenant/tools/notes", &[("content-type", WASM)], guests::EXAMPLE_NOTES).await?;
        expect(answer.body["status"] == "pending_review", "a tool that waits for review", &answer.body)?;
        let outcome =
            format!("it asks for {}: a review is due", names(&answer.body["requested_capabilities"]));
        self.done("tenant", uploaded("notes", &answer.body), outcome, answer.took);
        Ok(())
    }

    async fn review_notes(&mut self, tenant: &Client) -> Result<(), Wrong> {
        self.begin("reviewing what notes asks for");
        let grant = json!({ "grant": [{ "kind": "kv", "target": "read" }] });
        let answer = tenant.post("/v1/tenant/tools/notes/review", &grant).await?;
        let granted = names(&answer.body["granted"]);
        expect(granted == "kv:read", "kv:read to be granted and nothing else", &answer.body)?;
        let outcome = format!("granted {granted}, and so not kv:write");
        self.done("tenant", "reviewed notes".to_owned(), outcome, answer.took);
        Ok(())
    }

    async fn ask(&mut self, tenant: &Client) -> Result<(Asked, bool), Wrong> {
        self.begin("asking the model, which calls the tool");
        let answer = tenant.post(CHAT, &question(QUESTION, false)).await?;
        let said = content(&answer);
        expect(said.contains(WORDS), WORDS, &answer.body)?;
        self.done("tenant", format!("asked {MODEL}"), "one answer, whole".to_owned(), answer.took);
        let asked = Asked {
            model: MODEL,
            question: QUESTION.to_owned(),
            answer: said,
            request_id: answer.request_id,
            took_ms: ms(answer.took),
        };
        Ok((asked, answer.session))
    }

    async fn ask_streamed(&mut self, tenant: &Client, whole: &str) -> Result<(String, bool), Wrong> {
        self.begin("asking the same as a stream");
        let streamed = tenant.stream(CHAT, &question(QUESTION, true)).await?;
        expect(streamed.text == whole, whole, &streamed.text)?;
        let outcome = format!(
            "the same text in {} pieces, the first after {} ms",
            streamed.pieces,
            ms(streamed.first_after)
        );
        self.done("tenant", "asked the same, streamed".to_owned(), outcome, streamed.took);
        Ok((streamed.request_id, streamed.session))
    }

    async fn ask_for_notes(&mut self, tenant: &Client) -> Result<bool, Wrong> {
        self.begin("asking for what the review denied");
        let answer = tenant.post(CHAT, &question(TWO_CALLS, false)).await?;
        let said = content(&answer);
        expect(said.contains("notes_add_note") && said.contains("denied"), "a denial in the answer", &said)?;
        let outcome = "it may read, so it listed none; it may not write".to_owned();
        self.done("tenant", "asked to list notes and to add one".to_owned(), outcome, answer.took);
        Ok(answer.session)
    }

    fn begin(&mut self, step: &str) {
        (self.begin)(step);
        step.clone_into(&mut self.begun);
    }

    fn done(&mut self, by: &'static str, did: String, outcome: String, took: Duration) {
        self.steps.push(Step { by, did, outcome, took_ms: ms(took) });
    }
}

fn expect<T: serde::Serialize + ?Sized>(holds: bool, expected: &str, got: &T) -> Result<(), Wrong> {
    if holds {
        return Ok(());
    }
    let got = serde_json::to_string(got).unwrap_or_default();
    Err(Wrong::Unexpected { expected: expected.to_owned(), got })
}

fn question(text: &str, stream: bool) -> Value {
    json!({ "model": MODEL, "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

fn content(answer: &Answer) -> String {
    text(&answer.body, "/choices/0/message/content")
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn rows(answer: &Answer) -> Vec<Value> {
    answer.body["data"].as_array().cloned().unwrap_or_default()
}

fn uploaded(name: &str, meta: &Value) -> String {
    format!("uploaded {name}, {} KB", meta["size_bytes"].as_u64().unwrap_or_default() / 1000)
}

/// `kv:read, kv:write`, each once.
fn names(capabilities: &Value) -> String {
    let mut names: Vec<String> = capabilities
        .as_array()
        .into_iter()
        .flatten()
        .map(|capability| format!("{}:{}", text(capability, "/kind"), text(capability, "/target")))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
