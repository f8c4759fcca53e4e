//! The section `offloads`: as written, and as meant.

use super::yaml::{Checker, Text, boolean, number, one_of};
use offramp_core::probe::Cure;
use serde::Deserialize;

/// Beside that of health and metrics.
const DEFAULT_PORT: u16 = 9811;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct RawOffloads {
    probe: Option<Text>,
    cure: Option<Text>,
    port: Option<Text>,
    tunnel_port: Option<Text>,
    big_tcp: Option<Text>,
}

/// What is done about what NICs promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offloads {
    /// Whether it is tested, and peers' questions are answered.
    pub probe: bool,
    /// What may be turned off if it is broken.
    pub cure: Cure,
    /// Where peers answer questions, UDP and TCP; the same on all nodes.
    pub port: u16,
    /// Whether NICs are told of the tunnel's port where that is turned off.
    pub tunnel_port: bool,
    /// Whether packets get larger than 64 KiB inside the host, where all can.
    pub big_tcp: bool,
}

pub(super) fn offloads(check: &mut Checker, raw: &RawOffloads) -> Offloads {
    let RawOffloads { probe, cure, port, tunnel_port, big_tcp } = raw;
    let cures = [("none", Cure::None), ("tunnel", Cure::Tunnel), ("any", Cure::Any)];
    let ports = [("auto", true), ("leave", false)];
    let sizes = [("auto", true), ("off", false)];
    let port = check.opt("offloads.port", port.as_ref(), number(1, 65535));
    Offloads {
        probe: check.opt("offloads.probe", probe.as_ref(), boolean).unwrap_or(true),
        cure: check.opt("offloads.cure", cure.as_ref(), one_of(&cures)).unwrap_or(Cure::Tunnel),
        port: port.and_then(|n| u16::try_from(n).ok()).unwrap_or(DEFAULT_PORT),
        tunnel_port: check.opt("offloads.tunnelPort", tunnel_port.as_ref(), one_of(&ports)).unwrap_or(true),
        big_tcp: check.opt("offloads.bigTcp", big_tcp.as_ref(), one_of(&sizes)).unwrap_or(false),
    }
}
