//! `SMTP_URL` and `SMTP_FROM`.

use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::{Host, Url};

/// Where a server listens that is spoken to encrypted from the first byte (RFC 8314).
const TLS_PORT: u16 = 465;
/// Where one listens that takes letters from programs (RFC 6409).
const SUBMISSION_PORT: u16 = 587;

/// The mail server, and who letters are from.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub encryption: Encryption,
    /// Who signs in there, if anybody, and the password.
    pub login: Option<(String, SecretString)>,
    /// The sender: `OPG <opg@example.com>`, or an address alone.
    pub from: String,
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Encrypted from the first byte.
    Tls,
    /// Encrypted after a word in the clear; where the server does not offer it, no letter is sent.
    StartTls,
    /// In the clear.
    None,
}

/// Reads `smtps://user:password@host:port`, or `smtp://…`, which is encrypted as well unless `?tls=none` says
/// otherwise. That is for development, and for a server on this machine.
pub(crate) fn parse_url(text: &str, from: String, production: bool) -> Option<MailConfig> {
    let url = Url::parse(text).ok()?;
    let encryption = match (url.scheme(), url.query()) {
        ("smtps", None) => Encryption::Tls,
        ("smtp", None | Some("tls=required")) => Encryption::StartTls,
        ("smtp", Some("tls=none")) => Encryption::None,
        _ => return None,
    };
    let host = match url.host()? {
        // Of schemes it does not know, the parser takes addresses for names.
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    };
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if host.is_empty() || !["", "/"].contains(&url.path()) || url.fragment().is_some() {
        return None;
    }
    if encryption == Encryption::None && production && !is_here {
        return None;
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        ("", Some(_)) | (_, None) => return None,
        (user, Some(password)) => Some((decoded(user)?, SecretString::from(decoded(password)?))),
    };
    let port = url.port().unwrap_or(if encryption == Encryption::Tls { TLS_PORT } else { SUBMISSION_PORT });
    Some(MailConfig { host, port, encryption, login, from })
}

/// Whether letters can be from it.
pub(crate) fn is_sender(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn m071_a_mail_server_is_spoken_to_encrypted_unless_it_is_on_this_machine() {
        let read = |text: &str, production| parse_url(text, "a@b.example".to_owned(), production);
        let seen = |text: &str| {
            read(text, true)
                .map(|mail| (mail.host, mail.port, mail.encryption, mail.login.map(|(user, _)| user)))
        };
        let of = |host: &str, port, encryption, user: Option<&str>| {
            Some((host.to_owned(), port, encryption, user.map(str::to_owned)))
        };
        use Encryption::{None as Plain, StartTls, Tls};
        assert_eq!(seen("smtps://mail.example"), of("mail.example", 465, Tls, None));
        assert_eq!(seen("smtp://mail.example"), of("mail.example", 587, StartTls, None));
        assert_eq!(seen("smtp://a%40b:p@mail.example:25/"), of("mail.example", 25, StartTls, Some("a@b")));
        assert_eq!(seen("smtp://127.0.0.1:1025?tls=none"), of("127.0.0.1", 1025, Plain, None));
        assert_eq!(seen("smtp://[::1]:1025?tls=none"), of("::1", 1025, Plain, None));
        let login = read("smtps://u:p%2Fq%25@mail.example", true).unwrap().login.unwrap();
        assert_eq!(login.1.expose_secret(), "p/q%");
        assert_eq!(seen("smtp://mail.example?tls=none"), None, "in production");
        assert_eq!(read("smtp://mail.example?tls=none", false).unwrap().encryption, Plain);
        for wrong in [
            "mail.example",
            "mail.example:587",
            "https://mail.example",
            "smtp://",
            "smtp://user@mail.example",
            "smtp://:p@mail.example",
            "smtps://mail.example?tls=none",
            "smtp://mail.example?tls=opportunistic",
            "smtp://mail.example/path",
            "smtp://mail.example#x",
        ] {
            assert_eq!(seen(wrong), None, "{wrong}");
        }
        assert!(is_sender("OPG <opg@example.com>") && is_sender("opg@example.com"));
        assert!(!is_sender("OPG") && !is_sender("a@b.example\r\nBcc: c@d.example") && !is_sender(""));
    }
}
