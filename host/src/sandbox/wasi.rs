//! The harmless part of WASI 0.2: what standard libraries need to start.
//!
//! Clocks are right and coarse, random numbers are real. The environment, the arguments,
//! standard input and the file system are empty; what a guest prints becomes
//! log lines. Absent: sockets, a terminal, preopened directories.

use super::clock::Coarse;
use super::door::LogLevel;
use super::limits::{LOG_LINE_BYTES_MAX, RANDOM_BYTES_MAX};
use super::state::{GuestState, HostSide};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{MonotonicClock, WallClock, WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};

/// Links exactly the interfaces that `verify` lets pass.
pub(super) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    type S = GuestState;
    io::error::add_to_linker::<S, Io>(linker, table)?;
    io::poll::add_to_linker::<S, Io>(linker, table)?;
    io::streams::add_to_linker::<S, Io>(linker, table)?;
    clocks::wall_clock::add_to_linker::<S, WasiClocks>(linker, S::clocks)?;
    clocks::monotonic_clock::add_to_linker::<S, WasiClocks>(linker, S::clocks)?;
    random::random::add_to_linker::<S, WasiRandom>(linker, S::random)?;
    random::insecure::add_to_linker::<S, WasiRandom>(linker, S::random)?;
    random::insecure_seed::add_to_linker::<S, WasiRandom>(linker, S::random)?;
    cli::exit::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::environment::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::stdin::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::stdout::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::stderr::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_input::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_output::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_stdin::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_stdout::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_stderr::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    filesystem::types::add_to_linker::<S, WasiFilesystem>(linker, S::filesystem)?;
    filesystem::preopens::add_to_linker::<S, WasiFilesystem>(linker, S::filesystem)
}

/// A context in which nothing of this machine can be seen.
pub(super) fn empty_context(host: &Arc<HostSide>) -> WasiCtx {
    WasiCtx::builder()
        .stdout(Output { stream: Stream::Stdout, host: host.clone() })
        .stderr(Output { stream: Stream::Stderr, host: host.clone() })
        .monotonic_clock(Coarse(MonotonicClock::default()))
        .wall_clock(Coarse(WallClock))
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

fn table(state: &mut GuestState) -> &mut ResourceTable {
    &mut state.asked().table
}

/// Where a guest prints.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn level(self) -> LogLevel {
        match self {
            Self::Stdout => LogLevel::Info,
            Self::Stderr => LogLevel::Warn,
        }
    }
}

/// What was printed of lines that have not ended yet.
#[derive(Default)]
pub(super) struct Unfinished([Mutex<Vec<u8>>; 2]);

impl Unfinished {
    fn line(&self, stream: Stream) -> MutexGuard<'_, Vec<u8>> {
        self.0[stream as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much a guest may print at once, in bytes.
pub(super) const PERMIT_BYTES: usize = 64 << 10;

/// Prints: each line that ends is logged.
pub(super) fn print(host: &HostSide, stream: Stream, bytes: &[u8]) {
    let mut line = host.unfinished.line(stream);
    for part in bytes.split_inclusive(|&byte| byte == b'\n') {
        let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
        // One byte more than fits, so that the log sees that it must cut.
        let room = (LOG_LINE_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend_from_slice(&text[..text.len().min(room)]);
        if ends {
            host.log(stream.level(), &String::from_utf8_lossy(&line));
            line.clear();
        }
    }
}

/// Logs what is left of unfinished lines.
pub(super) fn finish_output(host: &HostSide) {
    for stream in [Stream::Stdout, Stream::Stderr] {
        let line = std::mem::take(&mut *host.unfinished.line(stream));
        if !line.is_empty() {
            host.log(stream.level(), &String::from_utf8_lossy(&line));
        }
    }
}

/// Standard output or standard error: lines for the log.
#[derive(Clone)]
struct Output {
    stream: Stream,
    host: Arc<HostSide>,
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 takes this one, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        print(&self.host, self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}
