//! Two documents are made from the sources: `docs/limits.md` from the limits, `docs/wit.md` from the contract.
//!
//! `OPG_UPDATE_DOCS=1` writes them anew; without it, each test says what is stale.

use opg_host::sandbox::CallLimits;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What is made stands below this line; what is above is written by hand.
const MARK: &str = "<!-- From here on this file is made from the sources: OPG_UPDATE_DOCS=1, see tests/it/docs_generated.rs -->";

#[test]
fn every_limit_of_the_sandbox_and_the_api_is_in_the_document_with_its_value() {
    let limits = CallLimits::default();
    let mut made = String::from("\n## One call of a tool\n\n| what | limit |\n|---|---|\n");
    for (what, limit) in [
        ("wall time, host waits included", time(limits.wall)),
        ("CPU time", time(limits.cpu)),
        ("memory, all memories and tables together", size(limits.memory_bytes_max as u64)),
        ("output, as JSON text", size(limits.output_bytes_max as u64)),
    ] {
        let _ = writeln!(made, "| {what} | {limit} |");
    }
    made += &tables("The sandbox", "host/src/sandbox/limits.rs");
    made += &tables("The API", "host/src/limits.rs");
    is_up_to_date("docs/limits.md", &made);
}

#[test]
fn the_reference_of_the_contract_says_what_wit_says() {
    let made: String = ["wit/host/types.wit", "wit/tool/tool.wit", "wit/agent/agent.wit"]
        .map(|file| reference(&fs::read_to_string(root().join(file)).unwrap()))
        .concat();
    is_up_to_date("docs/wit.md", &made);
}

fn is_up_to_date(document: &str, made: &str) {
    let path = root().join(document);
    let text = fs::read_to_string(&path).unwrap();
    let (by_hand, there) = text.split_once(MARK).unwrap_or_else(|| panic!("{document} has no line {MARK}"));
    if std::env::var_os("OPG_UPDATE_DOCS").is_some() {
        fs::write(path, format!("{by_hand}{MARK}\n{made}")).unwrap();
        return;
    }
    let stale = there.trim().lines().zip(made.trim().lines()).find(|(there, made)| there != made);
    assert!(
        there.trim() == made.trim(),
        "{document} is stale, first at {stale:?}: OPG_UPDATE_DOCS=1 cargo nextest run -E 'test(docs_generated::)' writes it anew"
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

// === limits ===

/// A value, as far as the constants of a file can be read without a compiler.
#[derive(Clone, Copy)]
enum Value {
    Number(u64),
    Time(Duration),
}

/// Every constant of a file of limits: a table for each of its sections.
fn tables(title: &str, file: &str) -> String {
    let source = fs::read_to_string(root().join(file)).unwrap();
    let mut made = format!("\n## {title}\n\nFrom [`{file}`](../{file}).\n");
    let mut known: BTreeMap<&str, u64> = BTreeMap::from([("KIB", 1 << 10), ("MIB", 1 << 20)]);
    let (mut comment, mut in_table, mut rows) = (String::new(), false, 0);
    let joined = source.replace("=\n    ", "= ");
    for line in joined.lines() {
        if let Some(section) = line.strip_prefix("// --- ") {
            let _ = write!(made, "\n### {}\n", section.trim_end_matches(['-', ' ']));
            in_table = false;
        } else if let Some(text) = line.strip_prefix("/// ") {
            comment += text;
            comment.push(' ');
        } else if let Some((name, value)) = constant(line) {
            let value = evaluate(value, &known).unwrap_or_else(|| panic!("{file}: what is `{line}`?"));
            if let Value::Number(number) = value {
                known.insert(name, number);
            }
            if !in_table {
                made += "\n| name | value | why |\n|---|---|---|\n";
                in_table = true;
            }
            let _ = writeln!(
                made,
                "| `{name}` | {} | {} |",
                shown(name, value),
                comment.trim().replace('|', "\\|")
            );
            rows += 1;
            comment.clear();
        } else {
            comment.clear();
        }
    }
    assert!(rows > 10, "{file} has more limits than {rows}");
    made
}

/// `pub const NAME: Type = value;`, of those that are seen outside their file.
fn constant(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("pub(super) ").or_else(|| line.strip_prefix("pub "))?;
    let (name, rest) = line.strip_prefix("const ")?.split_once(':')?;
    Some((name, rest.split_once(" = ")?.1.split(';').next()?))
}

fn evaluate(text: &str, known: &BTreeMap<&str, u64>) -> Option<Value> {
    if let Some(inner) = text.strip_prefix("Duration::from_") {
        let (unit, amount) = inner.strip_suffix(')')?.split_once('(')?;
        let amount = number(amount, known)?;
        return Some(Value::Time(match unit {
            "micros" => Duration::from_micros(amount),
            "millis" => Duration::from_millis(amount),
            "secs" => Duration::from_secs(amount),
            _ => return None,
        }));
    }
    number(text, known).map(Value::Number)
}

/// Sums of products of shifts of numbers and names.
fn number(text: &str, known: &BTreeMap<&str, u64>) -> Option<u64> {
    let atom = |text: &str| {
        let text = text.trim().trim_end_matches(" as u64");
        known.get(text).copied().or_else(|| text.replace('_', "").parse().ok())
    };
    let shift = |text: &str| match text.split_once("<<") {
        Some((value, by)) => Some(atom(value)? << atom(by)?),
        None => atom(text),
    };
    let product =
        |text: &str| text.split('*').map(shift).try_fold(1, |product, factor| Some(product * factor?));
    text.split('+').map(product).try_fold(0, |sum, part| Some(sum + part?))
}

fn shown(name: &str, value: Value) -> String {
    match value {
        Value::Time(duration) => time(duration),
        Value::Number(bytes) if name.contains("BYTES") => size(bytes),
        Value::Number(seconds) if name.contains("SECONDS") => format!("{} s", grouped(seconds)),
        Value::Number(number) => grouped(number),
    }
}

fn time(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (0, 0) => format!("{} µs", duration.subsec_micros()),
        (0, ms) => format!("{ms} ms"),
        (seconds, 0) if seconds >= 60 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        (seconds, 0) => format!("{seconds} s"),
        (seconds, ms) => format!("{} ms", seconds * 1000 + u64::from(ms)),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{} bytes", grouped(bytes)),
    }
}

/// `100 000`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[test]
fn a_limit_is_read_as_the_compiler_reads_it() {
    let known = BTreeMap::from([("MIB", 1 << 20), ("STACK", 5)]);
    for (text, expected) in [
        ("64 << 10", 65_536),
        ("16 * MIB", 16 << 20),
        ("STACK + MIB", (1 << 20) + 5),
        ("10 * 365 * 2", 7300),
        ("20_000", 20_000),
    ] {
        assert_eq!(number(text, &known), Some(expected), "{text}");
    }
    assert_eq!(number("size_of::<usize>()", &known), None);
    assert_eq!([grouped(1), grouped(1000), grouped(1_234_567)], ["1", "1 000", "1 234 567"]);
    assert_eq!([size(512), size(65_536), size(3 << 20)], ["512 bytes", "64 KiB", "3 MiB"]);
    assert_eq!(
        [time(Duration::from_millis(10)), time(Duration::from_secs(30)), time(Duration::from_secs(600))],
        ["10 ms", "30 s", "10 min"]
    );
}

// === the contract ===

/// The items of a WIT file of ours as Markdown, in their order. Our files hold one item a line, or end
/// a long one with `;`; a parser of all of WIT would bring the whole workspace other features.
fn reference(wit: &str) -> String {
    let (mut out, mut docs, mut item, mut inside) = (String::new(), String::new(), String::new(), vec![]);
    for line in wit.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            docs += text.strip_prefix(' ').unwrap_or(text);
            docs.push('\n');
            continue;
        }
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        item += line;
        let is_member = matches!(inside.last(), Some(&("record" | "variant" | "enum" | "resource")));
        if !(line.ends_with(['{', '}', ';']) || is_member && line.ends_with(',')) {
            item.push(' ');
            continue;
        }
        put(&mut out, &item, &docs, &mut inside);
        item.clear();
        docs.clear();
    }
    assert!(inside.is_empty(), "a file of ours closes what it opens: {inside:?}");
    out
}

fn put(out: &mut String, item: &str, docs: &str, inside: &mut Vec<&'static str>) {
    const BLOCKS: [&str; 6] = ["interface", "world", "record", "variant", "enum", "resource"];
    let (word, rest) = item.split_once(' ').unwrap_or((item, ""));
    if let Some(block) = BLOCKS.into_iter().find(|block| *block == word) {
        let hashes = if matches!(block, "interface" | "world") { "###" } else { "####" };
        let _ = write!(out, "\n{hashes} {block} `{}`\n\n{docs}", rest.trim_end_matches([' ', '{']));
        inside.push(block);
        return;
    }
    let plain = item.trim_end_matches([',', ';']);
    match (word, inside.last()) {
        ("}", _) => drop(inside.pop()),
        ("package", _) => {
            let _ = write!(out, "\n## `{}`\n\n{docs}", rest.trim_end_matches(';'));
        }
        // Where it comes from is where it is described.
        ("use", _) => {}
        (_, Some(&"world")) => {
            let _ = writeln!(out, "- `{plain}`");
        }
        (_, Some(&"interface")) => {
            let name = item.split(':').next().unwrap_or_default();
            let _ = write!(out, "\n#### `{name}`\n\n```wit\n{plain}\n```\n\n{docs}");
        }
        _ => {
            let told = docs.trim().replace('\n', " ");
            let _ = writeln!(out, "- `{plain}`{}{told}", if told.is_empty() { "" } else { ": " });
        }
    }
}

#[test]
fn an_item_of_the_contract_is_told_with_what_it_holds() {
    let wit = "/// P.\npackage a:b@1.0.0;\n\n/// I.\ninterface i {\n  use t.{e};\n\n  /// R.\n  record r {\n    /// F.\n    \
               f: u8,\n    g: u8,\n  }\n\n  /// D.\n  do: func(\n    x: u8,\n  ) -> u8;\n}\n\nworld w {\n  import i;\n}\n";
    let expected = "\n## `a:b@1.0.0`\n\nP.\n\n### interface `i`\n\nI.\n\n#### record `r`\n\nR.\n- `f: u8`: F.\n- `g: u8`\n\n\
                    #### `do`\n\n```wit\ndo: func( x: u8, ) -> u8\n```\n\nD.\n\n### world `w`\n\n- `import i`\n";
    assert_eq!(reference(wit), expected);
}
