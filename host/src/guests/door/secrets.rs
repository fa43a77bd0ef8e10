//! `secrets.get`: a reference that `http.send` replaces at the boundary.
//!
//! The reference is plain text with the name in it, no capability: whoever
//! writes one by hand gains nothing, for the gate is asked again where the
//! value would go out.

use super::{Door, unavailable};
use crate::{grants::Reach, sandbox::door::DoorError, secrets};

const OPEN: &str = "{{secret:";
const CLOSE: &str = "}}";

pub(super) async fn reference(door: &Door, name: &str) -> Result<String, DoorError> {
    if !secrets::is_name(name) {
        return Err(DoorError::Invalid(
            "the name of a secret is capitals, digits and `_`, a capital first".into(),
        ));
    }
    door.permit(&Reach::SecretName(name))?;
    if !secrets::exists(&door.app, &door.grants, name).await.map_err(unavailable("reading a secret"))? {
        return Err(DoorError::Invalid(format!(
            "the secret `{name}` is not stored yet; store it with PUT /v1/tenant/secrets"
        )));
    }
    Ok(format!("{OPEN}{name}{CLOSE}"))
}

/// The names a text refers to, in order, each where it stands.
pub(super) fn references(text: &str) -> Vec<&str> {
    let mut names = vec![];
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(OPEN) {
        let Some((name, tail)) = after.split_once(CLOSE) else { break };
        if secrets::is_name(name) {
            names.push(name);
            rest = tail;
        } else {
            rest = after;
        }
    }
    names
}

/// The text a reference to `name` is.
pub(super) fn written(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_inside_text_and_nothing_else_is() {
        assert_eq!(references("Bearer {{secret:API_KEY}}"), ["API_KEY"]);
        assert_eq!(references("{{secret:A}}:{{secret:B}}"), ["A", "B"]);
        assert_eq!(references("{{secret:a}} {{secret:B"), Vec::<&str>::new());
        assert_eq!(references("{{secret:{{secret:A}}}}"), ["A"]);
    }
}
