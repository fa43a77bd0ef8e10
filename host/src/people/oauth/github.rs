//! Who somebody is, by GitHub's word: its API says, asked with the token that the code got.

use super::{
    Person,
    client::{AskError, Client, Oauth, below},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::Value;
use url::Url;

/// The version of the API that is asked, also of servers that know newer ones.
const API_VERSION: HeaderValue = HeaderValue::from_static("2022-11-28");

/// Who a token is about.
pub(super) async fn person(oauth: &Oauth, client: &Client, token: &Value) -> Result<Person, AskError> {
    let api = client.at.api.as_ref().ok_or(AskError::Lacks("API"))?;
    let bearer = token["access_token"].as_str().filter(|token| !token.is_empty());
    let bearer = bearer.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
    let mut bearer = bearer.ok_or(AskError::Lacks("token"))?;
    bearer.set_sensitive(true);
    let user = get(oauth, below(api, "user"), &bearer).await?;
    let emails = get(oauth, below(api, "user/emails"), &bearer).await?;
    read(&user, &emails)
}

async fn get(oauth: &Oauth, url: Url, bearer: &HeaderValue) -> Result<Value, AskError> {
    let headers = HeaderMap::from_iter([
        (header::AUTHORIZATION, bearer.clone()),
        (header::ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
        (HeaderName::from_static("x-github-api-version"), API_VERSION),
    ]);
    let (status, answer) = oauth.ask(Method::GET, url, headers, Bytes::new()).await?;
    if status.is_success() { Ok(answer) } else { Err(AskError::Status(status.as_u16())) }
}

/// By the number that an account keeps when it is renamed, and the address that is its first and verified.
fn read(user: &Value, emails: &Value) -> Result<Person, AskError> {
    let id = user["id"].as_u64().filter(|id| *id > 0).ok_or(AskError::Lacks("id of the account"))?;
    let emails = emails.as_array().ok_or(AskError::Lacks("list of addresses"))?;
    let is = |email: &Value, what: &str| email[what] == Value::Bool(true);
    let first = emails.iter().find(|email| is(email, "primary") && is(email, "verified"));
    let email = first.and_then(|email| email["email"].as_str()).map(str::to_owned);
    Ok(Person { subject: id.to_string(), email })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn m073_githubs_address_is_the_first_if_it_is_verified_and_no_other() {
        let user = json!({ "id": 7, "login": "ann", "email": "shown@example.com" });
        let of = |emails: Value| read(&user, &emails).unwrap().email;
        let email = |email: &str, primary: Value, verified: Value| json!({ "email": email, "primary": primary, "verified": verified });
        let (yes, no) = (json!(true), json!(false));
        assert_eq!(
            of(json!([
                email("b@x.example", no.clone(), yes.clone()),
                email("a@x.example", yes.clone(), yes.clone())
            ])),
            Some("a@x.example".to_owned())
        );
        assert_eq!(
            of(json!([email("a@x.example", yes.clone(), no.clone()), email("b@x.example", no, yes.clone())])),
            None
        );
        for said in [json!("true"), json!(1), Value::Null] {
            assert_eq!(of(json!([email("a@x.example", yes.clone(), said.clone())])), None, "{said}");
        }
        assert_eq!(of(json!([])), None);
        for (user, emails) in [
            (json!({}), json!([])),
            (json!({ "id": "7" }), json!([])),
            (json!({ "id": 0 }), json!([])),
            (json!({ "id": 1.5 }), json!([])),
            (json!(null), json!([])),
            (json!({ "id": 7 }), json!({ "message": "Not Found" })),
        ] {
            assert!(matches!(read(&user, &emails), Err(AskError::Lacks(_))), "{user} {emails}");
        }
    }
}
