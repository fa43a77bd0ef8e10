//! Compiling, in a process of its own.
//!
//! A compiler is not made for hostile input: its makers count neither a
//! component that keeps it busy for hours nor one that fills the machine's
//! memory among its faults, and a bug in it would be one in whoever calls it.
//! So each component is compiled by a child, this program started once more,
//! which can be killed and can do next to nothing:
//!
//! - CPU time, memory and wall time are bounded; it runs behind everything that
//!   serves, and is the first to go where the machine runs out of memory;
//! - before it reads a byte of the component it gives up every system call but
//!   those that compute, read its input and write its output (`worker`);
//! - it has no environment, no files, no network, no secrets: the component
//!   goes in through a pipe and machine code comes out of one;
//! - it ends with whoever waits for it.
//!
//! TypeScript files are made components in the same way: their grammar is
//! followed by recursion, as deep as whoever wrote the file likes, and their top
//! level is somebody's program.
//!
//! What it answers is machine code on trust, as any compiler's is: the engine
//! checks the frame, the cache adds our own digest.

mod job;
mod worker;

pub use job::Job;
pub use worker::work;

use super::limits::{CODE_BYTES_MAX, COMPILE_CPU_MAX, COMPILE_LANES, COMPILE_MEMORY_BYTES_MAX, COMPILE_WAIT};
use super::shared_code::SharedCode;
use super::text::clean;
use super::verify::LoadError;
use job::{Answer, Budget};
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What the program is called with to compile: `opg compile-worker <job> <budget>`.
pub const WORKER_COMMAND: &str = "compile-worker";

/// What a child may say of its own fault, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 4 << 10;

/// How components are compiled.
#[derive(Clone, Debug)]
pub struct CompilerConfig {
    /// The program to start: one that calls [`work`] when its first argument is [`WORKER_COMMAND`].
    pub program: PathBuf,
    /// CPU time of one compilation, in whole seconds.
    pub cpu_max: Duration,
    /// Memory of one compilation, in bytes.
    pub memory_bytes_max: u64,
    /// Wall time of one compilation; also how long one waits for its turn.
    pub wall_max: Duration,
}

impl CompilerConfig {
    /// The usual budget, with this program.
    pub fn with(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            cpu_max: COMPILE_CPU_MAX,
            memory_bytes_max: COMPILE_MEMORY_BYTES_MAX,
            wall_max: COMPILE_WAIT,
        }
    }

    /// The usual budget, with the program that runs now.
    ///
    /// # Errors
    /// Where the system cannot say which that is.
    pub fn this_program() -> std::io::Result<Self> {
        // The file may have been replaced by a newer release; the link leads to what runs.
        let running = Path::new("/proc/self/exe");
        let program = if running.exists() { running.to_owned() } else { std::env::current_exe()? };
        Ok(Self::with(program))
    }
}

/// Starts the children.
pub(super) struct Compiler {
    config: CompilerConfig,
    /// What a child need not compile again.
    shared: SharedCode,
    lanes: Semaphore,
}

impl Compiler {
    pub(super) fn new(config: CompilerConfig, shared: SharedCode) -> Self {
        Self { config, shared, lanes: Semaphore::new(COMPILE_LANES) }
    }

    /// Does one job in a child, with what is ours for it and the input. Dropping the future kills it.
    pub(super) async fn run(&self, job: Job, ours: &[u8], input: &[u8]) -> Result<Vec<u8>, LoadError> {
        let waiting = timeout(self.config.wall_max, self.lanes.acquire()).await;
        let _lane = waiting.map_err(|_| LoadError::Busy)?.expect("the semaphore is never closed");
        let mut child = self.start(job).map_err(|error| {
            LoadError::Engine(format!(
                "the compiler `{}` does not start: {error}",
                self.config.program.display()
            ))
        })?;
        let packed = match job {
            Job::Component => self.shared.pack(),
            // Nothing is in a module that we have compiled before.
            Job::Module | Job::TypeScript => vec![],
        };
        let ours = if job == Job::Component { &packed } else { ours };
        let told = job::Told { ours, input };
        match timeout(self.config.wall_max, converse(&mut child, &told)).await {
            Ok(Ok(ended)) => self.judge(ended),
            Ok(Err(error)) => Err(LoadError::Engine(format!("the compiler cannot be talked to: {error}"))),
            // Killed as the child is dropped.
            Err(_) => Err(LoadError::CompileTimedOut),
        }
    }

    fn start(&self, job: Job) -> std::io::Result<Child> {
        let budget = Budget {
            cpu_s: self.config.cpu_max.as_secs().max(1),
            memory_bytes: self.config.memory_bytes_max,
        };
        Command::new(&self.config.program)
            .args([OsString::from(WORKER_COMMAND), job.name().into(), budget.to_string().into()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }

    fn judge(&self, ended: Ended) -> Result<Vec<u8>, LoadError> {
        if ended.status.success() {
            let answer = Answer::parse(ended.output)
                .ok_or_else(|| LoadError::Engine("the compiler's answer makes no sense".to_owned()))?;
            return match answer {
                Answer::Done(code) => Ok(code),
                Answer::Refused(why) => Err(LoadError::Compile(clean(&why, 400))),
            };
        }
        let complaint = clean(&String::from_utf8_lossy(&ended.complaint), 400);
        tracing::warn!(status = %ended.status, complaint, "a compilation was ended");
        Err(match ended.status.signal() {
            Some(libc::SIGXCPU) => LoadError::CompileTimedOut,
            // It sets its limits before it reads anything, so both are the component's doing: the allocator
            // gives up with an abort, the kernel with a kill.
            Some(libc::SIGABRT | libc::SIGKILL) => LoadError::CompileOutOfMemory,
            // Parts of it give up with a panic of their own.
            _ if complaint.contains("unhandled out-of-memory") => LoadError::CompileOutOfMemory,
            _ => LoadError::Compile("the compiler crashed on it".to_owned()),
        })
    }
}

/// How a child ended, and what it said.
struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

async fn converse(child: &mut Child, told: &job::Told<'_>) -> std::io::Result<Ended> {
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let tell = async {
        if let Some(stdin) = &mut stdin {
            // One that died early does not listen; its status says why.
            for part in [&told.head()[..], told.ours, told.input] {
                if stdin.write_all(part).await.is_err() {
                    break;
                }
            }
        }
        drop(stdin);
    };
    let output = read(stdout, CODE_BYTES_MAX);
    let complaint = read(stderr, COMPLAINT_BYTES_MAX);
    let ((), output, complaint) = tokio::join!(tell, output, complaint);
    Ok(Ended { output: output?, complaint: complaint?, status: child.wait().await? })
}

async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![];
    if let Some(from) = from {
        from.take(bytes_max).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
