//! How people come in: whether anyone may sign up, by mail, and with accounts they have elsewhere.

use super::{
    Config, accounts, mail,
    reader::{self, Reader},
    shown::Line,
};
use crate::{mail::MailConfig, people::oauth::ProviderConfig};

pub(super) struct People {
    pub(super) allow_self_registration: bool,
    pub(super) mail: Option<MailConfig>,
    pub(super) base_url: Option<String>,
    pub(super) oauth: Vec<ProviderConfig>,
}

impl People {
    pub(super) fn read(vars: &mut Reader, production: bool) -> People {
        People {
            allow_self_registration: vars.flag("ALLOW_SELF_REGISTRATION", false),
            mail: mail::read(vars, production),
            base_url: base_url(vars, production),
            oauth: accounts::read(vars, production),
        }
    }
}

/// How browsers reach us: a scheme, a host and a port.
fn base_url(vars: &mut Reader, production: bool) -> Option<String> {
    let url = reader::server(&vars.get("BASE_URL")?, production).filter(|url| url.path() == "/");
    if url.is_none() {
        let text = "expected a scheme and a host, such as https://opg.example.com; `http` is for development \
                    and this machine";
        vars.wrong("BASE_URL", text);
    }
    url.map(|url| url.origin().ascii_serialization())
}

pub(super) fn describe(config: &Config) -> Vec<Line> {
    let base_url = config.base_url.clone().unwrap_or_else(|| "(as browsers say)".to_owned());
    [
        vec![("ALLOW_SELF_REGISTRATION", config.allow_self_registration.to_string())],
        mail::describe(config.mail.as_ref()),
        vec![("BASE_URL", base_url)],
        accounts::describe(&config.oauth),
    ]
    .concat()
}
