//! Tools: what a model, a person or a guest can call, whoever wrote it.
//!
//! From here on a tenant's tools and those we ship look alike. A tool's name is
//! its plugin's where the plugin holds one tool, or where it is called like its
//! plugin; the other tools of a plugin are `plugin_tool`, also where they are
//! called so inside (as exports of a TypeScript file are, alone or not). A
//! plugin's name has no `_`, so no two plugins can come to one name.
//!
//! A tool named `configure_…` sets its plugin up for all later calls. It is for
//! a person who may change tools: neither a model nor another guest sees or
//! calls it, or a text on some web page could repoint the app's web search.

pub mod catalog;
pub mod forms;
pub mod invoke;
pub mod output;
pub mod routes;
pub mod runs;
pub mod schema;
mod store;

use crate::{models::openai::request::is_tool_name, sandbox::door::ToolDefinition};
use std::collections::BTreeSet;

/// Tools in one plugin: more than that, and a model no longer finds the right one.
const TOOLS_PER_PLUGIN_MAX: usize = 64;

/// How the name of a set-up tool starts.
const SET_UP: &str = "configure_";

/// Whether a tool of this name, inside its plugin, sets the plugin up.
pub fn sets_up(inner_name: &str) -> bool {
    inner_name.starts_with(SET_UP)
}

/// Whether this may name a tool: `^[a-zA-Z0-9_-]{1,64}$`, as every provider takes it.
pub fn is_name(name: &str) -> bool {
    is_tool_name(name)
}

/// The name a tool is called by.
pub fn exposed_name(plugin: &str, tools_in_plugin: usize, tool: &str) -> String {
    let says_it_all = tool.strip_prefix(plugin).is_some_and(|rest| rest.len() > 1 && rest.starts_with('_'));
    if says_it_all {
        tool.to_owned()
    } else if tools_in_plugin == 1 || tool.replace('_', "-") == plugin {
        plugin.to_owned()
    } else {
        format!("{plugin}_{tool}")
    }
}

/// The plugin a tool of this name is in.
pub fn plugin_of(exposed: &str) -> &str {
    exposed.split_once('_').map_or(exposed, |(plugin, _)| plugin)
}

/// Whether these tools may stand in a plugin of this name.
///
/// # Errors
/// What is wrong, for the author.
pub fn check_definitions(plugin: &str, tools: &[ToolDefinition]) -> Result<(), String> {
    if tools.is_empty() {
        return Err("there is no tool in it".to_owned());
    }
    if tools.len() > TOOLS_PER_PLUGIN_MAX {
        return Err(format!("it holds {} tools; {TOOLS_PER_PLUGIN_MAX} at the most", tools.len()));
    }
    let mut names = BTreeSet::new();
    for tool in tools {
        if !is_name(&tool.name) {
            return Err(format!(
                "`{}` is not the name of a tool: letters, digits, `_` and `-`, 64 at the most",
                tool.name.escape_debug()
            ));
        }
        let exposed = exposed_name(plugin, tools.len(), &tool.name);
        if !is_name(&exposed) {
            return Err(format!("`{exposed}` is longer than 64 characters; choose a shorter name"));
        }
        if !names.insert(exposed) {
            return Err(format!("there are two tools named `{}`", tool.name));
        }
        if tool.description.trim().is_empty() {
            return Err(format!(
                "`{}` has no description: a model would not know when to call it",
                tool.name
            ));
        }
        schema::check(&tool.input_schema)
            .map_err(|message| format!("the input schema of `{}`: {message}", tool.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_called_by_its_plugins_name_where_that_is_clear() {
        assert_eq!(exposed_name("word-count", 1, "count"), "word-count");
        assert_eq!(exposed_name("websearch", 2, "websearch"), "websearch");
        assert_eq!(exposed_name("notes", 2, "add_note"), "notes_add_note");
        assert_eq!(exposed_name("notes", 2, "notes_add"), "notes_add");
        assert_eq!(exposed_name("my-notes", 1, "my-notes_add"), "my-notes_add");
        assert_eq!(plugin_of("notes_add_note"), "notes");
    }
}
