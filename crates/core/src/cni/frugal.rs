//! Reads a network configuration without the pod annotations that concern others: there can be tens of thousands, and
//! the plugin runs once per pod beside whatever else the node's memory is for.

use super::runtime::ANNOTATIONS;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Where the annotations are.
const PATH: [&str; 2] = ["runtimeConfig", ANNOTATIONS];
/// The annotations that Offramp reads begin so.
const PREFIXES: [&str; 2] = ["offramp.dev/", "k8s.v1.cni.cncf.io/"];

/// Parses `stdin`; of the annotations, only those that Offramp reads are kept, and those that are no strings, so that
/// they can be refused.
pub fn parse(stdin: &[u8]) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(stdin);
    let value = Frugal { path: &PATH }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// A value on the way to the annotations: `path` is what is left of it.
struct Frugal {
    path: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for Frugal {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Frugal {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = match self.path.split_first() {
                Some((next, rest)) if key == *next => access.next_value_seed(Frugal { path: rest })?,
                _ => access.next_value()?,
            };
            let others = self.path.is_empty() && !PREFIXES.iter().any(|p| key.starts_with(p));
            if !(others && value.is_string()) {
                map.insert(key, value);
            }
        }
        Ok(Value::Object(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(access))
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_annotations_of_others_are_left_out() {
        let mut conf = json!({
            "cniVersion": "1.1.0", "n": -1, "m": 2.5, "l": [1, {"x/y": "z"}], "none": null, "b": true,
            "args": {"other/key": "stays"},
            "runtimeConfig": {"dns": {"servers": ["10.0.0.1"]}, ANNOTATIONS: {
                "offramp.dev/offload": "preferred", "k8s.v1.cni.cncf.io/networks": "[]",
                "example.com/offramp.dev/": "theirs", "wrong": 5,
            }},
        });
        let kept = parse(conf.to_string().as_bytes()).unwrap();
        let annotations = conf["runtimeConfig"][ANNOTATIONS].as_object_mut().unwrap();
        assert!(annotations.remove("example.com/offramp.dev/").is_some());
        assert_eq!(kept, conf);
    }

    #[test]
    fn fails_where_the_plain_parser_does() {
        let deep = "[".repeat(1000);
        for text in ["", "{", "{} x", "[1,]", "{\"runtimeConfig\": 1e999}", "{5: 1}", &deep] {
            let plain = serde_json::from_slice::<Value>(text.as_bytes()).unwrap_err();
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), plain.to_string(), "{text:.20}");
        }
        for text in ["null", "\"x\"", "[1, \"\\u00e4\"]", "{\"runtimeConfig\": []}"] {
            assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        }
    }
}
