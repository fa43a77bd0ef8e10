//! Starting a runner, and ending it.

use super::{REGISTRATION_LIFE, REGISTRATION_PREFIX, Runner, watch};
use crate::{
    app::App,
    grants::{InApp, credential::NewToken},
    guests::Place,
    router,
    runner::{GREETING_BYTES_MAX, Hello, Orders, RUNNER_COMMAND},
    sandbox::remote::{Remote, read_frame, write_frame},
    sessions::instances::{
        Driver, ProvisionError, Spec, Target,
        step::{Step, Steps},
        store, wasm,
    },
};
use async_trait::async_trait;
use chrono::Duration;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use secrecy::ExposeSecret;
use std::{
    io,
    os::{fd::OwnedFd, unix::net},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::AsyncReadExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, ChildStderr, Command},
};
use tower::ServiceExt;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What fails where a process does not come to be what was started.
const REGISTRATION: &str = "its registration";
/// What a runner may say of its own fault, in bytes.
const COMPLAINT_BYTES_MAX: usize = 4 << 10;

/// Its instances are processes.
pub(in crate::sessions::instances) struct Process;

#[async_trait]
impl Driver for Process {
    async fn provision(&self, app: &App, spec: &Spec, steps: &Steps<'_>) -> Result<Place, ProvisionError> {
        let mut starting = Starting { app, instance_id: spec.instance_id, ready: false };
        let Launched { runner, reader, writer, complaint } =
            steps.take(Step::Provision, Box::pin(launch(app, spec))).await?;
        let mut greeting = Box::pin(greeting(reader));
        let registered = async {
            tokio::select! {
                biased;
                () = runner.registration.notified() => Ok(()),
                (hello, _) = &mut greeting => Err(match hello {
                    Ok(Some(_)) => failed(REGISTRATION, &"it is not the one that registered"),
                    Ok(None) | Err(_) => ended(&complaint).await,
                }),
            }
        };
        steps.take(Step::Register, registered).await?;
        let shown = async {
            let (Ok(Some(hello)), reader) = greeting.await else { return Err(ended(&complaint).await) };
            let channel_key = Zeroizing::new(hello.channel_key);
            if !runner.is(&app.pepper.hash(&hello.instance_token), &channel_key) {
                return Err(failed(REGISTRATION, &"it is not the one that registered"));
            }
            let remote = Remote::over(reader, writer, app.runtime.clone(), runner.gone.clone());
            Ok(runner.remote.get_or_init(|| remote).clone())
        };
        let remote = steps.take(Step::Sealed, shown).await?;
        starting.ready = true;
        Ok(Place::Runner(remote))
    }

    fn destroy(&self, app: &App, instance_id: Uuid) {
        app.runners.end(instance_id);
    }

    fn status(&self, app: &App, instance_id: Uuid) -> Option<Place> {
        let runner = app.runners.find(instance_id)?;
        let remote = runner.remote.get().filter(|remote| !remote.is_gone())?;
        Some(Place::Runner(remote.clone()))
    }
}

/// Ends what was begun, unless it became ready.
struct Starting<'a> {
    app: &'a App,
    instance_id: Uuid,
    ready: bool,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if !self.ready {
            self.app.runners.end(self.instance_id);
        }
    }
}

fn failed(what: &str, cause: &dyn std::fmt::Display) -> ProvisionError {
    tracing::error!(%cause, what, "a runner could not be started");
    ProvisionError(format!("its process could not be started: {what} failed"))
}

/// Lets a process register as this instance; with what.
async fn expect(app: &App, spec: &Spec) -> sqlx::Result<Zeroizing<String>> {
    let secret = NewToken::secret(&app.entropy);
    let token = Zeroizing::new(format!("{REGISTRATION_PREFIX}{}", secret.expose_secret()));
    let life = Duration::from_std(REGISTRATION_LIFE).unwrap_or_default();
    let mut tx = app.tenant_tx(&spec.acting).await?;
    let hash = app.pepper.hash(&token);
    store::expect_registration(tx.conn(), spec.instance_id, &hash, app.now() + life).await?;
    tx.commit().await?;
    Ok(token)
}

/// A process that was started and has its orders.
struct Launched {
    runner: Arc<Runner>,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    complaint: Complaint,
}

/// Starts the process.
async fn launch(app: &App, spec: &Spec) -> Result<Launched, ProvisionError> {
    if !app.config.session_targets.contains(&Target::Process) {
        let text = "the target `process` is not enabled on this server any more (SESSION_TARGETS)";
        return Err(ProvisionError(text.to_owned()));
    }
    // As for `wasm`: what cannot be had is said before anybody waits for it.
    wasm::compiled(app, spec).await?;
    let of = (spec.instance_id, spec.session_id, spec.acting.app().app_id);
    let per_app_max = app.config.session_runners_per_app;
    let runner = app.runners.admit(of, per_app_max).ok_or_else(|| {
        ProvisionError(format!(
            "{per_app_max} sessions of this app run in processes of their own on this host already; stop or delete one, \
             or wait until one was not used for a while (SESSION_RUNNERS_PER_APP)"
        ))
    })?;
    let token = expect(app, spec).await.map_err(|cause| failed(REGISTRATION, &cause))?;
    let (channel, its_channel) = pair().map_err(|cause| failed("a socket", &cause))?;
    let (api, its_api) = pair().map_err(|cause| failed("a socket", &cause))?;
    let child = spawn(app, its_channel, its_api).map_err(|cause| failed("the program", &cause))?;
    let complaint = watch_over(app, &runner, child);
    serve_api(app, &runner, api);
    let (reader, mut writer) = channel.into_split();
    let mut orders = Orders { session_id: spec.session_id, registration_token: token.to_string() };
    // One that has ended takes none: then it does not register.
    drop(write_frame(&mut writer, &orders).await);
    zeroize::Zeroize::zeroize(&mut orders.registration_token);
    Ok(Launched { runner, reader, writer, complaint })
}

/// What a process says first, and where it goes on.
async fn greeting(mut reader: OwnedReadHalf) -> (io::Result<Option<Hello>>, OwnedReadHalf) {
    let hello = read_frame(&mut reader, GREETING_BYTES_MAX).await;
    (hello, reader)
}

/// A process that ended before it was ready: what it says of that is there soon.
async fn ended(complaint: &Complaint) -> ProvisionError {
    let text = complaint.text().await;
    failed(REGISTRATION, &if text.is_empty() { "it ended" } else { text.as_str() })
}

/// A socket of ours, and the other end of it for a child.
fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, its) = net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, its.into()))
}

fn spawn(app: &App, channel: OwnedFd, api: OwnedFd) -> io::Result<Child> {
    Command::new(&app.program)
        .arg(RUNNER_COMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(channel))
        .stdout(Stdio::from(api))
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal reaches us alone: its turns may end.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Answers what it asks of the API, as anybody's requests are.
fn serve_api(app: &App, runner: &Arc<Runner>, socket: UnixStream) {
    let router = router::router(app.clone());
    let service = router
        .map_request(|request: http::Request<hyper::body::Incoming>| request.map(axum::body::Body::new));
    let service = TowerToHyperService::new(service);
    let gone = runner.gone.clone();
    app.runtime.spawn(async move {
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        tokio::select! {
            () = gone.cancelled() => {}
            ended = connection => drop(ended),
        }
        // With nothing to ask, it ends.
        gone.cancel();
    });
}

/// What a runner says of its own fault.
#[derive(Clone, Default)]
struct Complaint(Arc<Mutex<Vec<u8>>>, tokio_util::task::TaskTracker);

impl Complaint {
    /// Keeps the first of what it says, and reads the rest: a pipe that nobody reads would hold it up.
    fn listen(&self, mut stderr: ChildStderr) {
        let said = self.0.clone();
        self.1.spawn(async move {
            let mut piece = [0; 1024];
            while let Ok(count @ 1..) = stderr.read(&mut piece).await {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                let room = COMPLAINT_BYTES_MAX.saturating_sub(said.len());
                said.extend(&piece[..count.min(room)]);
            }
        });
        self.1.close();
    }

    /// All of it, once it has ended.
    async fn text(&self) -> String {
        const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
        drop(tokio::time::timeout(PATIENCE, self.1.wait()).await);
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&said).trim().escape_debug().to_string()
    }
}

/// Sees to it that the process ends when it should, and that it is noticed when it does.
fn watch_over(app: &App, runner: &Arc<Runner>, mut child: Child) -> Complaint {
    let complaint = Complaint::default();
    if let Some(stderr) = child.stderr.take() {
        complaint.listen(stderr);
    }
    let (app, runner, said) = (app.clone(), runner.clone(), complaint.clone());
    let work = {
        let app = app.clone();
        async move {
            let ended = tokio::select! {
                ended = child.wait() => Some(ended),
                () = runner.gone.cancelled() => None,
                () = app.cut_off.cancelled() => None,
            };
            if ended.is_none() {
                runner.gone.cancel();
                drop(child.kill().await);
            }
            let status = ended.and_then(Result::ok);
            // Whoever starts one that never became ready says so itself.
            if runner.remote.get().is_some() && !app.cut_off.is_cancelled() {
                let complaint = said.text().await;
                let status = status.as_ref().map(ExitStatus::to_string);
                tracing::info!(session_id = %runner.session_id, status, complaint, "a runner ended");
                watch::lost(&app, &runner, "its process ended").await;
            } else {
                app.runners.end(runner.instance_id);
            }
        }
    };
    app.spawn(work);
    complaint
}
