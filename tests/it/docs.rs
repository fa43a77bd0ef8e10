//! The documents say what the code says: routes, scopes, variables, limits,
//! tests and links are compared with their sources.

use opg_host::{
    config::Config,
    grants::{CapabilityKind, Scope},
    router,
    sessions::log::Kind,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_route_is_documented_and_every_documented_route_exists() {
    let served: BTreeSet<String> = router::all_routes()
        .into_iter()
        .filter(|(_, path)| !path.starts_with("/{app}"))
        .map(|(route, path)| format!("{} {path}", route.method))
        .collect();
    assert_same("docs/http-api.md", &first_cells("docs/http-api.md", is_route), &served);
}

#[test]
fn each_route_is_documented_with_the_scopes_it_takes() {
    let rows = rows("docs/http-api.md");
    for (route, path) in router::all_routes() {
        let Some(action) = route.action.filter(|_| !path.starts_with("/{app}")) else { continue };
        let name = format!("`{} {path}`", route.method);
        let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} has no row"));
        let same_as_above = row[1] == "the same";
        for scope in action.any_of() {
            assert!(same_as_above || row[1].contains(&format!("`{}`", scope.name())), "{name}: {}", row[1]);
        }
    }
}

#[test]
fn every_scope_is_in_the_table_of_scopes_and_nothing_else_is() {
    let known: BTreeSet<String> = Scope::ALL.iter().map(|scope| scope.name().to_owned()).collect();
    let looks_like_one = |text: &str| text.contains(':') && !text.contains(' ') && !text.contains('/');
    assert_same("docs/http-api.md", &first_cells("docs/http-api.md", looks_like_one), &known);
}

#[test]
fn every_variable_is_documented_and_every_documented_variable_is_read() {
    let config = Config::from_vars([("ADMIN_TOKENS".to_owned(), "admin_secret".to_owned())]).unwrap();
    let read: BTreeSet<String> = config.describe().into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_same("docs/configuration.md", &first_cells("docs/configuration.md", is_constant), &read);
}

#[test]
fn every_kind_of_capability_is_in_the_table_of_kinds_and_nothing_else_is() {
    let known: BTreeSet<String> = CapabilityKind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    assert_same(
        "docs/capabilities.md",
        &first_cells("docs/capabilities.md", |text| !text.contains('_')),
        &known,
    );
    let wit = fs::read_to_string(root().join("wit/tool/tool.wit")).unwrap();
    for kind in known {
        assert!(wit.contains(&format!("/// - `{kind}`: ")), "tool.wit says nothing of `{kind}`");
    }
}

#[test]
fn every_constant_a_document_names_exists() {
    let sources = sources();
    for file in documents() {
        for name in code_spans(&file).iter().filter(|span| is_constant(span) && span.contains('_')) {
            let known = sources.iter().any(|(_, text)| contains_word(text, name));
            assert!(known, "{} names `{name}`, which no source has", file.display());
        }
    }
}

#[test]
fn every_code_warning_and_wall_of_the_database_is_documented() {
    /// What no client sees: a guest's word for it, our own faults, and fields that are named in `errors`.
    const SHOWN_OTHERWISE: &[&str] = &["denied", "parser_failed", "bad_param", "bad_limit"];
    let source = |path: &str| fs::read_to_string(root().join("host/src/db_proxy").join(path)).unwrap();
    let quoted = |text: &str, before: &str| -> Vec<String> {
        let found = text.split(before).skip(1).filter_map(|rest| rest.split('"').next());
        found.map(str::to_owned).collect()
    };
    let warnings = source("parse/warning.rs").replace("\n            ", "").replace("\n        ", "");
    let walls = source("posture.sql");
    let walls = walls.lines().filter_map(|line| line.trim().strip_prefix("('")?.strip_suffix("',"));
    let codes =
        quoted(&source("error.rs"), "=> \"").into_iter().chain(quoted(&source("parse/refused.rs"), "=> \""));
    let codes: Vec<_> =
        codes.filter(|code| is_word(code) && !SHOWN_OTHERWISE.contains(&code.as_str())).collect();
    let listed: [(&str, Vec<String>, usize); 3] = [
        ("docs/http-api.md", codes, 15),
        ("docs/database.md", quoted(&warnings, "Warning::new(\""), 10),
        ("docs/operations.md", walls.map(str::to_owned).collect(), 8),
    ];
    for (document, words, at_least) in listed {
        assert!(words.len() >= at_least, "{document}: {words:?}");
        let spans = code_spans(&root().join(document));
        for word in words {
            assert!(spans.contains(&word), "{document} says nothing of `{word}`");
        }
    }
}

#[test]
fn every_hostile_guest_has_its_row_and_every_row_its_guest() {
    let guests: BTreeSet<String> = opg_tests::hostile::ALL
        .iter()
        .map(|guest| {
            let test = guest.name.replace('-', "_");
            format!(
                "{} | `{}` | {} | {} | `hostile::{test}`",
                guest.number(),
                guest.name,
                guest.tries(),
                guest.outcome()
            )
        })
        .collect();
    let rows = rows("docs/hostile-guests.md").into_iter().filter(|row| row[0].parse::<u32>().is_ok());
    assert_same("docs/hostile-guests.md", &rows.map(|row| row.join(" | ")).collect(), &guests);
}

#[test]
fn m353_every_event_of_a_session_is_in_the_table_of_events_and_in_a_test() {
    let known: BTreeSet<String> = Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
    let first = rows("docs/sessions.md").into_iter().map(|row| row[0].clone());
    let named =
        first.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    let is_event = |name: &String| name.contains('.') || name == Kind::Log.name();
    assert_same("docs/sessions.md", &named.filter(is_event).collect(), &known);
    let sources = sources();
    let tested = |name: &str| {
        let quoted = format!("\"{name}\"");
        sources.iter().any(|(path, text)| path.starts_with("tests/it") && text.contains(&quoted))
    };
    let untested: Vec<_> = known.iter().filter(|name| !tested(name)).collect();
    assert!(untested.is_empty(), "no test is told {untested:?}");
}

#[test]
fn m369_the_engine_is_the_release_with_long_support_that_the_pinned_compiler_builds() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"wasmtime\"\nversion = \"48.0."), "wasmtime 48.0.x");
    assert_eq!(lock.matches("name = \"wasmtime\"\n").count(), 1, "one engine");
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    assert!(toolchain.contains("channel = \"1.95."), "{toolchain}");
}

#[test]
fn every_test_the_architecture_names_exists() {
    let sources = sources();
    let named = code_spans(&root().join("ARCHITECTURE.md"));
    // Sentences: no function that is not a test has five words.
    let tests: Vec<_> = named.iter().filter(|span| is_sentence(span)).collect();
    assert!(tests.len() > 20, "the invariants name their tests: {tests:?}");
    for test in tests {
        let declared = format!("fn {test}(");
        assert!(sources.iter().any(|(_, text)| text.contains(&declared)), "there is no test `{test}`");
    }
}

#[test]
fn every_rule_of_the_wire_names_tests_that_exist() {
    let sources = sources();
    let rules: Vec<_> =
        rows("docs/wire.md").into_iter().filter(|row| row[0].parse::<u32>().is_ok()).collect();
    let numbers: Vec<_> = rules.iter().map(|row| row[0].parse::<u32>().unwrap()).collect();
    assert_eq!(numbers, (1..=18).collect::<Vec<_>>());
    for rule in rules {
        let tests: Vec<_> = rule[2].split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{rule:?}");
        for test in tests {
            let declared = format!("fn {test}(");
            assert!(sources.iter().any(|(_, text)| text.contains(&declared)), "there is no test `{test}`");
        }
    }
}

#[test]
fn every_path_the_architecture_names_exists() {
    for span in code_spans(&root().join("ARCHITECTURE.md")) {
        let is_path = ["host/", "tests/", "docs/", "predefined/", "migrations/", "plugins/"]
            .iter()
            .any(|folder| span.starts_with(folder));
        assert!(
            !is_path || root().join(&span).exists(),
            "ARCHITECTURE.md names `{span}`, which is not there"
        );
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    for file in documents() {
        let text = fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let there = file.parent().unwrap().join(path);
            assert!(there.exists(), "{}: the link to {target} leads nowhere", file.display());
        }
    }
}

#[test]
fn the_sandbox_knows_no_http_server_no_sql_and_no_grants() {
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("host/src/sandbox")) {
        for word in ["axum", "sqlx", "crate::grants", "crate::tenants", "crate::http"] {
            assert!(!contains_word(text, word), "{} uses {word}", path.display());
        }
    }
}

#[test]
fn sql_stands_in_stores_alone() {
    let may = |path: &Path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("store.rs"))
            // One that was too long for a file is a folder.
            || path.parent().is_some_and(|folder| folder.ends_with("store"))
            || path.starts_with("host/src/postgres")
            || path == Path::new("host/src/tenants/tx.rs")
    };
    for (path, text) in sources().iter().filter(|(path, _)| path.starts_with("host/src") && !may(path)) {
        for call in ["sqlx::query", "sqlx::raw_sql", "AssertSqlSafe"] {
            assert!(!text.contains(call), "{} holds SQL: {call}", path.display());
        }
    }
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Markdown file of ours.
fn documents() -> Vec<PathBuf> {
    files("md").into_iter().map(|path| root().join(path)).collect()
}

/// Every Rust file of ours, by its path in the repository, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(root().join(path)).unwrap());
    files("rs").into_iter().map(read).collect()
}

fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            let is_ours =
                !name.starts_with('.') && !["target", "data", "node_modules"].contains(&name.as_str());
            if entry.file_type().unwrap().is_dir() {
                folders.extend(is_ours.then_some(path));
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 10, "there are more .{extension} files than {found:?}");
    found
}

/// The cells of every table row of a document.
fn rows(document: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let cells = |line: &str| {
        let line = line.trim().trim_matches('|').replace("\\|", "\u{1}");
        line.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
    };
    text.lines().filter(|line| line.trim_start().starts_with('|')).map(cells).collect()
}

/// What stands alone in backticks in the first cell of a row, where it is of a kind.
fn first_cells(document: &str, is_kind: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let first = rows(document).into_iter().map(|row| row[0].clone());
    let bare = first.filter_map(|cell| Some(cell.strip_prefix('`')?.strip_suffix('`')?.to_owned()));
    bare.filter(|text| is_kind(text)).collect()
}

/// Everything in backticks, outside blocks of code.
fn code_spans(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn is_route(text: &str) -> bool {
    text.split_once(" /")
        .is_some_and(|(method, _)| ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method))
}

fn is_constant(text: &str) -> bool {
    let shape = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    text.len() > 3 && text.starts_with(|c: char| c.is_ascii_uppercase()) && text.bytes().all(shape)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn is_sentence(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    plain && text.split('_').count() >= 4
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

fn assert_same(document: &str, documented: &BTreeSet<String>, there: &BTreeSet<String>) {
    let missing: Vec<_> = there.difference(documented).collect();
    let invented: Vec<_> = documented.difference(there).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "{document} misses {missing:?} and invents {invented:?}"
    );
}
