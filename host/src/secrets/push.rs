//! Where a push may send a secret (row M284): to the hosts that whoever may write it named, and to none unless some
//! were. Whoever may use a session could else send any secret of its app anywhere.

use super::{PLACE, RevealError, is_name, store};
use crate::{app::App, egress::canonical, tenants::TenantTx};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// The port that goes without saying.
const HTTPS_PORT: u16 = 443;
/// What DNS allows for a name, and a port.
const PLACE_BYTES_MAX: usize = 253 + ":65535".len();

/// Where a canonical URL leads: its host, and its port where that is not the one of `https`.
pub(crate) fn place_of(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port_or_known_default()? {
        HTTPS_PORT => host.to_owned(),
        port => format!("{host}:{port}"),
    })
}

/// A place as an owner writes it, `git.example.com` or `git.example.com:8443`, in the form of [`place_of`]. One host each:
/// there are no patterns.
pub(super) fn read_place(text: &str) -> Option<String> {
    let is_part_of_a_url = |c: char| "/\\?#@%*".contains(c) || c.is_whitespace() || c.is_control();
    if text.len() > PLACE_BYTES_MAX || text.contains(is_part_of_a_url) {
        return None;
    }
    let url = Url::parse(&format!("https://{text}/")).ok()?;
    place_of(&canonical(&url).ok()?)
}

/// Whether the app has a secret of this name that may go to this place. One answer for all that it may not be.
///
/// # Errors
/// The database's.
pub(crate) async fn may_be_sent(tx: &mut TenantTx, name: &str, place: &str) -> sqlx::Result<bool> {
    Ok(is_name(name) && store::may_be_pushed(tx, name, place).await?)
}

/// Opens a secret for a push to this place. None: the app has no such secret, or it may not go there.
///
/// # Errors
/// As [`super::reveal`].
pub(crate) async fn reveal(
    app: &App,
    app_id: Uuid,
    name: &str,
    place: &str,
) -> Result<Option<SecretString>, RevealError> {
    let found = {
        let mut tx = app.service_tx().await?;
        store::find_pushed_envelope(&mut tx, app_id, name, place).await?
    };
    let Some((secret_id, sealed)) = found else { return Ok(None) };
    app.open_sealed(PLACE, secret_id, &sealed).map(Some).map_err(|_| RevealError::Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_host_in_one_form() {
        for (text, place) in [
            ("github.com", "github.com"),
            ("GitHub.com.", "github.com"),
            ("github.com:443", "github.com"),
            ("git.example.com:8443", "git.example.com:8443"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("localhost:80", "localhost:80"),
            ("0x7f.1:8080", "127.0.0.1:8080"),
            ("[::1]:3000", "[::1]:3000"),
        ] {
            assert_eq!(read_place(text).as_deref(), Some(place), "{text}");
            let url = Url::parse(&format!("https://{text}/a/b.git")).unwrap();
            assert_eq!(place_of(&canonical(&url).unwrap()).as_deref(), Some(place), "{text}");
        }
        for bad in [
            "",
            "*",
            "*.example.com",
            "https://github.com",
            "github.com/ann",
            "ann@github.com",
            "github.com:70000",
            "a b",
            "a\nb",
            "a?b",
            "a#b",
            "a\\b",
            "%67ithub.com",
            &"a".repeat(300),
        ] {
            assert_eq!(read_place(bad), None, "{bad}");
        }
        let http = |text| place_of(&Url::parse(text).unwrap());
        assert_eq!(http("http://localhost/x").as_deref(), Some("localhost:80"), "no place of `https`");
    }
}
