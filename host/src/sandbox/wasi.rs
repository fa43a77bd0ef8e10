//! The harmless part of WASI 0.2: what standard libraries need to start.
//!
//! Clocks and random numbers are real. The environment, the arguments,
//! standard input and the file system are empty; what a guest prints becomes
//! log lines. Absent: sockets, a terminal, preopened directories.

use super::door::LogLevel;
use super::limits::{LOG_LINE_BYTES_MAX, RANDOM_BYTES_MAX};
use super::state::{GuestState, LogSink};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
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
pub(super) fn empty_context([stdout, stderr]: &[Arc<Output>; 2]) -> WasiCtx {
    WasiCtx::builder()
        .stdout(OutputHandle(stdout.clone()))
        .stderr(OutputHandle(stderr.clone()))
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
    &mut state.table
}

/// Standard output or standard error: lines for the log.
pub(super) struct Output {
    level: LogLevel,
    log: Arc<LogSink>,
    line: Mutex<Vec<u8>>,
}

/// How much a guest may print at once, in bytes.
const PERMIT_BYTES: usize = 64 << 10;

impl Output {
    pub(super) fn new(level: LogLevel, log: Arc<LogSink>) -> Arc<Self> {
        Arc::new(Self { level, log, line: Mutex::default() })
    }

    fn print(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            // One byte more than fits, so that the log sees that it must cut.
            let room = (LOG_LINE_BYTES_MAX + 1).saturating_sub(line.len());
            line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.log.write(self.level, &String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    }

    pub(super) fn finish(&self) {
        let line = std::mem::take(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner));
        if !line.is_empty() {
            self.log.write(self.level, &String::from_utf8_lossy(&line));
        }
    }
}

struct OutputHandle(Arc<Output>);

impl IsTerminal for OutputHandle {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for OutputHandle {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 takes this one, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Self(self.0.clone()))
    }
}

#[async_trait::async_trait]
impl Pollable for OutputHandle {
    async fn ready(&mut self) {}
}

impl OutputStream for OutputHandle {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}
