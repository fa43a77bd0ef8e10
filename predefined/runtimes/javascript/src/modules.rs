//! What a tool can import. The host has refused everything else by name already; what is left is what only
//! shows when it runs.

use crate::host;
use rquickjs::{
    Ctx, Error, Exception, Module, Object, Result, Value,
    loader::{ImportAttributes, Loader, Resolver},
    module::{Declarations, Declared, Exports, ModuleDef},
};

/// Finds the modules there are.
pub(crate) struct Modules;

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        _from: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        match name {
            "@opencode-ai/plugin" | "@opencode-ai/plugin/tool" => Ok("@opencode-ai/plugin".to_owned()),
            "zod" | "zod/v4" => Ok("zod".to_owned()),
            "node:fs/promises" | "fs/promises" => Ok("node:fs/promises".to_owned()),
            "node:path" | "path" | "node:path/posix" | "path/posix" => Ok("node:path".to_owned()),
            other => Err(Exception::throw_message(
                ctx,
                &format!(
                    "cannot import `{other}`: there are @opencode-ai/plugin, zod, node:fs/promises and node:path; bundle everything else into the file"
                ),
            )),
        }
    }
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        match name {
            "zod" => Module::declare_def::<Zod, _>(ctx.clone(), name),
            "node:fs/promises" => Module::declare_def::<Files, _>(ctx.clone(), name),
            "node:path" => Module::declare_def::<Paths, _>(ctx.clone(), name),
            "@opencode-ai/plugin" => Module::declare_def::<Plugin, _>(ctx.clone(), name),
            other => Err(Error::new_loading(other)),
        }
    }
}

struct Zod;
struct Plugin;
struct Files;
struct Paths;

impl ModuleDef for Files {
    fn declare<'js>(declarations: &Declarations<'js>) -> Result<()> {
        declare_all(declarations, "node:fs/promises")
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        export_all(ctx, exports, "node:fs/promises")
    }
}

impl ModuleDef for Paths {
    fn declare<'js>(declarations: &Declarations<'js>) -> Result<()> {
        declare_all(declarations, "node:path")
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        export_all(ctx, exports, "node:path")
    }
}

impl ModuleDef for Zod {
    fn declare<'js>(declarations: &Declarations<'js>) -> Result<()> {
        declare_all(declarations, "zod")
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        export_all(ctx, exports, "zod")
    }
}

impl ModuleDef for Plugin {
    fn declare<'js>(declarations: &Declarations<'js>) -> Result<()> {
        declare_all(declarations, "@opencode-ai/plugin")
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        export_all(ctx, exports, "@opencode-ai/plugin")
    }
}

fn declare_all(declarations: &Declarations<'_>, module: &str) -> Result<()> {
    for name in values(declarations.module().ctx(), module)?.keys::<String>() {
        declarations.declare(name?)?;
    }
    Ok(())
}

fn export_all<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>, module: &str) -> Result<()> {
    let values = values(ctx, module)?;
    for name in values.keys::<String>() {
        let name = name?;
        let value: Value<'js> = values.get(name.as_str())?;
        exports.export(name, value)?;
    }
    Ok(())
}

/// What the prelude has for a module, by name.
fn values<'js>(ctx: &Ctx<'js>, module: &str) -> Result<Object<'js>> {
    host::of(ctx)?.get::<_, Object<'js>>("modules")?.get(module)
}
