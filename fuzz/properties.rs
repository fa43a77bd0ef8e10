//! What must hold for any bytes, of what reads hostile input. One function for each fuzz target; the tests run them as
//! well, on fewer bytes (`tests/it/fuzz.rs`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use opg_host::{
    egress::{Egress, EgressPolicy, canonical, is_public},
    grants::{Capability, CapabilityKind, HostPort, HttpRequest, Reach},
    registry::markdown,
    sandbox::{Sandbox, seams},
    typescript,
};
use serde_json::{Value, json};
use std::{str, sync::LazyLock};
use url::{Host, Url};

/// A file that a fuzzer makes nests less than one that somebody made for it; a real one has a stack of a gigabyte.
const TYPESCRIPT_BYTES_MAX: usize = 4 << 10;
const TYPESCRIPT_STACK_BYTES: usize = 256 << 20;

/// The manifest of an Extism plugin, as it is and with a module in it, and the front matter of a markdown agent.
pub(crate) fn manifest(data: &[u8]) {
    let module_is_one = |json: &[u8]| {
        let Ok(module) = Sandbox::module_of_extism_manifest(json) else { return };
        assert!(module.starts_with(b"\0asm\x01\0\0\0"), "what comes out is a core module");
        let _ = seams::check(&module);
    };
    module_is_one(data);
    if let Ok(Value::Object(mut manifest)) = serde_json::from_slice(data) {
        manifest.insert("wasm".to_owned(), json!([{ "data": STANDARD.encode(&*PLUGIN) }]));
        module_is_one(Value::Object(manifest).to_string().as_bytes());
    }
    if let Ok(text) = str::from_utf8(data) {
        let _ = markdown::parse(text);
    }
}

/// Two targets and a request, each on a line: the granted one opens no more than the requested one that it is within.
pub(crate) fn capability(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (granted, requested, host, path, name) = (line(), line(), line(), line(), line());
    for kind in CapabilityKind::ALL {
        let canonical = |target: &str| Capability::new(kind, target).canonical();
        let Ok(granted) = canonical(granted) else { continue };
        assert_eq!(canonical(&granted.target).as_ref(), Ok(&granted), "what is canonical stays as it is");
        let turns_or_hides = |c: char| matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        let reads_as_it_is =
            |c: char| !c.is_control() && (c == ' ' || !c.is_whitespace()) && !turns_or_hides(c);
        assert!(granted.target.chars().all(reads_as_it_is), "{granted}");
        assert!(granted.within(&granted), "{granted}");
        let Ok(requested) = canonical(requested) else { continue };
        if !granted.within(&requested) {
            continue;
        }
        for (port, default_port) in [(443, true), (8080, false)] {
            // To ask for `*` leaves the port to the person who grants.
            let default_port = default_port || requested.target == "*";
            let at = HostPort { host, port, default_port };
            let reaches = [
                Reach::Http(HttpRequest { method: "GET", at: at.clone(), path }),
                Reach::SecretName(name),
                Reach::SecretTo { name, host: at, place: None },
                Reach::KvRead(name),
                Reach::KvWrite(name),
            ];
            for reach in &reaches {
                assert!(
                    !granted.opens(reach) || requested.opens(reach),
                    "{granted}, which is within {requested}, opens {reach}"
                );
            }
        }
    }
}

/// A URL: its canonical form stays as it is, and no address in it that is followed is a private one.
pub(crate) fn url(data: &[u8]) {
    let Some(url) = str::from_utf8(data).ok().and_then(|text| Url::parse(text).ok()) else { return };
    if let Ok(first) = canonical(&url) {
        assert_eq!(canonical(&first).as_ref(), Ok(&first));
        assert!(first.username().is_empty() && first.password().is_none() && first.fragment().is_none());
        assert_eq!(Url::parse(first.as_str()).as_ref(), Ok(&first));
    }
    if let Ok(followed) = CLOSED.judge(&url) {
        match followed.host() {
            Some(Host::Ipv4(address)) => assert!(is_public(address.into()), "{url}"),
            Some(Host::Ipv6(address)) => assert!(is_public(address.into()), "{url}"),
            Some(Host::Domain(name)) => assert!(!name.is_empty() && !name.ends_with('.'), "{url}"),
            None => panic!("{url} is followed without a host"),
        }
    }
}

/// Arguments in JSON for a function with a parameter of each type there is: what is taken comes back, and is taken as
/// the same again.
pub(crate) fn wit_values(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match there_and_back(text) {
        Ok(once) => assert_eq!(there_and_back(&once.to_string()).as_ref(), Ok(&once), "{text}"),
        Err(wrong) => assert!(!wrong.starts_with("back: "), "{text}: {wrong}"),
    }
}

/// What comes back of such arguments, or why they are not taken.
pub(crate) fn there_and_back(text: &str) -> Result<Value, String> {
    FUNCTIONS.there_and_back("all", text)
}

/// The bytes of an upload, before anything is compiled.
pub(crate) fn upload(data: &[u8]) {
    let _ = seams::check(data);
}

/// A tool's file, as the compiler's child reads it.
pub(crate) fn typescript(data: &[u8]) {
    let data = &data[..data.len().min(TYPESCRIPT_BYTES_MAX)];
    let Ok(source) = str::from_utf8(data).map(str::to_owned) else { return };
    let reader = std::thread::Builder::new().stack_size(TYPESCRIPT_STACK_BYTES);
    let read = reader.spawn(move || typescript::read("tool", &source)).expect("a thread can be started");
    if let Err(invalid) = read.join().expect("it never panics") {
        assert!(!invalid.why.is_empty(), "it says why");
    }
}

static CLOSED: LazyLock<Egress> =
    LazyLock::new(|| Egress::new(EgressPolicy::default()).expect("there is a way out"));

/// The smallest Extism plugin.
static PLUGIN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = r#"(module
      (import "extism:host/env" "input_length" (func (result i64)))
      (func (export "run") (result i32) (i32.const 0)))"#;
    wat::parse_str(text).expect("the text is right")
});

static FUNCTIONS: LazyLock<seams::Functions> = LazyLock::new(|| {
    let text = r#"(component
      (core module $code
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
        (func (export "all") (param i32)))
      (core instance $code (instantiate $code))
      (type $point (record (field "x" f32) (field "y" (option s16))))
      (export $point' "point" (type $point))
      (type $shape (variant (case "none") (case "at" $point') (case "named" string)))
      (export $shape' "shape" (type $shape))
      (type $level (enum "low" "high"))
      (export $level' "level" (type $level))
      (type $marks (flags "a" "b" "c"))
      (export $marks' "marks" (type $marks))
      (func (export "all")
        (param "bool" bool) (param "u8" u8) (param "s8" s8) (param "u16" u16) (param "u32" u32) (param "s32" s32)
        (param "u64" u64) (param "s64" s64) (param "f32" f32) (param "f64" f64) (param "char" char)
        (param "text" string) (param "bytes" (list u8)) (param "list" (list (tuple string s32)))
        (param "option" (option (list string))) (param "result" (result u8 (error string)))
        (param "shape" $shape') (param "level" $level') (param "marks" $marks') (param "point" $point')
        (canon lift (core func $code "all") (memory $code "memory") (realloc (func $code "realloc")))))"#;
    seams::Functions::of(&wat::parse_str(text).expect("the text is right")).expect("it compiles")
});

/// Arguments that are taken, for whoever looks for more.
pub(crate) const VALUES: &str = include_str!("seeds/wit_values/all.json");
