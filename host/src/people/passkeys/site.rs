//! This server, as browsers and authenticators know it.

use crate::{app::App, http::own_origin};
use http::HeaderMap;
use url::Url;
use webauthn_rs::{Webauthn, WebauthnBuilder};

/// What authenticators show as this server's name.
const NAME: &str = "OPG";

/// Why there are no passkeys here.
#[derive(Debug, thiserror::Error)]
pub enum NoSite {
    /// Which name is this server's nobody has said, and in production no browser is asked.
    #[error(
        "passkeys belong to this server's name, which it does not know; sign in another way, or have its operator set \
         BASE_URL"
    )]
    Unnamed,
    /// It has none.
    #[error(
        "passkeys belong to a server's name, and this one is reached by its address; open it by a name, such as \
         `localhost`, or have its operator set BASE_URL"
    )]
    Address,
}

/// A name of this server, and what its passkeys are checked with.
pub struct Site {
    /// The relying party id: the host.
    pub(super) rp_id: String,
    pub(super) webauthn: Webauthn,
}

impl Site {
    /// The one that a request came to.
    ///
    /// # Errors
    /// [`NoSite`]
    pub fn of(app: &App, headers: &HeaderMap) -> Result<Site, NoSite> {
        if app.config.is_production() && app.config.base_url.is_none() {
            return Err(NoSite::Unnamed);
        }
        Site::at(&own_origin(app, headers))
    }

    fn at(origin: &str) -> Result<Site, NoSite> {
        let origin = Url::parse(origin).map_err(|_| NoSite::Address)?;
        let rp_id = origin.domain().ok_or(NoSite::Address)?.to_owned();
        let builder = WebauthnBuilder::new(&rp_id, &origin).map_err(|_| NoSite::Address)?;
        let webauthn = builder.rp_name(NAME).build().map_err(|_| NoSite::Address)?;
        Ok(Site { rp_id, webauthn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m072_a_passkey_belongs_to_a_name_and_an_address_is_none() {
        for (origin, rp_id) in [
            ("https://opg.example.com", "opg.example.com"),
            ("https://opg.example.com:8443", "opg.example.com"),
            ("http://localhost:8080", "localhost"),
        ] {
            assert_eq!(Site::at(origin).ok().unwrap().rp_id, rp_id, "{origin}");
        }
        for origin in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://2130706433", "http://", "opg"] {
            assert!(Site::at(origin).is_err(), "{origin}");
        }
    }
}
