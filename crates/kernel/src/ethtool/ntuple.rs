//! Rules that steer flows (`ethtool -n`): netlink does not tell of them, so this is by ioctl.

use super::ioctl;
use super::lead::Match;
use crate::netlink::Socket;
use crate::{Error, Result};
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::offload::{FlowTo, Ntuple};
use offramp_core::steer::{Lead, SteerRule};

const GRXCLSRLCNT: u32 = 0x2e;
const GRXCLSRULE: u32 = 0x2f;
const GRXCLSRLALL: u32 = 0x30;
const SRXCLSRLDEL: u32 = 0x31;
const SRXCLSRLINS: u32 = 0x32;
/// In `data`: the driver chooses places by itself. It is no part of the number.
const RX_CLS_LOC_SPECIAL: u64 = 0x8000_0000;
/// As a place: any.
const RX_CLS_LOC_ANY: u32 = 0xffff_ffff;
/// Of a flow's type: it is led to an RSS context.
const FLOW_RSS: u32 = 0x2000_0000;

/// struct ethtool_rxnfc (include/uapi/linux/ethtool.h) in words of 32 bits, and room for the list behind it.
struct Rxnfc(Vec<u32>);

/// The places of what is in it.
const DATA: usize = 2;
const FLOW_TYPE: usize = 4;
const VALUES: usize = 5;
const MASKS: usize = 23;
const END_OF_MASKS: usize = 41;
const RING_COOKIE: usize = 42;
const LOCATION: usize = 44;
/// How many rules; of a rule, its RSS context.
const COUNT: usize = 46;
const LIST: usize = 47;

impl Rxnfc {
    fn new(command: u32, list: u32) -> Self {
        // The struct has another word to fill it up.
        let mut words = vec![0; LIST + 1 + list as usize];
        words[0] = command;
        words[COUNT] = list;
        Self(words)
    }

    fn long(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&self.0[at].to_ne_bytes());
        bytes[4..].copy_from_slice(&self.0[at + 1].to_ne_bytes());
        u64::from_ne_bytes(bytes)
    }

    fn ask(mut self, socket: &Socket, device: &IfName) -> nix::Result<Self> {
        ioctl::ask(socket, device, &mut self.0).map(|()| self)
    }

    /// Of a rule (`ethtool_get_flow_spec_ring`, include/uapi/linux/ethtool.h).
    fn to(&self) -> FlowTo {
        let cookie = self.long(RING_COOKIE);
        let (queue, beyond) = (cookie as u32, cookie >> 32);
        match self.0[FLOW_TYPE] & FLOW_RSS {
            // A VF; or all bits are set, or all but one: it drops, or wakes.
            _ if beyond != 0 => FlowTo::Elsewhere,
            0 => FlowTo::Queue(queue),
            _ => FlowTo::Context { id: self.0[COUNT], plus: queue },
        }
    }

    /// What it leads, if that is all of one kind to one address.
    fn lead(&self) -> Option<Lead> {
        let flow_type = self.0[FLOW_TYPE] & !FLOW_RSS;
        Match::lead(flow_type, &self.0[VALUES..MASKS], &self.0[MASKS..END_OF_MASKS])
    }
}

/// What leads to an RSS context.
fn leading(lead: Lead, context: u32, at: u32) -> Rxnfc {
    let mut ask = Rxnfc::new(SRXCLSRLINS, 0);
    let Match { flow_type, values, masks } = Match::of(lead);
    ask.0[FLOW_TYPE] = flow_type | FLOW_RSS;
    ask.0[VALUES..VALUES + values.len()].copy_from_slice(&values);
    ask.0[MASKS..MASKS + masks.len()].copy_from_slice(&masks);
    ask.0[LOCATION] = at;
    ask.0[COUNT] = context;
    ask
}

/// Makes a rule that leads to an RSS context; its number. Nobody else makes any meanwhile: a place that is not free may be
/// written over.
pub(super) fn lead(socket: &Socket, device: &IfName, lead: Lead, context: u32) -> Result<u32> {
    let what = format!("lead {lead} to RSS context {context} of {device}");
    // As a driver says it that is asked for more than it has.
    let at = free_place(socket, device)?.ok_or_else(|| Error::sys(what.clone(), Errno::ENOSPC))?;
    let answer = leading(lead, context, at).ask(socket, device).map_err(|e| Error::sys(what, e))?;
    Ok(answer.0[LOCATION])
}

/// Removes a rule, if it is there.
pub(super) fn delete(socket: &Socket, device: &IfName, id: u32) -> Result<()> {
    let mut ask = Rxnfc::new(SRXCLSRLDEL, 0);
    ask.0[LOCATION] = id;
    match ask.ask(socket, device) {
        Ok(_) | Err(Errno::ENOENT) => Ok(()),
        Err(e) => Err(Error::sys(format!("delete flow rule {id} of {device}"), e)),
    }
}

/// Where the driver likes, or the last free place: of two rules for one packet the first counts, and that is an operator's.
fn free_place(socket: &Socket, device: &IfName) -> Result<Option<u32>> {
    let ask = |command, list| {
        let answer = Rxnfc::new(command, list).ask(socket, device);
        answer.map_err(|e| Error::sys(format!("list the flow rules of {device}"), e))
    };
    let counted = ask(GRXCLSRLCNT, 0)?;
    if counted.long(DATA) & RX_CLS_LOC_SPECIAL != 0 {
        return Ok(Some(RX_CLS_LOC_ANY));
    }
    let listed = ask(GRXCLSRLALL, counted.0[COUNT])?;
    // Some tell of their room here only.
    let room = u32::try_from(listed.long(DATA).max(counted.long(DATA))).unwrap_or_default();
    let taken = &listed.0[LIST..][..(listed.0[COUNT] as usize).min(listed.0.len() - LIST)];
    Ok((0..room).rev().find(|place| !taken.contains(place)))
}

/// How many rules a device has, and room for; none if its driver has no rules.
pub(super) fn count(socket: &Socket, device: &IfName) -> Result<Option<Ntuple>> {
    match Rxnfc::new(GRXCLSRLCNT, 0).ask(socket, device) {
        Ok(answer) => {
            let room = u32::try_from(answer.long(DATA) & !RX_CLS_LOC_SPECIAL).ok().filter(|room| *room > 0);
            Ok(Some(Ntuple { rules: answer.0[COUNT], room }))
        }
        // Some drivers know rules of hashing only, and say so in one of these ways.
        Err(Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(None),
        Err(e) => Err(Error::sys(format!("read the number of flow rules of {device}"), e)),
    }
}

/// The rules of a device, by their rising numbers; none if its driver has no rules.
pub(super) fn rules(socket: &Socket, device: &IfName) -> Result<Vec<SteerRule>> {
    /// Rules may come and go meanwhile: then it is read anew.
    const TRIES: usize = 4;
    let mut outcome = read(socket, device);
    for _ in 1..TRIES {
        if outcome.is_ok() {
            break;
        }
        outcome = read(socket, device);
    }
    outcome
}

fn read(socket: &Socket, device: &IfName) -> Result<Vec<SteerRule>> {
    let count = count(socket, device)?.map_or(0, |ntuple| ntuple.rules);
    if count == 0 {
        return Ok(Vec::new());
    }
    let list = Rxnfc::new(GRXCLSRLALL, count).ask(socket, device);
    let Rxnfc(list) = list.map_err(|e| Error::sys(format!("list the flow rules of {device}"), e))?;
    let ids = list[LIST..].iter().take(list[COUNT] as usize);
    let rule = |id: &u32| {
        let mut ask = Rxnfc::new(GRXCLSRULE, 0);
        ask.0[LOCATION] = *id;
        let answer = ask.ask(socket, device);
        let answer = answer.map_err(|e| Error::sys(format!("read flow rule {id} of {device}"), e))?;
        Ok(SteerRule { id: *id, to: answer.to(), lead: answer.lead() })
    };
    let mut rules = ids.map(rule).collect::<Result<Vec<_>>>()?;
    rules.sort_by_key(|rule| rule.id);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places are those of the kernel's struct.
    #[test]
    fn where_a_rule_leads() {
        #[repr(C)]
        struct FlowSpec {
            flow_type: u32,
            headers: [u8; 52 + 20 + 52 + 20],
            ring_cookie: u64,
            location: u32,
        }
        #[repr(C)]
        struct Whole {
            cmd: u32,
            flow_type: u32,
            data: u64,
            fs: FlowSpec,
            rss_context: u32,
            rule_locs: [u32; 0],
        }
        use std::mem::{offset_of, size_of};
        assert_eq!(offset_of!(Whole, data), DATA * 4);
        assert_eq!(offset_of!(Whole, fs), FLOW_TYPE * 4);
        let headers = offset_of!(Whole, fs) + offset_of!(FlowSpec, headers);
        assert_eq!((headers, headers + 52 + 20, headers + 144), (VALUES * 4, MASKS * 4, END_OF_MASKS * 4));
        assert_eq!(offset_of!(Whole, fs) + offset_of!(FlowSpec, ring_cookie), RING_COOKIE * 4);
        assert_eq!(offset_of!(Whole, fs) + offset_of!(FlowSpec, location), LOCATION * 4);
        assert_eq!((offset_of!(Whole, rss_context), offset_of!(Whole, rule_locs)), (COUNT * 4, LIST * 4));
        assert_eq!(size_of::<Whole>(), Rxnfc::new(0, 0).0.len() * 4);

        let to = |flow_type: u32, cookie: u64, context: u32| {
            let mut answer = Rxnfc::new(GRXCLSRULE, 0);
            answer.0[FLOW_TYPE] = flow_type;
            let bytes = cookie.to_ne_bytes();
            for (word, half) in answer.0[RING_COOKIE..].iter_mut().zip(bytes.chunks_exact(4)) {
                *word = u32::from_ne_bytes(half.try_into().unwrap());
            }
            answer.0[COUNT] = context;
            answer.to()
        };
        const TCP_V4: u32 = 1;
        assert_eq!(to(TCP_V4, 5, 0), FlowTo::Queue(5));
        assert_eq!(to(TCP_V4 | FLOW_RSS, 2, 3), FlowTo::Context { id: 3, plus: 2 });
        // RX_CLS_FLOW_DISC, RX_CLS_FLOW_WAKE, VF 0
        for cookie in [u64::MAX, u64::MAX - 1, 1 << 32 | 5] {
            assert_eq!(to(TCP_V4, cookie, 0), FlowTo::Elsewhere);
        }
    }
    #[test]
    fn a_rule_is_known_again_by_what_was_written() {
        use offramp_core::steer::Packets;
        for ip in ["10.244.1.5", "fd00:244::5"].map(|ip| ip.parse().unwrap()) {
            for packets in Packets::ALL {
                let wanted = Lead { ip, packets };
                let asked = leading(wanted, 3, RX_CLS_LOC_ANY);
                assert_eq!((asked.0[0], asked.0[LOCATION]), (SRXCLSRLINS, u32::MAX));
                assert_eq!((asked.lead(), asked.to()), (Some(wanted), FlowTo::Context { id: 3, plus: 0 }));
                // Of a port, too, or of a part of the address.
                for at in [MASKS + 2, MASKS + 8, END_OF_MASKS - 1] {
                    let mut narrower = leading(wanted, 3, 0);
                    narrower.0[at] ^= 1;
                    assert_eq!(narrower.lead(), None, "{wanted} {at}");
                }
                let mut of_vlan = leading(wanted, 3, 0);
                of_vlan.0[FLOW_TYPE] |= 0x8000_0000;
                assert_eq!(of_vlan.lead(), None);
            }
        }
    }
}
