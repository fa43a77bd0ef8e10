//! Entity tags: "change it only if it is still what I read" and "make it only if it is not there" (row M051, RFC 9110
//! §13.1.1 and §13.1.2).

use crate::error::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The strong tag of a resource as it is shown: another text, another tag.
pub fn entity_tag(shown: &Value) -> HeaderValue {
    let hash = hex::encode(&Sha256::digest(shown.to_string().as_bytes())[..16]);
    tag(&hash)
}

/// A strong tag of this text.
pub fn tag(text: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{text}\"")).expect("tags are made of plain text")
}

/// What a request asks of the resource before it is changed.
#[derive(Clone, Debug, Default)]
pub struct Precondition {
    /// `If-Match`
    only: Option<Vec<u8>>,
    /// `If-None-Match`
    not: Option<Vec<u8>>,
}

/// Why a resource is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// It is not what was read.
    #[error("it was changed since it was read; read it again and repeat the change")]
    Changed,
    /// It is there.
    #[error("it is there already, and `If-None-Match` says that it must not be; nothing was changed")]
    There,
}

impl Precondition {
    /// That of a request; none where it has neither header.
    pub fn of(headers: &HeaderMap) -> Precondition {
        let given = |name: HeaderName| {
            let given: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            (!given.is_empty()).then(|| given.join(&b","[..]))
        };
        Precondition { only: given(header::IF_MATCH), not: given(header::IF_NONE_MATCH) }
    }

    /// Whether nothing is asked.
    pub fn is_none(&self) -> bool {
        self.only.is_none() && self.not.is_none()
    }

    /// Whether it holds for a resource with these tags, one for each way it is shown; none: it is not there.
    ///
    /// # Errors
    /// [`Failed`]
    pub fn check(&self, tags: &[HeaderValue]) -> Result<(), Failed> {
        let is_named = |given: &[u8], is: fn(&[u8], &[u8]) -> bool| {
            let mut given = given.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            !tags.is_empty() && given.any(|one| one == b"*" || tags.iter().any(|tag| is(one, tag.as_bytes())))
        };
        if self.only.as_deref().is_some_and(|given| !is_named(given, is_strongly)) {
            return Err(Failed::Changed);
        }
        match self.not.as_deref().is_some_and(|given| is_named(given, is_weakly)) {
            true => Err(Failed::There),
            false => Ok(()),
        }
    }
}

fn is_strongly(given: &[u8], tag: &[u8]) -> bool {
    given == tag
}

fn is_weakly(given: &[u8], tag: &[u8]) -> bool {
    given.strip_prefix(b"W/").unwrap_or(given) == tag
}

impl From<Failed> for ApiError {
    fn from(failed: Failed) -> ApiError {
        let code = match failed {
            Failed::Changed => "stale",
            Failed::There => "precondition_failed",
        };
        ApiError::new(StatusCode::PRECONDITION_FAILED, code, failed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(name: HeaderName, values: &[&str], tags: &[HeaderValue]) -> Result<(), Failed> {
        let values = values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap()));
        Precondition::of(&values.collect()).check(tags)
    }

    #[test]
    fn a_precondition_holds_for_what_was_read_and_nothing_else() {
        let (shown, other) = ([entity_tag(&json!({ "a": 1 }))], [entity_tag(&json!({ "a": 2 }))]);
        let tag = shown[0].to_str().unwrap().to_owned();
        let check = |values: &[&str], tags: &[HeaderValue]| check(header::IF_MATCH, values, tags);
        assert_eq!((check(&[], &shown), check(&[], &[])), (Ok(()), Ok(())));
        for good in [vec!["*"], vec![&tag], vec!["\"x\"", &tag], vec![&format!("\"x\" , {tag}")]] {
            assert_eq!(check(&good, &shown), Ok(()), "{good:?}");
            assert_eq!(
                check(&good, &[other[0].clone(), shown[0].clone()]),
                Ok(()),
                "{good:?}, shown in two ways"
            );
            assert_eq!(check(&good, &[]), Err(Failed::Changed), "{good:?}: what is not there was not read");
        }
        assert_eq!(check(&[&tag], &other), Err(Failed::Changed));
        for bad in [vec![""], vec!["\"x\""], vec![&format!("W/{tag}")], vec![tag.trim_matches('"')]] {
            assert_eq!(check(&bad, &shown), Err(Failed::Changed), "{bad:?}");
        }
    }

    #[test]
    fn a_precondition_that_something_is_not_there_holds_for_what_is_not() {
        let shown = [entity_tag(&json!({ "a": 1 }))];
        let tag = shown[0].to_str().unwrap().to_owned();
        let check = |values: &[&str], tags: &[HeaderValue]| check(header::IF_NONE_MATCH, values, tags);
        for bad in [vec!["*"], vec![&tag], vec!["\"x\"", &tag], vec![&format!("W/{tag}")]] {
            assert_eq!(check(&bad, &shown), Err(Failed::There), "{bad:?}");
            assert_eq!(check(&bad, &[]), Ok(()), "{bad:?}");
        }
        assert_eq!((check(&["\"x\""], &shown), check(&[""], &shown)), (Ok(()), Ok(())));
    }
}
