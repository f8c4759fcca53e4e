//! What plans say of pods' queues, for `explain`.

use offramp_core::plan::Plan;

/// `queue 1: queue 4 of ens1f0 (0000:01:00.0)`; the link's own queue is number 0.
pub fn of_plan(plan: &Plan) -> Vec<String> {
    (1..).zip(plan.queues()).map(|(number, queue)| format!("queue {number}: {queue}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;
    use offramp_core::step::LeaseQueues;

    #[test]
    fn the_pods_number_and_the_nics() {
        let plan = fixture::record().plan;
        assert!(of_plan(&plan).is_empty());
        let port = serde_json::from_str(r#"{"device": "0000:01:00.0"}"#).unwrap();
        let (link, nic) = ("eth0".parse().unwrap(), "ens1f0".parse().unwrap());
        let plan = plan.leasing(LeaseQueues { link, port, nic, queues: vec![4, 6] }, String::new());
        let told = ["queue 1: queue 4 of ens1f0 (0000:01:00.0)", "queue 2: queue 6 of ens1f0 (0000:01:00.0)"];
        assert_eq!(of_plan(&plan), told);
    }
}
