//! The demo's server: `opg serve` of this very binary, as a child process.
//!
//! It gets a clean environment, so that a `DATABASE_URL` or a key of the
//! reader's has no part in it. It ends with us, however we end.

use super::data_dir::DataDir;
use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::process::{Child, Command};

const DEFAULT_PORT: u16 = 3000;
/// A first start makes a database and compiles what we ship: seconds, more on a small or busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(180);
/// How often we look whether it serves.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Requests drain, the database writes what it holds; then it is over.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
/// What it says once it serves; the address follows.
const SERVES: &str = "opg serves on ";
/// Lines of the log shown when it fails.
const LOG_LINES_SHOWN: usize = 5;
/// What the child needs of our environment: its programs, and where they may put things.
const PASSED_ON: [&str; 7] = ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "OPG_POSTGRES_BIN", "OPG_CACHE_DIR"];

/// Why the server is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("port {port} cannot be used: {cause}; choose another with --port, or leave --port out")]
    Port { port: u16, cause: io::Error },
    #[error("the server cannot be started: {0}")]
    Spawn(#[source] io::Error),
    #[error("the server did not start ({status}). {}", .log.tail())]
    DidNotStart { status: ExitStatus, log: Log },
    #[error("the server did not start within {} s. {}", START_TIME_MAX.as_secs(), .0.tail())]
    TooSlow(Log),
    #[error("the server ended by itself ({status}). {}", .log.tail())]
    Died { status: ExitStatus, log: Log },
    #[error("the server did not stop cleanly ({status}). {}", .log.tail())]
    DidNotStop { status: String, log: Log },
}

/// Where it logs.
#[derive(Clone, Debug)]
pub(super) struct Log(PathBuf);

/// Which port to ask for.
#[derive(Clone, Copy)]
pub(super) enum Port {
    /// This one.
    This(u16),
    /// Any, because this one, which nobody asked for, is taken.
    Instead(u16),
}

impl Port {
    /// The one that was asked for, or the usual one while it is free.
    pub(super) fn choose(asked: Option<u16>) -> Result<Port, ServerError> {
        let port = asked.unwrap_or(DEFAULT_PORT);
        match (TcpListener::bind((Ipv4Addr::LOCALHOST, port)), asked) {
            (Ok(_free), _) => Ok(Port::This(port)),
            (Err(_), None) => Ok(Port::Instead(port)),
            (Err(cause), Some(_)) => Err(ServerError::Port { port, cause }),
        }
    }

    fn number(self) -> u16 {
        match self {
            Port::This(port) => port,
            Port::Instead(_) => 0,
        }
    }
}

/// The child process.
pub(super) struct Server {
    child: Child,
    log: Log,
}

impl Server {
    /// Starts it, and does not wait.
    pub(super) fn spawn(data: &DataDir, port: Port) -> Result<Server, ServerError> {
        let log = Log(data.log());
        let out = File::create(&log.0).map_err(ServerError::Spawn)?;
        let program = std::env::current_exe().map_err(ServerError::Spawn)?;
        let mut command = Command::new(program);
        command
            .arg("serve")
            .env_clear()
            .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("OPG_ENV", "development")
            .env("OPG_BIND", Ipv4Addr::LOCALHOST.to_string())
            .env("OPG_PORT", port.number().to_string())
            .env("OPG_DATA_DIR", data.path())
            .env("OPG_ADMIN_TOKENS", data.admin_token())
            .env("OPG_LOG_FORMAT", "text")
            .stdin(Stdio::null())
            .stdout(out.try_clone().map_err(ServerError::Spawn)?)
            .stderr(out)
            // Its own group: Ctrl-C reaches us alone, and we stop it.
            .process_group(0)
            .kill_on_drop(true);
        end_with_us(&mut command);
        let child = command.spawn().map_err(ServerError::Spawn)?;
        Ok(Server { child, log })
    }

    /// Waits until it serves; answers where.
    pub(super) async fn ready(&mut self) -> Result<String, ServerError> {
        let waiting = async {
            loop {
                if let Some(url) = self.log.address() {
                    return Ok(url);
                }
                if let Some(status) = self.child.try_wait().map_err(ServerError::Spawn)? {
                    return Err(ServerError::DidNotStart { status, log: self.log.clone() });
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let waited = tokio::time::timeout(START_TIME_MAX, waiting).await;
        waited.unwrap_or_else(|_| Err(ServerError::TooSlow(self.log.clone())))
    }

    /// Waits until it ends without having been asked to.
    pub(super) async fn died(&mut self) -> ServerError {
        match self.child.wait().await {
            Ok(status) => ServerError::Died { status, log: self.log.clone() },
            Err(cause) => ServerError::Spawn(cause),
        }
    }

    /// Asks it to stop and waits until it has.
    pub(super) async fn stop(mut self) -> Result<(), ServerError> {
        if let Some(pid) = self.child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
            // SAFETY: plain system call; the id is the child's, which has not been waited for.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let status = match tokio::time::timeout(STOP_TIME_MAX, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => format!("still there after {} s", STOP_TIME_MAX.as_secs()),
        };
        Err(ServerError::DidNotStop { status, log: self.log.clone() })
    }
}

impl Log {
    fn address(&self) -> Option<String> {
        let text = self.text();
        let line = text.lines().find_map(|line| line.strip_prefix(SERVES))?;
        // The line may be half written.
        text.contains(&format!("{SERVES}{line}\n")).then(|| line.to_owned())
    }

    fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
        format!("The end of {}:\n  {}", self.0.display(), lines[from..].join("\n  "))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.0).unwrap_or_default()).into_owned()
    }
}

/// Has the kernel ask the child to stop when we are killed.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    // SAFETY: the closure runs in the forked child before exec and makes one system call.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

/// Elsewhere the kernel cannot; a server that outlives us keeps its port until it is stopped.
#[cfg(not(target_os = "linux"))]
fn end_with_us(_command: &mut Command) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_an_error_only_where_it_was_asked_for() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let text = Port::choose(Some(port)).err().unwrap().to_string();
        assert!(text.contains(&port.to_string()) && text.contains("--port"), "{text}");
        drop(taken);
        assert_eq!(Port::choose(Some(port)).unwrap().number(), port);
        assert_eq!(Port::Instead(port).number(), 0);
    }

    #[test]
    fn the_address_is_read_once_its_line_is_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Log(file.path().to_owned());
        fs::write(&log.0, "INFO starting\nopg serves on http://127.0.0.1:30").unwrap();
        assert_eq!(log.address(), None);
        fs::write(&log.0, "INFO starting\nopg serves on http://127.0.0.1:3000\nINFO more").unwrap();
        assert_eq!(log.address().as_deref(), Some("http://127.0.0.1:3000"));
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines: String = (1..=9).map(|n| format!("line {n}\n\n")).collect();
        fs::write(file.path(), lines).unwrap();
        let tail = Log(file.path().to_owned()).tail();
        assert!(tail.contains("line 9") && tail.contains("line 5") && !tail.contains("line 4"), "{tail}");
    }
}
