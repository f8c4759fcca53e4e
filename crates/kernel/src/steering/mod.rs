//! Leads packets to queues of a NIC: RSS contexts and the rules to them, made, repaired and removed. What is whose is
//! found by what is on the NIC ([`SteerQueues::own`]): nothing needs to be remembered, whoever dies in between.

mod ask;
#[cfg(test)]
mod tests;

pub use ask::{Answer, ask, probes};

use crate::ethtool::{Ethtool, Tables};
use crate::{Error, Result, crash};
use nix::errno::Errno;
use offramp_core::ids::IfName;
use offramp_core::nic::PortKey;
use offramp_core::steer::{Lead, MAIN, SteerQueues, Steering};
use std::collections::BTreeSet;

/// What is done to a NIC.
pub(crate) trait Nic {
    fn steering(&mut self) -> Result<Steering>;
    fn create_context(&mut self, queues: &[u32]) -> Result<u32>;
    fn delete_context(&mut self, id: u32) -> Result<()>;
    fn lead(&mut self, lead: Lead, context: u32) -> Result<u32>;
    fn delete_rule(&mut self, id: u32) -> Result<()>;
}

/// A NIC of the calling thread's namespace. Whoever changes anything there keeps others of Offramp's from it meanwhile: who
/// makes a rule looks for a free place first, and some drivers write over what is there.
pub struct Device<'a> {
    ethtool: Ethtool,
    name: &'a IfName,
}

impl<'a> Device<'a> {
    /// Of this name.
    pub fn open(name: &'a IfName) -> Result<Self> {
        Ok(Self { ethtool: Ethtool::require(format!("lead packets to queues of {name}"))?, name })
    }
}

impl Device<'_> {
    /// A refusal of a rule. It lasts as long as rules are turned off, where that is why; drivers say that in one of these ways.
    fn explained(&mut self, refusal: Error) -> Error {
        let may_be_off = [Errno::EOPNOTSUPP, Errno::EPERM].map(|errno| Some(errno as i32));
        let off = may_be_off.contains(&refusal.errno()).then(|| self.ethtool.without_ntuple(self.name));
        match off.flatten() {
            Some(why) => Error::Unfit { what: refusal.to_string(), why },
            None => refusal,
        }
    }
}

impl Nic for Device<'_> {
    fn steering(&mut self) -> Result<Steering> {
        self.ethtool.steering(self.name)
    }

    fn create_context(&mut self, queues: &[u32]) -> Result<u32> {
        let id = self.ethtool.create_context(self.name, queues)?;
        crash::point("steer.context-made");
        Ok(id)
    }

    fn delete_context(&mut self, id: u32) -> Result<()> {
        self.ethtool.delete_context(self.name, id)
    }

    fn lead(&mut self, lead: Lead, context: u32) -> Result<u32> {
        let led = self.ethtool.lead(self.name, lead, context);
        let id = led.map_err(|refusal| self.explained(refusal))?;
        crash::point("steer.rule-made");
        Ok(id)
    }

    fn delete_rule(&mut self, id: u32) -> Result<()> {
        self.ethtool.delete_rule(self.name, id)?;
        crash::point("steer.rule-removed");
        Ok(())
    }
}

/// Makes what there is not: how much that was. What cannot be finished is left for [`clear`].
pub fn apply(device: &mut Device<'_>, want: &SteerQueues) -> Result<usize> {
    apply_to(device, want)
}

/// Removes the rules, then the context: Linux 6.12 would delete it under its rules. What is not there is no error, and a
/// context to which somebody else's rules lead is left to them.
pub fn clear(device: &mut Device<'_>, want: &SteerQueues) -> Result<()> {
    clear_from(device, want)
}

/// Removes what was tried ([`ask`]) on queues that nobody has by a process that died. The contexts that are left, but for the
/// one that all packets have.
pub fn clear_tries(device: &mut Device<'_>, port: &PortKey, unheld: &BTreeSet<u32>) -> Result<Tables> {
    let nic = device.name.clone();
    let tried = SteerQueues { port: port.clone(), nic, queues: Vec::new(), leads: probes() };
    clear_tries_from(device, &tried, unheld)
}

/// What is not as it should be.
pub fn missing(device: &mut Device<'_>, want: &SteerQueues) -> Result<Vec<Lead>> {
    let own = want.own(&device.steering()?);
    Ok(own.contexts.first().map_or_else(|| want.leads.clone(), |context| own.missing(&want.leads, *context)))
}

/// The pod's queues over which the NIC's own table spreads what comes for everybody, which [`apply`] leaves as it is.
pub fn mixed(device: &mut Device<'_>, want: &SteerQueues) -> Result<Vec<u32>> {
    Ok(mixed_of(&device.steering()?, want))
}

fn mixed_of(on: &Steering, want: &SteerQueues) -> Vec<u32> {
    let main = on.tables.get(&MAIN);
    want.queues.iter().copied().filter(|queue| main.is_some_and(|main| main.contains(queue))).collect()
}

pub(crate) fn apply_to(nic: &mut impl Nic, want: &SteerQueues) -> Result<usize> {
    let mut own = want.own(&nic.steering()?);
    let mut made = 0;
    let context = match own.contexts.first() {
        Some(context) => *context,
        None => {
            // The new context may get the number of the one that is gone, to which these rules led.
            for (_, _, id) in std::mem::take(&mut own).rules {
                nic.delete_rule(id)?;
            }
            made += 1;
            nic.create_context(&want.queues)?
        }
    };
    for id in own.surplus(context) {
        nic.delete_rule(id)?;
    }
    let mut ids = Vec::new();
    for lead in own.missing(&want.leads, context) {
        ids.push(nic.lead(lead, context)?);
    }
    made += ids.len();
    if made > 0 {
        verify(nic, want, &ids)?;
    }
    Ok(made)
}

/// A rule that the NIC tells otherwise than it was written would be known by nobody later.
fn verify(nic: &mut impl Nic, want: &SteerQueues, ids: &[u32]) -> Result<()> {
    let own = want.own(&nic.steering()?);
    let context = own.contexts.first();
    let lost = context.map_or_else(|| want.leads.clone(), |context| own.missing(&want.leads, *context));
    let Some(lead) = lost.first() else { return Ok(()) };
    let why = match context {
        None => "the driver tells another table of the RSS context than was written".to_owned(),
        Some(_) => format!("the driver tells the rule that leads {lead} otherwise than it was written"),
    };
    for id in ids.iter().rev() {
        nic.delete_rule(*id)?;
    }
    Err(Error::Unfit { what: format!("lead packets to queues of {}", want.nic), why })
}

pub(crate) fn clear_tries_from(
    nic: &mut impl Nic,
    tried: &SteerQueues,
    unheld: &BTreeSet<u32>,
) -> Result<Tables> {
    for queues in nic.steering()?.tables.into_values().filter(|queues| queues.is_subset(unheld)) {
        clear_from(nic, &SteerQueues { queues: queues.into_iter().collect(), ..tried.clone() })?;
    }
    let mut left = nic.steering()?.tables;
    left.remove(&MAIN);
    Ok(left)
}

pub(crate) fn clear_from(nic: &mut impl Nic, want: &SteerQueues) -> Result<()> {
    let own = want.own(&nic.steering()?);
    for (_, _, id) in own.rules.iter().rev() {
        nic.delete_rule(*id)?;
    }
    if own.rules.is_empty() && own.contexts.is_empty() {
        return Ok(());
    }
    let left = want.own(&nic.steering()?);
    if let Some((lead, _, id)) = left.rules.first() {
        let what = format!("delete flow rule {id} of {}", want.nic);
        return Err(Error::Unfit {
            what,
            why: format!("it still leads {lead}, though its driver took it back"),
        });
    }
    for id in left.contexts.iter().filter(|id| !left.shared.contains(id)) {
        nic.delete_context(*id)?;
    }
    Ok(())
}
