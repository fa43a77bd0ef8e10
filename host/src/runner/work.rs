//! The runner's life, from its start to its end.

use super::{
    CHANNEL_KEY, GREETING_BYTES_MAX, Hello, Orders,
    api::{Api, Reporter},
    seal::SecretKey,
};
use crate::{
    hardening,
    sandbox::remote::{self, read_frame, write_frame},
};
use anyhow::Context as _;
use std::{
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net,
    },
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

/// Threads for all but guests: messages come and go, and no more.
const THREADS: usize = 2;

/// Is a runner, until the host is gone: for a program's `main`, where it was started with
/// [`RUNNER_COMMAND`](super::RUNNER_COMMAND).
pub fn work() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    hardening::this_runner()?;
    let channel = socket(std::io::stdin().as_fd())?;
    let api = socket(std::io::stdout().as_fd())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let ended = runtime.block_on(serve(channel, api));
    // Guests that spin are nobody's any more.
    runtime.shutdown_background();
    ended
}

/// A socket that was handed over in the place of one of the usual three.
fn socket(fd: BorrowedFd<'_>) -> anyhow::Result<net::UnixStream> {
    let socket = net::UnixStream::from(fd.try_clone_to_owned()?);
    socket.local_addr().context("this command is for OPG itself: it runs guests of one session")?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

async fn serve(channel: net::UnixStream, api: net::UnixStream) -> anyhow::Result<()> {
    let (mut reader, mut writer) = UnixStream::from_std(channel)?.into_split();
    let orders: Orders = read_frame(&mut reader, GREETING_BYTES_MAX).await?.context("there are no orders")?;
    let token = Zeroizing::new(orders.registration_token);
    let mut api = Api::over(UnixStream::from_std(api)?).await?;
    let (key, public_key) = SecretKey::make();
    let registered = api.register(orders.session_id, &token, &public_key).await?;
    let sealed = registered.sealed_keys.iter().find(|key| key.name == CHANNEL_KEY);
    let sealed = &sealed.context("no key for the channel was sealed")?.sealed;
    let channel_key = key.open(orders.session_id, CHANNEL_KEY, sealed)?;
    // Neither is needed again.
    drop((key, token));

    let config = registered.config;
    let threads = usize::try_from(config.threads)?;
    let sandbox = remote::sandbox(threads, config.calls_max, tokio::runtime::Handle::current())?;
    hardening::run_guests_only()?;

    let mut hello = Hello { instance_token: registered.instance_token, channel_key: channel_key.to_vec() };
    write_frame(&mut writer, &hello).await?;
    zeroize::Zeroize::zeroize(&mut hello.channel_key);
    drop(channel_key);
    let (reporter, reports) = Reporter::new();
    tokio::select! {
        ended = remote::serve(reader, writer, sandbox, Arc::new(reporter)) => Ok(ended?),
        ended = api.serve(Duration::from_millis(config.heartbeat_ms.max(1)), reports) => ended,
    }
}
