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
    fn what_is_ours_is_shared_and_what_a_tenant_compiles_is_not_kept() {
        let shared = SharedCode::default();
        assert!(shared.to_fill().insert(b"ours", vec![1]));
        assert!(!shared.to_read().insert(b"theirs", vec![2]));
        assert_eq!(shared.to_read().get(b"ours").as_deref(), Some(&[1][..]));
        assert!(shared.to_read().get(b"theirs").is_none() && shared.to_fill().get(b"theirs").is_none());
        assert!(!shared.to_fill().insert(b"large", vec![0; SHARED_CODE_BYTES_MAX]));
    }
}
