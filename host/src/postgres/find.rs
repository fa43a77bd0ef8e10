//! Finds the PostgreSQL programs that are installed here.
//!
//! An explicit directory is taken at its word; otherwise `PATH` comes first, then the usual places, newest first.
//! Deliberately absent: downloading them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::POSTGRES_MAJOR_MIN;

/// One installation: the directory that holds both `postgres` and `initdb`, and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    pub dir: PathBuf,
    pub major: u32,
    pub minor: u32,
}

impl Binaries {
    pub fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }

    /// Where another program of the same installation may be: beside `postgres`, or beside what that is a link to.
    pub(super) fn beside(&self, program: &str) -> Vec<PathBuf> {
        let linked = self.postgres().canonicalize().ok();
        let dirs = [Some(self.dir.clone()), linked.and_then(|path| path.parent().map(PathBuf::from))];
        dirs.into_iter().flatten().map(|dir| dir.join(program)).collect()
    }

    pub fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }
}

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `OPG_POSTGRES_BIN`: when set, nowhere else is looked at.
    pub explicit: Option<PathBuf>,
    /// The `PATH` variable.
    pub path: Option<OsString>,
    /// Directories whose children are installations: `/usr/lib/postgresql/<major>/bin`.
    pub version_roots: Vec<PathBuf>,
    /// Directories that may hold the programs themselves.
    pub dirs: Vec<PathBuf>,
}

impl Places {
    /// The usual places of Debian, Red Hat, Alpine, Arch, Homebrew and a build from source.
    pub fn of_this_machine(explicit: Option<PathBuf>) -> Self {
        Self {
            explicit,
            path: std::env::var_os("PATH"),
            version_roots: [
                "/usr/lib/postgresql",
                "/usr",
                "/usr/libexec",
                "/opt/homebrew/opt",
                "/usr/local/opt",
            ]
            .map(PathBuf::from)
            .to_vec(),
            dirs: ["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"].map(PathBuf::from).to_vec(),
        }
    }

    /// Every usable installation, the preferred one first.
    pub fn find_all(&self) -> Result<Vec<Binaries>, FindError> {
        let dirs = match &self.explicit {
            Some(dir) => vec![dir.clone()],
            None => self.candidate_dirs(),
        };
        let mut seen = Vec::new();
        let mut found = Vec::new();
        let mut newest_refused = None;
        for dir in dirs {
            let Ok(dir) = dir.canonicalize() else { continue };
            if seen.contains(&dir) {
                continue;
            }
            seen.push(dir.clone());
            match probe(&dir) {
                Some(binaries) if binaries.major >= POSTGRES_MAJOR_MIN => found.push(binaries),
                Some(old) => newest_refused = newest_refused.max(Some(old.major)),
                None => {}
            }
        }
        match (found.is_empty(), newest_refused, &self.explicit) {
            (false, ..) => Ok(found),
            (true, Some(major), _) => Err(FindError::TooOld { major }),
            (true, None, Some(dir)) => Err(FindError::NotInExplicit { dir: dir.clone() }),
            (true, None, None) => Err(FindError::None),
        }
    }

    fn candidate_dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> =
            self.path.as_ref().map(|p| std::env::split_paths(p).collect()).unwrap_or_default();
        dirs.retain(|dir| dir.is_absolute());
        let mut versioned: Vec<(u32, PathBuf)> =
            self.version_roots.iter().flat_map(|root| versions_in(root)).collect();
        versioned.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
        dirs.extend(versioned.into_iter().map(|(_, dir)| dir));
        dirs.extend(self.dirs.iter().cloned());
        dirs
    }
}

/// Why no PostgreSQL could be used. One line each, with the ways out.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error(
        "no PostgreSQL found: install the distribution's package (Debian: apt install postgresql), \
         or set OPG_POSTGRES_BIN to the directory that holds `postgres` and `initdb`, \
         or set DATABASE_URL to use a server you already have"
    )]
    None,
    #[error(
        "no PostgreSQL in {} (OPG_POSTGRES_BIN): it must hold working `postgres` and `initdb` programs; \
         correct it, or unset it to search the usual places, or set DATABASE_URL",
        dir.display()
    )]
    NotInExplicit { dir: PathBuf },
    #[error(
        "the newest PostgreSQL found here is {major}, at least {POSTGRES_MAJOR_MIN} is needed: install a newer \
         package, or set OPG_POSTGRES_BIN to a newer one, or set DATABASE_URL"
    )]
    TooOld { major: u32 },
}

/// Children of `root` that are named after a version: `15/bin`, `pgsql-16/bin`, `postgresql@17/bin`, `postgresql17`.
fn versions_in(root: &Path) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let name = name.to_str()?;
            let version = ["postgresql@", "postgresql-", "postgresql", "pgsql-", ""]
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix)?.parse::<u32>().ok())?;
            let bin = entry.path().join("bin");
            Some((version, if bin.is_dir() { bin } else { entry.path() }))
        })
        .collect()
}

fn probe(dir: &Path) -> Option<Binaries> {
    let postgres = dir.join("postgres");
    if !postgres.is_file() || !dir.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(&postgres)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let (major, minor) = parse_version(std::str::from_utf8(&output.stdout).ok()?)?;
    Some(Binaries { dir: dir.to_path_buf(), major, minor })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`; betas and development builds have no minor version.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_once("(PostgreSQL) ")?.1.split_whitespace().next()?;
    let major_end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    let major = version[..major_end].parse().ok()?;
    let minor = version[major_end..].strip_prefix('.').and_then(|rest| rest.parse().ok()).unwrap_or(0);
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn fake_installation(dir: &Path, version: &str) {
        std::fs::create_dir_all(dir).unwrap();
        for program in ["postgres", "initdb"] {
            let file = dir.join(program);
            std::fs::write(&file, format!("#!/bin/sh\necho \"{program} (PostgreSQL) {version}\"\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn versions_are_read_from_releases_betas_and_packages() {
        for (text, expected) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some((15, 18))),
            ("postgres (PostgreSQL) 18.4\n", Some((18, 4))),
            ("postgres (PostgreSQL) 19beta2\n", Some((19, 0))),
            ("postgres (PostgreSQL) 20devel\n", Some((20, 0))),
            ("postgres (PostgreSQL)", None),
            ("something else 15.1", None),
            ("", None),
        ] {
            assert_eq!(parse_version(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_newest_installation_comes_first_and_old_ones_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "14", "15", "17"] {
            fake_installation(&root.path().join(version).join("bin"), &format!("{version}.1"));
        }
        let places = Places { version_roots: vec![root.path().into()], ..Places::default() };
        let majors: Vec<u32> = places.find_all().unwrap().iter().map(|b| b.major).collect();
        assert_eq!(majors, [17, 15]);
    }

    #[test]
    fn the_path_goes_before_the_usual_places_and_an_explicit_directory_before_both() {
        let root = tempfile::tempdir().unwrap();
        let (on_path, explicit) = (root.path().join("path"), root.path().join("mine"));
        fake_installation(&on_path, "15.2");
        fake_installation(&explicit, "16.3");
        fake_installation(&root.path().join("lib/17/bin"), "17.1");
        let mut places = Places {
            path: Some(on_path.into()),
            version_roots: vec![root.path().join("lib")],
            ..Places::default()
        };
        let majors = |places: &Places| places.find_all().unwrap().iter().map(|b| b.major).collect::<Vec<_>>();
        assert_eq!(majors(&places), [15, 17]);
        places.explicit = Some(explicit);
        assert_eq!(majors(&places), [16]);
    }

    #[test]
    fn finding_nothing_names_the_ways_out_in_one_line() {
        let empty = tempfile::tempdir().unwrap();
        let nowhere = Places { version_roots: vec![empty.path().into()], ..Places::default() };
        let explicit = Places { explicit: Some(empty.path().into()), ..Places::default() };
        for message in [nowhere.find_all(), explicit.find_all()].map(|r| r.unwrap_err().to_string()) {
            assert!(message.contains("OPG_POSTGRES_BIN") && message.contains("DATABASE_URL"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        assert!(nowhere.find_all().unwrap_err().to_string().contains("install"));
    }

    #[test]
    fn only_old_versions_says_which_one_was_found() {
        let root = tempfile::tempdir().unwrap();
        fake_installation(root.path(), "14.9");
        let places = Places { dirs: vec![root.path().into()], ..Places::default() };
        assert!(matches!(places.find_all(), Err(FindError::TooOld { major: 14 })));
    }
}
