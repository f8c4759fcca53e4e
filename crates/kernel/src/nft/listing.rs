//! What our tables hold, in a form that can be compared.

use super::element::Table;
use super::script::TABLE;
use super::{NftError, child};
use serde_json::value::RawValue;
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

    /// Adds what `nft -j list table` printed. Values stay the text that nft made of them: with thousands of peers a set has
    /// thousands of elements, and a tree of each would take a kilobyte.
    fn take(&mut self, json: &[u8]) -> Result<(), NftError> {
        let unreadable = |e: serde_json::Error| NftError::Listing(e.to_string());
        let mut root: BTreeMap<String, Vec<Fields<'_>>> = serde_json::from_slice(json).map_err(unreadable)?;
        let all = root.remove("nftables").ok_or_else(|| NftError::Listing("no \"nftables\"".into()))?;
        let mut rules: BTreeMap<String, usize> = BTreeMap::new();
        // Each has one member, which says its kind.
        for (kind, object) in all.into_iter().flatten().filter(|(kind, _)| kind != "metainfo") {
            let mut fields: Fields<'_> = serde_json::from_str(object.get()).map_err(unreadable)?;
            fields.remove("handle");
            let text = |key: &str| {
                let text = fields.get(key).map(|raw| serde_json::from_str::<String>(raw.get()));
                text.and_then(Result::ok).unwrap_or_default()
            };
            let (family, name, chain) = (text("family"), text("name"), text("chain"));
            if let Some(elements) = fields.remove("elem") {
                let elements: Vec<&RawValue> = serde_json::from_str(elements.get()).map_err(unreadable)?;
                self.0.extend(elements.iter().map(|e| format!("{family} {name} element {e}")));
            }
            // Rules have an order: their number in the chain is part of them.
            let number = (kind == "rule").then(|| *rules.entry(chain).and_modify(|n| *n += 1).or_insert(1));
            let number = number.map(|n| format!(" {n}")).unwrap_or_default();
            let object = serde_json::to_string(&fields).map_err(unreadable)?;
            self.0.insert(format!("{kind}{number} {object}"));
        }
        Ok(())
    }
}

/// An object's members, as nft wrote them.
type Fields<'a> = BTreeMap<String, &'a RawValue>;

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
