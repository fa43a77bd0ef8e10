//! Waiting for what comes by itself.

use std::time::{Duration, Instant};

/// How long a test waits for what has to come: far more than it takes on a busy machine, as only a test that fails
/// waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Waits until something holds.
///
/// # Panics
/// When it does not within 20 s.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
