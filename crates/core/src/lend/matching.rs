//! Gives each interface a VF that suits it, so that as many as possible have one.

use super::Node;
use super::candidates::Candidate;
use crate::nic::{PciAddr, PortKey};
use std::collections::{BTreeMap, BTreeSet};

/// For each interface its VF, and the interfaces that have none.
///
/// Augmenting paths: an interface takes the best VF that is left; if none is left, it takes the best one whose owner
/// can move to another. Whether all can be served does not depend on the order of interfaces or VFs, and more VFs never
/// serve fewer. Each list holds a VF once at most: it belongs to one pool.
pub(super) fn assign<'a>(
    wants: &[&'a [Candidate]],
    node: &Node<'_>,
) -> (Vec<Option<&'a Candidate>>, Vec<usize>) {
    let mut matching = Matching { wants, chosen: vec![None; wants.len()], load: Load::new(node) };
    let unserved = (0..wants.len()).filter(|want| !matching.serve(*want, &mut BTreeSet::new())).collect();
    (matching.chosen, unserved)
}

struct Matching<'a, 'n> {
    wants: &'n [&'a [Candidate]],
    chosen: Vec<Option<&'a Candidate>>,
    load: Load<'n>,
}

impl<'a> Matching<'a, '_> {
    fn owner(&self, pci: PciAddr) -> Option<usize> {
        self.chosen.iter().position(|c| c.is_some_and(|c| c.vf.pci == pci))
    }

    /// `tried` are the VFs that this search has come by already.
    fn serve(&mut self, want: usize, tried: &mut BTreeSet<PciAddr>) -> bool {
        let mut best: Vec<&'a Candidate> = self.wants[want].iter().collect();
        // What is left comes before what somebody would have to give up.
        best.sort_by_key(|c| (self.owner(c.vf.pci).is_some(), self.load.rank(c)));
        for candidate in best {
            if !tried.insert(candidate.vf.pci) {
                continue;
            }
            let free = match self.owner(candidate.vf.pci) {
                None => true,
                Some(owner) => self.serve(owner, tried),
            };
            if free {
                self.choose(want, candidate);
                return true;
            }
        }
        false
    }

    fn choose(&mut self, want: usize, candidate: &'a Candidate) {
        if let Some(before) = self.chosen[want].replace(candidate) {
            self.load.returned(before);
        }
        self.load.lent(candidate);
    }
}

/// How much of ports and NUMA nodes is lent, this request's share included.
struct Load<'n> {
    near: &'n BTreeSet<u32>,
    ports: BTreeMap<PortKey, Share>,
    nodes: BTreeMap<Option<u32>, Share>,
}

/// So many of so many VFs.
#[derive(Default, Clone, Copy)]
struct Share {
    lent: u64,
    of: u64,
}

impl Share {
    /// In millionths.
    fn ratio(self) -> u64 {
        self.lent * 1_000_000 / self.of.max(1)
    }
}

impl<'n> Load<'n> {
    fn new(node: &Node<'n>) -> Self {
        let mut load = Self { near: &node.hints.numa, ports: BTreeMap::new(), nodes: BTreeMap::new() };
        for (port, vf) in node.inventory.vfs() {
            let lent = u64::from(node.taken.is_lent(vf.pci));
            for share in
                [load.ports.entry(port.key.clone()).or_default(), load.nodes.entry(port.numa).or_default()]
            {
                share.lent += lent;
                share.of += 1;
            }
        }
        load
    }

    /// The lowest is the best.
    fn rank(&self, candidate: &Candidate) -> (usize, u8, u64, u64, PciAddr) {
        let far = far(self.near, candidate.numa);
        let share = |share: Option<&Share>| share.copied().unwrap_or_default().ratio();
        let node = share(self.nodes.get(&candidate.numa));
        let port = share(self.ports.get(&candidate.vf.port));
        (candidate.pool, far, node, port, candidate.vf.pci)
    }

    fn lent(&mut self, candidate: &Candidate) {
        self.change(candidate, |lent| lent + 1);
    }

    fn returned(&mut self, candidate: &Candidate) {
        self.change(candidate, |lent| lent.saturating_sub(1));
    }

    fn change(&mut self, candidate: &Candidate, to: impl Fn(u64) -> u64) {
        let port = self.ports.get_mut(&candidate.vf.port);
        for share in port.into_iter().chain(self.nodes.get_mut(&candidate.numa)) {
            share.lent = to(share.lent);
        }
    }
}

/// How far a device's NUMA node is from the pod's CPUs, for comparing; all are equally far if the CPUs' are not known.
pub(super) fn far(near: &BTreeSet<u32>, numa: Option<u32>) -> u8 {
    match numa {
        _ if near.is_empty() => 0,
        Some(numa) if near.contains(&numa) => 0,
        None => 1,
        Some(_) => 2,
    }
}
