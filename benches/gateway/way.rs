//! A way to the upstream.

use opg_tests::{
    app::{Client, send},
    process::OpgProcess,
    upstream::ScriptedUpstream,
};
use serde_json::json;
use tokio::process::Child;

/// What is said and, as the upstream echoes it, what must come back.
const SAID: &str = "a sentence of a length that people write";

pub(crate) struct Way {
    pub(crate) name: &'static str,
    client: Client,
    model: &'static str,
    headers: Vec<(&'static str, String)>,
    process: Process,
}

enum Process {
    None,
    Elsewhere(u32),
    /// Ends with the way.
    Ours(Child),
}

impl Way {
    /// To the upstream itself.
    pub(crate) fn direct(upstream: &ScriptedUpstream) -> Way {
        let root = upstream.base_url().trim_end_matches("/v1/");
        let client = Client::new(root, Some("any"));
        Way { name: "direct", client, model: "scripted", headers: vec![], process: Process::None }
    }

    /// Through a program that serves the dialect on this port.
    pub(crate) fn through(
        name: &'static str,
        port: u16,
        headers: Vec<(&'static str, String)>,
        child: Child,
    ) -> Way {
        let client = Client::new(&format!("http://127.0.0.1:{port}"), Some("any"));
        Way { name, client, model: "scripted", headers, process: Process::Ours(child) }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.process {
            Process::None => None,
            Process::Elsewhere(pid) => Some(*pid),
            Process::Ours(child) => child.id(),
        }
    }

    fn request(&self, stream: bool) -> impl Future<Output = opg_tests::app::Answer> {
        let body = json!({ "model": self.model, "stream": stream,
            "messages": [{ "role": "user", "content": SAID }] });
        let request = self.client.request("POST", "/v1/chat/completions").json(&body);
        let request =
            self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        send(request)
    }

    /// One request; whether its answer is right. What others get wrong is counted, what we do ends the benchmark.
    pub(crate) async fn ask(&self, stream: bool) -> bool {
        let answer = self.request(stream).await;
        let right = answer.status == 200 && said(&answer, stream);
        let others = matches!(self.process, Process::Ours(_));
        assert!(right || others, "{}: {} {}", self.name, answer.status, answer.text());
        right
    }

    /// Whether it answers as it should; also where nobody listens yet.
    pub(crate) async fn answers(&self) -> bool {
        let port_is_open = tokio::net::TcpStream::connect(self.client_address()).await.is_ok();
        port_is_open && self.request(false).await.status == 200
    }

    fn client_address(&self) -> String {
        let url = self.client.request("GET", "/").build().expect("a request").url().clone();
        format!("127.0.0.1:{}", url.port().expect("it has a port"))
    }
}

/// Whether what was said came back, and to its end. Not parsed: that would be a part of what is measured.
fn said(answer: &opg_tests::app::Answer, stream: bool) -> bool {
    let text = String::from_utf8_lossy(&answer.body);
    text.contains(SAID) && (!stream || text.contains("[DONE]"))
}

/// Through OPG: an app without tools, so that the model answers, and no agent.
pub(crate) async fn opg(opg: &OpgProcess, upstream: &ScriptedUpstream) -> Way {
    let client = opg.tenant("acme").await;
    let providers =
        json!({ "openai": { "apiKey": "sk-any-key-0123456789", "baseUrl": upstream.base_url() } });
    let set = client.put("/v1/tenant", &json!({ "providers": providers })).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let process = Process::Elsewhere(opg.pid());
    Way { name: "OPG", client, model: "openai/scripted", headers: vec![], process }
}
