//! Where the demo keeps its database, its keys, its operator's token and its
//! server's log. Kept from run to run; deleting it starts afresh.

use opg_host::app::Entropy;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const DEFAULT: &str = "data/demo";
/// For root in a directory others cannot enter: the database runs as another user and must reach its files.
const DEFAULT_FOR_ROOT: &str = "/var/lib/opg-demo";
/// 256 bits: not to be guessed.
const TOKEN_BYTES: usize = 32;

/// The directory, ready.
pub(super) struct DataDir {
    path: PathBuf,
    admin_token: String,
}

/// Why it is not.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: {cause}; choose another directory with --data-dir", path.display())]
pub(super) struct DataDirError {
    path: PathBuf,
    cause: io::Error,
}

impl DataDir {
    /// Makes what is missing.
    pub(super) fn open(given: Option<PathBuf>, entropy: &Entropy) -> Result<DataDir, DataDirError> {
        let path = given.unwrap_or_else(default_path);
        let open = || {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
            let path = path.canonicalize()?;
            let admin_token = kept_token(&path.join("admin.token"), entropy)?;
            Ok(DataDir { path, admin_token })
        };
        open().map_err(|cause| DataDirError { path: path.clone(), cause })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The operator's token, the same in every run.
    pub(super) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// What the server logs.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("server.log")
    }
}

fn default_path() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    if is_root() && !others_may_enter(&here) {
        eprintln!(
            "opg demo: as root, the database runs as another user, who cannot enter {}; using {DEFAULT_FOR_ROOT}",
            here.display()
        );
        return PathBuf::from(DEFAULT_FOR_ROOT);
    }
    here.join(DEFAULT)
}

fn is_root() -> bool {
    // SAFETY: plain system call.
    unsafe { libc::geteuid() == 0 }
}

fn others_may_enter(dir: &Path) -> bool {
    dir.ancestors().all(|dir| fs::metadata(dir).is_ok_and(|metadata| metadata.mode() & 0o001 != 0))
}

/// The token in this file, made where there is none; for its owner's eyes only.
fn kept_token(file: &Path, entropy: &Entropy) -> io::Result<String> {
    match fs::read_to_string(file) {
        Ok(token) if !token.trim().is_empty() => return Ok(token.trim().to_owned()),
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        // An empty file is left by a run that was killed at the wrong moment.
        Ok(_) => fs::remove_file(file)?,
        Err(_) => {}
    }
    let token: String = entropy.bytes::<TOKEN_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    io::Write::write_all(&mut made, token.as_bytes())?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_token_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let open = || DataDir::open(Some(dir.path().join("a/demo")), &Entropy::os()).unwrap();
        let (first, second) = (open(), open());
        assert_eq!(first.admin_token(), second.admin_token());
        assert_eq!(first.admin_token().len(), 2 * TOKEN_BYTES);
        let mode = fs::metadata(first.path().join("admin.token")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_empty_token_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("admin.token"), "\n").unwrap();
        let data = DataDir::open(Some(dir.path().to_owned()), &Entropy::os()).unwrap();
        assert_eq!(data.admin_token().len(), 2 * TOKEN_BYTES);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let text = DataDir::open(Some(file.join("demo")), &Entropy::os()).err().unwrap().to_string();
        assert!(text.contains("file/demo") && text.contains("--data-dir"), "{text}");
    }

    #[test]
    fn a_directory_below_a_private_one_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let private = tempfile::tempdir().unwrap();
        let below = private.path().join("open");
        fs::create_dir(&below).unwrap();
        fs::set_permissions(private.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!others_may_enter(&below));
        assert!(others_may_enter(Path::new("/")));
    }
}
