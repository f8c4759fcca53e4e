//! On a NIC that there is not, with what real ones do.

use super::ask::ask_of;
use super::*;
use offramp_core::net::Family;
use offramp_core::nic::PortKey;
use offramp_core::offload::FlowTo;
use offramp_core::steer::{Packets, SteerRule, Takes};
use proptest::prelude::*;
use std::net::IpAddr;

/// What it does, and how often it still does it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Fake {
    on: Steering,
    /// Refused, as by i40e, whose rules of IP are others.
    refuses: Vec<Packets>,
    /// Tells no rule as it was written.
    forgets: bool,
    /// As Linux 6.12: a context goes although rules lead to it.
    old: bool,
    /// Room for rules.
    room: Option<usize>,
    /// After so many changes the process is dead.
    left: Option<usize>,
}

impl Fake {
    fn new() -> Self {
        Self { on: Steering { tables: [(0, [0, 1].into())].into(), rules: vec![] }, ..Self::default() }
    }

    fn change(&mut self) -> Result<()> {
        match &mut self.left {
            Some(0) => Err(Error::sys("live", Errno::EIO)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn leads_to(&self, context: u32) -> bool {
        self.on.rules.iter().any(|r| matches!(r.to, FlowTo::Context { id, .. } if id == context))
    }
}

impl Nic for Fake {
    fn steering(&mut self) -> Result<Steering> {
        Ok(self.on.clone())
    }

    fn create_context(&mut self, queues: &[u32]) -> Result<u32> {
        self.change()?;
        let id = (1..).find(|id| !self.on.tables.contains_key(id)).unwrap();
        self.on.tables.insert(id, queues.iter().copied().collect());
        Ok(id)
    }

    fn delete_context(&mut self, id: u32) -> Result<()> {
        self.change()?;
        if !self.old && self.leads_to(id) {
            return Err(Error::sys("delete the context", Errno::EBUSY));
        }
        self.on.tables.remove(&id);
        Ok(())
    }

    fn lead(&mut self, lead: Lead, context: u32) -> Result<u32> {
        self.change()?;
        if self.refuses.contains(&lead.packets) {
            return Err(Error::sys(format!("lead {lead}"), Errno::EOPNOTSUPP));
        }
        if self.room.is_some_and(|room| self.on.rules.len() >= room) {
            return Err(Error::sys(format!("lead {lead}"), Errno::ENOSPC));
        }
        let id = (0..).find(|id| self.on.rules.iter().all(|rule| rule.id != *id)).unwrap();
        let lead = Some(lead).filter(|_| !self.forgets);
        self.on.rules.push(SteerRule { id, to: FlowTo::Context { id: context, plus: 0 }, lead });
        Ok(id)
    }

    fn delete_rule(&mut self, id: u32) -> Result<()> {
        self.change()?;
        self.on.rules.retain(|rule| rule.id != id);
        Ok(())
    }
}

fn takes(packets: &[Packets]) -> Takes {
    let mut takes = Takes::default();
    for family in Family::ALL {
        packets.iter().for_each(|packets| takes.insert(family, *packets));
    }
    takes
}

fn of(queues: &[u32], leads: Vec<Lead>) -> SteerQueues {
    let port = PortKey { device: "0000:01:00.0".into(), port: 0 };
    SteerQueues { port, nic: "ens1f0".parse().unwrap(), queues: queues.to_vec(), leads }
}

fn pod(n: u8, queues: &[u32]) -> SteerQueues {
    let ips: [IpAddr; 2] = [[10, 0, 0, n].into(), [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)].into()];
    of(queues, takes(&Packets::ALL).leads(ips))
}

/// A NIC with a pod's, and an operator's: a context, a rule to it, one for the second pod's address to another queue.
fn busy() -> Fake {
    let mut nic = Fake::new();
    apply_to(&mut nic, &pod(1, &[2, 3])).unwrap();
    let theirs = nic.create_context(&[6]).unwrap();
    nic.on.rules.push(SteerRule { id: 90, to: FlowTo::Context { id: theirs, plus: 0 }, lead: None });
    nic.on.rules.push(SteerRule { id: 91, to: FlowTo::Queue(7), lead: Some(pod(2, &[]).leads[0]) });
    nic
}

#[test]
fn what_was_made_is_there_once_and_goes_alone() {
    let before = busy();
    let mut nic = before.clone();
    let two = pod(2, &[4, 5]);
    assert_eq!(apply_to(&mut nic, &two).unwrap(), 7, "a context, and three rules for each address");
    assert_eq!(apply_to(&mut nic, &two).unwrap(), 0);
    assert!(apply_to(&mut nic, &pod(1, &[2, 3])).is_ok_and(|made| made == 0), "the other's stayed");
    for old in [false, true] {
        let mut nic = Fake { old, ..nic.clone() };
        clear_from(&mut nic, &two).unwrap();
        assert_eq!(nic.on, before.on);
        clear_from(&mut nic, &two).unwrap();
        assert_eq!(nic.on, before.on);
    }
}

#[test]
fn what_somebody_removed_is_put_back() {
    let (mut nic, want) = (Fake::new(), pod(1, &[2, 3]));
    apply_to(&mut nic, &want).unwrap();
    let whole = nic.clone();
    nic.delete_rule(whole.on.rules[1].id).unwrap();
    assert_eq!(apply_to(&mut nic, &want).unwrap(), 1);
    nic.on.rules.sort_by_key(|rule| rule.id);
    assert_eq!(nic.on, whole.on);
    // Linux 6.12 lets a context be deleted under its rules.
    nic.on.tables.remove(&1);
    assert_eq!(apply_to(&mut nic, &want).unwrap(), 7);
    assert_eq!(nic.on.rules.len(), 6, "those that led nowhere are gone");
    clear_from(&mut nic, &want).unwrap();
    assert_eq!(nic.on, Fake::new().on);
}

/// As after `ethtool -X ens1f0 default`, or when its driver was loaded anew.
#[test]
fn queues_that_get_everybodys_packets_too_are_told_of() {
    let (mut nic, want) = (Fake::new(), pod(1, &[2, 3]));
    apply_to(&mut nic, &want).unwrap();
    assert_eq!(mixed_of(&nic.on, &want), [0u32; 0]);
    nic.on.tables.insert(MAIN, [0, 1, 3].into());
    assert_eq!(mixed_of(&nic.on, &want), [3]);
    assert_eq!(apply_to(&mut nic, &want).unwrap(), 0, "which is an operator's matter");
}

#[test]
fn a_context_to_which_others_lead_is_left_to_them() {
    let (mut nic, want) = (Fake::new(), pod(1, &[2]));
    apply_to(&mut nic, &want).unwrap();
    let theirs = SteerRule { id: 50, to: FlowTo::Context { id: 1, plus: 0 }, lead: None };
    nic.on.rules.push(theirs);
    clear_from(&mut nic, &want).unwrap();
    assert_eq!((&nic.on.rules, nic.on.tables.contains_key(&1)), (&vec![theirs], true));
}

#[test]
fn a_nic_is_asked_for_each_kind_and_left_as_it_was() {
    let probe = of(&[4, 5], probes());
    let mut nic = busy();
    let before = nic.on.clone();
    let all = ask_of(&mut nic, &probe).unwrap();
    assert_eq!(all, Answer { takes: takes(&Packets::ALL), refusal: None, lasts: true });
    nic.refuses = vec![Packets::Rest];
    let some = ask_of(&mut nic, &probe).unwrap();
    let words = "lead IP other than TCP and UDP to 192.0.2.1: Operation not supported on transport endpoint";
    assert_eq!((some.takes, some.lasts), (takes(&[Packets::Tcp, Packets::Udp]), true));
    assert!(some.refusal.as_ref().is_some_and(|why| why.starts_with(words)), "{:?}", some.refusal);
    let full = Answer { lasts: false, ..ask_of(&mut Fake { room: Some(8), ..nic.clone() }, &probe).unwrap() };
    assert!(full.takes == Takes::default() && full.refusal.is_some_and(|why| why.contains("No space left")));
    let mut forgets = Fake { forgets: true, ..nic.clone() };
    let forgot = ask_of(&mut forgets, &probe).unwrap();
    assert!(forgot.takes == Takes::default() && forgot.lasts);
    assert!(forgot.refusal.is_some_and(|why| why.contains("tells the rule otherwise than it was written")));
    assert_eq!((&nic.on, &forgets.on), (&before, &before));
}

#[test]
fn a_rule_that_is_not_told_as_it_was_written_does_not_stay() {
    let mut nic = Fake { forgets: true, ..Fake::new() };
    let want = pod(1, &[2, 3]);
    let error = apply_to(&mut nic, &want).unwrap_err().to_string();
    assert!(error.contains("leads TCP to 10.0.0.1 otherwise than it was written"), "{error}");
    clear_from(&mut nic, &want).unwrap();
    assert_eq!(nic.on, Fake::new().on);
}

#[test]
fn what_a_dead_process_tried_goes_with_the_queues_that_nobody_has() {
    let mut nic = busy();
    let before = nic.on.clone();
    let probe = of(&[4, 5], probes());
    apply_to(&mut nic, &probe).unwrap();
    let unheld = |queues: &[u32]| queues.iter().copied().collect();
    let left = clear_tries_from(&mut nic, &of(&[], probes()), &unheld(&[4])).unwrap();
    assert_eq!(left[&3], [4, 5].into(), "one of them is somebody's for all that is known");
    // The first pod's context is of queues that nobody has, too, but rules lead to it.
    let left = clear_tries_from(&mut nic, &of(&[], probes()), &unheld(&[2, 3, 4, 5])).unwrap();
    assert_eq!((left.keys().copied().collect::<Vec<_>>(), nic.on), (vec![1, 2], before));
}

proptest! {
    /// Killed anywhere, or refused anything, and taken back by another process, killed too: nothing of it is left, and
    /// all that is somebody else's.
    #[test]
    fn whatever_dies_nothing_stays(
        old: bool,
        room in prop::option::of(8..16usize),
        making in prop::option::of(0..8usize),
        taking in prop::option::of(0..8usize),
        asked: bool,
    ) {
        let before = Fake { old, room, ..busy() };
        let mut nic = Fake { left: making, ..before.clone() };
        let want = if asked { of(&[4, 5], probes()) } else { pod(2, &[4, 5]) };
        let outcome = match asked {
            true => ask_of(&mut nic, &want).map(|_| 0),
            false => apply_to(&mut nic, &want),
        };
        let whole = making.is_none_or(|left| left >= 7) && room.is_none_or(|room| room >= 14);
        prop_assert!(asked || outcome.is_ok() == whole, "{:?}", outcome);
        nic.left = taking;
        let _ = clear_from(&mut nic, &want);
        nic.left = None;
        clear_from(&mut nic, &want).unwrap();
        prop_assert_eq!(nic.on, before.on);
    }
}
