//! A folder with a tool in it: what it is written in, and what the tool is called.

use super::{Lang, Wrong};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A tool's project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Project {
    pub(super) dir: PathBuf,
    pub(super) lang: Lang,
    /// What it is published as.
    pub(super) name: String,
    /// The file its language starts from.
    pub(super) main: PathBuf,
}

/// Whether this may name a project: a plugin's name (row M218) that every language takes as well.
pub(super) fn is_name(name: &str) -> bool {
    opg_host::registry::is_name(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

impl Project {
    /// The one in this folder.
    ///
    /// # Errors
    /// What is missing, and how to make it.
    pub(super) fn find(dir: &Path) -> Result<Project, Wrong> {
        let manifest = dir.join("Cargo.toml");
        let (lang, name, main) = if let Ok(text) = fs::read_to_string(&manifest) {
            let name = package_name(&text).ok_or_else(|| {
                Wrong(format!("{} names no package; `opg tool new` shows how one looks", manifest.display()))
            })?;
            (Lang::Rust, name, manifest)
        } else if let Ok(text) = fs::read_to_string(dir.join("go.mod")) {
            let main = dir.join("go.mod");
            let name = module_name(&text).ok_or_else(|| {
                Wrong(format!(
                    "{} names no module; `opg tool new --lang go` shows how one looks",
                    main.display()
                ))
            })?;
            (Lang::Go, name, main)
        } else if let Some(main) = only(dir, "py")? {
            (Lang::Python, stem(&main), main)
        } else if let Some(main) = only(dir, "ts")? {
            (Lang::Ts, stem(&main), main)
        } else if let Some(main) = only(dir, "js")? {
            (Lang::Js, stem(&main), main)
        } else if let Some(main) = only(dir, "c")? {
            (Lang::C, stem(&main), main)
        } else {
            return Err(Wrong(format!(
                "there is no tool in {}: no Cargo.toml, no go.mod, no .py, .ts, .js or .c file; `opg tool new NAME` makes one",
                dir.display()
            )));
        };
        let name = name.replace('_', "-").to_ascii_lowercase();
        if !opg_host::registry::is_name(&name) {
            return Err(Wrong(format!(
                "the tool would be called `{name}`: a name is lower-case letters, digits and hyphens, 64 at the most"
            )));
        }
        Ok(Project { dir: dir.to_owned(), lang, name, main })
    }
}

/// `name = "…"` of `[package]`. A manifest with anything cleverer is cargo's to judge.
fn package_name(manifest: &str) -> Option<String> {
    let (_, package) = manifest.split_once("[package]")?;
    let package = package.split("\n[").next()?;
    let line = package.lines().find(|line| line.trim_start().starts_with("name"))?;
    Some(line.split_once('=')?.1.trim().trim_matches('"').to_owned())
}

/// The last part of `module …`, where a module has its name; a version is none.
fn module_name(go_mod: &str) -> Option<String> {
    let line = go_mod.lines().find_map(|line| line.trim().strip_prefix("module "))?;
    let is_version = |part: &str| part.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
    let path = line.split("//").next()?.trim().trim_matches('"');
    path.rsplit('/').find(|part| !is_version(part)).map(str::to_owned)
}

/// The only file of this kind.
fn only(dir: &Path, extension: &str) -> Result<Option<PathBuf>, Wrong> {
    let entries =
        fs::read_dir(dir).map_err(|cause| Wrong(format!("{} cannot be read: {cause}", dir.display())))?;
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == extension) && path.is_file())
        .collect();
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(Wrong(format!(
            "{} holds several .{extension} files; a tool's project has one at its top",
            dir.display()
        ))),
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Result<Project, Wrong> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        Project::find(dir.path())
    }

    #[test]
    fn a_project_is_known_by_its_files_and_named_as_they_are() {
        let rust = found(&[(
            "Cargo.toml",
            "[package]\nedition = \"2024\"\nname = \"my_tool\"\n[lib]\nname = \"x\"\n",
        )]);
        assert_eq!(rust.map(|p| (p.lang, p.name)), Ok((Lang::Rust, "my-tool".into())));
        for module in ["my_tool", "example.com/tools/my-tool", "example.com/my-tool/v2 // newer"] {
            let go =
                found(&[("go.mod", &format!("module {module}\n\ngo 1.24\n")), ("a.go", ""), ("b.go", "")]);
            assert_eq!(go.map(|p| (p.lang, p.name)), Ok((Lang::Go, "my-tool".into())));
        }
        for (file, lang) in [
            ("my_tool.py", Lang::Python),
            ("my-tool.ts", Lang::Ts),
            ("my-tool.js", Lang::Js),
            ("my_tool.c", Lang::C),
        ] {
            assert_eq!(found(&[(file, "")]).map(|p| (p.lang, p.name)), Ok((lang, "my-tool".into())));
        }
    }

    #[test]
    fn what_is_no_project_is_told_what_one_is() {
        assert!(found(&[]).unwrap_err().0.contains("opg tool new"));
        assert!(found(&[("Cargo.toml", "[workspace]\n")]).unwrap_err().0.contains("names no package"));
        assert!(found(&[("a.ts", ""), ("b.ts", "")]).unwrap_err().0.contains("several .ts files"));
        assert!(found(&[("zähl.ts", "")]).unwrap_err().0.contains("lower-case letters"));
    }

    #[test]
    fn a_name_begins_with_a_letter() {
        assert!(
            is_name("my-tool2") && !is_name("2tools") && !is_name("-x") && !is_name("My") && !is_name("")
        );
    }
}
