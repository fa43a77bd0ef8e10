//! What an author says of a plugin, in the words of Extism's manifest, and a few of ours under `opg`.
//!
//! A manifest comes with the module in it, as `data`, or stands in the module, in a section of its own; where it comes
//! with one it is written there, so that what is kept, compiled and run is one file.
//!
//! These types are ours, after the crate `extism-manifest`: that one takes no field it does not know, and says of a
//! wrong source only that no variant fits.

use super::shape::Shape;
use crate::sandbox::describe::RequestedCapability;
use crate::sandbox::limits::{CAPABILITIES_MAX, EXTISM_MANIFEST_BYTES_MAX};
use crate::sandbox::text::clean;
use crate::sandbox::verify::LoadError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The custom section a manifest stands in.
pub(super) const SECTION: &str = "opg:extism-manifest";

/// Where two might say different things.
pub(super) const ONE_ONLY: &str = "the module holds several manifests; leave one";

/// A plugin's manifest, without the plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::sandbox) struct Manifest {
    /// What `config_get` finds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) config: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_hosts: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Memory::is_default")]
    pub(super) memory: Memory,
    #[serde(skip_serializing_if = "Ours::is_default")]
    pub(super) opg: Ours,
}

/// `memory` of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_pages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_http_response_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_var_bytes: Option<u64>,
}

/// What Extism has no word for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ours {
    /// What models are told of its functions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tools: BTreeMap<String, Told>,
    /// Whether its variables outlive a call, in its key-value store.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) keep_vars: bool,
    /// What it wants to touch besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    capabilities: Vec<RequestedCapability>,
}

/// One function, for models.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_schema: Option<Value>,
    pub(super) input: Input,
}

/// What a function reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Input {
    /// The arguments, as JSON.
    #[default]
    Json,
    /// The one argument `text`, as it is.
    Text,
}

impl Memory {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Ours {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A page of WebAssembly's, of which 16 are a MiB.
const PAGES_PER_MIB: u64 = 16;

/// What kept variables are called in the key-value store.
pub(super) const VARS_PREFIX: &str = "var/";

impl Manifest {
    /// Reads one that stands in a module.
    pub(super) fn read(json: &[u8]) -> Result<Manifest, LoadError> {
        check_size(json.len())?;
        serde_json::from_slice(json).map_err(|error| refused(&error.to_string()))
    }

    /// Whether what it says of functions is about some that are there.
    pub(super) fn check_tools(&self, shape: &Shape) -> Result<(), LoadError> {
        let describes_itself = shape.is_servlet();
        match self.opg.tools.keys().find(|name| describes_itself || !shape.has(name)) {
            None => Ok(()),
            Some(name) if describes_itself => {
                let name = clean(name, 100);
                Err(refused(&format!(
                    "it describes `{name}`, and so does the plugin's own `describe`; leave one"
                )))
            }
            Some(name) => {
                let name = clean(name, 100);
                Err(refused(&format!("it describes `{name}`, which is no function of the plugin")))
            }
        }
    }

    /// What the plugin wants to touch, for a reviewer.
    pub(super) fn wishes(&self) -> Vec<RequestedCapability> {
        let mut wishes = Wishes(vec![]);
        let hosts = self.allowed_hosts.as_deref().unwrap_or_default();
        for host in hosts {
            wishes.add("http", host.clone(), "The manifest's `allowed_hosts` names it.".to_owned());
        }
        for (key, value) in &self.config {
            for name in crate::secrets::references(value) {
                // A secret goes to hosts that are named.
                for host in hosts.iter().filter(|host| *host != "*") {
                    let reason = format!("`config.{key}` of the manifest refers to it.");
                    wishes.add("secret", format!("{name}@{host}"), reason);
                }
            }
        }
        if let Some(pages) = self.memory.max_pages {
            let target = format!("memory_mib={}", pages.div_ceil(PAGES_PER_MIB).max(1));
            wishes.add("limit", target, "The manifest's `memory.max_pages` says so.".to_owned());
        }
        if let Some(timeout_ms) = self.timeout_ms {
            let reason = "The manifest's `timeout_ms` says so.".to_owned();
            wishes.add("limit", format!("wall_ms={timeout_ms}"), reason);
        }
        if self.opg.keep_vars {
            let reason = "Its variables outlive a call: `opg.keep_vars` of the manifest.".to_owned();
            wishes.add("kv", format!("write:{VARS_PREFIX}*"), reason);
        }
        wishes.0.extend(self.opg.capabilities.iter().cloned());
        wishes.0
    }
}

/// A list that stops growing once it is longer than may be reviewed; `describe` then refuses it.
struct Wishes(Vec<RequestedCapability>);

impl Wishes {
    fn add(&mut self, kind: &str, target: String, reason: String) {
        let wish = RequestedCapability { kind: kind.to_owned(), target, reason };
        let is_new = self.0.iter().all(|had| (&had.kind, &had.target) != (&wish.kind, &wish.target));
        if is_new && self.0.len() <= CAPABILITIES_MAX {
            self.0.push(wish);
        }
    }
}

/// A manifest as it is uploaded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Uploaded<'a> {
    #[serde(borrow, default)]
    wasm: Vec<Source<'a>>,
    #[serde(default)]
    allowed_paths: Option<BTreeMap<String, String>>,
    // The rest, as it is kept.
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    allowed_hosts: Option<Vec<String>>,
    #[serde(default)]
    timeout_ms: Option<u64>,
    #[serde(default)]
    memory: Memory,
    #[serde(default)]
    opg: Ours,
}

/// Where a module comes from: here, a file or another host have no place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source<'a> {
    #[serde(borrow, default)]
    data: Option<Cow<'a, str>>,
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    url: Option<String>,
    // What goes with a URL, and a name for modules that are linked together.
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default, rename = "headers")]
    _headers: serde::de::IgnoredAny,
    #[serde(default, rename = "method")]
    _method: serde::de::IgnoredAny,
}

/// The module of a manifest, with the manifest in it.
///
/// # Errors
/// What is wrong with the manifest; the module itself is looked at by whoever loads it.
pub(in crate::sandbox) fn into_module(json: &[u8]) -> Result<Vec<u8>, LoadError> {
    let uploaded: Uploaded<'_> = serde_json::from_slice(json).map_err(|error| refused(&error.to_string()))?;
    if uploaded.allowed_paths.is_some_and(|paths| !paths.is_empty()) {
        return Err(refused("`allowed_paths` names files, and a plugin has none here; leave it out"));
    }
    let mut module = module(&uploaded.wasm)?;
    let Uploaded { config, allowed_hosts, timeout_ms, memory, opg, .. } = uploaded;
    let kept = serde_json::to_vec(&Manifest { config, allowed_hosts, timeout_ms, memory, opg })
        .map_err(|error| refused(&error.to_string()))?;
    check_size(kept.len())?;
    append_section(&mut module, &kept);
    Ok(module)
}

fn module(sources: &[Source<'_>]) -> Result<Vec<u8>, LoadError> {
    let [source] = sources else {
        return Err(refused(
            "`wasm` holds the one module of the plugin; several are not linked together here",
        ));
    };
    if source.path.is_some() || source.url.is_some() {
        return Err(refused(
            "`wasm` leads to a file or another host; send the module in it, as `data` in base64",
        ));
    }
    let data = source.data.as_deref().ok_or_else(|| refused("`wasm` has no `data`, the module in base64"))?;
    let module =
        STANDARD.decode(data).map_err(|_| refused("the `data` of `wasm` is not the module in base64"))?;
    let found = hex::encode(Sha256::digest(&module));
    if source.hash.as_ref().is_some_and(|hash| !hash.eq_ignore_ascii_case(&found)) {
        return Err(refused(&format!(
            "the module has the SHA-256 `{found}`, not the `hash` that stands with it"
        )));
    }
    Ok(module)
}

/// A custom section: 0, its size, its name, what is in it.
fn append_section(module: &mut Vec<u8>, content: &[u8]) {
    let mut body = vec![];
    leb128(&mut body, SECTION.len());
    body.extend_from_slice(SECTION.as_bytes());
    body.extend_from_slice(content);
    module.push(0);
    leb128(module, body.len());
    module.extend_from_slice(&body);
}

fn leb128(bytes: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return;
        }
    }
}

fn check_size(bytes: usize) -> Result<(), LoadError> {
    if bytes > EXTISM_MANIFEST_BYTES_MAX {
        return Err(refused(&format!(
            "it has {bytes} bytes without the module, {EXTISM_MANIFEST_BYTES_MAX} are allowed"
        )));
    }
    Ok(())
}

fn refused(why: &str) -> LoadError {
    LoadError::Extism(format!("its manifest: {}", clean(why, 400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(json: &str) -> String {
        into_module(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_is_kept_in_its_module_and_read_back() {
        let json = r#"{
            "wasm": [{ "data": "AGFzbQEAAAA=", "name": "main" }],
            "config": { "key": "{{secret:KEY}} {{secret:OTHER}}", "b": "plain" },
            "allowed_hosts": ["api.example.com", "*"],
            "timeout_ms": 500, "memory": { "max_pages": 17, "max_var_bytes": 7 },
            "opg": { "keep_vars": true, "tools": { "greet": { "input": "text" } } }
        }"#;
        let module = into_module(json.as_bytes()).unwrap();
        let (wasm, section) = module.split_at(8);
        assert_eq!(wasm, b"\0asm\x01\0\0\0");
        let at = section.windows(SECTION.len()).position(|part| part == SECTION.as_bytes()).unwrap();
        let manifest = Manifest::read(&section[at + SECTION.len()..]).unwrap();
        assert_eq!(manifest.opg.tools["greet"].input, Input::Text);
        let wishes: Vec<_> =
            manifest.wishes().iter().map(|wish| format!("{}:{}", wish.kind, wish.target)).collect();
        assert_eq!(
            wishes,
            [
                "http:api.example.com",
                "http:*",
                "secret:KEY@api.example.com",
                "secret:OTHER@api.example.com",
                "limit:memory_mib=2",
                "limit:wall_ms=500",
                "kv:write:var/*"
            ]
        );
        assert_eq!(module, into_module(json.as_bytes()).unwrap(), "the same gives the same");
    }

    #[test]
    fn what_leads_away_from_here_is_refused_with_what_to_do() {
        for (json, says) in [
            ("{", "EOF"),
            ("[]", "its manifest"),
            ("{}", "the one module"),
            (r#"{"wasm":[{"path":"a.wasm"}]}"#, "as `data` in base64"),
            (r#"{"wasm":[{"url":"https://example.com/a.wasm","headers":{}}]}"#, "as `data` in base64"),
            (r#"{"wasm":[{"data":"AA=="},{"data":"AA=="}]}"#, "not linked together"),
            (r#"{"wasm":[{"data":"?"}]}"#, "not the module in base64"),
            (r#"{"wasm":[{"data":"AA==","hash":"00"}]}"#, "not the `hash`"),
            (r#"{"wasm":[{"data":"AA=="}],"allowed_paths":{"/":"/"}}"#, "`allowed_paths`"),
            (r#"{"wasm":[{"data":"AA=="}],"alowed_hosts":[]}"#, "unknown field `alowed_hosts`"),
            (r#"{"wasm":[{"data":"AA=="}],"opg":{"tools":{"a":{"input":"xml"}}}}"#, "unknown variant `xml`"),
        ] {
            assert!(why(json).contains(says), "{json}: {}", why(json));
        }
        let large = format!(r#"{{"wasm":[{{"data":"AA=="}}],"config":{{"a":"{}"}}}}"#, "x".repeat(1 << 20));
        assert!(why(&large).contains("are allowed"));
    }
}
