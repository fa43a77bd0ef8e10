//! What one run leaves behind: a row in the ledger and one in the audit log,
//! with what the guest reached for and what it was told; one more where a
//! secret's value had to be taken out of something (`secret_redacted`); and its
//! log lines, for the person who ran it.
//!
//! Written when the run ends, however it ends: dropped half-way counts as
//! broken off.

use crate::{
    app::App,
    grants::{Acting, InApp, Reach, audit, audit::Outcome},
    limits::{REACHES_PER_RUN_MAX, RUN_LOG_BYTES_MAX},
    registry::{PluginKind, PluginName},
    sandbox::door::LogLevel,
    tools::runs::{self, Failure, Run},
    traces::{SpanKind, TraceContext, TraceSpan},
    usage::{self, Status, Use, What},
};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use uuid::Uuid;

/// Different things one run may reach for before only their number is kept.
const REACHES_KEPT_MAX: usize = 100;

/// A line a guest logged.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// What it says.
    pub message: String,
}

impl LogLine {
    /// The first lines of a run: as many as are kept of it.
    pub fn first(lines: &[LogLine]) -> &[LogLine] {
        let mut bytes = 0;
        let fits = |line: &&LogLine| {
            bytes += line.message.len();
            bytes <= RUN_LOG_BYTES_MAX
        };
        &lines[..lines.iter().take_while(fits).count()]
    }
}

/// How often something was reached for.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Count {
    allowed: u32,
    denied: u32,
}

#[derive(Default)]
struct Seen {
    logs: Vec<LogLine>,
    reached_times: u32,
    reaches: BTreeMap<String, Count>,
    version: Option<i32>,
    failure: Option<Failure>,
    redacted: BTreeMap<String, u32>,
    /// The lines as they may be kept; none until the run has ended by itself.
    told: Vec<LogLine>,
}

/// The record of one run. Clones write to the same.
#[derive(Clone)]
pub struct Record(Arc<Inner>);

struct Inner {
    app: App,
    acting: Acting,
    plugin: PluginName,
    call: Option<String>,
    session_id: Option<Uuid>,
    started: Instant,
    trace: Mutex<TraceSpan>,
    seen: Mutex<Seen>,
    ended: Mutex<bool>,
}

/// Ends a record as broken off, unless it was ended before.
pub struct Guard(Record);

/// What a trace says of a run, in the words of OpenTelemetry's conventions for generative AI.
fn span(app: &App, acting: &Acting, plugin: &PluginName, call: Option<&str>) -> TraceSpan {
    let (operation, attribute) = match plugin.kind {
        PluginKind::Tool => ("execute_tool", "gen_ai.tool.name"),
        PluginKind::Agent => ("invoke_agent", "gen_ai.agent.name"),
    };
    let what = call.unwrap_or(&plugin.name);
    let parent = acting.caller().trace;
    let mut span = TraceSpan::begin(app, parent, SpanKind::Internal, &format!("{operation} {what}"));
    span.set("gen_ai.operation.name", operation);
    span.set(attribute, what);
    span.set("opg.app", acting.app().slug.as_str());
    span
}

impl Record {
    /// Starts the record of a run of `plugin`; `call` is the tool's name in it.
    pub fn start(
        app: &App,
        acting: &Acting,
        plugin: &PluginName,
        call: Option<&str>,
        session_id: Option<Uuid>,
    ) -> (Record, Guard) {
        let record = Record(Arc::new(Inner {
            app: app.clone(),
            acting: acting.clone(),
            plugin: plugin.clone(),
            call: call.map(str::to_owned),
            session_id,
            started: Instant::now(),
            trace: Mutex::new(span(app, acting, plugin, call)),
            seen: Mutex::default(),
            ended: Mutex::default(),
        }));
        (record.clone(), Guard(record))
    }

    /// The trace of what this run leads to.
    pub fn trace(&self) -> Option<TraceContext> {
        self.0.trace.lock().unwrap_or_else(PoisonError::into_inner).context()
    }

    /// Ends its span, however it ended.
    fn end_span(&self, status: Status) {
        let mut span = self.0.trace.lock().unwrap_or_else(PoisonError::into_inner);
        let code = self.seen().failure.as_ref().map(|failure| failure.code);
        match status {
            Status::Ok => {}
            Status::Failed => span.failed(code.unwrap_or("failed")),
            Status::Canceled => span.failed("canceled"),
        }
        *span = TraceSpan::none();
    }

    /// Keeps a line.
    pub fn log(&self, level: LogLevel, message: &str) {
        self.seen().logs.push(LogLine { level, message: message.to_owned() });
    }

    /// Takes one reach from the run's budget; false where it is spent.
    pub fn take_reach(&self) -> bool {
        let mut seen = self.seen();
        seen.reached_times = seen.reached_times.saturating_add(1);
        seen.reached_times <= REACHES_PER_RUN_MAX
    }

    /// Counts what was reached for, and what the gate said.
    pub fn reached(&self, reach: &Reach<'_>, allowed: bool) {
        let mut seen = self.seen();
        let mut key = reach.to_string();
        if !seen.reaches.contains_key(&key) && seen.reaches.len() >= REACHES_KEPT_MAX {
            key = "(others)".to_owned();
        }
        let count = seen.reaches.entry(key).or_default();
        if allowed { count.allowed += 1 } else { count.denied += 1 }
    }

    /// Keeps which version runs.
    pub fn of_version(&self, version: Option<i32>) {
        self.seen().version = version;
    }

    /// Keeps why there is no output, as the caller is told.
    pub fn failed(&self, failure: Failure) {
        self.seen().failure = Some(failure);
    }

    /// Keeps the lines for the story of the run: searched for all secrets that turned up until its end.
    pub fn tell(&self, lines: &[LogLine]) {
        self.seen().told = lines.to_vec();
    }

    /// Counts values of secrets that were taken out of what the guest got or said.
    pub fn redacted(&self, found: &BTreeMap<String, u32>) {
        if found.is_empty() {
            return;
        }
        let mut seen = self.seen();
        for (name, times) in found {
            let count = seen.redacted.entry(name.clone()).or_default();
            *count = count.saturating_add(*times);
        }
    }

    /// The lines so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.seen().logs.clone()
    }

    /// Writes the run down. Once begun it is carried through, also where whoever waits for it is gone.
    ///
    /// # Errors
    /// The database's, or that the process ends.
    pub async fn end(&self, status: Status) -> sqlx::Result<()> {
        if std::mem::replace(&mut *self.0.ended.lock().unwrap_or_else(PoisonError::into_inner), true) {
            return Ok(());
        }
        self.end_span(status);
        let record = self.clone();
        let writing = self.0.app.spawn(async move {
            let written = record.write(status).await;
            if let Err(cause) = &written {
                tracing::error!(%cause, plugin = %record.0.plugin, "a run could not be written down");
            }
            written
        });
        writing.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    async fn write(&self, status: Status) -> sqlx::Result<()> {
        let inner = &self.0;
        let what = Use {
            what: match inner.plugin.kind {
                PluginKind::Tool => What::Tool,
                PluginKind::Agent => What::Agent,
            },
            plugin: Some(inner.plugin.to_string()),
            session_id: inner.session_id,
            end_user: None,
            took: inner.started.elapsed(),
            status,
        };
        let mut tx = inner.app.tenant_tx(&inner.acting).await?;
        usage::write(&inner.app, &mut tx, &inner.acting, &what).await?;
        audit::write_guest(&inner.app, &mut tx, &inner.acting, self.entry(status)).await?;
        if let Some(run) = self.run(&what) {
            let told = self.seen().told.clone();
            runs::write(&inner.app, &mut tx, &inner.acting, &run, &told).await?;
        }
        let redacted = self.seen().redacted.clone();
        if !redacted.is_empty() {
            let entry = audit::Entry::ok("secret_redacted", inner.plugin.to_string())
                .detail(json!({ "secrets": redacted }));
            audit::write_guest(&inner.app, &mut tx, &inner.acting, entry).await?;
        }
        tx.commit().await?;
        inner.app.metrics.redacted(redacted.values().copied().map(u64::from).sum());
        inner.app.metrics.used(&what);
        Ok(())
    }

    /// What its author reads of it; of a tool's alone: an agent's story is in its session.
    fn run(&self, what: &Use) -> Option<Run> {
        let tool = self.0.call.clone()?;
        let seen = self.seen();
        Some(Run {
            plugin_name: self.0.plugin.name.clone(),
            version: seen.version,
            tool,
            took: what.took,
            status: what.status,
            failure: seen.failure.clone(),
        })
    }

    fn entry(&self, status: Status) -> audit::Entry {
        let (action, target) = match (&self.0.plugin.kind, &self.0.call) {
            (PluginKind::Tool, Some(call)) => ("tool.run", format!("{} {call}", self.0.plugin)),
            (PluginKind::Tool, None) => ("tool.run", self.0.plugin.to_string()),
            (PluginKind::Agent, _) => ("agent.run", self.0.plugin.to_string()),
        };
        let seen = self.seen();
        let outcome = match status {
            Status::Ok => Outcome::Ok,
            Status::Failed | Status::Canceled => Outcome::Failed,
        };
        let took_ms = u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        audit::Entry::ok(action, target)
            .result(outcome)
            .detail(json!({ "status": status.name(), "ms": took_ms, "reached": seen.reaches }))
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if *self.0.0.ended.lock().unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        let record = self.0.clone();
        self.0.0.app.spawn(async move { record.end(Status::Canceled).await });
    }
}
