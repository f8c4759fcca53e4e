//! What the embedded switches should know and do not, without changing anything.

use super::{Eswitch, pods};
use offramp_core::doctor::Filter;
use offramp_core::eswitch::desired;
use offramp_core::ids::IfName;
use offramp_core::record::Record;
use offramp_kernel::{Result, fdb, link};
use std::collections::BTreeSet;

impl Eswitch {
    /// Of each PF behind one of these bridges; `ours` is the pods' bridge.
    pub fn missing(
        &mut self,
        bridges: &BTreeSet<IfName>,
        ours: &IfName,
        records: &[Record],
    ) -> Result<Vec<Filter>> {
        let links = link::list(&mut self.socket)?;
        let bridges = self.bridges(bridges, &links)?;
        let mut all = Vec::new();
        for (port, wanted) in desired(&bridges, &pods(records, ours)) {
            let Some(link) = links.iter().find(|l| l.name == port.as_str()) else { continue };
            let present = fdb::filter(&mut self.socket, &link.name, link.index)?;
            let missing = wanted.iter().filter(|w| !present.contains(&w.mac)).map(ToString::to_string);
            all.push(Filter { port: port.to_string(), wanted: wanted.len(), missing: missing.collect() });
        }
        Ok(all)
    }
}
