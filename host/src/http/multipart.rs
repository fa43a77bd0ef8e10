//! Forms with files in them (RFC 7578), read from a whole body and written again.
//!
//! Deliberately absent: nested forms, transfer encodings, and reading piece by piece: a body is bounded first.

use super::body;
use crate::error::ApiError;
use bytes::Bytes;
use http::{HeaderMap, header};

/// Fields of one form: those that take one have a dozen.
pub const PARTS_MAX: usize = 64;
/// The head of one field, in bytes.
const HEAD_BYTES_MAX: usize = 4 << 10;
/// The longest boundary, in characters (RFC 2046).
const BOUNDARY_CHARS_MAX: usize = 70;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What the file is called, where it is one.
    pub filename: Option<String>,
    /// What the client says it is.
    pub media_type: Option<String>,
    /// What it holds.
    pub bytes: Bytes,
}

/// The boundary that a request's fields stand between.
///
/// # Errors
/// 415, where it is no form.
pub fn boundary(headers: &HeaderMap) -> Result<String, ApiError> {
    let wrong = || ApiError::wrong_content_type("multipart/form-data; boundary=…");
    if body::media_type(headers).as_deref() != Some("multipart/form-data") {
        return Err(wrong());
    }
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = parameter(value, "boundary").unwrap_or_default();
    let is_one = (1..=BOUNDARY_CHARS_MAX).contains(&boundary.len()) && boundary.is_ascii();
    if is_one { Ok(boundary) } else { Err(wrong()) }
}

/// The fields of a form.
///
/// # Errors
/// 400, where it is none.
pub fn read(body: &Bytes, boundary: &str) -> Result<Vec<Part>, ApiError> {
    let broken = |what: &str| ApiError::bad_request("malformed_form", format!("the form is broken: {what}"));
    let delimiter = format!("\r\n--{boundary}");
    let first = &delimiter.as_bytes()[2..];
    // A preamble may stand before the first boundary, which then begins a line.
    let mut at = match body.starts_with(first) {
        true => first.len(),
        false => {
            find(body, delimiter.as_bytes(), 0).ok_or_else(|| broken("it has no boundary"))? + delimiter.len()
        }
    };
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if !rest.starts_with(b"\r\n") {
            return Err(broken("a boundary does not end its line"));
        }
        if parts.len() == PARTS_MAX {
            return Err(broken(&format!("it has more than {PARTS_MAX} fields")));
        }
        let head_at = at + 2;
        let head_end =
            find(body, b"\r\n\r\n", at).ok_or_else(|| broken("the head of a field does not end"))?;
        // A field without a head has its empty line at once.
        let head = body.get(head_at..head_end).unwrap_or_default();
        if head.len() > HEAD_BYTES_MAX {
            return Err(broken("the head of a field is too long"));
        }
        let from = head_end + 4;
        let to = find(body, delimiter.as_bytes(), head_end + 2).filter(|to| *to >= from);
        let to = to.ok_or_else(|| broken("a field does not end"))?;
        let head = str::from_utf8(head).map_err(|_| broken("the head of a field is not UTF-8"))?;
        parts.push(part(head, body.slice(from..to)).ok_or_else(|| broken("a field has no name"))?);
        at = to + delimiter.len();
    }
}

/// A form of these fields. The boundary must stand in none of them.
pub fn write<'a>(parts: impl Iterator<Item = &'a Part>, boundary: &str) -> Bytes {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("--{boundary}\r\ncontent-disposition: form-data; name=\"").as_bytes());
        out.extend_from_slice(escaped(&part.name).as_bytes());
        if let Some(filename) = &part.filename {
            out.extend_from_slice(format!("\"; filename=\"{}", escaped(filename)).as_bytes());
        }
        out.extend_from_slice(b"\"\r\n");
        if let Some(media_type) = part.media_type.as_deref().filter(|text| !text.contains(['\r', '\n'])) {
            out.extend_from_slice(format!("content-type: {media_type}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&part.bytes);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out.into()
}

fn part(head: &str, bytes: Bytes) -> Option<Part> {
    let value = |wanted: &str| {
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let disposition = value("content-disposition")?;
    let is_field = disposition.split(';').next()?.trim().eq_ignore_ascii_case("form-data");
    let name = parameter(disposition, "name").filter(|name| is_field && !name.is_empty())?;
    let filename = parameter(disposition, "filename");
    Some(Part { name, filename, media_type: value("content-type").map(str::to_owned), bytes })
}

/// A parameter of a header's value, with or without quotation marks. Browsers write a mark as `%22`, others as `\"`.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (text, tail) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = tail.split_once(';')?.1;
    }
}

/// The text up to the closing mark, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut said, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some((said.replace("%22", "\""), &text[at + 1..])),
            '\\' if !escaped => escaped = true,
            // A path of Windows has backslashes that escape nothing.
            c => {
                if std::mem::take(&mut escaped) && c != '"' && c != '\\' {
                    said.push('\\');
                }
                said.push(c);
            }
        }
    }
    None
}

fn escaped(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let window = bytes.get(from..)?;
    window.windows(wanted.len()).position(|found| found == wanted).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of(name: &str, filename: Option<&str>, bytes: &[u8]) -> Part {
        let media_type = filename.map(|_| "audio/wav".to_owned());
        let filename = filename.map(str::to_owned);
        Part { name: name.into(), filename, media_type, bytes: Bytes::copy_from_slice(bytes) }
    }

    #[test]
    fn a_form_is_read_as_clients_write_it() {
        let body = Bytes::from_static(
            b"preamble\r\n--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nopenai/whisper\r\n\
              --x\r\ncontent-type: audio/wav\r\nContent-Disposition: form-data; filename=\"a;\\\"b\\\".wav\"; name=file\r\n\
              \r\nRIFF\r\n-\x00\r\n--x\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--x--\r\nepilogue",
        );
        let expected = [
            of("model", None, b"openai/whisper"),
            of("file", Some("a;\"b\".wav"), b"RIFF\r\n-\x00"),
            of("empty", None, b""),
        ];
        assert_eq!(read(&body, "x").unwrap(), expected);
    }

    #[test]
    fn what_is_no_form_is_a_400_that_says_why() {
        for broken in [
            "",
            "--x",
            "--x\r\n",
            "--xy\r\n",
            "--x\r\n\r\n\r\n--x--",
            "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nnever ends",
            "--x\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n\r\n--x--",
            "--x\r\nContent-Disposition: form-data; name=\"a\r\n\r\n\r\n--x--",
        ] {
            let error = read(&Bytes::from(broken), "x").unwrap_err();
            assert_eq!((error.status.as_u16(), error.code.as_str()), (400, "malformed_form"), "{broken:?}");
        }
        let many = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n".repeat(PARTS_MAX + 1);
        assert!(read(&Bytes::from(many), "x").unwrap_err().detail.contains("more than"));
    }

    #[test]
    fn the_boundary_is_the_content_types() {
        let of = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            boundary(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
                .map_err(|error| error.status.as_u16())
        };
        assert_eq!(of("multipart/form-data; boundary=abc"), Ok("abc".to_owned()));
        assert_eq!(of("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), Ok("a b".to_owned()));
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        for wrong in
            ["multipart/form-data", "multipart/mixed; boundary=x", "multipart/form-data; boundary=", &long]
        {
            assert_eq!(of(wrong), Err(415), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_breaks_the_reader(
            bytes in prop::collection::vec(any::<u8>(), 0..200), name in "[a-z\"\\\\;=]{1,8}", noise in ".{0,200}",
        ) {
            let part = Part { name: name.replace('\\', "/"), ..of("x", Some("a\"b.wav"), &bytes) };
            let written = write([&part].into_iter(), "opg-0123456789abcdef");
            prop_assert_eq!(read(&written, "opg-0123456789abcdef").unwrap(), vec![part]);
            drop(read(&Bytes::from(bytes), "x"));
            drop(read(&Bytes::from(format!("--x\r\n{noise}\r\n--x--")), "x"));
        }
    }
}
