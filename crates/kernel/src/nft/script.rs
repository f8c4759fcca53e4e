//! nft's own text, from typed values. Nothing in it is anybody's string but interface names, which are checked.

use super::NftError;
use super::element::{Element, Table};
use offramp_core::firewall::{NodeRules, Rules};
use offramp_core::net::{Family, aggregate};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The name of both tables.
pub const TABLE: &str = "offramp";

/// What adds the rules of one attachment where the tables may be missing or of another version: sets and maps
/// are kept, the chains' rules are made anew. One transaction: all or nothing.
///
/// # Errors
/// [`NftError::Name`]
pub fn add(rules: &Rules) -> Result<String, NftError> {
    let elements = Element::all(rules)?;
    Ok(tables(&elements).map(base).collect::<String>() + &add_elements(&elements))
}

/// The same where the tables are there: 3 ms, where making the rules anew takes 19, since the kernel makes who
/// deletes a rule wait until no CPU uses it. Fails with ENOENT if a table is missing or of another version.
pub(super) fn add_quick(elements: &[Element]) -> String {
    let markers = tables(elements).map(|t| format!("add element {t} {} {{ 0 }}\n", marker(t)));
    markers.collect::<String>() + &add_elements(elements)
}

/// What takes the rules of one attachment away, whether they are there or not: adding first makes a missing
/// element no fault, and one that has another target, somebody else's, a fault (EEXIST) that keeps it.
///
/// # Errors
/// [`NftError::Name`]
pub fn remove(rules: &Rules) -> Result<String, NftError> {
    Ok(remove_elements(&Element::all(rules)?))
}

pub(super) fn remove_elements(elements: &[Element]) -> String {
    elements.iter().flat_map(|e| [e.add(), e.delete()]).fold(String::new(), |text, line| text + &line + "\n")
}

fn add_elements(elements: &[Element]) -> String {
    elements.iter().map(Element::add).fold(String::new(), |text, line| text + &line + "\n")
}

/// What makes our tables hold exactly this, whatever is there now. Where two attachments claim one port the
/// first in `all` has it: one fault must not keep all others from being repaired.
///
/// # Errors
/// [`NftError::Name`]
pub fn replace(node: &NodeRules, all: &[&Rules]) -> Result<String, NftError> {
    Ok(replace_table(Table::Nat, node, all)? + &replace_table(Table::Spoof, node, all)?)
}

/// [`replace`] for one table; the bridge table is only removed if nothing needs it.
pub(super) fn replace_table(table: Table, node: &NodeRules, all: &[&Rules]) -> Result<String, NftError> {
    let mut sets: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for rules in all {
        for e in Element::all(rules)?.into_iter().filter(|e| e.table == table) {
            let body = e.body();
            sets.entry(e.set).or_default().entry(e.key).or_insert(body);
        }
    }
    let mut text = drop(table);
    if table == Table::Spoof && sets.is_empty() {
        return Ok(text);
    }
    text += &declaration(table);
    let mut grouped = |set: &str, bodies: &mut dyn Iterator<Item = String>| {
        let list = bodies.collect::<Vec<_>>().join(",\n\t");
        if !list.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, "add element {table} {set} {{\n\t{list}\n}}\n");
        }
    };
    if table == Table::Nat {
        for (set, networks) in node_sets(node) {
            grouped(&set, &mut networks.into_iter());
        }
        let links: Vec<String> =
            node.pod_links.iter().map(super::element::quoted).collect::<Result<_, _>>()?;
        grouped("pod_links", &mut links.into_iter());
    }
    for (set, elements) in sets {
        grouped(&set, &mut elements.into_values());
    }
    Ok(text)
}

/// What removes a table, whether it is there or not.
pub(super) fn drop(table: Table) -> String {
    format!("add table {table}\ndelete table {table}\n")
}

/// The node's own sets: of networks that overlap, which the kernel refuses, and of the thousands of a large cluster, the
/// fewest that hold the same addresses.
fn node_sets(node: &NodeRules) -> impl Iterator<Item = (String, Vec<String>)> {
    let NodeRules { pod_subnets, no_masquerade, .. } = node;
    [("pod_subnets", pod_subnets), ("no_masquerade", no_masquerade)].into_iter().flat_map(|(set, nets)| {
        let fewest = aggregate(nets.iter().copied());
        Family::ALL.map(|family| {
            let of_family = fewest.iter().filter(|n| Family::of(n.ip()) == family);
            (super::element::per_family(set, family), of_family.map(ToString::to_string).collect())
        })
    })
}

fn tables(elements: &[Element]) -> impl Iterator<Item = Table> + '_ {
    [Table::Nat, Table::Spoof].into_iter().filter(|t| elements.iter().any(|e| e.table == *t))
}

/// `flush table` empties the chains and leaves the sets' elements.
fn base(table: Table) -> String {
    format!("add table {table}\nflush table {table}\n{}", declaration(table))
}

fn template(table: Table) -> &'static str {
    match table {
        Table::Nat => include_str!("nat.nft"),
        Table::Spoof => include_str!("spoof.nft"),
    }
}

fn declaration(table: Table) -> String {
    template(table).replace("@RULES@", &marker(table))
}

/// A set whose name changes with the rules: an older plugin's rules are not taken for this one's. (A set whose
/// type changes needs another name as well: nft cannot change a set.)
fn marker(table: Table) -> String {
    // FNV-1a
    let hash =
        template(table).bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    format!("rules_{hash:08x}")
}

#[cfg(test)]
#[path = "script_tests.rs"]
mod tests;
