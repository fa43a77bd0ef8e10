//! Reading variables: what is wrong with one is written down, and the next is read.

use secrecy::SecretString;
use std::{collections::BTreeMap, path::PathBuf, str::FromStr, time::Duration};
use url::Url;

/// The variables, and what was wrong with those that were read.
pub(super) struct Reader {
    vars: BTreeMap<String, String>,
    pub(super) errors: Vec<String>,
}

impl Reader {
    pub(super) fn new(vars: impl IntoIterator<Item = (String, String)>) -> Reader {
        Reader { vars: vars.into_iter().filter(|(_, value)| !is_unset(value)).collect(), errors: vec![] }
    }

    /// Writes down what is wrong with a variable.
    pub(super) fn wrong(&mut self, name: &str, what: &str) {
        self.errors.push(format!("{name}: {what}"));
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        let with_prefix = format!("OPG_{name}");
        self.vars.get(&with_prefix).or_else(|| self.vars.get(name)).cloned()
    }

    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        self.get(name).map(SecretString::from)
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// A secret that must be there: in the variable, or in the file that the variable with `_FILE` after it names.
    pub(super) fn needed_secret(&mut self, name: &str, needed_by: &str) -> Option<SecretString> {
        let in_file = format!("{name}_FILE");
        let read = match (self.get(name), self.get(&in_file)) {
            (Some(value), None) => Ok(value),
            (None, Some(path)) => std::fs::read_to_string(&path)
                .map_err(|cause| format!("{in_file}: cannot be read: {cause}"))
                .map(|text| text.trim().to_owned())
                .and_then(
                    |text| if text.is_empty() { Err(format!("{in_file}: is empty")) } else { Ok(text) },
                ),
            (Some(_), Some(_)) => Err(format!("{name}: set this or {in_file}, not both")),
            (None, None) => Err(format!("{name}: missing; {needed_by} needs it, or {in_file}")),
        };
        read.map(|text| SecretString::from(text.trim().to_owned()))
            .map_err(|error| self.errors.push(error))
            .ok()
    }

    /// A value of any kind. What is wrong is said with the value: not for what may be secret.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        default: T,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.get(name) else { return default };
        parse(text.trim()).unwrap_or_else(|| {
            self.wrong(name, &format!("expected {expected}, got `{text}`"));
            default
        })
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        self.parsed(name, default, "true or false", |v| match v.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// A number of something; none of it is refused.
    pub(super) fn above_zero<T>(&mut self, name: &str, default: T, expected: &str) -> T
    where
        T: FromStr + Default + PartialOrd,
    {
        self.parsed(name, default, expected, |v| v.parse().ok().filter(|n| *n > T::default()))
    }

    /// How long something lives ([`parse_ttl`]).
    pub(super) fn ttl(&mut self, name: &str, default: Duration, such_as: &str) -> Duration {
        let expected = format!("a number and `m`, `h` or `d`, such as {such_as}");
        self.parsed(name, default, &expected, parse_ttl)
    }

    /// The URL of a server of somebody's ([`server`]). It is not said where it is wrong: a key may be in it.
    pub(super) fn server(&mut self, name: &str, such_as: &str, production: bool) -> Option<Url> {
        let url = server(&self.get(name)?, production);
        if url.is_none() {
            let here = "`http` is for development and this machine";
            self.wrong(name, &format!("expected a URL such as {such_as}; {here}"));
        }
        url
    }
}

/// Empty, or a literal `${NAME}` that some launcher did not fill in (row M032).
fn is_unset(value: &str) -> bool {
    value.trim().is_empty() || (value.starts_with("${") && value.ends_with('}'))
}

/// A server's URL, with nothing secret in it: encrypted, or in development, or on this machine.
pub(super) fn server(text: &str, production: bool) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_here = match url.host()? {
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
        url::Host::Domain(name) => name == "localhost",
    };
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && (!production || is_here));
    (is_bare && is_safe && url.fragment().is_none()).then_some(url)
}

/// `30m`, `24h`, `7d` (row M247). Zero, other units and bare numbers are refused.
fn parse_ttl(text: &str) -> Option<Duration> {
    let unit_s = match text.chars().last()? {
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let count: u64 =
        if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok()? } else { return None };
    (count > 0)
        .then(|| count.checked_mul(unit_s))?
        .filter(|s| *s <= 366 * 24 * 60 * 60)
        .map(Duration::from_secs)
}
