//! Who is an operator, and what is sealed and hashed with. Which of the ways to a master key is taken is decided where
//! it is opened (`secrets`).

use super::{
    Config,
    reader::Reader,
    shown::{self, Line},
};
use secrecy::SecretString;
use std::path::PathBuf;

/// Shorter admin tokens are refused in production: 32 characters of base 62 are 190 bits.
const ADMIN_TOKEN_CHARS_MIN: usize = 32;
/// What other kinds of tokens begin with.
const OTHER_KINDS: [&str; 2] = ["ocs_", "opg_"];

pub(super) struct Keys {
    pub(super) admin_tokens: Vec<SecretString>,
    pub(super) master_key: Option<SecretString>,
    pub(super) master_key_alias: Option<SecretString>,
    pub(super) master_key_file: Option<PathBuf>,
    pub(super) token_pepper: Option<SecretString>,
}

impl Keys {
    pub(super) fn read(vars: &mut Reader, production: bool) -> Keys {
        Keys {
            admin_tokens: admin_tokens(vars, production),
            master_key: vars.secret("OPG_MASTER_KEY"),
            master_key_alias: vars.secret("OPENAGENT_MASTER_KEY"),
            master_key_file: vars.path("OPG_MASTER_KEY_FILE"),
            token_pepper: vars.secret("OPG_TOKEN_PEPPER"),
        }
    }
}

fn admin_tokens(vars: &mut Reader, production: bool) -> Vec<SecretString> {
    const NAME: &str = "ADMIN_TOKENS";
    let text = vars.get(NAME).unwrap_or_default();
    let tokens: Vec<_> = text.split(',').map(str::trim).filter(|token| !token.is_empty()).collect();
    if tokens.is_empty() {
        vars.wrong(
            NAME,
            "missing; set one or more tokens, comma-separated (`openssl rand -hex 32` makes one)",
        );
    }
    if production && tokens.iter().any(|token| token.chars().count() < ADMIN_TOKEN_CHARS_MIN) {
        vars.wrong(NAME, &format!("each needs at least {ADMIN_TOKEN_CHARS_MIN} characters in production"));
    }
    if tokens.iter().any(|token| OTHER_KINDS.iter().any(|kind| token.starts_with(kind))) {
        vars.wrong(NAME, "a token must not start with `ocs_` or `opg_`, which mark other kinds");
    }
    tokens.into_iter().map(SecretString::from).collect()
}

pub(super) fn describe(config: &Config) -> Vec<Line> {
    vec![
        ("ADMIN_TOKENS", format!("({} tokens)", config.admin_tokens.len())),
        ("OPG_MASTER_KEY", shown::secret(config.master_key.is_some())),
        ("OPG_MASTER_KEY_FILE", shown::path(config.master_key_file.as_deref())),
        ("OPG_TOKEN_PEPPER", shown::secret(config.token_pepper.is_some())),
    ]
}
