//! The way out through a proxy that an operator names.
//!
//! A proxy speaks HTTP: requests over https go through a tunnel (`CONNECT`) and it sees none of them; those over http,
//! which production does not allow, it reads. It may be at a private address, since the operator says where. What is
//! asked for behind it may not: the target is judged here as without a proxy, by its text and by what its name
//! resolves to here. A name that does not resolve here is the proxy's to resolve: that is what some are for.

use super::{CheckedResolver, Egress, EgressError, EgressPolicy, Guard, Refusal, build, innermost};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use url::{Host, Url};

/// Clients kept for proxies, each with its connections; where there are more, all are made anew.
const CLIENTS_MAX: usize = 64;
/// The longest address of a proxy, in bytes.
const URL_BYTES_MAX: usize = 2_000;

/// A proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it is, without user and password.
    pub url: Url,
    /// `user:password`, if it wants any, as they stand in a URL.
    pub credentials: Option<SecretString>,
}

impl Proxy {
    /// Reads `http://[user:password@]host:port`.
    ///
    /// # Errors
    /// What is expected, without what was given.
    pub fn parse(text: &SecretString) -> Result<Proxy, &'static str> {
        const EXPECTED: &str =
            "expected `http://host:port`, with `user:password@` before the host where it wants any";
        let text = text.expose_secret();
        let odd = text.len() > URL_BYTES_MAX || text.chars().any(|c| c.is_control() || c.is_whitespace());
        let mut url = Url::parse(text).ok().filter(|_| !odd).ok_or(EXPECTED)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || !url.has_host() || !bare {
            return Err(EXPECTED);
        }
        let credentials = (!url.username().is_empty() || url.password().is_some()).then(|| {
            SecretString::from(format!("{}:{}", url.username(), url.password().unwrap_or_default()))
        });
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| EXPECTED)?;
        Ok(Proxy { url, credentials })
    }

    fn to_client(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(self.url.clone())?;
        let Some((user, password)) =
            self.credentials.as_ref().and_then(|text| text.expose_secret().split_once(':'))
        else {
            return Ok(proxy);
        };
        let plain = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Ok(proxy.basic_auth(&plain(user), &plain(password)))
    }

    fn digest(&self) -> [u8; 32] {
        let credentials = self.credentials.as_ref().map(|text| text.expose_secret()).unwrap_or_default();
        Sha256::digest(format!("{}\n{credentials}", self.url)).into()
    }
}

/// The clients made for proxies so far.
#[derive(Clone, Default)]
pub(super) struct Clients(Arc<Mutex<HashMap<[u8; 32], reqwest::Client>>>);

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Egress {
    /// A client that asks through this proxy. It resolves no targets: ask [`Egress::judge_resolved`] first.
    ///
    /// # Errors
    /// Where there can be none.
    pub fn through(&self, proxy: &Proxy) -> Result<reqwest::Client, EgressError> {
        let digest = proxy.digest();
        if let Some(client) = self.proxied.0.lock().unwrap_or_else(PoisonError::into_inner).get(&digest) {
            return Ok(client.clone());
        }
        let failed = |error: reqwest::Error| EgressError::Setup { message: innermost(&error) };
        let anywhere = EgressPolicy { allow_private: true, ..self.guard.policy().clone() };
        let client = build(&Arc::new(Guard::new(anywhere)), false, Some(proxy.to_client().map_err(failed)?));
        let client = client.map_err(failed)?;
        let mut clients = self.proxied.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.clear();
        }
        clients.insert(digest, client.clone());
        Ok(client)
    }

    /// Whether a URL may be followed by somebody else for us, as far as can be told here.
    ///
    /// # Errors
    /// Why it may not.
    pub async fn judge_resolved(&self, url: &Url) -> Result<(), Refusal> {
        let url = self.guard.check(url)?;
        let Some(Host::Domain(name)) = url.host() else { return Ok(()) };
        self.resolver.judge(name).await
    }
}

impl CheckedResolver {
    /// Whether all addresses of this name may be reached; also where it has none here.
    async fn judge(&self, name: &str) -> Result<(), Refusal> {
        match self.addresses(name).await {
            Err(error) => error.downcast::<Refusal>().map_or(Ok(()), |refusal| Err(*refusal)),
            Ok(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m179_a_proxy_is_an_address_and_what_it_wants_to_be_told() {
        let parse = |text: &str| Proxy::parse(&SecretString::from(text));
        let plain = parse("http://proxy.example:3128").unwrap();
        assert_eq!((plain.url.as_str(), plain.credentials.is_none()), ("http://proxy.example:3128/", true));
        let proxy = parse("http://ann:p%40ss@10.0.0.7:8080/").unwrap();
        assert_eq!(proxy.url.as_str(), "http://10.0.0.7:8080/");
        assert_eq!(proxy.credentials.as_ref().unwrap().expose_secret(), "ann:p%40ss");
        assert!(!format!("{proxy:?}").contains("p%40ss"), "{proxy:?}");
        for text in [
            "",
            "proxy:3128",
            "socks5://proxy",
            "https://proxy",
            "http://",
            "http://p/path",
            "http://p/?q",
            "http://p q",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn m179_what_is_behind_a_proxy_is_judged_as_without_one() {
        let egress = Egress::new(EgressPolicy::default()).unwrap();
        let judge = async |url: &str| egress.judge_resolved(&Url::parse(url).unwrap()).await;
        for private in ["http://127.0.0.1/", "https://10.0.0.1/", "https://localhost/", "https://[::1]/"] {
            assert!(matches!(judge(private).await, Err(Refusal::Private { .. })), "{private}");
        }
        assert_eq!(judge("https://8.8.8.8/").await, Ok(()));
        assert_eq!(judge("https://no-such-name.invalid/").await, Ok(()), "the proxy's to resolve");
    }
}
