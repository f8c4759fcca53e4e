//! What our tables hold, in a form that can be compared.

use super::element::Table;
use super::script::TABLE;
use super::{NftError, child};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The tables' chains, rules, sets and elements, without handles and without the order of what has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(BTreeSet<String>);

impl Listing {
    /// Reads the kernel's state in the calling thread's network namespace. A table that is not there is empty.
    ///
    /// # Errors
    /// [`NftError`]
    pub fn read() -> Result<Self, NftError> {
        let mut all = Self::default();
        for table in [Table::Nat, Table::Spoof] {
            match child::run(&["-j", "list", "table", table.family(), TABLE], "", None) {
                Ok(json) => all.take(&json)?,
                Err(e) if e.is_missing() || e.is_unsupported() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(all)
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What `actual` lacks and what it has too much, for a log: each entry begins with `-` or `+`.
    pub fn difference(&self, actual: &Self) -> Vec<String> {
        let lacks = self.0.difference(&actual.0).map(|l| format!("-{l}"));
        lacks.chain(actual.0.difference(&self.0).map(|l| format!("+{l}"))).collect()
    }

    /// Adds what `nft -j list table` printed.
    fn take(&mut self, json: &[u8]) -> Result<(), NftError> {
        let root: Value = serde_json::from_slice(json).map_err(|e| NftError::Listing(e.to_string()))?;
        let objects =
            root["nftables"].as_array().ok_or_else(|| NftError::Listing("no \"nftables\"".into()))?;
        let mut rules: BTreeMap<String, usize> = BTreeMap::new();
        for (kind, object) in objects.iter().filter_map(Value::as_object).flatten() {
            if kind == "metainfo" {
                continue;
            }
            let mut object = object.clone();
            let Some(fields) = object.as_object_mut() else { continue };
            fields.remove("handle");
            let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (family, name, chain) = (text("family"), text("name"), text("chain"));
            if let Some(Value::Array(elements)) = fields.remove("elem") {
                self.0.extend(elements.iter().map(|e| format!("{family} {name} element {e}")));
            }
            if kind == "rule" {
                // Rules have an order: their number in the chain is part of them.
                let n = rules.entry(chain).and_modify(|n| *n += 1).or_insert(1);
                fields.insert("number".into(), (*n).into());
            }
            self.0.insert(format!("{kind} {object}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(json: &str) -> Listing {
        let mut l = Listing::default();
        l.take(json.as_bytes()).unwrap();
        l
    }

    #[test]
    fn order_and_handles_do_not_count_but_rules_do() {
        let rule = |handle: u32, what: &str| {
            format!(r#"{{"rule": {{"family": "inet", "chain": "c", "handle": {handle}, "expr": "{what}"}}}}"#)
        };
        let set = |handle: u32, elements: &str| {
            format!(
                r#"{{"set": {{"family": "inet", "name": "s", "handle": {handle}, "elem": [{elements}]}}}}"#
            )
        };
        let all = |parts: [String; 3]| listing(&format!(r#"{{"nftables": [{}]}}"#, parts.join(",")));
        let wanted = all([set(1, r#""a", "b""#), rule(2, "x"), rule(3, "y")]);
        assert_eq!(wanted, all([set(8, r#""b", "a""#), rule(9, "x"), rule(7, "y")]));
        assert_ne!(wanted, all([set(1, r#""a", "b""#), rule(2, "y"), rule(3, "x")]));
        assert_eq!(
            wanted.difference(&all([set(1, r#""a", "c""#), rule(2, "x"), rule(3, "y")])),
            [r#"-inet s element "b""#, r#"+inet s element "c""#]
        );
    }

    #[test]
    fn nonsense_is_an_error() {
        for json in ["", "{}", r#"{"nftables": 1}"#] {
            assert!(matches!(Listing::default().take(json.as_bytes()), Err(NftError::Listing(_))), "{json}");
        }
    }
}
