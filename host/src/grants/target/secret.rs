//! Secrets: `NAME@host[ place]`. Without a place: any header of requests to that host. Places: `header:authorization`
//! (that one), `query:key` (the value of that parameter), `body` (a text body). `query` and `body` are never implied.

use super::host;
use crate::grants::{HostPort, Place};
use std::fmt;

/// What a `secret` target means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SecretTarget<'a> {
    pub(crate) name: &'a str,
    /// A pattern of hosts, never `*` alone.
    pub(crate) host: &'a str,
    pub(crate) place: Placement<'a>,
}

/// Where it may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement<'a> {
    AnyHeader,
    Header(&'a str),
    Query(&'a str),
    Body,
}

impl<'a> SecretTarget<'a> {
    pub(crate) fn parse(target: &'a str) -> Option<SecretTarget<'a>> {
        let (name, rest) = target.split_once('@')?;
        let (host, place) = match rest.split_once(' ') {
            Some((host, place)) => (host, Placement::parse(place)?),
            None => (rest, Placement::AnyHeader),
        };
        let ok = crate::secrets::is_name(name) && host::is_pattern(host) && host != "*";
        ok.then_some(SecretTarget { name, host, place })
    }

    /// Whether it lets this secret into this place of a request to this host.
    pub(crate) fn opens(&self, name: &str, at: &HostPort<'_>, place: &Place<'_>) -> bool {
        self.may_go_to(name, at) && self.place.opens(place)
    }

    /// Whether it lets this secret go to this host, in whatever place.
    pub(crate) fn may_go_to(&self, name: &str, at: &HostPort<'_>) -> bool {
        self.name == name && host::opens(self.host, at)
    }

    /// Whether a grant that opens this and nothing else would be within this.
    pub(crate) fn covers(&self, name: &str, at: &HostPort<'_>, place: Option<&Place<'_>>) -> bool {
        self.name == name
            && (host::opens(self.host, at) || host::is_within(&at.to_string(), self.host))
            && place.is_none_or(|place| self.place.opens(place))
    }

    pub(crate) fn is_within(&self, wide: &SecretTarget<'_>) -> bool {
        self.name == wide.name
            && host::is_within(self.host, wide.host)
            && (self.place == wide.place
                || matches!((self.place, wide.place), (Placement::Header(_), Placement::AnyHeader)))
    }
}

impl<'a> Placement<'a> {
    fn parse(place: &'a str) -> Option<Placement<'a>> {
        /// As long as any header anybody uses.
        const HEADER_BYTES_MAX: usize = 64;
        const PARAMETER_BYTES_MAX: usize = 64;
        let is_token = |text: &str, more: &[u8]| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        match place.split_once(':') {
            Some(("header", name))
                if name.len() <= HEADER_BYTES_MAX
                    && is_token(name, b"-_")
                    && !name.bytes().any(|b| b.is_ascii_uppercase()) =>
            {
                Some(Placement::Header(name))
            }
            Some(("query", name)) if name.len() <= PARAMETER_BYTES_MAX && is_token(name, b"-_.~[]$") => {
                Some(Placement::Query(name))
            }
            None if place == "body" => Some(Placement::Body),
            _ => None,
        }
    }

    fn opens(self, place: &Place<'_>) -> bool {
        match (self, place) {
            (Placement::AnyHeader, Place::Header(_)) | (Placement::Body, Place::Body) => true,
            (Placement::Header(only), Place::Header(name)) => only == *name,
            (Placement::Query(only), Place::Query(name)) => only == *name,
            _ => false,
        }
    }
}

impl fmt::Display for SecretTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.host)?;
        match self.place {
            Placement::AnyHeader => Ok(()),
            Placement::Header(name) => write!(f, " header:{name}"),
            Placement::Query(name) => write!(f, " query:{name}"),
            Placement::Body => f.write_str(" body"),
        }
    }
}
