//! Test guest: asks for more memory than a call has by itself, and for less time.

use opg_guest::*;

/// Takes memory and says how much it got, in MiB.
#[tool(
    limit("memory_mib=128", "to hold a large table"),
    limit("wall_ms=2000", "to answer soon or not at all")
)]
fn fill(
    /// How much to take.
    mib: usize,
) -> usize {
    let mut held = Vec::new();
    for _ in 0..mib {
        held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
    held.len()
}

/// Computes for ever.
#[tool]
fn turn() -> u64 {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

plugin!(fill, turn);
