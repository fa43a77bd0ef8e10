//! Finding known values in what a guest gets and says, however they are written.
//!
//! A guest never has a secret's value: the host puts it in at the boundary. This is the second lock, for upstreams
//! that say back what they were sent and for values that came by another way. One automaton holds every known value
//! in every spelling, is built once for a chain of calls, and reads a text once, whatever the number of spellings.
//!
//! Found are a value as it is, as JSON, HTML, percent- and form-encoding write it, in base64 of both alphabets at
//! every alignment, in hexadecimal, in UTF-16 and backwards.
//!
//! Deliberately absent: values under [`SCANNED_BYTES_MIN`], which would match by chance, and what a program makes of
//! a value on purpose: split, encrypted, spelled in an alphabet of its own.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::{
    alphabet::{Alphabet, STANDARD, URL_SAFE},
    engine::{Engine as _, GeneralPurpose, general_purpose::NO_PAD},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, ops::Range};
use zeroize::Zeroizing;

/// Shorter values would match by chance and garble what is there.
pub const SCANNED_BYTES_MIN: usize = 6;
/// A spelling up to this long is found whole; of a longer one pieces of [`ANCHOR_BYTES`] are looked for, one in every
/// [`ANCHOR_STRIDE_BYTES`], and what stands around a piece is compared: the automaton of a long key stays small, and a
/// part of it of a stride and a piece is still found.
const WHOLE_BYTES_MAX: usize = 1 << 10;
const ANCHOR_BYTES: usize = 32;
const ANCHOR_STRIDE_BYTES: usize = 256;

/// Values with the names of their secrets; a secret that was replaced has two.
pub type Values = Vec<(String, SecretString)>;

/// Knows values and finds them.
pub struct Scanner {
    automaton: AhoCorasick,
    patterns: Vec<Pattern>,
    spellings: Vec<Spelling>,
    names: Vec<String>,
}

/// A value in one way to write it.
struct Spelling {
    name: usize,
    text: Zeroizing<Vec<u8>>,
}

/// What the automaton looks for: a spelling, or a piece of one.
struct Pattern {
    spelling: usize,
    at: usize,
}

/// How often each secret was found, by name.
pub type Found = BTreeMap<String, u32>;

impl Scanner {
    /// Knows these values; none where there is nothing to look for.
    pub fn new(values: &Values) -> Option<Scanner> {
        let (mut names, mut spellings) = (vec![], vec![]);
        for (name, value) in values {
            let value = value.expose_secret().as_bytes();
            if value.len() < SCANNED_BYTES_MIN {
                continue;
            }
            spellings.extend(spell(value).into_iter().map(|text| Spelling { name: names.len(), text }));
            names.push(name.clone());
        }
        let (mut patterns, mut needles) = (vec![], vec![]);
        for (spelling, Spelling { text, .. }) in spellings.iter().enumerate() {
            for piece in pieces(text.len()) {
                patterns.push(Pattern { spelling, at: piece.start });
                needles.push(&text[piece]);
            }
        }
        // Longest first: one value, or one spelling of it, may stand inside another.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&needles)
            .ok()?;
        drop(needles);
        (!patterns.is_empty()).then_some(Scanner { automaton, patterns, spellings, names })
    }

    /// The names of the secrets whose value stands in this.
    pub fn names_in(&self, bytes: &[u8]) -> Vec<&str> {
        let mut names: Vec<_> =
            self.automaton.find_iter(bytes).map(|found| self.name(found.pattern().as_usize())).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The same bytes with references in the place of values.
    pub fn clean<'a>(&self, bytes: &'a [u8], found: &mut Found) -> Cow<'a, [u8]> {
        let mut clean: Option<Vec<u8>> = None;
        let mut done = 0;
        for hit in self.automaton.find_iter(bytes) {
            let at = self.whole(hit.pattern().as_usize(), hit.range(), bytes);
            // A piece inside what was replaced with the one before it.
            if at.end <= done {
                continue;
            }
            let name = self.name(hit.pattern().as_usize());
            let clean = clean.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
            if at.start >= done {
                clean.extend_from_slice(&bytes[done..at.start]);
                clean.extend_from_slice(super::reference(name).as_bytes());
                *found.entry(name.to_owned()).or_default() += 1;
            }
            done = at.end;
        }
        match clean {
            Some(mut clean) => {
                clean.extend_from_slice(&bytes[done..]);
                Cow::Owned(clean)
            }
            None => Cow::Borrowed(bytes),
        }
    }

    /// The same for a text.
    pub fn clean_text(&self, text: String, found: &mut Found) -> String {
        match self.clean(text.as_bytes(), found) {
            Cow::Borrowed(_) => text,
            Cow::Owned(clean) => String::from_utf8_lossy(&clean).into_owned(),
        }
    }

    /// The same for a JSON text: also where an escape hides a value that its reader would see. What is no JSON is
    /// cleaned as text.
    pub fn clean_json(&self, text: String, found: &mut Found) -> String {
        if text.contains('\\')
            && let Ok(mut value) = serde_json::from_str::<Value>(&text)
        {
            let before = found.values().sum::<u32>();
            self.clean_value(&mut value, found);
            if found.values().sum::<u32>() > before {
                return self.clean_text(value.to_string(), found);
            }
        }
        self.clean_text(text, found)
    }

    /// The same for a JSON value: its strings and names.
    pub fn clean_value(&self, value: &mut Value, found: &mut Found) {
        match value {
            Value::String(text) => *text = self.clean_text(std::mem::take(text), found),
            Value::Array(list) => list.iter_mut().for_each(|inner| self.clean_value(inner, found)),
            Value::Object(map) => {
                let fields = std::mem::take(map);
                map.extend(fields.into_iter().map(|(name, mut inner)| {
                    self.clean_value(&mut inner, found);
                    (self.clean_text(name, found), inner)
                }));
            }
            _ => {}
        }
    }

    fn name(&self, pattern: usize) -> &str {
        &self.names[self.spellings[self.patterns[pattern].spelling].name]
    }

    /// What around a found piece belongs to its spelling.
    fn whole(&self, pattern: usize, found: Range<usize>, bytes: &[u8]) -> Range<usize> {
        let Pattern { spelling, at } = self.patterns[pattern];
        let text: &[u8] = &self.spellings[spelling].text;
        let same = |(a, b): &(&u8, &u8)| a == b;
        let before = bytes[..found.start].iter().rev().zip(text[..at].iter().rev()).take_while(same).count();
        let after = bytes[found.end..].iter().zip(&text[at + found.len()..]).take_while(same).count();
        found.start - before..found.end + after
    }
}

impl std::fmt::Debug for Scanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanner").field("names", &self.names).finish_non_exhaustive()
    }
}

/// Where in a spelling of this length to look.
fn pieces(length: usize) -> impl Iterator<Item = Range<usize>> {
    let piece = if length <= WHOLE_BYTES_MAX { length } else { ANCHOR_BYTES };
    (0..=length - piece).step_by(ANCHOR_STRIDE_BYTES).map(move |at| at..at + piece)
}

/// A value in every way it is looked for, each once.
fn spell(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let mut all = vec![
        value.to_vec(),
        value.iter().rev().copied().collect(),
        text.chars().rev().collect::<String>().into(),
    ];
    all.extend(as_json(text));
    all.extend(as_html(text));
    all.extend(percent_encoded(value));
    for alphabet in [&STANDARD, &URL_SAFE] {
        all.extend(in_base64(value, alphabet));
    }
    all.extend([hex::encode(value).into_bytes(), hex::encode_upper(value).into_bytes()]);
    all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    all.push(text.encode_utf16().flat_map(u16::to_be_bytes).collect());
    all.retain(|spelling| spelling.len() >= SCANNED_BYTES_MIN);
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(Zeroizing::new).collect()
}

/// As JSON has it: plainly, with escaped slashes as PHP writes them, with ASCII alone as Python does, and both once
/// more inside a JSON string, for JSON in JSON.
fn as_json(text: &str) -> Vec<Vec<u8>> {
    let quoted = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let plain = quoted(text);
    let ascii: String = plain
        .chars()
        .map(|c| {
            let mut units = [0; 2];
            let escaped = c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}"));
            if c.is_ascii() { c.to_string() } else { escaped.collect() }
        })
        .collect();
    let slashes = |text: &str| text.replace('/', "\\/");
    let both = slashes(&ascii);
    [quoted(&plain), quoted(&both), slashes(&plain), plain, ascii, both].map(String::into_bytes).into()
}

fn as_html(text: &str) -> Vec<Vec<u8>> {
    let named = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    [named.replace('\'', "&#39;"), named.replace('\'', "&#x27;"), named.replace('\'', "&apos;"), named]
        .map(String::into_bytes)
        .into()
}

/// With few and with many characters kept, a blank as `+` too, each with upper and lower digits.
fn percent_encoded(value: &[u8]) -> Vec<Vec<u8>> {
    let kept_by: [&[u8]; 4] = [b"-._~", b"-._~!*'()", b"-._~!$&'()*+,;=:@/?", b""];
    let mut all = vec![];
    for (at, kept) in kept_by.into_iter().enumerate() {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            let letters = at + 1 < kept_by.len();
            let mut encoded = vec![];
            for byte in value {
                if kept.contains(byte) || letters && byte.is_ascii_alphanumeric() {
                    encoded.push(*byte);
                } else {
                    let digit = |nibble: u8| digits[usize::from(nibble)];
                    encoded.extend([b'%', digit(byte >> 4), digit(byte & 0xf)]);
                }
            }
            if value.contains(&b' ') {
                let with_plus = String::from_utf8_lossy(&encoded).replace("%20", "+");
                all.push(with_plus.into_bytes());
            }
            all.push(encoded);
        }
    }
    all
}

/// Alone, with and without padding; and inside a longer text, at each of three alignments, without the characters at
/// the edges that its neighbours have a part in.
fn in_base64(value: &[u8], alphabet: &Alphabet) -> Vec<Vec<u8>> {
    let engine = GeneralPurpose::new(alphabet, NO_PAD);
    let alone = engine.encode(value);
    let padding = "=".repeat((4 - alone.len() % 4) % 4);
    let mut all = vec![format!("{alone}{padding}").into_bytes(), alone.into_bytes()];
    for before in 0..3_usize {
        let padded = [&[0_u8; 2][..before], value].concat();
        let encoded = engine.encode(&padded);
        // Bits of the neighbour before, bits that are there in all.
        let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        all.push(encoded.as_bytes()[from..to].to_vec());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};
    use std::time::Instant;

    fn scanner(values: &[(&str, &str)]) -> Scanner {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)));
        Scanner::new(&values.collect()).unwrap()
    }

    fn cleaned(text: &str, value: &str) -> String {
        scanner(&[("KEY", value)]).clean_text(text.to_owned(), &mut Found::new())
    }

    #[test]
    fn a_value_is_found_however_it_is_written() {
        let value = "se/\"c+r'ét&é =?";
        let utf16: Vec<u8> = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let json = Value::from(value).to_string();
        let form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let texts: Vec<Vec<u8>> = vec![
            value.into(),
            json.clone().into(),
            Value::from(json.clone()).to_string().into(),
            json.replace('/', "\\/").into(),
            r#"se/\"c+r'\u00e9t&\u00e9 =?"#.into(),
            "se/&quot;c+r&#39;ét&amp;é =?".into(),
            form.clone().into(),
            form.replace("%2F", "%2f").replace("%C3", "%c3").to_lowercase().into(),
            value.bytes().map(|b| format!("%{b:02X}")).collect::<String>().into(),
            BASE64_STANDARD.encode(value).into(),
            BASE64_URL_SAFE_NO_PAD.encode(value).into(),
            BASE64_STANDARD.encode(format!("user:{value}")).into(),
            BASE64_STANDARD.encode(format!("us:{value}:x")).into(),
            BASE64_URL_SAFE_NO_PAD.encode(format!("u:{value} and more")).into(),
            hex::encode(value).into(),
            hex::encode_upper(value).into(),
            value.chars().rev().collect::<String>().into(),
            value.bytes().rev().collect(),
            utf16,
        ];
        let scanner = scanner(&[("KEY", value)]);
        for text in texts {
            let shown = String::from_utf8_lossy(&text).into_owned();
            let around = [b"before ", text.as_slice(), b" after"].concat();
            let mut found = Found::new();
            let clean = String::from_utf8_lossy(&scanner.clean(&around, &mut found)).into_owned();
            assert!(clean.contains("{{secret:KEY}}"), "{shown}: {clean}");
            assert!(clean.starts_with("before ") && clean.ends_with(" after"), "{shown}: {clean}");
            assert_eq!((found["KEY"], scanner.names_in(&around)), (1, vec!["KEY"]), "{shown}");
        }
    }

    #[test]
    fn what_is_alone_in_base64_leaves_nothing_and_what_is_inside_leaves_a_few_bits() {
        assert_eq!(cleaned("c2VjcmV0LXZhbHVl", "secret-value"), "{{secret:KEY}}");
        assert_eq!(cleaned(&BASE64_STANDARD.encode("secret-value1"), "secret-value1"), "{{secret:KEY}}");
        let inside = cleaned(&BASE64_STANDARD.encode("user:secret-value1"), "secret-value1");
        assert_eq!(inside, "dXNlcjp{{secret:KEY}}", "{inside}");
    }

    #[test]
    fn values_are_told_apart_and_the_longer_wins() {
        let scanner = scanner(&[("LONG", "abcdefgh"), ("SHORT", "abcdef"), ("TINY", "abc")]);
        let mut found = Found::new();
        let clean = scanner.clean_text("abcdefghabcdefabc".into(), &mut found);
        assert_eq!(
            clean, "{{secret:LONG}}{{secret:SHORT}}abc",
            "what is too short to be told from chance stays"
        );
        assert_eq!((found["LONG"], found["SHORT"]), (1, 1));
        assert_eq!(scanner.clean_text("secret".into(), &mut Found::new()), "secret");
        assert!(Scanner::new(&vec![("TINY".to_owned(), SecretString::from("abc"))]).is_none());
    }

    #[test]
    fn an_escape_in_json_hides_nothing() {
        let scanner = scanner(&[("KEY", "secret-value")]);
        let mut found = Found::new();
        let hidden = r#"{"a\n":["\u0073ecret-value","x"],"\u0073ecret-value":1}"#;
        let clean = scanner.clean_json(hidden.to_owned(), &mut found);
        assert_eq!(clean, r#"{"a\n":["{{secret:KEY}}","x"],"{{secret:KEY}}":1}"#);
        assert_eq!(found["KEY"], 2);
        let clean = scanner.clean_json("no json secret-value".to_owned(), &mut found);
        assert_eq!(clean, "no json {{secret:KEY}}");
    }

    #[test]
    fn of_a_long_value_every_long_part_is_found() {
        let value: String = (0..400_u32).map(|n| hex::encode(Sha256::digest(n.to_be_bytes()))).collect();
        let scanner = scanner(&[("KEY", &value)]);
        for part in [&value[..], &value[100..19_000], &value[5000..5000 + ANCHOR_BYTES + ANCHOR_STRIDE_BYTES]]
        {
            let clean = scanner.clean_text(format!("<{part}>"), &mut Found::new());
            assert_eq!(clean, "<{{secret:KEY}}>");
        }
    }

    /// Not a limit that is tested: what it costs is printed (`cargo nextest run … --no-capture`).
    #[test]
    fn what_a_scan_costs() {
        let values: Vec<_> =
            (0..5).map(|n| (format!("KEY_{n}"), format!("sk-proj-{n}A7f3Kq9ZtLw2Xv8Rm4Ny6Pb1"))).collect();
        let begun = Instant::now();
        let values = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
        let scanner = scanner(&values);
        let built = begun.elapsed();
        let text = r#"{"id": 12345, "name": "An ordinary answer", "url": "https://example.com/a?b=c"}, "#
            .repeat(12_000);
        let begun = Instant::now();
        assert!(matches!(scanner.clean(text.as_bytes(), &mut Found::new()), Cow::Borrowed(_)));
        let kib = text.len() / 1024;
        println!(
            "built in {built:?}, {:?} for each KiB of {kib}",
            begun.elapsed() / u32::try_from(kib).unwrap()
        );
    }

    proptest! {
        #[test]
        fn whatever_the_value_and_its_surroundings_it_is_gone(
            value in "[ -~é日]{6,40}", before in "[ -~]{0,20}", after in "[ -~]{0,20}",
        ) {
            let scanner = scanner(&[("KEY", &value)]);
            // A reference may itself hold what is looked for: `secret` is a value like another.
            prop_assume!(!"{{secret:KEY}}".contains(&value));
            let clean = scanner.clean_text(format!("{before}{value}{after}"), &mut Found::new());
            prop_assert!(clean.contains("{{secret:KEY}}"));
            for text in [BASE64_STANDARD.encode(format!("{before}{value}{after}")), hex::encode(format!("{before}{value}{after}"))] {
                prop_assert!(scanner.clean_text(text, &mut Found::new()).contains("{{secret:KEY}}"));
            }
        }
    }
}
