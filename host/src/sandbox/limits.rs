//! Every bound of the sandbox, with its unit and its reason.
//!
//! Guests, and the components they come in, are hostile input: whatever they
//! can make large or slow has a number here. Limits per app are not here: they
//! come from the app's plan, as [`CallLimits`].

use std::time::Duration;

/// What one call may use. A caller lowers or raises it by plan; the sandbox
/// holds it within its own ceilings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CallLimits {
    /// From the moment the guest has its slot to its answer, host waits included.
    pub wall: Duration,
    /// CPU time of the thread while it runs the guest.
    pub cpu: Duration,
    /// All memories and tables of the call together, in bytes.
    pub memory_bytes_max: usize,
    /// The text that comes back, in bytes.
    pub output_bytes_max: usize,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(30),
            cpu: Duration::from_secs(10),
            memory_bytes_max: 64 * MIB,
            output_bytes_max: OUTPUT_BYTES_MAX,
        }
    }
}

impl CallLimits {
    /// For `describe`, which runs at upload and has nothing to wait for.
    pub(super) const DESCRIBE: Self = Self {
        wall: Duration::from_secs(5),
        cpu: Duration::from_secs(2),
        memory_bytes_max: 64 * MIB,
        output_bytes_max: OUTPUT_BYTES_MAX,
    };

    /// The same limits, none above what the engine was built for.
    pub(super) fn clamped(self) -> Self {
        Self {
            memory_bytes_max: self.memory_bytes_max.min(MEMORY_BYTES_CEILING),
            output_bytes_max: self.output_bytes_max.min(OUTPUT_BYTES_MAX),
            ..self
        }
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

// --- time ---------------------------------------------------------------

/// A guest that computes gives way this often. Short enough that a spinning
/// neighbour costs little, long enough that the check costs nothing.
pub(super) const EPOCH_TICK: Duration = Duration::from_millis(10);

/// How long a call waits for a person who is asked, besides its own time: long enough to come back from
/// another window. What a turn may take bounds it too.
pub(super) const PERSON_TIME_MAX: Duration = Duration::from_secs(5 * 60);

/// The clocks of guests move in steps of this: fine for timestamps and timeouts, a thousand times what tells a
/// value in the processor's cache from one that is not.
pub(super) const CLOCK_STEP: Duration = Duration::from_micros(100);

/// CPU time after which a call counts as one that computes, and changes to the long lane: some ticks, far more
/// than a call takes that waits for others most of the time. All calls of an app have it together.
pub(super) const LONG_CALL_CPU: Duration = Duration::from_millis(20);

/// What an app's guests compute is forgotten after so many times as long: over time they have the tenth of a core
/// ahead of others that those who stand back have beside them.
pub(super) const SHARE_OF_CORE: u32 = 10;

/// What a page costs an app whose guests stand back: a pause of so long, what the kernel may take of each other core
/// for it (two to five microseconds, measured). An app has 200,000 a second at the most, 800 MiB.
pub(super) const PAGE_TIME: Duration = Duration::from_micros(5);

/// What it costs an app that one of its guests asks the host for something: a pause of so long. An app asks 10,000 times
/// a second at the most; what comes of a database or a network takes longer anyway.
pub(super) const ASK_TIME: Duration = Duration::from_micros(100);

/// What an app's guests ask without a pause: more than most calls of a tool ask in all.
pub(super) const ASKS_AT_ONCE: u32 = 256;

/// As how many a refusal counts: a tool has no reason to hear a thousand a second.
pub(super) const ASKS_PER_REFUSAL: u32 = 10;

/// Pages an app is given without a pause: 4 MiB, what a slot keeps in memory between calls as well.
pub(super) const PAGES_AT_ONCE: u32 = 1_024;

/// How far the threads of the long lane stand back behind others, as `nice` has it: with 10 a guest that
/// computes gets a tenth of a core that the host, the database or a short call wants as well, and all of one
/// that nobody wants.
#[cfg(target_os = "linux")]
pub(super) const GUEST_NICENESS: libc::c_int = 10;

/// CPU time of a call that may begin on a thread of the host, and how long it
/// may be there without a rest: what a large request's JSON takes as well.
pub(super) const SHORT_CALL_TIME: Duration = Duration::from_millis(1);

/// A place on a thread of the host that was held for longer rests this many
/// times as long: guests that misuse it get a hundredth of a thread.
pub(super) const FIRST_SLICE_REST_FACTOR: u32 = 100;

/// Without a tick for this long, nothing can stop a guest: calls are refused.
/// Far above what a busy machine delays a thread.
pub(super) const TICKER_SILENCE_MAX: Duration = Duration::from_secs(2);

/// How long a call waits for a free slot before it is refused as busy.
pub(super) const CALL_QUEUE_WAIT: Duration = Duration::from_secs(2);

/// How long a load waits for its turn to be compiled, and how long it may then
/// take by the wall clock: twice its CPU time, for a machine that is busy.
pub(super) const COMPILE_WAIT: Duration = Duration::from_secs(60);

/// CPU time of one compilation. The largest guests we know take 14 s; where it
/// is compiled by a build without optimisation, twice as long.
pub(super) const COMPILE_CPU_MAX: Duration = Duration::from_secs(30);

/// Compilations at the same time, each on one core: two, so that one tenant's
/// slowest is not waited for by all others.
pub(super) const COMPILE_LANES: usize = 2;

// --- memory -------------------------------------------------------------

/// The most one call may ever have, in bytes: the size of a slot in the pool.
pub(super) const MEMORY_BYTES_CEILING: usize = 256 * MIB;

/// Memories of one call. One is usual; composed components bring a few.
pub(super) const MEMORIES_PER_CALL_MAX: u32 = 4;

/// Tables of one call. Python needs more than 30 modules that share a few.
pub(super) const TABLES_PER_CALL_MAX: u32 = 32;

/// Elements of one table. C# in debug mode has 10,000.
pub(super) const TABLE_ELEMENTS_MAX: usize = 20_000;

/// Core instances of one call. Python has 38.
pub(super) const CORE_INSTANCES_PER_CALL_MAX: u32 = 64;

/// What the engine keeps for one instance besides memory and tables, in bytes.
pub(super) const INSTANCE_BYTES_MAX: usize = MIB;

/// The stack of compiled code, in bytes: QuickJS needs four times its own
/// limit so that an overflow is a `RangeError` and not a trap.
pub(super) const WASM_STACK_BYTES: usize = 4 * MIB;

/// The same, and room for host functions, in bytes.
pub(super) const CALL_STACK_BYTES: usize = WASM_STACK_BYTES + MIB;

/// What a slot keeps in memory between calls, in bytes: faster than asking
/// the kernel for it again.
pub(super) const MEMORY_KEEP_RESIDENT_BYTES: usize = 4 * MIB;

/// The same for tables and for stacks, in bytes.
pub(super) const SMALL_KEEP_RESIDENT_BYTES: usize = 64 * KIB;

/// What a block of the memory that an Extism plugin shares with the host costs besides its bytes, and a variable
/// besides its name and its value, in bytes: what we keep of it.
pub(super) const ARENA_BLOCK_BYTES: usize = 128;

/// Such blocks of one call: a plugin has some dozens, and each is freed on its own when the call ends.
pub(super) const ARENA_BLOCKS_MAX: usize = 65_536;

/// The variables of one call of an Extism plugin together, in bytes: as much as Extism gives unless told.
pub(super) const VARS_BYTES_MAX: usize = MIB;

/// Things the host holds for one call: streams, pollables, completions.
pub(super) const HOST_RESOURCES_MAX: usize = 256;

/// Handles the guest holds, its own resources included.
pub(super) const GUEST_HANDLES_MAX: usize = 10_000;

/// Model calls of one guest at the same time.
pub(super) const COMPLETIONS_LIVE_MAX: usize = 4;

/// Requests of one guest on their way at the same time, or come and not waited
/// for: each may hold an answer of 2 MiB.
pub(super) const HTTP_IN_FLIGHT_MAX: usize = 16;

/// Events of a model call the host reads ahead of the guest.
pub(super) const COMPLETION_EVENTS_AHEAD: usize = 64;

/// Memory of one compilation, in bytes. 12 MiB of JavaScript engine take 0.6 GiB.
pub(super) const COMPILE_MEMORY_BYTES_MAX: u64 = 3 << 29;

// --- what passes between guest and host ----------------------------------

/// How often a guest may ask the host for anything in one call, clocks included. Who asks a million times
/// is waiting in a loop; the CPU time of that is ours as well.
pub(super) const HOST_CALLS_MAX: u64 = 1_000_000;

/// What a guest may hand to the host in one call or answer, in bytes, counted
/// before it is copied. Bounds request bodies, stored values and messages.
pub(super) const HOSTCALL_BYTES_MAX: usize = 8 * MIB;

/// The text of a result, in bytes. A model cannot read more.
pub(super) const OUTPUT_BYTES_MAX: usize = MIB;

/// The text of a guest's own error, in bytes; the rest is cut.
pub(super) const ERROR_TEXT_BYTES_MAX: usize = 8 * KIB;

/// One log line, in bytes; the rest is cut.
pub(super) const LOG_LINE_BYTES_MAX: usize = 8 * KIB;

/// Log lines of one call; the rest is dropped and counted.
pub(super) const LOG_LINES_MAX: u32 = 1_000;

/// Pieces of one write of WASI preview 1, and times one waits for at once. What a plugin lists beyond is left for its
/// next call.
pub(super) const WASI_ITEMS_MAX: u32 = 128;

/// Random bytes in one request.
pub(super) const RANDOM_BYTES_MAX: u64 = 64 << 10;

// --- what a plugin says of itself -----------------------------------------

/// Tools of one plugin: more would not fit a model's context.
pub(super) const TOOLS_MAX: usize = 64;

/// A tool's name, in bytes, as OpenAI has it.
pub(super) const TOOL_NAME_BYTES_MAX: usize = 64;

/// A description, in bytes.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 8 * KIB;

/// The doc comments of a typed component, in bytes: one for each of its tools, and as much for its types.
pub(super) const DOCS_BYTES_MAX: usize = 2 * TOOLS_MAX * DESCRIPTION_BYTES_MAX;

/// A JSON schema, in bytes.
pub(super) const SCHEMA_BYTES_MAX: usize = 64 * KIB;

/// An Extism manifest without the module in it, in bytes: what its tools may say of themselves, and its configuration.
pub(super) const EXTISM_MANIFEST_BYTES_MAX: usize = 512 * KIB;

/// Capabilities of one tool or agent: a person must be able to review them.
pub(super) const CAPABILITIES_MAX: usize = 32;

/// A capability's kind or target, in bytes.
pub(super) const CAPABILITY_TARGET_BYTES_MAX: usize = 256;

/// A capability's reason, in bytes.
pub(super) const CAPABILITY_REASON_BYTES_MAX: usize = KIB;

// --- the component itself -------------------------------------------------

/// A component, in bytes (row M218): a Rust tool has 0.2 MiB, a JavaScript one 2, a Python one 14 with its
/// interpreter; compiling is paid by us.
pub const COMPONENT_BYTES_MAX: usize = 16 * MIB;

/// Functions in all modules together.
pub(super) const FUNCTIONS_MAX: u32 = 100_000;

/// One function's body, in bytes: above any interpreter loop we know. Python's is the largest with 417 KiB, and takes
/// the compiler's child 5 s and 0.2 GB, in a build without optimisation. Of what we could think of, the worst of this
/// size for memory takes 0.85 GB of the child's 1.5, and of twice the size more than it has. What makes one slow to
/// compile is its weight, below; the child's CPU time ends it in any case, as it does many smaller ones.
pub(super) const FUNCTION_BYTES_MAX: usize = 512 * KIB;

/// Locals of one function.
pub(super) const FUNCTION_LOCALS_MAX: usize = 10_000;

/// Parameters and results of one function type. Compilers pass pointers to
/// what is larger.
pub(super) const SIGNATURE_VALUES_MAX: usize = 256;

/// The weight of one function, see `complexity`: 4 to 16 seconds of
/// compilation. The heaviest of our own guests has 0.3 million; an
/// interpreter's main loop may have some millions.
pub(super) const FUNCTION_WEIGHT_MAX: usize = 8_000_000;

/// The weight of all functions together. The densest of our own guests has
/// half a million in 200 KiB; the largest component allowed, as dense, has 80.
pub(super) const WEIGHT_MAX: usize = 100_000_000;

/// Types, core and component, in all sections together.
pub(super) const TYPES_MAX: u32 = 50_000;

/// Imports, exports and aliases, in all sections together.
pub(super) const NAMES_MAX: u32 = 100_000;

/// Data and element segments, in all modules together.
pub(super) const SEGMENTS_MAX: u32 = 50_000;

/// Core modules, at any depth.
pub(super) const MODULES_MAX: u32 = 64;

/// Components inside the component, at any depth.
pub(super) const COMPONENTS_MAX: u32 = 64;

/// Instances, core and component, in all sections together.
pub(super) const INSTANCES_MAX: u32 = 512;

/// Instances that come of them, where components make components: the compiler writes each of them out.
/// Composed of five components of Python's size there are a few thousand, by our rough count.
pub(super) const INSTANCES_MADE_MAX: usize = 10_000;

/// Components inside components inside components.
pub(super) const NESTING_MAX: usize = 8;

/// The machine code of one component, in bytes: about three times its wasm.
pub(super) const CODE_BYTES_MAX: u64 = 8 * COMPONENT_BYTES_MAX as u64;
const _: () = assert!(CODE_BYTES_MAX <= LOADED_BYTES_MAX as u64);

/// Compiled components on disk, of all engines, in bytes: some thousand tools. What was not used for longest goes.
pub(super) const CODE_CACHE_BYTES_MAX: u64 = 4 << 30;

/// After so many bytes written the size of all of it is looked at: by as much it may be over.
pub(super) const CODE_CACHE_LOOK_EVERY_BYTES: u64 = 64 << 20;

/// Machine code kept for components to have in common, in bytes: that of the
/// runtime of TypeScript tools has some 10 MiB.
pub(super) const SHARED_CODE_BYTES_MAX: usize = 64 * MIB;

/// Components kept ready in memory, and the bytes of their machine code.
pub(super) const LOADED_COMPONENTS_MAX: usize = 256;

/// The machine code of the components kept ready, in bytes.
pub(super) const LOADED_BYTES_MAX: usize = 512 * MIB;
