//! How values are shown to an operator: no secret is.

use std::{path::Path, time::Duration};

/// A variable's name, and what is in effect.
pub(super) type Line = (&'static str, String);

/// Whether there is a secret.
pub(super) fn secret(is_set: bool) -> String {
    let shown = if is_set { "(set)" } else { "(not set)" };
    shown.to_owned()
}

pub(super) fn value(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "(not set)".to_owned(), |value| value.to_string())
}

pub(super) fn path(path: Option<&Path>) -> String {
    value(path.map(Path::display))
}

pub(super) fn list(values: impl IntoIterator<Item = impl ToString>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(",")
}

pub(super) fn minutes(duration: Duration) -> String {
    format!("{}m", duration.as_secs() / 60)
}
