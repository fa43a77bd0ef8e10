//! Passwords: argon2id, off the threads that serve, a few at a time.
//!
//! A hash costs 19 MiB and tens of milliseconds on purpose, for us as for whoever guesses. So hashes have a place
//! of their own: [`PASSWORD_HASHES_AT_ONCE`] run, [`PASSWORD_HASHES_WAITING_MAX`] wait, and more are refused. One
//! that began keeps its place until it is done, also when nobody waits for it any more.

use crate::{
    app::Entropy,
    error::FieldError,
    limits::{
        PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, PASSWORD_HASH_MEMORY_KIB, PASSWORD_HASH_PASSES,
        PASSWORD_HASHES_AT_ONCE, PASSWORD_HASHES_WAITING_MAX,
    },
};
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier},
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::Semaphore;

/// Lanes: one thread for each hash.
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;

/// A hash of no password, made with the parameters in use: what is checked where there is none, so that an unknown
/// address takes as long as a wrong password.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// Too many wait.
    #[error("too many people are signing in right now; try again in a moment")]
    Busy,
    /// It could not be done.
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// Where passwords are hashed.
pub struct Passwords {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { places: Arc::new(Semaphore::new(PASSWORD_HASHES_AT_ONCE)), waiting: AtomicUsize::new(0) }
    }
}

/// One who waits, while it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Passwords {
    /// What is stored of a password.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn hash(&self, entropy: &Entropy, password: SecretString) -> Result<String, HashError> {
        let salt = entropy.bytes::<SALT_BYTES>();
        let hash = move || {
            let made = hasher()?.hash_password_with_salt(password.expose_secret().as_bytes(), &salt);
            made.map(|hash| hash.to_string()).map_err(|cause| HashError::Failed(cause.to_string()))
        };
        self.run(hash).await?
    }

    /// Whether this is the password that `stored` was made of. Takes as long where nothing is stored.
    ///
    /// # Errors
    /// [`HashError`]
    pub async fn verify(&self, password: SecretString, stored: Option<String>) -> Result<bool, HashError> {
        let verify = move || {
            let (there, hash) = (stored.is_some(), stored.as_deref().unwrap_or(DECOY));
            let fits = hasher()?.verify_password(password.expose_secret().as_bytes(), hash).is_ok();
            Ok(there & fits)
        };
        self.run(verify).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let place = {
            let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
            let _waiting = Waiting(&self.waiting);
            if ahead >= PASSWORD_HASHES_WAITING_MAX {
                return Err(HashError::Busy);
            }
            let place = self.places.clone().acquire_owned().await;
            place.map_err(|cause| HashError::Failed(cause.to_string()))?
        };
        let held = move || {
            let done = work();
            drop(place);
            done
        };
        tokio::task::spawn_blocking(held).await.map_err(|cause| HashError::Failed(cause.to_string()))
    }
}

fn hasher() -> Result<Argon2<'static>, HashError> {
    let params = Params::new(PASSWORD_HASH_MEMORY_KIB, PASSWORD_HASH_PASSES, LANES, None)
        .map_err(|cause| HashError::Failed(cause.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// What is wrong with a password somebody chose, at this field.
pub(super) fn check(pointer: &str, password: &SecretString) -> Option<FieldError> {
    let text = password.expose_secret();
    let fits = text.chars().count() >= PASSWORD_CHARS_MIN && text.len() <= PASSWORD_BYTES_MAX;
    (!fits).then(|| {
        FieldError::new(
            pointer,
            format!(
                "expected at least {PASSWORD_CHARS_MIN} characters and at most {PASSWORD_BYTES_MAX} bytes"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text.to_owned())
    }

    #[tokio::test]
    async fn m070_a_password_is_hashed_with_argon2id_and_only_itself_fits() {
        let passwords = Passwords::default();
        let entropy = Entropy::os();
        let stored = passwords.hash(&entropy, secret("correct horse")).await.unwrap();
        let parameters =
            format!("$argon2id$v=19$m={PASSWORD_HASH_MEMORY_KIB},t={PASSWORD_HASH_PASSES},p={LANES}$");
        assert!(stored.starts_with(&parameters) && DECOY.starts_with(&parameters), "{stored}");
        let again = passwords.hash(&entropy, secret("correct horse")).await.unwrap();
        assert_ne!(stored, again, "each has a salt of its own");
        for (password, fits) in [("correct horse", true), ("correct hors", false), ("", false)] {
            let verified = passwords.verify(secret(password), Some(stored.clone())).await.unwrap();
            assert_eq!(verified, fits, "{password}");
        }
        assert!(!passwords.verify(secret(""), None).await.unwrap(), "nothing fits where there is none");
        assert!(!passwords.verify(secret("x"), Some("not a hash".to_owned())).await.unwrap());
    }

    #[tokio::test]
    async fn m070_a_flood_of_hashes_is_refused_and_whoever_leaves_makes_room() {
        let passwords = Arc::new(Passwords::default());
        let all = passwords.places.clone().acquire_many_owned(PASSWORD_HASHES_AT_ONCE as u32).await.unwrap();
        let waiting: Vec<_> = (0..PASSWORD_HASHES_WAITING_MAX)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.verify(secret("x"), None).await })
            })
            .collect();
        while passwords.waiting.load(Ordering::Relaxed) < PASSWORD_HASHES_WAITING_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(matches!(passwords.verify(secret("x"), None).await, Err(HashError::Busy)));
        for task in &waiting {
            task.abort();
        }
        for task in waiting {
            assert!(task.await.unwrap_err().is_cancelled());
        }
        drop(all);
        assert!(!passwords.verify(secret("x"), None).await.unwrap(), "and there is room again");
    }
}
