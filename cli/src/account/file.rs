//! Where a person's tokens are kept: `credentials.json`, which they alone can read, with a lock beside it.
//!
//! `OPG_CREDENTIALS_FILE` names it; else it is in `XDG_CONFIG_HOME`, else in `~/.config`, under `opg`. It is
//! replaced whole, never written in place.

use super::AccountError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// One sign-in.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) access_token: String,
    /// None for a personal token, which is kept as it is.
    pub(super) refresh_token: Option<String>,
    /// Seconds since 1970.
    pub(super) expires_at_s: Option<u64>,
}

impl Entry {
    /// What a server's answer gives.
    pub(super) fn of(tokens: &Value, now_s: u64) -> Entry {
        Entry {
            access_token: tokens["access_token"].as_str().unwrap_or_default().to_owned(),
            refresh_token: tokens["refresh_token"].as_str().map(str::to_owned),
            expires_at_s: tokens["expires_in"].as_u64().map(|life| now_s + life),
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    servers: BTreeMap<String, Entry>,
}

/// The file.
pub(super) struct File(PathBuf);

/// Nobody else changes the file while this lives.
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not read")] fs::File);

/// Where the file is.
pub(super) fn path() -> Result<PathBuf, AccountError> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = variable("OPG_CREDENTIALS_FILE") {
        return Ok(path);
    }
    let config = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    let config = config.ok_or_else(|| {
        AccountError::Wrong("where do you keep things? set HOME, or OPG_CREDENTIALS_FILE".to_owned())
    })?;
    Ok(config.join("opg/credentials.json"))
}

impl File {
    pub(super) fn at(path: PathBuf) -> File {
        File(path)
    }

    fn failed(&self, doing: &str) -> impl FnOnce(io::Error) -> AccountError + use<> {
        let text = format!("{} cannot be {doing}", self.0.display());
        move |cause| AccountError::File(format!("{text}: {cause}"))
    }

    fn read(&self) -> Result<Kept, AccountError> {
        match fs::read(&self.0) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
            Err(cause) => Err(self.failed("read")(cause)),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|cause| {
                AccountError::File(format!("{} is not what we wrote: {cause}", self.0.display()))
            }),
        }
    }

    /// The sign-in to a server.
    pub(super) fn get(&self, url: &str) -> Result<Option<Entry>, AccountError> {
        Ok(self.read()?.servers.remove(url))
    }

    /// The server, where there is a sign-in to one alone.
    pub(super) fn only_server(&self) -> Result<Option<String>, AccountError> {
        let mut servers = self.read()?.servers.into_keys();
        Ok(servers.next().filter(|_| servers.next().is_none()))
    }

    /// Waits until nobody else changes the file.
    pub(super) fn lock(&self) -> Result<Lock, AccountError> {
        let dir = self.0.parent().unwrap_or(Path::new("."));
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(self.failed("made"))?;
        let path = self.0.with_extension("lock");
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let lock = lock.map_err(self.failed("locked"))?;
        lock.lock().map_err(self.failed("locked"))?;
        Ok(Lock(lock))
    }

    /// Keeps a sign-in, or none, for a server.
    pub(super) fn put(&self, _held: &Lock, url: &str, entry: Option<Entry>) -> Result<(), AccountError> {
        let mut kept = self.read()?;
        match entry {
            Some(entry) => kept.servers.insert(url.to_owned(), entry),
            None => kept.servers.remove(url),
        };
        let text = serde_json::to_vec_pretty(&kept).map_err(|cause| AccountError::File(cause.to_string()))?;
        let draft = self.0.with_extension("draft");
        let written = || {
            // One that was left behind may have other rights than ours.
            drop(fs::remove_file(&draft));
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&draft, &self.0)
        };
        written().map_err(self.failed("written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn entry(token: &str) -> Entry {
        Entry { access_token: token.to_owned(), refresh_token: None, expires_at_s: None }
    }

    #[test]
    fn m401_tokens_are_kept_for_each_server_where_their_person_alone_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::at(dir.path().join("new/credentials.json"));
        assert!(file.get("https://a").unwrap().is_none());
        let lock = file.lock().unwrap();
        file.put(&lock, "https://a", Some(entry("one"))).unwrap();
        assert_eq!(file.only_server().unwrap().as_deref(), Some("https://a"));
        file.put(&lock, "https://b", Some(entry("two"))).unwrap();
        assert_eq!(file.only_server().unwrap(), None, "of two, nobody knows which is meant");
        assert_eq!(file.get("https://a").unwrap().unwrap().access_token, "one");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file.0), mode(file.0.parent().unwrap())), (0o600, 0o700));
        file.put(&lock, "https://a", None).unwrap();
        assert!(file.get("https://a").unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_not_ours_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.json");
        fs::write(&path, "my notes").unwrap();
        let file = File::at(path.clone());
        let lock = file.lock().unwrap();
        assert!(file.put(&lock, "https://a", Some(entry("one"))).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "my notes");
    }
}
