//! The master keys, by version. The newest seals, all open.
//!
//! They come from one place: `OPG_MASTER_KEY`, `OPENAGENT_MASTER_KEY` or `OPG_MASTER_KEY_FILE`, as a single base64
//! or hex value (version 1) or a list `2:base64,1:base64`. Without any, and only in a data directory of our own,
//! one is made and kept in `master.key`. No message ever repeats a value.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Random;
use super::envelope::{KEY_BYTES, fresh_key};

const MASTER_KEY: &str = "OPG_MASTER_KEY";
const MASTER_KEY_ALIAS: &str = "OPENAGENT_MASTER_KEY";
const MASTER_KEY_FILE: &str = "OPG_MASTER_KEY_FILE";
/// The file we make ourselves.
const GENERATED_FILE: &str = "master.key";
/// A few dozen keys; a longer file is not a key file.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Where the master keys may come from; whoever reads the configuration fills it in.
#[derive(Debug, Default)]
pub struct KeySource {
    /// `OPG_MASTER_KEY`
    pub master_key: Option<SecretString>,
    /// `OPENAGENT_MASTER_KEY`
    pub master_key_alias: Option<SecretString>,
    /// `OPG_MASTER_KEY_FILE`
    pub file: Option<PathBuf>,
    /// Our own data directory, where a key may be made if none is configured. `None`: a missing key is an error.
    pub generate_in: Option<PathBuf>,
}

/// At least one master key.
pub struct Keyring {
    keys: BTreeMap<i32, Zeroizing<[u8; KEY_BYTES]>>,
    newest: i32,
}

impl Keyring {
    /// Reads the configured keys, or the generated one, which is made if it is not there yet.
    pub fn load(source: &KeySource, random: Random<'_>) -> Result<Self, KeyringError> {
        match (&source.master_key, &source.master_key_alias, &source.file) {
            (Some(value), None, None) => Self::parse(MASTER_KEY, value),
            (None, Some(value), None) => Self::parse(MASTER_KEY_ALIAS, value),
            (None, None, Some(file)) => Self::parse(MASTER_KEY_FILE, &read(MASTER_KEY_FILE, file)?),
            (None, None, None) => match &source.generate_in {
                Some(data_dir) => Self::load_generated(data_dir, random),
                None => Err(KeyringError::Missing),
            },
            _ => Err(KeyringError::Ambiguous),
        }
    }

    /// Reads a list of keys; `origin` names where it comes from in messages.
    pub fn parse(origin: &'static str, text: &SecretString) -> Result<Self, KeyringError> {
        let mut keys = BTreeMap::new();
        for (at, entry) in text.expose_secret().trim().split(',').enumerate() {
            let wrong = |reason| KeyringError::Malformed { origin, position: at + 1, reason };
            let (version, value) = match entry.trim().split_once(':') {
                Some((version, value)) => (parse_version(version.trim()).ok_or(wrong(BAD_VERSION))?, value),
                None => (1, entry),
            };
            let key = parse_key(value.trim()).map_err(wrong)?;
            if keys.insert(version, key).is_some() {
                return Err(wrong("its version is already taken by an entry before it"));
            }
        }
        match keys.last_key_value() {
            Some((&newest, _)) => Ok(Self { keys, newest }),
            None => Err(KeyringError::Missing),
        }
    }

    /// The version that seals.
    pub fn newest_version(&self) -> i32 {
        self.newest
    }

    pub(super) fn newest(&self) -> (i32, &[u8; KEY_BYTES]) {
        (self.newest, &self.keys[&self.newest])
    }

    pub(super) fn find(&self, version: i32) -> Option<&[u8; KEY_BYTES]> {
        self.keys.get(&version).map(|key| &**key)
    }

    fn load_generated(data_dir: &Path, random: Random<'_>) -> Result<Self, KeyringError> {
        let file = data_dir.join(GENERATED_FILE);
        if !file.exists() {
            generate(data_dir, &file, random)?;
        }
        Self::parse(GENERATED_FILE, &read(GENERATED_FILE, &file)?)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    #[error(
        "no master key: set {MASTER_KEY} to 32 random bytes in base64 (openssl rand -base64 32), \
         or {MASTER_KEY_FILE} to a file that holds them"
    )]
    Missing,
    #[error("set only one of {MASTER_KEY}, {MASTER_KEY_ALIAS} and {MASTER_KEY_FILE}")]
    Ambiguous,
    #[error("{origin}: entry {position}: {reason}")]
    Malformed { origin: &'static str, position: usize, reason: &'static str },
    #[error("{origin}: cannot use {}: {source}", file.display())]
    File { origin: &'static str, file: PathBuf, source: io::Error },
    #[error("the operating system gave no randomness")]
    NoRandomness,
}

const BAD_VERSION: &str = "the version before the colon must be a number from 1 to 2147483647";

fn parse_version(text: &str) -> Option<i32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|version| digits && *version >= 1)
}

fn parse_key(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, &'static str> {
    let bytes = Zeroizing::new(decode(text).ok_or("the key is neither base64 nor hex")?);
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    if bytes.len() != KEY_BYTES {
        return Err("the key must be exactly 32 bytes (openssl rand -base64 32)");
    }
    if bytes.iter().all(|byte| *byte == bytes[0]) {
        return Err("the key is one byte repeated: use random bytes (openssl rand -base64 32)");
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}

/// Hex first: 64 hex digits are also base64, of the wrong length.
fn decode(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    if text.len() == 2 * KEY_BYTES
        && let Ok(bytes) = hex::decode(text)
    {
        return Some(bytes);
    }
    let alphabets = [&base64::alphabet::STANDARD, &base64::alphabet::URL_SAFE];
    alphabets.iter().find_map(|alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok())
}

fn read(origin: &'static str, file: &Path) -> Result<SecretString, KeyringError> {
    let read = || {
        let metadata = fs::metadata(file)?;
        if metadata.len() > KEY_FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large for a key file"));
        }
        if metadata.mode() & 0o007 != 0 {
            tracing::warn!(file = %file.display(), "every user of this machine can read the master key");
        }
        fs::read_to_string(file)
    };
    read().map(SecretString::from).map_err(|source| KeyringError::File {
        origin,
        file: file.to_path_buf(),
        source,
    })
}

/// Makes the key once: of two processes that start together, one wins and both read the winner's.
fn generate(data_dir: &Path, file: &Path, random: Random<'_>) -> Result<(), KeyringError> {
    let key = fresh_key(random).map_err(|_| KeyringError::NoRandomness)?;
    let text = Zeroizing::new(format!("1:{}\n", STANDARD.encode(key.as_slice())));
    let new = data_dir.join(format!("{GENERATED_FILE}.{}.new", std::process::id()));
    let write = || {
        fs::create_dir_all(data_dir)?;
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        // A link, not a rename: it fails when the name is taken.
        let linked = fs::hard_link(&new, file);
        fs::remove_file(&new)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => File::open(data_dir)?.sync_all(),
        }
    };
    write().map_err(|source| KeyringError::File { origin: GENERATED_FILE, file: file.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::envelope::Aad;

    const KEY_A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const KEY_A_HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const KEY_B: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA";
    const HERE: Aad<'static> = Aad { table: "t", row_id: b"r", field: "f", version: 1 };

    fn parse(text: &str) -> Result<Keyring, KeyringError> {
        Keyring::parse(MASTER_KEY, &SecretString::from(text))
    }

    #[test]
    fn single_values_are_version_1_whatever_their_spelling() {
        let sealed = parse(KEY_A).unwrap().seal(&HERE, b"x", &getrandom::fill).unwrap();
        assert_eq!(sealed.key_version, 1);
        for same in [KEY_A.trim_end_matches('=').to_owned(), KEY_A_HEX.to_owned(), format!("1:{KEY_A}\n")] {
            assert!(parse(&same).unwrap().open(&HERE, &sealed).is_ok());
        }
        assert!(parse(KEY_B).unwrap().open(&HERE, &sealed).is_err());
    }

    #[test]
    fn the_highest_version_is_the_newest_whatever_the_order() {
        assert_eq!(parse(&format!("2:{KEY_A}, 10:{KEY_B}")).unwrap().newest_version(), 10);
        assert_eq!(parse(&format!("10:{KEY_B},2:{KEY_A}")).unwrap().newest_version(), 10);
    }

    #[test]
    fn a_wrong_value_is_refused_by_name_and_never_repeated() {
        let repeated = format!("1:{KEY_A},1:{KEY_B}");
        for text in [
            "",
            "hunter2-is-not-a-key",
            "aHVudGVyMg==",
            "1:",
            ":",
            &format!("0:{KEY_A}"),
            &format!("-1:{KEY_A}"),
            &format!("+1:{KEY_A}"),
            &format!("2147483648:{KEY_A}"),
            &format!("hunter2:{KEY_A}"),
            &format!("{KEY_A},"),
            &format!("1:2:{KEY_A}"),
            &repeated,
            &KEY_A[..40],
            &KEY_A_HEX[..62],
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("accepted {text:?}"));
            for message in [error.to_string(), format!("{error:?}")] {
                assert!(message.contains(MASTER_KEY), "{message}");
                assert!(
                    !message.contains("hunter2") && !message.contains("AAEC") && !message.contains("aHVu"),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn two_sources_are_ambiguous_and_none_is_an_error() {
        let both = KeySource {
            master_key: Some(KEY_A.into()),
            master_key_alias: Some(KEY_A.into()),
            ..KeySource::default()
        };
        assert!(matches!(Keyring::load(&both, &getrandom::fill), Err(KeyringError::Ambiguous)));
        let none = Keyring::load(&KeySource::default(), &getrandom::fill);
        assert!(matches!(none, Err(KeyringError::Missing)));
        let alias = KeySource { master_key_alias: Some(KEY_A.into()), ..KeySource::default() };
        assert_eq!(Keyring::load(&alias, &getrandom::fill).unwrap().newest_version(), 1);
    }

    #[test]
    fn a_file_is_read_and_a_missing_one_is_an_error_not_a_new_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let source = KeySource {
            file: Some(file.clone()),
            generate_in: Some(dir.path().into()),
            ..KeySource::default()
        };
        let error = Keyring::load(&source, &getrandom::fill).unwrap_err();
        assert!(error.to_string().contains(MASTER_KEY_FILE), "{error}");
        fs::write(&file, format!("3:{KEY_A}\n")).unwrap();
        assert_eq!(Keyring::load(&source, &getrandom::fill).unwrap().newest_version(), 3);
        assert!(!dir.path().join(GENERATED_FILE).exists());
    }

    #[test]
    fn a_key_is_generated_once_for_our_eyes_only() {
        let dir = tempfile::tempdir().unwrap();
        let source = KeySource { generate_in: Some(dir.path().join("data")), ..KeySource::default() };
        let sealed =
            Keyring::load(&source, &getrandom::fill).unwrap().seal(&HERE, b"x", &getrandom::fill).unwrap();
        assert!(Keyring::load(&source, &getrandom::fill).unwrap().open(&HERE, &sealed).is_ok());
        let files: Vec<_> = fs::read_dir(dir.path().join("data")).unwrap().flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(files[0].metadata().unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn processes_that_start_together_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(GENERATED_FILE);
        fs::write(&file, format!("1:{KEY_A}\n")).unwrap();
        // The other process made it between our look and our link.
        generate(dir.path(), &file, &getrandom::fill).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("1:{KEY_A}\n"));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", parse(&format!("7:{KEY_A}")).unwrap()), "Keyring { .. }");
        let source = KeySource { master_key: Some(KEY_A.into()), ..KeySource::default() };
        assert!(!format!("{source:?}").contains("AAEC"));
    }
}
