//! Signing in with an account at another provider: GitHub and Google (row M073).
//!
//! The authorization code flow (RFC 6749) with PKCE (RFC 7636), and for Google OpenID Connect. What goes on with whom:
//!
//! - *A sign-in belongs to the browser it was begun in*, for [`OAUTH_SIGN_IN_LIFE`](crate::limits::OAUTH_SIGN_IN_LIFE).
//!   That one keeps a random value in a cookie. The `state`, the `nonce` and the PKCE verifier are each made of it with
//!   the installation's pepper: they are stored nowhere, and none of them tells another. A row under a fourth such hash
//!   says where to go on, and that nobody came back yet; it goes with the first who does. A cookie alone, sealed or
//!   not, could not say that it was used.
//! - *Each provider has a callback of its own*, so that what one says is never taken for another's word.
//! - *An account there is known by its provider and the id that never changes*, never by its address. One that nobody
//!   here has is linked to the account of its address, if the provider verified that; and where anybody may sign up it
//!   makes one. An address that is not verified is nobody's.
//! - *A verified address proves the account's here*, as a code by mail does (`people::magic`), with all that ends then:
//!   who signed up with somebody else's address keeps no way in.
//!
//! - [`config`]: what the operator sets. [`client`]: what is said to a provider. `github`, `google`: who it is, by
//!   their word. [`flow`]: beginning a sign-in, and finishing it.
//!
//! Deliberately absent: what else may be done with the provider's tokens (they are dropped), linking while signed in,
//! providers that the operator describes, discovery.

pub mod client;
pub mod config;
pub mod flow;
mod github;
mod google;

pub use self::{
    client::Oauth,
    config::{Provider, ProviderConfig},
};

/// Who somebody is, by a provider's word.
#[derive(Debug, PartialEq, Eq)]
struct Person {
    /// Their id there, which never changes.
    subject: String,
    /// Their address, where the provider verified it.
    email: Option<String>,
}

/// Whether this is an id that an account has somewhere.
fn is_subject(text: &str) -> bool {
    (1..=config::SUBJECT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}
