//! Limits of a call: `memory_mib=128`, `wall_ms=60000`, `cpu_ms=20000`. More than a call has by itself, or less: what
//! was granted stands in the place of the default.

use crate::limits::{CPU_MS_GRANTED_MAX, MEMORY_MIB_GRANTED_MAX, WALL_MS_GRANTED_MAX};

/// What a `limit` target means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitTarget {
    pub(crate) what: Limited,
    pub(crate) amount: u32,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limited {
    /// All memories and tables of a call, in MiB.
    MemoryMib,
    /// From its start to its answer, host waits included, in milliseconds.
    WallMs,
    /// CPU time of its own code, in milliseconds.
    CpuMs,
}

impl Limited {
    const ALL: [Limited; 3] = [Limited::MemoryMib, Limited::WallMs, Limited::CpuMs];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Limited::MemoryMib => "memory_mib",
            Limited::WallMs => "wall_ms",
            Limited::CpuMs => "cpu_ms",
        }
    }

    pub(crate) const fn max(self) -> u32 {
        match self {
            Limited::MemoryMib => MEMORY_MIB_GRANTED_MAX,
            Limited::WallMs => WALL_MS_GRANTED_MAX,
            Limited::CpuMs => CPU_MS_GRANTED_MAX,
        }
    }
}

impl LimitTarget {
    pub(crate) fn parse(target: &str) -> Option<LimitTarget> {
        let (name, amount) = target.split_once('=')?;
        let what = Limited::ALL.into_iter().find(|what| what.name() == name)?;
        let number: u32 = amount.parse().ok()?;
        let ok = (1..=what.max()).contains(&number) && number.to_string() == amount;
        ok.then_some(LimitTarget { what, amount: number })
    }

    pub(crate) fn is_within(&self, wide: &LimitTarget) -> bool {
        self.what == wide.what && self.amount <= wide.amount
    }
}
