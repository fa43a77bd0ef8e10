//! `opg serve`

use opg_host::{
    config::Config,
    hardening,
    serve::{Surroundings, start},
    telemetry::{self, LogConfig, LogFormat},
};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) async fn run(config: Config) -> ExitCode {
    let format = if config.log_json { LogFormat::Json } else { LogFormat::Text };
    if let Err(cause) = telemetry::init(&LogConfig { format, filter: config.log_filter.clone() }) {
        eprintln!("LOG_LEVEL: {cause}");
        return ExitCode::from(2);
    }
    if let Err(cause) = hardening::this_server() {
        eprintln!("opg cannot give up what it does not need: {cause}");
        return ExitCode::FAILURE;
    }
    let stop = stop_signal();
    let running =
        match start(config, &crate::shipped(), opg_predefined::JAVASCRIPT_RUNTIME, Surroundings::default())
            .await
        {
            Ok(running) => running,
            Err(cause) => {
                eprintln!("opg cannot start: {cause}");
                return ExitCode::FAILURE;
            }
        };
    eprintln!("opg serves on http://{}", running.addr);
    let died = {
        let app = running.app.clone();
        async move { app.server.died().await }
    };
    let code = tokio::select! {
        () = stop => ExitCode::SUCCESS,
        () = died => {
            eprintln!("the embedded database ended; stopping. Its log is in DATA_DIR/postgres");
            ExitCode::FAILURE
        }
    };
    running.stop().await;
    code
}

/// Ends on SIGINT or SIGTERM. Listens from the moment it is made, so that a
/// signal during start is not lost.
pub(crate) fn stop_signal() -> impl Future<Output = ()> {
    let listen = |kind| signal(kind).expect("a process may listen for its own signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt()), listen(SignalKind::terminate()));
    async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
