//! Files are given to another workspace, as they were before some turns.

use super::{Kind, Space, directories::look};
use crate::workspace::{
    Amount, Path, WorkspaceError,
    journal::{Before, link},
};
use cap_std::fs::Dir;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};
use uuid::Uuid;

impl Space {
    /// Gives another workspace, which is empty, the files of this one as they were before these turns; as they are now
    /// where that is not known of all of them any more. True where it was known. They share what is on the disk, for no
    /// file is ever written in its place, and each counts all of it.
    ///
    /// # Errors
    /// The disk's, and where the app has no room for them.
    pub(in crate::workspace) fn copy_to(
        &self,
        other: &Space,
        turns: &dyn Fn(&[Uuid]) -> bool,
    ) -> Result<bool, WorkspaceError> {
        let state = self.lock()?;
        let known = state.journals.knows(turns);
        let earlier = if known { state.journals.before(turns) } else { BTreeMap::new() };
        for (path, before) in &earlier {
            let Before::File { size, .. } = before else { continue };
            other.adopt(path, *size, &|dir, name| state.journals.copy_out(before, dir, name))?;
        }
        let all = self.everything(&Path::default())?;
        let has_something: BTreeSet<&str> =
            all.iter().filter_map(|entry| entry.path.rsplit_once('/').map(|(parent, _)| parent)).collect();
        for entry in &all {
            let path = Path::parse_inside(&entry.path)?;
            let given = match entry.kind {
                Kind::File if earlier.contains_key(&path) => continue,
                Kind::File => {
                    let (parent, name) = path.split();
                    let from = self.directory(&parent)?;
                    other.adopt(&path, entry.size, &|dir, to| link(&from, name, dir, to))
                }
                // Others are there because of what is in them.
                Kind::Directory if has_something.contains(entry.path.as_str()) => continue,
                Kind::Directory => other.make_directories(&path, true).map(drop),
            };
            match given {
                // What those turns put in the place of something else.
                Err(WorkspaceError::NotADirectory(_) | WorkspaceError::IsADirectory(_)) => {}
                given => given?,
            }
        }
        Ok(known)
    }

    /// Takes a file that is somewhere else, and that nothing is written to, under another name.
    fn adopt(
        &self,
        path: &Path,
        size: u64,
        give: &dyn Fn(&Dir, &str) -> io::Result<()>,
    ) -> Result<(), WorkspaceError> {
        let (parent, name) = path.split();
        let dir = self.make_directories(&parent, true)?;
        if look(&dir, path, name)?.is_some() {
            return Err(WorkspaceError::IsADirectory(path.to_string()));
        }
        let reserved = self.reserve(Amount::file(size))?;
        give(&dir, name)?;
        reserved.keep();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        limits::WORKSPACE_TURNS_KEPT_MAX,
        workspace::{
            By, Path, Space,
            space::{
                Precondition,
                tests::{counts_are_right, path, read, space},
            },
        },
    };
    use uuid::Uuid;

    #[test]
    fn a_copy_is_as_the_files_were_shares_them_and_is_its_own() {
        let (dir, space) = space();
        let (other_dir, other) = self::space();
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        fn by(turns: &[Uuid]) -> By<'_> {
            By { turns, stands: &|| true }
        }
        space.write(&path("mine"), b"0", By::OUTSIDE).unwrap();
        space.make_directory(&path("empty"), By::OUTSIDE).unwrap();
        space.write(&path("a"), b"1", by(&[first])).unwrap();
        space.write(&path("a"), b"2", by(&[second])).unwrap();
        space.write(&path("new/b"), b"2", by(&[second])).unwrap();
        space.remove(&path("mine"), false, &Precondition::default(), by(&[second])).unwrap();
        space.write(&path("mine/inside"), b"2", by(&[second])).unwrap();
        assert!(space.copy_to(&other, &|turns| turns.contains(&second)).unwrap());
        let names = |space: &Space| -> Vec<String> {
            space.everything(&Path::default()).unwrap().into_iter().map(|entry| entry.path).collect()
        };
        assert_eq!(names(&other), ["a", "empty", "mine"]);
        assert_eq!((read(&other, "a").as_str(), read(&other, "mine").as_str()), ("1", "0"));
        counts_are_right(&other_dir, &other);
        other.write(&path("a"), b"mine now", By::OUTSIDE).unwrap();
        space.put_back(None, &|turns| turns.contains(&second), true).unwrap();
        assert_eq!((read(&space, "a").as_str(), read(&other, "a").as_str()), ("1", "mine now"));
        counts_are_right(&dir, &space);
    }

    #[test]
    fn a_copy_is_as_the_files_are_where_nobody_knows_any_more() {
        let (_dir, space) = space();
        let (_other_dir, other) = self::space();
        for turn in 1..=(WORKSPACE_TURNS_KEPT_MAX as u128 + 5) {
            let turns = [Uuid::from_u128(turn)];
            space
                .write(&path("a"), turn.to_string().as_bytes(), By { turns: &turns, stands: &|| true })
                .unwrap();
        }
        assert!(!space.copy_to(&other, &|_| true).unwrap());
        assert_eq!(read(&other, "a"), read(&space, "a"));
        let (_last_dir, last) = self::space();
        let from = Uuid::from_u128(WORKSPACE_TURNS_KEPT_MAX as u128);
        assert!(space.copy_to(&last, &|turns| turns[0] >= from).unwrap());
        assert_eq!(read(&last, "a"), (WORKSPACE_TURNS_KEPT_MAX - 1).to_string());
    }
}
