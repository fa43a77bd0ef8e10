//! One PostgreSQL server process: started, watched, its log read, and stopped.
//!
//! The process is spawned and waited for by a thread of its own, because the kernel's "tell the child when the
//! parent dies" follows the *thread* that forked, not the process.
//!
//! Signals are only sent while the process has not been reaped, so that they cannot hit a stranger with its old id.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

/// How long a fast shutdown may take: it rolls back, checkpoints and leaves.
const FAST_STOP_WAIT: Duration = Duration::from_secs(20);
/// How long an immediate shutdown may take before the process is killed.
const IMMEDIATE_STOP_WAIT: Duration = Duration::from_secs(5);
/// How long `Drop` blocks for a fast shutdown. Short: it may run on an async worker thread.
const DROP_STOP_WAIT: Duration = Duration::from_secs(3);
/// After the server ended, how long its last log lines may take to arrive.
const LAST_LOG_WAIT: Duration = Duration::from_millis(500);
/// Lines of the server's log that are kept for an error message.
const LOG_TAIL_LINES: usize = 20;
/// One line of the server's log; the rest of a longer one is dropped.
const LOG_LINE_BYTES_MAX: u64 = 4096;

/// Who the server runs as, when that is not us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerUser {
    pub(super) uid: libc::uid_t,
    pub(super) gid: libc::gid_t,
}

/// Prepares a command that runs a PostgreSQL program: no environment, another user if asked, and bound to our life.
pub(super) fn confine(command: &mut Command, user: Option<ServerUser>, memory_bytes_max: Option<u64>) {
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC").current_dir("/").stdin(Stdio::null());
    // Its own group: Ctrl-C in a terminal must reach us alone, so that we can finish before the server goes.
    command.process_group(0);
    if let Some(user) = user {
        command.gid(user.gid).uid(user.uid);
    }
    let parent = std::process::id();
    // SAFETY: the closure runs in the forked child before exec and calls only async-signal-safe functions.
    unsafe {
        command.pre_exec(move || {
            libc::umask(0o077);
            limit(libc::RLIMIT_CORE, 0)?;
            if let Some(bytes) = memory_bytes_max {
                limit(libc::RLIMIT_AS, bytes)?;
            }
            die_with(parent)
        });
    }
}

/// A running server, or one that ended. Dropping it stops the server.
#[derive(Debug)]
pub(super) struct Process {
    shared: Arc<Shared>,
    ended: watch::Receiver<Option<ExitStatus>>,
    log_ended: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Shared {
    /// The process id while the process is not reaped.
    pid: Mutex<Option<libc::pid_t>>,
    log_tail: Mutex<VecDeque<String>>,
}

impl Process {
    /// Starts `command`; its stderr becomes our log. `lock` is held until the process is gone.
    pub(super) async fn spawn(command: Command, lock: Arc<File>) -> io::Result<Self> {
        let (started_tx, started_rx) = oneshot::channel();
        std::thread::Builder::new()
            .name("postgres-keeper".into())
            .spawn(move || keep(command, lock, started_tx))?;
        started_rx.await.unwrap_or_else(|_| Err(io::Error::other("the thread that keeps the server ended")))
    }

    pub(super) fn is_alive(&self) -> bool {
        self.pid().is_some()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        lock(&self.shared.pid).map(|pid| pid.unsigned_abs())
    }

    /// Waits until the server has ended, whoever ended it.
    pub(super) async fn ended(&self) -> Option<ExitStatus> {
        let mut ended = self.ended.clone();
        ended.wait_for(Option::is_some).await.ok().and_then(|status| *status)
    }

    /// The last lines of the server's log.
    pub(super) async fn log_tail(&self) -> String {
        if !self.is_alive() {
            let mut log_ended = self.log_ended.clone();
            // Too late is fine: the tail is for a message only.
            drop(tokio::time::timeout(LAST_LOG_WAIT, log_ended.wait_for(|ended| *ended)).await);
        }
        lock(&self.shared.log_tail).iter().map(String::as_str).collect::<Vec<_>>().join("; ")
    }

    /// Asks for a fast shutdown, then an immediate one, then kills.
    pub(super) async fn stop(&self) {
        for (signal, wait) in [(libc::SIGINT, FAST_STOP_WAIT), (libc::SIGQUIT, IMMEDIATE_STOP_WAIT)] {
            self.signal(signal);
            if tokio::time::timeout(wait, self.ended()).await.is_ok() {
                return;
            }
            tracing::warn!(signal, wait_s = wait.as_secs(), "postgres did not stop in time");
        }
        self.signal(libc::SIGKILL);
        self.ended().await;
    }

    fn signal(&self, signal: libc::c_int) {
        if let Some(pid) = *lock(&self.shared.pid) {
            // SAFETY: plain system call; the id is ours because the guard keeps the process from being reaped.
            unsafe { libc::kill(pid, signal) };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for (signal, wait) in [(libc::SIGINT, DROP_STOP_WAIT), (libc::SIGQUIT, DROP_STOP_WAIT)] {
            self.signal(signal);
            let deadline = Instant::now() + wait;
            while self.is_alive() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.signal(libc::SIGKILL);
    }
}

/// The life of the keeper thread: spawn, tell, wait, reap.
fn keep(mut command: Command, held: Arc<File>, started: oneshot::Sender<io::Result<Process>>) {
    let mut child = match command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            // Nobody waits any more: nothing to tell.
            drop(started.send(Err(error)));
            return;
        }
    };
    let pid = child.id().cast_signed();
    let (ended_tx, ended_rx) = watch::channel(None);
    let (log_ended_tx, log_ended_rx) = watch::channel(false);
    let shared = Arc::new(Shared { pid: Mutex::new(Some(pid)), log_tail: Mutex::new(VecDeque::new()) });
    if let Some(stderr) = child.stderr.take() {
        let shared = shared.clone();
        let reader = std::thread::Builder::new().name("postgres-log".into()).spawn(move || {
            read_log(stderr, &shared);
            log_ended_tx.send_replace(true);
        });
        if let Err(error) = reader {
            tracing::error!(%error, "the server's log cannot be read");
        }
    }
    let process = Process { shared: shared.clone(), ended: ended_rx, log_ended: log_ended_rx };
    if let Err(unwanted) = started.send(Ok(process)) {
        // The start was cancelled. Dropping stops the server and waits for this thread to reap it: not here.
        std::thread::spawn(move || drop(unwanted));
    }

    wait_without_reaping(pid);
    let status = reap(&mut child, &mut lock(&shared.pid));
    drop(held);
    ended_tx.send_replace(Some(status));
}

fn reap(child: &mut Child, pid: &mut MutexGuard<'_, Option<libc::pid_t>>) -> ExitStatus {
    let status = child.wait();
    **pid = None;
    // Waiting for our own child fails only if someone else reaped it; it is gone either way.
    status.unwrap_or_default()
}

fn wait_without_reaping(pid: libc::pid_t) {
    loop {
        // SAFETY: siginfo_t is plain data, and the kernel fills the one we pass.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid.unsigned_abs(), &raw mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// The server's log becomes ours, one event a line. Reading never stops: a full pipe would stop the server.
fn read_log(stderr: ChildStderr, shared: &Shared) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LOG_LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !line.ends_with(b"\n") && skip_line(&mut reader).is_err() {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        if text.contains("FATAL:  ") || text.contains("PANIC:  ") {
            tracing::warn!(target: "postgres", "{text}");
        } else {
            tracing::debug!(target: "postgres", "{text}");
        }
        let mut tail = lock(&shared.log_tail);
        if tail.len() == LOG_TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(text.to_owned());
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(());
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(available.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
type Resource = libc::c_int;

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: plain system call on a value that lives through it.
    if unsafe { libc::setrlimit(resource, &raw const limit) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(target_os = "linux")]
fn die_with(parent: u32) -> io::Result<()> {
    // SAFETY: plain system calls.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT) != 0
        {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died between fork and prctl; then nobody will ever send the signal.
        if libc::getppid().unsigned_abs() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}

/// Elsewhere the kernel cannot do it: a server that outlived us is found by its `postmaster.pid` at the next start.
#[cfg(not(target_os = "linux"))]
fn die_with(_parent: u32) -> io::Result<()> {
    Ok(())
}

/// A poisoned lock still guards plain data that is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
