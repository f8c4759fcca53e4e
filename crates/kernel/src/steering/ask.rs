//! Which packets a NIC's rules can lead: it is tried.

use super::{Device, Nic, clear_from};
use crate::Result;
use nix::errno::Errno;
use offramp_core::net::Family;
use offramp_core::steer::{Lead, Packets, SteerQueues, Takes};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of documentation (RFC 5737, RFC 3849): nothing comes for them.
const PROBES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// What a NIC answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What its rules can lead.
    pub takes: Takes,
    /// Why not the rest: the first refusal, in the driver's words.
    pub refusal: Option<String>,
    /// It will be the same next time.
    pub lasts: bool,
}

/// Tries on these queues, which nobody else has: a context, and one rule after the other, to addresses that nobody has.
/// Then all is removed again; an error says that it is not.
pub fn ask(device: &mut Device<'_>, probe: &SteerQueues) -> Result<Answer> {
    ask_of(device, probe)
}

pub(crate) fn ask_of(nic: &mut impl Nic, probe: &SteerQueues) -> Result<Answer> {
    // Of a process that died here.
    clear_from(nic, probe)?;
    let mut answer = Answer { lasts: true, ..Answer::default() };
    let refused = |answer: &mut Answer, e: crate::Error| {
        let lasting = [Errno::EOPNOTSUPP, Errno::EINVAL].map(|errno| Some(errno as i32));
        answer.lasts &= e.errno().is_none() || lasting.contains(&e.errno());
        answer.refusal.get_or_insert(e.to_string());
    };
    match nic.create_context(&probe.queues) {
        Ok(context) => {
            for lead in &probe.leads {
                if let Err(e) = try_one(nic, probe, *lead, context)? {
                    refused(&mut answer, e);
                } else {
                    answer.takes.insert(Family::of(lead.ip), lead.packets);
                }
            }
            // The number is known, whatever the driver tells of its table.
            nic.delete_context(context)?;
        }
        Err(e) => refused(&mut answer, e),
    }
    Ok(answer)
}

/// Makes a rule and removes it. The outer error says that it stays.
fn try_one(nic: &mut impl Nic, probe: &SteerQueues, lead: Lead, context: u32) -> Result<Result<()>> {
    let id = match nic.lead(lead, context) {
        Ok(id) => id,
        Err(e) => return Ok(Err(e)),
    };
    let known = nic.steering().map(|on| probe.own(&on).missing(&[lead], context).is_empty());
    nic.delete_rule(id)?;
    let why = || "the driver tells the rule otherwise than it was written".to_owned();
    Ok(match known {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err(crate::Error::Unfit { what: format!("lead {lead} to queues of {}", probe.nic), why: why() })
        }
        Err(e) => Err(e),
    })
}

/// All that is tried.
pub fn probes() -> Vec<Lead> {
    PROBES.into_iter().flat_map(|ip| Packets::ALL.map(|packets| Lead { ip, packets })).collect()
}
