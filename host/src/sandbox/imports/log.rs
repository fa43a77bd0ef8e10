//! `opg:host/log`.

use crate::sandbox::bindings::host::log::{Host, Level};
use crate::sandbox::door::LogLevel;
use crate::sandbox::state::GuestState;

impl Host for GuestState {
    fn write(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.host.log(level, &message);
        Ok(())
    }
}
