//! Reading members of an object one by one, each with its place in what a client is told.

use super::{NAME_BYTES_MAX, RequestError, is_tool_name};
use serde_json::{Map, Value};

/// An object being read: what is taken is typed, what remains is the rest. `null` reads as absent.
pub(in crate::models) struct Fields {
    pub(in crate::models) map: Map<String, Value>,
    path: String,
}

impl Fields {
    pub(in crate::models) fn new(value: Value, path: &str) -> Result<Self, RequestError> {
        match value {
            Value::Object(map) => Ok(Self { map, path: path.to_owned() }),
            _ if path.is_empty() => Err(RequestError {
                message: "The body must be a JSON object.".into(),
                param: None,
                code: "invalid_type",
            }),
            _ => Err(RequestError::wrong_type(path, "an object")),
        }
    }

    pub(in crate::models) fn param(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(in crate::models) fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    pub(in crate::models) fn string(&mut self, key: &str) -> Result<Option<String>, RequestError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(RequestError::wrong_type(&self.param(key), "text")),
        }
    }

    pub(in crate::models) fn bool(&mut self, key: &str) -> Result<Option<bool>, RequestError> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(RequestError::wrong_type(&self.param(key), "true or false")),
        }
    }

    pub(in crate::models) fn number(
        &mut self,
        key: &str,
        min: f64,
        max: f64,
    ) -> Result<Option<f64>, RequestError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| RequestError::wrong_type(&self.param(key), "a number"))?;
        if !(min..=max).contains(&number) {
            return Err(RequestError::invalid(&self.param(key), &format!("must be {min} to {max}.")));
        }
        Ok(Some(number))
    }

    pub(in crate::models) fn whole(
        &mut self,
        key: &str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, RequestError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        if !value.is_number() {
            return Err(RequestError::wrong_type(&self.param(key), "a whole number"));
        }
        let number = value.as_u64().filter(|number| (min..=max).contains(number));
        let rule = format!("must be a whole number from {min} to {max}.");
        number.map(Some).ok_or_else(|| RequestError::invalid(&self.param(key), &rule))
    }

    /// One of our own names: an agent or a session.
    pub(super) fn name(&mut self, key: &str) -> Result<Option<String>, RequestError> {
        let name = self.string(key)?;
        let is_name = |name: &String| {
            (1..=NAME_BYTES_MAX).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        if name.as_ref().is_some_and(|name| !is_name(name)) {
            let rule = "must be 1 to 128 letters, digits, `_`, `.` or `-`.";
            return Err(RequestError::invalid(&self.param(key), rule));
        }
        Ok(name)
    }

    pub(in crate::models) fn tool_name(&mut self) -> Result<String, RequestError> {
        let param = self.param("name");
        let name = self.string("name")?.ok_or_else(|| RequestError::missing(&param))?;
        if is_tool_name(&name) {
            Ok(name)
        } else {
            Err(RequestError::invalid(&param, "must be 1 to 64 letters, digits, `_` or `-`."))
        }
    }
}
