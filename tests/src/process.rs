//! The real binary as a process of its own, to be killed and started again.

use crate::app::{ADMIN_TOKEN, Client};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// How long it may take to start: a fresh database, on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// How long it may take to stop: requests that run may finish.
const STOP_TIME_MAX: Duration = Duration::from_secs(40);

/// `opg serve`, running.
pub struct OpgProcess {
    child: Child,
    base_url: String,
}

impl OpgProcess {
    /// Starts it on a data directory and waits until it serves.
    pub async fn start(data_dir: &Path) -> OpgProcess {
        OpgProcess::start_with(data_dir, &[]).await
    }

    /// The same, which may reach model providers on this machine.
    pub async fn start_local(data_dir: &Path) -> OpgProcess {
        OpgProcess::start_with(data_dir, &[("OPG_ALLOW_PRIVATE_UPSTREAMS", "true")]).await
    }

    /// The same with these variables besides.
    pub async fn start_with(data_dir: &Path, variables: &[(&str, &str)]) -> OpgProcess {
        let mut child = Command::new(binary())
            .arg("serve")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ADMIN_TOKENS", ADMIN_TOKEN)
            .env("PORT", "0")
            .env("DATA_DIR", data_dir)
            .env("OPG_CACHE_DIR", concat!(env!("OUT_DIR"), "/component-cache"))
            .env("OPG_RATE_LIMIT_PER_MINUTE", "1000000")
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary can be run");
        let stderr = child.stderr.take().expect("it is piped");
        let mut lines = BufReader::new(stderr).lines();
        let started = async {
            let mut said = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(url) = line.strip_prefix("opg serves on ") {
                    return url.to_owned();
                }
                said.push_str(&line);
                said.push('\n');
            }
            panic!("opg ended before it served:\n{said}");
        };
        let base_url = tokio::time::timeout(START_TIME_MAX, started).await.expect("opg serves in time");
        // A pipe nobody reads would block it in the end.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        OpgProcess { child, base_url }
    }

    /// Somebody with this token.
    pub fn client(&self, token: Option<&str>) -> Client {
        Client::new(&self.base_url, token)
    }

    /// A new tenant; its first token speaks.
    pub async fn tenant(&self, slug: &str) -> Client {
        let answer = self.client(Some(ADMIN_TOKEN)).post("/v1/admin/tenants", &json!({ "id": slug })).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        self.client(answer.json()["token"].as_str())
    }

    /// Where it listens.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it has not been waited for")
    }

    /// Kills it without warning.
    pub async fn kill_9(mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Asks it to stop and waits; its exit code.
    pub async fn stop(mut self) -> Option<i32> {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("`kill` can be run");
        assert!(sent.success());
        let ended = tokio::time::timeout(STOP_TIME_MAX, self.child.wait()).await.expect("opg stops in time");
        ended.expect("it can be waited for").code()
    }
}

/// `opg`, built beside this program: `<target>/<profile>/opg`.
pub fn binary() -> PathBuf {
    let program = std::env::current_exe().expect("this is a program");
    let profile = program.ancestors().nth(2).expect("a test or bench is two folders deep");
    let path = profile.join("opg");
    assert!(path.exists(), "{} is not there: build it first (cargo build -p opg)", path.display());
    path
}
