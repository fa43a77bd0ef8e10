//! Whose accounts people may sign in with. Values are not said where they are wrong: the secret may stand in the wrong
//! place.

use super::{
    reader::Reader,
    shown::{self, Line},
};
use crate::people::oauth::{Provider, ProviderConfig, config::is_client_id};

pub(super) fn read(vars: &mut Reader, production: bool) -> Vec<ProviderConfig> {
    Provider::ALL.into_iter().filter_map(|provider| read_one(vars, provider, production)).collect()
}

fn read_one(vars: &mut Reader, provider: Provider, production: bool) -> Option<ProviderConfig> {
    let [id, secret, url] =
        ["CLIENT_ID", "CLIENT_SECRET", "URL"].map(|end| format!("{}_{end}", provider.variables()));
    let url = vars.server(&url, "https://git.example.com", production);
    let Some(client_id) = vars.get(&id).map(|text| text.trim().to_owned()) else {
        if vars.get(&secret).or_else(|| vars.get(&format!("{secret}_FILE"))).is_some() {
            vars.wrong(&id, &format!("missing; {secret} needs it"));
        }
        return None;
    };
    if !is_client_id(&client_id) {
        vars.wrong(&id, "expected what the provider calls this server, without spaces");
    }
    let client_secret = vars.needed_secret(&secret, &id)?;
    Some(ProviderConfig { provider, client_id, client_secret, url })
}

pub(super) fn describe(oauth: &[ProviderConfig]) -> Vec<Line> {
    let of = |provider: Provider, [id, secret, url]: [&'static str; 3]| {
        let config = oauth.iter().find(|config| config.provider == provider);
        vec![
            (id, shown::value(config.map(|config| &config.client_id))),
            (secret, shown::secret(config.is_some())),
            (url, shown::value(config.and_then(|config| config.url.as_ref()))),
        ]
    };
    [
        of(Provider::GitHub, ["OAUTH_GITHUB_CLIENT_ID", "OAUTH_GITHUB_CLIENT_SECRET", "OAUTH_GITHUB_URL"]),
        of(Provider::Google, ["OAUTH_GOOGLE_CLIENT_ID", "OAUTH_GOOGLE_CLIENT_SECRET", "OAUTH_GOOGLE_URL"]),
    ]
    .concat()
}
