//! What a process takes from itself, so that whoever gets control of it has less.
//!
//! [`this_server`] is for the server: nothing it starts can gain privileges,
//! and no copy of its memory, which holds keys, reaches a disk. The rest is for
//! the compiler's child (`sandbox::compiler`), which reads hostile input and
//! needs nothing but to compute, and for a runner (`runner`), in which guests of one session run.
//!
//! Elsewhere than on Linux the limits hold, the rest is not there.

use std::io;

/// Takes from the server what it does not need. To be called once, at its start.
///
/// # Errors
/// The system's.
pub fn this_server() -> io::Result<()> {
    no_core_dumps()?;
    #[cfg(target_os = "linux")]
    linux::no_new_privileges()?;
    Ok(())
}

/// Bounds this process: CPU time in seconds, memory in bytes, no files made, no
/// core dump; behind all others on the CPU, and before all others where the
/// machine is out of memory.
///
/// # Errors
/// The system's.
pub fn limit_this_process(cpu_s: u64, memory_bytes: u64) -> io::Result<()> {
    // First: afterwards this process may not change how the kernel sees it.
    stand_back();
    no_core_dumps()?;
    // One second between the signal that says why and the one that cannot be missed.
    set_limit(libc::RLIMIT_CPU, cpu_s, cpu_s.saturating_add(1))?;
    // Not the address space: an engine reserves gigabytes of it that it never touches.
    set_limit(libc::RLIMIT_DATA, memory_bytes, memory_bytes)?;
    set_limit(libc::RLIMIT_FSIZE, 0, 0)
}

/// How many files and connections this process may have open, once it has taken all it may have without asking anybody,
/// `most` at the most.
pub fn files_max(most: u64) -> u64 {
    let Ok((soft, hard)) = limit(libc::RLIMIT_NOFILE) else { return FILES_USUAL };
    let wanted = hard.min(most).max(soft);
    if set_limit(libc::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft }
}

/// What a process may have open unless told otherwise.
const FILES_USUAL: u64 = 1024;

/// Gives up every system call but those that compute, read what is open and write to it: in all threads, for good.
///
/// # Errors
/// Where the kernel refuses the filter.
pub fn compute_only() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    linux::compute_only()?;
    Ok(())
}

/// Takes from a runner, at its start, what it does not need: no core dump, nothing gained by what it starts, and it ends
/// with the thread that started it. Before others where the machine is out of memory. To be called before it opens
/// anything: what it was handed besides the usual three is closed.
///
/// # Errors
/// The system's.
pub fn this_runner() -> io::Result<()> {
    // First: afterwards this process may not change how the kernel sees it. A preference; nothing depends on it.
    let _ = std::fs::write("/proc/self/oom_score_adj", RUNNER_OOM_SCORE);
    no_core_dumps()?;
    #[cfg(target_os = "linux")]
    {
        linux::close_what_was_inherited()?;
        linux::no_new_privileges()?;
        linux::end_with_parent()?;
    }
    Ok(())
}

/// Between a server and a compiler's child, which does not matter to anybody.
const RUNNER_OOM_SCORE: &str = "500";

/// Gives up every system call but those that run guests, read what is open and write to it, and start threads: in all
/// threads, for good. No file, no network, no program; what is tried is answered as if the kernel did not know it.
///
/// # Errors
/// Where the kernel refuses the filter.
pub fn run_guests_only() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    linux::run_guests_only()?;
    Ok(())
}

fn no_core_dumps() -> io::Result<()> {
    set_limit(libc::RLIMIT_CORE, 0, 0)?;
    #[cfg(target_os = "linux")]
    linux::not_dumpable()?;
    Ok(())
}

#[cfg(target_os = "linux")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_os = "linux"))]
type Resource = libc::c_int;

#[expect(unsafe_code, reason = "the standard library does not set limits of a process")]
fn set_limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is a valid value that the call reads and does not keep.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

#[expect(unsafe_code, reason = "the standard library does not tell limits of a process")]
fn limit(resource: Resource) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place that the call writes to and does not keep.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// A preference of the scheduler's and the kernel's; nothing depends on it.
#[expect(unsafe_code, reason = "the standard library does not set priorities")]
fn stand_back() {
    const NICE: libc::c_int = 10;
    // SAFETY: changes a number of this process; takes no pointers.
    unsafe { libc::nice(NICE) };
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::check;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, apply_filter_all_threads,
    };
    use std::{collections::BTreeMap, io};

    /// Also for what this process starts: set-user-id programs run as whoever starts them.
    #[expect(unsafe_code, reason = "the standard library has no prctl")]
    pub(super) fn no_new_privileges() -> io::Result<()> {
        // SAFETY: sets a flag of this process; takes no pointers.
        check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })
    }

    /// No core file, and no other process of this user may read our memory.
    #[expect(unsafe_code, reason = "the standard library has no prctl")]
    pub(super) fn not_dumpable() -> io::Result<()> {
        // SAFETY: sets a flag of this process; takes no pointers.
        check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
    }

    /// What computing takes: memory, the pipes that are open, signals for a crash, random seeds for hash maps,
    /// and the end.
    const NEEDED: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    /// Files that whoever started our server left open go to its children, unless they are closed.
    #[expect(unsafe_code, reason = "the standard library has no close_range")]
    pub(super) fn close_what_was_inherited() -> io::Result<()> {
        let first = libc::c_uint::try_from(libc::STDERR_FILENO).unwrap_or(2) + 1;
        // SAFETY: nothing of this process has opened a file yet that it counts on.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
        match closed {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                // A kernel from before 5.9.
                error if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
                error => Err(error),
            },
        }
    }

    /// When the thread that started this process ends, so does it.
    #[expect(unsafe_code, reason = "the standard library has no prctl")]
    pub(super) fn end_with_parent() -> io::Result<()> {
        // SAFETY: sets a number of this process; takes no pointers.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) })
    }

    pub(super) fn compute_only() -> io::Result<()> {
        let rules = NEEDED.iter().map(|call| (*call, vec![])).collect();
        allow(rules, SeccompAction::KillProcess)
    }

    /// What running guests takes besides: waiting for the sockets that are open, timers, threads, and memory that many
    /// instances begin with, which the engine keeps in files without a name.
    const NEEDED_BY_A_RUNNER: &[libc::c_long] = &[
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_epoll_ctl,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_shutdown,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_membarrier,
        libc::SYS_memfd_create,
        libc::SYS_ftruncate,
        libc::SYS_fcntl,
        libc::SYS_fstat,
        libc::SYS_lseek,
        libc::SYS_pwrite64,
    ];

    pub(super) fn run_guests_only() -> io::Result<()> {
        let mut rules: Rules = NEEDED.iter().chain(NEEDED_BY_A_RUNNER).map(|call| (*call, vec![])).collect();
        // A thread, no process. What asks for one by `clone3`, whose arguments cannot be looked at, tries this next.
        let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
        rules.insert(libc::SYS_clone, vec![where_argument(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
        // How many pages a thread was given: guests pause for them.
        let thread = u64::from(libc::RUSAGE_THREAD.unsigned_abs());
        rules.insert(libc::SYS_getrusage, vec![where_argument(0, SeccompCmpOp::Eq, thread)?]);
        // Its own threads, to end where it crashes.
        let own = u64::from(std::process::id());
        rules.insert(libc::SYS_tgkill, vec![where_argument(0, SeccompCmpOp::Eq, own)?]);
        allow(rules, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))
    }

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    fn where_argument(place: u8, compared: SeccompCmpOp, with: u64) -> io::Result<SeccompRule> {
        SeccompCondition::new(place, SeccompCmpArgLen::Dword, compared, with)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(io::Error::other)
    }

    fn allow(rules: Rules, otherwise: SeccompAction) -> io::Result<()> {
        let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
        let filter = SeccompFilter::new(rules, otherwise, SeccompAction::Allow, architecture)
            .map_err(io::Error::other)?;
        let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
        apply_filter_all_threads(&program).map_err(io::Error::other)
    }
}
