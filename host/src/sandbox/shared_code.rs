//! Machine code that many components have in common.
//!
//! Every tool made of a TypeScript file is the same runtime around other data:
//! compiling it anew for each would take seconds, finding its functions again a
//! fraction of one. What is kept is the code of our own runtime alone, by a hash
//! of everything that went into it; a tenant's component reads it and adds nothing.

use super::limits::SHARED_CODE_BYTES_MAX;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use wasmtime::CacheStore;

/// The bytes of a length in what is packed.
const LENGTH_BYTES: usize = 4;

/// The code, and its size in bytes.
#[derive(Debug, Default)]
struct Functions {
    code: HashMap<Vec<u8>, Arc<[u8]>>,
    bytes: usize,
}

/// What engines share.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedCode(Arc<RwLock<Functions>>);

impl SharedCode {
    /// For an engine that compiles what is ours alone.
    pub(super) fn to_fill(&self) -> Arc<dyn CacheStore> {
        Arc::new(Filling(self.clone()))
    }

    /// For an engine that compiles what tenants upload.
    pub(super) fn to_read(&self) -> Arc<dyn CacheStore> {
        Arc::new(Reading(self.clone()))
    }

    /// All of it in one piece, for an engine in another process: `<length><key><length><code>` and again.
    pub(super) fn pack(&self) -> Vec<u8> {
        let functions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut packed = Vec::with_capacity(functions.bytes + 2 * LENGTH_BYTES * functions.code.len());
        for (key, code) in &functions.code {
            for part in [key.as_slice(), code] {
                // Far below 4 GiB: `SHARED_CODE_BYTES_MAX`.
                packed.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
                packed.extend(part);
            }
        }
        packed
    }

    /// Takes in what was packed; stops where it makes no sense.
    pub(super) fn unpack(&self, mut packed: &[u8]) {
        while let Some((key, rest)) = part(packed)
            && let Some((code, rest)) = part(rest)
        {
            self.keep(key, code.to_vec());
            packed = rest;
        }
    }

    fn find(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let functions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        functions.code.get(key).map(|code| Cow::Owned(code.to_vec()))
    }

    /// False where there is no room.
    fn keep(&self, key: &[u8], code: Vec<u8>) -> bool {
        let mut functions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = functions.bytes + key.len() + code.len();
        if bytes > SHARED_CODE_BYTES_MAX {
            return false;
        }
        functions.bytes = bytes;
        functions.code.insert(key.to_vec(), code.into());
        true
    }
}

/// One piece with its length before it, and what comes after.
fn part(packed: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = packed.split_at_checked(LENGTH_BYTES)?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    rest.split_at_checked(usize::try_from(length).ok()?)
}

#[derive(Debug)]
struct Filling(SharedCode);

impl CacheStore for Filling {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.0.find(key)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.0.keep(key, value)
    }
}

#[derive(Debug)]
struct Reading(SharedCode);

impl CacheStore for Reading {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.0.find(key)
    }

    fn insert(&self, _key: &[u8], _value: Vec<u8>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_found_in_another_process() {
        let (here, there) = (SharedCode::default(), SharedCode::default());
        here.to_fill().insert(b"one", vec![1; 300]);
        here.to_fill().insert(b"two", vec![]);
        there.unpack(&here.pack());
        assert_eq!(there.to_read().get(b"one").as_deref(), Some(&[1; 300][..]));
        assert_eq!(there.to_read().get(b"two").as_deref(), Some(&[][..]));
        let cut = SharedCode::default();
        cut.unpack(&here.pack()[..10]);
        assert_eq!(cut.pack(), b"");
    }

    #[test]
    fn what_is_ours_is_shared_and_what_a_tenant_compiles_is_not_kept() {
        let shared = SharedCode::default();
        assert!(shared.to_fill().insert(b"ours", vec![1]));
        assert!(!shared.to_read().insert(b"theirs", vec![2]));
        assert_eq!(shared.to_read().get(b"ours").as_deref(), Some(&[1][..]));
        assert!(shared.to_read().get(b"theirs").is_none() && shared.to_fill().get(b"theirs").is_none());
        assert!(!shared.to_fill().insert(b"large", vec![0; SHARED_CODE_BYTES_MAX]));
    }
}
