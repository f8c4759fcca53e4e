//! What can be turned off where something does not arrive: the least first. On the tunnel's device a feature concerns
//! the packets inside of the tunnel and nothing else; on the uplink it concerns all of the node's traffic.

use super::{Stage, Way};
use crate::ids::IfName;
use serde::{Deserialize, Serialize};

/// How far the daemon may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cure {
    /// It changes nothing.
    None,
    /// Features of the tunnel's device.
    Tunnel,
    /// Those of the uplink too, if nothing else helps.
    Any,
}

/// A feature of a device, named as ethtool names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// `tx-checksum-ip-generic`
    pub name: String,
    /// Whether it is on now, and can be turned off.
    pub can_go: bool,
}

/// Features that are turned off together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Of which device.
    pub device: IfName,
    /// By name.
    pub features: Vec<String>,
}

const CHECKSUM: &[&str] = &["tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"];
const UDP_SEGMENTS: &[&str] = &["tx-udp-segmentation"];
const TCP_SEGMENTS: &[&str] = &[
    "tx-tcp-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-tcp6-segmentation",
];
const TUNNEL_SEGMENTS: &[&str] = &["tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"];

/// What to try in turn. `features` are those of the tunnel's device, if packets go through it, and of the uplink.
pub fn ladder(
    stage: Stage,
    way: Way,
    cure: Cure,
    tunnel: Option<(&IfName, &[Feature])>,
    uplink: Option<(&IfName, &[Feature])>,
) -> Vec<Rung> {
    let direct = match stage {
        Stage::Checksum => CHECKSUM,
        Stage::Segments => UDP_SEGMENTS,
        Stage::Tcp => TCP_SEGMENTS,
    };
    let inside = tunnel.filter(|_| way == Way::Vxlan && cure >= Cure::Tunnel);
    let uplink = uplink.filter(|_| cure >= Cure::Any);
    // How the uplink cuts what is in a tunnel is less than what it does for all.
    let cut = uplink.filter(|_| way == Way::Vxlan && stage != Stage::Checksum);
    let rungs = [(inside, direct), (cut, TUNNEL_SEGMENTS), (uplink, direct)];
    rungs.into_iter().filter_map(|(device, names)| rung(device?, names)).collect()
}

fn rung((device, has): (&IfName, &[Feature]), names: &[&str]) -> Option<Rung> {
    let can_go = |name: &&&str| has.iter().any(|f| f.name == ***name && f.can_go);
    let features: Vec<String> = names.iter().filter(can_go).map(|name| (*name).to_owned()).collect();
    (!features.is_empty()).then(|| Rung { device: device.clone(), features })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(names: &[&str]) -> Vec<Feature> {
        names.iter().map(|name| Feature { name: (*name).to_owned(), can_go: true }).collect()
    }

    fn climb(stage: Stage, way: Way, cure: Cure) -> Vec<String> {
        let tunnel = features(&["tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation"]);
        let mut uplink = features(&["tx-checksum-ipv4", "tx-udp_tnl-segmentation", "tx-tcp-segmentation"]);
        uplink.push(Feature { name: "tx-checksum-ipv6".into(), can_go: false });
        let (t, u) = ("vx".parse().unwrap(), "eth0".parse().unwrap());
        let rungs = ladder(stage, way, cure, Some((&t, &tunnel)), Some((&u, &uplink)));
        rungs.iter().map(|r| format!("{}: {}", r.device, r.features.join(" "))).collect()
    }

    #[test]
    fn the_least_comes_first_and_the_uplink_last() {
        use {Stage::*, Way::*};
        assert_eq!(climb(Checksum, Vxlan, Cure::Tunnel), ["vx: tx-checksum-ip-generic"]);
        assert_eq!(
            climb(Checksum, Vxlan, Cure::Any),
            ["vx: tx-checksum-ip-generic", "eth0: tx-checksum-ipv4"]
        );
        assert_eq!(
            climb(Tcp, Vxlan, Cure::Any),
            [
                "vx: tx-tcp-segmentation tx-tcp6-segmentation",
                "eth0: tx-udp_tnl-segmentation",
                "eth0: tx-tcp-segmentation"
            ]
        );
        assert_eq!(climb(Tcp, Direct, Cure::Any), ["eth0: tx-tcp-segmentation"]);
    }

    #[test]
    fn what_may_not_or_cannot_be_changed_is_no_rung() {
        for stage in Stage::ALL {
            assert_eq!(climb(stage, Way::Vxlan, Cure::None), [""; 0]);
            assert_eq!(climb(stage, Way::Direct, Cure::Tunnel), [""; 0], "the uplink is not the tunnel");
        }
        assert_eq!(climb(Stage::Segments, Way::Direct, Cure::Any), [""; 0], "it has no such feature");
    }
}
