//! What one call owns: its memory budget, its log, its way to the host.
//!
//! Made for the call and dropped with it; nothing here outlives a call.

use super::deadline::Deadline;
use super::door::{Door, DoorError, LogLevel};
use super::extism::Kernel;
use super::imports::Requests;
use super::limits::{
    ASKS_PER_REFUSAL, CORE_INSTANCES_PER_CALL_MAX, HOST_CALLS_MAX, HOST_RESOURCES_MAX, LOG_LINE_BYTES_MAX,
    LOG_LINES_MAX, MEMORIES_PER_CALL_MAX, TABLE_ELEMENTS_MAX, TABLES_PER_CALL_MAX,
};
use super::share::Share;
use super::text::clean;
use super::wasi::{self, Unfinished};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// The data of a call's store.
pub(super) struct GuestState {
    pub(super) memory: MemoryBudget,
    pub(super) host: Arc<HostSide>,
    pub(super) table: ResourceTable,
    /// Completions that the guest holds.
    pub(super) completions_live: usize,
    /// How often the guest asked the host for something.
    asked_times: u64,
    pub(super) requests: Requests,
    /// Where the guest is an Extism plugin.
    pub(super) extism: Kernel,
    wasi: WasiCtx,
}

impl GuestState {
    pub(super) fn new(
        door: Arc<dyn Door>,
        host: Handle,
        share: Share,
        memory_bytes_max: usize,
        deadline: Deadline,
    ) -> Self {
        let host = Arc::new(HostSide {
            door,
            host,
            share,
            unfinished: Unfinished::default(),
            log: Log::default(),
            deadline,
        });
        let mut table = ResourceTable::new();
        table.set_max_capacity(HOST_RESOURCES_MAX);
        Self {
            memory: MemoryBudget::new(memory_bytes_max),
            wasi: wasi::empty_context(&host),
            host,
            table,
            completions_live: 0,
            asked_times: 0,
            requests: Requests::default(),
            extism: Kernel::default(),
        }
    }

    /// The state for one more call of the host, which is counted.
    pub(super) fn asked(&mut self) -> &mut Self {
        self.asked_times = self.asked_times.saturating_add(1);
        self
    }

    /// Whether the guest asked more often than it may; looked at at each tick.
    pub(super) fn asked_too_often(&self) -> bool {
        self.asked_times > HOST_CALLS_MAX
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let state = self.asked();
        WasiCtxView { ctx: &mut state.wasi, table: &mut state.table }
    }
}

/// One budget for all memories and tables of a call.
///
/// The engine's own limits are for each memory: eight memories under a limit
/// of 64 MiB may have 512 MiB.
pub(super) struct MemoryBudget {
    used: usize,
    max: usize,
    peak: usize,
    /// What was granted last, to be given back if the engine then fails.
    granted: usize,
    refused: bool,
}

/// A table's element is a pointer.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

impl MemoryBudget {
    pub(super) fn new(max: usize) -> Self {
        Self { used: 0, max, peak: 0, granted: 0, refused: false }
    }

    /// The most that was in use at once, in bytes.
    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    /// Whether the guest asked for more than there is.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Pays for what the host keeps for the guest; false where there is no room.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        self.grant(bytes)
    }

    /// Notes that the guest asked for more than it may have.
    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    /// Gives back what was taken.
    pub(super) fn give(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }

    fn grant(&mut self, more: usize) -> bool {
        match self.used.checked_add(more) {
            Some(used) if used <= self.max => {
                self.used = used;
                self.granted = more;
                self.peak = self.peak.max(used);
                true
            }
            _ => {
                self.granted = 0;
                self.refused = true;
                false
            }
        }
    }

    fn give_back(&mut self) {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.granted));
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grant(desired.saturating_sub(current)))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES);
        if desired > TABLE_ELEMENTS_MAX {
            self.granted = 0;
            self.refused = true;
            return Ok(false);
        }
        Ok(self.grant(more))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.give_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_PER_CALL_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_PER_CALL_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_PER_CALL_MAX as usize
    }
}

/// The way from a call to the host. What the call prints goes the same way.
pub(super) struct HostSide {
    pub(super) door: Arc<dyn Door>,
    pub(super) host: Handle,
    pub(super) share: Share,
    pub(super) unfinished: Unfinished,
    pub(super) log: Log,
    pub(super) deadline: Deadline,
}

impl HostSide {
    /// What is left of the call.
    pub(super) fn time_left(&self) -> Duration {
        self.deadline.time_left()
    }

    /// Does `work` on the host's runtime, in the turn of its app, and stops it when the guest stops waiting.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DoorError>> + Send + 'static,
    ) -> Result<T, DoorError> {
        self.share.charge_asks(1, Instant::now());
        self.tell(work).await
    }

    /// The same for what costs no turn, because whoever listens sets the pace: each word of an answer.
    pub(super) async fn tell<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DoorError>> + Send + 'static,
    ) -> Result<T, DoorError> {
        if let Some(until) = self.share.charge_asks(0, Instant::now()) {
            tokio::time::sleep_until(until.into()).await;
        }
        let answer = AbortOnDrop(self.host.spawn(work)).await.unwrap_or_else(|_| Err(host_failed()));
        self.refused(u32::from(answer.is_err()));
        answer
    }

    /// Counts what the guest was refused: it pauses before it asks again, if that was much.
    pub(super) fn refused(&self, times: u32) {
        self.share.charge_asks(times.saturating_mul(ASKS_PER_REFUSAL), Instant::now());
    }

    /// Logs one line: cut, escaped, counted.
    pub(super) fn log(&self, level: LogLevel, message: &str) {
        if !self.log.has_room() {
            return;
        }
        // A door may start tasks: they belong on the host's runtime.
        let _host = self.host.enter();
        self.door.log(level, &clean(message, LOG_LINE_BYTES_MAX));
    }
}

/// What a guest sees when a host task panicked or the host is going down.
pub(super) fn host_failed() -> DoorError {
    DoorError::Unavailable("the host could not finish this; try again".to_owned())
}

/// A task that ends with whoever waits for it.
pub(super) struct AbortOnDrop<T>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

/// What one call has logged.
#[derive(Default)]
pub(super) struct Log {
    lines: AtomicU32,
    dropped: AtomicU32,
}

impl Log {
    /// Counts a line; false where it is one too many.
    fn has_room(&self) -> bool {
        if self.lines.fetch_add(1, Ordering::Relaxed) < LOG_LINES_MAX {
            return true;
        }
        // Stays where it is, however long the guest goes on.
        self.lines.store(LOG_LINES_MAX, Ordering::Relaxed);
        let _ = self.dropped.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
        false
    }

    /// Lines over the limit.
    pub(super) fn dropped(&self) -> u32 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{MemoryBudget, TABLE_ELEMENTS_MAX};
    use wasmtime::ResourceLimiter;

    #[test]
    fn all_memories_and_tables_share_one_budget() {
        let mut budget = MemoryBudget::new(1_000_000);
        assert!(budget.memory_growing(0, 600_000, None).unwrap());
        assert!(!budget.memory_growing(0, 600_000, None).unwrap());
        assert!(budget.table_growing(0, 10_000, None).unwrap());
        assert!(budget.memory_growing(600_000, 900_000, None).unwrap());
        assert!(!budget.table_growing(0, 10_000, None).unwrap());
        assert_eq!(budget.peak(), 980_000);
        assert!(budget.was_refused());
        let mut budget = MemoryBudget::new(usize::MAX);
        assert!(!budget.table_growing(0, TABLE_ELEMENTS_MAX + 1, None).unwrap());
        assert!(budget.was_refused(), "a table that is too long as well");
    }

    #[test]
    fn what_the_engine_could_not_grow_is_given_back() {
        let mut budget = MemoryBudget::new(1_000);
        assert!(budget.memory_growing(0, 900, None).unwrap());
        budget.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(budget.memory_growing(0, 900, None).unwrap());
    }
}
