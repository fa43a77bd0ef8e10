//! The directory of an archive, read in one way only.
//!
//! Programs that search for it, or believe one of two places where the same stands, can be shown two archives in one.
//! So here it ends where the archive ends, begins where it says and fills what is between; what stands before each
//! file says the same; and no two share a byte. It is read within a bound, before anything is believed.
//!
//! APPNOTE.TXT 6.3.10 is what the numbers are from.

use super::{UnpackError, too_large_a_file, too_many_entries};
use crate::{
    limits::{
        WORKSPACE_ARCHIVE_RATIO_MAX, WORKSPACE_BYTES_MAX, WORKSPACE_FILE_BYTES_MAX, WORKSPACE_FILES_MAX,
    },
    workspace::{Path, space::Kind},
};
use std::{
    collections::BTreeMap,
    io::{Read, Seek, SeekFrom},
};
use unicode_normalization::UnicodeNormalization;

/// The record at the end, and the longest comment after it.
const END_BYTES: u64 = 22;
const COMMENT_BYTES_MAX: u64 = 65_535;
/// The same for large archives, and what says where it is.
const END_64_BYTES: u64 = 56;
const LOCATOR_64_BYTES: u64 = 20;
/// One entry, without its name and what is added to it.
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// What the directory takes: 1.6 KiB for each entry there may be.
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;
/// Below this nobody minds how well something packs.
const RATIO_FREE_BYTES: u64 = 1 << 20;
/// Flags of what cannot be read: encrypted, patched, encrypted strongly, and with names hidden.
const UNREADABLE: u16 = 1 | 1 << 5 | 1 << 6 | 1 << 13;
/// An added field with what is too large for its place.
const ZIP64: u16 = 1;

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Not at all.
    Stored,
    /// As RFC 1951 has it.
    Deflated,
}

/// Something in an archive.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    name: String,
    pub(super) kind: Kind,
    pub(super) method: Method,
    pub(super) crc: u32,
    /// Its length, as it is said.
    pub(super) size: u64,
    /// How long it is in the archive.
    pub(super) packed: u64,
    /// Where its bytes begin there; what stands before them begins at `head`.
    pub(super) at: u64,
    head: u64,
}

fn bad(why: impl Into<String>) -> UnpackError {
    UnpackError::Bad(why.into())
}

/// Little-endian numbers in bytes; none beyond their end.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], UnpackError> {
        let found = self.0.get(at..).and_then(|rest| rest.first_chunk::<N>());
        found.copied().ok_or_else(|| bad("the archive's directory is cut off"))
    }

    fn u16(&self, at: usize) -> Result<u16, UnpackError> {
        Ok(u16::from_le_bytes(self.bytes(at)?))
    }

    fn u32(&self, at: usize) -> Result<u32, UnpackError> {
        Ok(u32::from_le_bytes(self.bytes(at)?))
    }

    fn u64(&self, at: usize) -> Result<u64, UnpackError> {
        Ok(u64::from_le_bytes(self.bytes(at)?))
    }

    fn begins(&self, signature: &[u8; 4]) -> bool {
        self.0.starts_with(signature)
    }
}

fn part(file: &mut (impl Read + Seek), at: u64, length: u64) -> Result<Vec<u8>, UnpackError> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![];
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(bad("the archive is cut off")) }
}

/// Where the directory is.
struct Place {
    entries: u64,
    at: u64,
    bytes: u64,
}

/// Reads the directory of an archive of this length.
///
/// # Errors
/// [`UnpackError`]
pub(super) fn read(file: &mut (impl Read + Seek), length: u64) -> Result<Vec<Packed>, UnpackError> {
    let place = place(file, length)?;
    if place.entries > WORKSPACE_FILES_MAX {
        return Err(too_many_entries());
    }
    if place.bytes > DIRECTORY_BYTES_MAX {
        return Err(UnpackError::TooLarge {
            what: "the archive's directory, in bytes".to_owned(),
            max: DIRECTORY_BYTES_MAX,
        });
    }
    let bytes = part(file, place.at, place.bytes)?;
    let (mut rest, mut packed) = (bytes.as_slice(), vec![]);
    for _ in 0..place.entries {
        let (one, length) = entry(rest)?;
        rest = rest.get(length..).unwrap_or_default();
        packed.push(one);
    }
    if !rest.is_empty() {
        return Err(bad("the archive has more entries than it says"));
    }
    for one in &mut packed {
        local(file, one, place.at)?;
    }
    Ok(packed)
}

fn place(file: &mut (impl Read + Seek), length: u64) -> Result<Place, UnpackError> {
    let no_archive = || bad("this is no ZIP archive, or it is cut off");
    let tail_at = length.saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    let tail = part(file, tail_at, length - tail_at)?;
    // The last one whose comment ends where the archive ends.
    let is_end = |at: &usize| {
        let end = Numbers(&tail[*at..]);
        let comment = end.u16(20).map(u64::from);
        end.begins(b"PK\x05\x06")
            && comment.is_ok_and(|comment| *at as u64 + END_BYTES + comment == tail.len() as u64)
    };
    let found = (0..tail.len()).rev().find(is_end).ok_or_else(no_archive)?;
    let end = Numbers(&tail[found..]);
    let end_at = tail_at + found as u64;
    let parts = [end.u16(4)?, end.u16(6)?];
    let mut place =
        Place { entries: end.u16(10)?.into(), at: end.u32(16)?.into(), bytes: end.u32(12)?.into() };
    let mut is_one = parts == [0, 0] && end.u16(8)? == end.u16(10)?;
    let mut ends_at = end_at;
    let is_large =
        place.entries == u64::from(u16::MAX) || [place.at, place.bytes].contains(&u64::from(u32::MAX));
    if is_large {
        let locator_at = end_at.checked_sub(LOCATOR_64_BYTES).ok_or_else(no_archive)?;
        let locator = part(file, locator_at, LOCATOR_64_BYTES)?;
        let locator = Numbers(&locator);
        if locator.begins(b"PK\x06\x07") {
            ends_at = locator.u64(8)?;
            if ends_at.checked_add(END_64_BYTES).is_none_or(|end| end > locator_at) {
                return Err(no_archive());
            }
            let large = part(file, ends_at, END_64_BYTES)?;
            let large = Numbers(&large);
            if !large.begins(b"PK\x06\x06") {
                return Err(no_archive());
            }
            is_one = large.u32(16)? == 0 && large.u32(20)? == 0 && large.u64(24)? == large.u64(32)?;
            place = Place { entries: large.u64(32)?, at: large.u64(48)?, bytes: large.u64(40)? };
        }
    }
    if !is_one {
        return Err(bad("the archive is one part of several; send it as one"));
    }
    if place.at.checked_add(place.bytes) != Some(ends_at) {
        return Err(bad("the archive's directory is not where it says; pack it anew"));
    }
    Ok(place)
}

/// One entry, and how long it is in the directory.
fn entry(bytes: &[u8]) -> Result<(Packed, usize), UnpackError> {
    let numbers = Numbers(bytes);
    if !numbers.begins(b"PK\x01\x02") {
        return Err(bad("the archive's directory is damaged, or has fewer entries than it says"));
    }
    let (flags, method) = (numbers.u16(8)?, numbers.u16(10)?);
    let [name, extra, comment] = [numbers.u16(28)?, numbers.u16(30)?, numbers.u16(32)?].map(usize::from);
    let cut_off = || bad("the archive's directory is cut off");
    let raw_name = bytes.get(ENTRY_BYTES..ENTRY_BYTES + name).ok_or_else(cut_off)?;
    let added = bytes.get(ENTRY_BYTES + name..ENTRY_BYTES + name + extra).ok_or_else(cut_off)?;
    let length = ENTRY_BYTES + name + extra + comment;
    if bytes.len() < length {
        return Err(cut_off());
    }
    let name = std::str::from_utf8(raw_name)
        .map_err(|_| bad("a name in the archive is not in UTF-8; pack it anew"))?
        .to_owned();
    let shown = shown(&name);
    if flags & UNREADABLE != 0 {
        return Err(bad(format!("{shown} in the archive is encrypted; pack it without a password")));
    }
    let method = match method {
        0 => Method::Stored,
        8 => Method::Deflated,
        other => {
            let how = format!("packed by method {other}, which is not read here; use Deflate");
            return Err(bad(format!("{shown} in the archive is {how}")));
        }
    };
    let mut packed = Packed {
        kind: kind(&name, numbers.u32(38)?)?,
        name,
        method,
        crc: numbers.u32(16)?,
        size: numbers.u32(24)?.into(),
        packed: numbers.u32(20)?.into(),
        at: 0,
        head: numbers.u32(42)?.into(),
    };
    if numbers.u16(34)? != 0 {
        return Err(bad("the archive is one part of several; send it as one"));
    }
    large(&mut packed, added)?;
    if packed.method == Method::Stored && packed.size != packed.packed {
        return Err(bad(format!("{shown} in the archive has two lengths")));
    }
    if packed.kind == Kind::Directory && packed.size != 0 {
        return Err(bad(format!("{shown} in the archive is a directory that has bytes")));
    }
    Ok((packed, length))
}

/// Fills in what is too large for its place, in the order the places have.
fn large(packed: &mut Packed, added: &[u8]) -> Result<(), UnpackError> {
    let all_ones = u64::from(u32::MAX);
    let places = [&mut packed.size, &mut packed.packed, &mut packed.head];
    if places.iter().all(|place| **place != all_ones) {
        return Ok(());
    }
    let mut rest = added;
    while rest.len() >= 4 {
        let numbers = Numbers(rest);
        let (id, length) = (numbers.u16(0)?, usize::from(numbers.u16(2)?));
        let field = rest.get(4..4 + length).ok_or_else(|| bad("the archive's directory is damaged"))?;
        if id == ZIP64 {
            let mut at = 0;
            for place in places {
                if *place == all_ones {
                    *place = Numbers(field).u64(at)?;
                    at += 8;
                }
            }
            return Ok(());
        }
        rest = &rest[4 + length..];
    }
    Ok(())
}

/// What it is; nothing but files and directories is taken.
fn kind(name: &str, attributes: u32) -> Result<Kind, UnpackError> {
    const TYPE: u32 = 0o170_000;
    let by_name = if name.ends_with('/') { Kind::Directory } else { Kind::File };
    match ((attributes >> 16) & TYPE, by_name) {
        (0, kind) | (0o100_000, kind @ Kind::File) | (0o040_000, kind @ Kind::Directory) => Ok(kind),
        (0o120_000, _) => {
            Err(bad(format!("{} in the archive is a symbolic link; leave it out", shown(name))))
        }
        _ => Err(bad(format!("{} in the archive is neither a file nor a directory", shown(name)))),
    }
}

/// Finds where its bytes begin: what stands there must be about the same entry.
fn local(file: &mut (impl Read + Seek), packed: &mut Packed, directory_at: u64) -> Result<(), UnpackError> {
    let other = || bad(format!("{} is not where the archive's directory says", shown(&packed.name)));
    let head = part(file, packed.head.min(directory_at), LOCAL_BYTES as u64).map_err(|_| other())?;
    let head = Numbers(&head);
    let (name, extra) = (u64::from(head.u16(26)?), u64::from(head.u16(28)?));
    let method = match packed.method {
        Method::Stored => 0,
        Method::Deflated => 8,
    };
    let same = head.begins(b"PK\x03\x04")
        && head.u16(8)? == method
        && head.u16(6)? & UNREADABLE == 0
        && name == packed.name.len() as u64;
    let at = packed.head.saturating_add(LOCAL_BYTES as u64);
    if !same || part(file, at, name).map_err(|_| other())? != packed.name.as_bytes() {
        return Err(other());
    }
    let at = at.saturating_add(name + extra);
    if at.checked_add(packed.packed).is_none_or(|end| end > directory_at) {
        return Err(other());
    }
    packed.at = at;
    Ok(())
}

/// A name as an error shows it: what is in it cannot pass for something else.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(100).collect();
    format!("`{}`", short.escape_debug())
}

/// Whether all of this may be in a workspace below a directory: where each goes, and how large all of it is.
///
/// # Errors
/// [`UnpackError`], with the first thing that may not.
pub(super) fn check(
    packed: Vec<Packed>,
    archive_bytes: u64,
    below: &Path,
) -> Result<Vec<(Path, Packed)>, UnpackError> {
    let mut spans: Vec<(u64, u64)> = packed.iter().map(|one| (one.head, one.at + one.packed)).collect();
    spans.sort_unstable();
    if spans.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        return Err(bad("files in the archive overlap"));
    }
    let (mut names, mut entries, mut bytes) = (Names::default(), vec![], 0_u64);
    for one in packed {
        let path = inside(&one.name, below)?;
        names.take(&path, one.kind)?;
        if one.size > WORKSPACE_FILE_BYTES_MAX {
            return Err(too_large_a_file(&path));
        }
        bytes += one.size;
        entries.push((path, one));
    }
    let what = || "the files in the archive, in bytes".to_owned();
    if bytes > WORKSPACE_BYTES_MAX {
        return Err(UnpackError::TooLarge { what: what(), max: WORKSPACE_BYTES_MAX });
    }
    let most = archive_bytes.saturating_mul(WORKSPACE_ARCHIVE_RATIO_MAX).max(RATIO_FREE_BYTES);
    if bytes > most {
        return Err(UnpackError::TooLarge {
            what: format!("{} for an archive of {archive_bytes}", what()),
            max: most,
        });
    }
    Ok(entries)
}

/// Where a name leads, where it may lead anywhere.
fn inside(name: &str, below: &Path) -> Result<Path, UnpackError> {
    let refused = |why: &str| bad(format!("{} in the archive is no name here: {why}", shown(name)));
    let relative = name.strip_suffix('/').unwrap_or(name);
    if relative.is_empty() || relative.starts_with('/') {
        return Err(refused("names are relative"));
    }
    let is_drive =
        |first: &str| matches!(first.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if is_drive(relative) {
        return Err(refused("names are relative, and begin with no drive"));
    }
    if let Some(device) = relative.split('/').find(|part| is_device(part)) {
        return Err(refused(&format!("`{device}` is a device on some systems")));
    }
    let path = Path::parse_inside(relative).and_then(|path| {
        if below.is_root() { Ok(path) } else { Path::parse_inside(&format!("{below}/{path}")) }
    });
    path.map_err(|error| refused(&error.to_string()))
}

/// Names that are devices on Windows, with whatever ending.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered =
        |prefix: &str| stem.strip_prefix(prefix).is_some_and(|rest| matches!(rest.as_bytes(), [b'1'..=b'9']));
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

/// The names of an archive: no two of them are one on a system that looks at letters otherwise.
#[derive(Default)]
struct Names(BTreeMap<String, (Path, Kind)>);

impl Names {
    fn take(&mut self, path: &Path, kind: Kind) -> Result<(), UnpackError> {
        let mut above = path.split().0;
        let mut all = vec![(path.clone(), kind)];
        while !above.is_root() {
            let next = above.split().0;
            all.push((std::mem::replace(&mut above, next), Kind::Directory));
        }
        for (path, kind) in all {
            let folded: String = path.as_str().nfc().flat_map(char::to_lowercase).nfc().collect();
            match self.0.get(&folded) {
                None => drop(self.0.insert(folded, (path, kind))),
                // A directory is named by itself, and by each file in it.
                Some((same, Kind::Directory)) if *same == path && kind == Kind::Directory => {}
                Some((other, _)) => {
                    let (one, other) = (shown(path.as_str()), shown(other.as_str()));
                    return Err(bad(format!(
                        "{one} and {other} in the archive are one name on some systems"
                    )));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(name: &str) -> Option<String> {
        inside(name, &Path::default()).ok().map(|path| path.to_string())
    }

    #[test]
    fn names_lead_inside_or_nowhere() {
        for (name, to) in [
            ("a", "a"),
            ("a/b.c", "a/b.c"),
            ("a/", "a"),
            ("./a", "a"),
            ("日本/x y", "日本/x y"),
            ("console", "console"),
        ] {
            assert_eq!(lead(name).as_deref(), Some(to));
        }
        for name in [
            "",
            "/",
            "/a",
            "/workspace/a",
            "..",
            "../a",
            "a/../../b",
            "a/..",
            "a\\b",
            "..\\a",
            "C:/a",
            "c:a",
            "a\0b",
            "a\nb",
            "con",
            "a/NUL.txt",
            "com1",
            "Lpt9.x/y",
            "aux .c",
            ".",
            "./",
        ] {
            assert_eq!(lead(name), None, "{name:?}");
        }
        let below = Path::parse("in/here").unwrap();
        assert_eq!(inside("a", &below).unwrap().as_str(), "in/here/a");
    }

    #[test]
    fn names_that_are_one_elsewhere_are_refused() {
        let all = |names: &[(&str, Kind)]| {
            let mut taken = Names::default();
            names.iter().try_for_each(|(name, kind)| taken.take(&Path::parse(name).unwrap(), *kind)).is_ok()
        };
        let file = |name| (name, Kind::File);
        assert!(all(&[("d", Kind::Directory), file("d/a"), file("d/b")]));
        assert!(all(&[file("d/a"), ("d", Kind::Directory)]));
        for bad in [
            [file("a"), file("a")],
            [file("a"), file("A")],
            [file("D/a"), file("d/b")],
            [file("\u{e9}"), file("e\u{301}")],
            [file("\u{c9}"), file("e\u{301}")],
            [file("a"), file("a/b")],
            [file("a/b"), file("a")],
            [("d", Kind::Directory), ("d", Kind::File)],
        ] {
            assert!(!all(&bad), "{bad:?}");
        }
        // An archive that names a directory twice says nothing new.
        assert!(all(&[("d", Kind::Directory), ("d", Kind::Directory)]));
    }
}
