//! What this process and the children it waited for have used, as Linux tells it.

use std::{fs, time::Duration};

/// What the kernel counts in, for every program: `USER_HZ`.
const TICKS_A_SECOND: f64 = 100.0;

/// Time on a processor so far.
pub(crate) fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("this is Linux");
    // The name may hold spaces; it ends with the last parenthesis, and the state is the third field.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / TICKS_A_SECOND)
}

/// Memory that is this process's alone and was written to, in KiB.
pub(crate) fn private_dirty_kib() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("this is Linux");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}
