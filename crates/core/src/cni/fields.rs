//! Takes a JSON object apart field by field, so that every error names the field and its value and
//! nothing that was not understood is passed over.

use super::error::CniError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A JSON object whose fields are taken one by one.
pub struct Fields {
    path: String,
    map: Map<String, Value>,
}

impl Fields {
    /// `path` names the object in errors (empty for the whole configuration).
    pub fn new(path: &str, value: Value) -> Result<Self, CniError> {
        match value {
            Value::Object(map) => Ok(Self { path: path.to_owned(), map }),
            other => {
                let what = if path.is_empty() { "the network configuration" } else { path };
                Err(CniError::decode(format!("{what} must be a JSON object, not {}", kind(&other))))
            }
        }
    }

    /// Like [`Fields::new`], for objects that runtimes send with Go's casing (`HostPort` for `hostPort`).
    pub fn new_go_cased(path: &str, value: Value) -> Result<Self, CniError> {
        let mut fields = Self::new(path, value)?;
        fields.map = std::mem::take(&mut fields.map).into_iter().map(|(k, v)| (lower_first(&k), v)).collect();
        Ok(fields)
    }

    /// The field's full name, for errors.
    pub fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the field is there, be it `null`.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Whether the field is an empty text.
    pub fn is_empty_text(&self, key: &str) -> bool {
        self.map.get(key).and_then(Value::as_str) == Some("")
    }

    /// Takes a field; absent and `null` are the same. A wrong type or value is error 7.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, CniError> {
        let Some(value) = self.map.remove(key).filter(|v| !v.is_null()) else { return Ok(None) };
        T::deserialize(&value).map(Some).map_err(|e| {
            let shown: String = value.to_string().chars().take(80).collect();
            CniError::config(format!("field {:?} with value {shown}: {e}", self.name(key)))
        })
    }

    /// Takes a field or its default.
    pub fn take_or<T: DeserializeOwned>(&mut self, key: &str, default: T) -> Result<T, CniError> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    /// Takes a field that must be there.
    pub fn require<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, CniError> {
        self.take(key)?.ok_or_else(|| CniError::config(format!("field {:?} is missing", self.name(key))))
    }

    /// Takes a field that is an object of its own.
    pub fn take_object(&mut self, key: &str) -> Result<Option<Fields>, CniError> {
        let name = self.name(key);
        self.take::<Value>(key)?.map(|v| Fields::new(&name, v)).transpose()
    }

    /// Takes a list of objects; absent is empty. Their keys may have Go's casing.
    pub fn take_objects(&mut self, key: &str) -> Result<Vec<Fields>, CniError> {
        let name = self.name(key);
        let list: Vec<Value> = self.take_or(key, Vec::new())?;
        list.into_iter().enumerate().map(|(i, v)| Fields::new_go_cased(&format!("{name}[{i}]"), v)).collect()
    }

    /// A field's value as it came.
    pub fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    /// Drops fields whose names hold this character.
    pub fn ignore_with(&mut self, character: char) {
        self.map.retain(|key, _| !key.contains(character));
    }

    /// Drops fields that are known and of no concern here.
    pub fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.map.remove(*key);
        }
    }

    /// Error 2 for the first field that nobody took.
    pub fn finish(self) -> Result<(), CniError> {
        match self.map.iter().find(|(_, v)| !v.is_null()) {
            None => Ok(()),
            Some((key, value)) => Err(CniError::unsupported_field(&self.name(key), value)),
        }
    }
}

fn lower_first(key: &str) -> String {
    let mut chars = key.chars();
    chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
