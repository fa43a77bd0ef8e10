//! Capabilities in words, for the person who decides.

use crate::grants::{Capability, CapabilityKind};

/// What a capability lets a plugin do, as the end of a sentence that starts with "may".
pub(super) fn of(capability: &Capability) -> String {
    let target = capability.target.as_str();
    match capability.kind {
        CapabilityKind::Http => http(target),
        CapabilityKind::Secret => secret(target),
        CapabilityKind::Kv => kv(target),
        CapabilityKind::Model => model(target),
        CapabilityKind::Tool if target == "*" => "call every other tool of the app".to_owned(),
        CapabilityKind::Tool => format!("call the tool {target}"),
        CapabilityKind::Database => table(target),
        CapabilityKind::Workspace if target == "read-write" => {
            "read, write and remove the files of the session it is called in".to_owned()
        }
        CapabilityKind::Workspace => "read the files of the session it is called in".to_owned(),
        CapabilityKind::Limit => limit(target),
    }
}

fn http(target: &str) -> String {
    let (methods, place) = match target.split_once(' ') {
        Some((methods, place)) => (format!("{} requests", methods.replace(',', ", ")), place),
        None => ("requests of any method".to_owned(), target),
    };
    let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let path = match path.strip_suffix('*') {
        Some(prefix) => format!(" under {prefix}"),
        None if path.is_empty() => String::new(),
        None => format!(" at {path}"),
    };
    format!("send {methods} to {}{path}", host_words(host))
}

fn host_words(host: &str) -> String {
    match (host, host.strip_prefix("*.")) {
        ("*", _) => "every host on the internet".to_owned(),
        (_, Some(parent)) => format!("every host under {parent}"),
        _ => host.to_owned(),
    }
}

fn secret(target: &str) -> String {
    let (name, rest) = target.split_once('@').unwrap_or((target, ""));
    let (host, place) = rest.split_once(' ').unwrap_or((rest, ""));
    let place = match place.split_once(':') {
        Some(("header", header)) => format!("in the header {header}"),
        Some(("query", parameter)) => {
            format!("in the query parameter {parameter}, where logs on the way may keep it")
        }
        _ if place == "body" => "in the body".to_owned(),
        _ => "in any header".to_owned(),
    };
    format!("have the secret {name} sent to {}, {place}", host_words(host))
}

fn kv(target: &str) -> String {
    let (access, keys) = match target.split_once(':') {
        Some((access, prefix)) => (access, format!("keys that start with {}", prefix.trim_end_matches('*'))),
        None => (target, "every key".to_owned()),
    };
    let verb = if access == "write" { "read and write" } else { "read" };
    format!("{verb} {keys} of its own store")
}

fn model(target: &str) -> String {
    let (pattern, cap) = match target.split_once(" tokens=") {
        Some((pattern, tokens)) => (pattern, format!(", {tokens} tokens in one request")),
        None => (target, ", as much as the app lets it".to_owned()),
    };
    let which = match pattern.strip_suffix("/*") {
        Some(provider) => format!("every model of {provider}"),
        None if pattern == "*" => "every model".to_owned(),
        None => format!("the model {pattern}"),
    };
    format!("ask {which} at the app's cost{cap}")
}

fn table(target: &str) -> String {
    let (access, table) = target.split_once(':').unwrap_or((target, "*"));
    let verb = match access {
        "write" => "read and change rows of",
        "alter" => "read, change, create and drop",
        _ => "read",
    };
    let which = if table == "*" { "every table".to_owned() } else { format!("the table {table}") };
    format!("{verb} {which} of the app's database")
}

fn limit(target: &str) -> String {
    match target.split_once('=') {
        Some(("memory_mib", amount)) => format!("use {amount} MiB of memory in a call"),
        Some(("wall_ms", amount)) => format!("take {amount} ms for a call"),
        Some(("cpu_ms", amount)) => format!("compute for {amount} ms in a call"),
        _ => format!("have the limit {target}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m220_a_capability_is_said_in_words() {
        use CapabilityKind::{Database, Http, Kv, Limit, Model, Secret, Tool, Workspace};
        for (kind, target, words) in [
            (Http, "*", "send requests of any method to every host on the internet"),
            (Http, "GET,POST api.example.com/v1/*", "send GET, POST requests to api.example.com under /v1/"),
            (Http, "*.example.com/v1", "send requests of any method to every host under example.com at /v1"),
            (Secret, "KEY@api.example.com", "have the secret KEY sent to api.example.com, in any header"),
            (Secret, "KEY@a.org header:x-key", "have the secret KEY sent to a.org, in the header x-key"),
            (
                Secret,
                "KEY@a.org query:key",
                "have the secret KEY sent to a.org, in the query parameter key, where logs on the way may keep it",
            ),
            (Secret, "KEY@a.org body", "have the secret KEY sent to a.org, in the body"),
            (Kv, "read", "read every key of its own store"),
            (Kv, "write:cache/*", "read and write keys that start with cache/ of its own store"),
            (Model, "*", "ask every model at the app's cost, as much as the app lets it"),
            (
                Model,
                "openai/* tokens=9",
                "ask every model of openai at the app's cost, 9 tokens in one request",
            ),
            (Tool, "*", "call every other tool of the app"),
            (Tool, "word-count", "call the tool word-count"),
            (Database, "write:orders", "read and change rows of the table orders of the app's database"),
            (Database, "alter:*", "read, change, create and drop every table of the app's database"),
            (Workspace, "read", "read the files of the session it is called in"),
            (Workspace, "read-write", "read, write and remove the files of the session it is called in"),
            (Limit, "memory_mib=128", "use 128 MiB of memory in a call"),
        ] {
            assert_eq!(of(&Capability::new(kind, target)), words);
        }
    }
}
