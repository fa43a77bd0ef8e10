//! QuickJS with the prelude in it, and the loop that drives promises.

use crate::{
    bindings::{exports::opg::tool::tool::Definition, wasi::clocks::wall_clock},
    failure::Failure,
    host,
    lines::Lines,
    load::Load,
    modules::Modules,
};
use rquickjs::{
    CatchResultExt, Context, Ctx, Function, Module, Object, Promise, Runtime, Value, function::This,
    promise::PromiseState,
};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

/// What QuickJS may use of the stack: below the module's own (`build.rs`), so that an overflow is an error in
/// JavaScript and no trap.
const STACK_BYTES_MAX: usize = 640 << 10;

/// zod, bundled; see `vendor/zod/make.mjs`.
const ZOD: &str = include_str!("../vendor/zod/zod.min.js");

/// The web's interfaces and the life of a tool, in the order they need each other.
const PRELUDE: [(&str, &str); 7] = [
    ("text.js", include_str!("../prelude/text.js")),
    ("url.js", include_str!("../prelude/url.js")),
    ("events.js", include_str!("../prelude/events.js")),
    ("fetch.js", include_str!("../prelude/fetch.js")),
    ("console.js", include_str!("../prelude/console.js")),
    ("tool.js", include_str!("../prelude/tool.js")),
    ("files.js", include_str!("../prelude/files.js")),
];

/// Run once before the snapshot, so that what zod builds when first used is in it.
const WARM_UP: &str = r#"(z) => {
    const shape = z.object({ a: z.string().min(1).describe("a").optional(), b: z.number().int().default(1), c: z.enum(["x"]) });
    z.toJSONSchema(shape, { io: "input" });
    z.prettifyError(shape.safeParse({ b: "x" }).error);
}"#;

/// A tool, loaded.
pub(crate) struct Engine {
    context: Context,
    /// Frees everything when it goes, and it never does.
    _runtime: Runtime,
    file: String,
    lines: Lines,
    /// What `describe` says.
    pub(crate) definitions: Vec<Definition>,
}

thread_local! {
    static ENGINE: RefCell<Option<Engine>> = const { RefCell::new(None) };
    static LOADING: Cell<bool> = const { Cell::new(false) };
    static SECRETS: RefCell<HashMap<String, String>> = RefCell::default();
}

/// Whether a tool is being loaded: then there is no host to ask.
pub(crate) fn is_loading() -> bool {
    LOADING.get()
}

/// What `process.env` gives while loading.
pub(crate) fn secret_while_loading(name: &str) -> Option<String> {
    SECRETS.with_borrow(|secrets| secrets.get(name).cloned())
}

/// Gives the loaded tool to `work`.
pub(crate) fn with<T>(work: impl FnOnce(&Engine) -> T) -> T {
    ENGINE.with_borrow(|engine| work(engine.as_ref().expect("a tool is loaded before the snapshot is taken")))
}

/// QuickJS asks for the time: for `Date`, and for seeds.
#[unsafe(no_mangle)]
extern "C" fn __rquickjs_host_now_us() -> f64 {
    if is_loading() {
        return 0.0;
    }
    let now = wall_clock::now();
    now.seconds as f64 * 1e6 + f64::from(now.nanoseconds) / 1e3
}

/// Loads a tool; gives how many there are in it.
pub(crate) fn load(load: Load) -> Result<usize, Failure> {
    LOADING.set(true);
    SECRETS.set(load.secrets.clone());
    let loaded = Engine::load(load);
    LOADING.set(false);
    SECRETS.take();
    let engine = loaded?;
    let tools = engine.definitions.len();
    ENGINE.set(Some(engine));
    Ok(tools)
}

impl Engine {
    fn load(load: Load) -> Result<Engine, Failure> {
        let broken = |error: rquickjs::Error| Failure::plain(format!("the runtime does not start: {error}"));
        let runtime = Runtime::new().map_err(broken)?;
        runtime.set_max_stack_size(STACK_BYTES_MAX);
        runtime.set_loader(Modules, Modules);
        let context = Context::full(&runtime).map_err(broken)?;
        let definitions = context.with(|ctx| {
            let run = || -> rquickjs::Result<Vec<Definition>> {
                prelude(&ctx)?;
                definitions(&ctx, &load)
            };
            run().catch(&ctx).map_err(|caught| Failure::of(&ctx, caught, &load.file, &load.lines))
        })?;
        if definitions.is_empty() {
            return Err(Failure::plain(
                "the file exports no tool; export one: `export default tool({ description, args, execute })`",
            ));
        }
        runtime.run_gc();
        Ok(Engine { context, _runtime: runtime, file: load.file, lines: load.lines, definitions })
    }

    /// Runs a tool; gives JSON.
    pub(crate) fn call(&self, name: &str, input: &str, call: &str) -> Result<String, Failure> {
        self.context.with(|ctx| {
            let run = || -> rquickjs::Result<String> {
                let host = host::of(&ctx)?;
                let function: Function = host.get("call")?;
                let promise: Promise = function.call((name, input, call))?;
                settle(&ctx, &host, &promise)?;
                promise.finish()
            };
            run().catch(&ctx).map_err(|caught| Failure::of(&ctx, caught, &self.file, &self.lines))
        })
    }
}

fn prelude(ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    ctx.eval::<(), _>(ZOD)?;
    let host = host::install(ctx)?;
    for (name, source) in PRELUDE {
        let mut options = rquickjs::context::EvalOptions::default();
        options.filename = Some(name.to_owned());
        let part: Function = ctx.eval_with_options(source, options)?;
        part.call::<_, ()>((host.clone(),))?;
    }
    let zod: Value = host.get::<_, Object>("modules")?.get("zod")?;
    ctx.eval::<Function, _>(WARM_UP)?.call((zod,))
}

fn definitions(ctx: &Ctx<'_>, load: &Load) -> rquickjs::Result<Vec<Definition>> {
    let host = host::of(ctx)?;
    let (module, promise) = Module::declare(ctx.clone(), load.file.as_str(), load.source.as_str())?.eval()?;
    settle(ctx, &host, &promise)?;
    promise.finish::<()>()?;
    let define: Function = host.get("define")?;
    let defined: String = define.call((This(host), module.namespace()?, load.plugin.as_str()))?;
    let defined: serde_json::Value = serde_json::from_str(&defined).expect("the prelude writes JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let capabilities = match defined["capabilities"].as_array() {
        Some(said) => said
            .iter()
            .map(|one| crate::bindings::opg::tool::types::Capability {
                kind: text(&one["kind"]),
                target: text(&one["target"]),
                reason: text(&one["reason"]),
            })
            .collect(),
        None => load.capabilities.clone(),
    };
    let definitions = defined["definitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(definitions
        .iter()
        .map(|one| Definition {
            name: text(&one["name"]),
            description: text(&one["description"]),
            input_schema: text(&one["inputSchema"]),
            capabilities: capabilities.clone(),
        })
        .collect())
}

/// Runs jobs, timers and requests until the promise has settled.
fn settle<'js>(ctx: &Ctx<'js>, host: &Object<'js>, promise: &Promise<'js>) -> rquickjs::Result<()> {
    let idle: Function = host.get("idle")?;
    let requests: Function = host.get("requests")?;
    let answered: Function = host.get("answered")?;
    let tick: Function = host.get("tick")?;
    loop {
        while ctx.execute_pending_job() {}
        if promise.state() != PromiseState::Pending {
            return Ok(());
        }
        let ms: f64 = idle.call((requests.call::<_, usize>(())?,))?;
        if ms == NOTHING_COMES {
            let why = if is_loading() {
                "the file waits at its top level for something that never comes"
            } else {
                "the tool waits for a promise that never settles: no timer and no request is left that could settle it"
            };
            return Err(rquickjs::Exception::throw_message(ctx, why));
        }
        let timeout_ms = (ms != NO_TIMER).then(|| ms.ceil() as u32);
        if let Some((id, answer)) = host::wait(ctx, timeout_ms)? {
            answered.call::<_, ()>((id, answer))?;
        }
        tick.call::<_, ()>(())?;
    }
}

/// `host.idle()`: nothing is left that could settle a promise.
const NOTHING_COMES: f64 = -1.0;
/// `host.idle()`: a request is on its way, and no timer set.
const NO_TIMER: f64 = -2.0;
