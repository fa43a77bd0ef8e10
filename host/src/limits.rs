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
/// Hosts that a push may send one secret to: the Git servers of one team.
pub const PUSH_HOSTS_PER_SECRET_MAX: usize = 16;
/// Tools and agents of one app, each.
pub const PLUGINS_PER_APP_MAX: i64 = 100;
/// Tools in all tool plugins of one app: models take 128 at the most, and a client brings some of its own.
pub const TOOLS_PER_APP_MAX: i64 = 100;
/// Versions of one plugin that are kept, the newest: two months of a release each working day, a list to look through.
/// What runs, what waits for review and what there is to go back to stay beside them.
pub const VERSIONS_KEPT: usize = 50;
/// For how many JavaScript runtimes what was made of a TypeScript tool is kept: this release's, the one to go back to,
/// and one between.
pub const BUILDS_KEPT: i64 = 3;
/// How long bytes of plugins are kept that no version refers to: longer than any call runs that began with them, than
/// any upload takes, and than a backup that copies them after the database.
pub const BLOBS_KEPT_UNUSED: Duration = Duration::from_secs(24 * 60 * 60);
/// Providers of one app.
pub const PROVIDERS_PER_APP_MAX: usize = 50;
/// Origins whose pages may call one app from a browser: its sites, and where its authors try them (row M054).
pub const CORS_ORIGINS_PER_APP_MAX: usize = 50;
/// One of them, in bytes: a scheme, the longest name there is, and a port.
pub const CORS_ORIGIN_BYTES_MAX: usize = 267;
/// How long a browser goes by what it was told of an app's origins before a page's request: an origin that is no more
/// listed can send that long, and reads no answer from the change on.
pub const CORS_PREFLIGHT_LIFE: Duration = Duration::from_secs(10 * 60);
/// Live credentials of one app (row M229).
pub const CREDENTIALS_PER_APP_MAX: i64 = 20;
/// The longest life of a credential that ends, in seconds: 10 years.
pub const CREDENTIAL_LIFE_SECONDS_MAX: u64 = 10 * 365 * 24 * 60 * 60;

/// How long a client may take to send its body: 16 MiB on a slow line; longer is a client that holds a slot for nothing.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(120);

/// The longest `Idempotency-Key`, in characters (row M049).
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;
/// How long the first answer to one is given again.
pub const IDEMPOTENCY_KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long one is held by a process that says nothing: then it has died, and the key is free.
pub const IDEMPOTENCY_LEASE: Duration = Duration::from_secs(60);
/// A request with one: it is held whole, to know it again; as much as a chat request has.
pub const IDEMPOTENT_REQUEST_BYTES_MAX: usize = 8 << 20;
/// What is kept of an answer: a few pictures as text. What is larger is given once.
pub const IDEMPOTENT_ANSWER_BYTES_MAX: usize = 8 << 20;
/// Keys of one credential in one app; the oldest go. Who sends something again does it within minutes.
pub const IDEMPOTENCY_KEYS_PER_CREDENTIAL_MAX: i64 = 10_000;
/// Their answers together; the oldest go.
pub const IDEMPOTENCY_BYTES_PER_CREDENTIAL_MAX: i64 = 64 << 20;

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

/// Attempts at one person's password per minute from one address (row M070).
pub const LOGINS_PER_MINUTE: u32 = 10;
/// Attempts to sign in per minute from one address, at whatever accounts, here or at another provider: an office, and no
/// dictionary.
pub const LOGINS_PER_ADDRESS_PER_MINUTE: u32 = 30;

/// The shortest password: length is what makes one hard to guess, whatever is in it.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// The longest, in bytes: room for any sentence; it is hashed whole.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Memory of one hash of a password, in KiB: argon2id with 19 MiB, two passes and one lane, as OWASP advises.
pub const PASSWORD_HASH_MEMORY_KIB: u32 = 19 * 1024;
/// Passes over that memory.
pub const PASSWORD_HASH_PASSES: u32 = 2;
/// Passwords hashed side by side: a flood of sign-ins takes one core and 19 MiB, the rest goes on.
pub const PASSWORD_HASHES_AT_ONCE: usize = 1;
/// Sign-ins that wait for a hash: beyond it they would wait for seconds.
pub const PASSWORD_HASHES_WAITING_MAX: usize = 64;
/// How long signing up takes to answer: longer than it takes to make an account and its app, so that the answer does
/// not tell whether that was done.
pub const SIGNUP_ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long a session of the console lives: a fortnight of work without signing in again.
pub const CONSOLE_SESSION_LIFE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// Sessions of the console one person has; the oldest go.
pub const CONSOLE_SESSIONS_PER_USER_MAX: i64 = 20;
/// What is kept of a browser's name for itself, in characters.
pub const USER_AGENT_CHARS_MAX: usize = 200;
/// How long a person's ended credential is kept: for whoever looks into what happened.
pub const ENDED_CREDENTIALS_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Members of one app.
pub const MEMBERS_PER_APP_MAX: i64 = 100;

/// How long somebody may take to accept an invitation: a week with a holiday in it (row M197).
pub const INVITATION_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Invitations of one app that nobody has answered: as many as it may have members.
pub const INVITATIONS_PER_APP_MAX: i64 = MEMBERS_PER_APP_MAX;
/// Invitations per hour of one app: a team in an afternoon, and no list of strangers.
pub const INVITATIONS_PER_APP_PER_HOUR: u32 = 30;
/// Letters with invitations per hour to one mailbox, from whatever apps; what is more is invited without a letter.
pub const INVITATION_LETTERS_PER_MAILBOX_PER_HOUR: u32 = 3;
/// Invitations that a person is shown, the newest: more than that nobody reads.
pub const INVITATIONS_LISTED_MAX: i64 = 50;

/// How long a code that was mailed is good: a letter may take some minutes (row M071).
pub const MAIL_CODE_LIFE: Duration = Duration::from_secs(10 * 60);
/// How often one is tried: of a million codes, five are nothing to guess with (row M071).
pub const MAIL_CODE_TRIES_MAX: i32 = 5;
/// Codes per hour to one person's address: with five tries each, an hour's guesses find one in 40,000; and nobody's mailbox is filled.
pub const MAIL_CODES_PER_MAILBOX_PER_HOUR: u32 = 5;
/// Codes per hour that are asked for from one network address, to whomever: an office on a Monday.
pub const MAIL_CODES_PER_ADDRESS_PER_HOUR: u32 = 30;
/// How long the mail server may take for a letter, from the first byte: some look at each for a while.
pub const LETTER_TIME_MAX: Duration = Duration::from_secs(30);
/// Letters on their way at once: each is a connection.
pub const LETTERS_AT_ONCE: usize = 4;
/// Letters that are on their way or wait; what is more is not sent.
pub const LETTERS_WAITING_MAX: usize = 200;

/// How long somebody may take to sign in at another provider: to find a password and a second factor there (row M073).
pub const OAUTH_SIGN_IN_LIFE: Duration = Duration::from_secs(10 * 60);
/// How long a provider may take for one answer: there are three at the most, and somebody waits.
pub const OAUTH_ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// One answer of a provider, in bytes: a token and an account have a few thousand.
pub const OAUTH_ANSWER_BYTES_MAX: usize = 64 << 10;
/// The code that a provider sends somebody back with, in bytes: theirs have less than 200.
pub const OAUTH_CODE_BYTES_MAX: usize = 2 << 10;
/// Where to go on after it, in bytes: a page and what stands in its query, which may be all that a program asks with.
pub const OAUTH_NEXT_BYTES_MAX: usize = 3 << 10;
/// How far a provider's clock may be behind ours.
pub const OAUTH_CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Accounts at other providers that are linked to one person's: two providers, and some that were left behind.
pub const IDENTITIES_PER_USER_MAX: i64 = 20;

/// How long somebody may take to find their key and its PIN: five minutes are what Web Authentication recommends where
/// they are verified (Level 3, §15.1; row M072).
pub const PASSKEY_CEREMONY_LIFE: Duration = Duration::from_secs(5 * 60);
/// How long what a passkey is called may be, in characters.
pub const PASSKEY_NAME_CHARS_MAX: usize = 100;
/// Passkeys of one person: one for each thing they own, and some they lost.
pub const PASSKEYS_PER_USER_MAX: i64 = 20;

/// Requests of command lines to be let in per minute from one address (row M063).
pub const DEVICE_REQUESTS_PER_MINUTE: u32 = 20;
/// How long such a request waits for its person: to find a browser and sign in (row M063).
pub const DEVICE_REQUEST_LIFE: Duration = Duration::from_secs(900);
/// How often the program may ask meanwhile; sooner, it has to wait as much longer each time (RFC 8628).
pub const DEVICE_POLL_INTERVAL: Duration = Duration::from_secs(5);
/// What a program says of itself, in characters: a name to recognise.
pub const DEVICE_NAME_CHARS_MAX: usize = 100;
/// Wrong codes a person types before none of theirs is taken for a while (row M065).
pub const WRONG_CODES_MAX: u32 = 5;
/// For how long.
pub const CODES_LOCKED_FOR: Duration = Duration::from_secs(15 * 60);
/// What is shown again of a code that somebody typed, in characters: one with spaces and a hyphen, and what is wrong with it.
pub const USER_CODE_CHARS_KEPT_MAX: usize = 20;
/// A form of one of our pages: an address, a password, and a code or all that a program asks with, each byte written as
/// three.
pub const FORM_BYTES_MAX: usize = 16 << 10;
/// What a program asks with that opens a browser, written as a query, in bytes: every scope by its name, and its state
/// (row M082).
pub const AUTHORIZE_BYTES_MAX: usize = 2 << 10;
/// Where such a program listens, in bytes: an address of its own machine, a port and a path.
pub const REDIRECT_URI_BYTES_MAX: usize = 256;
/// What such a program wants back as it gave it, in bytes: what tells one of its requests from another, and no more.
pub const AUTHORIZE_STATE_BYTES_MAX: usize = 512;
/// How long the code is good that such a program is sent back with: it listens, and comes at once (row M064).
pub const AUTHORIZATION_CODE_LIFE: Duration = Duration::from_secs(60);
/// How long it is remembered after that, so that one which comes a second time ends what the first led to.
pub const AUTHORIZATION_CODE_REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a command line is let in for, unless its person says otherwise: a month without signing in again.
pub const DEVICE_GRANT_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a platform token lives (row M004): what a copy of one is good for.
pub const PLATFORM_TOKEN_LIFE: Duration = Duration::from_secs(60 * 60);
/// The longest life of a personal token and of what a command line is let in with, in seconds: a year (row M076).
pub const PERSONAL_TOKEN_LIFE_SECONDS_MAX: u64 = 365 * 24 * 60 * 60;
/// Personal tokens of one person: a list one can read.
pub const PERSONAL_TOKENS_PER_USER_MAX: i64 = 50;
/// How long a rotated personal token may live on, in seconds: a day to replace it everywhere (row M078).
pub const ROTATION_GRACE_SECONDS_MAX: u64 = 24 * 60 * 60;

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

/// Sessions of one app, or of one person in it, that run on something, or are ready to: as many as a team of agents, and a bound on what wakes at once.
pub const SESSIONS_LIVE_PER_APP_MAX: i64 = 1000;
/// A session's title.
pub const SESSION_TITLE_BYTES_MAX: usize = 1024;
/// Characters of the first prompt that become the title of a session without one: a line of a list.
pub const SESSION_TITLE_CHARS: usize = 60;
/// Parts of one prompt.
pub const PROMPT_PARTS_MAX: usize = 64;
/// Turns that may wait in one session: more is a program that does not listen.
pub const TURNS_WAITING_MAX: i64 = 16;
/// Prompts per minute in one session: two a second, which no person types and no program needs that waits for answers.
pub const PROMPTS_PER_MINUTE: u32 = 120;
/// Streams of one session that are read on one host at once: a lecture hall. Each holds a connection and 35 KiB.
pub const READERS_PER_SESSION_MAX: usize = 1000;
/// Streams of one app's sessions that are read on one host at once: two such halls, or each of its live sessions twice.
pub const READERS_PER_APP_MAX: usize = 2000;
/// Sessions of one app that run in processes of their own on one host, unless configured: some tens of MiB each, and the
/// others need memory too.
pub const RUNNERS_PER_APP_MAX: usize = 32;
/// Events of one session's log that are kept: some hours of a busy agent, told in pieces.
pub const EVENTS_KEPT_MAX: i64 = 20_000;
/// Events read from a log at once.
pub const EVENTS_PER_READ: i64 = 256;
/// One event an agent tells of itself, in bytes of JSON; of a larger one only its name is kept.
pub const SESSION_EVENT_BYTES_MAX: usize = 64 << 10;
/// Events of one turn, after which an agent's own are dropped and its words are gathered for longer.
pub const SESSION_EVENTS_PER_TURN_MAX: usize = 5000;
/// What an agent tells of itself in one turn besides its answer, in bytes of JSON.
pub const SESSION_LOG_BYTES_PER_TURN_MAX: usize = 4 << 20;
/// How long an agent waits for a person's permission: long enough to come back from another window, and well within a turn.
pub const PERMISSION_TIME: Duration = Duration::from_secs(5 * 60);
/// Questions that the plugins of one turn may ask a person of their own accord: more is no asking, but noise.
pub const QUESTIONS_PER_TURN_MAX: u32 = 32;
/// What a question names, and what an answer of "always" would hold for, each: a person has to read it.
pub const QUESTION_PATTERNS_MAX: usize = 16;
/// What is shown of a tool's input to whoever decides, in bytes of JSON.
pub const PERMISSION_INPUT_BYTES_MAX: usize = 16 << 10;
/// Why something was rejected, for the agent to read.
pub const PERMISSION_MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Rules of one session: more than that nobody reads.
pub const PERMISSION_RULES_MAX: usize = 200;
/// Asks of one session that are listed: an agent asks 32 times at once at the most.
pub const PERMISSIONS_LISTED_MAX: i64 = 200;

/// How deep sessions may stand below one: agents of agents. Each is a call by a call, and leaves tools two more.
pub const SUBAGENT_DEPTH_MAX: i64 = 2;
/// Agents that work for one turn side by side: each runs a guest and asks models.
pub const SUBAGENTS_AT_WORK_MAX: i64 = 8;
/// Sessions directly below one: a list a person can read.
pub const SUBAGENTS_PER_SESSION_MAX: i64 = 200;
/// Agents a model is told of: more it would not tell apart.
pub const SUBAGENTS_LISTED_MAX: usize = 50;
/// A task for another agent, or its description.
pub const SUBTASK_BYTES_MAX: usize = 256 << 10;
/// What comes back of a task, in bytes of text: a report, which whoever asked reads with every later step.
pub const SUBAGENT_RESULT_BYTES_MAX: usize = 64 << 10;

/// A conversation that takes more of what its model takes is summed up before the next turn: what is left has room for
/// one question, its tools and its answer.
pub const COMPACTED_ABOVE_PERCENT: i64 = 85;
/// A summary, in bytes of text: one that is longer sums nothing up.
pub const SUMMARY_BYTES_MAX: usize = 64 << 10;
/// What a summary is made of: of one message, or one answer of a tool, in bytes of text.
pub const SUMMARY_PART_BYTES_MAX: usize = 16 << 10;

/// A session as one document: what its messages may hold, what its models thought and its turns besides.
pub const SESSION_DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Artifacts of one kind that are kept of a session: the latest, and one to go back to where that is damaged or unwanted.
pub const ARTIFACTS_KEPT: i64 = 3;
/// How long an artifact is kept at the most unless `ARTIFACTS_RETENTION` says otherwise: 30 days.
pub const ARTIFACTS_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// What a bucket may take for one request, its repetitions included: a document of 16 MiB at half a megabyte a second.
pub const ARTIFACTS_BUCKET_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a link shows a conversation unless told: a week to read it. It ends with the session at the latest.
pub const SHARE_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The longest, in seconds: a quarter of a year.
pub const SHARE_LIFE_SECONDS_MAX: u64 = 90 * 24 * 60 * 60;
/// How often a minute conversations are read by links from one address: one a second, and no place to guess from.
pub const SHARED_READS_PER_MINUTE: u32 = 60;

/// One file of a session's workspace, in bytes: a guest holds it whole, beside its own memory.
pub const WORKSPACE_FILE_BYTES_MAX: u64 = 32 << 20;
/// What a session's files hold together, in bytes, with what is kept of them from before its turns: a large repository.
pub const WORKSPACE_BYTES_MAX: u64 = 256 << 20;
/// Files and directories of a session, and earlier states that are kept: a large repository without its dependencies, and few enough to be looked at one by one.
pub const WORKSPACE_FILES_MAX: u64 = 10_000;
/// What the files of all sessions of an app hold, in bytes: sixteen that are full.
pub const WORKSPACE_BYTES_PER_APP_MAX: u64 = 4 << 30;
/// Files of all sessions of an app: they are counted once when the app first needs one.
pub const WORKSPACE_FILES_PER_APP_MAX: u64 = 200_000;
/// A path in a workspace, in bytes: it is kept in events and archives.
pub const WORKSPACE_PATH_BYTES_MAX: usize = 1024;
/// One name in it, in bytes: file systems take no longer one.
pub const WORKSPACE_NAME_BYTES_MAX: usize = 255;
/// Names in it: what walks through a workspace holds as many directories open.
pub const WORKSPACE_PATH_DEPTH_MAX: usize = 32;
/// What one read of a guest gives it, in bytes; the next one goes on from there.
pub const WORKSPACE_READ_BYTES_MAX: u64 = 8 << 20;
/// What one listing of a directory gives a guest; the next one goes on from there.
pub const WORKSPACE_ENTRIES_LISTED_MAX: usize = 1000;
/// Turns whose changes can be shown and taken back; what is kept of older ones goes first.
pub const WORKSPACE_TURNS_KEPT_MAX: usize = 50;
/// Work on disks at once: what waits for a disk is not what runs programs.
pub const WORKSPACE_JOBS_MAX: usize = 16;
/// The same for one app: the others' must not wait for it.
pub const WORKSPACE_JOBS_PER_APP_MAX: usize = 4;
/// Lines one search answers with.
pub const WORKSPACE_MATCHES_MAX: usize = 500;
/// What is shown of a line that was found, in characters.
pub const WORKSPACE_LINE_CHARS_MAX: usize = 300;
/// A file that is searched or compared, in bytes: larger ones are no texts that somebody reads.
pub const WORKSPACE_TEXT_BYTES_MAX: u64 = 4 << 20;
/// How long one search or one comparison takes at the most: it has a thread for itself.
pub const WORKSPACE_LOOK_TIME_MAX: Duration = Duration::from_secs(5);
/// Text of a difference that is shown, in bytes, of all files together.
pub const WORKSPACE_DIFF_BYTES_MAX: usize = 1 << 20;
/// What one push to a repository holds, in bytes: it is packed in memory.
pub const WORKSPACE_PUSH_BYTES_MAX: u64 = 64 << 20;
/// How long one push may take: a slow server, and a slow line.
pub const WORKSPACE_PUSH_TIME_MAX: Duration = Duration::from_secs(5 * 60);
/// Pushes of one app on their way at once.
pub const WORKSPACE_PUSHES_PER_APP_MAX: i64 = 4;
/// How many times as large as an archive what is in it may be, beyond the first MiB: text packs to a twentieth.
pub const WORKSPACE_ARCHIVE_RATIO_MAX: u64 = 200;
/// Archives that are unpacked at once: each is kept on the disk meanwhile, 256 MiB at the most.
pub const WORKSPACE_IMPORTS_MAX: usize = 4;
/// The same for one app.
pub const WORKSPACE_IMPORTS_PER_APP_MAX: usize = 1;
/// Files that a turn changes, or that are put back, and that are told of one by one: the list of files tells of the others.
pub const WORKSPACE_CHANGES_TOLD_MAX: usize = 1000;

/// A command's template, or its description.
pub const COMMAND_BYTES_MAX: usize = 32 << 10;
/// Commands of one app: a list a person can read.
pub const COMMANDS_PER_APP_MAX: i64 = 200;

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
