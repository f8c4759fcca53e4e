//! The ways to the other nodes: where this node is on the underlay ([`Scout`]), and what the kernel has for its peers
//! ([`Ways`]), kept by a thread of its own.

mod desk;
mod report;
mod scout;
mod targets;
mod ways;

pub use desk::{Desk, Order};
pub use report::{Known, Seen};
pub use scout::Scout;
pub use targets::{Links, Target};
pub use ways::Ways;

use crate::config::{self, OverlayMode};
use offramp_core::ids::Vni;
use offramp_core::overlay::{Mode, Settings};
use offramp_kernel::overlay::Choice;
use offramp_kernel::{Error, Result};

/// As configured.
pub fn settings(config: &config::Overlay) -> Result<Settings> {
    let config::Overlay { mode, vni, port, device, underlay } = config;
    // Its range was checked with the configuration.
    let vni = Vni::try_from(u64::from(*vni))
        .map_err(|e| Error::Unfit { what: "overlay.vni".into(), why: e.to_string() })?;
    let mode = match mode {
        OverlayMode::Auto => Mode::Auto,
        OverlayMode::Vxlan => Mode::Vxlan,
        OverlayMode::Direct => Mode::Direct,
        OverlayMode::None => Mode::None,
    };
    Ok(Settings { mode, device: device.clone(), vni, port: *port, family: *underlay })
}

pub fn choice(config: &config::Node) -> Choice {
    Choice { uplink: config.uplink.clone(), addresses: config.addresses.clone() }
}
