//! The host end as a port of the bridge.

use crate::executor::Executor;
use crate::link::{self, named};
use crate::message;
use crate::netlink::Request;
use crate::{Error, Result};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoBridgePort, InfoPortData, InfoPortKind,
    LinkAttribute, LinkInfo, LinkMessage,
};
use nix::errno::Errno;
use offramp_core::spec::PortSpec;
use offramp_core::step::AttachPort;

/// Everything is set before the link comes up, so that no frame passes a half configured port.
pub(crate) fn attach(executor: &mut Executor, want: &AttachPort) -> Result<()> {
    let bridge = executor.bridge(&want.bridge)?;
    let name = want.link.as_str();
    let mut enslave = named(&want.link);
    enslave.attributes.push(LinkAttribute::Controller(bridge));
    let mut requests = vec![
        link::no_autoconf_v6(name, named(&want.link)),
        link::set(format!("make {name} a port of bridge {}", want.bridge), enslave),
    ];
    requests.extend(port_settings(want));
    if !want.port.trunk.is_empty() || want.port.vlan.is_some() {
        let index = link::require(&mut executor.host, &want.link)?.index;
        executor.host.batch(requests).map_err(|e| full(want, e))?;
        requests = vlans(name, index, &want.port);
    }
    requests.push(link::set_up(name, named(&want.link), true));
    executor.host.batch(requests).map_err(|e| full(want, e))
}

/// `br_add_if` (net/bridge/br_if.c) answers EXFULL when all port numbers are used.
fn full(want: &AttachPort, error: Error) -> Error {
    match error.errno() {
        Some(errno) if errno == Errno::EXFULL as i32 => Error::BridgeFull { bridge: want.bridge.to_string() },
        _ => error,
    }
}

fn port_settings(want: &AttachPort) -> Option<Request> {
    let data: Vec<InfoBridgePort> = [
        want.port.hairpin.then_some(InfoBridgePort::HairpinMode(true)),
        want.port.isolated.then_some(InfoBridgePort::Isolated(true)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if data.is_empty() {
        return None;
    }
    let infos =
        vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(InfoPortData::BridgePort(data))];
    Some(link::set_info(format!("set bridge port {}", want.link), named(&want.link), infos))
}

/// VLAN 1 is the default that every port starts in.
const DEFAULT_VLAN: u16 = 1;

fn vlans(name: &str, index: u32, port: &PortSpec) -> Vec<Request> {
    let mut requests = Vec::new();
    if !port.keep_default_vlan && port.vlan.is_none_or(|v| v.get() != DEFAULT_VLAN) {
        let message = vlan_message(
            index,
            vec![AfSpecBridge::VlanInfo(vlan(BridgeVlanInfoFlags::empty(), DEFAULT_VLAN))],
        );
        requests.push(Request::new(
            format!("remove VLAN {DEFAULT_VLAN} from {name}"),
            message::del_link(message),
        ));
    }
    if let Some(id) = port.vlan {
        let info = vlan(BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged, id.get());
        requests.push(link::set(
            format!("add VLAN {id} to {name}"),
            vlan_message(index, vec![AfSpecBridge::VlanInfo(info)]),
        ));
    }
    for trunk in &port.trunk {
        let (min, max) = (trunk.min.get(), trunk.max.get());
        let infos = if min == max {
            vec![AfSpecBridge::VlanInfo(vlan(BridgeVlanInfoFlags::empty(), min))]
        } else {
            vec![
                AfSpecBridge::VlanInfo(vlan(BridgeVlanInfoFlags::RangeBegin, min)),
                AfSpecBridge::VlanInfo(vlan(BridgeVlanInfoFlags::RangeEnd, max)),
            ]
        };
        requests.push(link::set(format!("add VLANs {min}-{max} to {name}"), vlan_message(index, infos)));
    }
    requests
}

fn vlan(flags: BridgeVlanInfoFlags, vid: u16) -> BridgeVlanInfo {
    BridgeVlanInfo { flags, vid }
}

fn vlan_message(index: u32, infos: Vec<AfSpecBridge>) -> LinkMessage {
    let mut message = link::numbered(index);
    message.header.interface_family = AddressFamily::Bridge;
    message.attributes.push(LinkAttribute::AfSpecBridge(infos));
    message
}
