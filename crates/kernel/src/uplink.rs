//! What the node must be for pods whose eth0 is a VF, whichever they are.

use crate::Result;
use crate::sysctl::Sysctl;
use offramp_core::ids::IfName;

/// Has the node answer on the pods' bridge for pods that are behind `link`, and tell nobody on `link` of a shorter way.
/// Says how many settings were otherwise.
pub fn prepare(sysctl: &Sysctl, link: &IfName, bridge: &IfName) -> Result<u64> {
    let mut changed = 0;
    let mut set = |key: String, value| sysctl.set(&key, value).map(|was| changed += u64::from(was));
    // Else the kernel lets 0.8 s pass before it answers for somebody else (neigh_parms, net/ipv4/arp.c).
    set(format!("ipv4/neigh/{bridge}/proxy_delay"), "0")?;
    set(format!("ipv6/neigh/{bridge}/proxy_delay"), "0")?;
    // IPv4 heeds proxy entries without being told so.
    set(format!("ipv6/conf/{bridge}/proxy_ndp"), "1")?;
    // One VF pod reaches another by the link that its packets came from: the node would tell it to go there directly.
    set(format!("ipv4/conf/{link}/send_redirects"), "0")?;
    set(format!("ipv4/conf/{link}/forwarding"), "1")?;
    Ok(changed)
}
