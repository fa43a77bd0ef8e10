//! `traceparent`, version 00 of <https://www.w3.org/TR/trace-context/>.

use crate::app::Entropy;
use http::{HeaderMap, HeaderName};
use std::fmt;

/// The header.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The bit of the flags that says that somebody keeps the trace.
const SAMPLED: u8 = 1;
/// Version, trace, parent and flags in hexadecimal, with three hyphens.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// Which trace something belongs to, and what in it led to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) sampled: bool,
}

impl TraceContext {
    /// What a request says; none where it says nothing, or nothing that is understood, or twice.
    pub fn of(headers: &HeaderMap) -> Option<TraceContext> {
        let mut said = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (said.next(), said.next()) else { return None };
        TraceContext::parse(value.to_str().ok()?)
    }

    /// Reads the header's value. A later version begins as this one, and may go on.
    pub fn parse(text: &str) -> Option<TraceContext> {
        let bytes = text.as_bytes();
        let (known, rest) = bytes.split_at_checked(LENGTH)?;
        let version = digits::<1>(&known[..2])?[0];
        let fits = match version {
            0xff => false,
            0 => rest.is_empty(),
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        let hyphens = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let (trace_id, span_id) = (digits(&known[3..35])?, digits(&known[36..52])?);
        let flags = digits::<1>(&known[53..])?[0];
        let said = fits && hyphens && trace_id != [0; 16] && span_id != [0; 8];
        said.then_some(TraceContext { trace_id, span_id, sampled: flags & SAMPLED != 0 })
    }

    /// What follows from `parent` in its trace; without one, the beginning of a trace that is kept.
    pub(super) fn next(parent: Option<TraceContext>, entropy: &Entropy) -> TraceContext {
        let mut span_id = entropy.bytes::<8>();
        // All zeros mean none.
        span_id[7] |= 1;
        match parent {
            Some(parent) => TraceContext { span_id, ..parent },
            None => {
                let mut trace_id = entropy.bytes::<16>();
                trace_id[15] |= 1;
                TraceContext { trace_id, span_id, sampled: true }
            }
        }
    }
}

/// Lower-case hexadecimal digits.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let fine = text.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    (fine && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// The header's value.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{}-{}-{flags:02x}", hex::encode(self.trace_id), hex::encode(self.span_id))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn m343_a_traceparent_is_read_as_w3c_writes_it_and_nothing_else_is_one() {
        for (text, again) in [
            (GOOD, GOOD),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            ),
            // Flags nobody knows yet are not passed on.
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", GOOD),
            // A later version.
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", GOOD),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes", GOOD),
        ] {
            assert_eq!(TraceContext::parse(text).unwrap().to_string(), again, "{text}");
        }
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c8031ö-b7ad6b7169203331-01x",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(TraceContext::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(TraceContext::of(&headers), None, "two are none");
    }

    #[test]
    fn what_follows_is_in_the_same_trace_and_is_something_else() {
        let entropy = Entropy::repeatable(7);
        let parent = TraceContext::parse(GOOD);
        let next = TraceContext::next(parent, &entropy);
        assert_eq!(Some(next.trace_id), parent.map(|parent| parent.trace_id));
        assert_ne!(Some(next.span_id), parent.map(|parent| parent.span_id));
        let first = TraceContext::next(None, &entropy);
        assert_ne!(first.trace_id, next.trace_id);
        assert!(first.sampled);
        assert_eq!(TraceContext::parse(&first.to_string()), Some(first));
    }
}
