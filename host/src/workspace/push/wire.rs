//! Git's smart HTTP, as far as a push needs it: the list of branches, one pack with one change of one branch, and what
//! the server says of it.

use super::{PushError, pack::Oid};
use crate::{
    egress::{Egress, EgressError, EgressRequest, EgressResponse},
    secrets::scan::{Found, Scanner},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::time::Duration;
use url::Url;

/// A list of branches, and of everything else that has a name.
const REFS_BYTES_MAX: usize = 4 << 20;
/// What a server says of a push.
const REPORT_BYTES_MAX: usize = 256 << 10;
/// What is shown of what it says.
const TOLD_CHARS_MAX: usize = 1000;

/// What a repository has.
pub(super) struct Refs {
    lines: Vec<(Oid, String)>,
    in_bands: bool,
}

impl Refs {
    /// What a branch is at; none: it is not there.
    pub(super) fn branch(&self, name: &str) -> Option<Oid> {
        let name = format!("refs/heads/{name}");
        self.lines.iter().find(|(_, found)| *found == name).map(|(oid, _)| *oid)
    }
}

/// A repository that is spoken to.
pub(super) struct Remote<'a> {
    pub(super) egress: &'a Egress,
    pub(super) url: &'a Url,
    pub(super) authorization: Option<HeaderValue>,
    /// Finds the secret that is sent, where one is.
    pub(super) secret: Option<&'a Scanner>,
    pub(super) timeout: Duration,
}

impl Remote<'_> {
    /// Asks what is there.
    pub(super) async fn refs(&self) -> Result<Refs, PushError> {
        let mut url = self.below("info/refs");
        url.set_query(Some("service=git-receive-pack"));
        let answer = self.send(Method::GET, url, None, Bytes::new(), REFS_BYTES_MAX).await?;
        let advertised = answer.headers.get(header::CONTENT_TYPE);
        if advertised.is_none_or(|kind| kind != "application/x-git-receive-pack-advertisement") {
            return Err(PushError::Remote("it is no Git repository that takes pushes over HTTP".to_owned()));
        }
        let broken = || PushError::Remote("its list of branches cannot be read".to_owned());
        let mut refs = Refs { lines: vec![], in_bands: false };
        let mut rest = &answer.body[..];
        while let Some(line) = packet(&mut rest).ok_or_else(broken)? {
            let Line::Data(line) = line else { continue };
            let (line, capabilities) = match line.iter().position(|byte| *byte == 0) {
                Some(at) => (&line[..at], String::from_utf8_lossy(&line[at + 1..]).into_owned()),
                None => (line, String::new()),
            };
            refs.in_bands |= capabilities.split_whitespace().any(|one| one == "side-band-64k");
            if capabilities.contains("object-format=") && !capabilities.contains("object-format=sha1") {
                return Err(PushError::Remote(
                    "its objects have names of another kind than SHA-1".to_owned(),
                ));
            }
            let text = String::from_utf8_lossy(line);
            let Some((oid, name)) = text.trim_end().split_once(' ') else { continue };
            let mut bytes = Oid::default();
            if hex::decode_to_slice(oid, &mut bytes).is_ok() {
                refs.lines.push((bytes, name.to_owned()));
            }
        }
        Ok(refs)
    }

    /// Sends a pack, and moves one branch from what it was to the commit in it.
    pub(super) async fn push(
        &self,
        refs: &Refs,
        branch: &str,
        commit: Oid,
        pack: &[u8],
    ) -> Result<(), PushError> {
        let old = refs.branch(branch).unwrap_or_default();
        let bands = if refs.in_bands { " side-band-64k" } else { "" };
        let command = format!(
            "{} {} refs/heads/{branch}\0 report-status{bands} agent=opg",
            hex::encode(old),
            hex::encode(commit)
        );
        let mut body = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
        body.extend_from_slice(pack);
        let kind = HeaderValue::from_static("application/x-git-receive-pack-request");
        let url = self.below("git-receive-pack");
        let answer = self.send(Method::POST, url, Some(kind), body.into(), REPORT_BYTES_MAX).await?;
        judge(&answer.body, refs.in_bands, branch, self.secret)
    }

    fn below(&self, what: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{what}", self.url.path().trim_end_matches('/')));
        url
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        kind: Option<HeaderValue>,
        body: Bytes,
        response_bytes_max: usize,
    ) -> Result<EgressResponse, PushError> {
        let mut headers = HeaderMap::new();
        headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
        headers.extend(self.authorization.clone().map(|value| (header::AUTHORIZATION, value)));
        // Also where it is not asked for, some servers look for the client's name.
        headers.insert(HeaderName::from_static("git-protocol"), HeaderValue::from_static("version=0"));
        let request = EgressRequest {
            method,
            url,
            headers,
            body,
            timeout: self.timeout,
            response_bytes_max,
            // A token is for the place that was named and no other.
            redirects_max: 0,
            check: &|_, _| Ok(()),
        };
        let answer = self.egress.send(request).await.map_err(|error| match error {
            EgressError::TooManyRedirects { .. } => {
                PushError::Remote("it is somewhere else now; name its new URL".to_owned())
            }
            other => PushError::Remote(other.to_string()),
        })?;
        match answer.status.as_u16() {
            200 => Ok(answer),
            401 | 403 => Err(PushError::Denied),
            404 => {
                Err(PushError::Remote("there is no such repository, or the token may not see it".to_owned()))
            }
            status => Err(PushError::Remote(format!("it answered with status {status}"))),
        }
    }
}

enum Line<'a> {
    Data(&'a [u8]),
    /// `0000` and its like.
    Mark,
}

/// The next packet of a text (gitprotocol-common). `Some(None)` at its end, none where it is broken.
#[expect(clippy::option_option, reason = "the end is not the same as a broken packet")]
fn packet<'a>(rest: &mut &'a [u8]) -> Option<Option<Line<'a>>> {
    if rest.is_empty() {
        return Some(None);
    }
    let length = std::str::from_utf8(rest.get(..4)?).ok()?;
    let length = usize::from_str_radix(length, 16).ok()?;
    if length < 4 {
        *rest = &rest[4..];
        return Some(Some(Line::Mark));
    }
    let line = rest.get(4..length)?;
    *rest = &rest[length..];
    Some(Some(Line::Data(line)))
}

/// Reads what the server says of the push. Where it says the secret, that is taken out.
fn judge(report: &[u8], in_bands: bool, branch: &str, secret: Option<&Scanner>) -> Result<(), PushError> {
    let broken =
        || PushError::Remote("what it says of the push cannot be read; look whether it took it".to_owned());
    let (mut said, mut lines) = (String::new(), vec![]);
    let mut rest = report;
    if in_bands {
        while let Some(line) = packet(&mut rest).ok_or_else(broken)? {
            match line {
                Line::Data([1, data @ ..]) => lines.extend_from_slice(data),
                Line::Data([_, text @ ..]) => said += &String::from_utf8_lossy(text),
                Line::Data([]) | Line::Mark => {}
            }
        }
    } else {
        lines.extend_from_slice(report);
    }
    let mut rest = &lines[..];
    let (mut unpacked, mut moved) = (false, false);
    let mut refused = None;
    while let Some(line) = packet(&mut rest).ok_or_else(broken)? {
        let Line::Data(line) = line else { continue };
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        let name = format!("refs/heads/{branch}");
        match text.split_once(' ') {
            Some(("unpack", "ok")) => unpacked = true,
            Some(("unpack", why)) => refused = Some(why.to_owned()),
            Some(("ok", what)) => moved |= what == name,
            Some(("ng", what)) => refused = Some(what.strip_prefix(&name).unwrap_or(what).trim().to_owned()),
            _ => {}
        }
    }
    if unpacked && moved && refused.is_none() {
        return Ok(());
    }
    let why = refused.ok_or_else(broken)?;
    let whole = if said.trim().is_empty() { why } else { format!("{why}: {}", said.trim()) };
    // Before it is cut: half a secret is not found.
    let whole = match secret {
        Some(secret) => secret.clean_text(whole, &mut Found::new()),
        None => whole,
    };
    let shown = whole.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TOLD_CHARS_MAX).collect();
    Err(PushError::Refused(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        format!("{:04x}{text}", text.len() + 4).into_bytes()
    }

    #[test]
    fn what_a_server_says_is_read_with_and_without_bands() {
        let report = |lines: &[&str]| {
            [lines.iter().flat_map(|text| line(text)).collect::<Vec<_>>(), b"0000".to_vec()].concat()
        };
        let fine = report(&["unpack ok\n", "ok refs/heads/main\n"]);
        assert!(judge(&fine, false, "main", None).is_ok());
        assert!(judge(&fine, false, "other", None).is_err(), "of another branch");
        let mut banded = line(&format!("\u{1}{}", String::from_utf8(fine).unwrap()));
        banded.extend(line("\u{2}remote: hello\n"));
        assert!(judge(&banded, true, "main", None).is_ok());
        let refused = report(&["unpack ok\n", "ng refs/heads/main protected branch hook declined\n"]);
        let mut banded = line(&format!("\u{1}{}", String::from_utf8(refused).unwrap()));
        banded.extend(line("\u{2}ask \u{1b}[31mAnn\n"));
        let Err(PushError::Refused(why)) = judge(&banded, true, "main", None) else { panic!() };
        assert_eq!(why, "protected branch hook declined: ask  [31mAnn");
        let secret = Scanner::new(&vec![("GIT".to_owned(), "s3cr3t-token".into())]).unwrap();
        let told = report(&["unpack ok\n", &format!("ng refs/heads/main {}s3cr3t-token\n", "x".repeat(995))]);
        let Err(PushError::Refused(why)) = judge(&told, false, "main", Some(&secret)) else { panic!() };
        assert!(!why.contains("s3cr3t") && why.ends_with("{{sec"), "{why}");
        for broken in [&b"zzzz"[..], b"00ff", b"0", b""] {
            assert!(matches!(judge(broken, false, "main", None), Err(PushError::Remote(_))));
        }
    }
}
