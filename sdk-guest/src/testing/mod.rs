//! A host in memory, for unit tests: a tool that asks for something runs
//! natively, under `cargo test`, with no server and no sandbox.
//!
//! ```
//! use opg_guest::*;
//!
//! /// Converts an amount of euros at the latest rate.
//! #[tool(
//!     http("api.example.com", "to look up the rate"),
//!     secret("RATES_KEY@api.example.com", "to sign in"),
//!     kv("write", "to remember the last rate")
//! )]
//! fn convert(amount: f64, to: String) -> Result<f64, Error> {
//!     let rate: f64 = http::get("https://api.example.com/rate")
//!         .query("to", to)
//!         .secret_header("authorization", "Bearer ", "RATES_KEY")?
//!         .send()?
//!         .success()?
//!         .json()?;
//!     kv::set("last", &rate)?;
//!     Ok(amount * rate)
//! }
//!
//! let host = testing::Host::new()
//!     .http("https://api.example.com/", testing::json(200, &1.25))
//!     .secret("RATES_KEY")
//!     .kv()
//!     .start();
//! assert_eq!(convert(2.0, "USD".into()), Ok(2.5));
//! assert_eq!(host.requests()[0].url, "https://api.example.com/rate?to=USD");
//! assert_eq!(host.kept::<f64>("last"), Some(1.25));
//! ```
//!
//! As outside, nothing is allowed until it is given: what a [`Host`] was not
//! told of is `Denied`, with what to add. A test sees what the tool asked for
//! in the [`Running`] host.
//!
//! Deliberately absent: limits, the schema, and what the tenant grants. Those
//! are the sandbox's; `opg tool test` runs the component in it.

pub(crate) mod host;

use std::cell::{Ref, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;
pub use crate::bindings::host::opg::host::http::{Request, Response};
pub use crate::bindings::host::opg::host::log::Level;
pub use crate::bindings::host::opg::host::permission::Question;

/// What answers a request: none where it is another's.
type Site = Rc<dyn Fn(&Request) -> Option<Result<Response, Error>>>;
/// What answers a statement, with its parameters.
type Database = Rc<dyn Fn(&str, &[Value]) -> Option<Result<Vec<Value>, Error>>>;
/// The files of the session, by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;
/// What answers a call of another tool.
type OtherTool = Rc<dyn Fn(Value) -> Result<Value, Error>>;

/// A host in the making: what a plugin may reach in this test.
#[derive(Default)]
#[must_use = "a host is there once it is started"]
pub struct Host(State);

/// A host that is there for this thread until it is dropped.
#[must_use = "the host goes when this is dropped: keep it with `let host = …`"]
pub struct Running {
    state: Rc<RefCell<State>>,
    before: Option<Rc<RefCell<State>>>,
}

#[derive(Default)]
pub(crate) struct State {
    sites: Vec<Site>,
    databases: Vec<Database>,
    tools: BTreeMap<String, OtherTool>,
    answers: VecDeque<Result<String, Error>>,
    models: bool,
    secrets: Vec<String>,
    kv: Option<BTreeMap<String, Vec<u8>>>,
    files: Option<Files>,
    logs: Vec<(Level, String)>,
    requests: Vec<Request>,
    statements: Vec<(String, Vec<Value>)>,
    prompts: Vec<Value>,
    events: Vec<Value>,
    permissions: Vec<String>,
    questions: Vec<Question>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<State>>>> = const { RefCell::new(None) };
}

/// The host of this thread, if one was started.
pub(crate) fn current() -> Option<Rc<RefCell<State>>> {
    CURRENT.with_borrow(Clone::clone)
}

impl Host {
    /// One that allows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers every request whose URL starts so.
    pub fn http(self, url: impl Into<String>, response: Response) -> Self {
        let url = url.into();
        self.http_fn(move |request| request.url.starts_with(&url).then(|| Ok(response.clone())))
    }

    /// Answers requests as a function says; none for those of another.
    pub fn http_fn(mut self, site: impl Fn(&Request) -> Option<Result<Response, Error>> + 'static) -> Self {
        self.0.sites.push(Rc::new(site));
        self
    }

    /// Has a secret of this name, granted for every host.
    pub fn secret(mut self, name: impl Into<String>) -> Self {
        self.0.secrets.push(name.into());
        self
    }

    /// Grants the key-value store, empty.
    pub fn kv(mut self) -> Self {
        self.0.kv.get_or_insert_default();
        self
    }

    /// Grants the key-value store, with this in it.
    ///
    /// # Panics
    /// Where the value cannot be written as JSON.
    pub fn kv_value(mut self, key: impl Into<String>, value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("a test's value can be written as JSON");
        self.0.kv.get_or_insert_default().insert(key.into(), bytes);
        self
    }

    /// Grants the files of a session, of which there are none.
    pub fn workspace(mut self) -> Self {
        self.0.files.get_or_insert_default();
        self
    }

    /// Grants the files of a session, with this one among them.
    pub fn file(mut self, path: impl Into<String>, contents: impl Into<Vec<u8>>) -> Self {
        self.0.files.get_or_insert_default().insert(path.into(), contents.into());
        self
    }

    /// Answers every statement that has this in it with these rows, each an
    /// object. A change says that it changed as many rows, and returned them.
    pub fn db(self, part: impl Into<String>, rows: impl Into<Vec<Value>>) -> Self {
        let (part, rows) = (part.into(), rows.into());
        self.db_fn(move |statement, _| statement.contains(&part).then(|| Ok(rows.clone())))
    }

    /// Answers statements as a function says; none for those of another.
    pub fn db_fn(
        mut self,
        database: impl Fn(&str, &[Value]) -> Option<Result<Vec<Value>, Error>> + 'static,
    ) -> Self {
        self.0.databases.push(Rc::new(database));
        self
    }

    /// Has another tool of this name.
    pub fn tool(
        mut self,
        name: impl Into<String>,
        tool: impl Fn(Value) -> Result<Value, Error> + 'static,
    ) -> Self {
        self.0.tools.insert(name.into(), Rc::new(tool));
        self
    }

    /// Answers the next model call with this text, or fails it.
    pub fn model(mut self, answer: Result<&str, Error>) -> Self {
        self.0.models = true;
        self.0.answers.push_back(answer.map(str::to_owned));
        self
    }

    /// Somebody says yes to every question about this action.
    pub fn permission(mut self, action: impl Into<String>) -> Self {
        self.0.permissions.push(action.into());
        self
    }

    /// Makes it the host of this thread, until what comes back is dropped.
    pub fn start(self) -> Running {
        let state = Rc::new(RefCell::new(self.0));
        let before = CURRENT.replace(Some(Rc::clone(&state)));
        Running { state, before }
    }
}

impl Running {
    /// What was logged, in order.
    pub fn logs(&self) -> Vec<(Level, String)> {
        self.seen().logs.clone()
    }

    /// The requests, in order; a secret in a header is a reference, as the plugin wrote it.
    pub fn requests(&self) -> Vec<Request> {
        self.seen().requests.clone()
    }

    /// The value under a key of the store.
    ///
    /// # Panics
    /// Where it is something else than expected.
    pub fn kept<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let seen = self.seen();
        let bytes = seen.kv.as_ref()?.get(key)?;
        Some(serde_json::from_slice(bytes).expect("the value is what the test expects"))
    }

    /// A file of the session, as it is now.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.seen().files.as_ref()?.get(path).cloned()
    }

    /// The statements with their parameters, in order.
    pub fn statements(&self) -> Vec<(String, Vec<Value>)> {
        self.seen().statements.clone()
    }

    /// The requests to models, in order.
    pub fn prompts(&self) -> Vec<Value> {
        self.seen().prompts.clone()
    }

    /// The events, in order.
    pub fn events(&self) -> Vec<Value> {
        self.seen().events.clone()
    }

    /// What was asked of a person, in order.
    pub fn questions(&self) -> Vec<Question> {
        self.seen().questions.clone()
    }

    fn seen(&self) -> Ref<'_, State> {
        self.state.borrow()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
    }
}

/// An answer with a status and a JSON body.
///
/// # Panics
/// Where the body cannot be written as JSON.
pub fn json(status: u16, body: &(impl Serialize + ?Sized)) -> Response {
    let body = serde_json::to_vec(body).expect("a test's body can be written as JSON");
    Response { status, headers: vec![("content-type".to_owned(), "application/json".to_owned())], body }
}

/// An answer with a status and a text.
pub fn text(status: u16, body: impl Into<String>) -> Response {
    let headers = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
    Response { status, headers, body: body.into().into_bytes() }
}

/// What a tool is called with besides its input.
pub fn context() -> crate::Context {
    crate::Context {
        invocation_id: "test".to_owned(),
        app: "test".to_owned(),
        session_id: None,
        time_limit_ms: 30_000,
    }
}
