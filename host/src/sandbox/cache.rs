//! Compiled components on disk: `<dir>/<engine>/<sha256 of the wasm>.cwasm`.
//!
//! Machine code is loaded without a check by the engine: whoever can write it,
//! owns the process. So each file carries a MAC over the component's digest
//! and the code, under a key that only this host has; a file that does not fit
//! is compiled again. `<engine>` names the version and settings it was made
//! with.
//!
//! A new engine finds the directory of the last one: what stands there is worth
//! compiling anew before somebody waits for it, the most recently used first.
//! A file's time of change is when it was last used.
//!
//! All engines' together are bounded: what was not used for longest goes. What
//! belonged to a plugin that was deleted is not looked for; nobody uses it.

use super::limits::{CODE_BYTES_MAX, CODE_CACHE_BYTES_MAX, CODE_CACHE_LOOK_EVERY_BYTES};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use wasmtime::Engine;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// How the files of compiled components end.
const EXTENSION: &str = "cwasm";

/// How those end that are not whole yet, and how old one is that never will be.
const PART_EXTENSION: &str = "tmp";
const PART_AGE: Duration = Duration::from_secs(60 * 60);

/// The compiled components of one engine.
pub(super) struct CodeCache {
    /// Of all engines.
    root: PathBuf,
    /// Of this one.
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    /// Bytes written since the size of all was last looked at.
    written: AtomicU64,
}

impl CodeCache {
    /// Opens the cache in `dir`, which is made if it is not there.
    pub(super) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        let entries = dir.join(fingerprint(engine));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&entries)?;
        // What is there may be too much already: the first write looks.
        let written = AtomicU64::new(CODE_CACHE_LOOK_EVERY_BYTES);
        Ok(Self { root: dir.to_owned(), dir: entries, key: key(dir)?, written })
    }

    /// The machine code of the component with this digest, if we wrote it.
    pub(super) fn read(&self, digest: &str) -> Option<Vec<u8>> {
        let mut file = File::open(self.path(digest)).ok()?;
        if file.metadata().ok()?.len() > CODE_BYTES_MAX {
            return None;
        }
        let mut mac = [0; MAC_BYTES];
        file.read_exact(&mut mac).ok()?;
        let mut code = Vec::new();
        file.take(CODE_BYTES_MAX).read_to_end(&mut code).ok()?;
        self.mac(digest, &code).verify_slice(&mac).ok()?;
        touch(&self.path(digest));
        Some(code)
    }

    /// Keeps the machine code. Readers see the old file or the new one.
    pub(super) fn write(&self, digest: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(digest, code).finalize().into_bytes();
        let path = self.path(digest);
        let temporary = Temporary::write(&self.dir, &[&mac, code])?;
        fs::rename(&temporary.0, path)?;
        // To look takes as long as there are files: not each time, or thousands of uploads would take thousands squared.
        let written = self.written.fetch_add(code.len() as u64, Ordering::Relaxed);
        if written < CODE_CACHE_LOOK_EVERY_BYTES {
            return Ok(());
        }
        self.written.store(0, Ordering::Relaxed);
        self.prune(CODE_CACHE_BYTES_MAX)
    }

    /// Digests of components that another engine compiled and this one has not, the most recently used first.
    pub(super) fn stale(&self) -> io::Result<Vec<String>> {
        let mut found = vec![];
        for dir in self.others()? {
            found.extend(entries(&dir)?.into_iter().filter(|entry| !self.path(&entry.digest).exists()));
        }
        found.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let mut digests: Vec<_> = found.into_iter().map(|entry| entry.digest).collect();
        let mut seen = std::collections::HashSet::new();
        digests.retain(|digest| seen.insert(digest.clone()));
        Ok(digests)
    }

    /// Removes what other engines compiled.
    pub(super) fn forget_others(&self) -> io::Result<()> {
        self.others()?.iter().try_for_each(fs::remove_dir_all)
    }

    /// The directories of other engines: named as ours are.
    fn others(&self) -> io::Result<Vec<PathBuf>> {
        let is_engine = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.len() == FINGERPRINT_CHARS && name.bytes().all(|b| b.is_ascii_hexdigit()) && path.is_dir()
        };
        let paths =
            fs::read_dir(&self.root)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| is_engine(path) && *path != self.dir).collect())
    }

    /// Removes the least recently used of all engines until no more than this is left, in bytes, and what writes left
    /// that were broken off.
    fn prune(&self, bytes_max: u64) -> io::Result<()> {
        let (mut kept, mut broken) = (entries(&self.dir)?, broken_writes(&self.dir)?);
        broken.extend(broken_writes(&self.root)?);
        for dir in self.others()? {
            // Another process may remove it this moment.
            kept.extend(entries(&dir).unwrap_or_default());
            broken.extend(broken_writes(&dir).unwrap_or_default());
        }
        broken.iter().try_for_each(|file| remove(file))?;
        let mut bytes: u64 = kept.iter().map(|entry| entry.bytes).sum();
        kept.sort_by_key(|entry| entry.used);
        for entry in kept {
            if bytes <= bytes_max {
                break;
            }
            remove(&entry.path)?;
            bytes -= entry.bytes;
        }
        Ok(())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.{EXTENSION}"))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(digest.as_bytes());
        mac.update(code);
        mac
    }
}

/// One file.
struct Entry {
    digest: String,
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

fn entries(dir: &Path) -> io::Result<Vec<Entry>> {
    let mut found = vec![];
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let is_code = path.extension().is_some_and(|extension| extension == EXTENSION);
        // What another process removed meanwhile is no error.
        if let (true, Some(stem), Ok(metadata)) = (is_code, path.file_stem(), fs::metadata(&path)) {
            let digest = stem.to_string_lossy().into_owned();
            found.push(Entry { digest, bytes: metadata.len(), used: metadata.modified()?, path });
        }
    }
    Ok(found)
}

/// Files that were begun long ago and never became what they were to be: a process was killed, or the disk was full.
#[expect(clippy::disallowed_methods, reason = "compared with times that the file system sets")]
fn broken_writes(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let now = SystemTime::now();
    let is_old = |path: &Path| {
        let changed = fs::metadata(path).and_then(|file| file.modified());
        changed.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > PART_AGE))
    };
    let paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    let is_part = |path: &Path| path.extension().is_some_and(|extension| extension == PART_EXTENSION);
    Ok(paths.into_iter().filter(|path| is_part(path) && is_old(path)).collect())
}

/// Removes a file, which another process may have removed.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Remembers that the file was used now. Nothing depends on it but the order in which files go.
#[expect(clippy::disallowed_methods, reason = "compared with times that the file system sets")]
fn touch(path: &Path) {
    let _ = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

/// Characters of a fingerprint.
const FINGERPRINT_CHARS: usize = 16;

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
        let temporary = Self(dir.join(format!(".{}-{number}.{PART_EXTENSION}", std::process::id())));
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
    use super::{CODE_CACHE_LOOK_EVERY_BYTES, CodeCache};
    use crate::sandbox::engine::new_engine;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, UNIX_EPOCH};

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

    /// As an engine of another version or with other settings would leave it.
    fn leave(dir: &tempfile::TempDir, engine: &str, digest: &str, age_s: u64) {
        let entries = dir.path().join(engine);
        std::fs::create_dir_all(&entries).unwrap();
        let file = std::fs::File::create(entries.join(format!("{digest}.cwasm"))).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000 - age_s)).unwrap();
    }

    #[test]
    fn a_new_engine_finds_what_older_ones_compiled_the_most_recently_used_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        assert_eq!(cache.stale().unwrap(), Vec::<String>::new());
        leave(&dir, "00000000000000aa", "old", 300);
        leave(&dir, "00000000000000aa", "recent", 100);
        leave(&dir, "00000000000000bb", "older", 200);
        leave(&dir, "00000000000000bb", "recent", 250);
        leave(&dir, "00000000000000bb", "done", 1);
        leave(&dir, "no-engine", "else", 1);
        cache.write("done", b"code").unwrap();
        assert_eq!(cache.stale().unwrap(), ["recent", "older", "old"]);

        cache.forget_others().unwrap();
        assert_eq!(cache.stale().unwrap(), Vec::<String>::new());
        assert_eq!(cache.read("done").unwrap(), b"code");
        assert!(dir.path().join("no-engine").exists(), "what is not ours stays");
    }

    #[test]
    fn the_least_recently_used_code_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        for (age_s, digest) in [(30, "a"), (20, "b"), (10, "c")] {
            cache.write(digest, &[0; 100]).unwrap();
            let file = std::fs::File::open(cache.path(digest)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000 - age_s)).unwrap();
        }
        cache.read("a").unwrap();
        cache.prune(300).unwrap();
        assert!(cache.read("b").is_none());
        assert!(cache.read("a").is_some() && cache.read("c").is_some());
    }

    #[test]
    fn what_older_engines_compiled_counts_and_goes_first_and_broken_writes_go_when_they_are_old() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        leave(&dir, "00000000000000aa", "old", 300);
        leave(&dir, "00000000000000bb", "older", 400);
        for (engine, digest) in [("00000000000000aa", "old"), ("00000000000000bb", "older")] {
            let file = dir.path().join(engine).join(format!("{digest}.cwasm"));
            let used = std::fs::metadata(&file).unwrap().modified().unwrap();
            std::fs::write(&file, [0; 132]).unwrap();
            std::fs::File::open(&file).unwrap().set_modified(used).unwrap();
        }
        cache.write("new", &[0; 100]).unwrap();
        let broken = [dir.path().join(".7-1.tmp"), cache.dir.join(".7-2.tmp"), cache.dir.join(".8-1.tmp")];
        for (at, file) in broken.iter().enumerate() {
            let file = std::fs::File::create(file).unwrap();
            if at < 2 {
                file.set_modified(UNIX_EPOCH).unwrap();
            }
        }
        cache.prune(2 * 132).unwrap();
        assert_eq!(broken.map(|file| file.exists()), [false, false, true], "the last one is being written");
        assert_eq!(cache.stale().unwrap(), ["old"], "the least recently used went");
        cache.prune(132).unwrap();
        assert_eq!(cache.stale().unwrap(), Vec::<String>::new());
        assert_eq!(cache.read("new").unwrap(), [0; 100]);
    }

    #[test]
    fn room_is_made_at_the_first_write_and_then_when_much_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        let sizes = [1, CODE_CACHE_LOOK_EVERY_BYTES, 1, 1];
        let looked = sizes.map(|bytes| {
            cache.write("aa", &vec![0; usize::try_from(bytes).unwrap()]).unwrap();
            cache.written.load(std::sync::atomic::Ordering::Relaxed)
        });
        assert_eq!(looked, [0, CODE_CACHE_LOOK_EVERY_BYTES, 0, 1]);
    }

    #[test]
    fn a_damaged_key_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        cache(&dir).write("aa", b"code").unwrap();
        std::fs::write(dir.path().join("key"), b"short").unwrap();
        assert_eq!(cache(&dir).read("aa"), None);
    }
}
