//! Slugs: `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`, 3 to 30 characters, not reserved (row M002).
//!
//! No `_` and no `--`: a slug is part of a token (`ocs_<slug>_…`) and of table
//! names (`app_<slug>__…`, `-` as `_`), and neither may be readable in two ways.

/// The shortest slug.
pub const CHARS_MIN: usize = 3;
/// The longest slug: with prefix and suffix it stays a PostgreSQL name.
pub const CHARS_MAX: usize = 30;

/// Every first segment of a path we serve or may come to serve.
const RESERVED: &[&str] = &[
    "v1",
    "platform",
    "internal",
    "oauth",
    "console",
    "assets",
    "docs",
    "mcp",
    "api",
    "admin",
    "login",
    "logout",
    "signup",
    "apps",
    "agents",
    "tools",
    "sessions",
    "users",
    "device",
    "connect",
    "onboarding",
    "healthz",
    "readyz",
    "metrics",
    "version",
    "well-known",
    "static",
    "public",
    "app",
    "opg",
    "www",
    "root",
    "system",
    "help",
    "status",
    "webhooks",
    "llms",
    "en",
    "zh",
];

/// Whether `text` may name an app.
///
/// # Errors
/// What is wrong, for the field's message.
pub fn check(text: &str) -> Result<(), &'static str> {
    if !(CHARS_MIN..=CHARS_MAX).contains(&text.len()) {
        return Err("expected 3 to 30 characters");
    }
    let starts_with_letter = text.starts_with(|c: char| c.is_ascii_lowercase());
    let parts_ok = text
        .split('-')
        .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if !starts_with_letter || !parts_ok {
        return Err("expected lower-case letters, digits and single hyphens between them, a letter first");
    }
    if RESERVED.contains(&text) {
        return Err("this name is reserved; choose another");
    }
    Ok(())
}

/// A slug made from a name a person gave, to be tried first; always passes [`check`].
pub fn derive(name: &str) -> String {
    /// Room for `-` and a number when the slug is taken.
    const SUFFIX_CHARS: usize = 6;
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= CHARS_MAX - SUFFIX_CHARS {
            break;
        }
    }
    let slug = slug.trim_matches('-').trim_start_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
    if check(&slug).is_ok() {
        return slug;
    }
    let padded = format!("app-{slug}");
    let padded = padded.trim_end_matches('-');
    if check(padded).is_ok() { padded.to_owned() } else { "my-app".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn m002_a_slug_is_lower_case_words_with_single_hyphens() {
        for good in ["acme", "a1b", "acme-corp", "a-b-c", "x2-3"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Acme",
            "acme_corp",
            "acme--corp",
            "-acme",
            "acme-",
            "1acme",
            "v1",
            "platform",
            "healthz",
            "ácme",
            "acme corp",
            "acme.corp",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "acme\n",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_derived_slug_is_always_a_slug(name in ".{0,60}") {
            let slug = derive(&name);
            prop_assert!(check(&slug).is_ok(), "{name:?} gave {slug:?}");
        }
    }
}
