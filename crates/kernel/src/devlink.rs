//! The mode of embedded switches (Documentation/networking/devlink/devlink-eswitch-attr.rst).

use crate::generic::{Attributes, Family, attribute};
use crate::link::{Parent, text};
use crate::message::half;
use crate::netlink::Request;
use crate::stubborn::Written;
use crate::{Error, Result};
use offramp_core::nic::Eswitch;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::time::Duration;

// include/uapi/linux/devlink.h
const CMD_GET: u8 = 1;
const CMD_ESWITCH_GET: u8 = 29;
const CMD_ESWITCH_SET: u8 = 30;
const ATTR_BUS_NAME: u16 = 1;
const ATTR_DEV_NAME: u16 = 2;
const ATTR_ESWITCH_MODE: u16 = 25;

/// The modes of all devices of this network namespace whose drivers tell one.
pub fn eswitch_modes() -> Result<BTreeMap<Parent, Eswitch>> {
    let mut modes = BTreeMap::new();
    let Some(mut family) = Family::open("devlink")? else { return Ok(modes) };
    let ask = family.message(CMD_GET, Attributes::default());
    for device in family.socket.dump_raw("list devlink devices", ask)? {
        let field = |kind| attribute(&device, kind).map(|value| text(&value)).unwrap_or_default();
        let device = Parent { bus: field(ATTR_BUS_NAME), device: field(ATTR_DEV_NAME) };
        if let Some(mode) = mode_of(&mut family, &device)? {
            modes.insert(device, mode);
        }
    }
    Ok(modes)
}

/// The mode of one device; none where the driver tells none.
pub fn eswitch(device: &Parent) -> Result<Option<Eswitch>> {
    match Family::open("devlink")? {
        Some(mut family) => mode_of(&mut family, device),
        None => Ok(None),
    }
}

fn mode_of(family: &mut Family, device: &Parent) -> Result<Option<Eswitch>> {
    let what = format!("read the embedded switch's mode of {}", device.device);
    let ask = message(family, CMD_ESWITCH_GET, device, None);
    match family.socket.get_raw(&what, ask) {
        Ok(answer) => {
            let mode = attribute(&answer, ATTR_ESWITCH_MODE).and_then(|value| half(&value, 0));
            Ok(mode.map(|mode| {
                if mode == number(Eswitch::Switchdev) { Eswitch::Switchdev } else { Eswitch::Legacy }
            }))
        }
        // Gone meanwhile, or not a driver that has one.
        Err(e) if matches!(e.errno(), Some(nix::libc::EOPNOTSUPP | nix::libc::ENODEV)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Sets the mode. Drivers remove all VFs meanwhile, so none may be lent; who calls has set their number to 0 before
/// ([`crate::sysfs::set_num_vfs`]). A driver that loads itself anew for it may take its time, or hang: it is done by a
/// child, which is left alone if it does not come back within `patience`; `keep` stays open in it. The error has the
/// driver's words.
pub fn set_eswitch(
    device: &Parent,
    mode: Eswitch,
    patience: Duration,
    keep: &[BorrowedFd<'_>],
) -> Result<Written> {
    let what = format!("set the embedded switch of {} to {mode}", device.device);
    let Some(family) = Family::open("devlink")? else {
        return Err(Error::Unfit { what, why: "this kernel has no devlink".into() });
    };
    let message = message(&family, CMD_ESWITCH_SET, device, Some(mode));
    family.socket.stubborn(Request::new(what, message), patience, keep)
}

fn message(family: &Family, command: u8, device: &Parent, mode: Option<Eswitch>) -> crate::message::Message {
    let attributes =
        Attributes::default().text(ATTR_BUS_NAME, &device.bus).text(ATTR_DEV_NAME, &device.device);
    let attributes = match mode {
        Some(mode) => attributes.put(ATTR_ESWITCH_MODE, &number(mode).to_ne_bytes()),
        None => attributes,
    };
    family.message(command, attributes)
}

/// `DEVLINK_ESWITCH_MODE_*`
fn number(mode: Eswitch) -> u16 {
    match mode {
        Eswitch::Legacy => 0,
        Eswitch::Switchdev => 1,
    }
}
