//! `opg tool new`: a small, complete project.

use super::{Lang, Output, Wrong, project, sdk};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tool's name: lower-case letters, digits and hyphens, a letter first.
    name: String,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
    /// Where to put it; a folder of its name, unless given.
    #[arg(long)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What no crate can be called, or not without trouble: Rust's words, and its own crates.
const NO_CRATES: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "opg-guest",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];
const RUST: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml")),
    ("src/lib.rs", include_str!("../../templates/rust/src/lib.rs")),
    ("tests/greet.json", include_str!("../../templates/rust/tests/greet.json")),
    ("README.md", include_str!("../../templates/rust/README.md")),
    (".gitignore", include_str!("../../templates/rust/gitignore")),
];
const TYPESCRIPT: &[(&str, &str)] = &[
    ("{{name}}.ts", include_str!("../../templates/typescript/tool.ts")),
    ("tests/greet.json", include_str!("../../templates/typescript/tests/greet.json")),
    ("README.md", include_str!("../../templates/typescript/README.md")),
];
const JAVASCRIPT: &[(&str, &str)] = &[
    ("{{name}}.js", include_str!("../../templates/javascript/tool.js")),
    ("tests/greet.json", include_str!("../../templates/javascript/tests/greet.json")),
    ("README.md", include_str!("../../templates/javascript/README.md")),
];
const C: &[(&str, &str)] = &[
    ("{{module}}.c", include_str!("../../templates/c/tool.c")),
    ("tests/greet.json", include_str!("../../templates/c/tests/greet.json")),
    ("README.md", include_str!("../../templates/c/README.md")),
    (".gitignore", include_str!("../../templates/c/gitignore")),
];
const C_SDK: &[(&str, &str)] = &[
    ("opg.h", include_str!("../../templates/c/sdk/opg.h")),
    ("opg.c", include_str!("../../templates/c/sdk/opg.c")),
    ("include/stdlib.h", include_str!("../../templates/c/sdk/include/stdlib.h")),
    ("include/string.h", include_str!("../../templates/c/sdk/include/string.h")),
];
const GO: &[(&str, &str)] = &[
    ("go.mod", include_str!("../../templates/go/go.mod")),
    ("{{module}}.go", include_str!("../../templates/go/tool.go")),
    ("opg/opg.go", include_str!("../../templates/go/opg/opg.go")),
    ("opg/host.go", include_str!("../../templates/go/opg/host.go")),
    ("tests/greet.json", include_str!("../../templates/go/tests/greet.json")),
    ("README.md", include_str!("../../templates/go/README.md")),
    (".gitignore", include_str!("../../templates/go/gitignore")),
];
const PYTHON: &[(&str, &str)] = &[
    ("{{module}}.py", include_str!("../../templates/python/tool.py")),
    ("requirements.txt", include_str!("../../templates/python/requirements.txt")),
    ("tests/greet.json", include_str!("../../templates/python/tests/greet.json")),
    ("README.md", include_str!("../../templates/python/README.md")),
    (".gitignore", include_str!("../../templates/python/gitignore")),
];

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if !project::is_name(&args.name) {
        let text = format!(
            "`{}` cannot name a tool: lower-case letters, digits and hyphens, a letter first, 64 at the most",
            super::text::line(&args.name)
        );
        return Err(Wrong(text).into());
    }
    if args.lang == Lang::Rust && NO_CRATES.contains(&args.name.as_str()) {
        return Err(
            Wrong(format!("`{0}` is a word of Rust's own; call it `{0}-tool`, or so", args.name)).into()
        );
    }
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    refuse_what_is_there(&dir)?;
    let files = files(args.lang, &args.name);
    for (path, content) in &files {
        write(&dir.join(path), content)?;
    }
    let shown = dir.display();
    if args.output.json {
        let written: Vec<_> = files.iter().map(|(path, _)| path).collect();
        println!("{}", serde_json::json!({ "name": args.name, "dir": dir, "files": written }));
    } else if args.output.quiet {
        println!("{shown}");
    } else {
        println!("made {shown}: its README.md says what is in it\n\nnext: cd {shown} && opg tool test");
    }
    Ok(())
}

fn refuse_what_is_there(dir: &Path) -> anyhow::Result<()> {
    match fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(Wrong(format!("{} is not empty; choose another name or --dir", dir.display())).into())
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(Wrong(format!("{} cannot be used: {cause}", dir.display())).into()),
    }
}

/// Every file of a project, by its path in it.
fn files(lang: Lang, name: &str) -> Vec<(String, Vec<u8>)> {
    let module = name.replace('-', "_");
    let fill = |text: &str| text.replace("{{name}}", name).replace("{{module}}", &module);
    let template = match lang {
        Lang::Rust => RUST,
        Lang::Ts => TYPESCRIPT,
        Lang::Js => JAVASCRIPT,
        Lang::Python => PYTHON,
        Lang::C => C,
        Lang::Go => GO,
    };
    let mut files: Vec<_> =
        template.iter().map(|(path, text)| (fill(path), fill(text).into_bytes())).collect();
    let mut keep = |path: String, content: &[u8]| files.push((path, content.to_owned()));
    match lang {
        Lang::Rust => {
            for (path, text) in sdk::FILES {
                keep(format!(".opg/sdk/{path}"), text.as_bytes());
            }
            keep("Cargo.lock".into(), sdk::LOCK.as_bytes());
        }
        Lang::Python => {
            keep(".opg/wit/tool.wit".into(), sdk::wit("wit/tool/tool.wit").as_bytes());
            keep(".opg/wit/deps/host/types.wit".into(), sdk::wit("wit/host/types.wit").as_bytes());
        }
        Lang::C => {
            for (path, text) in C_SDK {
                keep(format!(".opg/sdk/{path}"), text.as_bytes());
            }
            for (path, content) in sdk::C_CONTRACT {
                keep(format!(".opg/sdk/{path}"), content);
            }
        }
        Lang::Ts | Lang::Js | Lang::Go => {}
    }
    files
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let parent = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, content));
    written.map_err(|cause| anyhow::anyhow!("{} cannot be written: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn m364_the_rust_tool_is_no_more_than_thirty_lines() {
        let (_, source) = RUST.iter().find(|(path, _)| *path == "src/lib.rs").unwrap();
        assert!(source.lines().count() <= 30, "{source}");
    }

    #[test]
    fn no_placeholder_is_left_in_a_project() {
        for lang in Lang::value_variants() {
            let files = files(*lang, "my-tool");
            for (path, content) in files.iter().filter(|(path, _)| !path.starts_with(".opg")) {
                let text = String::from_utf8_lossy(content);
                assert!(
                    !path.contains("{{") && !text.contains("{{name") && !text.contains("{{mod"),
                    "{path}"
                );
            }
            assert!(files.iter().any(|(path, _)| path == "README.md"));
        }
    }
}
