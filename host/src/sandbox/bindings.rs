//! The host's side of `wit/`, generated: one module for tools, one for agents,
//! which share their imports.

/// `opg:tool/plugin`.
pub(super) mod tool {
    wasmtime::component::bindgen!({
        path: ["../wit/host", "../wit/tool"],
        world: "opg:tool/plugin",
        imports: {
            "opg:host/log": trappable,
            "opg:host/db.namespace": trappable,
            "opg:host/tools.available": trappable,
            default: async | trappable,
        },
        exports: { default: async },
        with: { "opg:host/model.completion": crate::sandbox::imports::Completing },
    });
}

/// `opg:agent/plugin`.
pub(super) mod agent {
    wasmtime::component::bindgen!({
        path: ["../wit/host", "../wit/tool", "../wit/agent"],
        world: "opg:agent/plugin",
        exports: { default: async },
        with: {
            "opg:host": super::tool::opg::host,
            "opg:tool": super::tool::opg::tool,
        },
    });
}

pub(super) use tool::opg::host;
