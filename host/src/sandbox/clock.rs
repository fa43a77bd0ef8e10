//! The clocks a guest reads: right, and too coarse to measure a neighbour with.
//!
//! With a clock of nanoseconds a guest sees what is in a shared cache, and how
//! busy the machine is. Other sources of time stay: a loop can count.

use super::limits::CLOCK_STEP;
use std::time::Duration;
use wasmtime_wasi::clocks::{MonotonicClock, WallClock};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

/// A clock that moves in steps.
pub(super) struct Coarse<C>(pub(super) C);

impl HostMonotonicClock for Coarse<MonotonicClock> {
    fn resolution(&self) -> u64 {
        self.0.resolution().max(step_ns())
    }

    fn now(&self) -> u64 {
        let now = self.0.now();
        now - now % step_ns()
    }
}

impl HostWallClock for Coarse<WallClock> {
    fn resolution(&self) -> Duration {
        self.0.resolution().max(CLOCK_STEP)
    }

    fn now(&self) -> Duration {
        let now = self.0.now();
        let over = u64::from(now.subsec_nanos()) % step_ns();
        now - Duration::from_nanos(over)
    }
}

fn step_ns() -> u64 {
    u64::try_from(CLOCK_STEP.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_in_steps() {
        let (monotonic, wall) = (Coarse(MonotonicClock::default()), Coarse(WallClock));
        let (before, wall_before) = (monotonic.now(), wall.now());
        std::thread::sleep(2 * CLOCK_STEP);
        for (earlier, later) in [
            (u128::from(before), u128::from(monotonic.now())),
            (wall_before.as_nanos(), wall.now().as_nanos()),
        ] {
            assert!(later > earlier && later % CLOCK_STEP.as_nanos() == 0, "{earlier} {later}");
        }
    }
}
