//! A provider of accounts for people to sign in with: a real HTTP server on 127.0.0.1 that speaks as GitHub does
//! (`/login/oauth/…`, `/api/v3/…`) and as Google does (`/o/oauth2/v2/auth`, `/token`).
//!
//! It takes what is right and nothing else: an id and a secret it knows, a code once, from who shows the verifier of its
//! PKCE challenge (S256) and for the same `redirect_uri`. Who is signed in there, and what goes wrong, the test says.
//!
//! The server ends with the [`Accounts`].

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use opg_host::{
    config::Config,
    people::oauth::{Provider, ProviderConfig},
};
use ring::digest::{SHA256, digest};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{net::TcpListener, task::JoinHandle};
use url::{Url, form_urlencoded};

/// What the provider calls the server under test.
pub const CLIENT_ID: &str = "Iv1.opg-under-test";
/// How it knows it.
pub const CLIENT_SECRET: &str = "canary-client-secret-0123456789";

const BODY_BYTES_MAX: usize = 64 << 10;

/// Somebody's account there.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its number.
    pub id: u64,
    /// Its address.
    pub email: String,
    /// Whether that is verified.
    pub verified: bool,
}

/// What goes wrong, where.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// The request at this path is answered with this status and body.
    Answers(&'static str, u16, String),
    /// The request at this path is never answered.
    Hangs(&'static str),
    /// The ID token says this instead, or besides.
    Says(Value),
}

/// What a code stands for.
struct Issued {
    account: Account,
    client_id: String,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
}

struct Standing {
    issuer: String,
    account: Account,
    fault: Fault,
    issued: HashMap<String, Issued>,
    tokens: HashMap<String, Account>,
    made: Vec<String>,
    asked: Vec<String>,
}

/// The running server.
pub struct Accounts {
    url: Url,
    standing: Arc<Mutex<Standing>>,
    server: JoinHandle<()>,
}

impl Accounts {
    /// Starts on a free port of 127.0.0.1, with Ann signed in, whose address `ann@example.com` is verified.
    pub async fn start() -> Accounts {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("127.0.0.1 has a free port");
        let at = listener.local_addr().expect("a bound socket has an address");
        let url = Url::parse(&format!("http://{at}")).expect("this is a URL");
        let standing = Arc::new(Mutex::new(Standing {
            issuer: url.as_str().trim_end_matches('/').to_owned(),
            account: account(7, "ann@example.com"),
            fault: Fault::None,
            issued: HashMap::new(),
            tokens: HashMap::new(),
            made: vec![],
            asked: vec![],
        }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&standing));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("a bound socket serves");
        });
        Accounts { url, standing, server }
    }

    /// Registers a server under test with it, as GitHub and as Google.
    pub fn registered(&self, config: &mut Config) {
        config.oauth = Provider::ALL
            .map(|provider| ProviderConfig {
                provider,
                client_id: CLIENT_ID.to_owned(),
                client_secret: SecretString::from(CLIENT_SECRET),
                url: Some(self.url.clone()),
            })
            .into();
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Signs somebody else in there.
    pub fn signs_in(&self, account: Account) {
        self.lock().account = account;
    }

    /// Lets something go wrong from now on.
    pub fn fails(&self, fault: Fault) {
        self.lock().fault = fault;
    }

    /// The codes and tokens it made.
    pub fn made(&self) -> Vec<String> {
        self.lock().made.clone()
    }

    /// Which paths were asked for so far, besides its page.
    pub fn asked(&self) -> Vec<String> {
        self.lock().asked.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().expect("no answer panics")
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An account whose address is verified.
pub fn account(id: u64, email: &str) -> Account {
    Account { id, email: email.to_owned(), verified: true }
}

type Fields = HashMap<String, String>;

fn fields(text: &[u8]) -> Fields {
    form_urlencoded::parse(text).into_owned().collect()
}

async fn answer(State(standing): State<Arc<Mutex<Standing>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let fault = standing.lock().expect("no answer panics").fault.clone();
    match fault {
        Fault::Answers(at, status, body) if at == path => {
            let status = StatusCode::from_u16(status).expect("a status");
            return (status, [(header::LOCATION, "/elsewhere")], body).into_response();
        }
        Fault::Hangs(at) if at == path => std::future::pending().await,
        _ => {}
    }
    let mut here = standing.lock().expect("no answer panics");
    let query = fields(parts.uri.query().unwrap_or_default().as_bytes());
    if !path.ends_with("/authorize") && !path.ends_with("/auth") {
        here.asked.push(path.clone());
    }
    let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let whose = |here: &Standing| here.tokens.get(bearer?.strip_prefix("Bearer ")?).cloned();
    match (parts.method.as_str(), path.as_str()) {
        ("GET", "/login/oauth/authorize" | "/o/oauth2/v2/auth") => here.agree(&query),
        ("POST", "/login/oauth/access_token") => match here.redeem(&fields(&body)) {
            Ok(issued) => {
                let token = here.token(issued.account);
                json_of(200, json!({ "access_token": token, "token_type": "bearer", "scope": "user:email" }))
            }
            // GitHub says so with a 200.
            Err(error) => json_of(200, json!({ "error": error, "error_description": "no" })),
        },
        ("POST", "/token") => match here.redeem(&fields(&body)) {
            Ok(issued) => {
                let id_token = here.id_token(&issued);
                let token = here.token(issued.account);
                json_of(200, json!({ "access_token": token, "token_type": "Bearer", "id_token": id_token }))
            }
            Err("bad_verification_code") => json_of(400, json!({ "error": "invalid_grant" })),
            Err(error) => json_of(401, json!({ "error": error })),
        },
        ("GET", "/api/v3/user") => match whose(&here) {
            Some(account) => {
                json_of(200, json!({ "id": account.id, "login": "ann", "email": "shown@example.com" }))
            }
            None => json_of(401, json!({ "message": "Bad credentials" })),
        },
        ("GET", "/api/v3/user/emails") => match whose(&here) {
            Some(account) => json_of(
                200,
                json!([
                    { "email": "second@example.com", "primary": false, "verified": true },
                    { "email": account.email, "primary": true, "verified": account.verified },
                ]),
            ),
            None => json_of(401, json!({ "message": "Bad credentials" })),
        },
        _ => json_of(404, json!({ "message": "Not Found" })),
    }
}

fn json_of(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).expect("a status"), axum::Json(body)).into_response()
}

impl Standing {
    /// The page on which somebody is asked, who says yes at once.
    fn agree(&mut self, query: &Fields) -> Response {
        let of = |name: &str| query.get(name).cloned().unwrap_or_default();
        let right = of("response_type") == "code"
            && of("client_id") == CLIENT_ID
            && of("code_challenge_method") == "S256"
            && of("code_challenge").len() == 43
            && !of("state").is_empty()
            && ["read:user user:email", "openid email"].contains(&of("scope").as_str());
        let Some(mut back) = Url::parse(&of("redirect_uri")).ok().filter(|_| right) else {
            return json_of(400, json!({ "error": "invalid_request" }));
        };
        let code = self.fresh("code");
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &of("state"));
        let issued = Issued {
            account: self.account.clone(),
            client_id: of("client_id"),
            redirect_uri: of("redirect_uri"),
            challenge: of("code_challenge"),
            nonce: query.get("nonce").cloned(),
        };
        self.issued.insert(code, issued);
        (StatusCode::FOUND, [(header::LOCATION, back.to_string())]).into_response()
    }

    fn redeem(&mut self, form: &Fields) -> Result<Issued, &'static str> {
        let of = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        if of("client_id") != CLIENT_ID || of("client_secret") != CLIENT_SECRET {
            return Err("invalid_client");
        }
        let issued = self.issued.remove(of("code")).ok_or("bad_verification_code")?;
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, of("code_verifier").as_bytes()));
        let right =
            of("grant_type") == "authorization_code" && (43..=128).contains(&of("code_verifier").len());
        if !right || challenge != issued.challenge || issued.client_id != of("client_id") {
            return Err("bad_verification_code");
        }
        if issued.redirect_uri != of("redirect_uri") {
            return Err("redirect_uri_mismatch");
        }
        Ok(issued)
    }

    fn token(&mut self, account: Account) -> String {
        let token = self.fresh("token");
        self.tokens.insert(token.clone(), account);
        token
    }

    fn id_token(&mut self, issued: &Issued) -> String {
        let mut claims = json!({
            "iss": self.issuer,
            "aud": issued.client_id,
            "azp": issued.client_id,
            "sub": issued.account.id.to_string(),
            "email": issued.account.email,
            "email_verified": issued.account.verified,
            "nonce": issued.nonce,
            "exp": u64::from(u32::MAX),
        });
        if let (Fault::Says(other), Some(claims)) = (&self.fault, claims.as_object_mut()) {
            claims.extend(other.as_object().cloned().unwrap_or_default());
        }
        let [head, claims] = [json!({ "alg": "RS256", "kid": "1" }), claims];
        let token = [head.to_string(), claims.to_string(), "no signature".to_owned()]
            .map(|part| URL_SAFE_NO_PAD.encode(part));
        let token = token.join(".");
        self.made.push(token.clone());
        token
    }

    fn fresh(&mut self, what: &str) -> String {
        let made = format!("canary-{what}-{:08}-abcdefghijklmnop", self.made.len());
        self.made.push(made.clone());
        made
    }
}
