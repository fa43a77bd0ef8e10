//! Compiled components on disk: `<dir>/<engine>/<sha256 of the wasm>.cwasm`.
//!
//! Machine code is loaded without a check by the engine: whoever can write it,
//! owns the process. So each file carries a MAC over the component's digest
//! and the code, under a key that only this host has; a file that does not fit
//! is compiled again. `<engine>` names the version and settings it was made
//! with. Nothing is ever removed here.

use super::limits::{COMPONENT_BYTES_MAX, LOADED_BYTES_MAX};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::Engine;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// A compiled component, in bytes: machine code is about three times its wasm.
const FILE_BYTES_MAX: u64 = 8 * COMPONENT_BYTES_MAX as u64;
const _: () = assert!(FILE_BYTES_MAX <= LOADED_BYTES_MAX as u64);

/// The compiled components of one engine.
pub(super) struct CodeCache {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
}

impl CodeCache {
    /// Opens the cache in `dir`, which is made if it is not there.
    pub(super) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        let entries = dir.join(fingerprint(engine));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&entries)?;
        Ok(Self { dir: entries, key: key(dir)? })
    }

    /// The machine code of the component with this digest, if we wrote it.
    pub(super) fn read(&self, digest: &str) -> Option<Vec<u8>> {
        let mut file = File::open(self.path(digest)).ok()?;
        if file.metadata().ok()?.len() > FILE_BYTES_MAX {
            return None;
        }
        let mut mac = [0; MAC_BYTES];
        file.read_exact(&mut mac).ok()?;
        let mut code = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut code).ok()?;
        self.mac(digest, &code).verify_slice(&mac).ok()?;
        Some(code)
    }

    /// Keeps the machine code. Readers see the old file or the new one.
    pub(super) fn write(&self, digest: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(digest, code).finalize().into_bytes();
        let path = self.path(digest);
        let temporary = Temporary::write(&self.dir, &[&mac, code])?;
        fs::rename(&temporary.0, path)
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.cwasm"))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(digest.as_bytes());
        mac.update(code);
        mac
    }
}

fn fingerprint(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The key of this directory, made at the first start.
fn key(dir: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = dir.join("key");
    if let Some(key) = fs::read(&path).ok().and_then(|bytes| bytes.try_into().ok()) {
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let temporary = Temporary::write(dir, &[&key])?;
    match fs::hard_link(&temporary.0, &path) {
        // Another process was quicker, or the file is damaged.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read(&path)?.try_into() {
            Ok(theirs) => Ok(theirs),
            Err(_) => fs::rename(&temporary.0, &path).map(|()| key),
        },
        Err(error) => Err(error),
        Ok(()) => Ok(key),
    }
}

/// A file that only its owner can read, removed unless it was renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn write(dir: &Path, parts: &[&[u8]]) -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let temporary = Self(dir.join(format!(".{}-{number}.tmp", std::process::id())));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary.0)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Renamed files are gone already.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::CodeCache;
    use crate::sandbox::engine::new_engine;
    use std::os::unix::fs::PermissionsExt as _;

    fn cache(dir: &tempfile::TempDir) -> CodeCache {
        CodeCache::open(dir.path(), &new_engine(1).unwrap()).unwrap()
    }

    #[test]
    fn code_comes_back_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        cache(&dir).write("aa", b"code").unwrap();
        assert_eq!(cache(&dir).read("aa").unwrap(), b"code");
        assert_eq!(cache(&dir).read("bb"), None);
    }

    #[test]
    fn code_that_was_changed_moved_or_made_elsewhere_is_not_loaded() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = cache(&dir);
        cache.write("aa", b"code").unwrap();
        let file = cache.path("aa");
        std::fs::copy(&file, cache.path("bb")).unwrap();
        assert_eq!(cache.read("bb"), None, "another component's code");

        let elsewhere = CodeCache::open(other.path(), &new_engine(1).unwrap()).unwrap();
        elsewhere.write("cc", b"code").unwrap();
        std::fs::copy(elsewhere.path("cc"), cache.path("cc")).unwrap();
        assert_eq!(cache.read("cc"), None, "another host's code");

        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(cache.read("aa"), None, "one bit changed");
    }

    #[test]
    fn nobody_else_can_read_the_key_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        cache(&dir).write("aa", b"code").unwrap();
        let mode = std::fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn a_damaged_key_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        cache(&dir).write("aa", b"code").unwrap();
        std::fs::write(dir.path().join("key"), b"short").unwrap();
        assert_eq!(cache(&dir).read("aa"), None);
    }
}
