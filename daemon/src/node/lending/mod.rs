//! Which VFs a pod gets: chosen by what it asks for, claimed, and planned. What is claimed here and not planned is
//! given back untouched.

mod claim;
mod judge;
mod loans;
mod vectors;

pub use loans::{Loan, Loans, eth0_routes};
pub use vectors::Refusals;

use super::promised::Promise;
use super::{Caller, Node};
use claim::{Miss, promised_twice};
use judge::{check_addresses, check_macs};
use offramp_core::cni::CniError;
use offramp_core::cni::error::codes;
use offramp_core::lend::{
    Choice, Eth0, FewChannels, Hints, Holding, LendRequest, NodeQueues, OnUplink, Refusal, Taken, Want,
    choose_eth0,
};
use offramp_core::nic::{Inventory, PciAddr};
use offramp_core::pool::QueueKind;
use offramp_core::vf::uplink::{UplinkPath, resolve};
use offramp_core::vf::{Claim, VfRef};
use offramp_core::wire::Prepare;
use offramp_core::wish::{Offload, Wishes};
use offramp_kernel::netlink::Socket;
use offramp_kernel::sysfs;
use offramp_kernel::uplink::node_links;
use offramp_ledger::Error;
use offramp_ledger::claims::Claimed;
use std::sync::{MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// Another may claim what was chosen, since inline plugins ask nobody; so often in a row, they want all there is.
const ATTEMPTS: usize = 8;

/// A plan that it cannot read would be no plan to it.
const OLD_PLUGIN: &str = "the plugin on this node is older than the daemon and";

/// How long another choice, or whoever makes VFs, is waited for.
const CHOOSING_PATIENCE: Duration = Duration::from_secs(15);

impl Node {
    /// Chooses and claims. The caller holds the attachment's lock.
    pub(super) fn lend(&self, ask: &Prepare, wishes: &Wishes, caller: Caller) -> Result<Loans, CniError> {
        if wishes.offload == Offload::None && wishes.interfaces.is_empty() {
            return self.lend_nothing(ask, wishes);
        }
        check_addresses(self, wishes)?;
        let promise = self.promise(ask).without(&wishes.handed);
        // Others are not kept from choosing meanwhile.
        let held = self.await_holders(&promise, caller);
        let loans = self.choose_and_claim(ask, wishes, &promise, held)?;
        self.tell_unused(ask, &promise, loans.all().map(|loan| &loan.lent));
        Ok(Loans { numa: promise.numa, ..loans })
    }

    /// Most pods are of this kind: claims and NICs are not looked at.
    fn lend_nothing(&self, ask: &Prepare, wishes: &Wishes) -> Result<Loans, CniError> {
        let hints = Hints { pairs: self.pairs(ask), ..Hints::default() };
        let (inventory, taken) = (Inventory::default(), Taken::default());
        let choice = self.choose(ask, wishes, (&inventory, &taken), &hints);
        let choice = choice.map_err(|refusal| refusal.into_error(wishes.offload, &ask.attachment.ifname))?;
        let Choice { eth0: Eth0::Pair(pair), reason, others: _ } = choice else {
            return Err(CniError::internal("something was lent to a pod that asked for nothing"));
        };
        let (takes, numa) = Default::default();
        Ok(Loans { eth0: None, queues: None, takes, pair, reason, others: Vec::new(), numa })
    }

    /// `held` is in the way of what kubelet has promised.
    fn choose_and_claim(
        &self,
        ask: &Prepare,
        wishes: &Wishes,
        promise: &Promise,
        held: Option<Claim>,
    ) -> Result<Loans, CniError> {
        // One choice at a time: the next sees what this one claims.
        let _one = self.choosing()?;
        // What the watch saw last will do if all that is wished for is found in it: claiming looks at the VF itself.
        let mut met = Met::default();
        if let Ok((choice, path)) = self.choice_of(ask, wishes, promise, &self.nics.inventory(), &met)
            && self.is_best(&choice, wishes)
        {
            match self.claim_all(ask, choice, path) {
                Ok(loans) => return Ok(loans),
                Err(Miss::NoChannels(vf, wanted, why)) => met.lacks(vf, wanted, why),
                // It is looked at anew.
                Err(_) => {}
            }
        }
        for _ in 0..ATTEMPTS {
            let now = sysfs::read(&self.sysfs(), &[])?;
            let miss = loop {
                let choice = self.choice_of(ask, wishes, promise, &now, &met);
                match choice.and_then(|(choice, path)| self.claim_all(ask, choice, path)) {
                    Ok(loans) => return Ok(loans),
                    // Nobody was faster. A VF is asked for a count, or more than that, only once.
                    Err(Miss::NoChannels(vf, wanted, why)) => met.lacks(vf, wanted, why),
                    Err(miss) => break miss,
                }
            };
            match miss {
                Miss::Lost(lent, e) if e.code == codes::TRY_AGAIN => met.lost.push((lent, e.msg)),
                Miss::Outrun | Miss::NoChannels(..) => {}
                Miss::Lost(_, e) | Miss::Other(e) => return Err(e),
                Miss::Refused(refusal) => {
                    self.metrics.refused(&refusal);
                    if let Some(claim) = held.filter(|_| refusal.waiting_helps) {
                        return Err(promised_twice(claim));
                    }
                    return Err(refusal.into_error(wishes.offload, &ask.attachment.ifname));
                }
            }
        }
        Err(CniError::try_again(format!("others claimed what was chosen, {ATTEMPTS} times in a row")))
    }

    /// Whoever makes VFs has this for as long as the driver takes; a plugin does not wait that long.
    fn choosing(&self) -> Result<MutexGuard<'_, ()>, CniError> {
        let deadline = Instant::now() + CHOOSING_PATIENCE;
        loop {
            match self.lending.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(CniError::try_again("VFs are being made or lent, and that takes long"));
                }
            }
        }
    }

    /// Whether eth0 can be nothing but a link with queues.
    fn names_queue_pool(&self, wishes: &Wishes) -> bool {
        let pools = &self.config.queue_pools;
        wishes.pool.as_ref().is_some_and(|name| pools.iter().any(|pool| pool.name == *name))
    }

    /// Whether a look at the NICs themselves would find nothing better.
    fn is_best(&self, choice: &Choice, wishes: &Wishes) -> bool {
        match choice.eth0 {
            Eth0::Vf(_) => true,
            Eth0::Queues(_) => self.config.pools.is_empty() || self.names_queue_pool(wishes),
            Eth0::Pair(_) => wishes.offload == Offload::None,
        }
    }

    /// Of what this inventory has, without what is not to be had by what was `met` just now. Nothing is claimed.
    fn choice_of(
        &self,
        ask: &Prepare,
        wishes: &Wishes,
        promise: &Promise,
        inventory: &Inventory,
        met: &Met,
    ) -> Result<(Choice, Result<UplinkPath, NoPath>), Miss> {
        let path = self.uplink_path(inventory);
        let mut taken = self.taken()?;
        for (pci, why) in &met.lost {
            taken.insert(*pci, Holding::unclear(why));
        }
        check_macs(ask, wishes, inventory, path.as_ref().ok())?;
        let mut hints = hints(ask, promise, path.as_ref());
        hints.few_channels = met.few_channels.clone();
        hints.pairs = self.pairs(ask);
        if wishes.offload != Offload::None {
            // Who wants none is refused by the pools alone: NICs are not looked at for that.
            hints.queues = match wishes.queues {
                Some(_) => self.queues(inventory)?,
                None => NodeQueues { pools: self.config.queue_pools.clone(), ..NodeQueues::default() },
            };
            for (knows, kind, does) in [
                (ask.makes_netkit, QueueKind::Lease, "leases no queues"),
                (ask.steers_queues, QueueKind::Steer, "has no packets led to queues"),
            ] {
                if !knows {
                    hints.queues.refuse(kind, &format!("{OLD_PLUGIN} {does}"));
                }
            }
        }
        let choice = self.choose(ask, wishes, (inventory, &taken), &hints).map_err(Miss::Refused)?;
        Ok((choice, path))
    }

    fn choose(
        &self,
        ask: &Prepare,
        wishes: &Wishes,
        (inventory, taken): (&Inventory, &Taken),
        hints: &Hints,
    ) -> Result<Choice, Refusal> {
        let namespace = ask.pod.as_ref().map(|p| p.namespace.clone());
        let others = LendRequest::further(namespace, wishes);
        let mut eth0 = Want::eth0(ask.attachment.ifname.clone(), wishes);
        // What the runtime says may come from the pod's author: the policy judges it.
        eth0.settings.mac = ask.mac;
        eth0.egress = ask.bandwidth.egress.map(|rate| mbits(rate.bytes_per_second));
        choose_eth0(wishes.offload, &eth0, &others, &self.config.pools, inventory, taken, hints)
    }

    /// Who has which VF. One whose claim cannot be read is somebody's.
    pub(crate) fn taken(&self) -> Result<Taken, CniError> {
        Ok(taken(&self.store.claims().list()?))
    }

    /// By which link, and from which ports' VFs, the pod network can be reached; or why by none.
    pub(super) fn uplink_path(&self, inventory: &Inventory) -> Result<UplinkPath, NoPath> {
        let passing = |why: String| NoPath { why, passing: true };
        let uplink = self.view().uplink.as_ref().map(|u| u.name.clone());
        // A link that is down has no routes, by which it would be found.
        let uplink = uplink.ok_or_else(|| passing("the node's uplink is not known, or is down".into()))?;
        let links =
            Socket::open().and_then(|mut s| node_links(&mut s)).map_err(|e| passing(e.to_string()))?;
        resolve(&uplink, &links, inventory, &crate::eswitch::synced(&self.config))
            .map_err(|why| NoPath { why, passing: false })
    }
}

/// What was met while claiming, and the inventory does not tell.
#[derive(Default)]
struct Met {
    /// VFs that others took, and why they are thought to have.
    lost: Vec<(PciAddr, String)>,
    few_channels: FewChannels,
}

impl Met {
    fn lacks(&mut self, vf: VfRef, wanted: u32, why: String) {
        self.few_channels.insert(vf.pci, (wanted, why));
    }
}

/// Why the pod network cannot be reached by a VF.
#[derive(Debug)]
pub struct NoPath {
    /// Why.
    pub why: String,
    /// It may be otherwise soon.
    passing: bool,
}

/// Who has which VF, by the claims. One that cannot be read is somebody's.
pub(super) fn taken(claimed: &Claimed) -> Taken {
    let mut taken: Taken = claimed.claims.iter().collect();
    for error in &claimed.unreadable {
        let Error::Unreadable { path, .. } = error else { continue };
        let Some(pci) = path.file_name().and_then(|n| n.to_str()?.parse().ok()) else { continue };
        taken.insert(pci, Holding::unclear("its claim cannot be read"));
    }
    taken
}

/// What is known besides pools and claims.
fn hints(ask: &Prepare, promise: &Promise, path: Result<&UplinkPath, &NoPath>) -> Hints {
    let no_eth0 =
        ask.bandwidth.ingress.map(|_| "a VF cannot limit what it receives (ingress bandwidth)".to_owned());
    let uplink = match path {
        Ok(path) => OnUplink::These(path.ports.iter().cloned().collect()),
        Err(NoPath { why, passing: true }) => OnUplink::NoneYet(why.clone()),
        Err(NoPath { why, passing: false }) => OnUplink::None(why.clone()),
    };
    let bonds = path.ok().and_then(|p| p.bond.clone()).into_iter().collect();
    Hints {
        numa: promise.numa.clone(),
        uplink,
        no_eth0,
        bonds,
        assigned: promise.assigned.clone(),
        ..Hints::default()
    }
}

/// Mbit/s that are at least so many bytes a second.
fn mbits(bytes_per_second: u64) -> u32 {
    u32::try_from(bytes_per_second.saturating_mul(8).div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
