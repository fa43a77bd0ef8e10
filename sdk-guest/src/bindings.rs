//! What wit-bindgen makes of `wit/`. Everything else in this crate wraps it.
//!
//! The host's interfaces are generated once; the two worlds share them. The
//! export macros are used by [`crate::plugin!`] and [`crate::agent`] in the
//! plugin's own crate, so that a tool does not carry the exports of an agent.

pub mod host {
    wit_bindgen::generate!({
        path: ["../wit/host", "../wit/tool", "../wit/agent"],
        world: "opg:host/imports@1.0.0",
        generate_all,
    });
}

pub mod tool {
    wit_bindgen::generate!({
        path: ["../wit/host", "../wit/tool", "../wit/agent"],
        inline: "package opg:guest; world tool-plugin { include opg:tool/plugin@1.0.0; }",
        with: {
            "opg:host/types@1.0.0": crate::bindings::host::opg::host::types,
            "opg:host/log@1.0.0": crate::bindings::host::opg::host::log,
            "opg:host/secrets@1.0.0": crate::bindings::host::opg::host::secrets,
            "opg:host/http@1.0.0": crate::bindings::host::opg::host::http,
            "opg:host/kv@1.0.0": crate::bindings::host::opg::host::kv,
            "opg:host/db@1.0.0": crate::bindings::host::opg::host::db,
            "opg:host/workspace@1.0.0": crate::bindings::host::opg::host::workspace,
            "opg:host/model@1.0.0": crate::bindings::host::opg::host::model,
            "opg:host/tools@1.0.0": crate::bindings::host::opg::host::tools,
            "opg:host/events@1.0.0": crate::bindings::host::opg::host::events,
            "opg:host/permission@1.0.0": crate::bindings::host::opg::host::permission,
            "opg:tool/types@1.0.0": generate,
        },
        default_bindings_module: "opg_guest::bindings::tool",
        export_macro_name: "export_tool",
        pub_export_macro: true,
    });
}

pub mod agent {
    wit_bindgen::generate!({
        path: ["../wit/host", "../wit/tool", "../wit/agent"],
        inline: "package opg:guest; world agent-plugin { include opg:agent/plugin@1.0.0; }",
        with: {
            "opg:host/types@1.0.0": crate::bindings::host::opg::host::types,
            "opg:host/log@1.0.0": crate::bindings::host::opg::host::log,
            "opg:host/secrets@1.0.0": crate::bindings::host::opg::host::secrets,
            "opg:host/http@1.0.0": crate::bindings::host::opg::host::http,
            "opg:host/kv@1.0.0": crate::bindings::host::opg::host::kv,
            "opg:host/db@1.0.0": crate::bindings::host::opg::host::db,
            "opg:host/workspace@1.0.0": crate::bindings::host::opg::host::workspace,
            "opg:host/model@1.0.0": crate::bindings::host::opg::host::model,
            "opg:host/tools@1.0.0": crate::bindings::host::opg::host::tools,
            "opg:host/events@1.0.0": crate::bindings::host::opg::host::events,
            "opg:host/permission@1.0.0": crate::bindings::host::opg::host::permission,
            "opg:tool/types@1.0.0": crate::bindings::tool::opg::tool::types,
        },
        default_bindings_module: "opg_guest::bindings::agent",
        export_macro_name: "export_agent",
        pub_export_macro: true,
    });
}
