//! Where the embedded server's files are, who owns them, and who holds the directory.
//!
//! ```text
//! <data_dir>/postgres/            ours (0700; 0711 when the server runs as another user)
//!   opg.lock                      held while a server runs
//!   superuser.password            0600, ours
//!   pg_hba.conf                   ours, read by the server
//!   data-<major>/                 the server's (0700)
//!   data-<major>.new/             a first start that has not finished; removed at the next one
//!   run/                          the server's (0700): the socket
//! ```
//!
//! When OPG runs as root, the server must not: it runs as `opg-postgres`, `postgres`, `nobody` or 65534, whichever
//! exists first, or as whoever owns the data already. What root writes, it writes into root's directory, never
//! through a name the server's user could have planted.

use std::ffi::CString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::find::Binaries;
use super::process::{ServerUser, confine};

/// A unix socket's address holds 108 bytes, the last one is the terminator.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The port is only a part of the socket's name.
pub(super) const SOCKET_PORT: u16 = 5432;
/// Where sockets go when the data directory's path is too long for one.
const SHORT_RUNTIME_DIR: &str = "/tmp";
/// 256 bits, so that the password cannot be guessed by whoever reaches the socket.
const PASSWORD_BYTES: usize = 32;
/// Tried in this order when we are root.
const SERVER_USERS: [&str; 3] = ["opg-postgres", "postgres", "nobody"];
/// `nobody` on machines without a user database (a container from scratch).
const NOBODY: ServerUser = ServerUser { uid: 65534, gid: 65534 };

/// The directory of one embedded server, locked and ready.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) home: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) user: Option<ServerUser>,
    pub(super) lock: Arc<File>,
}

impl Layout {
    /// Creates what is missing and takes the lock. Nothing is touched when another process holds it.
    pub(super) fn prepare(data_dir: &Path, runtime_dir: Option<&Path>) -> Result<Self, LayoutError> {
        fs::create_dir_all(data_dir).map_err(at(data_dir))?;
        let data_dir = data_dir.canonicalize().map_err(at(data_dir))?;
        let home = data_dir.join("postgres");
        ensure_dir(&home, 0o700)?;
        let lock = take_lock(&home.join("opg.lock"))?;
        let user = server_user(&home);
        if user.is_some() {
            fs::set_permissions(&home, fs::Permissions::from_mode(0o711)).map_err(at(&home))?;
        }
        let socket_dir = socket_dir(&home, runtime_dir, user)?;
        Ok(Self { home, socket_dir, user, lock })
    }

    pub(super) fn data(&self, major: u32) -> PathBuf {
        self.home.join(format!("data-{major}"))
    }

    pub(super) fn half_made(&self, major: u32) -> PathBuf {
        self.home.join(format!("data-{major}.new"))
    }

    pub(super) fn hba(&self) -> PathBuf {
        self.home.join("pg_hba.conf")
    }

    pub(super) fn password_file(&self) -> PathBuf {
        self.home.join("superuser.password")
    }

    /// The newest major version that has a finished database here.
    pub(super) fn existing_major(&self) -> Option<u32> {
        let entries = fs::read_dir(&self.home).ok()?;
        entries.flatten().filter_map(|e| e.file_name().to_str()?.strip_prefix("data-")?.parse().ok()).max()
    }

    /// Checks that the server's user can run the programs and reach the directory, and lets it into the data
    /// directory itself when that one is ours alone (a fresh `mkdir -m 700`, a test's temporary directory).
    pub(super) fn check_reachable(&self, binaries: &Binaries) -> Result<(), LayoutError> {
        let Some(user) = self.user else { return Ok(()) };
        if !can_run(&binaries.postgres(), Path::new("/"), user) {
            return Err(LayoutError::ProgramUnreachable { uid: user.uid, program: binaries.postgres() });
        }
        if can_run(&binaries.postgres(), &self.home, user) {
            return Ok(());
        }
        if let Some(data_dir) = self.home.parent() {
            let metadata = fs::metadata(data_dir).map_err(at(data_dir))?;
            // SAFETY: plain system call.
            if metadata.uid() == unsafe { libc::geteuid() } && metadata.mode() & 0o077 == 0 {
                std::os::unix::fs::chown(data_dir, None, Some(user.gid)).map_err(at(data_dir))?;
                fs::set_permissions(data_dir, fs::Permissions::from_mode(0o710)).map_err(at(data_dir))?;
            }
        }
        if can_run(&binaries.postgres(), &self.home, user) {
            return Ok(());
        }
        Err(LayoutError::DirUnreachable { uid: user.uid, dir: self.home.clone() })
    }

    /// A new, empty directory that belongs to the server's user.
    pub(super) fn make_server_dir(&self, dir: &Path) -> Result<(), LayoutError> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(dir)(error)),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(dir).map_err(at(dir))?;
        give(dir, self.user)
    }

    pub(super) fn read_password(&self) -> Result<SecretString, LayoutError> {
        let file = self.password_file();
        let text = fs::read_to_string(&file).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => LayoutError::PasswordLost { file: file.clone() },
            _ => at(&file)(source),
        })?;
        Ok(SecretString::from(text.trim().to_owned()))
    }

    /// The password of a new database, kept in our file before the database exists.
    pub(super) fn make_password(&self) -> Result<SecretString, LayoutError> {
        let mut bytes = zeroize::Zeroizing::new([0_u8; PASSWORD_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| LayoutError::NoRandomness)?;
        let password = SecretString::from(hex::encode(bytes.as_slice()));
        write_whole(&self.password_file(), password.expose_secret(), 0o600)?;
        Ok(password)
    }

    /// What proves the password, in a file the server's user can read, for `initdb` alone; the caller removes it.
    pub(super) fn lend_verifier(&self, verifier: &str) -> Result<PathBuf, LayoutError> {
        let file = self.home.join("initdb.password");
        write_whole(&file, verifier, 0o600)?;
        give(&file, self.user)?;
        Ok(file)
    }

    /// Every login over the socket needs its password; nothing else may connect at all.
    pub(super) fn write_hba(&self) -> Result<(), LayoutError> {
        write_whole(&self.hba(), "# Written by opg at every start.\nlocal all all scram-sha-256\n", 0o644)
    }
}

/// What is wrong with the directory, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("cannot use {}: {source}", path.display())]
    Files { path: PathBuf, source: io::Error },
    #[error("another opg is using {}: stop it, or give this one its own DATA_DIR", dir.display())]
    Taken { dir: PathBuf },
    #[error(
        "opg runs as root, so PostgreSQL runs as the user with id {uid}, which cannot reach {}: \
         put DATA_DIR where every directory above it lets others through (such as /var/lib/opg), \
         or run opg as an ordinary user",
        dir.display()
    )]
    DirUnreachable { uid: u32, dir: PathBuf },
    #[error(
        "opg runs as root, so PostgreSQL runs as the user with id {uid}, which may not run {}: \
         make it and the directories above it accessible, or run opg as an ordinary user",
        program.display()
    )]
    ProgramUnreachable { uid: u32, program: PathBuf },
    #[error("{} is missing although the database exists: restore it from your backup", file.display())]
    PasswordLost { file: PathBuf },
    #[error(
        "no directory is short enough for the server's socket: {} leads to a path over \
         {SOCKET_PATH_BYTES_MAX} bytes",
        dir.display()
    )]
    SocketPathTooLong { dir: PathBuf },
    #[error("{} belongs to someone else: remove it, or choose a shorter DATA_DIR", dir.display())]
    SocketDirForeign { dir: PathBuf },
    #[error("the operating system gave no randomness")]
    NoRandomness,
}

/// Adds the path to an input/output error.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> LayoutError + use<> {
    let path = path.to_path_buf();
    move |source| LayoutError::Files { path, source }
}

fn ensure_dir(dir: &Path, mode: u32) -> Result<(), LayoutError> {
    match fs::DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        result => result.map_err(at(dir)),
    }
}

/// Rust opens files close-on-exec, so the server does not inherit the lock and it ends with us at the latest.
fn take_lock(path: &Path) -> Result<Arc<File>, LayoutError> {
    let file =
        File::options().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(Arc::new(file)),
        Err(TryLockError::WouldBlock) => {
            Err(LayoutError::Taken { dir: path.parent().unwrap_or(path).to_path_buf() })
        }
        Err(TryLockError::Error(error)) => Err(at(path)(error)),
    }
}

/// Who the server runs as: nobody special unless we are root.
fn server_user(home: &Path) -> Option<ServerUser> {
    // SAFETY: plain system call.
    if unsafe { libc::geteuid() } != 0 {
        return None;
    }
    let owner_of_data = fs::read_dir(home).ok().and_then(|entries| {
        entries
            .flatten()
            .filter(|entry| entry.file_name().as_bytes().starts_with(b"data-"))
            .filter_map(|entry| fs::symlink_metadata(entry.path()).ok())
            .find(|metadata| metadata.is_dir() && metadata.uid() != 0)
            .map(|metadata| ServerUser { uid: metadata.uid(), gid: metadata.gid() })
    });
    Some(owner_of_data.or_else(|| SERVER_USERS.iter().find_map(|name| look_up(name))).unwrap_or(NOBODY))
}

fn look_up(name: &str) -> Option<ServerUser> {
    /// Longer than any sane line of `/etc/passwd`.
    const ENTRY_BYTES_MAX: usize = 16 * 1024;
    let name = CString::new(name).ok()?;
    let mut buffer = vec![0 as libc::c_char; ENTRY_BYTES_MAX];
    let mut found = std::ptr::null_mut();
    // SAFETY: all pointers are to live buffers of the stated lengths; `found` is null or points to `entry`.
    unsafe {
        let mut entry: libc::passwd = std::mem::zeroed();
        libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer.as_mut_ptr(), buffer.len(), &raw mut found);
        (!found.is_null() && entry.pw_uid != 0).then_some(ServerUser { uid: entry.pw_uid, gid: entry.pw_gid })
    }
}

fn can_run(program: &Path, dir: &Path, user: ServerUser) -> bool {
    let mut command = Command::new(program);
    confine(&mut command, Some(user), None);
    command.arg("--version").current_dir(dir);
    command.output().is_ok_and(|output| output.status.success())
}

fn give(path: &Path, user: Option<ServerUser>) -> Result<(), LayoutError> {
    match user {
        Some(user) => std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid)).map_err(at(path)),
        None => Ok(()),
    }
}

/// All or nothing, and never through a link that lies under the name.
fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), LayoutError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&new)(error)),
        _ => {}
    }
    let write = || {
        let mut file = File::options().create_new(true).write(true).mode(mode).open(&new)?;
        // The mask may have taken the server's right to read.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(at(path))
}

/// The socket's directory: beside the data, or, when that path is too long or the server's list syntax cannot
/// hold it, a private one under a short path, named after the data so that every start finds the same.
fn socket_dir(
    home: &Path,
    runtime_dir: Option<&Path>,
    user: Option<ServerUser>,
) -> Result<PathBuf, LayoutError> {
    let beside = home.join("run");
    if socket_fits(&beside) {
        ensure_dir(&beside, 0o700)?;
        give(&beside, user)?;
        return Ok(beside);
    }
    let digest = hex::encode(Sha256::digest(home.as_os_str().as_bytes()));
    let dir = runtime_dir.unwrap_or(Path::new(SHORT_RUNTIME_DIR)).join(format!("opg-{}", &digest[..16]));
    if !socket_fits(&dir) {
        return Err(LayoutError::SocketPathTooLong { dir });
    }
    ensure_dir(&dir, 0o700)?;
    // The place may be shared: what was there before us must be a directory that only we or our server can enter.
    let metadata = fs::symlink_metadata(&dir).map_err(at(&dir))?;
    // SAFETY: plain system call.
    let us = unsafe { libc::geteuid() };
    let owned = metadata.uid() == us || user.is_some_and(|user| user.uid == metadata.uid());
    if !metadata.is_dir() || !owned || metadata.mode() & 0o077 != 0 {
        return Err(LayoutError::SocketDirForeign { dir });
    }
    give(&dir, user)?;
    Ok(dir)
}

fn socket_fits(dir: &Path) -> bool {
    let Some(text) = dir.to_str() else { return false };
    let socket_bytes = text.len() + format!("/.s.PGSQL.{SOCKET_PORT}").len();
    socket_bytes <= SOCKET_PATH_BYTES_MAX && !text.contains([',', '"', '\'', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_of_107_bytes_fits_and_one_more_does_not() {
        let suffix = "/.s.PGSQL.5432".len();
        let longest = format!("/{}", "d".repeat(SOCKET_PATH_BYTES_MAX - suffix - 1));
        assert!(socket_fits(Path::new(&longest)));
        assert!(!socket_fits(Path::new(&format!("{longest}d"))));
        assert!(!socket_fits(Path::new("/with,comma")));
    }

    #[test]
    fn a_shared_directory_someone_else_prepared_is_refused() {
        let shared = tempfile::tempdir().unwrap();
        let home = Path::new("/").join("long".repeat(40));
        let dir = socket_dir(&home, Some(shared.path()), None).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(socket_dir(&home, Some(shared.path()), None).unwrap(), dir, "every start finds the same");

        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = socket_dir(&home, Some(shared.path()), None);
        assert!(matches!(refused, Err(LayoutError::SocketDirForeign { .. })), "{refused:?}");

        fs::remove_dir(&dir).unwrap();
        std::os::unix::fs::symlink(shared.path(), &dir).unwrap();
        let refused = socket_dir(&home, Some(shared.path()), None);
        assert!(matches!(refused, Err(LayoutError::SocketDirForeign { .. })), "{refused:?}");
    }

    #[test]
    fn a_file_is_replaced_and_a_link_under_its_name_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, file) = (dir.path().join("victim"), dir.path().join("file"));
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, &file).unwrap();
        write_whole(&file, "new", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    }
}
