//! The engine alone: no door, no limits but the epoch's.

use crate::process::private_dirty_kib;
use wasmtime::Store;
use wasmtime::component::{Component, Linker, ResourceTable, ResourceType, types::ComponentItem};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../wit/host", "../wit/tool"],
        world: "opg:tool/plugin",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

/// One tool, ready to be instantiated.
pub(crate) struct Bare {
    engine: wasmtime::Engine,
    pre: bindings::PluginPre<State>,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Our host's interfaces, whose functions are not called here. Those of WASI are the engine's, whatever version a tool
/// was built for: `define_unknown_imports_as_traps` takes an older one for unknown.
fn refuse_our_imports(
    engine: &wasmtime::Engine,
    component: &Component,
    linker: &mut Linker<State>,
) -> wasmtime::Result<()> {
    for (interface, item) in component.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !interface.starts_with("opg:") {
            continue;
        }
        let mut defined = linker.instance(interface)?;
        for (name, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    defined.func_new_async(name, |_, _, _, _| {
                        Box::new(async { Err(wasmtime::Error::msg("the engine alone offers nothing")) })
                    })?;
                }
                ComponentItem::Resource(_) => {
                    defined.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

impl Bare {
    pub(crate) fn new(engine: &wasmtime::Engine, wasm: &[u8]) -> wasmtime::Result<Bare> {
        let component = Component::new(engine, wasm)?;
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        refuse_our_imports(engine, &component, &mut linker)?;
        let pre = bindings::PluginPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Bare { engine: engine.clone(), pre })
    }

    pub(crate) async fn call(&self, tool: &str, input: &str) -> String {
        self.called(tool, input).await.1
    }

    /// What one takes while it lives: after a call, the mean of many.
    pub(crate) async fn memory_of_an_instance(&self, tool: &str, input: &str, count: u32) -> String {
        let before = private_dirty_kib();
        let mut alive = vec![];
        for _ in 0..count {
            alive.push(self.called(tool, input).await.0);
        }
        let kib = private_dirty_kib().saturating_sub(before) as f64 / f64::from(count);
        format!("{kib:.0} KiB")
    }

    async fn called(&self, tool: &str, input: &str) -> (Store<State>, String) {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        let plugin = self.pre.instantiate_async(&mut store).await.expect("it runs");
        let context = bindings::opg::tool::types::Context {
            invocation_id: String::new(),
            app: String::new(),
            session_id: None,
            time_limit_ms: 30_000,
        };
        let called = plugin.opg_tool_tool().call_call(&mut store, tool, input, &context).await;
        let output = called.expect("it runs").expect("it answers");
        (store, output)
    }
}
