//! Test guest: allocates until it is refused, or until it has what was asked
//! for. A refusal aborts the guest, unless `gently` asks it to report instead.

use opg_guest::*;

const CHUNK_BYTES: usize = 1 << 20;

/// Takes memory, a mebibyte at a time, and touches it.
#[tool]
fn hog(
    /// Where to stop; never unless given.
    bytes_max: Option<u64>,
    /// Whether to return at the first refusal and say how much was had.
    gently: Option<bool>,
) -> u64 {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    let mut had_bytes = 0;
    while bytes_max.is_none_or(|bytes_max| had_bytes < bytes_max) {
        let mut chunk: Vec<u8> = Vec::new();
        if gently == Some(true) && chunk.try_reserve_exact(CHUNK_BYTES).is_err() {
            break;
        }
        chunk.resize(CHUNK_BYTES, 1);
        std::hint::black_box(&chunk);
        chunks.push(chunk);
        had_bytes += CHUNK_BYTES as u64;
    }
    had_bytes
}

plugin!(hog);
