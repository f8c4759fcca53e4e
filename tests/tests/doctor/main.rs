//! Every fault that `offrampd doctor` knows is planted on a healthy node, found there with what shows it, and gone with its
//! cause. Those of NICs are in `sriov_doctor`; `netkit` runs in the VM.
#![allow(clippy::unwrap_used, reason = "a test")]

mod broken;
mod bundle;
mod faults;
mod netkit;
mod site;

use offramp_tests::doctor::IN_VM;
use std::collections::BTreeSet;

#[test]
fn every_kind_of_finding_is_planted_by_a_test() {
    let planted =
        faults::ALL.iter().copied().flatten().map(|f| f.ids[0]).chain(IN_VM).chain([broken::ID, netkit::ID]);
    let planted: BTreeSet<&str> = planted.collect();
    let known: BTreeSet<&str> = offramp_core::doctor::kinds().map(|kind| kind.id).collect();
    assert_eq!(planted, known);
}

/// docs/operations.md has a row for each, in the order of the code, with the same severity and meaning.
#[test]
fn every_kind_of_finding_is_documented() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    let text = std::fs::read_to_string(docs.join("operations.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for kind in offramp_core::doctor::kinds() {
        let id = format!("`{}`", kind.id);
        let row = rows.iter().find(|row| row[0] == id).unwrap_or_else(|| panic!("{id} is not in the table"));
        assert_eq!((row[1], row[2]), (kind.severity.to_string().as_str(), kind.means), "{id}");
        assert!(row.len() == 4 && !row[3].is_empty(), "{id} has no cure");
        let page = docs.parent().unwrap().join(kind.docs);
        assert!(page.is_file(), "{} of {id} is not there", kind.docs);
    }
}
