//! Which of the devices that kubelet could assign suit a container best.

use crate::nic::{Inventory, PciAddr, PortKey};
use std::collections::BTreeMap;

/// `count` of `available`, those that it `must` have first: from as few NUMA nodes as possible, and there evenly over the
/// ports. What is not in the inventory comes last. Fewer, if there are not that many.
pub fn preferred(
    inventory: &Inventory,
    available: &[PciAddr],
    must: &[PciAddr],
    count: usize,
) -> Vec<PciAddr> {
    let mut chosen: Vec<PciAddr> = must.iter().copied().take(count).collect();
    let mut left: Vec<PciAddr> = available.iter().copied().filter(|pci| !chosen.contains(pci)).collect();
    left.sort_unstable();
    left.dedup();
    while chosen.len() < count {
        let Some(node) = next_node(inventory, &left, &chosen, count - chosen.len()) else { break };
        let (mut here, elsewhere): (Vec<_>, Vec<_>) =
            left.iter().partition(|pci| node_of(inventory, **pci) == node);
        while chosen.len() < count && !here.is_empty() {
            chosen.push(here.remove(least_used(inventory, &here)));
        }
        left = elsewhere;
    }
    chosen
}

/// Where a VF is: none if it is nowhere, then the NUMA node, if it is known.
type Place = Option<Option<u32>>;

fn node_of(inventory: &Inventory, pci: PciAddr) -> Place {
    inventory.vf(pci).map(|(port, _)| port.numa)
}

/// One that the chosen are on already; else one that has enough for the rest, or the most.
fn next_node(inventory: &Inventory, left: &[PciAddr], chosen: &[PciAddr], wanted: usize) -> Option<Place> {
    let mut nodes: BTreeMap<Place, usize> = BTreeMap::new();
    left.iter().for_each(|pci| *nodes.entry(node_of(inventory, *pci)).or_default() += 1);
    let used = |node: &Place| chosen.iter().any(|pci| node_of(inventory, *pci) == *node);
    let rank = |(node, free): &(Place, usize)| {
        (node.is_some(), used(node), *free >= wanted, *free, std::cmp::Reverse(*node))
    };
    nodes.into_iter().max_by_key(rank).map(|(node, _)| node)
}

/// Of the port with the largest part of its VFs left, the first.
fn least_used(inventory: &Inventory, left: &[PciAddr]) -> usize {
    let mut free: BTreeMap<&PortKey, usize> = BTreeMap::new();
    let port = |pci: &PciAddr| inventory.vf(*pci).map(|(port, _)| port);
    left.iter().filter_map(port).for_each(|port| *free.entry(&port.key).or_default() += 1);
    // In thousandths, which orders as exactly as ports have VFs.
    let share = |pci: &PciAddr| port(pci).map_or(0, |p| free[&p.key] * 1000 / p.vfs.len().max(1));
    let best = left.iter().enumerate().max_by_key(|(index, pci)| (share(pci), std::cmp::Reverse(*index)));
    best.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lend::fixture::{inventory, pci, port};

    fn choose(available: &[(u8, u16)], must: &[(u8, u16)], count: usize) -> Vec<String> {
        // Buses 1 and 2 are on node 0, 3 on node 1.
        let nics = inventory(vec![port(1, Some(0), 4), port(2, Some(0), 4), port(3, Some(1), 6)]);
        let addresses = |list: &[(u8, u16)]| list.iter().map(|(b, i)| pci(*b, *i)).collect::<Vec<_>>();
        let chosen = preferred(&nics, &addresses(available), &addresses(must), count);
        chosen.iter().map(|p| p.to_string()[5..].to_owned()).collect()
    }

    #[test]
    fn one_numa_node_if_one_has_enough_and_ports_evenly() {
        let all = [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0), (3, 1)];
        assert_eq!(choose(&all, &[], 4), ["01:10.0", "02:10.0", "01:10.1", "02:10.1"]);
        assert_eq!(choose(&all, &[(3, 1)], 2), ["03:10.1", "03:10.0"]);
        assert_eq!(choose(&all, &[(3, 1)], 3), ["03:10.1", "03:10.0", "01:10.0"]);
        assert_eq!(choose(&[(1, 0), (3, 0), (3, 1)], &[], 2), ["03:10.0", "03:10.1"]);
        // The busier port has a smaller part of its VFs left.
        assert_eq!(choose(&[(1, 3), (2, 0), (2, 1), (2, 2)], &[], 2), ["02:10.0", "02:10.1"]);
    }

    #[test]
    fn what_is_gone_comes_last_and_nothing_is_named_twice() {
        assert_eq!(choose(&[(9, 0), (1, 0), (1, 0)], &[], 1), ["01:10.0"]);
        assert_eq!(choose(&[(9, 0), (1, 0), (1, 0)], &[], 5), ["01:10.0", "09:10.0"]);
        assert_eq!(choose(&[(1, 0)], &[(1, 0), (1, 1)], 1), ["01:10.0"]);
        assert!(choose(&[], &[], 2).is_empty());
    }
}
