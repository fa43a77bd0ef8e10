//! Reads what search services answer. They agree on little: where the list is
//! and how its fields are called is looked for, not expected.

use opg_guest::{Error, Value, data};

/// Longer ones cost the model more than they tell it.
const SNIPPET_CHARS_MAX: usize = 500;

/// One page that was found.
#[data]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SearchResult {
    pub(crate) title: String,
    pub(crate) url: String,
    pub(crate) snippet: String,
}

/// The first `count` results. Entries without a URL are passed over; an answer
/// without a list of results is an error, because "nothing found" would be a
/// lie.
pub(crate) fn read(answer: &Value, count: usize) -> Result<Vec<SearchResult>, Error> {
    let Some(list) = list(answer) else {
        return Err(Error::failed(
            "the search source answered without a list of results; is its JSON format switched on?",
        ));
    };
    Ok(list.iter().filter_map(result).take(count).collect())
}

fn list(answer: &Value) -> Option<&Vec<Value>> {
    ["", "/results", "/web/results", "/items", "/data"]
        .iter()
        .find_map(|path| answer.pointer(path).and_then(Value::as_array))
}

fn result(entry: &Value) -> Option<SearchResult> {
    let url = field(entry, &["url", "link", "href"])?;
    Some(SearchResult {
        title: field(entry, &["title", "name"]).unwrap_or(url).to_owned(),
        snippet: field(entry, &["content", "snippet", "description", "body"])
            .unwrap_or_default()
            .chars()
            .take(SNIPPET_CHARS_MAX)
            .collect(),
        url: url.to_owned(),
    })
}

fn field<'a>(entry: &'a Value, names: &[&str]) -> Option<&'a str> {
    let texts = names.iter().filter_map(|name| entry.get(name)?.as_str());
    texts.map(str::trim).find(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use opg_guest::json;

    use super::*;

    #[test]
    fn results_are_read_from_the_shapes_services_use() {
        let found =
            [SearchResult { title: "T".into(), url: "https://a.example".into(), snippet: "S".into() }];
        for answer in [
            json!({"query": "q", "results": [{"title": "T", "url": "https://a.example", "content": " S "}]}),
            json!({"web": {"results": [{"title": "T", "url": "https://a.example", "description": "S"}]}}),
            json!({"items": [{"title": "T", "link": "https://a.example", "snippet": "S"}]}),
            json!([{"title": "T", "href": "https://a.example", "body": "S"}]),
        ] {
            assert_eq!(read(&answer, 5).unwrap(), found, "{answer}");
        }
    }

    #[test]
    fn entries_without_a_url_are_passed_over_and_do_not_count() {
        let answer = json!({"results": [
            {"title": "answer box"}, 7, {"url": ""}, {"url": "https://a.example", "title": null},
            {"url": "https://b.example"}, {"url": "https://c.example"},
        ]});
        let results = read(&answer, 2).unwrap();
        let urls: Vec<_> = results.iter().map(|result| result.url.as_str()).collect();
        assert_eq!(urls, ["https://a.example", "https://b.example"]);
        assert_eq!(results[0].title, "https://a.example");
    }

    #[test]
    fn an_answer_without_a_list_is_an_error_and_an_empty_list_is_not() {
        assert_eq!(read(&json!({"error": "json format is off"}), 5).unwrap_err().kind(), "failed");
        assert_eq!(read(&json!({"results": []}), 5).unwrap(), []);
    }
}
