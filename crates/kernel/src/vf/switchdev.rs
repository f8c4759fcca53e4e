//! What is set on a VF in switchdev mode: MAC by the devlink port's function, rates by devlink, link state by its
//! representor's, VLAN by the bridge that the representor is a port of (Documentation/networking/devlink/
//! devlink-port.rst, Documentation/networking/switchdev.rst).

use super::attribute::Setting;
use super::bridge_vlan;
use crate::generic::{self, Attributes, Family};
use crate::link::{self, Link, Parent, numbered};
use crate::message::{Message, word};
use crate::netlink::{Request, Socket};
use crate::steps::representor::take_out;
use crate::switchdev::{PortName, representors};
use crate::{Error, Result};
use offramp_core::ids::{IfName, MacAddr};
use offramp_core::step::PlugRepresentor;
use offramp_core::vf::{LinkState, PfSide, RepresentorState, VfRef, VlanTag};

// include/uapi/linux/devlink.h
const CMD_PORT_GET: u8 = 5;
const CMD_PORT_SET: u8 = 6;
const CMD_RATE_GET: u8 = 74;
const CMD_RATE_SET: u8 = 75;
const ATTR_BUS_NAME: u16 = 1;
const ATTR_DEV_NAME: u16 = 2;
const ATTR_PORT_INDEX: u16 = 3;
const ATTR_PORT_NETDEV_IFINDEX: u16 = 6;
const ATTR_PORT_FUNCTION: u16 = 145;
const ATTR_RATE_TX_SHARE: u16 = 166;
const ATTR_RATE_TX_MAX: u16 = 167;
const PORT_FUNCTION_ATTR_HW_ADDR: u16 = 1;
/// devlink's rates are bytes per second.
const MEGABIT: u64 = 1_000_000 / 8;

/// A VF's representor, and its devlink port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representor {
    /// Its netdev.
    pub name: IfName,
    device: Parent,
    index: u32,
    port: Option<u32>,
}

impl Representor {
    /// The representor of VF number `vf` of this port; none in legacy mode.
    pub fn find(socket: &mut Socket, port: &Link, vf: u16) -> Result<Option<Self>> {
        let Some(device) = port.parent.clone().filter(|_| port.switch_id.is_some()) else { return Ok(None) };
        let links = link::list(socket)?;
        let same_switch: Vec<Link> = links.into_iter().filter(|l| l.switch_id == port.switch_id).collect();
        let Some((_, name)) = representors(&same_switch, &device).find(|(number, _)| *number == vf) else {
            return Ok(None);
        };
        let found = |l: &&Link| {
            l.name == name.as_str() && PortName::parse(l.port_name.as_deref()) == PortName::Vf(vf)
        };
        let Some(index) = same_switch.iter().find(found).map(|l| l.index) else { return Ok(None) };
        let port = devlink_port(index)?;
        Ok(Some(Self { name, device, index, port }))
    }

    /// What its netdev is now.
    pub(crate) fn link(&self, socket: &mut Socket) -> Result<Link> {
        let missing = || Error::Missing { what: format!("representor {}", self.name) };
        link::find_index(socket, self.index)?.ok_or_else(missing)
    }

    /// What of its netdev is put back when the VF is released.
    pub(super) fn state(&self, socket: &mut Socket) -> Result<RepresentorState> {
        let Link { mtu, controller, .. } = self.link(socket)?;
        let controller = controller.map(|index| link::find_index(socket, index)).transpose()?.flatten();
        let controller = controller.and_then(|link| link.name.parse().ok());
        Ok(RepresentorState { name: self.name.clone(), mtu, controller })
    }

    /// Puts it back. One that was a port of something is left where it is: that was none of our doing.
    pub(super) fn restore(&self, socket: &mut Socket, before: &RepresentorState) -> Result<()> {
        let now = self.link(socket)?;
        if before.controller.is_none() && now.controller.is_some() {
            take_out(socket, &now)?;
        }
        if before.mtu != now.mtu {
            socket.batch(vec![link::set_mtu(&now.name, numbered(self.index), before.mtu)])?;
        }
        Ok(())
    }

    /// Whether it is a port of the bridge with this number, up or not and in the VLAN as it should be.
    pub(crate) fn is_plugged(
        &self,
        socket: &mut Socket,
        bridge: u32,
        want: &PlugRepresentor,
    ) -> Result<bool> {
        let now = self.link(socket)?;
        if now.controller != Some(bridge) || now.up != want.up {
            return Ok(false);
        }
        Ok(want.vlan.is_none() || bridge_vlan::of_port(socket, &now)? == want.vlan)
    }

    /// Has the bridge that it is a port of put its frames in this VLAN alone.
    pub(crate) fn set_vlan(&self, socket: &mut Socket, vf: &VfRef, tag: VlanTag) -> Result<()> {
        let now = self.link(socket)?;
        match bridge_vlan::of_port(socket, &now)? == Some(tag) {
            true => Ok(()),
            false => self.set(socket, vf, Setting::Vlan(tag)),
        }
    }

    /// What is set; what this mode does not know is none.
    pub(super) fn read(&self, socket: &mut Socket) -> Result<PfSide> {
        let representor = self.link(socket)?;
        let mut side = PfSide {
            link_state: Some(if representor.up { LinkState::Auto } else { LinkState::Disable }),
            vlan: bridge_vlan::of_port(socket, &representor)?,
            ..PfSide::default()
        };
        let Some((mut family, port)) = self.devlink()? else { return Ok(side) };
        let ask = |command| family.message(command, port.clone());
        let (function, rate) = (ask(CMD_PORT_GET), ask(CMD_RATE_GET));
        let answer = family.socket.get_raw(&format!("read the function of {}", self.name), function)?;
        side.mac = function_mac(&answer);
        // A driver without rates has no such object.
        if let Ok(rates) = family.socket.get_raw(&format!("read the rates of {}", self.name), rate) {
            side.min_tx_rate = megabits(&rates, ATTR_RATE_TX_SHARE);
            side.max_tx_rate = megabits(&rates, ATTR_RATE_TX_MAX);
        }
        Ok(side)
    }

    /// Sets one thing; the error is the driver's refusal, or that this mode has no such setting.
    pub(super) fn set(&self, socket: &mut Socket, vf: &VfRef, setting: Setting) -> Result<()> {
        let what = format!("set VF {} of {} (representor {}) {setting}", vf.index, vf.pf, self.name);
        match setting {
            Setting::Mac(mac) => {
                let octets = mac.map_or([0; 6], |m| m.octets());
                let function = Attributes::default().put(PORT_FUNCTION_ATTR_HW_ADDR, &octets);
                self.command(what, CMD_PORT_SET, |port| port.nest(ATTR_PORT_FUNCTION, function))
            }
            Setting::Rate { min, max } => {
                let bytes = |rate: u32| (u64::from(rate) * MEGABIT).to_ne_bytes();
                let (share, max) = (bytes(min), bytes(max));
                self.command(what, CMD_RATE_SET, |port| {
                    port.put(ATTR_RATE_TX_SHARE, &share).put(ATTR_RATE_TX_MAX, &max)
                })
            }
            Setting::Link(state) => {
                let up = state != LinkState::Disable;
                let Request { message, .. } = link::set_up(self.name.as_str(), numbered(self.index), up);
                socket.batch(vec![Request::new(what, message)])
            }
            Setting::Vlan(tag) => bridge_vlan::set(socket, &what, self.index, tag),
            Setting::Spoofchk(_) | Setting::Trust(_) => Err(Error::Unfit {
                what,
                why: "an embedded switch in switchdev mode has no such setting".into(),
            }),
        }
    }

    fn command(
        &self,
        what: String,
        command: u8,
        with_settings: impl FnOnce(Attributes) -> Attributes,
    ) -> Result<()> {
        let Some((mut family, port)) = self.devlink()? else {
            return Err(Error::Unfit { what, why: "the driver has no devlink port for it".into() });
        };
        let message = family.message(command, with_settings(port));
        family.socket.batch(vec![Request::new(what, message)])
    }

    /// With what names its port.
    fn devlink(&self) -> Result<Option<(Family, Attributes)>> {
        let Some(port) = self.port else { return Ok(None) };
        let name = Attributes::default()
            .text(ATTR_BUS_NAME, &self.device.bus)
            .text(ATTR_DEV_NAME, &self.device.device)
            .number(ATTR_PORT_INDEX, port);
        Ok(Family::open("devlink")?.map(|family| (family, name)))
    }
}

/// The number of the devlink port that has this netdev.
fn devlink_port(netdev: u32) -> Result<Option<u32>> {
    let Some(mut family) = Family::open("devlink")? else { return Ok(None) };
    let ask = family.message(CMD_PORT_GET, Attributes::default());
    let ports = family.socket.dump_raw("list devlink ports", ask)?;
    let number = |port: &Message, kind| generic::attribute(port, kind).and_then(|v| word(&v, 0));
    let found = ports.iter().find(|port| number(port, ATTR_PORT_NETDEV_IFINDEX) == Some(netdev));
    Ok(found.and_then(|port| number(port, ATTR_PORT_INDEX)))
}

fn function_mac(port: &Message) -> Option<MacAddr> {
    let function = generic::attribute(port, ATTR_PORT_FUNCTION)?;
    let mac = link::attributes(&function).find(|nla| nla.kind() == PORT_FUNCTION_ATTR_HW_ADDR)?;
    <[u8; 6]>::try_from(mac.value()).ok()?.try_into().ok()
}

fn megabits(rate: &Message, kind: u16) -> Option<u32> {
    let bytes = u64::from_ne_bytes(generic::attribute(rate, kind)?.try_into().ok()?);
    u32::try_from(bytes / MEGABIT).ok()
}
