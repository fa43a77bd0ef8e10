//! The only way out of the process.
//!
//! Guests, webhooks, model providers and everything else that follows someone's URL goes through [`Egress`].
//!
//! Rules:
//! - The URL is judged in its canonical form, its host's addresses are judged after resolving, and the connection
//!   goes to the addresses that were judged: there is no second look-up to lie to.
//! - Each redirect is a new request: judged again, without the credentials when it leads to another origin.
//! - Time and bytes are bounded, and no error repeats a query string or a header.
//! - A proxy is what an operator names for one source of models ([`Proxy`]), and changes nothing of what may be asked for.
//!
//! Deliberately absent: the system's proxy settings, cookies, decompression (a caller that asks for gzip gets
//! gzip), `Referer`, and any rule about *which* public host may be reached; that is the caller's `check`.

mod address;
mod guard;
mod proxy;
mod send;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect;
use url::Url;

pub use address::is_public;
pub use guard::canonical;
pub use proxy::Proxy;
pub use send::{EgressRequest, EgressResponse};
pub use stream::{EgressStream, StreamRequest};

use guard::{CheckedResolver, Guard};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is kept this long for the next request to the same host.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// As many requests at once to one host go on without a new connection for each, which costs more than they do.
const POOL_IDLE_PER_HOST_MAX: usize = 64;
const USER_AGENT: &str = concat!("opg/", env!("CARGO_PKG_VERSION"));

/// Which addresses may be reached at all.
#[derive(Debug, Clone)]
pub struct EgressPolicy {
    /// Lets every address through. For development and tests.
    pub allow_private: bool,
    /// `host:port` pairs the operator vouches for although they are not public, such as `127.0.0.1:11434`.
    pub private_allowed: Vec<(String, u16)>,
    pub connect_timeout: Duration,
}

impl Default for EgressPolicy {
    fn default() -> Self {
        Self { allow_private: false, private_allowed: Vec::new(), connect_timeout: CONNECT_TIMEOUT }
    }
}

/// Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Egress {
    client: reqwest::Client,
    guard: Arc<Guard>,
    resolver: CheckedResolver,
    proxied: proxy::Clients,
}

impl Egress {
    pub fn new(policy: EgressPolicy) -> Result<Self, EgressError> {
        // Someone was faster: fine, there is a provider.
        drop(rustls::crypto::ring::default_provider().install_default());
        let guard = Arc::new(Guard::new(policy));
        let client = build(&guard, false, None).or_else(|error| {
            tracing::warn!(%error, "no certificate authorities on this machine: HTTPS will fail, install ca-certificates");
            build(&guard, true, None)
        });
        let client = client.map_err(|error| EgressError::Setup { message: innermost(&error) })?;
        let resolver = CheckedResolver::new(guard.clone());
        Ok(Self { client, guard, resolver, proxied: proxy::Clients::default() })
    }

    /// The URL in canonical form, if it may be followed as far as its text tells: scheme, credentials, an address
    /// in place of a name. A name's addresses are judged when it is resolved.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge(&self, url: &Url) -> Result<Url, Refusal> {
        self.guard.check(url)
    }

    /// The client behind the guard, for code that speaks HTTP itself. Its resolver gives out judged addresses only;
    /// a URL from outside goes through [`Egress::judge`] first, since an address in a URL is never resolved.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }
}

fn build(
    guard: &Arc<Guard>,
    without_authorities: bool,
    proxy: Option<reqwest::Proxy>,
) -> reqwest::Result<reqwest::Client> {
    #[expect(clippy::disallowed_methods, reason = "this is the one client, behind the guard")]
    let builder = reqwest::Client::builder();
    let builder = if without_authorities { builder.tls_certs_only([]) } else { builder };
    // Never the system's own.
    let builder = builder.no_proxy();
    let builder = match proxy {
        Some(proxy) => builder.proxy(proxy),
        None => builder,
    };
    builder
        .dns_resolver(Arc::new(CheckedResolver::new(guard.clone())))
        .redirect(redirect::Policy::none())
        .referer(false)
        .user_agent(USER_AGENT)
        .connect_timeout(guard.policy().connect_timeout)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
        .build()
}

/// Why a URL may not be followed. The asker's fault, and safe to show to them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("only http and https URLs can be followed")]
    Scheme,
    #[error("a URL must not carry a user name or a password")]
    Userinfo,
    #[error("the URL has no host")]
    NoHost,
    #[error("`{host}` is not a public address")]
    Private { host: String },
    #[error("a redirect from https to http is not followed")]
    Downgrade,
    #[error("the redirect leads nowhere")]
    BadRedirect,
    /// The caller's own rule, in the caller's words.
    #[error("{0}")]
    NotAllowed(String),
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no answer within {} ms", waited.as_millis())]
    Timeout { waited: Duration },
    #[error("the response is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the response has more than {headers_max} headers, or more than {bytes_max} bytes of them")]
    TooManyHeaders { headers_max: usize, bytes_max: usize },
    #[error("more than {redirects_max} redirects")]
    TooManyRedirects { redirects_max: u32 },
    #[error("cannot connect to `{host}`: {message}")]
    Connect { host: String, message: String },
    #[error("the exchange with `{host}` failed: {message}")]
    Exchange { host: String, message: String },
    #[error("the HTTP client cannot be set up: {message}")]
    Setup { message: String },
}

/// Looks for our own refusal inside, and leaves the URL out.
fn translate(error: &reqwest::Error, url: &Url, waited: Duration) -> EgressError {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return refusal.clone().into();
        }
        cause = inner.source();
    }
    let (host, message) = (url.host_str().unwrap_or_default().to_owned(), innermost(error));
    match () {
        () if error.is_connect() => EgressError::Connect { host, message },
        () if error.is_timeout() => EgressError::Timeout { waited },
        () => EgressError::Exchange { host, message },
    }
}

/// The first cause says what happened; the layers above it say where, and may repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => "the request could not be made".to_owned(),
        None => cause.to_string(),
    }
}
