//! The child's side: shuts itself in, then reads, compiles, answers.

use super::job::{Answer, Budget, Job, Told};
use crate::hardening;
use crate::sandbox::engine::{new_engine_with, new_loading_engine};
use crate::sandbox::limits::{COMPONENT_BYTES_MAX, SHARED_CODE_BYTES_MAX};
use crate::sandbox::shared_code::SharedCode;
use crate::typescript;
use anyhow::Context as _;
use std::io::{Read as _, Write as _, stdin, stdout};
use std::process::ExitCode;

/// What the host may tell, in bytes: a component, and twice what is shared, for lengths and keys. A runtime and a file
/// are less.
const TOLD_BYTES_MAX: u64 = (COMPONENT_BYTES_MAX + 2 * SHARED_CODE_BYTES_MAX) as u64;

/// Where the command line is not one of ours.
const USAGE: u8 = 2;

/// Does one job: what it reads is on stdin, what comes of it goes to stdout.
///
/// For a program's `main`, as the first thing it does when it was started with
/// [`WORKER_COMMAND`](super::WORKER_COMMAND); `args` are those after it.
pub fn work(args: &[String]) -> ExitCode {
    let parsed = match args {
        [job, budget] => Job::parse(job).zip(budget.parse::<Budget>().ok()),
        _ => None,
    };
    let Some((job, budget)) = parsed else {
        eprintln!("this command is for OPG itself: it does one job, shut in");
        return ExitCode::from(USAGE);
    };
    match obey(job, budget) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(job: Job, budget: Budget) -> anyhow::Result<()> {
    match job {
        Job::Component | Job::Module => {
            hardening::limit_this_process(budget.cpu_s, budget.memory_bytes)?;
            compile(job)
        }
        Job::TypeScript => {
            // The reader's stack is memory too.
            let memory_bytes = budget.memory_bytes.saturating_add(typescript::READER_STACK_BYTES as u64);
            hardening::limit_this_process(budget.cpu_s, memory_bytes)?;
            let reader = std::thread::Builder::new().stack_size(typescript::READER_STACK_BYTES);
            let made = reader.spawn(make_of_typescript)?;
            made.join().unwrap_or_else(|_| anyhow::bail!("the reader panicked"))
        }
    }
}

fn compile(job: Job) -> anyhow::Result<()> {
    // All that opens files or asks the system about itself comes before the walls go up.
    let shared = SharedCode::default();
    let engine = new_engine_with(1, shared.to_read())?;
    hardening::compute_only()?;
    let told = hear()?;
    let told = Told::parse(&told).context(NONSENSE)?;
    shared.unpack(told.ours);
    let compiled = match job {
        Job::Module => engine.precompile_module(told.input),
        Job::Component | Job::TypeScript => engine.precompile_component(told.input),
    };
    say(match compiled {
        Ok(code) => Answer::Done(code),
        Err(error) => Answer::Refused(format!("{error:#}")),
    })
}

fn make_of_typescript() -> anyhow::Result<()> {
    // No thread can be started once the walls are up.
    let maker = typescript::Maker::start(new_loading_engine(None)?)?;
    hardening::compute_only()?;
    let told = hear()?;
    let told = Told::parse(&told).context(NONSENSE)?;
    say(Answer::Done(maker.make(told.ours, told.input).context(NONSENSE)?))
}

const NONSENSE: &str = "what it was told makes no sense";

fn hear() -> anyhow::Result<Vec<u8>> {
    let mut told = vec![];
    stdin().lock().take(TOLD_BYTES_MAX).read_to_end(&mut told)?;
    Ok(told)
}

fn say(answer: Answer) -> anyhow::Result<()> {
    let (tag, bytes) = answer.into_parts();
    let mut stdout = stdout().lock();
    stdout.write_all(&[tag])?;
    stdout.write_all(&bytes)?;
    stdout.flush()?;
    Ok(())
}
