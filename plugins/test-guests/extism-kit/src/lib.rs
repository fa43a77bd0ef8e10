//! An Extism plugin as its authors write one, with `extism-pdk` from crates.io: a function for each thing there is.
#![cfg(target_family = "wasm")]

use extism_pdk::{FnResult, HttpRequest, Json, WithReturnCode, config, http, log, plugin_fn, var};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Person {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    text: String,
    letters: usize,
}

#[plugin_fn]
pub fn greet(Json(person): Json<Person>) -> FnResult<Json<Greeting>> {
    let text = format!("Hello, {}!", person.name);
    Ok(Json(Greeting { letters: person.name.chars().count(), text }))
}

#[plugin_fn]
pub fn count_vowels(text: String) -> FnResult<String> {
    let vowels = text.chars().filter(|c| "aeiouAEIOU".contains(*c)).count();
    Ok(format!("{vowels} vowels"))
}

#[plugin_fn]
pub fn echo(input: Vec<u8>) -> FnResult<Vec<u8>> {
    Ok(input)
}

#[plugin_fn]
pub fn nothing() -> FnResult<()> {
    Ok(())
}

#[plugin_fn]
pub fn bytes() -> FnResult<Vec<u8>> {
    Ok(vec![0xff, 0xfe])
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

#[plugin_fn]
pub fn configured(Json(Key { key }): Json<Key>) -> FnResult<Json<Option<String>>> {
    Ok(Json(config::get(key)?))
}

/// Counts how often it was called, as far as its variables live.
#[plugin_fn]
pub fn count() -> FnResult<Json<u64>> {
    let so_far: Option<String> = var::get("count")?;
    let count = so_far.and_then(|count| count.parse().ok()).unwrap_or(0_u64) + 1;
    var::set("count", count.to_string())?;
    let stored: Option<String> = var::get("count")?;
    assert_eq!(stored, Some(count.to_string()), "what was set is there");
    var::set("gone", "x")?;
    var::remove("gone")?;
    assert!(var::get::<String>("gone")?.is_none(), "what was removed is not");
    Ok(Json(count))
}

#[derive(Deserialize)]
struct Wanted {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    header_from_config: Option<(String, String)>,
    #[serde(default)]
    body: Option<String>,
}

#[derive(Serialize)]
struct Got {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

#[plugin_fn]
pub fn fetch(Json(wanted): Json<Wanted>) -> FnResult<Json<Got>> {
    let mut request = HttpRequest::new(wanted.url);
    if let Some(method) = wanted.method {
        request = request.with_method(method);
    }
    request.headers.extend(wanted.headers);
    if let Some((name, key)) = wanted.header_from_config {
        request.headers.insert(name, config::get(key)?.unwrap_or_default());
    }
    let response = http::request::<String>(&request, wanted.body)?;
    Ok(Json(Got {
        status: response.status_code(),
        headers: response.headers().clone().into_iter().collect(),
        body: String::from_utf8_lossy(&response.body()).into_owned(),
    }))
}

#[plugin_fn]
pub fn chat() -> FnResult<()> {
    log!(extism_pdk::LogLevel::Trace, "not kept");
    log!(extism_pdk::LogLevel::Debug, "a detail");
    log!(extism_pdk::LogLevel::Info, "a line\nand \u{1b}[31mred");
    log!(extism_pdk::LogLevel::Warn, "careful");
    log!(extism_pdk::LogLevel::Error, "trouble");
    Ok(())
}

#[plugin_fn]
pub fn fail() -> FnResult<()> {
    Err(WithReturnCode::new(extism_pdk::Error::msg("there is no such city"), 7))
}

#[plugin_fn]
pub fn panic() -> FnResult<()> {
    panic!("out of ideas")
}

#[plugin_fn]
pub fn spin() -> FnResult<()> {
    loop {
        std::hint::spin_loop();
    }
}

/// Takes memory of its own until there is none.
#[plugin_fn]
pub fn hog() -> FnResult<Json<usize>> {
    let mut held: Vec<Vec<u8>> = vec![];
    loop {
        held.push(vec![1; 1 << 20]);
        std::hint::black_box(&held);
    }
}

/// Answers with this many bytes.
#[plugin_fn]
pub fn large(Json(bytes): Json<BTreeMap<String, usize>>) -> FnResult<String> {
    Ok("x".repeat(bytes.values().sum()))
}
