//! Rules that steer flows to receive queues (`ethtool -N`), and the RSS contexts that some lead to.

use crate::ids::IfName;
use std::collections::{BTreeMap, BTreeSet};

/// A rule of a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowRule {
    /// What `ethtool -N DEV delete` knows it by.
    pub id: u32,
    /// Where it leads.
    pub to: FlowTo,
}

/// Where a rule leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowTo {
    /// To a receive queue of the NIC.
    Queue(u32),
    /// To the queues of a context's table, each number and `plus`.
    Context {
        /// The context; 0 is the table that all packets have.
        id: u32,
        /// Added to what the table has.
        plus: u32,
    },
    /// To none of the NIC's own queues: it drops, wakes the machine, or is a VF's.
    Elsewhere,
}

/// A NIC's rules. A context to which no rule leads receives nothing, so that rules tell all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flows {
    /// Rules, by their rising numbers.
    pub rules: Vec<FlowRule>,
    /// The queues of the tables to which rules lead, by context. One that is not there is not known.
    pub tables: BTreeMap<u32, BTreeSet<u32>>,
}

impl Flows {
    /// The rules that lead to a queue. One whose table is not known may.
    pub fn leading(&self, queue: u32) -> impl Iterator<Item = &FlowRule> {
        self.rules.iter().filter(move |rule| match rule.to {
            FlowTo::Queue(to) => to == queue,
            FlowTo::Context { id, plus } => self
                .tables
                .get(&id)
                .is_none_or(|queues| queue.checked_sub(plus).is_some_and(|entry| queues.contains(&entry))),
            FlowTo::Elsewhere => false,
        })
    }

    /// What leads to a queue, and how that ends; none: nothing does.
    pub fn why(&self, nic: &IfName, queue: u32) -> Option<String> {
        /// As many as an operator would type.
        const NAMED: usize = 3;
        let ids: Vec<String> = self.leading(queue).map(told).collect();
        let first = self.leading(queue).next()?.id;
        let how = format!("ethtool -N {nic} delete");
        Some(match ids.len() {
            1 => format!("flow rule {} leads to it: {how} {first}", ids[0]),
            n => {
                let more = n.checked_sub(NAMED).filter(|more| *more > 0);
                let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
                let named = ids[..n.min(NAMED)].join(", ");
                format!("flow rules {named}{more} lead to it: {how} ID, each")
            }
        })
    }
}

fn told(rule: &FlowRule) -> String {
    match rule.to {
        FlowTo::Context { id, .. } => format!("{} (RSS context {id})", rule.id),
        _ => rule.id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows(rules: &[(u32, FlowTo)], tables: &[(u32, &[u32])]) -> Flows {
        let rules = rules.iter().map(|(id, to)| FlowRule { id: *id, to: *to }).collect();
        let tables = tables.iter().map(|(id, queues)| (*id, queues.iter().copied().collect())).collect();
        Flows { rules, tables }
    }

    fn why(flows: &Flows, queue: u32) -> Option<String> {
        flows.why(&"ens1f0".parse().unwrap(), queue)
    }

    #[test]
    fn what_leads_to_a_queue_is_named_with_its_end() {
        let one = flows(&[(7, FlowTo::Queue(4)), (9, FlowTo::Elsewhere)], &[(3, &[4, 5])]);
        assert_eq!(why(&one, 4).unwrap(), "flow rule 7 leads to it: ethtool -N ens1f0 delete 7");
        assert_eq!(why(&one, 5), None, "a context without a rule receives nothing");
        assert_eq!(why(&Flows::default(), 0), None);
        let many = flows(&[1, 2, 3, 8, 9].map(|id| (id, FlowTo::Queue(4))), &[]);
        let words = "flow rules 1, 2, 3 and 2 more lead to it: ethtool -N ens1f0 delete ID, each";
        assert_eq!(why(&many, 4).unwrap(), words);
    }

    #[test]
    fn a_rule_leads_to_all_queues_of_its_context() {
        let by = |id, plus| FlowTo::Context { id, plus };
        let all = flows(&[(1, by(3, 0)), (2, by(0, 4)), (6, by(8, 0))], &[(0, &[0, 1]), (3, &[5, 6])]);
        let leading = |queue| all.leading(queue).map(|rule| rule.id).collect::<Vec<_>>();
        assert_eq!(leading(6), [1, 6], "the table of context 8 is not known");
        assert_eq!(leading(5), [1, 2, 6]);
        assert_eq!((leading(4), leading(3), leading(0)), (vec![2, 6], vec![6], vec![6]));
        let words =
            "flow rules 1 (RSS context 3), 6 (RSS context 8) lead to it: ethtool -N ens1f0 delete ID, each";
        assert_eq!(why(&all, 6).unwrap(), words);
    }
}
