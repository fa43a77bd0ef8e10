//! Requests: `[METHODS ]host[/path]`, such as `api.example.com` (any method, any path), `GET api.example.com`,
//! `GET,POST api.example.com/v1/*`.
//!
//! A path is compared segment by segment with the request's, and only where the request's can be read in one way:
//! one that a server could take for another (`//`, `;`, an encoded slash, dots in disguise) is opened by no pattern
//! with a path, whatever it says. `/v1/*` opens what is below `/v1/`, so neither `/v1` nor `/v10`; `/v1/x` opens
//! `/v1/x` alone. Case counts. The query is not looked at.

use super::host;
use crate::grants::HttpRequest;
use percent_encoding::percent_decode_str;
use std::{borrow::Cow, collections::BTreeSet, fmt};

/// Longer methods are no method anybody knows.
const METHOD_BYTES_MAX: usize = 20;
/// Methods of one target: HTTP has nine.
const METHODS_MAX: usize = 9;

/// What an `http` target means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpTarget<'a> {
    /// None: any.
    pub(crate) methods: Option<BTreeSet<&'a str>>,
    /// A pattern of hosts.
    pub(crate) host: &'a str,
    /// Of paths.
    pub(crate) path: PathPattern<'a>,
}

/// Which paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathPattern<'a> {
    /// Every one.
    Any,
    /// This one.
    Exactly(&'a str),
    /// Those that start with this, which ends with a slash.
    Below(&'a str),
}

impl<'a> HttpTarget<'a> {
    pub(crate) fn parse(target: &'a str) -> Option<HttpTarget<'a>> {
        let (methods, place) = match target.split_once(' ') {
            Some((methods, place)) => (Some(methods), place),
            None => (None, target),
        };
        let at = place.find('/').unwrap_or(place.len());
        let (host, path) = place.split_at(at);
        let methods = match methods {
            Some(methods) => Some(parse_methods(methods)?),
            None => None,
        };
        host::is_pattern(host).then_some(HttpTarget { methods, host, path: PathPattern::parse(path)? })
    }

    /// Whether it opens this request.
    pub(crate) fn opens(&self, request: &HttpRequest<'_>) -> bool {
        host::opens(self.host, &request.at) && self.opens_at_its_host(request)
    }

    /// Whether a grant that opens this request and nothing else would be within this.
    pub(crate) fn covers(&self, request: &HttpRequest<'_>) -> bool {
        (host::opens(self.host, &request.at) || host::is_within(&request.at.to_string(), self.host))
            && self.opens_at_its_host(request)
    }

    fn opens_at_its_host(&self, request: &HttpRequest<'_>) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(request.method))
            && self.path.opens(request.path)
    }

    pub(crate) fn is_within(&self, wide: &HttpTarget<'_>) -> bool {
        let methods_within = match (&self.methods, &wide.methods) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(narrow), Some(wide)) => narrow.is_subset(wide),
        };
        methods_within && host::is_within(self.host, wide.host) && self.path.is_within(wide.path)
    }
}

impl fmt::Display for HttpTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(methods) = &self.methods {
            let methods: Vec<_> = methods.iter().copied().collect();
            write!(f, "{} ", methods.join(","))?;
        }
        match self.path {
            PathPattern::Any => f.write_str(self.host),
            PathPattern::Exactly(path) => write!(f, "{}{path}", self.host),
            PathPattern::Below(path) => write!(f, "{}{path}*", self.host),
        }
    }
}

fn parse_methods(methods: &str) -> Option<BTreeSet<&str>> {
    let known: BTreeSet<_> = methods.split(',').collect();
    let is_method = |method: &&str| {
        (1..=METHOD_BYTES_MAX).contains(&method.len()) && method.bytes().all(|b| b.is_ascii_uppercase())
    };
    (known.len() <= METHODS_MAX && known.iter().all(is_method)).then_some(known)
}

impl<'a> PathPattern<'a> {
    fn parse(path: &'a str) -> Option<PathPattern<'a>> {
        let below = path.strip_suffix('*');
        match (path, below) {
            ("" | "/*", _) => Some(PathPattern::Any),
            (_, Some(below)) if below.ends_with('/') && is_written_plainly(below) => {
                Some(PathPattern::Below(below))
            }
            (_, None) if is_written_plainly(path) => Some(PathPattern::Exactly(path)),
            _ => None,
        }
    }

    fn opens(self, path: &str) -> bool {
        match self {
            PathPattern::Any => true,
            PathPattern::Exactly(only) => plain(path).is_some_and(|path| path == only),
            PathPattern::Below(prefix) => plain(path).is_some_and(|path| path.starts_with(prefix)),
        }
    }

    fn is_within(self, wide: PathPattern<'_>) -> bool {
        match (self, wide) {
            (_, PathPattern::Any) => true,
            (PathPattern::Exactly(narrow), PathPattern::Exactly(wide)) => narrow == wide,
            (PathPattern::Exactly(narrow) | PathPattern::Below(narrow), PathPattern::Below(wide)) => {
                narrow.starts_with(wide)
            }
            (PathPattern::Any, _) | (PathPattern::Below(_), PathPattern::Exactly(_)) => false,
        }
    }
}

/// Whether a pattern's path says what it means: nothing encoded, no empty segment, no dots to walk with.
fn is_written_plainly(path: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@/".contains(&b);
    path.bytes().all(is_plain) && plain(path).is_some_and(|same| same == path)
}

/// A path of a URL in the one way it can be read; none where a server may read it in another.
fn plain(path: &str) -> Option<Cow<'_, str>> {
    // Overlong and broken UTF-8 is how dots and slashes hide: then there is no text.
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let mut segments = decoded.strip_prefix('/')?.split('/').peekable();
    // One encoded slash more, and there is a segment more.
    if path.matches('/').count() != decoded.matches('/').count() {
        return None;
    }
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if !is_plain_segment(segment) || (segment.is_empty() && !is_last) {
            return None;
        }
    }
    Some(decoded)
}

fn is_plain_segment(segment: &str) -> bool {
    // Some servers drop blanks and dots at the end, and take these for a dot, a slash or a backslash.
    const LOOK_ALIKES: &[char] = &['\u{ff0e}', '\u{ff0f}', '\u{ff3c}', '\u{2024}', '\u{2044}', '\u{2215}'];
    let walks = !segment.is_empty() && segment.chars().all(|c| c == '.' || c.is_whitespace());
    !walks
        && !segment
            .chars()
            .any(|c| matches!(c, '\\' | ';' | '%') || c.is_control() || LOOK_ALIKES.contains(&c))
}
