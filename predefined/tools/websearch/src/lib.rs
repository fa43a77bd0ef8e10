//! Predefined tool: web search.
//!
//! The source is any service with a SearXNG-style JSON API. Its address is
//! configuration of the tenant, kept in the plugin's own `kv`: invoke
//! `configure_websearch` once and grant `http` for its host. By its name it is
//! a set-up tool: no model is offered it, so nothing a model reads can change
//! whom it asks.
//!
//! Deliberately absent: a source that works out of the box. There is none
//! without an account, and searches tell much about who makes them.

mod results;

use opg_guest::{Error, data, http, kv, plugin, tool};

use results::SearchResult;

const URL_KEY: &str = "websearch:url";

/// A model reads a page or two of results at most.
const COUNT_DEFAULT: u32 = 5;
const COUNT_MAX: u32 = 20;

/// Searches the web and returns titles, URLs and snippets, best first.
#[tool(
    http("*", "to ask the configured search source; grant only its host"),
    kv("read", "to read which search source is configured")
)]
fn websearch(
    /// What to search for.
    query: String,
    /// How many results to return: 5 unless given, 20 at the most.
    count: Option<u32>,
) -> Result<SearchResults, Error> {
    if query.trim().is_empty() {
        return Err(Error::invalid_input("the query is empty"));
    }
    let Some(source) = kv::get::<String>(URL_KEY)? else {
        return Err(Error::failed(
            "no search source is configured; a person who may change tools invokes \
             `websearch_configure_websearch` with the URL of a SearXNG-style instance, and grants \
             `http` for its host",
        ));
    };
    let count = count.unwrap_or(COUNT_DEFAULT).clamp(1, COUNT_MAX);
    let answer = http::get(search_url(&source))
        .query("q", query)
        .query("format", "json")
        .header("accept", "application/json")
        .send()?
        .success()?
        .json()?;
    Ok(SearchResults { results: results::read(&answer, count as usize)? })
}

/// Sets the search source that `websearch` asks, for all later searches.
#[tool(kv("write", "to remember which search source is configured"))]
fn configure_websearch(
    /// The base URL of a service with a SearXNG-style JSON API.
    url: String,
) -> Result<Configured, Error> {
    let url = url.trim();
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/')) {
        return Err(Error::invalid_input("the URL must be absolute, such as `https://search.example.com`"));
    }
    kv::set(URL_KEY, url)?;
    Ok(Configured { url: url.to_owned() })
}

plugin!(websearch, configure_websearch);

/// What was found.
#[data]
struct SearchResults {
    results: Vec<SearchResult>,
}

/// What is configured now.
#[data]
struct Configured {
    url: String,
}

/// The page that answers searches, from the base URL or the page's own.
fn search_url(source: &str) -> String {
    let source = source.trim_end_matches('/');
    let path = source.split(['?', '#']).next().unwrap_or(source);
    if path != source || path.ends_with("/search") { source.to_owned() } else { format!("{source}/search") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_page_is_found_from_the_base_url_or_given_whole() {
        assert_eq!(search_url("https://s.example/"), "https://s.example/search");
        assert_eq!(search_url("https://s.example/searx"), "https://s.example/searx/search");
        assert_eq!(search_url("https://s.example/search"), "https://s.example/search");
        assert_eq!(search_url("https://s.example/find?lang=en"), "https://s.example/find?lang=en");
    }

    #[test]
    fn a_source_that_is_no_absolute_url_is_refused() {
        for url in ["", "search.example.com", "file:///etc/passwd", "https://", "http:///x"] {
            let error = configure_websearch(url.into()).err().unwrap();
            assert_eq!(error.kind(), "invalid-input", "{url}");
        }
    }

    #[test]
    fn an_empty_query_is_refused_before_anything_is_asked() {
        assert_eq!(websearch(" ".into(), None).err().unwrap().kind(), "invalid-input");
    }
}
