//! The host end as a link that the node routes by.

use crate::executor::Executor;
use crate::link::{self, named};
use crate::{Error, Result, nft};
use offramp_core::pair::ROUTED_GROUP;
use offramp_core::step::AttachRouted;

/// Up only where the node checks what comes from there: a bridge's port can be kept to its MAC, and the pods' subnet, but
/// from a link that is routed the node would take any source address. Nobody but the daemon sees to the check: it is one
/// rule for all pods.
pub(crate) fn attach(executor: &mut Executor, want: &AttachRouted) -> Result<()> {
    let name = want.link.as_str();
    if !nft::sources_are_checked()? {
        return Err(Error::Unguarded { link: name.to_owned() });
    }
    let sysctl = &executor.sysctl;
    // Not by the defaults of whoever configures the node's other links.
    sysctl.write(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
    sysctl.write(&format!("ipv4/conf/{name}/forwarding"), "1")?;
    let named = || named(&want.link);
    executor.host.batch(vec![
        // It was made so; somebody may have changed it.
        link::set_group(name, named(), ROUTED_GROUP),
        link::no_autoconf_v6(name, named()),
        link::set_up(name, named(), true),
    ])
}
