//! What a plugin says it was built of: the crates in the custom section `.dep-v0`, which `cargo auditable build` puts
//! into the module inside a component, as JSON under zlib.
//!
//! It is its author's word: nothing checks it, and what cannot be read is none. Deliberately absent: signatures;
//! none was found that authors' tools write.

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use serde::{Deserialize, Serialize};
use std::io::Read;
use wasmparser::{Parser, Payload};

const SECTION: &str = ".dep-v0";
/// The longest list, in bytes of JSON: a thousand crates.
const LIST_BYTES_MAX: u64 = 256 << 10;

/// One thing it was built of.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Package {
    name: String,
    version: String,
    /// Where it came from: `crates.io`, `git`, `local`, `registry`.
    source: String,
    /// `runtime`, or `build` for what only its build ran.
    #[serde(default = "runtime")]
    kind: String,
}

#[derive(Deserialize)]
struct List {
    packages: Vec<Package>,
}

fn runtime() -> String {
    "runtime".to_owned()
}

/// What these bytes say they were built of; none where they do not.
pub(super) async fn read(wasm: Bytes) -> Option<Vec<Package>> {
    tokio::task::spawn_blocking(move || section(&wasm).and_then(parse)).await.ok().flatten()
}

/// The first there is, of the component or of anything inside.
fn section(wasm: &[u8]) -> Option<&[u8]> {
    Parser::new(0).parse_all(wasm).map_while(Result::ok).find_map(|payload| match payload {
        Payload::CustomSection(section) if section.name() == SECTION => Some(section.data()),
        _ => None,
    })
}

fn parse(data: &[u8]) -> Option<Vec<Package>> {
    let mut text = Vec::new();
    ZlibDecoder::new(data).take(LIST_BYTES_MAX + 1).read_to_end(&mut text).ok()?;
    let fits = u64::try_from(text.len()).is_ok_and(|bytes| bytes <= LIST_BYTES_MAX);
    serde_json::from_slice(&text).ok().filter(|_| fits).map(|list: List| list.packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write;

    fn leb(mut number: usize) -> Vec<u8> {
        let mut bytes = vec![];
        loop {
            let low = u8::try_from(number & 0x7f).unwrap();
            number >>= 7;
            bytes.push(if number > 0 { low | 0x80 } else { low });
            if number == 0 {
                return bytes;
            }
        }
    }

    fn custom(name: &str, data: &[u8]) -> Vec<u8> {
        let inside = [&leb(name.len())[..], name.as_bytes(), data].concat();
        [&[0_u8][..], &leb(inside.len())[..], &inside[..]].concat()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(vec![], Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// A component with a module in it that has this section.
    fn component(name: &str, data: &[u8]) -> Bytes {
        let module = [&b"\0asm\x01\0\0\0"[..], &custom(name, data)].concat();
        [&b"\0asm\x0d\0\x01\0\x01"[..], &leb(module.len()), &module].concat().into()
    }

    #[tokio::test]
    async fn m363_what_a_component_was_built_of_is_read_from_inside_and_nothing_hostile_is() {
        let list =
            br#"{"packages":[{"name":"a","version":"1.0.0","source":"local","root":true,"dependencies":[1]},
            {"name":"b","version":"0.2.0","source":"crates.io","kind":"build"}],"format":8}"#;
        let package = |name: &str, version: &str, source: &str, kind: &str| {
            let [name, version, source, kind] = [name, version, source, kind].map(str::to_owned);
            Package { name, version, source, kind }
        };
        let expected =
            vec![package("a", "1.0.0", "local", "runtime"), package("b", "0.2.0", "crates.io", "build")];
        assert_eq!(read(component(SECTION, &zlib(list))).await, Some(expected));
        let bomb = zlib(&vec![b' '; 4 << 20]);
        for (name, data) in [
            ("producers", zlib(list)),
            (SECTION, list.to_vec()),
            (SECTION, zlib(b"{}")),
            (SECTION, zlib(br#"{"packages":[{"name":1}]}"#)),
            (SECTION, bomb),
            (SECTION, vec![]),
        ] {
            assert_eq!(read(component(name, &data)).await, None, "{name}");
        }
        let whole = component(SECTION, &zlib(list));
        for length in 0..whole.len() {
            assert_eq!(read(whole.slice(..length)).await, None, "broken off at {length}");
        }
    }
}
