//! A tool: one documented function. The model reads the comments.

use opg_guest::*;

/// Greets someone by name.
#[tool]
fn greet(
    /// Who to greet.
    name: String,
) -> String {
    log::info(format_args!("greeting {name}"));
    format!("Hello, {name}!")
}

plugin!(greet);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_has_the_name_in_it() {
        assert_eq!(greet("Ann".into()), "Hello, Ann!");
    }
}
