//! `wasi_snapshot_preview1`, as far as the sandbox goes: what language runtimes need to start.
//!
//! Clocks are right and coarse, random numbers are real, what is printed becomes log lines. Arguments, environment,
//! standard input are empty; no directory is open, so that nothing that takes a file finds one.
//!
//! Written out here rather than taken from `wasmtime-wasi`: its preview 1 stands on the whole of preview 2, files and
//! all, to which a plugin would get a second way in that nothing here needs.

use super::kernel::state;
use crate::sandbox::clock::Coarse;
use crate::sandbox::limits::{RANDOM_BYTES_MAX, WASI_ITEMS_MAX};
use crate::sandbox::state::GuestState;
use crate::sandbox::wasi::{PERMIT_BYTES, Stream, print};
use std::time::Duration;
use wasmtime::{Caller, Engine, Extern, FuncType, Linker, Memory, Val, ValType};
use wasmtime_wasi::clocks::{MonotonicClock, WallClock};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, I32Exit};

/// What plugins import from.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

type Plugin<'a> = Caller<'a, GuestState>;

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const IO: i32 = 29;
const NOTSUP: i32 = 58;
const SPIPE: i32 = 70;

/// What is there to be asked and answers no: the function, its parameters (`i` an i32, `l` an i64), the error.
const REFUSED: [(&str, &str, i32); 34] = [
    ("fd_advise", "illi", BADF),
    ("fd_allocate", "ill", BADF),
    ("fd_datasync", "i", BADF),
    ("fd_fdstat_set_rights", "ill", BADF),
    ("fd_filestat_set_size", "il", BADF),
    ("fd_filestat_set_times", "illi", BADF),
    ("fd_pread", "iiili", BADF),
    ("fd_prestat_dir_name", "iii", BADF),
    // No directory is open: this is where a runtime looks for them, one after the other.
    ("fd_prestat_get", "ii", BADF),
    ("fd_pwrite", "iiili", BADF),
    ("fd_readdir", "iiili", BADF),
    ("fd_renumber", "ii", BADF),
    ("fd_sync", "i", BADF),
    ("fd_tell", "ii", BADF),
    ("path_create_directory", "iii", BADF),
    ("path_filestat_get", "iiiii", BADF),
    ("path_filestat_set_times", "iiiilli", BADF),
    ("path_link", "iiiiiii", BADF),
    ("path_open", "iiiiillii", BADF),
    ("path_readlink", "iiiiii", BADF),
    ("path_remove_directory", "iii", BADF),
    ("path_rename", "iiiiii", BADF),
    ("path_symlink", "iiiii", BADF),
    ("path_unlink_file", "iii", BADF),
    ("proc_raise", "i", NOTSUP),
    ("sock_accept", "iii", BADF),
    ("sock_recv", "iiiiii", BADF),
    ("sock_send", "iiiii", BADF),
    ("sock_shutdown", "ii", BADF),
    // Nothing to read them from, and nothing in them.
    ("args_get", "ii", SUCCESS),
    ("environ_get", "ii", SUCCESS),
    ("sched_yield", "", SUCCESS),
    // Standard input and output have no flags and need no closing.
    ("fd_close", "i", SUCCESS),
    ("fd_fdstat_set_flags", "ii", SUCCESS),
];

/// What does something, or gives something back.
const DONE: [&str; 12] = [
    "args_sizes_get",
    "environ_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "fd_fdstat_get",
    "fd_filestat_get",
    "fd_read",
    "fd_seek",
    "fd_write",
    "poll_oneoff",
    "proc_exit",
    "random_get",
];

/// Whether preview 1 has this function.
pub(super) fn is_known(name: &str) -> bool {
    DONE.contains(&name) || REFUSED.iter().any(|(refused, ..)| *refused == name)
}

pub(super) fn add_to_linker(engine: &Engine, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    for (name, params, errno) in REFUSED {
        let params = params.chars().map(|param| if param == 'l' { ValType::I64 } else { ValType::I32 });
        let ty = FuncType::new(engine, params, [ValType::I32]);
        linker.func_new(MODULE, name, ty, move |mut plugin: Plugin<'_>, _, results| {
            state(&mut plugin);
            results[0] = Val::I32(errno);
            Ok(())
        })?;
    }
    for name in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(MODULE, name, |mut plugin: Plugin<'_>, count: u32, bytes: u32| {
            errno(write(&mut plugin, count, &[0; 4]).and_then(|()| write(&mut plugin, bytes, &[0; 4])))
        })?;
    }
    linker.func_wrap(MODULE, "clock_res_get", |mut plugin: Plugin<'_>, clock: u32, to: u32| {
        errno(resolution(&mut plugin, clock).and_then(|ns| write(&mut plugin, to, &ns.to_le_bytes())))
    })?;
    linker.func_wrap(MODULE, "clock_time_get", |mut plugin: Plugin<'_>, clock: u32, _: u64, to: u32| {
        errno(now(&mut plugin, clock).and_then(|ns| write(&mut plugin, to, &ns.to_le_bytes())))
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut plugin: Plugin<'_>, fd: u32, to: u32| {
        errno(standard(fd).and_then(|()| write(&mut plugin, to, &fdstat(fd))))
    })?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut plugin: Plugin<'_>, fd: u32, to: u32| {
        errno(standard(fd).and_then(|()| write(&mut plugin, to, &filestat())))
    })?;
    linker.func_wrap(MODULE, "fd_read", |mut plugin: Plugin<'_>, fd: u32, _: u32, _: u32, read: u32| {
        // Standard input has come to its end.
        let input = if fd == 0 { Ok(()) } else { Err(BADF) };
        errno(input.and_then(|()| write(&mut plugin, read, &[0; 4])))
    })?;
    linker.func_wrap(MODULE, "fd_seek", |mut plugin: Plugin<'_>, fd: u32, _: u64, _: u32, _: u32| {
        state(&mut plugin);
        standard(fd).map_or_else(|error| error, |()| SPIPE)
    })?;
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut plugin: Plugin<'_>, fd: u32, list: u32, count: u32, to: u32| {
            errno(
                write_out(&mut plugin, fd, list, count)
                    .and_then(|n| write(&mut plugin, to, &n.to_le_bytes())),
            )
        },
    )?;
    linker.func_wrap_async(
        MODULE,
        "poll_oneoff",
        |mut plugin: Plugin<'_>, (from, to, count, ready): (u32, u32, u32, u32)| {
            Box::new(async move { errno(poll(&mut plugin, from, to, count, ready).await) })
        },
    )?;
    linker.func_wrap(MODULE, "proc_exit", |status: i32| -> wasmtime::Result<()> {
        Err(I32Exit(status).into())
    })?;
    linker.func_wrap(MODULE, "random_get", |mut plugin: Plugin<'_>, to: u32, count: u32| {
        errno(random(count).and_then(|bytes| write(&mut plugin, to, &bytes)))
    })?;
    Ok(())
}

/// A number of WASI's for what went wrong.
type Errno = i32;

fn errno(done: Result<(), Errno>) -> i32 {
    done.map_or_else(|error| error, |()| SUCCESS)
}

/// Whether this is standard input, output or error.
fn standard(fd: u32) -> Result<(), Errno> {
    if fd <= 2 { Ok(()) } else { Err(BADF) }
}

// --- the plugin's own memory ---

fn memory(plugin: &mut Plugin<'_>) -> Result<Memory, Errno> {
    plugin.get_export("memory").and_then(Extern::into_memory).ok_or(FAULT)
}

fn write(plugin: &mut Plugin<'_>, to: u32, bytes: &[u8]) -> Result<(), Errno> {
    state(plugin);
    let memory = memory(plugin)?;
    memory.write(plugin, to as usize, bytes).map_err(|_| FAULT)
}

fn read<const N: usize>(plugin: &mut Plugin<'_>, from: u32) -> Result<[u8; N], Errno> {
    let mut bytes = [0; N];
    memory(plugin)?.read(plugin, from as usize, &mut bytes).map_err(|_| FAULT)?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

// --- clocks and random numbers ---

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;

fn resolution(plugin: &mut Plugin<'_>, clock: u32) -> Result<u64, Errno> {
    match clock {
        REALTIME => Ok(nanos(HostWallClock::resolution(&Coarse(WallClock)))),
        MONOTONIC => Ok(HostMonotonicClock::resolution(monotonic(plugin))),
        _ => Err(INVAL),
    }
}

fn now(plugin: &mut Plugin<'_>, clock: u32) -> Result<u64, Errno> {
    match clock {
        REALTIME => Ok(nanos(HostWallClock::now(&Coarse(WallClock)))),
        MONOTONIC => Ok(HostMonotonicClock::now(monotonic(plugin))),
        _ => Err(INVAL),
    }
}

fn monotonic<'a>(plugin: &'a mut Plugin<'_>) -> &'a Coarse<MonotonicClock> {
    plugin.data_mut().extism.clock.get_or_insert_with(|| Coarse(MonotonicClock::default()))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn random(count: u32) -> Result<Vec<u8>, Errno> {
    if u64::from(count) > RANDOM_BYTES_MAX {
        return Err(INVAL);
    }
    let mut bytes = vec![0; count as usize];
    getrandom::fill(&mut bytes).map_err(|_| IO)?;
    Ok(bytes)
}

// --- standard input, output and error ---

/// A device of characters: what is written to one, a runtime hands over line by line.
const CHARACTER_DEVICE: u8 = 2;
const RIGHT_TO_READ: u64 = 1 << 1;
const RIGHT_TO_WRITE: u64 = 1 << 6;

/// `fdstat`: the type at 0, flags at 2, rights at 8 and, to be passed on, at 16.
fn fdstat(fd: u32) -> [u8; 24] {
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    let rights = if fd == 0 { RIGHT_TO_READ } else { RIGHT_TO_WRITE };
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    stat
}

/// `filestat`: device and inode, the type at 16, and nothing of it is true of a file.
fn filestat() -> [u8; 64] {
    let mut stat = [0; 64];
    stat[16] = CHARACTER_DEVICE;
    stat
}

/// Prints what a list of pointers and lengths leads to, or the first part of it: how much.
fn write_out(plugin: &mut Plugin<'_>, fd: u32, list: u32, count: u32) -> Result<u32, Errno> {
    let stream = match fd {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return Err(BADF),
    };
    let mut printed = vec![];
    for item in 0..count.min(WASI_ITEMS_MAX) {
        let item: [u8; 8] = read(plugin, list.checked_add(item * 8).ok_or(FAULT)?)?;
        let (from, length) = (u32_at(&item, 0) as usize, u32_at(&item, 4) as usize);
        let memory = memory(plugin)?;
        let end = from.checked_add(length).ok_or(FAULT)?;
        let bytes = memory.data(&*plugin).get(from..end).ok_or(FAULT)?;
        printed.extend_from_slice(&bytes[..length.min(PERMIT_BYTES - printed.len())]);
    }
    print(&plugin.data().host, stream, &printed);
    u32::try_from(printed.len()).map_err(|_| INVAL)
}

// --- waiting ---

/// `subscription`, in bytes: what the caller calls it at 0, its kind at 8; of a clock, the clock at 16, the time at 24,
/// flags at 40.
const SUBSCRIPTION_BYTES: u32 = 48;
const OF_A_CLOCK: u8 = 0;
const ABSOLUTE: u8 = 1;

/// One thing that is waited for.
struct Wait {
    called: u64,
    kind: u8,
    /// None for a file: those are always ready.
    left: Option<Duration>,
}

/// Waits for the first of several times, and tells which have come; the call's deadline ends it before.
async fn poll(plugin: &mut Plugin<'_>, from: u32, to: u32, count: u32, ready: u32) -> Result<(), Errno> {
    state(plugin);
    if count == 0 || count > WASI_ITEMS_MAX {
        return Err(INVAL);
    }
    let mut waits = vec![];
    for item in 0..count {
        let at = from.checked_add(item * SUBSCRIPTION_BYTES).ok_or(FAULT)?;
        waits.push(wait(plugin, at)?);
    }
    let first = waits.iter().map(|wait| wait.left.unwrap_or_default()).min().unwrap_or_default();
    tokio::time::sleep(first).await;
    let come = waits.iter().filter(|wait| wait.left.unwrap_or_default() <= first);
    let mut events = 0_u32;
    for wait in come {
        let at = to.checked_add(events * EVENT_BYTES).ok_or(FAULT)?;
        write(plugin, at, &event(wait))?;
        events += 1;
    }
    write(plugin, ready, &events.to_le_bytes())
}

fn wait(plugin: &mut Plugin<'_>, at: u32) -> Result<Wait, Errno> {
    let subscription: [u8; SUBSCRIPTION_BYTES as usize] = read(plugin, at)?;
    let (called, kind) = (u64_at(&subscription, 0), subscription[8]);
    if kind != OF_A_CLOCK {
        return Ok(Wait { called, kind, left: None });
    }
    let (clock, time) = (u32_at(&subscription, 16), u64_at(&subscription, 24));
    let now = now(plugin, clock)?;
    let left = if subscription[40] & ABSOLUTE == 0 { time } else { time.saturating_sub(now) };
    Ok(Wait { called, kind, left: Some(Duration::from_nanos(left)) })
}

/// `event`, in bytes: what it was called at 0, the error at 8, its kind at 10.
const EVENT_BYTES: u32 = 32;

fn event(wait: &Wait) -> [u8; EVENT_BYTES as usize] {
    let mut event = [0; EVENT_BYTES as usize];
    event[..8].copy_from_slice(&wait.called.to_le_bytes());
    event[10] = wait.kind;
    event
}
