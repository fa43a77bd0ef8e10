//! Secrets of an app: values that go in, and reach the outside only at the
//! boundary, for a host they were granted for.
//!
//! Every value is an envelope ([`envelope`]): a random data key seals it, a
//! master key ([`keyring`]) seals the data key. A tenant's transaction can
//! write one and see that it is there; only the service role reads one.
//! What comes back is searched for the values that went out ([`scan`]).
//! A push of a session's files sends one only where its owner said so (`push`).
//! Deliberately absent: a way to read a value back.

pub mod envelope;
pub mod keyring;
pub(crate) mod push;
pub mod rotate;
pub mod routes;
pub mod scan;
mod store;
pub mod write;

pub(crate) use store::Envelope;

use crate::app::App;
use envelope::{Aad, OpenError, SealError, Sealed};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Where random bytes come from: `&getrandom::fill`, or a test's own.
pub type Random<'a> = &'a dyn Fn(&mut [u8]) -> Result<(), getrandom::Error>;

/// Prefix of names that are ours.
pub const RESERVED_PREFIX: &str = "OPG_";

/// Whether this may name a secret: `^[A-Z][A-Z0-9_]*$`, 64 at the most.
pub fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

const REFERENCE_OPEN: &str = "{{secret:";
const REFERENCE_CLOSE: &str = "}}";

/// What stands for the secret of this name in what a guest sends and sees.
///
/// Plain text with the name in it, no capability: whoever writes one by hand gains nothing, for the gate is asked
/// where the value would go out.
pub fn reference(name: &str) -> String {
    format!("{REFERENCE_OPEN}{name}{REFERENCE_CLOSE}")
}

/// The names a text refers to, in order, each where it stands.
pub fn references(text: &str) -> Vec<&str> {
    let mut names = vec![];
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(REFERENCE_OPEN) {
        let Some((name, tail)) = after.split_once(REFERENCE_CLOSE) else { break };
        if is_name(name) {
            names.push(name);
            rest = tail;
        } else {
            rest = after;
        }
    }
    names
}

/// Opens a secret, for the boundary alone. None: the app has no such secret.
///
/// # Errors
/// The database's, or the envelope's.
pub(crate) async fn reveal(app: &App, app_id: Uuid, name: &str) -> Result<Option<SecretString>, RevealError> {
    let found = {
        let mut tx = app.service_tx().await?;
        store::find_envelope(&mut tx, app_id, name).await?
    };
    let Some((secret_id, sealed)) = found else { return Ok(None) };
    app.open_sealed(PLACE, secret_id, &sealed).map(Some).map_err(|_| RevealError::Sealed)
}

/// Opens those of these secrets that the app has, to know their values where they turn up.
///
/// # Errors
/// As [`reveal`].
pub(crate) async fn reveal_all(app: &App, app_id: Uuid, names: &[&str]) -> Result<scan::Values, RevealError> {
    let found = {
        let mut tx = app.service_tx().await?;
        store::find_envelopes(&mut tx, app_id, names).await?
    };
    let open = |(name, secret_id, sealed): (String, Uuid, Sealed)| {
        let value = app.open_sealed(PLACE, secret_id, &sealed).map_err(|_| RevealError::Sealed)?;
        Ok((name, value))
    };
    found.into_iter().map(open).collect()
}

/// Whether the app has a secret of this name.
///
/// # Errors
/// The database's.
pub(crate) async fn exists(app: &App, proof: &impl crate::grants::InApp, name: &str) -> sqlx::Result<bool> {
    let mut tx = app.tenant_tx(proof).await?;
    store::exists(&mut tx, name).await
}

/// Why a secret could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevealError {
    /// No master key opens it.
    #[error("the secret cannot be opened with the master keys of this host")]
    Sealed,
    /// The database.
    #[error("the secret could not be read")]
    Db(#[from] sqlx::Error),
}

const PLACE: Place = Place { table: "secrets", key: "secret_id", field: "encrypted_value" };

/// The column an envelope belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Its table.
    pub(crate) table: &'static str,
    /// The table's key.
    pub(crate) key: &'static str,
    /// Its column.
    pub(crate) field: &'static str,
}

impl Place {
    fn of(self, row_id: &Uuid) -> Aad<'_> {
        Aad { table: self.table, row_id: row_id.as_bytes(), field: self.field, version: 1 }
    }
}

impl App {
    /// Seals a text for one row.
    ///
    /// # Errors
    /// None in practice: where there is no randomness or far too much text.
    pub(crate) fn seal(&self, place: Place, row_id: Uuid, text: &SecretString) -> Result<Sealed, SealError> {
        self.seal_bytes(place, row_id, text.expose_secret().as_bytes())
    }

    /// Seals what may be no text for one row.
    ///
    /// # Errors
    /// As [`App::seal`].
    pub(crate) fn seal_bytes(&self, place: Place, row_id: Uuid, bytes: &[u8]) -> Result<Sealed, SealError> {
        let random = |buffer: &mut [u8]| {
            self.entropy.fill(buffer);
            Ok(())
        };
        self.keyring.seal(&place.of(&row_id), bytes, &random)
    }

    /// Opens what was sealed for that row.
    ///
    /// # Errors
    /// Where no master key opens it.
    pub(crate) fn open_sealed(
        &self,
        place: Place,
        row_id: Uuid,
        sealed: &Sealed,
    ) -> Result<SecretString, OpenError> {
        let bytes = self.open_sealed_bytes(place, row_id, sealed)?;
        Ok(SecretString::from(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Opens what was sealed for that row and may be no text.
    ///
    /// # Errors
    /// As [`App::open_sealed`].
    pub(crate) fn open_sealed_bytes(
        &self,
        place: Place,
        row_id: Uuid,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.keyring.open(&place.of(&row_id), sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_inside_text_and_nothing_else_is() {
        assert_eq!(references("Bearer {{secret:API_KEY}}"), ["API_KEY"]);
        assert_eq!(references("{{secret:A}}:{{secret:B}}"), ["A", "B"]);
        assert_eq!(references("{{secret:a}} {{secret:B"), Vec::<&str>::new());
        assert_eq!(references("{{secret:{{secret:A}}}}"), ["A"]);
    }
}
