//! Judges URLs before they are followed and addresses before they are connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::{Host, Url};

use super::address::is_public;
use super::{EgressPolicy, Refusal};

/// Look-ups in flight. Each holds a thread of the blocking pool, and a slow name server must not take them all.
const LOOKUPS_MAX: usize = 64;

/// The URL as it will be followed, if it is one that can be: http or https, no credentials, a host without the
/// trailing dot that would make it look like another one, no fragment. Numbers in any base are already addresses.
pub fn canonical(url: &Url) -> Result<Url, Refusal> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refusal::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::Userinfo);
    }
    let mut url = url.clone();
    url.set_fragment(None);
    match url.host() {
        Some(Host::Domain(domain)) => {
            let bare = domain.strip_suffix('.').unwrap_or(domain).to_owned();
            if bare.is_empty() || bare.ends_with('.') {
                return Err(Refusal::NoHost);
            }
            url.set_host(Some(&bare)).map_err(|_| Refusal::NoHost)?;
            Ok(url)
        }
        Some(_) => Ok(url),
        None => Err(Refusal::NoHost),
    }
}

#[derive(Debug)]
pub(super) struct Guard {
    policy: EgressPolicy,
}

impl Guard {
    pub(super) fn new(policy: EgressPolicy) -> Self {
        Self { policy }
    }

    pub(super) fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// The canonical URL, unless its host is a private address or a name that is only allowed on another port.
    /// Names are judged again when they are resolved.
    pub(super) fn check(&self, url: &Url) -> Result<Url, Refusal> {
        let url = canonical(url)?;
        let host = url.host_str().unwrap_or_default();
        let fine = self.may_be_private(&url)
            || match url.host() {
                Some(Host::Ipv4(v4)) => is_public(IpAddr::V4(v4)),
                Some(Host::Ipv6(v6)) => is_public(IpAddr::V6(v6)),
                Some(Host::Domain(domain)) => !self.lets_name_be_private(domain),
                None => false,
            };
        if fine { Ok(url) } else { Err(Refusal::Private { host: host.to_owned() }) }
    }

    /// After connecting: the address we really reached. The resolver has seen to it; this is the second lock.
    pub(super) fn check_reached(&self, url: &Url, reached: Option<SocketAddr>) -> Result<(), Refusal> {
        match reached {
            Some(address) if !self.may_be_private(url) && !is_public(address.ip()) => {
                Err(Refusal::Private { host: url.host_str().unwrap_or_default().to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn may_be_private(&self, url: &Url) -> bool {
        self.policy.allow_private
            || self.policy.private_allowed.iter().any(|(host, port)| {
                url.host_str().is_some_and(|h| h.eq_ignore_ascii_case(host))
                    && url.port_or_known_default() == Some(*port)
            })
    }

    fn lets_name_be_private(&self, name: &str) -> bool {
        self.policy.allow_private
            || self.policy.private_allowed.iter().any(|(host, _)| host.eq_ignore_ascii_case(name))
    }
}

/// Resolves a name and hands out its addresses only if every one of them may be reached: a name with one public
/// and one private address is an attack.
#[derive(Clone, Debug)]
pub(super) struct CheckedResolver {
    guard: Arc<Guard>,
    lookups: Arc<Semaphore>,
}

impl CheckedResolver {
    pub(super) fn new(guard: Arc<Guard>) -> Self {
        Self { guard, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl CheckedResolver {
    /// The addresses of a name, if all of them may be reached.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, BoxError> {
        let _permit = self.lookups.clone().acquire_owned().await?;
        // Port 0: the client fills in the URL's.
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
        if addresses.is_empty() {
            return Err("the name has no address".into());
        }
        let all_public = addresses.iter().all(|address| is_public(address.ip()));
        if !self.guard.lets_name_be_private(name) && !all_public {
            return Err(Refusal::Private { host: name.to_owned() }.into());
        }
        Ok(addresses)
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: EgressPolicy, url: &str) -> Result<String, Refusal> {
        Guard::new(policy).check(&Url::parse(url).unwrap()).map(String::from)
    }

    #[test]
    fn every_spelling_of_a_private_host_is_refused() {
        for url in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://2130706433/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://0/",
            "http://0x0/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[64:ff9b::7f00:1]/",
            "https://169.254.169.254/latest/meta-data",
            "http://0xa9fea9fe/",
            "http://①②⑦.0.0.1/",
            "http://127。0。0。1/",
            "http:127.0.0.1",
            "http:\\\\10.0.0.1\\",
            "http://%31%32%37.0.0.1/",
            "http://192.168.0.1:8080/",
            "http://[fd00:ec2::254]/",
        ] {
            assert!(matches!(check(EgressPolicy::default(), url), Err(Refusal::Private { .. })), "{url}");
        }
    }

    #[test]
    fn only_plain_web_urls_are_followed_and_in_their_canonical_form() {
        let refused = |url| check(EgressPolicy::default(), url).unwrap_err();
        for url in [
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "data:text/plain,x",
            "ws://example.com/",
        ] {
            assert_eq!(refused(url), Refusal::Scheme, "{url}");
        }
        for url in [
            "http://user@example.com/",
            "http://user:pw@example.com/",
            "https://:pw@example.com/",
            "http://example.com@127.0.0.1/",
        ] {
            assert_eq!(refused(url), Refusal::Userinfo, "{url}");
        }
        for url in ["http://example.com../", "http://./"] {
            assert_eq!(refused(url), Refusal::NoHost, "{url}");
        }
        for (url, canonical) in [
            ("HTTP://EXAMPLE.com./a?b#c", "http://example.com/a?b"),
            ("https://example.com:443/", "https://example.com/"),
            ("http://8.8.8.8./", "http://8.8.8.8/"),
            ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ] {
            assert_eq!(check(EgressPolicy::default(), url).unwrap(), canonical);
        }
    }

    #[test]
    fn a_private_host_can_be_allowed_on_one_port() {
        let policy = EgressPolicy {
            private_allowed: vec![("127.0.0.1".into(), 11434), ("ollama.internal".into(), 80)],
            ..EgressPolicy::default()
        };
        for (url, allowed) in [
            ("http://127.0.0.1:11434/", true),
            ("http://0x7f.1:11434/", true),
            ("http://127.0.0.1:5432/", false),
            ("http://127.0.0.2:11434/", false),
            ("http://ollama.internal/", true),
            ("http://OLLAMA.internal./", true),
            ("http://ollama.internal:22/", false),
        ] {
            assert_eq!(check(policy.clone(), url).is_ok(), allowed, "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_refused() {
        let resolver = |policy| CheckedResolver::new(Arc::new(Guard::new(policy)));
        let name = || "localhost".parse().unwrap();
        let error = resolver(EgressPolicy::default()).resolve(name()).await.err().unwrap();
        assert_eq!(error.downcast_ref(), Some(&Refusal::Private { host: "localhost".into() }));
        let open = EgressPolicy { allow_private: true, ..EgressPolicy::default() };
        assert!(resolver(open).resolve(name()).await.unwrap().all(|address| address.ip().is_loopback()));
    }

    #[test]
    fn a_private_address_that_was_reached_all_the_same_is_refused() {
        let guard = Guard::new(EgressPolicy::default());
        let url = Url::parse("http://example.com/").unwrap();
        assert!(guard.check_reached(&url, Some("127.0.0.1:80".parse().unwrap())).is_err());
        assert!(guard.check_reached(&url, Some("8.8.8.8:80".parse().unwrap())).is_ok());
    }
}
