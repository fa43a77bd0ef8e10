//! What the prelude asks of the host: one object of functions, which it holds and tools do not see.

use crate::{
    bindings::{
        opg::host::{events, http, log, permission, secrets, types, workspace},
        wasi::{clocks::monotonic_clock, random::random},
    },
    engine::{is_loading, secret_while_loading},
};
use rquickjs::{
    Ctx, Function, Object, Result, TypedArray, Value,
    function::{Func, Opt},
};
use std::cell::Cell;
use url::Url;

/// Where the object is kept: a name that no script says by chance.
const NAME: &str = "__opg_host";

/// The object, once [`install`] made it.
pub(crate) fn of<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    ctx.globals().get(NAME)
}

/// Makes the object of functions and keeps it.
pub(crate) fn install<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let host = Object::new(ctx.clone())?;
    host.set("loading", Func::from(is_loading))?;
    host.set("log", Func::from(write_log))?;
    host.set("secret", Func::from(secret))?;
    host.set("emit", Func::from(emit))?;
    host.set("ask", Func::from(ask))?;
    host.set("now", Func::from(now_ms))?;
    host.set("random", Func::from(random_number))?;
    host.set("randomBytes", Function::new(ctx.clone(), random_bytes)?)?;
    host.set("encode", Function::new(ctx.clone(), encode)?)?;
    host.set("decode", Func::from(decode))?;
    host.set("parseUrl", Func::from(parse_url))?;
    host.set("changeUrl", Func::from(change_url))?;
    host.set("start", Function::new(ctx.clone(), start)?)?;
    host.set("readFile", Function::new(ctx.clone(), read_file)?)?;
    host.set("writeFile", Function::new(ctx.clone(), write_file)?)?;
    host.set("changeFile", Function::new(ctx.clone(), change_file)?)?;
    host.set("listFiles", Function::new(ctx.clone(), list_files)?)?;
    host.set("cancel", Func::from(|id: u32| http::cancel(id)))?;
    host.set("runJobs", Function::new(ctx.clone(), |ctx: Ctx<'js>| while ctx.execute_pending_job() {})?)?;
    ctx.globals().prop(NAME, rquickjs::object::Property::from(host.clone()))?;
    Ok(host)
}

// --- the log, secrets, events ---

fn write_log(level: String, text: String) {
    if is_loading() {
        return;
    }
    let level = match level.as_str() {
        "debug" => log::Level::Debug,
        "warn" => log::Level::Warn,
        "error" => log::Level::Error,
        _ => log::Level::Info,
    };
    log::write(level, &text);
}

/// A reference to the secret; none where it is not granted or not stored, and the log says why.
fn secret(name: String) -> Option<String> {
    if is_loading() {
        return secret_while_loading(&name);
    }
    match secrets::get(&name) {
        Ok(reference) => Some(reference),
        // What programs look up by habit is no wish for a secret.
        Err(_) if name == "NODE_ENV" || name == "DEBUG" || name == "NO_COLOR" || name == "HOME" => None,
        Err(error) => {
            log::write(log::Level::Warn, &format!("process.env.{name} is undefined: {}", text_of(&error)));
            None
        }
    }
}

/// Tells the session something; nobody may be listening.
fn emit(event: String) {
    if !is_loading() {
        drop(events::emit(&event));
    }
}

/// Asks a person, and waits; why not, where the answer is no.
fn ask(action: String, patterns: Vec<String>, always: Vec<String>, details: String) -> Option<String> {
    let question = permission::Question { action, patterns, always, details };
    permission::ask(&question).err().map(|error| text_of(&error).to_owned())
}

fn text_of(error: &types::Error) -> &str {
    match error {
        types::Error::Denied(text)
        | types::Error::Invalid(text)
        | types::Error::Limit(text)
        | types::Error::Failed(text)
        | types::Error::Unavailable(text) => text,
    }
}

// --- time and chance ---

fn now_ms() -> f64 {
    if is_loading() { 0.0 } else { monotonic_clock::now() as f64 / 1e6 }
}

fn random_number() -> f64 {
    (bits() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Chance; while loading a row of numbers that is always the same, so that a file gives one component.
fn bits() -> u64 {
    thread_local!(static ROW: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) });
    if !is_loading() {
        return random::get_random_u64();
    }
    ROW.with(|row| {
        let mut next = row.get();
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        row.set(next);
        next
    })
}

fn random_bytes(ctx: Ctx<'_>, count: usize) -> Result<TypedArray<'_, u8>> {
    if is_loading() {
        let why = "there is no chance while a tool is being uploaded: each call would see the same; use `crypto` inside `execute`";
        return Err(rquickjs::Exception::throw_message(&ctx, why));
    }
    // As browsers have it.
    const BYTES_MAX: usize = 65_536;
    if count > BYTES_MAX {
        return Err(rquickjs::Exception::throw_range(&ctx, "getRandomValues gives 65536 bytes at the most"));
    }
    TypedArray::new(ctx, random::get_random_bytes(count as u64))
}

// --- text ---

fn encode<'js>(ctx: Ctx<'js>, text: Value<'js>) -> Result<TypedArray<'js, u8>> {
    let text: rquickjs::String = text.get()?;
    // Half of a surrogate pair is no character: it becomes U+FFFD, as in browsers.
    let bytes = match text.to_string() {
        Ok(text) => text.into_bytes(),
        Err(_) => b"\xef\xbf\xbd".to_vec(),
    };
    TypedArray::new(ctx, bytes)
}

fn decode(bytes: TypedArray<'_, u8>, fatal: bool) -> Option<String> {
    let bytes = copied(&bytes);
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(_) if fatal => None,
        Err(wrong) => Some(String::from_utf8_lossy(wrong.as_bytes()).into_owned()),
    }
}

fn copied(bytes: &TypedArray<'_, u8>) -> Vec<u8> {
    // SAFETY: no JavaScript runs, and so nothing changes or detaches the buffer, until the copy is made.
    unsafe { bytes.as_bytes() }.unwrap_or_default().to_vec()
}

// --- URLs ---

/// Its parts, in the order of `PARTS` in `prelude/url.js`.
fn parse_url(text: String, base: Opt<Option<String>>) -> Option<Vec<String>> {
    let url = match base.0.flatten() {
        Some(base) => Url::parse(&base).ok()?.join(&text).ok()?,
        None => Url::parse(&text).ok()?,
    };
    Some(parts(&url))
}

fn parts(url: &Url) -> Vec<String> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let port = url.port().map(|port| port.to_string()).unwrap_or_default();
    let after = |mark: char, text: Option<&str>| {
        text.filter(|text| !text.is_empty()).map(|text| format!("{mark}{text}")).unwrap_or_default()
    };
    vec![
        url.as_str().to_owned(),
        url.origin().ascii_serialization(),
        format!("{}:", url.scheme()),
        url.username().to_owned(),
        url.password().unwrap_or_default().to_owned(),
        if port.is_empty() { host.clone() } else { format!("{host}:{port}") },
        host,
        port,
        url.path().to_owned(),
        after('?', url.query()),
        after('#', url.fragment()),
    ]
}

/// The URL with one part changed; none where that is no URL any more.
fn change_url(href: String, part: String, value: String) -> Option<Vec<String>> {
    let mut url = Url::parse(&href).ok()?;
    match part.as_str() {
        "href" => url = Url::parse(&value).ok()?,
        "protocol" => url.set_scheme(value.trim_end_matches(':')).ok()?,
        "username" => url.set_username(&value).ok()?,
        "password" => {
            url.set_password(Some(&value).filter(|value| !value.is_empty()).map(String::as_str)).ok()?;
        }
        "host" => {
            let (host, port) = value.split_once(':').unwrap_or((&value, ""));
            url.set_host(Some(host)).ok()?;
            url.set_port(port.parse().ok()).ok()?;
        }
        "hostname" => url.set_host(Some(&value)).ok()?,
        "port" => url.set_port(value.parse().ok()).ok()?,
        "pathname" => url.set_path(&value),
        "search" => url.set_query(Some(value.trim_start_matches('?')).filter(|query| !query.is_empty())),
        "hash" => url.set_fragment(Some(value.trim_start_matches('#')).filter(|hash| !hash.is_empty())),
        _ => return None,
    }
    Some(parts(&url))
}

// --- files ---

/// What the prelude gets: with `error` and its `code`, as Node names it, where it did not work.
fn answered<'js, T>(
    ctx: &Ctx<'js>,
    answer: std::result::Result<T, workspace::Error>,
    fill: impl FnOnce(&Object<'js>, T) -> Result<()>,
) -> Result<Object<'js>> {
    use workspace::Error;
    let told = Object::new(ctx.clone())?;
    let (code, text) = match answer {
        Ok(answer) => {
            fill(&told, answer)?;
            return Ok(told);
        }
        Err(Error::Denied(text)) => ("EACCES", text),
        Err(Error::NoSession(text)) => ("ENODEV", text),
        Err(Error::Gone(text)) => ("ESTALE", text),
        Err(Error::NotFound(text)) => ("ENOENT", text),
        Err(Error::Exists(text)) => ("EEXIST", text),
        Err(Error::NotADirectory(text)) => ("ENOTDIR", text),
        Err(Error::IsADirectory(text)) => ("EISDIR", text),
        Err(Error::NotEmpty(text)) => ("ENOTEMPTY", text),
        Err(Error::Invalid(text)) => ("EINVAL", text),
        Err(Error::Limit(text)) => ("ENOSPC", text),
        Err(Error::Unavailable(text)) => ("EIO", text),
    };
    told.set("code", code)?;
    told.set("error", text)?;
    Ok(told)
}

fn not_while_loading() -> std::result::Result<(), workspace::Error> {
    if is_loading() {
        let why = "there are no files while a tool is being uploaded; use them inside `execute`";
        return Err(workspace::Error::Denied(why.to_owned()));
    }
    Ok(())
}

fn read_file<'js>(ctx: Ctx<'js>, path: String, offset: f64) -> Result<Object<'js>> {
    /// As much as the host gives at once.
    const PART_BYTES: u64 = 8 << 20;
    let read = not_while_loading().and_then(|()| workspace::read(&path, offset as u64, PART_BYTES));
    answered(&ctx, read, |told, part| {
        told.set("size", part.size as f64)?;
        told.set("bytes", TypedArray::<u8>::new(ctx.clone(), part.bytes)?)
    })
}

fn write_file<'js>(
    ctx: Ctx<'js>,
    path: String,
    bytes: TypedArray<'js, u8>,
    append: bool,
) -> Result<Object<'js>> {
    let bytes = copied(&bytes);
    let write =
        || if append { workspace::write_at(&path, None, &bytes) } else { workspace::write(&path, &bytes) };
    answered(&ctx, not_while_loading().and_then(|()| write()), |_, ()| Ok(()))
}

fn change_file<'js>(
    ctx: Ctx<'js>,
    what: String,
    path: String,
    to: Opt<Option<String>>,
) -> Result<Object<'js>> {
    let change = || match what.as_str() {
        "mkdir" => workspace::make_directory(&path),
        "rename" => workspace::rename(&path, &to.0.flatten().unwrap_or_default()),
        "remove" => workspace::remove(&path, false),
        _ => workspace::remove(&path, true),
    };
    answered(&ctx, not_while_loading().and_then(|()| change()), |_, ()| Ok(()))
}

/// What is at a path, or with `inside` what is in it, a thousand at a time.
fn list_files<'js>(
    ctx: Ctx<'js>,
    path: String,
    inside: bool,
    after: Opt<Option<String>>,
) -> Result<Object<'js>> {
    let list = || {
        if inside {
            workspace::entries(&path, after.0.flatten().as_deref())
        } else {
            workspace::stat(&path).map(|one| vec![one])
        }
    };
    answered(&ctx, not_while_loading().and_then(|()| list()), |told, entries| {
        let list = rquickjs::Array::new(ctx.clone())?;
        for (at, entry) in entries.into_iter().enumerate() {
            let shown = Object::new(ctx.clone())?;
            shown.set("path", entry.path)?;
            shown.set("directory", entry.kind == workspace::Kind::Directory)?;
            shown.set("size", entry.size as f64)?;
            shown.set("modifiedMs", entry.modified_ms as f64)?;
            list.set(at, shown)?;
        }
        told.set("entries", list)
    })
}

// --- requests ---

/// Starts a request: its number, or the text of why it cannot be made.
fn start<'js>(
    ctx: Ctx<'js>,
    method: String,
    url: String,
    headers: Vec<Vec<String>>,
    body: Opt<Value<'js>>,
) -> Result<Value<'js>> {
    use rquickjs::IntoJs as _;
    let pair = |pair: Vec<String>| <[String; 2]>::try_from(pair).ok().map(|[name, value]| (name, value));
    let body = body.0.and_then(|body| TypedArray::<u8>::from_value(body).ok()).map(|bytes| copied(&bytes));
    let headers = headers.into_iter().filter_map(pair).collect();
    match http::start(&http::Request { method, url, headers, body, timeout_ms: None }) {
        Ok(id) => id.into_js(&ctx),
        Err(error) => text_of(&error).into_js(&ctx),
    }
}

/// Waits until an answer came or the time passed.
pub(crate) fn wait<'js>(ctx: &Ctx<'js>, timeout_ms: Option<u32>) -> Result<Option<(u32, Object<'js>)>> {
    let Some((id, answer)) = http::wait(timeout_ms) else { return Ok(None) };
    let told = Object::new(ctx.clone())?;
    match answer {
        Ok(response) => {
            told.set("status", response.status)?;
            let headers: Vec<_> =
                response.headers.into_iter().map(|(name, value)| vec![name, value]).collect();
            told.set("headers", headers)?;
            told.set("body", TypedArray::<u8>::new(ctx.clone(), response.body)?)?;
        }
        Err(error) => told.set("error", text_of(&error))?,
    }
    Ok(Some((id, told)))
}
