//! The hostile guests: components that do what no author should.
//!
//! Each is a directory with a `README.md`, which says its number, what it tries
//! and what becomes of it. Most are WebAssembly text (`guest.wat`), put together
//! here in a millisecond; those whose text would be huge are made by code
//! (`guest.rs`); both stand in `plugins/hostile-guests`. The others are Rust,
//! built with the SDK, and stand among the `plugins/test-guests`.
//!
//! A text is a component in which `{{name}}` stands for `parts/name.wat`;
//! `{{main}}` for what the main module has in common with all others; and
//! `{{params}}` for the parameters of `call`. What the guest says of itself
//! stands in comments: `;; tool: NAME`, `;; says: TEXT`, `;; asks: KIND TARGET`.

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex};

include!(concat!(env!("OUT_DIR"), "/hostile_guests.rs"));

/// One hostile guest.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Its directory, and the name it is installed by.
    pub name: &'static str,
    /// What it tries and what becomes of it.
    pub readme: &'static str,
    source: Source,
}

/// What a guest is made from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// A component with placeholders.
    Text(&'static str),
    /// Code that makes a component.
    Made(fn() -> Vec<u8>),
    /// A component that cargo built.
    Built(&'static [u8]),
}

impl Guest {
    /// The number of the behaviour, of which there are forty.
    ///
    /// # Panics
    /// Where the README does not begin with it.
    pub fn number(&self) -> u32 {
        let number = self.readme.strip_prefix("# ").and_then(|text| text.split_once('.'));
        number.and_then(|(number, _)| number.parse().ok()).expect("a README begins with `# NUMBER. `")
    }

    /// What it tries, in a line.
    pub fn tries(&self) -> &'static str {
        let first = self.readme.lines().next().unwrap_or_default();
        first.split_once(". ").map_or("", |(_, tries)| tries)
    }

    /// What becomes of it, in a line.
    pub fn outcome(&self) -> &'static str {
        self.readme.lines().nth(2).unwrap_or_default()
    }

    /// The component.
    ///
    /// # Panics
    /// Where its text is wrong.
    pub fn wasm(&self) -> Vec<u8> {
        match self.source {
            Source::Text(text) => self.made(text.to_owned(), assemble),
            Source::Made(make) => self.made(String::new(), |_| Ok(make())),
            Source::Built(wasm) => wasm.to_vec(),
        }
    }

    /// What is made of a text, each once: who repeats an attack measures that, and not how it is put together.
    fn made(&self, text: String, make: impl Fn(&str) -> Result<Vec<u8>, wat::Error>) -> Vec<u8> {
        static MADE: Mutex<BTreeMap<(&str, String), Vec<u8>>> = Mutex::new(BTreeMap::new());
        let key = (self.name, text);
        if let Some(wasm) = MADE.lock().expect("nobody panics with it").get(&key) {
            return wasm.clone();
        }
        let wasm = make(&key.1).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        MADE.lock().expect("nobody panics with it").insert(key, wasm.clone());
        wasm
    }

    /// The component with `from` in its text replaced by `to`.
    ///
    /// # Panics
    /// Where the guest is no text, or `from` is not in it.
    pub fn variant(&self, from: &str, to: &str) -> Vec<u8> {
        let Source::Text(text) = self.source else { panic!("{} is no text", self.name) };
        assert!(text.contains(from), "{} has no `{from}`", self.name);
        self.made(text.replace(from, to), assemble)
    }
}

const PARTS: &[(&str, &str)] = &[
    ("clock", include_str!("../../plugins/hostile-guests/parts/clock.wat")),
    ("export", include_str!("../../plugins/hostile-guests/parts/export.wat")),
    ("helpers", include_str!("../../plugins/hostile-guests/parts/helpers.wat")),
    ("host-error", include_str!("../../plugins/hostile-guests/parts/host-error.wat")),
    ("http", include_str!("../../plugins/hostile-guests/parts/http.wat")),
    ("libc", include_str!("../../plugins/hostile-guests/parts/libc.wat")),
    ("log", include_str!("../../plugins/hostile-guests/parts/log.wat")),
    ("poll", include_str!("../../plugins/hostile-guests/parts/poll.wat")),
    ("random", include_str!("../../plugins/hostile-guests/parts/random.wat")),
    ("secrets", include_str!("../../plugins/hostile-guests/parts/secrets.wat")),
    ("stdout", include_str!("../../plugins/hostile-guests/parts/stdout.wat")),
    ("tools", include_str!("../../plugins/hostile-guests/parts/tools.wat")),
    ("types", include_str!("../../plugins/hostile-guests/parts/types.wat")),
];

/// A name, an input and a context, as the canonical ABI hands them over.
const PARAMS: &str = "(param $name i32) (param $name-bytes i32) (param $input i32) (param $input-bytes i32) \
     (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)";

/// The component a text stands for.
///
/// # Errors
/// What is wrong with the text, and where.
pub fn assemble(text: &str) -> Result<Vec<u8>, wat::Error> {
    // What a guest says of itself may be what no text of a program should hold.
    let code: String = text.split_inclusive('\n').filter(|line| !line.starts_with(";; ")).collect();
    let mut whole = code.replace("{{main}}", "{{helpers}} {{description}}");
    for (name, part) in PARTS {
        whole = whole.replace(&format!("{{{{{name}}}}}"), part);
    }
    let post_return =
        if text.contains("\"post-return\"") { "(post-return (func $main \"post-return\"))" } else { "" };
    whole = whole
        .replace("{{params}}", PARAMS)
        .replace("{{post-return}}", post_return)
        .replace("{{description}}", &Description::of(text).to_wat());
    wat::parse_str(&whole)
}

/// What a guest says of itself, as its comments have it.
struct Description<'a> {
    tools: Vec<&'a str>,
    says: &'a str,
    asks: Vec<(&'a str, &'a str)>,
}

/// Where in a guest's memory its description stands.
const DESCRIPTION_AT: u32 = 1024;

impl<'a> Description<'a> {
    fn of(text: &'a str) -> Self {
        let said = |what: &'static str| text.lines().filter_map(move |line| line.strip_prefix(what));
        let mut tools: Vec<_> = said(";; tool: ").collect();
        if tools.is_empty() {
            tools.push("run");
        }
        Description {
            tools,
            says: said(";; says: ").next().unwrap_or("A hostile guest."),
            asks: said(";; asks: ").filter_map(|line| line.split_once(' ')).collect(),
        }
    }

    /// A `list<definition>` in memory, and the function that returns it. The first tool asks for everything.
    fn to_wat(&self) -> String {
        let mut data = Data::default();
        let asks: Vec<_> = self
            .asks
            .iter()
            .flat_map(|(kind, target)| [data.text(kind), data.text(target), data.text("to attack")])
            .collect();
        let asks = data.pairs(&asks, self.asks.len());
        let mut fields = vec![];
        for (at, name) in self.tools.iter().enumerate() {
            let capabilities = if at == 0 { asks } else { (0, 0) };
            fields.extend([
                data.text(name),
                data.text(self.says),
                data.text("{\"type\":\"object\"}"),
                capabilities,
            ]);
        }
        let tools = data.pairs(&fields, self.tools.len());
        let list = data.pairs(&[tools], 1);
        format!(
            "(data (i32.const {DESCRIPTION_AT}) \"{}\") (func (export \"describe\") (result i32) (i32.const {}))",
            data.escaped(),
            list.0
        )
    }
}

/// Bytes of a guest's memory, from [`DESCRIPTION_AT`] on.
#[derive(Default)]
struct Data(Vec<u8>);

/// Where something is, and its length.
type Slice = (u32, u32);

impl Data {
    fn here(&self) -> u32 {
        DESCRIPTION_AT + u32::try_from(self.0.len()).expect("a description is small")
    }

    fn text(&mut self, text: &str) -> Slice {
        let at = self.here();
        self.0.extend(text.bytes());
        (at, u32::try_from(text.len()).expect("a description is small"))
    }

    fn pairs(&mut self, pairs: &[Slice], count: usize) -> Slice {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let at = self.here();
        for (start, length) in pairs {
            self.0.extend(start.to_le_bytes());
            self.0.extend(length.to_le_bytes());
        }
        (at, u32::try_from(count).expect("a description is small"))
    }

    fn escaped(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\{byte:02x}");
            text
        })
    }
}
