//! Of the whole, and what tests of its parts share.

use super::*;
use cap_std::ambient_authority;
use uuid::Uuid;

pub(super) fn space() -> (tempfile::TempDir, Arc<Space>) {
    let dir = tempfile::tempdir().unwrap();
    let home = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
    let space = Space::open(Arc::new(OfApp::default()), &home).unwrap();
    (dir, space)
}

pub(super) fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

pub(super) fn read(space: &Space, at: &str) -> String {
    String::from_utf8(space.read_part(&path(at), 0, 1000).unwrap().0).unwrap()
}

/// What is counted is what a new count finds.
pub(super) fn counts_are_right(dir: &tempfile::TempDir, space: &Space) {
    let home = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
    let again = Space::open(Arc::new(OfApp::default()), &home).unwrap();
    assert_eq!(again.holds(), space.holds());
}

#[test]
fn whatever_is_done_the_count_is_right_and_can_be_made_anew() {
    let (dir, space) = space();
    let turns = [[Uuid::from_u128(1)], [Uuid::from_u128(2)]];
    let by = |turn: usize| By { turns: &turns[turn], stands: &|| true };
    space.write(&path("a/b/c"), b"one", By::OUTSIDE).unwrap();
    space.write(&path("d"), b"two", By::OUTSIDE).unwrap();
    space.write(&path("a/b/c"), b"three", by(0)).unwrap();
    space.write(&path("a/b/c"), b"four", by(0)).unwrap();
    space.write_at(&path("holes"), Some(100), b"x", by(0)).unwrap();
    counts_are_right(&dir, &space);
    space.rename(&path("a"), &path("e/f"), by(1)).unwrap();
    space.rename(&path("d"), &path("e/f/b/c"), by(1)).unwrap();
    space.remove(&path("holes"), false, &Precondition::default(), by(1)).unwrap();
    space.write(&path("new/deep/er"), b"", by(1)).unwrap();
    counts_are_right(&dir, &space);
    let space = {
        drop(space);
        let home = Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap();
        Space::open(Arc::new(OfApp::default()), &home).unwrap()
    };
    space.put_back(None, &|turn| turn == turns[1], true).unwrap();
    assert_eq!((read(&space, "a/b/c").as_str(), read(&space, "d").as_str()), ("four", "two"));
    assert_eq!(read(&space, "holes").len(), 101);
    assert!(space.find(&path("new")).unwrap().is_none() && space.find(&path("e")).unwrap().is_none());
    counts_are_right(&dir, &space);
    space.put_back(None, &|_| true, false).unwrap();
    assert_eq!(
        (read(&space, "a/b/c").as_str(), space.find(&path("holes")).unwrap().is_none()),
        ("one", true)
    );
    counts_are_right(&dir, &space);
    space.bring_back(None).unwrap();
    assert_eq!(read(&space, "e/f/b/c"), "two");
    assert!(
        space.find(&path("a/b/c")).unwrap().is_none() && space.find(&path("new/deep/er")).unwrap().is_some()
    );
    counts_are_right(&dir, &space);
    space.remove(&path("e"), true, &Precondition::default(), By::OUTSIDE).unwrap();
    counts_are_right(&dir, &space);
    space.end();
    assert_eq!(space.holds(), Amount::default());
    assert!(matches!(space.write(&path("x"), b"", By::OUTSIDE), Err(WorkspaceError::Gone)));
}

#[test]
fn a_turn_that_was_ended_changes_nothing() {
    let (_dir, space) = space();
    let by = By { turns: &[Uuid::from_u128(1)], stands: &|| false };
    assert!(
        space.write(&path("a"), b"x", by).is_err() && space.write_at(&path("a"), None, b"x", by).is_err()
    );
    assert!(space.find(&path("a")).unwrap().is_none());
    assert_eq!(space.holds(), Amount::default());
}

#[test]
fn what_is_kept_of_the_oldest_turns_gives_way() {
    let (dir, space) = space();
    let file = vec![b'x'; 30 << 20];
    for turn in 1..=20_u128 {
        let turns = [Uuid::from_u128(turn)];
        let by = By { turns: &turns, stands: &|| true };
        space.write(&path("a"), &file, by).unwrap();
    }
    counts_are_right(&dir, &space);
    let kept = space.lock().unwrap().journals.turns().count();
    assert!((2..10).contains(&kept), "{kept}");
}
