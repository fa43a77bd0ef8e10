//! Passkeys (row M072): signing in with a key that an authenticator keeps, by Web Authentication Level 3.
//!
//! - *A passkey belongs to one name of this server* (its relying party id), the host of `BASE_URL`; an authenticator
//!   offers it nowhere else, which is why it cannot be phished. On a developer's own machine the name is what the
//!   browser says. A bare address has no name, and no passkeys.
//! - *It says who it is*: signing in begins without an address, so there is nothing to ask after. The authenticator
//!   offers its person what it has for this name, and they prove to it that they are its owner (user verification).
//! - *What was begun stands in a row* with its challenge, under what the installation's pepper makes of a random value
//!   that the page was told, for [`PASSKEY_CEREMONY_LIFE`](crate::limits::PASSKEY_CEREMONY_LIFE). It goes with the
//!   first answer, whatever that is.
//! - *What an account had before its address was proved ends when it is* (`people::magic`), passkeys with the rest.
//!
//! - [`site`]: this server as authenticators know it. [`ceremony`]: making one, signing in with one. [`routes`].
//!
//! Deliberately absent: attestation (which make of authenticator it is), passkeys as a second factor after a password.

pub mod ceremony;
pub mod routes;
pub mod site;
