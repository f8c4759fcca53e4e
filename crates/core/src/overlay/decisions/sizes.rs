//! How large packets get inside the host: before they are cut up (GSO), and after they are joined (GRO).

use super::links::Link;
use super::{Decision, Facts, Scope, Topic};
use crate::offload::Sizes;

/// Where nothing was done for larger ones (`GSO_LEGACY_MAX_SIZE`, include/linux/netdevice.h).
const USUAL: u32 = 65_536;

/// Of the device that packets of a path leave by; none if it was not looked at.
pub(super) fn of(facts: &Facts, scope: Scope) -> Option<Decision> {
    let link = if scope == Scope::Vxlan { facts.tunnel() } else { facts.below().first().copied() }?;
    let Link { name, device: crate::offload::Device { sizes, .. } } = link;
    let (gso, gro) = (
        both(sizes.gso_max_size, sizes.gso_ipv4_max_size)?,
        both(sizes.gro_max_size, sizes.gro_ipv4_max_size),
    );
    let gro = gro.map(|gro| format!(", GRO {gro}")).unwrap_or_default();
    Some(scope.decision(Topic::Sizes, format!("GSO {gso}{gro}"), why(name.as_str(), sizes)))
}

/// IPv6's and IPv4's.
fn both(v6: Option<u32>, v4: Option<u32>) -> Option<String> {
    let v6 = v6?;
    let v4 = v4.unwrap_or(v6);
    Some(if v4 == v6 { v4.to_string() } else { format!("{v4} over IPv4, {v6} over IPv6") })
}

fn why(name: &str, sizes: &Sizes) -> String {
    let all = [sizes.gso_max_size, sizes.gso_ipv4_max_size, sizes.gro_max_size, sizes.gro_ipv4_max_size];
    let any = |test: fn(u32) -> bool| all.iter().flatten().any(|size| test(*size));
    let most = sizes.tso_max_size.filter(|most| *most > USUAL);
    let can = most.map(|most| format!("; {name} can have {most} (BIG TCP)")).unwrap_or_default();
    if any(|size| size > USUAL) {
        format!("somebody set them on {name}: BIG TCP")
    } else if any(|size| size < USUAL) {
        format!("somebody set them on {name}, or its driver cannot have more")
    } else {
        format!("the kernel's for {name}, left alone{can}")
    }
}
