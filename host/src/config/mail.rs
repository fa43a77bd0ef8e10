//! The mail server, and who letters are from. What is wrong with the server's URL is not said: a password may be in it.

use super::{
    reader::Reader,
    shown::{self, Line},
};
use crate::mail::{self, MailConfig};

pub(super) fn read(vars: &mut Reader, production: bool) -> Option<MailConfig> {
    let (url, from) = (vars.get("SMTP_URL"), vars.get("SMTP_FROM"));
    let from = from.map(|from| from.trim().to_owned());
    if from.as_deref().is_some_and(|from| !mail::is_sender(from)) {
        vars.wrong("SMTP_FROM", "expected an address, or `Name <address>`");
        return None;
    }
    let (url, from) = match (url, from) {
        (Some(url), Some(from)) => (url, from),
        (Some(_), None) => {
            vars.wrong("SMTP_FROM", "missing; SMTP_URL needs it");
            return None;
        }
        // A sender without a server sends nothing.
        (None, _) => return None,
    };
    let config = mail::parse_url(url.trim(), from, production);
    if config.is_none() {
        let text = "expected smtps://user:password@host:port or smtp://user:password@host:port, both encrypted; \
                    `?tls=none` after the second is for development and this machine";
        vars.wrong("SMTP_URL", text);
    }
    config
}

pub(super) fn describe(mail: Option<&MailConfig>) -> Vec<Line> {
    vec![
        ("SMTP_URL", shown::secret(mail.is_some())),
        ("SMTP_FROM", shown::value(mail.map(|mail| &mail.from))),
    ]
}
