//! Whose names are whose: `app_<slug>__` in front of everything an app owns.

use super::limits::IDENTIFIER_BYTES_MAX;
use super::refused::{Refused, RefusedKind, echo};

/// The prefix of everything an app owns, such as `app_demo__`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// The namespace of the app with this slug; `my-app` has `app_my_app__`.
    ///
    /// Slugs have no two separators in a row and none at the end, or one
    /// app's prefix would begin another's. Whoever accepts slugs checks that.
    pub fn of_slug(slug: &str) -> Namespace {
        Namespace(format!("app_{}__", slug.replace('-', "_")))
    }

    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The schema that holds the app's relations, such as `app_demo`.
    pub fn schema(&self) -> &str {
        self.0.trim_end_matches('_')
    }

    /// Whether `name`, as the grammar read it, is inside. Never `LIKE`: there `_` matches anything.
    pub(super) fn owns(&self, name: &str) -> bool {
        name.len() > self.0.len() && name.len() <= IDENTIFIER_BYTES_MAX && name.starts_with(&self.0)
    }

    /// The one answer for every foreign name, so that it does not tell which of them exist.
    pub(super) fn refuse(&self, name: &str) -> Refused {
        Refused::new(
            RefusedKind::Namespace,
            format!("relation `{}` is not in this app's namespace; name it `{}…`", echo(name), self.0),
        )
    }
}

/// Whether `name` looks like something of some app: `app_…__…`.
pub(super) fn is_app_name(name: &str) -> bool {
    name.strip_prefix("app_").is_some_and(|rest| rest.contains("__"))
}
