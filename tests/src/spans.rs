//! The spans of models' calls, as whoever collects traces sees them.

use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context};

/// What the span of a call is named.
const CALL: &str = "model_call";

static OPEN: Mutex<Option<HashMap<u64, Map<String, Value>>>> = Mutex::new(None);
static CLOSED: Mutex<Vec<Value>> = Mutex::new(Vec::new());

/// The attributes of every call of a model that ended in this process, oldest first.
pub fn model_calls() -> Vec<Value> {
    held(&CLOSED).clone()
}

/// Forgets those that ended: for a test that measures memory.
pub fn forget() {
    *held(&CLOSED) = Vec::new();
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps them.
pub(crate) struct Capture;

struct Attribute<'a>(&'a mut Map<String, Value>);

impl Visit for Attribute<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), json!(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() == CALL {
            let mut fields = Map::new();
            attributes.record(&mut Attribute(&mut fields));
            held(&OPEN).get_or_insert_default().insert(id.into_u64(), fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if let Some(fields) = held(&OPEN).get_or_insert_default().get_mut(&id.into_u64()) {
            values.record(&mut Attribute(fields));
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let closed = held(&OPEN).get_or_insert_default().remove(&id.into_u64());
        held(&CLOSED).extend(closed.map(Value::Object));
    }
}
