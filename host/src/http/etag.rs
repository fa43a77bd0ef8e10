//! Entity tags: "change it only if it is still what I read" (row M051, RFC 9110 §13.1.1).

use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The strong tag of a resource as it is shown: another text, another tag.
pub fn entity_tag(shown: &Value) -> HeaderValue {
    let hash = hex::encode(&Sha256::digest(shown.to_string().as_bytes())[..16]);
    HeaderValue::from_str(&format!("\"{hash}\"")).expect("quoted hexadecimal digits are a header's value")
}

/// What `If-Match` asks of the resource before it is changed.
#[derive(Clone, Debug, Default)]
pub struct Precondition(Option<Vec<u8>>);

impl Precondition {
    /// That of a request; none where it has no `If-Match`.
    pub fn of(headers: &HeaderMap) -> Precondition {
        let given: Vec<&[u8]> = headers.get_all(header::IF_MATCH).iter().map(HeaderValue::as_bytes).collect();
        Precondition((!given.is_empty()).then(|| given.join(&b","[..])))
    }

    /// Whether it holds for the resource as it is shown now. A weak tag never matches.
    pub fn holds(&self, shown: &Value) -> bool {
        let Some(given) = &self.0 else { return true };
        let tag = entity_tag(shown);
        given
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|one| one == b"*" || one == tag.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn precondition(values: &[&str]) -> Precondition {
        let values = values.iter().map(|value| (header::IF_MATCH, HeaderValue::from_str(value).unwrap()));
        Precondition::of(&values.collect())
    }

    #[test]
    fn a_precondition_holds_for_what_was_read_and_nothing_else() {
        let (shown, other) = (json!({ "a": 1 }), json!({ "a": 2 }));
        let tag = entity_tag(&shown).to_str().unwrap().to_owned();
        assert!(precondition(&[]).holds(&shown));
        for good in [vec!["*"], vec![&tag], vec!["\"x\"", &tag], vec![&format!("\"x\" , {tag}")]] {
            assert!(precondition(&good).holds(&shown), "{good:?}");
        }
        assert!(!precondition(&[&tag]).holds(&other));
        for bad in [vec![""], vec!["\"x\""], vec![&format!("W/{tag}")], vec![tag.trim_matches('"')]] {
            assert!(!precondition(&bad).holds(&shown), "{bad:?}");
        }
    }
}
