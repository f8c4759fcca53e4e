//! How many VFs a port is to have and how its embedded switch is to be run, and whether that can be brought about.

use super::select::any;
use crate::ids::IfName;
use crate::lend::Taken;
use crate::nic::{Eswitch, PciAddr, Port, PortKey, Vf, VfNetdev};
use crate::vf::VfRef;
use std::fmt;

/// What the configuration wants of some ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicRule {
    /// Of these.
    pub ports: PortSelector,
    /// So many VFs; none: as many as there are.
    pub num_vfs: Option<u16>,
    /// The embedded switch's mode; none: as it is.
    pub eswitch: Option<Eswitch>,
    /// The daemon may bring it about; otherwise it only says what differs.
    pub manage: bool,
}

/// Which ports are meant; as [`super::Selector`], at least one criterion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortSelector {
    /// Their netdevs.
    pub pf_names: Vec<IfName>,
    /// Their PCI addresses.
    pub pci_addresses: Vec<PciAddr>,
    /// Their drivers.
    pub drivers: Vec<String>,
}

impl PortSelector {
    /// Whether a port is meant.
    pub fn selects(&self, port: &Port) -> bool {
        let Self { pf_names, pci_addresses, drivers } = self;
        any(pf_names, |n| *n == port.netdev)
            && any(pci_addresses, |pci| pci.to_string() == port.key.device)
            && any(drivers, |d| *d == port.driver)
    }
}

/// The rule of a port: the first that selects it.
pub fn rule_of<'a>(rules: &'a [NicRule], port: &Port) -> Option<&'a NicRule> {
    rules.iter().find(|rule| rule.ports.selects(port))
}

/// What is to be changed at a port. The order: no VFs, then the switch's mode, then the VFs (a change of their number
/// passes through 0 (drivers/pci/pci-sysfs.c, `sriov_numvfs_store`), and a change of mode removes them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicChange {
    /// The port.
    pub port: PortKey,
    /// It has VFs that must go first.
    pub through_zero: bool,
    /// The switch's new mode.
    pub eswitch: Option<Eswitch>,
    /// The VFs it has in the end.
    pub num_vfs: u16,
}

/// Why a port is not what the configuration wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicProblem {
    /// The port's netdev.
    pub pf: IfName,
    /// What is wanted, such as `7 VFs`.
    pub wanted: String,
    /// Why it is not brought about.
    pub why: NicObstacle,
}

/// See [`NicProblem`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicObstacle {
    /// The configuration does not have it managed.
    NotManaged,
    /// It can have so many VFs only.
    AtMost(u16),
    /// The change would remove these.
    InUse(Vec<InUse>),
}

/// A VF that cannot be removed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The VF.
    pub vf: VfRef,
    /// Why, as it goes on after the VF's name: `is lent to default/web@net1`.
    pub by: String,
}

impl fmt::Display for NicProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pf, wanted, why } = self;
        write!(f, "{pf} should have {wanted}, but ")?;
        match why {
            NicObstacle::NotManaged => f.write_str("nics[].manage does not let the daemon change it"),
            NicObstacle::AtMost(total) => write!(f, "it can have {total} VFs at most"),
            NicObstacle::InUse(vfs) => {
                f.write_str("the change would remove VFs that are in use: ")?;
                for (i, InUse { vf, by }) in vfs.iter().enumerate() {
                    write!(f, "{}{vf} {by}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// What is to be done at a port of a rule; none: it is as it should be. `others` are VFs of it that cannot be removed
/// for reasons that neither claims nor the inventory tell.
pub fn nic_change(
    rule: &NicRule,
    port: &Port,
    taken: &Taken,
    others: &[InUse],
) -> Result<Option<NicChange>, NicProblem> {
    let eswitch = rule.eswitch.filter(|mode| *mode != port.eswitch);
    let num_vfs = rule.num_vfs.unwrap_or(port.num_vfs);
    if eswitch.is_none() && num_vfs == port.num_vfs {
        return Ok(None);
    }
    let problem = |why| {
        let mode = eswitch.map(|mode| format!(" in {mode} mode")).unwrap_or_default();
        let wanted = format!("{num_vfs} VFs (it has {}){mode}", port.num_vfs);
        Err(NicProblem { pf: port.netdev.clone(), wanted, why })
    };
    // 0: not told, or no SR-IOV at all, which to try tells.
    if port.total_vfs > 0 && num_vfs > port.total_vfs {
        return problem(NicObstacle::AtMost(port.total_vfs));
    }
    if !rule.manage {
        return problem(NicObstacle::NotManaged);
    }
    let in_use: Vec<InUse> = in_use(port, taken).chain(others.iter().cloned()).collect();
    if !in_use.is_empty() {
        return problem(NicObstacle::InUse(in_use));
    }
    Ok(Some(NicChange { port: port.key.clone(), through_zero: port.num_vfs > 0, eswitch, num_vfs }))
}

fn in_use<'a>(port: &'a Port, taken: &'a Taken) -> impl Iterator<Item = InUse> + 'a {
    let by = |vf: &Vf| match (taken.get(vf.pci), &vf.netdev) {
        (Some(holding), _) => Some(holding.to_string()),
        (None, VfNetdev::Elsewhere { .. }) => Some("has its netdev in another namespace".to_owned()),
        (None, VfNetdev::None | VfNetdev::Host { .. }) => None,
    };
    port.vfs.iter().filter_map(move |vf| Some(InUse { vf: port.vf_ref(vf), by: by(vf)? }))
}
