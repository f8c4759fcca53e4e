//! What plans say of pods' queues, for `explain`.

use crate::traffic::InterfaceTraffic;
use offramp_core::plan::Plan;
use offramp_core::queue::QueueRef;

/// `queue 1: queue 4 of ens1f0 (0000:01:00.0), to which flow rule 12 leads`; the link's own queue is number 0. One to which
/// the pod's packets are led is no queue of the link's.
pub fn of_plan(plan: &Plan, traffic: &[InterfaceTraffic]) -> Vec<String> {
    let flow_rules = traffic.iter().find_map(|t| t.flow_rules.as_ref());
    let leading = |number: u32| match flow_rules.and_then(|rules| rules.get(&number)).map(Vec::as_slice) {
        None => String::new(),
        Some([]) => ", to which no flow rule leads".into(),
        Some([rule]) => format!(", to which flow rule {rule} leads"),
        Some(rules) => {
            let ids: Vec<String> = rules.iter().map(u32::to_string).collect();
            format!(", to which flow rules {} lead", ids.join(", "))
        }
    };
    let told = |(number, queue): (u32, QueueRef)| match plan.steering() {
        None => format!("queue {number}: {queue}{}", leading(number)),
        Some(_) => format!("{queue}{}", leading(number)),
    };
    (1..).zip(plan.queues()).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;
    use offramp_core::step::LeaseQueues;
    use offramp_core::traffic::Moved;

    #[test]
    fn the_pods_number_and_the_nics_and_what_leads_there() {
        let plan = fixture::record().plan;
        assert!(of_plan(&plan, &[]).is_empty());
        let port = serde_json::from_str(r#"{"device": "0000:01:00.0"}"#).unwrap();
        let (link, nic) = ("eth0".parse().unwrap(), "ens1f0".parse().unwrap());
        let queues = vec![4, 6, 7];
        let plan = plan.leasing(LeaseQueues { link, port, nic, queues }, String::new());
        let told = ["queue 1: queue 4 of ens1f0", "queue 2: queue 6 of ens1f0", "queue 3: queue 7 of ens1f0"]
            .map(|queue| format!("{queue} (0000:01:00.0)"));
        assert_eq!(of_plan(&plan, &[]), told, "what cannot be read is not told");
        let eth0 = InterfaceTraffic {
            name: "eth0".parse().unwrap(),
            path: Some(plan.path),
            numa: None,
            queues: None,
            flow_rules: Some([(1, vec![12]), (2, vec![]), (3, vec![3, 9])].into()),
            routed: false,
            moved: Moved::Unknown { why: String::new() },
        };
        let leading = ["flow rule 12 leads", "no flow rule leads", "flow rules 3, 9 lead"];
        let told = told.iter().zip(leading).map(|(queue, rules)| format!("{queue}, to which {rules}"));
        assert_eq!(of_plan(&plan, &[eth0]), told.collect::<Vec<_>>());
    }
    #[test]
    fn queues_to_which_packets_are_led_are_the_nics_alone() {
        use offramp_core::steer::SteerQueues;
        let port = serde_json::from_str(r#"{"device": "0000:01:00.0"}"#).unwrap();
        let steer =
            SteerQueues { port, nic: "ens1f0".parse().unwrap(), queues: vec![4, 5], leads: Vec::new() };
        let plan = fixture::record().plan.steered(steer, String::new());
        let told = ["queue 4 of ens1f0 (0000:01:00.0)", "queue 5 of ens1f0 (0000:01:00.0)"];
        assert_eq!(of_plan(&plan, &[]), told);
    }
}
