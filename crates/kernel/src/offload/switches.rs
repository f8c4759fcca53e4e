//! Embedded switches, by devlink.

use crate::Result;
use crate::ethtool::unless_unsupported;
use crate::generic::{Attributes, Family, attribute};
use crate::link::text;
use crate::message::{Message, half};
use nix::errno::Errno;
use offramp_core::offload::Switch;
use std::collections::BTreeMap;

// include/uapi/linux/devlink.h
const CMD_GET: u8 = 1;
const CMD_PORT_GET: u8 = 5;
const CMD_ESWITCH_GET: u8 = 29;
const CMD_RATE_GET: u8 = 74;
const A_BUS_NAME: u16 = 1;
const A_DEV_NAME: u16 = 2;
const A_ESWITCH_MODE: u16 = 25;
const A_ESWITCH_INLINE_MODE: u16 = 26;
const A_ESWITCH_ENCAP_MODE: u16 = 62;
const A_PORT_FLAVOUR: u16 = 77;
const A_RATE_TYPE: u16 = 165;

const MODES: [&str; 2] = ["legacy", "switchdev"];
const INLINE_MODES: [&str; 4] = ["none", "link", "network", "transport"];
/// As `devlink port` writes them.
const FLAVOURS: [&str; 8] = ["physical", "cpu", "dsa", "pcipf", "pcivf", "virtual", "unused", "pcisf"];
const RATES: [&str; 2] = ["leaf", "node"];

/// All devices of the calling thread's namespace that devlink knows.
pub fn switches() -> Result<BTreeMap<String, Switch>> {
    let Some(mut family) = Family::open("devlink")? else { return Ok(BTreeMap::new()) };
    let mut all = BTreeMap::new();
    for device in dump(&mut family, "list devlink devices", CMD_GET)? {
        let (bus, name) = (field(&device, A_BUS_NAME), field(&device, A_DEV_NAME));
        let ask = Attributes::default().text(A_BUS_NAME, &bus).text(A_DEV_NAME, &name);
        let ask = family.message(CMD_ESWITCH_GET, ask);
        let answer = family.socket.get_raw(&format!("read the embedded switch of {bus}/{name}"), ask);
        let answer = match unless_unsupported(answer) {
            // Gone meanwhile.
            Err(e) if e.errno() == Some(Errno::ENODEV as i32) => continue,
            other => other?,
        };
        all.insert(format!("{bus}/{name}"), answer.map(|answer| switch(&answer)).unwrap_or_default());
    }
    let ports = dump(&mut family, "list devlink ports", CMD_PORT_GET)?;
    tally(&mut all, &ports, A_PORT_FLAVOUR, &FLAVOURS, |switch| &mut switch.ports);
    // A family of before Linux 5.14 has no rates.
    if family.has(CMD_RATE_GET) {
        let rates = dump(&mut family, "list devlink rates", CMD_RATE_GET)?;
        tally(&mut all, &rates, A_RATE_TYPE, &RATES, |switch| &mut switch.rates);
    }
    Ok(all)
}

fn dump(family: &mut Family, what: &str, command: u8) -> Result<Vec<Message>> {
    let ask = family.message(command, Attributes::default());
    Ok(unless_unsupported(family.socket.dump_raw(what, ask))?.unwrap_or_default())
}

fn switch(answer: &Message) -> Switch {
    let byte = |kind| attribute(answer, kind).and_then(|value| value.first().copied());
    Switch {
        mode: attribute(answer, A_ESWITCH_MODE)
            .and_then(|mode| half(&mode, 0))
            .map(|mode| name(&MODES, mode)),
        inline_mode: byte(A_ESWITCH_INLINE_MODE).map(|mode| name(&INLINE_MODES, u16::from(mode))),
        encap: byte(A_ESWITCH_ENCAP_MODE).map(|mode| mode != 0),
        ..Switch::default()
    }
}

/// Counts objects of devices by one of their attributes.
fn tally(
    all: &mut BTreeMap<String, Switch>,
    objects: &[Message],
    kind: u16,
    names: &[&str],
    of: impl Fn(&mut Switch) -> &mut BTreeMap<String, u32>,
) {
    for object in objects {
        let device = format!("{}/{}", field(object, A_BUS_NAME), field(object, A_DEV_NAME));
        let number = attribute(object, kind).and_then(|value| half(&value, 0));
        if let (Some(switch), Some(number)) = (all.get_mut(&device), number) {
            *of(switch).entry(name(names, number)).or_default() += 1;
        }
    }
}

fn field(message: &Message, kind: u16) -> String {
    attribute(message, kind).map(|value| text(&value)).unwrap_or_default()
}

/// A number of a later kernel has no name.
fn name(names: &[&str], number: u16) -> String {
    names.get(usize::from(number)).map_or_else(|| number.to_string(), |name| (*name).to_owned())
}
