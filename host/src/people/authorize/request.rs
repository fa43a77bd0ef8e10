//! What a program asks with, read: who it is and where it listens first, for whatever is wrong is told there.

use crate::{
    grants::Scopes,
    http::Form,
    limits::{AUTHORIZE_BYTES_MAX, AUTHORIZE_STATE_BYTES_MAX, REDIRECT_URI_BYTES_MAX},
    people::programs,
};
use std::ops::RangeInclusive;

/// A program that may ask.
#[derive(Debug, PartialEq, Eq)]
pub struct Client {
    /// What it calls itself by.
    pub id: &'static str,
    /// What its person knows it by.
    pub name: &'static str,
}

/// All that may ask. None of them can keep a secret.
const CLIENTS: &[Client] = &[Client { id: "opg-cli", name: "opg" }];

impl Client {
    /// The client of this id.
    pub(in crate::people) fn find(id: &str) -> Option<&'static Client> {
        CLIENTS.iter().find(|client| client.id == id)
    }
}

/// What a request says, as far as we read it. Whatever else stands in it counts for nothing (RFC 6749 §3.1).
const PARAMETERS: [&str; 8] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "code_challenge",
    "code_challenge_method",
    "state",
    "scope",
    "app",
];

/// A request of a program that is known and listens where it may.
#[derive(Debug)]
pub struct Asked {
    /// Who.
    pub client: &'static Client,
    /// Where it listens.
    pub redirect_uri: String,
    /// What it wants back as it gave it.
    pub state: Option<String>,
    /// The request as a query, to be asked again with.
    pub query: String,
    /// What it wants, or why it gets nothing.
    pub wish: Result<Wish, Refused>,
}

/// What a program wants.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    /// To be let in for.
    pub scopes: Scopes,
    /// In which app alone, by its slug; none: its person chooses.
    pub app: Option<String>,
    /// What it will show to have made.
    pub code_challenge: String,
}

/// Why a program gets nothing, told where it listens (RFC 6749 §4.1.2.1).
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The code.
    pub error: &'static str,
    /// For whoever wrote the program.
    pub text: String,
}

impl Refused {
    /// A request that is wrong.
    pub fn invalid(text: impl Into<String>) -> Refused {
        Refused { error: "invalid_request", text: text.into() }
    }
}

/// Why a request is answered nowhere but on a page.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    /// No client of this id.
    #[error("no program is known by the `client_id` that asks; update the program, or begin again from it")]
    Client,
    /// It does not listen on its own machine.
    #[error(
        "the program does not say where on this machine it listens: a `redirect_uri` like \
         `http://127.0.0.1:4711/callback` is expected; update the program, or begin again from it"
    )]
    RedirectUri,
    /// It is longer than any that is right.
    #[error(
        "the program asks with more than {} bytes; update it, or begin again from it",
        AUTHORIZE_BYTES_MAX
    )]
    TooLong,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Stranger`]
    pub fn read(form: &Form) -> Result<Asked, Stranger> {
        let query = Asked::query(form).ok_or(Stranger::TooLong)?;
        let client = form.one("client_id").and_then(Client::find).ok_or(Stranger::Client)?;
        let redirect_uri = form.one("redirect_uri").filter(|uri| is_own_machine(uri));
        let redirect_uri = redirect_uri.ok_or(Stranger::RedirectUri)?.to_owned();
        let state = form.one("state").filter(|state| is_state(state)).map(str::to_owned);
        Ok(Asked { client, redirect_uri, state, query, wish: wish(form) })
    }

    /// What of a request counts, as a query; none where it is too long.
    pub(in crate::people) fn query(form: &Form) -> Option<String> {
        Some(form.written(&PARAMETERS)).filter(|query| query.len() <= AUTHORIZE_BYTES_MAX)
    }

    /// Where the browser is sent back to, with what is said there.
    pub fn back(&self, said: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(said);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        format!("{}?{}", self.redirect_uri, query.finish())
    }
}

fn wish(form: &Form) -> Result<Wish, Refused> {
    if let Some(twice) = PARAMETERS.into_iter().find(|name| form.all(name).nth(1).is_some()) {
        return Err(Refused::invalid(format!("{twice} stands there more than once")));
    }
    // What is empty is as if it were not there (RFC 6749 §3.1).
    let given = |name: &str| form.one(name).filter(|value| !value.is_empty());
    if given("state").is_some_and(|state| !is_state(state)) {
        let text = format!("state is at most {AUTHORIZE_STATE_BYTES_MAX} printable characters of ASCII");
        return Err(Refused::invalid(text));
    }
    match given("response_type") {
        Some("code") => {}
        Some(_) => {
            let text = "response_type is code, and nothing else".to_owned();
            return Err(Refused { error: "unsupported_response_type", text });
        }
        None => return Err(Refused::invalid("response_type is missing; it is code")),
    }
    // Without a method `plain` is meant (RFC 7636 §4.3).
    if given("code_challenge_method") != Some("S256") {
        return Err(Refused::invalid("code_challenge_method is S256, and no other is taken"));
    }
    let code_challenge = given("code_challenge").filter(|challenge| is_verifier(challenge));
    let code_challenge = code_challenge.ok_or_else(|| {
        Refused::invalid("code_challenge is missing or none: 43 to 128 letters, digits and -._~")
    })?;
    let scopes = match given("scope") {
        None => programs::grantable(),
        Some(names) => {
            let names: Vec<&str> = names.split(' ').filter(|name| !name.is_empty()).collect();
            let invalid =
                |error: programs::NotGrantable| Refused { error: "invalid_scope", text: error.to_string() };
            programs::wanted(&names).map_err(invalid)?
        }
    };
    Ok(Wish { scopes, app: given("app").map(str::to_owned), code_challenge: code_challenge.to_owned() })
}

/// How long a verifier is, and what stands in the place of one (RFC 7636 §4.1, §4.2).
const VERIFIER_CHARS: RangeInclusive<usize> = 43..=128;

/// Whether this may be a verifier, or a challenge.
pub(in crate::people) fn is_verifier(text: &str) -> bool {
    VERIFIER_CHARS.contains(&text.len()) && text.bytes().all(is_unreserved)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_state(text: &str) -> bool {
    (1..=AUTHORIZE_STATE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

/// Whether this is an address of the browser's own machine, by number (RFC 8252 §7.3, §8.3), with a port and a path, and
/// written in the one way that everybody reads alike.
fn is_own_machine(uri: &str) -> bool {
    let hosts = ["http://127.0.0.1:", "http://[::1]:"];
    let Some((port, path)) =
        hosts.iter().find_map(|host| uri.strip_prefix(host)).and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let is_port = port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
    let is_segment = |segment: &str| segment != "." && segment != ".." && segment.bytes().all(is_unreserved);
    uri.len() <= REDIRECT_URI_BYTES_MAX && is_port && path.split('/').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn asked(change: &[(&str, Option<&str>)]) -> Result<Asked, Stranger> {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", "opg-cli"),
            ("redirect_uri", "http://127.0.0.1:4711/callback"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("state", "af0ifjsldkj"),
        ];
        for (name, value) in change {
            pairs.retain(|(other, _)| other != name);
            pairs.extend(value.map(|value| (*name, value)));
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Asked::read(&Form::of(query.as_bytes()))
    }

    #[test]
    fn m082_a_program_listens_on_its_own_machine_by_number_and_nowhere_else() {
        for uri in [
            "http://127.0.0.1:4711/callback",
            "http://127.0.0.1:1/",
            "http://127.0.0.1:65535/a/b.c-d_e~f",
            "http://127.0.0.1:80/",
            "http://[::1]:4711/callback",
            "http://127.0.0.1:4711//evil.example",
        ] {
            assert!(is_own_machine(uri), "{uri}");
            let host = url::Url::parse(uri).unwrap().host_str().unwrap().to_owned();
            assert!(["127.0.0.1", "[::1]"].contains(&host.as_str()), "{uri} is {host} to a browser");
        }
        let long = format!("http://127.0.0.1:4711/{}", "a".repeat(REDIRECT_URI_BYTES_MAX));
        for uri in [
            "",
            "http://127.0.0.1:4711",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:65536/callback",
            "http://127.0.0.1:04711/callback",
            "http://127.0.0.1:+471/callback",
            "https://127.0.0.1:4711/callback",
            "HTTP://127.0.0.1:4711/callback",
            "http://localhost:4711/callback",
            "http://127.0.0.2:4711/callback",
            "http://127.1:4711/callback",
            "http://2130706433:4711/callback",
            "http://0x7f.0.0.1:4711/callback",
            "http://0.0.0.0:4711/callback",
            "http://[::]:4711/callback",
            "http://[0:0:0:0:0:0:0:1]:4711/callback",
            "http://[::ffff:127.0.0.1]:4711/callback",
            "http://127.0.0.1:4711@evil.example/callback",
            "http://127.0.0.1:4711:80/callback",
            "http://user@127.0.0.1:4711/callback",
            "http://user:pass@[::1]:4711/callback",
            "http://127.0.0.1.evil.example:4711/callback",
            "http://127.0.0.1:4711.evil.example/callback",
            "http://127.0.0.1:4711\\@evil.example/callback",
            "http://127.0.0.1:4711/callback#fragment",
            "http://127.0.0.1:4711/callback?query=1",
            "http://127.0.0.1:4711/a/../b",
            "http://127.0.0.1:4711/%2e%2e/b",
            "http://127.0.0.1:4711/a b",
            "http://127.0.0.1:4711/a\r\nset-cookie:x",
            "http://127.0.0.1:4711/\u{e4}",
            " http://127.0.0.1:4711/callback",
            "http:/127.0.0.1:4711/callback",
            "//127.0.0.1:4711/callback",
            "opg:/callback",
            "javascript:alert(1)",
            "https://evil.example/callback",
            long.as_str(),
        ] {
            assert!(!is_own_machine(uri), "{uri}");
            assert_eq!(asked(&[("redirect_uri", Some(uri))]).unwrap_err(), Stranger::RedirectUri, "{uri}");
        }
    }

    #[test]
    fn m082_what_is_wrong_is_told_by_the_name_the_rfc_has_for_it() {
        let right = asked(&[]).unwrap();
        assert_eq!(
            (right.state.as_deref(), right.wish.unwrap().scopes),
            (Some("af0ifjsldkj"), programs::grantable())
        );
        let (too_long, unsupported) = ("a".repeat(129), "unsupported_response_type");
        for (name, value, error) in [
            ("response_type", None, "invalid_request"),
            ("response_type", Some("token"), unsupported),
            ("response_type", Some("code id_token"), unsupported),
            ("code_challenge_method", None, "invalid_request"),
            ("code_challenge_method", Some("plain"), "invalid_request"),
            ("code_challenge_method", Some("s256"), "invalid_request"),
            ("code_challenge", None, "invalid_request"),
            ("code_challenge", Some(""), "invalid_request"),
            ("code_challenge", Some(&CHALLENGE[1..]), "invalid_request"),
            ("code_challenge", Some(too_long.as_str()), "invalid_request"),
            ("code_challenge", Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"), "invalid_request"),
            ("state", Some("\u{e4}"), "invalid_request"),
            ("state", Some("a\nb"), "invalid_request"),
            ("scope", Some("nope:read"), "invalid_scope"),
            ("scope", Some("account:manage"), "invalid_scope"),
            ("scope", Some(" "), "invalid_scope"),
        ] {
            let wish = asked(&[(name, value)]).unwrap().wish;
            assert_eq!(wish.unwrap_err().error, error, "{name} {value:?}");
        }
        for name in ["client_id", "redirect_uri"] {
            for value in [None, Some("")] {
                assert!(asked(&[(name, value)]).is_err(), "{name} {value:?}");
            }
        }
        let twice = format!("{}&state=other", right.query);
        let twice = Asked::read(&Form::of(twice.as_bytes())).unwrap();
        assert_eq!((twice.state, twice.wish.unwrap_err().error), (None, "invalid_request"));
        let twice = format!("{}&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback", right.query);
        assert_eq!(Asked::read(&Form::of(twice.as_bytes())).unwrap_err(), Stranger::RedirectUri);
        let state = "a".repeat(AUTHORIZE_BYTES_MAX);
        assert_eq!(asked(&[("state", Some(&state))]).unwrap_err(), Stranger::TooLong);
    }

    #[test]
    fn m082_what_is_said_to_a_program_is_written_as_a_query_and_changes_nothing_of_where_it_goes() {
        let right = asked(&[("state", Some("a&b=c #d%\"<"))]).unwrap();
        let back = url::Url::parse(&right.back(&[("code", "x")])).unwrap();
        assert_eq!((back.host_str(), back.port(), back.path()), (Some("127.0.0.1"), Some(4711), "/callback"));
        let pairs: Vec<(String, String)> = back.query_pairs().into_owned().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("code", "x"), pair("state", "a&b=c #d%\"<")]);
        assert_eq!(back.fragment(), None);
    }
}
