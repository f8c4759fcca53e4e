//! Claiming what was chosen: all of it, or nothing.

use super::vectors::{Growth, Lack};
use super::{Loan, Loans, NoPath};
use crate::node::steering::Unasked;
use crate::node::{Node, now};
use offramp_core::cni::CniError;
use offramp_core::ids::IfName;
use offramp_core::lend::{Choice, Eth0, Lent, LentQueues, Refusal};
use offramp_core::nic::{PciAddr, VfNetdev};
use offramp_core::pair::Pair;
use offramp_core::pool::QueueKind;
use offramp_core::queue::{CLAIM_FORMAT, QueueClaim};
use offramp_core::steer::Takes;
use offramp_core::vf::uplink::UplinkPath;
use offramp_core::vf::{Claim, Claimed, RepresentorState, VfMode, VfRef, VfState};
use offramp_core::wire::Prepare;
use offramp_kernel::link;
use offramp_kernel::netlink::Socket;
use offramp_ledger::lending::{self, Borrower, Unclaimed};
use offramp_ledger::{Error, channels};
use std::cell::Cell;
use std::time::Duration;

/// Why a VF was not had.
pub(super) enum Miss {
    /// There is none.
    Refused(Refusal),
    /// Queues were chosen, and somebody was faster, or the NIC has said by now why it does not lend them.
    Outrun,
    /// It was chosen, and could not be claimed.
    Lost(PciAddr, CniError),
    /// It was chosen, and its driver does not have so many channels; why, in its words.
    NoChannels(VfRef, u32, String),
    /// Something else.
    Other(CniError),
}

impl<E: Into<CniError>> From<E> for Miss {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl Node {
    /// All, or none. Who has interrupts to get gets them last: what was touched is not free at once if the rest cannot be
    /// had.
    pub(super) fn claim_all(
        &self,
        ask: &Prepare,
        choice: Choice,
        path: Result<UplinkPath, NoPath>,
    ) -> Result<Loans, Miss> {
        let (mut done, mut growths) = (Vec::<VfRef>::new(), Vec::new());
        let mut queues = None;
        let mut claim = |lent: Lent, bridge: Option<&IfName>| -> Result<Loan, Miss> {
            let (loan, growth) = self.claim(ask, lent, bridge)?;
            done.push(loan.lent.vf.clone());
            growths.extend(growth);
            Ok(loan)
        };
        let all = || -> Result<Loans, Miss> {
            let (mut pair, mut takes) = (Pair::default(), Takes::default());
            let eth0 = match choice.eth0 {
                Eth0::Pair(chosen) => {
                    pair = chosen;
                    None
                }
                Eth0::Queues(lent) => {
                    let lent = queues.insert(lent);
                    self.claim_queues(ask, lent)?;
                    if lent.kind == QueueKind::Steer {
                        takes = self.ask_steerer(ask, lent).map_err(|unasked| match unasked {
                            Unasked::Refused => Miss::Outrun,
                            Unasked::Left(e) => Miss::Other(e),
                        })?;
                    }
                    None
                }
                Eth0::Vf(lent) => {
                    let loan = claim(*lent, Some(&self.config.bridge.name))?;
                    let way = loan.way(path).map_err(|e| Miss::Lost(loan.lent.vf.pci, e))?;
                    Some((loan, way))
                }
            };
            let others = choice.others.into_iter();
            let others =
                others.map(|lent| claim(lent.clone(), self.bridge_of(&lent))).collect::<Result<_, _>>()?;
            let numa = Default::default();
            Ok(Loans { eth0, queues: queues.clone(), takes, pair, reason: choice.reason, others, numa })
        };
        let outcome = all().and_then(|loans| self.grow_all(loans, growths));
        if outcome.is_err() {
            self.give_back(ask, &done);
            self.give_back_queues(ask, queues.as_ref());
        }
        outcome
    }

    /// The bridge that its pool has for representors.
    fn bridge_of(&self, lent: &Lent) -> Option<&IfName> {
        self.config.pools.iter().find(|pool| pool.name == lent.pool)?.bridge.as_ref()
    }

    /// In switchdev mode the VF's representor is to be a port of `bridge`.
    fn claim(
        &self,
        ask: &Prepare,
        lent: Lent,
        bridge: Option<&IfName>,
    ) -> Result<(Loan, Option<Growth>), Miss> {
        let (pod, pool) = (ask.pod.as_ref(), Some(lent.pool.as_str()));
        let borrower = Borrower { holder: &ask.attachment, pod, pool, now: now() };
        let (few, lack) = (Cell::new(None), Cell::new(None));
        let fits = |vf: &VfRef, state: &VfState, _: &VfNetdev| match (
            lent.mode,
            &state.netdev,
            &state.representor,
        ) {
            (VfMode::Netdev, None, _) => {
                Err(CniError::try_again(format!("{vf} has no interface on the node now")))
            }
            (_, _, Some(RepresentorState { name, controller: Some(controller), .. })) if bridge.is_some() => {
                Err(CniError::try_again(format!("{vf}: its representor {name} is a port of {controller}")))
            }
            (VfMode::Netdev, Some(netdev), _) => match lacks_channels(&netdev.name, &lent)? {
                None => Ok(lent.mode),
                Some((wanted, mut why)) => {
                    match self.vectors_for(vf, state, wanted) {
                        Ok(Some(vectors)) => {
                            lack.set(Some(Lack { wanted, why, vectors }));
                            return Ok(lent.mode);
                        }
                        Ok(None) => {}
                        Err(refused) => why = format!("{why}; {refused}"),
                    }
                    let error = CniError::no_device(format!("{vf} has no {wanted} channels: {why}"));
                    few.set(Some((wanted, why)));
                    Err(error)
                }
            },
            (mode, ..) => Ok(mode),
        };
        let claimed = lending::claim(&self.store, &lent.vf, borrower, &fits, Duration::ZERO);
        let (claim, lock) = claimed.map_err(|e| match few.take() {
            Some((wanted, why)) => Miss::NoChannels(lent.vf.clone(), wanted, why),
            None => Miss::Lost(lent.vf.pci, e),
        })?;
        let pf = Socket::open().and_then(|mut socket| link::find(&mut socket, &lent.vf.pf));
        let carrier = matches!(pf, Ok(Some(l)) if l.carrier);
        let before = claim.before.clone();
        let plug = before.representor.as_ref().map(|r| r.name.clone()).zip(bridge.cloned());
        let growth = lack.take().map(|lack| Growth { claim, lock, lack });
        Ok((Loan { lent, before, carrier, plug }, growth))
    }

    fn claim_queues(&self, ask: &Prepare, lent: &LentQueues) -> Result<(), Miss> {
        let claims = self.store.queue_claims();
        for queue in lent.refs() {
            let claim = QueueClaim {
                format: CLAIM_FORMAT,
                queue,
                holder: ask.attachment.clone(),
                pod: ask.pod.clone(),
                pool: lent.pool.clone(),
                state: Claimed::Lent,
                since: now(),
            };
            claims.take(&claim).map_err(|e| match e {
                Error::QueueClaimed(_) => Miss::Outrun,
                e => Miss::from(e),
            })?;
        }
        Ok(())
    }

    fn give_back_queues(&self, ask: &Prepare, lent: Option<&LentQueues>) {
        let claims = self.store.queue_claims();
        for queue in lent.iter().flat_map(|lent| lent.refs()) {
            if let Err(e) = claims.unclaim(&queue, &ask.attachment) {
                tracing::warn!(%queue, error = %e, "cannot give it back yet, the cleaner will");
            }
        }
    }

    /// All that was claimed for a pod, to which nothing was done but that VFs got interrupts.
    pub(in crate::node) fn give_back_all(&self, ask: &Prepare, loans: &Loans) {
        self.give_back(ask, loans.vfs());
        self.give_back_queues(ask, loans.queues.as_ref());
    }

    /// What fails here is found by the cleaner: a claim without a record is nobody's.
    pub(super) fn give_back<'a>(&self, ask: &Prepare, vfs: impl IntoIterator<Item = &'a VfRef>) {
        for vf in vfs {
            match lending::unclaim(&self.store, vf.pci, &ask.attachment, now()) {
                Ok(Unclaimed::Quarantined) => self.bench.ring(),
                Ok(_) => {}
                Err(e) => tracing::warn!(%vf, error = %e, "cannot give it back yet, the cleaner will"),
            }
        }
    }
}

/// How many channels are wanted, and why the VF's driver does not have so many.
fn lacks_channels(netdev: &IfName, lent: &Lent) -> Result<Option<(u32, String)>, CniError> {
    let Some(wanted) = lent.settings.queues else { return Ok(None) };
    Ok(channels::lacks(netdev, wanted)?.map(|why| (wanted, why)))
}

pub(super) fn promised_twice(claim: Claim) -> CniError {
    let why = "kubelet has promised it to this pod too: the pod gets it when it is free";
    CniError::from(Error::Claimed(Box::new(claim))).with_details(why)
}
