//! How large packets get inside the host: before they are cut up (GSO), and after they are joined (GRO).

use super::links::Link;
use super::{Decision, Facts, Scope, Topic};
use crate::offload::Sizes;
use crate::overlay::big_tcp::{Allowed, USUAL};

/// Of the device that packets of a path leave by; none if it was not looked at.
pub(super) fn of(facts: &Facts, scope: Scope) -> Option<Decision> {
    let link = if scope == Scope::Vxlan { facts.tunnel() } else { facts.below().first().copied() }?;
    let Link { name, device: crate::offload::Device { sizes, .. } } = link;
    let (gso, gro) = (
        both(sizes.gso_max_size, sizes.gso_ipv4_max_size)?,
        both(sizes.gro_max_size, sizes.gro_ipv4_max_size),
    );
    let gro = gro.map(|gro| format!(", GRO {gro}")).unwrap_or_default();
    Some(scope.decision(
        Topic::Sizes,
        format!("GSO {gso}{gro}"),
        match &facts.big_tcp {
            Some(allowed) => chosen(allowed),
            None => why(name.as_str(), sizes),
        },
    ))
}

/// Where it is not left alone.
fn chosen(allowed: &Allowed) -> String {
    match (&allowed.v4, &allowed.v6) {
        (Ok(_), Ok(_)) => "BIG TCP: this kernel carries them, and all devices of the path take them".into(),
        (Err(v4), Err(v6)) if v4 == v6 => format!("no BIG TCP: {v4}"),
        (Err(v4), Err(v6)) => format!("no BIG TCP: IPv4: {v4}; IPv6: {v6}"),
        (Ok(_), Err(v6)) => format!("BIG TCP over IPv4; not over IPv6: {v6}"),
        (Err(v4), Ok(_)) => format!("BIG TCP over IPv6; not over IPv4: {v4}"),
    }
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
    let hint = |most| format!("; {name} can have {most} (BIG TCP): try offloads.bigTcp: auto");
    let can = most.map(hint).unwrap_or_default();
    if any(|size| size > USUAL) {
        format!("somebody set them on {name}: BIG TCP")
    } else if any(|size| size < USUAL) {
        format!("somebody set them on {name}, or its driver cannot have more")
    } else {
        format!("the kernel's for {name}, left alone{can}")
    }
}
