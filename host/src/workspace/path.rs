//! Paths inside a workspace: relative, normal, and harmless wherever they end up.

use super::WorkspaceError;
use crate::limits::{WORKSPACE_NAME_BYTES_MAX, WORKSPACE_PATH_BYTES_MAX, WORKSPACE_PATH_DEPTH_MAX};
use std::fmt;

/// A path in its one form: names with `/` between them; empty for the workspace itself.
///
/// No name is `.` or `..`, none holds `/`, `\`, or a control character: so it means the same in an archive, in a
/// header and on another system.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// Reads a path as people write it: `./a//b/` is `a/b`, and so is `/workspace/a/b`, the name the workspace has
    /// for programs that want an absolute one.
    ///
    /// # Errors
    /// [`WorkspaceError::Invalid`], with what is wrong.
    pub fn parse(text: &str) -> Result<Path, WorkspaceError> {
        let invalid = |why: String| WorkspaceError::Invalid(why);
        if text.len() > WORKSPACE_PATH_BYTES_MAX {
            return Err(invalid(format!("a path is {WORKSPACE_PATH_BYTES_MAX} bytes at the most")));
        }
        let relative = match text.strip_prefix(Self::ROOT) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
            _ => text,
        };
        if relative.starts_with('/') {
            return Err(invalid(
                "a path is relative to the workspace: leave out the `/` it begins with".into(),
            ));
        }
        let mut names = vec![];
        for name in relative.split('/').filter(|name| !name.is_empty() && *name != ".") {
            check(name).map_err(invalid)?;
            names.push(name);
        }
        if names.len() > WORKSPACE_PATH_DEPTH_MAX {
            return Err(invalid(format!("a path is {WORKSPACE_PATH_DEPTH_MAX} names deep at the most")));
        }
        Ok(Path(names.join("/")))
    }

    /// The absolute name a workspace has for programs.
    pub const ROOT: &str = "/workspace";

    /// The same, and not the workspace itself.
    ///
    /// # Errors
    /// [`WorkspaceError::Invalid`]
    pub fn parse_inside(text: &str) -> Result<Path, WorkspaceError> {
        let path = Path::parse(text)?;
        if path.is_root() { Err(WorkspaceError::Invalid("`path` names a file".into())) } else { Ok(path) }
    }

    /// Whether it is the workspace itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// What it is written as.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its names, the outermost first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// Where it is, and what it is called there.
    pub fn split(&self) -> (Path, &str) {
        match self.0.rsplit_once('/') {
            Some((parent, name)) => (Path(parent.to_owned()), name),
            None => (Path::default(), &self.0),
        }
    }

    /// What is called `name` inside it; none where nothing may be called that, or it were too deep.
    pub fn child(&self, name: &str) -> Option<Path> {
        check(name).ok()?;
        let path = if self.is_root() { name.to_owned() } else { format!("{}/{name}", self.0) };
        let fits =
            path.len() <= WORKSPACE_PATH_BYTES_MAX && path.split('/').count() <= WORKSPACE_PATH_DEPTH_MAX;
        fits.then_some(Path(path))
    }

    /// Whether it is `other`, or inside it.
    pub fn is_within(&self, other: &Path) -> bool {
        other.is_root()
            || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn check(name: &str) -> Result<(), String> {
    if name.is_empty() || name == "." || name == ".." {
        return Err("a path stays inside the workspace: leave out `..`".to_owned());
    }
    if name.len() > WORKSPACE_NAME_BYTES_MAX {
        return Err(format!("a name is {WORKSPACE_NAME_BYTES_MAX} bytes at the most"));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')) {
        return Err("a name holds no control character and no `\\`".to_owned());
    }
    Ok(())
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (given, path) in [
            ("", ""),
            (".", ""),
            ("/workspace", ""),
            ("/workspace/", ""),
            ("/workspace//a", "a"),
            ("a", "a"),
            ("./a//b/./c/", "a/b/c"),
            ("workspace/a", "workspace/a"),
            (".git/config", ".git/config"),
            ("ä/日本", "ä/日本"),
            ("...", "..."),
        ] {
            assert_eq!(Path::parse(given).unwrap().as_str(), path, "{given}");
        }
    }

    #[test]
    fn m286_no_path_leads_out() {
        let (long, deep) = ("a".repeat(256), "a/".repeat(WORKSPACE_PATH_DEPTH_MAX + 1));
        for hostile in [
            "..",
            "../a",
            "a/..",
            "a/../../b",
            "/etc/passwd",
            "/workspaces/a",
            "/workspace/../a",
            "//a",
            "a\\b",
            "..\\a",
            "a\0b",
            "a\nb",
            "\u{1b}[2J",
            "a/\u{7f}",
            "\u{85}",
            &long,
            &deep,
            &"a/".repeat(2000),
        ] {
            assert!(matches!(Path::parse(hostile), Err(WorkspaceError::Invalid(_))), "{hostile:?}");
        }
    }

    #[test]
    fn what_is_inside_is_known_by_whole_names() {
        let path = |text: &str| Path::parse(text).unwrap();
        assert!(path("a/b").is_within(&path("a")) && path("a").is_within(&path("a")));
        assert!(path("a").is_within(&path("")) && !path("ab").is_within(&path("a")));
        assert_eq!(path("a/b").split(), (path("a"), "b"));
        assert_eq!(path("a").child(".."), None);
    }
}
