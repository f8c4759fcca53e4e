//! Devices' features, as far as probes need them.

use offramp_core::ids::IfName;
use offramp_core::probe::{Feature, Rung};
use offramp_kernel::ethtool::Ethtool;
use offramp_kernel::netlink::Socket;
use offramp_kernel::{Result, link};

/// A device's features, and which of them are on and can be turned off; none if it tells of none.
pub fn read(device: &IfName) -> Result<Vec<Feature>> {
    let features = Ethtool::require(format!("read the features of {device}"))?.features(device)?;
    let all = features.unwrap_or_default().0.into_iter();
    Ok(all.map(|(name, feature)| Feature { name, can_go: feature.on && !feature.fixed }).collect())
}

/// Turns a rung's features on or off.
pub fn turn(rung: &Rung, on: bool) -> Result<()> {
    let mut ethtool = Ethtool::require(format!("turn features of {} on or off", rung.device))?;
    let turn = |feature: &String| ethtool.set_feature(&rung.device, feature, on).map(drop);
    // Where one is refused the others are tried all the same: each that is on again is one less to worry about.
    let outcomes: Vec<Result<()>> = rung.features.iter().map(turn).collect();
    outcomes.into_iter().collect()
}

/// A device's number; none: it is gone.
pub fn number(device: &IfName) -> Result<Option<u32>> {
    Ok(link::find(&mut Socket::open()?, device)?.map(|link| link.index))
}
