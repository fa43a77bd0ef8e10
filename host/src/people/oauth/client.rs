//! What is said to a provider, and how far its answers are believed.
//!
//! Through a way out of its own, which reaches public addresses, and besides them the host and port that the operator
//! named for a provider. No redirect is followed: our secret goes where it was registered. An answer is bounded in
//! bytes and time, and what stands in it is in no error: it may be a token.

use super::{Provider, ProviderConfig};
use crate::{
    egress::{Egress, EgressError, EgressPolicy, EgressRequest},
    limits::{OAUTH_ANSWER_BYTES_MAX, OAUTH_ANSWER_TIME_MAX},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::{Url, form_urlencoded};

/// The longest word for an error that is written down as it is; more is no word.
const ERROR_CHARS_MAX: usize = 64;

/// The providers that the operator registered with, and the way to them.
pub struct Oauth {
    egress: Egress,
    clients: Vec<Client>,
}

/// This server, as a provider knows it.
pub struct Client {
    /// Which provider.
    pub provider: Provider,
    pub(super) client_id: String,
    client_secret: SecretString,
    pub(super) at: Endpoints,
}

/// Where a provider is asked what.
pub(super) struct Endpoints {
    /// Whose accounts they are.
    pub(super) issuer: String,
    authorize: Url,
    token: Url,
    /// What tells who somebody is; none: the answer with the token does.
    pub(super) api: Option<Url>,
}

/// Why a provider's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is none.
    #[error("{0}")]
    Egress(#[from] EgressError),
    /// It is an error without a word for it.
    #[error("it answered {0}")]
    Status(u16),
    /// It takes us for somebody else, or our registration is wrong.
    #[error("it refused this server: {0}")]
    Refused(String),
    /// It is not what was asked for.
    #[error("its answer holds no {0}")]
    Lacks(&'static str),
    /// The code is used up, or not one it gave for this.
    #[error("it does not take the code")]
    Code,
    /// What it says is not about this sign-in.
    #[error("what it says is not for this sign-in: {0}")]
    Claims(&'static str),
}

impl Oauth {
    /// The way to these providers; none where there is none.
    ///
    /// # Errors
    /// What the HTTP client says.
    pub fn open(configs: &[ProviderConfig]) -> Result<Option<Oauth>, EgressError> {
        if configs.is_empty() {
            return Ok(None);
        }
        let named = configs.iter().filter_map(|config| config.url.as_ref());
        // A GitHub of one's own is often in a network of one's own: the operator named it.
        let private_allowed = named
            .filter_map(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)))
            .collect();
        let egress = Egress::new(EgressPolicy { private_allowed, ..EgressPolicy::default() })?;
        Ok(Some(Oauth { egress, clients: configs.iter().map(Client::of).collect() }))
    }

    /// Which providers there are.
    pub fn offered(&self) -> impl Iterator<Item = Provider> {
        self.clients.iter().map(|client| client.provider)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.provider.name() == name)
    }

    /// Asks for JSON.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, Value), AskError> {
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        let request = EgressRequest {
            method,
            url,
            headers,
            body,
            timeout: OAUTH_ANSWER_TIME_MAX,
            response_bytes_max: OAUTH_ANSWER_BYTES_MAX,
            redirects_max: 0,
            check: &|_, _| Ok(()),
        };
        let answer = self.egress.send(request).await?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or_default()))
    }
}

impl Client {
    fn of(config: &ProviderConfig) -> Client {
        Client {
            provider: config.provider,
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            at: Endpoints::of(config.provider, config.url.as_ref()),
        }
    }

    /// Where somebody is asked there whether they want to sign in here.
    pub(super) fn authorize(&self, redirect_uri: &str, state: &str, nonce: &str, verifier: &str) -> Url {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        let mut url = self.at.authorize.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let (scope, nonce) = match self.provider {
            Provider::GitHub => ("read:user user:email", None),
            Provider::Google => ("openid email", Some(("nonce", nonce))),
        };
        url.query_pairs_mut().append_pair("scope", scope).extend_pairs(nonce);
        url
    }

    /// Gets for a code what it stands for.
    pub(super) async fn redeem(
        &self,
        oauth: &Oauth,
        redirect_uri: &str,
        code: &str,
        verifier: &str,
    ) -> Result<Value, AskError> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("client_id", &self.client_id)
            .append_pair("client_secret", self.client_secret.expose_secret())
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code", code)
            .append_pair("code_verifier", verifier)
            .finish();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, form_type)]);
        let (status, answer) = oauth.ask(Method::POST, self.at.token.clone(), headers, form.into()).await?;
        match answer["error"].as_str() {
            // GitHub's word for it, with a 200, and the standard's.
            Some("bad_verification_code" | "invalid_grant") => Err(AskError::Code),
            Some(other) => Err(AskError::Refused(word(other).to_owned())),
            None if status.is_success() => Ok(answer),
            None => Err(AskError::Status(status.as_u16())),
        }
    }
}

impl Endpoints {
    fn of(provider: Provider, url: Option<&Url>) -> Endpoints {
        let usual = |text: &str| Url::parse(text).expect("this is a URL");
        match provider {
            Provider::GitHub => {
                let base = url.cloned().unwrap_or_else(|| usual("https://github.com"));
                let api = api_of_its_own(&base).unwrap_or_else(|| below(&base, "api/v3"));
                Endpoints {
                    issuer: issuer(&base),
                    authorize: below(&base, "login/oauth/authorize"),
                    token: below(&base, "login/oauth/access_token"),
                    api: Some(api),
                }
            }
            Provider::Google => {
                let base = url.cloned().unwrap_or_else(|| usual("https://accounts.google.com"));
                let token = url.cloned().unwrap_or_else(|| usual("https://oauth2.googleapis.com"));
                Endpoints {
                    issuer: issuer(&base),
                    authorize: below(&base, "o/oauth2/v2/auth"),
                    token: below(&token, "token"),
                    api: None,
                }
            }
        }
    }
}

/// The API of what GitHub runs itself, which has a host of its own; a server of somebody's has it below its own.
fn api_of_its_own(base: &Url) -> Option<Url> {
    let host = base.host_str().filter(|host| *host == "github.com" || host.ends_with(".ghe.com"))?;
    Url::parse(&format!("https://api.{host}")).ok()
}

fn issuer(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}

/// What is below a URL.
pub(super) fn below(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

/// A provider's word for what was wrong, where it is a word: what else it says is nothing for a log.
pub(super) fn word(text: &str) -> &str {
    let is_word = text.len() <= ERROR_CHARS_MAX && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_word { text } else { "something that is no word" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m073_a_provider_is_asked_where_it_is_or_where_the_operator_says() {
        let at = |provider, url: Option<&str>| {
            let at = Endpoints::of(provider, url.map(|url| Url::parse(url).unwrap()).as_ref());
            [
                at.authorize.to_string(),
                at.token.to_string(),
                at.api.map(String::from).unwrap_or_default(),
                at.issuer,
            ]
        };
        assert_eq!(
            at(Provider::GitHub, None),
            [
                "https://github.com/login/oauth/authorize",
                "https://github.com/login/oauth/access_token",
                "https://api.github.com/",
                "https://github.com",
            ]
        );
        assert_eq!(
            at(Provider::GitHub, Some("https://git.example/")),
            [
                "https://git.example/login/oauth/authorize",
                "https://git.example/login/oauth/access_token",
                "https://git.example/api/v3",
                "https://git.example",
            ]
        );
        assert_eq!(at(Provider::GitHub, Some("https://github.com/")), at(Provider::GitHub, None));
        assert_eq!(at(Provider::GitHub, Some("https://octo.ghe.com"))[2], "https://api.octo.ghe.com/");
        assert_eq!(
            at(Provider::Google, None),
            [
                "https://accounts.google.com/o/oauth2/v2/auth",
                "https://oauth2.googleapis.com/token",
                "",
                "https://accounts.google.com",
            ]
        );
        assert_eq!(word("redirect_uri_mismatch"), "redirect_uri_mismatch");
        for text in ["Bearer abc", "gho_1", &"a".repeat(65), "a\nb"] {
            assert_eq!(word(text), "something that is no word", "{text}");
        }
    }
}
