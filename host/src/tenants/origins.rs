//! Whose pages may call an app's API from a browser (row M054): how an app says it, and which app says it of whom.
//!
//! A list holds origins exactly as browsers write them in `Origin`, or [`ANY`] alone: nothing is matched but whole
//! texts. What follows from it for an answer is in [`crate::http::cors`].
//!
//! Deliberately absent: patterns, credentials of browsers (cookies), and `null`, which a browser says of pages that
//! have no origin, whosever they are.

use super::{slug, store};
use crate::{
    app::App,
    error::FieldError,
    limits::{CORS_ORIGIN_BYTES_MAX, CORS_ORIGINS_PER_APP_MAX},
    remembered::{Remember, Version},
};
use url::{Host, Url};
use uuid::Uuid;

/// Stands for every origin.
const ANY: &str = "*";

/// How an app lists an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// By its name.
    ByName,
    /// Among all there are.
    AsAny,
}

/// Every origin that cannot be listed so.
pub(super) fn check(origins: &[String]) -> Vec<FieldError> {
    let mut wrong = vec![];
    if origins.len() > CORS_ORIGINS_PER_APP_MAX {
        wrong.push(FieldError::new("/corsOrigins", format!("at most {CORS_ORIGINS_PER_APP_MAX} origins")));
    }
    for (position, origin) in origins.iter().enumerate() {
        let at = format!("/corsOrigins/{position}");
        if let Some(text) = what_is_wrong(origin) {
            wrong.push(FieldError::new(&at, text));
        }
        if origin == ANY && origins.len() > 1 {
            let text = "`*` stands alone: with it any page may call, and no other needs to be named";
            wrong.push(FieldError::new(&at, text));
        }
        if origins.iter().take(position).any(|before| before == origin) {
            wrong.push(FieldError::new(&at, "each origin once"));
        }
    }
    wrong
}

fn what_is_wrong(origin: &str) -> Option<String> {
    if origin == ANY {
        return None;
    }
    match canonical(origin) {
        Some(canonical) if canonical == origin => None,
        Some(canonical) => Some(format!("a browser writes this origin `{canonical}`; write it so")),
        None => Some(
            "expected an origin, as `https://example.com` or `http://localhost:3000`: scheme, host and, where it is \
             not the scheme's own, port; or `*` alone, for all"
                .to_owned(),
        ),
    }
}

/// The origin of a URL as browsers write it; none where pages cannot have it, or it says more than one host.
fn canonical(text: &str) -> Option<String> {
    if text.len() > CORS_ORIGIN_BYTES_MAX {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_one_host = match url.host()? {
        // Of a name with `*` in it somebody would think that it stands for many.
        Host::Domain(name) => {
            name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    let origin = (is_one_host && matches!(url.scheme(), "http" | "https")).then(|| url.origin());
    origin.map(|origin| origin.ascii_serialization()).filter(|origin| origin.len() <= CORS_ORIGIN_BYTES_MAX)
}

/// An app's list.
struct Origins(Vec<String>);

impl Origins {
    fn find(&self, origin: &str) -> Option<Listed> {
        self.0.iter().find_map(|listed| match listed.as_str() {
            ANY => Some(Listed::AsAny),
            name => (name == origin).then_some(Listed::ByName),
        })
    }
}

impl Remember for Origins {
    fn bytes(&self) -> usize {
        self.0.iter().map(|origin| origin.len() + size_of::<String>()).sum()
    }
}

/// Whether this app lists an origin. `version` is the app's, as the request's credential was found.
///
/// # Errors
/// The database's.
pub(crate) async fn listed_by(
    app: &App,
    (app_id, version): (Uuid, Option<Version>),
    origin: &str,
) -> sqlx::Result<Option<Listed>> {
    let read = async {
        let mut asking = app.service_read().await?;
        let origins = store::cors_origins(asking.conn(), app_id).await?;
        asking.done();
        Ok::<_, sqlx::Error>(Origins(origins))
    };
    let origins = app.remembered.get_as_of((app_id, version), "cors", read).await?;
    Ok(origins.find(origin))
}

/// Whether the app of this slug lists an origin. One that does not, and one that is not there, are alike.
///
/// # Errors
/// The database's.
pub(crate) async fn listed_by_named(app: &App, slug: &str, origin: &str) -> sqlx::Result<Option<Listed>> {
    if slug::check(slug).is_err() {
        return Ok(None);
    }
    let mut asking = app.service_read().await?;
    let origins = store::cors_origins_of(asking.conn(), slug).await?;
    asking.done();
    Ok(origins.and_then(|origins| Origins(origins).find(origin)))
}

/// Whether there is an app that lists an origin.
///
/// # Errors
/// The database's.
pub(crate) async fn listed_by_any(app: &App, origin: &str) -> sqlx::Result<Option<Listed>> {
    let mut asking = app.service_read().await?;
    let is_listed = store::is_cors_origin_of_any(asking.conn(), origin).await?;
    asking.done();
    Ok(is_listed.then_some(Listed::ByName))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(origins: &[&str]) -> Vec<String> {
        let origins: Vec<_> = origins.iter().map(|origin| (*origin).to_owned()).collect();
        check(&origins).into_iter().map(|wrong| wrong.pointer).collect()
    }

    #[test]
    fn m054_an_origin_is_taken_as_a_browser_writes_it_and_not_otherwise() {
        for good in [
            "https://example.com",
            "http://localhost:3000",
            "https://a.b-c.example.com:8443",
            "http://192.0.2.1:8080",
            "http://[::1]:3000",
            "https://xn--bcher-kva.example",
            "*",
        ] {
            assert_eq!(what_is_wrong(good), None, "{good}");
        }
        for (other, canonical) in [
            ("https://example.com/", "https://example.com"),
            ("https://Example.com", "https://example.com"),
            ("HTTPS://example.com", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("https://example.com/path?query#fragment", "https://example.com"),
            ("https://ann:secret@example.com", "https://example.com"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
            (" https://example.com", "https://example.com"),
            ("https:example.com", "https://example.com"),
            ("https://exam\nple.com", "https://example.com"),
            ("http://0x7f.1", "http://127.0.0.1"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ] {
            let text = what_is_wrong(other).unwrap();
            assert!(text.contains(&format!("`{canonical}`")), "{other}: {text}");
            assert_eq!(what_is_wrong(canonical), None, "{canonical}");
        }
        let long = format!("https://{}.example", "a".repeat(CORS_ORIGIN_BYTES_MAX));
        for none in [
            "",
            "null",
            "example.com",
            "//example.com",
            "https://",
            "https://*",
            "https://*.example.com",
            "https://example.com:*",
            "*://example.com",
            "**",
            "ftp://example.com",
            "file:///",
            "chrome-extension://abcdef",
            "javascript:alert(1)",
            "data:text/html,x",
            "blob:https://example.com/x",
            &long,
        ] {
            assert!(what_is_wrong(none).unwrap().starts_with("expected an origin"), "{none}");
        }
    }

    #[test]
    fn m054_a_list_names_each_origin_once_and_all_of_them_alone() {
        assert_eq!(pointers(&[]), [""; 0]);
        assert_eq!(pointers(&["*"]), [""; 0]);
        assert_eq!(pointers(&["https://a.example", "https://b.example"]), [""; 0]);
        assert_eq!(pointers(&["https://a.example", "*"]), ["/corsOrigins/1"]);
        assert_eq!(
            pointers(&["https://a.example", "null", "https://a.example"]),
            ["/corsOrigins/1", "/corsOrigins/2"]
        );
        let many: Vec<_> = (0..=CORS_ORIGINS_PER_APP_MAX).map(|n| format!("https://a{n}.example")).collect();
        assert_eq!(check(&many).len(), 1);
        assert_eq!(check(&many[1..]).len(), 0);
    }

    #[test]
    fn m054_an_origin_is_listed_as_a_whole() {
        let find =
            |listed: &[&str], origin| Origins(listed.iter().map(|o| (*o).to_owned()).collect()).find(origin);
        let listed = ["https://a.example", "http://localhost:3000"];
        assert_eq!(find(&listed, "http://localhost:3000"), Some(Listed::ByName));
        for other in [
            "",
            "null",
            "*",
            "https://a.example:8443",
            "http://a.example",
            "https://b.a.example",
            "https://A.example",
        ] {
            assert_eq!(find(&listed, other), None, "{other}");
        }
        assert_eq!(find(&["*"], "null"), Some(Listed::AsAny));
        assert_eq!(find(&[], "https://a.example"), None);
    }
}
