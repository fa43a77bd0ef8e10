//! The tools and agents OPG ships, as compiled components.
//!
//! They are guests like any other: they declare what they want, get what the
//! tenant grants, and run under the same limits. Nothing here runs them.

/// Everything OPG ships.
pub static PREDEFINED: &[Component] = &[
    Component {
        kind: Kind::Tool,
        name: "http",
        wasm: guests::PREDEFINED_TOOL_HTTP,
        source: include_str!("../tools/http/src/lib.rs"),
    },
    Component {
        kind: Kind::Tool,
        name: "websearch",
        wasm: guests::PREDEFINED_TOOL_WEBSEARCH,
        source: include_str!("../tools/websearch/src/lib.rs"),
    },
    Component {
        kind: Kind::Agent,
        name: "default",
        wasm: guests::PREDEFINED_AGENT_DEFAULT,
        source: include_str!("../agents/default/src/lib.rs"),
    },
];

/// The runtime of TypeScript tools: a core module, of which the host makes a component with a tool in it.
pub static JAVASCRIPT_RUNTIME: &[u8] = modules::PREDEFINED_RUNTIME_JAVASCRIPT;

/// One shipped guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// What it exports.
    pub kind: Kind,
    /// The name it is offered by, unique among those of its kind.
    pub name: &'static str,
    /// The component.
    pub wasm: &'static [u8],
    /// Its source, for whoever wants to know or to copy it.
    pub source: &'static str,
}

/// What a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `opg:tool/tool`.
    Tool,
    /// `opg:agent/agent`.
    Agent,
}

mod guests {
    include!(concat!(env!("OUT_DIR"), "/guests.rs"));
}

mod modules {
    include!(concat!(env!("OUT_DIR"), "/modules.rs"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component starts so; a core module has 1 and 0 in the last two pairs.
    const COMPONENT_PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn every_shipped_guest_is_a_component_of_its_kind() {
        assert_eq!(guests::ALL.len(), PREDEFINED.len());
        for component in PREDEFINED {
            assert!(component.wasm.starts_with(COMPONENT_PREAMBLE), "{}", component.name);
            let export = match component.kind {
                Kind::Tool => "opg:tool/tool@1.0.0",
                Kind::Agent => "opg:agent/agent@1.0.0",
            };
            let exports = component.wasm.windows(export.len()).any(|window| window == export.as_bytes());
            assert!(exports, "{} does not export {export}", component.name);
        }
    }
}
