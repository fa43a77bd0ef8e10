//! Every limit of the API, with its unit and its reason.
//!
//! Limits of one mechanism stand with it: the sandbox's in `sandbox::limits`,
//! outgoing requests' in `egress`, the database's in `postgres`, model wire
//! formats' in `models`.

use std::time::Duration;

/// A JSON body: configuration and commands are small; media has its own way in.
pub const JSON_BYTES_MAX: usize = 1 << 20;
/// A chat request: long conversations with images inside.
pub const CHAT_BYTES_MAX: usize = 8 << 20;
/// A form with a sound to be written down: providers' own limit.
pub const SOUND_BYTES_MAX: usize = 25 << 20;
pub use crate::sandbox::COMPONENT_BYTES_MAX;
/// A markdown agent.
pub const MARKDOWN_BYTES_MAX: usize = 256 << 10;
/// One secret's value.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// Secrets of one app: a table a person can read.
pub const SECRETS_PER_APP_MAX: i64 = 200;
/// Tools and agents of one app, each.
pub const PLUGINS_PER_APP_MAX: i64 = 100;
/// Tools in all tool plugins of one app: models take 128 at the most, and a client brings some of its own.
pub const TOOLS_PER_APP_MAX: i64 = 100;
/// Providers of one app.
pub const PROVIDERS_PER_APP_MAX: usize = 50;
/// Live credentials of one app (row M229).
pub const CREDENTIALS_PER_APP_MAX: i64 = 20;
/// The longest life of a credential that ends, in seconds: 10 years.
pub const CREDENTIAL_LIFE_SECONDS_MAX: u64 = 10 * 365 * 24 * 60 * 60;

/// How long a client may take to send its body: 16 MiB on a slow line; longer is a client that holds a slot for nothing.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(120);

/// How many rows a page has unless told (row M048).
pub const PAGE_ROWS_DEFAULT: u32 = 20;
/// How many rows a page may have.
pub const PAGE_ROWS_MAX: u32 = 200;

/// Requests per minute for one credential, unless configured: ten a second, with as many in a burst.
pub const REQUESTS_PER_MINUTE: u32 = 600;
/// All credentials of an app together have this many times what one has: twenty of them must not be twenty apps.
pub const APP_RATE_FACTOR: u32 = 4;
/// Failed credentials per minute for one address: enough for a person's mistakes, too few to guess.
pub const AUTH_FAILURES_PER_MINUTE: u32 = 30;
/// Self-registrations per hour for one address (row M234).
pub const REGISTRATIONS_PER_HOUR: u32 = 3;

/// The longest request id taken from a client (row M045).
pub const REQUEST_ID_CHARS_MAX: usize = 128;

/// Components of one app that wait to be compiled, side by side: an author's whole set of tools.
pub const COMPILATIONS_WAITING_PER_APP_MAX: usize = 16;
/// How long an app's components may take to compile within [`COMPILE_TIME_REFILL`]: a hundred usual tools, or
/// twenty that were made to take long.
pub const COMPILE_TIME_PER_APP_MAX: Duration = Duration::from_secs(10 * 60);
/// How long it takes until what was used is free again.
pub const COMPILE_TIME_REFILL: Duration = Duration::from_secs(60 * 60);

/// How long running requests may take to finish once the process was asked to stop.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(20);

/// Calls of guests one app may have in flight: one tenant's flood must not take another's slots.
pub const CALLS_IN_FLIGHT_PER_APP_MAX: usize = 64;
/// How long one call of a tool may take unless configured: longer than any client waits for one.
pub const TOOL_TIME: Duration = Duration::from_secs(30);
/// How long a turn of an agent may take unless configured: several model calls and tools in a row.
pub const TURN_TIME: Duration = Duration::from_secs(10 * 60);
/// CPU time of an agent's own code in a turn: it waits for models most of the time.
pub const TURN_CPU_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest time limit that can be configured: a session's lease must outlive a turn.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(14 * 60);
/// Runs of a plugin whose story is kept: enough to see a trend and find last night's failure.
pub const RUNS_KEPT_PER_PLUGIN: i64 = 1000;
/// Log lines kept of one run, in bytes of text: whoever wants more runs it by hand and gets all of them.
pub const RUN_LOG_BYTES_MAX: usize = 8 << 10;
/// Model calls in one turn of an agent.
pub const STEPS_PER_TURN_MAX: u32 = 16;
/// Calls of tools by the guests of one request, all of them together: as many as its model calls can ask for, 32 each.
pub const TOOL_CALLS_PER_TURN_MAX: u32 = STEPS_PER_TURN_MAX * 32;
/// How often one run of a guest may reach for something behind the gate: a secret's name, a key, a host. Most cost a
/// round trip to the database, and what is there could be found by asking for everything.
pub const REACHES_PER_RUN_MAX: u32 = 10_000;
/// How deep lists and objects may stand in each other in a tool's output: what parsers take, 128, less what we put around it.
pub const OUTPUT_DEPTH_MAX: usize = 100;
/// How deep a chain of guest calls may go (row M361).
pub const CALL_DEPTH_MAX: u32 = 4;
/// What one turn may stream to the client, in bytes of text.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Messages one session keeps: beyond it the model would not read them anyway.
pub const SESSION_MESSAGES_MAX: i64 = 2000;
/// What a session's messages may hold, in bytes of JSON, before no further turn is taken: it is read whole for each.
pub const SESSION_BYTES_MAX: i64 = 8 << 20;
/// How long a session stays taken when the host that runs its turn died; while it lives it renews the lease.
pub const SESSION_LEASE: Duration = Duration::from_secs(60);
/// How often a lease is renewed: two renewals may fail.
pub const SESSION_LEASE_RENEWED_EVERY: Duration = Duration::from_secs(20);

/// How often a minute one plugin of one app may ask whether a secret is there: ten a second is more than tools need,
/// and too few to make a clock of it.
pub const SECRET_QUESTIONS_PER_MINUTE: u32 = 600;

/// What a tenant may grant a plugin's calls of memory, in MiB: the size of the sandbox's slots.
pub const MEMORY_MIB_GRANTED_MAX: u32 = 256;
/// Of time, in milliseconds: longer is a job, not a call somebody waits for.
pub const WALL_MS_GRANTED_MAX: u32 = 5 * 60 * 1000;
/// Of CPU time, in milliseconds: six times what a call has by itself.
pub const CPU_MS_GRANTED_MAX: u32 = 60 * 1000;

/// One value in a plugin's key-value store.
pub const KV_VALUE_BYTES_MAX: usize = 256 << 10;
/// One key.
pub const KV_KEY_BYTES_MAX: usize = 512;
/// Keys of one plugin in one app.
pub const KV_KEYS_MAX: i64 = 10_000;
/// Keys one `keys` call answers with.
pub const KV_KEYS_LISTED_MAX: i64 = 1000;
